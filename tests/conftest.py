"""A tiny random CLIP with a real tokenizer, and small images, built once per session."""

import json
import os
import shutil

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest

from hf_unlearn import ClipBlackBox, LabeledImages
from tests.support.checkpoints import write_clip
from tests.support.families import write_family
from tests.support.images import coloured


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
