"""A local CLIP with an adapter in effect: what people use after loading one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from hf_unlearn.data.class_names import check_names, text_list
from hf_unlearn.models.adapted_box import Adapter
from hf_unlearn.models.clip import ClipBlackBox


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

    def classify(self, images: Any, labels: Sequence[str]) -> Tensor:
        """Probabilities `(N, len(labels))`, each row summing to 1.

        Args:
            images: several, or one: paths (no URLs), PIL images, bytes of image files, open files, arrays `(height,
                width)` or `(height, width, 1 to 4)`, tensors, also with the channels first; or a batch of four axes,
                `(N, height, width, 1 to 4)`. See `hf_unlearn.data.pixels.to_rgb` for what pixels may be.

        Raises:
            ValueError: if there is no image or no label, an image can't be read (it says which), or a label
                doesn't fit the text tower.
        """
        labels = check_names(labels, "labels", in_order=True)
        handle = self.model.add_images(images)
        return self._box().log_scores(self._nothing(), handle, labels)[0].exp().cpu()

    def text_features(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors `(n, width)` of texts as they are, without a template, under the adapter.

        Raises:
            ValueError: if there is no text, one is empty, or one doesn't fit the text tower.
        """
        asked = text_list("texts", texts, empty=False)
        return self._box().with_template("{}").text_features(self._nothing(), asked)[0].cpu()

    def image_features(self, images: Any) -> Tensor:
        """Unit vectors `(n, width)` of images as `classify` takes them; the base's, for no adapter changes them.

        Raises:
            ValueError: if there is no image, or one can't be read; it says which.
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
