"""Scores of many labels before and after, as bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from space.inputs.limits import MARK, one_line
from space.services.verdict import NONE


def render_scores(before: Mapping[str, float], after: Mapping[str, float] | None, enabled: bool) -> str:
    """Two columns of bars, the highest before first; names to forget are struck through on the right.

    Args:
        before, after: label -> share of the score, 0 to 1; a label to forget ends with `MARK`.
        enabled: whether the adapter is in effect.
    """
    order = sorted(before, key=lambda name: -before[name])
    columns = [_column("Plain model", [(name, before[name], False) for name in order])]
    if after:
        title = "With the adapter" if enabled else "With the adapter (switched off)"
        columns.append(_column(title, [(name, after[name], enabled and name.endswith(MARK)) for name in order]))
    return f'<div class="compare">{"".join(columns)}</div>'


def _column(title: str, rows: Sequence[tuple[str, float, bool]]) -> str:
    items = "".join(
        f'<li class="{"gone" if gone else "floor" if name == NONE else "kept"}">'
        f'<span class="name">{_name(name, gone)}</span>'
        f'<span class="share">{share:.0%}</span>'
        f'<span class="track"><span style="width:{100 * share:.1f}%"></span></span></li>'
        for name, share, gone in rows
    )
    return f'<section aria-label="{title}" class="scores" tabindex="0"><h2>{title}</h2><ul>{items}</ul></section>'


def _name(name: str, gone: bool) -> str:
    text = escape(one_line(name.removesuffix(MARK)))
    return f"<s>{text}</s>" if gone else text
