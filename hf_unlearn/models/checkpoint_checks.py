"""What a checkpoint must have: every weight, finite, and the files of its tokenizer and image processor.

transformers fills what is missing with random weights or an empty tokenizer, and only warns.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from hf_unlearn.errors import StorageError
from hf_unlearn.text import brief

POINTER = b"version https://git-lfs.github.com/spec/"
LARGEST_POINTER = 1_024  # bytes; the format's limit
TOKENIZER, IMAGE_PROCESSOR = "tokenizer", "image processor"
ONE_OF = {  # part of a checkpoint -> sets of files, any of which will do
    TOKENIZER: (
        ("tokenizer.json",), ("vocab.json", "merges.txt"), ("vocab.txt",), ("spiece.model",),
        ("sentencepiece.bpe.model",), ("tokenizer.model",),
    ),
    IMAGE_PROCESSOR: (("preprocessor_config.json",), ("processor_config.json",)),
}  # fmt: skip
USUAL = {TOKENIZER: "tokenizer.json, or vocab.json and merges.txt", IMAGE_PROCESSOR: "preprocessor_config.json"}
OTHER_WEIGHTS = (".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx", ".gguf")
LORA = re.compile(r"(^|[._])(lora|loha|lokr|dora)_")
UNMERGED = "adapter_config.json"  # peft's
MERGE = "merge it into the base with peft (merge_and_unload) and save that"
OF_A_LAYER = re.compile(r"\.layers?\.\d+\.")
NESTED = re.compile(r"^(base_model|model|module|clip|backbone)\.")


def check_weights(name: str, model: Any, report: Mapping[str, Any]) -> None:
    """Refuses weights that are not all there, hold more than the model computes with, or are not finite.

    Args:
        name: of the checkpoint, for messages.
        model: as transformers loaded it.
        report: transformers' `output_loading_info`.

    Raises:
        StorageError: if a tensor is missing, unused in a layer, part of an unmerged LoRA, or not finite.
    """
    missing, unused = (sorted(report[key]) for key in ("missing_keys", "unexpected_keys"))
    if lora := [key for key in unused if LORA.search(key)]:
        raise StorageError(f"{name}: its weights hold an unmerged LoRA ({brief(lora[0])}); {MERGE}")
    if missing:
        nested = next((found[0] for key in unused if (found := NESTED.match(key))), "")
        hint = f"; its names begin with {brief(nested)}, so remove that" if nested else ""
        raise StorageError(
            f"{name}: its weights lack {len(missing)} tensors, {brief(missing[0])} among them{hint}; get a "
            "whole checkpoint, with the names that transformers gives"
        )
    if extra := [key for key in unused if OF_A_LAYER.search(key)]:
        raise StorageError(
            f"{name}: its weights hold {len(extra)} tensors of layers that its config does not have, {brief(extra[0])} "
            "among them; get config.json and weights of one checkpoint"
        )
    if odd := _not_finite(model):
        raise StorageError(
            f"{name}: its weight {brief(odd)} is not finite (NaN or infinity) in {str(model.dtype)[6:]}; get the "
            "weights again, or load them in float32"
        )
    if not model.logit_scale.exp().isfinite().all():
        raise StorageError(
            f"{name}: its logit_scale is {model.logit_scale.item():.3g}, whose exponential is not finite; get the "
            "weights again"
        )


@torch.no_grad()
def _not_finite(model: torch.nn.Module) -> str | None:
    """The first tensor with NaN or infinity. Sums are read from memory once, at a tenth of the time of `isfinite`."""
    tensors = {key: value for key, value in model.state_dict().items() if value.is_floating_point()}
    if torch.stack([value.sum(dtype=torch.float32) for value in tensors.values()]).isfinite().all():
        return None
    return next((key for key, value in tensors.items() if not value.isfinite().all()), None)


def check_files(name: str, files: Iterable[str]) -> None:
    """Refuses a checkpoint without the files of a tokenizer or of an image processor.

    Args:
        name: of the checkpoint, for messages.
        files: names of the files that it has.

    Raises:
        StorageError: if they are missing; it names them. Also if there is an unmerged adapter of peft.
    """
    there = set(files)
    if UNMERGED in there:
        raise StorageError(f"{name}: it holds an unmerged adapter of peft ({UNMERGED}); {MERGE}")
    for what, sets in ONE_OF.items():
        if not any(there.issuperset(one) for one in sets):
            raise lacks(name, what)


def lacks(name: str, what: str) -> StorageError:
    """The refusal of a checkpoint without a part, `TOKENIZER` or `IMAGE_PROCESSOR`."""
    return StorageError(
        f"{name}: it lacks the files of its {what} ({USUAL[what]}); get the whole checkpoint, or save the processor of "
        "its base beside it"
    )


def check_safetensors(name: str, files: Iterable[str]) -> None:
    """Refuses a checkpoint whose weights are in no safetensors file.

    Raises:
        StorageError: if so; it says what there is, and what to do.
    """
    names = sorted(files)
    if any(file.endswith((".safetensors", ".safetensors.index.json")) for file in names):
        return
    other = next((file for file in names if file.endswith(OTHER_WEIGHTS)), None)
    raise StorageError(
        f"{name}: it has no weights in safetensors, which alone are read"
        + (
            f"; {other} may run code when it is loaded: convert it where you trust it, with from_pretrained and "
            "save_pretrained of transformers"
            if other
            else "; get the whole checkpoint"
        )
    )


def check_pointers(name: str, folder: Path) -> None:
    """Refuses files of Git LFS that hold the place of others, as a clone without `git lfs` leaves them.

    Raises:
        StorageError: if there is one; it names it.
    """
    for path in sorted(folder.iterdir()):
        if _is_pointer(path):
            raise StorageError(
                f"{name}: {path.name} is a Git LFS pointer in place of the file; run `git lfs pull` there, or get it "
                "with `hf download`"
            )


def _is_pointer(path: Path) -> bool:
    try:
        return path.is_file() and path.stat().st_size <= LARGEST_POINTER and path.read_bytes().startswith(POINTER)
    except OSError:  # transformers says why a file that it needs can't be read
        return False
