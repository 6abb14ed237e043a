"""Files: text and JSON read with care, folders replaced as a whole."""

from __future__ import annotations

import codecs
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from hf_unlearn.errors import HfUnlearnError, InputError, StorageError
from hf_unlearn.text import brief

MARKS = {  # UTF-32's begins with UTF-16's
    codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF32_LE: "utf-32-le", codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be",
}  # fmt: skip
SAVE = "save it as UTF-8"
MOST_DIGITS = 400  # of a number; no float has more


def decode(content: bytes) -> str:
    """Decodes UTF-8 with or without a byte-order mark; UTF-16 and UTF-32, as Windows writes them, with one.

    Raises:
        InputError: if it is anything else.
    """
    mark = next((mark for mark in MARKS if content.startswith(mark)), b"")
    body = content[len(mark) :]
    try:
        text = body.decode(MARKS.get(mark, "utf-8"))
    except UnicodeDecodeError as error:
        line = body[: error.start].count(b"\n") + 1
        raise InputError(f"not text in UTF-8 (byte 0x{body[error.start]:02x} in line {line}); {SAVE}") from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise InputError(f"not text in UTF-8 (a zero byte in line {line}, as in UTF-16 or no text at all); {SAVE}")
    return text


def parse_json(content: bytes, *, nan: bool = False) -> Any:
    """Parses a JSON file.

    Args:
        nan: whether NaN and infinity are allowed: Python writes them, JSON has none.

    Raises:
        InputError: if it is not JSON, an object has a key twice, a number is huge, or it could not be written again.
    """
    try:
        found = json.loads(decode(content), object_pairs_hook=_object, parse_int=_whole)
        json.dumps(found, ensure_ascii=False, allow_nan=nan).encode()  # half a character can't be written
    except RecursionError as error:
        raise InputError("nested too deep") from error
    except UnicodeEncodeError as error:
        raise InputError("half a character (a lone surrogate) in it") from error
    except ValueError as error:
        raise InputError(str(error)) from error
    return found


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise InputError(f"the key {brief(key)} is there twice")
        found[key] = value
    return found


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise InputError(f"a number of {len(digits):,} digits")
    return int(digits)


STATE, LOCK = "state.safetensors", "lock"  # of a run's private folder
PENDING = ".pending"  # holds a whole new state until it is in place
Made = TypeVar("Made")


def check_target(folder: Path, is_ours: Callable[[Path], bool], what: str) -> None:
    """Checks whether a folder may be written to, before long work and again at the writing; leaves nothing behind.

    It must be new, empty, or `is_ours`. Hidden files and the private folder of a run may be there as well.

    Raises:
        InputError: if it holds something else; it is then no `what`.
        StorageError: if it can't be written.
    """
    try:
        held = [path.name for path in folder.iterdir() if not _harmless(path)] if folder.is_dir() else []
        if held and not is_ours(folder):
            raise InputError(f"{folder}: exists and is no {what} (it holds {min(held)}); choose a new or empty folder")
        _try_writing(folder)
    except OSError as error:
        raise StorageError(f"{folder}: can't be written ({error.strerror}); choose another folder") from error


def _harmless(path: Path) -> bool:
    """Whether no writer touches this file, and it is no sign of someone's work."""
    if path.name.startswith(".") or path.name in ("Thumbs.db", "desktop.ini", STATE, LOCK):
        return True
    of_run = path.is_dir() and any((path / name).is_file() for name in (STATE, LOCK))
    return of_run and all(_harmless(inside) for inside in path.iterdir())


