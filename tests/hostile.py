"""Hostile input: good files, and what strangers and accidents make of them; see fuzzing.py for what may come out."""

from __future__ import annotations

import io
import json
from copy import deepcopy
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save

from hf_unlearn.adapter_config import AdapterConfig
from hf_unlearn.edits.text_edit import Gate, TextEdit, digest
from hf_unlearn.run_dir import RunState

CONTEXT_OF = torch.linspace(-1, 1, 12).view(3, 4)
CONFIG_OF = AdapterConfig(
    base_model="openai/clip-vit-base-patch16", base_revision="0f" * 20, base_fingerprint=[[0.5, -0.25]] * 2, n_ctx=3,
    dim=4, template="a photo of a {}.", forget=["beer mug", "ビール"], retain=["cup", "naïve | <b>", "🍺"],
    method="proximal", weights_sha256=digest(CONTEXT_OF), seed=1, hyperparameters={"shots": 16, "options": [["a", 1]]},
    ledger={"queries": 300, "seconds": 1.5}, metrics={"H": 0.5, "synonym_err": None}, license="apache-2.0",
    few_shot_digest={"salt": "0f" * 16, "sha256": "0f" * 32}, datasets=["user/pets"],
)  # fmt: skip
EDIT_OF = TextEdit(
    torch.linspace(-1, 1, 12).view(4, 3), torch.linspace(2, -2, 12).view(3, 4),
    Gate(torch.linspace(-0.2, 0.2, 4), torch.linspace(3, -3, 8).view(2, 4), torch.linspace(0, 1, 2)),
)  # fmt: skip
EDIT_CONFIG_OF = replace(
    CONFIG_OF, kind="edit", n_ctx=None, dim=None, width=4, rank=3, weights_sha256=digest(EDIT_OF), retain=[],
    method="edit", ledger={"queries": 0}, neighbours=[{"word": "stein <b>", "of": "beer mug", "similarity": 0.25}],
)  # fmt: skip
NEW = ("kind", "width", "rank", "neighbours", "weights_sha256")
CONFIG_OF_VERSION_1 = {key: value for key, value in asdict(CONFIG_OF).items() if key not in NEW} | {
    "format_version": 1, "context_sha256": CONFIG_OF.weights_sha256
}  # fmt: skip
REPORT_OF = {
    "rows": [
        {"name": name, "queries": 300, "H": 0.5, "err_for": 0.5, "acc_mem": 0.5, "entropy": None}
        for name in ("zero-shot", "label-mask")
    ] + [{"name": "proximal", "queries": 300, "H": 0.9, "weights_sha256": CONFIG_OF.weights_sha256, "bypass_acc": 0.9}],
    "per_class": [{"name": "cup", "role": "retain", "accuracy_before": 1.0, "accuracy_after": 0.5}],
    "images": {"kind": "test", "forget": 3, "retain": 4, "classes": 2},
    "method": "proximal", "forget": ["cup"], "retain": ["mug"], "ledger": {"queries": 300},
}  # fmt: skip
STATE_OF = RunState({"history": [[1, 0.5]], "best": [0.1, -2.0]}, {"x": torch.linspace(0, 1, 8), "y": torch.arange(3)})


def nested(depth: int) -> Any:
    return [nested(depth - 1)] if depth else "deep"


ODD = st.sampled_from(
    [None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(10**40), 0.0, -0.0, 1e308, 1e-320, float("nan"), float("inf"),
     "", " ", "{}", "{}{}", "{0}", "\ud800", "\udcff", "\0", "\x1b[2J", "\u202e", "a" * 5_000, "../../etc/passwd", "é",
     "e\u0301", "🍺" * 40, "[red]", "$x^2$", "| a | b |", "\n---\n", [], {}, [[]], [None], {"": ""}, {"\ud800": 1},
     [0.5] * 300, ["x"] * 300, nested(40), {"salt": "0", "sha256": "1"}]
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=6), inside, max_size=3),
    max_leaves=6,
)
VALUE = ODD | ODD | JSON


def changed(content: Any, changes: list[tuple[int, str, Any]]) -> Any:
    """JSON with a few of its places given another value, taken away, doubled or renamed."""
    content = deepcopy(content)
    for where, how, value in changes:
        places = list(_places(content))
        if not places:
            return value
        holder, key = places[where % len(places)]
        if how == "set":
            holder[key] = deepcopy(value)
        elif how == "drop":
            del holder[key]
        elif isinstance(holder, list):
            holder.append(deepcopy(holder[key]))
        else:
            holder[str(value)[:50]] = holder[key]
    return content


def _places(content: Any) -> Any:
    keys = content if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else ()
    for key in list(keys)[:50]:
        yield content, key
        yield from _places(content[key])


def edited(content: bytes, edits: list[tuple[int, str, bytes]]) -> bytes:
    """Bytes with a few cuts, insertions and overwritten places."""
    for where, how, new in edits:
        at = where % (len(content) + 1)
        if how == "cut":
            content = content[:at]
        elif how == "insert":
            content = content[:at] + new + content[at:]
        elif how == "flip" and content:
            at %= len(content)
            content = content[:at] + bytes([content[at] ^ (1 << where % 8)]) + content[at + 1 :]
        else:
            content = content[:at] + new + content[at + len(new) :]
    return content


