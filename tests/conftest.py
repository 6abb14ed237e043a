"""A tiny random CLIP with a real tokenizer, and small images, built once per session."""

import json
import os
import shutil

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pytest
import torch
from families import write_family
from PIL import Image

from hf_unlearn import ClipBlackBox, LabeledImages

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 220), "grey": (128, 128, 128)}


def byte_vocabulary() -> dict[str, int]:
    """Every byte, every byte at a word's end, the two specials last: the smallest CLIP vocabulary."""
    from tokenizers import pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*alphabet, *(byte + "</w>" for byte in alphabet), "<|startoftext|>", "<|endoftext|>"]
    return {piece: number for number, piece in enumerate(pieces)}


def write_clip(folder, seed: int, dim: int = 32) -> str:
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPProcessor, CLIPTokenizer

    torch.manual_seed(seed)
    vocabulary = byte_vocabulary()
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77)
    common = {"num_hidden_layers": 2, "num_attention_heads": 4, "projection_dim": 24}
    text = {
        **common, "vocab_size": len(vocabulary), "hidden_size": dim, "intermediate_size": 48,
        "max_position_embeddings": 77, "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id,
    }  # fmt: skip
    vision = {**common, "hidden_size": 32, "intermediate_size": 48, "image_size": 24, "patch_size": 8}
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=24))
    size = {"height": 24, "width": 24}
    images = CLIPImageProcessorPil(size=size, crop_size=size, do_center_crop=False)
    model.save_pretrained(folder)
    CLIPProcessor(image_processor=images, tokenizer=tokenizer).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session", autouse=True)
def vocabulary_cache(tmp_path_factory):
    """No test reads or fills the user's cache of text features."""
    os.environ["HF_UNLEARN_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory) -> str:
    return write_clip(tmp_path_factory.mktemp("clip"), seed=0)


@pytest.fixture(scope="session")
def other_clip_folder(tmp_path_factory) -> str:
    return write_clip(tmp_path_factory.mktemp("other-clip"), seed=1)


@pytest.fixture(scope="session")
def family_folder(tmp_path_factory, clip_folder):
    made = {"clip": clip_folder}

    def folder(family: str) -> str:
        if family not in made:
            made[family] = write_family(tmp_path_factory.mktemp(family), family)
        return made[family]

    return folder


@pytest.fixture(scope="session")
def old_style_folder(tmp_path_factory, clip_folder) -> str:
    """A CLIP whose config says `eos_token_id: 2`, as OpenAI's did: transformers pools at the largest id."""
    folder = tmp_path_factory.mktemp("old") / "clip"
    shutil.copytree(clip_folder, folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["text_config"]["eos_token_id"] = 2
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return str(folder)


@pytest.fixture(scope="session")
def clip(clip_folder) -> ClipBlackBox:
    return ClipBlackBox(clip_folder)


def coloured(count: int, seed: int = 0) -> LabeledImages:
    """`count` noisy images of each of four colours."""
    draw = np.random.default_rng(seed)
    images, labels = [], []
    for label, colour in enumerate(COLOURS.values()):
        for _ in range(count):
            noise = draw.integers(-30, 30, (24, 24, 3))
            images.append(Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8)))
            labels.append(label)
    return LabeledImages.from_arrays(images, labels, list(COLOURS))


@pytest.fixture
def images() -> LabeledImages:
    return coloured(8)


@pytest.fixture
def image_folder(tmp_path, images):
    """The same images as a folder, one sub-folder per class."""
    folder = tmp_path / "images"
    for number in range(len(images)):
        path = folder / images.names[images.labels[number]]
        path.mkdir(parents=True, exist_ok=True)
        images[number].save(path / f"{number}.png")
    return folder
