"""The remote black box: a Space holds the model; contexts and names go out, log-scores come back."""

from __future__ import annotations

import base64
import io
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from hf_unlearn.data.class_names import text_list
from hf_unlearn.data.pixels import as_images, rgb_images
from hf_unlearn.errors import BudgetSpentError, InputError, PromptTooLongError, RemoteError
from hf_unlearn.models.black_box import ENCODED_AT_ONCE, TEMPLATE, Ledger, check_template
from hf_unlearn.text import brief

if TYPE_CHECKING:
    from hf_unlearn.models.adapted_box import AdaptedBox, Adapter

FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0  # seconds before the next try; doubled each time
SENT_AGAIN = 3  # times that images are sent to a Space that has forgotten them
FORGETS = "{} forgets images as soon as they are sent; try again later"
TOO_LONG = "tokens, the text tower of"  # part of what a Space's `ClipBlackBox` says of a prompt that does not fit


@dataclass(eq=False)
class SentImages:
    """Images that a Space has encoded, known to it by a handle of this session; kept to send them again."""

    pictures: list[str]  # PNG, base64
    handle: str = ""

    def __len__(self) -> int:
        return len(self.pictures)


class SpaceBlackBox:
    """A CLIP that a Space holds: the same protocol as the local one, over the Space's `score` endpoint.

    Images travel once, as lossless PNG; afterwards a random handle stands for them, which is good in
    this session alone. Lost connections are taken up again, the images sent again if the Space has
    forgotten them.

    Args:
        space: a Space's id, `user/name`, or the address of a running app.
        model: which of the Space's base models.
        template: the prompt around a class name, one `{}`.
        token: for a private Space; never stored.
        tries: how often a call is made before giving up.

    Raises:
        RemoteError: if there is no such Space or it has no `score` endpoint.
        ValueError: if the Space refuses model or template.
    """

    calls = 1

    def __init__(
        self,
        space: str,
        *,
        model: str = "embedded",
        template: str = TEMPLATE,
        token: str | None = None,
        tries: int = 8,
    ) -> None:
        self.space, self.base, self.template = space, model, check_template(template)
        self._line = _Line(space, token, tries)
        facts = self._line.ask("/describe", model, template)
        with _understood(space):
            self.model_id = str(facts["model_id"])
            self.revision = None if facts["revision"] is None else str(facts["revision"])
            self.dim, self.max_n_ctx = _count(facts["dim"], 1), _count(facts["max_n_ctx"])
            self.token_mean = _floats(facts["token_mean"], (self.dim,))
            if not self.token_mean.isfinite().all():
                raise InputError("it holds infinity")
            self.token_std = _number(facts["token_std"])
            self._fingerprint = [[_number(number) for number in row] for row in facts["fingerprint"]]
            self._most = _count(facts["limits"]["population"], 1)
            self._left = [_count(facts["queries_left"])]  # shared with the same model under another template
        self.ledger = Ledger()

    def under(self, adapter: Adapter) -> AdaptedBox:
        """This model under a context adapter. Raises: WrongBaseError: if it was made for another base."""
        return adapter.applied_to(self)

    @property
    def queries_left(self) -> int:
        """How many candidates the Space still scores in this session."""
        return self._left[0]

    def add_images(self, images: Any) -> SentImages:
        """Sends images to be encoded once; `images` as `ClipBlackBox` takes them.

        Raises:
            ValueError: if there is none, one can't be read, or they are more than the Space takes.
        """
        sent = SentImages([_png(image) for image in rgb_images(as_images(images))])
        if not sent.pictures:
            raise InputError("expected at least one image, got none")
        self._send(sent)
        return sent

    def log_scores(self, contexts: Tensor, images: Any, names: Sequence[str]) -> Tensor:
        """See `BlackBox`.

        Raises:
            PromptTooLongError: if a prompt has more tokens than the text tower reads.
            ValueError: if the Space refuses contexts or names.
            BudgetSpentError: if it answers no more queries.
        """
        if contexts.ndim != 3 or contexts.shape[2] != self.dim:
            raise InputError(f"expected contexts of shape (P, m, {self.dim}), got {tuple(contexts.shape)}")
        asked = text_list("names", names)
        return torch.cat([self._score(part, images, asked) for part in contexts.split(self._most)])

    def zero_shot(self, images: Any, names: Sequence[str]) -> Tensor:
        """Log-scores of the plain model, `(N, C)`."""
        return self.log_scores(torch.zeros(1, 0, self.dim), images, names)[0]

    def with_template(self, template: str) -> SpaceBlackBox:
        """The same model, session and ledger under another template."""
        other = copy(self)
        other.template = check_template(template)
        facts = self._line.ask("/describe", self.base, template)
        with _understood(self.space):
            other.max_n_ctx = _count(facts["max_n_ctx"])
        return other

    def fingerprint(self) -> list[list[float]]:
        """The Space's own word on which model it holds; the loaded base is compared with it later."""
        return self._fingerprint

    def _score(self, contexts: Tensor, images: SentImages, names: list[str]) -> Tensor:
        if len(contexts) > self.queries_left:
            raise BudgetSpentError(f"{self.space} answers {self.queries_left} more queries in this session")
        asked = contexts.float().cpu().contiguous()
        for _ in range(SENT_AGAIN):
            answer = self._line.ask(
                "/score", self.base, self.template, images.handle, names, _text(asked), list(asked.shape)
            )
            with _understood(self.space):
                missing = answer["missing"]
            if not missing:
                break
            self._send(images)  # the Space has restarted, or this is a new session
        else:
            raise RemoteError(FORGETS.format(self.space))
        with _understood(self.space):
            scores = _floats(answer["log_scores"], (len(contexts), len(images), len(names)))
            left, tokens = _count(answer["queries_left"]), _count(answer["text_tokens"])
        self._left[0] = left
        self.ledger.text_tokens += tokens
        self.ledger.queries += len(contexts)
        return scores

    def _send(self, images: SentImages) -> None:
        for _ in range(SENT_AGAIN):
            if self._sent(images):
                return
        raise RemoteError(FORGETS.format(self.space))

    def _sent(self, images: SentImages) -> bool:
        """Whether all arrived in one session; if not, a new one began under way."""
        images.handle = ""
        for start in range(0, len(images), ENCODED_AT_ONCE):
            part = images.pictures[start : start + ENCODED_AT_ONCE]
            answer = self._line.ask("/images", self.base, images.handle, part)
            with _understood(self.space):
                missing, images.handle = answer["missing"], str(answer["handle"])
            if missing:
                return False
            self.ledger.image_encodings += len(part)
        return True


