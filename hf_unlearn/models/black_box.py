"""The black box: class scores of images under a context, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Sized
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from PIL import Image
from torch import Tensor

from hf_unlearn.errors import InputError
from hf_unlearn.text import brief

TEMPLATE = "This is a photo of {}."  # transformers' zero-shot pipeline uses it when told nothing
ENCODED_AT_ONCE = 32  # images
SCORES_AT_ONCE = 2**24  # numbers; 64 MiB of log-scores
PROMPTS_AT_ONCE = 100  # names times candidates of a call at least, or matrix products are too small to be fast
# a fingerprint is the answers to these
PROBES = ("cat", "a red car", "two people", "beer mug", "7", "the sky at night", "a small dog on a sofa", "text")


@dataclass
class Ledger:
    """What was asked of a black box so far."""

    queries: int = 0
    text_tokens: int = 0
    image_encodings: int = 0

    def since(self, earlier: Ledger) -> Ledger:
        return Ledger(*(now - then for now, then in zip(self.values(), earlier.values(), strict=True)))

    def plus(self, other: Ledger) -> Ledger:
        return Ledger(*(one + two for one, two in zip(self.values(), other.values(), strict=True)))

    def copy(self) -> Ledger:
        return Ledger(*self.values())

    def values(self) -> tuple[int, ...]:
        return tuple(asdict(self).values())


@dataclass(frozen=True)
class ImageSet:
    """Images that a black box has encoded; opaque to everyone else."""

    features: Tensor  # (N, width), unit length

    def __len__(self) -> int:
        return len(self.features)


class BlackBox(Protocol):
    """Answers with class scores; no gradients, no parameters.

    Attributes:
        model_id, revision: which model this is, for the adapter's config.
        template: the prompt around a class name.
        dim: width of a token embedding.
        max_n_ctx: longest context that still leaves room for the names.
        token_mean: `(dim,)`, mean of the token embeddings.
        token_std: standard deviation of the token embeddings.
        calls: how many calls of `log_scores` a population is best split into, for processes to share.
        ledger: what was asked so far.
    """

    model_id: str
    revision: str | None
    template: str
    dim: int
    max_n_ctx: int
    token_mean: Tensor
    token_std: float
    calls: int
    ledger: Ledger

    def add_images(self, images: Iterable[Image.Image]) -> Sized:
        """Encodes images once; the handle is opaque and good for this session."""
        ...

    def log_scores(self, contexts: Tensor, images: Any, names: Sequence[str]) -> Tensor:
        """`(P, m, dim)`, `N` images, `C` names -> `(P, N, C)` float32, each row a log-softmax; `P` queries.

        Raises:
            BudgetSpentError: if the box answers no more.
            PromptTooLongError: if a prompt has more tokens than the text tower reads.
        """
        ...

    def with_template(self, template: str) -> BlackBox:
        """The same model and ledger under another template."""
        ...

    def fingerprint(self) -> list[list[float]]:
        """Numbers by which the same base is recognized, whatever its precision."""
        ...


def check_box(model: object) -> None:
    """Raises: ValueError: if it is no black box, such as the id or the folder of a model."""
    if isinstance(model, str | Path):
        raise InputError(f"model must be a black box, got {brief(model)}; load it: ClipBlackBox({brief(model)})")
    if not callable(getattr(model, "fingerprint", None)):
        raise InputError(
            f"model must be a black box, got {type(model).__name__}; make one: ClipBlackBox(Hub id or folder)"
        )


def check_template(template: str) -> str:
    """The template itself. Raises: ValueError: if it has not exactly one `{}`, or other braces."""
    if not isinstance(template, str) or template.count("{}") != 1 or set("{}") & set(template.replace("{}", "")):
        raise InputError(
            f"a template has one {{}}, where the class name goes, and no other braces; got {brief(template)}"
        )
    return template


def batches(images: Iterable[Image.Image], size: int) -> Iterable[list[Image.Image]]:
    """Lists of `size` images, the last one with what is left."""
    batch: list[Image.Image] = []
    for image in images:
        batch.append(image)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
