"""Applies an edit to text vectors computed elsewhere, with NumPy alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hf_unlearn.errors import InputError
from hf_unlearn.models.text_edit import Gate, TextEdit


def edit_vectors(edit: TextEdit, vectors: NDArray[Any] | torch.Tensor) -> NDArray[Any]:
    """`(n, width)` or `(width,)` floats -> the same shape, unit length; float64 for float64, else float32.

    Raises:
        InputError: for another shape or type, or a vector that is zero or not finite; a ValueError.
    """
    if isinstance(vectors, torch.Tensor):  # as a model returns them: with a gradient, in bfloat16, on a GPU
        vectors = vectors.detach().cpu()
        vectors = vectors.float() if vectors.dtype == torch.bfloat16 else vectors
    given: NDArray[Any] = np.asarray(vectors)
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
    rows = rows / largest  # so that squares neither overflow nor vanish; the length has no meaning
    rows /= np.sqrt(np.einsum("nw,nw->n", rows, rows))[:, None]
    up, down = (tensor.numpy().astype(dtype, copy=False) for tensor in (edit.up, edit.down))
    change = rows @ down.T
    if edit.gate is not None:
        change *= _open_gate(edit.gate, rows)
    rows += change @ up.T
    rows /= np.maximum(np.sqrt(np.einsum("nw,nw->n", rows, rows))[:, None], np.finfo(dtype).tiny)
    edited: NDArray[Any] = rows.reshape(given.shape)
    return edited


def _open_gate(gate: Gate, rows: NDArray[Any]) -> NDArray[Any]:
    """`(n, width)` of unit length -> `(n, 1)`, from 0 to 1: how much of the edit each vector gets."""
    centre, near, bias = (
        tensor.numpy().astype(rows.dtype, copy=False) for tensor in (gate.centre, gate.near, gate.bias)
    )
    squared = 1 - 2 * (rows @ centre) + centre @ centre  # of the distance from the centre
    length = np.sqrt(np.maximum(squared, np.finfo(rows.dtype).tiny))[:, None]
    reach = ((rows @ near.T - near @ centre) / length - bias).max(-1, keepdims=True)
    opening: NDArray[Any] = 1 / (1 + np.exp(-np.clip(reach, -80, 80)))
    return opening
