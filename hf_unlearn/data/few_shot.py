"""The few-shot draw: a few images of each class, in an order that a seed and the images' bytes alone decide.

Images are ordered by a BLAKE2b hash of their bytes, keyed with the seed. So removing one image leaves the order of the
others unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from hf_unlearn.arguments import whole_number
from hf_unlearn.data.image_files import hash_image
from hf_unlearn.errors import InputError
from hf_unlearn.text import brief


def order_classes(
    items: Sequence[Image.Image | Path], labels: Sequence[int], classes: int, seed: int
) -> list[list[int]]:
    """For each of `classes` classes, the indices of its images, by keyed hash."""
    key = f"few-shot {seed}".encode()
    keyed = sorted((hash_image(item, key), index) for index, item in enumerate(items))
    return [[index for _, index in keyed if labels[index] == label] for label in range(classes)]


def draw_shots(ordered: Sequence[Sequence[int]], shots: int) -> list[int]:
    """The first `shots` indices of every class.

    Raises:
        InputError: if `shots` is not a whole number of at least 1; a ValueError.
    """
    shots = whole_number("shots", shots)
    return [index for indices in ordered for index in indices[:shots]]


def split_shots(
    ordered: Sequence[Sequence[int]], names: Sequence[str], shots: int
) -> tuple[list[int], list[int], list[int]]:
    """Indices for training, for validation, and the rest: of every class `shots` each for the first two.

    A class with fewer than `2 * shots` images is halved, training first.

    Raises:
        InputError: if `shots` is not a whole number of at least 1, or a class has one image only; a ValueError.
    """
    shots = whole_number("shots", shots)
    train: list[int] = []
    validation: list[int] = []
    rest: list[int] = []
    for name, indices in zip(names, ordered, strict=True):
        if len(indices) == 1:
            raise InputError(f"class {brief(name)} has one image; at least two are needed to train and validate")
        first = min(shots, (len(indices) + 1) // 2)
        second = min(shots, len(indices) - first)
        train += indices[:first]
        validation += indices[first : first + second]
        rest += indices[first + second :]
    return train, validation, rest
