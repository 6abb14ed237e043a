"""Image files: lists them, checks them from outside and by reading, and reports what is wrong with each."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path, PurePath
from typing import Any, TypeVar

from PIL import Image

from hf_unlearn.data.pixels import NO_HEIC, formats, open_file, to_rgb
from hf_unlearn.errors import InputError

AnyPath = TypeVar("AnyPath", bound=PurePath)
MAX_BYTES = 2**30
DIGESTS_KEPT = 2**16  # digests of files, in memory
OF_HEIF = {".heic", ".heics", ".heif", ".heifs", ".hif"}
RAW = {
    ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dng", ".kdc", ".nef", ".nrw", ".orf", ".pef", ".raf", ".rw2", ".sr2",
    ".srf", ".srw", ".x3f",
}  # fmt: skip
OTHERS = {
    ".ai", ".cur", ".dds", ".emf", ".eps", ".exr", ".hdr", ".icns", ".ico", ".jxl", ".jxr", ".psb", ".svg", ".svgz",
    ".wdp", ".wmf", ".xbm", ".xcf", ".xpm",
}  # fmt: skip
LITTER = {  # of systems and programs; in lower case, beside whatever begins with a dot
    "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r", "@eadir", "@tmp", "#recycle", "__macosx",
    "$recycle.bin", "system volume information", "lost+found", "__pycache__",
}  # fmt: skip


@dataclass(frozen=True)
class BrokenFile:
    """An image file that can't be used.

    Attributes:
        path: where it is.
        why: what is wrong with it, in a few words.
    """

    path: Path
    why: str

    def __str__(self) -> str:
        return f"{self.path}: {self.why}"


@dataclass(frozen=True)
class Listing:
    """What is below a folder, in order.

    Attributes:
        images: files that are images by name or content.
        others: everything else, without litter of systems.
    """

    images: list[Path]
    others: list[Path]


def is_litter(name: str) -> bool:
    """Whether a system or a program left a file or folder behind: hidden, `Thumbs.db`, `__MACOSX` and others."""
    return name.startswith(".") or name.lower() in LITTER


@lru_cache(maxsize=1)
def suffixes() -> frozenset[str]:
    """The suffixes, in lower case, of the image formats that are read here."""
    read = {*formats(), "MPO"}  # opened as a JPEG
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in read)


def unread(path: Path) -> str | None:
    """Why an image is not read, by the format in its name; None if it is read, or not named like an image."""
    suffix = path.suffix.lower()
    if suffix in suffixes():
        return None
    if suffix in OF_HEIF:
        return NO_HEIC
    if suffix in RAW:
        return "a camera's raw file; save it as PNG or JPEG"
    return f"an image of a format that is not read ({suffix}); save it as PNG or JPEG" if suffix in OTHERS else None


def list_files(folder: Path, root: Path) -> Listing:
    """What is below a folder. Images are recognized by name, or by content where a name says nothing.

    Args:
        root: where links may lead, see `suspects`.

    Raises:
        InputError: if a folder can't be listed; a ValueError.
    """
    home = _home(root.resolve())
    images: list[Path] = []
    others: list[Path] = []
    for path in _walk(folder):
        known = path.suffix.lower() in suffixes() or unread(path) is not None
        is_image = not path.is_dir() and (known or (_suspicion(path, home) is None and _opens(path)))
        (images if is_image else others).append(path)
    return Listing(in_order(images), in_order(others))


def in_order(paths: Iterable[AnyPath]) -> list[AnyPath]:
    """Paths sorted alike on every system; Windows itself ignores capitals."""
    return sorted(paths, key=lambda path: path.parts)


def suspects(files: Iterable[Path], root: Path) -> list[BrokenFile]:
    """The files that are unusable from outside: empty, huge, not a regular file, a link out of `root`."""
    home = _home(root.resolve())
    return [BrokenFile(path, why) for path in files if (why := _suspicion(path, home)) is not None]


def sort_out(classes: Sequence[Sequence[Path]], root: Path) -> tuple[list[list[Path]], list[BrokenFile]]:
    """The files of each class that can be used, and the others; reads every one."""
    broken: list[BrokenFile] = []

    def left() -> list[list[Path]]:
        removed = {item.path for item in broken}
        return [[path for path in files if path not in removed] for files in classes]

    broken += suspects(chain.from_iterable(classes), root)
    broken += _unreadable(chain.from_iterable(left()))
    broken += _copies(left())
    return left(), broken


def hash_image(image: Image.Image | Path, key: bytes = b"") -> bytes:
    """The digest of a file's bytes, see `hash_file`, or of a PIL image's mode, size and pixels."""
    if isinstance(image, Path):
        return hash_file(image, key)
    hashed = _new_hash(key)
    hashed.update(f"{image.mode} {image.size}".encode() + image.tobytes())
    return bytes(hashed.digest())


def hash_file(path: Path, key: bytes = b"") -> bytes:
    """The SHA-256 of a file's bytes, or 16 bytes of BLAKE2b with a key; a file that did not change is read once."""
    now = path.stat()
    return _read_hash(path, (now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns), key)


