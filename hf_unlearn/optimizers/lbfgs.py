"""L-BFGS on several smooth functions at once, without waiting for the device."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hf_unlearn.models import fused

Function = Callable[[Tensor], tuple[Tensor, Tensor]]
SUFFICIENT = 1e-4  # share of the decrease that the slope promises


def minimize(function: Function, start: Tensor, evaluations: int, history: int = 12) -> Tensor:
    """Minimizes `B` functions in lockstep by L-BFGS (Liu & Nocedal, 1989); returns the best points found, `(B, d)`.

    A trial that does not decrease its function enough (Armijo) is rejected. The next one is shorter, in the
    same direction; the other functions continue meanwhile. No step waits for numbers on the host.

    Args:
        function: `(B, d)` -> values `(B,)` and gradients `(B, d)`, row by row.
        start: `(B, d)`.
        evaluations: calls of `function`.
        history: pairs of steps and changes of the gradient to remember.
    """
    if fused.available(start.device) and start.shape[1] <= fused.WIDEST and history <= 16:
        return _with_kernels(function, start, evaluations, history)
    point, (value, slope) = start, function(start)
    direction = -slope
    length = (1 / slope.abs().sum(-1)).clamp(max=1.0)
    pairs: list[tuple[Tensor, Tensor, Tensor]] = []
    for _ in range(evaluations - 1):
        trial = point + length[:, None] * direction
        value_there, slope_there = function(trial)
        promised = length * (slope * direction).sum(-1)
        better = value_there <= value + SUFFICIENT * promised
        step, change = trial - point, slope_there - slope
        curved = (step * change).sum(-1)
        useful = better & (curved > 1e-10 * change.square().sum(-1))
        pairs = [*pairs[1 - history :], (step, change, torch.where(useful, 1 / curved, 0.0))]
        shorter = (0.5 * promised / (promised - (value_there - value))).clamp(0.1, 0.5)
        length = torch.where(better, 1.0, length * torch.where(shorter.isfinite(), shorter, 0.1))
        point, slope = (torch.where(better[:, None], *pair) for pair in ((trial, point), (slope_there, slope)))
        value = torch.where(better, value_there, value)
        direction = torch.where(better[:, None], _newton(slope, pairs), direction)
    return point


def _with_kernels(function: Function, start: Tensor, evaluations: int, history: int) -> Tensor:
    """The same, all that lies between two evaluations as one kernel."""
    point, (value, slope) = start.clone(), function(start)
    slope, value = slope.contiguous(), value.contiguous()
    direction, length = -slope, (1 / slope.abs().sum(-1)).clamp(max=1.0)
    trial = point + length[:, None] * direction
    steps, changes, inverses = (
        start.new_zeros(history, *shape) for shape in (start.shape, start.shape, start.shape[:1])
    )
    for turn in range(evaluations - 1):
        value_there, slope_there = function(trial)
        fused.advance(
            point, value, slope, direction, length, trial, value_there.contiguous(), slope_there.contiguous(),
            steps, changes, inverses, turn, SUFFICIENT,
        )  # fmt: skip
    return point


def _newton(slope: Tensor, pairs: list[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """Computes the quasi-Newton direction by two loops over the pairs; one with inverse curvature 0 is ignored."""
    direction, factors = -slope, []
    scale = torch.ones_like(slope[:, :1])
    for step, change, inverse in reversed(pairs):
        factors.append(inverse * (step * direction).sum(-1))
        direction = direction - factors[-1][:, None] * change
    for _, change, inverse in pairs:  # the last useful pair's
        scale = torch.where(inverse[:, None] > 0, 1 / (inverse * change.square().sum(-1))[:, None], scale)
    direction = scale * direction
    for (step, change, inverse), factor in zip(pairs, reversed(factors), strict=True):
        direction = direction + (factor - inverse * (change * direction).sum(-1))[:, None] * step
    return direction
