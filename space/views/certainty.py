"""Figures of an instant edit as HTML."""

from __future__ import annotations

from space.services.certainty import SHORT_LISTS, Figures

NOT_DRAWN = (
    "No test drawing here shows these names, so there is nothing to measure them on. Try photos of yours, or run "
    "<code>hf-unlearn evaluate</code> and <code>hf-unlearn audit</code> on images of your own."
)
ELSEWHERE = (
    "Measured elsewhere, 20 of 60 classes forgotten. A context that was searched for with 2,000 queries of scores "
    "keeps 78 % right, and 56 % of forgotten images still get their name beside four others. An edit: 92 % and 0 %."
)
CAVEATS = (
    "A label mask only strikes the names from the list: any other name brings the thing back. An edit changes text "
    "features alone, so searching images by image still finds what is forgotten. Whoever has the plain model has "
    "everything back."
)


def render_figures(figures: Figures | None) -> str:
    """Before, label mask and edit, one row each; what the figures don't say."""
    if figures is None:
        return f"<p>{NOT_DRAWN}</p>{_notes()}"
    heads = "".join(f'<th scope="col">named beside {k} ↓</th>' for k in SHORT_LISTS)
    rows = "".join(
        f'<tr><th scope="row">{row.name}</th><td>{_percent(row.wrong)}</td><td>{_percent(row.right)}</td>'
        + "".join(f"<td>{_percent(share)}</td>" for share in row.named)
        + "</tr>"
        for row in figures.rows
    )
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="Figures of this edit"><table><caption>'
        f"{figures.to_forget} drawings of what is forgotten, {figures.others} of other things, %</caption><thead><tr>"
        f'<th scope="col"></th><th scope="col">wrong on forgotten ↑</th><th scope="col">right on kept ↑</th>{heads}'
        f"</tr></thead><tbody>{rows}</tbody></table></div>"
        f"<p class='note'>“Named beside 4”: the forgotten name and four kept names are offered, and the picture still "
        f"gets the forgotten one. Artists whose drawings the model never saw drew these.</p>{_notes()}"
    )


def _notes() -> str:
    return f"<p class='note'>{ELSEWHERE}</p><p class='note'>{CAVEATS}</p>"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}"
