"""Base models in memory: loaded when first asked for, shared by all visitors, the least recently used removed first."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from copy import copy
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from cachetools import LRUCache

from hf_unlearn.errors import InputError
from hf_unlearn.hub.error_messages import explained
from hf_unlearn.models.embedded import EMBEDDED
from space.services.hub_cache import HubCache
from space.services.model_screening import screen_model
from space.services.zero_gpu import model_device

if TYPE_CHECKING:
    from space.services.thread_safe_clip import ThreadSafeClip

PRESETS = {
    "openai/clip-vit-base-patch16": "OpenAI ViT-B/16, 150 M parameters",
    "openai/clip-vit-large-patch14": "OpenAI ViT-L/14, 428 M parameters",
    "laion/CLIP-ViT-B-32-laion2B-s34B-b79K": "LAION ViT-B/32, 151 M parameters",
    "google/siglip-base-patch16-224": "SigLIP B/16, 203 M parameters",
}
MAX_CACHED = 1_000_000_000  # parameters, 4 GB in float32; the free tier has 16
MOST_CACHED = 8  # models: a small one counts as an eighth of the room


Key = tuple[str, str | None, str]  # name, revision, subfolder


class ModelCache:
    """Base models by name.

    Args:
        bases: base models that the operator offers, as adapters name them -> Hub id or folder. These are trusted.
        any_on_hub: whether visitors may name any other model on the Hub.
        hub: the cache for downloads from the Hub.
    """

    def __init__(
        self, bases: Mapping[str, str] | None = None, any_on_hub: bool = True, hub: HubCache | None = None
    ) -> None:
        self.bases = dict(bases or {EMBEDDED: EMBEDDED})
        self.any_on_hub, self.hub = any_on_hub, hub or HubCache()
        self._models: LRUCache[Key, ThreadSafeClip] = LRUCache(MAX_CACHED, getsizeof=_room)
        self._kept: dict[str, ThreadSafeClip] = {}  # never removed from memory
        self._lock, self._loading = Lock(), Lock()

    def get(self, base: str, revision: str | None = None, subfolder: str | None = None) -> ThreadSafeClip:
        """A model with a fresh ledger; its weights are shared and only read.

        Args:
            revision: the commit of a model on the Hub.
            subfolder: where in its repository it is; what the operator offers is in none.

        Raises:
            ValueError: if the model can't be loaded or may not be; the message says why.
            OSError: if the Hub does not answer.
        """
        from hf_unlearn.models.black_box import Ledger

        if not isinstance(base, str):
            raise InputError(f"Expected a base model's name as text, got {type(base).__name__}.")
        key = (base, None, "") if self.offers(base, subfolder) else (base, revision, subfolder or "")
        model = self._find(key)
        if model is None:
            with self._loading:  # else two first visitors load the same model twice
                model = self._find(key) or self._load(*key)
        fresh = copy(model)
        fresh.ledger = Ledger()
        return fresh

    def offers(self, base: str, subfolder: str | None = None) -> bool:
        """Whether the operator offers this model."""
        return base in self.bases and not subfolder

    def offer(self, base: str, commit: str) -> None:
        """Downloads a model of the Hub, keeps it in memory and offers it like those of the operator.

        Raises:
            ValueError, OSError: as `get` does; nothing is offered then.
        """
        model = self._download(base, commit, "")
        with self._lock:
            self._kept[base] = model
            self.bases = {**self.bases, base: base}  # others may iterate over the old one

    def withdraw(self, base: str) -> None:
        """Ends an offer."""
        with self._lock:
            if self._kept.pop(base, None) is not None:
                self.bases = {name: place for name, place in self.bases.items() if name != base}

    def _find(self, key: Key) -> ThreadSafeClip | None:
        base, _, subfolder = key
        with self._lock:
            return (None if subfolder else self._kept.get(base)) or self._models.get(key)

    def _load(self, base: str, revision: str | None, subfolder: str) -> ThreadSafeClip:
        from space.services.thread_safe_clip import ThreadSafeClip

        if self.offers(base, subfolder):
            model = ThreadSafeClip(self.bases[base], device=model_device())
        elif self.any_on_hub:
            model = self._download(base, revision, subfolder)
        else:
            asked = f"'{base[:80]}'" + (f", subfolder {subfolder[:80]}" if subfolder else "")
            raise InputError(f"This Space offers {', '.join(self.bases)}, not {asked}.")
        with self._lock:
            self._models[base, revision, subfolder] = model
        gc.collect()  # a model refers to itself: without this a removed one keeps its memory
        return model

    def _download(self, base: str, revision: str | None, subfolder: str) -> ThreadSafeClip:
        from huggingface_hub import hf_hub_download

        from space.services.thread_safe_clip import ThreadSafeClip

        commit, files = screen_model(base, revision, self.hub, subfolder)
        with self.hub.holding(base, commit, files) as cache:
            with explained(base, commit):
                paths = [
                    hf_hub_download(base, path, revision=commit, cache_dir=cache, token=False) for path in sorted(files)
                ]
            return ThreadSafeClip.from_snapshot(Path(paths[0]).parent, base, commit, model_device(), subfolder)


def _room(model: ThreadSafeClip) -> int:
    """The room a model takes in the cache, in parameters: at most all of it, at least an eighth."""
    from space.services.thread_safe_clip import count_parameters

    return min(max(count_parameters(model), MAX_CACHED // MOST_CACHED), MAX_CACHED)
