"""A CLIP trained on photographs, fetched from the Hub in the background while the page already answers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from enum import Enum
from threading import Event, Thread

from hf_unlearn.errors import HfUnlearnError
from space.error_log import log_error
from space.services.model_cache import ModelCache

REAL_MODEL = "openai/clip-vit-base-patch32"
COMMIT = "c237dc49a33fc61debc9276459120b7eac67e7ef"  # the Hub's conversion to safetensors; main has pickles only


class State(Enum):
    """Whether the model can be used: not asked for or out of reach, on its way, or in memory."""

    ABSENT = "absent"
    COMING = "coming"
    READY = "ready"


class RealModel:
    """The model beside the one that comes with the Space.

    Args:
        models: the cache that offers the model once it is ready.
        commit: the model's commit on the Hub.
    """

    def __init__(self, models: ModelCache, commit: str = COMMIT) -> None:
        self._models, self._commit = models, commit
        self._state, self._decided = State.ABSENT, Event()

    @property
    def state(self) -> State:
        """What is known now."""
        return self._state

    def start(self, prepare: Callable[[str], object] = lambda _: None) -> None:
        """Fetches the model in a thread, once; offline it stays absent.

        Args:
            prepare: called with the model's name before it is ready, so that no visitor waits for its vocabulary.
        """
        from huggingface_hub.constants import is_offline_mode

        if self._state is not State.ABSENT or REAL_MODEL in self._models.bases:
            return
        if is_offline_mode():
            self._decided.set()
            return
        self._state = State.COMING
        Thread(target=self._fetch, args=(prepare,), daemon=True, name="real model").start()

    def wait(self, seconds: float | None = None) -> State:
        """Waits until the model is ready or known to be absent; without it the state may be `COMING`."""
        self._decided.wait(seconds)
        return self._state

    def _fetch(self, prepare: Callable[[str], object]) -> None:
        try:
            self._models.offer(REAL_MODEL, self._commit)
            prepare(REAL_MODEL)
            self._state = State.READY
        except (HfUnlearnError, OSError) as error:
            logging.getLogger("space").warning("%s is not offered: %s", REAL_MODEL, error)
            self._withdraw()
        except Exception as error:
            log_error(error, "real model")
            self._withdraw()
        finally:
            self._decided.set()

    def _withdraw(self) -> None:
        self._models.withdraw(REAL_MODEL)
        self._state = State.ABSENT
