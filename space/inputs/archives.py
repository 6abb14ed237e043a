"""Zips and loose files from strangers, unpacked within bounds into a temporary folder that no path leaves."""

from __future__ import annotations

import os
import re
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from hf_unlearn.data.folder_layout import sub_folders
from hf_unlearn.data.image_files import is_litter
from hf_unlearn.errors import InputError
from space.inputs.zip_names import decode_names

MAX_ENTRIES, MAX_UNPACKED, MAX_DEPTH = 5_000, 200 * 2**20, 16
MAX_LIST, LONGEST_END = 2 * 2**20, 22 + 65_535  # bytes of a zip's list of entries, and of its end record
UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, UnicodeDecodeError)
MAX_IMAGES = 2_000
WINDOWS = os.name == "nt"
DEVICE = re.compile(
    r"(con|prn|aux|nul|com\d|lpt\d)\s*(\..*)?|.*[. ]", re.IGNORECASE | re.DOTALL
)  # names that no file has on Windows


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
