"""Zips and loose files from strangers, unpacked within bounds into a temporary folder that no path leaves."""

from __future__ import annotations

import os
import re
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hf_unlearn.data.folder_layout import TEST, list_first, loose_images, split_folders, sub_folders
from hf_unlearn.data.image_files import is_litter
from hf_unlearn.data.labeled_images import LabeledImages
from hf_unlearn.errors import BrokenFilesError, InputError
from space.inputs.limits import open_image
from space.inputs.zip_names import decode_names

MAX_ENTRIES, MAX_UNPACKED, MAX_DEPTH = 5_000, 200 * 2**20, 16
MAX_LIST, LONGEST_END = 2 * 2**20, 22 + 65_535  # bytes of a zip's list of entries, and of its end record
UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, UnicodeDecodeError)
MAX_IMAGES = 2_000
WINDOWS = os.name == "nt"
DEVICE = re.compile(
    r"(con|prn|aux|nul|com\d|lpt\d)\s*(\..*)?|.*[. ]", re.IGNORECASE | re.DOTALL
)  # names that no file has on Windows
SIDE = 512  # pixels; larger images are shrunk as they are read


@dataclass(frozen=True)
class UploadedImages:
    """The images of an upload, decoded; they outlive its folder.

    Attributes:
        images: all images, or all but the test split.
        test: the test split, if there is one.
        note: which files were ignored and which splits were found, in sentences; maybe empty.
    """

    images: LabeledImages
    test: LabeledImages | None = None
    note: str = ""


@contextmanager
def unpack(paths: Sequence[str | Path]) -> Iterator[Path]:
    """A temporary folder with the files of a zip, or with loose files; removed when the block ends.

    Raises:
        InputError: if there is no file, or a zip is damaged, encrypted, too large, or has a path that leads outside.
    """
    if not paths:
        raise InputError("There is no file yet: choose a zip, or the files themselves.")
    with tempfile.TemporaryDirectory(prefix="space-") as name:
        folder = Path(name)
        files = [Path(path) for path in paths]
        if len(files) == 1 and (files[0].suffix.lower() == ".zip" or zipfile.is_zipfile(files[0])):
            _unzip(files[0], folder)
        else:
            for file in files:
                if (folder / file.name).exists():
                    raise InputError(f"You sent two files named '{file.name[:60]}'; send a zip of folders instead.")
                (folder / file.name).write_bytes(file.read_bytes())
        yield folder


def find_adapter(folder: Path) -> Path:
    """The folder of the adapter in an unpacked upload: the top, or one folder down.

    Raises:
        InputError: if there is not exactly one.
    """
    from hf_unlearn.adapters.config import CONFIG
    from hf_unlearn.adapters.storage import is_adapter
    from hf_unlearn.adapters.weights import CONTEXT, EDIT

    found = [path for path in (folder, *sub_folders(folder)) if is_adapter(path)]
    if len(found) != 1:
        got = "none" if not found else f"{len(found)} of them"
        wanted = f"{CONFIG} beside {CONTEXT} or {EDIT}"
        raise InputError(f"Expected one adapter, that is {wanted}, in what you sent; got {got}.")
    return found[0]


def count_images(paths: Sequence[str | Path]) -> tuple[int, int]:
    """About how many classes and images a zip holds, from its list alone; none if it can't be read."""
    try:
        for path in paths:
            _check_list(Path(path))
            with zipfile.ZipFile(path) as archive:
                places = [PurePosixPath(name) for name in archive.namelist() if not name.endswith("/")]
            images = [place for place in places if not any(map(is_litter, place.parts))]
            return len({place.parent.name for place in images}), min(len(images), MAX_IMAGES)
    except (InputError, *UNREADABLE):
        pass
    return 0, 0


def read_images(folder: Path) -> UploadedImages:
    """The images of an unpacked upload: one sub-folder per class, maybe in a folder, maybe below `train` and `test`.

    Raises:
        InputError: if there is not one image, or too many, they are in no sub-folders, or one of them can't be read.
    """
    folder = _top(folder)
    notes: list[str] = []
    try:
        splits = split_folders(folder)
        found = {
            kind: LabeledImages.from_folder(place, tell=notes.append)
            for kind, place in (splits or {"": folder}).items()
        }
    except BrokenFilesError as error:
        first, *others = error.files
        more = f"; and {len(others):,} more file{'s' * (len(others) > 1)}" if others else ""
        raise InputError(f"{first.path.relative_to(folder)}: {first.why}{more}.") from None
    except ValueError as error:
        raise InputError(str(error).replace(f"{folder}: ", "").replace(f"{folder}/", "")) from None
    if (count := sum(map(len, found.values()))) > MAX_IMAGES:
        raise InputError(f"These are {count:,} images; at most {MAX_IMAGES:,} are accepted.")
    decoded = {kind: _decode(images) for kind, images in found.items()}
    test = decoded.pop(TEST, None)
    if splits:
        learned = " and ".join(splits[kind].name for kind in decoded)
        notes.insert(0, f"it learns from {learned} and is evaluated on {splits[TEST].name if test else 'a part of it'}")
    return UploadedImages(_join([*decoded.values()]), test, "; ".join(notes))


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


