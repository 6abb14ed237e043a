"""What an audit found: printed as tables in plain words, saved as JSON, Markdown and pictures."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.markup import escape
from rich.table import Table

from hf_unlearn.audit.plots import plot_audit
from hf_unlearn.audit.tables import tables
from hf_unlearn.audit.words import EXPLAINED, limits, markdown, visible
from hf_unlearn.report import Report


@dataclass(frozen=True)
class Audit:
    """`content` holds `verdict` ("pass" or "fail"), `checks`, `metrics`, `attacks` and what was audited."""

    content: dict[str, Any]

    @property
    def passed(self) -> bool:
        return self.content["verdict"] == "pass"

    def attack(self, name: str) -> dict[str, Any]:
        """Raises: KeyError: if there is no such attack."""
        for attack in self.content["attacks"]:
            if attack["name"] == name:
                return attack
        raise KeyError(name)

    def to_json(self) -> str:
        return json.dumps(self.content, indent=2, ensure_ascii=False, allow_nan=False)

    def to_markdown(self) -> str:
        return markdown(self.content, self.tables())

    def save(self, folder: str | Path) -> None:
        """`audit.md`, pictures and, last, `audit.json`; each file whole or not there.

        Raises:
            OSError: if the folder can't be written.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=".audit.", dir=folder))
        try:
            names = plot_audit(self.content, fresh)
            (fresh / "audit.md").write_text(self.to_markdown(), encoding="utf-8")
            (fresh / "audit.json").write_text(self.to_json() + "\n", encoding="utf-8")
            (folder / "audit.json").unlink(missing_ok=True)  # an old one must not vouch for new pictures
            for name in (*names, "audit.md", "audit.json"):
                os.replace(fresh / name, folder / name)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def tables(self) -> Iterator[tuple[str, list[str], list[list[str]]]]:
        """Key of the explanation, headings, rows of text; the same for terminal and Markdown."""
        return tables(self.content)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Report({**self.content["report"], "rows": self.content["metrics"]["rows"]})
        yield escape(EXPLAINED["figures"]) + "\n"
        for key, headings, rows in self.tables():
            title = key if key != "verdict" else f"verdict: {self.content['verdict'].upper()}"
            table = Table(title=escape(title), title_justify="left", title_style="bold")
            for number, heading in enumerate(headings):
                left = not number or heading in ("needs", "what was tried", "brings back", "value", "why")
                table.add_column(heading, justify="left" if left else "right", overflow="fold")
            for row in rows:
                table.add_row(*(escape(visible(cell)) for cell in row))
            yield table
            yield escape(EXPLAINED[key.split(":")[0]]) + "\n"
        yield escape(limits(self.content["adapter"]["kind"]))

    def __str__(self) -> str:
        console = Console(no_color=True, force_terminal=False, width=120)
        with console.capture() as capture:
            console.print(self)
        return capture.get()
