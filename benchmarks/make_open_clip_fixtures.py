"""Makes tests/fixtures/open_clip: tiny random models of open_clip, and the features that open_clip computes with them.

Run in a separate environment, since open_clip needs torchvision:

    pip install open_clip_torch && python benchmarks/make_open_clip_fixtures.py

Every folder holds `open_clip_config.json`, `open_clip_model.safetensors` as `save_for_hf` of open_clip writes them, and
`expected.safetensors`: pixels `(2, 3, 24, 24)`, token ids `(2, positions)`, both features, and the logits.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import open_clip
import timm
import torch
from open_clip.model import CLIP, CustomTextCLIP
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer

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


def main() -> None:
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


if __name__ == "__main__":
    main()