def _join(parts: Sequence[LabeledImages]) -> LabeledImages:
    items = tuple(item for part in parts for item in part.items)
    return LabeledImages(items, tuple(label for part in parts for label in part.labels), parts[0].names)


def _unzip(path: Path, folder: Path) -> None:
    """Unpacks a zip once all its names are checked. Bytes are counted as they come out: a zip may lie about sizes."""
    try:
        _check_list(path)
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if len(entries) > MAX_ENTRIES:
                raise InputError(f"This zip has {len(entries):,} entries; at most {MAX_ENTRIES:,} are unpacked.")
            if sum(entry.file_size for entry in entries) > MAX_UNPACKED:
                raise InputError(_too_much())
            names = decode_names(entries)
            places = [_check_entry(entry, name) for entry, name in zip(entries, names, strict=True)]
            kept = [
                (entry, folder / place)
                for entry, name, place in zip(entries, names, places, strict=True)
                if not name.endswith("/") and not any(map(is_litter, place.parts))
            ]
            _check_unique([target.relative_to(folder) for _, target in kept])
            _write_entries(archive, kept)
    except UNREADABLE as error:
        why = error.strerror if isinstance(error, OSError) else str(error)[:80]
        raise InputError(f"This zip can't be read ({why or 'it is damaged'}); make it again.") from error


def _write_entries(archive: zipfile.ZipFile, kept: Sequence[tuple[zipfile.ZipInfo, Path]]) -> None:
    left = MAX_UNPACKED
    for entry, target in kept:
        target.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(entry) as source, target.open("xb") as sink:
            while chunk := source.read(min(2**20, left + 1)):
                if (left := left - len(chunk)) < 0:
                    raise InputError(_too_much())
                sink.write(chunk)


def _check_list(path: Path) -> None:
    """Checks the size of a zip's list of entries, which `zipfile` reads whole, ten times as large in memory."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LONGEST_END))
        tail = file.read()
    bare = tail[-22:-18] == b"PK\5\6" and tail.endswith(b"\0\0")  # zipfile looks there first
    at = len(tail) - 22 if bare else tail.rfind(b"PK\5\6")
    large = tail[max(0, at - 20) : at].startswith(b"PK\6\7")  # then its size is in another record
    if at >= 0 and (large or int.from_bytes(tail[at + 12 : at + 16], "little") > MAX_LIST):
        raise InputError(f"This zip's list of entries is too long; at most {MAX_ENTRIES:,} are unpacked.")


def _check_unique(places: Sequence[PurePosixPath | Path]) -> None:
    """Raises: InputError: if two files have one place."""
    seen: set[str] = set()
    for place in map(str, places):
        if place in seen:
            raise InputError(f"This zip has two files named '{place[:60]}'; make it again, with one of them.")
        seen.add(place)


def _check_entry(entry: zipfile.ZipInfo, called: str) -> PurePosixPath:
    """The relative path of an entry, if it may be unpacked."""
    name = PurePosixPath(called)
    kind = entry.external_attr >> 28  # of a Unix file: 8 is a plain one, 4 a folder, 0 unknown
    if name.is_absolute() or ".." in name.parts or ":" in str(name) or kind not in (0, 4, 8):
        raise InputError(f"This zip has an entry that leads elsewhere ('{called[:60]}'); nothing was unpacked.")
    if WINDOWS and (odd := next(filter(DEVICE.fullmatch, name.parts), None)):
        raise InputError(f"This zip has an entry named '{odd[:60]}', which no file can be here; rename it.")
    if len(name.parts) > MAX_DEPTH:
        raise InputError(f"This zip has folders in folders, {len(name.parts)} deep; at most {MAX_DEPTH} are unpacked.")
    if entry.flag_bits & 1:
        raise InputError("This zip is encrypted; send one without a password.")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise InputError("This zip is packed in an unusual way; make an ordinary one (deflate).")
    return name


def _too_much() -> str:
    return f"Unpacked, this zip is larger than {MAX_UNPACKED >> 20} MB; send a smaller one."
