"""The files of an adapter, as bytes, as a folder that is never half-written, and read back with suspicion."""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from hf_unlearn.adapters.config import CONFIG, AdapterConfig, read_config
from hf_unlearn.adapters.model_card import render_card
from hf_unlearn.adapters.report_schema import read_report
from hf_unlearn.errors import AdapterError, InputError
from hf_unlearn.files import add_file, check_target, optional, replace_files, whole
from hf_unlearn.models.text_edit import GATED, TextEdit, tensors_of

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
    weights: Tensor | TextEdit,
    config: AdapterConfig,
    report: dict[str, Any] | None,
    repo_id: str | None = None,
    kept: dict[str, Any] | None = None,
) -> dict[str, bytes]:
    """What an adapter consists of, name -> content; the card names `repo_id` if there is one, and has `kept` metadata.

    A card or a picture that can't be made is left out, with a warning.
    """
    files = _essential(weights, config, report)
    picture = _picture(report)
    return files | picture | _card(config, report, repo_id, bool(picture), kept)


def _essential(weights: Tensor | TextEdit, config: AdapterConfig, report: dict[str, Any] | None) -> dict[str, bytes]:
    """What loads."""
    from safetensors.torch import save

    tensors = {name: tensor.contiguous() for name, tensor in tensors_of(weights).items()}
    return {
        CONFIG: _json(asdict(config)),
        WEIGHTS[config.kind]: save(tensors),
        **({REPORT: _json(report)} if report else {}),
    }


def _card(
    config: AdapterConfig,
    report: dict[str, Any] | None,
    repo_id: str | None,
    drawn: bool,
    kept: dict[str, Any] | None = None,
) -> dict[str, bytes]:
    card = optional(CARD, lambda: render_card(asdict(config), report, repo_id, drawn, kept).encode())
    return {} if card is None else {CARD: card}


def _picture(report: dict[str, Any] | None) -> dict[str, bytes]:
    from hf_unlearn.adapters.report_plot import plot_report

    def draw() -> bytes:
        plot_report(report or {}, drawn := io.BytesIO())
        return drawn.getvalue()

    picture = optional(PLOT, draw) if report else None
    return {} if picture is None else {PLOT: picture}


def check_out(folder: Path) -> None:
    """Whether `save_folder` may write there, asked before long work; leaves nothing behind.

    Raises:
        ValueError: if the folder holds something and is no adapter.
        OSError: if it can't be written.
    """
    check_target(folder, lambda folder: kind_of(folder) is not None, "adapter")


def save_folder(folder: Path, weights: Tensor | TextEdit, config: AdapterConfig, report: dict[str, Any] | None) -> None:
    """Makes `folder` hold this adapter in place of one that was there; other files beside it stay.

    First what loads and the card, then the picture: whatever it meets, the adapter is there.

    Raises:
        ValueError: if the folder holds something and is no adapter.
        OSError: if it can't be written; what was there stays as it was.
    """
    check_out(folder)
    card = _card(config, report, None, drawn=False)
    replace_files(folder, _essential(weights, config, report) | card, FILES)
    if picture := _picture(report):
        optional(PLOT, lambda: _add(folder, picture | (card and _card(config, report, None, drawn=True))))


def save_report(folder: Path, report: dict[str, Any]) -> None:
    """`report.json` and, after it, its picture.

    Raises:
        ValueError: if there is a file of that name that is no report of ours.
        OSError: if the folder can't be written.
    """
    if (folder / REPORT).exists() or (folder / PLOT).exists():
        try:
            read_report(folder / REPORT)
        except (AdapterError, OSError) as error:
            raise InputError(f"{folder}: has a {REPORT} or {PLOT} of something else; choose another folder") from error
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PLOT).unlink(missing_ok=True)  # an old one must not stand for the new figures
    add_file(folder, REPORT, _json(report))
    if picture := _picture(report):
        optional(PLOT, lambda: _add(folder, picture))


def _add(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        add_file(folder, name, content)


def read_folder(folder: Path) -> tuple[Tensor | TextEdit, AdapterConfig, dict[str, Any] | None]:
    """Weights, config and report of a folder; the config's kind says which file the weights are in.

    Raises:
        AdapterError: if files are missing, damaged, tampered with, too large or too new.
    """
    if not _is_there(whole(folder), CONFIG):
        raise AdapterError(f"{folder}: no {CONFIG}; expected a folder that save_pretrained wrote")
    folder = whole(folder)
    config = read_config(folder / CONFIG)
    name = WEIGHTS[config.kind]
    if not _is_there(folder, name):
        raise AdapterError(f"{folder}: no {name}, which an adapter of kind {config.kind} has; get the adapter again")
    report = read_report(folder / REPORT) if _is_there(folder, REPORT) else None
    return _read_weights(folder / name, config.kind), config, report


def is_adapter(folder: Path) -> bool:
    """Whether a folder has the files of an adapter of either kind; nothing is read."""
    folder = whole(folder)
    return (folder / CONFIG).is_file() and any((folder / name).is_file() for name in WEIGHTS.values())


def kind_of(folder: Path) -> str | None:
    """The kind of the adapter in a folder, after its weights' file; None if there is none of ours."""
    if not is_adapter(folder):
        return None
    folder = whole(folder)
    try:
        small = (folder / CONFIG).stat().st_size <= MAX_BYTES
        ours = small and "base_fingerprint" in json.loads((folder / CONFIG).read_bytes())
    except (ValueError, RecursionError, TypeError):
        ours = True  # damaged
    return next(kind for kind, name in WEIGHTS.items() if (folder / name).is_file()) if ours else None


def _is_there(folder: Path, name: str) -> bool:
    path = folder / name
    if path.is_file() and path.stat().st_size > MAX_BYTES:
        raise AdapterError(f"{path}: larger than {MAX_BYTES >> 20} MiB; no forget adapter is")
    return path.is_file()


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _read_weights(path: Path, kind: str) -> Tensor | TextEdit:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(path.read_bytes())  # not mapped: Windows lets nobody replace a mapped file
    except (SafetensorError, ValueError) as error:
        raise AdapterError(f"{path}: not a readable safetensors file ({error})") from error
    if sorted(tensors) not in TENSORS[kind]:
        wanted = "one tensor named 'context'" if kind == "context" else "tensors named 'up', 'down' and those of a gate"
        raise AdapterError(f"{path}: expected {wanted}, got {sorted(tensors)[:6]}")
    return tensors["context"] if kind == "context" else TextEdit.from_tensors(tensors)
