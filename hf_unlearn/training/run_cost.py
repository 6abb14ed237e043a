"""The cost of a run: queries, tokens, images, seconds and memory, over all its interruptions."""

from __future__ import annotations

import time
from dataclasses import asdict

from hf_unlearn.models.black_box import BlackBox, Ledger
from hf_unlearn.training.peak_memory import PeakMemory
from hf_unlearn.training.workers import Workers


class RunCost:
    """Counts from its making on.

    Attributes:
        memory: the peak of this process.
    """

    def __init__(self, model: BlackBox, workers: Workers) -> None:
        self._model, self._workers = model, workers
        self._start = time.monotonic()
        self._before, self._earlier = model.ledger.copy(), Ledger()
        self.memory = PeakMemory()

    @property
    def seconds(self) -> float:
        """Seconds so far, those before an interruption included."""
        return time.monotonic() - self._start

    def resume(self, ledger: Ledger, seconds: float) -> None:
        """Continues from the cost at an interruption; images that are encoded again count once."""
        self._before, self._earlier = self._model.ledger.copy(), ledger
        self._start -= seconds

    def ledger(self) -> Ledger:
        """What all processes asked for, summed up; every process must call this."""
        return self._earlier.plus(self._workers.sum_ledgers(self._model.ledger.since(self._before)))

    def summary(self) -> dict[str, float]:
        """The `ledger` of an adapter's config; every process must call this."""
        ledger = asdict(self.ledger())
        return {**ledger, "seconds": round(self.seconds, 2), "peak_memory_mb": round(self.memory.mb, 1)}
