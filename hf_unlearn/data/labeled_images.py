"""Labelled images, from folders, PIL images, arrays and `datasets`."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from PIL import Image

from hf_unlearn.arguments import place, whole_number
from hf_unlearn.data.class_names import check_names, like, name_list
from hf_unlearn.data.few_shot import draw_shots, order_classes, split_shots
from hf_unlearn.data.image_files import BrokenFile, hash_image
from hf_unlearn.data.image_folders import read_folder
from hf_unlearn.data.pixels import to_image, to_rgb
from hf_unlearn.errors import InputError
from hf_unlearn.text import brief, listed


@dataclass(frozen=True)
class LabeledImages:
    """Images with one class each; a file is decoded when its image is asked for.

    Args:
        items: `N` images: paths, PIL images, arrays, tensors, see `from_arrays`.
        labels: `N` indices into `names`.
        names: the `C` class names, unique, as `hf_unlearn.data.class_names.clean_name` writes them.

    Raises:
        InputError: if lengths, labels or names don't fit together, or an item is not an image; a ValueError.
    """

    items: tuple[Image.Image | Path, ...]
    labels: tuple[int, ...]
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.items) != len(self.labels):
            raise InputError(f"expected one label per image, got {len(self.labels)} for {len(self.items)} images")
        object.__setattr__(self, "names", tuple(check_names(self.names, "names", in_order=True)))
        if wrong := [label for label in self.labels if not 0 <= label < len(self.names)]:
            raise InputError(f"labels must be 0 to {len(self.names) - 1}, got {wrong[0]}")
        if not all(isinstance(item, Path | Image.Image) for item in self.items):
            object.__setattr__(self, "items", tuple(to_image(item, index) for index, item in enumerate(self.items)))

    @classmethod
    def from_folder(
        cls,
        folder: str | Path,
        names: Mapping[str, str] | str | None = None,
        on_broken: Callable[[BrokenFile], object] | None = None,
        *,
        leave_out: Iterable[str] = (),
        split: str | None = None,
        tell: Callable[[str], object] | None = None,
    ) -> LabeledImages:
        """One sub-folder per class; every image below it belongs to the class.

        Images are recognized by their names and, where a name says nothing, by their content. Links may lead anywhere
        in the folder, or in the Hub's cache of its repository. Hidden files and what systems leave behind
        (`Thumbs.db`, `__MACOSX` …) are skipped silently. Other files, linked folders, and images beside the
        sub-folders are skipped and reported. Of animations and pages the first is read.

        Args:
            names: sub-folder -> class name, where they differ; or `"auto"`, which reads underscores as spaces. It also
                drops a number in front: WordNet's (`n02099601-golden_retriever`), or any number if all classes have
                one. Names are brought to one spelling (`hf_unlearn.data.class_names.clean_name`).
            on_broken: called with every file that can't be used, and why; the file is skipped. Every image is then
                read once, and files with equal bytes are found: of copies in one class the first is used, of copies
                in two classes none. Without it, nothing is read yet. Files that are unusable from outside (empty, huge,
                not a regular file, a link to outside, an unsupported format) raise here. A damaged image raises at its
                first use.
            leave_out: classes to ignore, by sub-folder or name.
            split: which split to read of a folder that holds `train`, `validation` (`val`, `valid`), `test`, each with
                the same classes; any usual name of it.
            tell: called with a sentence on what is skipped; without it, that sentence is a warning.

        Raises:
            BrokenFilesError: if files can't be used and there is no `on_broken`; a ValueError.
            InputError: if there is no such folder or split, or it has no sub-folder or no image; a ValueError. Also if
                it holds splits and none is chosen, or its sub-folders are not classes (a folder around them, splits
                beside others, `images` beside `labels`). Also if `names` or `leave_out` mention what isn't there.
        """

        def report(place: Path, skipped: str) -> None:
            tell(skipped) if tell else warnings.warn(f"{place}: {skipped}", stacklevel=4)  # at the caller's line

        called, classes = read_folder(folder, names, on_broken, report, leave_out=leave_out, split=split)
        items = tuple(path for files in classes for path in files)
        labels = tuple(label for label, files in enumerate(classes) for _ in files)
        return cls(items, labels, tuple(called))

    @classmethod
    def from_arrays(cls, images: Iterable[Any], labels: Iterable[int], names: Sequence[str]) -> LabeledImages:
        """Images in memory: PIL images, arrays `(height, width)` or `(height, width, 1 to 4)`, tensors, bytes of files.

        Channels of a tensor may come first. Pixels are bools, floats 0 to 1, or whole numbers of 8, 12 or 16 bits,
        whichever holds the largest value. A path is a file that is read when its image is asked for.

        Raises:
            InputError: if lengths, labels or names don't fit together, or an item is not an image; a ValueError.
        """
        names = check_names(names, "names", in_order=True)
        return cls(tuple(images), tuple(place("labels", label, len(names)) for label in labels), tuple(names))

    @classmethod
    def from_dataset(cls, dataset: Any, image: str = "image", label: str = "label") -> LabeledImages:
        """A `datasets.Dataset` with an image column and a `ClassLabel` column (extra `datasets`).

        Raises:
            InputError: if a column is missing, `label` is not a `ClassLabel`, or a row has no readable image; the
                message names the row; a ValueError.
        """
        for column in (image, label):
            if column not in dataset.column_names:
                raise InputError(f"no column {brief(column)} in the dataset; it has {listed(dataset.column_names)}")
        names = getattr(dataset.features[label], "names", None)
        if names is None:
            raise InputError(f"column {brief(label)} has no class names; cast it to datasets.ClassLabel first")
        return cls.from_arrays(_read_rows(dataset[image]), dataset[label], names)

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Image.Image]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Image.Image:
        """The image as RGB, upright, transparency laid on white.

        Raises:
            InputError: if the file can't be read as an image; a ValueError that names it.
        """
        item = self.items[index]
        return to_rgb(item) if isinstance(item, Path) else to_rgb(item, range(len(self))[index])

    def counts(self) -> dict[str, int]:
        """Images per class name; 0 for a class without any."""
        return {name: self.labels.count(label) for label, name in enumerate(self.names)}

    def select(self, indices: Iterable[int]) -> LabeledImages:
        """The images at `indices`, with the same class names."""
        indices = list(indices)
        return LabeledImages(tuple(self.items[i] for i in indices), tuple(self.labels[i] for i in indices), self.names)

    def only(self, names: Sequence[str]) -> LabeledImages:
        """The images of these classes, in the order of `names`.

        Raises:
            InputError: if one of them is not a class of these images; a ValueError.
        """
        names = name_list("names", names)
        if missing := [name for name in names if name not in self.names]:
            raise InputError(
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

        The order of a class's images depends on the seed and their bytes alone, see `hf_unlearn.data.few_shot`. A
        class with fewer than `2 * shots` images is halved, training first.

        Raises:
            InputError: if `shots` is not a whole number of at least 1, or a class has one image only; a ValueError.
        """
        shots = whole_number("shots", shots)
        train, validation, rest = split_shots(self._ordered(seed), self.names, shots)
        return self.select(train), self.select(validation), self.select(rest)

    def draw(self, shots: int, seed: int) -> LabeledImages:
        """At most `shots` images per class, the first ones in `few_shot`'s order."""
        shots = whole_number("shots", shots)
        return self.select(draw_shots(self._ordered(seed), shots))

    def digests(self) -> list[str]:
        """One SHA-256 per image: of a file's bytes, or of a PIL image's mode, size and pixels. Private."""
        return [hash_image(item).hex() for item in self.items]

    def salted_digest(self, salt: str) -> dict[str, str]:
        """One SHA-256 of the whole set, whatever its order, after the salt (hexadecimal); safe to publish."""
        whole = hashlib.sha256(bytes.fromhex(salt) + "".join(sorted(self.digests())).encode())
        return {"salt": salt, "sha256": whole.hexdigest()}

    def without(self, digests: Collection[str]) -> LabeledImages:
        """The images whose digest is not among `digests`.

        Raises:
            InputError: if none of the images has one of them; a ValueError.
        """
        kept = [i for i, digest in enumerate(self.digests()) if digest not in digests]
        if digests and len(kept) == len(self):
            raise InputError("none of the images to leave out is among the images; were they given as SHA-256 digests?")
        return self.select(kept)

    def _ordered(self, seed: int) -> list[list[int]]:
        return order_classes(self.items, self.labels, len(self.names), seed)


def _read_rows(column: Iterable[Any]) -> Iterator[Any]:
    """The images of a column; one that is not decoded is the bytes of its file."""
    rows = iter(column)
    for number in count():
        try:
            item = next(rows)
        except StopIteration:
            return
        except Exception as error:  # damaged files make decoders raise anything
            raise InputError(f"row {number}: not a readable image; take the row out of the data set") from error
        if isinstance(item, Mapping):
            item = item.get("bytes") or item.get("path")
        if item is None:
            raise InputError(f"row {number}: has no image; take the row out of the data set")
        yield item


def check_images(**given: object) -> None:
    """Refuses what is not `LabeledImages`.

    Raises:
        InputError: with the name of the argument; a ValueError.
    """
    for name, images in given.items():
        if not isinstance(images, LabeledImages):
            raise InputError(
                f"{name} must be LabeledImages, got {type(images).__name__}; make them with LabeledImages.from_folder, "
                "from_arrays or from_dataset"
            )


def check_optional_images(**given: object) -> None:
    """Refuses what is neither `LabeledImages` nor None. Raises as `check_images` does."""
    check_images(**{name: images for name, images in given.items() if images is not None})
