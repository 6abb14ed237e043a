"""Small images of four colours."""

import numpy as np
from PIL import Image

from hf_unlearn import LabeledImages

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 220), "grey": (128, 128, 128)}


def coloured(count: int, seed: int = 0) -> LabeledImages:
    """`count` noisy images of each of four colours."""
    draw = np.random.default_rng(seed)
    images, labels = [], []
    for label, colour in enumerate(COLOURS.values()):
        for _ in range(count):
            noise = draw.integers(-30, 30, (24, 24, 3))
            images.append(Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8)))
            labels.append(label)
    return LabeledImages.from_arrays(images, labels, list(COLOURS))
