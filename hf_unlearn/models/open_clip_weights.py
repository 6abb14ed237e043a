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
RULES = [  # what open_clip calls it, what transformers does
    (r"visual\.class_embedding", "vision_model.embeddings.class_embedding"),
    (r"visual\.conv1\.weight", "vision_model.embeddings.patch_embedding.weight"),
    (r"visual\.positional_embedding", "vision_model.embeddings.position_embedding.weight"),
    (r"visual\.ln_pre\.(\w+)", r"vision_model.pre_layrnorm.\1"),
    (r"visual\.ln_post\.(\w+)", r"vision_model.post_layernorm.\1"),
    (r"visual\.proj", "visual_projection.weight"),
    (r"visual\.transformer\.resblocks\.(\d+\..+)", r"vision_model.encoder.layers.\1"),
    (r"visual\.trunk\.pos_embed", "vision_model.embeddings.position_embedding.weight"),
    (r"visual\.trunk\.patch_embed\.proj\.(\w+)", r"vision_model.embeddings.patch_embedding.\1"),
    (r"visual\.trunk\.blocks\.(\d+\..+)", r"vision_model.encoder.layers.\1"),
    (r"visual\.trunk\.norm\.(\w+)", r"vision_model.post_layernorm.\1"),
    (r"visual\.trunk\.attn_pool\.latent", "vision_model.head.probe"),
    (r"visual\.trunk\.attn_pool\.in_proj_(\w+)", r"vision_model.head.attention.in_proj_\1"),
    (r"visual\.trunk\.attn_pool\.proj\.(\w+)", r"vision_model.head.attention.out_proj.\1"),
    (r"visual\.trunk\.attn_pool\.norm\.(\w+)", r"vision_model.head.layernorm.\1"),
    (r"visual\.trunk\.attn_pool\.mlp\.(.+)", r"vision_model.head.mlp.\1"),
    (r"(?:text\.)?token_embedding\.weight", "text_model.embeddings.token_embedding.weight"),
    (r"(?:text\.)?positional_embedding", "text_model.embeddings.position_embedding.weight"),
    (r"(?:text\.)?ln_final\.(\w+)", r"text_model.final_layer_norm.\1"),
    (r"(?:text\.)?text_projection", "text_projection.weight"),
    (r"(?:text\.)?text_projection\.(\w+)", r"text_model.head.\1"),
    (r"(?:text\.)?transformer\.resblocks\.(\d+\..+)", r"text_model.encoder.layers.\1"),
    (r"(logit_scale|logit_bias)", r"\1"),
]
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
    new = next((found.expand(to) for rule, to in RULES if (found := re.fullmatch(rule, key))), None)
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
    if key.endswith("trunk.pos_embed"):
        return [(new, value.flatten(0, -2))]
    if key.startswith("logit_"):
        return [(new, value.reshape(()))] if value.numel() == 1 else [(new, value)]
    return [(new, value)]
