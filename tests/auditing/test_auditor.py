"""The audit: the verdict follows from what was measured, and wrong inputs are refused."""

from dataclasses import fields
from typing import ClassVar

import pytest

from hf_unlearn import LabeledImages, audit
from hf_unlearn.auditing.attacks.relearning import NO_PICTURES
from hf_unlearn.auditing.case import Case
from hf_unlearn.auditing.inputs import Inputs
from hf_unlearn.auditing.plan import Plan
from hf_unlearn.auditing.thresholds import Thresholds
from tests.support.audits import FORGET, OWN, TEST, WORDS, Box, adapter_for, audited, check, nothing, thorough


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


# What runs, and what it asks for


def inputs(**given):
    nothing = dict.fromkeys(item.name for item in fields(Inputs))
    return Inputs.check(**{**nothing, "models": 4, "relearn_queries": 9, "seed": 0, **given})


def test_the_plan_names_what_runs_and_what_does_not_with_the_reason():
    box = Box(thorough)
    case = Case(box, adapter_for(box), TEST)
    asked = box.ledger.copy()
    least, most = (Plan.make(case, given) for given in (inputs(), inputs(validation=OWN, unlisted=OWN, training=OWN)))
    assert box.ledger == asked  # a plan runs nothing
    assert (least.unlisted, least.groups, least.membership) == (None, None, None)
    assert {item.name: item.why for item in least.not_run} == dict.fromkeys(
        ("another adapter's context", "relearning", "probe on image features"), NO_PICTURES
    )
    assert most.not_run == ()
    assert len(most.attacks) == len(least.attacks) + 3
    assert most.unlisted is not None
    assert most.membership is not None


def test_every_distinct_score_of_an_audit_is_asked_once():
    class Noting(Box):
        asked: ClassVar = []

        def log_scores(self, contexts, images, names):
            self.asked.append((self.template, contexts.numpy().tobytes(), id(images), tuple(names)))
            return super().log_scores(contexts, images, names)

    box = Noting(thorough)
    result = audit(box, adapter_for(box), TEST, unlisted=OWN, progress=False, **WORDS)
    assert len(box.asked) == len(set(box.asked)) == result.content["ledger"]["queries"]


def test_the_attacks_are_listed_in_the_order_of_the_report():
    names = [attack["name"] for attack in audited(thorough, validation=OWN, **WORDS).content["attacks"]]
    assert names == [
        "no attack", "synonyms", "descriptions", "German", "plurals", "misspellings", "compositions", "templates",
        "usual templates", "short lists", "random labels", "forgotten names only", "picture changes",
        "context left out", "context cut short", "another adapter's context", "tokens added", "relearning",
        "probe on image features",
    ]  # fmt: skip
