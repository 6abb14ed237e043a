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
from hf_unlearn.models.prompts import check_distinguishable


class AdaptedClip:
    """A base model with an adapter in effect, which can be switched off.

    The image side is untouched, whatever the kind: image-to-image search still finds forgotten things.

    Attributes:
        model: the base without the adapter, with the adapter's template if it is a context.
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
            images: several, or one: paths (no URLs), PIL images, bytes of image files, open files, arrays or tensors.
                An array is `(height, width)` or `(height, width, 1 to 4)`; a tensor may have the channels first.
                A batch has four axes, `(N, height, width, 1 to 4)`. `hf_unlearn.to_rgb` says what pixels may be.

        Raises:
            InputError: if there is no image or no label, or an image can't be read; the message says which. Also if the
                tokenizer makes the same tokens of two labels.
            PromptTooLongError: if a label has too many tokens.
        """
        labels = check_names(labels, "labels", in_order=True)
        check_distinguishable(self.model, labels)
        handle = self.model.add_images(images)
        scores: Tensor = self._box().log_scores(self._no_context(), handle, labels)
        return scores[0].exp().cpu()

    def text_features(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors `(n, width)` of texts without a template, under the adapter.

        Raises:
            InputError: if there is no text, or one is empty.
            PromptTooLongError: if one has too many tokens.
        """
        asked = text_list("texts", texts, empty=False)
        features: Tensor = self._box().with_template("{}").text_features(self._no_context(), asked)
        return features[0].cpu()

    def image_features(self, images: Any) -> Tensor:
        """Unit vectors `(n, width)` of images as for `classify`; no adapter changes them.

        Raises:
            InputError: if there is no image, or one can't be read; the message says which.
        """
        return self.model.add_images(images).features.cpu()

    @contextmanager
    def disabled(self) -> Iterator[AdaptedClip]:
        """Switches the adapter off within the block; threads that share this object share the switch."""
        before, self.enabled = self.enabled, False
        try:
            yield self
        finally:
            self.enabled = before

    def _box(self) -> Any:
        return self.adapted if self.enabled else self.model

    def _no_context(self) -> Tensor:
        return torch.zeros(1, 0, self.model.dim)
