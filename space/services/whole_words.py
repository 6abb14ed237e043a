"""Neighbours of an edit for people to read: words, without the ends of words among the embedded vocabulary."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from hf_unlearn.models.embedded import EMBEDDED


def keep_words(neighbours: Iterable[dict[str, Any]], base: str) -> list[dict[str, Any]]:
    """Without ends of words, such as "ger" of tiger: of the embedded model, the words by which things are drawn.

    CLIP's tokenizers mark where a word ends and not where it begins, so the vocabulary alone can't separate them.

    Args:
        neighbours: of an adapter's config.
        base: the model's name; of others than the embedded one all are kept.
    """
    return [item for item in neighbours if base != EMBEDDED or item["word"] in _drawn_words()]


@lru_cache(maxsize=1)
def _drawn_words() -> frozenset[str]:
    from hf_unlearn.demo import emoji_tasks as demo

    names = (name for concept in demo.concepts().values() for name in concept["names"])
    return frozenset(word for name in names for word in re.findall(r"[a-z]+", name.casefold()))
