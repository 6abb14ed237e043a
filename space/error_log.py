"""The log of unexpected errors: types and places, never a word that a visitor wrote."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path

log = logging.getLogger("space")


def log_error(error: BaseException, place: str) -> None:
    """Writes an error with its traceback to the log "space".

    Messages of errors are left out, since they may repeat a visitor's names, labels or token. So are local variables.

    Args:
        error: the error; the errors that led to it are written, too.
        place: what was being done: a function or a path.
    """
    log.error("%s at %s\n%s", type(error).__name__, place, "".join(_describe_chain(error)).rstrip())


def _describe_chain(error: BaseException | None) -> list[str]:
    lines: list[str] = []
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        frames = traceback.extract_tb(error.__traceback__)
        lines += [f"{type(error).__name__}, from\n" if lines else "", *_describe_frames(frames)]
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return lines


def _describe_frames(frames: traceback.StackSummary) -> list[str]:
    return [f"  {Path(frame.filename).name}:{frame.lineno} in {frame.name}: {frame.line}\n" for frame in frames]