class _Line:
    """The connection to a Space: calls with retries, and a fresh connection after a broken one."""

    def __init__(self, space: str, token: str | None, tries: int) -> None:
        self._space, self._tries = space, tries
        self._token = token
        self._session = ""
        self._client: Any = None

    def ask(self, api: str, *arguments: Any) -> Any:
        from gradio_client.exceptions import AppError

        def call() -> Any:
            self._client = self._client or self._connect()
            return self._client.predict(*arguments, api_name=api)

        def refused(error: Exception) -> bool:
            return isinstance(error, AppError) or "api_name" in str(error)

        try:
            return _patiently(call, self._tries, refused, self._drop)
        except AppError as error:
            refusal = PromptTooLongError if TOO_LONG in str(error) else ValueError
            raise refusal(f"{self._space}: {error}") from None
        except Exception as error:
            if "api_name" in str(error):
                raise RemoteError(f"{self._space}: this Space offers no black box (no {api} endpoint)") from error
            raise RemoteError(f"{self._space}: no answer after {self._tries} tries ({_line_of(error)})") from error

    def _connect(self) -> Any:
        try:
            from gradio_client import Client
        except ImportError as error:
            raise RemoteError("a remote black box needs gradio_client: pip install 'hf_unlearn[remote]'") from error
        client = Client(self._space, token=self._token, verbose=False, analytics_enabled=False, download_files=False)
        client.session_hash = self._session = (
            self._session or client.session_hash
        )  # a lost connection is no new session
        return client

    def _drop(self) -> None:
        self._client = None


def _patiently(call: Callable[[], Any], tries: int, final: Callable[[Exception], bool], between: Callable) -> Any:
    """`call`, again after drops and server errors, waiting twice as long each time."""
    wait = FIRST_WAIT
    for turn in range(tries):
        try:
            return call()
        except Exception as error:
            if final(error) or turn == tries - 1:
                raise
        between()
        time.sleep(wait)
        wait = min(2 * wait, LONGEST_WAIT)
    raise AssertionError("unreachable")


def _png(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def _text(numbers: Tensor) -> str:
    return base64.b64encode(numbers.numpy().astype("<f4").tobytes()).decode()


@contextmanager
def _understood(space: str) -> Iterator[None]:
    """A Space may answer anything; what can't be read as an answer of ours becomes a `RemoteError`."""
    try:
        yield
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        raise RemoteError(
            f"{space}: its answer is none of a black box ({_line_of(error)}); is its hf_unlearn another version?"
        ) from error


def _floats(text: str, shape: tuple[int, ...]) -> Tensor:
    """Raises: ValueError: if they are of another shape, NaN or infinite; a score may be -inf."""
    numbers = torch.from_numpy(np.frombuffer(base64.b64decode(text), "<f4").astype(np.float32).reshape(shape))
    if not (numbers < math.inf).all():  # NaN is no less than anything
        raise InputError("it holds NaN or infinity")
    return numbers


def _number(value: Any) -> float:
    if not math.isfinite(number := float(value)):
        raise InputError(f"it holds {number}")
    return number


def _count(value: Any, least: int = 0) -> int:
    if not least <= (count := int(value)) < 2**53:
        raise InputError(f"it counts {brief(count)}")
    return count


def _line_of(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
