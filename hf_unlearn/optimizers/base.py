"""What an optimizer is to the loop: something to ask for latents and to tell what came out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from torch import Tensor

Array = np.ndarray
State = tuple[dict[str, Any], dict[str, Tensor]]  # what JSON can hold, and tensors


class Optimizer(Protocol):
    """`ask` for latents, score them, `tell` what came out; in turns.

    Attributes:
        incumbent: `(d,)`, the latent the optimizer would stand by now.
        iterates: rows of the batch last told that are iterates, not probes: worth selecting among.
        images: `(n,)`, the training images whose log-scores it learns from.
    """

    images: Tensor
    incumbent: Array
    iterates: Sequence[int]

    def ask(self) -> Array:
        """`(P, d)` float64. Raises: RuntimeError: if the last batch has not been told."""
        ...

    def tell(self, latents: Array, losses: Array, log_scores: Tensor) -> None:
        """`(P, d)`, `(P,)` and `(P, n, C)` of its images. Raises: RuntimeError: if nothing was asked."""
        ...

    def state(self) -> State:
        """What it is made of between `tell` and `ask`."""
        ...

    def restore(self, state: State) -> None:
        """Makes an optimizer, built with the same arguments and told no more, go on from a `state`, bit for bit."""
        ...

    def restart(self) -> None:
        """Takes up another objective where it stands; the first batch from here has an iterate."""
        ...
