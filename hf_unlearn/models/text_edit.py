"""An edit: `t' = normalize(t + g(t) U (V t))` on text features of unit length."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Gate:
    """How much of an edit a text gets: all of it near a forgotten name, almost none elsewhere.

    `g(t) = sigmoid(max_i (near_i · unit(t - centre) - bias_i))`, from 0 to 1.

    Attributes:
        centre: `(width,)` float32, the mean text feature of the vocabulary.
        near: `(n, width)` float32, directions from there to the forgotten names; the longer, the harder the edge.
        bias: `(n,)` float32, where the gate of a direction is half open.
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
        gate: how much of it a text gets. If None, all of it: then the edit is linear, and a checkpoint's text
            projection can carry it.
    """

    up: Tensor
    down: Tensor
    gate: Gate | None = None

    @classmethod
    def of(cls, up: Tensor, down: Tensor, gate: Gate | None = None) -> TextEdit:
        """In float32; column `i` of `up` and row `i` of `down` get equal lengths, so neither holds huge numbers."""
        sizes = up.norm(dim=0), down.norm(dim=1)
        scale = torch.where(sizes[0] * sizes[1] > 0, (sizes[1] / sizes[0].clamp(min=1e-300)).sqrt(), 1.0)
        return cls((up * scale).float().contiguous(), (down / scale[:, None]).float().contiguous(), gate)

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> TextEdit:
        """From `up`, `down` and, for a gated edit, `centre`, `near`, `bias`.

        Raises:
            KeyError: if one is missing.
        """
        gated = [tensors[name] for name in GATED] if GATED[0] in tensors else None
        return cls(tensors["up"], tensors["down"], Gate(*gated) if gated else None)

    def tensors(self) -> dict[str, Tensor]:
        """Its tensors by name, always in this order."""
        gated = {} if self.gate is None else {name: getattr(self.gate, name) for name in GATED}
        return {"up": self.up, "down": self.down, **gated}

    def linear(self) -> TextEdit:
        """The same edit with the gate open for every text, as in an exported checkpoint."""
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
    """The tensors of an adapter by name: those of an edit, or the one of a context."""
    return weights.tensors() if isinstance(weights, TextEdit) else {"context": weights}


def digest(weights: Tensor | TextEdit) -> str:
    """SHA-256 of the float32 bytes of a context, or of an edit's tensors one after the other."""
    tensors = tensors_of(weights).values()
    return hashlib.sha256(b"".join(tensor.contiguous().numpy().tobytes() for tensor in tensors)).hexdigest()
