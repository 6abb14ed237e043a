"""The audit: every attack finds what is there and nothing else, the verdict follows, and its door keeps its word."""

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import beta

from hf_unlearn import ForgetAdapter, LabeledImages, audit, unlearn
from hf_unlearn.adapters.adapter import digest
from hf_unlearn.auditing import intervals, membership, report
from hf_unlearn.auditing.attacks import other_names as names
from hf_unlearn.auditing.attacks.linear_probe import feature_probe
from hf_unlearn.auditing.auditor import Thresholds
from hf_unlearn.auditing.case import Attack, Case, Try
from hf_unlearn.auditing.explanations import harmless
from hf_unlearn.cli.main import main
from hf_unlearn.demo import emoji_tasks as demo
from hf_unlearn.errors import WrongBaseError
from hf_unlearn.models.text_edit import TextEdit
from tests.support.audits import FORGET, OWN, TEST, Box, adapter_for, audited, check, gone, mask, nothing, thorough
from tests.support.command_line import strict_json
from tests.support.images import COLOURS, coloured

WORDS = {
    "synonyms": {"red": ["crimson"], "blue": ["azure"]},
    "vocabulary": {"descriptions": {"red": ["a hot colour"], "blue": ["a cold colour"]},
                   "German": {"red": ["rot", "Röte"], "blue": ["blau"]}},
}  # fmt: skip


@pytest.fixture(scope="module")
def of_thorough():
    limits = Thresholds(max_recoverability=1.0)  # pushed down so far, a class is easily read off its scores
    return audited(thorough, validation=OWN, thresholds=limits, **WORDS)


@pytest.fixture(scope="module")
def of_mask():
    return audited(mask, validation=OWN, **WORDS)


# The verdict


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


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, math.inf])
def test_limits_that_are_no_share_are_refused(value):
    with pytest.raises(ValueError, match="--max-attack must be a share from 0 to 1"):
        Thresholds(max_attack=value)


def test_what_was_not_measured_neither_passes_nor_fails(of_thorough):
    for name in ("max_collateral", "max_group_gap", "max_epsilon"):
        assert check(of_thorough, name)["passed"] is None
        assert check(of_thorough, name)["value"] is None


def test_nothing_is_audited_where_the_plain_model_knows_nothing():
    swapped = LabeledImages(TEST.items, tuple((label + 1) % 4 for label in TEST.labels), TEST.names)
    with pytest.raises(ValueError, match="nothing to audit"):
        audited(thorough, swapped)


# Attacks by words


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
    attack = names.other_names(case, "hypernyms", {"red": ["colour"], "blue": ["colour"]})
    assert [item.right for item in attack.tries] == [1.0, 1.0]


def test_a_word_that_is_another_class_is_passed_over():
    box = Box(mask)
    attack = names.other_names(Case(box, adapter_for(box), TEST), "synonyms", {"red": ["green"]})
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


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("slot machine", "slot machines"), ("bow and arrow", "bows and arrows"), ("glass of wine", "glasses of wine"),
        ("bottle with popping cork", "bottles with popping cork"), ("clinking glasses", "clinking glass"),
        ("cherry", "cherries"), ("berries", "berry"), ("box", "boxes"), ("glass", "glasses"), ("key", "keys"),
    ],
)  # fmt: skip
def test_plurals_follow_the_rule(name, other):
    assert names.plural(name) == other


def test_misspellings_differ_from_the_name_and_are_always_the_same():
    found = names.misspellings("beer mug")
    assert found == names.misspellings("beer mug")
    assert "beer mug" not in found
    assert "beermug" in found
    assert len(found) == len(set(found)) >= 3
    assert names.misspellings("7") == []


# Attacks by pictures


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


# Attacks on the context


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


# Harm


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


# Groups


def test_groups_that_fare_differently_are_told_apart():
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


def test_groups_are_checked_before_anything_is_told():
    with pytest.raises(ValueError, match="'cup' is no class"):
        audited(thorough, groups={"cup": "a", "red": "b"})
    with pytest.raises(ValueError, match="at least two groups"):
        audited(thorough, groups={"green": "a", "red": "a"})


