"""Every reader and what may come out of it, whatever it is given; for test_fuzz.py and benchmarks/fuzz.py."""

from __future__ import annotations

import base64
import json
import os
import stat
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from hypothesis import strategies as st
from PIL import Image

from hf_unlearn import ClipBlackBox, EmbeddingBlackBox, ForgetAdapter, LabeledImages
from hf_unlearn.adapters.config import CONFIG, read_config
from hf_unlearn.adapters.model_card import render_card
from hf_unlearn.adapters.report_schema import read_report
from hf_unlearn.adapters.storage import to_json
from hf_unlearn.adapters.weights import CONTEXT, EDIT
from hf_unlearn.cli.inputs import read_classes, read_digests, read_name_list, read_strings, read_synonyms, read_words
from hf_unlearn.data.class_names import clean_name
from hf_unlearn.data.image_files import to_rgb
from hf_unlearn.edits import feature_cache
from hf_unlearn.errors import AdapterError, RunError
from hf_unlearn.files import STATE
from hf_unlearn.training.checkpoint import Checkpoint
from space.inputs.archives import find_adapter, unpack
from space.inputs.limits import open_image
from space.inputs.run_request import RunRequest
from space.inputs.uploaded_images import read_images
from space.services.scoring_service import ScoringService
from tests.support.fuzzing_strangers import Strangers, says
from tests.support.hostile import (
    CONFIG_OF,
    CONFIG_OF_VERSION_1,
    CONTEXT_OF,
    EDIT_CONFIG_OF,
    EDIT_OF,
    EDITS,
    LINES,
    REPORT_OF,
    STATE_OF,
    TREE,
    edited,
    image_files,
    json_files,
    safetensors_files,
)
from tests.support.hostile_space import PICTURE, Call, calls, zips

FEATURES = torch.linspace(-1, 1, 24).view(2, 3, 4)
CACHED = {"features": FEATURES, "digest": feature_cache.hash_numbers(FEATURES)}
TEXTS = st.builds(
    lambda text, encoding: text.encode(encoding, "surrogatepass"),
    st.text(max_size=12)
    | st.sampled_from(["cup\r\nmug\r\n", "\ufeff\u200b\n", "e\u0301\né", "a\x00b", "\u202ecup", "\n" * 99]),
    st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"]),
) | st.binary(max_size=20)  # fmt: skip
NUMBERS = st.floats() | st.integers() | st.sampled_from([10**400, 10**5000, 1e308, 1e-320, None, "1", True, 1j, b"1"])
ROWS = st.lists(NUMBERS | st.lists(NUMBERS, max_size=3), max_size=3)
ANSWERS = st.lists(ROWS | NUMBERS, max_size=3) | NUMBERS | st.text(max_size=3) | st.sampled_from(
    [[[1.0, 2.0], [0.5, 1.0]], {"data": [[1, 2]]}, torch.eye(2), torch.eye(2).bool(), torch.zeros(2, 0),
     torch.ones(2, 2, 2)]
)  # fmt: skip


