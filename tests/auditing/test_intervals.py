"""Intervals against known ones."""

import pytest
from scipy.stats import beta

from hf_unlearn.auditing import intervals


def test_exact_intervals_are_those_of_clopper_and_pearson():
    assert intervals.bound_share(0, 10) == pytest.approx((0, 1 - 0.025 ** (1 / 10)))
    assert intervals.bound_share(10, 10) == pytest.approx((0.025 ** (1 / 10), 1))
    assert intervals.bound_share(5, 10) == pytest.approx((0.187086, 0.812914), abs=1e-6)
    for hits, count, alpha in ((1, 64, 0.01), (63, 64, 1e-4), (20, 33, 0.05)):
        expected = beta.ppf(alpha / 2, hits, count - hits + 1), beta.ppf(1 - alpha / 2, hits + 1, count - hits)
        assert intervals.bound_share(hits, count, alpha) == pytest.approx(expected)
    with pytest.raises(ValueError, match="3 hits of 2"):
        intervals.bound_share(3, 2)


def test_bootstrap_intervals_hold_the_mean_and_narrow_with_more_classes():
    wide, narrow = intervals.bootstrap_mean([0, 1] * 5), intervals.bootstrap_mean([0, 1] * 500)
    assert wide[0] < narrow[0] < 0.5 < narrow[1] < wide[1]
    with pytest.raises(ValueError, match="at least one"):
        intervals.bootstrap_mean([])
