"""The paper's CMA-ES variants, from `cmaes`: one search per block of the latent."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from cmaes import CMA
from torch import Tensor

from hf_unlearn.errors import CallOrderError
from hf_unlearn.optimizers.base import Array, State


class BlockCMA:
    """One CMA-ES per block of the latent, all told the same losses (the paper, algorithm 1).

    With the blocks of a shared-and-unique latent this is the paper's method; with one block per
    token "independent"; with a single block plain CMA-ES (black-box tuning).

    Args:
        blocks: the parts of the latent; together they cover it.
        seed: for the search distributions.
        population: candidates per `ask`.
        sigma: initial step size.
    """

    def __init__(self, blocks: Sequence[slice], seed: int, population: int = 20, sigma: float = 1.0) -> None:
        self.blocks = list(blocks)
        size = max(block.stop for block in self.blocks)
        seeds = np.random.SeedSequence(seed).generate_state(len(self.blocks))
        self._searches = [
            CMA(np.zeros(block.stop - block.start), sigma, seed=int(own), population_size=population)
            for block, own in zip(self.blocks, seeds, strict=True)
        ]
        self.population = population
        self.images = torch.empty(0, dtype=torch.long)
        self.incumbent: Array = np.zeros(size)
        self.iterates: Sequence[int] = ()
        self._best = np.inf
        self._waiting = False
        self._told: list[Array] = []

    def ask(self) -> Array:
        if self._waiting:
            raise CallOrderError("ask was called twice; tell the losses of the last batch first")
        self._waiting = True
        latents = np.empty((self.population, len(self.incumbent)))
        for block, search in zip(self.blocks, self._searches, strict=True):
            for row in latents:
                row[block] = search.ask()
        return latents

    def tell(self, latents: Array, losses: Array, log_scores: Tensor) -> None:
        if not self._waiting:
            raise CallOrderError("tell was called without ask; ask for latents first")
        self._waiting = False
        self._told.append(np.asarray(losses, dtype=np.float64))
        for block, search in zip(self.blocks, self._searches, strict=True):
            search.tell([(row[block], float(loss)) for row, loss in zip(latents, losses, strict=True)])
        self.iterates = range(len(latents))
        best = int(np.argmin(losses))
        if losses[best] < self._best:
            self._best, self.incumbent = float(losses[best]), latents[best].copy()

    def state(self) -> State:
        return {}, {"losses": torch.from_numpy(np.array(self._told).reshape(-1, self.population))}

    def restore(self, state: State) -> None:
        """`cmaes` gives no state away; its searches are seeded, so being told the same again brings it back."""
        for losses in state[1]["losses"].numpy()[len(self._told) :]:
            self.tell(self.ask(), losses, torch.empty(0))

    def restart(self) -> None:
        self._best = np.inf
