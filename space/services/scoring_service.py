"""The remote black box's other end: what a Space answers to `hf_unlearn.SpaceBlackBox`, within bounds.

A visitor's images are known by random handles that no other session can use; nothing is written to
disk, and an idle session is forgotten.
"""

from __future__ import annotations

import base64
import binascii
import io
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from space.inputs.limits import MAX_LABEL, open_image

if TYPE_CHECKING:
    from hf_unlearn import ClipBlackBox

POPULATION, CLASSES, IMAGES, AT_ONCE, N_CTX = 64, 1_000, 4_000, 32, 64
SCORES = 2**23  # numbers in one answer
PICTURE_BYTES = 4 * 2**20
VISITORS, IDLE_SECONDS = 32, 3_600
FEATURE_BYTES = 512 * 2**20  # of all visitors' images


@dataclass
class _Visitor:
    left: int
    seen: float
    sets: dict[str, tuple[str, Any]] = field(default_factory=dict)  # handle -> base, features
    lock: Lock = field(default_factory=Lock)

    def images(self) -> int:
        return sum(len(features) for _, features in self.sets.values())

    def bytes(self) -> int:
        return sum(features.features.nbytes for _, features in list(self.sets.values()))


class ScoringService:
    """Answers contexts with scores.

    Args:
        bases: base models on offer -> where they are.
        load: gives the model behind a name.
        queries: how many candidates one session may have scored.
    """

    def __init__(self, bases: Mapping[str, str], load: Callable[[str], ClipBlackBox], queries: int = 100_000) -> None:
        self.bases, self.queries = dict(bases), queries
        self._load = load
        self._visitors: OrderedDict[str, _Visitor] = OrderedDict()
        self._lock = Lock()
        self._under = lru_cache(maxsize=8)(lambda base, template: load(base).with_template(template))

    def describe(self, base: str, template: str, session: str) -> dict[str, Any]:
        """What an optimizer needs to know of a model, the bounds, and how many queries are left.

        Raises:
            ValueError: if the base is not on offer or the template has not exactly one `{}`.
        """
        model = self._model(base, template)
        return {
            "model_id": model.model_id,
            "revision": model.revision,
            "dim": model.dim,
            "max_n_ctx": min(model.max_n_ctx, N_CTX),
            "token_mean": _text(model.token_mean.numpy()),
            "token_std": model.token_std,
            "fingerprint": model.fingerprint(),
            "limits": {"population": POPULATION, "classes": CLASSES, "images": IMAGES, "images_at_once": AT_ONCE},
            "queries_left": self._visitor(session).left,
        }

    def add_images(self, base: str, handle: str, pictures: Sequence[str], session: str) -> dict[str, Any]:
        """Encodes PNG images (base64) once; adds them to the set behind `handle`, or opens a new one.

        Raises:
            ValueError: if they are too many, too large, or no images.
        """
        import torch

        from hf_unlearn.models.black_box import ImageSet

        if not (isinstance(handle, str) and isinstance(pictures, list | tuple)):
            raise ValueError("Images are a list of PNG files in base64, with a handle that is text.")
        visitor = self._visitor(session)
        if handle and handle not in visitor.sets:
            return {"missing": True, "handle": ""}
        if not 1 <= len(pictures) <= AT_ONCE:
            raise ValueError(f"Send 1 to {AT_ONCE} images at once, got {len(pictures)}.")
        if visitor.images() + len(pictures) > IMAGES:
            raise ValueError(f"One session holds at most {IMAGES:,} images.")
        images = [open_image(io.BytesIO(_bytes(picture, PICTURE_BYTES))) for picture in pictures]
        features = self._model(base, "{}").add_images(images).features
        with visitor.lock:
            if handle:
                owner, before = visitor.sets[handle]
                if owner != base:
                    raise ValueError("These images were encoded by another model.")
                features = torch.cat([before.features, features])
            handle = handle or secrets.token_urlsafe(16)
            visitor.sets[handle] = (base, ImageSet(features))
        return {"missing": False, "handle": handle}

    def score(
        self,
        base: str,
        template: str,
        handle: str,
        names: Sequence[str],
        contexts: str,
        shape: Sequence[int],
        session: str,
    ) -> dict[str, Any]:
        """Log-scores `(P, N, C)` of a population of contexts `(P, m, dim)`, both float32 in base64.

        Raises:
            ValueError: if something is out of bounds or the session's queries are used up.
        """
        if not (isinstance(handle, str) and isinstance(names, list | tuple)):
            raise ValueError("Names are a list of text, and the handle of the images is text.")
        visitor = self._visitor(session)
        if handle not in visitor.sets:
            return {"missing": True}
        owner, images = visitor.sets[handle]
        if owner != base:
            raise ValueError("These images were encoded by another model.")
        model = self._model(base, template)
        if not (isinstance(shape, list | tuple) and len(shape) == 3 and all(type(size) is int for size in shape)):
            raise ValueError("Contexts have a shape of three numbers: candidates, tokens, width.")
        population, n_ctx, dim = shape
        if not (1 <= population <= POPULATION and 0 <= n_ctx <= N_CTX and dim == model.dim):
            raise ValueError(
                f"Expected up to {POPULATION} contexts of up to {N_CTX} tokens, {model.dim} wide, got {tuple(shape)}."
            )
        if not (1 <= len(names) <= CLASSES and all(isinstance(n, str) and len(n) <= MAX_LABEL for n in names)):
            raise ValueError(f"Expected 1 to {CLASSES:,} names of up to {MAX_LABEL} characters.")
        if population * len(images) * len(names) > SCORES:
            raise ValueError(f"One answer holds at most {SCORES:,} scores; send fewer contexts at once.")
        raw = _bytes(contexts, size := 4 * population * n_ctx * dim)
        if len(raw) != size or not np.isfinite(numbers := np.frombuffer(raw, "<f4")).all():
            raise ValueError("The contexts are not the finite numbers that their shape promises.")
        with visitor.lock:
            if population > visitor.left:
                raise ValueError(f"This session has {visitor.left} queries left.")
            visitor.left -= population
        return self._answer(model, numbers.reshape(shape), images, names, visitor)

    def _answer(self, model: Any, contexts: Any, images: Any, names: Sequence[str], visitor: _Visitor) -> dict:
        import torch

        from hf_unlearn.models.black_box import Ledger
        from hf_unlearn.training.workers import micro_batch

        model = copy(model)
        model.ledger = Ledger()  # this visitor's own
        asked = torch.from_numpy(contexts.astype(np.float32))
        # split as a local run does: bit for bit the same answer
        parts = asked.split(micro_batch(len(asked), len(names), model.calls, model.prompts_at_once))
        scores = torch.cat([model.log_scores(part, images, names) for part in parts])
        return {
            "missing": False,
            "log_scores": _text(scores.cpu().numpy()),
            "queries_left": visitor.left,
            "text_tokens": model.ledger.text_tokens,
        }

    def _model(self, base: str, template: str) -> ClipBlackBox:
        if not isinstance(base, str) or base not in self.bases:
            raise ValueError(f"This Space offers {', '.join(self.bases)}, not '{str(base)[:80]}'.")
        if not isinstance(template, str) or len(template) > MAX_LABEL:
            raise ValueError(f"A template has at most {MAX_LABEL} characters.")
        return self._under(base, template)

    def _visitor(self, session: str) -> _Visitor:
        now = time.monotonic()
        with self._lock:
            for key in [key for key, visitor in self._visitors.items() if now - visitor.seen > IDLE_SECONDS]:
                del self._visitors[key]
            visitor = self._visitors.setdefault(session, _Visitor(self.queries, now))
            visitor.seen = now
            self._visitors.move_to_end(session)
            while len(self._visitors) > 1 and (
                len(self._visitors) > VISITORS or sum(v.bytes() for v in self._visitors.values()) > FEATURE_BYTES
            ):
                self._visitors.popitem(last=False)
            return visitor


def _bytes(text: str, most: int) -> bytes:
    if not isinstance(text, str) or len(text) > 4 * (most + 2) // 3 + 4:
        raise ValueError("A part of this request is larger than announced or allowed.")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("A part of this request is not base64.") from None


def _text(numbers: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(numbers, "<f4").tobytes()).decode()
