"""Edits of a box that gives scores only: what they forget, what they spare, what a box may answer."""

import math

import pytest
import torch
from PIL import Image

from hf_unlearn import (
    ClipBlackBox,
    ForgetAdapter,
    ReferenceBlackBox,
    combine,
    evaluate,
    unlearn,
    vocabulary_words,
    without,
)
from hf_unlearn.demo import emoji_tasks
from hf_unlearn.edits.by_score.reference_images import make_reference_images
from hf_unlearn.edits.by_score.score_space import ScoreSpace
from hf_unlearn.errors import InputError, WrongBaseError
from tests.support.scores_only import ScoresOnly

PLAIN = torch.zeros(1, 0, 0)
IMAGES, WORDS = 160, 200


@pytest.fixture(scope="module")
def clip() -> ClipBlackBox:
    return ClipBlackBox(device="cpu")


@pytest.fixture(scope="module")
def task():
    return emoji_tasks.task("emoji10")


@pytest.fixture(scope="module")
def words(clip, task) -> list[str]:
    asked = {*task.names, *task.unlisted.names, *(word for others in task.synonyms.values() for word in others)}
    return [word for word in vocabulary_words(clip) if word not in asked][:WORDS]


@pytest.fixture(scope="module")
def box(clip, words) -> ReferenceBlackBox:
    return ReferenceBlackBox(ScoresOnly(clip), make_reference_images(IMAGES), words)


@pytest.fixture(scope="module")
def adapter(box, task) -> ForgetAdapter:
    return unlearn(box, forget=task.forget).adapter


def scores_of(box, images, names) -> torch.Tensor:
    return box.log_scores(PLAIN, box.add_images(images), list(names))[0]


# What an edit of scores does


def test_names_are_forgotten_beside_all_names_and_beside_four(box, adapter, task):
    plain, _, edited = evaluate(box, task.test, adapter, synonyms=task.synonyms).rows
    assert plain["err_for"] < 0.1 < 0.97 < edited["err_for"]
    assert edited["acc_mem"] >= plain["acc_mem"] - 0.03
    assert plain["short_list_4"] > 0.9 > 0.05 > edited["short_list_4"]
    assert edited["synonym_err"] > 0.7 > 0.3 > plain["synonym_err"]
    assert edited["name"] == "score-edit"


def test_names_that_nobody_asked_to_forget_keep_their_scores(box, adapter, task):
    some, names = list(task.unlisted)[::9], task.unlisted.names
    before, after = scores_of(box, some, names), scores_of(box.under(adapter), some, names)
    moved = (after - before - (after - before).median(1, keepdim=True).values).abs().mean(0)
    assert (before.argmax(1) == after.argmax(1)).float().mean() > 0.95
    assert moved.median() < 0.02


def test_without_an_adapter_the_scores_are_those_of_the_box(box, clip, task):
    images = list(task.test)[:4]
    plain = clip.log_scores(torch.zeros(1, 0, clip.dim), clip.add_images(images), list(task.names))[0]
    assert torch.equal(scores_of(box, images, task.names), plain)


def test_it_asks_a_dozen_queries_and_no_image_is_needed(clip, words, task, monkeypatch):
    monkeypatch.setattr("hf_unlearn.edits.by_score.box.IMAGES", 64)
    inner = ScoresOnly(clip)
    before = clip.ledger.copy()
    with pytest.warns(UserWarning, match="64 reference images and 200 anchor words explain"):
        made = unlearn(inner, forget=task.forget, method="score-edit", vocabulary=words).adapter
    spent = clip.ledger.since(before)
    assert (spent.queries <= 16, spent.image_encodings) == (True, 64)
    facts = made.config.hyperparameters
    assert (made.config.method, made.kind, facts["reference_images"], facts["anchor_words"]) == (
        "score-edit", "edit", 64, 200,
    )  # fmt: skip
    assert (facts["images_given"], facts["words_given"]) == (False, True)
    assert 0 < facts["explained"] < 0.95


def test_the_features_read_off_scores_give_the_scores_back(box, task):
    images = box.add_images(list(task.test)[:8])
    scores = box.log_scores(PLAIN, images, list(task.names))
    again = box.compare(box.text_features(PLAIN, list(task.names)), images)
    assert torch.equal(again.argmax(-1), scores.argmax(-1))
    assert (again - scores).square().mean().sqrt() < 0.05 * scores.std()
    assert box.explained > 0.95


# What a box may answer


def test_a_box_that_takes_few_names_at_once_gives_the_same_features(clip, box, words, adapter, task):
    few = ReferenceBlackBox(ScoresOnly(clip, most=48), make_reference_images(IMAGES), words, names_at_once=48)
    names = list(task.names)
    torch.testing.assert_close(few.text_features(PLAIN, names), box.text_features(PLAIN, names), rtol=0, atol=1e-4)
    images = list(task.test)[:4]
    after = scores_of(few.under(adapter), images, names)
    torch.testing.assert_close(after, scores_of(box.under(adapter), images, names), rtol=0, atol=1e-2)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (torch.exp, "no log-softmax over the names: .* add up to 49.2, expected 1; return logits.log_softmax"),
        (lambda scores: scores.exp().mul(100).round().div(100), "no log-softmax"),
        (lambda scores: scores.exp().mul(100), "no log-softmax"),
        (lambda scores: scores.exp().mul(100).round().div(100).log(), "rounded to 0 has no logarithm"),
        (lambda scores: 3.0 + scores - scores[..., :1], "no log-softmax"),  # logits
        (lambda scores: 0.3 + scores / 100, "no log-softmax"),  # cosines
        (torch.negative, "no log-softmax"),
        (lambda scores: scores * 0, "no log-softmax"),
        (lambda scores: scores[0], r"a Tensor of shape \(48, 48\), expected a tensor .* of shape \(1, 48, 48\)"),
        (lambda scores: scores[..., :0], r"answered with a Tensor of shape \(1, 48, 0\)"),
        (lambda scores: scores.numpy(), r"answered with a ndarray of shape \(1, 48, 48\)"),
        (lambda scores: None, "answered with a NoneType"),
        (lambda scores: torch.full_like(scores, -math.log(48)), "scores that differ between words, got the same"),
    ],
)
def test_an_answer_that_is_no_log_scores_is_refused(clip, words, answer, message):
    with pytest.raises(InputError, match=message):
        ReferenceBlackBox(ScoresOnly(clip, answer), make_reference_images(48), words[:48], names_at_once=48)


