"""The progress bar of a run, on a terminal's stderr."""

from __future__ import annotations

import sys
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hf_unlearn.training.history import Step


class ProgressBar:
    """Shows loss, `H`, queries and the time left within its block.

    Args:
        total: queries at most.
        shown: whether to show it at all; it is never shown where stderr is not a terminal.
    """

    def __init__(self, total: int, shown: bool) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("queries"))
        disabled = not (shown and sys.stderr.isatty())
        self._bar = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), disable=disabled)
        self._task = self._bar.add_task("scoring the start", total=total)

    def __enter__(self) -> ProgressBar:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def resume(self, queries: int) -> None:
        """Moves to the queries before an interruption."""
        self._bar.update(self._task, completed=queries)

    def show(self, step: Step) -> None:
        """Moves to a step."""
        description = f"loss {step.loss:.3f}  H {100 * step.H:.1f}"
        self._bar.update(self._task, completed=step.queries, description=description)
