"""The files of an adapter, as bytes, as a folder that is never half-written, and read back with suspicion."""

from __future__ import annotations

import hashlib
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

CONTEXT, REPORT, CARD, PLOT = "forget_context.safetensors", "report.json", "README.md", "report.png"
FILES = (CONTEXT, CARD, REPORT, PLOT, CONFIG)  # the last one makes a folder an adapter
MAX_BYTES = 32 * 2**20


def files_of(
    context: Tensor, config: AdapterConfig, report: dict[str, Any] | None, repo_id: str | None = None
) -> dict[str, bytes]:
    """What an adapter consists of, name -> content; the card names `repo_id` if there is one."""
    from safetensors.torch import save

    files = {
        CONFIG: _json(asdict(config)),
        CONTEXT: save({"context": context.contiguous()}),
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


def read_folder(folder: Path) -> tuple[Tensor, AdapterConfig, dict[str, Any] | None]:
    """Context `(m, dim)`, config and report of a folder.

    Raises:
        AdapterError: if files are missing, damaged, tampered with, too large or too new.
    """
    for name in (CONFIG, CONTEXT):
        if not (folder / name).is_file():
            raise AdapterError(f"{folder}: no {name}; expected a folder that save_pretrained wrote")
    for name in (CONFIG, CONTEXT, REPORT):
        if (folder / name).is_file() and (folder / name).stat().st_size > MAX_BYTES:
            raise AdapterError(f"{folder / name}: larger than {MAX_BYTES >> 20} MiB; no forget adapter is")
    report = read_report(folder / REPORT) if (folder / REPORT).is_file() else None
    return _read_context(folder / CONTEXT), read_config(folder / CONFIG), report


def digest(context: Tensor) -> str:
    """SHA-256 of a context's float32 bytes."""
    return hashlib.sha256(context.contiguous().numpy().tobytes()).hexdigest()


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _read_context(path: Path) -> Tensor:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except (SafetensorError, ValueError) as error:
        raise AdapterError(f"{path}: not a readable safetensors file ({error})") from error
    if set(tensors) != {"context"}:
        raise AdapterError(f"{path}: expected one tensor named 'context', got {sorted(tensors)[:5]}")
    return tensors["context"]
