"""A bare training loop on images encoded once, for attackers who learn and for membership's many adapters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hf_unlearn.errors import InputError
from hf_unlearn.models.black_box import BlackBox
from hf_unlearn.models.box_answers import read_scores
from hf_unlearn.optimizers.methods import build_latent, recipe
from hf_unlearn.optimizers.objective import Objective
from hf_unlearn.optimizers.proximal import Proximal


class CrossEntropy(Objective):
    """Cross-entropy on all images: nothing is to be forgotten."""

    def __post_init__(self) -> None:
        pass

    def __call__(self, log_scores: Tensor, rivals: Tensor | None = None) -> Tensor:
        """`(..., N, C)` -> `(...)`, in nats."""
        return -log_scores.gather(-1, self.labels.expand(log_scores.shape[:-1])[..., None]).mean((-1, -2))

    def derivative(self, logits: Tensor, rivals: Tensor) -> tuple[Tensor, Tensor]:
        """Value and gradient of `self(logits.log_softmax(-1))`: `(..., N, C)` -> `(...)`, `(..., N, C)`."""
        log_scores = logits.log_softmax(-1)
        truth = F.one_hot(self.labels, logits.shape[-1]).to(logits)
        return self(log_scores), (log_scores.exp() - truth) / len(self.labels)


@dataclass(frozen=True)
class Move:
    """A step of the optimizer that found a new least loss.

    Attributes:
        queries: spent so far.
        context: `(m, dim)`.
        scores: its log-scores, `(N, C)`.
    """

    queries: int
    context: Tensor
    scores: Tensor


def train_context(
    model: BlackBox,
    score: Callable[[Tensor], Tensor],
    objective: Objective,
    rows: Tensor,
    *,
    n_ctx: int,
    queries: int,
    seed: int = 0,
) -> Iterator[Move]:
    """Runs the proximal optimizer without validation.

    Args:
        model: gives mean and standard deviation of the token embeddings.
        score: contexts `(P, m, dim)` -> log-scores `(P, N, C)`; one query each.
        objective: on the images `rows`, `(n,)` of the `N`.
        n_ctx: length of the context, `m`.
        queries: the budget; the last batch may exceed it.

    Yields:
        every move that found a new least loss.

    Raises:
        InputError: if no answer of the box gave a finite loss.
    """
    seeds = np.random.SeedSequence(seed).generate_state(2)
    plan = replace(recipe("proximal", len(objective.forget)), n_ctx=n_ctx)
    latent = build_latent(plan, model.token_mean, model.token_std, int(seeds[0]))
    optimizer = Proximal(latent.size, objective, int(seeds[1]))
    spent, least = 0, np.inf
    while spent < queries:
        latents = optimizer.ask()
        contexts = latent.decode(torch.from_numpy(latents))
        answer = score(contexts)
        scores = read_scores(answer, (len(contexts), *answer.shape[1:]), model.model_id).cpu()
        spent += len(latents)
        of_rows = scores[:, rows]
        losses = objective(of_rows).double().numpy()
        for row in optimizer.tell(latents, losses, of_rows[:, optimizer.images]):
            if losses[row] < least:
                least = losses[row]
                yield Move(spent, contexts[row], scores[row])
    if least == np.inf and spent:
        raise InputError("the black box answered with scores that are no numbers; nothing can be learnt from them")
