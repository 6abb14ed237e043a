"""Attack by changed pictures: the forget images compressed, blurred, cropped, grey, mirrored or noisy."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

import numpy as np
import torch
from PIL import Image, ImageFilter, ImageOps

from hf_unlearn.auditing.attack_results import CALLER, Attack, Try
from hf_unlearn.auditing.case import Case
from hf_unlearn.auditing.inputs import Inputs
from hf_unlearn.auditing.progress import Step
from hf_unlearn.data.labeled_images import LabeledImages


def plan_picture_changes(case: Case, given: Inputs) -> Iterator[Step[Attack]]:
    """One step, for every adapter."""
    yield Step("pictures", 20, lambda _: try_picture_changes(case))


def try_picture_changes(case: Case) -> Attack:
    """Every change of `CHANGES` on the images of the forget classes."""
    rows = case.forget[case.labels].nonzero().flatten().tolist()
    labels = case.labels[rows]
    tries: list[Try] = []
    for what, change in CHANGES.items():
        pictures = tuple(change(case.images[row]) for row in rows)
        tries += try_pictures(case, what, LabeledImages(pictures, tuple(labels.tolist()), case.names))
    return Attack("picture changes", CALLER, "Does a changed picture bring it back?", tuple(tries))


def try_pictures(case: Case, what: str, images: LabeledImages) -> list[Try]:
    """Other images of the case's classes."""
    plain, adapted = case.score_both(handle=case.encode(images))
    return case.compare(what, plain, adapted, labels=torch.tensor(images.labels))


def compress(image: Image.Image) -> Image.Image:
    """Saves it as JPEG at quality 10 and reads it again."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=10)
    return Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")


def blur(image: Image.Image) -> Image.Image:
    """Blurs it by a fiftieth of its shorter side."""
    return image.filter(ImageFilter.GaussianBlur(min(image.size) / 50))


def crop(image: Image.Image) -> Image.Image:
    """Cuts out the middle 80 % and enlarges it to the old size."""
    width, height = image.size
    inner = image.crop((width // 10, height // 10, width - width // 10, height - height // 10))
    return inner.resize(image.size, Image.Resampling.BICUBIC)


def remove_colour(image: Image.Image) -> Image.Image:
    """Makes it grey."""
    return ImageOps.grayscale(image).convert("RGB")


def add_noise(image: Image.Image) -> Image.Image:
    """Adds Gaussian noise, standard deviation 20 of 255, the same for images of one size."""
    pixels = np.asarray(image, float)
    noisy = pixels + np.random.default_rng(0).normal(0, 20, pixels.shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG at quality 10": compress,
    "blur": blur,
    "crop to the middle": crop,
    "grey": remove_colour,
    "mirror": ImageOps.mirror,
    "noise": add_noise,
}
