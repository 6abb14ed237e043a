"""Prox-linear steps that learn from all scores of a query, not from one loss."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hf_unlearn.arguments import positive, weight, whole_number
from hf_unlearn.models.cuda_graphs import Replayed
from hf_unlearn.optimizers.base import Array, AskTellOptimizer, State
from hf_unlearn.optimizers.jacobian import FilteredJacobian
from hf_unlearn.optimizers.lbfgs import minimize
from hf_unlearn.optimizers.objective import Objective

LEAST_ETA, MOST_ETA = 1e-3, 1e4
MOST_FIRST = 32  # probes of the first round, if as many show in which patterns the scores of many images change
EVALUATIONS = 4  # of the model for a step
RIDGE = 1e-4  # of the largest curvature along a direction, least that any direction is given
PROBE_NOISE, MOVE_NOISE = 1e-4, 0.02  # of an observation, as shares of its squared length
FARTHER = 4  # times the first radius: under another objective the way may be long, and much of `J` is known
PATIENCE, SHORTER = 15, 0.7  # rounds without a new least loss until the radius shrinks, and its factor


class Proximal(AskTellOptimizer):
    """Prox-linear steps on the log-scores; a Kalman filter updates their Jacobian with every query (`jacobian`).

    A query returns `N x C` log-scores, not one number. Around the incumbent `z` they are modelled as
    `f(z) + J a`. `J` is known up to a covariance `P` over the latent's directions, the same for every score.
    Each round probes the coordinates with the largest variance in `P`, new ones first. Then it solves, without a query,

        a* = argmin_a  L(log_softmax(f(z) + J a)) + |a|² / (2 eta)

    and moves to `z + a*`, or as far as the `radius` allows. `eta` follows from round to round, so that steps are
    about that long. The search moves even where the loss rises. A search that only descends ends up in a ravine
    of the text tower, where its steps get ever shorter. Steps of a given length cross it. The radius shrinks when
    some rounds find no new least loss. Probes and moves correct `J` by Kalman updates; the noise of a move grows
    with its length. A move inflates the covariance, the more the longer it was.

    Relatives: prox-linear methods (Drusvyatskiy & Paquette, 2019), derivative-free Gauss-Newton (Cartis & Roberts,
    2019) and nonmonotone trust regions (Deng, Xiao & Zhou, 1993). Broyden's method (1965) is this filter with `P`
    reset to 1 before every query.

    Args:
        size: width of the latent.
        objective: the loss; convex in the logits once the margins' rivals are frozen.
        seed: decides which images the model uses, where there are more than `model_images`.
        probes: directions per round.
        step: length of a probe.
        radius: length of a move at first; in units of the context's length, see `LatentContext`.
        drift: variance that a move of length 1 adds to every direction.
        model_images: at most so many images, drawn evenly over the classes, enter the model of the scores.
            The loss that decides is always on all images.

    Raises:
        ValueError: if a number makes no sense.
    """

    def __init__(
        self,
        size: int,
        objective: Objective,
        seed: int,
        probes: int = 4,
        step: float = 0.03,
        radius: float = 0.5,
        drift: float = 0.03,
        model_images: int = 1_000,
    ) -> None:
        generator = np.random.default_rng(seed)
        self.images = _evenly(objective.labels.cpu(), whole_number("model_images", model_images), generator)
        self._objective = objective.part(self.images)
        self.incumbent: Array = np.zeros(size)
        self.probes = min(whole_number("probes", probes), size)
        self.step = positive("step", step)
        self.eta, self.radius = 1.0, positive("radius", radius)
        self._next_eta = self.eta  # once the move is told: `ask` leaves the state as it is
        self._first_radius = self.radius
        self.drift = weight("drift", drift)
        self._jacobian = FilteredJacobian(size)
        self._steps = Replayed(self._steps_of)
        self._phase = "start"
        self._least, self._waited = np.inf, 0
        self._best = self.incumbent  # where the loss was least
        self._scores = torch.empty(0)  # (images, C), at the incumbent
        self._moved, self._changed = torch.empty(0, size), torch.empty(0)  # the last move, not learnt yet

    def _propose(self) -> Array:
        if self._phase == "start":
            return self.incumbent[None].copy()
        if self._phase == "probe":
            first = 0 if self._jacobian.known else self._jacobian.needed(*self._scores.shape)
            count = min(max(self.probes, first if first <= MOST_FIRST else 0), len(self.incumbent))
            return self.incumbent + self.step * self._jacobian.doubtful(count).numpy()
        step = self._solve().cpu().double().numpy()
        reach = self.radius / max(float(np.linalg.norm(step)), 1e-12)
        self._next_eta = min(max(self.eta * min(max(reach, 1 / 3), 3), LEAST_ETA), MOST_ETA)
        wanted = self.incumbent.copy()
        wanted[: len(step)] += min(1.0, reach) * step
        return wanted[None]

    def _update(self, latents: Array, losses: Array, log_scores: Tensor) -> Sequence[int]:
        self._to(log_scores.device)
        loss = float(losses[0])
        if self._phase == "start":
            return self._stand_at(latents[0], loss, log_scores[0])
        moves, changes = torch.from_numpy(latents - self.incumbent), log_scores - self._scores
        if self._phase == "probe":
            self._learn(moves, changes)
            self._phase = "move" if self._jacobian.known else "probe"
            return ()
        self.eta = self._next_eta
        self._jacobian.blur(self.drift * min(1.0, float(moves.square().sum())))
        self._moved, self._changed = moves, changes
        if np.isfinite(loss):
            return self._stand_at(latents[0], loss, log_scores[0])
        self._phase = "probe"
        self._adapt_radius(loss)
        return ()

    def _stand_at(self, latent: Array, loss: float, scores: Tensor) -> Sequence[int]:
        self.incumbent, self._scores, self._phase = latent.copy(), scores.clone(), "probe"
        if loss < self._least:
            self._best = self.incumbent
        self._adapt_radius(loss)
        return (0,)

    def _adapt_radius(self, loss: float) -> None:
        better = loss < self._least  # False for what is no number
        self._least, self._waited = (loss, 0) if better else (self._least, self._waited + 1)
        if self._waited > PATIENCE:
            self.radius, self._waited = SHORTER * self.radius, 0

    def state(self) -> State:
        """Phase, length of steps, incumbent, its scores, and the filter."""
        facts = {
            "phase": self._phase, "eta": self.eta, "radius": self.radius, "least": self._least, "waited": self._waited
        }  # fmt: skip
        return facts, {
            "incumbent": torch.from_numpy(self.incumbent),
            "best": torch.from_numpy(self._best.copy()),
            "scores": self._scores,
            "moved": self._moved,
            "changed": self._changed,
            **self._jacobian.state(),
        }

    def restore(self, state: State) -> None:
        """Continues from a `state`, bit for bit."""
        facts, tensors = state
        self._phase, self.eta, self.radius = facts["phase"], facts["eta"], facts["radius"]
        self._least, self._waited = facts["least"], facts["waited"]
        self.incumbent, self._best = (tensors[name].numpy().copy() for name in ("incumbent", "best"))
        self._scores, self._moved, self._changed = tensors["scores"], tensors["moved"], tensors["changed"]
        self._jacobian.restore(tensors)
        self._to(self._objective.labels.device)

    def restart(self) -> None:
        """Scores the best point again, for another objective, and moves farther; the Jacobian stays."""
        self.incumbent, self._phase, self.radius = self._best.copy(), "start", FARTHER * self._first_radius
        self._least, self._waited = np.inf, 0

    def _to(self, device: torch.device) -> None:
        self._objective, self._scores = self._objective.to(device), self._scores.to(device)
        self._changed = self._changed.to(device)
        self._jacobian.to(device)

    def _learn(self, moves: Tensor, changes: Tensor) -> None:
        """Learns from the last move and the probes after it at once, as every update reads all of `J`."""
        noise = torch.tensor([MOVE_NOISE] * len(self._moved) + [PROBE_NOISE] * len(moves), dtype=torch.float64)
        if len(self._moved):
            moves, changes = torch.cat([self._moved, moves]), torch.cat([self._changed, changes])
        self._jacobian.learn(moves, changes, noise)
        self._moved, self._changed = moves[:0], changes[:0]

    @torch.no_grad()
    def _solve(self) -> Tensor:
        """Solves for the prox-linear step `a*`, `(known,)`."""
        jacobian = self._jacobian
        known = jacobian.size if self._scores.is_cuda else jacobian.known  # a graph wants the same shapes every time
        firmness = 1 / torch.tensor([self.eta]).to(self._scores)
        directions = self._directions(firmness[0], jacobian.gram[:known, :known])
        steps = self._steps(self._scores, firmness, jacobian.patterns, jacobian.values[:known], directions)
        return steps[0, : jacobian.known]

    def _directions(self, firmness: Tensor, gram: Tensor) -> Tensor:
        """Directions as rows, `(known, known)`, along which the model is about equally curved.

        They are the rows of `R^-1`, where `R R.T` is Gauss-Newton's Hessian if all log-scores count as
        equally curved. Along them a solve needs 4 to 8 evaluations for what takes more than 20 along the latent's.
        """
        hessian, identity = self._objective.curvature(self._scores) * gram, torch.eye(len(gram)).to(gram)
        least = firmness + RIDGE * hessian.diagonal().max()
        factor, _ = torch.linalg.cholesky_ex(hessian + least * identity)
        directions: Tensor = torch.linalg.solve_triangular(factor, identity, upper=False)
        return directions

    def _steps_of(
        self, scores: Tensor, firmness: Tensor, patterns: Tensor, values: Tensor, directions: Tensor
    ) -> Tensor:
        """Solves for a given `1 / eta`, `(1,)`; convex but for the leak term. Unknown directions stay at 0."""
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
