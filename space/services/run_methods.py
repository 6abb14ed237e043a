"""The two methods of a run: a search for a context, and an edit in closed form."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from hf_unlearn.errors import InputError
from space.inputs.run_request import DATASET, EDIT, FILES, RunRequest
from space.inputs.task_images import TaskImages
from space.services.run_channel import RunChannel
from space.services.run_progress import RunProgress

if TYPE_CHECKING:
    from hf_unlearn import ClipBlackBox
    from hf_unlearn.training.history import Step
    from hf_unlearn.training.result import Result
    from space.services.thread_safe_clip import ThreadSafeClip

RUN_SECONDS = 900
LOCK_SECONDS = 0.7  # how often a run that waits for another edit's vocabulary reports


def search_context(model: ClipBlackBox, images: TaskImages, request: RunRequest, channel: RunChannel) -> Result:
    """Searches for a context and reports every step. Stopped, or after 15 minutes, it returns the best so far.

    Raises:
        Stopped: if it is stopped before its first step ended.
    """
    from hf_unlearn import unlearn

    steps: list[Step] = []
    judged_on = _describe_validation(images, request.forget)
    start = time.monotonic()

    def report_step(step: Step) -> bool:
        steps.append(step)
        channel.begun.set()
        spent = step.seconds - steps[0].seconds
        done = step.queries - steps[0].queries
        left = spent / done * (request.budget - step.queries) if done else None
        channel.report(RunProgress("Searching", step.queries, request.budget, left, tuple(steps), judged_on=judged_on))
        return channel.stop.is_set() or time.monotonic() - start > RUN_SECONDS

    options: dict[str, Any] = {
        "forget": request.forget, "max_queries": request.budget, "strength": request.strength, "patience": None,
        "progress": False, "on_step": report_step,
    }  # fmt: skip
    if images.train is None:
        return unlearn(model, classes=images.names, **options)
    shots = max(images.train.counts().values())
    return unlearn(model, images.train, validation=images.validation, shots=shots, **options)


def _describe_validation(images: TaskImages, forget: list[str]) -> str:
    if images.train is None or images.validation is None:
        return "Figures so far are of stand-ins made from the names, not of images."
    counts = images.validation.counts()
    gone, kept = (sum(counts[name] for name in names) for names in (forget, set(counts) - {*forget}))
    return f"Figures so far are of {gone} images to forget and {kept} to keep."


def make_edit(model: ThreadSafeClip, images: TaskImages, request: RunRequest, channel: RunChannel) -> Result:
    """Solves an edit in closed form. The slow part is the model's vocabulary, encoded once and then cached.

    Raises:
        Stopped: if the visitor stops it.
        InputError: if it takes too long, or the model's text features can't be edited.
    """
    from torch import linalg

    from hf_unlearn import unlearn

    options: dict[str, Any] = {"strength": request.strength, "method": EDIT, "progress": False}
    options |= {"classes": images.names} if request.source in (FILES, DATASET) else {"keep": request.keep}
    reader = _VocabularyReader(model, channel)
    while not model.vocabulary.acquire(timeout=LOCK_SECONDS):
        reader.count(0)
    reader.start, model.watch, model.remembers = time.monotonic(), reader.count, False
    try:
        return unlearn(model, forget=request.forget, **options)
    except linalg.LinAlgError:  # type: ignore[attr-defined, unused-ignore]
        raise InputError("This model's text features can't be edited: they are not finite, or all alike.") from None
    finally:
        model.watch, model.remembers = reader.watch, True
        model.vocabulary.release()


class _VocabularyReader:
    """Counts the texts that a model encodes for an edit, and ends the edit when it is stopped or takes too long."""

    def __init__(self, model: ThreadSafeClip, channel: RunChannel) -> None:
        from hf_unlearn.edits.by_name import OF_WORDS
        from hf_unlearn.edits.vocabulary import vocabulary_words

        self.channel, self.watch = channel, model.watch
        self.start, self.done, self.total = time.monotonic(), 0, len(OF_WORDS) * len(vocabulary_words(model))

    def count(self, texts: int) -> None:
        """Reports before a number of texts is encoded.

        Raises:
            Stopped, VisitorLeft: as the channel does.
            InputError: if the edit takes too long.
        """
        if self.watch is not None:
            self.watch(texts)
        spent = time.monotonic() - self.start
        self.channel.check()
        if spent > RUN_SECONDS:
            raise InputError(
                f"This model reads only {self.done:,} of its {self.total:,} texts within the time limit; "
                "use hf_unlearn on a machine of yours for it."
            )
        left = spent / self.done * (self.total - self.done) if self.done else None
        words = "Reading the model's vocabulary, once"
        self.channel.report(RunProgress(words, self.done, self.total, left, unit="texts"))
        self.done = min(self.total, self.done + texts)
