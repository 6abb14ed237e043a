"""Checkpoints in open_clip's format, whose weights open_clip made by `benchmarks/make_open_clip_fixtures.py`."""

import json
import shutil
from pathlib import Path

from tests.support.checkpoints import byte_vocabulary
from tests.support.families import word_tokenizer

FIXTURES = Path(__file__).parents[1] / "fixtures" / "open_clip"
KINDS = sorted(path.parent.name for path in FIXTURES.glob("*/open_clip_config.json"))


def write_open_clip(kind: str, folder: Path) -> Path:
    """A fixture with a tokenizer of its vocabulary beside it, as open_clip's repositories have."""
    from transformers import CLIPTokenizer

    shutil.copytree(FIXTURES / kind, folder, ignore=shutil.ignore_patterns("expected*"))
    if kind.startswith("siglip"):
        roles = {"eos_token": "</s>", "pad_token": "</s>", "unk_token": "<unk>"}
        tokenizer, _ = word_tokenizer(["</s>", "<unk>"], [], ["</s>"], **roles)
    else:
        tokenizer = CLIPTokenizer(vocab=byte_vocabulary(), merges=[], model_max_length=77)
    tokenizer.save_pretrained(folder)
    return folder


def change_config(folder: Path, part: str, **values: object) -> None:
    """Rewrites the config with values in a part: `model`, `preprocess`, `text_cfg` or `vision_cfg`."""
    path = folder / "open_clip_config.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    target = {"model": content["model_cfg"], "preprocess": content["preprocess_cfg"]}.get(part)
    (content["model_cfg"][part] if target is None else target).update(values)
    path.write_text(json.dumps(content), encoding="utf-8")


def prepare_images(folder: Path, preprocessing: dict[str, object]) -> None:
    """Rewrites the config with another way of preparing images."""
    path = folder / "open_clip_config.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, "preprocess_cfg": preprocessing}), encoding="utf-8")
