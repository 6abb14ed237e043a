"""A request answered by an edit: what it takes, what it refuses, one after the other, on every family."""

import json
import warnings
from itertools import pairwise
from random import Random

import pytest
import torch

from hf_unlearn import ClipBlackBox, EmbeddingBlackBox, ForgetAdapter, combine, evaluate, unlearn, without
from hf_unlearn.edits.by_name import OF_WORDS, forget_by_name, name_features, source_of
from hf_unlearn.edits.closed_form import FURTHEST
from hf_unlearn.edits.vocabulary import load_vocabulary
from hf_unlearn.errors import InputError, WrongBaseError
from hf_unlearn.training.result import StopReason
from tests.support.families import FAMILIES
from tests.support.images import COLOURS, coloured
from tests.support.scores_only import ScoresOnly

WORDS = [f"{a}{b}{c}" for a in "bdgk" for b in "aeiou" for c in ("n", "rt", "st")]
TEN = ["gun", "red", "a big knife", "seven", "cow", "tea cup", "moon", "sand", "whisky", "zebra"]
LISTED = [*TEN, "apple", "river", "glass", "an old man"]


def edit(model, forget, **options) -> ForgetAdapter:
    return unlearn(model, forget=forget, **{"vocabulary": WORDS, **options}).adapter


def together(adapters, model) -> ForgetAdapter:
    return combine(adapters, model, vocabulary=WORDS).adapter


def same(one: ForgetAdapter, two: ForgetAdapter) -> bool:
    tensors = one.edit.tensors(), two.edit.tensors()
    equal = all(torch.equal(tensor, tensors[1][name]) for name, tensor in tensors[0].items())
    assert equal == (one.config.weights_sha256 == two.config.weights_sha256)
    return equal and one.config.neighbours == two.config.neighbours


def left_of(model, adapter: ForgetAdapter, names: list[str]) -> torch.Tensor:
    """What is left of what is the names' own."""
    centre = load_vocabulary(model, OF_WORDS, exclude=adapter.config.forget, vocabulary=WORDS)[1].mean((0, 1))
    features = name_features(model, names).mean(0)
    own = features - centre
    return (own * (adapter.edit(features) - centre)).sum(1) / own.square().sum(1)


# What is asked for, and how


def test_names_alone_make_an_edit_without_a_query():
    model = ClipBlackBox(device="cpu")
    result = unlearn(model, forget=["gun", "knife"])
    config = result.adapter.config
    assert (config.kind, config.method, config.forget, config.retain) == ("edit", "edit", ["gun", "knife"], [])
    assert (config.width, config.rank, config.n_ctx, config.dim) == (256, 4, None, None)
    assert (config.ledger["queries"], config.ledger["image_encodings"], model.ledger.queries) == (0, 0, 0)
    assert config.hyperparameters["vocabulary"] == "tokenizer"
    assert config.hyperparameters["words"] > 700
    assert (result.history, result.reason, result.search) == ((), StopReason.SOLVED, None)
    assert result.at(0) is result.at(10_000) is result.adapter
    assert result.neighbours == config.neighbours != []
    json.dumps(config.hyperparameters, allow_nan=False)