# Membership


def confidences(inside, shift, seed=0):
    return np.random.default_rng(seed).normal(0, 1, inside.shape) + shift * inside


def test_halves_put_every_drawing_in_half_of_the_adapters():
    labels = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 2])
    inside = membership.halves(labels, models=10, seed=0)
    assert inside.shape == (20, 9)
    assert (inside.sum(0) == 10).all()
    assert (inside[::2] == ~inside[1::2]).all()
    assert all(inside[:, labels.numpy() == label].any(1).all() for label in range(3))
    assert not (inside == membership.halves(labels, models=10, seed=1)).all()


def test_remembered_drawings_are_found_and_others_are_not():
    inside = membership.halves(torch.tensor([0, 0, 1, 1] * 4), models=32, seed=0)
    noise = membership.judge(confidences(inside, 0), inside)
    assert noise["epsilon"] == 0
    assert noise["resolved"] == 0
    assert noise["auc_low"] <= 0.5 + 0.05
    found = membership.judge(confidences(inside, 8), inside)
    assert found["epsilon"] == pytest.approx(found["ceiling"])
    assert found["resolved"] == inside.shape[1]
    assert found["auc"] > 0.99
    assert found["epsilon_high"] is None  # no bound: nobody was ever mistaken
    middle = membership.judge(confidences(inside, 1), inside)
    assert 0.6 < middle["auc"] < 0.95


def test_one_remembered_drawing_among_many_is_found():
    inside = membership.halves(torch.tensor([0, 0, 1, 1] * 8), models=32, seed=0)
    values = confidences(inside, 0)
    values[:, 5] += 10 * inside[:, 5]
    assert membership.judge(values, inside)["resolved"] == 1


def test_more_models_resolve_more():
    ceilings = [membership.epsilon(count, 0, count, 0.05)[1] for count in (8, 32, 64)]
    assert ceilings == sorted(ceilings)
    assert ceilings[0] < 1.5 < ceilings[2] < math.inf


def test_confidences_stay_finite_and_rise_with_the_score():
    scores = torch.tensor([[0.0, -200.0], [-0.7, -0.69], [-200.0, 0.0]])
    values = membership.logits(scores, torch.tensor([0, 0, 0]))
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


# Intervals


def test_exact_intervals_are_those_of_clopper_and_pearson():
    assert intervals.exact_share(0, 10) == pytest.approx((0, 1 - 0.025 ** (1 / 10)))
    assert intervals.exact_share(10, 10) == pytest.approx((0.025 ** (1 / 10), 1))
    assert intervals.exact_share(5, 10) == pytest.approx((0.187086, 0.812914), abs=1e-6)
    for hits, count, alpha in ((1, 64, 0.01), (63, 64, 1e-4), (20, 33, 0.05)):
        expected = beta.ppf(alpha / 2, hits, count - hits + 1), beta.ppf(1 - alpha / 2, hits + 1, count - hits)
        assert intervals.exact_share(hits, count, alpha) == pytest.approx(expected)
    with pytest.raises(ValueError, match="3 of 2"):
        intervals.exact_share(3, 2)


def test_bootstrap_intervals_hold_the_mean_and_narrow_with_more_classes():
    wide, narrow = intervals.bootstrap([0, 1] * 5), intervals.bootstrap([0, 1] * 500)
    assert wide[0] < narrow[0] < 0.5 < narrow[1] < wide[1]
    with pytest.raises(ValueError, match="at least one"):
        intervals.bootstrap([])


def test_an_attack_is_the_mean_over_classes_not_over_tries():
    tries = (Try("x", "red", 4, 1.0, 1.0), Try("y", "red", 4, 1.0, 1.0), Try("x", "blue", 4, 1.0, 0.0),
             Try("y", "blue", 4, 0.2, 1.0))  # fmt: skip
    summary = Attack("a", "caller", "?", tries).summary()
    assert summary["right"] == 0.5
    assert (summary["known"], summary["tries"]) == (3, 4)


# What it says and writes


