"""The audit of an edit: the same attacks where they make sense, the others named, and nothing claimed of images."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from hf_unlearn import ClipBlackBox, ForgetAdapter, LabeledImages, audit
from hf_unlearn.adapters.config import AdapterConfig
from hf_unlearn.auditing.attacks.usual_templates import TEMPLATES as USUAL
from hf_unlearn.auditing.thresholds import Thresholds
from hf_unlearn.cli.audit_inputs import demo_material
from hf_unlearn.demo import emoji_tasks as demo
from hf_unlearn.errors import BudgetSpentError, InputError, PromptTooLongError, RemoteError
from hf_unlearn.models.text_edit import TextEdit, digest
from tests.support.audits import CONCEPT, FORGET, Box, adapter_for, audited, check, gone, thorough
from tests.support.images import COLOURS, coloured

WIDTH = 64
OTHERS = ("cup", "hat", "tree", "fish")  # classes without images


def more(images: LabeledImages) -> LabeledImages:
    """The same images with more class names."""
    return LabeledImages(images.items, images.labels, (*images.names, *OTHERS))


TEST, OWN = more(coloured(4, seed=1)), more(coloured(3, seed=2))


class FeatureBox(Box):
    """The same model with text features: a direction per colour, one per wording, one that learned tokens open."""

    width = WIDTH

    def __init__(self, hide=thorough) -> None:
        super().__init__(hide)

    def text_features(self, contexts, names):
        rows = torch.zeros(len(contexts), len(names), WIDTH)
        opened = contexts.sum((1, 2)).clamp(min=0).div(4).tanh()
        for number, name in enumerate(names):
            rows[:, number, 20 + sum(name.encode()) % 40] = 0.5
            if (concept := concept_of(name)) is not None:
                rows[:, number, concept] = 1
                rows[:, number, 10 + concept] = 2 * opened
            else:
                rows[:, number, 62] = -0.3  # nothing that it knows
        return F.normalize(rows, dim=-1)

    def compare(self, texts, images):
        self.ledger.queries += len(texts)
        pictures = torch.zeros(len(images), WIDTH)
        for number, (concept, _) in enumerate(images):
            pictures[number, [concept, 10 + concept, 62]] = 1
        return (10 * F.normalize(pictures, dim=-1) @ texts.transpose(1, 2)).log_softmax(-1)

    def log_scores(self, contexts, images, names):
        return self.compare(self.text_features(contexts, names), images)


class Endpoint(FeatureBox):
    """Answers to text and nothing else: it can't be given tokens."""

    dim, max_n_ctx, token_mean = 0, 0, torch.zeros(0)


def concept_of(name: str) -> int | None:
    return CONCEPT.get(name, next((CONCEPT[word] for word in name.split() if word in CONCEPT), None))


def away(directions: torch.Tensor, by: float = 1.3) -> TextEdit:
    """Takes the span of `(n, width)` out of every text, and a little more."""
    basis = torch.linalg.qr(directions.T)[0].contiguous()
    return TextEdit(-by * basis, basis.T.contiguous())


def edit_for(box, edit: TextEdit, forget=FORGET, retain=()) -> ForgetAdapter:
    config = AdapterConfig(
        base_model=box.model_id, base_fingerprint=box.fingerprint(), template=box.template, forget=list(forget),
        retain=list(retain), method="edit", weights_sha256=digest(edit), kind="edit", width=edit.up.shape[0],
        rank=edit.up.shape[1],
    )  # fmt: skip
    return ForgetAdapter(edit, config)


CLASSES = torch.eye(WIDTH)[[i for i, name in enumerate(COLOURS) if name in FORGET]]
WHOLE = away(CLASSES, by=2.0)  # whatever is red or blue, by any name
NAMES_ONLY = away(FeatureBox().text_features(torch.zeros(1, 0, 6), FORGET)[0], by=1.1)  # two wordings


