"""Text for people: values shortened for messages, strings from strangers escaped."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

SHOWN = 80  # characters of a value that a message repeats
MANY = 20  # values that a message lists
LARGEST_SEED = 2**63 - 1


def brief(value: object) -> str:
    """Shortens a value for a message: as Python writes it, in at most about 80 characters."""
    if isinstance(value, Path):
        value = str(value)
    if isinstance(value, str | bytes):
        return f"{value[:SHOWN]!r}…" if len(value) > SHOWN else f"{value!r}"
    if isinstance(value, int) and abs(value) > LARGEST_SEED:
        return f"a number of about {value.bit_length() * 3 // 10:,} digits"
    try:
        shown = repr(value)
    except ValueError:  # there is such a number in it
        shown = type(value).__name__
    shown = " ".join(shown.split())
    return shown[:SHOWN] + "…" if len(shown) > SHOWN else shown


def listed(values: object) -> str:
    """The first twenty of some texts for a message, each of at most 80 characters."""
    texts = [text[:SHOWN] + "…" if len(text) > SHOWN else text for text in map(str, values)]  # type: ignore[call-overload]
    return ", ".join(texts[:MANY]) + (", …" if len(texts) > MANY else "")


def short(text: object) -> str:
    """Shortens a path or an id for a message, in at most 400 characters."""
    return f"{str(text)[:400]}…" if len(str(text)) > 400 else str(text)


def plain(value: object) -> str:
    """Makes one line of visible characters: no control codes, no change of writing direction."""
    line = " ".join(str(value).split())
    return "".join(char if char.isprintable() or char in "\u200c\u200d" else "\ufffd" for char in line)


def markdown(value: object) -> str:
    """Escapes all Markdown: a string may come from a stranger."""
    return "".join(f"\\{char}" if char in "\\`*_[]<>|#!$~&" else char for char in plain(value))


def join_names(names: Sequence[str]) -> str:
    """Names as Markdown, none of which is markup."""
    return ", ".join(markdown(name) for name in names)


def code_span(value: str) -> str:
    """Makes a code span that no backtick in it can end."""
    line = plain(value)
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    return f"{fence} {line} {fence}" if "`" in line else f"`{line}`"
