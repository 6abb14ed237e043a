"""A run's private folder: its state, saved atomically every few seconds, and the way back after a crash.

One safetensors file holds everything; it is replaced whole or not at all, so a run that is killed at any
moment goes on from its last complete save and ends with the same adapter, bit for bit.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from hf_unlearn.errors import InputError, RunError
from hf_unlearn.files import LOCK, STATE, check_target

VERSION = 2


@dataclass
class RunState:
    """What a run is made of between two batches: numbers as JSON, the rest as tensors."""

    facts: dict[str, Any]
    tensors: dict[str, Tensor] = field(default_factory=dict)


class RunDir:
    """One run's folder, used by one process at a time.

    Args:
        folder: made if it is not there.
        identity: what the run is, as name -> digest or value; a folder of another run is refused.
        every: seconds between saves.
    """

    def __init__(self, folder: str | Path, identity: dict[str, Any], every: float = 3.0) -> None:
        self.folder, self.identity, self.every = Path(folder), identity, every
        self._saved = -float("inf")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Raises: RunError: if the folder holds something else or can't be written, or another process works in it."""
        try:
            check_target(self.folder, lambda folder: (folder / STATE).is_file(), "run folder")
        except ValueError as error:
            raise RunError(str(error)) from error
        except OSError as error:
            raise RunError(f"can't be used as a run folder: {error}") from error
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.folder.chmod(0o700)  # hashes of images are in it
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
        """The last complete save; None at the start of a run.

        Raises:
            RunError: if it belongs to another run, or is no state of ours.
        """
        from safetensors import SafetensorError, safe_open

        path = self.folder / STATE
        if not path.exists():
            return None
        try:
            with safe_open(path, "pt") as file:
                told = (file.metadata() or {})["run"]
                tensors = {name: file.get_tensor(name).clone() for name in sorted(file.keys())}
                if file.metadata()["sha256"] != _digest(told, tensors):
                    raise InputError("its bytes have changed since it was written")
            header = json.loads(told)
            version, identity, facts = header["version"], header["identity"], header["facts"]
        except (SafetensorError, OSError, ValueError, LookupError, TypeError, RuntimeError) as error:
            raise RunError(f"{path}: not a run's state ({error}); take the folder away to start anew") from error
        if version != VERSION:
            raise RunError(f"{path}: written by another version of hf_unlearn; take the folder away to start anew")
        if other := [name for name in {**self.identity, **identity} if identity.get(name) != self.identity.get(name)]:
            raise RunError(
                f"{self.folder}: holds a run with other {', '.join(other)}; repeat that run's command, or choose "
                "another run folder"
            )
        return RunState(facts, tensors)

    def due(self) -> bool:
        return time.monotonic() - self._saved >= self.every

    def save(self, state: RunState) -> None:
        """Replaces the state whole.

        Raises:
            RunError: if the disk is full or the folder is gone; the last complete save stays as it was.
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


def _digest(header: str, tensors: dict[str, Tensor]) -> str:
    """SHA-256 of a state: safetensors itself would not notice a flipped bit."""
    whole = sha256(header.encode())
    for name in sorted(tensors):
        whole.update(name.encode() + tensors[name].flatten().view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()
