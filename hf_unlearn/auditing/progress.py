"""The steps of an audit and the progress bar that they advance."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Result = TypeVar("Result")
Advance = Callable[[int], object]  # called with the queries that a step has spent so far


@dataclass(frozen=True)
class Step(Generic[Result]):
    """One piece of work.

    Attributes:
        what: shown beside the bar.
        queries: about how many it takes; the bar moves by them.
        work: does it.
    """

    what: str
    queries: float
    work: Callable[[Advance], Result]


class ProgressBar:
    """A bar on stderr, a context manager; it runs steps one after the other.

    Args:
        queries: of all steps together.
        shown: whether to draw the bar; where stderr is no terminal it is never drawn.
    """

    def __init__(self, queries: float, shown: bool) -> None:
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn())
        times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
        disabled = not (shown and sys.stderr.isatty())
        self._bar = Progress(*columns, *times, console=Console(stderr=True), disable=disabled, transient=True)
        self._task = self._bar.add_task("audit", total=queries)
        self._spent = 0.0

    def __enter__(self) -> ProgressBar:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def run(self, step: Step[Result]) -> Result:
        """The step's result."""
        self._bar.update(self._task, description=step.what)
        result = step.work(lambda queries: self._advance(min(step.queries, queries)))
        self._spent += step.queries
        self._advance(0)
        return result

    def _advance(self, queries: float) -> None:
        self._bar.update(self._task, completed=self._spent + queries)
