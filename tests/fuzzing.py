"""Hostile input for every reader, and what may come out; for test_fuzz.py and benchmarks/fuzz.py."""

from __future__ import annotations

import io
import json
import os
import warnings
from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save

from hf_unlearn import ForgetAdapter, LabeledImages
from hf_unlearn.adapter_config import CONFIG, AdapterConfig, AdapterError, read_config
from hf_unlearn.adapter_files import CONTEXT, digest, files_of
from hf_unlearn.adapter_report import read_report
from hf_unlearn.card import render_card
from hf_unlearn.cli_files import read_digests, read_strings, read_words
from hf_unlearn.image_files import to_rgb
from hf_unlearn.run_dir import STATE, RunDir, RunError, RunState

CONTEXT_OF = torch.linspace(-1, 1, 12).view(3, 4)
CONFIG_OF = AdapterConfig(
    base_model="openai/clip-vit-base-patch16", base_revision="0f" * 20, base_fingerprint=[[0.5, -0.25]] * 2, n_ctx=3,
    dim=4, template="a photo of a {}.", forget=["beer mug", "ビール"], retain=["cup", "naïve | <b>", "🍺"],
    method="proximal", context_sha256=digest(CONTEXT_OF), seed=1, hyperparameters={"shots": 16, "options": [["a", 1]]},
    ledger={"queries": 300, "seconds": 1.5}, metrics={"H": 0.5, "synonym_err": None}, license="apache-2.0",
    few_shot_digest={"salt": "0f" * 16, "sha256": "0f" * 32}, datasets=["user/pets"],
)  # fmt: skip
REPORT_OF = {
    "rows": [
        {"name": name, "queries": 300, "H": 0.5, "err_for": 0.5, "acc_mem": 0.5, "entropy": None}
        for name in ("zero-shot", "label-mask")
    ] + [{"name": "proximal", "queries": 300, "H": 0.9, "context_sha256": CONFIG_OF.context_sha256, "bypass_acc": 0.9}],
    "per_class": [{"name": "cup", "role": "retain", "accuracy_before": 1.0, "accuracy_after": 0.5}],
    "images": {"kind": "test", "forget": 3, "retain": 4, "classes": 2},
    "method": "proximal", "forget": ["cup"], "retain": ["mug"], "ledger": {"queries": 300},
}  # fmt: skip
STATE_OF = RunState({"history": [[1, 0.5]], "best": [0.1, -2.0]}, {"x": torch.linspace(0, 1, 8), "y": torch.arange(3)})

# What to feed


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


def safetensors_files() -> st.SearchStrategy[bytes]:
    """A context with damaged bytes, or a header that promises anything."""
    whole = save({"context": CONTEXT_OF})
    dtype = st.sampled_from(
        ["F32", "F64", "F16", "BF16", "I64", "BOOL", "U8", "F8_E4M3", "F8_E5M2", "F4", "C64", "X", ""]
    )
    shape = st.lists(st.sampled_from([0, 1, 3, 4, 12, -1, 2**31, 2**62, 2**64, 1.5, "3"]), max_size=4)
    ends = st.lists(st.sampled_from([0, 1, 24, 48, 96, 2**40, -1, 2**64]), max_size=3)
    entry = st.fixed_dictionaries({"dtype": dtype | VALUE, "shape": shape | VALUE, "data_offsets": ends | VALUE})
    likely = st.fixed_dictionaries({"dtype": dtype, "shape": shape, "data_offsets": st.just([0, 48])})
    names = st.sampled_from(["context", "context", "other", "", "__metadata__"])
    header = st.dictionaries(names, entry | likely | VALUE, max_size=2)

    def file(header: Any, claimed: int | None, data: bytes) -> bytes:
        text = json.dumps(header).encode()
        return (len(text) if claimed is None else claimed).to_bytes(8, "little") + text + data

    lengths = st.none() | st.none() | st.sampled_from([0, 7, 10**6, 10**8, 2**40, 2**63, 2**64 - 1])
    data = st.sampled_from([b"", CONTEXT_OF.numpy().tobytes(), b"\xff" * 48, b"\0" * 96])
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


@dataclass(frozen=True)
class Call:
    """One request to a Space's desk."""

    api: str
    arguments: tuple[Any, ...]


def calls() -> st.SearchStrategy[Call]:
    import base64

    picture = base64.b64encode(next(iter(pictures().values()))).decode()
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
    return (
        st.builds(lambda *a: Call("describe", a), base, template)
        | st.builds(lambda *a: Call("add_images", a), base, handle, sent)
        | st.builds(lambda *a: Call("score", a), base, template, handle, names, st.just(context) | payload, shape)
    )


# What may come out


