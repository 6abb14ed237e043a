"""The black box made of two functions, for models that give embeddings only."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence, Sized
from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from cachetools import LRUCache
from PIL import Image
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.nn import functional as F

from hf_unlearn.arguments import positive, whole_number
from hf_unlearn.data.class_names import text_list
from hf_unlearn.data.pixels import as_images, rgb_images
from hf_unlearn.errors import InputError
from hf_unlearn.hub.ids import is_commit, is_repo_id
from hf_unlearn.models.black_box import (
    PROBES,
    TEMPLATE,
    ImageSet,
    Ledger,
    batches,
    check_adapter,
    check_contexts,
    check_template,
)
from hf_unlearn.text import brief

if TYPE_CHECKING:
    from hf_unlearn.models.adapted_box import AdaptedBox, Adapter

MOST_LETTERS = 500  # of a model id
REMEMBERED = 20_000  # texts; 40 MB at a width of 512


@dataclass
class _Memory:
    """What a box and its copies under other templates share: the latest text vectors, and the embeddings' width."""

    texts: LRUCache[str, Tensor] = field(default_factory=lambda: LRUCache(REMEMBERED))
    width: int | None = None


class EmbeddingBlackBox:
    """A model that gives embeddings: an endpoint, an index's encoder, anything with two functions.

    It supports edits without the weights. It does not support contexts, which need token embeddings. It has no
    tokenizer either, so give the words to hold in place.

        import base64, io, json
        from urllib.request import Request, urlopen

        def embed(inputs, modality):  # an OpenAI-style endpoint, such as infinity-emb serves
            body = json.dumps({"model": "clip", "input": inputs, "modality": modality}).encode()
            request = Request("http://localhost:7997/embeddings", body, {"Content-Type": "application/json"})
            with urlopen(request, timeout=60) as response:
                return [row["embedding"] for row in json.load(response)["data"]]

        def data_uri(image):
            image.save(png := io.BytesIO(), "PNG")
            return "data:image/png;base64," + base64.b64encode(png.getvalue()).decode()

        model = EmbeddingBlackBox(
            lambda texts: embed(texts, "text"),
            lambda images: embed([data_uri(image) for image in images], "image"),
            model_id="clip",
        )
        adapter = unlearn(model, forget=["gun"], vocabulary=words_to_hold_in_place).adapter

    The latest 20,000 text vectors are cached, so no text is sent twice. In the ledger `text_tokens` counts texts
    sent, since tokens are unknown; `image_encodings` counts images sent, `queries` candidates compared.

    Args:
        texts_to_vectors: a list of texts -> `(n, width)`: an array, a tensor or lists of numbers, of any length.
        images_to_vectors: a list of RGB images -> `(n, width)`.
        logit_scale: what cosines are multiplied by before the softmax; CLIP's is 100.
        template: the prompt around a class name, one `{}`.
        model_id, revision: which model this is, for the adapter's config: a name, and the commit of one on the Hub.
        batch: texts or images at a time, at most.

    Raises:
        InputError: if the template does not have exactly one `{}`, or the scale or the batch is not positive. Also if
            an adapter's config could not hold model id or revision. A ValueError.
    """

    calls = 1
    dim = 0
    max_n_ctx = 0
    token_std = 0.0
    device = torch.device("cpu")

    def __init__(
        self,
        texts_to_vectors: Callable[[list[str]], Any],
        images_to_vectors: Callable[[list[Image.Image]], Any],
        *,
        logit_scale: float = 100.0,
        template: str = TEMPLATE,
        model_id: str = "embeddings",
        revision: str | None = None,
        batch: int = 64,
    ) -> None:
        _check_base(model_id, revision)
        self.template = check_template(template)
        self.model_id, self.revision = model_id, revision
        self.logit_scale, self.batch = positive("logit_scale", logit_scale), whole_number("batch", batch)
        self.token_mean = torch.zeros(0)
        self.ledger = Ledger()
        self._texts_to_vectors, self._images_to_vectors = texts_to_vectors, images_to_vectors
        self._memory = _Memory()

    @property
    def width(self) -> int:
        """Numbers in an embedding; the first use sends one text if nothing was sent before."""
        return self._memory.width or len(self._vectors_of([PROBES[0]])[0])

    def add_images(self, images: Any) -> ImageSet:
        """Encodes `N` images once, in batches, with a progress bar on a terminal; for `images` see `ClipBlackBox`.

        Raises:
            InputError: if there is no image, one is unreadable, or the answer is not one vector for each; a ValueError.
        """
        images = as_images(images)
        total = -(-len(images) // self.batch) if isinstance(images, Sized) else None
        quiet = not sys.stderr.isatty() or (total is not None and total < 8)
        bar = {"total": total, "transient": True, "disable": quiet, "console": Console(stderr=True)}
        vectors = []
        for part in track(batches(rgb_images(images), self.batch), "encoding images", **bar):  # type: ignore[arg-type]
            vectors.append(self._ask(self._images_to_vectors, part, "images"))
            self.ledger.image_encodings += len(part)
        if not vectors:
            raise InputError("expected at least one image, got none")
        return ImageSet(torch.cat(vectors))

    def log_scores(self, contexts: Tensor, images: ImageSet, names: Sequence[str]) -> Tensor:
        """See `BlackBox`; the only contexts are those of no tokens, `(P, 0, 0)`.

        Raises:
            InputError: for any other context, or if the answer is not one vector for each text; a ValueError.
        """
        return self.compare(self.text_features(contexts, names), images)

    def text_features(self, contexts: Tensor, names: Sequence[str]) -> Tensor:
        """`(P, 0, 0)` -> unit text features `(P, C, width)`, float32. Raises as `log_scores` does."""
        if contexts.ndim != 3 or contexts.shape[1] or contexts.shape[2]:
            raise InputError(
                f"{self.model_id}: this box has no token embeddings, so it can't be searched for a context; use an "
                f"edit (expected contexts of shape (P, 0, 0), got {tuple(contexts.shape)})"
            )
        check_contexts(contexts, 0)
        texts = [self.template.format(name) for name in text_list("names", names)]
        return torch.stack(self._vectors_of(texts)).expand(len(contexts), -1, -1)

    def compare(self, texts: Tensor, images: ImageSet) -> Tensor:
        """Unit text features `(P, C, width)` -> log-scores `(P, N, C)` float32; `P` queries."""
        self.ledger.queries += len(texts)
        return (self.logit_scale * (images.features @ texts.transpose(1, 2))).log_softmax(-1)

    def zero_shot(self, images: ImageSet, names: Sequence[str]) -> Tensor:
        """Log-scores `(N, C)`; no query counted."""
        queries = self.ledger.queries
        scores = self.log_scores(torch.zeros(1, 0, 0), images, names)[0]
        self.ledger.queries = queries
        return scores

    def under(self, adapter: Adapter) -> AdaptedBox:
        """This model under an adapter, as a black box.

        Raises:
            WrongBaseError: if the adapter was made for another base.
        """
        check_adapter(adapter)
        return adapter.applied_to(self)

    def with_template(self, template: str) -> EmbeddingBlackBox:
        """The same model under another template; ledger and cache are shared.

        Raises:
            InputError: if the template does not have exactly one `{}`; a ValueError.
        """
        other = copy(self)
        other.template = check_template(template)
        return other

    def fingerprint(self) -> list[list[float]]:
        """Text features of eight fixed texts, 32 numbers of each, as a `ClipBlackBox` of the same model has them."""
        plain = self.with_template("{}")
        plain.ledger = Ledger()
        features = plain.text_features(torch.zeros(1, 0, 0), PROBES)[0, :, :32]
        return [[round(value, 4) for value in row] for row in F.normalize(features, dim=-1).tolist()]

    def _vectors_of(self, texts: list[str]) -> list[Tensor]:
        """The vector of every text; only texts not in the cache are sent, each once."""
        known = self._memory.texts
        found = {text: known[text] for text in texts if text in known}
        missing = [text for text in dict.fromkeys(texts) if text not in found]
        for start in range(0, len(missing), self.batch):
            part = missing[start : start + self.batch]
            rows = self._ask(self._texts_to_vectors, part, "texts")
            self.ledger.text_tokens += len(part)
            new = {text: row.clone() for text, row in zip(part, rows, strict=True)}
            found |= new
            known.update(new)
        return [found[text] for text in texts]

    def _ask(self, function: Callable[[list[Any]], Any], inputs: list[Any], what: str) -> Tensor:
        """Unit vectors `(n, width)` float32. What the function raises passes through, with a note of what was asked."""
        try:
            answer = function(inputs)
        except Exception as error:
            error.add_note(f"while {self.model_id} was asked for the vectors of {len(inputs)} {what}")
            raise
        vectors = _read_vectors(answer, len(inputs), f"{self.model_id}, asked for the vectors of {len(inputs)} {what},")
        width = self._memory.width = self._memory.width or vectors.shape[1]
        if vectors.shape[1] != width:
            raise InputError(
                f"{self.model_id}: vectors of {vectors.shape[1]} numbers for {what}, of {width} before; both functions "
                "must embed into one space"
            )
        return vectors


def _check_base(model_id: str, revision: str | None) -> None:
    """Refuses, before any work, what an adapter's config could not hold."""
    if not isinstance(model_id, str) or not 0 < len(model_id) <= MOST_LETTERS:
        raise InputError(f"model_id must be text of 1 to {MOST_LETTERS} characters, got {brief(model_id)}")
    if revision is not None and not is_commit(revision):
        raise InputError(
            f"revision must be a commit on the Hub, 40 hexadecimal digits, or None; got {brief(revision)} (put other "
            "versions into model_id)"
        )
    if revision is not None and not is_repo_id(model_id):
        raise InputError(
            f"model_id must be a Hub id where there is a revision, such as 'user/name'; got {brief(model_id)}"
        )


def _read_vectors(answer: Any, rows: int, who: str) -> Tensor:
    """An answer as unit vectors `(rows, width)` float32.

    Raises:
        InputError: if it is anything else, with `who` in front.
    """
    if isinstance(answer, Tensor):
        answer = answer.detach().cpu().double().numpy()
    try:
        numbers: Tensor = torch.tensor(np.asarray(answer, dtype=np.float64))
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{who} did not answer with rows of equally many numbers ({str(error)[:200]})") from error
    if numbers.ndim != 2 or len(numbers) != rows or not numbers.shape[1]:
        raise InputError(f"{who} answered with the shape {tuple(numbers.shape)}, expected ({rows}, width)")
    lengths: Tensor = numbers.norm(dim=-1)
    if not lengths.isfinite().all() or not (lengths > 0).all():
        raise InputError(f"{who} answered with a vector of zeros, or numbers that are not finite")
    return (numbers / lengths[:, None]).float()
