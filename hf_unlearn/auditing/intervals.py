"""How sure a figure is: bootstrap intervals of means, exact intervals of shares."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from hf_unlearn.errors import InputError

LEVEL = 0.95
RESAMPLES = 2_000


def bootstrap(values: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """The 95 % percentile interval of the mean of `values`, one number per independent unit.

    Raises:
        ValueError: if there is none.
    """
    if not len(values):
        raise InputError("expected at least one number for an interval, got none")
    return _middle(_means(values, np.random.default_rng(seed)))


def bootstrap_difference(first: Sequence[float], second: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """The same for the difference of two groups' means, first minus second."""
    draw = np.random.default_rng(seed)
    return _middle(_means(first, draw) - _means(second, draw))


def _means(values: Sequence[float], draw: np.random.Generator) -> np.ndarray:
    numbers = np.asarray(values, float)
    return numbers[draw.integers(0, len(numbers), (RESAMPLES, len(numbers)))].mean(1)


def _middle(means: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def exact_share(hits: int, count: int, alpha: float = 1 - LEVEL) -> tuple[float, float]:
    """The Clopper-Pearson interval of a share of `hits` in `count`: it errs with probability `alpha` at most.

    Raises:
        ValueError: unless `0 <= hits <= count` and `count >= 1`.
    """
    if not 0 <= hits <= count or count < 1:
        raise InputError(f"expected 0 <= hits <= count and a count, got {hits} of {count}")
    low = 0.0 if hits == 0 else _root(lambda p: 1 - _at_most(hits - 1, count, p), alpha / 2)
    high = 1.0 if hits == count else 1 - _root(lambda q: _at_most(hits, count, 1 - q), alpha / 2)
    return low, high


def _at_most(hits: int, count: int, p: float) -> float:
    """P(Binomial(count, p) <= hits)."""
    return math.fsum(math.comb(count, k) * p**k * (1 - p) ** (count - k) for k in range(hits + 1))


def _root(tail: Callable[[float], float], target: float) -> float:
    """Where the growing `tail` reaches `target` on [0, 1], by bisection."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if tail(middle) < target else (low, middle)
    return (low + high) / 2
