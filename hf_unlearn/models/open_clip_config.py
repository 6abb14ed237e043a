"""open_clip's config file as a config of transformers; a part that transformers can't compute is refused by name.

Source: `CLIPVisionCfg`, `CLIPTextCfg` and `PreprocessCfg` of open_clip 3.3. Every key that is read, or that changes
nothing at inference, is listed here; any other is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hf_unlearn.errors import InputError, StorageError
from hf_unlearn.models.prompts import TRAINED_LENGTH
from hf_unlearn.text import brief

OPEN_CLIP_CONFIG = "open_clip_config.json"
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # OpenAI's, the default
TANH = "gelu_pytorch_tanh"
SIGLIP_TOWERS = {  # timm's name -> heads, activation; widths and layers are those of the weights
    **{f"vit_base_patch16_siglip_{size}": (12, "gelu") for size in (224, 256, 384, 512)},
    **{f"vit_large_patch16_siglip_{size}": (16, "gelu") for size in (256, 384)},
    **{f"vit_so400m_patch14_siglip_{size}": (16, "gelu") for size in (224, 378, 384)},
    **{f"vit_so400m_patch16_siglip_{size}": (16, TANH) for size in (256, 384, 512)},
    **{f"vit_giantopt_patch16_siglip_{size}": (16, TANH) for size in (256, 384)},
    "vit_base_patch32_siglip_256": (12, TANH),
    "vit_large_patch16_siglip_512": (16, TANH),
}
TRAINING = {"init_logit_scale", "nonscalar_logit_scale", "custom_text", "output_tokens", "patch_dropout", "pad_id"}
TRAINING |= {"timm_model_pretrained", "timm_drop", "timm_drop_path", "hf_model_pretrained", "hf_tokenizer_name"}
UNUSED = {"attn_pooler_queries", "attn_pooler_heads", "timm_proj_bias", "hf_proj_type"}
UNUSED |= {"hf_pooler_type", "pos_embed_type", "eos_id"}
SIZES = {"layers", "width", "head_width", "heads", "mlp_ratio", "patch_size", "image_size", "context_length"}
READ = SIZES | {"vocab_size", "act_kwargs", "norm_kwargs", "tokenizer_kwargs", "quick_gelu", "embed_dim"}
NEUTRAL: dict[str, tuple[Any, ...]] = {  # key -> values that leave the tower as transformers has it
    "ls_init_value": (None,), "attentional_pool": (False,), "no_ln_pre": (False,), "embed_cls": (False,),
    "block_type": (None, "default"), "proj_type": ("linear",), "hf_model_name": (None,), "timm_model_name": (None,),
    "final_ln_after_pool": (False,), "use_pad_mask": (False,), "text_mask": (None, "first"),
    **{key: (False,) for key in ("qk_norm", "scaled_cosine_attn", "scale_heads", "scale_attn_inner", "scale_attn")},
    "scale_fc": (False,), "tokenizer_mode": (None, ""),
}  # fmt: skip
PARTS = {  # key -> the part of the model, for messages
    "ls_init_value": "LayerScale", "attentional_pool": "attentional pooling",
    "hf_model_name": "Hugging Face text tower", "timm_model_name": "timm image tower",
    "embed_cls": "class token of CoCa's text tower", "pool_type": "pooling",
    "multimodal_cfg": "CoCa decoder", "init_logit_bias": "logit bias", "proj_bias": "bias of the text projection",
    "no_causal_mask": "text tower without causal mask", "text_mask": "text mask",
    "tokenizer_mode": "special reading of texts",
}  # fmt: skip


def read_config(name: str, content: Any) -> Any:
    """The `CLIPConfig` or `SiglipConfig` that computes the same; SigLIP's image tower gets its sizes from `sized`.

    Args:
        name: of the checkpoint, for messages.
        content: of `open_clip_config.json`.

    Raises:
        InputError: if the config can't be converted; the message names the part.
    """
    from transformers import CLIPConfig, SiglipConfig

    try:
        model = dict(content["model_cfg"])
        vision, text = dict(model.pop("vision_cfg")), dict(model.pop("text_cfg"))
        if text.get("hf_model_name"):  # it decides most other keys
            _check(name, "text tower", {"hf_model_name": text["hf_model_name"]}, {})
        is_siglip = vision.get("timm_model_name") in SIGLIP_TOWERS
        _check(name, "model", model, {"init_logit_bias": (None,)} if not is_siglip else {"init_logit_bias": ANY})
        tower = _siglip_image if is_siglip else _clip_image
        config: Any = SiglipConfig if is_siglip else CLIPConfig
        towers = {
            "text_config": _text(name, model, text, is_siglip),
            "vision_config": tower(name, model, vision),
        }
        return config(**towers) if is_siglip else config(**towers, projection_dim=int(model["embed_dim"]))
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        why = f"{type(error).__name__}: {brief(str(error))}"
        raise InputError(f"{name}: its {OPEN_CLIP_CONFIG} describes no CLIP ({why}); get it again") from error


def sized(name: str, config: Any, shapes: Mapping[str, tuple[int, ...]]) -> Any:
    """The config with what timm's name of an image tower does not say: its layers, their width, and its patches.

    The numbers of layers are compared first: a config that asks for many would keep transformers busy for long.

    Args:
        name: of the checkpoint, for messages.
        config: what `read_config` gave.
        shapes: of the tensors in the weights, by open_clip's names.

    Raises:
        StorageError: if the weights hold no such tower, or one of another width or with other layers.
    """
    _check_layers(name, "text", config.text_config.num_hidden_layers, shapes, r"(?:text\.)?transformer\.resblocks")
    if config.model_type != "siglip":
        layers = config.vision_config.num_hidden_layers
        _check_layers(name, "image", layers, shapes, r"visual\.transformer\.resblocks")
        return config
    try:
        width, _, patch, _ = shapes["visual.trunk.patch_embed.proj.weight"]
        inner = shapes["visual.trunk.blocks.0.mlp.fc1.weight"][0]
    except (KeyError, ValueError, IndexError) as error:
        raise StorageError(f"{name}: its weights hold no image tower of timm's SigLIP; get them again") from error
    tower = config.vision_config
    if width != tower.hidden_size:
        raise StorageError(f"{name}: its weights are {width} wide, its config says {tower.hidden_size}; get both again")
    tower.patch_size, tower.intermediate_size = patch, inner
    tower.num_hidden_layers = sum(key.endswith(".attn.qkv.weight") for key in shapes)
    return config


def _check_layers(name: str, tower: str, asked: int, shapes: Mapping[str, Any], pattern: str) -> None:
    there = {found[1] for key in shapes if (found := re.match(rf"{pattern}\.(\d+)\.", key))}
    if len(there) != asked:
        raise StorageError(
            f"{name}: its weights hold {len(there)} layers of the {tower} tower, its config says {brief(asked)}; get "
            "both of one checkpoint"
        )


class _Any(tuple[Any, ...]):
    def __contains__(self, value: object) -> bool:
        return True


ANY = _Any()


def _check(name: str, where: str, given: Mapping[str, Any], allowed: Mapping[str, tuple[Any, ...]]) -> None:
    """Refuses what is not known to compute the same in transformers."""
    for key, value in given.items():
        if key in allowed or key in NEUTRAL:
            if value in allowed.get(key, NEUTRAL.get(key, ())):
                continue
        elif key in READ | TRAINING | UNUSED:
            continue
        part = f"{PARTS[key]} ({key}: {brief(value)})" if key in PARTS else f"{key}: {brief(value)}"
        raise InputError(
            f"{name}: an open_clip model whose {where} has what no model of transformers computes, {part}; "
            "expected a ViT with the built-in text tower, or timm's SigLIP"
        )


def _activation(name: str, quick: bool, options: Mapping[str, Any] | None) -> str:
    if not options or (options == {"approximate": "none"} and not quick):
        return "quick_gelu" if quick else "gelu"
    if options == {"approximate": "tanh"} and not quick:
        return TANH
    raise InputError(f"{name}: an open_clip model whose activation is unknown, act_kwargs: {brief(options)}")


def _epsilon(name: str, options: Mapping[str, Any] | None) -> float:
    if set(options or {}) - {"eps"}:
        raise InputError(f"{name}: an open_clip model whose layer norm is unknown, norm_kwargs: {brief(options)}")
    return float((options or {}).get("eps", 1e-5))


def _square(name: str, what: str, value: Any) -> int:
    sides = {*value} if isinstance(value, list | tuple) else {value}
    if len(sides) != 1:
        raise InputError(f"{name}: an open_clip model whose {what} is not square, {brief(value)}")
    return int(sides.pop())


def _text(name: str, model: Mapping[str, Any], text: Mapping[str, Any], is_siglip: bool) -> dict[str, Any]:
    positions = int(text.get("context_length", 77))
    if is_siglip:
        rules: dict[str, tuple[Any, ...]] = {"pool_type": ("last",), "no_causal_mask": (True,), "proj_bias": (True,)}
        for key, (value,) in rules.items():
            _check(name, "text tower", {key: text.get(key)}, {key: (value,)})
        if positions > TRAINED_LENGTH:
            raise InputError(
                f"{name}: an open_clip model whose text tower attends to padding and reads {positions} tokens; "
                f"expected at most {TRAINED_LENGTH}, as transformers pads for SigLIP"
            )
    else:
        rules = {"pool_type": ("argmax", "eos"), "no_causal_mask": (False,), "proj_bias": (False,)}
    _check(name, "text tower", text, rules)
    width = int(text.get("width", 512))
    made = {
        "hidden_size": width,
        "intermediate_size": int(width * text.get("mlp_ratio", 4.0)),
        "num_hidden_layers": int(text.get("layers", 12)),
        "num_attention_heads": int(text.get("heads", 8)),
        "max_position_embeddings": positions,
        "vocab_size": int(text.get("vocab_size", 49408)),
        "hidden_act": _activation(name, bool(model.get("quick_gelu")), text.get("act_kwargs")),
        "layer_norm_eps": _epsilon(name, text.get("norm_kwargs")),
    }
    made["projection_size" if is_siglip else "projection_dim"] = int(model["embed_dim"])
    return {**made, "bos_token_id": None, "eos_token_id": None, "pad_token_id": None}  # the tokenizer says them


def _clip_image(name: str, model: Mapping[str, Any], vision: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(vision.get("layers", 12), list | tuple):
        raise InputError(f"{name}: an open_clip model whose image tower is a ResNet; expected a ViT")
    _check(name, "image tower", vision, {"pool_type": ("tok",), "final_ln_after_pool": (True, False)})
    width = int(vision.get("width", 768))
    return {
        "hidden_size": width,
        "intermediate_size": int(width * vision.get("mlp_ratio", 4.0)),
        "num_hidden_layers": int(vision.get("layers", 12)),
        "num_attention_heads": width // int(vision.get("head_width", 64)),
        "image_size": _square(name, "image", vision.get("image_size", 224)),
        "patch_size": _square(name, "patch", vision.get("patch_size", 16)),
        "hidden_act": _activation(name, bool(model.get("quick_gelu")), vision.get("act_kwargs")),
        "layer_norm_eps": _epsilon(name, vision.get("norm_kwargs")),
        "projection_dim": int(model["embed_dim"]),
    }


def _siglip_image(name: str, model: Mapping[str, Any], vision: Mapping[str, Any]) -> dict[str, Any]:
    timm: dict[str, tuple[Any, ...]] = {"timm_pool": ("map",), "timm_proj": ("none",)}
    _check(name, "image tower", vision, timm | {"timm_model_name": tuple(SIGLIP_TOWERS)})
    for key, (value,) in timm.items():
        _check(name, "image tower", {key: vision.get(key)}, {key: (value,)})
    heads, activation = SIGLIP_TOWERS[vision["timm_model_name"]]
    return {
        "hidden_size": int(model["embed_dim"]),
        "num_attention_heads": heads,
        "image_size": _square(name, "image", vision.get("image_size", 224)),
        "hidden_act": activation,
        "layer_norm_eps": 1e-6,
    }
