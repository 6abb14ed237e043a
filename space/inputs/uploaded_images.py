"""The images of an upload: one folder per class, below `train`, `val` and `test` or not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from hf_unlearn.data.folder_layout import (
    SPLITS,
    TEST,
    TRAIN,
    VALIDATION,
    list_first,
    loose_images,
    split_folders,
    sub_folders,
)  # fmt: skip
from hf_unlearn.data.labeled_images import LabeledImages
from hf_unlearn.errors import BrokenFilesError, InputError
from space.inputs.archives import MAX_IMAGES
from space.inputs.limits import open_image

SIDE = 512  # pixels; larger images are shrunk as they are read


@dataclass(frozen=True)
class UploadedImages:
    """The images of an upload, decoded; they outlive its folder.

    Attributes:
        images: those to learn from: the training split, or all that are in no split.
        validation, test: these splits, if there are any.
        places: `train`, `validation`, `test` -> the name of its folder.
        note: which files were ignored; maybe empty.
    """

    images: LabeledImages
    validation: LabeledImages | None = None
    test: LabeledImages | None = None
    places: dict[str, str] = field(default_factory=dict)
    note: str = ""

    def spelled(self, names: Iterable[str]) -> UploadedImages:
        """The same with the classes spelled as these names are, where they differ in capitals alone."""
        asked = {name.casefold(): name for name in names}

        def of(images: LabeledImages) -> LabeledImages:
            found: list[str] = []
            for name in images.names:
                wanted = asked.get(name.casefold(), name)
                found.append(name if wanted in images.names or wanted in found else wanted)
            return LabeledImages(images.items, images.labels, tuple(found))

        return replace(
            self, images=of(self.images), validation=self.validation and of(self.validation),
            test=self.test and of(self.test),
        )  # fmt: skip


def read_images(folder: Path) -> UploadedImages:
    """The images of an unpacked upload: one sub-folder per class, maybe in a folder, maybe below `train` and `test`.

    Raises:
        InputError: if there is not one image, or too many, they are in no sub-folders, or one of them can't be read.
    """
    folder = _top(folder)
    notes: list[str] = []
    try:
        splits = split_folders(folder) or _splits_without_training(folder)
        found = {
            kind: LabeledImages.from_folder(place, tell=notes.append)
            for kind, place in (splits or {TRAIN: folder}).items()
        }
    except BrokenFilesError as error:
        first, *others = error.files
        more = f"; and {len(others):,} more file{'s' * (len(others) > 1)}" if others else ""
        raise InputError(f"{first.path.relative_to(folder)}: {first.why}{more}.") from None
    except ValueError as error:
        raise InputError(_for_a_zip(str(error), folder)) from None
    if (count := sum(map(len, found.values()))) > MAX_IMAGES:
        raise InputError(f"These are {count:,} images; at most {MAX_IMAGES:,} are accepted.")
    decoded = {kind: _decode(images) for kind, images in found.items()}
    learned = decoded.pop(TRAIN if TRAIN in decoded else VALIDATION)
    places = {kind: place.name for kind, place in splits.items()}
    if TRAIN not in places and splits:
        places[TRAIN] = places.pop(VALIDATION)
    return UploadedImages(learned, decoded.get(VALIDATION), decoded.get(TEST), places, "; ".join(notes))


def _splits_without_training(folder: Path) -> dict[str, Path]:
    """Validation and test split of a folder that holds nothing else; the former is learned from then."""
    found = {SPLITS.get(path.name.lower(), path.name): path for path in sub_folders(folder)}
    there = found.keys() == {VALIDATION, TEST} and all(sub_folders(place) for place in found.values())
    return found if there else {}


def _for_a_zip(words: str, folder: Path) -> str:
    """What the library says of a folder, for a visitor who sent a zip of it."""
    plain = words.replace(f"{folder}: ", "").replace(f"{folder}/", "")
    return plain.replace("give the folder to use, such as", "send a zip of one folder alone, such as")


def _top(folder: Path) -> Path:
    """The folder that holds the folders of classes or of splits: the top, or further down in a zip.

    Raises:
        InputError: if they are missing, or images are beside them.
    """
    while not loose_images(folder) and len(inner := sub_folders(folder)) == 1 and sub_folders(inner[0]):
        folder = inner[0]
    if loose := loose_images(folder):
        are = "is" if len(loose) == 1 else "are"
        files = list_first(loose, folder)[:200]
        raise InputError(f"{files} {are} in no class's folder; put every image into the folder of its class.")
    if not sub_folders(folder):
        zips = [path.name for path in folder.iterdir() if path.suffix.lower() in (".zip", ".rar", ".7z", ".tar", ".gz")]
        if zips:
            raise InputError(f"'{zips[0][:60]}' is packed inside the zip; unpack it, then zip the folders themselves.")
        raise InputError("Expected one folder of images per class in the zip, the folder's name being the class.")
    return folder


def _decode(found: LabeledImages) -> LabeledImages:
    """The same images, read and shrunk."""
    images = []
    for item in found.items:
        assert isinstance(item, Path)
        try:
            image = open_image(item)
        except ValueError as error:
            raise InputError(f"{item.parent.name[:60]}/{item.name[:60]}: {error}") from error
        image.thumbnail((SIDE, SIDE))
        images.append(image)
    return LabeledImages(tuple(images), found.labels, found.names)
