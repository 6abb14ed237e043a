"""A checkpoint in open_clip's format as a model of transformers, without open_clip: config, weights, processor.

Its files are `open_clip_config.json`, weights in safetensors, and a tokenizer beside them.
"""

from __future__ import annotations

import json
import string
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hf_unlearn.errors import InputError, StorageError
from hf_unlearn.files import writing
from hf_unlearn.models.checkpoint_checks import check_safetensors, check_weights
from hf_unlearn.models.open_clip_config import MEAN, OPEN_CLIP_CONFIG, STD, read_config
from hf_unlearn.models.open_clip_weights import convert
from hf_unlearn.text import brief

WEIGHTS = ("open_clip_model.safetensors", "model.safetensors")
TOKENIZERS = (("tokenizer.json",), ("vocab.json", "merges.txt"))
RESAMPLE = {"bicubic": 3, "bilinear": 2}  # of PIL


@dataclass(frozen=True)
class OpenClip:
    """A checkpoint of open_clip whose config was read and accepted.

    Attributes:
        name: as the caller gave it.
        config: transformers', a `CLIPConfig` or a `SiglipConfig`.
        weights: the file.
        preprocessing: `preprocess_cfg` of its config.
        tokenizer: transformers'.
    """

    name: str
    config: Any
    weights: Path
    preprocessing: dict[str, Any]
    tokenizer: Any

    @classmethod
    def read(cls, name: str, file: Callable[[str], Path | None], tokenizer: Callable[[type[Any]], Any]) -> OpenClip:
        """Reads config, shapes of the weights, and tokenizer.

        Args:
            name: of the checkpoint, for messages.
            file: gives the path of one of its files, or None.
            tokenizer: loads its tokenizer with a class of transformers.

        Raises:
            InputError: if the config can't be converted.
            StorageError: if files are missing or damaged.
        """
        from safetensors import safe_open
        from transformers import AutoTokenizer, PreTrainedTokenizerFast

        content = _content(name, file(OPEN_CLIP_CONFIG))
        weights = next((path for one in WEIGHTS if (path := file(one))), None)
        if weights is None:
            check_safetensors(name, ["open_clip_pytorch_model.bin"] if file("open_clip_pytorch_model.bin") else [])
            raise AssertionError("unreachable")
        with safe_open(weights, "pt") as opened:
            shapes = {key: tuple(opened.get_slice(key).get_shape()) for key in opened.keys()}  # noqa: SIM118
        config = read_config(name, content, shapes)
        if not any(all(file(part) for part in parts) for parts in TOKENIZERS):
            raise StorageError(
                f"{name}: it lacks the files of its tokenizer (tokenizer.json); save the tokenizer that it was trained "
                "with beside it, such as that of openai/clip-vit-large-patch14"
            )
        is_siglip = config.model_type == "siglip"
        words = tokenizer(PreTrainedTokenizerFast if is_siglip else AutoTokenizer)
        text = content["model_cfg"]["text_cfg"]
        _settle_tokenizer(name, words, text)
        _settle_ids(name, config, words, text)
        return cls(name, config, weights, dict(content.get("preprocess_cfg") or {}), words)

    def load_weights(self, dtype: torch.dtype) -> Any:
        """The whole model, on the CPU.

        Raises:
            StorageError: if tensors are missing, unknown, of another shape, or not finite.
        """
        from safetensors.torch import load_file
        from transformers import CLIPModel, SiglipModel

        kind = SiglipModel if self.config.model_type == "siglip" else CLIPModel
        weights = convert(self.name, load_file(self.weights))
        with torch.device("meta"):
            expected = {key: value.shape for key, value in kind(self.config).state_dict().items()}
        for key in sorted(weights):
            if key not in expected:
                raise StorageError(f"{self.name}: its weights hold {brief(key)}, which its config does not have")
            if key.startswith("logit_"):
                weights[key] = weights[key].reshape(expected[key])
            if weights[key].shape != expected[key]:
                raise StorageError(
                    f"{self.name}: its weight {brief(key)} is {tuple(weights[key].shape)}, expected "
                    f"{tuple(expected[key])} by its config; get both of one checkpoint"
                )
        missing = {"missing_keys": sorted(expected.keys() - weights), "unexpected_keys": []}
        if missing["missing_keys"]:
            check_weights(self.name, None, missing)
        model = kind.from_pretrained(None, config=self.config, state_dict=weights, dtype=dtype)
        check_weights(self.name, model, missing)
        return model

    def load_processor(self) -> Any:
        """The tokenizer and an image processor with its size, mean and way of resizing.

        Raises:
            InputError: if no image processor of transformers does what its config says.
        """
        import transformers as t

        size = self.config.vision_config.image_size
        given = {key: value for key, value in self.preprocessing.items() if value is not None}
        mode, kind = given.get("resize_mode", "shortest"), given.get("interpolation", "bicubic")
        asked = given.get("size", size)
        known = mode in ("shortest", "squash") and kind in RESAMPLE and given.get("mode", "RGB") == "RGB"
        if not known or asked not in (size, [size, size], [size]):
            raise InputError(
                f"{self.name}: its images are prepared in a way that no image processor here knows, {brief(given)}; "
                f"expected {size} × {size} RGB, resize_mode shortest or squash, interpolation bicubic or bilinear"
            )
        options: dict[str, Any] = {
            "resample": RESAMPLE[kind],
            "image_mean": list(given.get("mean", MEAN)),
            "image_std": list(given.get("std", STD)),
        }
        square = {"height": size, "width": size}
        if self.config.model_type == "siglip" and mode == "squash":
            pixels: Any = t.SiglipImageProcessorPil(size=square, **options)
        elif mode == "squash":
            pixels = t.CLIPImageProcessorPil(size=square, do_center_crop=False, **options)
        else:
            pixels = t.CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size=square, **options)
        together = t.SiglipProcessor if self.config.model_type == "siglip" else t.CLIPProcessor
        return together(image_processor=pixels, tokenizer=self.tokenizer)

    def save(self, folder: Path, dtype: torch.dtype) -> None:
        """Writes model, tokenizer and image processor as transformers does; the folder appears whole or not at all.

        Args:
            folder: a new or empty folder.
            dtype: precision of the weights on disk.

        Raises:
            StorageError: if it can't be written, or the weights are refused.
        """
        model, processor = self.load_weights(dtype), self.load_processor()
        with writing(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=f".{folder.name[:40]}.", dir=folder.parent) as scratch:
                fresh = Path(scratch) / "checkpoint"
                model.save_pretrained(fresh)
                processor.save_pretrained(fresh)
                if folder.exists():
                    folder.rmdir()
                fresh.rename(folder)


