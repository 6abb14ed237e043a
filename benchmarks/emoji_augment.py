"""Augmentation of drawn emoji, batched on tensors: (B, 4, 64, 64) uint8 RGBA -> (B, 3, S, S) in [-1, 1]."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

REACH = {"wide": 1.0, "narrow": 0.3}


class Augment:
    """Distorts drawings, by random amounts up to `reach` of the widest, and mixes them in as many more batches."""

    def __init__(self, pixels: int, reach: float = 1.0) -> None:
        self.pixels, self.reach = pixels, reach

    def __call__(
        self, drawings: Tensor, strength: float, generator: torch.Generator, pixels: int | None = None
    ) -> Tensor:
        """`strength` 0 is the plain drawing on white, 1 the widest distortion; `pixels` another size."""
        count, pixels, strength = len(drawings), pixels or self.pixels, self.reach * strength

        def uniform(low: float, high: float, *shape: int) -> Tensor:
            return torch.rand(count, *shape, generator=generator) * (high - low) + low

        rgba = drawings.float() / 255
        alpha = rgba[:, 3:]
        premultiplied = torch.cat([rgba[:, :3] * alpha, alpha], 1)
        angle = math.radians(16) * strength * uniform(-1, 1)
        zoom = torch.exp(strength * uniform(-0.18, 0.45))  # > 1 shrinks the drawing
        stretch = torch.exp(strength * uniform(-0.15, 0.15))
        flip = torch.where(uniform(0, 1) < 0.4 * strength, -1.0, 1.0)
        cos, sin = torch.cos(angle), torch.sin(angle)
        theta = torch.stack(
            [
                torch.stack([flip * zoom * stretch * cos, -zoom * stretch * sin, 0.12 * strength * uniform(-1, 1)], 1),
                torch.stack([flip * zoom / stretch * sin, zoom / stretch * cos, 0.12 * strength * uniform(-1, 1)], 1),
            ],
            1,
        )
        grid = F.affine_grid(theta, [count, 4, pixels, pixels], align_corners=False)
        bend = 0.1 * strength * (uniform(-1, 1, 2, 4, 4) * (uniform(0, 1, 1, 1, 1) < 0.5))
        bend = F.interpolate(bend, size=(pixels, pixels), mode="bicubic", align_corners=True)
        grid = grid + bend.permute(0, 2, 3, 1)  # half of the drawings are bent, as by another hand
        moved = F.grid_sample(premultiplied, grid, align_corners=False)
        moved = self._outline(moved, strength, uniform)
        coloured = uniform(0, 1, 1, 1, 1) < 0.3 * strength
        background = torch.where(coloured, uniform(0, 1, 3, 1, 1), torch.ones(()))
        colour, alpha = self._recolour(moved[:, :3], moved[:, 3:], strength, uniform), moved[:, 3:]
        image = colour + background * (1 - alpha)
        return (image * 2 - 1).clamp(-1, 1)

    @staticmethod
    def _outline(image: Tensor, strength: float, uniform) -> Tensor:
        """Some drawings get dark lines along their edges, and some of these pale fillings: an inked look."""
        colour, alpha = image[:, :3], image[:, 3:]
        light = (colour + 1 - alpha).mean(1, keepdim=True)
        both = torch.cat([light, alpha], 1)
        across = both[..., :, 1:] - both[..., :, :-1]
        down = both[..., 1:, :] - both[..., :-1, :]
        edge = F.pad(across.abs(), (0, 1)) + F.pad(down.abs(), (0, 0, 0, 1))
        line = edge.amax(1, keepdim=True).sub(0.12).mul(3).clamp(0, 1)
        inked = uniform(0, 1, 1, 1, 1) < 0.4 * strength
        paler = torch.where(uniform(0, 1, 1, 1, 1) < 0.3, uniform(0.3, 0.9, 1, 1, 1), torch.zeros(()))
        filled = colour * (1 - paler) + alpha * paler
        drawn = torch.cat([filled * (1 - line), torch.maximum(alpha, line)], 1)
        return torch.where(inked, drawn, image)

    @staticmethod
    def _recolour(colour: Tensor, alpha: Tensor, strength: float, uniform) -> Tensor:
        """Random hue rotation, saturation, contrast and brightness of premultiplied colours."""
        grey = colour.mean(1, keepdim=True)
        saturation = 1 + strength * uniform(-0.6, 0.5, 1, 1, 1)
        saturation = torch.where(uniform(0, 1, 1, 1, 1) < 0.08 * strength, torch.zeros(()), saturation)
        colour = grey + (colour - grey) * saturation
        turn = 0.35 * strength * uniform(-1, 1)  # radians about the grey axis (Rodrigues)
        cos, sin = torch.cos(turn)[:, None, None], torch.sin(turn)[:, None, None]
        axis = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
        rotation = cos * torch.eye(3) + sin * axis + (1 - cos) / 3
        colour = torch.einsum("bij,bjhw->bihw", rotation, colour)
        levels = (uniform(0, 1, 1, 1, 1) * 3 + 2).floor()
        flat = (colour * levels).round() / levels
        colour = torch.where(uniform(0, 1, 1, 1, 1) < 0.2 * strength, flat, colour)
        gain = 1 + 0.3 * strength * uniform(-1, 1, 1, 1, 1)
        return (colour * gain + 0.12 * strength * uniform(-1, 1, 1, 1, 1) * alpha).clamp(min=0).minimum(alpha)

    def mix(self, images: Tensor, generator: torch.Generator, chance: float) -> tuple[Tensor, Tensor, float]:
        """CutMix (Yun et al., ICCV 2019) of some batches: images, partner of each, share kept."""
        other = torch.randperm(len(images), generator=generator)
        draw = torch.rand(4, generator=generator).tolist()
        if draw[0] >= self.reach * chance:
            return images, other, 1.0
        pixels = images.shape[-1]
        side = int(pixels * math.sqrt(0.1 + 0.4 * draw[1]))
        top, left = (int(d * (pixels - side + 1)) for d in draw[2:])
        mixed = images.clone()
        mixed[:, :, top : top + side, left : left + side] = images[other, :, top : top + side, left : left + side]
        return mixed, other, 1 - side * side / pixels**2
