"""The report of an evaluation: a table for people, JSON for programs, files in a folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from hf_unlearn.console import fitting, visible
from hf_unlearn.evaluation.report_content import ReportContent, Row, figure_of

COLUMNS = {  # key in a row -> heading, and which way is better
    "queries": "queries",
    "H": "H ↑",
    "err_for": "Err_for ↑",
    "acc_mem": "Acc_mem ↑",
    "short_list_1": "named beside 1 ↓",
    "short_list_4": "beside 4 ↓",
    "short_list_9": "beside 9 ↓",
    "entropy": "entropy ↑",
    "top5_leak": "top-k leak ↓",
    "recoverability": "recover. ↓",
    "forget_detect": "detect → .5",
    "retain_ece": "ECE ↓",
    "retain_nll": "NLL ↓",
    "look_alike": "look-alike ↓",
    "synonym_err": "syn. err ↑",
    "collateral": "collateral",
    "bypass_acc": "bypass",
}


@dataclass(frozen=True)
class Report:
    """Rows of metrics, per-class accuracies and the ledger; prints as a table.

    Attributes:
        content: what `report.json` holds; the content of an older file will do.
    """

    content: ReportContent

    @property
    def rows(self) -> list[Row]:
        """The plain model's row, the label mask's, then one per candidate."""
        return self.content["rows"]

    def row(self, name: str) -> Row:
        """The first row of that name.

        Raises:
            KeyError: if there is no such row.
        """
        for row in self.rows:
            if row["name"] == name:
                return row
        raise KeyError(name)

    def to_json(self) -> str:
        """The content as JSON, without NaN."""
        return json.dumps(self.content, indent=2, ensure_ascii=False, allow_nan=False)

    def save(self, folder: str | Path) -> None:
        """Writes `report.json`, then its picture, into a folder that may hold other files.

        A warning names a picture that can't be drawn.

        Raises:
            InputError: if there is a `report.json` of something else.
            StorageError: if the folder can't be written.
        """
        from hf_unlearn.adapters.storage import save_report

        save_report(Path(folder), dict(self.content))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        counted = self.content["images"]
        counts = f"{counted['forget']} forget and {counted['retain']} retain images, {counted['classes']} classes"
        title: str | None = f"{counted['kind']}: {counts}"
        for keys in _split_columns(self.rows, options.max_width):
            table = Table(title=title and Text(visible(title)), title_justify="left")
            table.add_column("row", no_wrap=True)
            for key in keys:
                table.add_column(COLUMNS[key], justify="right", no_wrap=True)
            for row in self.rows:
                table.add_row(Text(visible(row["name"])), *(_format_cell(key, row) for key in keys))
            yield table
            title = None

    def __str__(self) -> str:
        console = Console(no_color=True, force_terminal=False)
        with console.capture() as capture:
            console.print(self)
        return fitting(capture.get())


def _split_columns(rows: list[Row], width: int) -> Iterator[list[str]]:
    """The keys of every table: a narrow terminal gets several tables, one below the other."""
    shown = [key for key in COLUMNS if any(figure_of(row, key) is not None for row in rows)]
    names = max(len(row["name"]) for row in rows) + 4
    while shown:
        widths = accumulate((len(COLUMNS[key]) + 3 for key in shown), initial=names)
        count = max(1, sum(total <= width for total in widths) - 1)
        yield shown[:count]
        shown = shown[count:]


def _format_cell(key: str, row: Row) -> str:
    value = figure_of(row, key)
    if value is None:
        return "–"
    if key == "queries":
        return f"{value:,}"
    return f"{value:.2f}" if key == "retain_nll" else f"{100 * value:.1f}"
