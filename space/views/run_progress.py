"""How far a run is, and who is before it, as HTML."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from space.views.durations import format_duration, format_range

if TYPE_CHECKING:
    from space.services.run_progress import RunProgress
    from space.services.time_estimate import Seconds

READY = " Your adapter is ready, below."


def render_progress(progress: RunProgress) -> str:
    """How far a run is, on how many images it is evaluated so far, and how many seconds are left."""
    share = round(100 * progress.share)
    words = progress.doing
    words += f": {progress.queries:,} of {progress.budget:,} {progress.unit}" if progress.budget else " …"
    if progress.left is not None:
        words += f", about {format_duration(progress.left)} left, then the evaluation"
    words += f". {progress.judged_on}" if progress.judged_on else ""
    words += READY if progress.made is not None else ""
    return (
        f'<div class="run" role="status"><p>{escape(words)}</p><div class="bar" role="progressbar" aria-label="Run" '
        f'aria-valuemin="0" aria-valuemax="100" aria-valuenow="{share}"><span style="width:{share}%"></span></div>'
        "</div>"
    )


def render_line(before: int, wait: Seconds | None) -> str:
    """The visitor's place in the queue."""
    words = f"Waiting: {count_visitors(before)} before you"
    words += f", {format_range(wait)} until your run begins." if wait is not None and wait.high > 0 else "."
    return f'<p class="run" role="status">{escape(words)}</p>'


def count_visitors(count: int) -> str:
    """So many visitors, with the verb."""
    return f"{count:,} visitor{'s are' if count != 1 else ' is'}"