def _content(name: str, path: Path | None) -> dict[str, Any]:
    try:
        content: Any = json.loads(path.read_bytes() if path else b"")
    except ValueError as error:
        raise StorageError(f"{name}: its {OPEN_CLIP_CONFIG} is no JSON ({error}); get it again") from error
    parts = content.get("model_cfg") if isinstance(content, dict) else None
    if not isinstance(parts, dict) or not all(isinstance(parts.get(key), dict) for key in ("text_cfg", "vision_cfg")):
        raise InputError(f"{name}: its {OPEN_CLIP_CONFIG} has no model_cfg with vision_cfg and text_cfg; get it again")
    return dict(content)


def _settle_tokenizer(name: str, tokenizer: Any, text: dict[str, Any]) -> None:
    """Has the tokenizer clean text as open_clip does before it."""
    from tokenizers import Regex, normalizers

    options = dict(text.get("tokenizer_kwargs") or {})
    clean = options.pop("clean", None)
    if options or clean not in (None, "lower", "whitespace", "canonicalize"):
        raise InputError(f"{name}: an open_clip model whose tokenizer has unknown options, {brief(text)}")
    if clean == "canonicalize":
        steps = [
            normalizers.Replace("_", " "),
            normalizers.Replace(Regex("[" + "".join(f"\\{sign}" for sign in string.punctuation) + "]"), ""),
            normalizers.Lowercase(),
            normalizers.Replace(Regex(r"\s+"), " "),
            normalizers.Strip(),
        ]
        backend = tokenizer.backend_tokenizer
        before = [] if backend.normalizer is None else [backend.normalizer]
        backend.normalizer = normalizers.Sequence([*steps, *before])
    if text.get("no_causal_mask"):
        tokenizer.model_input_names = ["input_ids"]  # padding is attended to


def _settle_ids(name: str, config: Any, tokenizer: Any, text: dict[str, Any]) -> None:
    """Gives the config the tokenizer's EOS, where the text tower pools."""
    end = tokenizer.eos_token_id
    if not text.get("no_causal_mask"):
        pooled = text.get("eos_id", 2) if text.get("pool_type") == "eos" else max(tokenizer.get_vocab().values())
        if end != pooled:
            raise InputError(
                f"{name}: an open_clip model that pools at token {pooled}, and its tokenizer ends a text with {end}; "
                "tokenizer and weights are of different models: get both again"
            )
    for role in ("bos_token_id", "eos_token_id", "pad_token_id"):
        setattr(config.text_config, role, getattr(tokenizer, role))
