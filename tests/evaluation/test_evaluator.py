"""The report: every row against figures computed independently, what it refuses, and what it writes."""

import json
import math
import re
from dataclasses import replace

import pytest
import torch
from PIL import Image

from hf_unlearn import ClipBlackBox, ForgetAdapter, LabeledImages, evaluate, unlearn
from hf_unlearn.errors import InputError, WrongBaseError
from hf_unlearn.evaluation import metrics
from hf_unlearn.evaluation.report import Report
from hf_unlearn.evaluation.score_memory import ScoreMemory
from hf_unlearn.models.text_edit import digest
from tests.support.edited import edit_adapter
from tests.support.images import COLOURS, coloured
from tests.support.scores_only import ScoresOnly

SHARES = ("H", "err_for", "acc_mem", "short_list_1", "entropy", "top5_leak", "retain_ece", "look_alike", "bypass_acc")
TEST = coloured(8, seed=1)
LABELS = torch.tensor(TEST.labels)


@pytest.fixture(scope="module")
def adapters(clip) -> list[ForgetAdapter]:
    common = {"forget": ["red", "blue"], "max_queries": 45, "shots": 3, "progress": False}
    return [unlearn(clip, coloured(6), method=method, **common).adapter for method in ("lcs-cma", "proximal")]


@pytest.fixture(scope="module")
def adapter(adapters) -> ForgetAdapter:
    return adapters[-1]


@pytest.fixture(scope="module")
def report(clip, adapters) -> Report:
    return evaluate(
        clip, TEST, *adapters, validation=coloured(6, seed=2), unlisted=unlisted(3), unlisted_validation=unlisted(4)
    )


def unlisted(seed: int) -> LabeledImages:
    images = coloured(5, seed)
    return LabeledImages(images.items, images.labels, ("cup", "hat", "tree", "fish"))


def with_context(adapter: ForgetAdapter, context: torch.Tensor, **changes) -> ForgetAdapter:
    sizes = {"n_ctx": context.shape[0], "dim": context.shape[1], "weights_sha256": digest(context)}
    return ForgetAdapter(context, replace(adapter.config, **sizes, **changes))


def strict_json(text: str):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


# Rows


def test_zero_shot_label_mask_and_every_adapter_have_a_row(report, adapters):
    assert [row["name"] for row in report.rows] == ["zero-shot", "label-mask", "lcs-cma", "proximal"]
    assert [row["queries"] for row in report.rows] == [0, 0, 45, 45]
    assert report.row("proximal")["name"] == "proximal"
    with pytest.raises(KeyError, match="nosuch"):
        report.row("nosuch")


def expected_row(scores: torch.Tensor, images=TEST, names=("red", "blue")) -> dict[str, float]:
    labels = torch.tensor(images.labels)
    forget = torch.tensor([name in names for name in images.names])
    gone = forget[labels]
    error, kept = (float(x) for x in metrics.accuracies(scores, labels, forget))
    return {
        "err_for": error, "acc_mem": kept, "H": metrics.harmonic_mean(error, kept),
        "entropy": metrics.entropy(scores[gone]), "top5_leak": metrics.top_leak(scores[gone], labels[gone]),
        "retain_nll": metrics.log_loss(scores[~gone], labels[~gone]),
        "retain_ece": metrics.calibration_error(scores[~gone], labels[~gone]),
        "look_alike": metrics.look_alike(scores, labels, forget),
        "short_list_1": metrics.short_list(scores, labels, forget, 1),
    }  # fmt: skip


def test_the_rows_are_the_metrics_of_the_scores_under_each_context(clip, report, adapters):
    handle = clip.add_images(TEST)
    contexts = {"zero-shot": torch.zeros(0, clip.dim), **{a.config.method: a.context for a in adapters}}
    for name, context in contexts.items():
        expected = expected_row(clip.log_scores(context[None], handle, TEST.names)[0])
        assert {key: report.row(name)[key] for key in expected} == pytest.approx(expected, abs=1e-5), name


