"""Seconds, and ranges of seconds, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from space.services.time_estimate import Seconds


def format_duration(seconds: float) -> str:
    """Writes a duration in seconds or minutes."""
    return f"{max(1, round(seconds))} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def format_range(seconds: Seconds) -> str:
    """Writes a range, rounded to what can be known of it: `20 to 35 s`, `50 s to 2 min`."""
    low, high = (format_duration(_round(end)) for end in (seconds.low, seconds.high))
    if low == high:
        return f"about {low}"
    unit = high.partition(" ")[2]
    return f"{low.removesuffix(f' {unit}')} to {high}"


def _round(seconds: float) -> float:
    return 5 * round(seconds / 5) if seconds > 20 else seconds
