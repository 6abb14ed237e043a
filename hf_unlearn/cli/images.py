"""The images that commands read: folders of classes, with or without splits, and the notes about them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hf_unlearn import console
from hf_unlearn.arguments import is_folder
from hf_unlearn.cli.inputs import read_strings
from hf_unlearn.errors import InputError

if TYPE_CHECKING:
    from hf_unlearn.data.hub_datasets import HubDataset
    from hf_unlearn.data.image_files import BrokenFile
    from hf_unlearn.data.labeled_images import LabeledImages

AUTO = "auto"
SHOWN = 5  # files that are left out and named
LEARN, EVALUATE, FIT = "training", "evaluation", "fitting of probes"
SPLITS_FOR = {  # purpose -> groups of splits; the first group of which a folder has a split is used
    LEARN: (("train", "validation"),),
    EVALUATE: (("test",), ("validation",), ("train",)),
    FIT: (("validation",), ("train",), ("test",)),
}


@dataclass(frozen=True)
class Reading:
    """How the folders of one command are read.

    Attributes:
        names: a JSON file, sub-folder -> class name; or `auto`, see `from_folder`.
        skip_broken: whether unusable files are skipped, the first few named on stderr; else one stops the command.
        leave_out: classes to ignore.
    """

    names: Path | None = None
    skip_broken: bool = False
    leave_out: Sequence[str] = ()

    def images(self, folder: Path, purpose: str, strict: bool = True) -> LabeledImages:
        """Reads a folder of classes; of a folder of splits, or of a data set on the Hub, those for a purpose.

        Standard error names them.

        Args:
            purpose: a key of `SPLITS_FOR`.
            strict: whether a class to leave out must be there.

        Raises:
            InputError: see `LabeledImages.from_folder` and `HubDataset`.
            HubError: if the Hub does not answer.
        """
        from hf_unlearn.data.folder_layout import split_folders
        from hf_unlearn.data.hub_datasets import find_dataset

        if dataset := find_dataset(folder):
            return self._stream(dataset, purpose, strict)
        splits = split_folders(folder) if is_folder(folder) else {}
        if not splits:
            return self._read(folder, strict)
        chosen = next(found for group in SPLITS_FOR[purpose] if (found := [kind for kind in group if kind in splits]))
        images = _joined([self._read(splits[kind], strict) for kind in chosen])
        used = " and ".join(splits[kind].name for kind in chosen)
        console.print_notice("note", f"{folder} is divided into splits; for {purpose}: {used} ({len(images):,} images)")
        return images

    def data_and_test(self, data: Path | None, test: Path | None) -> tuple[LabeledImages | None, LabeledImages | None]:
        """Reads `--data` and `--test`; without `--test`, the test split of `--data` if it has one.

        Raises:
            InputError, HubError: see `images`.
        """
        from hf_unlearn.data.folder_layout import TEST

        images = self.images(data, LEARN) if data else None
        if test is None and data is not None and TEST in _split_names(data):
            test = data
        return images, self.images(test, EVALUATE, strict=data is None) if test else None

    def _stream(self, dataset: HubDataset, purpose: str, strict: bool) -> LabeledImages:
        from hf_unlearn.data.class_names import clean_name
        from hf_unlearn.data.hub_datasets import choose_splits
        from hf_unlearn.hub.error_messages import explained

        if self.names is not None or self.skip_broken:
            option = "--names" if self.names is not None else "--skip-broken"
            raise InputError(f"{option} goes with a folder; {dataset.id} is a data set, which names its classes itself")
        with explained(dataset.id, dataset.revision):
            splits = dataset.splits()
            chosen = choose_splits(splits, SPLITS_FOR[purpose])
            images = _joined([dataset.read(splits[kind]) for kind in chosen])
        used = " and ".join(splits[kind] for kind in chosen)
        console.print_notice("note", f"{dataset.id}: for {purpose}: {used} ({len(images):,} images)")
        absent = {clean_name(name) for name in self.leave_out} - set(images.names)
        if strict and absent:
            raise InputError(f"no class {sorted(absent)[0]!r} to leave out in {dataset.id}")
        left = {clean_name(name) for name in self.leave_out}
        return images.only([name for name in images.names if name not in left]) if left else images

    def _read(self, folder: Path, strict: bool) -> LabeledImages:
        from hf_unlearn.data.class_names import clean_name
        from hf_unlearn.data.image_folders import name_classes
        from hf_unlearn.data.labeled_images import LabeledImages

        names, leave_out = read_names(self.names), list(self.leave_out)
        if leave_out and not strict and is_folder(folder):
            there = {clean_name(name) for pair in name_classes(folder, names).items() for name in pair}
            leave_out = [name for name in leave_out if clean_name(name) in there]

        broken: list[BrokenFile] = []
        try:
            images = LabeledImages.from_folder(
                folder, names, broken.append if self.skip_broken else None, leave_out=leave_out,
                tell=lambda text: console.print_notice("note", f"{folder}: {text}"),
            )  # fmt: skip
        finally:
            _name_left_out(broken)
        if broken:
            count = f"{len(broken):,} of {len(broken) + len(images):,} images"
            console.print_notice("warning", f"{folder}: {count} are left out")
        return images


def _split_names(data: Path) -> Collection[str]:
    """The splits of a folder or of a data set on the Hub."""
    from hf_unlearn.data.folder_layout import split_folders
    from hf_unlearn.data.hub_datasets import find_dataset

    dataset = find_dataset(data)
    return dataset.splits() if dataset else split_folders(data)


def read_names(path: Path | None) -> dict[str, str] | str | None:
    """Reads `--names`: sub-folder -> class name, or `auto`."""
    if path is None:
        return None
    return AUTO if str(path) == AUTO else read_strings(path, "--names")


def read_unlabelled(folder: Path) -> list[Path]:
    """Reads `--unlabelled`: the images below a folder. Files that look like images and are not are named on stderr.

    Raises:
        InputError: if there is no image.
    """
    from hf_unlearn.data.folder_layout import list_first
    from hf_unlearn.data.image_files import list_files, suspects

    if not is_folder(folder):
        raise InputError(f"--unlabelled {folder}: expected a folder with images, found none")
    listing = list_files(folder, folder)
    broken = suspects(listing.images, folder)
    _name_left_out(broken)
    if listing.others:
        console.print_notice("note", f"{folder}: not images, skipped: {list_first(listing.others, folder)}")
    unusable = {file.path for file in broken}
    if not (found := [path for path in listing.images if path not in unusable]):
        raise InputError(f"--unlabelled {folder}: expected a folder with images, found none")
    return found


def warn_of_overlap(test: LabeledImages, train: LabeledImages, option: str = "--data") -> None:
    """Warns on stderr if test images are, byte for byte, among the training images."""
    known = set(train.digests())
    if again := sum(digest in known for digest in test.digests()):
        console.print_notice(
            "warning",
            f"{again:,} of {len(test):,} test images are also in {option}, the same files, so the figures are too "
            "good; remove them from one",
        )


def _name_left_out(broken: Sequence[BrokenFile]) -> None:
    """Prints the first few unusable files, one per line, and how many more there are."""
    for file in broken[:SHOWN]:
        console.print_notice("left out", str(file))
    if (more := len(broken) - SHOWN) > 0:
        console.print_notice("left out", f"and {more:,} more")


def _joined(parts: list[LabeledImages]) -> LabeledImages:
    from hf_unlearn.data.labeled_images import LabeledImages

    return LabeledImages(
        tuple(item for part in parts for item in part.items),
        tuple(label for part in parts for label in part.labels),
        parts[0].names,
    )
