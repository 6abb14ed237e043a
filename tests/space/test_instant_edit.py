"""The first screen's answers, without Gradio: the embedded model, real edits, real drawings."""

from dataclasses import replace
from pathlib import Path

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
from space.services.pictures import find_picture, other_pictures, pictures_of, same_words
from space.services.recipe import EXAMPLE, NEWEST, OWN_PHOTO, PRESETS, Recipe
from space.services.verdict import NONE
from space.services.whole_words import keep_words
from space.views.certainty import render_figures
from space.views.comparison import render_comparison
from space.views.first_screen import render_verdict

REPOSITORY = Path(__file__).parents[2]


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
    assert answer.verdict.outcome == "kept only"
    assert [each.name for each in answer.unseen] == ["absinthe"]


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


@pytest.mark.parametrize(
    ("recipe", "merged"),
    [
        (Recipe(("gun", "Gun")), Recipe(("gun",))),
        (Recipe(("gun",), keep=("Gun", "pen")), Recipe(("gun",), keep=("pen",))),
        (Recipe(("gun",), labels=("cat", "GUN")), Recipe(("gun",), labels=("cat", "gun"))),
    ],
)
def test_names_that_are_one_to_the_model_count_once_and_it_is_said(edits, recipe, merged):
    answer = edits.answer(recipe)
    assert answer.recipe == merged
    assert answer.adapter is edits.adapter(merged) is edits.adapter(recipe)
    assert len({bar.name.casefold() for bar in answer.bars}) == len(answer.bars)
    assert f"To this model “{next(iter(answer.repeats))}” and “gun” are one name" in render_verdict(answer)
    assert measure(edits, recipe) == measure(edits, merged)


def test_labels_that_are_one_to_the_model_count_once(edits):
    found = classify(edits.store, Image.new("RGB", (32, 32)), "Cat\ndog\ncat", None, "embedded")
    assert found.names == ["Cat", "dog"]
    assert "cat: the model reads this like another label, counted once." in render_comparison(found)[2]


@pytest.mark.parametrize("kind", ["edit", "context"])
def test_an_adapter_leaves_a_picture_of_what_is_forgotten_to_none_of_the_labels(edits, kind):
    saved, _ = AdapterStore(REPOSITORY, ModelCache()).list_saved()
    adapter = next(each for each in saved.values() if each.kind == kind and "beer mug" in each.config.forget)
    mug, labels = find_picture("beer-mug-twemoji").load(), "beer mug\nrose\nkey\npizza"
    found = classify(edits.store, mug, labels, edits.store.add(adapter, "one"), "")
    was, now = found.none_of_these
    assert was < 0.1
    before, after, words = render_comparison(found)
    assert list(before) == list(after) == ["beer mug (to be forgotten)", "rose", "key", "pizza", NONE]
    assert sum(before.values()) == pytest.approx(1, abs=1e-5)
    assert sum(after.values()) == pytest.approx(1, abs=1e-5)
    model = edits.scores_of("embedded")
    texts = edits.store.apply(adapter).adapted.text_features(
        torch.zeros(1, 0, edits.store.models.get("embedded").dim), found.names
    )[0]
    expected = model.beside(model.encode([mug]), texts)[0].tolist()
    assert list(after.values()) == pytest.approx(expected, abs=1e-5)
    if kind == "edit":
        assert now > 0.5
        assert "says **beer mug**" in words
        assert "with the adapter it recognizes **none of these labels**" in words


def test_a_model_that_is_not_offered_and_a_label_of_the_floors_name_have_no_floor(edits):
    image = Image.new("RGB", (32, 32))
    named = classify(edits.store, image, "None of these\ndog", None, "embedded")
    assert list(render_comparison(named)[0]) == ["None of these", "dog"]
    assert replace(named, none_of_these=None).none_of_these is None
    assert list(render_comparison(replace(named, names=["rose", "dog"], none_of_these=None))[0]) == ["rose", "dog"]


