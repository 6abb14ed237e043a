"""The folder of an adapter: which files it has, which kind it holds, whether it may be written. Loads no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hf_unlearn.adapters.config import CONFIG
from hf_unlearn.adapters.report_plot import PLOT, draw_picture
from hf_unlearn.adapters.report_schema import read_report
from hf_unlearn.adapters.weights import CONTEXT, EDIT, WEIGHTS
from hf_unlearn.errors import AdapterError, InputError
from hf_unlearn.files import add_files, check_target, optional, whole, writing

REPORT, CARD = "report.json", "README.md"
FILES = (CONTEXT, EDIT, CARD, REPORT, PLOT, CONFIG)  # the last one makes a folder an adapter
MAX_BYTES = 32 * 2**20


def check_out(folder: Path) -> None:
    """Checks before long work whether an adapter may be written to a folder; leaves nothing behind.

    Raises:
        InputError: if the folder holds something and is no adapter.
        StorageError: if it can't be written.
    """
    check_target(folder, lambda folder: kind_of(folder) is not None, "adapter")


def is_adapter(folder: Path) -> bool:
    """Whether a folder has the files of an adapter of either kind; nothing is read."""
    folder = whole(folder)
    return (folder / CONFIG).is_file() and any((folder / name).is_file() for name in WEIGHTS.values())


def kind_of(folder: Path) -> str | None:
    """The kind of the adapter in a folder, after its weights' file; None if there is no adapter of this library."""
    if not is_adapter(folder):
        return None
    folder = whole(folder)
    try:
        small = (folder / CONFIG).stat().st_size <= MAX_BYTES
        ours = small and "base_fingerprint" in json.loads((folder / CONFIG).read_bytes())
    except (ValueError, RecursionError, TypeError):
        ours = True  # damaged
    return next(kind for kind, name in WEIGHTS.items() if (folder / name).is_file()) if ours else None


def is_there(folder: Path, name: str) -> bool:
    """Whether a folder has a file. Raises: AdapterError: if it is larger than any file of an adapter."""
    path = folder / name
    if path.is_file() and path.stat().st_size > MAX_BYTES:
        raise AdapterError(f"{path}: larger than {MAX_BYTES >> 20} MiB; no forget adapter is")
    return path.is_file()


def to_json(content: dict[str, Any]) -> bytes:
    """A JSON file's content: UTF-8, indented, one line end."""
    return (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def save_report(folder: Path, report: dict[str, Any]) -> None:
    """Writes `report.json` and, after it, its picture.

    Raises:
        InputError: if there is a file of that name that is no report of this library.
        StorageError: if the folder can't be written.
    """
    if (folder / REPORT).exists() or (folder / PLOT).exists():
        try:
            read_report(folder / REPORT)
        except (AdapterError, OSError) as error:
            raise InputError(f"{folder}: has a {REPORT} or {PLOT} of something else; choose another folder") from error
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / PLOT).unlink(missing_ok=True)  # an old one would show other figures
        add_files(folder, {REPORT: to_json(report)})
    if picture := optional(PLOT, lambda: draw_picture(report)):
        optional(PLOT, lambda: add_files(folder, {PLOT: picture}))
