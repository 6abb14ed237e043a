"""Image files as they are found: listed, looked at from outside, read, and what is wrong with each."""

from __future__ import annotations

import hashlib
import stat
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")  # no decoder that starts other programs
MAX_BYTES = 2**30


@dataclass(frozen=True)
class BrokenFile:
    """An image file that can't be used, and why."""

    path: Path
    why: str

    def __str__(self) -> str:
        return f"{self.path}: {self.why}"


def list_images(folder: Path) -> list[Path]:
    """Everything below a folder that is named like an image, in order; hidden files and linked folders aside."""

    def wanted(path: Path) -> bool:
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        return path.suffix.lower() in SUFFIXES and not hidden and not path.is_dir()

    return sorted(path for path in folder.rglob("*") if wanted(path))


def suspects(files: Iterable[Path], root: Path) -> list[BrokenFile]:
    """Those that can be told from outside, without reading: empty, huge, no regular file, a link out of `root`."""
    home = _home(root.resolve())
    return [BrokenFile(path, why) for path in files if (why := _suspicion(path, home)) is not None]


def sort_out(classes: Sequence[Sequence[Path]], root: Path) -> tuple[list[list[Path]], list[BrokenFile]]:
    """The files of each class that can be used, and the others; reads every one."""
    broken: list[BrokenFile] = []

    def left() -> list[list[Path]]:
        gone = {item.path for item in broken}
        return [[path for path in files if path not in gone] for files in classes]

    broken += suspects(chain.from_iterable(classes), root)
    broken += _unreadable(chain.from_iterable(left()))
    broken += _copies(left())
    return left(), broken


def hash_file(path: Path, new: Callable[[], Any]) -> Any:
    """A hash object that has seen a file's bytes; memory does not grow with the file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, new)


def to_rgb(item: Image.Image | Path) -> Image.Image:
    """An image file or PIL image as upright RGB, transparency laid on white.

    Raises:
        ValueError: if it can't be read as an image, or has more than Pillow's `MAX_IMAGE_PIXELS` (89 megapixels);
            the file is named.
    """
    where = item if isinstance(item, Path) else "image"
    try:
        image = Image.open(item, formats=_formats()) if isinstance(item, Path) else item
        most = Image.MAX_IMAGE_PIXELS
        if most is not None and image.width * image.height > most:
            raise ValueError(f"{image.width * image.height / 1e6:.0f} megapixels, at most {most / 1e6:.0f} are read")
        return _upright_rgb(image)
    except FileNotFoundError as error:
        raise ValueError(f"{where}: the file has gone") from error
    except UnidentifiedImageError as error:
        raise ValueError(f"{where}: not a readable image; replace it or take it away") from error
    except Exception as error:  # damaged files make Pillow's decoders raise whatever they stumble over
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"{where}: not a readable image ({why}); replace it or take it away") from error


@lru_cache(maxsize=1)
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)  # an older Pillow lacks AVIF


def _upright_rgb(image: Image.Image) -> Image.Image:
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _unreadable(files: Iterable[Path]) -> Iterator[BrokenFile]:
    for path in files:
        try:
            to_rgb(path)
        except ValueError as error:
            yield BrokenFile(path, str(error).removeprefix(f"{path}: "))


def _copies(classes: Sequence[Sequence[Path]]) -> Iterator[BrokenFile]:
    """Files with the same bytes: in one class all but the first, across classes all, as none says which is right."""
    sizes: dict[int, list[tuple[int, Path]]] = defaultdict(list)
    for label, files in enumerate(classes):
        for path in files:
            sizes[path.stat().st_size].append((label, path))
    for alike in sizes.values():
        same: dict[bytes, list[tuple[int, Path]]] = defaultdict(list)
        for label, path in alike if len(alike) > 1 else ():
            same[hash_file(path, hashlib.sha256).digest()].append((label, path))
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
    if facts.st_size == 0:
        return "an empty file"
    return f"larger than {MAX_BYTES >> 30} GiB" if facts.st_size > MAX_BYTES else None


def _home(root: Path) -> Path:
    """Where links may lead: the folder itself, or what the Hub's cache holds of the repository that it is of."""
    snapshots = next((parent for parent in (root, *root.parents) if parent.parent.name == "snapshots"), None)
    if snapshots is not None and (snapshots.parent.parent / "blobs").is_dir():
        return snapshots.parent.parent
    return root
