"""A CLIP that the threads of many visitors use at once, and that caches the text features of recent labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

from cachetools import LRUCache
from torch import Tensor, nn

from hf_unlearn import ClipBlackBox
from space.services.hub_folder import naming
from space.services.run_channel import BETWEEN_LAYERS

CACHE_BYTES, ENTRY_BYTES = 16 * 2**20, 512 * 2**10  # of all lists of labels with their features, and of one
OBJECTS = 2_000  # bytes of an entry beside its features and names
Key = tuple[str, tuple[str, ...], tuple[int, ...], bytes]  # template, names, shape and bytes of the context


class ThreadSafeClip(ClipBlackBox):
    """A CLIP whose weights are only read. Copies share its caches and locks.

    The path that puts a hook on the text tower serves one caller at a time. Between two layers a forward pass calls
    what its thread has put in `BETWEEN_LAYERS`, whose exception ends it.

    Attributes:
        watch: of one caller's copy. It is called before the towers with the number of texts (0 for images). An
            exception it raises ends the work.
        watch_images: the same for images, with their number.
        remembers: of one caller's copy. False for a caller that encodes a whole vocabulary once.
        vocabulary: held by the caller that makes an edit, so that two do not encode the same vocabulary at once.
        floor: what `floor_scores` has made of the model; shared by its copies.
    """

    watch: Callable[[int], None] | None = None
    watch_images: Callable[[int], None] | None = None
    remembers = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._hook_lock, self._cache_lock, self.vocabulary = Lock(), Lock(), Lock()
        self.floor: dict[str, Any] = {}
        self._texts: LRUCache[Key, _CachedTexts] = LRUCache(CACHE_BYTES, getsizeof=_CachedTexts.count_bytes)
        self._fingerprint = lru_cache(maxsize=1)(super().fingerprint)
        for module in self.model.modules():
            if isinstance(module, nn.LayerNorm):
                module.register_forward_pre_hook(_check_between_layers)

    @classmethod
    def from_snapshot(
        cls, folder: Path, model_id: str, revision: str, device: str | None, subfolder: str = ""
    ) -> ThreadSafeClip:
        """A model on the Hub from the folder of its download.

        Raises:
            InputError: if it can't be loaded; the message names its id instead of the folder.
        """
        with naming(model_id, folder):
            model = cls(str(folder), device=device)
        model.model_id, model.revision, model.subfolder = model_id, revision, subfolder or None
        return model

    def fingerprint(self) -> list[list[float]]:
        """The model's fingerprint, computed once."""
        return self._fingerprint()

    def text_features(self, contexts: Tensor, names: Sequence[str]) -> Tensor:
        """Text features `(P, C, D)`. Those of one context are cached, since visitors repeat their labels.

        The ledger counts cached texts, too.
        """
        if self.watch is not None:
            self.watch(len(names))
        if len(contexts) != 1 or not self.remembers:
            return super().text_features(contexts, names)
        key = self.template, tuple(names), tuple(contexts.shape), contexts.cpu().numpy().tobytes()
        with self._cache_lock:
            known = self._texts.get(key)
        if known is not None:
            self.ledger.text_tokens += known.tokens
            return known.features
        before = self.ledger.text_tokens
        features = super().text_features(contexts, names)
        if features.nbytes <= ENTRY_BYTES:
            entry = _CachedTexts(features, self.ledger.text_tokens - before, key)
            with self._cache_lock:
                self._texts[key] = entry
        return features

    def _image_features(self, inputs: Any) -> Tensor:
        if self.watch is not None:
            self.watch(0)
        if self.watch_images is not None:
            self.watch_images(len(inputs["pixel_values"]))
        return super()._image_features(inputs)

    def _inject(self, contexts: Tensor, prompts: list[list[int]]) -> Tensor:
        with self._hook_lock:
            return super()._inject(contexts, prompts)


def _check_between_layers(*_: object) -> None:
    if (check := BETWEEN_LAYERS.get()) is not None:
        check()


class _CachedTexts:
    """Text features, the tokens that the ledger counts for them, and their key."""

    def __init__(self, features: Tensor, tokens: int, key: Key) -> None:
        self.features, self.tokens, self.key = features, tokens, key

    def count_bytes(self) -> int:
        """About the memory that the entry takes."""
        _, names, _, context = self.key
        return OBJECTS + self.features.nbytes + len(context) + sum(80 + 4 * len(name) for name in names)


def count_parameters(model: ClipBlackBox) -> int:
    """How many numbers the weights hold."""
    return sum(weight.numel() for weight in model.model.parameters())
