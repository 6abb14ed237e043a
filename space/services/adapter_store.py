"""The adapters that visitors may use: the library's, the Hub's, and each visitor's private ones, in memory only."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from cachetools import LRUCache, TTLCache

from hf_unlearn.errors import InputError
from hf_unlearn.hub.ids import is_repo_id
from space.inputs.archives import find_adapter, unpack
from space.inputs.limits import plain_text
from space.services.model_cache import ModelCache

if TYPE_CHECKING:
    from hf_unlearn import AdaptedClip, ForgetAdapter

PLACES = ("space/adapters/*", "runs/*/adapter", "runs/*")
OWN = "own/"  # the start of a private adapter's key; the rest can't be guessed
MAX_PRIVATE, PRIVATE_SECONDS = 500, 3_600  # a small adapter counts as a 500th of the room
PRIVATE_BYTES, HUB_BYTES = (
    256 * 2**20,
    128 * 2**20,
)  # in memory: visitors' adapters; the Hub's, and the library's
MAX_FROM_HUB = 64  # a small adapter counts as a 64th of the room
TEXT_BYTES, IN_MEMORY = 4 * 2**20, 8  # of one adapter's config and report; parsed, a text is so many times as large
MAX_N_CTX = 64
MAX_EDIT = 2**18  # numbers in each matrix of an edit: 2 MB in all
EXPIRED = "This adapter of yours is no longer here; make it again, or upload it."


@dataclass
class _Private:
    """A visitor's adapter."""

    adapter: ForgetAdapter
    session: str

    def room(self) -> int:
        return max(_count_bytes(self.adapter), PRIVATE_BYTES // MAX_PRIVATE)


class AdapterStore:
    """Adapters by key: a folder of the library relative to the root, `user/name` on the Hub, or `own/…`.

    A private adapter is removed after an hour without use, or when others need its room.

    Args:
        root: the folder that holds `runs` and `space/adapters`.
        models: the base models.
    """

    def __init__(self, root: Path, models: ModelCache) -> None:
        self.root, self.models = root, models
        self._private: TTLCache[str, _Private] = TTLCache(PRIVATE_BYTES, PRIVATE_SECONDS, getsizeof=_Private.room)
        self._from_hub: LRUCache[str, ForgetAdapter] = LRUCache(HUB_BYTES, getsizeof=_hub_room)
        self._saved: LRUCache[object, ForgetAdapter] = LRUCache(HUB_BYTES, getsizeof=_hub_room)
        self._lock = Lock()

    def list_saved(self, base: str | None = None) -> tuple[dict[str, ForgetAdapter], list[str]]:
        """The library's adapters by folder, and a line of text per folder that was left out.

        Args:
            base: lists adapters of this base model only.
        """
        found, left_out = {}, []
        for key in self._folders():
            try:
                adapter = self._read(key)
            except ValueError as error:
                left_out.append(f"{plain_text(key)} is left out: {plain_text(str(error))}")
                continue
            if base in (None, adapter.config.base_model):
                found[key] = adapter
        return found, left_out

    def list_private(self, session: str) -> dict[str, ForgetAdapter]:
        """The adapters that this visitor made or uploaded."""
        with self._lock:
            self._private.expire()
            return {key: kept.adapter for key, kept in self._private.items() if kept.session == session}

    def add(self, adapter: ForgetAdapter, session: str) -> str:
        """Adds a visitor's adapter and returns its key, a secret that only this visitor learns.

        Raises:
            InputError: if it is larger than any adapter of this library.
        """
        if too_large := _describe_excess(adapter):
            raise InputError(f"This adapter's {too_large}.")
        key = OWN + secrets.token_urlsafe(16)
        with self._lock:
            self._private[key] = _Private(adapter, session)
        return key

    def replace(self, key: str, adapter: ForgetAdapter) -> None:
        """Puts another adapter in the place of a private one, such as the same with its report.

        Raises:
            InputError: if it is larger than any adapter of this library.
        """
        if too_large := _describe_excess(adapter):
            raise InputError(f"This adapter's {too_large}.")
        with self._lock:
            if (kept := self._private.get(key)) is not None:  # else its hour is over
                self._private[key] = _Private(adapter, kept.session)

    def reclaim(self, key: str, session: str) -> ForgetAdapter:
        """A private adapter, moved to the session that the visitor has now: anyone who has the key is its owner.

        Raises:
            InputError: if it expired or never existed.
        """
        return self._use_private(key, session)

    def add_upload(self, paths: Sequence[str | Path], session: str) -> str:
        """Adds an adapter from a zip or from its files, and returns its key.

        Raises:
            ValueError: if it is missing, damaged, tampered with or too large.
        """
        from hf_unlearn import ForgetAdapter

        with unpack(paths) as folder:
            where = find_adapter(folder)
            try:
                adapter = ForgetAdapter.from_pretrained(where)
            except ValueError as error:
                raise InputError(str(error).replace(f"{where}/", "").replace(str(where), "adapter")) from error
        return self.add(adapter, session)

    def get(self, key: object) -> ForgetAdapter:
        """An adapter by its key; one on the Hub is downloaded without a token.

        Raises:
            ValueError: if it is missing or damaged.
            OSError: if the Hub does not answer.
        """
        if not key or not isinstance(key, str):
            raise InputError("No adapter is chosen.")
        if key.startswith(OWN):
            return self._use_private(key)
        if key in self._folders():
            return self._read(key)
        if key.count("/") != 1 or key.startswith("runs/") or not is_repo_id(key):
            raise InputError(f"There is no saved adapter '{key[:80]}'; choose one of the list, or give user/name.")
        return self._download(key)

    def apply(self, adapter: ForgetAdapter) -> AdaptedClip:
        """The adapter's base model with the adapter in effect; every caller gets a separate switch.

        Raises:
            ValueError: if the base model may not be loaded, or is not the one that the adapter was made for.
        """
        from hf_unlearn import AdaptedClip

        config = adapter.config
        base, revision, subfolder = config.base_model, config.base_revision, config.base_subfolder
        if revision is None and not self.models.offers(base, subfolder):
            raise InputError(
                f"This adapter was made for '{base[:80]}', a folder on its maker's machine, which nobody else has."
            )
        return AdaptedClip(self.models.get(base, revision, subfolder), adapter)

    def _use_private(self, key: str, session: str | None = None) -> ForgetAdapter:
        with self._lock:
            if (kept := self._private.get(key)) is None:
                raise InputError(EXPIRED)
            kept.session = session or kept.session
            self._private[key] = kept  # its hour begins again
            return kept.adapter

    def _download(self, key: str) -> ForgetAdapter:
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
                return known
        with explained(key, sha):
            there = HfApi(token=False).get_paths_info(key, [CONFIG, REPORT, CONTEXT, EDIT], revision=sha)
            files = {file.path: file.size for file in there if isinstance(file, RepoFile)}
        with hub.holding(key, sha, files) as folder:
            adapter = ForgetAdapter.from_pretrained(key, revision=sha, token=False, cache_dir=folder)
            if too_large := _describe_excess(adapter):
                raise InputError(f"{key}: its {too_large}.")
        with self._lock:
            self._from_hub[f"{key}@{sha}"] = adapter
        return adapter

    def _folders(self) -> list[str]:
        from hf_unlearn.adapters.storage import is_adapter

        folders = [folder for place in PLACES for folder in sorted(self.root.glob(place))]
        return [
            folder.relative_to(self.root).as_posix()
            for folder in folders
            if not folder.name.startswith(".") and is_adapter(folder)
        ]

    def _read(self, key: str) -> ForgetAdapter:
        from hf_unlearn import ForgetAdapter

        state = key, _state_of(self.root / key)
        with self._lock:
            if (known := self._saved.get(state)) is not None:
                return known
        try:
            adapter = ForgetAdapter.from_pretrained(self.root / key)
        except ValueError as error:
            raise InputError(str(error).replace(f"{self.root}/", "")) from error
        with self._lock:
            self._saved[state] = adapter
        return adapter


def _describe_excess(adapter: ForgetAdapter) -> str:
    """The part of an adapter that is larger than the library ever makes it; nothing if all is within bounds."""
    if adapter.edit is not None:
        (width, rank), gate = adapter.edit.up.shape, adapter.edit.gate
        most = MAX_EDIT // width
        if rank > most:
            return f"edit has rank {rank}; at width {width} at most {most} is used"
        if gate is not None and len(gate.near) > most:
            return f"edit has a gate of {len(gate.near)} directions; at width {width} at most {most} are used"
    if adapter.context is not None and len(adapter.context) > MAX_N_CTX:
        return f"context has {len(adapter.context)} tokens; at most {MAX_N_CTX} are used"
    if (size := _count_text(adapter)) > TEXT_BYTES:
        return f"config and report have {size / 2**20:,.0f} MB; at most {TEXT_BYTES >> 20} are read"
    return ""


def _state_of(folder: Path) -> frozenset[tuple[object, ...]]:
    """What changes with any file of a folder; empty without a folder."""
    from hf_unlearn.files import whole

    try:
        found = [(file.name, file.stat()) for file in os.scandir(whole(folder))]
    except OSError:
        return frozenset()
    return frozenset((name, facts.st_ino, facts.st_size, facts.st_mtime_ns) for name, facts in found)


def _count_text(adapter: ForgetAdapter) -> int:
    return len(json.dumps([vars(adapter.config), adapter.report], default=str))


def _count_bytes(adapter: ForgetAdapter) -> int:
    """About the memory that an adapter takes."""
    tensors = adapter.edit.tensors().values() if adapter.edit is not None else [adapter.context]
    return sum(tensor.nbytes for tensor in tensors if tensor is not None) + IN_MEMORY * _count_text(adapter)


def _hub_room(adapter: ForgetAdapter) -> int:
    """The room an adapter takes beside others: at most all of it, as one of the library's may be of any size."""
    return min(max(_count_bytes(adapter), HUB_BYTES // MAX_FROM_HUB), HUB_BYTES)