def _try_writing(folder: Path) -> None:
    """Raises: OSError: if the folder, or a file in it, can't be made."""
    parent = folder = Path(os.path.abspath(folder))
    while not os.path.lexists(parent):
        parent = parent.parent
    probe = tempfile.mkdtemp(prefix=".", dir=parent)
    try:
        (Path(probe) / folder.relative_to(parent)).mkdir(parents=True, exist_ok=True)
    except ValueError as error:  # a null character
        raise OSError(0, str(error)) from error
    finally:
        shutil.rmtree(probe, ignore_errors=True)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Within the block an error of the disk becomes a message that names the file.

    Raises:
        StorageError: such an error.
    """
    try:
        yield
    except HfUnlearnError:
        raise
    except OSError as error:
        raise StorageError(f"{error.filename or path}: can't be read ({error.strerror or error})") from error


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Within the block an error of the disk becomes a message that names the folder, and says what to do.

    Raises:
        StorageError: such an error.
    """
    try:
        yield
    except HfUnlearnError:
        raise
    except OSError as error:
        why = error.strerror or str(error)
        raise StorageError(f"{folder}: can't be written ({why}); make room there or choose another folder") from error


def whole(folder: Path) -> Path:
    """The folder of the files that `replace_files` wrote: a killed process may have left them pending."""
    pending = folder / PENDING
    return pending if pending.is_dir() else folder


def replace_files(folder: Path, files: Mapping[str, bytes], owned: Sequence[str]) -> None:
    """Writes these files in place of the `owned` ones; `whole(folder)` is always the old state or the new one.

    The last of the owned files vouches for the others: it is removed first and written last. A new folder appears by
    one rename. In an existing folder the files appear as `.pending`, by one rename too. They are then moved into
    place, by the next call if this one is killed.

    Raises:
        StorageError: if the folder can't be written.
    """
    with writing(folder):
        _replace(folder, files, owned)


def _replace(folder: Path, files: Mapping[str, bytes], owned: Sequence[str]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    there = os.path.lexists(folder)
    if there:
        _settle(folder, owned)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name[:40]}.", dir=folder if there else folder.parent))
    try:
        for name, content in files.items():
            _write(fresh / name, content)
        fresh.chmod(0o755)
        os.rename(fresh, folder / PENDING if there else folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    if there:
        _settle(folder, owned)


def add_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Writes files into a folder, each whole or not at all.

    Raises:
        OSError: if one can't be written; what was there stays as it was.
    """
    for name, content in files.items():
        _add_file(folder, name, content)


def _add_file(folder: Path, name: str, content: bytes) -> None:
    handle, fresh = tempfile.mkstemp(prefix=f".{name[:40]}.", dir=folder)
    os.close(handle)
    try:
        _write(Path(fresh), content)
        os.chmod(fresh, 0o644)
        os.replace(fresh, folder / name)
    finally:
        Path(fresh).unlink(missing_ok=True)


def optional(what: str, make: Callable[[], Made]) -> Made | None:
    """Calls `make`. If it fails, one warning says what is missing and why, and the result is None: the rest counts."""
    try:
        return make()
    except Exception as error:
        why = " ".join(str(error).split())[:300]
        warnings.warn(f"{what} is missing, all else is there ({type(error).__name__}: {why})", stacklevel=3)
        return None


def _settle(folder: Path, owned: Sequence[str]) -> None:
    """Moves a pending state into place by hard links: they need no room, and the pending state stays whole."""
    pending = folder / PENDING
    if not pending.is_dir():
        return
    (folder / owned[-1]).unlink(missing_ok=True)
    for name in owned:
        if (pending / name).is_file():
            _link(pending / name, folder / name)
        else:
            (folder / name).unlink(missing_ok=True)
    done = Path(tempfile.mkdtemp(prefix=f"{PENDING}.", dir=folder))
    os.rename(pending, done / PENDING)
    shutil.rmtree(done, ignore_errors=True)


def _link(source: Path, target: Path) -> None:
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    try:
        try:
            os.link(source, fresh)
        except OSError:  # a disk without hard links
            shutil.copyfile(source, fresh)
        os.replace(fresh, target)
    finally:
        fresh.unlink(missing_ok=True)  # of two links to one file the rename leaves both


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
