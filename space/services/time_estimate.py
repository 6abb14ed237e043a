"""How long a search will take: a few queries timed now, and how far such forecasts were off in the last runs."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from statistics import fmean, stdev
from threading import Lock
from typing import TYPE_CHECKING

from PIL import Image

from space.inputs.archives import count_images
from space.inputs.demo_drawings import is_drawn
from space.inputs.run_request import FILES, RunRequest

if TYPE_CHECKING:
    from hf_unlearn import ClipBlackBox

BLOCKS, BLOCKS_SECONDS, CONTEXTS, IMAGES, NAMES = 8, 1.5, 4, 8, 40  # of one timing; slow models get fewer blocks
VALID_SECONDS = 10.0  # of a timing
LAST_RUNS = 6
FIRST_RUN = (0.8, 2.2)  # real time over forecast, before any run is known: 0.9 to 1.7 measured with two models
MARGIN = (0.85, 1.2)  # around the smallest and the largest ratio of the last runs
DRAWINGS_A_NAME, DRAWINGS_BESIDE = 40, 360  # to learn from and to evaluate on; the latter of other names
REST = (0.5, 2.0)  # seconds of all else
LEARNED_SECONDS = 5.0  # of a run that says something about others
LISTS = 60  # lists of names that an evaluation encodes


@dataclass(frozen=True)
class Seconds:
    """A range of seconds."""

    low: float
    high: float

    def __add__(self, other: Seconds) -> Seconds:
        return Seconds(self.low + other.low, self.high + other.high)


@dataclass(frozen=True)
class Work:
    """What a run has to do.

    Attributes:
        base: the base model's name.
        names: how many names a query asks about.
        queries: how many queries at most.
        images: how many images are encoded.
    """

    base: str
    names: int
    queries: int
    images: int

    @classmethod
    def of(cls, request: RunRequest) -> Work:
        """The work of a search, as far as it is known before the images are read."""
        classes = images = 0
        if request.source == FILES:
            classes, images = count_images(request.files)
        names = len(request.forget) + len(request.keep) if request.keep else max(classes, len(request.forget))
        if is_drawn(request):
            images = DRAWINGS_BESIDE + DRAWINGS_A_NAME * names
        return cls(request.base, names, request.budget, images)


@dataclass(frozen=True)
class Timing:
    """Seconds of one query and one name, and of one image, each in a few blocks timed one after the other."""

    query: tuple[float, ...]
    image: tuple[float, ...]

    def forecast(self, work: Work) -> Seconds:
        """The range in which the time of some work is expected if a search costs nothing but its queries."""
        query, image = _spread(self.query), _spread(self.image)
        texts = work.names * (work.queries + (LISTS if work.images else 0))
        low, high = (
            rest + texts * per_text + work.images * per_image
            for rest, per_text, per_image in zip(REST, (query.low, query.high), (image.low, image.high), strict=True)
        )
        return Seconds(low, high)


class TimeEstimates:
    """Estimates from timings, corrected by the last runs on this machine."""

    def __init__(self) -> None:
        self._timings: dict[str, tuple[float, Timing]] = {}  # base -> when, what
        self._ratios: deque[float] = deque(maxlen=LAST_RUNS)
        self._lock = Lock()

    def time(self, model: ClipBlackBox, base: str, names: list[str]) -> Timing:
        """Times a few queries and images now, a second at most for a small model; a fresh timing is used again."""
        with self._lock:
            when, known = self._timings.get(base, (0.0, None))
        if known is not None and time.monotonic() - when < VALID_SECONDS:
            return known
        found = _time(model, names[:NAMES])
        with self._lock:
            self._timings[base] = time.monotonic(), found
        return found

    def estimate(self, timing: Timing, work: Work) -> Seconds:
        """The range in which the time of some work is expected. It is no promise: others may begin to compute."""
        with self._lock:
            ratios = list(self._ratios)
        low, high = (min(ratios) * MARGIN[0], max(ratios) * MARGIN[1]) if ratios else FIRST_RUN
        bare = timing.forecast(work)
        return Seconds(low * bare.low, high * bare.high)

    def learn(self, timing: Timing, work: Work, seconds: float) -> None:
        """Learns from the time that some work took."""
        bare = timing.forecast(work)
        if seconds < LEARNED_SECONDS:
            return
        with self._lock:
            self._ratios.append(2 * seconds / (bare.low + bare.high))


def _time(model: ClipBlackBox, names: list[str]) -> Timing:
    import torch

    few = model.add_images([Image.new("RGB", (64, 64))] * IMAGES)
    contexts = model.token_mean.expand(CONTEXTS, 4, -1) + torch.zeros(CONTEXTS, 4, model.dim)
    model.log_scores(contexts[:1], few, names)  # the first one prepares the prompts
    queries: list[float] = []
    images: list[float] = []
    while len(queries) < BLOCKS and sum(queries) * CONTEXTS * len(names) < BLOCKS_SECONDS:
        start = time.monotonic()
        model.log_scores(contexts, few, names)
        middle = time.monotonic()
        model.add_images([Image.new("RGB", (64, 64))] * IMAGES)
        queries.append((middle - start) / (CONTEXTS * len(names)))
        images.append((time.monotonic() - middle) / IMAGES)
    return Timing(tuple(queries), tuple(images))


def _spread(blocks: tuple[float, ...]) -> Seconds:
    """The mean of some blocks, give or take two standard errors, within the quickest and the slowest."""
    mean = fmean(blocks)
    if len(blocks) == 1:
        return Seconds(mean * 0.75, mean * 1.25)
    error = 2 * stdev(blocks) / len(blocks) ** 0.5
    return Seconds(max(min(blocks), mean - error), min(max(blocks), mean + error))