def test_the_label_mask_row_strikes_the_forgotten_names(clip, report):
    logits = clip.zero_shot(clip.add_images(TEST), TEST.names)
    kept = logits[:, [1, 3]].log_softmax(-1)
    retain = [i for i in range(len(TEST)) if TEST.labels[i] in (1, 3)]
    expected = float(
        (kept.argmax(-1) == torch.tensor([{1: 0, 3: 1}.get(x, -1) for x in TEST.labels]))[retain].float().mean()
    )
    row = report.row("label-mask")
    assert row["err_for"] == 1.0
    assert row["acc_mem"] == pytest.approx(expected)
    assert row["acc_mem"] >= report.row("zero-shot")["acc_mem"]
    assert row["entropy"] < 1.0


@pytest.mark.parametrize("forget", [["red"], ["grey", "green", "blue"]])
def test_the_label_mask_errs_on_every_forget_image_whatever_is_forgotten(clip, adapter, forget):
    other = with_context(adapter, adapter.context, forget=forget, retain=[n for n in COLOURS if n not in forget])
    assert evaluate(clip, TEST, other).row("label-mask")["err_for"] == 1.0


def test_a_context_of_real_words_is_judged_like_a_template_with_those_words(clip, adapter):
    ids = clip.tokenizer("big red", add_special_tokens=False)["input_ids"]
    words = clip.model.text_model.get_input_embeddings().weight[ids].detach().clone()
    in_context = evaluate(clip, TEST, with_context(adapter, words)).row("proximal")
    in_template = with_context(adapter, words, template="big red " + adapter.config.template)
    plain = evaluate(clip, TEST, in_template).row("zero-shot")
    for key in ("H", "err_for", "acc_mem", "entropy", "top5_leak", "retain_nll", "retain_ece", "look_alike"):
        assert in_context[key] == pytest.approx(plain[key], abs=1e-4), key
    assert in_context["entropy"] != pytest.approx(evaluate(clip, TEST, adapter).row("zero-shot")["entropy"], abs=1e-6)


def test_the_adapters_template_is_used_whatever_the_models_is(clip_folder, clip, adapter):
    other = ClipBlackBox(clip_folder, template="{} , said the fox")
    for mine, theirs in zip(evaluate(clip, TEST, adapter).rows, evaluate(other, TEST, adapter).rows, strict=True):
        assert mine == pytest.approx(theirs, abs=1e-5)


def test_an_evaluation_adds_nothing_to_the_adapters_ledger(clip, adapter):
    before = dict(adapter.config.ledger)
    assert before["queries"] == 45
    assert evaluate(clip, TEST, adapter).content["ledger"] == before
    assert adapter.config.ledger == before


def test_the_order_of_images_and_classes_changes_no_figure(clip, adapter):
    order = torch.randperm(len(TEST), generator=torch.Generator().manual_seed(0)).tolist()
    turned = TEST.select(order)
    renamed = LabeledImages(turned.items, tuple(3 - label for label in turned.labels), TEST.names[::-1])
    for one, other in zip(evaluate(clip, TEST, adapter).rows, evaluate(clip, renamed, adapter).rows, strict=True):
        assert one == pytest.approx(other, abs=1e-5)


def test_figures_that_are_shares_lie_between_0_and_1(report):
    for row in report.rows:
        for key in SHARES:
            assert 0 <= row[key] <= 1 + 1e-6, (row["name"], key)
        assert row["retain_nll"] >= 0
        assert row["recoverability"] <= 1
        assert 0 <= row["forget_detect"] <= 1


def test_colours_are_recoverable_from_the_plain_scores(clip, adapter, report):
    """Red and blue images differ in their features: a probe reads them even off a random CLIP's scores."""
    assert report.row("zero-shot")["recoverability"] > 0.9
    assert "recoverability" not in evaluate(clip, TEST, adapter).row("zero-shot")