def test_the_json_has_verdict_metrics_and_attacks(of_mask):
    content = strict_json(of_mask.to_json())
    assert content["verdict"] == "fail"
    assert {"rows", "harm", "feature_probe"} <= set(content["metrics"])
    assert [row["name"] for row in content["metrics"]["rows"]] == ["zero-shot", "label-mask", "proximal"]
    names_of = [attack["name"] for attack in content["attacks"]]
    assert len(names_of) == len(set(names_of))
    for attack in content["attacks"]:
        assert {"name", "access", "judged", "question", "right", "low", "high", "plain", "known"} <= set(attack)
    assert content["ledger"]["queries"] > 50


def test_a_probe_on_image_features_says_when_a_box_has_none(of_mask):
    probe = of_mask.attack("probe on image features")
    assert probe["recovered"] is None
    assert "does not give" in probe["used"]


def test_a_probe_on_image_features_reads_a_local_models(clip):
    forget, labels = torch.tensor([True, False, True, False]), torch.tensor(TEST.labels)
    case = SimpleNamespace(plain_box=clip, handle=clip.add_images(TEST), labels=labels, forget=forget)
    assert feature_probe(case, OWN).details == {"recovered": 1.0, "used": "features"}


def test_saving_writes_whole_files_and_pictures_that_open(of_mask, tmp_path):
    of_mask.save(tmp_path / "a" / "b")
    files = {path.name for path in (tmp_path / "a" / "b").iterdir()}
    assert files == {"audit.json", "audit.md", "attacks.png", "harm.png", "relearning.png"}
    assert strict_json((tmp_path / "a" / "b" / "audit.json").read_text()) == of_mask.content
    for name in ("attacks.png", "harm.png", "relearning.png"):
        with Image.open(tmp_path / "a" / "b" / name) as picture:
            picture.load()


