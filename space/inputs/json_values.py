"""Numbers and switches that a client writes as text."""

from __future__ import annotations


def as_number(value: object) -> object:
    """A number that is written as text, as a number; anything else unchanged."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def as_switch(value: object) -> bool:
    """Whether a value means yes; as text, "false", "no", "off" and "0" do not."""
    return value.strip().casefold() not in ("", "0", "false", "no", "off") if isinstance(value, str) else bool(value)
