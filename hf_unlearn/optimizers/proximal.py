"""Prox-linear steps that learn from all scores of a query, not from one loss."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hf_unlearn.models.cuda_graphs import Replayed
from hf_unlearn.optimizers.base import Array, AskTellOptimizer, State
from hf_unlearn.optimizers.jacobian import FilteredJacobian
from hf_unlearn.optimizers.lbfgs import minimize
from hf_unlearn.optimizers.objective import Objective

LEAST_ETA = 0.1  # near a minimum, a smaller one changes less than float32 resolves
EVALUATIONS = 8  # of the model for a step
RIDGE = 1e-4  # of the largest curvature along a direction, least that any direction is given
PROBE_NOISE, TRIAL_NOISE = 1e-4, 0.02  # of an observation, as shares of its squared length


class Proximal(AskTellOptimizer):
    """Prox-linear steps on the log-scores; a Kalman filter updates their Jacobian with every query (`jacobian`).

    A query returns `N x C` log-scores, not one number. Around the incumbent `z` they are modelled as
    `f(z) + J a`. `J` is known up to a covariance `P` over the latent's directions, the same for every score.
    Each round probes the coordinates with the largest variance in `P`, new ones first. Then it solves for
    several strengths `eta` of the proximal term, without a query,

        a* = argmin_a  L(log_softmax(f(z) + J a)) + |a|² / (2 eta)

    It queries every `z + a*` and moves to the best if the loss fell. It keeps that step's `eta`, or shrinks it.
    Probes and trials correct `J` by Kalman updates; the noise of a trial grows with its length. A move
    inflates the covariance, the more the longer it was. So does a round in which no trial is better.

    Relatives: prox-linear methods (Drusvyatskiy & Paquette, 2019) and derivative-free Gauss-Newton (Cartis &
    Roberts, 2019). Broyden's method (1965) is this filter with `P` reset to 1 before every query.

    Args:
        size: width of the latent.
        objective: the loss; convex in the logits once the margins' rivals are frozen.
        seed: decides which images the model uses, where there are more than `model_images`.
        probes: directions per round.
        step: length of a probe.
        eta: first strength; a larger one allows larger steps.
        strengths: factors on `eta` that each round tries, ascending.
        drift: variance that a move of length 1, or a round without a better trial, adds to every direction.
        model_images: at most so many images, drawn evenly over the classes, enter the model of the scores.
            The loss that decides is always on all images.
    """

    def __init__(
        self,
        size: int,
        objective: Objective,
        seed: int,
        probes: int = 8,
        step: float = 0.03,
        eta: float = 1.0,
        strengths: Sequence[float] = (0.3, 1.0, 3.0),
        drift: float = 0.1,
        model_images: int = 1_000,
    ) -> None:
        generator = np.random.default_rng(seed)
        self.images = _evenly(objective.labels.cpu(), model_images, generator)
        self._objective = objective.part(self.images)
        self.incumbent: Array = np.zeros(size)
        self.eta = eta
        self.probes = min(probes, size)
        self.step = step
        self.strengths = tuple(strengths)
        self.drift = drift
        self._jacobian = FilteredJacobian(size)
        self._steps = Replayed(self._steps_of)
        self._phase = "start"
        self._loss = np.inf
        self._scores = torch.empty(0)  # (images, C), at the incumbent
        self._etas: list[float] = []

    def _propose(self) -> Array:
        if self._phase == "start":
            return self.incumbent[None].copy()
        if self._phase == "probe":
            return self.incumbent + self.step * self._jacobian.doubtful(self.probes).numpy()
        self._etas = [self.eta * factor for factor in self.strengths]
        steps = self._solve(self._etas).cpu().double().numpy()
        trials = np.repeat(self.incumbent[None], len(self._etas), 0)
        trials[:, : steps.shape[1]] += steps
        return trials

    def _update(self, latents: Array, losses: Array, log_scores: Tensor) -> Sequence[int]:
        iterates: Sequence[int] = ()
        self._to(log_scores.device)
        if self._phase == "start":
            iterates = self._move(latents, losses, log_scores, 0)
            self._phase = "probe"
        elif self._phase == "probe":
            self._learn(latents, log_scores, PROBE_NOISE)
            self._phase = "trial" if self._jacobian.known else "probe"
        else:
            self._learn(latents, log_scores, TRIAL_NOISE)
            best = int(np.nanargmin(np.where(np.isfinite(losses), losses, np.inf)))
            if losses[best] < self._loss:
                self.eta = self._etas[best]
                self._jacobian.blur(self.drift * min(1.0, float(np.square(latents[best] - self.incumbent).sum())))
                iterates = self._move(latents, losses, log_scores, best)
            else:
                self.eta = max(0.3 * min(self._etas), LEAST_ETA)
                self._jacobian.blur(self.drift)
            self._phase = "probe"
        return iterates

    def state(self) -> State:
        """Phase, step size, incumbent, its scores, and the filter."""
        facts = {"phase": self._phase, "eta": self.eta, "loss": self._loss}
        return facts, {
            "incumbent": torch.from_numpy(self.incumbent),
            "scores": self._scores,
            **self._jacobian.state(),
        }

    def restore(self, state: State) -> None:
        """Continues from a `state`, bit for bit."""
        facts, tensors = state
        self._phase, self.eta, self._loss = facts["phase"], facts["eta"], facts["loss"]
        self.incumbent = tensors["incumbent"].numpy().copy()
        self._scores = tensors["scores"]
        self._jacobian.restore(tensors)
        self._to(self._objective.labels.device)

    def restart(self) -> None:
        """Scores the incumbent again, for another objective; the Jacobian stays."""
        self._phase = "start"

    def _to(self, device: torch.device) -> None:
        self._objective, self._scores = self._objective.to(device), self._scores.to(device)
        self._jacobian.to(device)

    def _move(self, latents: Array, losses: Array, log_scores: Tensor, row: int) -> Sequence[int]:
        self.incumbent, self._loss, self._scores = latents[row].copy(), float(losses[row]), log_scores[row].clone()
        return (row,)

    def _learn(self, latents: Array, log_scores: Tensor, noise: float) -> None:
        self._jacobian.learn(torch.from_numpy(latents - self.incumbent), log_scores - self._scores, noise)

    @torch.no_grad()
    def _solve(self, etas: Sequence[float]) -> Tensor:
        """Solves for the prox-linear steps `a*`, `(strengths, known)`."""
        jacobian = self._jacobian
        known = jacobian.size if self._scores.is_cuda else jacobian.known  # a graph wants the same shapes every time
        firmness = 1 / torch.tensor(etas).to(self._scores)
        directions = self._directions(firmness.median(), jacobian.gram[:known, :known])
        steps = self._steps(self._scores, firmness, jacobian.patterns, jacobian.values[:known], directions)
        return steps[:, : jacobian.known]

    def _directions(self, firmness: Tensor, gram: Tensor) -> Tensor:
        """Directions as rows, `(known, known)`, along which the model is about equally curved, for every strength.

        They are the rows of `R^-1`, where `R R.T` is Gauss-Newton's Hessian if all log-scores count as
        equally curved. Along them a solve needs 8 evaluations for what takes more than 20 along the latent's.
        """
        hessian, identity = self._objective.curvature(self._scores) * gram, torch.eye(len(gram)).to(gram)
        least = firmness + RIDGE * hessian.diagonal().max()
        factor, _ = torch.linalg.cholesky_ex(hessian + least * identity)
        directions: Tensor = torch.linalg.solve_triangular(factor, identity, upper=False)
        return directions

    def _steps_of(
        self, scores: Tensor, firmness: Tensor, patterns: Tensor, values: Tensor, directions: Tensor
    ) -> Tensor:
        """Solves for given `1 / eta`; the models are convex but for the leak term. Unknown directions stay at 0."""
        rivals = self._objective.rivals(scores)

        def model(amounts: Tensor) -> tuple[Tensor, Tensor]:
            steps = amounts @ directions
            changes = patterns @ (steps @ values).unflatten(-1, (patterns.shape[1], -1))
            value, slopes = self._objective.derivative(scores + changes, rivals)
            value = value + firmness / 2 * steps.square().sum(-1)
            slope = (values @ (patterns.T @ slopes).flatten(-2).T).T + firmness[:, None] * steps
            return value, slope @ directions.T

        amounts: Tensor = minimize(model, scores.new_zeros(len(firmness), len(values)), EVALUATIONS)
        return amounts @ directions


def _evenly(labels: Tensor, count: int, generator: np.random.Generator) -> Tensor:
    """Draws at most `count` images, evenly over the classes; returns their indices in ascending order."""
    turn = torch.empty(len(labels))
    for label in labels.unique():
        own = (labels == label).nonzero().flatten()
        turn[own] = torch.from_numpy(generator.permutation(len(own))).float()
    return turn.argsort(stable=True)[:count].sort().values
