"""Files at addresses that strangers give: public ones only, within bounds of size and time."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import tempfile
from pathlib import Path

import httpx
from safehttpx import AsyncSecureTransport, matches_domain_whitelist

from hf_unlearn.errors import InputError
from space.inputs.transient_files import process_files

HUB = ["hf.co", "huggingface.co", "*.hf.co", "*.huggingface.co"]  # may be at private addresses for a Space
MOST = 50_000_000  # bytes, as of an upload
SECONDS, REDIRECTS = 30.0, 5
NOT_PUBLIC = "This address leads to no machine on the public internet; give another, or send the file itself."
NOT_REACHED = "Nothing answers at this address; check it, or send the file itself."
REFUSED = "The address answered with status {}; check it, or send the file itself."
TOO_LARGE = "The file at this address is larger than 50 MB; make it smaller."
TOO_SLOW = "The address took too long to answer; send the file itself."


async def fetch(url: str, cache_dir: str) -> str:
    """Downloads a file into a folder of its own below `cache_dir`, and returns its path.

    Raises:
        InputError: if the address or one it redirects to is not public, does not answer with a file, or the file is
            too large.
    """
    try:
        async with asyncio.timeout(SECONDS):
            return await _follow(url, Path(cache_dir))
    except TimeoutError:
        raise InputError(TOO_SLOW) from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
        if isinstance(error, httpx.TimeoutException):
            raise InputError(TOO_SLOW) from None
        raise InputError(NOT_REACHED) from None


async def _follow(url: str, folder: Path) -> str:
    where = httpx.URL(url)
    for _ in range(REDIRECTS):
        transport = await _transport(where)
        async with httpx.AsyncClient(transport=transport) as client, client.stream("GET", where) as answer:
            if answer.has_redirect_location:
                where = where.join(answer.headers["location"])
                continue
            if answer.status_code != 200:
                raise InputError(REFUSED.format(answer.status_code))
            return await _save(answer, folder, Path(where.path).suffix)
    raise InputError(NOT_REACHED)


async def _transport(where: httpx.URL) -> httpx.AsyncBaseTransport | None:
    """Connects to the address that was checked, whatever the name means a moment later."""
    if where.scheme not in ("http", "https") or not where.host:
        raise InputError(NOT_PUBLIC)
    if matches_domain_whitelist(where.host, HUB):
        return None
    found = await asyncio.get_running_loop().getaddrinfo(where.host, None, type=socket.SOCK_STREAM)
    address = next((str(place[0]) for *_, place in found if is_public(str(place[0]))), None)
    if address is None:
        raise InputError(NOT_PUBLIC)
    transport: httpx.AsyncBaseTransport = AsyncSecureTransport(address)
    return transport


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return found.is_global and not found.is_multicast and not found.is_reserved


async def _save(answer: httpx.Response, folder: Path, suffix: str) -> str:
    announced = answer.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > MOST:
        raise InputError(TOO_LARGE)
    process_files().expect(int(announced) if announced.isdecimal() else MOST)
    folder.mkdir(parents=True, exist_ok=True)
    ending = suffix if suffix[1:].isascii() and suffix[1:].isalnum() and len(suffix) < 9 else ""
    path, size = Path(tempfile.mkdtemp(dir=folder)) / f"file{ending}", 0
    try:
        with path.open("wb") as file:
            async for part in answer.aiter_bytes():
                if (size := size + len(part)) > MOST:
                    raise InputError(TOO_LARGE)
                file.write(part)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return str(path)
