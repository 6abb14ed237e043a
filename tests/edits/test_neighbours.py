"""The words that an edit changes most: order, bounds, one line of text, and that keeping a name protects it."""

import json
from dataclasses import asdict

import pytest
import torch
from torch.nn import functional as F

from hf_unlearn import ClipBlackBox, unlearn
from hf_unlearn.edits.by_name import OF_WORDS, forget_by_name, name_features
from hf_unlearn.edits.neighbours import FEWEST, FORGOTTEN, MOST, NEARLY, Neighbour, describe_neighbours, find_neighbours
from hf_unlearn.edits.vocabulary import load_vocabulary
from hf_unlearn.models.text_edit import TextEdit


@pytest.fixture(scope="module")
def model() -> ClipBlackBox:
    return ClipBlackBox(device="cpu")


@pytest.fixture(scope="module")
def vocabulary(model) -> tuple[list[str], torch.Tensor]:
    return load_vocabulary(model, OF_WORDS, exclude=["beer mug"])


def of(*similarities: float) -> list[Neighbour]:
    return [Neighbour(f"w{number}", "gun", value) for number, value in enumerate(similarities)]


def what_is_left(edit, features, centre) -> torch.Tensor:
    own = features - centre
    return (own * (edit(features) - centre)).sum(-1) / own.square().sum(-1)


def space(count: int, width: int = 64) -> torch.Tensor:
    """Words whose mean is nothing, two templates."""
    half = torch.randn(1, count // 2, width, generator=torch.Generator().manual_seed(0))
    return F.normalize(torch.cat([half, -half], 1), dim=-1).expand(2, -1, -1)


def test_who_forgets_the_beer_mug_is_told_of_beer(model):
    found = forget_by_name(model, ["beer mug"]).neighbours
    assert (found[0].word, found[0].of) == ("beer", "beer mug")
    assert found[0].similarity < FORGOTTEN
    assert describe_neighbours(found).startswith("also forgotten: beer")
    assert "beer mug" not in [item.word for item in found]


def test_similarity_is_the_cosine_of_what_is_a_words_own_before_and_after(model, vocabulary):
    words, features = vocabulary
    asked = ["beer mug", "gun", "knife"]
    made = forget_by_name(model, asked, breadth=1.0)
    centre = load_vocabulary(model, OF_WORDS, exclude=asked)[1].mean((0, 1))
    names = name_features(model, asked).mean(0)
    for item in made.neighbours:
        before = F.normalize(features[:, words.index(item.word)].mean(0), dim=-1)
        cosine = F.cosine_similarity(before - centre, made.edit(before) - centre, dim=-1)
        assert item.similarity == pytest.approx(float(cosine), abs=2e-3)
        assert item.of == asked[F.cosine_similarity((before - centre)[None], names - centre).argmax()]
    assert {item.of for item in made.neighbours} == set(asked)


def test_the_most_changed_come_first(model):
    found = [item.similarity for item in forget_by_name(model, ["beer mug", "gun", "knife"], breadth=1.0).neighbours]
    assert found == sorted(found)
    assert found[0] < FORGOTTEN


def test_no_more_than_forty_and_no_fewer_than_five_are_named():
    features = space(200)
    words, names, nearest = [f"w{i}" for i in range(200)], ["one", "two"], features[:, [7, 150]]
    none = TextEdit(torch.zeros(64, 1), torch.zeros(1, 64))
    assert [item.similarity for item in find_neighbours(none, words, features, names, nearest)] == [1.0] * FEWEST
    every = TextEdit(torch.eye(64), -2 * torch.eye(64))
    found = find_neighbours(every, words, features, names, nearest)
    assert [item.similarity for item in found] == [-1.0] * MOST
    some = TextEdit(features[0, :9].T.contiguous(), -2 * torch.linalg.pinv(features[0, :9].T))
    found = find_neighbours(some, words, features, names, nearest)
    assert {item.word for item in found[:18]} == {f"w{i}" for i in (*range(9), *range(100, 109))}
    changed = sum(item.similarity < NEARLY for item in found)
    assert len(found) == max(FEWEST, changed)


def test_fewer_words_than_five_are_all_named():
    features = space(4)
    found = find_neighbours(
        TextEdit(torch.eye(64), -2 * torch.eye(64)), ["a", "b", "c", "d"], features, ["x"], features[:, :1]
    )
    assert sorted(item.word for item in found) == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("similarities", "told"),
    [
        ((-0.2, 0.499, 0.5, 0.79, 0.8, 1.0), "also forgotten: w0, w1; nearly: w2, w3"),
        ((0.1,), "also forgotten: w0"),
        ((0.5, 0.95), "nearly: w0"),
        ((0.8, 0.9, 1, 1, 1, 1, 1), "no other word changes much; most: w0, w1, w2, w3, w4"),
        ((0.9,), "no other word changes much; most: w0"),
        ((), ""),
    ],
)
def test_a_line_says_what_is_forgotten_too(similarities, told):
    assert describe_neighbours(of(*similarities)) == told


def test_an_adapter_carries_them_as_plain_json(model):
    result = unlearn(model, forget=["beer mug"])
    assert result.neighbours == result.adapter.config.neighbours
    assert json.loads(json.dumps(result.neighbours, allow_nan=False)) == result.neighbours
    assert result.neighbours == [asdict(item) for item in forget_by_name(model, ["beer mug"]).neighbours]
    assert set(result.neighbours[0]) == {"word", "of", "similarity"}


def test_words_that_are_asked_about_are_no_neighbours(model):
    found = forget_by_name(model, ["beer mug", "Gun"], ["wine glass", "beer"]).neighbours
    assert not {"beer", "gun"} & {item.word for item in found}


@pytest.mark.parametrize("breadth", [0.0, 0.5, 1.0])
def test_what_is_kept_is_protected(model, vocabulary, breadth):
    centre = vocabulary[1].mean((0, 1))
    for near in ("wine glass", "beer", "clinking beer mugs"):
        own = name_features(model, [near]).mean(0)
        edit = forget_by_name(model, ["beer mug"], [near], breadth=breadth).edit
        for one in (edit, edit.linear()):
            assert what_is_left(one, own, centre) >= 0.9
    forgotten = name_features(model, ["beer mug"]).mean(0)
    assert what_is_left(edit, forgotten, centre) < 0


def test_a_neighbour_that_is_protected_is_none_any_more(model, vocabulary):
    beer = name_features(model, ["beer"]).mean(0)
    left = [
        float(what_is_left(forget_by_name(model, ["beer mug"], keep).edit, beer, vocabulary[1].mean((0, 1))))
        for keep in ([], ["beer"])
    ]
    assert left[0] < 0 < 0.9 < left[1]
    assert describe_neighbours(forget_by_name(model, ["beer mug"], ["beer"]).neighbours).startswith(
        "no other word changes much"
    )
