"""CLIP's image tower with fused layers, on NVIDIA GPUs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hf_unlearn.models import fused
from hf_unlearn.models.prefix_tower import Layer


class ImageTower:
    """Pooled image features of a transformers CLIP; `ImageTower.of` says whether it is available."""

    def __init__(self, tower: Any) -> None:
        self.tower = tower
        self.layers = fused.fuse_layers([Layer.of(module) for module in tower.encoder.layers])

    @classmethod
    def of(cls, model: Any) -> ImageTower | None:
        """Of a model whose image tower is CLIP's, on a GPU where layers can be fused."""
        tower = model.vision_model
        if not hasattr(tower, "pre_layrnorm") or not fused.fits_layers(list(tower.encoder.layers)):
            return None
        return cls(tower)

    def __call__(self, pixel_values: Tensor) -> Tensor:
        """`(N, 3, height, width)` -> `(N, width)`, before the projection."""
        hidden = self.tower.pre_layrnorm(self.tower.embeddings(pixel_values))[:, :, None]
        for layer in self.layers[:-1]:
            hidden, _ = layer(hidden, None)
        first = torch.zeros(len(hidden), 1, dtype=torch.long, device=hidden.device)
        return self.tower.post_layernorm(self.layers[-1](hidden, None, None, first)[0][:, 0, 0])
