"""The audit: the verdict follows from what was measured, and wrong inputs are refused."""

import pytest

from hf_unlearn import LabeledImages, audit
from hf_unlearn.auditing.thresholds import Thresholds
from tests.support.audits import FORGET, TEST, Box, adapter_for, audited, check, nothing, thorough


def test_an_adapter_that_withstands_every_judged_attack_and_harms_nobody_passes(of_thorough):
    assert of_thorough.passed
    assert of_thorough.content["verdict"] == "pass"
    assert {a["right"] for a in of_thorough.content["attacks"] if a["judged"] and a["known"]} == {0.0}
    assert of_thorough.content["metrics"]["harm"]["drop"] == 0


def test_an_adapter_that_does_nothing_fails():
    result = audited(nothing)
    assert not result.passed
    assert check(result, "max_forget")["value"] == pytest.approx(1)
    assert check(result, "max_forget")["passed"] is False


def test_a_mask_forgets_perfectly_and_fails_by_its_other_names(of_mask):
    assert check(of_mask, "max_forget")["value"] == pytest.approx(0)
    assert check(of_mask, "max_attack")["value"] == pytest.approx(1)
    assert not of_mask.passed


def test_limits_decide_and_are_reported():
    assert audited(nothing, thresholds=Thresholds(max_forget=1.0, max_attack=1.0)).passed
    strict = audited(thorough, thresholds=Thresholds(max_forget=0.0))
    assert strict.passed
    assert check(strict, "max_forget")["limit"] == 0.0


def test_what_was_not_measured_neither_passes_nor_fails(of_thorough):
    for name in ("max_collateral", "max_group_gap", "max_epsilon"):
        assert check(of_thorough, name)["passed"] is None
        assert check(of_thorough, name)["value"] is None


def test_nothing_is_audited_where_the_plain_model_knows_nothing():
    swapped = LabeledImages(TEST.items, tuple((label + 1) % 4 for label in TEST.labels), TEST.names)
    with pytest.raises(ValueError, match="nothing to audit"):
        audited(thorough, swapped)


def test_images_are_encoded_once_for_all_attacks():
    box = Box(thorough)
    audit(box, adapter_for(box), TEST, progress=False)
    changed = 6 * sum(TEST.names[label] in FORGET for label in TEST.labels)
    assert box.ledger.image_encodings == len(TEST) + changed


def test_images_of_other_classes_are_refused():
    other = LabeledImages(TEST.items, TEST.labels, ("red", "green", "blue", "cup"))
    with pytest.raises(ValueError, match="classes of the images"):
        audited(thorough, other)
    with pytest.raises(ValueError, match="none is of a retain class"):
        audited(thorough, TEST.select(i for i, label in enumerate(TEST.labels) if TEST.names[label] in FORGET))
