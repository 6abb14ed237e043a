"""One adapter from several, and one that keeps a class again: lists, start, budget, errors, real effect."""

import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hf_unlearn import ClipBlackBox, ForgetAdapter, combine, evaluate, unlearn, without
from hf_unlearn.demo import emoji_tasks as demo
from hf_unlearn.errors import InputError, WrongBaseError
from hf_unlearn.models.text_edit import digest
from tests.support.images import COLOURS, coloured

OPTIONS = {"shots": 2, "progress": False}


def made(clip, forget, images=None, **options):
    images = coloured(6) if images is None else images
    return unlearn(clip, images, forget=forget, max_queries=30, **{"n_ctx": 2, **OPTIONS, **options}).adapter


@pytest.fixture(scope="module")
def red(clip):
    return made(clip, ["red"], coloured(6).only(["red", "green", "grey"]))


@pytest.fixture(scope="module")
def blue(clip):
    return made(clip, ["blue"], coloured(6).only(["blue", "red", "grey"]), seed=1)


def test_what_any_forgets_is_forgotten_even_if_another_keeps_it(clip, red, blue):
    config = combine([red, blue], clip, coloured(6), max_queries=20, **OPTIONS).adapter.config
    assert (config.forget, config.retain) == (["red", "blue"], ["green", "grey"])
    assert config.hyperparameters["combined"] == [red.config.weights_sha256, blue.config.weights_sha256]


def test_the_start_is_the_best_of_the_contexts_and_their_mean(clip, red, blue):
    images = coloured(6).only(["red", "blue", "green", "grey"])
    mean = (red.context + blue.context) / 2
    mean = ForgetAdapter(mean, replace(red.config, weights_sha256=digest(mean)))
    starts = {
        one.config.weights_sha256: unlearn(
            clip, images, forget=["red", "blue"], init=one, max_queries=1, **OPTIONS
        ).history[-1]
        for one in (red, blue, mean)
    }
    best = max(starts, key=lambda key: (starts[key].H, -starts[key].loss))
    result = combine([red, blue], clip, coloured(6), max_queries=20, **OPTIONS)
    assert result.adapter.config.hyperparameters["init"] == best
    assert result.history[0].H == starts[best].H


def test_the_starts_are_part_of_the_budget_and_of_the_ledger(clip, red, blue):
    before = clip.ledger.copy()
    config = combine([red, blue], clip, coloured(6), max_queries=20, **OPTIONS).adapter.config
    spent = clip.ledger.since(before)
    assert config.ledger["queries"] == spent.queries == config.hyperparameters["max_queries"] == 20
    assert config.ledger["text_tokens"] == spent.text_tokens
    assert spent.image_encodings == config.ledger["image_encodings"] == 4 * (2 + 2)  # once, not once per start


def test_the_same_seed_gives_the_same_adapter(clip, red, blue):
    one, two = (combine([red, blue], clip, coloured(6), max_queries=20, seed=3, **OPTIONS) for _ in range(2))
    assert torch.equal(one.adapter.context, two.adapter.context)


def test_validation_images_are_narrowed_to_the_same_classes(clip, red):
    result = without(
        made(clip, ["red", "blue"]), "blue", clip, coloured(6), validation=coloured(2, seed=5), max_queries=5, **OPTIONS
    )
    assert set(result.adapter.config.retain) == {"blue", "green", "grey"}
    result = combine([red, red], clip, coloured(6), validation=coloured(2, seed=5), max_queries=5, **OPTIONS)
    assert set(result.adapter.config.retain) == {"green", "grey"}


def test_only_adapters_that_fit_together_are_combined(clip, other_clip_folder, red, blue):
    images = coloured(6)
    with pytest.raises(ValueError, match="expected two or more adapters to combine, got 1"):
        combine([red], clip, images)
    with pytest.raises(ValueError, match="only adapters of one context length can be combined, these have 2, 3"):
        combine([red, made(clip, ["green"], n_ctx=3)], clip, images)
    with pytest.raises(ValueError, match=r"only adapters of one template can be combined, these have This is"):
        combine([red, made(clip.with_template("{}"), ["green"])], clip, images)
    with pytest.raises(WrongBaseError):
        combine([red, blue], ClipBlackBox(other_clip_folder), images)
    with pytest.raises(ValueError, match="max_queries must be more than the 3 contexts that may be the start, got 3"):
        combine([red, blue], clip, images, max_queries=3)
    with pytest.raises(ValueError, match="no images of 'green'; every class to forget and to keep needs some"):
        combine([red, blue], clip, images.only(["red", "blue", "grey"]), **OPTIONS)
    with pytest.raises(ValueError, match="no images of 'red' and 2 other classes"):
        combine([red, blue], clip, images.only(["grey"]), **OPTIONS)