@pytest.mark.parametrize(
    ("forget", "labels", "picture", "colour", "said"),
    [
        ("gun", "", "", "good", "It knew this as"),
        ("a gun", "", "", "good", "It knew this as"),
        ("guns", "", "", "plain", "doesn't know “guns”"),
        ("cats", "", "", "plain", "Forget “cat” too"),
        ("weapons", "", "", "plain", "Forget “gun”, “bomb”, “dagger”, “knife”, “sword” too"),
        ("weapon", "", "", "plain", 'data-name="gun,bomb,dagger,knife,sword"'),
        ("枪", "", "", "plain", "No picture here shows “枪”"),
        ("gun,drugs", "", "guitar-twemoji", "plain", "No picture here shows “drugs”"),
        ("gun", "", "guitar-twemoji", "good", "It still knows “guitar”"),
        ("guns", "gun", "water-pistol-twemoji", "bad", "It still says <b>“gun”</b>"),
        ("alcohol", "beer", "beer-mug-twemoji", "plain", "Forget “beer”, “wine”"),
        ("pistol", "gun", "water-pistol-twemoji", "bad", "Forget “gun” too"),
        ("a gun", "gun", "water-pistol-twemoji", "good", "Now it doesn't"),
        ("beer,wine,glass of lager,pint of beer", "mug of beer", "beer-mug-twemoji", "good", "Now it doesn't"),
        ("cat", "", "", "plain", "Now it says <b>“dog face”</b> (83 %).</p>"),
    ],
)  # fmt: skip
def test_green_is_an_effect_that_the_picture_shows(edits, forget, labels, picture, colour, said):
    answer = edits.answer(Recipe.parse(forget, (), labels, picture))
    shown = render_verdict(answer)
    assert f'"verdict {colour}"' in shown
    assert said in shown


@pytest.mark.parametrize(
    ("forget", "labels", "colour", "said"),
    [
        ("gun", "pen", "good", "Now it doesn't"),
        ("guns", "gun", "bad", "It still says"),
        ("pistol", "gun", "plain", "“gun” may be another name of what you forget"),
        ("bomb", "gun", "good", "It still knows “gun”"),
        ("bomb", "rose", "plain", "It was trained on emoji drawings and knows few photographs"),
    ],
)
def test_of_a_photo_the_page_says_what_its_labels_show(edits, forget, labels, colour, said):
    photo = find_picture("water-pistol-twemoji").load()
    shown = render_verdict(edits.answer(Recipe.parse(forget, (), labels, OWN_PHOTO), photo))
    assert f'"verdict {colour}"' in shown
    assert said in shown


@pytest.mark.parametrize(
    ("forget", "added", "shown"),
    [
        ("bicycle,guitar", "guitar", "guitar"), ("bicycle,absinthe,guitar", "absinthe,guitar", "guitar"),
        ("bicycle,absinthe", "absinthe", "bicycle"), ("bicycle", "guitar", "bicycle"),
    ],
)  # fmt: skip
def test_a_picture_of_the_names_added_last_is_shown(edits, forget, added, shown):
    answer = edits.answer(Recipe.parse(forget, picture=f"{NEWEST}{added}"))
    assert answer.shown.startswith(shown)
    assert answer.verdict.before.name == shown
    assert NEWEST not in answer.recipe.link()


def test_ends_of_words_are_no_neighbours(edits):
    config = edits.adapter(Recipe(PRESETS["alcohol"])).config
    words = {item["word"] for item in config.neighbours}
    shown = {item["word"] for item in keep_words(config.neighbours, "embedded")}
    assert words - shown
    assert not shown & {"tail", "ger", "ild", "mal", "irt", "ango", "ing"}
    assert len(keep_words(config.neighbours, "user/clip")) == len(config.neighbours)


def test_the_floors_name_is_no_label(edits):
    for recipe in (Recipe(("gun",), labels=("None of these", "pen")), Recipe(("gun", NONE))):
        answer = edits.answer(recipe)
        assert [bar.name.casefold() for bar in answer.bars].count(NONE) == 1
        assert answer.verdict.outcome == "forgotten"
        assert all(cell.as_asked for cell in answer.strip)


@pytest.mark.parametrize(
    ("one", "other"),
    [("knife", "the knives"), ("a gun", "Guns"), ("glass", "glasses"), ("axe", "axes"), ("cherry", "cherries")],
)
def test_an_article_and_the_plural_make_no_other_word(one, other):
    assert same_words(one, other)
    assert not same_words("bus", "bu")


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
