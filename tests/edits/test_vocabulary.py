"""What an edit holds in place: words out of every kind of tokenizer, and their features, cached on disk."""

import os
import stat
import time
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from hf_unlearn import ClipBlackBox
from hf_unlearn.edits import feature_cache
from hf_unlearn.edits.feature_cache import cache_folder
from hf_unlearn.edits.tokenizer_words import is_word
from hf_unlearn.edits.vocabulary import load_vocabulary, vocabulary_features, vocabulary_words
from hf_unlearn.models.adapted_box import AdaptedBox
from hf_unlearn.models.black_box import PROBES
from hf_unlearn.models.text_edit import Gate, TextEdit
from tests.support.families import FAMILIES, write_family

ROOT = Path(feature_cache.__file__).parents[2]
PAGES = ("README.md", "SECURITY.md", "docs/audit.md")
TEXT = [line for page in PAGES for line in (ROOT / page).read_text(encoding="utf-8").splitlines()] + ["a laptop"]
CHINESE = [chr(0x4E00 + 7 * number) for number in range(80)]  # sorted by spelling
SOME = ["pistol", "teapot", "a red car", "café", "sky"]
TEMPLATES = ("{}", "a photo of a {}.")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_UNLEARN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "vocabulary"


def trained(kind: str):
    """A real small tokenizer of each kind, trained on our documentation."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    alphabet = pre_tokenizers.ByteLevel.alphabet()
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    split = pre_tokenizers.Split(Regex(r"[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"), "removed", invert=True)
    common = {"vocab_size": 1_500, "special_tokens": ["<unk>", "<special>"], "show_progress": False}
    kinds = {
        "clip": (
            models.BPE(end_of_word_suffix="</w>"),
            pre_tokenizers.Sequence([split, byte_level]),
            trainers.BpeTrainer(end_of_word_suffix="</w>", initial_alphabet=alphabet, **common),
        ),
        "byte-level": (
            models.BPE(),
            pre_tokenizers.ByteLevel(add_prefix_space=True),
            trainers.BpeTrainer(initial_alphabet=alphabet, **common),
        ),
        "sentencepiece BPE": (models.BPE(), pre_tokenizers.Metaspace(), trainers.BpeTrainer(**common)),
        "unigram": (
            models.Unigram(),
            pre_tokenizers.Metaspace(),
            trainers.UnigramTrainer(unk_token="<unk>", **common),
        ),
        "wordpiece": (
            models.WordPiece(unk_token="<unk>"),
            pre_tokenizers.BertPreTokenizer(),
            trainers.WordPieceTrainer(**common),
        ),
        "words": (
            models.WordLevel(unk_token="<unk>"),
            pre_tokenizers.Whitespace(),
            trainers.WordLevelTrainer(**common),
        ),
    }
    model, pre_tokenizer, trainer = kinds[kind]
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Lowercase() if kind == "clip" else None
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.train_from_iterator([*TEXT, *["Éclairs naïveté éclairs naïveté"] * 200], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", extra_special_tokens=["<special>"])


@pytest.mark.parametrize("kind", ["clip", "byte-level", "sentencepiece BPE", "unigram", "wordpiece", "words"])
def test_whole_words_come_out_of_every_kind_of_tokenizer(kind):
    tokenizer = trained(kind)
    found = vocabulary_words(tokenizer)
    assert {"the", "context", "adapter"} <= set(found)
    assert kind == "unigram" or {"naïveté", "éclairs"} <= set(found)  # byte-level pieces are read as text
    assert len(found) == len(set(found)) >= 150
    assert all(word == word.lower() and len(word) >= 3 and word.isalpha() for word in found)
    assert "special" not in found
    assert found == vocabulary_words(tokenizer)  # and in the same order
    assert vocabulary_words(tokenizer, limit=60) == found[:60]


def test_frequent_words_come_first():
    found = vocabulary_words(trained("words"))
    assert found.index("éclairs") < found.index("the") < found.index("laptop")


def test_continuations_are_no_words():
    found = vocabulary_words(trained("wordpiece"))
    assert not any(word.startswith("##") for word in found)
    marked = vocabulary_words(trained("unigram"))
    assert {f"▁{word}" for word in marked} <= {piece.lower() for piece in trained("unigram").get_vocab()}


def test_a_chinese_vocabulary_is_read_by_characters_and_evenly_as_it_is_sorted_by_spelling():
    from transformers import BertTokenizer

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = [*special, "ab", "，", *CHINESE, *(f"##{one}" for one in CHINESE)]
    tokenizer = BertTokenizer(vocab={piece: number for number, piece in enumerate(pieces)})
    assert vocabulary_words(tokenizer) == CHINESE
    assert vocabulary_words(tokenizer, limit=20) == CHINESE[::4]


def test_chinese_words_need_no_space_in_front_in_sentencepiece():
    class Pieces:
        all_special_tokens = ("</s>",)

        def get_vocab(self):
            pieces = ["</s>", *(f"▁word{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(60)), "中国", "frag", "▁"]
            return {piece: number for number, piece in enumerate(pieces)}

        def get_added_vocab(self):
            return {"</s>": 0}

    assert vocabulary_words(Pieces())[-1] == "中国"
    assert "frag" not in vocabulary_words(Pieces())


@pytest.mark.parametrize(
    ("text", "good"),
    [("cat", True), ("at", False), ("日", True), ("です", True), ("で", False), ("고양이", True), ("हिन्दी", True),
     ("кот", True), ("c4t", False), ("don't", False), ("", False), ("́cat", False), ("naïve", True), ("<s>", False)],
)  # fmt: skip
def test_what_a_word_is(text, good):
    assert is_word(text) is good


def test_siglips_own_slow_tokenizer_has_words_too(tmp_path):
    spm = pytest.importorskip("sentencepiece")
    from transformers import SiglipTokenizer

    (tmp_path / "text").write_text("\n".join(TEXT))
    spm.SentencePieceTrainer.train(
        input=str(tmp_path / "text"), model_prefix=str(tmp_path / "spiece"), vocab_size=800, pad_id=-1, bos_id=-1,
        unk_id=2, eos_id=1, minloglevel=2,
    )  # fmt: skip
    tokenizer = SiglipTokenizer(vocab_file=str(tmp_path / "spiece.model"))
    assert {"the", "adapter"} <= set(vocabulary_words(tokenizer))


def test_the_embedded_models_words(tmp_path):
    found = vocabulary_words(ClipBlackBox("embedded", device="cpu"))
    assert 500 < len(found) < 1_000
    assert {"cat", "woman", "knife"} <= set(found)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_tokenizer_of_letters_only_is_refused_and_given_words_are_taken(family, family_folder):
    box = ClipBlackBox(family_folder(family), device="cpu")
    with pytest.raises(ValueError, match=r"has \d+ whole words, an edit needs 50; pass words .* vocabulary=\[\.\.\.\]"):
        load_vocabulary(box, TEMPLATES)
    found, texts = load_vocabulary(box, TEMPLATES, vocabulary=SOME, exclude=["Teapot", "CAFÉ", "cafe"])
    assert found == ["pistol", "a red car", "sky"]
    for template, rows in zip(TEMPLATES, texts, strict=True):
        expected = box.with_template(template).text_features(torch.zeros(1, 0, box.dim), found)[0]
        torch.testing.assert_close(rows, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_second_call_needs_no_text_tower(family, family_folder, cache):
    box = ClipBlackBox(family_folder(family), device="cpu")
    first = vocabulary_features(box, SOME, TEMPLATES)
    spent = box.ledger.copy()
    assert spent.text_tokens > 0
    again = ClipBlackBox(family_folder(family), device="cpu")
    assert torch.equal(vocabulary_features(again, SOME, TEMPLATES), first)
    assert again.ledger.values() == (0, 0, 0)
    assert first.shape[:2] == (2, 5)
    assert first.dtype == torch.float32
    assert len(list(cache.iterdir())) == 1


def test_requests_that_leave_out_other_words_share_a_file(clip, cache):
    load_vocabulary(clip, TEMPLATES, vocabulary=SOME, exclude=["sky"])
    spent = clip.ledger.copy()
    found, texts = load_vocabulary(clip, TEMPLATES, vocabulary=SOME, exclude=["pistol"])
    assert clip.ledger == spent
    assert texts.shape == (2, len(found), 24) == (2, 4, 24)
    assert len(list(cache.iterdir())) == 1


def test_another_base_precision_template_or_list_is_another_file(clip_folder, other_clip_folder, cache):
    box = ClipBlackBox(clip_folder, device="cpu")
    one = vocabulary_features(box, SOME, TEMPLATES)
    other = ClipBlackBox(other_clip_folder, device="cpu")
    other.model_id = box.model_id  # the same name, other weights
    assert not torch.allclose(vocabulary_features(other, SOME, TEMPLATES), one)
    vocabulary_features(ClipBlackBox(clip_folder, device="cpu", dtype=torch.bfloat16), SOME, TEMPLATES)
    vocabulary_features(box, SOME, TEMPLATES[:1])
    vocabulary_features(box, SOME[:2], TEMPLATES)
    assert len(list(cache.iterdir())) == 5


def test_a_model_under_an_edit_is_not_taken_for_its_base(clip):
    base = vocabulary_features(clip, SOME, TEMPLATES)
    torch.manual_seed(0)
    edit = TextEdit(torch.randn(24, 1), 0.1 * torch.randn(1, 24))
    edited = vocabulary_features(AdaptedBox(clip, edit=edit), SOME, TEMPLATES)
    torch.testing.assert_close(edited, edit(base))
    assert not torch.allclose(edited, base, atol=1e-3)


def test_a_model_under_an_edit_that_leaves_the_fixed_texts_alone_is_not_taken_for_its_base(clip):
    base = vocabulary_features(clip, SOME, TEMPLATES)
    answers = clip.with_template("{}").text_features(torch.zeros(1, 0, clip.dim), PROBES)[0]
    torch.manual_seed(0)
    edit = TextEdit(
        torch.randn(24, 1), torch.randn(1, 24), Gate(torch.zeros(24), 1e3 * base[0, :1], torch.tensor([1e3 - 0.5]))
    )
    torch.testing.assert_close(edit(answers), answers, atol=1e-6, rtol=0)
    under = AdaptedBox(clip, edit=edit)
    assert not torch.allclose(vocabulary_features(under, SOME, TEMPLATES), base, atol=1e-3)
    twice = AdaptedBox(under, edit=edit)
    torch.testing.assert_close(vocabulary_features(twice, SOME, TEMPLATES), edit(edit(base)))
    assert (under.adapted_by * 2, len(under.adapted_by)) == (twice.adapted_by, 1)
    assert torch.equal(vocabulary_features(clip, SOME, TEMPLATES), base)


def damages(good: bytes):
    flipped = bytearray(good)
    flipped[-7] ^= 1
    yield "flipped", bytes(flipped)
    yield "cut", good[:-10]
    yield "empty", b""
    yield "foreign", b"not safetensors at all"
    yield "huge header", (2**62).to_bytes(8, "little") + good[8:]
    yield "too large", good + bytes(1 << 20)


def test_a_damaged_file_is_computed_again_without_a_word(clip, cache, capsys):
    from safetensors.torch import save

    first = vocabulary_features(clip, SOME, TEMPLATES)
    (path,) = cache.iterdir()
    good = path.read_bytes()
    others = [("other shape", save({"features": torch.zeros(1, 5, 24), "digest": torch.zeros(32, dtype=torch.uint8)}))]
    others.append(("no digest", save({"features": first})))
    for what, data in [*damages(good), *others]:
        path.write_bytes(data)
        before = clip.ledger.text_tokens
        assert torch.equal(vocabulary_features(clip, SOME, TEMPLATES), first), what
        assert clip.ledger.text_tokens > before, what
        assert path.read_bytes() == good, what  # mended
    assert capsys.readouterr() == ("", "")


def test_a_pipe_or_a_folder_in_place_of_the_file_is_not_read(clip, cache):
    first = vocabulary_features(clip, SOME, TEMPLATES)
    (path,) = cache.iterdir()
    path.unlink()
    os.mkfifo(path)
    assert torch.equal(vocabulary_features(clip, SOME, TEMPLATES), first)
    assert stat.S_ISREG(path.stat().st_mode)
    path.unlink()
    path.mkdir()
    assert torch.equal(vocabulary_features(clip, SOME, TEMPLATES), first)


def test_a_disk_that_cannot_be_written_to_is_no_error(clip, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HF_UNLEARN_CACHE", str(tmp_path / "file"))
    expected = vocabulary_features(clip, SOME, TEMPLATES)

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setenv("HF_UNLEARN_CACHE", str(tmp_path / "elsewhere"))
    monkeypatch.setattr(feature_cache.os, "replace", full)
    assert torch.equal(vocabulary_features(clip, SOME, TEMPLATES), expected)
    assert list((tmp_path / "elsewhere" / "vocabulary").iterdir()) == []


def test_an_interrupt_leaves_nothing_behind(clip, cache, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(feature_cache.os, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            vocabulary_features(clip, SOME, TEMPLATES)
    assert list(cache.iterdir()) == []


def made_and_aged(clip, cache, count: int) -> list[str]:
    """Files of so many templates, each older than the next; their names."""
    names = []
    for number in range(count):
        vocabulary_features(clip, SOME, [f"{{}} {number}"])
        (new,) = {path.name for path in cache.glob("*.safetensors")} - set(names)
        os.utime(cache / new, (1_000_000 + number, 1_000_000 + number))
        names.append(new)
    return names


@pytest.mark.parametrize("bound", ["files", "bytes"])
def test_what_was_used_least_recently_makes_room(clip, cache, monkeypatch, bound):
    first, second, third = made_and_aged(clip, cache, 3)
    vocabulary_features(clip, SOME, ["{} 0"])  # read again
    size = 4 * vocabulary_features(clip, SOME, ["{} 0"]).numel()
    if bound == "files":
        monkeypatch.setattr(feature_cache, "MOST_FILES", 3)
    else:
        taken = sum(path.stat().st_size for path in cache.iterdir())
        monkeypatch.setattr(feature_cache, "MOST_BYTES", taken + size - 1)
    vocabulary_features(clip, SOME, ["{} 3"])
    there = {path.name for path in cache.iterdir()}
    assert {first, third} < there
    assert second not in there


def test_what_a_killed_writer_left_goes(clip, cache):
    made_and_aged(clip, cache, 1)
    for name, when in (("left", 1_000_000), ("being-written", time.time())):
        (cache / f".{name}").write_bytes(b"half")
        os.utime(cache / f".{name}", (when, when))
    vocabulary_features(clip, SOME, ["{} 1"])
    assert [path.name for path in cache.glob(".*")] == [".being-written"]


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"HF_HOME": "/hf", "XDG_CACHE_HOME": "/xdg"}, "/hf/hf_unlearn/vocabulary"),
        ({"XDG_CACHE_HOME": "/xdg"}, "/xdg/huggingface/hf_unlearn/vocabulary"),
        ({"HOME": "/me"}, "/me/.cache/huggingface/hf_unlearn/vocabulary"),
        ({"HF_UNLEARN_CACHE": "/own", "HF_HOME": "/hf"}, "/own/vocabulary"),
    ],
)
def test_where_the_cache_is(environment, folder, monkeypatch):
    for name in ("HF_UNLEARN_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(folder)


def test_a_model_without_a_tokenizer_is_named_and_told_what_to_do():
    class Endpoint:
        model_id = "somewhere"

    with pytest.raises(ValueError, match=r"somewhere has no tokenizer to take words from; pass .* vocabulary="):
        vocabulary_words(Endpoint())
    with pytest.raises(ValueError, match="this model has no tokenizer"):
        vocabulary_words(None)


@pytest.mark.parametrize("bad", ["pistol", ["ok", ""], [3]])
def test_words_that_are_none_are_refused(clip, bad):
    with pytest.raises(ValueError, match="a vocabulary is a list of words"):
        load_vocabulary(clip, TEMPLATES, vocabulary=bad)


def test_a_vocabulary_of_nothing_but_the_names_is_refused(clip):
    with pytest.raises(ValueError, match="no word is left"):
        load_vocabulary(clip, TEMPLATES, vocabulary=["gun", "Gun "], exclude=["GUN"])


def test_many_words_are_encoded_in_batches_and_in_order(clip):
    many = [f"word {number}" for number in range(600)]
    rows = vocabulary_features(clip, many, ["{}"])[0]
    expected = clip.with_template("{}").text_features(torch.zeros(1, 0, clip.dim), many)[0]
    torch.testing.assert_close(rows, F.normalize(expected, dim=-1), rtol=0, atol=1e-5)


def test_siglip_2_pads_left_too(tmp_path):
    box = ClipBlackBox(write_family(tmp_path / "left", "siglip2", padding_side="left"), device="cpu")
    assert vocabulary_features(box, SOME, TEMPLATES).isfinite().all()