def audited_edit(edit, box=None, images=TEST, **options):
    box = box or FeatureBox()
    options = {"relearn_queries": 40, "progress": False, **options}
    return audit(box, edit_for(box, edit), images, **options)


WORDS = {"synonyms": {"red": ["crimson"], "blue": ["azure"]}, "vocabulary": {"German": {"red": ["rot"]}}}


@pytest.fixture(scope="module")
def of_whole():
    return audited_edit(WHOLE, validation=OWN, thresholds=Thresholds(max_recoverability=1.0), **WORDS)


@pytest.fixture(scope="module")
def of_names():
    return audited_edit(NAMES_ONLY, validation=OWN, **WORDS)


def test_an_edit_that_withstands_every_judged_attack_and_harms_nobody_passes(of_whole):
    assert of_whole.passed
    judged = {a["name"]: a["right"] for a in of_whole.content["attacks"] if a["judged"] and a["known"]}
    assert set(judged) >= {"synonyms", "German", "compositions", "templates", "usual templates", "random labels"}
    assert set(judged.values()) == {0.0}
    assert of_whole.content["metrics"]["harm"]["drop"] == 0
    assert of_whole.content["adapter"]["kind"] == "edit"


@pytest.mark.parametrize("name", ["synonyms", "German", "plurals", "compositions"])
def test_an_edit_of_the_wording_alone_is_found_out_by_other_words(of_names, name):
    assert check(of_names, "max_forget")["passed"]
    assert of_names.attack(name)["right"] == of_names.attack(name)["plain"] == 1
    assert not of_names.passed


def test_attacks_on_a_context_are_not_run_on_an_edit_and_named(of_whole):
    why = {item["name"]: item["why"] for item in of_whole.content["not_run"]}
    assert set(why) == {"context left out", "context cut short", "another adapter's context"}
    assert set(why.values()) == {"an edit has no context"}
    assert not set(why) & {attack["name"] for attack in of_whole.content["attacks"]}
    assert "an edit has no context" in str(of_whole)


def test_relearning_on_top_of_an_edit_counts_the_queries_until_a_class_is_back(of_whole):
    attack = of_whole.attack("relearning")
    assert attack["curve"][0] == {"queries": 0, "right": 0.0}
    assert attack["curve"][-1]["right"] == 1
    assert attack["classes_back"] == 2
    assert 0 < attack["first_class_back_after"] <= 41
    assert attack["judged"] is False


def test_learned_tokens_follow_the_context_of_a_context_and_nothing_of_an_edit():
    asked = []

    class Watched(FeatureBox):
        def text_features(self, contexts, names):
            asked.append(contexts.shape[1])
            return super().text_features(contexts, names)

    audited_edit(WHOLE, Watched(), validation=OWN)
    assert set(asked) == {0, 1, 2, 4}  # nothing; one, two, four random ones; four learned ones


def test_a_model_that_takes_no_tokens_is_audited_without_the_attacks_that_need_them():
    result = audited_edit(WHOLE, Endpoint(), validation=OWN, thresholds=Thresholds(max_recoverability=1.0), **WORDS)
    assert result.passed
    why = {item["name"]: item["why"] for item in result.content["not_run"]}
    assert set(why) >= {"tokens added", "relearning"}
    assert "can't be given tokens" in why["relearning"]
    assert result.attack("compositions")["right"] == 0


def test_without_an_attackers_own_pictures_what_needs_them_is_named(of_whole):
    why = {item["name"]: item["why"] for item in audited_edit(WHOLE).content["not_run"]}
    assert "validation images" in why["relearning"]
    assert "validation images" in why["probe on image features"]
    assert {item["name"] for item in audited(thorough).content["not_run"]} == {
        "relearning", "probe on image features", "another adapter's context",
    }  # fmt: skip


def test_a_model_without_text_features_is_refused_in_one_sentence():
    with pytest.raises(ValueError, match="answers with scores only"):
        audited_edit(WHOLE, Box(thorough))