def test_the_bypass_is_the_plain_prompt_and_the_same_for_every_row(clip, report):
    plain = clip.with_template("a photo of a {}")
    guess = plain.zero_shot(plain.add_images(TEST), TEST.names).argmax(-1)
    gone = (LABELS == 0) | (LABELS == 2)
    expected = float((guess == LABELS)[gone].float().mean())
    assert {row["bypass_acc"] for row in report.rows} == {expected}


def test_collateral_is_the_change_on_unlisted_classes_and_zero_for_doing_nothing(clip, report, adapter):
    assert report.row("zero-shot")["collateral"] == 0.0
    assert report.row("zero-shot")["collateral_all_names"] == 0.0
    assert report.row("label-mask")["collateral"] == 0.0  # none of its names is masked
    others = unlisted(3)
    labels, handle = torch.tensor(others.labels), clip.add_images(others)
    for key, names in (("collateral", others.names), ("collateral_all_names", (*others.names, *TEST.names))):
        before, after = (
            (clip.log_scores(context[None], handle, names)[0].argmax(-1) == labels).float().mean()
            for context in (adapter.context[:0], adapter.context)
        )
        assert report.row("proximal")[key] == pytest.approx(float(after - before), abs=1e-6)


def test_a_synonym_is_judged_in_the_place_of_its_name_if_the_plain_model_knows_it(clip, adapter):
    guess = clip.zero_shot(clip.add_images(TEST), TEST.names).argmax(-1)
    known = TEST.names[int(torch.bincount(guess).argmax())]  # what this random CLIP says most often
    own = torch.tensor([TEST.names[label] == known for label in TEST.labels])
    assert (guess == LABELS)[own].float().mean() >= 0.5
    retain = [name for name in TEST.names if name != known]
    forgets = with_context(adapter, adapter.context, forget=[known], retain=retain)
    row = evaluate(clip, TEST, forgets, synonyms={known: [known]}).row("proximal")
    assert row["synonyms"] == 1
    assert row["synonym_err"] == pytest.approx(row["err_for"])
    never = retain[int(min(range(3), key=lambda i: int((guess == TEST.names.index(retain[i])).sum())))]
    unknown = with_context(adapter, adapter.context, forget=[never], retain=[n for n in TEST.names if n != never])
    assert "synonym_err" not in evaluate(clip, TEST, unknown, synonyms={never: [never]}).row("proximal")


def test_short_lists_are_in_every_row_and_none_where_there_are_too_few_kept_names(report):
    for row in report.rows:
        assert row["short_list_1"] is not None
        assert [row[f"short_list_{k}"] for k in (4, 9, 19)] == [None] * 3  # two names are kept
    assert report.row("label-mask")["short_list_1"] == 0
    assert "named beside 1" in str(report)
    assert "beside 4" not in str(report)


# Edits, and both kinds together


@pytest.fixture(scope="module")
def edit(clip) -> ForgetAdapter:
    return edit_adapter(clip, forget=["red", "blue"])


@pytest.fixture(scope="module")
def together(clip, adapter, edit) -> Report:
    return evaluate(clip, TEST, adapter, edit, [edit, adapter], unlisted=unlisted(3), validation=coloured(6, seed=2))


def scores_of(box, names=TEST.names, images=TEST) -> torch.Tensor:
    return box.log_scores(torch.zeros(1, 0, box.dim), box.add_images(images), names)[0]


def test_an_edit_a_context_and_both_are_rows_of_one_report(clip, together, adapter, edit):
    names = ["zero-shot", "label-mask", "proximal", "edit", "edit + proximal"]
    assert [row["name"] for row in together.rows] == names
    assert [row["queries"] for row in together.rows] == [0, 0, 45, 0, 45]
    boxes = {
        "zero-shot": clip, "proximal": clip.under(adapter), "edit": clip.under(edit),
        "edit + proximal": clip.under(edit).under(adapter),
    }  # fmt: skip
    found = {name: expected_row(scores_of(box)) for name, box in boxes.items()}
    for name, expected in found.items():
        assert {key: together.row(name)[key] for key in expected} == pytest.approx(expected, abs=1e-5), name
    assert len({row["entropy"] for row in together.rows}) == len(names)
    assert together.content["method"] == "edit + proximal"


