"""The runs of all visitors: each in a thread, a few at a time, stopped when asked or when no one waits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from statistics import fmean
from threading import Lock, Semaphore, Thread
from typing import TYPE_CHECKING

from hf_unlearn.errors import InputError
from space.inputs.data_sources import collect_images
from space.inputs.run_request import DATASET, EDIT, RunRequest
from space.inputs.task_images import TaskImages
from space.services.adapter_store import AdapterStore
from space.services.run_channel import (
    BETWEEN_LAYERS,
    POLL_SECONDS,
    RunChannel,
    Stopped,
    StoppedEarly,
    VisitorLeft,
)  # fmt: skip
from space.services.run_evaluation import RunEvaluation
from space.services.run_methods import RUN_SECONDS, make_edit, search_context
from space.services.run_progress import RunProgress, RunResult
from space.services.time_estimate import Seconds, TimeEstimates, Work

if TYPE_CHECKING:
    from hf_unlearn.training.history import Step
    from hf_unlearn.training.result import Result
    from space.services.thread_safe_clip import ThreadSafeClip

REPORT_SECONDS = 0.7  # between two reports of progress
MAX_RUNS = 4  # at work; abandoned runs count until their next step


class Runs:
    """The runs of all visitors, one each at a time."""

    def __init__(self, store: AdapterStore) -> None:
        self.store = store
        self._channels: dict[str, RunChannel] = {}
        self._times = TimeEstimates()
        self._lock, self._places = Lock(), Semaphore(MAX_RUNS)

    def stop(self, session: str) -> None:
        """Ends the visitor's run at once; the best context so far is kept. Once there is one, its evaluation ends."""
        with self._lock:
            if session in self._channels:
                self._channels[session].stop.set()

    def estimate(self, request: RunRequest) -> Seconds | None:
        """How long the search for a context will take, the evaluation included; None if that is not known.

        Raises:
            ValueError, OSError: as `ModelCache.get` does.
        """
        if request.base not in self.store.models.bases or request.source == DATASET:
            return None
        model = self.store.models.get(request.base)
        timing = self._times.time(model, request.base, [*request.forget, *request.keep])
        return self._times.estimate(timing, Work.of(request))

    def wait(self, before: int, places: int) -> Seconds | None:
        """How long a visitor waits behind others: until one of the places is free for them; None if that is not known.

        Args:
            before: how many wait before them.
            places: how many runs are at work at once.
        """
        with self._lock:
            channels = list(self._channels.values())
        left = [seconds for channel in channels if (seconds := channel.left_seconds())]
        if len(channels) < places and not before:
            return Seconds(0.0, 0.0)
        if len(left) < places:
            return None
        typical = [channel.expected[0][1] for channel in channels if channel.expected]
        low, high = ([getattr(one, end) for one in left] for end in ("low", "high"))
        for ends, mean in ((low, fmean(one.low for one in typical)), (high, fmean(one.high for one in typical))):
            for _ in range(before):
                ends.sort()
                ends.append(ends.pop(0) + mean)
        return Seconds(min(low), min(high))

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
                if isinstance(news, RunProgress) and channel.stop.is_set():
                    news = replace(news, doing="Stopping", left=None)
                yield news
                if isinstance(news, RunResult):
                    return
                channel.pause(REPORT_SECONDS, waiting)
        except VisitorLeft:
            raise InputError("This run was abandoned: no one waited for it.") from None
        finally:
            channel.close()
            with self._lock:
                if self._channels.get(key) is channel:
                    del self._channels[key]

    def _work(self, request: RunRequest, session: str, channel: RunChannel) -> None:
        if not self._places.acquire(blocking=False):
            channel.report(RunProgress("Waiting for another run to end"))
            while not self._places.acquire(timeout=POLL_SECONDS):
                if channel.left.is_set():
                    return
        BETWEEN_LAYERS.set(channel.check)
        try:
            self._fulfil(request, session, channel)
        except Stopped:
            channel.report(StoppedEarly())
        except BaseException as error:  # raised again in the visitor's thread
            channel.report(error)
        finally:
            self._places.release()

    def _fulfil(self, request: RunRequest, session: str, channel: RunChannel) -> None:
        channel.check()
        channel.report(RunProgress("Loading the model"))
        model = self.store.models.get(request.base)
        model.watch = channel.check
        channel.check()
        if request.method == EDIT:
            self._make(make_edit, model, request, session, channel)
            return
        timing = self._times.time(model, request.base, [*request.forget, *request.keep])
        work, start = Work.of(request), time.monotonic()
        channel.expect(self._times.estimate(timing, work))
        steps = self._make(search_context, model, request, session, channel)
        if not channel.stop.is_set():
            self._times.learn(timing, replace(work, queries=steps[-1].queries), time.monotonic() - start)

    def _make(
        self,
        method: Callable[[ThreadSafeClip, TaskImages, RunRequest, RunChannel], Result],
        model: ThreadSafeClip,
        request: RunRequest,
        session: str,
        channel: RunChannel,
    ) -> tuple[Step, ...]:
        """Makes an adapter by a method, and evaluates it; what needs no adapter comes first, so that the end is quick.

        Returns:
            the steps of the search.
        """
        channel.report(RunProgress("Reading the images"))
        images = collect_images(request)
        model.fingerprint()  # known from here on: a run that is stopped encodes no more
        evaluation = RunEvaluation(model, images, request.forget)
        model.watch_images = _count_images(channel, RunProgress("Encoding the images, once"), evaluation)
        if request.method != EDIT:  # an edit may still be refused, and nobody stops it
            evaluation.prepare()
        model.watch_images = None
        result = method(model, images, request, channel)
        key = self.store.add(result.adapter, session)
        made = RunResult(result.adapter, key, _why(result, channel), result.history, note=images.note)
        self._evaluate(evaluation, made, channel, model)
        return result.history

    def _evaluate(self, evaluation: RunEvaluation, made: RunResult, channel: RunChannel, model: ThreadSafeClip) -> None:
        """Reports what was made, then the same with its evaluation, unless the visitor stops that."""
        channel.begun.set()
        channel.stop.clear()  # from now on it ends the evaluation
        queries = made.steps[-1].queries if made.steps else 0
        doing = RunProgress("Evaluating", queries, queries, None, made.steps, made=made)
        channel.report(doing)
        if not queries:  # of an edit, whose images were not encoded before
            model.watch_images = _count_images(channel, doing, evaluation)
        try:
            adapter, confusions = evaluation.judge(made.adapter)
        except Stopped:
            channel.report(replace(made, unjudged="You skipped the evaluation."))
            return
        self.store.replace(made.key, adapter)
        channel.report(replace(made, adapter=adapter, confusions=confusions))


def _count_images(channel: RunChannel, doing: RunProgress, evaluation: RunEvaluation) -> Callable[[int], None]:
    """What reports the images of an evaluation before they are encoded, batch by batch."""
    total, done = evaluation.count_images(), 0

    def count(images: int) -> None:
        nonlocal done
        channel.report(replace(doing, queries=min(done, total), budget=total, unit="images"))
        done += images

    return count


def _why(result: Result, channel: RunChannel) -> str:
    """Why a run ended, in words."""
    from hf_unlearn.training.result import StopReason

    if result.reason not in (StopReason.CANCELLED, StopReason.INTERRUPTED):
        return str(result.reason.value)
    why = "stopped" if channel.stop.is_set() else f"{RUN_SECONDS // 60} minutes are over"
    return f"{why}; the best so far is kept"
