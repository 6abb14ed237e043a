"""Names in a zip without a stated encoding: the most likely encoding is chosen from the letters."""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence

IN_UTF8, UNICODE_PATH = 0x800, 0x7075
KANA = re.compile("[\u3040-\u30ff]")
HALF_WIDTH = re.compile("[\uff61-\uff9f]")


def decode_names(entries: Sequence[zipfile.ZipInfo]) -> list[str]:
    """The entries' names, with `/` between folders whatever the system they come from.

    A name is in UTF-8 where the zip says so, or holds it a second time. All others share one encoding: UTF-8, one of
    Windows in Japan, China or Russia, or code page 437. The one in which they read best is chosen.
    """
    stated = [_find_utf8_name(entry) for entry in entries]
    raw = [
        entry.orig_filename.encode("cp437") if name is None else b""
        for entry, name in zip(entries, stated, strict=True)
    ]
    encoding = _guess_encoding(b"/".join(name for name in raw if not name.isascii()))
    names = (name.decode(encoding) if known is None else known for name, known in zip(raw, stated, strict=True))
    return [name.split("\0")[0].replace("\\", "/") for name in names]


def _find_utf8_name(entry: zipfile.ZipInfo) -> str | None:
    """The name that the zip states in UTF-8, or None."""
    if entry.flag_bits & IN_UTF8:
        return entry.orig_filename
    extra = entry.extra
    while len(extra) >= 4:
        kind, size = struct.unpack("<HH", extra[:4])
        field, extra = extra[4 : 4 + size], extra[4 + size :]
        plain = entry.orig_filename.encode("cp437")
        if kind == UNICODE_PATH and field[:1] == b"\1" and field[1:5] == struct.pack("<I", zlib.crc32(plain)):
            return field[5:].decode()
    return None


def _guess_encoding(text: bytes) -> str:
    """The most likely encoding of a text of names."""
    scores = {encoding: _score(text, encoding, judge) for encoding, judge in JUDGES.items()}
    best = max(scores, key=scores.__getitem__)
    return best if scores[best] > 0 else "cp437"  # which has a letter for every byte


def _score(text: bytes, encoding: str, judge: Callable[[str], float]) -> float:
    """How well a text reads in an encoding: 0 (not at all) to 2 (UTF-8)."""
    try:
        return judge(text.decode(encoding))
    except UnicodeDecodeError:
        return 0


def _japanese(text: str) -> float:
    """Kana and everyday kanji. Half-width kana count nothing: file names hardly ever hold them."""
    return _share(
        text, lambda c: 1.0 if KANA.match(c) else 0.0 if HALF_WIDTH.match(c) else _rank(c, "cp932", 0x88, 0x98)
    )


def _chinese(text: str) -> float:
    return _share(text, lambda c: _rank(c, "gb2312", 0xB0, 0xD7))


def _russian(text: str) -> float:
    mixed = re.search(r"[^\x00-\x7f][A-Za-z]|[A-Za-z][^\x00-\x7f]", text)
    return 0.9 * (not mixed and all("Ѐ" <= c <= "ӿ" for c in text if not c.isascii()))


def _western(text: str) -> float:
    """Single accented letters among plain ones, which is how Western words look."""
    strange = [c for c in text if not c.isascii()]
    plain = sum(c.isascii() and c.isalpha() for c in text)
    alone = not re.search(r"[^\x00-\x7f]{2}|[^\x00-\x7f][A-Z]", text) and len(strange) <= plain
    within = len(re.findall(r"(?<=[A-Za-z])[^\x00-\x7f](?=[a-z])", text)) == len(strange)
    return (1.1 if within else 0.95) * (alone and all("À" <= c <= "ÿ" for c in strange))


def _share(text: str, rank: Callable[[str], float]) -> float:
    strange = [c for c in text if not c.isascii()]
    return sum(map(rank, strange)) / max(1, len(strange))


def _rank(letter: str, encoding: str, first: int, last: int) -> float:
    """1 for the letters used every day, which have the first places of their encoding; 0.5 for the rest."""
    try:
        row = letter.encode(encoding)[0]
    except UnicodeEncodeError:
        return 0.0
    return 1.0 if first <= row <= last else 0.5 if row > last else 0.25


JUDGES: dict[str, Callable[[str], float]] = {
    "utf-8": lambda text: 2.0,
    "cp437": _western,
    "cp932": _japanese,
    "gbk": _chinese,
    "cp866": _russian,
}