def test_a_save_that_breaks_leaves_no_audit_behind(of_mask, tmp_path, monkeypatch):
    def broken(*_):
        raise OSError("disk full")

    monkeypatch.setattr(report, "markdown", broken)
    with pytest.raises(OSError, match="disk full"):
        of_mask.save(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_it_explains_itself_and_claims_no_erasure(of_mask):
    for text in (str(of_mask), of_mask.to_markdown()):
        flat = " ".join(text.split())
        assert "suppression behind a prompt, not erasure" in flat
        assert "named" in flat
        assert "erased" not in flat
        assert "nan" not in flat.lower().split()
        for word in ("synonyms", "crimson", "relearning", "zero-shot", "label-mask"):
            assert word in flat


@pytest.mark.parametrize(
    "name", ["<script>x</script>", "[a](http://evil.example)", "a|b", "![x](y)", "www.evil.example", "a\n# b", "`c`"]
)
def test_names_are_no_markup_in_markdown(name):
    text = harmless(name)
    assert not set(text.replace("&#", "")) & set("<>[]|!`\n*_:")
    assert "www." not in text
    assert "#" not in text.replace("&#", "")


def test_a_class_name_with_markup_is_printed_as_it_is(of_mask):
    text = of_mask.to_json().replace('"crimson"', '"[red]cr|<b>[/x]"').replace('"proximal"', '"[/odd|method]"')
    result = type(of_mask)(json.loads(text))
    for odd in ("[red]cr|<b>[/x]", "[/odd|method]"):
        assert odd in str(result)
        assert odd not in result.to_markdown()


def test_images_are_encoded_once_for_all_attacks():
    box = Box(thorough)
    audit(box, adapter_for(box), TEST, progress=False)
    changed = 6 * sum(TEST.names[label] in FORGET for label in TEST.labels)
    assert box.ledger.image_encodings == len(TEST) + changed


def test_images_of_other_classes_are_refused():
    other = LabeledImages(TEST.items, TEST.labels, ("red", "green", "blue", "cup"))
    with pytest.raises(ValueError, match="same classes"):
        audited(thorough, other)
    with pytest.raises(ValueError, match="none is of a retain class"):
        audited(thorough, TEST.select(i for i, label in enumerate(TEST.labels) if TEST.names[label] in FORGET))


# What comes with the demo


def test_the_demos_attack_words_are_for_its_forget_classes_and_new():
    forget = demo.tasks()["moderation"][0]["forget"]
    for kind, table in demo.attack_words().items():
        assert set(table) == set(forget), kind
        for name, words in table.items():
            assert words
            assert not {word.lower() for word in words} & set(demo.concepts()[name]["names"]), (kind, name)


def test_the_shipped_groups_are_ten_professions_in_three_groups():
    groups = json.loads(demo.PROFESSIONS.read_text())
    assert sorted(groups.values()) == ["man"] * 10 + ["person"] * 10 + ["woman"] * 10
    assert set(groups) <= set(demo.concepts())
    assert all(demo.drawings(name, "test") for name in groups)


def test_every_image_of_the_demo_knows_its_drawing():
    names_of = ("beer mug", "key")
    numbers = demo.drawing_numbers(names_of, "test", demo.JUDGED)
    assert len(numbers) == len(demo.augmented(names_of, "test", demo.JUDGED, 0))
    assert set(numbers) == set(range(len(demo.drawings("key", "test"))))
    by = demo.by_artist(names_of, "test")
    assert sum(map(len, by.values())) == len(demo.plain(names_of, "test"))


# The command line


@pytest.fixture(scope="module")
def work(tmp_path_factory, clip, clip_folder):
    """A folder of images whose forget classes the tiny random CLIP happens to know, and an adapter for them."""
    root = tmp_path_factory.mktemp("audit")
    images = coloured(10)
    scores = clip.zero_shot(clip.add_images(images), images.names)
    labels = scores.argmax(-1)
    shares = {label: int((labels == label).sum()) for label in range(4)}
    best = max(shares, key=lambda label: shares[label])
    # name the colours so that the favourite name belongs to the colour it is most often given to
    owner = max(range(4), key=lambda own: int(((labels == best) & (torch.tensor(images.labels) == own)).sum()))
    names_of = list(images.names)
    names_of[owner], names_of[best] = names_of[best], names_of[owner]
    images = LabeledImages(images.items, images.labels, tuple(names_of))
    for number, image in enumerate(images):
        path = root / "images" / images.names[images.labels[number]]
        path.mkdir(parents=True, exist_ok=True)
        image.save(path / f"{number}.png")
    forget = [list(COLOURS)[best]]
    adapter = unlearn(clip, images, forget=forget, max_queries=20, shots=3, progress=False).adapter
    adapter.save_pretrained(root / "adapter")
    context = clip.token_mean[None] * 0
    config = replace(adapter.config, n_ctx=1, weights_sha256=digest(context))
    ForgetAdapter(context, config).save_pretrained(root / "idle")
    edit = TextEdit(torch.zeros(24, 1), torch.zeros(1, 24))  # one that changes nothing
    shape = {"n_ctx": None, "dim": None, "kind": "edit", "width": 24, "rank": 1}
    config = replace(adapter.config, **shape, retain=[], method="edit", weights_sha256=digest(edit), few_shot_digest={})
    ForgetAdapter(edit, config).save_pretrained(root / "edit")
    return SimpleNamespace(root=root, model=clip_folder, data=root / "images")


LOOSE = [
    item for name in ("forget", "attack", "recoverability", "retain-drop", "class-drop", "collateral")
    for item in (f"--max-{name}", "1")
]  # fmt: skip


def run(capsys, *arguments):
    """The command in this process: exit code, stdout, stderr."""
    before, code = sys.argv, 0
    sys.argv = ["hf-unlearn", "audit", *map(str, arguments)]
    try:
        main()
    except SystemExit as stop:
        code = stop.code
    finally:
        sys.argv = before
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_the_command_passes_with_exit_code_0_and_saves(work, tmp_path):
    options = ["--adapter", work.root / "adapter", "--data", work.data, "--model", work.model, "--json", *LOOSE]
    command = [
        sys.executable,
        "-m",
        "hf_unlearn",
        "audit",
        *options,
        "--relearn-queries",
        "20",
        "--out",
        tmp_path / "out",
    ]
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"}
    )
    assert done.returncode == 0, done.stderr
    content = strict_json(done.stdout)
    assert content["verdict"] == "pass"
    assert {"verdict", "metrics", "attacks"} <= set(content)
    assert content["metrics"]["feature_probe"] is None  # one forgotten class: nothing to tell apart
    assert strict_json((tmp_path / "out" / "audit.json").read_text()) == content