class Readers:
    """The readers, each given one input at a time in a folder of its own.

    Args:
        folder: scratch space.
        clip_folder: a small CLIP for the Space's desk.
    """

    def __init__(self, folder: Path, clip_folder: str) -> None:
        self.folder, self.clip_folder = folder, clip_folder
        self.targets: dict[str, tuple[st.SearchStrategy, Callable[[Any], None]]] = {
            "config.json": (json_files(asdict(CONFIG_OF)), self.config),
            "forget_context.safetensors": (safetensors_files(), self.context),
            "report.json": (json_files(REPORT_OF), self.report),
            "names and groups": (json_files({"cup": "a", "mug": "b"}), self.names),
            "attack words": (json_files({"synonyms": {"cup": ["beaker"]}, "German": {"cup": ["Tasse"]}}), self.words),
            "exclusions": (LINES, self.exclusions),
            "image files": (image_files(), self.image),
            "image folders": (TREE, self.tree),
            "API payloads": (calls(), self.call),
            "a run's state": (EDITS, self.state),
        }
        self._adapter, self._count = folder / "adapter", 0
        ForgetAdapter(CONTEXT_OF, CONFIG_OF).save_pretrained(self._adapter)
        self._run = RunDir(folder / "run", {"seed": 0})
        with self._run.locked():
            self._run.save(STATE_OF)
        self._saved = (folder / "run" / STATE).read_bytes()
        self._desk: Any = None

    def config(self, content: bytes) -> None:
        """Refused by name, or good for everything that a config is used for."""
        path = self._file(CONFIG, content)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                config = read_config(path)
        except AdapterError as error:
            _says(error)
            return
        render_card(asdict(config), None, "user/name")
        again = self._file("again.json", files_of(CONTEXT_OF, config, None)[CONFIG])
        assert read_config(again) == config

    def context(self, content: bytes) -> None:
        """Refused, or the very context."""
        (self._adapter / CONTEXT).write_bytes(content)
        try:
            adapter = ForgetAdapter.from_pretrained(self._adapter)
        except AdapterError:
            return
        assert torch.equal(adapter.context, CONTEXT_OF)

    def report(self, content: bytes) -> None:
        """Refused, or good for the card."""
        try:
            report = read_report(self._file("report.json", content))
        except AdapterError:
            return
        render_card(asdict(CONFIG_OF), report, "user/name").encode()

    def names(self, content: bytes) -> None:
        try:
            read = read_strings(self._file("names.json", content), "--names")
        except ValueError as error:
            _says(error, "--names")
            return
        assert all(isinstance(value, str) and value.strip() for value in read.values())

    def words(self, content: bytes) -> None:
        try:
            read = read_words(self._file("words.json", content))
        except ValueError as error:
            _says(error, "--words")
            return
        assert all(isinstance(word, str) for kind in read.values() for words in kind.values() for word in words)

    def exclusions(self, content: bytes) -> None:
        try:
            digests = read_digests(self._file("exclude.txt", content))
        except ValueError as error:
            _says(error, "--exclude")
            return
        assert all(len(digest) == 64 for digest in digests)

    def image(self, content: bytes) -> None:
        path = self._file("1.png", content)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                image = to_rgb(path)
        except ValueError as error:
            _says(error, f"{path}: ")
            return
        assert image.mode == "RGB"

    def tree(self, classes: dict[str, list[tuple[str, str, str]]]) -> None:
        """Every file that looks like an image is used or told about, and what is used can be read."""
        root, told = self._grown(classes), []
        try:
            images = LabeledImages.from_folder(root, on_broken=told.append)
        except ValueError:
            return
        assert all(image.mode == "RGB" for image in images)
        assert len(set(images.digests())) == len(images)
        assert not {item.path for item in told} & set(images.items)
        try:
            LabeledImages.from_folder(root)
        except ValueError as error:
            _says(error, "--skip-broken")

    def call(self, call: Call) -> None:
        desk = self._desk or self._opened()
        try:
            answer = getattr(desk, call.api)(*call.arguments, "session")
        except ValueError as error:
            _says(error)
            return
        json.dumps(answer, allow_nan=False)

    def state(self, edits: list[tuple[int, str, bytes]]) -> None:
        """Refused, or the very state."""
        (self.folder / "run" / STATE).write_bytes(edited(self._saved, edits))
        try:
            read = self._run.load()
        except RunError:
            return
        assert read is not None
        assert read.facts == STATE_OF.facts
        assert all(torch.equal(read.tensors[name], STATE_OF.tensors[name]) for name in STATE_OF.tensors)

    def _file(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path

    def _opened(self) -> Any:
        import base64

        from hf_unlearn import ClipBlackBox
        from space.score import Desk

        model = ClipBlackBox(self.clip_folder, device="cpu")
        desk = Desk({"embedded": "embedded"}, lambda _: model, queries=10**9)
        picture = base64.b64encode(next(iter(pictures().values()))).decode()
        handle = desk.add_images("embedded", "", [picture], "session")["handle"]
        visitor = desk._visitor("session")
        visitor.sets["mine"] = visitor.sets.pop(handle)
        self._desk = desk
        return desk

    def _grown(self, classes: dict[str, list[tuple[str, str, str]]]) -> Path:
        """The folder that a tree describes; names that no file system takes are left out."""
        self._count += 1
        root = self.folder / "trees" / str(self._count)
        root.mkdir(parents=True)
        for place, (name, files) in enumerate(classes.items()):
            try:
                (root / name).mkdir()
            except (OSError, ValueError):
                continue
            for number, (stem, suffix, kind) in enumerate(files):
                try:
                    self._put(root / name / f"{stem}{suffix}", kind, 10 * place + number, root)
                except (OSError, ValueError):
                    continue
        return root

    def _put(self, path: Path, kind: str, number: int, root: Path) -> None:
        if path.parent.resolve().parent != root.resolve() or os.path.lexists(path):
            return
        if kind in ("good", "copy"):
            Image.new("RGB", (3, 3), (number if kind == "good" else 255, 0, 0)).save(path, "PNG")
        elif kind in ("empty", "junk"):
            path.write_bytes(b"junk" * (kind == "junk"))
        elif kind == "folder":
            path.mkdir()
        elif kind == "pipe":
            os.mkfifo(path)
        else:
            targets = {"outside": "/etc/hostname", "nothing": "/nonexistent", "inside": "../x.png", "loop": path.name}
            path.symlink_to(targets[kind])


def _says(error: Exception, what: str = "") -> None:
    """An error is a sentence, and names what it should."""
    if not str(error) or what not in str(error):
        raise AssertionError(f"an error that does not name {what!r}: {error!r}") from error
