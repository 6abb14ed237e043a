"""Attacks by pictures: the same forget images changed, or other pictures of the same things."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import numpy as np
import torch
from PIL import Image, ImageFilter, ImageOps

from hf_unlearn.auditing.case import CALLER, Attack, Case, Try
from hf_unlearn.data.labeled_images import LabeledImages
from hf_unlearn.errors import InputError
from hf_unlearn.text import brief


def jpeg(image: Image.Image) -> Image.Image:
    """Saved at quality 10 and read again."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=10)
    return Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")


def blur(image: Image.Image) -> Image.Image:
    """By a fiftieth of its shorter side."""
    return image.filter(ImageFilter.GaussianBlur(min(image.size) / 50))


def crop(image: Image.Image) -> Image.Image:
    """The middle 80 %, enlarged again."""
    width, height = image.size
    inner = image.crop((width // 10, height // 10, width - width // 10, height - height // 10))
    return inner.resize(image.size, Image.Resampling.BICUBIC)


def grey(image: Image.Image) -> Image.Image:
    return ImageOps.grayscale(image).convert("RGB")


def mirror(image: Image.Image) -> Image.Image:
    return ImageOps.mirror(image)


def noise(image: Image.Image) -> Image.Image:
    """Gaussian, standard deviation 20 of 255, the same for images of one size."""
    pixels = np.asarray(image, float)
    noisy = pixels + np.random.default_rng(0).normal(0, 20, pixels.shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG at quality 10": jpeg,
    "blur": blur,
    "crop to the middle": crop,
    "grey": grey,
    "mirror": mirror,
    "noise": noise,
}


def changed(case: Case) -> Attack:
    """Every change of `CHANGES` on the images of the forget classes."""
    rows = case.forget[case.labels].nonzero().flatten().tolist()
    labels = case.labels[rows]
    tries: list[Try] = []
    for what, change in CHANGES.items():
        pictures = tuple(change(case.images[row]) for row in rows)
        tries += _on(case, what, LabeledImages(pictures, tuple(labels.tolist()), case.names))
    return Attack("picture changes", CALLER, "Does a changed picture bring it back?", tuple(tries))


def other_pictures(case: Case, pictures: Mapping[str, LabeledImages]) -> Attack:
    """Other pictures of forget classes, by kind (say, by artist).

    Raises:
        ValueError: if one is of a class that the adapter does not have.
    """
    tries: list[Try] = []
    for what, images in pictures.items():
        if unknown := [name for name in images.names if name not in case.names]:
            raise InputError(f"pictures of {brief(what)}: {brief(unknown[0])} is no class of the adapter")
        labels = tuple(case.names.index(images.names[label]) for label in images.labels)
        tries += _on(case, what, LabeledImages(images.items, labels, case.names))
    return Attack("other pictures", CALLER, "Does a picture by someone else bring it back?", tuple(tries))


def _on(case: Case, what: str, images: LabeledImages) -> list[Try]:
    plain, adapted = case.both(handle=case.plain_box.add_images(images))
    return case.compare(what, plain, adapted, labels=torch.tensor(images.labels))
