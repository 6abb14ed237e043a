"""The protocol between the training loop and an optimizer: ask for latents, score them, report the scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hf_unlearn.errors import CallOrderError

Array = NDArray[np.float64]
State = tuple[dict[str, Any], dict[str, Tensor]]  # facts that JSON can hold, and tensors


class Optimizer(Protocol):
    """Alternates between `ask` for latents and `tell` with their scores.

    Attributes:
        incumbent: `(d,)`, where the search is.
        images: `(n,)`, indices of the training images whose log-scores `tell` needs.
    """

    images: Tensor
    incumbent: Array

    def ask(self) -> Array:
        """Proposes latents `(P, d)`, float64.

        Raises:
            CallOrderError: if the last batch was not reported yet; a RuntimeError.
        """
        ...

    def tell(self, latents: Array, losses: Array, log_scores: Tensor) -> Sequence[int]:
        """Reports the scores of the latents that `ask` proposed.

        Args:
            latents: `(P, d)`.
            losses: `(P,)`.
            log_scores: `(P, n, C)` on `images`.

        Returns:
            The rows that are iterates, not probes: candidates for the best context. The first batch has one.

        Raises:
            CallOrderError: if `ask` was not called before; a RuntimeError.
        """
        ...

    def state(self) -> State:
        """The state after the last `tell`, whether `ask` was called since or not, for `restore`."""
        ...

    def restore(self, state: State) -> None:
        """Continues from a `state`, bit for bit; the optimizer was just built with the same arguments."""
        ...

    def restart(self) -> None:
        """Continues from the incumbent under another objective; the next batch has an iterate."""
        ...


class AskTellOptimizer(ABC):
    """Checks that `ask` and `tell` alternate; a subclass proposes latents and learns from their scores."""

    images: Tensor
    incumbent: Array
    _asked = False

    def ask(self) -> Array:
        """Proposes latents `(P, d)`; see `Optimizer.ask`."""
        if self._asked:
            raise CallOrderError("ask was called twice; report the losses of the last batch with tell first")
        self._asked = True
        return self._propose()

    def tell(self, latents: Array, losses: Array, log_scores: Tensor) -> Sequence[int]:
        """Learns from the scores and returns the rows that are iterates; see `Optimizer.tell`."""
        if not self._asked:
            raise CallOrderError("tell was called without ask; ask for latents first")
        self._asked = False
        return self._update(latents, losses, log_scores)

    @abstractmethod
    def _propose(self) -> Array:
        """Returns latents `(P, d)`."""

    @abstractmethod
    def _update(self, latents: Array, losses: Array, log_scores: Tensor) -> Sequence[int]:
        """Learns from the proposed latents' scores; returns the rows that are iterates."""