def test_each_adapter_finds_its_own_row_and_a_stack_is_nobodys(together, adapter, edit):
    for one, name in ((adapter, "proximal"), (edit, "edit")):
        judged = one.with_report(together.content)
        assert judged.config.metrics["entropy"] == together.row(name)["entropy"]
        assert judged.config.metrics["short_list_1"] == together.row(name)["short_list_1"]
    assert "weights_sha256" not in together.row("edit + proximal")


def test_the_bypass_of_an_edit_is_the_plain_prompt_with_the_edit_in_effect(clip, together, edit):
    plain, gone = clip.with_template("a photo of a {}"), torch.isin(LABELS, torch.tensor([0, 2]))

    def right(box) -> float:
        return float((scores_of(box).argmax(-1) == LABELS)[gone].float().mean())

    expected = {"edit": right(plain.under(edit)), "edit + proximal": right(plain.under(edit))}
    expected |= dict.fromkeys(("zero-shot", "label-mask", "proximal"), right(plain))
    assert {row["name"]: row["bypass_acc"] for row in together.rows} == expected


def test_the_collateral_of_an_edit_is_of_edited_texts(clip, together, edit):
    others = unlisted(3)
    labels = torch.tensor(others.labels)
    before, after = (
        (scores_of(box, others.names, others).argmax(-1) == labels).float().mean() for box in (clip, clip.under(edit))
    )
    assert together.row("edit")["collateral"] == pytest.approx(float(after - before), abs=1e-6)


def test_an_edit_is_judged_on_any_classes_beside_those_it_forgets(clip):
    other = edit_adapter(clip, forget=["red"], retain=["a thing in no image"])
    report = evaluate(clip, TEST, other)
    assert (report.content["forget"], report.content["retain"]) == (["red"], ["green", "blue", "grey"])
    expected = expected_row(scores_of(clip.under(other)), names=("red",))
    assert {key: report.row("edit")[key] for key in expected} == pytest.approx(expected, abs=1e-5)
    with pytest.raises(ValueError, match="the adapter forgets 'pink', which is none of the 4 classes of the images"):
        evaluate(clip, TEST, edit_adapter(clip, forget=["red", "pink"]))


def test_an_edit_is_judged_under_the_models_template(clip, edit):
    model = clip.with_template("{} on a plate")
    report = evaluate(model, TEST, edit)
    assert report.content["template"] == "{} on a plate"
    for name, box in (("zero-shot", model), ("edit", model.under(edit))):
        assert report.row(name)["entropy"] == pytest.approx(expected_row(scores_of(box))["entropy"], abs=1e-5)


def test_a_model_under_an_adapter_can_be_the_base_of_an_evaluation(clip, adapter, edit):
    report = evaluate(clip.under(edit), TEST, adapter)
    alone, both = evaluate(clip, TEST, edit).row("edit"), evaluate(clip, TEST, [edit, adapter]).rows[-1]
    assert report.row("zero-shot")["entropy"] == pytest.approx(alone["entropy"], abs=1e-5)
    assert report.row("proximal")["entropy"] == pytest.approx(both["entropy"], abs=1e-5)


def test_a_report_of_an_edit_survives_the_disk_and_the_drawing(clip, edit, tmp_path):
    judged = edit.with_report(evaluate(clip, TEST, edit).content)
    judged.save_pretrained(tmp_path / "adapter")
    assert ForgetAdapter.from_pretrained(tmp_path / "adapter").report == judged.report


