"""Reads a folder with one sub-folder of images per class: which files, which classes, and what is skipped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from hf_unlearn.arguments import is_file, is_folder
from hf_unlearn.data.class_names import clean_name, like, name_list
from hf_unlearn.data.folder_layout import (
    SPLITS,
    check_layout,
    list_first,
    loose_images,
    readable_names,
    split_folders,
    sub_folders,
)
from hf_unlearn.data.image_files import BrokenFile, Listing, list_files, sort_out, suspects
from hf_unlearn.data.pixels import formats
from hf_unlearn.errors import BrokenFilesError, InputError
from hf_unlearn.text import brief, listed, short

EXPECTED = "expected one sub-folder of images per class"


def read_folder(
    folder: str | Path,
    names: Mapping[str, str] | str | None,
    on_broken: Callable[[BrokenFile], object] | None,
    report: Callable[[Path, str], object],
    *,
    leave_out: Iterable[str] = (),
    split: str | None = None,
) -> tuple[list[str], list[list[Path]]]:
    """The names of the classes, and for each its images in order.

    Args:
        report: called with the folder and a sentence on what is skipped, if anything is.
        names, on_broken, leave_out, split: see `LabeledImages.from_folder`, errors too.
    """
    folder = find_split(folder, split)
    classes = sub_folders(folder)
    if not classes:
        raise InputError(_explain_no_classes(folder))
    check_layout(folder)
    named = name_classes(folder, names)
    removed = _find_left_out(named, leave_out, folder)
    classes = [path for path in classes if path.name not in removed]
    listings = [list_files(path, folder) for path in classes]
    skipped = _describe_skipped(listings, folder)
    files = [listing.images for listing in listings]
    if not any(files):
        what = skipped or f"they are empty; read are {listed(formats())}"
        raise InputError(f"{folder}: no image in any of its {len(classes)} sub-folders: {what}")
    if skipped:
        report(folder, skipped)
    files = _drop_broken(files, folder, on_broken)
    if not any(files):
        raise InputError(f"{folder}: no image in any of its {len(classes)} sub-folders can be used")
    return [named[path.name] for path in classes], files


def find_split(folder: str | Path, split: str | None) -> Path:
    """The folder whose sub-folders are the classes: the folder itself, or one of its splits.

    Raises:
        InputError: if there is no such folder or split, or the folder has splits and none is chosen; a ValueError.
    """
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


def name_classes(folder: Path, names: Mapping[str, str] | str | None = None) -> dict[str, str]:
    """Sub-folder -> class name; `names` may spell a folder's name differently from the disk.

    Raises:
        InputError: if `names` is not what `from_folder` accepts, or mentions a folder that isn't there; a ValueError.
    """
    folders = [path.name for path in sub_folders(folder)]
    if names is None or names == "auto":
        return dict(zip(folders, readable_names(folders) if names else folders, strict=True))
    if not isinstance(names, Mapping):
        raise InputError(f"names must be a dict, sub-folder -> class name, or 'auto'; got {brief(names)}")
    there = {*folders, *map(clean_name, folders)}
    if unknown := sorted(str(name) for name in names if name not in there and clean_name(str(name)) not in there):
        close = like(unknown[0], folders)
        raise InputError(f"names mentions {brief(unknown[0])}{close}, which is not a sub-folder of {folder}")
    clean = {clean_name(str(name)): called for name, called in names.items()}
    return {name: names.get(name, clean.get(clean_name(name), name)) for name in folders}


def _drop_broken(
    files: list[list[Path]], folder: Path, on_broken: Callable[[BrokenFile], object] | None
) -> list[list[Path]]:
    """The usable files; every other one is reported to `on_broken`, or stops the reading without it."""
    if on_broken is None:
        if broken := suspects((path for paths in files for path in paths), folder):
            raise BrokenFilesError(broken)
        return files
    usable, broken = sort_out(files, folder)
    for item in broken:
        on_broken(item)
    return usable


def _explain_no_classes(folder: Path) -> str:
    if loose := loose_images(folder):
        verb = "lies" if len(loose) == 1 else "lie"
        return f"{folder}: {list_first(loose, folder)} {verb} in no class's folder; {EXPECTED}"
    return f"{folder}: empty; {EXPECTED}"


def _describe_skipped(classes: Sequence[Listing], folder: Path) -> str:
    """What a folder holds besides images of classes, in a sentence; empty if there is nothing."""
    others = [path for files in classes for path in files.others]
    loose = loose_images(folder)
    parts = [f"not images, skipped: {list_first(others, folder)}"] if others else []
    parts += [f"in no class's folder, skipped: {list_first(loose, folder)}"] if loose else []
    return "; ".join(parts)


def _find_left_out(named: Mapping[str, str], leave_out: Iterable[str], root: Path) -> set[str]:
    """The sub-folders of classes to leave out, which are given by sub-folder or by name."""
    wanted = name_list("leave_out", leave_out)
    spellings = {folder: {clean_name(folder), clean_name(str(name))} for folder, name in named.items()}
    if unknown := [name for name in wanted if not any(name in ways for ways in spellings.values())]:
        close = like(unknown[0], map(str, named.values()))
        raise InputError(f"no class {brief(unknown[0])}{close} to leave out in {root}; it has {listed(named.values())}")
    found = {folder for folder, ways in spellings.items() if ways & set(wanted)}
    if len(found) == len(spellings):
        raise InputError(f"all {len(spellings)} classes of {root} are to be left out; leave some in")
    return found
