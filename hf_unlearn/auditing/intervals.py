"""95 % intervals: bootstrap intervals of means, exact intervals of shares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hf_unlearn.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEVEL = 0.95
RESAMPLES = 2_000


def bootstrap_mean(values: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """The 95 % percentile interval of the mean of `values` (Efron, 1979), one number per independent unit.

    Raises:
        InputError: if there is no number.
    """
    if not len(values):
        raise InputError("expected at least one number for an interval, got none")
    return _find_middle(_resample(values, np.random.default_rng(seed)))


def bootstrap_difference(first: Sequence[float], second: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """The 95 % percentile interval of the difference of two groups' means, first minus second."""
    draw = np.random.default_rng(seed)
    return _find_middle(_resample(first, draw) - _resample(second, draw))


def bound_share(hits: int, count: int, alpha: float = 1 - LEVEL) -> tuple[float, float]:
    """The exact interval of a share of `hits` in `count` (Clopper and Pearson, 1934).

    Args:
        alpha: the largest probability that the interval misses the true share.

    Raises:
        InputError: unless `0 <= hits <= count` and `count >= 1`.
    """
    from scipy.stats import binomtest

    if not 0 <= hits <= count or count < 1:
        raise InputError(f"expected 0 <= hits <= count and count >= 1, got {hits} hits of {count}")
    interval = binomtest(hits, count).proportion_ci(1 - alpha, "exact")
    return float(interval.low), float(interval.high)


def _resample(values: Sequence[float], draw: np.random.Generator) -> NDArray[np.float64]:
    """The means of `RESAMPLES` samples with replacement."""
    numbers = np.asarray(values, float)
    means: NDArray[np.float64] = numbers[draw.integers(0, len(numbers), (RESAMPLES, len(numbers)))].mean(1)
    return means


def _find_middle(means: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
