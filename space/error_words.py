"""What a visitor reads of an error: nothing of this machine, and no advice for its operator."""

from __future__ import annotations

import re

OPENINGS = {"a", "all", "an", "class", "every", "expected", "something", "the", "there", "these", "this", "unknown"}
MAX_SAID = 1_000  # letters of an error: a stranger's model may hold words of any length
OFFLINE = "The Hub can't be reached from this Space."
INSTALL = re.compile(r"(?:upgrade: )?pip install (?:-U )?\S+(?: to read it, or )?")
REWRITTEN = (  # what no visitor brought: a context of nothing, the network, the disk and the folders of this machine
    (r"a context of 0 tokens and the prompt of (.+) take (\d+) tokens, the text tower of .+ reads (\d+); .*",
     r"the name \1 is too long: it takes \2 tokens, and this model reads \3; use a shorter one"),
    (r"no connection to the Hub, or it broke \(\w+\): .*", "the Hub did not answer this Space; try again later"),
    (r"no room for its files on this disk; .*", "this Space has no room for its files now; try again later"),
    (r": delete it from the Hub's cache$", "; try again later"),
    (r"no such folder here and no such repository on the Hub", "no such repository on the Hub"),
    (r"no folder here and no Hub id; expected a folder that exists, or ", "no id of the Hub; expected "),
)  # fmt: skip
ENDING = re.compile(r"[;:,( ]+\)?\.?$")


def first_line(error: Exception) -> str:
    """The sentence of an error: the Hub's without how to log in, a file's without its path, with a full stop."""
    said = getattr(error, "what", str(error))
    if isinstance(error, OSError) and error.filename is not None:
        said = f"A file could not be read or written here: {error.strerror}."
    if "HF_HUB_OFFLINE" in said:
        said = OFFLINE
    line = (said.splitlines() or ["something went wrong"])[0]
    if INSTALL.search(line):
        line = ENDING.sub(".", INSTALL.sub("", line))
    for pattern, words in REWRITTEN:
        line = re.sub(pattern, words, line)
    return _as_sentence(line[: MAX_SAID - 1])


def _as_sentence(line: str) -> str:
    """With a capital, unless a name or an id comes first, and a full stop."""
    first = line.split(" ")[0]
    line = line[:1].upper() + line[1:] if first in OPENINGS else line
    return line if line.endswith((".", "!", "?", "…")) else f"{line}."
