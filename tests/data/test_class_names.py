"""Names: what is one and the same name wherever it comes from, and what is a list of them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hf_unlearn import AdaptedClip, ForgetAdapter, LabeledImages, combine, evaluate, unlearn, without
from hf_unlearn.data.class_names import check_names, clean_name, name_list, split_names, synonym_lists, text_list

NFD, NFC = "cafe\u0301", "caf\u00e9"
WORDS = [f"{a}{b}{c}" for a in "bdgk" for b in "aeiou" for c in ("n", "rt", "st")]
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"

# One name


@pytest.mark.parametrize(
    "name",
    [
        "beer mug", "ビール", NFC, FAMILY, "\U0001f642\u200d\u2194\ufe0f", "\U0001f469\U0001f3fd\u200d\U0001f680",
        "1\ufe0f\u20e3", "\u2764\ufe0f", "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "葛\U000e0100", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u0915\u094d\u200d\u0937",
        "\u0995\u09cd\u200d", "\u1820\u180b",
    ],
)  # fmt: skip
def test_a_name_in_any_script_stays_as_it_is(name):
    assert clean_name(name) == name


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (NFD, NFC), ("e\u034f\u0301", "\u00e9"), ("\u212b", "\u00c5"), ("cat\u200b", "cat"), ("\ufeffcat", "cat"),
        ("c\u00adat", "cat"), ("c\u200dat", "cat"), ("cat\ufe0f", "cat"), ("\u202ecat\u202c", "cat"),
        ("\u2067cat\u2069", "cat"), ("cat\u3164", "cat"), ("cat\u2060", "cat"), ("cat\U000e0061", "cat"),
        ("a\x00b\x1b[2J", "ab[2J"), (" beer \t mug\r\n", "beer mug"), ("beer\u00a0mug", "beer mug"),
        ("beer\u3000mug", "beer mug"), ("beer\u2028mug", "beer mug"), ("\u2800cat", "cat"),
        (FAMILY[:2] + "x", FAMILY[0] + "x"), ("\u200d", ""), (" \ufeff\u200b", ""),
    ],
)  # fmt: skip
def test_what_can_not_be_seen_makes_no_other_name(given, kept):
    assert clean_name(given) == kept


LETTERS = st.characters() | st.sampled_from(
    "\u200d\u200c\ufe0f\u0301\u034fe 🏴\U000e0061\U000e007f👩क्ب\u180b\u1820\u00ad\u1160"
)


@settings(max_examples=500, deadline=None, derandomize=True)
@given(st.text(LETTERS, max_size=9))
def test_a_clean_name_is_clean(text):
    name = clean_name(text)
    assert clean_name(name) == name == " ".join(name.split())


def test_two_spellings_of_one_name_are_the_same_class_twice_and_both_are_shown():
    with pytest.raises(ValueError, match=r"differ, 'caf\\xe9' and 'cafe\\u0301' are one name, 'café'"):
        check_names([NFC, "dog", NFD])
    with pytest.raises(ValueError, match=r"differ, 'cat' and 'cat\\u200b' are one name, 'cat'"):
        LabeledImages.from_arrays([Image.new("RGB", (4, 4))], [0], ["cat", "cat\u200b"])


# Every door


def folder_of(root: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for shade in range(6):
            colour = (40 * shade, 80 * number, 255 - 40 * shade)
            Image.new("RGB", (24, 24), colour).save(root / name / f"{shade}.png")
    return root


def test_a_decomposed_folder_is_named_and_judged_however_it_is_spelled(clip, tmp_path):
    data = folder_of(tmp_path / "data", NFD, "dog", "tea")
    images = LabeledImages.from_folder(data)
    assert images.names == (NFC, "dog", "tea")
    assert LabeledImages.from_folder(data, {NFC: "x", "dog": NFD}).names == ("x", NFC, "tea")
    assert LabeledImages.from_folder(data, {NFD: "x"}).names[0] == "x"
    assert images.only([NFD, "dog"]).names == (NFC, "dog")
    options = {"max_queries": 4, "shots": 2, "n_ctx": 2, "progress": False, "synonyms": {NFD: ["the\u0301"]}}
    made = [unlearn(clip, images, forget=[name], **options).adapter for name in (NFD, NFC)]
    assert torch.equal(made[0].context, made[1].context)
    assert (made[0].config.forget, made[0].config.synonyms) == ([NFC], {NFC: ["th\u00e9"]})
    assert evaluate(clip, images, made[0], synonyms={NFD: ["mocha"]}).content["forget"] == [NFC]


def test_an_adapter_of_decomposed_names_is_read_as_of_composed_ones(clip, tmp_path):
    made = unlearn(clip, forget=[NFC, "dog"], keep=["th\u00e9"], vocabulary=WORDS).adapter
    made.save_pretrained(tmp_path)
    text = (tmp_path / "config.json").read_text(encoding="utf-8")
    (tmp_path / "config.json").write_text(
        "\ufeff" + text.replace(NFC, NFD).replace("th\u00e9", "the\u0301 "), encoding="utf-8"
    )
    loaded = ForgetAdapter.from_pretrained(tmp_path)
    assert (loaded.config.forget, loaded.config.retain) == ([NFC, "dog"], ["th\u00e9"])
    back = without(loaded, [NFD], clip, vocabulary=WORDS).adapter
    assert back.config.forget == ["dog"]
    both = combine([loaded, back], clip, vocabulary=WORDS).adapter
    assert both.config.weights_sha256 == made.config.weights_sha256


def test_an_edit_is_the_same_bit_for_bit_however_its_names_are_spelled_and_listed(clip):
    def edit(**changes) -> str:
        options = {
            "forget": [NFC, "dog"],
            "keep": ["th\u00e9"],
            "synonyms": {NFC: ["mocha", "latte"]},
            "vocabulary": WORDS,
        }
        return unlearn(clip, **{**options, **changes}).adapter.config.weights_sha256

    plain = edit()
    assert plain == edit(forget=[f" {NFD}\u200b", "dog"], keep=["the\u0301"], synonyms={NFD: {"mocha", "latte"}})
    for listed in ({NFC, "dog"}, (name for name in (NFC, "dog")), np.array([NFC, "dog"]), {NFC: 1, "dog": 2}.keys()):
        assert plain == edit(forget=listed)
    assert (
        plain
        == edit(vocabulary=(word for word in WORDS))
        == edit(vocabulary=set(WORDS))
        == edit(vocabulary=np.array(WORDS))
    )
    assert plain != edit(synonyms={NFC: ["mocha"]})


@pytest.mark.parametrize("spelled", [NFD, f"{NFC}\u200b"])
def test_labels_are_read_as_names(clip, spelled):
    adapter = unlearn(clip, forget=["dog"], vocabulary=WORDS).adapter
    images, adapted = [Image.new("RGB", (24, 24), "red")], AdaptedClip(clip, adapter)
    assert torch.equal(adapted.classify(images, [spelled, "dog"]), adapted.classify(images, np.array([NFC, "dog"])))


# One text is no list


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("cat", r"x must be a list of names, got the text 'cat'; write \['cat'\]"),
        ("c" * 400, r"x must be a list of names, got the text 'c{80}'…; write"),
        (b"cat", "x must be a list of names, got bytes b'cat'; decode them"),
        (Path("names.txt"), r"got PosixPath 'names.txt'; read the file: path.read_text\(\).splitlines\(\)"),
        (None, r"x must be a list of names, got None; write \['cat', 'dog'\]"),
        (3, "x must be a list of names, got 3; write"),
        ([3], r"x: class names must be text, got the number 3; write the name, such as names\[3\]"),
        ([np.int64(3)], "got the number"),
        ([["cat", "dog"]], r"got a list inside the list, \['cat', 'dog'\]; write one flat list"),
        (np.array([["cat"]]), "got a list inside the list"),
        (["cat", None], "got None, a missing value; leave it out"),
        (["cat", float("nan")], "got nan, a missing value; leave it out"),
        (["cat", b"dog"], "class names must be text, got bytes b'dog'"),
    ],
)
def test_what_is_no_list_of_names_is_refused_with_what_to_write(given, message):
    for reader in (name_list, check_names):
        with pytest.raises(ValueError, match=message):
            reader("x", given) if reader is name_list else reader(given, "x")


class Series:
    """As pandas has it: an iterable of texts that is no sequence."""

    def __init__(self, values):
        self.values = values

    def __iter__(self):
        return iter(self.values)


def test_lists_of_every_make_are_lists_of_names():
    for listed in (
        ["b", "a"],
        ("b", "a"),
        iter(["b", "a"]),
        np.array(["b", "a"]),
        Series(["b", "a"]),
        {"b": 1, "a": 2},
    ):
        found = name_list("x", listed, in_order=True)
        assert found == ["b", "a"]
        assert {type(name) for name in found} == {str}
    assert name_list("x", {"b", "a"}) == ["a", "b"]
    with pytest.raises(ValueError, match=r"got a set, which has no order; write sorted\(\.\.\.\)"):
        name_list("x", {"b", "a"}, in_order=True)


DOORS = {  # every function that takes names, given one text in the place of a list
    "forget of a context": lambda clip, images, edit: unlearn(clip, images, forget="12"),
    "forget of an edit": lambda clip, images, edit: unlearn(clip, forget="12"),
    "keep": lambda clip, images, edit: unlearn(clip, forget=["a"], keep="12"),
    "classes": lambda clip, images, edit: unlearn(clip, classes="12", forget=["1"]),
    "vocabulary": lambda clip, images, edit: unlearn(clip, forget=["a"], vocabulary="12"),
    "labels": lambda clip, images, edit: AdaptedClip(clip, edit).classify(images, "12"),
    "texts": lambda clip, images, edit: AdaptedClip(clip, edit).text_features("12"),
    "names of images": lambda clip, images, edit: LabeledImages.from_arrays(list(images), images.labels, "12"),
    "images": lambda clip, images, edit: LabeledImages(images.items, images.labels, "12"),
    "only": lambda clip, images, edit: images.only("12"),
    "a black box": lambda clip, images, edit: clip.zero_shot(clip.add_images(images), "12"),
    "split_names": lambda clip, images, edit: split_names(["1", "2", "3"], "12"),
}


@pytest.mark.parametrize("door", DOORS)
def test_one_text_is_nowhere_a_list_of_letters(clip, door):
    images = LabeledImages.from_arrays([Image.new("RGB", (24, 24), 9 * i) for i in range(8)], [0, 1, 2, 3] * 2,
                                       ["1", "2", "12", "3"])  # fmt: skip
    edit = unlearn(clip, forget=["a"], vocabulary=WORDS).adapter
    before = clip.ledger.queries
    with pytest.raises(ValueError, match=r"'12'; write \['12'\]"):
        DOORS[door](clip, images, edit)
    assert clip.ledger.queries == before


def test_other_names_are_a_mapping_of_lists_and_one_name_is_a_list_of_one():
    assert synonym_lists({"gun": "pistol", "cup": (n for n in ("mug", "beaker")), "x": None, "y": []}) == {
        "gun": ["pistol"], "cup": ["mug", "beaker"]
    }  # fmt: skip
    with pytest.raises(ValueError, match=r"synonyms must be a dict, class -> list of other names, got \['gun'\]"):
        synonym_lists(["gun"])
    with pytest.raises(ValueError, match=r"synonyms of 'gun': class names must be text, got the number 5"):
        synonym_lists({"gun": ["pistol", 5]})
    with pytest.raises(ValueError, match="are one name, 'café'"):
        synonym_lists({NFC: ["x"], NFD: ["y"]})


def test_texts_keep_their_blanks_and_are_composed():
    assert text_list("texts", [f"a  {NFD}\n"]) == [f"a  {NFC}\n"]
    with pytest.raises(ValueError, match="expected at least one text, got none"):
        text_list("texts", [])


def test_a_class_that_is_none_is_told_with_the_one_that_was_meant():
    with pytest.raises(
        ValueError, match=r"unknown class 'beermug' \(did you mean 'beer mug'\?\); the classes are: beer mug, dog"
    ):
        split_names(["beer mug", "dog"], ["beermug"])
    many = [f"{'n' * 300}{i}" for i in range(500)]
    with pytest.raises(ValueError, match="unknown class") as told:
        split_names(many, ["x" * 5_000])
    assert len(str(told.value)) < 2_000


def test_a_name_that_the_locale_kept_from_being_read_is_read_as_utf_8():
    unread = "公鸡".encode().decode("ascii", "surrogateescape")
    assert clean_name(unread) == "公鸡"
    assert check_names([unread, "b"]) == ["公鸡", "b"]
    with pytest.raises(ValueError, match="valid Unicode"):
        check_names([b"\xff\xfe".decode("utf-8", "surrogateescape")])
