"""Bytes on disk: the setting that bounds them, and the size of a file."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from hf_unlearn.errors import InputError


def bytes_setting(variable: str, default: int) -> int:
    """A number of bytes from the environment, such as 20e9.

    Args:
        variable: the name of the environment variable.
        default: bytes, if the variable is not set.

    Raises:
        InputError: if it is not a positive number.
    """
    given = os.environ.get(variable, "").strip()
    try:
        found = int(float(given)) if given else default
        if found > 0:
            return found
    except (ValueError, OverflowError):
        pass
    raise InputError(f"{variable} is a number of bytes, such as 20e9; got '{given[:40]}'.")


def file_size(path: Path) -> int:
    """Bytes of a regular file; 0 of anything else, and of a file that no longer exists."""
    try:
        found = path.lstat()
    except OSError:
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0
