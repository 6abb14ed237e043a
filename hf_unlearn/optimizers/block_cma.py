"""The paper's CMA-ES variants, from the package `cmaes`: one search per block of the latent."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from cmaes import CMA
from torch import Tensor

from hf_unlearn.arguments import positive, whole_number
from hf_unlearn.optimizers.base import Array, AskTellOptimizer, State


class BlockCMA(AskTellOptimizer):
    """One CMA-ES per block of the latent; all blocks see the same losses (the paper, algorithm 1).

    With the blocks of a shared-and-unique latent this is the paper's method. With one block per
    token it is "independent"; with a single block it is plain CMA-ES (black-box tuning).

    Args:
        blocks: slices of the latent that cover it together.
        seed: seed of the search distributions.
        population: candidates per `ask`.
        sigma: initial step size.

    Raises:
        ValueError: if a number makes no sense.
    """

    def __init__(self, blocks: Sequence[slice], seed: int, population: int = 20, sigma: float = 1.0) -> None:
        self.blocks = list(blocks)
        population, sigma = whole_number("population", population, least=2), positive("sigma", sigma)
        size = max(block.stop for block in self.blocks)
        seeds = np.random.SeedSequence(seed).generate_state(len(self.blocks))
        self._searches = [
            CMA(np.zeros(block.stop - block.start), sigma, seed=int(block_seed), population_size=population)
            for block, block_seed in zip(self.blocks, seeds, strict=True)
        ]
        self.population = population
        self.images = torch.empty(0, dtype=torch.long)
        self.incumbent: Array = np.zeros(size)
        self._best = np.inf
        self._losses: list[Array] = []

    def _propose(self) -> Array:
        latents = np.empty((self.population, len(self.incumbent)))
        for block, search in zip(self.blocks, self._searches, strict=True):
            for row in latents:
                row[block] = search.ask()
        return latents

    def _update(self, latents: Array, losses: Array, log_scores: Tensor) -> Sequence[int]:
        self._losses.append(np.asarray(losses, dtype=np.float64))
        for block, search in zip(self.blocks, self._searches, strict=True):
            search.tell([(row[block], float(loss)) for row, loss in zip(latents, losses, strict=True)])
        best = int(np.argmin(losses))
        if losses[best] < self._best:
            self._best, self.incumbent = float(losses[best]), latents[best].copy()
        return range(len(latents))

    def state(self) -> State:
        """All losses so far: `cmaes` does not export its state."""
        return {}, {"losses": torch.from_numpy(np.array(self._losses).reshape(-1, self.population))}

    def restore(self, state: State) -> None:
        """Replays the losses; the seeded searches reach the same state bit for bit."""
        for losses in state[1]["losses"].numpy()[len(self._losses) :]:
            self.tell(self.ask(), losses, torch.empty(0))

    def restart(self) -> None:
        """Forgets the best loss, which was of another objective; the search distributions stay."""
        self._best = np.inf
