"""Scores with a floor: beside the labels, "none of these" gets a share, so that a model can say "I don't know"."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import TYPE_CHECKING

from cachetools import LRUCache

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from hf_unlearn import TextEdit
    from space.services.thread_safe_clip import ThreadSafeClip

FLOOR = 2.5  # standard deviations above the mean word of the model's vocabulary
LABELS = 4_096  # whose features are remembered
# Measured with the embedded model on 560 test drawings: a drawing's name is at 4.4 (median; 5 % of them below 1.9),
# the best of eight wrong names at 1.4 (5 % above 2.7).


def floor_scores(model: ThreadSafeClip) -> FloorScores:
    """Scores of a model with a floor, made once while the model is in memory.

    Raises:
        InputError: if its tokenizer has too few words; a ValueError.
    """
    with model.vocabulary:
        found: FloorScores | None = model.floor.get("scores")
        if found is None:
            found = model.floor["scores"] = FloorScores(model)
    return found


class FloorScores:
    """Scores of images against labels and against the floor.

    The floor is the score `FLOOR` standard deviations above the mean word of the model's vocabulary. It depends on the
    image and the plain model alone, so it is the same before and after an edit.

    Args:
        model: the plain model; its vocabulary is read here, unless it is cached.
    """

    def __init__(self, model: ThreadSafeClip) -> None:
        from hf_unlearn.edits.by_name import OF_WORDS
        from hf_unlearn.edits.vocabulary import vocabulary_features, vocabulary_words
        from hf_unlearn.models.black_box import TEMPLATE

        self._model = model.with_template(TEMPLATE)
        words = vocabulary_features(model, vocabulary_words(model), OF_WORDS)[OF_WORDS.index(TEMPLATE)]
        self._words = words.to(self._model.device)
        self._texts: LRUCache[str, Tensor] = LRUCache(LABELS)
        self._lock = Lock()

    def encode(self, images: Sequence[Image.Image]) -> Tensor:
        """`n` images -> unit features `(n, width)`."""
        return self._model.add_images(list(images)).features

    def shares(self, features: Tensor, labels: Sequence[str], edit: TextEdit | None = None) -> Tensor:
        """Image features `(n, width)` -> shares `(n, labels + 1)`, each row summing to 1; the last one is the floor's.

        Raises:
            PromptTooLongError: if a label does not fit the text tower.
        """
        if not labels:
            return self.beside(features, self._words[:0])
        texts = self._text_features(labels)
        return self.beside(features, texts if edit is None else edit(texts))

    def beside(self, features: Tensor, texts: Tensor) -> Tensor:
        """Image and text features `(n, width)`, `(C, width)` -> shares `(n, C + 1)`; the last one is the floor's."""
        import torch

        scale = self._model.model.logit_scale.exp().float()
        words = scale * features @ self._words.T
        floor = words.mean(1, keepdim=True) + FLOOR * words.std(1, keepdim=True)
        return torch.cat([scale * features @ texts.T, floor], 1).softmax(1)

    def _text_features(self, labels: Sequence[str]) -> Tensor:
        """`n` labels -> unit features `(n, width)`, each label encoded once: visitors share most labels."""
        import torch

        with self._lock:
            known = {label: row for label in labels if (row := self._texts.get(label)) is not None}
        if missing := [label for label in dict.fromkeys(labels) if label not in known]:
            rows = self._model.text_features(torch.zeros(1, 0, self._model.dim), missing)[0]
            known |= dict(zip(missing, rows, strict=True))
            with self._lock:
                self._texts.update(known)
        return torch.stack([known[label] for label in labels])
