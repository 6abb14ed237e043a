"""What an edit is: `t' = normalize(t + g(t) U (V t))` on text features of unit length."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Gate:
    """How much of an edit a text gets: all of it near a forgotten name, next to nothing elsewhere.

    `g(t) = sigmoid(max_i (near_i · unit(t - centre) - bias_i))`, from 0 to 1.

    Attributes:
        centre: `(width,)` float32, the mean text feature of anything.
        near: `(n, width)` float32, directions of the forgotten names from there; the longer, the harder the edge.
        bias: `(n,)` float32, where a direction's gate is half open.
    """

    centre: Tensor
    near: Tensor
    bias: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """`(..., width)` -> `(..., 1)`."""
        centre, near, bias = (tensor.to(features) for tensor in (self.centre, self.near, self.bias))
        return torch.sigmoid((F.normalize(features - centre, dim=-1) @ near.T - bias).amax(-1, keepdim=True))


@dataclass(frozen=True)
class TextEdit:
    """A low-rank map of text features, gated. Image features are never touched.

    Attributes:
        up: `(width, rank)` float32, `U`.
        down: `(rank, width)` float32, `V`.
        gate: how much of it a text gets; all of it if None. Then the edit is linear, and a checkpoint's text projection
            can carry it.
    """

    up: Tensor
    down: Tensor
    gate: Gate | None = None

    @classmethod
    def of(cls, up: Tensor, down: Tensor, gate: Gate | None = None) -> TextEdit:
        """In float32, column `i` of `up` and row `i` of `down` of one length, so that neither holds huge numbers."""
        sizes = up.norm(dim=0), down.norm(dim=1)
        scale = torch.where(sizes[0] * sizes[1] > 0, (sizes[1] / sizes[0].clamp(min=1e-300)).sqrt(), 1.0)
        return cls((up * scale).float().contiguous(), (down / scale[:, None]).float().contiguous(), gate)

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> TextEdit:
        """From `up`, `down` and, for a gated one, `centre`, `near`, `bias`. Raises: KeyError: if one is missing."""
        gated = [tensors[name] for name in GATED] if GATED[0] in tensors else None
        return cls(tensors["up"], tensors["down"], Gate(*gated) if gated else None)

    def tensors(self) -> dict[str, Tensor]:
        """What it consists of, by name, always in this order."""
        gated = {} if self.gate is None else {name: getattr(self.gate, name) for name in GATED}
        return {"up": self.up, "down": self.down, **gated}

    def linear(self) -> TextEdit:
        """The same with the gate open for every text: what an exported checkpoint does."""
        return replace(self, gate=None)

    def __call__(self, features: Tensor) -> Tensor:
        """`(..., width)` -> the same shape, unit length."""
        up, down = self.up.to(features), self.down.to(features)
        change = features @ down.T @ up.T
        return F.normalize(features + (change if self.gate is None else self.gate(features) * change), dim=-1)

    def matrix(self) -> Tensor:
        """`I + U V`, `(width, width)` float32: what an export multiplies the text projection by."""
        return torch.eye(len(self.up)) + self.up @ self.down


GATED = ("centre", "near", "bias")


def tensors_of(weights: Tensor | TextEdit) -> dict[str, Tensor]:
    """What an adapter consists of, by name: an edit's tensors, or the one of a context."""
    return weights.tensors() if isinstance(weights, TextEdit) else {"context": weights}


def digest(weights: Tensor | TextEdit) -> str:
    """SHA-256 of the float32 bytes: a context's, or an edit's tensors, one after the other."""
    tensors = tensors_of(weights).values()
    return hashlib.sha256(b"".join(tensor.contiguous().numpy().tobytes() for tensor in tensors)).hexdigest()
