"""A checkpoint in open_clip's format as a model of transformers, without open_clip: config, weights, processor.

Its files are `open_clip_config.json`, weights in safetensors, and a tokenizer beside them.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hf_unlearn.errors import InputError, StorageError
from hf_unlearn.files import writing
from hf_unlearn.models.checkpoint_checks import OTHER_WEIGHTS, check_pointers, check_weights
from hf_unlearn.models.checkpoint_files import CheckpointFiles
from hf_unlearn.models.open_clip_config import OPEN_CLIP_CONFIG, read_config, sized
from hf_unlearn.models.open_clip_processor import image_processor, read_tokenizer
from hf_unlearn.models.open_clip_weights import convert
from hf_unlearn.text import brief

WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "model.safetensors")
TOKENIZERS = (("tokenizer_config.json", "tokenizer.json"), ("tokenizer_config.json", "vocab.json", "merges.txt"))
USUAL_TOKENIZER = "openai/clip-vit-large-patch14"  # of which open_clip pushes a copy where a config names none


@dataclass(frozen=True)
class OpenClip:
    """A checkpoint of open_clip whose config and tokenizer were read and accepted; weights are fetched on demand.

    Attributes:
        files: where its files are.
        config: transformers', a `CLIPConfig` or a `SiglipConfig`, as `read_config` gives it.
        processor: transformers'.
    """

    files: CheckpointFiles
    config: Any
    processor: Any

    @classmethod
    def read(cls, files: CheckpointFiles) -> OpenClip:
        """Reads the config, and what prepares texts and images.

        Raises:
            InputError: if the config can't be converted.
            StorageError: if files are missing or damaged.
            HubError: if the Hub does not give them.
        """
        import transformers as t

        content = _content(files)
        config = read_config(files.name, content)
        pixels = image_processor(files.name, config, dict(content.get("preprocess_cfg") or {}))
        text = content["model_cfg"]["text_cfg"]
        is_siglip = config.model_type == "siglip"
        if not any(all(files.find(part) for part in parts) for parts in TOKENIZERS[: 1 if is_siglip else 2]):
            needed, trained_with = " and ".join(TOKENIZERS[0]), text.get("hf_tokenizer_name") or USUAL_TOKENIZER
            raise StorageError(
                f"{files.name}: it lacks the files of its tokenizer ({needed}); save the tokenizer that it was trained "
                f"with beside it, which is that of {brief(trained_with)}"
            )
        kind: Any = t.PreTrainedTokenizerFast if is_siglip else t.AutoTokenizer
        tokenizer = read_tokenizer(files.name, config, kind.from_pretrained(files.source, **files.place), text)
        together = t.SiglipProcessor if is_siglip else t.CLIPProcessor
        return cls(files, config, together(image_processor=pixels, tokenizer=tokenizer))

    def load_weights(self, dtype: torch.dtype) -> Any:
        """The whole model, on the CPU.

        Raises:
            StorageError: if no file of them is in safetensors, or tensors are missing, unknown, of another shape, or
                not finite.
            HubError: if the Hub does not give them.
        """
        from safetensors.torch import load_file
        from transformers import CLIPModel, SiglipModel

        name = self.files.name
        path = next((path for one in WEIGHTS if (path := self.files.find(one))), None)
        if path is None:
            raise _without_weights(self.files)
        check_pointers(name, path.parent)
        stored = load_file(path)
        config = sized(name, self.config, {key: tuple(value.shape) for key, value in stored.items()})
        kind: Any = SiglipModel if config.model_type == "siglip" else CLIPModel
        with torch.device("meta"):
            expected = {key: value.shape for key, value in kind(config).state_dict().items()}
        weights = _fitting(name, convert(name, stored), expected)
        report = {"missing_keys": sorted(expected.keys() - weights), "unexpected_keys": []}
        if report["missing_keys"]:
            check_weights(name, None, report)
        model = kind.from_pretrained(None, config=config, state_dict=weights, dtype=dtype)
        check_weights(name, model, report)
        return model

    def save(self, folder: Path, dtype: torch.dtype) -> None:
        """Writes model, tokenizer and image processor as transformers does; the folder appears whole or not at all.

        Args:
            folder: a new or empty folder.
            dtype: precision of the weights on disk.

        Raises:
            StorageError: if it can't be written, or the weights are refused.
            HubError: if the Hub does not give the weights.
        """
        model = self.load_weights(dtype)
        with writing(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=f".{folder.name[:40]}.", dir=folder.parent) as scratch:
                fresh = Path(scratch) / "checkpoint"
                model.save_pretrained(fresh)
                self.processor.save_pretrained(fresh)
                if folder.exists():
                    folder.rmdir()
                fresh.rename(folder)


def _content(files: CheckpointFiles) -> dict[str, Any]:
    path = files.find(OPEN_CLIP_CONFIG)
    if path is not None:
        check_pointers(files.name, path.parent)
    try:
        content: Any = json.loads(path.read_bytes() if path else b"")
    except (ValueError, RecursionError) as error:
        raise StorageError(f"{files.name}: its {OPEN_CLIP_CONFIG} is no JSON ({error}); get it again") from error
    parts = content.get("model_cfg") if isinstance(content, dict) else None
    if not isinstance(parts, dict) or not all(isinstance(parts.get(key), dict) for key in ("text_cfg", "vision_cfg")):
        raise InputError(
            f"{files.name}: its {OPEN_CLIP_CONFIG} has no model_cfg with vision_cfg and text_cfg; get it again"
        )
    for part, key in ((content, "preprocess_cfg"), (parts["text_cfg"], "tokenizer_kwargs")):
        if not isinstance(part.get(key) or {}, dict):
            raise InputError(f"{files.name}: {key} in its {OPEN_CLIP_CONFIG} is {brief(part[key])}; get it again")
    return dict(content)


def _fitting(name: str, weights: dict[str, Tensor], expected: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    """The weights, each in the shape that the config says; a scale may be a number or a list of one."""
    for key, value in weights.items():
        if key not in expected:
            raise StorageError(f"{name}: its weights hold {brief(key)}, which its config does not have")
        if key.startswith("logit_") and value.numel() == 1:
            weights[key] = value.reshape(expected[key])
        elif value.shape != expected[key]:
            raise StorageError(
                f"{name}: its weight {brief(key)} is {tuple(value.shape)}, expected {tuple(expected[key])} by its "
                "config; get both of one checkpoint"
            )
    return weights


def _without_weights(files: CheckpointFiles) -> StorageError:
    """Says what there is in place of weights that can be read, by the list of files alone, and what to do."""
    names = sorted(files.names(), key=lambda name: ("open_clip" not in name, name))
    other = next((name for name in names if name.endswith((".safetensors", *OTHER_WEIGHTS))), None)
    if other is None:
        todo = "get the whole checkpoint"
    elif other.endswith(".safetensors"):
        todo = f"{other} may be them: rename it"
    else:
        todo = (
            f"{other} may run code when it is loaded: where you trust it, convert it beside its config with "
            f"safetensors.torch.save_file(torch.load({other!r}, weights_only=True), {WEIGHTS[0]!r})"
        )
    return StorageError(f"{files.name}: an open_clip model that lacks {WEIGHTS[0]}; {todo}")
