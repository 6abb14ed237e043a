"""An audit as Markdown in which no text from a stranger is markup."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from hf_unlearn.auditing.explanations import EXPLAINED, describe_limits
from hf_unlearn.auditing.report_content import AuditContent
from hf_unlearn.auditing.report_tables import Table, format_percent
from hf_unlearn.evaluation.report_content import figure_of
from hf_unlearn.text import plain

COLUMNS = (
    "H", "err_for", "acc_mem", "short_list_4", "entropy", "recoverability", "forget_detect", "synonym_err",
    "collateral", "bypass_acc",
)  # fmt: skip


def render_markdown(
    content: AuditContent, tables: Iterable[Table], drawn: Collection[str] = ("attacks", "harm", "relearning")
) -> str:
    """`audit.md`; `drawn` are the tables that have a picture."""
    audited, rows = content["adapter"], content["metrics"]["rows"]
    figures = [[row["name"], *(format_percent(figure_of(row, key)) for key in COLUMNS)] for row in rows]
    lines = [
        f"# Audit: {content['verdict']}",
        "",
        f"Adapter for {escape(audited['base_model'])}, {audited['kind']} {escape(audited['weights_sha256'][:12])}; "
        f"forgets {', '.join(escape(name) for name in audited['forget'])}.",
        "",
        describe_limits(audited["kind"]),
        "",
        "## figures",
        "",
        *_render_table(["row", *COLUMNS], figures),
        "",
        EXPLAINED["figures"],
        "",
    ]
    for key, headings, cells in tables:
        lines += [f"## {escape(key)}", "", *_render_table(headings, cells), "", EXPLAINED[key.split(":")[0]], ""]
        if key in drawn:
            lines += [f"![{key}]({key}.png)", ""]
    return "\n".join(lines)


def escape(text: str) -> str:
    """Text without links, HTML or table cells, whatever it holds."""
    coded = (char if char.isalnum() or char in " ,.-–→()%" else f"&#{ord(char)};" for char in plain(text))
    return "".join(coded).replace("www.", "www&#46;")


def _render_table(headings: list[str], rows: list[list[str]]) -> list[str]:
    cells = [[escape(cell) for cell in row] for row in rows]
    return [
        f"| {' | '.join(headings)} |",
        f"|{'---|' * len(headings)}",
        *(f"| {' | '.join(row)} |" for row in cells),
    ]