class Counting:
    """A black box that notes every score it is asked for."""

    def __init__(self, model, asked):
        self.model, self.asked = model, asked

    def __getattr__(self, name):
        return getattr(self.model, name)

    def with_template(self, template):
        return Counting(self.model.with_template(template), self.asked)

    def log_scores(self, contexts, images, names):
        self.asked.append((self.model.template, contexts.numpy().tobytes(), id(images), tuple(names)))
        return self.model.log_scores(contexts, images, names)

    def compare(self, texts, images):
        self.asked.append((texts.numpy().tobytes(), id(images)))
        return self.model.compare(texts, images)


EVERYTHING = {
    "validation": coloured(6, seed=2), "unlisted": unlisted(3), "unlisted_validation": unlisted(4),
    "synonyms": {"red": ["crimson"], "blue": ["azure"]},
}  # fmt: skip


def test_every_distinct_score_is_asked_once_and_the_ledger_counts_them(clip, adapter, edit):
    asked, before = [], clip.ledger.copy()
    candidates = adapter, edit, [edit, adapter]
    evaluate(Counting(clip, asked), TEST, *candidates, **EVERYTHING)
    of_each = 7  # test, synonyms, validation, unlisted twice with other names, unlisted among the listed names twice
    bypasses = 2  # the plain prompt, without and with the edit
    assert len(asked) == len(set(asked)) == of_each * (1 + len(candidates)) + bypasses
    assert clip.ledger.since(before).queries == len(asked)


def test_remembered_scores_make_the_same_figures_bit_for_bit(clip, adapter, edit, monkeypatch):
    def figures():
        return evaluate(clip, TEST, adapter, edit, [edit, adapter], **EVERYTHING).content

    remembered, before = figures(), clip.ledger.copy()
    monkeypatch.setattr(ScoreMemory, "score", ask_again)
    assert figures() == remembered
    assert clip.ledger.since(before).queries > 30  # the distinct ones


def ask_again(self, box, handle, names):
    return box.log_scores(torch.zeros(1, 0, box.dim), handle, names)[0].cpu()


def test_the_memory_distinguishes_templates_adapters_images_and_names(clip, adapter, edit):
    memory, other = ScoreMemory(clip), clip.with_template("{} on a plate")
    boxes = [clip, other, clip.under(adapter), clip.under(edit), other.under(edit), clip.under(edit).under(adapter)]
    for images in (TEST, unlisted(3)):
        for names in (TEST.names, TEST.names[::-1], TEST.names[:2]):
            for box in boxes:
                expected = ask_again(memory, box, memory.encode(images), names)
                assert torch.equal(memory.score(box, memory.encode(images), names), expected)
    asked = clip.ledger.copy()
    memory.score(clip.with_template("{} on a plate").under(edit), memory.encode(TEST), TEST.names)
    assert clip.ledger.since(asked).queries == 0


def test_every_class_has_its_accuracy_before_and_after(report):
    table = report.content["per_class"]
    assert [(item["name"], item["role"], item["images"]) for item in table] == [
        ("red", "forget", 8), ("green", "retain", 8), ("blue", "forget", 8), ("grey", "retain", 8),
    ]  # fmt: skip
    for when, row in (("accuracy_before", "zero-shot"), ("accuracy_after", "proximal")):
        of_role = {role: [i[when] for i in table if i["role"] == role] for role in ("forget", "retain")}
        assert sum(of_role["retain"]) / 2 == pytest.approx(report.row(row)["acc_mem"])
        assert 1 - sum(of_role["forget"]) / 2 == pytest.approx(report.row(row)["err_for"])


def test_the_report_says_what_was_judged(clip, adapter):
    content = evaluate(clip, TEST, adapter, kind="validation").content
    assert content["images"] == {"kind": "validation", "forget": 16, "retain": 16, "classes": 4}
    assert (content["forget"], content["retain"]) == (["red", "blue"], ["green", "grey"])
    assert content["base_model"] == adapter.config.base_model
    assert content["template"] == adapter.config.template


