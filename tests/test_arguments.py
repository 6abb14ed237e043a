"""Numbers that functions are given, and values as messages repeat them."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from hf_unlearn import (
    ClipBlackBox,
    EmbeddingBlackBox,
    ForgetAdapter,
    HfUnlearnError,
    HubError,
    InputError,
    LabeledImages,
    Thresholds,
    audit,
    combine,
    evaluate,
    recipe,
    solve_edit,
    unlearn,
    without,
)
from hf_unlearn.arguments import positive, share, whole_number
from hf_unlearn.text import brief, listed
from hf_unlearn.training.checkpoint import Checkpoint
from tests.support.images import coloured

WORDS = [f"{a}{b}{c}" for a in "bdgk" for b in "aeiou" for c in ("n", "rt", "st")]


def test_numbers_of_every_make_are_numbers():
    for value in (3, np.int64(3), np.uint8(3)):
        assert (whole_number("x", value), type(whole_number("x", value))) == (3, int)
    for value in (0, 1, 0.5, np.float32(0.5), np.int64(1)):
        assert (share("x", value), type(share("x", value))) == (value, float)


@pytest.mark.parametrize("value", [None, True, "8", 8.0, 2.5, [8], float("nan"), 0, -1, 10**12, [10**5000]])
def test_what_is_no_whole_number_within_bounds_is_refused(value):
    with pytest.raises(
        ValueError, match=r"shots must be a whole number (of at least 1|from 1 to 2147483647), got "
    ) as told:
        whole_number("shots", value)
    assert len(str(told.value)) < 160


@pytest.mark.parametrize("value", [None, True, "0.5", [0.5], float("nan"), float("inf"), -0.1, 1.1, 10**400, 1j])
def test_what_is_no_share_is_refused(value):
    with pytest.raises(ValueError, match="x must be a number from 0 to 1, got "):
        share("x", value)
    if value != 1.1:
        with pytest.raises(ValueError, match="x must be a positive number, got "):
            positive("x", value)


@pytest.mark.parametrize("name", ["breadth", "strength", "max_queries", "shots", "patience", "seed", "n_ctx"])
@pytest.mark.parametrize("value", ["8", True, float("nan"), -3, 10**30, [1]])
def test_a_dial_or_a_size_of_the_wrong_kind_is_refused_before_anything_is_asked(clip, name, value):
    before = clip.ledger.copy()
    for given in ({"images": coloured(2)}, {"method": "edit", "vocabulary": WORDS}):
        with pytest.raises(ValueError, match=rf"{name} must be a (whole )?number"):
            unlearn(clip, forget=["red"], **given, **{name: value})
    assert clip.ledger == before


@pytest.mark.parametrize("adapter", [None, "adapters/one", Path("adapters/one"), 5, {}])
def test_a_path_or_anything_else_in_the_place_of_an_adapter_is_refused(clip, adapter):
    made = unlearn(clip, forget=["red"], vocabulary=WORDS).adapter
    for job in (
        lambda: audit(clip, adapter, coloured(1)),
        lambda: evaluate(clip, coloured(1), adapter),
        lambda: evaluate(clip, coloured(1), [made, adapter]),
        lambda: combine([made, adapter], clip),
        lambda: combine(adapter, clip),
        lambda: without(adapter, "red", clip),
    ):
        with pytest.raises(InputError, match=r"expected (an adapter|at least one adapter|two or more adapters)"):
            job()


@pytest.mark.parametrize("folder", [None, 5, b"there", ["there"], np.zeros(2)])
def test_what_is_no_path_is_refused_where_a_folder_is_written(clip, folder):
    made = unlearn(clip, forget=["red"], vocabulary=WORDS).adapter
    for job in (lambda: made.save_pretrained(folder), lambda: made.export(folder), lambda: Checkpoint(folder, {})):
        with pytest.raises(InputError, match="must be the path of a folder, got"):
            job()


def test_an_empty_text_is_not_the_current_folder(clip, tmp_path, monkeypatch):
    unlearn(clip, forget=["red"], vocabulary=WORDS).adapter.save_pretrained(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert ForgetAdapter.from_pretrained(".").config.forget == ["red"]
    with pytest.raises(HfUnlearnError, match="'' is no folder here and no Hub id"):
        ForgetAdapter.from_pretrained("")


def test_what_is_no_text_is_refused_where_the_hub_wants_text(clip, tmp_path):
    for revision in (5, b"main", ["main"], Path("main")):
        with pytest.raises(InputError, match="revision must be the text of a branch, tag or commit, got"):
            ForgetAdapter.from_pretrained("somebody/something", revision=revision)
    made = unlearn(clip, forget=["red"], vocabulary=WORDS).adapter
    made.save_pretrained(tmp_path)
    for subfolder in (5, b"a", ["a"]):
        with pytest.raises(InputError, match="subfolder must be text, got"):
            ForgetAdapter.from_pretrained(tmp_path, subfolder=subfolder)
    with pytest.raises(HubError):
        made.push_to_hub(None)


def test_texts_that_are_no_unicode_never_reach_a_tokenizer(clip):
    for job in (
        lambda: unlearn(clip, forget=["red"], vocabulary=[*WORDS, "\ud800"]),
        lambda: clip.text_features(torch.zeros(1, 0, clip.dim), ["\ud800"]),
        lambda: unlearn(clip, forget=["\udcff"], vocabulary=WORDS),
    ):
        with pytest.raises(InputError, match="must be valid Unicode"):
            job()


def test_images_that_are_missing_or_no_list_are_refused(clip):
    made = unlearn(clip, forget=["red"], vocabulary=WORDS).adapter
    for job in (lambda: evaluate(clip, None, made), lambda: audit(clip, made, None)):
        with pytest.raises(InputError, match="images must be LabeledImages, got NoneType"):
            job()
    for unlabelled in (5, True, "a.jpg", b"a.jpg"):
        with pytest.raises(InputError, match="unlabelled must be a list of images or their paths, got"):
            unlearn(clip, classes=["red", "blue"], forget=["red"], unlabelled=unlabelled)


def test_features_and_thresholds_of_the_wrong_kind_are_refused():
    for wrong in (None, "features", torch.zeros(3), np.zeros((1, 2, 3))):
        with pytest.raises(InputError, match=r"expected text features of shape \(templates, texts, width\), got"):
            solve_edit(wrong, torch.zeros(1, 0, 4), torch.zeros(1, 9, 4))
    for wrong in (None, "0.5", [0.5], float("nan"), 2):
        with pytest.raises(InputError, match="max_attack must be a share from 0 to 1, got"):
            Thresholds(max_attack=wrong)


@pytest.mark.parametrize("name", ["max_queries", "shots", "patience", "seed", "validation"])
def test_what_an_edit_has_no_use_for_is_refused(clip, name):
    value = coloured(1) if name == "validation" else 7
    with pytest.raises(ValueError, match=f"{name} is for a context; an edit needs names alone"):
        unlearn(clip, forget=["red"], vocabulary=WORDS, **{name: value})


def test_what_is_given_in_the_place_of_images_or_a_method_is_named(clip):
    with pytest.raises(ValueError, match="images must be LabeledImages, got list; make them with"):
        unlearn(clip, list(coloured(1)), forget=["red"])
    with pytest.raises(ValueError, match="unlabelled must be a list of images or their paths, got 'folder'"):
        unlearn(clip, classes=["red", "blue"], forget=["red"], unlabelled="folder")
    for given in (5, "Edit", ""):
        for images in (coloured(1), None):
            with pytest.raises(ValueError, match=f"unknown method {given!r}; expected one of proximal,"):
                unlearn(clip, images, forget=["red"], method=given)
    with pytest.raises(ValueError, match="init must be an adapter or a result, got 'a/b'; load it: ForgetAdapter"):
        unlearn(clip, coloured(1), forget=["red"], init="a/b")


@pytest.mark.parametrize("given", ["user/clip", Path("clip")])
def test_a_name_or_a_folder_in_the_place_of_a_model_or_images_is_told_how_to_load_it(clip, given):
    adapter = unlearn(clip, forget=["red"], vocabulary=WORDS).adapter
    for ask in (
        lambda: unlearn(given, forget=["red"]), lambda: adapter.check_base(given),
        lambda: evaluate(given, coloured(1), adapter), lambda: audit(given, adapter, coloured(1)),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=re.escape(f"got {str(given)!r}; load it: ClipBlackBox({str(given)!r})")):
            ask()
    for ask in (
        lambda: evaluate(clip, given, adapter), lambda: evaluate(clip, coloured(1), adapter, unlisted=given),
        lambda: audit(clip, adapter, given),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"(images|unlisted) must be LabeledImages, got "):
            ask()


def test_a_model_of_transformers_is_told_how_to_become_a_black_box(clip):
    with pytest.raises(ValueError, match="model must be a black box, got CLIPModel; make one: ClipBlackBox"):
        unlearn(clip.model, forget=["red"])


@pytest.mark.parametrize("load", [ForgetAdapter.from_pretrained, ClipBlackBox])
def test_a_file_in_the_place_of_a_folder_is_not_looked_for_on_the_hub(tmp_path, load):
    (tmp_path / "model.safetensors").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"model\.safetensors: a file; expected the folder "):
        load(str(tmp_path / "model.safetensors"))


@pytest.mark.parametrize("given", [None, 3, b"adapters/x"])
def test_what_is_neither_a_folder_nor_an_id_is_no_adapter(given):
    with pytest.raises(ValueError, match=f"expected a folder or a Hub id, got {type(given).__name__}"):
        ForgetAdapter.from_pretrained(given)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"revision": "v1"}, "revision must be a commit on the Hub, 40 hexadecimal digits, or None; got 'v1'"),
        ({"revision": "0f" * 20, "model_id": "my clip"}, "model_id must be a Hub id where there is a revision"),
        ({"model_id": ""}, "model_id must be text of 1 to 500 characters, got ''"),
        ({"model_id": "x" * 501}, "model_id must be text"),
        ({"model_id": None}, "model_id must be text"),
        ({"batch": 2.0}, "batch must be a whole number"),
        ({"logit_scale": "100"}, "logit_scale must be a positive number"),
        ({"template": None}, "a template has one"),
    ],
)
def test_a_box_of_two_functions_refuses_at_once_what_no_adapter_could_hold(wrong, message):
    with pytest.raises(ValueError, match=message):
        EmbeddingBlackBox(len, len, **wrong)


def test_a_box_that_takes_no_context_is_told_of_edits(clip):
    box = EmbeddingBlackBox(
        lambda texts: np.eye(4)[[len(text) % 4 for text in texts]], lambda images: [[1, 0, 0, 0]] * len(images)
    )
    with pytest.raises(ValueError, match=r"embeddings takes no context: .*make an edit, which needs names alone"):
        unlearn(box, coloured(2), forget=["red"])


@pytest.mark.parametrize("label", [1.7, "red", None, 4, -1, float("nan"), [0]])
def test_a_label_that_is_no_place_in_the_names_is_refused(label):
    images = list(coloured(1))
    with pytest.raises(ValueError, match="labels must be 0 to 3, got "):
        LabeledImages.from_arrays(images, [0, 1, 2, label], ["a", "b", "c", "d"])
    for good in ([0, 1, 2, 3], np.arange(4), torch.arange(4), [0.0, 1.0, 2.0, 3.0]):
        assert LabeledImages.from_arrays(images, good, ["a", "b", "c", "d"]).labels == (0, 1, 2, 3)


@pytest.mark.parametrize("path", ["x" * 400, "x" * 5_000, "x/" * 3_000, "a\0b"])
def test_a_path_that_can_not_be_one_is_told_in_part(path):
    for load in (LabeledImages.from_folder, ClipBlackBox):
        with pytest.raises((ValueError, OSError)) as told:
            load(path)
        assert len(str(told.value)) < 1_500


def test_a_value_is_repeated_in_part():
    assert brief("x" * 81) == f"'{'x' * 80}'…"
    assert brief(b"y" * 500) == f"b'{'y' * 80}'…"
    assert brief(list(range(999))) == str(list(range(999)))[:80] + "…"
    assert brief(10**5000) == brief(-(10**5000)) == "a number of about 4,983 digits"
    assert brief([10**5000]) == "list"
    assert brief(["a\nb"]) == r"['a\nb']"
    many = listed(["n" * 300] * 500)
    assert len(many) < 21 * 84
    assert re.fullmatch(r"(n{80}…, ){20}…", many)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda clip: clip.under("adapters/one"), "expected an adapter, got str"),
        (lambda clip: clip.under(ForgetAdapter), "expected an adapter, got type"),
        (lambda clip: clip.text_features([[1.0]], ["cup"]), "expected contexts of shape"),
        (lambda clip: recipe("proximal", "x"), "classes must be a whole number"),
        (
            lambda clip: unlearn(clip, classes=["cup", "mug"], forget=["mug"], method="proximal", on_step=3),
            "on_step must be a function",
        ),
    ],
)
def test_what_is_no_adapter_context_count_or_function_is_refused(clip, call, message):
    with pytest.raises(InputError, match=message):
        call(clip)
