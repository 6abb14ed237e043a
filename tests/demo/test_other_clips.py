"""The CLIPs that `benchmarks/train_emoji_clip.py` begins with: other tokenizers, temperatures and augmentation."""

import sys
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from torch.nn.functional import normalize

from hf_unlearn import ClipBlackBox

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SIZES = {"pixels": 24, "patch": 8, "width": 32, "layers": 1, "text_width": 64, "text_layers": 1, "dim": 24}
NAMES = ["rooster", "winner's medal", "one red apple"]


@pytest.fixture(scope="module")
def emoji_clip():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        import emoji_clip

        yield emoji_clip
        for module in ("emoji_clip", "emoji_data"):
            sys.modules.pop(module, None)


@pytest.fixture(scope="module")
def word_level_folder(emoji_clip, tmp_path_factory):
    folder = tmp_path_factory.mktemp("words")
    torch.manual_seed(0)
    for part in emoji_clip.build(Namespace(tokenizer="words", **SIZES), NAMES):
        part.save_pretrained(folder)
    return str(folder)


def test_stock_transformers_load_the_word_level_tokenizer(word_level_folder):
    from transformers import AutoTokenizer, CLIPProcessor

    read = AutoTokenizer.from_pretrained(word_level_folder), CLIPProcessor.from_pretrained(word_level_folder).tokenizer
    for tokenizer in read:
        ids = tokenizer("A photo of Winner's medal!")["input_ids"]
        words = ["a", "photo", "of", "winner", "'", "s", "medal", "<|unknown|>"]
        assert tokenizer.convert_ids_to_tokens(ids) == ["<|startoftext|>", *words, "<|endoftext|>"]


def test_a_word_level_clip_reads_names_as_transformers_do(word_level_folder):
    from transformers import AutoTokenizer, CLIPModel

    box, tokenizer = ClipBlackBox(word_level_folder, device="cpu"), AutoTokenizer.from_pretrained(word_level_folder)
    inputs = tokenizer([box.template.format(name) for name in NAMES], padding=True, return_tensors="pt")
    with torch.no_grad():
        theirs = CLIPModel.from_pretrained(word_level_folder).get_text_features(**inputs).pooler_output
    ours = box.text_features(torch.zeros(1, 0, box.dim), NAMES)[0]
    torch.testing.assert_close(ours, normalize(theirs, dim=-1), rtol=0, atol=1e-5)
    assert box.same_tokens(NAMES) is None
    assert box.same_tokens(["rooster", "zebra", "yak"]) == ("zebra", "yak")  # no word of the captions


def test_a_fixed_temperature_is_not_trained(emoji_clip):
    model, _ = emoji_clip.build(Namespace(tokenizer="words", **SIZES), NAMES)
    emoji_clip.fix_temperature(model, 0.05)
    assert model.logit_scale.exp().item() == pytest.approx(20)
    assert not model.logit_scale.requires_grad


def test_the_reach_of_augmentation_scales_every_distortion(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from emoji_augment import Augment

    drawings = torch.randint(256, (4, 4, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    half, full = (
        Augment(24, reach)(drawings, strength, torch.Generator().manual_seed(1))
        for reach, strength in ((0.5, 1.0), (1.0, 0.5))
    )
    assert torch.equal(half, full)
    images, _, kept = Augment(24, 0.0).mix(full, torch.Generator().manual_seed(1), 1.0)
    assert torch.equal(images, full)
    assert kept == 1.0
