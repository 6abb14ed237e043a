"""Scores that are asked once: a remote black box charges for every query."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from hf_unlearn.models.black_box import BlackBox
from hf_unlearn.models.box_answers import check_log_softmax, read_scores

Key = tuple[str, tuple[str, ...], int, tuple[str, ...]]  # template, adapters' digests, id of the images, names


class ScoreMemory:
    """Encodes every set of images once and asks for every score once.

    Two scores are the same if template, adapters, images and names are. It holds all images and scores that it was
    asked about, so it lasts as long as one evaluation or audit.

    Attributes:
        model: the base; every box that is scored is this model, under adapters or another template.
    """

    def __init__(self, model: BlackBox) -> None:
        self.model = model
        self._handles: dict[int, tuple[object, Any]] = {}
        self._scores: dict[Key, tuple[object, Tensor]] = {}

    def encode(self, images: Iterable[Image.Image]) -> Any:
        """The model's handle of `images`."""
        if id(images) not in self._handles:  # the images are kept: another object could get their id
            self._handles[id(images)] = images, self.model.add_images(images)
        return self._handles[id(images)][1]

    def score(self, box: BlackBox, handle: Any, names: Sequence[str]) -> Tensor:
        """Log-scores `(N, C)` on the CPU.

        Raises:
            InputError: if the box answers with something else; a ValueError.
            PromptTooLongError: if a prompt has more tokens than the text tower reads.
            BudgetSpentError: if the box answers no more queries.
        """
        key = box.template, tuple(getattr(box, "adapted_by", ())), id(handle), tuple(names)
        if key not in self._scores:
            answer = box.log_scores(torch.zeros(1, 0, box.dim), handle, names)
            scores = read_scores(answer, (1, len(handle), len(names)), box.model_id)[0].cpu()
            self._scores[key] = handle, check_log_softmax(scores, box.model_id)
        return self._scores[key][1]