def test_the_command_fails_an_idle_context_with_exit_code_1(work, capsys):
    code, printed, _ = run(
        capsys, "--adapter", work.root / "idle", "--data", work.data, "--model", work.model, "--relearn-queries", 20,
        "--max-forget", 0,
    )  # fmt: skip
    assert code == 1
    assert "verdict: FAIL" in printed
    assert "suppression behind a prompt" in " ".join(printed.split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--adapter", "nowhere"], "no such folder"),
        (["--adapter", "{adapter}"], "--data FOLDER"),
        (["--adapter", "{adapter}", "--data", "nowhere"], "no such folder"),
        (["--adapter", "{adapter}", "--validation", "x"], "--validation goes with --data"),
        (["--adapter", "{adapter}", "--data", "{data}", "--groups", "nowhere"], "no such file"),
        (["--adapter", "{adapter}", "--data", "{data}", "--groups", "{list}"], "expected a JSON object"),
        (["--adapter", "{adapter}", "--data", "{data}", "--groups", "{words}"], "expected text for 'red'"),
        (["--adapter", "{adapter}", "--data", "{data}", "--words", "{groups}"], "must be an object"),
        (["--adapter", "{adapter}", "--data", "{data}", "--groups", "professions"], "is no class of the adapter"),
        (["--adapter", "{adapter}", "--data", "{data}", "--max-epsilon", "1"], "needs --membership"),
        (["--adapter", "{adapter}", "--data", "{data}", "--max-group-gap", "1"], "needs --groups"),
        (["--adapter", "{adapter}", "--data", "{data}", "--max-attack", "1.5"], "--max-attack"),
        (["--adapter", "{adapter}", "--data", "{data}", "--other", "nowhere"], "no such folder"),
    ],
)
def test_what_cannot_run_is_one_line_and_exit_code_2(work, tmp_path, capsys, options, message):
    paths = {"adapter": work.root / "adapter", "data": work.data}
    for name, content in (("list", "[1]"), ("words", '{"red": ["x"]}'), ("groups", '{"red": "a"}')):
        paths[name] = tmp_path / f"{name}.json"
        paths[name].write_text(content)
    code, printed, errors = run(capsys, *(item.format(**paths) for item in options), "--model", work.model)
    assert code == 2
    assert message in " ".join(errors.split())
    assert "Traceback" not in errors
    assert printed == ""


def test_the_command_audits_an_edit_and_says_of_membership_that_there_is_none(work, capsys):
    options = [
        "--adapter",
        work.root / "edit",
        "--data",
        work.data,
        "--model",
        work.model,
        "--relearn-queries",
        20,
        "--membership",
    ]
    code, printed, errors = run(capsys, *options, "--max-forget", 0, "--json")
    assert (code, errors) == (1, "")
    content = json.loads(printed)
    assert content["adapter"]["kind"] == "edit"
    assert "no image went in" in content["metrics"]["membership"]["skipped"]
    code, printed, _ = run(capsys, *options, *LOOSE, "--max-short-list", 1, "--max-epsilon", 0)
    assert code == 0
    flat = " ".join(printed.split())
    assert "made from names alone" in flat
    assert "suppression on the text side" in flat


def test_a_limit_on_short_lists_is_a_share(work, capsys):
    options = ["--adapter", work.root / "edit", "--data", work.data, "--model", work.model]
    code, _, errors = run(capsys, *options, "--max-short-list", 1.5)
    assert code == 2
    assert "--max-short-list" in errors


def test_an_error_of_ours_is_not_mistaken_for_a_failed_adapter(work, capsys, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(sys.modules["hf_unlearn.auditing.auditor"], "audit", broken)
    code, _, errors = run(capsys, "--adapter", work.root / "adapter", "--data", work.data, "--model", work.model)
    assert code == 2
    assert "out of memory" in errors
