"""The search of a run: its latent and optimizer, new or continued from an earlier run with other names to forget."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hf_unlearn.models.black_box import BlackBox
from hf_unlearn.models.text_edit import digest
from hf_unlearn.optimizers.base import Optimizer
from hf_unlearn.optimizers.latent_context import LatentContext
from hf_unlearn.optimizers.methods import build_latent, build_optimizer
from hf_unlearn.optimizers.objective import Objective
from hf_unlearn.training.run_identity import RunIdentity


@dataclass(frozen=True)
class Search:
    """A run's latent and optimizer.

    Log-scores don't depend on what is to be forgotten, so neither does what an optimizer learned of them.

    Attributes:
        latent: the affine map from latents to contexts.
        optimizer: with what it learned so far.
        seed: the optimizer's.
        identity: of the run.
    """

    latent: LatentContext
    optimizer: Optimizer
    seed: int
    identity: RunIdentity

    @classmethod
    def start_or_continue(
        cls, earlier: Search | None, model: BlackBox, objective: Objective, identity: RunIdentity
    ) -> Search:
        """Continues a copy of an earlier search on the same scores, else starts a new one."""
        if earlier is not None and earlier.identity.has_same_search(identity):
            return earlier._continue(objective, replace(identity, continues=True))
        return cls._start(model, objective, identity)

    @classmethod
    def _start(cls, model: BlackBox, objective: Objective, identity: RunIdentity) -> Search:
        """Starts at the mean token, or at an adapter's context in directions that differ from those of its run."""
        plan, adapter = identity.method.recipe, identity.method.start
        context = None if adapter is None else adapter.context
        entropy = [identity.seed] if context is None else [identity.seed, int(digest(context)[:16], 16)]
        seeds = np.random.SeedSequence(entropy).generate_state(2)
        start = model.token_mean if context is None else context
        latent = build_latent(plan, start, model.token_std, int(seeds[0]))
        return cls(latent, build_optimizer(plan, latent, objective, int(seeds[1])), int(seeds[1]), identity)

    def _continue(self, objective: Objective, identity: RunIdentity) -> Search:
        """Copies the search for another objective; the original stays as it is."""
        optimizer = build_optimizer(identity.method.recipe, self.latent, objective, self.seed)
        optimizer.restore(self.optimizer.state())
        optimizer.restart()
        return replace(self, optimizer=optimizer, identity=identity)
