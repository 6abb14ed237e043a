"""Makes tests/fixtures/open_clip: tiny random models of open_clip, and the features that open_clip computes with them.

Run in a separate environment, since open_clip needs torchvision:

    pip install open_clip_torch && python benchmarks/make_open_clip_fixtures.py

Every folder holds `open_clip_config.json`, `open_clip_model.safetensors` as `save_for_hf` of open_clip writes them, and
`expected.safetensors`: pixels `(2, 3, 24, 24)`, token ids `(2, positions)`, both features, and the logits. The folder
`inputs` holds images with the pixels, and texts with the token ids, that open_clip makes of them under several configs.
"""

from __future__ import annotations

import gzip
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import open_clip
import timm
import torch
from open_clip.model import CLIP, CustomTextCLIP
from open_clip.tokenizer import default_bpe
from PIL import Image
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import CLIPTokenizer, PreTrainedTokenizerFast

OUT = Path(__file__).parents[1] / "tests" / "fixtures" / "open_clip"
VERSIONS = f"open_clip {open_clip.__version__}, timm {timm.__version__}, torch {torch.__version__}"
VISION = {"image_size": 24, "patch_size": 8, "layers": 2, "width": 24, "head_width": 8}
TEXT = {"context_length": 32, "vocab_size": 514, "width": 24, "heads": 4, "layers": 2}
CLIPS: dict[str, dict[str, Any]] = {
    "clip": {"embed_dim": 24, "vision_cfg": VISION, "text_cfg": TEXT},
    "clip-quickgelu": {"embed_dim": 24, "quick_gelu": True, "vision_cfg": VISION, "text_cfg": TEXT},
    "clip-shapes": {  # as ViT-bigG-14: other ratios; other heads, options and a custom text tower
        "embed_dim": 20,
        "custom_text": True,
        "vision_cfg": {**VISION, "width": 36, "head_width": 12, "mlp_ratio": 4.9231, "patch_size": 7, "layers": 1,
                       "norm_kwargs": {"eps": 1e-6}, "act_kwargs": {"approximate": "tanh"},
                       "final_ln_after_pool": True},
        "text_cfg": {**TEXT, "heads": 2, "mlp_ratio": 2.0, "layers": 3, "pool_type": "eos", "eos_id": 513},
    },
}  # fmt: skip
SIGLIP_TEXT = {**TEXT, "vocab_size": 514, "no_causal_mask": True, "proj_bias": True, "pool_type": "last",
               "mlp_ratio": 3.7362, "norm_kwargs": {"eps": 1e-6}, "tokenizer_kwargs": {"clean": "canonicalize"},
               "hf_tokenizer_name": "timm/ViT-B-16-SigLIP"}  # fmt: skip
