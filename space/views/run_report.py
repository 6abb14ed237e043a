"""The details of a run's evaluation as HTML: tables for screen readers, in the colours of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from hf_unlearn.adapters.card_figures import COMPARED, leaks_of
from space.inputs.limits import one_line

if TYPE_CHECKING:
    from hf_unlearn import ForgetAdapter
    from space.services.run_progress import RunResult

COLUMNS = {  # key of a row -> heading, in words
    "H": "H ↑",
    "err_for": "wrong on forgotten ↑",
    "acc_mem": "right on kept ↑",
    "short_list_4": "named beside 4 kept ↓",
    "entropy": "entropy ↑",
    "top5_leak": "top-k leak ↓",
    "recoverability": "recoverable ↓",
    "synonym_err": "wrong by other names ↑",
    "collateral": "others change",
    "bypass_acc": "right by a plain prompt",
}
ROWS = {"zero-shot": "before", "label-mask": "label mask"}
SHOWN_CLASSES, SHOWN_NAMES = 60, 10


def render_details(made: RunResult) -> str:
    """The details of an evaluation: figures, every class, where forgotten images go, what still leaks."""
    report = made.adapter.report
    if report is None:
        return "<p>There are none without an evaluation.</p>"
    return "".join(
        (render_table(report), render_bars(report), render_heat_map(made.confusions), render_leaks(made.adapter))
    )


def render_table(report: Mapping[str, Any]) -> str:
    """Before, label mask and adapter, one row each."""
    keys = [key for key in COLUMNS if any(row.get(key) is not None for row in report["rows"])]
    heads = "".join(f'<th scope="col">{_text(COLUMNS[key])}</th>' for key in keys)
    rows = "".join(
        f'<tr><th scope="row">{_text(ROWS.get(row["name"], "after"))}</th>'
        + "".join(f"<td>{_percent(row.get(key))}</td>" for key in keys)
        + "</tr>"
        for row in report["rows"]
    )
    judged = report["images"]
    caption = f"{judged['forget']} forget and {judged['retain']} kept images ({judged['kind']}), %"
    note = (
        "<p class='note'>A label mask only strikes the forgotten names from the list: it costs nothing and is hard to "
        "beat. Where it fails is what still leaks.</p>"
    )
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="Figures"><table><caption>{_text(caption)}</caption>'
        f"<thead><tr><td></td>{heads}</tr></thead><tbody>{rows}</tbody></table></div>{note}"
    )


def render_bars(report: Mapping[str, Any]) -> str:
    """Share of right answers per class, before (pale) and after (full)."""
    classes = sorted(report["per_class"], key=lambda item: (item["role"], item["name"]))[:SHOWN_CLASSES]
    rows = "".join(
        f'<tr class="{"gone" if item["role"] == "forget" else "kept"}"><th scope="row">{_text(item["name"])}</th>'
        f'<td class="track"><span class="was" style="width:{100 * item["accuracy_before"]:.0f}%"></span>'
        f'<span class="now" style="width:{100 * item["accuracy_after"]:.0f}%"></span></td>'
        f"<td>{100 * item['accuracy_before']:.0f} → {100 * item['accuracy_after']:.0f}</td></tr>"
        for item in classes
    )
    left = len(report["per_class"]) - len(classes)
    more = f"<p class='note'>and {left} more classes, in the download.</p>" if left > 0 else ""
    return (
        '<table class="bars"><caption>Right answers per class, before (pale) and after, %; the classes to be '
        f"forgotten come first</caption><tbody>{rows}</tbody></table>{more}"
    )


def render_heat_map(confusions: Mapping[str, Mapping[str, float]]) -> str:
    """Where the images of forgotten classes go now."""
    if not confusions:
        return ""
    total: dict[str, float] = {}
    for row in confusions.values():
        for name, share in row.items():
            total[name] = total.get(name, 0.0) + share
    names = sorted(total, key=lambda name: -total[name])[:SHOWN_NAMES]
    heads = "".join(f'<th scope="col">{_text(name)}</th>' for name in names)
    rows = ""
    for gone, row in list(confusions.items())[:SHOWN_CLASSES]:
        shares = [
            *(row.get(name, 0.0) for name in names),
            sum(row.values()) - sum(row.get(name, 0.0) for name in names),
        ]
        cells = "".join(f'<td style="--heat:{share:.2f}">{100 * share:.0f}</td>' for share in shares)
        rows += f'<tr><th scope="row">{_text(gone)}</th>{cells}</tr>'
    return (
        '<div class="wide" tabindex="0" role="region" aria-label="Where forgotten images go"><table class="heat">'
        "<caption>Where the images of each forgotten class go now, % of its images</caption>"
        f'<thead><tr><th scope="col">images of</th>{heads}<th scope="col">elsewhere</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def render_leaks(adapter: ForgetAdapter) -> str:
    """What still leaks, in words, beside the label mask."""
    rows = adapter.report["rows"] if adapter.report else []
    found: Mapping[str, Any] = next(
        (row for row in rows if row.get("weights_sha256") == adapter.config.weights_sha256), {}
    )
    mask: Mapping[str, Any] = next((row for row in rows if row["name"] == "label-mask"), {})
    lines = []
    for key, words in leaks_of(adapter.kind).items():
        if found.get(key) is not None:
            beside = f" A label mask: {100 * mask[key]:.0f}." if key in COMPARED and mask.get(key) is not None else ""
            lines.append(f"<li>{escape(words.format(f'{100 * found[key]:.0f}') + beside)}</li>")
    return f"<h3>What still leaks</h3><ul>{''.join(lines)}</ul>" if lines else ""


def list_figures(adapter: ForgetAdapter) -> Sequence[tuple[str, float]]:
    """The figures of an adapter that fit on a card, as shares: those of its evaluation, else of its validation."""
    found = [
        (words, adapter.config.metrics.get(key, adapter.config.metrics.get(f"validation_{key}")))
        for key, words in (("H", "H"), ("err_for", "wrong on forgotten"), ("acc_mem", "right on kept"))
    ]
    return [(words, value) for words, value in found if isinstance(value, int | float)]


def _percent(value: Any) -> str:
    return f"{100 * value:.0f}" if isinstance(value, int | float) else "–"


def _text(value: object) -> str:
    """A stranger's string as one line of HTML without markup."""
    line = one_line(str(value))
    return escape("".join(c if c.isprintable() else "�" for c in line[:200]))
