"""What a run searches with; a later run with other classes to forget goes on with it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hf_unlearn.adapters.adapter import ForgetAdapter
from hf_unlearn.models.black_box import BlackBox
from hf_unlearn.models.text_edit import digest
from hf_unlearn.optimizers.base import Optimizer
from hf_unlearn.optimizers.latent_context import LatentContext
from hf_unlearn.optimizers.methods import Recipe, build_latent, build_optimizer
from hf_unlearn.optimizers.objective import Objective


@dataclass(frozen=True)
class Search:
    """A run's latent and optimizer.

    Log-scores don't depend on what is to be forgotten, so neither does what an optimizer has learnt of them.

    Attributes:
        latent: the affine map from latents to contexts.
        optimizer: where it stands.
        seed: the optimizer's.
        of: what the scores and the latent depend on, as name -> value.
    """

    latent: LatentContext
    optimizer: Optimizer
    seed: int
    of: dict[str, Any]

    @classmethod
    def new(
        cls, plan: Recipe, model: BlackBox, objective: Objective, seed: int, init: ForgetAdapter | None,
        of: dict[str, Any],
    ) -> Search:  # fmt: skip
        """At the mean token, or at a finished adapter's context; then in directions that its own run did not have."""
        context = None if init is None else init.context
        entropy = [seed] if context is None else [seed, int(digest(context)[:16], 16)]
        seeds = np.random.SeedSequence(entropy).generate_state(2)
        start = model.token_mean if context is None else context
        latent = build_latent(plan, start, model.token_std, int(seeds[0]))
        return cls(latent, build_optimizer(plan, latent, objective, int(seeds[1])), int(seeds[1]), of)

    def again(self, plan: Recipe, objective: Objective) -> Search:
        """The same, where it stands, for another objective; this one stays as it is."""
        optimizer = build_optimizer(plan, self.latent, objective, self.seed)
        optimizer.restore(self.optimizer.state())
        optimizer.restart()
        return replace(self, optimizer=optimizer)
