"""Base models for visitors: an id is looked at before anything large is fetched, few are kept, all share them."""

from __future__ import annotations

import gc
from collections import OrderedDict
from collections.abc import Mapping
from copy import copy
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

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
MOST_CACHED = 8  # models, each with texts it remembers


class ModelCache:
    """Base models by name, loaded when first asked for; the least recently used go when there is no room.

    Args:
        bases: base models that the operator offers, as adapters name them -> Hub id or folder. These are trusted.
        any_on_hub: whether visitors may name any other model on the Hub.
        hub: where what they name is fetched to.
    """

    def __init__(
        self, bases: Mapping[str, str] | None = None, any_on_hub: bool = True, hub: HubCache | None = None
    ) -> None:
        self.bases = dict(bases or {EMBEDDED: EMBEDDED})
        self.any_on_hub, self.hub = any_on_hub, hub or HubCache()
        self._kept: OrderedDict[tuple[str, str | None], ThreadSafeClip] = OrderedDict()
        self._lock, self._loading = Lock(), Lock()

    def get(self, base: str, revision: str | None = None) -> ThreadSafeClip:
        """The model, with a ledger of the caller's own; the weights are shared, and are only read.

        Args:
            revision: the commit, for one on the Hub.

        Raises:
            ValueError: if the name is no model we may load; the message says why.
            OSError: if it can't be had from the Hub.
        """
        from hf_unlearn.models.black_box import Ledger

        if not isinstance(base, str):
            raise ValueError(f"Expected a base model's name as text, got {type(base).__name__}.")
        key = (base, None if base in self.bases else revision)
        model = self._cached(key)
        if model is None:
            with self._loading:  # else two first visitors load the same model twice
                model = self._cached(key) or self._load(*key)
        own = copy(model)
        own.ledger = Ledger()
        return own

    def _cached(self, key: tuple[str, str | None]) -> ThreadSafeClip | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def _load(self, base: str, revision: str | None) -> ThreadSafeClip:
        from space.services.thread_safe_clip import ThreadSafeClip, parameters

        if base in self.bases:
            model = ThreadSafeClip(self.bases[base], device=model_device())
        elif self.any_on_hub:
            model = self._fetched(base, revision)
        else:
            raise ValueError(f"This Space offers {', '.join(self.bases)}, not '{str(base)[:80]}'.")
        with self._lock:
            self._kept[base, revision] = model
            while len(self._kept) > 1 and (
                len(self._kept) > MOST_CACHED or sum(map(parameters, self._kept.values())) > MAX_CACHED
            ):
                self._kept.popitem(last=False)
                gc.collect()  # a model refers to itself; its weights would stay for long
        return model

    def _fetched(self, base: str, revision: str | None) -> ThreadSafeClip:
        from huggingface_hub import hf_hub_download

        from space.services.thread_safe_clip import ThreadSafeClip

        commit, files = screen_model(base, revision, self.hub)
        with self.hub.holding(base, commit, files) as folder:
            with explained(base, commit):
                paths = [
                    hf_hub_download(base, path, revision=commit, cache_dir=folder, token=False)
                    for path in sorted(files, key=lambda path: path != "config.json")
                ]
            return ThreadSafeClip.of_snapshot(Path(paths[0]).parent, base, commit, model_device())
