"""Hostile input: good files, and what strangers and accidents make of them; see fuzzing.py for what may come out."""

from __future__ import annotations

import io
import json
import struct
import warnings
from copy import deepcopy
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save

from hf_unlearn.adapters.config import AdapterConfig
from hf_unlearn.models.text_edit import Gate, TextEdit, digest
from hf_unlearn.training.checkpoint import RunState

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
AT_THE_START = st.lists(  # where headers are
    st.tuples(st.integers(0, 400), st.sampled_from(["insert", "flip", "write"]), st.binary(max_size=4)),
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
    """One small picture per format and kind that is read, the first one a PNG in RGB."""
    Image.init()
    noise = np.random.default_rng(0).integers(0, 255, (9, 11, 4), np.uint8)
    whole = Image.fromarray(noise)
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8825)[1] = "N"
    made: dict[str, tuple[str, Image.Image, dict[str, Any]]] = {}
    for name, modes in MODES.items():
        extra = {"exif": exif} if name in ("PNG", "JPEG", "TIFF", "WEBP", "AVIF") else {}
        made |= {f"{name} {mode}": (name, whole.convert(mode), extra) for mode in modes.split()}
    deep = Image.fromarray(noise[..., 0].astype(np.uint16) << 8)
    made |= {f"{name} of 16 bits": (name, deep, {}) for name in ("PNG", "TIFF", "PPM", "JPEG2000")}
    made |= {f"TIFF {how}": ("TIFF", whole.convert("RGB"), {"compression": how}) for how in PACKED}
    made["TIFF group4"] = ("TIFF", whole.convert("1"), {"compression": "group4"})
    made["TIFF of floats"] = ("TIFF", Image.fromarray(noise[..., 0] / np.float32(255)), {})
    made["PFM"] = ("PPM", Image.fromarray(noise[..., 0] / np.float32(255)), {})
    made["packed TGA"] = ("TGA", whole, {"compression": "tga_rle"})
    made["progressive JPEG"] = ("JPEG", whole.convert("RGB"), {"progressive": True, "comment": b"x" * 20})
    made["JPEG for print"] = ("JPEG", whole.convert("CMYK"), {})
    frames = {"save_all": True, "append_images": [whole.rotate(90), whole.rotate(180)]}
    made |= {f"{name} of frames": (name, whole, frames) for name in ("PNG", "GIF", "WEBP", "TIFF", "AVIF")}
    made["MPO"] = ("MPO", whole.convert("RGB"), {"save_all": True, "append_images": [whole.convert("L")]})
    found = {kind: _saved(*how) for kind, how in made.items() if how[0] in Image.SAVE}
    return found | {"PSD": b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 9, 11, 8, 3) + bytes(14 + 3 * 9 * 11)}


MODES = {
    "PNG": "RGB P RGBA L LA 1", "JPEG": "RGB L", "GIF": "RGB P RGBA L", "BMP": "RGB L P 1",
    "TIFF": "RGB P RGBA L CMYK LAB", "WEBP": "RGB P RGBA L", "AVIF": "RGB RGBA L", "DIB": "RGB L", "PPM": "RGB L 1",
    "JPEG2000": "RGB RGBA L",
    "TGA": "RGB RGBA L P", "QOI": "RGB RGBA", "PCX": "RGB L P", "SGI": "RGB RGBA L",
}  # fmt: skip
PACKED = ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits")


def _saved(name: str, image: Image.Image, options: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    image.save(file, name, **options)
    return file.getvalue()


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n(/tmp/x) (w) file\n"
BOMB = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\1\0\0\0\1\0\0\x08\x06\0\0\0" + b"\x20\xf7\xe9\x0f"


def image_files() -> st.SearchStrategy[tuple[str, bytes]]:
    """The end of a name, and bytes: a picture's own, damaged, or anything."""
    kinds = [(".tga" if "TGA" in kind else ".png", content) for kind, content in pictures().items()]
    damaged = st.builds(lambda kind, edits: (kind[0], edited(kind[1], edits)), st.sampled_from(kinds), EDITS)
    near = st.builds(lambda kind, edits: (kind[0], edited(kind[1], edits)), st.sampled_from(kinds), AT_THE_START)
    any_end = st.sampled_from([".png", ".tga", ".jpg"])
    other = st.tuples(any_end, st.sampled_from([b"", EPS, BOMB]) | st.binary(max_size=60))
    return damaged | damaged | near | near | st.sampled_from(kinds) | other


def arrays() -> st.SearchStrategy[Any]:
    """Arrays and tensors of any kind, shape and numbers, a few of these odd."""
    return st.builds(
        _array,
        st.sampled_from([*"?bBhHiIlLqQefdgFD", ">u2", ">f4", "M8[s]", "O", "U3", "S2", "V4", "u1,u1"]),
        st.lists(st.sampled_from([0, 1, 2, 3, 4, 5, 9]), max_size=5),
        st.integers(0, 2**16),
        st.sampled_from([0, 1, 1, 255, 256, 4095, 65535, 65536, 1e30]),
        st.lists(st.sampled_from([0, 1, -1, 256, 2**62, 1e-40, 1e38, 1e308, float("nan"), float("inf")]), max_size=2),
        st.sampled_from(["as it is", "reversed", "turned", "read-only", "masked", "list", *TENSORS]),
    )  # fmt: skip


TENSORS = (
    "tensor",
    "bfloat16",
    "half",
    "float8_e4m3fn",
    "complex64",
    "of gradients",
    "sparse",
    "meta",
    "turned tensor",
)


def _array(kind: str, shape: list[int], start: int, top: float, odd: list[float], held: str) -> Any:
    numbers = np.asarray(np.random.default_rng(start).random(shape) * top)
    for place, value in enumerate(odd):
        numbers.flat[place * 7 % max(1, numbers.size) : place * 7 % max(1, numbers.size) + 1] = value
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            array = np.asarray(numbers.astype(np.dtype(kind)))
        except (TypeError, ValueError, OverflowError):
            array = numbers
    if held in TENSORS:
        return _tensor(array, held)
    if held == "read-only":
        array.flags.writeable = False
    views = {"reversed": lambda: array[::-1] if array.ndim else array, "turned": lambda: array.T, "list": array.tolist}
    return np.ma.masked_array(array, numbers > top / 2) if held == "masked" else views.get(held, lambda: array)()


def _tensor(array: np.ndarray, held: str) -> Any:
    try:
        tensor = torch.from_numpy(np.ascontiguousarray(array))
    except (TypeError, ValueError):  # no number, or another machine's
        tensor = torch.zeros(array.shape)
    if held in ("bfloat16", "half", "float8_e4m3fn", "complex64"):
        return (tensor.real if tensor.is_complex() else tensor).to(getattr(torch, held))
    if held == "of gradients":
        return (tensor if tensor.is_floating_point() else tensor.real.float()).requires_grad_()
    if held == "meta":
        return tensor.to("meta")
    if held == "turned tensor":
        return tensor.permute(tuple(reversed(range(tensor.ndim))))
    return tensor.double().to_sparse() if held == "sparse" and tensor.ndim and not tensor.is_complex() else tensor


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