def test_contexts_alone_are_borrowed_from_other_adapters():
    box = FeatureBox(thorough)
    others = {"an edit": edit_for(box, WHOLE), "a context": adapter_for(box)}
    result = audit(box, adapter_for(box), coloured(4, seed=1), others=others, progress=False)
    assert result.attack("another adapter's context")["tries"] == len(FORGET)


def test_an_adapter_is_audited_on_a_model_that_is_under_another_one():
    base = FeatureBox()
    edited = edit_for(base, WHOLE).applied_to(base)
    with pytest.raises(ValueError, match="nothing to audit"):  # the edited model knows none of it any more
        audit(edited, edit_for(base, WHOLE), TEST, progress=False)
    idle = edit_for(base, TextEdit(torch.zeros(WIDTH, 1), torch.zeros(1, WIDTH))).applied_to(base)
    assert audit(idle, edit_for(base, WHOLE), TEST, progress=False).attack("usual templates")["right"] == 0


# Names and sentences


def test_compositions_are_tried_on_contexts_too():
    class Phrased(Box):
        def log_scores(self, contexts, images, names):
            return super().log_scores(contexts, images, [n.removeprefix("a toy ") for n in names])

    box = Phrased(lambda name, *rest: False)
    result = audit(box, adapter_for(box), coloured(4, seed=1), progress=False)
    compositions = result.attack("compositions")
    assert (compositions["judged"], compositions["known"]) == (True, 2)
    assert compositions["strongest"]["what"].startswith("a toy ")
    assert compositions["right"] == 1


def test_templates_are_averaged_as_features_where_there_are_some():
    """In every sentence one of three rivals wins, in each another: the average, and nothing else, names the colour."""
    rivals = ("green", "grey", "cup")

    class Worded(FeatureBox):
        def text_features(self, contexts, names):
            rows = super().text_features(contexts, names)
            for number, name in enumerate(names):
                if self.template in USUAL and name == rivals[USUAL.index(self.template) % 3]:
                    rows[:, number, [i for i, colour in enumerate(COLOURS) if colour in FORGET]] = 6
                rows[:, number, 61] = 1.2 if name in FORGET else 0
            return F.normalize(rows, dim=-1)

    idle = TextEdit(torch.zeros(WIDTH, 1), torch.zeros(1, WIDTH))
    averaged = audited_edit(idle, Worded()).attack("usual templates")
    assert (averaged["tries"], averaged["known"]) == (2 * (9 + 1), 2)
    assert averaged["strongest"]["what"] == "9 templates averaged"
    assert averaged["right"] == 1
    assert audited_edit(WHOLE, Worded()).attack("usual templates")["right"] == 0


def test_a_scores_only_box_is_asked_the_usual_templates_one_by_one():
    assert audited(thorough).attack("usual templates")["tries"] == 2 * 9


class Short(FeatureBox):
    """A model whose text tower has no room for some prompts."""

    error: type[Exception] = PromptTooLongError

    def text_features(self, contexts, names):
        prompt = f"{self.template} {' '.join(names)}"
        if self.too_long in prompt or self.too_long == f"{contexts.shape[1]} tokens":
            raise self.error("too long")
        return super().text_features(contexts, names)


PLACES = ["holding", "blurry", "itap", "2 tokens"]  # names, templates, usual templates, tokens


def audited_short(too_long, error):
    box = type("Box", (Short,), {"too_long": too_long, "error": error})()
    return audited_edit(WHOLE, box)


def test_prompts_that_are_too_long_are_not_tried():
    names, templates, usual, tokens = (audited_short(place, PromptTooLongError) for place in PLACES)
    assert names.attack("compositions")["too_long"] == 2
    assert templates.attack("templates")["tries"] == 2 * 8
    assert usual.attack("usual templates")["tries"] == 2 * (8 + 1)
    assert tokens.attack("tokens added")["tries"] == 2 * 1


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("error", [RemoteError, InputError, BudgetSpentError, ValueError])
def test_any_other_refusal_ends_the_audit(place, error):
    with pytest.raises(error, match="too long"):
        audited_short(place, error)


