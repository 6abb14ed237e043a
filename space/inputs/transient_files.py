"""The folder for uploads and downloads: of this process alone, within bounds, and swept of old files."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from hf_unlearn.errors import InputError
from space.inputs.disk import bytes_setting, file_size

VARIABLE, MOST_BYTES = "HF_UNLEARN_SPACE_FILES", 4_000_000_000
PREFIX = "hf_unlearn-space-"
KEPT_SECONDS, FRESH_SECONDS = 4_000, 600  # Gradio itself forgets its files after an hour
SWEPT_EVERY = 10.0  # seconds
UPLOADS, DOWNLOADS = "uploads", "downloads"
FULL = "This Space's disk is full of what others sent and made; try again in ten minutes."


class TransientFiles:
    """A folder of files that are needed only for a short time.

    Args:
        parent: the folder to create it in. Default: the system's temporary folder.
        most: bytes. Default: `HF_UNLEARN_SPACE_FILES`, or 4 GB.

    Raises:
        InputError: if the variable is no number of bytes.
    """

    def __init__(self, parent: str | Path | None = None, most: int | None = None) -> None:
        self.most = bytes_setting(VARIABLE, MOST_BYTES) if most is None else most
        _remove_abandoned(Path(parent or tempfile.gettempdir()))
        self.home = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        atexit.register(shutil.rmtree, self.home, ignore_errors=True)
        self._used = 0

    def folder(self, name: str) -> Path:
        """A sub-folder, created if it does not exist."""
        path = self.home / name
        path.mkdir(exist_ok=True)
        return path

    def sweep(self, now: float | None = None) -> None:
        """Removes old files; then the oldest of the rest until the bytes fit. Fresh files may be in use and stay.

        Args:
            now: seconds since the epoch. Default: the present time.
        """
        now = time.time() if now is None else now
        os.utime(self.home, (now, now))  # another process sees that this one is alive
        files = sorted((_age(path, now), file_size(path), path) for path in self.home.rglob("*") if path.is_file())
        used = sum(size for _, size, _ in files)
        for age, size, path in reversed(files):
            kept = FRESH_SECONDS if path.is_relative_to(self.home / DOWNLOADS) else KEPT_SECONDS
            if age > kept or (used > self.most and age > FRESH_SECONDS):
                with suppress(OSError):
                    path.unlink()
                    used -= size
        for folder in sorted((path for path in self.home.glob("*/**/*") if path.is_dir()), reverse=True):
            if _age(folder, now) > FRESH_SECONDS:
                with suppress(OSError):
                    folder.rmdir()  # fails unless it is empty
        self._used = used

    def expect(self, size: int) -> None:
        """Reserves bytes for a file that is about to come.

        Raises:
            InputError: if there is no room for it.
        """
        if self._used + size > self.most:
            self.sweep()
            if self._used + size > self.most:
                raise InputError(FULL)
        self._used += size


@lru_cache(maxsize=1)
def process_files() -> TransientFiles:
    """This process's folder, inside the operator's `GRADIO_TEMP_DIR`; Gradio's uploads go there from then on."""
    files = TransientFiles(os.environ.get("GRADIO_TEMP_DIR") or None)
    os.environ["GRADIO_TEMP_DIR"] = str(files.folder(UPLOADS))
    return files


def _age(path: Path, now: float) -> float:
    """Seconds since a file was changed."""
    try:
        return now - path.lstat().st_mtime
    except OSError:
        return 0.0


def _remove_abandoned(parent: Path) -> None:
    """Removes folders of processes that were killed: no process has touched them for long."""
    for left in parent.glob(f"{PREFIX}*") if parent.is_dir() else ():
        if left.is_dir() and _age(left, time.time()) > KEPT_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
