"""What a black box is: it scores images against class names, under a context; some boxes also give text features."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, TypeGuard

from PIL import Image
from torch import Tensor
from typing_extensions import TypeVar

from hf_unlearn.errors import InputError
from hf_unlearn.text import brief

Item = TypeVar("Item")
TEMPLATE = "This is a photo of {}."  # the default of transformers' zero-shot pipeline
ENCODED_AT_ONCE = 32  # images
SCORES_AT_ONCE = 2**24  # numbers; 64 MiB of log-scores
PROMPTS_AT_ONCE = 100  # names times candidates of a call at least: smaller matrix products are slow
# texts whose features are the fingerprint of a base
PROBES = ("cat", "a red car", "two people", "beer mug", "7", "the sky at night", "a small dog on a sofa", "text")


@dataclass
class Ledger:
    """What a black box has computed so far.

    Attributes:
        queries: candidates scored; a candidate is one context with all names and images.
        text_tokens: tokens that the text tower read.
        image_encodings: images that the image tower encoded.
    """

    queries: int = 0
    text_tokens: int = 0
    image_encodings: int = 0

    def since(self, earlier: Ledger) -> Ledger:
        """What was added after an earlier state."""
        return Ledger(*(now - then for now, then in zip(self.values(), earlier.values(), strict=True)))

    def plus(self, other: Ledger) -> Ledger:
        """The sum of both."""
        return Ledger(*(one + two for one, two in zip(self.values(), other.values(), strict=True)))

    def copy(self) -> Ledger:
        """The present state, which later counting leaves alone."""
        return Ledger(*self.values())

    def values(self) -> tuple[int, ...]:
        """The counts, in the order of the attributes."""
        return tuple(asdict(self).values())


@dataclass(frozen=True)
class ImageSet:
    """The handle of images that a local black box has encoded.

    Attributes:
        features: `(N, width)`, of unit length, on the box's device.
    """

    features: Tensor

    def __len__(self) -> int:
        return len(self.features)


Images = TypeVar("Images", bound=Sized, default=Any)  # the handle that a kind of box gives to encoded images


class BlackBox(Protocol[Images]):
    """Returns class scores; it gives no gradients and no parameters.

    Attributes:
        model_id, revision: which model this is, for the adapter's config.
        template: the prompt around a class name.
        dim: width of a token embedding.
        max_n_ctx: tokens of the longest context that still leaves room for the names.
        token_mean: `(dim,)`, mean of the token embeddings.
        token_std: standard deviation of the token embeddings.
        calls: the number of `log_scores` calls to split a population into, which processes then share.
        ledger: what was computed so far.
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

    def add_images(self, images: Iterable[Image.Image]) -> Images:
        """Encodes `N` images once. The handle has a length and is otherwise opaque; it is valid for this session."""
        ...

    def log_scores(self, contexts: Tensor, images: Images, names: Sequence[str]) -> Tensor:
        """`(P, m, dim)`, `N` images, `C` names -> `(P, N, C)` float32, each row a log-softmax; `P` queries.

        A context of no tokens, `(1, 0, dim)`, gives the scores of the model itself.

        Raises:
            BudgetSpentError: if the box answers no more queries.
            PromptTooLongError: if a prompt has more tokens than the text tower reads.
        """
        ...

    def with_template(self, template: str) -> BlackBox[Images]:
        """The same model and ledger under another template."""
        ...

    def fingerprint(self) -> list[list[float]]:
        """Numbers that identify the base, whatever its precision."""
        ...


class TextEncoder(BlackBox[Images], Protocol[Images]):
    """A black box that also gives text features: what an edit needs."""

    @property
    def width(self) -> int:
        """Numbers in a text or image feature."""
        ...

    def text_features(self, contexts: Tensor, names: Sequence[str]) -> Tensor:
        """`(P, m, dim)`, `C` names -> unit text features `(P, C, width)` float32.

        Raises:
            PromptTooLongError: if a prompt has more tokens than the text tower reads.
        """
        ...

    def compare(self, texts: Tensor, images: Images) -> Tensor:
        """Unit text features `(P, C, width)`, `N` images -> log-scores `(P, N, C)` float32; `P` queries."""
        ...

    def with_template(self, template: str) -> TextEncoder[Images]:
        """The same model and ledger under another template."""
        ...


def is_text_encoder(model: BlackBox[Images]) -> TypeGuard[TextEncoder[Images]]:
    """Whether a black box gives text features."""
    return callable(getattr(model, "compare", None))


def as_text_encoder(
    model: BlackBox[Images], instead: str = "use a context adapter here, or load the model itself"
) -> TextEncoder[Images]:
    """The box itself, as one that gives text features.

    Args:
        model: a black box.
        instead: what the message advises.

    Raises:
        InputError: if it answers with scores only.
    """
    if not is_text_encoder(model):
        raise InputError(f"{model.model_id} answers with scores only, and an edit needs its text features; {instead}")
    return model


def check_adapter(adapter: object) -> None:
    """Refuses what can't be put over a model.

    Raises:
        InputError: if it is something else, such as the folder of an adapter; a ValueError.
    """
    if not callable(getattr(adapter, "applied_to", None)) or isinstance(adapter, type):
        raise InputError(
            f"expected an adapter, got {type(adapter).__name__} {brief(adapter)}; load one: "
            "ForgetAdapter.from_pretrained(...)"
        )


def check_contexts(contexts: Tensor, dim: int) -> None:
    """Refuses contexts that are not of shape `(P, m, dim)`, and none, `(0, m, dim)`.

    Raises:
        InputError: if they have another shape, are zero in number, or are no tensor; a ValueError.
    """
    if not isinstance(contexts, Tensor) or contexts.ndim != 3 or contexts.shape[2] != dim:
        came = tuple(contexts.shape) if isinstance(contexts, Tensor) else f"{type(contexts).__name__} {brief(contexts)}"
        raise InputError(f"expected contexts of shape (P, m, {dim}), got {came}")
    if not len(contexts):
        raise InputError("expected at least one context, got none")


def check_box(model: object) -> None:
    """Refuses what is not a black box.

    Raises:
        InputError: if it is something else, such as the id or the folder of a model; a ValueError.
    """
    if isinstance(model, str | Path):
        raise InputError(f"model must be a black box, got {brief(model)}; load it: ClipBlackBox({brief(model)})")
    if not callable(getattr(model, "fingerprint", None)):
        raise InputError(
            f"model must be a black box, got {type(model).__name__}; make one: ClipBlackBox(Hub id or folder)"
        )


def check_template(template: str) -> str:
    """The template, unchanged.

    Raises:
        InputError: if it does not have exactly one `{}`, or has other braces; a ValueError.
    """
    if not isinstance(template, str) or template.count("{}") != 1 or set("{}") & set(template.replace("{}", "")):
        raise InputError(
            f"a template has one {{}}, where the class name goes, and no other braces; got {brief(template)}"
        )
    return template


def batches(images: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of `size` images; the last list may be shorter."""
    batch: list[Item] = []
    for image in images:
        batch.append(image)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
