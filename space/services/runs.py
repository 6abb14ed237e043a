"""The runs of all visitors: each in a thread, a few at a time, stopped when asked or when no one waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import copy_context
from functools import partial
from threading import Lock, Semaphore, Thread

from hf_unlearn.errors import InputError
from space.inputs.data_sources import collect_images
from space.inputs.run_request import EDIT, RunRequest
from space.services.adapter_store import AdapterStore
from space.services.run_channel import POLL_SECONDS, RunChannel, VisitorLeft, pause
from space.services.run_evaluation import evaluate_adapter
from space.services.run_methods import make_edit, search_context
from space.services.run_progress import RunProgress, RunResult
from space.services.time_estimate import estimate_seconds

REPORT_SECONDS = 0.7  # between two reports of progress
MAX_RUNS = 4  # at work; abandoned runs count until their next step


class Runs:
    """The runs of all visitors, one each at a time."""

    def __init__(self, store: AdapterStore) -> None:
        self.store = store
        self._channels: dict[str, RunChannel] = {}
        self._lock, self._places = Lock(), Semaphore(MAX_RUNS)

    def stop(self, session: str) -> None:
        """Ends the visitor's run after its present step; the best context so far is kept."""
        with self._lock:
            if session in self._channels:
                self._channels[session].stop.set()

    def estimate(self, request: RunRequest) -> float:
        """Seconds that the search for a context will take.

        Raises:
            ValueError, OSError: as `ModelCache.get` does.
        """
        return estimate_seconds(self.store.models.get(request.base), request)

    def run(
        self,
        request: RunRequest,
        session: str,
        waiting: Callable[[], bool] = lambda: True,
        run_id: str | None = None,
    ) -> Iterator[RunProgress | RunResult]:
        """Runs a request and yields progress, then the result. Closing the iterator stops the run.

        Args:
            session: the visitor's session, which owns the adapter.
            waiting: whether the visitor still waits; the run ends when it returns False.
            run_id: lets this run exist beside others of the session. Default: it replaces the session's run.

        Raises:
            ValueError, OSError: if the request can't be fulfilled; the message is meant for the visitor.
        """
        key, channel = run_id or session, RunChannel()
        with self._lock:
            if key in self._channels:
                self._channels[key].stop.set()
            self._channels[key] = channel
        work = partial(copy_context().run, self._work, request, session, channel)  # the context names the visitor
        Thread(target=work, daemon=True, name="run").start()
        try:
            while True:
                news = channel.receive(waiting)
                if isinstance(news, BaseException):
                    raise news
                yield news
                if isinstance(news, RunResult):
                    return
                pause(REPORT_SECONDS, waiting)
        except VisitorLeft:
            raise InputError("This run was abandoned: no one waited for it.") from None
        finally:
            channel.close()
            with self._lock:
                if self._channels.get(key) is channel:
                    del self._channels[key]

    def _work(self, request: RunRequest, session: str, channel: RunChannel) -> None:
        while not self._places.acquire(timeout=POLL_SECONDS):
            if channel.left.is_set():
                return
        try:
            self._fulfil(request, session, channel)
        except BaseException as error:  # raised again in the visitor's thread
            channel.report(error)
        finally:
            self._places.release()

    def _fulfil(self, request: RunRequest, session: str, channel: RunChannel) -> None:
        channel.check_left()
        channel.report(RunProgress("Loading the model"))
        model = self.store.models.get(request.base)
        model.watch = channel.check_left
        channel.check_left()
        channel.report(RunProgress("Reading the images"))
        images = collect_images(request)
        if request.method == EDIT:
            result = make_edit(model, images, request, channel)
        else:
            channel.report(RunProgress("Encoding the images, once"))
            result = search_context(model, images, request, channel)
        channel.check_left()
        budget = request.budget if result.history else 0
        channel.report(RunProgress("Judging", budget, budget, None, result.history))
        adapter, confusions = evaluate_adapter(model, images, result.adapter)
        key = self.store.add(adapter, session)
        channel.report(RunResult(adapter, key, result.reason.value, result.history, confusions, images.note))
