"""What an edit is: `t' = normalize(t + U (V t))` on text features of unit length."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class TextEdit:
    """A low-rank linear map of text features. Image features are never touched.

    Attributes:
        up: `(width, rank)` float32, `U`.
        down: `(rank, width)` float32, `V`.
    """

    up: Tensor
    down: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """`(..., width)` -> the same shape, unit length: `normalize(t + U (V t))`."""
        up, down = self.up.to(features), self.down.to(features)
        return F.normalize(features + features @ down.T @ up.T, dim=-1)

    def matrix(self) -> Tensor:
        """`I + U V`, `(width, width)` float32: what an export multiplies the text projection by."""
        return torch.eye(len(self.up)) + self.up @ self.down
