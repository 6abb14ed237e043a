"""The honest table: rows of figures, beside doing nothing and a label mask; printed, saved, drawn."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from hf_unlearn.console import fitting, visible

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
    """Rows of metrics, per-class accuracies and the ledger; prints as a table."""

    content: dict[str, Any]

    @property
    def rows(self) -> list[dict[str, Any]]:
        return self.content["rows"]

    def row(self, name: str) -> dict[str, Any]:
        """Raises: KeyError: if there is no such row."""
        for row in self.rows:
            if row["name"] == name:
                return row
        raise KeyError(name)

    def to_json(self) -> str:
        return json.dumps(self.content, indent=2, ensure_ascii=False, allow_nan=False)

    def save(self, folder: str | Path) -> None:
        """`report.json`, then its picture, into a folder that may hold other files.

        A picture that can't be drawn is named in a warning.

        Raises:
            ValueError: if there is a `report.json` of something else.
            OSError: if the folder can't be written.
        """
        from hf_unlearn.adapters.storage import save_report

        save_report(Path(folder), self.content)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        judged = self.content["images"]
        counts = f"{judged['forget']} forget and {judged['retain']} retain images, {judged['classes']} classes"
        shown = [key for key in COLUMNS if any(row.get(key) is not None for row in self.rows)]
        names = max(len(row["name"]) for row in self.rows) + 4
        title: str | None = f"{judged['kind']}: {counts}"
        while shown:  # a narrow terminal gets several tables, one below the other
            widths = accumulate((len(COLUMNS[key]) + 3 for key in shown), initial=names)
            fitting = max(1, sum(width <= options.max_width for width in widths) - 1)
            table = Table(title=title and Text(visible(title)), title_justify="left")
            table.add_column("row", no_wrap=True)
            for key in shown[:fitting]:
                table.add_column(COLUMNS[key], justify="right", no_wrap=True)
            for row in self.rows:
                table.add_row(Text(visible(row["name"])), *(_cell(key, row.get(key)) for key in shown[:fitting]))
            yield table
            shown, title = shown[fitting:], None

    def __str__(self) -> str:
        console = Console(no_color=True, force_terminal=False)
        with console.capture() as capture:
            console.print(self)
        return fitting(capture.get())


def _cell(key: str, value: Any) -> str:
    if value is None:
        return "–"
    if key == "queries":
        return f"{value:,}"
    return f"{value:.2f}" if key == "retain_nll" else f"{100 * value:.1f}"
