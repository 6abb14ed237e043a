"""The report of an audit: tables and explanations for people, JSON for programs, files in a folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table as RichTable
from rich.text import Text

from hf_unlearn.adapters.storage import kind_of
from hf_unlearn.auditing.attack_results import AttackSummary
from hf_unlearn.auditing.explanations import EXPLAINED, describe_limits
from hf_unlearn.auditing.report_content import AuditContent
from hf_unlearn.auditing.report_markdown import render_markdown
from hf_unlearn.auditing.report_plots import PICTURES, plot_audit
from hf_unlearn.auditing.report_tables import Table, make_tables
from hf_unlearn.console import fitting
from hf_unlearn.evaluation.report import Report
from hf_unlearn.evaluation.report_content import ReportContent
from hf_unlearn.files import check_target, optional, replace_files, whole
from hf_unlearn.text import plain

JSON, MARKDOWN = "audit.json", "audit.md"
FILES = (*PICTURES, MARKDOWN, JSON)  # the last one vouches for the others
LEFT_ALIGNED = ("needs", "what was tried", "brings back", "value", "why")  # headings; the first column is, too


def check_out(folder: Path) -> None:
    """Checks, before an audit is made, that it may be saved in a folder; leaves nothing behind.

    Raises:
        InputError: if the folder holds something and is neither an audit nor an adapter.
        StorageError: if it can't be written.
    """
    check_target(folder, lambda folder: _is_audit(folder) or kind_of(folder) is not None, "audit")


def _is_audit(folder: Path) -> bool:
    try:
        return {"verdict", "attacks"} <= set(json.loads((whole(folder) / JSON).read_bytes()))
    except (OSError, ValueError, TypeError, RecursionError):
        return False


@dataclass(frozen=True)
class Audit:
    """The verdict of an audit and all that it rests on; prints as tables with explanations.

    Attributes:
        content: what `audit.json` holds: `verdict` ("pass" or "fail"), `checks`, `metrics`, `attacks`, what could not
            run, and the adapter.
    """

    content: AuditContent

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return self.content["verdict"] == "pass"

    def attack(self, name: str) -> AttackSummary:
        """The figures of one attack.

        Raises:
            KeyError: if there is no such attack.
        """
        for attack in self.content["attacks"]:
            if attack["name"] == name:
                return attack
        raise KeyError(name)

    def to_json(self) -> str:
        """The content as JSON, without NaN."""
        return json.dumps(self.content, indent=2, ensure_ascii=False, allow_nan=False)

    def to_markdown(self) -> str:
        """The tables and explanations as Markdown; nothing from a stranger is markup in it."""
        return render_markdown(self.content, self.tables())

    def save(self, folder: str | Path) -> None:
        """Writes `audit.md`, pictures and `audit.json`, which is there only with all the others.

        They replace an older audit's; an adapter's files in the folder stay. A warning names pictures that can't be
        drawn.

        Raises:
            InputError: if the folder holds something else.
            StorageError: if the folder can't be written; what was there stays as it was.
        """
        check_out(Path(folder))
        drawn = optional("pictures", lambda: plot_audit(self.content)) or {}
        texts = {
            JSON: self.to_json() + "\n",
            MARKDOWN: render_markdown(self.content, self.tables(), [name.removesuffix(".png") for name in drawn]),
        }
        replace_files(Path(folder), drawn | {name: text.encode() for name, text in texts.items()}, FILES)

    def tables(self) -> Iterator[Table]:
        """Key of the explanation, headings, rows of text; the same for terminal and Markdown."""
        return make_tables(self.content)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        evaluated = {**self.content["report"], "rows": self.content["metrics"]["rows"]}
        yield Report(cast(ReportContent, evaluated))
        yield Text(EXPLAINED["figures"] + "\n")
        for table in self.tables():
            title = f"verdict: {self.content['verdict'].upper()}" if table.key == "verdict" else table.key
            yield _draw_table(title, table)
            yield Text(EXPLAINED[table.key.split(":")[0]] + "\n")
        yield Text(describe_limits(self.content["adapter"]["kind"]))

    def __str__(self) -> str:
        console = Console(no_color=True, force_terminal=False, width=120)
        with console.capture() as capture:
            console.print(self)
        return fitting(capture.get())


def _draw_table(title: str, table: Table) -> RichTable:
    drawn = RichTable(title=Text(plain(title)), title_justify="left", title_style="bold")
    for number, heading in enumerate(table.headings):
        left = number == 0 or heading in LEFT_ALIGNED
        drawn.add_column(heading, justify="left" if left else "right", overflow="fold")
    for row in table.rows:
        drawn.add_row(*(Text(plain(cell)) for cell in row))
    return drawn
