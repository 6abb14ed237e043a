"""A run in the process that ZeroGPU lends a GPU to. A file in place of an event stops it, since a fork shares none."""

from __future__ import annotations

import logging
import pickle
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from space.error_log import log_error
from space.inputs.run_request import RunRequest
from space.services.adapter_store import AdapterStore
from space.services.model_cache import ModelCache
from space.services.real_model import COMMIT, REAL_MODEL
from space.services.run_channel import RunChannel
from space.services.run_progress import RunProgress, RunResult
from space.services.runs import Runs
from space.services.zero_gpu import accept_gpu, with_gpu

SESSION = "gpu"

Work = Callable[[RunRequest, Mapping[str, str], Path], Iterator[bytes]]


def work(request: RunRequest, bases: Mapping[str, str], stop: Path) -> Iterator[bytes]:
    """Runs a request and yields progress, then the result or the error, each pickled.

    Tensors as such would lie in memory that ends with this process.

    Args:
        bases: base models that the Space offers -> Hub id or folder.
        stop: once this file exists it is removed and the run ends; the next one ends the evaluation.
    """
    accept_gpu()
    models = ModelCache({name: place for name, place in bases.items() if name != REAL_MODEL})
    runs = Runs(AdapterStore(stop.parent, models))
    try:
        if request.base == REAL_MODEL:
            models.offer(REAL_MODEL, COMMIT)
        for news in runs.run(request, SESSION):
            if stop.exists():
                stop.unlink()  # the next one ends the evaluation
                runs.stop(SESSION)
            yield pickle.dumps(news)
    except (ValueError, OSError) as error:
        yield pickle.dumps(error)


class GpuRuns(Runs):
    """Runs that get a GPU on ZeroGPU; where none is lent, they go to the CPU."""

    def __init__(self, store: AdapterStore) -> None:
        super().__init__(store)
        self._with_gpu: Work | None = with_gpu(work)

    def _fulfil(self, request: RunRequest, session: str, channel: RunChannel) -> None:
        if self._with_gpu is None or not self._forward(self._with_gpu, request, session, channel):
            super()._fulfil(request, session, channel)

    def _forward(self, run: Work, request: RunRequest, session: str, channel: RunChannel) -> bool:
        """Reports what the other process reports; False if it had no GPU or ended without a result."""
        answered = False
        with tempfile.TemporaryDirectory() as folder:
            stop = Path(folder, "stop")
            try:
                for content in run(request, dict(self.store.models.bases), stop):
                    news = pickle.loads(content)  # written by a fork of this process
                    if channel.stop.is_set():
                        channel.stop.clear()
                        stop.touch()
                    if isinstance(news, RunResult):
                        news = replace(news, key=self.store.add(news.adapter, session))
                    elif isinstance(news, RunProgress):
                        if news.steps:
                            channel.begun.set()
                        news = replace(news, made=None)  # the other process has its key
                    channel.report(news)
                    answered = answered or isinstance(news, RunResult | BaseException)
            except Exception as error:  # no GPU is free, or the visitor's share is used up
                log_error(error, "a run on ZeroGPU")
        if not answered:
            logging.getLogger("space").warning("This run goes to the CPU.")
        return answered
