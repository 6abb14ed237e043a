"""The edit itself: what it does to names, to what is kept and to all else, in any space, in any cone."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from hf_unlearn import ClipBlackBox, evaluate, unlearn
from hf_unlearn.demo import emoji_tasks as demo
from hf_unlearn.edits.by_name import OF_WORDS, forget_by_name, name_features
from hf_unlearn.edits.closed_form import FURTHEST, NOWHERE, solve_edit
from hf_unlearn.edits.vocabulary import load_vocabulary
from hf_unlearn.models.text_edit import TextEdit

STRENGTHS = [0.0, 0.25, 0.5]
CONES = [0.5, 1.73, 4.0]
VOCABULARY = [f"{a}{b}{c}" for a in "bdgk" for b in "aeiou" for c in ("n", "rt", "st")]


def drawn(seed: int, width: int, *counts: int, templates: int = 3) -> list[torch.Tensor]:
    """Groups of random texts, each of them under every template, unit length."""
    draw = torch.Generator().manual_seed(seed)
    means = torch.randn(sum(counts), width, generator=draw, dtype=torch.float64)
    noise = torch.randn(templates, sum(counts), width, generator=draw, dtype=torch.float64)
    return list(F.normalize(means + 0.2 * noise, dim=-1).split(list(counts), 1))


def lifted(features: torch.Tensor, by: float) -> torch.Tensor:
    """In a cone: one constant number more, then unit length."""
    return F.normalize(torch.cat([features, features.new_full((*features.shape[:-1], 1), by)], -1), dim=-1)


def own_parts(edit: TextEdit, names: torch.Tensor, words: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Before normalizing, gate open: what is left of each name's own part, and of its length, as shares."""
    centre, matrix = words.double().mean((0, 1)), edit.matrix().double()
    own = names.double().mean(0) - centre
    after = names.double().mean(0) @ matrix.T - centre
    return (own * after).sum(1) / own.square().sum(1), after.norm(dim=1) / own.norm(dim=1)


def left_of(edit: TextEdit, features: torch.Tensor, centre: torch.Tensor) -> torch.Tensor:
    """Of the whole edit, gate and all: what is left of what is a text's own."""
    own = features - centre
    return (own * (edit(features) - centre)).sum(-1) / own.square().sum(-1)


@pytest.fixture(scope="module")
def model() -> ClipBlackBox:
    return ClipBlackBox(device="cpu")


@pytest.fixture(scope="module")
def task() -> demo.Task:
    return demo.task("emoji10", 0)


