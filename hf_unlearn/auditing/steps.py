"""The steps of an audit, run one after the other behind one progress bar."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Tell = Callable[[int], Any]  # called with the queries a step has spent so far


@dataclass(frozen=True)
class Step:
    """One piece of work.

    Attributes:
        what: shown beside the bar.
        queries: about how many it takes; the bar moves by them.
        work: does it.
    """

    what: str
    queries: float
    work: Callable[[Tell], Any]


def run_steps(steps: Sequence[Step], progress: bool) -> list[Any]:
    """Every step's result, in order."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    quiet = not (progress and sys.stderr.isatty())
    results = []
    with Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=Console(stderr=True), disable=quiet,
                  transient=True) as bar:  # fmt: skip
        task = bar.add_task("audit", total=sum(step.queries for step in steps))
        spent = 0.0
        for step in steps:
            bar.update(task, description=step.what)

            def tell(queries: int, spent: float = spent, most: float = step.queries) -> None:
                bar.update(task, completed=spent + min(most, queries))

            results.append(step.work(tell))
            spent += step.queries
            bar.update(task, completed=spent)
    return results
