"""Labelled images: folders, PIL images, arrays, `datasets`; and the keyed few-shot draw."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from hf_unlearn.arguments import is_file, is_folder, place, whole_number
from hf_unlearn.data.class_names import check_names, clean_name, like, name_list, split_names
from hf_unlearn.data.folder_layout import (
    SPLITS,
    check_layout,
    loose_images,
    named,
    readable,
    split_folders,
    sub_folders,
)
from hf_unlearn.data.image_files import BrokenFile, Listing, hash_file, list_files, sort_out, suspects
from hf_unlearn.data.pixels import formats, to_image, to_rgb
from hf_unlearn.errors import BrokenFilesError, InputError
from hf_unlearn.text import brief, listed, short

__all__ = ["BrokenFile", "BrokenFilesError", "LabeledImages", "check_names", "split_names", "to_rgb"]


@dataclass(frozen=True)
class LabeledImages:
    """Images with one class each; files are decoded when they are asked for.

    Args:
        items: `N` images: paths, PIL images, arrays, tensors, see `from_arrays`.
        labels: `N` indices into `names`.
        names: the `C` class names, unique, as `hf_unlearn.data.class_names.clean_name` writes them.

    Raises:
        ValueError: if lengths, labels or names don't fit together, or something is no image; which one is said.
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
        """One sub-folder per class; every image below it counts.

        Images are told by their names and, where a name says nothing, by what is in the file. Links may lead anywhere
        in the folder, or in the Hub's cache of the repository that it is of. Hidden files and what systems leave
        behind (`Thumbs.db`, `__MACOSX` …) are passed over in silence; other files that are no images, linked folders,
        and images beside the sub-folders are passed over and named. Of animations and pages the first is read.

        Args:
            names: sub-folder -> class name, where they differ; or `"auto"`: underscores are read as spaces, and a
                number in front is left away: WordNet's (`n02099601-golden_retriever`), or any where all classes have
                one. Names are brought to one spelling (`hf_unlearn.data.class_names.clean_name`), whatever the disk's.
            on_broken: told of every file that can't be used, and why; it is left out. Every image is then read once,
                and files with the same bytes are looked for: of copies in one class the first is used, of copies in
                two classes none. Without it nothing is read yet: what can be told from outside (empty, huge, no
                regular file, a link to outside, a format that is not read) stops here, a damaged image when it is
                first used.
            leave_out: classes, by sub-folder or name, that are not looked at.
            split: of a folder that holds `train`, `validation` (`val`, `valid`), `test`, each with the same classes:
                which one, by any of its usual names.
            tell: told in a sentence what is passed over; a warning if not given.

        Raises:
            BrokenFilesError: if files can't be used and there is no `on_broken`; a ValueError.
            ValueError: if there is no such folder or split, it has no sub-folder or no image, it holds splits and none
                is chosen, its sub-folders are no classes (a folder around them, splits beside others, `images` beside
                `labels`), or `names` or `leave_out` mention what isn't there.
        """
        folder = _of_split(folder, split)
        classes = sub_folders(folder)
        if not classes:
            raise InputError(_no_classes(folder))
        check_layout(folder)
        called = class_names(folder, names)
        gone = _left_out(called, leave_out, folder)
        classes = [path for path in classes if path.name not in gone]
        listed_files = [list_files(path, folder) for path in classes]
        told = _passed_over(listed_files, folder)
        found = [files.images for files in listed_files]
        if not any(found):
            what = told or f"they are empty; read are {listed(formats())}"
            raise InputError(f"{folder}: no image in any of its {len(classes)} sub-folders: {what}")
        if told:
            tell(told) if tell else warnings.warn(f"{folder}: {told}", stacklevel=2)
        if on_broken is not None:
            found, broken = sort_out(found, folder)
            for item in broken:
                on_broken(item)
        elif broken := suspects((path for files in found for path in files), folder):
            raise BrokenFilesError(broken)
        items = tuple(path for files in found for path in files)
        labels = tuple(label for label, files in enumerate(found) for _ in files)
        if not items:
            raise InputError(f"{folder}: no image in any of its {len(classes)} sub-folders can be used")
        return cls(items, labels, tuple(called[path.name] for path in classes))

    @classmethod
    def from_arrays(cls, images: Iterable[Any], labels: Iterable[int], names: Sequence[str]) -> LabeledImages:
        """Images in memory: PIL images, arrays `(height, width)` or `(height, width, 1 to 4)`, tensors, bytes of files.

        Channels of a tensor may come first. Pixels are bools, floats 0 to 1, or whole numbers of 8, 12 or 16 bits: the
        least that hold the largest. A path is a file that is read when it is asked for.
        """
        names = check_names(names, "names", in_order=True)
        return cls(tuple(images), tuple(place("labels", label, len(names)) for label in labels), tuple(names))

    @classmethod
    def from_dataset(cls, dataset: Any, image: str = "image", label: str = "label") -> LabeledImages:
        """A `datasets.Dataset` with an image column and a `ClassLabel` column (extra `datasets`).

        Raises:
            ValueError: if a column is missing or `label` is no `ClassLabel`.
        """
        for column in (image, label):
            if column not in dataset.column_names:
                raise InputError(f"no column {brief(column)} in the dataset; it has {listed(dataset.column_names)}")
        names = getattr(dataset.features[label], "names", None)
        if names is None:
            raise InputError(f"column {brief(label)} has no class names; cast it to datasets.ClassLabel first")
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
        """The images of these classes, whose order is the new one.

        Raises:
            ValueError: if one of them is no class of these images.
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
                raise InputError(f"class {brief(name)} has one image; at least two are needed to train and validate")
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
            raise InputError("none of the images to leave out is among the images; were they given as SHA-256 digests?")
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


def check_images(**given: object) -> None:
    """Raises: ValueError: if one is neither `LabeledImages` nor None; it is named."""
    for name, images in given.items():
        if images is not None and not isinstance(images, LabeledImages):
            raise InputError(
                f"{name} must be LabeledImages, got {type(images).__name__}; make them with LabeledImages.from_folder, "
                "from_arrays or from_dataset"
            )


def _of_split(folder: str | Path, split: str | None) -> Path:
    """Where the classes are. Raises: ValueError: if there is no such folder or split, or one must be chosen."""
    if not isinstance(folder, str | Path):
        raise InputError(f"folder must be a path, got {type(folder).__name__} {brief(folder)}")
    if not is_folder(folder):
        what = "a file; unpack it if it is an archive" if is_file(folder) else "no such folder"
        raise InputError(f"{short(folder)}: {what}; expected a folder with one sub-folder of images per class")
    folder = Path(folder)
    splits = split_folders(folder)
    if split is None:
        if splits:
            place = next(iter(splits.values()))
            raise InputError(
                f"{folder}: divided into {listed(splits)}; choose one: split={next(iter(splits))!r}, or {place}"
            )
        return folder
    split = SPLITS.get(split.lower(), split) if isinstance(split, str) else split
    if split not in splits:
        raise InputError(f"{folder}: has no split {brief(split)}; it has {listed(splits) or 'none'}")
    return splits[split]


def _no_classes(folder: Path) -> str:
    if loose := loose_images(folder):
        verb = "lies" if len(loose) == 1 else "lie"
        return (
            f"{folder}: {named(loose, folder)} {verb} in no class's folder; expected one sub-folder of images per class"
        )
    return f"{folder}: empty; expected one sub-folder of images per class"


def _passed_over(classes: Sequence[Listing], folder: Path) -> str:
    """What is in a folder and no image of a class, in a sentence; nothing if there is nothing."""
    others = [path for files in classes for path in files.others]
    loose = loose_images(folder)
    told = [f"no images, passed over: {named(others, folder)}"] if others else []
    told += [f"in no class's folder, passed over: {named(loose, folder)}"] if loose else []
    return "; ".join(told)


def class_names(folder: Path, names: Mapping[str, str] | str | None = None) -> dict[str, str]:
    """Sub-folder -> class name; `names` may spell a folder's name otherwise than the disk does.

    Raises:
        ValueError: if `names` is something else than `from_folder` takes, or mentions a folder that isn't there.
    """
    folders = [path.name for path in sub_folders(folder)]
    if names is None or names == "auto":
        return dict(zip(folders, readable(folders) if names else folders, strict=True))
    if not isinstance(names, Mapping):
        raise InputError(f"names must be a dict, sub-folder -> class name, or 'auto'; got {brief(names)}")
    there = {*folders, *map(clean_name, folders)}
    if unknown := sorted(str(name) for name in names if name not in there and clean_name(str(name)) not in there):
        close = like(unknown[0], folders)
        raise InputError(f"--names mentions {brief(unknown[0])}{close}, which is not a sub-folder of {folder}")
    clean = {clean_name(str(name)): called for name, called in names.items()}
    return {name: names.get(name, clean.get(clean_name(name), name)) for name in folders}


def _left_out(called: Mapping[str, str], leave_out: Iterable[str], root: Path) -> set[str]:
    """The sub-folders of the classes that are left out, by sub-folder or name."""
    gone = name_list("leave_out", leave_out)
    ways = {folder: {clean_name(folder), clean_name(str(name))} for folder, name in called.items()}
    if unknown := [name for name in gone if not any(name in own for own in ways.values())]:
        close = like(unknown[0], map(str, called.values()))
        raise InputError(
            f"no class {brief(unknown[0])}{close} to leave out in {root}; it has {listed(called.values())}"
        )
    found = {folder for folder, own in ways.items() if own & set(gone)}
    if len(found) == len(ways):
        raise InputError(f"all {len(ways)} classes of {root} are to be left out; leave some in")
    return found
