"""An edit applied to text vectors that somebody else computed, with NumPy alone."""

from __future__ import annotations

import numpy as np
import torch

from hf_unlearn.errors import InputError
from hf_unlearn.models.text_edit import Gate, TextEdit


def edit_vectors(edit: TextEdit, vectors: np.ndarray) -> np.ndarray:
    """`(n, width)` or `(width,)` floats -> the same shape, unit length, float64 for float64 and else float32.

    Raises:
        ValueError: if the shape or type is another, or a vector is zero or not finite.
    """
    if isinstance(vectors, torch.Tensor):  # as a model returns them: with a gradient, in bfloat16, on a GPU
        vectors = vectors.detach().cpu()
        vectors = vectors.float() if vectors.dtype == torch.bfloat16 else vectors
    given = np.asarray(vectors)
    width = len(edit.up)
    if given.dtype.kind != "f" or given.ndim not in (1, 2) or given.shape[-1] != width:
        raise InputError(f"expected vectors of shape (n, {width}) in floats, got {given.shape} {given.dtype}")
    dtype = np.float64 if given.dtype == np.float64 else np.float32
    rows = given.reshape(-1, width).astype(dtype, copy=False)
    largest = np.maximum(rows.max(-1, initial=0), -rows.min(-1, initial=0))[:, None]
    if not np.isfinite(largest).all():
        raise InputError(f"vector {np.flatnonzero(~np.isfinite(largest))[0]} holds NaN or infinite numbers")
    if not largest.all():
        raise InputError(f"vector {np.flatnonzero(largest == 0)[0]} is zero: it has no direction")
    rows = rows / largest  # lengths say nothing, and squares neither overflow nor vanish
    rows /= np.sqrt(np.einsum("nw,nw->n", rows, rows))[:, None]
    up, down = (tensor.numpy().astype(dtype, copy=False) for tensor in (edit.up, edit.down))
    change = rows @ down.T
    if edit.gate is not None:
        change *= _open(edit.gate, rows)
    rows += change @ up.T
    rows /= np.maximum(np.sqrt(np.einsum("nw,nw->n", rows, rows))[:, None], np.finfo(dtype).tiny)
    return rows.reshape(given.shape)


def _open(gate: Gate, rows: np.ndarray) -> np.ndarray:
    """`(n, width)` of unit length -> `(n, 1)`: how much of the edit each gets."""
    centre, near, bias = (
        tensor.numpy().astype(rows.dtype, copy=False) for tensor in (gate.centre, gate.near, gate.bias)
    )
    squared = 1 - 2 * (rows @ centre) + centre @ centre  # of the distance from the centre
    length = np.sqrt(np.maximum(squared, np.finfo(rows.dtype).tiny))[:, None]
    reach = ((rows @ near.T - near @ centre) / length - bias).max(-1, keepdims=True)
    return 1 / (1 + np.exp(-np.clip(reach, -80, 80)))
