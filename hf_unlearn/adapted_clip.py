"""A local CLIP with an adapter in effect: what people use after loading one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from hf_unlearn.adapted_box import Adapter
from hf_unlearn.clip import ClipBlackBox
from hf_unlearn.data import check_names


class AdaptedClip:
    """A base model with an adapter in effect, which can be switched off and on.

    The image side is untouched, whatever the kind: image-to-image search still finds what is forgotten.

    Attributes:
        model: the base without the adapter, under the adapter's template if it has one of its own.
        adapter: the adapter.
        enabled: whether it is in effect.

    Raises:
        WrongBaseError: if the adapter was made for another base.
    """

    def __init__(self, model: ClipBlackBox, adapter: Adapter) -> None:
        self.adapter: Any = adapter
        self.adapted = model.under(adapter)
        self.model = model.with_template(self.adapted.template)
        self.enabled = True

    def classify(self, images: Sequence[Image.Image], labels: Sequence[str]) -> Tensor:
        """Probabilities `(N, len(labels))`, each row summing to 1.

        Raises:
            ValueError: if there is no image or no label, or a label doesn't fit the text tower.
        """
        check_names(labels)
        handle = self.model.add_images(images)
        return self._box().log_scores(self._nothing(), handle, labels)[0].exp().cpu()

    def text_features(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors `(n, width)` of texts as they are, without a template, under the adapter.

        Raises:
            ValueError: if there is no text, one is empty, or one doesn't fit the text tower.
        """
        if isinstance(texts, str) or not texts or any(not isinstance(text, str) or not text.strip() for text in texts):
            raise ValueError("expected a list of one or more texts, each of at least one visible character")
        return self._box().with_template("{}").text_features(self._nothing(), list(texts))[0].cpu()

    def image_features(self, images: Sequence[Image.Image]) -> Tensor:
        """Unit vectors `(n, width)`, those of the base: no adapter changes an image's vector.

        Raises:
            ValueError: if there is no image, or one can't be read.
        """
        return self.model.add_images(images).features.cpu()

    @contextmanager
    def disabled(self) -> Iterator[AdaptedClip]:
        """The plain base model while the block lasts; threads that share this object share the switch."""
        before, self.enabled = self.enabled, False
        try:
            yield self
        finally:
            self.enabled = before

    def _box(self) -> Any:
        return self.adapted if self.enabled else self.model

    def _nothing(self) -> Tensor:
        return torch.zeros(1, 0, self.model.dim)
