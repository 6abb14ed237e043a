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
from space.inputs.disk import bytes_setting

VARIABLE, MOST_BYTES = "HF_UNLEARN_SPACE_FILES", 4_000_000_000
PREFIX = "hf_unlearn-space-"
KEPT_SECONDS, FRESH_SECONDS = 4_400, 600  # Gradio removes its files within 4,200 s, and must find them to forget them
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
        folders = list(os.walk(self.home))
        files = sorted(_look(os.path.join(folder, name), now) for folder, _, names in folders for name in names)
        used = sum(size for _, size, _ in files)
        downloads = f"{self.home / DOWNLOADS}{os.sep}"
        for age, size, path in reversed(files):
            kept = FRESH_SECONDS if path.startswith(downloads) else KEPT_SECONDS
            if age > kept or (used > self.most and age > FRESH_SECONDS):
                with suppress(OSError):
                    os.unlink(path)
                    used -= size
        for folder, inner, names in folders[1:]:
            if not inner and not names and Path(folder).parent != self.home and _age(Path(folder), now) > FRESH_SECONDS:
                with suppress(OSError):
                    os.rmdir(folder)
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
    return _look(str(path), now)[0]


def _look(path: str, now: float) -> tuple[float, int, str]:
    """Seconds since a file was changed, its bytes, and its path; none of both if it no longer exists."""
    try:
        found = os.lstat(path)
    except OSError:
        return 0.0, 0, path
    return now - found.st_mtime, found.st_size, path


def _remove_abandoned(parent: Path) -> None:
    """Removes folders of processes that were killed: no process has touched them for long."""
    for left in parent.glob(f"{PREFIX}*") if parent.is_dir() else ():
        if left.is_dir() and _age(left, time.time()) > KEPT_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
