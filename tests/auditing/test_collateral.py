"""What an adapter costs other classes."""

import pytest

from hf_unlearn import LabeledImages
from tests.support.audits import audited, check, mask, thorough
from tests.support.images import COLOURS, coloured


def test_a_harmed_class_is_named_with_its_interval():
    def clumsy(name, template, marked, undo, concept):
        return concept != list(COLOURS).index("grey")

    harm = audited(clumsy, drawings=[0, 0, 1, 1] * 4).content["metrics"]["harm"]
    assert harm["worst"]["name"] == "green"
    assert (harm["worst"]["drop"], harm["worst"]["low"], harm["worst"]["high"]) == (1, 1, 1)
    assert harm["worst"]["drawings"] == 2
    assert harm["drop"] == pytest.approx(0.5)
    assert harm["low"] == 0
    assert harm["high"] == 1
    assert harm["calibration"]["after"]["nll"] > harm["calibration"]["before"]["nll"]
    assert not audited(clumsy).passed


def test_there_must_be_a_drawing_for_every_image():
    with pytest.raises(ValueError, match="expected a drawing for each of 16 images, got 3"):
        audited(thorough, drawings=[0, 1, 2])


def test_harm_to_unlisted_classes_is_measured():
    unlisted = LabeledImages(coloured(3).items, coloured(3).labels, ("crimson", "greens", "azure", "greys"))
    found = audited(thorough, unlisted=unlisted)
    assert found.content["metrics"]["unlisted"]["drop"] == pytest.approx(0.5)
    assert check(found, "max_collateral")["passed"] is False
    assert check(audited(mask, unlisted=unlisted), "max_collateral")["value"] == pytest.approx(0)
