"""The adapters that visitors may use: the library's, the Hub's, and each visitor's own, kept in memory only."""

from __future__ import annotations

import json
import secrets
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from space.inputs.archives import find_adapter, unpack
from space.inputs.limits import plain_text
from space.services.model_cache import ModelCache

if TYPE_CHECKING:
    from hf_unlearn import AdaptedClip, ForgetAdapter

PLACES = ("space/adapters/*", "runs/*/adapter", "runs/*")
OWN = "own/"  # before the key of a visitor's own adapter; what follows can't be guessed
MAX_OWN, OWN_SECONDS = 500, 3_600
OWN_BYTES, HUB_BYTES = 256 * 2**20, 128 * 2**20  # in memory, of visitors' own adapters and of those from the Hub
TEXT_BYTES, IN_MEMORY = 4 * 2**20, 8  # of one adapter's config and report; read, a text is so many times as large
MAX_N_CTX = 64
MAX_EDIT = 2**18  # numbers in each matrix of an edit: 2 MB in all
GONE = "This adapter of yours is no longer here; make it again, or upload it."
KEPT_FROM_HUB = 64


@dataclass
class _Own:
    adapter: ForgetAdapter
    session: str
    seen: float
    size: int


class AdapterStore:
    """Adapters by key: a folder of the library relative to the root, `user/name` on the Hub, or `own/…`.

    Args:
        root: the folder that holds `runs` and `space/adapters`.
        models: the base models.
    """

    def __init__(self, root: Path, models: ModelCache) -> None:
        self.root, self.models = root, models
        self._own: OrderedDict[str, _Own] = OrderedDict()
        self._from_hub: OrderedDict[str, tuple[ForgetAdapter, int]] = OrderedDict()
        self._lock = Lock()

    def list_saved(self, base: str | None = None) -> tuple[dict[str, ForgetAdapter], list[str]]:
        """Adapters by folder, and one line of text per folder that was left out."""
        found, left_out = {}, []
        for key in self._folders():
            try:
                adapter = self._saved(key)
            except ValueError as error:
                left_out.append(f"{plain_text(key)} is left out: {plain_text(str(error))}")
                continue
            if base in (None, adapter.config.base_model):
                found[key] = adapter
        return found, left_out

    def list_private(self, session: str) -> dict[str, ForgetAdapter]:
        """The adapters that this visitor made or brought."""
        self._forget_old()
        with self._lock:
            return {key: kept.adapter for key, kept in self._own.items() if kept.session == session}

    def add(self, adapter: ForgetAdapter, session: str) -> str:
        """Takes a visitor's adapter; its key is a secret that only this visitor is told.

        Raises:
            ValueError: if it is larger than any we make.
        """
        if too_large := _too_large(adapter):
            raise ValueError(f"This adapter's {too_large}.")
        self._forget_old()
        key, size = OWN + secrets.token_urlsafe(16), _bytes(adapter)
        with self._lock:
            self._own[key] = _Own(adapter, session, time.monotonic(), size)
            while len(self._own) > MAX_OWN or sum(kept.size for kept in self._own.values()) > OWN_BYTES:
                del self._own[min(self._own, key=lambda own: self._own[own].seen)]
        return key

    def reclaim(self, key: str, session: str) -> ForgetAdapter:
        """A visitor's own adapter, for the session that the visitor has now: who has the key is its owner.

        Raises:
            ValueError: if it is not here, or no longer.
        """
        self._forget_old()
        with self._lock:
            if (kept := self._own.get(key)) is None:
                raise ValueError(GONE)
            kept.session, kept.seen = session, time.monotonic()
            return kept.adapter

    def add_upload(self, paths: Sequence[str | Path], session: str) -> str:
        """Takes an adapter as a zip or as its files; its key.

        Raises:
            ValueError: if it is none, is damaged, tampered with or too large.
        """
        from hf_unlearn import ForgetAdapter

        with unpack(paths) as folder:
            where = find_adapter(folder)
            try:
                adapter = ForgetAdapter.from_pretrained(where)
            except ValueError as error:
                raise ValueError(str(error).replace(f"{where}/", "").replace(str(where), "adapter")) from error
        return self.add(adapter, session)

    def get(self, key: object) -> ForgetAdapter:
        """An adapter by its key; one on the Hub is fetched, without a token.

        Raises:
            ValueError: if there is none, or it is damaged.
            OSError: if it can't be had from the Hub.
        """
        if not key or not isinstance(key, str):
            raise ValueError("No adapter is chosen.")
        if key.startswith(OWN):
            with self._lock:
                if (kept := self._own.get(key)) is not None:
                    kept.seen = time.monotonic()
                    return kept.adapter
            raise ValueError(GONE)
        if key in self._folders():
            return self._saved(key)
        if key.count("/") != 1 or key.startswith(("runs/", ".", "/")):
            raise ValueError(f"There is no saved adapter '{key[:80]}'; choose one of the list, or give user/name.")
        return self._of_hub(key)

    def apply(self, adapter: ForgetAdapter) -> AdaptedClip:
        """The adapter's base with the adapter in effect; a switch of the caller's own.

        Raises:
            ValueError: if the base is none we may load, or not the one that the adapter was made for.
        """
        from hf_unlearn import AdaptedClip

        base, revision = adapter.config.base_model, adapter.config.base_revision
        if base not in self.models.bases and revision is None:
            raise ValueError(
                f"This adapter was made for '{base[:80]}', a folder on its maker's machine, which nobody else has."
            )
        return AdaptedClip(self.models.get(base, revision), adapter)

    def _of_hub(self, key: str) -> ForgetAdapter:
        from huggingface_hub import HfApi
        from huggingface_hub.hf_api import RepoFile

        from hf_unlearn import ForgetAdapter
        from hf_unlearn.adapters.config import CONFIG
        from hf_unlearn.adapters.storage import REPORT
        from hf_unlearn.adapters.weights import CONTEXT, EDIT
        from hf_unlearn.hub.client import commit_of
        from hf_unlearn.hub.error_messages import explained

        hub = self.models.hub
        sha = commit_of(key, token=False, cache_dir=hub.folder)
        with self._lock:
            if (known := self._from_hub.get(f"{key}@{sha}")) is not None:
                self._from_hub.move_to_end(f"{key}@{sha}")
                return known[0]
        with explained(key, sha):
            there = HfApi(token=False).get_paths_info(key, [CONFIG, REPORT, CONTEXT, EDIT], revision=sha)
            files = {file.path: file.size for file in there if isinstance(file, RepoFile)}
        with hub.holding(key, sha, files) as folder:
            adapter = ForgetAdapter.from_pretrained(key, revision=sha, token=False, cache_dir=folder)
            if too_large := _too_large(adapter):
                raise ValueError(f"{key}: its {too_large}.")
        with self._lock:
            self._from_hub[f"{key}@{sha}"] = adapter, _bytes(adapter)
            while len(self._from_hub) > KEPT_FROM_HUB or sum(size for _, size in self._from_hub.values()) > HUB_BYTES:
                self._from_hub.popitem(last=False)
        return adapter

    def _forget_old(self) -> None:
        now = time.monotonic()
        with self._lock:
            for key in [key for key, kept in self._own.items() if now - kept.seen > OWN_SECONDS]:
                del self._own[key]

    def _folders(self) -> list[str]:
        from hf_unlearn.adapters.storage import is_adapter

        folders = [folder for place in PLACES for folder in sorted(self.root.glob(place))]
        return [
            folder.relative_to(self.root).as_posix()
            for folder in folders
            if not folder.name.startswith(".") and is_adapter(folder)
        ]

    def _saved(self, key: str) -> ForgetAdapter:
        from hf_unlearn import ForgetAdapter

        try:
            return ForgetAdapter.from_pretrained(self.root / key)
        except ValueError as error:
            raise ValueError(str(error).replace(f"{self.root}/", "")) from error


