"""Weights with open_clip's names under those of transformers' `CLIPModel` and `SiglipModel`; each is used once.

Source: `VisionTransformer` and `TextTransformer` of open_clip 3.3, timm's `VisionTransformer`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from hf_unlearn.errors import StorageError
from hf_unlearn.text import brief

IGNORED = re.compile(r"(text\.)?attn_mask$")  # a constant
POOL = "visual.trunk.attn_pool."
VISION, TEXT = "vision_model.", "text_model."
NAMES = {  # what open_clip calls a tensor or a module, without "text." before it -> what transformers does
    "logit_scale": "logit_scale",
    "logit_bias": "logit_bias",
    "visual.class_embedding": VISION + "embeddings.class_embedding",
    "visual.conv1": VISION + "embeddings.patch_embedding",
    "visual.positional_embedding": VISION + "embeddings.position_embedding.weight",
    "visual.ln_pre": VISION + "pre_layrnorm",
    "visual.transformer.resblocks": VISION + "encoder.layers",
    "visual.ln_post": VISION + "post_layernorm",
    "visual.proj": "visual_projection.weight",
    "visual.trunk.patch_embed.proj": VISION + "embeddings.patch_embedding",
    "visual.trunk.pos_embed": VISION + "embeddings.position_embedding.weight",
    "visual.trunk.blocks": VISION + "encoder.layers",
    "visual.trunk.norm": VISION + "post_layernorm",
    POOL + "latent": VISION + "head.probe",
    POOL + "in_proj_weight": VISION + "head.attention.in_proj_weight",
    POOL + "in_proj_bias": VISION + "head.attention.in_proj_bias",
    POOL + "proj": VISION + "head.attention.out_proj",
    POOL + "norm": VISION + "head.layernorm",
    POOL + "mlp": VISION + "head.mlp",
    "token_embedding": TEXT + "embeddings.token_embedding",
    "positional_embedding": TEXT + "embeddings.position_embedding.weight",
    "transformer.resblocks": TEXT + "encoder.layers",
    "ln_final": TEXT + "final_layer_norm",
    "text_projection": "text_projection.weight",
    "text_projection.weight": TEXT + "head.weight",
    "text_projection.bias": TEXT + "head.bias",
}
IN_LAYERS = [
    (r"\.ln_([12])\.", r".layer_norm\1."), (r"\.norm([12])\.", r".layer_norm\1."), (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."), (r"\.attn\.(?:out_)?proj\.", ".self_attn.out_proj."),
]  # fmt: skip
ATTENTION = re.compile(r"(.+)\.attn\.(?:in_proj_|qkv\.)(weight|bias)")  # queries, keys and values in one


def convert(name: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights under transformers' names, in transformers' layout.

    Args:
        name: of the checkpoint, for messages.
        weights: by open_clip's names.

    Raises:
        StorageError: if a tensor is unknown, or two are one of transformers.
    """
    made: dict[str, Tensor] = {}
    for key, value in _with_whole_pool(weights).items():
        for new, part in _renamed(name, key, value):
            if new in made:
                raise StorageError(f"{name}: its weights hold {brief(key)} twice; get the weights again")
            made[new] = part.contiguous()
    return made


def _with_whole_pool(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The queries of the attention pooling joined with keys and values, as transformers has them."""
    found = {key: value for key, value in weights.items() if not IGNORED.match(key)}
    for kind in ("weight", "bias"):
        parts = [f"{POOL}{part}.{kind}" for part in ("q", "kv")]
        if found.keys() >= {*parts}:
            found[f"{POOL}in_proj_{kind}"] = torch.cat([found.pop(part) for part in parts])
    return found


def _renamed(name: str, key: str, value: Tensor) -> list[tuple[str, Tensor]]:
    new = _new_name(key.removeprefix("text."))
    if new is None:
        raise StorageError(
            f"{name}: its weights hold {brief(key)}, which neither a ViT nor the built-in text tower of open_clip has; "
            "get config and weights of one checkpoint"
        )
    if (joined := ATTENTION.fullmatch(new)) and value.ndim and value.shape[0] % 3 == 0:
        parts = zip("qkv", value.chunk(3), strict=True)
        return [(f"{joined[1]}.self_attn.{letter}_proj.{joined[2]}", part) for letter, part in parts]
    for rule, to in IN_LAYERS if ".layers." in new else ():
        new = re.sub(rule, to, new)
    if new in ("visual_projection.weight", "text_projection.weight"):
        return [(new, value.T)]
    return [(new, value.flatten(0, -2) if key.endswith("trunk.pos_embed") else value)]


def _new_name(key: str) -> str | None:
    """The name of a tensor, or of its module with the rest behind it; None for what neither model has."""
    if key in NAMES:
        return NAMES[key]
    module = next((module for module in NAMES if key.startswith(f"{module}.")), None)
    return None if module is None else NAMES[module] + key.removeprefix(module)
