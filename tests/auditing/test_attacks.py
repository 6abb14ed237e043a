"""Every attack finds what is there and nothing else."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from hf_unlearn import ForgetAdapter, LabeledImages, audit
from hf_unlearn.auditing.attack_results import Attack, Try
from hf_unlearn.auditing.attacks.feature_probe import probe_features
from hf_unlearn.auditing.attacks.other_names import try_other_names
from hf_unlearn.auditing.case import Case
from hf_unlearn.errors import WrongBaseError
from tests.support.audits import OWN, TEST, Box, adapter_for, audited, check, gone, mask, nothing, thorough
from tests.support.images import coloured


def test_an_attack_is_the_mean_over_classes_not_over_tries():
    tries = (Try("x", "red", 4, 1.0, 1.0), Try("y", "red", 4, 1.0, 1.0), Try("x", "blue", 4, 1.0, 0.0),
             Try("y", "blue", 4, 0.2, 1.0))  # fmt: skip
    summary = Attack("a", "caller", "?", tries).summarize()
    assert summary["right"] == 0.5
    assert (summary["known"], summary["tries"]) == (3, 4)


# By words


@pytest.mark.parametrize("name", ["synonyms", "descriptions", "German", "plurals"])
def test_other_words_bring_back_what_only_a_name_hides(of_mask, of_thorough, name):
    assert of_mask.attack(name)["right"] == 1
    assert of_mask.attack(name)["plain"] == 1
    assert of_thorough.attack(name)["right"] == 0


def test_words_that_the_plain_model_does_not_know_are_not_counted(of_mask):
    german = of_mask.attack("German")
    assert (german["tries"], german["known"]) == (3, 2)  # "Röte" is Greek to it
    assert of_mask.attack("misspellings")["known"] == 0
    assert of_mask.attack("misspellings")["right"] is None


def test_several_classes_may_share_a_hypernym():
    class Shared(Box):
        def log_scores(self, contexts, images, names):
            scores = super().log_scores(contexts, images, names)
            return (scores + 20 * torch.tensor([name == "colour" for name in names])).log_softmax(-1)

    box = Shared(thorough)
    case = Case(box, adapter_for(box), TEST)
    attack = try_other_names(case, "hypernyms", {"red": ["colour"], "blue": ["colour"]})
    assert [item.right for item in attack.tries] == [1.0, 1.0]


def test_a_word_that_is_another_class_is_not_tried():
    box = Box(mask)
    attack = try_other_names(Case(box, adapter_for(box), TEST), "synonyms", {"red": ["green"]})
    assert attack.tries == ()


def test_another_template_brings_back_what_one_template_hides():
    result = audited(lambda name, template, *rest: gone(rest[-1]) and template == Box.template)
    assert result.attack("templates")["right"] == 1
    assert check(result, "max_attack")["passed"] is False


def test_another_label_set_brings_back_what_a_rival_label_hides():
    """Behind this context a forgotten colour loses to grey, and to grey alone."""

    class Rival(Box):
        def log_scores(self, contexts, images, names):
            scores = super().log_scores(contexts, images, names)
            for p, context in enumerate(contexts):
                for n, (concept, _) in enumerate(images):
                    if len(context) and gone(concept) and "grey" in names:
                        scores[p, n, names.index("grey")] = 9
            return scores.log_softmax(-1)

    box = Rival(nothing)
    result = audit(box, adapter_for(box), TEST, progress=False)
    assert check(result, "max_forget")["value"] == pytest.approx(0)
    assert result.attack("forgotten names only")["right"] == 1
    assert not result.passed


# By pictures


def marked(images: LabeledImages) -> LabeledImages:
    """White at the upper left corner of each."""
    items = []
    for image in images:
        image = image.copy()
        image.paste((255, 255, 255), (0, 0, 6, 6))
        items.append(image)
    return LabeledImages(tuple(items), images.labels, images.names)


def test_a_mirrored_picture_brings_back_what_hangs_on_a_corner():
    images = marked(TEST)
    case = Case(box := Box(lambda *args: args[2] and gone(args[4])), adapter_for(box), images)
    assert case.compare("", case.plain, case.adapted)[0].right == 0
    result = audited(lambda *args: args[2] and gone(args[4]), images)
    assert result.attack("picture changes")["strongest"]["what"] == "mirror"
    assert result.attack("picture changes")["right"] > 0


def test_pictures_by_someone_else_are_tried_by_kind():
    shown = {"plain": coloured(2, seed=7)}
    result = audited(lambda *args: args[2] and gone(args[4]), marked(TEST), pictures=shown)
    assert result.attack("other pictures")["right"] == 1
    assert audited(thorough, pictures=shown).attack("other pictures")["right"] == 0
    with pytest.raises(ValueError, match="'cup' is no class of the adapter"):
        audited(thorough, pictures={"odd": LabeledImages(TEST.items, TEST.labels, ("red", "green", "blue", "cup"))})


# On the context


def test_leaving_the_context_out_or_cutting_it_is_shown_but_not_judged(of_thorough):
    for name in ("context left out", "context cut short"):
        assert of_thorough.attack(name)["right"] == 1
        assert of_thorough.attack(name)["judged"] is False


def test_added_tokens_that_undo_the_context_are_found():
    assert audited(lambda *args: gone(args[4]) and args[3] == 0).attack("tokens added")["right"] == 1
    assert audited(thorough).attack("tokens added")["right"] == 0


def test_another_adapters_context_does_not_forget(of_thorough):
    assert of_thorough.attack("another adapter's context")["right"] == 1


def test_an_adapter_of_another_base_is_no_context_to_borrow():
    box = Box(thorough)
    other = adapter_for(box)
    other = ForgetAdapter(other.context, replace(other.config, base_fingerprint=[[0.0, 1.0]]))
    with pytest.raises(WrongBaseError):
        audit(box, adapter_for(box), TEST, others={"x": other}, progress=False)
    with pytest.raises(WrongBaseError):
        audit(box, other, TEST, progress=False)


def test_relearning_climbs_where_tokens_after_the_context_can_undo_it(of_thorough):
    def weak(name, template, marked, undo, concept):
        return (1 - math.tanh(max(0.0, undo) / 4)) if gone(concept) else 0.0

    attack = audited(weak, validation=OWN, relearn_queries=80).attack("relearning")
    points = attack["curve"]
    assert points[0] == {"queries": 0, "right": 0.0}
    assert points[-1]["right"] == 1
    assert [point["queries"] for point in points] == sorted(point["queries"] for point in points)
    assert attack["classes_back"] == 2
    assert 0 < attack["first_class_back_after"] <= attack["half_of_classes_back_after"] <= 81
    firm = of_thorough.attack("relearning")
    assert {point["right"] for point in firm["curve"]} == {0.0}
    assert firm["first_class_back_after"] is None


# On image features


def test_a_probe_on_image_features_says_when_a_box_has_none(of_mask):
    probe = of_mask.attack("probe on image features")
    assert probe["recovered"] is None
    assert "does not give" in probe["used"]


def test_a_probe_on_image_features_reads_a_local_models(clip):
    forget, labels = torch.tensor([True, False, True, False]), torch.tensor(TEST.labels)
    case = SimpleNamespace(encode=clip.add_images, handle=clip.add_images(TEST), labels=labels, forget=forget)
    assert probe_features(case, OWN).details == {"recovered": 1.0, "used": "features"}
