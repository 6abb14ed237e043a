"""The first screen's answers, without Gradio: the embedded model, real edits, real drawings."""

import pytest
import torch
from PIL import Image

from hf_unlearn import ClipBlackBox, unlearn
from hf_unlearn.errors import InputError
from space.services.adapter_store import AdapterStore
from space.services.certainty import Figures, Row, measure
from space.services.classification import classify
from space.services.instant_edit import InstantEdits
from space.services.model_cache import ModelCache
from space.services.pictures import find_picture, other_pictures, pictures_of
from space.services.recipe import EXAMPLE, OWN_PHOTO, PRESETS, Recipe
from space.services.verdict import NONE
from space.views.certainty import render_figures


@pytest.fixture(scope="module")
def edits(tmp_path_factory) -> InstantEdits:
    return InstantEdits(AdapterStore(tmp_path_factory.mktemp("root"), ModelCache()))


def test_the_example_convinces(edits):
    answer = edits.answer(EXAMPLE)
    assert answer.verdict.outcome == "forgotten"
    assert answer.verdict.before.share > 0.9
    assert answer.verdict.after.name == NONE
    assert len(answer.strip) == 12
    assert all(cell.as_asked for cell in answer.strip)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_forgets_what_it_names_and_keeps_the_rest(edits, preset):
    strip = edits.answer(Recipe(PRESETS[preset])).strip
    assert sum(cell.to_forget for cell in strip) >= 3
    assert all(cell.as_asked for cell in strip)


def test_the_edit_is_the_librarys(edits):
    model = ClipBlackBox("embedded", device="cpu")
    expected = unlearn(model, forget=["gun"], keep=["pen"], progress=False).adapter
    made = edits.adapter(Recipe(("gun",), ("pen",)))
    assert made.config.weights_sha256 == expected.config.weights_sha256


def test_shares_with_a_floor_are_the_models_scores_without_it(edits):
    picture = find_picture("guitar-twemoji")
    answer = edits.answer(Recipe((), labels=("guitar", "violin", "key"), picture=picture.key))
    shares = {bar.name: bar.before for bar in answer.bars}
    floor = shares.pop(NONE)
    model = ClipBlackBox("embedded", device="cpu")
    expected = model.zero_shot(model.add_images([picture.load()]), list(shares))[0].exp()
    got = torch.tensor(list(shares.values())) / (1 - floor)
    assert torch.allclose(got, expected, atol=1e-5)


def test_a_name_that_nobody_drew_is_forgotten_like_any_other(edits):
    answer = edits.answer(Recipe(("absinthe",)))
    assert answer.adapter.config.forget == ["absinthe"]
    assert not any(cell.to_forget for cell in answer.strip)
    assert answer.verdict.outcome == "kept"


def test_another_name_of_the_same_thing_is_suggested(edits):
    verdict = edits.answer(Recipe(("dagger",), picture="dagger-twemoji")).verdict
    assert verdict.outcome == "other name"
    assert verdict.suggestion in find_picture("dagger-twemoji").names
    both = edits.answer(Recipe(("dagger", verdict.suggestion), picture="dagger-twemoji")).verdict
    assert both.suggestion != verdict.suggestion


def test_switched_off_the_answer_is_the_plain_models(edits):
    answer = edits.answer(Recipe(("gun",), enabled=False))
    assert answer.verdict.outcome == "off"
    assert all(bar.before == bar.after for bar in answer.bars)


def test_without_names_nothing_is_changed(edits):
    answer = edits.answer(Recipe())
    assert (answer.adapter, answer.verdict.outcome) == (None, "no names")


def test_a_photo_is_scored_and_none_yet_is_said(edits):
    recipe = Recipe(("gun",), picture=OWN_PHOTO)
    assert edits.answer(recipe).verdict.outcome == "no picture"
    drawing = find_picture("water-pistol-twemoji").load()
    photo = edits.answer(recipe, drawing)
    drawn = edits.answer(Recipe(("gun",), picture="water-pistol-twemoji"))
    assert [bar.name for bar in photo.bars] == [bar.name for bar in drawn.bars]
    assert [bar.after for bar in photo.bars] == pytest.approx([bar.after for bar in drawn.bars], abs=1e-5)
    with pytest.raises(ValueError, match="megapixels"):
        edits.answer(recipe, Image.new("RGB", (6_000, 6_000)))


def test_a_model_that_is_not_offered_and_a_picture_that_is_not_there_are_refused(edits):
    with pytest.raises(InputError, match="embedded"):
        edits.answer(Recipe(("gun",), base="user/clip"))
    with pytest.raises(InputError, match="no picture"):
        edits.answer(Recipe(("gun",), picture="../secret"))


def test_names_that_the_model_can_not_distinguish_are_refused_by_both(edits):
    said = "become the same tokens in embedded, which can't distinguish them"
    for recipe in (Recipe(("gun", "Gun")), Recipe(("gun",), keep=("Gun",)), Recipe(("gun",), labels=("cat", "GUN"))):
        with pytest.raises(InputError, match=f"'gun' and '(?i:gun)' {said}"):
            edits.answer(recipe)
    with pytest.raises(InputError, match=f"'Cat' and 'cat' {said}"):
        classify(edits.store, Image.new("RGB", (32, 32)), "Cat\ndog\ncat", None, "embedded")


def test_kept_pictures_share_no_word_with_what_is_forgotten():
    assert "dog face" not in {picture.name for picture in other_pictures(["dog"])}
    assert [picture.name for picture in pictures_of(["beer", "wine"])][:2] == ["beer mug", "wine glass"]


def test_other_names_are_measured_beside_the_label_mask(edits):
    found = measure(edits, Recipe(("gun",)))
    assert found is not None
    before, mask, edit = found.rows
    assert (before.renamed, mask.renamed, edit.renamed) == (1.0, 1.0, 0.0)
    assert measure(edits, Recipe(("zeppelin",))) is None


@pytest.mark.parametrize("photographs", [False, True])
def test_how_sure_speaks_of_the_pictures_that_were_measured_and_of_what_changes(photographs):
    before, after = Row("before", 0.0, 0.5, (1.0, 1.0, 1.0), None), Row("edit", 1.0, 0.25, (0.0, 0.0, 0.0), None)
    shown = render_figures(Figures((before, after), 2, 10, photographs), {})
    there, elsewhere = ("photographs", "drawings") if photographs else ("drawings", "photographs")
    assert f"2 {there} of what is forgotten" in shown
    assert elsewhere not in shown
    assert "<td>-25</td>" in shown
    assert "Not computed from your words" not in shown  # the library has no such figures for another base
