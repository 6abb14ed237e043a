"""The images that commands read: folders of classes, divided into splits or not, and what is said about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hf_unlearn import console
from hf_unlearn.cli.inputs import read_strings
from hf_unlearn.errors import InputError

if TYPE_CHECKING:
    from hf_unlearn.data.image_files import BrokenFile
    from hf_unlearn.data.labeled_images import LabeledImages

AUTO = "auto"
SHOWN = 5  # files that are left out and named
LEARN, JUDGE, FIT = "to learn from", "to judge by", "to fit probes on"
SPLITS_FOR = {  # of a folder of splits: the first group that is there, all of it
    LEARN: (("train", "validation"),),
    JUDGE: (("test",), ("validation",), ("train",)),
    FIT: (("validation",), ("train",), ("test",)),
}
LeaveOut = Annotated[
    list[str] | None, typer.Option(help="Class whose images are left out, by name or sub-folder; once per class.")
]


@dataclass(frozen=True)
class Reading:
    """How the folders of one command are read.

    Attributes:
        names: a JSON file, sub-folder -> class name; or `auto`, see `from_folder`.
        skip_broken: whether what can't be used is left out, the first few told on stderr; else it stops the command.
        leave_out: classes that are not looked at.
    """

    names: Path | None = None
    skip_broken: bool = False
    leave_out: Sequence[str] = ()

    def images(self, folder: Path, purpose: str, strict: bool = True) -> LabeledImages:
        """The images of a folder; of one that holds splits those for a purpose, a key of `SPLITS_FOR`, which is told.

        Args:
            strict: whether a class to leave out has to be there.

        Raises:
            ValueError: see `from_folder`.
        """
        from hf_unlearn.data.folder_layout import split_folders

        splits = split_folders(folder) if folder.is_dir() else {}
        if not splits:
            return self._read(folder, strict)
        chosen = next(found for group in SPLITS_FOR[purpose] if (found := [kind for kind in group if kind in splits]))
        images = _joined([self._read(splits[kind], strict) for kind in chosen])
        told = " and ".join(splits[kind].name for kind in chosen)
        console.tell("note", f"{folder} is divided into splits; {purpose}: {told} ({len(images):,} images)")
        return images

    def data_and_test(self, data: Path | None, test: Path | None) -> tuple[LabeledImages | None, LabeledImages | None]:
        """`--data` and `--test`; without the second, the test split of the first if it has one.

        Raises:
            ValueError: see `from_folder`.
        """
        from hf_unlearn.data.folder_layout import TEST, split_folders

        images = self.images(data, LEARN) if data else None
        if test is None and data is not None and TEST in split_folders(data):
            test = data
        return images, self.images(test, JUDGE, strict=data is None) if test else None

    def _read(self, folder: Path, strict: bool) -> LabeledImages:
        from hf_unlearn.data.class_names import clean_name
        from hf_unlearn.data.labeled_images import LabeledImages, class_names

        names, leave_out = read_names(self.names), list(self.leave_out)
        if leave_out and not strict and folder.is_dir():
            there = {clean_name(name) for pair in class_names(folder, names).items() for name in pair}
            leave_out = [name for name in leave_out if clean_name(name) in there]

        broken: list[BrokenFile] = []
        try:
            images = LabeledImages.from_folder(
                folder, names, broken.append if self.skip_broken else None, leave_out=leave_out,
                tell=lambda text: console.tell("note", f"{folder}: {text}"),
            )  # fmt: skip
        finally:
            _tell_left_out(broken)
        if broken:
            console.tell("warning", f"{folder}: {len(broken):,} of {len(broken) + len(images):,} images are left out")
        return images


def read_names(path: Path | None) -> dict[str, str] | str | None:
    """`--names`: sub-folder -> class name, or `auto`."""
    if path is None:
        return None
    return AUTO if str(path) == AUTO else read_strings(path, "--names")


def read_unlabelled(folder: Path) -> list[Path]:
    """`--unlabelled`: the images below a folder; what can be told from outside to be none is told on stderr.

    Raises:
        ValueError: if there is no image.
    """
    from hf_unlearn.data.folder_layout import named
    from hf_unlearn.data.image_files import list_files, suspects

    if not folder.is_dir():
        raise InputError(f"--unlabelled {folder}: expected a folder with images, found none")
    listing = list_files(folder, folder)
    broken = suspects(listing.images, folder)
    _tell_left_out(broken)
    if listing.others:
        console.tell("note", f"{folder}: no images, passed over: {named(listing.others, folder)}")
    gone = {file.path for file in broken}
    if not (found := [path for path in listing.images if path not in gone]):
        raise InputError(f"--unlabelled {folder}: expected a folder with images, found none")
    return found


def tell_of_overlap(judged: LabeledImages, learned: LabeledImages, which: str = "--data") -> None:
    """A word on stderr if images that judge are, byte for byte, among those that were learned from."""
    known = set(learned.digests())
    if again := sum(digest in known for digest in judged.digests()):
        console.tell(
            "warning",
            f"{again:,} of {len(judged):,} test images are also in {which}, the same files: the figures flatter; take "
            "them out of one",
        )


def _tell_left_out(broken: Sequence[BrokenFile]) -> None:
    """The first few files that can't be used, a line each, and how many more there are."""
    for file in broken[:SHOWN]:
        console.tell("left out", str(file))
    if (more := len(broken) - SHOWN) > 0:
        console.tell("left out", f"and {more:,} more")


def _joined(parts: list[LabeledImages]) -> LabeledImages:
    from hf_unlearn.data.labeled_images import LabeledImages

    return LabeledImages(
        tuple(item for part in parts for item in part.items),
        tuple(label for part in parts for label in part.labels),
        parts[0].names,
    )
