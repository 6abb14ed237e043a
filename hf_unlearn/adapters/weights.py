"""An adapter's weights as NumPy arrays: their names, checks, digest and safetensors file. Loads no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hf_unlearn.adapters.config import CONFIG, MAX_RANK, AdapterConfig
from hf_unlearn.errors import AdapterError

CONTEXT, EDIT = "forget_context.safetensors", "forget_edit.safetensors"
WEIGHTS = {"context": CONTEXT, "edit": EDIT}  # kind -> its file
OF_EDIT, OF_GATE = ("up", "down"), ("centre", "near", "bias")
MAX_VALUE = 1_000.0  # token embeddings are about 0.01 to 1, an edit's numbers up to about 10
Weights = Mapping[str, np.ndarray]  # a context's "context"; an edit's "up", "down" and, if gated, those of its gate


def check_weights(weights: Weights, config: AdapterConfig) -> None:
    """Compares weights with the config that describes them.

    Raises:
        AdapterError: if kind, shape, type or digest differ, or a number is not finite or too large.
    """
    if config.kind != ("context" if "context" in weights else "edit"):
        raise AdapterError(f"{CONFIG} describes an adapter of kind {config.kind}; its weights are of the other kind")
    expected = _expected_shapes(weights, config)
    for name in _in_order(weights):
        _check_array(name, weights[name], expected[name])
    if config.weights_sha256 != digest_weights(weights):
        raise AdapterError(f"{CONFIG} and {WEIGHTS[config.kind]} don't belong together; get the adapter again")


def digest_weights(weights: Weights) -> str:
    """SHA-256 of the bytes of all arrays: `context`, or `up`, `down`, `centre`, `near`, `bias`."""
    return hashlib.sha256(b"".join(weights[name].tobytes() for name in _in_order(weights))).hexdigest()


def serialize_weights(weights: Weights) -> bytes:
    """The content of the safetensors file."""
    from safetensors.numpy import save

    return save({name: np.ascontiguousarray(array) for name, array in weights.items()})


def read_weights(path: Path, kind: str) -> Weights:
    """Reads a weights file of one kind of adapter.

    Raises:
        AdapterError: if it is not a safetensors file, or holds other tensors than this kind has.
        OSError: if it can't be read.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        found = load(path.read_bytes())  # not mapped: Windows lets no process replace a mapped file
    except KeyError as error:  # a type that NumPy lacks
        raise AdapterError(f"{path}: expected tensors in float32, got {error}") from error
    except (SafetensorError, ValueError) as error:
        raise AdapterError(f"{path}: not a readable safetensors file ({error})") from error
    allowed = [{"context"}] if kind == "context" else [{*OF_EDIT}, {*OF_EDIT, *OF_GATE}]
    if set(found) not in allowed:
        wanted = "one tensor named 'context'" if kind == "context" else "tensors named 'up', 'down' and those of a gate"
        raise AdapterError(f"{path}: expected {wanted}, got {sorted(found)[:6]}")
    return found


def _in_order(weights: Weights) -> list[str]:
    return [name for name in ("context", *OF_EDIT, *OF_GATE) if name in weights]


def _expected_shapes(weights: Weights, config: AdapterConfig) -> dict[str, tuple[int | None, ...]]:
    if "context" in weights:
        return {"context": (config.n_ctx, config.dim)}
    near = weights.get("near")
    directions = len(near) if near is not None and near.ndim else 0
    return {
        "up": (config.width, config.rank), "down": (config.rank, config.width), "centre": (config.width,),
        "near": (max(1, min(directions, MAX_RANK)), config.width), "bias": (directions,),
    }  # fmt: skip


def _check_array(name: str, array: np.ndarray, expected: tuple[int | None, ...]) -> None:
    if array.dtype != np.float32 or array.shape != expected:
        raise AdapterError(f"{name}: expected shape {expected} in float32, got {array.shape} {array.dtype}")
    if not np.isfinite(array).all():
        raise AdapterError(f"{name}: holds NaN or infinite numbers; the adapter is damaged, get it again")
    if np.abs(array).max() > MAX_VALUE:
        raise AdapterError(f"{name}: holds numbers beyond {MAX_VALUE:,.0f}, no adapter's are so large")
