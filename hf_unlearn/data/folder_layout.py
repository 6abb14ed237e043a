"""Folders of images as people lay them out: one sub-folder per class, below `train` and `test` or not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from hf_unlearn.data.image_files import in_order, is_litter, suffixes, unread
from hf_unlearn.errors import InputError

TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLITS = {
    "train": TRAIN, "training": TRAIN, "train_set": TRAIN, "trainset": TRAIN, "val": VALIDATION, "valid": VALIDATION,
    "validation": VALIDATION, "dev": VALIDATION, "eval": VALIDATION, "val_set": VALIDATION, "valset": VALIDATION,
    "test": TEST, "testing": TEST, "test_set": TEST, "testset": TEST,
}  # fmt: skip
OF_IMAGES = {"images", "image", "imgs", "img", "jpegimages"}  # data sets sorted by kind of file, not by class
OF_LABELS = {"labels", "label", "annotations", "annotation"}
SHOWN = 3  # files of a list that a message names
WORDNET = re.compile(r"n\d{8}[-_. ]+(?=\S)")  # n02099601-golden_retriever
NUMBER = re.compile(r"\d+[-_. ]+(?=\S)")  # 001.Black_footed_Albatross


def sub_folders(folder: Path) -> list[Path]:
    """The folders in a folder, in order, without litter of systems and programs."""
    return in_order(path for path in folder.iterdir() if path.is_dir() and not is_litter(path.name))


def loose_images(folder: Path) -> list[Path]:
    """The files in a folder itself that are named like images, in order."""
    files = (path for path in folder.iterdir() if not (path.is_dir() or is_litter(path.name)))
    return in_order(path for path in files if path.suffix.lower() in suffixes() or unread(path))


def split_folders(folder: Path) -> dict[str, Path]:
    """`train`, `validation`, `test` -> its sub-folder, if a folder is divided into these first; else nothing.

    It is if every sub-folder has a usual name of a split, and the one of training images has sub-folders. The names
    are train, training; val, valid, validation, dev, eval; test, testing; train_set, trainset and so on.

    Raises:
        InputError: if they don't have the same classes, or two are the same split; a ValueError.
    """
    found: dict[str, Path] = {}
    for path in sub_folders(folder):
        kind = SPLITS.get(path.name.lower())
        if kind is None:
            return {}
        if kind in found:
            raise InputError(f"{folder}: {found[kind].name} and {path.name} are both its {kind} split; keep one")
        found[kind] = path
    classes = {kind: {path.name for path in sub_folders(place)} for kind, place in found.items()}
    if not classes.get(TRAIN):
        return {}
    for kind, names in classes.items():
        if strange := sorted(names ^ classes[TRAIN]):
            one, other = found[TRAIN], found[kind]
            raise InputError(
                f"{folder}: {one.name} and {other.name} differ in classes ({strange[0]!r} is in one of them only); "
                f"give the folder to use, such as {one}"
            )
    return found


def check_layout(folder: Path) -> None:
    """Refuses a folder whose sub-folders can't be its classes.

    Raises:
        InputError: if they are splits beside something else, kinds of files, or a folder around the classes. The
            message says where the classes seem to be; a ValueError.
    """
    folders = sub_folders(folder)
    by_name = {path.name.lower(): path for path in folders}
    if len(folders) == 1 and (inner := _around(folders[0])):
        raise InputError(
            f"{folder}: its only sub-folder, {folders[0].name}, holds no images but folders of images; the classes "
            f"seem to lie in {inner}: give that"
        )
    images, labels = (
        next((by_name[name] for name in by_name if name in kind), None) for kind in (OF_IMAGES, OF_LABELS)
    )
    if images and labels:
        where = f"the classes seem to lie in {images}: give that" if sub_folders(images) else "sort the images by class"
        raise InputError(
            f"{folder}: {images.name} and {labels.name} are no classes; expected one sub-folder of images per class: "
            f"{where}"
        )
    splits = {SPLITS[name]: path for name, path in by_name.items() if name in SPLITS and _holds_folders(path)}
    others = [path.name for path in folders if path.name.lower() not in SPLITS]
    if TRAIN in splits and len(splits) > 1 and others:
        raise InputError(
            f"{folder}: {' and '.join(path.name for path in splits.values())} lie beside {others[0]}; a folder of "
            f"splits must hold nothing else: take it out, or give one split, such as {splits[TRAIN]}"
        )


def _around(folder: Path) -> Path | None:
    """Where the classes are, if a folder holds no images but, maybe deeper, at least two folders of images."""
    while not loose_images(folder) and (inner := sub_folders(folder)):
        if len(inner) > 1:
            return folder if sum(map(_holds_images, inner)) > 1 else None
        folder = inner[0]
    return None


def _holds_folders(folder: Path) -> bool:
    return bool(sub_folders(folder)) and not loose_images(folder)


def _holds_images(folder: Path) -> bool:
    inner = (path for path in sub_folders(folder) if not path.is_symlink())
    return bool(loose_images(folder)) or any(map(_holds_images, inner))


def list_first(files: Sequence[Path], folder: Path) -> str:
    """The first few files, relative to a folder, and how many more there are."""
    first = ", ".join(str(path.relative_to(folder)) for path in files[:SHOWN])
    return first + (f" and {len(files) - SHOWN:,} more" if len(files) > SHOWN else "")


def readable_names(folders: Sequence[str]) -> list[str]:
    """Names of folders as words: underscores as spaces, without WordNet's numbers, or any number that all have."""
    bare = [WORDNET.sub("", name, count=1) if WORDNET.match(name) else name for name in folders]
    if all(map(NUMBER.match, bare)):
        unnumbered = [NUMBER.sub("", name, count=1) for name in bare]
        bare = unnumbered if len(set(unnumbered)) == len(bare) else bare
    return [" ".join(name.replace("_", " ").split()) for name in bare]
