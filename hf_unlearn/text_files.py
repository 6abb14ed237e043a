"""Text and JSON as people and their editors save them."""

from __future__ import annotations

import codecs
import json
from typing import Any

from hf_unlearn.arguments import brief

MARKS = {  # UTF-32's begins with UTF-16's
    codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF32_LE: "utf-32-le", codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be",
}  # fmt: skip
SAVE = "save it as UTF-8"
MOST_DIGITS = 400  # of a number; no float has more


def decode(content: bytes) -> str:
    """UTF-8 with or without a byte-order mark; UTF-16 and UTF-32, as Windows writes them, with one.

    Raises:
        ValueError: if it is no such text.
    """
    mark = next((mark for mark in MARKS if content.startswith(mark)), b"")
    body = content[len(mark) :]
    try:
        text = body.decode(MARKS.get(mark, "utf-8"))
    except UnicodeDecodeError as error:
        line = body[: error.start].count(b"\n") + 1
        raise ValueError(f"not text in UTF-8 (byte 0x{body[error.start]:02x} in line {line}); {SAVE}") from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise ValueError(f"not text in UTF-8 (a zero byte in line {line}, as in UTF-16 or no text at all); {SAVE}")
    return text


def parse_json(content: bytes, *, nan: bool = False) -> Any:
    """What a JSON file holds.

    Args:
        nan: whether NaN and infinity may be in it, which Python writes and JSON has not.

    Raises:
        ValueError: if it is no JSON text, a key stands in one object twice, a number is huge, or something in it could
            not be written again.
    """
    try:
        found = json.loads(decode(content), object_pairs_hook=_object, parse_int=_whole)
        json.dumps(found, ensure_ascii=False, allow_nan=nan).encode()  # half a character can't be written
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    except UnicodeEncodeError as error:
        raise ValueError("half a character (a lone surrogate) in it") from error
    return found


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {brief(key)} stands there twice")
        found[key] = value
    return found


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"a number of {len(digits):,} digits")
    return int(digits)
