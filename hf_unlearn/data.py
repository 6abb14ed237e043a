"""Labelled images: folders, PIL images, arrays, `datasets`; and the keyed few-shot draw."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hf_unlearn.arguments import brief, listed, whole_number
from hf_unlearn.image_files import SUFFIXES, BrokenFile, hash_file, list_images, sort_out, suspects, to_rgb
from hf_unlearn.names import check_names, clean_name, like, name_list, split_names

__all__ = ["BrokenFile", "LabeledImages", "check_names", "split_names", "to_rgb"]


@dataclass(frozen=True)
class LabeledImages:
    """Images with one class each; files are decoded when they are asked for.

    Args:
        items: `N` PIL images or paths of image files.
        labels: `N` indices into `names`.
        names: the `C` class names, unique, as `hf_unlearn.names.clean_name` writes them.

    Raises:
        ValueError: if lengths, labels or names don't fit together.
    """

    items: tuple[Image.Image | Path, ...]
    labels: tuple[int, ...]
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.items) != len(self.labels):
            raise ValueError(f"expected one label per image, got {len(self.labels)} for {len(self.items)} images")
        object.__setattr__(self, "names", tuple(check_names(self.names, "names", in_order=True)))
        if wrong := [label for label in self.labels if not 0 <= label < len(self.names)]:
            raise ValueError(f"labels must be 0 to {len(self.names) - 1}, got {wrong[0]}")

    @classmethod
    def from_folder(
        cls,
        folder: str | Path,
        names: Mapping[str, str] | None = None,
        on_broken: Callable[[BrokenFile], object] | None = None,
    ) -> LabeledImages:
        """One sub-folder per class; `names` maps a sub-folder's name to the class name, where they differ.

        Names are brought to one spelling (`hf_unlearn.names.clean_name`), whatever the disk's.
        Hidden files, linked folders inside a class, and files without an image's suffix are passed over. Links may
        lead anywhere in the folder, or in the Hub's cache of the repository that it is of.

        Args:
            on_broken: told of every file that can't be used, and why; it is left out. Every image is then read once,
                and files with the same bytes are looked for: of copies in one class the first is used, of copies in
                two classes none. Without it nothing is read yet: what can be told from outside (empty, huge, no
                regular file, a link to outside) stops here, a damaged image when it is first used.

        Raises:
            ValueError: if there is no such folder, it has no sub-folder or no image, `names` names a sub-folder that
                isn't there, or files can't be used and there is no `on_broken`.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise ValueError(f"{folder}: no such folder; expected a folder with one sub-folder of images per class")
        classes = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
        if not classes:
            raise ValueError(f"{folder}: empty; expected one sub-folder of images per class")
        called = _called([path.name for path in classes], names or {}, folder)
        found = [list_images(path) for path in classes]
        if on_broken is not None:
            found, broken = sort_out(found, folder)
            for item in broken:
                on_broken(item)
        elif broken := suspects((path for files in found for path in files), folder):
            others = f"; and {len(broken) - 1} more files" if broken[1:] else ""
            raise ValueError(f"{broken[0]}{others}; take them away, or leave out what is broken (--skip-broken)")
        items = tuple(path for files in found for path in files)
        labels = tuple(label for label, files in enumerate(found) for _ in files)
        if not items:
            raise ValueError(
                f"{folder}: no image in any of its {len(classes)} sub-folders ({', '.join(sorted(SUFFIXES))})"
            )
        return cls(items, labels, called)

    @classmethod
    def from_arrays(
        cls, images: Iterable[Image.Image | np.ndarray], labels: Iterable[int], names: Sequence[str]
    ) -> LabeledImages:
        """PIL images, or arrays `(height, width)` or `(height, width, 3 or 4)` of uint8."""
        items = tuple(image if isinstance(image, Image.Image) else Image.fromarray(image) for image in images)
        return cls(items, tuple(int(label) for label in labels), names)  # type: ignore[arg-type]

    @classmethod
    def from_dataset(cls, dataset: Any, image: str = "image", label: str = "label") -> LabeledImages:
        """A `datasets.Dataset` with an image column and a `ClassLabel` column (extra `datasets`).

        Raises:
            ValueError: if a column is missing or `label` is no `ClassLabel`.
        """
        for column in (image, label):
            if column not in dataset.column_names:
                raise ValueError(f"no column {brief(column)} in the dataset; it has {listed(dataset.column_names)}")
        names = getattr(dataset.features[label], "names", None)
        if names is None:
            raise ValueError(f"column {brief(label)} has no class names; cast it to datasets.ClassLabel first")
        return cls.from_arrays(dataset[image], dataset[label], names)

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Image.Image]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Image.Image:
        """The image as RGB, upright, transparency laid on white.

        Raises:
            ValueError: if the file can't be read as an image; it is named.
        """
        return to_rgb(self.items[index])

    def counts(self) -> dict[str, int]:
        """Images per class name; 0 for a class without any."""
        return {name: self.labels.count(label) for label, name in enumerate(self.names)}

    def select(self, indices: Iterable[int]) -> LabeledImages:
        """The images at `indices`, with the same class names."""
        indices = list(indices)
        return LabeledImages(tuple(self.items[i] for i in indices), tuple(self.labels[i] for i in indices), self.names)

    def only(self, names: Sequence[str]) -> LabeledImages:
        """The images of these classes, whose order is the new one.

        Raises:
            ValueError: if one of them is no class of these images.
        """
        names = name_list("names", names)
        if missing := [name for name in names if name not in self.names]:
            raise ValueError(
                f"no images of {brief(missing[0])}{like(missing[0], self.names)}"
                + (f" and {len(missing) - 1} other classes" if missing[1:] else "")
                + "; every class to forget and to keep needs some"
            )
        number = {self.names.index(name): place for place, name in enumerate(names)}
        kept = [i for i, label in enumerate(self.labels) if label in number]
        return LabeledImages(
            tuple(self.items[i] for i in kept), tuple(number[self.labels[i]] for i in kept), tuple(names)
        )

    def few_shot(self, shots: int, seed: int) -> tuple[LabeledImages, LabeledImages, LabeledImages]:
        """Disjoint train, validation and rest: per class, `shots` images each for the first two.

        Per class, images are ordered by a hash of their bytes keyed with the seed, so taking one image
        away changes nothing about the others. A class with fewer than `2 * shots` images is halved,
        training first.

        Raises:
            ValueError: if `shots` is no whole number of at least 1, or a class with images has only one.
        """
        shots = whole_number("shots", shots)
        train: list[int] = []
        validation: list[int] = []
        rest: list[int] = []
        for name, own in zip(self.names, self._ordered(shots, seed), strict=True):
            if len(own) == 1:
                raise ValueError(f"class {brief(name)} has one image; at least two are needed to train and validate")
            first = min(shots, (len(own) + 1) // 2)
            second = min(shots, len(own) - first)
            train += own[:first]
            validation += own[first : first + second]
            rest += own[first + second :]
        return self.select(train), self.select(validation), self.select(rest)

    def draw(self, shots: int, seed: int) -> LabeledImages:
        """At most `shots` images per class, the first ones in `few_shot`'s order."""
        return self.select(i for own in self._ordered(shots, seed) for i in own[:shots])

    def digests(self) -> list[str]:
        """One SHA-256 per image: of a file's bytes, or of a PIL image's mode, size and pixels. Private."""
        return [self._hash(i, hashlib.sha256).hexdigest() for i in range(len(self))]

    def salted_digest(self, salt: str) -> dict[str, str]:
        """One SHA-256 of the whole set, in no order, and the salt (hexadecimal) before it; good to publish."""
        whole = hashlib.sha256(bytes.fromhex(salt) + "".join(sorted(self.digests())).encode())
        return {"salt": salt, "sha256": whole.hexdigest()}

    def without(self, digests: Collection[str]) -> LabeledImages:
        """The images whose digest is not among `digests`.

        Raises:
            ValueError: if none of the images has one of them.
        """
        kept = [i for i, digest in enumerate(self.digests()) if digest not in digests]
        if digests and len(kept) == len(self):
            raise ValueError("none of the images to leave out is among the images; were they given as SHA-256 digests?")
        return self.select(kept)

    def _ordered(self, shots: int, seed: int) -> list[list[int]]:
        """Per class, its images' indices by keyed hash."""
        shots = whole_number("shots", shots)
        keyed = sorted((self._digest(i, seed), i) for i in range(len(self)))
        return [[i for _, i in keyed if self.labels[i] == label] for label in range(len(self.names))]

    def _digest(self, index: int, seed: int) -> bytes:
        key = f"few-shot {seed}".encode()
        return self._hash(index, partial(hashlib.blake2b, digest_size=16, key=key)).digest()

    def _hash(self, index: int, new: Callable[[], Any]) -> Any:
        item = self.items[index]
        if isinstance(item, Path):
            return hash_file(item, new)
        hashed = new()
        hashed.update(f"{item.mode} {item.size}".encode() + item.tobytes())
        return hashed


def _called(folders: Sequence[str], names: Mapping[str, str], root: Path) -> tuple[str, ...]:
    """The class name of every sub-folder; `names` may spell a folder's name otherwise than the disk does."""
    if not isinstance(names, Mapping):
        raise ValueError(f"names must be a dict, sub-folder -> class name, got {brief(names)}")
    there = {*folders, *map(clean_name, folders)}
    if unknown := sorted(str(name) for name in names if name not in there and clean_name(str(name)) not in there):
        close = like(unknown[0], folders)
        raise ValueError(f"--names mentions {brief(unknown[0])}{close}, which is not a sub-folder of {root}")
    clean = {clean_name(str(name)): called for name, called in names.items()}
    return tuple(names.get(folder, clean.get(clean_name(folder), folder)) for folder in folders)
