"""Hostile input for a Space: requests to its API, and zips."""

from __future__ import annotations

import base64
import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.support.hostile import BOMB, EDITS, EPS, VALUE, edited, pictures

PICTURE = next(iter(pictures().values()))


@dataclass(frozen=True)
class Call:
    """One request to a Space: to its black box, or an order to forget something."""

    api: str
    arguments: tuple[Any, ...]


def calls() -> st.SearchStrategy[Call]:
    picture = base64.b64encode(PICTURE).decode()
    context = base64.b64encode(np.zeros((1, 2, 32), "<f4").tobytes()).decode()
    payload = VALUE | st.sampled_from(
        [picture, context, base64.b64encode(EPS).decode(), base64.b64encode(BOMB).decode()]
    )
    base = st.just("embedded") | st.just("embedded") | VALUE
    template = st.just("a {}") | st.sampled_from(["{}", "{0}", "{x}", "x" * 150 + "{}", "{}" * 2]) | VALUE
    handle = st.sampled_from(["mine", "mine", "", "other"]) | VALUE
    names = st.just(["cup", "mug"]) | st.lists(VALUE, max_size=3) | VALUE
    shape = st.just([1, 2, 32]) | st.lists(st.sampled_from([0, 1, 2, 32, 64, -1, 2**40, True, 1.0]), max_size=4) | VALUE
    sent = st.just([picture]) | st.lists(payload, max_size=3) | VALUE
    text = st.sampled_from(["cup\nmug", "cup, mug", "", " ,\n", "cup (to be forgotten)", "x\n" * 300]) | VALUE
    source = st.sampled_from(["names", "drawings", "files", "dataset"]) | VALUE
    budget, strength = st.sampled_from([50, 300.5, 3_000]) | VALUE, st.just("normal") | VALUE
    method = st.sampled_from(["edit", "context", ""]) | VALUE
    return (
        st.builds(lambda *a: Call("describe", a), base, template)
        | st.builds(lambda *a: Call("add_images", a), base, handle, sent)
        | st.builds(lambda *a: Call("score", a), base, template, handle, names, st.just(context) | payload, shape)
        | st.builds(lambda *a: Call("order", a), base, text, text, source, budget, strength, st.just(()), text, method)
    )


LINK, PIPE, FOLDER, FILE = (kind << 16 for kind in (0o120777, 0o010644, 0o040755, 0o100644))
NAMES = [
    "cat/1.png", "cat/2.PNG", "dog/1.png", "things/dog/1.png", "cat", "cat/", "cat/1.png/2.png", "1.png",
    "config.json", "forget_context.safetensors", "forget_edit.safetensors", "a/config.json",
    "__MACOSX/1.png", ".hidden/1.png", "e\u0301/1.png",
    "é/1.png", "\u202egnp.1/1.png", " /1.png", "a\nb/1.png", "\0.png", "", "/", ".", "./", "./cat/3.png", "cat//4.png",
    "..", "../", "../escaped", "/escaped", "a/../../escaped", "..\\escaped", "\\escaped", "C:\\escaped", "~/escaped",
    "x" * 300, "a/" * 15 + "1.png", "a/" * 400 + "1.png", "a/" * 1_500 + "1.png",
]  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """One file of a zip; `lies`, and `false_name` in front of the content, are what the zip says instead."""

    name: bytes
    content: bytes
    flags: int
    method: int
    attributes: int
    extra: bytes
    lies: dict[str, int]
    false_name: bytes | None

    def packed(self) -> bytes:
        deflate = zlib.compressobj(wbits=-15)
        deflated = deflate.compress(self.content) + deflate.flush()
        return deflated if self.method == zipfile.ZIP_DEFLATED else self.content

    def facts(self) -> bytes:
        told = {"crc": zlib.crc32(self.content), "packed": len(self.packed()), "size": len(self.content), **self.lies}
        return struct.pack("<HHHHIII", self.flags, self.method, 0, 33, told["crc"], told["packed"], told["size"])


