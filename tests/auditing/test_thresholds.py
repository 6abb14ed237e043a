"""Limits of the verdict that are no shares."""

import math

import pytest

from hf_unlearn.auditing.thresholds import Thresholds


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, math.inf])
def test_limits_that_are_no_share_are_refused(value):
    with pytest.raises(ValueError, match="max_attack must be a share from 0 to 1"):
        Thresholds(max_attack=value)
