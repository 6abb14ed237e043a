"""The end of a run in three numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hf_unlearn import ForgetAdapter

FEW = 50  # images; a share of 50 is known to about 14 points


def render_summary(adapter: ForgetAdapter) -> str:
    """Forgotten, kept, everything else, short lists, and how many images these figures are computed on.

    Nothing where the adapter was not evaluated.
    """
    if adapter.report is None:
        return ""
    metrics, images = adapter.config.metrics, adapter.report["images"]
    numbers = [
        ("forgotten", "err_for", "of images to forget no longer get their name"),
        ("kept", "acc_mem", "of kept images get their name"),
        ("everything else", "collateral", "points of accuracy on classes in neither list"),
        ("short lists", "short_list_4", "of images to forget still get their name beside four others"),
    ]
    items = "".join(
        f"<div><dt>{title}</dt><dd>{_number(key, value)}</dd><dd class='note'>{words}</dd></div>"
        for title, key, words in numbers
        if isinstance(value := metrics.get(key), int | float)
    )
    count = f"{images['forget']} images to forget and {images['retain']} to keep ({images['kind']})"
    few = " These are few images: the figures are rough." if images["forget"] < FEW else ""
    return f'<section id="run-summary"><dl class="numbers">{items}</dl><p class="note">{count}.{few}</p></section>'


def _number(key: str, value: float) -> str:
    return f"{100 * value:+.0f}" if key == "collateral" else f"{100 * value:.0f} %"
