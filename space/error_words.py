"""What a visitor reads of an error: nothing of this machine, and no advice for its operator."""

from __future__ import annotations

import re

MAX_SAID = 1_000  # letters of an error: a stranger's model may hold words of any length
OFFLINE = "The Hub can't be reached from this Space."
INSTALL = re.compile(r"(?:upgrade: )?pip install (?:-U )?\S+(?: to read it, or )?")
ENDING = re.compile(r"[;:,( ]+\)?\.?$")


def first_line(error: Exception) -> str:
    """The sentence of an error: the Hub's without how to log in, a file's without its path."""
    said = getattr(error, "what", str(error))
    if isinstance(error, OSError) and error.filename is not None:
        said = f"A file could not be read or written here: {error.strerror}."
    if "HF_HUB_OFFLINE" in said:
        said = OFFLINE
    line = (said.splitlines() or ["something went wrong"])[0]
    if INSTALL.search(line):
        line = ENDING.sub(".", INSTALL.sub("", line))
    return line[:MAX_SAID]
