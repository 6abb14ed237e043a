"""The vocabulary that an edit holds in place: whole words from the model's tokenizer, and their text features.

No list of words is shipped.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.nn import functional as F

from hf_unlearn.data.class_names import clean_name, name_list
from hf_unlearn.edits.feature_cache import cache_folder, cache_key, read_features, write_features
from hf_unlearn.edits.tokenizer_words import FEWEST, find_words, is_sorted_by_spelling
from hf_unlearn.errors import InputError
from hf_unlearn.models.black_box import PROBES, TextEncoder

LIMIT = 3_000  # words
ENCODED_AT_ONCE = 256  # words
PROGRESS_FROM = 500  # prompts; fewer take a moment
GIVE_WORDS = "pass words to hold in place yourself: vocabulary=[...]"


def load_vocabulary(
    box: TextEncoder,
    templates: Sequence[str],
    *,
    exclude: Iterable[str] = (),
    vocabulary: Sequence[str] | None = None,
    limit: int = LIMIT,
) -> tuple[list[str], Tensor]:
    """The `n` words that an edit of a model holds in place, and their features `(templates, n, width)`.

    Args:
        box: a black box with text features.
        templates: prompts around a word.
        exclude: names that must not be among the words, in any case: forgotten, kept, those of a test. They are
            removed after the cache was read, so all requests share one cached file.
        vocabulary: words to use in place of the tokenizer's.
        limit: words at most, of the tokenizer's.

    Raises:
        InputError: if there is no tokenizer, or there are too few words; a ValueError.
    """
    all_words = vocabulary_words(box, limit=limit) if vocabulary is None else distinct(vocabulary)
    names = {_fold(name) for name in exclude}
    left = [row for row, word in enumerate(all_words) if _fold(word) not in names]
    if not left:
        raise InputError(f"no word is left to hold in place; {GIVE_WORDS}")
    return [all_words[row] for row in left], vocabulary_features(box, all_words, templates)[:, left]


def vocabulary_words(source: Any, *, limit: int = LIMIT) -> list[str]:
    """Whole words of a tokenizer, lowercase, without duplicates, in the order of its vocabulary: frequent first.

    Alphabetic words of at least three letters; one character of Chinese, two of Japanese or Korean. A vocabulary
    that is sorted by spelling, as Chinese BERT's is, does not begin with frequent words: it is sampled evenly.

    Args:
        source: a tokenizer of transformers, fast or slow, or a black box that has one.
        limit: words at most.

    Raises:
        InputError: if there is no tokenizer, or it has fewer than 50 words; a ValueError.
    """
    tokenizer = getattr(source, "tokenizer", source)
    if not hasattr(tokenizer, "get_vocab"):
        raise InputError(
            f"{getattr(source, 'model_id', 'this model')} has no tokenizer to take words from; {GIVE_WORDS}"
        )
    special = {*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()}
    ranks = tokenizer.get_vocab()
    found = find_words([piece for piece in sorted(ranks, key=ranks.__getitem__) if piece not in special])
    if len(found) < FEWEST:
        raise InputError(f"the tokenizer has {len(found)} whole words, an edit needs {FEWEST}; {GIVE_WORDS}")
    if len(found) > limit and is_sorted_by_spelling(found):
        return [found[number * len(found) // limit] for number in range(limit)]
    return found[:limit]


def vocabulary_features(box: TextEncoder, words: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Unit text features of `n` words under every template, `(templates, n, width)` float32 on the CPU.

    They are cached on disk (`HF_UNLEARN_CACHE`, else `HF_HOME`). The key is a digest of the words, the templates, the
    model and the adapters over it. A model counts by id, commit and text features of eight fixed texts. A damaged file
    is computed again; a disk that can't be written to is not an error. On a terminal a progress bar is shown. Nothing
    is cached for a box that has `features_in_memory`.
    """
    words, templates = list(words), list(templates)
    probes = _encode_probes(box)
    shape = (len(templates), len(words), probes.shape[-1])
    folder = None if getattr(box, "features_in_memory", False) else cache_folder()
    path = folder / f"{cache_key(box, words, templates, probes)}.safetensors" if folder else None
    found = read_features(path, shape) if path else None
    if found is None:
        found = _encode(box, words, templates)
        if path:
            write_features(path, found)
    return found


def distinct(words: Sequence[str]) -> list[str]:
    """A vocabulary's words, clean, each once.

    Raises:
        InputError: if it is not a list of text, or a word is empty; a ValueError.
    """
    try:
        found = name_list("vocabulary", words)
    except ValueError as error:
        raise InputError(f"a vocabulary is a list of words: {error}") from error
    if not all(found):
        raise InputError("a vocabulary is a list of words, none of them empty")
    return list(dict.fromkeys(found))


def _fold(name: str) -> str:
    return clean_name(name.casefold())


@torch.no_grad()
def _encode(box: TextEncoder, words: list[str], templates: list[str]) -> Tensor:
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


def _encode_probes(box: TextEncoder) -> Tensor:
    """Text features of the eight fixed texts, `(8, width)`; not counted in the ledger."""
    before = box.ledger.copy()
    with torch.no_grad():
        answers = box.with_template("{}").text_features(torch.zeros(1, 0, box.dim), PROBES)[0].float().cpu()
    for count, value in asdict(before).items():
        setattr(box.ledger, count, value)
    return answers
