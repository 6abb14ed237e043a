"""What strangers send and answer: Spaces, models, data sets, cards, links, arrays; see fuzzing.py."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from hypothesis import strategies as st
from PIL import Image

from hf_unlearn import ClipBlackBox, ForgetAdapter, LabeledImages, SpaceBlackBox
from hf_unlearn.adapters.model_card import metadata_of
from hf_unlearn.adapters.storage import CARD
from hf_unlearn.adapters.stored_adapter import add_card_facts
from hf_unlearn.data.hub_datasets import HubDataset
from hf_unlearn.errors import BudgetSpentError, RemoteError
from hf_unlearn.models import space_client as remote
from space.inputs.hub_datasets import draw_images
from space.services import model_screening
from space.services.adapter_store import AdapterStore
from space.services.hub_folder import HubFolder
from space.services.model_cache import ModelCache
from tests.support.hostile import (
    CHANGES,
    CONFIG_OF,
    CONTEXT_OF,
    EDIT_CONFIG_OF,
    EDIT_OF,
    EDITS,
    VALUE,
    arrays,
    changed,
    edited,
    image_files,
    json_files,
)

NUMBERS = base64.b64encode(np.array([1, -1], "<f4").tobytes()).decode()
FACTS = {
    "model_id": "x", "revision": None, "dim": 2, "max_n_ctx": 4, "token_mean": NUMBERS, "token_std": 1.0,
    "fingerprint": [[0.5, 0.5]], "limits": {"population": 4}, "queries_left": 100, "missing": False, "handle": "h",
    "text_tokens": 1, "log_scores": base64.b64encode(np.array([-1, -0.5, -2, -0.1], "<f4").tobytes()).decode(),
}  # fmt: skip
INF, NAN = float("inf"), float("nan")
ROWS_OF_FLOATS = ([], [0], [0, 0], [NAN, 0], [INF, 0], [1e38, -1e38], [5, 5, 5, 5], [-INF] * 4, [INF] * 4)
MADE = [base64.b64encode(np.array(numbers, "<f4").tobytes()).decode() for numbers in ROWS_OF_FLOATS]
ANSWERS = st.lists(
    st.tuples(st.integers(0, 2**16), st.sampled_from(["set", "set", "drop"]), VALUE | st.sampled_from(MADE)), max_size=2
).map(lambda changes: changed(FACTS, changes)) | VALUE  # fmt: skip
CLIP_CONFIG = {
    "model_type": "clip", "text_config": {"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 514},
    "vision_config": {"image_size": 24, "patch_size": 8}, "projection_dim": 24, "model_max_length": 77,
    "size": {"height": 24, "width": 24}, "extra_special_tokens": ["a"],
}  # fmt: skip
YAML = st.sampled_from([
    "1: x", "self: 3", "tags: [a, 1, {b: c}]", "tags: abc", "tags: {a: b}", "license: [a]", "license: mit",
    "datasets: [a, 1]", "datasets: {a: b}", "language: 5", "true: y", "null: 1", "x: 2020-01-01", "x: !!python/name:a",
    "x: .nan", "x: &a [*a]", "y: &b {c: *b}", "base_model: q", "model-index: [{}]", "'': 3", "x: !!set {a, b}",
    "license_name: 3", "eval_results: x", "kwargs: 1", "? [a, b]\n: c", "x: \"\\uD800\"", "ignore_metadata_errors: 1",
    "x: " + "[" * 500 + "]" * 500, "---", "\0", "\u2028", "\t", "x: 'a\n---\nb'", "x: |\n  a\n\n  b", "%TAG ! a",
]) | st.builds("{}: {}".format, st.text(max_size=6), st.text(max_size=6))  # fmt: skip
CARDS = st.builds(
    lambda mark, fronts, end, body: mark + "\n".join(fronts) + end + body,
    st.sampled_from(["---\n", "---\n", "---\n", "---\r\n", "\ufeff---\n", "--- \n", ""]), st.lists(YAML, max_size=4),
    st.sampled_from(["\n---\n", "\n---\n", "\r\n---\r\n", "\n--- #\n", ""]), st.text(max_size=9),
)  # fmt: skip
KEYS = st.lists(
    st.sampled_from(["..", ".", "", "/", "\\", "runs", "space", "adapters", "own", "user", "name", "%2e", "~", "C:",
                     "\0", "*", "**", "[a]", "etc/passwd", "a" * 300, "\ud800", "<script>", "@", "?", "#", "\u202e"])
    | st.text(max_size=4),
    max_size=5,
).map("/".join) | VALUE  # fmt: skip
ROWS = st.lists(
    st.fixed_dictionaries({
        "bytes": st.none() | image_files().map(lambda file: file[1]),
        "path": st.none() | st.sampled_from(["/etc/hostname", "1.png", "", "\0", "../1.png", "a" * 5_000, "/dev/zero"]),
    }) | st.none(),
    max_size=4,
)  # fmt: skip
LABELS = st.lists(st.none() | st.integers(-1, 1), min_size=4, max_size=4)
CHECKPOINT = ("config.json", "preprocessor_config.json", "processor_config.json", "tokenizer_config.json",
              "tokenizer.json", "model.safetensors")  # fmt: skip


class Strangers:
    """The readers, each given one input at a time.

    Args:
        folder: scratch space.
        clip_folder: a small CLIP.
    """

    def __init__(self, folder: Path, clip_folder: str) -> None:
        self.folder, self.clip_folder = folder, Path(clip_folder)
        self.targets: dict[str, tuple[st.SearchStrategy, Callable[[Any], None]]] = {
            "answers of a Space": (st.lists(ANSWERS, min_size=3, max_size=3), self.space),
            "configs of a model": (json_files(CLIP_CONFIG), self.model),
            "checkpoints": (self.checkpoints(), self.checkpoint),
            "tables of a data set": (st.tuples(ROWS, LABELS), self.table),
            "cards": (CARDS, self.card),
            "links": (KEYS, self.link),
            "arrays": (arrays(), self.array),
            "vectors": (arrays(), self.vectors),
        }
        self._store: AdapterStore | None = None
        self._edit = ForgetAdapter(EDIT_OF, EDIT_CONFIG_OF)

    def space(self, answers: list[Any]) -> None:
        """A box whose numbers can be used, and scores; or an error that names the Space."""
        connection = SimpleNamespace(call=lambda api, *_: answers[("/describe", "/images", "/score").index(api)])
        with patch.object(remote, "_Connection", lambda *_: connection):
            try:
                box = SpaceBlackBox("user/space")
                assert box.dim > 0
                assert box.token_mean.shape == (box.dim,)
                assert box.token_mean.isfinite().all()
                assert 0 <= box.token_std < float("inf")
                json.dumps([box.fingerprint(), box.model_id, box.revision, box.queries_left], allow_nan=False).encode()
                sent = box.add_images([Image.new("RGB", (2, 2))])
                scores = box.log_scores(torch.zeros(2, 1, box.dim), sent, ["cup", "mug"])
                assert scores.shape == (2, 1, 2)
                assert (scores <= 0).all()
                assert box.ledger.text_tokens >= 0
            except (RemoteError, BudgetSpentError) as error:
                says(error, "user/space")

    def model(self, content: bytes) -> None:
        """Good for loading, or an error that names the model."""
        path = self.folder / "stranger.json"
        path.write_bytes(content)
        folder = HubFolder("user/clip", "0f", "", {"config.json": len(content)})
        try:
            with patch("huggingface_hub.hf_hub_download", lambda *_, **__: str(path)):
                read = folder.read_json("config.json", self.folder)
            model_screening._is_open_clip(str(folder), {"config.json": read})
        except ValueError as error:
            says(error, "user/clip")

    @staticmethod
    def checkpoints() -> st.SearchStrategy[tuple[str, Any]]:
        """A file, and what becomes of it."""
        damage = EDITS | CHANGES | st.just("gone") | st.binary(max_size=9)
        return st.tuples(st.sampled_from(CHECKPOINT), damage)

    def checkpoint(self, change: tuple[str, Any]) -> None:
        """A model that scores, or an error that names it."""
        (name, how), place = change, self.folder / "checkpoint"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(self.clip_folder, place)
        path = place / name
        if not path.exists():
            return
        if how == "gone":
            path.unlink()
        elif isinstance(how, bytes):
            path.write_bytes(how)
        elif how and isinstance(how[0][1], str) and how[0][1] in ("set", "drop", "double") and name.endswith(".json"):
            path.write_text(json.dumps(changed(json.loads(path.read_bytes()), how)))
        else:
            path.write_bytes(edited(path.read_bytes(), [edit for edit in how if isinstance(edit[2], bytes)]))
        try:
            ClipBlackBox(str(place), device="cpu").fingerprint()
        except (ValueError, OSError) as error:
            says(error)

    def table(self, content: tuple[list[dict[str, Any] | None], list[int | None]]) -> None:
        """Images of the bounds of an upload, or a sentence; no file of this machine."""
        import datasets

        rows, labels = content
        features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cup", "mug"])})
        try:
            table = datasets.Dataset.from_dict({"image": rows, "label": labels[: len(rows)]}, features=features)
        except (ValueError, UnicodeError):
            return
        try:
            found = draw_images(HubDataset("user/cups").rows_of(table.to_iterable_dataset(), "train"), [])
        except ValueError as error:
            says(error)
            return
        assert all(image.mode == "RGB" for image in found)

    def card(self, card: str) -> None:
        """A card of ours again, whatever stood there before."""
        for config in (CONFIG_OF, replace(CONFIG_OF, license=None, datasets=[])):
            kept = metadata_of(card)
            adapter = ForgetAdapter(CONTEXT_OF, add_card_facts(config, kept))
            written = adapter.stored().files("user/name", kept)[CARD].decode()
            assert {"hf_unlearn", "clip"} <= set(metadata_tags(written))

    def link(self, key: Any) -> None:
        """No adapter that is not one of the library's."""
        if self._store is None:
            self._store = AdapterStore(self.folder, ModelCache())
        try:
            found = self._store.get(key)
        except (ValueError, OSError) as error:
            says(error)
            return
        raise AssertionError(f"an adapter for {key!r}: {found.config.forget}")

    def array(self, item: Any) -> None:
        """An RGB image of the array's height and width, or a sentence."""
        try:
            (image,) = LabeledImages.from_arrays([item], [0], ["cup"])
        except ValueError as error:
            says(error, item if isinstance(item, str) else "image 0")
            return
        assert image.mode == "RGB"
        assert image.size[0] in np.shape(item)
        assert image.size[1] in np.shape(item)

    def vectors(self, vectors: Any) -> None:
        """Unit vectors of the same shape, or a sentence."""
        if torch.is_tensor(vectors):
            return
        try:
            found = self._edit.edit_vectors(vectors)
        except ValueError as error:
            says(error)
            return
        assert found.shape == np.shape(vectors)
        assert np.allclose(np.linalg.norm(found, axis=-1), 1, atol=1e-4)


def metadata_tags(card: str) -> list[str]:
    from huggingface_hub import ModelCard

    return ModelCard(card).data.tags


def says(error: Exception, what: str = "", but_not: str | None = None) -> None:
    """An error is one sentence of ours, not of what we read with, and names what it should."""
    told = str(error)
    if isinstance(error, UnicodeError | json.JSONDecodeError) or not told or what not in told:
        raise AssertionError(f"an error that does not name {what!r}: {error!r}") from error
    if but_not is not None and but_not in told:
        raise AssertionError(f"an error that tells {but_not!r}: {error!r}") from error
    if len(told) > 1_500:
        raise AssertionError(f"an error of {len(told)} letters: {told[:300]}") from error
