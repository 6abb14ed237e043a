"""The end of a run: three numbers, short lists, and what else changed."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from hf_unlearn.adapters.model_card import scope
from space.inputs.limits import plain_text
from space.views.adapter_facts import SHORT_LISTS, list_neighbours
from space.views.durations import format_duration

if TYPE_CHECKING:
    from space.services.run_progress import RunResult

FEW = 50  # images; a share of 50 is known to about 14 points
NO_IMAGES = "There are no images of these names here: try it on some of yours."
SPARE = "Too much? Write those to spare under Keep and make it again. Too little? Write more under Forget."
SEEN = "The search chose by these same images, since there are no others: the figures flatter it."


def render_summary(made: RunResult) -> str:
    """Forgotten, kept, everything else, each with the images it is computed on; short lists; words that go along."""
    spent = made.adapter.config.ledger
    queries, seconds = spent.get("queries", 0), spent.get("seconds", 0)
    parts = [
        f"<p><b>Done: {escape(made.reason)}.</b> {queries:,.0f} queries in {format_duration(seconds)}.</p>",
        _figures(made) if made.adapter.report else f"<p>It was not evaluated. {made.unjudged or NO_IMAGES}</p>",
        f"<p class='note'>{plain_text(made.note)}</p>" if made.note else "",
        _neighbours(made),
        f"<p class='note'>{escape(scope(made.adapter.kind))}</p>",
    ]
    return f'<section id="run-summary">{"".join(parts)}</section>'


def _figures(made: RunResult) -> str:
    report, metrics = made.adapter.report, made.adapter.config.metrics
    assert report is not None
    images = report["images"]
    numbers = (
        ("forgotten", "err_for", f"of {count_images(images['forget'])} to forget no longer get their name"),
        ("kept", "acc_mem", f"of {count_images(images['retain'])} to keep get their name"),
        ("everything else", "collateral", "points of accuracy on classes in neither list"),
    )
    items = "".join(
        f"<div><dt>{title}</dt><dd>{_number(key, value)}</dd><dd class='note'>{words}</dd></div>"
        for title, key, words in numbers
        if isinstance(value := metrics.get(key), int | float)
    )
    notes = [
        SEEN if images["kind"] == "validation" else "",
        "These are few images: the figures are rough." if _fewest(images) < FEW else "",
    ]
    note = " ".join(filter(None, notes))
    return f'<dl class="numbers">{items}</dl>' + (f'<p class="note">{note}</p>' if note else "") + _short_lists(metrics)


def _fewest(images: Mapping[str, Any]) -> int:
    """The smaller number of images of those to forget and those to keep, if there are some."""
    return min(filter(None, (images["forget"], images["retain"])), default=FEW)


def _short_lists(metrics: Mapping[str, Any]) -> str:
    found = [(k, metrics.get(f"short_list_{k}")) for k in SHORT_LISTS]
    shares = ", ".join(f"{100 * value:.0f} % beside {k}" for k, value in found if isinstance(value, int | float))
    return f"<p>In short lists images to forget still get their name: {shares} kept names.</p>" if shares else ""


def _neighbours(made: RunResult) -> str:
    others = list_neighbours(made.adapter)
    return f"<h3>Words nobody asked about</h3><p>{others}.</p><p class='note'>{SPARE}</p>" if others else ""


def count_images(count: int) -> str:
    """A number of images in words."""
    return f"{count:,} image{'s' * (count != 1)}"


def _number(key: str, value: float) -> str:
    return f"{100 * value:+.0f}" if key == "collateral" else f"{100 * value:.0f} %"
