"""Text features cached on disk, so that a later edit of the same model needs no text tower.

The folder is `HF_UNLEARN_CACHE`, else one within the cache of Hugging Face. A damaged file counts as missing. An
error of the disk is ignored.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor
from torch.nn import functional as F

MOST_FILES, MOST_BYTES = 32, 2**30  # cached at a time; 12 MB each for 3,000 words and a width of 512
LEFT_SECONDS = 3_600  # no file takes so long to be written
HEADER = 65_536  # bytes a cached file may have beyond its numbers


def cache_folder() -> Path | None:
    """The folder of cached features; None for a user without a home."""
    if given := os.environ.get("HF_UNLEARN_CACHE"):
        folder = Path(given)
    elif home := os.environ.get("HF_HOME"):
        folder = Path(home, "hf_unlearn")
    else:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface", "hf_unlearn")
    try:
        return folder.expanduser() / "vocabulary"
    except RuntimeError:  # no home
        return None


def cache_key(box: Any, words: Sequence[str], templates: Sequence[str], probes: Tensor) -> str:
    """SHA-256 of everything that decides the features.

    The answers to the probes alone don't identify a model under a narrow edit: its gate is shut at the probes. So
    the digests of its adapters count too.

    Args:
        box: a black box with text features.
        probes: `(8, width)`, its text features of the eight fixed texts.
    """
    answers = [[round(value, 4) for value in row] for row in F.normalize(probes[:, :32], dim=-1).tolist()]
    dtype = str(getattr(getattr(box, "model", None), "dtype", None))
    facts = [box.model_id, box.revision, dtype, list(words), list(templates), answers]
    facts += getattr(box, "adapted_by", ())
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def read_features(path: Path, shape: tuple[int, ...]) -> Tensor | None:
    """The features `shape` in a cached file; None if the file is missing or damaged."""
    try:
        if not path.is_file() or path.stat().st_size > HEADER + 4 * math.prod(shape):
            return None
        found = load(path.read_bytes())
        numbers, digest = found["features"], found["digest"]
    except (OSError, SafetensorError, KeyError, ValueError):
        return None
    good = numbers.shape == shape and numbers.dtype == torch.float32 and torch.equal(digest, hash_numbers(numbers))
    if good:
        with suppress(OSError):
            os.utime(path)  # used just now: others are removed first
    return numbers if good else None


def write_features(path: Path, features: Tensor) -> None:
    """Replaces the file in one step; the least recently used files make room. An error of the disk is ignored."""
    fresh = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _make_room(path.parent, features.nbytes)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
            fresh = Path(file.name)
            file.write(save({"features": features, "digest": hash_numbers(features)}))
        os.replace(fresh, path)
    except OSError:
        pass
    finally:
        if fresh is not None:
            with suppress(OSError):
                fresh.unlink(missing_ok=True)


def _make_room(folder: Path, size: int) -> None:
    """Removes files until one more of about this size fits, and what killed writers left behind."""
    for left in folder.glob(".*"):
        if time.time() - left.stat().st_mtime > LEFT_SECONDS:
            left.unlink(missing_ok=True)
    files = sorted(folder.glob("*.safetensors"), key=os.path.getmtime)
    sizes = [file.stat().st_size for file in files]
    while files and (len(files) >= MOST_FILES or sum(sizes) + size > MOST_BYTES):
        files.pop(0).unlink(missing_ok=True)
        sizes.pop(0)


def hash_numbers(numbers: Tensor) -> Tensor:
    """SHA-256 of the float32 bytes, `(32,)` uint8."""
    return torch.tensor(list(hashlib.sha256(numbers.contiguous().numpy().tobytes()).digest()), dtype=torch.uint8)
