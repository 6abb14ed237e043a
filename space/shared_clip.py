"""A CLIP that the threads of many visitors use at once."""

from __future__ import annotations

from threading import Lock
from typing import Any

from torch import Tensor

from hf_unlearn import ClipBlackBox


class SharedClip(ClipBlackBox):
    """Its weights are only read. The path that puts a hook on the text tower is one caller's at a time."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._hooked = Lock()  # copies share it

    def _inject(self, contexts: Tensor, prompts: list[list[int]]) -> Tensor:
        with self._hooked:
            return super()._inject(contexts, prompts)


def parameters(model: ClipBlackBox) -> int:
    """How many numbers the weights hold."""
    return sum(weight.numel() for weight in model.model.parameters())