def test_a_second_edit_of_a_model_asks_for_no_word_of_the_vocabulary(clip_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_UNLEARN_CACHE", str(tmp_path))
    first, second = (ClipBlackBox(clip_folder) for _ in range(2))
    spent = [edit(model, ["gun"]).config.ledger["text_tokens"] for model in (first, second)]
    assert first.ledger.text_tokens == spent[0] > 10 * spent[1]
    of_names = ClipBlackBox(clip_folder)
    name_features(of_names, ["gun"])
    assert spent[1] == second.ledger.text_tokens == of_names.ledger.text_tokens


@pytest.mark.parametrize("given", ["images", "classes"])
def test_with_a_list_of_classes_all_others_are_kept(clip, given):
    listed = {"images": coloured(1)} if given == "images" else {"classes": list(COLOURS)}
    before = clip.ledger.copy()
    config = edit(clip, ["red"], method="edit", keep=["a cat", "blue"], **listed).config
    assert config.retain == ["a cat", "blue", "green", "grey"]
    assert config.hyperparameters["all_kept"] is True
    assert clip.ledger.since(before).image_encodings == 0
    assert edit(clip, ["red"], keep=["a cat", "blue"]).config.hyperparameters["all_kept"] is False


def test_what_is_kept_and_how_far_it_goes_change_the_edit(clip):
    plain = edit(clip, ["gun"])
    assert same(plain, edit(clip, ["gun", "gun"], keep=None))
    for other in ({"keep": ["gum"]}, {"breadth": 0.6}, {"strength": 0.4}, {"vocabulary": WORDS[:-1]}):
        assert not same(plain, edit(clip, ["gun"], **other))


def test_other_names_are_forgotten_too(clip):
    names = ["gun", "pistol", "moon"]
    alone = edit(clip, ["gun"])
    told = edit(clip, ["gun"], synonyms={"gun": ["pistol"], "moon": []})
    assert (told.config.forget, told.config.synonyms) == (["gun"], {"gun": ["pistol"]})
    assert same(told, edit(clip, ["gun", "pistol"]))
    assert left_of(clip, told, names)[:2].max() < -0.3 < 0 < left_of(clip, told, names)[2]
    assert left_of(clip, alone, names)[0] < -0.3 < left_of(clip, alone, names)[1]
    assert same(told, edit(clip, ["gun"], synonyms={"gun": "pistol"}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"forget": []}, "expected at least one name to forget, got none"),
        ({"forget": "gun"}, r"forget must be a list of names, got the text 'gun'; write \['gun'\]"),
        ({"forget": "red", "classes": ["red", "blue"], "method": "edit"}, "forget must be a list of names, got the te"),
        ({"keep": "cat"}, r"keep must be a list of names, got the text 'cat'; write \['cat'\]"),
        ({"keep": "blue", "images": coloured(1), "forget": ["red"], "method": "edit"}, "keep must be a list of names"),
        ({"keep": ["cat", "gun"]}, "'gun' is to be forgotten and to be kept; remove it from one of the lists"),
        ({"forget": ["gun", " "]}, "at least one visible character"),
        ({"keep": [""]}, "at least one visible character"),
        ({"forget": ["gun", 5]}, "class names must be text"),
        ({"classes": ["red", "blue"], "method": "edit"}, "unknown class 'gun'; the classes are: red, blue"),
        ({"classes": ["gun"], "method": "edit"}, "at least two classes"),
        ({"classes": ["gun", "gun"], "method": "edit"}, "'gun' is listed twice"),
        ({"images": coloured(1), "method": "edit"}, "unknown class 'gun'; the classes are: red, green, blue, grey"),
        ({"synonyms": {"cat": ["kitten"]}}, "synonyms are for classes to forget; 'cat' is not one of them"),
        ({"synonyms": {"gun": ["cat"]}, "keep": ["cat"]}, "'cat' is listed twice"),
        ({"breadth": 1.5}, "breadth must be a number from 0 to 1, got 1.5"),
        ({"strength": -1}, "strength must be a number from 0 to 1, got -1"),
        ({"vocabulary": "words"}, "a vocabulary is a list of words"),
        ({"vocabulary": ["one", 2]}, "a vocabulary is a list of words"),
        ({"vocabulary": ["one", ""]}, "a vocabulary is a list of words"),
        ({"vocabulary": []}, "no word is left to hold in place"),
        ({"vocabulary": ["Gun", "gun "]}, "no word is left to hold in place"),
        ({"vocabulary": None}, r"whole words, an edit needs 50; pass words to hold in place yourself: vocabulary="),
        ({"classes": ["gun", "cat"], "keep": ["cat"]}, "keep, vocabulary and breadth are for an edit"),
        ({"classes": ["gun", "cat"], "method": "proximal"}, "keep, vocabulary and breadth are for an edit"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused_and_nothing_is_asked(clip, options, message):
    before = clip.ledger.queries
    with pytest.raises(ValueError, match=message):
        edit(clip, **{"forget": ["gun"], **options})
    assert clip.ledger.queries == before


def test_an_edit_takes_no_start_and_is_none(clip):
    made = edit(clip, ["red"])
    with pytest.raises(ValueError, match="init is for a context; an edit needs names alone"):
        edit(clip, ["gun"], init=made)
    with pytest.raises(ValueError, match="an edit is no start for a context; search on top of it"):
        unlearn(clip, coloured(2), forget=["red"], init=made)


def test_a_box_with_scores_only_is_refused_and_told_of_contexts(clip):
    box = ScoresOnly(clip)
    told = (
        r"answers with scores only, and an edit needs its text features; make text features of its scores: "
        r"unlearn\(ReferenceBlackBox\(model\), ...\). Or search for a context: give labelled images"
    )
    with pytest.raises(ValueError, match=told) as refused:
        unlearn(box, forget=["gun"])
    assert "\n" not in str(refused.value)
    with pytest.raises(ValueError, match="answers with scores only"):
        unlearn(box, classes=["red", "blue"], forget=["red"], method="edit")
    found = unlearn(box, coloured(2), forget=["red"], method="proximal", max_queries=5, shots=1, progress=False)
    assert found.adapter.kind == "context"


def test_an_endpoint_that_embeds_must_be_given_words(clip):
    box = EmbeddingBlackBox(
        lambda texts: clip.with_template("{}").text_features(torch.zeros(1, 0, clip.dim), texts)[0],
        lambda images: clip.add_images(images).features, model_id="far away",
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"far away has no tokenizer to take words from; pass words to hold in place"):
        unlearn(box, forget=["gun"])
    made = edit(box, ["gun"])
    assert made.config.hyperparameters["vocabulary"] == source_of(WORDS) != "tokenizer"
    torch.testing.assert_close(made.edit.matrix(), edit(clip, ["gun"]).edit.matrix(), rtol=0, atol=1e-3)


# One request after the other


@pytest.mark.parametrize("options", [{}, {"classes": LISTED, "method": "edit"}], ids=["names only", "classes"])
@pytest.mark.parametrize("order", [0, 1])
def test_ten_requests_in_a_row_are_one_with_all_names_and_each_can_be_given_back(clip, options, order):
    names = Random(order).sample(TEN, 10)
    steps = [edit(clip, names[:1], **options)]
    for name in names[1:]:
        steps.append(together([steps[-1], edit(clip, [name], **options)], clip))
    assert same(steps[-1], edit(clip, sorted(TEN), **options))
    assert set(steps[-1].config.forget) == set(TEN)
    assert set(steps[-1].config.retain) == (set(LISTED) - set(TEN) if options else set())
    for shorter, longer in list(pairwise(steps))[::4]:
        back = without(longer, longer.config.forget[-1], clip, vocabulary=WORDS).adapter
        assert same(back, shorter)
        assert set(back.config.retain) == set(shorter.config.retain)


def test_what_was_kept_by_one_and_forgotten_by_another_is_forgotten(clip):
    one, two = edit(clip, ["gun"], keep=["cow", "moon"]), edit(clip, ["cow"], synonyms={"cow": ["ox"]})
    both = together([one, two], clip)
    assert (both.config.forget, both.config.retain, both.config.synonyms) == (["gun", "cow"], ["moon"], {"cow": ["ox"]})
    assert same(both, edit(clip, ["gun", "cow"], keep=["moon"], synonyms={"cow": ["ox"]}))


def test_where_dials_differ_the_larger_are_used_with_a_warning_unless_one_is_given(clip):
    one, two = edit(clip, ["gun"], strength=0.2, breadth=0.9), edit(clip, ["cow"], strength=0.7, breadth=0.1)
    with pytest.warns(UserWarning, match="the adapters were made with different values") as warned:
        both = together([one, two], clip)
    assert same(both, edit(clip, ["gun", "cow"], strength=0.7, breadth=0.9))
    assert [str(warning.message).split(";")[0] for warning in warned] == [
        "the adapters were made with different values of breadth: 0.1, 0.9",
        "the adapters were made with different values of strength: 0.2, 0.7",
    ]
    assert {warning.filename for warning in warned} == {__file__}
    with warnings.catch_warnings(action="error"):
        given = combine([one, two], clip, vocabulary=WORDS, strength=0.3, breadth=0.4).adapter
    assert same(given, edit(clip, ["gun", "cow"], strength=0.3, breadth=0.4))


def test_dials_that_agree_are_those_of_the_result(clip):
    dials = {"strength": 0.2, "breadth": 0.9}
    one, two = edit(clip, ["gun"], **dials), edit(clip, ["cow"], **dials)
    with warnings.catch_warnings(action="error"):
        both = together([one, two], clip)
    assert same(both, edit(clip, ["gun", "cow"], **dials))
    assert same(without(both, "cow", clip, vocabulary=WORDS).adapter, one)


def test_after_the_disk_they_are_still_exact(clip, tmp_path):
    for name in ("gun", "cow"):
        edit(clip, [name]).save_pretrained(tmp_path / name)
    loaded = [ForgetAdapter.from_pretrained(tmp_path / name) for name in ("gun", "cow")]
    both = together(loaded, clip)
    assert same(both, edit(clip, ["cow", "gun"]))
    both.save_pretrained(tmp_path / "both")
    back = without(ForgetAdapter.from_pretrained(tmp_path / "both"), ["gun"], clip, vocabulary=WORDS)
    assert same(back.adapter, edit(clip, ["cow"]))
    assert back.adapter.config.ledger["queries"] == 0


def test_only_edits_that_fit_together_are_combined(clip, other_clip_folder):
    one, two = edit(clip, ["gun"]), edit(clip, ["cow"])
    context = unlearn(clip, coloured(2), forget=["red"], max_queries=5, shots=1, progress=False).adapter
    for pair in ([one, context], [context, one]):
        with pytest.raises(ValueError, match="a context and an edit can't be made one adapter"):
            together(pair, clip)
    for words in (None, WORDS[1:]):
        with pytest.raises(ValueError, match=r"words that were given \(vocabulary=\[\.\.\.\]\)"):
            combine([one, two], clip, vocabulary=words)
        with pytest.raises(ValueError, match="give the same now"):
            without(together([one, two], clip), "gun", clip, vocabulary=words)
    with pytest.raises(WrongBaseError):
        together([one, two], ClipBlackBox(other_clip_folder))
    with pytest.raises(ValueError, match="nothing would be left to forget"):
        without(one, "gun", clip, vocabulary=WORDS)
    with pytest.raises(ValueError, match="expected a class that the adapter forgets, got 'cow'"):
        without(one, "cow", clip, vocabulary=WORDS)


# A context on top, other families


def test_a_context_is_searched_for_on_top_of_an_edit(clip):
    made = edit(clip, ["red"], images=coloured(1), method="edit")
    under = unlearn(clip.under(made), coloured(4), forget=["red"], method="proximal", max_queries=20, shots=2,
                    progress=False).adapter  # fmt: skip
    assert (under.kind, under.config.ledger["queries"]) == ("context", 20)
    rows = evaluate(clip, coloured(2, seed=3), [made, under], made).rows
    assert [row["name"] for row in rows] == ["zero-shot", "label-mask", "edit + proximal", "edit"]
    assert [row["queries"] for row in rows] == [0, 0, 20, 0]
    assert rows[2]["retain_nll"] != rows[3]["retain_nll"]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_forgets_by_name_and_an_export_and_the_disk_say_the_same(family_folder, family, tmp_path):
    base = family_folder(family)
    model = ClipBlackBox(base, device="cpu")
    made = edit(model, ["gun", "a big knife"], keep=["moon"])
    left = left_of(model, made, ["gun", "a big knife", "moon"])
    assert left[:2].max() < -FURTHEST / 2
    assert left[2] > 0.8
    made.save_pretrained(tmp_path / "adapter")
    loaded = ForgetAdapter.from_pretrained(tmp_path / "adapter")
    assert same(loaded, made)
    made.export(tmp_path / "out", base=base)
    written = ClipBlackBox(str(tmp_path / "out"), device="cpu")
    plain, found = (name_features(box, ["gun", "a big knife", "moon"]) for box in (model, written))
    torch.testing.assert_close(found, loaded.edit.linear()(plain), rtol=0, atol=1e-5)
    assert (found.mean(0) - plain.mean(0)).norm(dim=1)[:2].min() > (found.mean(0) - plain.mean(0)).norm(dim=1)[2]
    texts = ["gun", "a photo of a big knife", "moon"]
    bare = model.with_template("{}").text_features(torch.zeros(1, 0, model.dim), texts)[0]
    torch.testing.assert_close(loaded.load_base(base, device="cpu").text_features(texts), made.edit(bare))


def test_a_kept_name_that_the_model_can_not_tell_from_a_forgotten_one_is_refused():
    embedded = ClipBlackBox(device="cpu")
    for kept in ("Gun", "GUN"):
        with pytest.raises(ValueError, match=f"'{kept}' is to be kept, and to this model it reads as 'gun'"):
            forget_by_name(embedded, ["gun"], ["guitar", kept])
        for request in (
            {"forget": ["gun"], "keep": ["guitar", kept]},
            {"forget": ["gun", kept]},
            {"forget": ["gun"], "synonyms": {"gun": [kept]}},
            {"forget": ["gun"], "classes": ["cat", "gun", kept], "max_queries": 1},
        ):
            with pytest.raises(InputError, match=f"'gun' and '{kept}' become the same tokens in embedded, which can't"):
                unlearn(embedded, **request)
    assert embedded.ledger.queries == 0
    with pytest.raises(ValueError, match="is to be forgotten and to be kept"):
        unlearn(embedded, forget=["caf\u00e9"], keep=[" cafe\u0301 "])
    assert unlearn(embedded, forget=["gun", " gun", "cafe\u0301", "caf\u00e9"]).adapter.config.forget == ["gun", "café"]


def test_what_is_for_a_context_is_refused_for_an_edit_and_the_other_way_round(clip, tmp_path):
    for option in ({"run_dir": tmp_path}, {"n_ctx": 4}, {"unlabelled": []}):
        with pytest.raises(ValueError, match=f"{next(iter(option))} is for a context; an edit needs names alone"):
            unlearn(clip, forget=["gun"], method="edit", **option)
    with pytest.raises(ValueError, match="keep, vocabulary and breadth are for an edit"):
        unlearn(clip, classes=["gun", "cat"], forget=["gun"], breadth=0.9)
    assert list(tmp_path.iterdir()) == []
