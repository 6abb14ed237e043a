"""The channel between a run and its visitor: progress goes one way, "stop" and "no one waits" the other."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Event

from hf_unlearn.errors import InputError
from space.services.run_progress import RunProgress, RunResult
from space.services.time_estimate import Seconds

POLL_SECONDS = 0.2  # how often a run checks whether its visitor still waits
STOPPED_EARLY = "Stopped before there was anything to keep; nothing was made."

News = RunProgress | RunResult | BaseException

# what this thread's forward passes call between two layers; it ends them with an exception
BETWEEN_LAYERS: ContextVar[Callable[[], None] | None] = ContextVar("BETWEEN_LAYERS", default=None)


class VisitorLeft(Exception):  # a signal between threads; no visitor sees it
    """No one waits for this run any more."""


class StoppedEarly(InputError):
    """A visitor stopped a run before it could keep anything."""

    def __init__(self, words: str = STOPPED_EARLY) -> None:
        super().__init__(words)


class Stopped(KeyboardInterrupt):  # a search keeps its best so far at a KeyboardInterrupt
    """The visitor wants what there is so far."""


@dataclass(frozen=True)
class RunChannel:
    """What a run and its visitor say to each other.

    Attributes:
        stop: set when the run is to end with what there is so far.
        left: set when no one waits for the run any more.
        begun: set once the run can keep something; stopped before, its visitor does not wait for it.
        over: set once the run has reported its result, or the error that ended it.
        news: what the run reports.
        expected: how long the run was expected to take, and when that was said; nothing before.
    """

    stop: Event = field(default_factory=Event)
    left: Event = field(default_factory=Event)
    begun: Event = field(default_factory=Event)
    over: Event = field(default_factory=Event)
    news: SimpleQueue[News] = field(default_factory=SimpleQueue)
    expected: list[tuple[float, Seconds]] = field(default_factory=list)

    def report(self, news: News) -> None:
        """Sends progress, the result, or the error that ended the run."""
        self.news.put(news)
        if not isinstance(news, RunProgress):
            self.over.set()

    def expect(self, seconds: Seconds) -> None:
        """Notes how long the run will take from now on."""
        self.expected[:] = [(time.monotonic(), seconds)]

    def left_seconds(self) -> Seconds | None:
        """How long the run will still take, if that is known."""
        if not self.expected:
            return None
        ((when, seconds),) = self.expected
        spent = time.monotonic() - when
        return Seconds(max(0.0, seconds.low - spent), max(0.0, seconds.high - spent))

    def check(self, _: int = 0) -> None:
        """Raises: VisitorLeft, Stopped: if no one waits for the run any more, or it is to end."""
        if self.left.is_set():
            raise VisitorLeft
        if self.stop.is_set():
            raise Stopped

    def close(self) -> None:
        """Ends the run."""
        self.stop.set()
        self.left.set()

    def receive(self, waiting: Callable[[], bool]) -> News:
        """Waits for news and skips progress that is already out of date.

        Raises:
            VisitorLeft: if no one waits for the news any more.
            StoppedEarly: if the run is stopped before it could keep anything.
        """
        while True:
            try:
                news = self.news.get(timeout=POLL_SECONDS)
                break
            except Empty:
                if not waiting():
                    raise VisitorLeft from None
                if self.stop.is_set() and not self.begun.is_set():
                    raise StoppedEarly from None
        while isinstance(news, RunProgress):
            try:
                news = self.news.get_nowait()
            except Empty:
                break
        return news

    def pause(self, seconds: float, waiting: Callable[[], bool]) -> None:
        """Sleeps while the visitor waits, until the run is over.

        Raises:
            VisitorLeft: if no one waits any more.
        """
        until = time.monotonic() + seconds
        while (rest := until - time.monotonic()) > 0 and not self.over.wait(min(rest, POLL_SECONDS)):
            if not waiting():
                raise VisitorLeft
