"""Images that show nothing, made from a seed: what a box answers to them says how it reads texts."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

SIDE = 64  # pixels
MOST_TILES, MOST_SHAPES = 8, 5
SEED = 0


def make_reference_images(count: int) -> list[Image.Image]:
    """RGB images of coloured tiles, sharp or blurred, with shapes on them; always the same ones."""
    draw = np.random.default_rng(SEED)
    return [_make_image(draw, sharp=bool(number % 2)) for number in range(count)]


def _make_image(draw: np.random.Generator, sharp: bool) -> Image.Image:
    tiles = int(draw.integers(2, MOST_TILES + 1))
    colours = draw.integers(0, 256, (tiles, tiles, 3), dtype=np.uint8)
    how = Image.Resampling.NEAREST if sharp else Image.Resampling.BICUBIC
    image = Image.fromarray(colours).resize((SIDE, SIDE), how)
    pen = ImageDraw.Draw(image)
    for _ in range(int(draw.integers(1, MOST_SHAPES + 1))):
        left, right = sorted(int(x) for x in draw.integers(0, SIDE, 2))
        top, bottom = sorted(int(x) for x in draw.integers(0, SIDE, 2))
        red, green, blue = (int(x) for x in draw.integers(0, 256, 3))
        kind = int(draw.integers(0, 3))
        if kind == 0:
            pen.ellipse((left, top, right + 1, bottom + 1), fill=(red, green, blue))
        elif kind == 1:
            pen.rectangle((left, top, right + 1, bottom + 1), fill=(red, green, blue))
        else:
            pen.polygon([(left, bottom), ((left + right) // 2, top), (right, bottom)], fill=(red, green, blue))
    return image
