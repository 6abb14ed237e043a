"""How an open_clip model reads texts and images, as a tokenizer and an image processor of transformers.

Source: `get_tokenizer`, `SimpleTokenizer`, `HFTokenizer` and `image_transform` of open_clip 3.3.
"""

from __future__ import annotations

import math
import string
from typing import Any

from hf_unlearn.errors import InputError
from hf_unlearn.models.open_clip_config import MEAN, STD
from hf_unlearn.text import brief

RESAMPLE = {"bicubic": 3, "random": 3, "bilinear": 2}  # of PIL; random is for training
CLEANED = [  # what open_clip replaces in every text by ftfy and by `html.unescape`
    ("[\u02bc\u2018-\u201b]", "'"), ("[\u201c-\u201f]", '"'),
    ("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&#39;", "'"), ("&amp;", "&"),
]  # fmt: skip
ROLES = ("bos_token", "eos_token", "pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
PUNCTUATION = "[" + "".join(f"\\{sign}" for sign in string.punctuation) + "]"


def image_processor(name: str, config: Any, preprocessing: dict[str, Any]) -> Any:
    """The image processor of transformers that gives the pixels of open_clip.

    Where the crop leaves an odd number of pixels, it may be one pixel aside from open_clip's.

    Args:
        name: of the checkpoint, for messages.
        config: transformers'; its image size counts, as in open_clip, whatever `preprocessing` says.
        preprocessing: `preprocess_cfg` of open_clip's config.

    Raises:
        InputError: if no image processor of transformers does what it says.
    """
    import transformers as t

    given = {key: value for key, value in preprocessing.items() if value is not None}
    mode, kind = given.get("resize_mode") or "shortest", given.get("interpolation") or "bicubic"
    mean, std = (_of_channels(given.get(key) or usual) for key, usual in (("mean", MEAN), ("std", STD)))
    known = mode in ("shortest", "squash") and kind in RESAMPLE and given.get("mode", "RGB") == "RGB"
    if not known or mean is None or std is None or 0.0 in std:
        raise InputError(
            f"{name}: an open_clip model whose images are prepared in a way that no image processor here knows, "
            f"{brief(given)}; expected RGB, resize_mode shortest or squash, interpolation bicubic or bilinear, three "
            "means and three std"
        )
    size = config.vision_config.image_size
    square = {"height": size, "width": size}
    options: dict[str, Any] = {"resample": RESAMPLE[kind], "image_mean": mean, "image_std": std}
    if mode == "shortest":
        return t.CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size=square, **options)
    if config.model_type == "siglip":
        return t.SiglipImageProcessorPil(size=square, **options)
    return t.CLIPImageProcessorPil(size=square, do_center_crop=False, **options)


def _of_channels(given: Any) -> list[float] | None:
    """One number for each channel; None for anything else."""
    values = list(given) if isinstance(given, list | tuple) else [given] * 3
    numbers = [float(value) for value in values if isinstance(value, int | float) and math.isfinite(value)]
    return numbers if len(numbers) == len(values) == 3 else None


def read_tokenizer(name: str, config: Any, stored: Any, text: dict[str, Any]) -> Any:
    """A tokenizer that cleans texts as open_clip does; the config gets the ids of its special tokens.

    Letters that were decoded wrongly, ligatures, wide forms of letters and rare entities of HTML stay as they are.

    Args:
        name: of the checkpoint, for messages.
        config: transformers', changed in place.
        stored: the tokenizer in the checkpoint's files, of transformers.
        text: `text_cfg` of open_clip's config.

    Raises:
        InputError: if it says to read texts in a way that is not known, or the text tower pools elsewhere.
    """
    from tokenizers import Regex, normalizers
    from transformers import PreTrainedTokenizerFast

    backend = stored.backend_tokenizer
    before = [] if backend.normalizer is None else [backend.normalizer]
    replaced = [normalizers.Replace(Regex(pattern), new) for pattern, new in CLEANED]
    backend.normalizer = normalizers.Sequence([*replaced, *_cleaning(name, text), *before])
    roles = {role: getattr(stored, role) for role in ROLES}
    kept = {"model_max_length": stored.model_max_length, "padding_side": stored.padding_side}
    made = PreTrainedTokenizerFast(tokenizer_object=backend, **roles, **kept)  # CLIPTokenizer drops its normalizer
    if text.get("no_causal_mask"):
        made.model_input_names = ["input_ids"]  # padding is attended to
    else:
        _check_pooling(name, made, text)
    for role in ("bos_token_id", "eos_token_id", "pad_token_id"):
        setattr(config.text_config, role, getattr(made, role))
    return made


def _cleaning(name: str, text: dict[str, Any]) -> list[Any]:
    """What happens to a text before the tokenizer of a repository reads it; CLIP's own does all of it by itself."""
    from tokenizers import Regex, normalizers

    own = not text.get("hf_tokenizer_name")
    options = {key: value for key, value in (text.get("tokenizer_kwargs") or {}).items() if value not in (None, False)}
    clean = options.pop("clean", "lower" if own else "whitespace")
    if options or clean not in (("lower", "canonicalize") if own else ("lower", "whitespace", "canonicalize")):
        raise InputError(f"{name}: an open_clip model whose tokenizer has unknown options, {brief(text)}")
    steps: list[Any] = []
    if clean == "canonicalize":
        steps = [normalizers.Replace("_", " "), normalizers.Replace(Regex(PUNCTUATION), "")]
    if clean != "whitespace":
        steps.append(normalizers.Lowercase())
    return [*steps, normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]


def _check_pooling(name: str, tokenizer: Any, text: dict[str, Any]) -> None:
    """Refuses a tokenizer that ends a text with another token than the one at which the text tower pools."""
    end = tokenizer.eos_token_id
    pooled = text.get("eos_id", 2) if text.get("pool_type") == "eos" else max(tokenizer.get_vocab().values())
    if end != pooled:
        raise InputError(
            f"{name}: an open_clip model that pools at token {pooled}, and its tokenizer ends a text with {end}; "
            "tokenizer and weights are of different models: get both again"
        )
