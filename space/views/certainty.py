"""Figures of an instant edit as HTML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from space.services.certainty import SHORT_LISTS, Figures, Row
from space.views.kinds import render_pairs

if TYPE_CHECKING:
    from hf_unlearn import ForgetAdapter

NOT_SHOWN = (
    "No picture here shows these names, so there is nothing to measure them on. Try photos of yours, or run "
    "<code>hf-unlearn evaluate</code> and <code>hf-unlearn audit</code> on images of your own."
)
MEASURED = (
    "Computed now, from your words. “Named beside 4”: the forgotten name and four kept names are offered, and the "
    "picture still gets the forgotten one. “By another name”: other names of the same thing are offered in its place, "
    "and the picture gets one of them."
)
DRAWN = "Artists whose drawings the model never saw drew these."
PHOTOGRAPHED = "A dozen photographs give a first impression, no more: measure on images of your own."
ELSEWHERE = (
    "Not computed from your words: the audit's figures of the library's adapters, on test drawings and the embedded "
    "model. <code>hf-unlearn audit</code> computes them, and more, for an adapter of yours."
)
CAVEATS = (
    "A label mask only strikes the names from the list: any other name brings the thing back. An edit changes text "
    "features alone, so searching images by image still finds what is forgotten. Whoever has the plain model has "
    "everything back."
)


def render_figures(figures: Figures | None, library: Mapping[str, ForgetAdapter]) -> str:
    """Before, label mask and edit, one row each; what the figures don't say.

    Args:
        library: adapters of the same base whose figures are shown beside, if a context is among them.
    """
    measured = f"<p>{NOT_SHOWN}</p>" if figures is None else _table(figures)
    pairs = render_pairs(library)
    return f"{measured}<p class='note'>{CAVEATS}</p>" + (f"{pairs}<p class='note'>{ELSEWHERE}</p>" if pairs else "")


def _table(figures: Figures) -> str:
    kind = "photographs" if figures.photographs else "drawings"
    named = [f"named beside {k} ↓" for k in SHORT_LISTS]
    titles = ["wrong on forgotten ↑", "by another name ↓", *named, "right on kept ↑", "change on kept"]
    heads = "<td></td>" + "".join(f'<th scope="col">{title}</th>' for title in titles)
    rows = "".join(
        f'<tr><th scope="row">{row.name}</th>' + "".join(f"<td>{cell}</td>" for cell in _cells(row, figures)) + "</tr>"
        for row in figures.rows
    )
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="Figures of this edit"><table><caption>'
        f"{figures.to_forget} {kind} of what is forgotten, {figures.others} of other things, %</caption><thead><tr>"
        f"{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
        f"<p class='note'>{MEASURED} {PHOTOGRAPHED if figures.photographs else DRAWN}</p>"
    )


def _cells(row: Row, figures: Figures) -> list[str]:
    change = round(100 * (row.right - figures.rows[0].right))
    return [
        _percent(row.wrong), "–" if row.renamed is None else _percent(row.renamed), *map(_percent, row.named),
        _percent(row.right), f"{change:+d}" if change else "0",
    ]  # fmt: skip


def _percent(share: float) -> str:
    return f"{round(100 * share)}"
