"""The remote black box: a Space holds the model, receives contexts and names, and returns log-scores."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from hf_unlearn.data.class_names import text_list
from hf_unlearn.data.pixels import as_images, rgb_images
from hf_unlearn.errors import BudgetSpentError, InputError, PromptTooLongError, RemoteError
from hf_unlearn.models.black_box import ENCODED_AT_ONCE, TEMPLATE, Ledger, check_adapter, check_contexts, check_template
from hf_unlearn.models.wire import decode_array, encode_array, encode_image, read_count, read_number

if TYPE_CHECKING:
    from hf_unlearn.models.adapted_box import AdaptedBox, Adapter

FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0  # seconds before the next try; doubled each time
SENT_AGAIN = 3  # times that images are sent to a Space that no longer has them
FORGETS = "{} forgets images as soon as they are sent; try again later"
TOO_LONG = "tokens, the text tower of"  # part of the message of a `PromptTooLongError` in a Space


@dataclass(eq=False)
class SentImages:
    """Images that a Space has encoded, known to it by a handle of this session; kept to send them again."""

    pictures: list[str]  # PNG, base64
    handle: str = ""

    def __len__(self) -> int:
        return len(self.pictures)


class SpaceBlackBox:
    """A CLIP that a Space holds, behind its `score` endpoint; the same protocol as the local one.

    Images travel once, as lossless PNG. Afterwards a random handle names them, valid in this session alone.
    A lost connection is retried. If the Space has restarted, the images are sent again.

    Args:
        space: a Space's id, `user/name`, or the address of a running app.
        model: which of the Space's base models.
        template: the prompt around a class name, one `{}`.
        token: for a private Space; never stored.
        tries: calls of an endpoint before giving up.

    Raises:
        RemoteError: if there is no such Space or it has no `score` endpoint.
        InputError: if the Space refuses model or template; a ValueError.
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
        self._connection = _Connection(space, token, tries)
        facts = self._connection.call("/describe", model, template)
        with _checked(space):
            self.model_id = str(facts["model_id"])
            self.revision = None if facts["revision"] is None else str(facts["revision"])
            self.dim, self.max_n_ctx = read_count(facts["dim"], 1), read_count(facts["max_n_ctx"])
            self.token_mean = torch.from_numpy(decode_array(facts["token_mean"], (self.dim,)))
            if not self.token_mean.isfinite().all():
                raise InputError("it holds infinity")
            self.token_std = read_number(facts["token_std"])
            self._fingerprint = [[read_number(number) for number in row] for row in facts["fingerprint"]]
            self._most = read_count(facts["limits"]["population"], 1)
            self._left = [read_count(facts["queries_left"])]  # shared with the same model under another template
        self.ledger = Ledger()

    def under(self, adapter: Adapter) -> AdaptedBox:
        """This model under a context adapter.

        Raises:
            WrongBaseError: if the adapter was made for another base.
        """
        check_adapter(adapter)
        return adapter.applied_to(self)

    @property
    def queries_left(self) -> int:
        """Candidates that the Space still scores in this session."""
        return self._left[0]

    def add_images(self, images: Any) -> SentImages:
        """Sends `N` images to be encoded once; `images` as `ClipBlackBox` accepts them.

        Raises:
            InputError: if there are no images, one is unreadable, or they exceed the Space's limit; a ValueError.
            RemoteError: if the Space does not answer.
        """
        sent = SentImages([encode_image(image) for image in rgb_images(as_images(images))])
        if not sent.pictures:
            raise InputError("expected at least one image, got none")
        self._send(sent)
        return sent

    def log_scores(self, contexts: Tensor, images: SentImages, names: Sequence[str]) -> Tensor:
        """`(P, m, dim)`, `N` images, `C` names -> `(P, N, C)` float32, each row a log-softmax; `P` queries.

        Raises:
            PromptTooLongError: if a prompt has more tokens than the text tower reads.
            InputError: if the Space refuses contexts or names; a ValueError.
            BudgetSpentError: if it answers no more queries.
            RemoteError: if it does not answer.
        """
        check_contexts(contexts, self.dim)
        asked = text_list("names", names)
        return torch.cat([self._score(part, images, asked) for part in contexts.split(self._most)])

    def zero_shot(self, images: SentImages, names: Sequence[str]) -> Tensor:
        """Log-scores of the model without a context, `(N, C)`; one query."""
        return self.log_scores(torch.zeros(1, 0, self.dim), images, names)[0]

    def with_template(self, template: str) -> SpaceBlackBox:
        """The same model, session and ledger under another template."""
        other = copy(self)
        other.template = check_template(template)
        facts = self._connection.call("/describe", self.base, template)
        with _checked(self.space):
            other.max_n_ctx = read_count(facts["max_n_ctx"])
        return other

    def fingerprint(self) -> list[list[float]]:
        """Numbers that identify the base, as the Space reports them; a loaded base is compared with them later."""
        return self._fingerprint

    def _score(self, contexts: Tensor, images: SentImages, names: list[str]) -> Tensor:
        if len(contexts) > self.queries_left:
            raise BudgetSpentError(f"{self.space} answers {self.queries_left} more queries in this session")
        asked = contexts.float().cpu().contiguous()
        for _ in range(SENT_AGAIN):
            answer = self._connection.call(
                "/score", self.base, self.template, images.handle, names, encode_array(asked.numpy()), list(asked.shape)
            )
            with _checked(self.space):
                missing = answer["missing"]
            if not missing:
                break
            self._send(images)  # the Space has restarted, or this is a new session
        else:
            raise RemoteError(FORGETS.format(self.space))
        with _checked(self.space):
            scores = torch.from_numpy(decode_array(answer["log_scores"], (len(contexts), len(images), len(names))))
            left, tokens = read_count(answer["queries_left"]), read_count(answer["text_tokens"])
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
        """Whether all arrived in one session; False if the Space began a new one meanwhile."""
        images.handle = ""
        for start in range(0, len(images), ENCODED_AT_ONCE):
            part = images.pictures[start : start + ENCODED_AT_ONCE]
            answer = self._connection.call("/images", self.base, images.handle, part)
            with _checked(self.space):
                missing, images.handle = answer["missing"], str(answer["handle"])
            if missing:
                return False
            self.ledger.image_encodings += len(part)
        return True


