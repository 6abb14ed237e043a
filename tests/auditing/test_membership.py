"""Membership: remembered drawings are found, and others are not."""

import math

import numpy as np
import pytest
import torch

from hf_unlearn.auditing import membership
from hf_unlearn.auditing.thresholds import Thresholds
from tests.support.audits import audited, check, thorough
from tests.support.images import coloured


def confidences(inside, shift, seed=0):
    return np.random.default_rng(seed).normal(0, 1, inside.shape) + shift * inside


def test_halves_put_every_drawing_in_half_of_the_adapters():
    labels = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 2])
    inside = membership.draw_halves(labels, models=10, seed=0)
    assert inside.shape == (20, 9)
    assert (inside.sum(0) == 10).all()
    assert (inside[::2] == ~inside[1::2]).all()
    assert all(inside[:, labels.numpy() == label].any(1).all() for label in range(3))
    assert not (inside == membership.draw_halves(labels, models=10, seed=1)).all()


def test_remembered_drawings_are_found_and_others_are_not():
    inside = membership.draw_halves(torch.tensor([0, 0, 1, 1] * 4), models=32, seed=0)
    noise = membership.measure_success(confidences(inside, 0), inside)
    assert noise["epsilon"] == 0
    assert noise["resolved"] == 0
    assert noise["auc_low"] <= 0.5 + 0.05
    found = membership.measure_success(confidences(inside, 8), inside)
    assert found["epsilon"] == pytest.approx(found["ceiling"])
    assert found["resolved"] == inside.shape[1]
    assert found["auc"] > 0.99
    assert found["epsilon_high"] is None  # no bound: nobody was ever mistaken
    middle = membership.measure_success(confidences(inside, 1), inside)
    assert 0.6 < middle["auc"] < 0.95


def test_one_remembered_drawing_among_many_is_found():
    inside = membership.draw_halves(torch.tensor([0, 0, 1, 1] * 8), models=32, seed=0)
    values = confidences(inside, 0)
    values[:, 5] += 10 * inside[:, 5]
    assert membership.measure_success(values, inside)["resolved"] == 1


def test_more_models_resolve_more():
    ceilings = [membership.bound_epsilon(count, 0, count, 0.05)[1] for count in (8, 32, 64)]
    assert ceilings == sorted(ceilings)
    assert ceilings[0] < 1.5 < ceilings[2] < math.inf


def test_confidences_stay_finite_and_rise_with_the_score():
    scores = torch.tensor([[0.0, -200.0], [-0.7, -0.69], [-200.0, 0.0]])
    values = membership.compute_logits(scores, torch.tensor([0, 0, 0]))
    assert np.isfinite(values).all()
    assert values[0] > values[1] > values[2]


def test_membership_is_measured_with_few_adapters():
    result = audited(thorough, training=coloured(2, seed=5), models=4)
    found = result.content["metrics"]["membership"]
    assert found["models"] == 4
    assert found["drawings"] == 8
    assert 0 <= found["epsilon"] <= found["ceiling"]
    assert check(result, "max_epsilon")["passed"] is None  # four adapters can't show an epsilon of 1
    assert audited(thorough, training=coloured(2, seed=5), models=40, thresholds=Thresholds(max_epsilon=0.5)).passed
    assert "most that so few adapters can show" in str(result)
    with pytest.raises(ValueError, match="at least 4 adapters"):
        audited(thorough, training=coloured(2, seed=5), models=3)
