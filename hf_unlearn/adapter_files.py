"""The files of an adapter, as bytes, as a folder that is never half-written, and read back with suspicion."""

from __future__ import annotations

import io
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from hf_unlearn.adapter_config import CONFIG, AdapterConfig, AdapterError, read_config
from hf_unlearn.adapter_report import read_report
from hf_unlearn.card import render_card
from hf_unlearn.edits.text_edit import GATED, TextEdit, tensors_of

CONTEXT, EDIT = "forget_context.safetensors", "forget_edit.safetensors"
WEIGHTS = {"context": CONTEXT, "edit": EDIT}  # kind -> its file
TENSORS = {  # kind -> what the file may hold, sorted
    "context": (["context"],),
    "edit": (["down", "up"], sorted(["down", "up", *GATED])),
}
REPORT, CARD, PLOT = "report.json", "README.md", "report.png"
FILES = (CONTEXT, EDIT, CARD, REPORT, PLOT, CONFIG)  # the last one makes a folder an adapter
MAX_BYTES = 32 * 2**20


def files_of(
    weights: Tensor | TextEdit, config: AdapterConfig, report: dict[str, Any] | None, repo_id: str | None = None
) -> dict[str, bytes]:
    """What an adapter consists of, name -> content; the card names `repo_id` if there is one."""
    from safetensors.torch import save

    files = {
        CONFIG: _json(asdict(config)),
        WEIGHTS[config.kind]: save({name: tensor.contiguous() for name, tensor in tensors_of(weights).items()}),
        CARD: render_card(asdict(config), report, repo_id).encode(),
    }
    if report:
        from hf_unlearn.plots import plot_report

        picture = io.BytesIO()
        plot_report(report, picture)
        files |= {REPORT: _json(report), PLOT: picture.getvalue()}
    return files


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Makes `folder` hold these files in place of an adapter's that were there.

    Raises:
        OSError: if the folder can't be written; what was there stays as it was.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        for name, content in files.items():
            (fresh / name).write_bytes(content)
        fresh.chmod(0o755)
        if folder.is_dir():
            (folder / CONFIG).unlink(missing_ok=True)  # without it the folder is no adapter
            for name in FILES:
                if name in files:
                    os.replace(fresh / name, folder / name)
                else:
                    (folder / name).unlink(missing_ok=True)
        else:
            os.replace(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def check_writable(folder: Path) -> None:
    """Tries, before long work, whether `write_folder` can write there; leaves nothing behind.

    Raises:
        OSError: if it can't; the folder is named.
    """
    parent = next(parent for parent in folder.absolute().parents if parent.exists())
    try:
        for place in (parent, folder) if folder.is_dir() else (parent,):
            tempfile.TemporaryFile(dir=place).close()
    except OSError as error:
        raise OSError(f"{folder}: can't be written ({error.strerror}); choose another folder") from error


def read_folder(folder: Path) -> tuple[Tensor | TextEdit, AdapterConfig, dict[str, Any] | None]:
    """Weights, config and report of a folder; the config's kind says which file the weights are in.

    Raises:
        AdapterError: if files are missing, damaged, tampered with, too large or too new.
    """
    if not _is_there(folder, CONFIG):
        raise AdapterError(f"{folder}: no {CONFIG}; expected a folder that save_pretrained wrote")
    config = read_config(folder / CONFIG)
    name = WEIGHTS[config.kind]
    if not _is_there(folder, name):
        raise AdapterError(f"{folder}: no {name}, which an adapter of kind {config.kind} has; get the adapter again")
    report = read_report(folder / REPORT) if _is_there(folder, REPORT) else None
    return _read_weights(folder / name, config.kind), config, report


def is_adapter(folder: Path) -> bool:
    """Whether a folder has the files of an adapter of either kind; nothing is read."""
    return (folder / CONFIG).is_file() and any((folder / name).is_file() for name in WEIGHTS.values())


def _is_there(folder: Path, name: str) -> bool:
    path = folder / name
    if path.is_file() and path.stat().st_size > MAX_BYTES:
        raise AdapterError(f"{path}: larger than {MAX_BYTES >> 20} MiB; no forget adapter is")
    return path.is_file()


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _read_weights(path: Path, kind: str) -> Tensor | TextEdit:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except (SafetensorError, ValueError) as error:
        raise AdapterError(f"{path}: not a readable safetensors file ({error})") from error
    if sorted(tensors) not in TENSORS[kind]:
        wanted = "one tensor named 'context'" if kind == "context" else "tensors named 'up', 'down' and those of a gate"
        raise AdapterError(f"{path}: expected {wanted}, got {sorted(tensors)[:6]}")
    return tensors["context"] if kind == "context" else TextEdit.from_tensors(tensors)