class Readers:
    """The readers, each given one input at a time in a folder of its own.

    Args:
        folder: scratch space.
        clip_folder: a small CLIP for the Space's scoring.
    """

    def __init__(self, folder: Path, clip_folder: str) -> None:
        self.folder, self.clip_folder = folder, clip_folder
        self.targets: dict[str, tuple[st.SearchStrategy, Callable[[Any], None]]] = {
            "config.json": (json_files(asdict(CONFIG_OF)), self.config),
            "config.json of an edit": (json_files(asdict(EDIT_CONFIG_OF)), self.config),
            "config.json of version 1": (json_files(CONFIG_OF_VERSION_1), self.config),
            "forget_context.safetensors": (safetensors_files({"context": CONTEXT_OF}), self.context),
            "forget_edit.safetensors": (safetensors_files(EDIT_OF.tensors()), self.edit),
            "report.json": (json_files(REPORT_OF), self.report),
            "names and groups": (json_files({"cup": "a", "mug": "b"}), self.names),
            "attack words": (json_files({"synonyms": {"cup": ["beaker"]}, "German": {"cup": ["Tasse"]}}), self.words),
            "synonyms": (json_files({"cup": ["beaker", "e\u0301"], "mug": ["jar"]}), self.synonyms),
            "files of names": (TEXTS, self.name_files),
            "exclusions": (LINES, self.exclusions),
            "a cached vocabulary": (EDITS | safetensors_files(CACHED), self.vocabulary),
            "answers of an endpoint": (ANSWERS, self.answer),
            "image files": (image_files(), self.image),
            "image folders": (TREE, self.tree),
            "API payloads": (calls(), self.call),
            "zips": (zips(), self.zip),
            "a run's state": (EDITS, self.state),
        }
        self.targets |= Strangers(folder, clip_folder).targets
        self._adapter, self._edited, self._count = folder / "adapter", folder / "edit", 0
        ForgetAdapter(CONTEXT_OF, CONFIG_OF).save_pretrained(self._adapter)
        ForgetAdapter(EDIT_OF, EDIT_CONFIG_OF).save_pretrained(self._edited)
        self._run = Checkpoint(folder / "run", {"seed": 0})
        with self._run.locked():
            self._run.save(STATE_OF)
        self._saved = (folder / "run" / STATE).read_bytes()
        self._scoring: Any = None

    def config(self, content: bytes) -> None:
        """Refused by name, or good for everything that a config is used for."""
        path = self._file(CONFIG, content)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                config = read_config(path)
        except AdapterError as error:
            says(error)
            return
        render_card(asdict(config), None, "user/name")
        again = self._file("again.json", to_json(asdict(config)))
        assert read_config(again) == config

    def context(self, content: bytes) -> None:
        """Refused, or the very context."""
        (self._adapter / CONTEXT).write_bytes(content)
        try:
            adapter = ForgetAdapter.from_pretrained(self._adapter)
        except AdapterError:
            return
        assert torch.equal(adapter.context, CONTEXT_OF)

    def edit(self, content: bytes) -> None:
        """Refused, or the very edit."""
        (self._edited / EDIT).write_bytes(content)
        try:
            adapter = ForgetAdapter.from_pretrained(self._edited)
        except AdapterError:
            return
        assert adapter.edit is not None
        found = adapter.edit.tensors()
        assert all(torch.equal(found[name], tensor) for name, tensor in EDIT_OF.tensors().items())

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
            says(error, "--names")
            return
        assert all(isinstance(value, str) and value.strip() for value in read.values())

    def words(self, content: bytes) -> None:
        try:
            read = read_words(self._file("words.json", content))
        except ValueError as error:
            says(error, "--words")
            return
        assert all(isinstance(word, str) for kind in read.values() for words in kind.values() for word in words)

    def synonyms(self, content: bytes) -> None:
        try:
            read = read_synonyms(self._file("synonyms.json", content))
        except ValueError as error:
            says(error, "--synonyms")
            return
        assert all(clean_name(word) == word != "" for name, own in read.items() for word in (name, *own))

    def name_files(self, content: bytes) -> None:
        """Clean names, or an error that names the file."""
        path = self._file("names.txt", content)
        for read, option in ((lambda: read_name_list(path, "--keep-file"), "--keep-file"),
                             (lambda: read_classes(path), "--classes")):  # fmt: skip
            try:
                found = read()
            except ValueError as error:
                says(error, f"{option} {path}: ")
                continue
            assert all(clean_name(name) == name != "" for name in found)

    def vocabulary(self, content: bytes | list[tuple[int, str, bytes]]) -> None:
        """What was written, or nothing."""
        path = self.folder / "words.safetensors"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            feature_cache.write_features(path, FEATURES)
            path.write_bytes(edited(path.read_bytes(), content))
        found = feature_cache.read_features(path, tuple(FEATURES.shape))
        assert found is None or torch.equal(found, FEATURES)

    def answer(self, answer: Any) -> None:
        """Unit vectors, or an error that names the model."""
        box = EmbeddingBlackBox(lambda texts: answer, lambda images: answer, model_id="theirs")
        for ask in (lambda: box.text_features(torch.zeros(1, 0, 0), ["cup", "mug"])[0],
                    lambda: box.add_images([Image.new("RGB", (2, 2))] * 2).features):  # fmt: skip
            try:
                found = ask()
            except ValueError as error:
                says(error, "theirs")
                continue
            assert torch.allclose(found.norm(dim=1), torch.ones(2))

    def exclusions(self, content: bytes) -> None:
        try:
            digests = read_digests(self._file("exclude.txt", content))
        except ValueError as error:
            says(error, "--exclude")
            return
        assert all(len(digest) == 64 for digest in digests)

    def image(self, file: tuple[str, bytes]) -> None:
        """An RGB image, or an error that names the file; of an upload, too, or a sentence."""
        path = self._file(f"1{file[0]}", file[1])
        try:
            image = to_rgb(path)
        except ValueError as error:
            says(error, f"{path}: ")
        else:
            assert image.mode == "RGB"
        try:
            sent = open_image(path)
        except ValueError as error:
            says(error, but_not=str(path))
            return
        assert sent.mode == "RGB"  # of a damaged TIFF, pixels and orientation may differ from those above

    def tree(self, classes: dict[str, list[tuple[str, str, str]]]) -> None:
        """Every file that looks like an image is used or told about, and what is used can be read."""
        root, told = self._grown(classes), []
        try:
            images = LabeledImages.from_folder(root, on_broken=told.append, tell=len)
        except ValueError:
            return
        assert all(image.mode == "RGB" for image in images)
        assert len(set(images.digests())) == len(images)
        assert not {item.path for item in told} & set(images.items)
        try:
            LabeledImages.from_folder(root, tell=len)
        except ValueError as error:
            says(error)

    def call(self, call: Call) -> None:
        scoring = self._scoring or self._opened()
        try:
            if call.api == "order":
                answer = asdict(RunRequest.parse(*call.arguments))
            else:
                answer = getattr(scoring, call.api)(*call.arguments, "session")
        except ValueError as error:
            says(error)
            return
        json.dumps(answer, allow_nan=False)

    def zip(self, content: bytes) -> None:
        """Files and folders within one temporary folder, which is gone afterwards; an adapter or images, or neither."""
        path, places = self._file("sent.zip", content), self.folder / "unpacked"
        places.mkdir(exist_ok=True)
        with patch("tempfile.tempdir", str(places)):
            try:
                with unpack([path]) as folder:
                    found = list(folder.rglob("*"))
                    assert all(stat.S_IFMT(file.lstat().st_mode) in (stat.S_IFREG, stat.S_IFDIR) for file in found)
                    for read in (find_adapter, read_images):
                        try:
                            read(folder)
                        except ValueError as error:
                            says(error, but_not=str(places))
            except ValueError as error:
                says(error)
        assert not list(places.iterdir())
        assert not [place for place in (self.folder, Path.home(), Path("/")) if (place / "escaped").exists()]

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
        model = ClipBlackBox(self.clip_folder, device="cpu")
        scoring = ScoringService(lambda: {"embedded": "embedded"}, lambda _: model, queries=10**9)
        picture = base64.b64encode(PICTURE).decode()
        handle = scoring.add_images("embedded", "", [picture], "session")["handle"]
        visitor = scoring._sessions.get("session")
        visitor.sets["mine"] = visitor.sets.pop(handle)
        self._scoring = scoring
        return scoring

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


def quietly(read: Callable[[Any], None], content: Any) -> None:
    """Reads one input; a warning is an error, too, but changes nothing about how it is read."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        read(content)
    if told:
        raise AssertionError(f"a warning: {told[0].category.__name__}: {told[0].message}")