@pytest.fixture(scope="module")
def real(model, task) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features of the names to forget, of the kept ones and of the vocabulary, of the embedded CLIP."""
    kept = [name for name in task.names if name not in task.forget]
    held = load_vocabulary(model, OF_WORDS, exclude=task.names)[1]
    groups = (name_features(model, task.forget), name_features(model, kept), held)
    return tuple(F.normalize(features.double(), dim=-1) for features in groups)


# What it does


@given(
    seed=st.integers(0, 10**6), width=st.integers(24, 64), names=st.integers(1, 6), kept=st.integers(0, 8),
    words=st.integers(80, 160), breadth=st.floats(0, 1), strength=st.sampled_from(STRENGTHS),
    cone=st.sampled_from([0.0, 1.73]),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_a_name_is_turned_against_itself_and_keeps_its_length(seed, width, names, kept, words, breadth, strength, cone):
    forget, keep, held = (lifted(x, cone) for x in drawn(seed, width, names, kept, words))
    edit = solve_edit(forget, keep, held, breadth=breadth, strength=strength)
    assert edit.up.shape[1] == edit.down.shape[0] <= names + NOWHERE
    own, length = own_parts(edit, forget, held)
    assert (own + FURTHEST * 2 * strength).abs().max() < 1e-5
    assert length.min() > 0.95
    centre = held.mean((0, 1))
    assert (edit.matrix().double() @ centre - centre).norm() < 1e-6
    assert edit.gate(forget.mean(0)).min() > (0.9 if breadth >= 0.25 else 0.55)  # also where texts are much alike


@pytest.mark.parametrize("strength", STRENGTHS)
def test_where_there_is_room_the_length_is_the_same(real, strength):
    edit = solve_edit(*real, strength=strength)
    own, length = own_parts(edit, real[0], real[2])
    assert (own + 2 * FURTHEST * strength).abs().max() < 1e-5
    assert (length - 1).abs().max() < 0.05
    assert (edit.up.dtype, edit.down.dtype, edit.up.shape) == (torch.float32, torch.float32, (256, 8))


def test_what_is_kept_and_other_words_hardly_move(real):
    forget, keep, held = real
    edit, middles = solve_edit(*real), held.mean(0)
    assert left_of(edit, keep.mean(0), held.mean((0, 1))).min() > 0.99
    assert F.cosine_similarity(edit(middles), middles).quantile(0.01) > 0.97
    assert F.cosine_similarity(edit.linear()(middles), middles).mean() > 0.95
    forgotten = forget.mean(0)
    assert F.cosine_similarity(edit(forgotten), forgotten).max() < -0.3


def test_a_kept_name_near_a_forgotten_one_is_held(model):
    centre = load_vocabulary(model, OF_WORDS)[1].mean((0, 1))
    for name, near in (("beer mug", "beer"), ("gun", "pistol"), ("bus", "trolleybus")):
        own = name_features(model, [near]).mean(0)
        alone, held = (left_of(forget_by_name(model, [name], keep).edit, own, centre) for keep in ([], [near]))
        assert alone < 0.9 < held < 1.1
        assert held > alone + 0.1


def test_the_gate_is_open_at_the_names_and_closed_far_away(real):
    forget, _, held = real
    for breadth, share in ((0.0, 0.99), (0.5, 0.9), (1.0, 0.5)):  # of the words
        gate = solve_edit(*real, breadth=breadth).gate
        assert gate(forget.mean(0)).min() > 0.95
        assert gate(held.mean(0)).quantile(share) < 0.1
        assert gate(held.mean((0, 1))) < 0.1


def test_the_wider_the_more_words_are_changed(real):
    opened = [solve_edit(*real, breadth=breadth).gate(real[2].mean(0)).sum() for breadth in (0, 0.25, 0.5, 0.75, 1)]
    assert opened == sorted(opened)
    assert opened[-1] > 1.5 * opened[0]


def test_the_further_it_is_turned_the_less_of_a_name_is_left(real):
    names = real[0].mean(0)
    left = [left_of(solve_edit(*real, strength=s), names, real[2].mean((0, 1))).max() for s in (0, 0.1, 0.2, 0.35, 0.5)]
    assert left == sorted(left, reverse=True)
    assert left[0] < 0.1


def test_the_order_of_names_changes_no_bit(clip):
    forget, keep = ["red", "a big car", "seven", "gun"], ["blue", "tea", "cow"]
    one = forget_by_name(clip, forget, keep, vocabulary=VOCABULARY)
    for other in (forget[::-1], [forget[i] for i in (2, 0, 3, 1)]):
        two = forget_by_name(clip, other, keep[::-1], vocabulary=VOCABULARY)
        for name, tensor in one.edit.tensors().items():
            assert torch.equal(tensor, two.edit.tensors()[name])
        assert two.neighbours == one.neighbours
    other = forget_by_name(clip, forget[:3], keep, vocabulary=VOCABULARY)
    assert other.edit.up.shape != one.edit.up.shape


# A lift that changes no ranking changes no result


def assert_lifted(plain: TextEdit, other: TextEdit) -> None:
    """Piece by piece, a name's or a direction's where nobody is."""
    width = len(plain.up)
    assert other.up.shape == (width + 1, plain.up.shape[1])
    for rank in range(plain.up.shape[1]):
        wanted, found = (torch.outer(e.up[:, rank], e.down[rank]).double() for e in (plain, other))
        assert (found[:width, :width] - wanted).abs().max() < 1e-6
        assert max(found[width:].abs().max(), found[:, width:].abs().max()) < 1e-6
    torch.testing.assert_close(other.gate.near[:, :width], plain.gate.near, rtol=1e-5, atol=1e-5)
    assert other.gate.near[:, width].abs().max() < 1e-5
    assert torch.equal(other.gate.bias, plain.gate.bias)


@given(
    seed=st.integers(0, 10**6), beta=st.floats(0.1, 5), names=st.integers(1, 6), kept=st.integers(0, 8),
    breadth=st.floats(0, 1), strength=st.floats(0, 1),
)  # fmt: skip
@settings(max_examples=30, deadline=None)
def test_in_a_cone_the_edit_is_the_same(seed, beta, names, kept, breadth, strength):
    groups = drawn(seed, 40, names, kept, 120)
    plain, other = (
        solve_edit(*features, breadth=breadth, strength=strength)
        for features in (groups, [lifted(x, beta) for x in groups])
    )
    assert_lifted(plain, other)


@pytest.mark.parametrize("beta", CONES)
@pytest.mark.parametrize("breadth", [0.0, 0.5, 1.0])
def test_in_a_cone_the_edit_of_the_embedded_clip_is_the_same(real, beta, breadth):
    plain, other = (solve_edit(*x, breadth=breadth) for x in (real, [lifted(features, beta) for features in real]))
    assert_lifted(plain, other)


@pytest.mark.parametrize("beta", CONES)
@pytest.mark.parametrize("gamma", [0.24, 1.0])
def test_in_a_cone_hardly_a_decision_and_no_score_much_is_changed(model, task, real, beta, gamma):
    names = list(dict.fromkeys([*task.names, *demo.tasks()["moderation"][0]["names"]]))
    texts = model.text_features(torch.zeros(1, 0, model.dim), names)[0].double()
    images, scale = model.add_images(task.test).features.double(), float(model.model.logit_scale.exp())
    plain = (scale * images @ solve_edit(*real)(texts).T).softmax(-1)
    scale *= math.sqrt((1 + beta**2) * (1 + gamma**2))
    edit = solve_edit(*(lifted(features, beta) for features in real))
    found = (scale * lifted(images, gamma) @ edit(lifted(texts, beta)).T).softmax(-1)
    labels = torch.tensor(task.test.labels)
    gone = torch.tensor([name in task.forget for name in task.names])[labels]
    changed = found.argmax(1) != plain.argmax(1)
    assert int(changed[~gone].sum()) == 0
    assert changed[gone].double().mean() < 0.2  # what comes next, of 62 names, where the first is gone
    assert not (found.argmax(1) == labels)[gone].any()
    assert (found - plain).abs().mean() < 2e-3


# What is out of the ordinary


@pytest.mark.parametrize("dial", ["breadth", "strength"])
@pytest.mark.parametrize("value", [-0.01, 1.01, float("nan"), float("inf")])
def test_a_dial_out_of_range_is_refused_by_name(dial, value):
    with pytest.raises(ValueError, match=f"{dial} must be a number from 0 to 1, got {value}"):
        solve_edit(*drawn(0, 16, 1, 1, 20), **{dial: value})


def test_no_names_or_no_words_are_refused():
    forget, keep, words = drawn(0, 16, 2, 2, 30)
    for groups in ((forget[:, :0], keep, words), (forget, keep, words[:, :0])):
        with pytest.raises(ValueError, match="expected names to forget and words to hold, got"):
            solve_edit(*groups)


def test_features_that_are_no_numbers_are_refused():
    groups = drawn(0, 16, 2, 2, 30)
    for number, bad in enumerate((torch.nan, torch.inf, -torch.inf)):
        damaged = [group.clone() for group in groups]
        damaged[number][0, 0, 3] = bad
        with pytest.raises(ValueError, match="features of finite numbers, got NaN or infinity"):
            solve_edit(*damaged)


def test_a_name_with_nothing_of_its_own_is_refused():
    forget, keep, words = drawn(0, 16, 2, 2, 30)
    mean = words.mean((0, 1)).expand(3, 1, 16)
    with pytest.raises(ValueError, match="name 3 of 3 are those of the mean word: nothing distinguishes it"):
        solve_edit(torch.cat([forget, mean], 1), keep, words)
    with pytest.raises(ValueError, match="nothing distinguishes it"):  # a model that answers the same to every text
        solve_edit(forget[:, :1], keep[:, :0], forget[:, :1].expand(3, 30, 16))


@pytest.mark.parametrize(("width", "names"), [(2, 3), (3, 7), (3, 30)])
def test_more_names_than_there_is_room_for_are_refused(width, names):
    with pytest.raises(ValueError, match=f"no room to forget {names} names at once"):
        solve_edit(*drawn(0, width, names, 3, 30))


ODD = {
    "few words": lambda f, k, w: (f, k, w[:, :12]),
    "two words": lambda f, k, w: (f, k, w[:, :2]),
    "one word": lambda f, k, w: (f, k, w[:, :1]),
    "words that are all one": lambda f, k, w: (f, k, w[:, :1].expand(-1, 50, -1)),
    "nothing kept": lambda f, k, w: (f, k[:, :0], w),
    "kept is the mean word": lambda f, k, w: (f, w.mean((0, 1)).expand(3, 1, -1), w),
    "a name is a word too": lambda f, k, w: (f, k, torch.cat([w, f[:, :1]], 1)),
    "a name is kept too": lambda f, k, w: (f, torch.cat([k, f[:, :1]], 1), w),
    "a name stands there twice": lambda f, k, w: (torch.cat([f, f[:, :1]], 1), k, w),
    "a name nearly twice": lambda f, k, w: (torch.cat([f, f[:, :1] + 1e-7 * w[:, :1]], 1), k, w),
    "names are opposites": lambda f, k, w: (torch.cat([f, -f], 1), k, w),
    "one template": lambda f, k, w: (f[:1], k[:1], w[:1]),
    "names in other templates": lambda f, k, w: (f[:2], k[:2], w),
}


@pytest.mark.parametrize("case", ODD)
@pytest.mark.parametrize("breadth", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_odd_requests_forget_all_the_same(case, breadth, strength):
    forget, keep, words = ODD[case](*drawn(5, 64, 3, 5, 110))
    edit = solve_edit(forget, keep, words, breadth=breadth, strength=strength)
    assert all(tensor.isfinite().all() and tensor.abs().max() < 1_000 for tensor in edit.tensors().values())
    own, _ = own_parts(edit, forget, words)
    assert (own + FURTHEST).abs().max() < 1e-3


def test_a_space_of_two_numbers_has_room_for_a_name():
    forget, keep, words = drawn(0, 2, 1, 3, 30)
    own, _ = own_parts(solve_edit(forget, keep, words), forget, words)
    assert (own + FURTHEST).abs().max() < 1e-5


# The leak term


def test_beyond_one_half_kept_names_tell_forgotten_images_apart_less(model, task):
    adapters = [
        unlearn(model, forget=task.forget, classes=task.names, method="edit", strength=strength).adapter
        for strength in (0.5, 1.0)
    ]
    rows = evaluate(model, task.test, *adapters, validation=task.validation).rows[-2:]
    before, after = (row["recoverability"] for row in rows)
    assert after <= before - 0.1
    assert [row["err_for"] for row in rows] == [1.0, 1.0]
    assert rows[1]["acc_mem"] >= rows[0]["acc_mem"] - 0.1