class _Connection:
    """Calls a Space's endpoints, with retries and a new connection after a broken one."""

    def __init__(self, space: str, token: str | None, tries: int) -> None:
        self._space, self._tries = space, tries
        self._token = token
        self._session = ""
        self._client: Any = None

    def call(self, endpoint: str, *arguments: Any) -> Any:
        """The JSON that an endpoint returns.

        Raises:
            PromptTooLongError: if the Space refuses a prompt as too long.
            InputError: if it refuses for another reason.
            RemoteError: if it has no such endpoint, does not answer, or gradio_client is not installed.
        """
        try:
            from gradio_client.exceptions import AppError
        except ImportError as error:
            raise RemoteError("a remote black box needs gradio_client: pip install 'hf_unlearn[remote]'") from error

        def predict() -> Any:
            self._client = self._client or self._connect()
            return self._client.predict(*arguments, api_name=endpoint)

        def is_final(error: Exception) -> bool:
            return isinstance(error, AppError) or "api_name" in str(error)

        try:
            return _call_with_retries(predict, self._tries, is_final, self._disconnect)
        except AppError as error:
            refusal = PromptTooLongError if TOO_LONG in str(error) else InputError
            raise refusal(f"{self._space}: {error}") from None
        except Exception as error:
            if "api_name" in str(error):
                raise RemoteError(f"{self._space}: this Space offers no black box (no {endpoint} endpoint)") from error
            raise RemoteError(f"{self._space}: no answer after {self._tries} tries ({_first_line(error)})") from error

    def _connect(self) -> Any:
        from gradio_client import Client

        client = Client(self._space, token=self._token, verbose=False, analytics_enabled=False, download_files=False)
        self._session = client.session_hash = self._session or client.session_hash  # the same after a lost connection
        return client

    def _disconnect(self) -> None:
        self._client = None


def _call_with_retries(
    call: Callable[[], Any], tries: int, is_final: Callable[[Exception], bool], between: Callable[[], None]
) -> Any:
    """`call()`, repeated after drops and server errors; the wait doubles each time."""
    wait = FIRST_WAIT
    for turn in range(tries):
        try:
            return call()
        except Exception as error:
            if is_final(error) or turn == tries - 1:
                raise
        between()
        time.sleep(wait)
        wait = min(2 * wait, LONGEST_WAIT)
    raise AssertionError("unreachable")


@contextmanager
def _checked(space: str) -> Iterator[None]:
    """Reads an answer, which may be anything: what can't be read becomes a `RemoteError`."""
    try:
        yield
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        raise RemoteError(
            f"{space}: invalid response of a black box ({_first_line(error)}); is its hf_unlearn another version?"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
