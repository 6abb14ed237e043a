"""Edits beside contexts that forget the same names: when one takes which, and what each costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from space.inputs.limits import plain_text
from space.views.run_report import COLUMNS

if TYPE_CHECKING:
    from hf_unlearn import ForgetAdapter

SHOWN = ("err_for", "acc_mem", "short_list_4", "synonym_err", "collateral")
WHEN = (
    "Take the edit where you have the model's weights or its text embeddings. Take the context where the model answers "
    "with scores and nothing else; the table says what that costs. The label mask only strikes the names from the list "
    "of labels."
)


def render_pairs(found: Mapping[str, ForgetAdapter]) -> str:
    """A table for every context beside an edit of the same base and names; nothing where there is no such pair."""
    tables = [
        _table(edit, context)
        for context in found.values()
        for edit in found.values()
        if (context.kind, edit.kind) == ("context", "edit") and _task(context) == _task(edit)
    ]
    return f"<h3>The same names by an edit and by a context</h3><p>{WHEN}</p>{''.join(tables)}" if tables else ""


def _task(adapter: ForgetAdapter) -> tuple[str, frozenset[str], frozenset[str]]:
    return adapter.config.base_model, frozenset(adapter.config.forget), frozenset(adapter.config.retain)


def _table(edit: ForgetAdapter, context: ForgetAdapter) -> str:
    rows = {
        "before": (_row(edit, "zero-shot"), "", ""),
        "label mask": (_row(edit, "label-mask"), "the list of labels", "0 s"),
        "edit": (edit.config.metrics, "text features", _cost(edit)),
        "context": (context.config.metrics, "scores and images", _cost(context)),
    }
    body = "".join(
        f'<tr><th scope="row">{name}</th><td>{needs}</td><td>{cost}</td>'
        + "".join(f"<td>{_percent(figures.get(key))}</td>" for key in SHOWN)
        + "</tr>"
        for name, (figures, needs, cost) in rows.items()
    )
    titles = ("needs", "made in", *(COLUMNS[key] for key in SHOWN))
    heads = "<td></td>" + "".join(f'<th scope="col">{title}</th>' for title in titles)
    names = f"{plain_text(edit.config.forget[0])} and {len(edit.config.forget) - 1} more names"
    return (
        f'<div class="report"><div class="wide" tabindex="0" role="region" aria-label="Edit and context side by side">'
        f"<table><caption>{names}, test drawings, %</caption><thead><tr>{heads}</tr></thead>"
        f"<tbody>{body}</tbody></table></div></div>"
    )


def _row(adapter: ForgetAdapter, name: str) -> Mapping[str, Any]:
    rows = adapter.report["rows"] if adapter.report else []
    return next((row for row in rows if row["name"] == name), {})


def _cost(adapter: ForgetAdapter) -> str:
    ledger = adapter.config.ledger
    seconds, queries = ledger.get("seconds"), ledger.get("queries")
    said = f"{seconds:,.0f} s" if isinstance(seconds, int | float) else "–"
    return f"{said}, {queries:,.0f} queries" if isinstance(queries, int | float) and queries else said


def _percent(value: object) -> str:
    return f"{round(100 * value)}" if isinstance(value, int | float) else "–"
