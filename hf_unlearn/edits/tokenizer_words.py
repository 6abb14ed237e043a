"""Whole words among the pieces of a tokenizer's vocabulary."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from itertools import pairwise

FEWEST = 50  # words that an edit can be computed with
SHORTEST = 3  # letters of a word in an alphabet


def find_words(pieces: Sequence[str]) -> list[str]:
    """The words among the pieces, lowercase, each once, in the order of the pieces."""
    return list(dict.fromkeys(word.lower() for word in _whole_texts(pieces) if is_word(word)))


def _whole_texts(pieces: Sequence[str]) -> list[str]:
    """The texts of pieces that are whole words, by the mark that each kind of tokenizer puts on them."""
    starts = {mark: [piece for piece in pieces if piece.startswith(mark) and piece != mark] for mark in "Ġ▁"}
    ends = [piece.removesuffix("</w>") for piece in pieces if piece.endswith("</w>")]
    count, kind = max((len(ends), "</w>"), *((len(found), mark) for mark, found in starts.items()))
    if not count:  # WordPiece marks what continues a word; WordLevel has words only
        whole = [piece for piece in pieces if not piece.startswith("##")]
    elif kind == "▁":  # SentencePiece: a space before a word, and none between Chinese words
        whole = [piece.removeprefix("▁") for piece in pieces if piece.startswith("▁") or _has_chinese(piece)]
    elif kind == "Ġ":
        whole = [piece.removeprefix("Ġ") for piece in starts["Ġ"]]
    else:
        whole = ends
    byte_level = "Ġ" in pieces or (count and kind == "Ġ")
    return [text for piece in whole if (text := _decode_bytes(piece))] if byte_level else whole


def _decode_bytes(piece: str) -> str | None:
    """A byte-level piece as text; None if it is part of a character."""
    if piece.isascii():
        return piece
    try:
        return bytes(_BYTES[letter] for letter in piece).decode()
    except (KeyError, UnicodeDecodeError):
        return None


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's letter of every byte: printable bytes are themselves, the others follow from U+0100."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = (byte for byte in range(256) if byte not in printable)
    return {chr(byte): byte for byte in printable} | {chr(0x100 + number): byte for number, byte in enumerate(others)}


_BYTES = _byte_alphabet()


def is_word(text: str) -> bool:
    """Letters only, with their vowel signs and accents, and enough of them."""
    if text.isascii():
        return len(text) >= SHORTEST and text.isalpha()
    kinds = [unicodedata.category(letter)[0] for letter in text]
    if set(kinds) - {"L", "M"} or kinds[0] != "L":
        return False
    if _has_chinese(text):
        return True
    names = [unicodedata.name(letter, "") for letter in text]
    syllables = any(name.startswith(("HIRAGANA", "KATAKANA", "HANGUL")) for name in names)
    return kinds.count("L") >= (2 if syllables else SHORTEST)


def _has_chinese(text: str) -> bool:
    """Whether it holds a Chinese character."""
    return any("\u3400" <= letter <= "\u9fff" or "\U00020000" <= letter <= "\U0003ffff" for letter in text)


def is_sorted_by_spelling(words: Sequence[str]) -> bool:
    """Whether the first tenth is sorted. Words of equal frequency often are; the most frequent ones are not."""
    front = words[: max(FEWEST, len(words) // 10)]
    return sum(one < two for one, two in pairwise(front)) > 0.9 * (len(front) - 1)
