"""The channel between a run and its visitor: progress goes one way, "stop" and "no one waits" the other."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Event

from space.services.run_progress import RunProgress, RunResult

POLL_SECONDS = 0.2  # how often a run checks whether its visitor still waits

News = RunProgress | RunResult | BaseException


class VisitorLeft(Exception):  # a signal between threads; no visitor sees it
    """No one waits for this run any more."""


@dataclass(frozen=True)
class RunChannel:
    """What a run and its visitor say to each other.

    Attributes:
        stop: set when the run is to end after its present step.
        left: set when no one waits for the run any more.
        news: what the run reports.
    """

    stop: Event = field(default_factory=Event)
    left: Event = field(default_factory=Event)
    news: SimpleQueue[News] = field(default_factory=SimpleQueue)

    def report(self, news: News) -> None:
        """Sends progress, the result, or the error that ended the run."""
        self.news.put(news)

    def check_left(self, _: int = 0) -> None:
        """Raises: VisitorLeft: if no one waits for the run any more."""
        if self.left.is_set():
            raise VisitorLeft

    def close(self) -> None:
        """Ends the run."""
        self.stop.set()
        self.left.set()

    def receive(self, waiting: Callable[[], bool]) -> News:
        """Waits for news and skips progress that is already out of date.

        Raises:
            VisitorLeft: if no one waits for the news any more.
        """
        while True:
            try:
                news = self.news.get(timeout=POLL_SECONDS)
                break
            except Empty:
                if not waiting():
                    raise VisitorLeft from None
        while isinstance(news, RunProgress):
            try:
                news = self.news.get_nowait()
            except Empty:
                break
        return news


def pause(seconds: float, waiting: Callable[[], bool]) -> None:
    """Sleeps while the visitor waits.

    Raises:
        VisitorLeft: if no one waits any more.
    """
    until = time.monotonic() + seconds
    while (rest := until - time.monotonic()) > 0:
        time.sleep(min(rest, POLL_SECONDS))
        if not waiting():
            raise VisitorLeft