# Short lists


def test_a_name_that_loses_to_one_rival_alone_wins_on_short_lists_without_it():
    """Behind this context a forgotten colour loses to grey, and to grey alone."""

    class Rival(Box):
        def log_scores(self, contexts, images, names):
            scores = super().log_scores(contexts, images, names)
            for n, (concept, _) in enumerate(images):
                if gone(concept) and "grey" in names:
                    scores[:, n, names.index("grey")] += 9.0 * torch.tensor([len(c) > 0 for c in contexts])
            return scores.log_softmax(-1)

    box = Rival(lambda *_: False)
    adapter = adapter_for(box)
    adapter = ForgetAdapter(adapter.context, replace(adapter.config, retain=["green", "grey", *OTHERS]))
    result = audit(box, adapter, TEST, progress=False)
    assert check(result, "max_forget")["value"] == pytest.approx(0)
    lists = result.attack("short lists")
    assert lists["right"] == pytest.approx(1 / 3)  # of six kept names four are on the list
    assert lists["plain"] == 1
    assert lists["judged"] is False  # its own limit holds it
    held = check(result, "max_short_list")
    assert held["value"] == pytest.approx(1 / 3)
    assert held["passed"] is False
    loose = audit(box, adapter, TEST, progress=False, thresholds=Thresholds(max_short_list=0.4))
    assert check(loose, "max_short_list")["passed"] is True


def test_an_edit_with_overshoot_has_none_left_on_short_lists_and_a_mask_has_none(of_whole):
    assert of_whole.attack("short lists")["right"] == 0
    assert check(of_whole, "max_short_list") | {"what": ""} == {
        "check": "max_short_list", "what": "", "which": "", "value": 0.0, "limit": 0.25, "passed": True,
    }  # fmt: skip
    rows = {row["name"]: row["short_list_4"] for row in of_whole.content["metrics"]["rows"]}
    assert rows["zero-shot"] == 1
    assert rows["label-mask"] == 0
    table = next(rows for key, _, rows in of_whole.tables() if key == "short lists")
    assert table[1] == ["label-mask", "0.0", "0.0", "–", "–"]  # six kept names: no list of nine
    for text in (str(of_whole), of_whole.to_markdown()):
        assert "short lists" in text
        assert "Users offer five labels" in " ".join(text.split())


def test_with_fewer_than_four_kept_names_short_lists_are_not_judged():
    result = audited(thorough)
    assert check(result, "max_short_list")["passed"] is None
    assert result.attack("short lists")["tries"] == 0


# Classes, membership, words


def test_an_edit_keeps_whatever_else_there_are_images_of(of_whole):
    assert of_whole.content["adapter"]["retain"] == ["green", "grey", *OTHERS]
    box = FeatureBox()
    result = audit(box, edit_for(box, WHOLE, retain=["green"]), TEST, progress=False)
    assert result.content["adapter"]["retain"] == ["green", "grey", *OTHERS]
    with pytest.raises(ValueError, match="forgets 'red', which is none of the 8 classes of the images"):
        audit(box, edit_for(box, WHOLE), LabeledImages(TEST.items, TEST.labels, ("rot", *TEST.names[1:])))


def test_membership_of_an_edit_is_skipped_with_a_sentence():
    result = audited_edit(WHOLE, training=OWN, models=4)
    assert "made from names alone" in result.content["metrics"]["membership"]["skipped"]
    held = check(result, "max_epsilon")
    assert (held["passed"], held["value"]) == (None, None)
    assert "no image went in" in held["which"]
    for text in (str(result), result.to_markdown()):
        assert "made from names alone: no image went in" in " ".join(text.replace("&#58;", ":").split())


