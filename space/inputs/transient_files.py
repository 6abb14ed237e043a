"""Files that pass through the Space, uploads and downloads: in a folder of this process, within bounds, soon gone."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from space.inputs.disk import bytes_of, size_of

VARIABLE, MOST_BYTES = "HF_UNLEARN_SPACE_FILES", 4_000_000_000
PREFIX = "hf_unlearn-space-"
KEPT_SECONDS, FRESH_SECONDS = 4_000, 600  # Gradio itself forgets its files after an hour
SWEPT_EVERY = 10.0  # seconds
UPLOADS, OUTBOX = "uploads", "outbox"
log = logging.getLogger("space")
FULL = "This Space's disk is full of what others sent and made; try again in ten minutes."


class Passing:
    """A folder of files that nobody needs for long.

    Args:
        parent: where it is made; the system's temporary folder if not given.
        most: bytes; those that `HF_UNLEARN_SPACE_FILES` says, or 4 GB, if not given.

    Raises:
        ValueError: if the variable is no number of bytes.
    """

    def __init__(self, parent: str | Path | None = None, most: int | None = None) -> None:
        self.most = bytes_of(VARIABLE, MOST_BYTES) if most is None else most
        _sweep_after_the_dead(Path(parent or tempfile.gettempdir()))
        self.home = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        atexit.register(shutil.rmtree, self.home, ignore_errors=True)
        self._used = 0

    def folder(self, name: str) -> Path:
        """A folder in it, made if it is not there."""
        path = self.home / name
        path.mkdir(exist_ok=True)
        return path

    def sweep(self, now: float | None = None) -> None:
        """What is old goes, and of the rest the oldest, until the bytes fit; what is fresh may be in use and stays."""
        now = time.time() if now is None else now
        os.utime(self.home, (now, now))  # alive, for those that come later
        files = sorted((_age_of(path, now), size_of(path), path) for path in self.home.rglob("*") if path.is_file())
        used = sum(size for _, size, _ in files)
        for age, size, path in reversed(files):
            kept = FRESH_SECONDS if path.is_relative_to(self.home / OUTBOX) else KEPT_SECONDS
            if age > kept or (used > self.most and age > FRESH_SECONDS):
                with suppress(OSError):
                    path.unlink()
                    used -= size
        for folder in sorted((path for path in self.home.glob("*/**/*") if path.is_dir()), reverse=True):
            if _age_of(folder, now) > FRESH_SECONDS:
                with suppress(OSError):
                    folder.rmdir()  # only if it is empty
        self._used = used

    def expect(self, size: int) -> None:
        """Counts a file that is about to come.

        Raises:
            ValueError: if there is no room for it.
        """
        if self._used + size > self.most:
            self.sweep()
            if self._used + size > self.most:
                raise ValueError(FULL)
        self._used += size


@lru_cache(maxsize=1)
def here() -> Passing:
    """This process's, where the operator has Gradio's files; Gradio's go there from now on."""
    passing = Passing(os.environ.get("GRADIO_TEMP_DIR") or None)
    os.environ["GRADIO_TEMP_DIR"] = str(passing.folder(UPLOADS))
    return passing


def _age_of(path: Path, now: float) -> float:
    try:
        return now - path.lstat().st_mtime
    except OSError:
        return 0.0


def _sweep_after_the_dead(parent: Path) -> None:
    """Folders of processes that were killed: nobody has touched them for long."""
    for left in parent.glob(f"{PREFIX}*") if parent.is_dir() else ():
        if left.is_dir() and _age_of(left, time.time()) > KEPT_SECONDS:
            shutil.rmtree(left, ignore_errors=True)


class Bounded:
    """ASGI middleware: no request's body is larger than any that makes sense, and no upload comes that has no room.

    A request that breaks Gradio is answered in words, and is one line in the log.

    Args:
        upload, body: bytes of an upload, and of any other request.
    """

    def __init__(self, app: Any, passing: Passing, upload: int, body: int) -> None:
        self.app, self.passing, self.upload, self.body = app, passing, upload, body

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self.app(scope, receive, send)
            return
        upload = scope["path"].rstrip("/").endswith("/upload")
        most, read, started = self.upload if upload else self.body, 0, False
        length = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
        announced = int(length) if length.isdigit() else 0
        if announced > most:
            return await _refuse(send, 413, f"At most {most / 2**20:,.0f} MB are taken at once.")
        try:
            if upload:
                self.passing.expect(announced or most)
        except ValueError as error:
            return await _refuse(send, 503, str(error))

        async def received() -> Any:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > most:
                raise _TooLargeError
            return message

        async def sent(message: Any) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, received, sent)
        except Exception as error:
            if not isinstance(error, _TooLargeError):
                log.error("%s at %s", type(error).__name__, scope["path"])
            if started:
                raise
            if isinstance(error, _TooLargeError):
                await _refuse(send, 413, f"At most {most / 2**20:,.0f} MB are taken at once.")
            else:
                await _refuse(send, 500, "This request makes no sense here; see 'Use via API' on the page.")


class _TooLargeError(Exception):
    pass


async def _refuse(send: Any, status: int, words: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": words.encode()})