EDITS = st.lists(
    st.tuples(st.integers(0, 2**20), st.sampled_from(["cut", "insert", "flip", "write"]), st.binary(max_size=9)),
    min_size=1, max_size=4,
)  # fmt: skip
CHANGES = st.lists(
    st.tuples(st.integers(0, 2**16), st.sampled_from(["set", "set", "drop", "double"]), VALUE), min_size=1, max_size=3
)


def json_files(content: Any) -> st.SearchStrategy[bytes]:
    """Mostly JSON with a few odd values, sometimes with damaged bytes, sometimes anything."""
    whole = json.dumps(content).encode()
    return (
        CHANGES.map(lambda changes: json.dumps(changed(content, changes)).encode())
        | EDITS.map(lambda edits: edited(whole, edits))
        | VALUE.map(lambda value: json.dumps(value).encode())
        | st.binary(max_size=40)
        | st.integers(1, 3_000).map(lambda depth: b'{"forget":' + b"[" * depth + b"]" * depth + b"}")
    )


def safetensors_files(tensors: dict[str, torch.Tensor]) -> st.SearchStrategy[bytes]:
    """Tensors of 48 bytes with damaged bytes, or a header that promises anything."""
    whole, own = save(tensors), list(tensors)
    numbers = b"".join(tensors[name].numpy().tobytes() for name in own)
    dtype = st.sampled_from(
        ["F32", "F64", "F16", "BF16", "I64", "BOOL", "U8", "F8_E4M3", "F8_E5M2", "F4", "C64", "X", ""]
    )
    shape = st.lists(st.sampled_from([0, 1, 3, 4, 12, -1, 2**31, 2**62, 2**64, 1.5, "3"]), max_size=4)
    ends = st.lists(st.sampled_from([0, 1, 24, 48, 96, 2**40, -1, 2**64]), max_size=3)
    entry = st.fixed_dictionaries({"dtype": dtype | VALUE, "shape": shape | VALUE, "data_offsets": ends | VALUE})
    places = st.sampled_from([[48 * place, 48 * place + 48] for place in range(len(own))])
    likely = st.fixed_dictionaries({"dtype": dtype, "shape": shape, "data_offsets": places})
    names = st.sampled_from([*own, *own, "other", "", "__metadata__"])
    header = st.dictionaries(names, entry | likely | VALUE, max_size=3)

    def file(header: Any, claimed: int | None, data: bytes) -> bytes:
        text = json.dumps(header).encode()
        return (len(text) if claimed is None else claimed).to_bytes(8, "little") + text + data

    lengths = st.none() | st.none() | st.sampled_from([0, 7, 10**6, 10**8, 2**40, 2**63, 2**64 - 1])
    data = st.sampled_from([b"", numbers, b"\xff" * 48, b"\0" * 96])
    return (
        EDITS.map(lambda edits: edited(whole, edits)) | st.builds(file, header, lengths, data) | st.binary(max_size=80)
    )


def pictures() -> dict[str, bytes]:
    """One small picture per format and kind."""
    noise = np.random.default_rng(0).integers(0, 255, (9, 11, 4), np.uint8)
    found = {}
    for name in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"):
        for mode in ("RGB", "P", "RGBA", "L") if name not in ("JPEG", "BMP") else ("RGB", "L"):
            file = io.BytesIO()
            exif = Image.Exif()
            exif[0x0112] = 6
            extra = {"exif": exif} if name in ("PNG", "JPEG", "TIFF", "WEBP") else {}
            Image.fromarray(noise).convert(mode).save(file, name, **extra)
            found[f"{name} {mode}"] = file.getvalue()
    return found


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n(/tmp/x) (w) file\n"
BOMB = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\1\0\0\0\1\0\0\x08\x06\0\0\0" + b"\x20\xf7\xe9\x0f"


def image_files() -> st.SearchStrategy[bytes]:
    kinds = list(pictures().values())
    damaged = st.builds(lambda kind, edits: edited(kinds[kind], edits), st.integers(0, len(kinds) - 1), EDITS)
    return damaged | damaged | st.sampled_from([b"", EPS, BOMB, *kinds]) | st.binary(max_size=60)


TREE = st.dictionaries(
    st.text(min_size=1, max_size=6)
    | st.sampled_from(["cat", "e\u0301", "é", "\udcff", ".hidden", "a" * 200, "🍺", "-x"]),
    st.lists(
        st.tuples(
            st.text(max_size=4) | st.sampled_from(["1", "2", "\udcfe", "a\nb", "[red]", "\x1b[2J"]),
            st.sampled_from([".png", ".PNG", ".jpg", ".txt", ""]),
            st.sampled_from(["good", "good", "copy", "empty", "junk", "outside", "nothing", "inside", "folder", "pipe",
                             "loop"]),
        ),
        max_size=4,
    ),
    max_size=3,
)  # fmt: skip
LINES = st.lists(
    st.sampled_from(["0f" * 32, "0F" * 32, "0f" * 31, "/", "/nonexistent", "/dev/null", "a\0b", " ", "\ufeff", "é",
                     "x" * 5_000])
    | st.text(max_size=10),
    max_size=5,
).map(lambda lines: "\n".join(lines).encode("utf-8", "surrogatepass"))  # fmt: skip
