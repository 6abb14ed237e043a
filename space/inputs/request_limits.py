"""Limits of an HTTP request: its bytes, and the room on disk for an upload."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from space.error_log import log_error
from space.inputs.transient_files import TransientFiles

NOT_UNDERSTOOD = "This request makes no sense here; see 'Use via API' on the page."

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class RequestLimits:
    """ASGI middleware that refuses a body that is too large, and an upload for which the disk has no room.

    A request that breaks the application gets an answer in words, and its error goes to the log.

    Args:
        app: the application.
        files: the folder of uploads.
        upload, body: bytes of an upload, and of any other request.
    """

    def __init__(self, app: App, files: TransientFiles, upload: int, body: int) -> None:
        self.app, self.files, self.upload, self.body = app, files, upload, body

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Passes a request to the application, or refuses it."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self.app(scope, receive, send)
            return
        upload = scope["path"].rstrip("/").endswith("/upload")
        most = self.upload if upload else self.body
        announced = _announced_bytes(scope)
        if announced > most:
            return await _refuse_size(send, most)
        try:
            if upload:
                self.files.expect(announced or most)
        except ValueError as error:
            return await _refuse(send, 503, str(error))
        await self._pass_on(scope, receive, send, most)

    async def _pass_on(self, scope: Message, receive: Receive, send: Send, most: int) -> None:
        read, started = 0, False

        async def count_received() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > most:
                raise _TooLargeError
            return message

        async def note_start(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, count_received, note_start)
        except _TooLargeError:
            if started:
                raise
            await _refuse_size(send, most)
        except Exception as error:
            log_error(error, _route(scope["path"]))
            if started:
                raise
            await _refuse(send, 500, NOT_UNDERSTOOD)


class _TooLargeError(Exception):
    """More bytes came than the limit allows."""


def _route(path: str) -> str:
    """The start of a path, in which no file is named."""
    return "/".join(path.split("/")[:3])[:40]


def _announced_bytes(scope: Message) -> int:
    length = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
    return int(length) if length.isdigit() else 0


async def _refuse_size(send: Send, most: int) -> None:
    await _refuse(send, 413, f"At most {most / 2**20:,.0f} MB are accepted at once.")


async def _refuse(send: Send, status: int, words: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": words.encode()})
