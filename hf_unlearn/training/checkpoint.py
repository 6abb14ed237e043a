"""The checkpoint of a run: its state in a private folder, saved atomically every few seconds.

One safetensors file holds everything and is replaced whole or not at all. A run that is killed at any moment
resumes from its last complete save and ends with the same adapter, bit for bit.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from hf_unlearn.arguments import folder_path
from hf_unlearn.errors import InputError, RunError
from hf_unlearn.files import LOCK, STATE, check_target

VERSION = 5
RENAMED = {"search gone on with": "search that it continues"}  # parts of an identity, as earlier files name them


@dataclass
class RunState:
    """The state of a run between two batches: facts that JSON can hold, and tensors."""

    facts: dict[str, Any]
    tensors: dict[str, Tensor] = field(default_factory=dict)


class Checkpoint:
    """One run's folder, used by one process at a time.

    Args:
        folder: created if it does not exist.
        identity: name -> digest or value; a folder with another identity is refused.
        every: seconds between saves.
    """

    def __init__(self, folder: str | Path, identity: Mapping[str, Any], every: float = 3.0) -> None:
        self.folder, self.identity, self.every = folder_path("run_dir", folder), dict(identity), every
        self._saved = -float("inf")

    @classmethod
    @contextmanager
    def open(cls, folder: str | Path | None, identity: Mapping[str, Any], *, lock: bool) -> Iterator[Checkpoint | None]:
        """Opens a run's folder for the block; None where no folder is given.

        Args:
            lock: whether this process keeps others out; of a job's processes the main one does.

        Raises:
            RunError: see `locked`.
        """
        if folder is None:
            yield None
            return
        checkpoint = cls(folder, identity)
        with checkpoint.locked() if lock else nullcontext():
            yield checkpoint

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes out of the folder within the block.

        Raises:
            RunError: if the folder holds something else, can't be written, or is in use by another process.
        """
        try:
            check_target(self.folder, lambda folder: (folder / STATE).is_file(), "run folder")
        except ValueError as error:
            raise RunError(str(error)) from error
        except OSError as error:
            raise RunError(f"can't be used as a run folder: {error}") from error
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.folder.chmod(0o700)  # it holds hashes of images
            lock = FileLock(self.folder / LOCK).acquire(timeout=0)
        except Timeout:
            raise RunError(
                f"{self.folder}: another process is working in this run folder; wait for it or choose another"
            ) from None
        except OSError as error:
            raise RunError(
                f"{self.folder}: can't be used as a run folder ({error.strerror}); choose another"
            ) from error
        with lock:
            yield

    def load(self) -> RunState | None:
        """Loads the last complete save; None at the start of a run.

        Raises:
            RunError: if it belongs to another run, or is not a valid state.
        """
        path = self.folder / STATE
        if not path.exists():
            return None
        header, tensors = _read(path)
        identity = {RENAMED.get(name, name): value for name, value in header["identity"].items()}
        if other := [name for name in {**self.identity, **identity} if identity.get(name) != self.identity.get(name)]:
            raise RunError(
                f"{self.folder}: holds a run with other {', '.join(other)}; repeat that run's command, or choose "
                "another run folder"
            )
        return RunState(header["facts"], tensors)

    def is_due(self) -> bool:
        """Whether the last save is `every` seconds ago."""
        return time.monotonic() - self._saved >= self.every

    def save(self, state: RunState) -> None:
        """Replaces the saved state whole.

        Raises:
            RunError: if the disk is full or the folder was removed; the last complete save stays as it was.
        """
        from safetensors.torch import save

        header = json.dumps({"version": VERSION, "identity": self.identity, "facts": state.facts})
        tensors = {name: value.detach().cpu().contiguous() for name, value in state.tensors.items()}
        fresh = self.folder / f".{STATE}"
        try:
            with fresh.open("wb") as file:
                file.write(save(tensors, metadata={"run": header, "sha256": _digest(header, tensors)}))
                file.flush()
                os.fsync(file.fileno())
            os.replace(fresh, self.folder / STATE)
        except OSError as error:
            fresh.unlink(missing_ok=True)
            raise RunError(
                f"{self.folder}: can't save the run ({error.strerror}); what was saved before is intact: make room "
                "and repeat the command"
            ) from error
        self._saved = time.monotonic()


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Reads the header and the tensors of a state.

    Raises:
        RunError: if they are damaged, or of another version.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name).clone() for name in sorted(file.keys())}
        if metadata["sha256"] != _digest(metadata["run"], tensors):
            raise InputError("its bytes have changed since it was written")
        header: dict[str, Any] = json.loads(metadata["run"])
        version = header["version"]
    except (SafetensorError, OSError, ValueError, LookupError, TypeError, RuntimeError) as error:
        raise RunError(f"{path}: not a run's state ({error}); delete it to start over") from error
    if version != VERSION:
        raise RunError(f"{path}: written by another version of hf_unlearn; delete it to start over")
    return header, tensors


def _digest(header: str, tensors: dict[str, Tensor]) -> str:
    """SHA-256 of a state: safetensors itself would not notice a flipped bit."""
    whole = sha256(header.encode())
    for name in sorted(tensors):
        whole.update(name.encode() + tensors[name].flatten().view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()
