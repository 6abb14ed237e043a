"""What an audit found: printed as tables in plain words, saved as JSON, Markdown and pictures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from hf_unlearn.adapters.storage import kind_of
from hf_unlearn.auditing.explanations import EXPLAINED, limits, markdown, visible
from hf_unlearn.auditing.plots import PICTURES, plot_audit
from hf_unlearn.auditing.tables import tables
from hf_unlearn.console import fitting
from hf_unlearn.evaluation.report import Report
from hf_unlearn.files import check_target, optional, replace_files, whole

JSON = "audit.json"
FILES = (*PICTURES, "audit.md", JSON)  # the last one vouches for the others


def check_out(folder: Path) -> None:
    """Whether an audit may be saved there, asked before it is made; leaves nothing behind.

    Raises:
        ValueError: if the folder holds something and is neither an audit nor an adapter.
        OSError: if it can't be written.
    """
    check_target(folder, lambda folder: _is_audit(folder) or kind_of(folder) is not None, "audit")


def _is_audit(folder: Path) -> bool:
    try:
        return {"verdict", "attacks"} <= set(json.loads((whole(folder) / JSON).read_bytes()))
    except (OSError, ValueError, TypeError, RecursionError):
        return False


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
        """`audit.md`, pictures and `audit.json`, which is there only with all the others.

        They replace an older audit's; files of an adapter may stand beside them. Pictures that can't be drawn are
        named in a warning.

        Raises:
            ValueError: if the folder holds something else.
            OSError: if the folder can't be written; what was there stays as it was.
        """
        check_out(Path(folder))
        drawn = optional("pictures", lambda: plot_audit(self.content)) or {}
        told = {
            JSON: self.to_json() + "\n",
            "audit.md": markdown(self.content, self.tables(), [name.removesuffix(".png") for name in drawn]),
        }
        replace_files(Path(folder), drawn | {name: text.encode() for name, text in told.items()}, FILES)

    def tables(self) -> Iterator[tuple[str, list[str], list[list[str]]]]:
        """Key of the explanation, headings, rows of text; the same for terminal and Markdown."""
        return tables(self.content)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Report({**self.content["report"], "rows": self.content["metrics"]["rows"]})
        yield Text(EXPLAINED["figures"] + "\n")
        for key, headings, rows in self.tables():
            title = key if key != "verdict" else f"verdict: {self.content['verdict'].upper()}"
            table = Table(title=Text(visible(title)), title_justify="left", title_style="bold")
            for number, heading in enumerate(headings):
                left = not number or heading in ("needs", "what was tried", "brings back", "value", "why")
                table.add_column(heading, justify="left" if left else "right", overflow="fold")
            for row in rows:
                table.add_row(*(Text(visible(cell)) for cell in row))
            yield table
            yield Text(EXPLAINED[key.split(":")[0]] + "\n")
        yield Text(limits(self.content["adapter"]["kind"]))

    def __str__(self) -> str:
        console = Console(no_color=True, force_terminal=False, width=120)
        with console.capture() as capture:
            console.print(self)
        return fitting(capture.get())