# Refusals


def test_an_evaluation_of_nothing_is_refused(clip):
    with pytest.raises(ValueError, match="at least one adapter"):
        evaluate(clip, TEST)
    with pytest.raises(ValueError, match="at least one adapter"):
        evaluate(clip, TEST, [])


def test_the_wrong_base_is_refused(adapter, other_clip_folder):
    with pytest.raises(WrongBaseError, match="is another model"):
        evaluate(ClipBlackBox(other_clip_folder), TEST, adapter)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("red", "green", "blue", "pink"), "missing: 'grey'; not expected: 'pink'"),
        (("red", "green", "blue", "grey", "pink"), "not expected: 'pink'"),
        (("red", "Greens", "blue", "grey"), "missing: 'green' (did you mean 'Greens'?); not expected: 'Greens'"),
    ],
)
def test_images_of_other_classes_are_refused_and_named(clip, adapter, names, told):
    with pytest.raises(ValueError, match=f"not the {len(names)} classes of the images \\({re.escape(told)}\\); name"):
        evaluate(clip, LabeledImages(TEST.items, TEST.labels, names), adapter)


def test_a_mismatch_of_many_long_names_is_shortened(clip, adapter):
    names = [f"{'n' * 300}{i}" for i in range(400)]
    with pytest.raises(ValueError, match="are not the 400 classes") as told:
        evaluate(clip, LabeledImages(TEST.items, TEST.labels, names), adapter)
    assert len(str(told.value)) < 3_000


def test_images_of_forgotten_classes_alone_are_judged_and_what_needs_others_is_left_out(clip):
    both = edit_adapter(clip, forget=["red", "blue"])
    gone, fit = TEST.only(["red", "blue"]), coloured(3, seed=4).only(["red", "blue"])
    rows = {row["name"]: row for row in evaluate(clip, gone, both, validation=fit).rows}
    assert 0 <= rows["edit"]["err_for"] <= 1
    assert isinstance(rows["edit"]["recoverability"], float)
    assert [rows[name]["acc_mem"] for name in rows] == [None] * 3
    assert rows["label-mask"]["recoverability"] is None
    kept = coloured(3, seed=4).select(i for i, label in enumerate(coloured(3).labels) if label == 3)
    others = LabeledImages.from_arrays(list(coloured(1)), [0] * 4, ["anything"])
    row = evaluate(clip, TEST, both, validation=kept, unlisted=others, unlisted_validation=others).rows[-1]
    assert (row["recoverability"], row["forget_detect"]) == (None, None)


def test_adapters_that_forget_other_classes_are_not_judged_together(clip, adapter):
    other = with_context(adapter, adapter.context, forget=["red"], retain=["green", "blue", "grey"])
    for second in (other, edit_adapter(clip, forget=["red"])):
        with pytest.raises(ValueError, match="the adapters forget different classes; evaluate them one by one"):
            evaluate(clip, TEST, adapter, second)


@pytest.mark.parametrize("names", [("red", "green", "grey", "blue"), ("red", "green", "blue", "pink")])
def test_validation_images_of_other_classes_are_refused(clip, adapter, names):
    """Their labels are indices into their own names: read as ours they would mix up the classes."""
    validation = LabeledImages(TEST.items, TEST.labels, names)
    told = "the order differs" if "grey" in names else "missing: 'grey'.*; not expected: 'pink'"
    with pytest.raises(ValueError, match=f"validation images must have the same classes.*{told}"):
        evaluate(clip, TEST, adapter, validation=validation)


