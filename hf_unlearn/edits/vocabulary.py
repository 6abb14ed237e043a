"""The vocabulary that an edit holds in place: whole words from the model's tokenizer, and their text features.

No list of words is shipped. Features are cached on disk, so a second edit of the same model needs no text tower.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
import tempfile
import time
import unicodedata
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor
from torch.nn import functional as F

from hf_unlearn.data.class_names import clean_name, name_list
from hf_unlearn.errors import InputError
from hf_unlearn.models.black_box import PROBES

LIMIT = 3_000  # words
FEWEST = 50  # words that an edit can be computed with
SHORTEST = 3  # letters of a word in an alphabet
ENCODED_AT_ONCE = 256  # words
PROGRESS_FROM = 500  # prompts; fewer take a moment
MOST_FILES, MOST_BYTES = 32, 2**30  # cached at a time; 12 MB each for 3,000 words and a width of 512
LEFT_SECONDS = 3_600  # no file takes so long to be written
HEADER = 65_536  # bytes a cached file may have beyond its numbers
GIVE_WORDS = "pass words to hold in place yourself: vocabulary=[...]"


def with_own_words(
    box: Any,
    templates: Sequence[str],
    *,
    exclude: Iterable[str] = (),
    vocabulary: Sequence[str] | None = None,
    limit: int = LIMIT,
) -> tuple[list[str], Tensor]:
    """A model's vocabulary without some names, and its features `(templates, n, width)`.

    Args:
        box: a black box with text features.
        templates: prompts around a word.
        exclude: names that must not be in it, whatever their case: forgotten, kept, those of a test. They are
            removed after the cache was read, so all requests share one cached file.
        vocabulary: words to use in place of the tokenizer's.
        limit: words at most, of the tokenizer's.

    Raises:
        ValueError: if there is no tokenizer, or too few words.
    """
    all_words = vocabulary_words(box, limit=limit) if vocabulary is None else distinct(vocabulary)
    names = {_folded(name) for name in exclude}
    left = [row for row, word in enumerate(all_words) if _folded(word) not in names]
    if not left:
        raise InputError(f"no word is left to hold in place; {GIVE_WORDS}")
    return [all_words[row] for row in left], vocabulary_features(box, all_words, templates)[:, left]


def vocabulary_words(source: Any, *, limit: int = LIMIT) -> list[str]:
    """Whole words of a tokenizer, lowercase, without duplicates, in the order of its vocabulary: frequent first.

    Alphabetic words of at least three letters; one character of Chinese, two of Japanese or Korean. A vocabulary
    that is sorted by spelling, as Chinese BERT's is, has no frequent words in front: it is sampled evenly.

    Args:
        source: a tokenizer of transformers, fast or slow, or a black box that has one.
        limit: words at most.

    Raises:
        ValueError: if there is no tokenizer, or it has fewer than 50 words.
    """
    tokenizer = getattr(source, "tokenizer", source)
    if not hasattr(tokenizer, "get_vocab"):
        raise InputError(
            f"{getattr(source, 'model_id', 'this model')} has no tokenizer to take words from; {GIVE_WORDS}"
        )
    special = {*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()}
    ranks = tokenizer.get_vocab()
    pieces = [piece for piece in sorted(ranks, key=ranks.__getitem__) if piece not in special]
    found = list(dict.fromkeys(word.lower() for word in _whole(pieces) if _is_word(word)))
    if len(found) < FEWEST:
        raise InputError(f"the tokenizer has {len(found)} whole words, an edit needs {FEWEST}; {GIVE_WORDS}")
    if len(found) > limit and _sorted_by_spelling(found):
        return [found[number * len(found) // limit] for number in range(limit)]
    return found[:limit]


def vocabulary_features(box: Any, words: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Unit text features of words under every template, `(templates, n, width)` float32 on the CPU.

    Cached on disk (`HF_UNLEARN_CACHE`, else `HF_HOME`) under a digest of the model's answers to eight fixed texts, its
    id and commit, the adapters over it, the words and the templates. A damaged file is computed again; a disk that
    can't be written to is no error. Encodes with a progress bar on a terminal.
    """
    words, templates = list(words), list(templates)
    probes = _answers_to_probes(box)
    shape = (len(templates), len(words), probes.shape[-1])
    folder = _folder()
    path = folder / f"{_digest(box, words, templates, probes)}.safetensors" if folder else None
    found = _read(path, shape) if path else None
    if found is None:
        found = _encode(box, words, templates)
        if path:
            _write(path, found)
    return found


# ---- words


def _whole(pieces: Sequence[str]) -> list[str]:
    """The texts of those pieces that are whole words, told by the mark that each kind of tokenizer uses."""
    starts = {mark: [piece for piece in pieces if piece.startswith(mark) and piece != mark] for mark in "Ġ▁"}
    ends = [piece.removesuffix("</w>") for piece in pieces if piece.endswith("</w>")]
    count, kind = max((len(ends), "</w>"), *((len(found), mark) for mark, found in starts.items()))
    if not count:  # WordPiece marks what continues a word; WordLevel has words only
        whole = [piece for piece in pieces if not piece.startswith("##")]
    elif kind == "▁":  # SentencePiece: a space before a word, and none between Chinese words
        whole = [piece.removeprefix("▁") for piece in pieces if piece.startswith("▁") or _is_chinese(piece)]
    elif kind == "Ġ":
        whole = [piece.removeprefix("Ġ") for piece in starts["Ġ"]]
    else:
        whole = ends
    byte_level = "Ġ" in pieces or (count and kind == "Ġ")
    return [text for piece in whole if (text := _decoded(piece))] if byte_level else whole


def _decoded(piece: str) -> str | None:
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