def _too_large(adapter: ForgetAdapter) -> str:
    """What about it is larger than any adapter we make; nothing if it is not."""
    if adapter.edit is not None:
        (width, rank), gate = adapter.edit.up.shape, adapter.edit.gate
        most = MAX_EDIT // width
        if rank > most:
            return f"edit has rank {rank}; at width {width} at most {most} is used"
        if gate is not None and len(gate.near) > most:
            return f"edit has a gate of {len(gate.near)} directions; at width {width} at most {most} are used"
    if adapter.context is not None and len(adapter.context) > MAX_N_CTX:
        return f"context has {len(adapter.context)} tokens; at most {MAX_N_CTX} are used"
    if (size := _text_bytes(adapter)) > TEXT_BYTES:
        return f"config and report have {size / 2**20:,.0f} MB; at most {TEXT_BYTES >> 20} are read"
    return ""


def _text_bytes(adapter: ForgetAdapter) -> int:
    return len(json.dumps([vars(adapter.config), adapter.report], default=str))


def _bytes(adapter: ForgetAdapter) -> int:
    """About what an adapter takes in memory."""
    tensors = adapter.edit.tensors().values() if adapter.edit is not None else [adapter.context]
    return sum(tensor.nbytes for tensor in tensors if tensor is not None) + IN_MEMORY * _text_bytes(adapter)