@lru_cache(maxsize=DIGESTS_KEPT)
def _read_hash(path: Path, stamp: tuple[int, ...], key: bytes) -> bytes:
    """The digest; memory does not grow with the file. The stamp changes when the file does."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, partial(_new_hash, key)).digest()


def _new_hash(key: bytes) -> Any:
    return hashlib.blake2b(digest_size=16, key=key) if key else hashlib.sha256()


def _walk(folder: Path) -> Iterator[Path]:
    """Files, and linked folders, which are not entered."""

    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename}: can't be listed ({error.strerror})") from error

    for place, folders, files in os.walk(folder, onerror=refuse):
        here = Path(place)
        linked = [name for name in folders if (here / name).is_symlink()]
        folders[:] = [name for name in folders if name not in linked and not is_litter(name)]
        yield from (here / name for name in (*files, *linked) if not is_litter(name))


def _opens(path: Path) -> bool:
    """Whether a file begins like an image."""
    try:
        open_file(path).close()
    except Image.DecompressionBombError:
        return True  # named when it is read
    except Exception:
        return False
    return True


def _unreadable(files: Iterable[Path]) -> Iterator[BrokenFile]:
    for path in files:
        try:
            to_rgb(path)
        except ValueError as error:
            yield BrokenFile(path, str(error).removeprefix(f"{path}: "))


def _copies(classes: Sequence[Sequence[Path]]) -> Iterator[BrokenFile]:
    """Files with equal bytes: in one class all but the first, across classes all, since any of them may be wrong."""
    sizes: dict[int, list[tuple[int, Path]]] = defaultdict(list)
    for label, files in enumerate(classes):
        for path in files:
            sizes[path.stat().st_size].append((label, path))
    for alike in sizes.values():
        same: dict[bytes, list[tuple[int, Path]]] = defaultdict(list)
        for label, path in alike if len(alike) > 1 else ():
            same[hash_file(path)].append((label, path))
        for group in same.values():
            (first_label, first), *others = group
            if other := next((path for label, path in others if label != first_label), None):
                yield BrokenFile(first, f"the same file as {other}, of another class")
                yield from (
                    BrokenFile(path, f"the same file as {first}, and another class has it") for _, path in others
                )
            else:
                yield from (BrokenFile(path, f"the same file as {first}") for _, path in others)


def _suspicion(path: Path, home: Path) -> str | None:
    if path.is_symlink() and not path.exists():
        return "a link to nothing"
    if not path.resolve().is_relative_to(home):
        return "a link to outside the folder; copy the image in if it belongs there"
    try:
        facts = path.stat()
    except OSError as error:
        return f"can't be looked at ({error.strerror})"
    if not stat.S_ISREG(facts.st_mode):
        return "not a regular file"
    if why := unread(path):
        return why
    if facts.st_size == 0:
        return "an empty file"
    return f"larger than {MAX_BYTES >> 30} GiB" if facts.st_size > MAX_BYTES else None


def _home(root: Path) -> Path:
    """Where links may lead: the folder itself, or the Hub's cache of its repository."""
    snapshots = next((parent for parent in (root, *root.parents) if parent.parent.name == "snapshots"), None)
    if snapshots is not None and (snapshots.parent.parent / "blobs").is_dir():
        return snapshots.parent.parent
    return root