def test_membership_of_an_edit_that_images_helped_to_make_is_skipped_and_not_denied():
    box = FeatureBox()
    adapter = edit_for(box, WHOLE)
    helped = replace(adapter.config, few_shot_digest={"salt": "0f" * 16, "sha256": "0f" * 32})
    result = audit(box, ForgetAdapter(WHOLE, helped), TEST, training=OWN, progress=False)
    assert "with the help of images" in check(result, "max_epsilon")["which"]
    assert "no image went in" not in str(result)


def test_the_words_about_an_edit_speak_of_an_edit_and_claim_nothing_of_images(of_whole):
    for text in (str(of_whole), of_whole.to_markdown()):
        flat = " ".join(text.split())
        assert "suppression on the text side, not erasure" in flat
        assert "the image features are untouched" in flat
        assert "leaving the context out" not in flat
    assert "edit " + of_whole.content["adapter"]["weights_sha256"][:12] in of_whole.to_markdown()


def test_an_audit_of_an_edit_is_saved_with_its_pictures(of_whole, tmp_path):
    of_whole.save(tmp_path)
    assert json.loads((tmp_path / "audit.json").read_text()) == of_whole.content
    assert (tmp_path / "relearning.png").exists()


# Real models


@pytest.fixture(scope="module")
def embedded():
    return ClipBlackBox("embedded")


def test_an_edit_of_the_embedded_clip_forgets_in_every_sentence_phrase_and_short_list(embedded):
    forget = ("beer mug", "kitchen knife", "slot machine", "cigarette")
    classes = (*forget, "key", "guitar", "bicycle", "camera", "balloon", "airplane")
    templates = ("{}", "a photo of a {}", embedded.template)
    empty = torch.zeros(1, 0, embedded.dim)
    features = [embedded.with_template(template).text_features(empty, forget)[0] for template in templates]
    adapter = edit_for(embedded, away(torch.cat(features), by=1.2), forget)
    result = audit(
        embedded, adapter, demo.plain(classes, "test"), validation=demo.plain(classes, "validation"),
        vocabulary=demo.attack_words(), relearn_queries=30, progress=False,
    )  # fmt: skip
    for name in ("no attack", "compositions", "templates", "usual templates", "plurals", "short lists"):
        attack = result.attack(name)
        assert attack["plain"] >= 0.8, name
        assert attack["known"] >= 3, name
        assert attack["right"] <= 0.1, name
    assert result.attack("relearning")["curve"][-1]["queries"] <= 31
    assert result.content["metrics"]["harm"]["drop"] <= 0.05
    assert result.content["metrics"]["feature_probe"] is not None
    rows = {row["name"]: row for row in result.content["metrics"]["rows"]}
    assert check(result, "max_short_list")["value"] == rows["edit"]["short_list_4"] <= 0.02


def test_the_images_of_the_demo_serve_an_edit_that_lists_nothing_to_keep(embedded, monkeypatch):
    asked = {}
    monkeypatch.setattr(demo, "task_of", lambda names, forget: asked.update(names=names, forget=forget) or MATERIAL)
    monkeypatch.setattr(demo, "by_artist", lambda *_: {})
    monkeypatch.setattr(demo, "drawing_numbers", lambda *_: [])
    edit = away(torch.eye(embedded.text_features(torch.zeros(1, 0, embedded.dim), ["x"]).shape[-1])[:2])
    adapter = edit_for(embedded, edit, ["cigarette", "anchor"], retain=["a thing nobody drew"])
    assert demo_material(adapter, False).images == "test"
    assert asked["forget"] == ("cigarette", "anchor")
    assert set(asked["names"]) == {"anchor", *demo.tasks()["moderation"][0]["names"]}
    with pytest.raises(ValueError, match="--data FOLDER"):
        demo_material(edit_for(embedded, edit, ["a thing nobody drew"]), False)


MATERIAL = SimpleNamespace(
    test="test", validation=None, unlisted=None, unlisted_validation=None, synonyms={}, forget=("cigarette",)
)