@pytest.mark.parametrize("kept", [(1, 3), (0, 2)])
@pytest.mark.parametrize("validation", [None, coloured(4, seed=2)])
def test_images_of_one_kind_only_give_none_for_the_other_never_nan(clip, adapter, kept, validation):
    some = TEST.select(i for i in range(len(TEST)) if TEST.labels[i] in kept)
    report = evaluate(clip, some, adapter, validation=validation)
    content = strict_json(report.to_json())
    missing, there = ("err_for", "acc_mem") if kept == (1, 3) else ("acc_mem", "err_for")
    for row in content["rows"]:
        assert row[missing] is None
        assert row[there] is not None
        assert row["H"] is None
    assert "proximal" in str(report)


# What it writes


def test_the_json_is_valid_and_holds_no_nan(report):
    assert strict_json(report.to_json()) == report.content


def test_saving_writes_the_json_and_a_picture_that_opens(report, tmp_path):
    report.save(tmp_path / "a" / "b")
    assert strict_json((tmp_path / "a" / "b" / "report.json").read_text()) == report.content
    with Image.open(tmp_path / "a" / "b" / "report.png") as picture:
        picture.load()
        assert picture.format == "PNG"
        assert min(picture.size) > 300


@pytest.mark.parametrize("name", ["$x$", "a_b^c", "50 % & more", "ビール", "<b>", "\\frac"])
def test_class_names_of_any_kind_can_be_drawn(clip, adapter, tmp_path, name):
    names = ("red", "green", "blue", name)
    any_name = with_context(adapter, adapter.context, retain=["green", name])
    report = evaluate(clip, LabeledImages(TEST.items, TEST.labels, names), any_name)
    report.save(tmp_path)
    with Image.open(tmp_path / "report.png") as picture:
        picture.load()


def test_printed_it_is_a_table_with_every_row_and_heading(report):
    text = str(report)
    for word in ("zero-shot", "label-mask", "lcs-cma", "proximal", "Err_for", "Acc_mem", "entropy", "16 forget"):
        assert word in text
    assert "nan" not in text


def test_an_adapter_with_its_report_keeps_its_own_figures(report, adapter):
    judged = adapter.with_report(report.content)
    assert judged.report == report.content
    for key in ("H", "err_for", "acc_mem", "entropy", "recoverability"):
        assert judged.config.metrics[key] == report.row("proximal")[key]
    assert judged.config.metrics["validation_H"] == adapter.config.metrics["validation_H"]
    assert adapter.report is None


def test_two_adapters_of_one_method_keep_their_own_figures_apart(clip, adapter):
    """Say two seeds: each adapter's metrics must be those of its own context."""
    other = with_context(adapter, 5 * torch.randn(4, clip.dim, generator=torch.Generator().manual_seed(0)))
    report = evaluate(clip, TEST, adapter, other)
    alone = evaluate(clip, TEST, other).row("proximal")
    assert report.rows[3]["entropy"] == pytest.approx(alone["entropy"], abs=1e-5)
    assert other.with_report(report.content).config.metrics["entropy"] == pytest.approx(alone["entropy"], abs=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda scores: scores * float("nan"), "scores that are no numbers"),
        (lambda scores: scores.exp() * 100, "no log-softmax over the names: .* return logits.log_softmax"),
        (lambda scores: 0.3 + scores / 100, "no log-softmax"),
        (torch.negative, "no log-softmax"),
        (lambda scores: scores[0], "a Tensor of shape"),
        (lambda scores: scores.numpy(), "a ndarray of shape"),
    ],
)
def test_a_box_that_answers_with_something_else_than_log_scores_is_not_evaluated(clip, adapter, change, message):
    with pytest.raises(InputError, match=message):
        evaluate(ScoresOnly(clip, change), TEST, adapter)


def test_probabilities_rounded_to_0_are_evaluated(clip, adapter):
    rounded = ScoresOnly(clip, lambda scores: (9 * scores).log_softmax(-1).exp().mul(100).round().div(100).log())
    row = evaluate(rounded, TEST, adapter).rows[-1]
    assert all(math.isfinite(row[name]) for name in ("entropy", "retain_nll", "retain_ece"))