def _is_word(text: str) -> bool:
    """Letters only, with their vowel signs and accents, and enough of them."""
    if text.isascii():
        return len(text) >= SHORTEST and text.isalpha()
    kinds = [unicodedata.category(letter)[0] for letter in text]
    if set(kinds) - {"L", "M"} or kinds[0] != "L":
        return False
    if _is_chinese(text):
        return True
    names = [unicodedata.name(letter, "") for letter in text]
    syllables = any(name.startswith(("HIRAGANA", "KATAKANA", "HANGUL")) for name in names)
    return kinds.count("L") >= (2 if syllables else SHORTEST)


def _is_chinese(text: str) -> bool:
    """Whether there is a Chinese character in it."""
    return any("\u3400" <= letter <= "\u9fff" or "\U00020000" <= letter <= "\U0003ffff" for letter in text)


def _sorted_by_spelling(words: Sequence[str]) -> bool:
    """Whether the front is sorted; words of one frequency often are, but not the most frequent ones."""
    front = words[: max(FEWEST, len(words) // 10)]
    return sum(one < two for one, two in pairwise(front)) > 0.9 * (len(front) - 1)


def distinct(words: Sequence[str]) -> list[str]:
    """A vocabulary's words, clean, each once. Raises: ValueError: if it is no list of text, or a word is empty."""
    try:
        found = name_list("vocabulary", words)
    except ValueError as error:
        raise InputError(f"a vocabulary is a list of words: {error}") from error
    if not all(found):
        raise InputError("a vocabulary is a list of words, none of them empty")
    return list(dict.fromkeys(found))


def _folded(name: str) -> str:
    return clean_name(name.casefold())


# ---- features


@torch.no_grad()
def _encode(box: Any, words: list[str], templates: list[str]) -> Tensor:
    total = len(words) * len(templates)
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("encoding the vocabulary"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=console, transient=True, disable=total <= PROGRESS_FROM or not sys.stderr.isatty(),
    )  # fmt: skip
    rows = []
    with bar:
        task = bar.add_task("", total=total)
        for template in templates:
            inside = box.with_template(template)
            parts = []
            for start in range(0, len(words), ENCODED_AT_ONCE):
                part = words[start : start + ENCODED_AT_ONCE]
                parts.append(inside.text_features(torch.zeros(1, 0, box.dim), part)[0].float().cpu())
                bar.advance(task, len(part))
            rows.append(torch.cat(parts))
    return F.normalize(torch.stack(rows), dim=-1)


def _answers_to_probes(box: Any) -> Tensor:
    """Text features of the eight fixed texts; not counted, as a fingerprint is not."""
    before = box.ledger.copy()
    with torch.no_grad():
        answers = box.with_template("{}").text_features(torch.zeros(1, 0, box.dim), PROBES)[0].float().cpu()
    for count, value in asdict(before).items():
        setattr(box.ledger, count, value)
    return answers


# ---- the files


def _folder() -> Path | None:
    """Where features are cached; None where there is no such place."""
    if own := os.environ.get("HF_UNLEARN_CACHE"):
        folder = Path(own)
    elif home := os.environ.get("HF_HOME"):
        folder = Path(home, "hf_unlearn")
    else:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface", "hf_unlearn")
    try:
        return folder.expanduser() / "vocabulary"
    except RuntimeError:  # no home
        return None


def _digest(box: Any, words: list[str], templates: list[str], probes: Tensor) -> str:
    """Of all that decides the features, the model's own answers and the adapters over it among it.

    Answers alone don't tell a model under a narrow edit from its base: the gate is shut at the fixed texts.
    """
    answers = [[round(value, 4) for value in row] for row in F.normalize(probes[:, :32], dim=-1).tolist()]
    dtype = str(getattr(getattr(box, "model", None), "dtype", None))
    facts = [box.model_id, box.revision, dtype, words, templates, answers]
    facts += getattr(box, "adapted_by", ())
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _read(path: Path, shape: tuple[int, ...]) -> Tensor | None:
    """The features in a cached file; None if there is none, or it is not what was written."""
    try:
        if not path.is_file() or path.stat().st_size > HEADER + 4 * math.prod(shape):
            return None
        found = load(path.read_bytes())
        numbers, digest = found["features"], found["digest"]
    except (OSError, SafetensorError, KeyError, ValueError):
        return None
    good = numbers.shape == shape and numbers.dtype == torch.float32 and torch.equal(digest, _digest_of(numbers))
    if good:
        with suppress(OSError):
            os.utime(path)  # used just now: others make room
    return numbers if good else None


def _write(path: Path, features: Tensor) -> None:
    """Replaces the file whole; a disk that can't be written to is no error. What was used least recently makes room."""
    fresh = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _make_room(path.parent, features.nbytes)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
            fresh = Path(file.name)
            file.write(save({"features": features, "digest": _digest_of(features)}))
        os.replace(fresh, path)
    except OSError:
        pass
    finally:
        if fresh is not None:
            with suppress(OSError):
                fresh.unlink(missing_ok=True)


def _make_room(folder: Path, size: int) -> None:
    """For one more file of about this size. What writers that were killed left, goes too."""
    for left in folder.glob(".*"):
        if time.time() - left.stat().st_mtime > LEFT_SECONDS:
            left.unlink(missing_ok=True)
    files = sorted(folder.glob("*.safetensors"), key=os.path.getmtime)
    sizes = [file.stat().st_size for file in files]
    while files and (len(files) >= MOST_FILES or sum(sizes) + size > MOST_BYTES):
        files.pop(0).unlink(missing_ok=True)
        sizes.pop(0)


def _digest_of(numbers: Tensor) -> Tensor:
    return torch.tensor(list(hashlib.sha256(numbers.contiguous().numpy().tobytes()).digest()), dtype=torch.uint8)
