"""Groups of classes that fare differently."""

import pytest

from hf_unlearn import LabeledImages
from tests.support.audits import audited, check, gone, thorough
from tests.support.images import COLOURS, coloured


def test_groups_that_fare_differently_are_distinguished():
    groups = {"red": "a", "blue": "b", "green": "a", "grey": "b"}

    def unfair(name, template, marked, undo, concept):
        return gone(concept) or list(COLOURS)[concept] == "green"

    found = audited(unfair, groups=groups).content["metrics"]["groups"]
    rows = {row["group"]: row for row in found["roles"]["retain"]["groups"]}
    assert (rows["a"]["before"], rows["a"]["after"]) == (1, 0)
    assert (rows["b"]["before"], rows["b"]["after"]) == (1, 1)
    assert found["shown"] == pytest.approx(1)
    assert found["roles"]["forget"]["difference"] == 0
    fair = audited(thorough, groups=groups)
    assert check(fair, "max_group_gap")["value"] == pytest.approx(0)
    assert fair.passed


def test_groups_may_be_of_unlisted_classes_with_pictures():
    pictures = LabeledImages(coloured(3).items, coloured(3).labels, ("crimson", "greens", "azure", "greys"))
    groups = {"crimson": "warm", "greens": "cold"}
    found = audited(thorough, groups=groups, group_pictures=pictures).content["metrics"]["groups"]
    assert found["roles"]["unlisted"]["difference"] == 1


def test_groups_are_checked_before_anything_is_measured():
    with pytest.raises(ValueError, match="'cup' is no class"):
        audited(thorough, groups={"cup": "a", "red": "b"})
    with pytest.raises(ValueError, match="at least two groups"):
        audited(thorough, groups={"green": "a", "red": "a"})