def zip_of(entries: list[Entry], comment: bytes, lies: dict[str, int]) -> bytes:
    """A zip that says of its entries what they say of themselves."""
    body, listed = b"", b""
    for entry in entries:
        listed += struct.pack("<4sHH", b"PK\1\2", 0x314, 20) + entry.facts()
        place = entry.lies.get("offset", len(body))
        listed += struct.pack("<HHHHHII", len(entry.name), len(entry.extra), 0, 0, 0, entry.attributes, place)
        listed += entry.name + entry.extra
        name = entry.name if entry.false_name is None else entry.false_name
        body += struct.pack("<4sH", b"PK\3\4", 20) + entry.facts() + struct.pack("<HH", len(name), 0) + name
        body += entry.packed()
    told = {"count": len(entries), "length": len(listed), "start": len(body), **lies}
    count = told["count"] & 0xFFFF
    end = struct.pack("<4sHHHHII", b"PK\5\6", 0, 0, count, count, told["length"], told["start"])
    return body + listed + end + struct.pack("<H", len(comment)) + comment


def zips() -> st.SearchStrategy[bytes]:
    """Mostly whole zips, of plain files or of odd ones that lie; sometimes damaged ones, or zips of zips."""
    number = st.sampled_from([0, 1, 60, 2**31, 2**32 - 2, 2**32 - 1])
    good = st.sampled_from([name.encode() for name in NAMES[:16]])
    name = good | st.sampled_from([name.encode() for name in NAMES]) | st.text(max_size=5).map(str.encode)
    content = st.sampled_from([PICTURE, PICTURE, b"", b"junk", BOMB, b"{}", bytes(300_000)])
    wide = struct.pack("<HHQQQ", 1, 24, 2**63, 2**63, 2**64 - 1)  # 64-bit sizes and place

    def entry(name: Any, flags: Any, method: Any, attributes: Any, extra: Any, lies: Any, false: Any) -> Any:
        return st.builds(Entry, name, content, flags, method, attributes, extra, lies, false)

    truth, plain = st.just({}), (st.just(0x800), st.just(8), st.just(FILE), st.just(b""))
    lies = st.dictionaries(st.sampled_from(["crc", "packed", "size", "offset"]), number, max_size=2)
    files = [
        entry(good, *plain, truth, st.none()),
        entry(name, *plain, truth, st.none()),
        entry(name, *plain, lies, st.none() | name),
        entry(
            name | st.binary(max_size=5),
            st.sampled_from([0x800, 0x800, 0, 1, 8, 0x20, 0x40, 0xFFFF]),
            st.sampled_from([0, 8, 8, 12, 14, 93, 0xFFFF]),
            st.sampled_from([FILE, FILE, 0, FOLDER, LINK, PIPE]),
            st.sampled_from([b"", b"", wide, wide[:9], b"\1\0\xff\xff"]) | st.binary(max_size=9),
            truth, st.none(),
        ),
    ]  # fmt: skip
    some = st.one_of([st.lists(file, min_size=1, max_size=4, unique_by=lambda file: file.name) for file in files])
    mixed = st.lists(st.one_of(files), max_size=4)
    ends = st.sampled_from([b"", b"PK\5\6", b"PK\6\7" + bytes(16) + b"PK\5\6" + bytes(18)])
    lying = st.dictionaries(st.sampled_from(["count", "length", "start"]), number, max_size=2)
    whole = st.builds(zip_of, some | some | mixed, st.just(b""), truth)
    odd = st.builds(zip_of, some, ends, lying) | st.builds(edited, whole, EDITS) | st.binary(max_size=40)
    inner = st.builds(lambda inside: zip_of([Entry(b"cat/1.png", inside, 0, 8, FILE, b"", {}, None)], b"", {}), whole)
    return whole | whole | whole | inner | odd
