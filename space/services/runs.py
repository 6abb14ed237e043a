"""A visitor's run: estimated before, told step by step while it lasts, stopped at any time, judged at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from threading import Event, Lock, Semaphore, Thread
from typing import TYPE_CHECKING, Any

from space.inputs.data_sources import TaskImages, collect_images
from space.inputs.run_request import DATASET, EDIT, FILES, NAMES, RunRequest
from space.services.adapter_store import AdapterStore
from space.services.run_progress import RunProgress, RunResult

if TYPE_CHECKING:
    from hf_unlearn import ClipBlackBox, ForgetAdapter
    from hf_unlearn.training.history import Step
    from hf_unlearn.training.result import Result
    from space.services.thread_safe_clip import ThreadSafeClip

RUN_SECONDS = 900
TOLD_EVERY = 0.7  # seconds
LOOKED_EVERY = 0.2  # seconds, whether who asked is still there
AT_WORK = 4  # runs, those that nobody waits for any more and that end at their next step among them
MEASURED_QUERIES, MEASURED_IMAGES = 8, 8
SEARCH_OVERHEAD = 1.6  # the search's own arithmetic beside the queries, as measured with the embedded CLIP


class _Left(Exception):
    """Nobody waits for this run any more."""


class Runs:
    """The runs of all visitors, one each at a time."""

    def __init__(self, store: AdapterStore) -> None:
        self.store = store
        self._stops: dict[str, Event] = {}
        self._lock, self._places = Lock(), Semaphore(AT_WORK)

    def stop(self, session: str) -> None:
        """Ends the visitor's run after the step it is at; the best so far is kept."""
        with self._lock:
            if session in self._stops:
                self._stops[session].set()

    def estimate(self, order: RunRequest) -> float:
        """Seconds that the search for a context will take, from queries and encodings measured just now.

        Raises:
            ValueError, OSError: as `collect_images` and `ModelCache.get` do.
        """
        import torch
        from PIL import Image

        model = self.store.models.get(order.base)
        names = [*order.forget, *order.keep]
        images = 2 * 20 * len(names) if order.source != NAMES else 0
        start = time.monotonic()
        few = model.add_images([Image.new("RGB", (64, 64))] * MEASURED_IMAGES)
        encoding = (time.monotonic() - start) / MEASURED_IMAGES
        contexts = model.token_mean.expand(MEASURED_QUERIES, 4, -1) + torch.zeros(MEASURED_QUERIES, 4, model.dim)
        start = time.monotonic()
        model.log_scores(contexts, few, names)
        query = (time.monotonic() - start) / MEASURED_QUERIES
        return images * encoding + order.budget * query * SEARCH_OVERHEAD

    def run(
        self, order: RunRequest, session: str, waiting: Callable[[], bool] = lambda: True, own: str | None = None
    ) -> Iterator[RunProgress | RunResult]:
        """Runs an order; the last thing told is what was made. Closing the iterator stops the run.

        Args:
            waiting: whether who asked still waits; the run is given up once it says no.
            own: what tells this run from others of the session, for which it is not stopped; if not given, it
                takes the place of the session's run.

        Raises:
            ValueError, OSError: whatever makes the order impossible; the message is for the visitor.
        """
        key, stop, left = own or session, Event(), Event()
        with self._lock:
            if key in self._stops:
                self._stops[key].set()  # one each
            self._stops[key] = stop
        told: SimpleQueue[RunProgress | RunResult | BaseException] = SimpleQueue()
        worker = Thread(target=self._work, args=(order, session, stop, left, told), daemon=True, name="run")
        worker.start()
        try:
            while True:
                news = _latest(told, waiting)
                if isinstance(news, BaseException):
                    raise news
                yield news
                if isinstance(news, RunResult):
                    return
                _sleep(TOLD_EVERY, waiting)
        except _Left:
            raise ValueError("This run was given up: nobody waited for it.") from None
        finally:
            stop.set()
            left.set()
            with self._lock:
                if self._stops.get(key) is stop:
                    del self._stops[key]

    def _work(self, order: RunRequest, session: str, stop: Event, left: Event, told: SimpleQueue) -> None:
        while not self._places.acquire(timeout=LOOKED_EVERY):
            if left.is_set():
                return
        try:
            self._make(order, session, stop, left, told)
        except BaseException as error:  # told to the visitor, in the visitor's own thread
            told.put(error)
        finally:
            self._places.release()

    def _make(self, order: RunRequest, session: str, stop: Event, left: Event, told: SimpleQueue) -> None:
        def watch(_: int = 0) -> None:
            if left.is_set():
                raise _Left

        watch()
        told.put(RunProgress("Loading the model"))
        model = self.store.models.get(order.base)
        model.watch = watch
        model.watch(0)
        told.put(RunProgress("Reading the images"))
        material = collect_images(order)
        if order.method == EDIT:
            result = _edit(model, material, order, stop, told)
        else:
            told.put(RunProgress("Encoding the images, once"))
            result = _search(model, material, order, stop, told)
        watch()  # nobody may wait for the report
        budget = order.budget if result.history else 0
        told.put(RunProgress("Judging", budget, budget, None, result.history))
        adapter, confusions = evaluate_adapter(model, material, result.adapter)
        key = self.store.add(adapter, session)
        told.put(RunResult(adapter, key, result.reason.value, result.history, confusions, material.note))


