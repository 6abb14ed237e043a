"""The server of the remote black box: what a Space answers to `hf_unlearn.SpaceBlackBox`, within bounds.

Images are known by random handles that no other session can use. Nothing is written to disk.
"""

from __future__ import annotations

import base64
import binascii
import io
import secrets
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_unlearn.errors import InputError
from space.inputs.limits import MAX_LABEL, open_image
from space.services.scoring_sessions import ScoringSession, ScoringSessions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hf_unlearn import ClipBlackBox
    from hf_unlearn.models.black_box import ImageSet

POPULATION, CLASSES, IMAGES, AT_ONCE, N_CTX = 64, 1_000, 4_000, 32, 64
SCORES = 2**23  # numbers in one answer
PICTURE_BYTES = 4 * 2**20


class ScoringService:
    """Scores contexts for remote optimizers.

    Args:
        bases: the base models on offer now -> Hub id or folder.
        load: returns the model with a name.
        queries: how many candidates one session may have scored.
    """

    def __init__(
        self, bases: Callable[[], Mapping[str, str]], load: Callable[[str], ClipBlackBox], queries: int = 100_000
    ) -> None:
        self._bases = bases
        self._sessions = ScoringSessions(queries)
        self._with_template = lru_cache(maxsize=8)(lambda base, template: load(base).with_template(template))

    def describe(self, base: str, template: str, session: str) -> dict[str, Any]:
        """What an optimizer needs to know of a model, the bounds, and how many queries are left.

        Raises:
            ValueError: if the base is not on offer or the template does not have exactly one `{}`.
        """
        model = self._model(base, template)
        return {
            "model_id": model.model_id,
            "revision": model.revision,
            "dim": model.dim,
            "max_n_ctx": min(model.max_n_ctx, N_CTX),
            "token_mean": _encode(model.token_mean.numpy()),
            "token_std": model.token_std,
            "fingerprint": model.fingerprint(),
            "limits": {"population": POPULATION, "classes": CLASSES, "images": IMAGES, "images_at_once": AT_ONCE},
            "queries_left": self._sessions.get(session).left,
        }

    def add_images(self, base: str, handle: str, pictures: Sequence[str], session: str) -> dict[str, Any]:
        """Encodes PNG images (base64) once and adds them to the set with this handle, or to a new set.

        Raises:
            ValueError: if they are too many, too large, or no images.
        """
        import torch

        from hf_unlearn.models.black_box import ImageSet

        if not (isinstance(handle, str) and isinstance(pictures, list | tuple)):
            raise InputError("Images are a list of PNG files in base64, with a handle that is text.")
        visitor = self._sessions.get(session)
        if handle and handle not in visitor.sets:
            return {"missing": True, "handle": ""}
        if not 1 <= len(pictures) <= AT_ONCE:
            raise InputError(f"Send 1 to {AT_ONCE} images at once, got {len(pictures)}.")
        if visitor.count_images() + len(pictures) > IMAGES:
            raise InputError(f"One session holds at most {IMAGES:,} images.")
        images = [open_image(io.BytesIO(_decode(picture, PICTURE_BYTES))) for picture in pictures]
        features = self._model(base, "{}").add_images(images).features
        with visitor.lock:
            if handle:
                features = torch.cat([_check_base(visitor, handle, base).features, features])
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
            raise InputError("Names are a list of text, and the handle of the images is text.")
        visitor = self._sessions.get(session)
        if handle not in visitor.sets:
            return {"missing": True}
        images = _check_base(visitor, handle, base)
        model = self._model(base, template)
        _check_shape(shape, model.dim)
        if not (1 <= len(names) <= CLASSES and all(isinstance(n, str) and len(n) <= MAX_LABEL for n in names)):
            raise InputError(f"Expected 1 to {CLASSES:,} names of up to {MAX_LABEL} characters.")
        population = shape[0]
        if population * len(images) * len(names) > SCORES:
            raise InputError(f"One answer holds at most {SCORES:,} scores; send fewer contexts at once.")
        numbers = _decode_contexts(contexts, shape)
        with visitor.lock:
            if population > visitor.left:
                raise InputError(f"This session has {visitor.left} queries left.")
            visitor.left -= population
        return self._answer(model, numbers, images, names, visitor)

    def _answer(
        self,
        model: ClipBlackBox,
        contexts: NDArray[np.float32],
        images: ImageSet,
        names: Sequence[str],
        visitor: ScoringSession,
    ) -> dict[str, Any]:
        import torch

        from hf_unlearn.models.black_box import Ledger
        from hf_unlearn.training.scoring import micro_batch

        model = copy(model)
        model.ledger = Ledger()
        population = torch.from_numpy(contexts.astype(np.float32))
        # split as a local run does: bit for bit the same answer
        parts = population.split(micro_batch(len(population), len(names), model.calls, model.prompts_at_once))
        scores = torch.cat([model.log_scores(part, images, names) for part in parts])
        return {
            "missing": False,
            "log_scores": _encode(scores.cpu().numpy()),
            "queries_left": visitor.left,
            "text_tokens": model.ledger.text_tokens,
        }

    def _model(self, base: str, template: str) -> ClipBlackBox:
        if not isinstance(base, str) or base not in self._bases():
            raise InputError(f"This Space offers {', '.join(self._bases())}, not '{str(base)[:80]}'.")
        if not isinstance(template, str) or len(template) > MAX_LABEL:
            raise InputError(f"A template has at most {MAX_LABEL} characters.")
        return self._with_template(base, template)


def _check_base(visitor: ScoringSession, handle: str, base: str) -> ImageSet:
    encoder, images = visitor.sets[handle]
    if encoder != base:
        raise InputError("These images were encoded by another model.")
    return images


def _check_shape(shape: Sequence[int], width: int) -> None:
    if not (isinstance(shape, list | tuple) and len(shape) == 3 and all(type(size) is int for size in shape)):
        raise InputError("Contexts have a shape of three numbers: candidates, tokens, width.")
    population, n_ctx, dim = shape
    if not (1 <= population <= POPULATION and 0 <= n_ctx <= N_CTX and dim == width):
        raise InputError(
            f"Expected up to {POPULATION} contexts of up to {N_CTX} tokens, {width} wide, got {tuple(shape)}."
        )


def _decode_contexts(text: str, shape: Sequence[int]) -> NDArray[np.float32]:
    raw = _decode(text, size := 4 * shape[0] * shape[1] * shape[2])
    if len(raw) != size or not np.isfinite(numbers := np.frombuffer(raw, "<f4")).all():
        raise InputError("Expected contexts of finite float32 numbers, as many as their shape says.")
    return numbers.reshape(shape)


def _decode(text: str, most: int) -> bytes:
    if not isinstance(text, str) or len(text) > 4 * (most + 2) // 3 + 4:
        raise InputError("A part of this request is larger than announced or allowed.")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InputError("A part of this request is not base64.") from None


def _encode(numbers: NDArray[np.float32]) -> str:
    return base64.b64encode(np.ascontiguousarray(numbers, "<f4").tobytes()).decode()
