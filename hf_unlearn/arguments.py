"""Checks of arguments: numbers within bounds, paths that are files or folders."""

from __future__ import annotations

import math
from numbers import Integral, Real
from os import PathLike, fspath
from pathlib import Path

from hf_unlearn.errors import InputError
from hf_unlearn.text import brief

LARGEST = 2**31 - 1
LARGEST_SEED = 2**63 - 1
MOST_SHOTS = 100_000  # images per class


def is_folder(path: str | Path) -> bool:
    """Whether there is such a folder; False for a text that can't be a path."""
    try:
        return bool(str(path)) and Path(path).is_dir()
    except (OSError, ValueError):  # too long, a zero byte
        return False


def is_file(path: str | Path) -> bool:
    """Whether there is such a file, of any sort; False for a text that can't be a path."""
    try:
        return Path(path).exists() and not Path(path).is_dir()
    except (OSError, ValueError):  # too long, a loop of links, a zero byte
        return False


def folder_path(name: str, value: object) -> Path:
    """Checks the path of a folder, which need not exist.

    Raises:
        InputError: if it is neither text nor a path.
    """
    if not isinstance(value, str | PathLike) or not isinstance(path := fspath(value), str):
        raise InputError(f"{name} must be the path of a folder, got {brief(value)}")
    return Path(path)


def place(what: str, value: object, most: int) -> int:
    """Checks an index below `most`; a whole float is allowed, as tables with gaps have them.

    Raises:
        InputError: if it is anything else.
    """
    whole = isinstance(value, Integral) or (isinstance(value, Real) and float(value).is_integer())
    number = int(value) if whole else getattr(value, "__index__", lambda: -1)()  # type: ignore[call-overload]
    if not 0 <= number < most:
        raise InputError(f"{what} must be 0 to {most - 1}, got {brief(value)}")
    return number


def whole_number(name: str, value: object, least: int = 1, most: int = LARGEST) -> int:
    """Checks a whole number from `least` to `most`.

    Raises:
        InputError: if it is anything else, such as 2.0, True or "2".
    """
    number = int(value) if isinstance(value, Integral) and not isinstance(value, bool) else None
    if number is None or not least <= number <= most:
        bounds = f"from {least} to {most}" if number is not None and number > most else f"of at least {least}"
        raise InputError(f"{name} must be a whole number {bounds}, got {brief(value)}")
    return number


def share(name: str, value: object) -> float:
    """Checks a number from 0 to 1.

    Raises:
        InputError: if it is anything else, such as NaN, True or "0.5".
    """
    number = _number(value)
    if not 0 <= number <= 1:  # NaN is neither
        raise InputError(f"{name} must be a number from 0 to 1, got {brief(value)}")
    return number


def positive(name: str, value: object) -> float:
    """Checks a finite number above 0. Raises: InputError: if it is anything else."""
    number = _number(value)
    if not (math.isfinite(number) and number > 0):
        raise InputError(f"{name} must be a positive number, got {brief(value)}")
    return number


def weight(name: str, value: object) -> float:
    """Checks a finite number of at least 0. Raises: InputError: if it is anything else."""
    number = _number(value)
    if not (math.isfinite(number) and number >= 0):
        raise InputError(f"{name} must be a number of at least 0, got {brief(value)}")
    return number


def _number(value: object) -> float:
    """A number as a float; NaN for anything else, or a number that no float holds."""
    try:
        return float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    except OverflowError:
        return math.nan