def _search(model: ClipBlackBox, material: TaskImages, order: RunRequest, stop: Event, told: SimpleQueue) -> Result:
    from hf_unlearn import unlearn

    steps: list[Step] = []
    start = time.monotonic()

    def note(step: Step) -> bool:
        steps.append(step)
        spent = step.seconds - steps[0].seconds
        done = step.queries - steps[0].queries
        left = spent / done * (order.budget - step.queries) if done else None
        told.put(RunProgress("Searching", step.queries, order.budget, left, tuple(steps)))
        return stop.is_set() or time.monotonic() - start > RUN_SECONDS

    options: dict[str, Any] = {
        "forget": order.forget, "max_queries": order.budget, "strength": order.strength, "patience": None,
        "progress": False, "on_step": note,
    }  # fmt: skip
    if order.source == NAMES:
        return unlearn(model, classes=material.names, **options)
    assert material.train is not None
    shots = max(material.train.counts().values())
    return unlearn(model, material.train, validation=material.validation, shots=shots, **options)


def _edit(model: ThreadSafeClip, material: TaskImages, order: RunRequest, stop: Event, told: SimpleQueue) -> Result:
    """In closed form; what takes long is the model's own vocabulary, encoded once and then cached.

    Raises:
        ValueError: if the visitor stops it, it takes too long, or the model's text features can't be edited.
    """
    from torch.linalg import LinAlgError

    from hf_unlearn import unlearn
    from hf_unlearn.edits.by_name import OF_WORDS
    from hf_unlearn.edits.vocabulary import vocabulary_words

    start, done, total = time.monotonic(), 0, len(OF_WORDS) * len(vocabulary_words(model))
    before = model.watch or (lambda _: None)

    def note(texts: int) -> None:
        nonlocal done
        before(texts)
        spent = time.monotonic() - start
        if stop.is_set():
            raise ValueError("Stopped before the edit was made.")
        if spent > RUN_SECONDS:
            raise ValueError(f"This model reads only {done:,} of its {total:,} texts in the time there is; "
                             "use hf_unlearn on a machine of your own for it.")  # fmt: skip
        left = spent / done * (total - done) if done else None
        told.put(RunProgress("Reading the model's own words, once", done, total, left, unit="texts"))
        done = min(total, done + texts)

    options: dict[str, Any] = {"forget": order.forget, "strength": order.strength, "method": EDIT, "progress": False}
    options |= {"classes": material.names} if order.source in (FILES, DATASET) else {"keep": order.keep}
    while not model.vocabulary.acquire(timeout=TOLD_EVERY):
        note(0)
    start, model.watch, model.remembers = time.monotonic(), note, False
    try:
        return unlearn(model, **options)
    except LinAlgError:
        raise ValueError("This model's text features can't be edited: they are not finite, or all alike.") from None
    finally:
        model.watch, model.remembers = before, True
        model.vocabulary.release()


def evaluate_adapter(
    model: ClipBlackBox, material: TaskImages, adapter: ForgetAdapter
) -> tuple[ForgetAdapter, dict[str, dict[str, float]]]:
    """The adapter with its report inside, and where the forgotten images go; as it is without images to judge by."""
    from hf_unlearn import evaluate

    if material.judged is None:
        return adapter, {}
    report = evaluate(
        model,
        material.judged,
        adapter,
        validation=material.validation if material.kind == "test" else None,
        unlisted=material.unlisted,
        unlisted_validation=material.unlisted_validation,
        synonyms=material.synonyms,
        kind=material.kind,
    )
    return adapter.with_report(report.content), count_confusions(model, material, adapter)


def count_confusions(model: ClipBlackBox, material: TaskImages, adapter: ForgetAdapter) -> dict[str, dict[str, float]]:
    """Forgotten class -> name -> share of the class's images that the model now gives that name, largest first."""
    import torch

    images = material.judged
    assert images is not None
    gone = [i for i, label in enumerate(images.labels) if images.names[label] in adapter.config.forget]
    own = images.select(gone)
    handle = model.add_images(own)
    nothing = torch.zeros(1, 0, model.dim)
    guesses = model.under(adapter).log_scores(nothing, handle, own.names)[0].argmax(-1).tolist()
    shares: dict[str, dict[str, float]] = {}
    counts = own.counts()
    for label, guess in zip(own.labels, guesses, strict=True):
        row = shares.setdefault(own.names[label], {})
        row[own.names[guess]] = row.get(own.names[guess], 0.0) + 1 / counts[own.names[label]]
    return {name: dict(sorted(row.items(), key=lambda item: -item[1])) for name, row in shares.items()}


def _latest(told: SimpleQueue, waiting: Callable[[], bool]) -> Any:
    """Waits for news and skips those already overtaken. Raises: _Left: if nobody waits for them any more."""
    while True:
        try:
            news = told.get(timeout=LOOKED_EVERY)
            break
        except Empty:
            if not waiting():
                raise _Left from None
    while not isinstance(news, BaseException | RunResult):
        try:
            news = told.get_nowait()
        except Empty:
            return news
    return news


def _sleep(seconds: float, waiting: Callable[[], bool]) -> None:
    """Raises: _Left: if nobody waits any more."""
    until = time.monotonic() + seconds
    while (rest := until - time.monotonic()) > 0:
        time.sleep(min(rest, LOOKED_EVERY))
        if not waiting():
            raise _Left
