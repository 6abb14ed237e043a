"""Bytes on disk: how many a setting allows, how many a file takes."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def bytes_setting(variable: str, default: int) -> int:
    """A number of bytes from the environment, such as 20e9.

    Raises:
        ValueError: if it is none.
    """
    given = os.environ.get(variable, "").strip()
    try:
        found = int(float(given)) if given else default
        if found > 0:
            return found
    except (ValueError, OverflowError):
        pass
    raise ValueError(f"{variable} is a number of bytes, such as 20e9; got '{given[:40]}'.")


def file_size(path: Path) -> int:
    """Bytes of a regular file; 0 for all else, and for what is no longer there."""
    try:
        found = path.lstat()
    except OSError:
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0