def test_too_few_images_or_words_are_refused(clip, words):
    for images, given, message in ((47, 48, "expected 48 to 4,096 reference images, better 480, got 47"),
                                   (48, 47, "expected 48 anchor words or more, better 300, got 47")):  # fmt: skip
        with pytest.raises(InputError, match=message):
            ReferenceBlackBox(ScoresOnly(clip), make_reference_images(images), words[:given])
    with pytest.raises(InputError, match="names_at_once must be a whole number of at least 33"):
        ReferenceBlackBox(ScoresOnly(clip), words=words, names_at_once=32)
    with pytest.raises(InputError, match="model must be a black box"):
        ReferenceBlackBox("embedded")


@pytest.mark.parametrize("kind", ["one", "few", "grey"])
def test_reference_images_that_are_alike_are_told(clip, words, task, kind):
    drawings = list(task.train)
    images = {
        "one": drawings[:1] * 60, "few": drawings[:6] * 10, "grey": [Image.new("L", (20, 20), 4 * n) for n in range(60)]
    }  # fmt: skip
    with pytest.warns(UserWarning, match="reference images differ in [0-9] directions only, 20 are enough"):
        box = ReferenceBlackBox(ScoresOnly(clip), images[kind], words)
    assert box.explained > 0.99  # they predict each other


def test_an_edit_of_text_features_over_scores_is_told_which_kind_it_is(clip, box, adapter, task):
    edit = unlearn(clip, forget=task.forget).adapter
    with pytest.raises(WrongBaseError, match="is a box with scores only, whose edits are others"):
        combine([adapter, edit], box)


def test_a_box_over_such_a_box_is_refused(box):
    with pytest.raises(InputError, match="reads text features off scores already"):
        ReferenceBlackBox(box)


def test_a_context_is_refused(box):
    with pytest.raises(InputError, match="this box can't be searched for a context"):
        box.text_features(torch.zeros(1, 2, 8), ["cat"])


def test_a_box_of_scores_says_how_to_edit_it(clip):
    with pytest.raises(InputError, match=r"unlearn\(ReferenceBlackBox\(model\), ...\)"):
        unlearn(ScoresOnly(clip), forget=["gun"])


# The adapter


def test_an_adapter_saved_and_loaded_gives_the_same_bits(box, adapter, task, tmp_path):
    adapter.save_pretrained(tmp_path / "a")
    loaded = ForgetAdapter.from_pretrained(tmp_path / "a")
    images = list(task.test)[:4]
    assert torch.equal(
        scores_of(box.under(loaded), images, task.names), scores_of(box.under(adapter), images, task.names)
    )
    assert "model = ReferenceBlackBox(box)" in (tmp_path / "a" / "README.md").read_text(encoding="utf-8")


def test_an_adapter_works_on_the_images_and_words_it_was_made_with(clip, box, words, adapter, task):
    same = ReferenceBlackBox(ScoresOnly(clip), make_reference_images(IMAGES), words)
    assert same.fingerprint() == box.fingerprint()
    others = ReferenceBlackBox(ScoresOnly(clip), make_reference_images(IMAGES + 1)[1:], words)
    for model in (others, clip):
        with pytest.raises(WrongBaseError, match=r"made from scores; put it over a box .* ReferenceBlackBox\(box\)"):
            model.under(adapter)
    with pytest.raises(WrongBaseError, match="made from scores"):
        adapter.load_base()


def test_requests_add_up_and_a_name_comes_back(box, adapter, task):
    one, two = (unlearn(box, forget=names).adapter for names in (task.forget[:2], task.forget[2:]))
    both = combine([one, two], box).adapter
    assert both.config.weights_sha256 == adapter.config.weights_sha256
    back = without(both, task.forget[2:], box).adapter
    assert back.config.weights_sha256 == one.config.weights_sha256


def test_features_of_references_are_not_cached_on_disk(box, adapter, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_UNLEARN_CACHE", str(tmp_path / "cache"))
    unlearn(box, forget=["cat"])
    assert not (tmp_path / "cache").exists()


# Parts


def test_a_low_rank_table_is_explained_and_noise_is_not():
    draw = torch.Generator().manual_seed(0)
    low = torch.randn(80, 10, generator=draw) @ torch.randn(10, 90, generator=draw)
    assert ScoreSpace(low - low.mean(1, keepdim=True)).explained > 0.999
    noise = torch.randn(80, 90, generator=draw)
    assert ScoreSpace(noise - noise.mean(1, keepdim=True)).explained < 0.2


def test_reference_images_are_always_the_same_and_differ():
    one, two = (make_reference_images(20) for _ in range(2))
    assert [image.tobytes() for image in one] == [image.tobytes() for image in two]
    assert len({image.tobytes() for image in one}) == 20