SIGLIPS = {  # name -> timm's tower, here narrow; its activation; options of the text tower
    "siglip": ("vit_base_patch16_siglip_224", None, {}),
    "siglip-tanh": ("vit_so400m_patch16_siglip_256", "gelu_tanh", {"act_kwargs": {"approximate": "tanh"}}),
}
INPUTS = OUT / "inputs"
SIZES = {"wide": (60, 36), "tall": (29, 50), "odd": (61, 37)}  # of images, width and height
PREPARED: dict[str, dict[str, Any]] = {  # how images are prepared
    "usual": {},
    "bilinear": {"interpolation": "bilinear", "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4]},
    "squash": {"resize_mode": "squash", "mean": [0.5] * 3, "std": [0.5] * 3},
    "squash-bilinear": {"resize_mode": "squash", "interpolation": "bilinear", "mean": 0.5, "std": 0.25},
    "training": {"interpolation": "random", "size": 99, "mean": None, "fill_color": 7},
}
MERGES = 300  # the first of CLIP's
WORDS = ["a", "photo", "of", "the", "cat", "dog", "red", "men's", "shoes", "cafe", "full", "width", "&"]
READ: dict[str, dict[str, Any]] = {  # how texts are read; with a named tokenizer as SigLIP's, else CLIP's
    "clip": {},
    "clip-canonicalize": {"tokenizer_kwargs": {"clean": "canonicalize"}},
    "siglip": {"hf_tokenizer_name": "x", "tokenizer_kwargs": {"clean": "canonicalize"}},
    "siglip-plain": {"hf_tokenizer_name": "x"},
    "siglip-lower": {"hf_tokenizer_name": "x", "tokenizer_kwargs": {"clean": "lower"}},
}
TEXTS = [
    "a photo of a cat.", "A  Photo_of, (a) CAT!", "men\u2019s shoes", "\u201cfull\u201d \u2018width\u2019",
    "na\u00efve", "nai\u0308ve", "don't", "3 dogs, 12 cats", "\u65e5\u672c", "", " ", "tab\tand\nline", "cat &amp; dog",
    "&lt;red&gt;", "no\u00a0break", "the dog\u2026",
]  # fmt: skip


def main() -> None:
    _make_models()
    _make_inputs()


def _make_models() -> None:
    for name, config in CLIPS.items():
        kind = CustomTextCLIP if config.get("custom_text") else CLIP
        _save(name, config, kind)
    for name, (tower, activation, options) in SIGLIPS.items():
        heads = 12 if "base" in tower else 16
        timm.models._registry._model_entrypoints[tower] = partial(_narrow, heads, activation)
        vision = {"image_size": 24, "timm_model_name": tower, "timm_model_pretrained": False, "timm_pool": "map",
                  "timm_proj": "none"}  # fmt: skip
        config = {"embed_dim": 2 * heads, "init_logit_bias": -10, "custom_text": True, "vision_cfg": vision,
                  "text_cfg": {**SIGLIP_TEXT, **options}}  # fmt: skip
        _save(name, config, CustomTextCLIP, mean=(0.5,) * 3, std=(0.5,) * 3, resize_mode="squash")


def _narrow(heads: int, activation: str | None, pretrained: bool = False, **options: Any) -> VisionTransformer:
    """timm's SigLIP tower with two layers, and two channels per head."""
    options = {key: options[key] for key in ("num_classes", "global_pool") if key in options}
    return VisionTransformer(
        **{"img_size": 24, "patch_size": 8, "embed_dim": 2 * heads, "depth": 2, "num_heads": heads, "mlp_ratio": 3.7362,
           "class_token": False, "global_pool": "map", "act_layer": activation, **options}
    )  # fmt: skip


@torch.no_grad()
def _save(name: str, config: dict[str, Any], kind: Any, **preprocessing: Any) -> None:
    torch.manual_seed(sum(name.encode()))
    options = {key: value for key, value in config.items() if key != "custom_text"}
    model = kind(**options).eval()
    for parameter in model.parameters():  # no zeros, no ones
        parameter.add_(torch.randn_like(parameter) * 0.1)
    model.half().float()  # stored in half precision
    folder = OUT / name
    folder.mkdir(parents=True, exist_ok=True)
    save_file({key: value.half().contiguous() for key, value in model.state_dict().items()},
              folder / "open_clip_model.safetensors")  # fmt: skip
    whole = {"model_cfg": config, "preprocess_cfg": {"mean": [0.4] * 3, "std": [0.3] * 3, **preprocessing}}
    (folder / "open_clip_config.json").write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8", newline="\n")
    text = torch.randint(1, 500, (2, 32))
    text[0, 5:], text[1, 11:] = 0, 0
    text[0, 5], text[1, 11] = 513, 513  # EOS
    pixels = torch.randn(2, 3, 24, 24)
    found = {"pixels": pixels, "text": text, "image_features": model.encode_image(pixels),
             "text_features": model.encode_text(text)}  # fmt: skip
    logits, _ = model.get_logits(pixels, text)
    save_file({**found, "logits": logits}, folder / "expected.safetensors", {"made with": VERSIONS})


def _make_inputs() -> None:
    """What open_clip makes of images and of texts, with one of the models above under other configs."""
    shutil.rmtree(INPUTS, ignore_errors=True)
    _tokenizer_of_clip().save_pretrained(INPUTS / "clip")
    _tokenizer_of_siglip().save_pretrained(INPUTS / "siglip")
    images = {name: torch.randint(0, 256, (height, width, 3), generator=torch.Generator().manual_seed(width),
                                  dtype=torch.uint8) for name, (width, height) in SIZES.items()}  # fmt: skip
    tensors = dict(images)
    for way, preprocessing in PREPARED.items():
        with _changed({"preprocess_cfg": preprocessing}) as folder:
            _, _, prepare = open_clip.create_model_and_transforms(f"local-dir:{folder}")
            for name in images if way == "usual" else ("wide", "tall"):
                tensors[f"{way}/{name}"] = prepare(Image.fromarray(images[name].numpy()))
    save_file(tensors, INPUTS / "pixels.safetensors", {"made with": VERSIONS})
    ids = {name: dict(zip(TEXTS, _ids(options), strict=True)) for name, options in READ.items()}
    content = {"made with": VERSIONS, "prepared": PREPARED, "read": READ, "ids": ids}
    (INPUTS / "inputs.json").write_text(json.dumps(content) + "\n", encoding="utf-8", newline="\n")


@contextmanager
def _changed(content: dict[str, Any]) -> Iterator[Path]:
    """A copy of the first model with other parts of its config."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(shutil.copytree(OUT / "clip", Path(scratch) / "clip"))
        path = folder / "open_clip_config.json"
        path.write_bytes(json.dumps(json.loads(path.read_bytes()) | content).encode())
        yield folder


def _ids(options: dict[str, Any]) -> list[list[int]]:
    """Token ids of all texts, padded, by the tokenizer that open_clip makes for a config."""
    text = {**TEXT, **options}
    with _changed({"model_cfg": {**CLIPS["clip"], "text_cfg": text}}) as folder:
        if options.get("hf_tokenizer_name"):
            shutil.copytree(INPUTS / "siglip", folder, dirs_exist_ok=True)
            reader = open_clip.get_tokenizer(f"local-dir:{folder}")
        else:
            few = folder / "merges.gz"
            few.write_bytes(gzip.compress("\n".join(["", *_merges()]).encode()))
            reader = open_clip.get_tokenizer(f"local-dir:{folder}", bpe_path=str(few))
        return [row.tolist() for row in reader(TEXTS)]


def _merges() -> list[str]:
    return gzip.decompress(Path(default_bpe()).read_bytes()).decode("utf-8").split("\n")[1 : MERGES + 1]


def _tokenizer_of_clip() -> Any:
    """CLIP's, with the first of its merges, in transformers' words."""
    merges = [tuple(line.split()) for line in _merges()]
    letters = list(open_clip.tokenizer.bytes_to_unicode().values())
    pieces = [*letters, *(letter + "</w>" for letter in letters), *map("".join, merges)]
    vocabulary = {piece: number for number, piece in enumerate([*pieces, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77)


def _tokenizer_of_siglip() -> Any:
    """Words and letters after a mark for spaces, as T5 has them; EOS is the padding too."""
    letters = sorted({letter for text in TEXTS for letter in text if letter.isascii()} - {" ", "\t", "\n"})
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -10.0), *((f"\u2581{word}", -2.0) for word in WORDS)]
    backend = Tokenizer(models.Unigram([*pieces, ("\u2581", -3.0), *((one, -6.0) for one in letters)], unk_id=2))
    backend.normalizer = normalizers.NFKC()
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    backend.post_processor = processors.TemplateProcessing(single=["$A", "</s>"], special_tokens=[("</s>", 1)])
    roles = {"eos_token": "</s>", "pad_token": "</s>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=64, **roles)


if __name__ == "__main__":
    main()
