"""What functions and commands are given: numbers within bounds, and values as messages repeat them."""

from __future__ import annotations

import math
import re
from numbers import Integral, Real
from pathlib import Path

from hf_unlearn.errors import InputError
from hf_unlearn.text import brief

LARGEST = 2**31 - 1
LARGEST_SEED = 2**63 - 1
MOST_SHOTS = 100_000  # images per class


def is_folder(path: str | Path) -> bool:
    """Whether there is such a folder; a text that no path can be is none."""
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):  # too long, a zero byte
        return False


def is_file(path: str | Path) -> bool:
    """Whether there is such a file, of any sort; a text that no path can be is none."""
    try:
        return Path(path).exists() and not Path(path).is_dir()
    except (OSError, ValueError):  # too long, a loop of links, a zero byte
        return False


def place(what: str, value: object, most: int) -> int:
    """An index below `most`. Raises: ValueError: if it is none; whole floats are, as tables with gaps have them."""
    whole = isinstance(value, Integral) or (isinstance(value, Real) and float(value).is_integer())
    number = int(value) if whole else getattr(value, "__index__", lambda: -1)()  # type: ignore[call-overload]
    if not 0 <= number < most:
        raise InputError(f"{what} must be 0 to {most - 1}, got {brief(value)}")
    return number


def commit(value: object) -> bool:
    """Whether it is a commit on the Hub: 40 hexadecimal digits."""
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{40}", value) is not None


def identifier(value: object) -> bool:
    """`apache-2.0`, `user/pets`: what a Hub id and a licence are made of."""
    return isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9][\w.-]{0,95}(/[\w.-]{1,96})?", value, re.A) is not None


def whole_number(name: str, value: object, least: int = 1, most: int = LARGEST) -> int:
    """The value as an int.

    Raises:
        ValueError: if it is no whole number (2.0, True and "2" are none) or out of bounds.
    """
    right = isinstance(value, Integral) and not isinstance(value, bool)
    if not (right and least <= int(value) <= most):  # type: ignore[call-overload]
        large = right and int(value) > most  # type: ignore[call-overload]
        bounds = f"from {least} to {most}" if large else f"of at least {least}"
        raise InputError(f"{name} must be a whole number {bounds}, got {brief(value)}")
    return int(value)  # type: ignore[call-overload]


def share(name: str, value: object) -> float:
    """The value as a float from 0 to 1.

    Raises:
        ValueError: if it is no number (True and "0.5" are none), NaN, or out of bounds.
    """
    number = _number(value)
    if not 0 <= number <= 1:  # NaN is neither
        raise InputError(f"{name} must be a number from 0 to 1, got {brief(value)}")
    return number


def positive(name: str, value: object) -> float:
    """The value as a float above 0. Raises: ValueError: if it is anything else, or not finite."""
    number = _number(value)
    if not (math.isfinite(number) and number > 0):
        raise InputError(f"{name} must be a positive number, got {brief(value)}")
    return number


def _number(value: object) -> float:
    """NaN for what is no number, or one that no float holds."""
    try:
        return float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    except OverflowError:
        return math.nan