def test_a_class_that_is_given_back_is_kept_and_the_others_stay(clip):
    both = made(clip, ["red", "blue"])
    result = without(both, "blue", clip, coloured(6), max_queries=10, **OPTIONS)
    assert result.adapter.config.forget == ["red"]
    assert set(result.adapter.config.retain) == set(COLOURS) - {"red"}
    assert result.adapter.config.hyperparameters["init"] == both.config.weights_sha256
    assert both.config.forget == ["red", "blue"]


def test_several_are_given_back_at_once_and_all_of_them_are_not(clip, other_clip_folder):
    three = made(clip, ["red", "blue", "green"])
    assert without(three, ["red", "green"], clip, coloured(6), max_queries=5, **OPTIONS).adapter.config.forget == [
        "blue"
    ]
    with pytest.raises(ValueError, match="nothing would be left to forget; use the base model without an adapter"):
        without(three, ["red", "green", "blue"], clip, coloured(6))
    for names, got in (("grey", "'grey'"), (["red", "pink"], "'pink'"), ([], "none")):
        with pytest.raises(ValueError, match=f"a class that the adapter forgets, got {got}; it forgets: red, green,"):
            without(three, names, clip, coloured(6))
    with pytest.raises(WrongBaseError):
        without(three, "red", ClipBlackBox(other_clip_folder), coloured(6))


def test_contexts_that_images_made_are_trained_on_names_alone_only_with_a_warning(clip, red, blue):
    options = {"max_queries": 10, "progress": False}
    with pytest.warns(UserWarning, match="names alone .* give images") as said:
        both = combine([red, blue], clip, **options).adapter
    assert [warning.filename for warning in said] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        without(both, "blue", clip, **options)  # made from names, so nothing is lost


@pytest.mark.parametrize("decided", [{"classes": ["x"]}, {"forget": ["red"]}, {"init": None}])
def test_what_the_adapters_decide_is_refused_as_an_option(clip, red, blue, decided):
    with pytest.raises(InputError, match="the adapters decide this; leave it out"):
        combine([red, blue], clip, **decided)
    with pytest.raises(InputError, match="the adapters decide this; leave it out"):
        without(made(clip, ["red", "blue"]), "red", clip, **decided)


def test_on_the_embedded_clip_a_combination_forgets_both_and_a_class_comes_back():
    model, keep = ClipBlackBox(device="cpu"), ["guitar", "bus", "penguin", "pizza", "key", "rose"]
    drinks, bugs = ["beer mug", "wine glass"], ["honeybee", "spider"]
    task = demo.task_of([*drinks, *bugs, *keep], [*drinks, *bugs], shots=8)
    options = {"validation": task.validation, "shots": 8, "progress": False}
    one, two = (
        unlearn(model, task.train.only([*forget, *keep]), forget=forget, max_queries=150,
                **{**options, "validation": task.validation.only([*forget, *keep])}).adapter
        for forget in (drinks, bugs)
    )  # fmt: skip
    both = combine([one, two], model, task.train, max_queries=400, **options).adapter
    row = evaluate(model, task.test, both).rows[-1]
    assert row["err_for"] > 0.5
    assert row["acc_mem"] > 0.7
    back = without(both, "beer mug", model, task.train, max_queries=400, **options).adapter
    report = evaluate(model, task.test, back).content
    accuracy = {entry["name"]: entry["accuracy_after"] for entry in report["per_class"]}
    assert accuracy["beer mug"] >= 0.5
    assert sum(accuracy[name] for name in ("wine glass", *bugs)) / 3 < 0.6  # plainly 1


def test_the_adapters_of_the_space_are_combined_and_one_given_back_by_names_only():
    model, folder = ClipBlackBox(device="cpu"), Path(__file__).parents[2] / "space" / "adapters"
    insects, tobacco = (ForgetAdapter.from_pretrained(folder / name) for name in ("insects", "tobacco"))
    both = combine([insects, tobacco], model).adapter
    assert (both.kind, both.config.ledger["queries"], both.config.ledger["image_encodings"]) == ("edit", 0, 0)
    assert set(both.config.forget) == {*insects.config.forget, "cigarette"}
    back = without(both, "cigarette", model).adapter
    assert set(back.config.forget) == set(insects.config.forget)
    assert "cigarette" in back.config.retain
