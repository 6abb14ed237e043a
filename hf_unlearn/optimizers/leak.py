# mypy: disable-error-code="no-any-return"
"""The leak term of the objective: how well scores distinguish the classes of images."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

LEAK_FLOOR = 0.01  # ε; a spread of 0.1 in a log-score is nothing


def leak(log_scores: Tensor, labels: Tensor) -> Tensor:
    """`(..., n, C)` of `n` labelled images -> `(...)`: how well each score distinguishes their classes."""
    return leak_of(log_scores, F.one_hot(labels.unique(return_inverse=True)[1]).to(log_scores))


def leak_of(log_scores: Tensor, of_class: Tensor) -> Tensor:
    """The same for classes `(n, classes)`, one-hot."""
    of_class = of_class.to(log_scores)
    means = (of_class / of_class.sum(0)).T @ log_scores
    between = means.var(-2, correction=0)
    within = (log_scores - of_class @ means).square().mean(-2)
    return (between / (within + LEAK_FLOOR)).log1p().mean(-1)


def leak_derivative(log_scores: Tensor, of_class: Tensor) -> tuple[Tensor, Tensor]:
    """`leak` and its gradient: `(..., n, C)` -> `(...)`, `(..., n, C)`."""
    counts = of_class.sum(0)
    means = (of_class / counts).T @ log_scores
    apart = means - means.mean(-2, keepdim=True)
    within = log_scores - of_class @ means
    between, spread = apart.square().mean(-2), within.square().mean(-2) + LEAK_FLOOR
    value = (between / spread).log1p().mean(-1)
    by_between = 2 / (len(counts) * log_scores.shape[-1] * (spread + between))[..., None, :]
    by_spread = -2 / (len(of_class) * log_scores.shape[-1]) * (between / (spread * (spread + between)))[..., None, :]
    return value, by_between * ((of_class / counts) @ apart) + by_spread * within
