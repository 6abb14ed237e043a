"""The history of a run: the figures of every batch, and the best context on validation so far."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from hf_unlearn.evaluation.metrics import harmonic_mean
from hf_unlearn.training.scoring import PopulationScores

FIGURES = ("queries", "loss", "H", "err_for", "acc_mem", "seconds")  # of a step, in a checkpoint's order


@dataclass(frozen=True)
class Step:
    """The state of a run after a batch: the best context on validation so far, and the last training loss.

    Attributes:
        queries: scored so far.
        loss: the least training loss of the last batch; NaN if it has none.
        H, err_for, acc_mem: accuracies of the best context on the validation images.
        seconds: since the start of the run.
        context: `(m, dim)`, the best context.
    """

    queries: int
    loss: float
    H: float
    err_for: float
    acc_mem: float
    seconds: float
    context: Tensor = field(compare=False)


class History:
    """The steps of a run; the last one holds the best context so far."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._improved_at = 0
        self._best: tuple[float, float] = (-1.0, 0.0)  # (H, -loss) on validation

    @property
    def queries(self) -> int:
        """Queries so far."""
        return self.steps[-1].queries if self.steps else 0

    def is_stale(self, patience: int | None) -> bool:
        """Whether the last improvement is `patience` queries ago."""
        return patience is not None and self.queries - self._improved_at >= patience

    def add(self, contexts: Tensor, rows: Sequence[int], scores: PopulationScores, seconds: float) -> Step:
        """Adds a batch; the best of its `rows` by `H` on validation, ties by loss, may become the best context."""
        finite = scores.losses[scores.losses.isfinite()]
        queries, loss = self.queries + len(contexts), float(finite.min()) if len(finite) else math.nan
        step = self.steps[-1] if self.steps else None
        for row in rows:
            error, kept = float(scores.err_for[row]), float(scores.acc_mem[row])
            rank = (harmonic_mean(error, kept), -float(scores.validation_losses[row]))
            if step is None or rank > self._best:
                self._best, self._improved_at = rank, queries
                step = Step(queries, loss, rank[0], error, kept, seconds, contexts[row].clone())
        assert step is not None  # every optimizer's first batch has an iterate
        self.steps.append(replace(step, queries=queries, loss=loss, seconds=seconds))
        return self.steps[-1]

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The history as JSON and tensors, for `restore`; each context once."""
        contexts: dict[int, Tensor] = {id(step.context): step.context for step in self.steps}
        number = {key: place for place, key in enumerate(contexts)}
        rows = [[*(getattr(step, name) for name in FIGURES), number[id(step.context)]] for step in self.steps]
        facts = {"history": rows, "improved_at": self._improved_at, "best": self._best}
        return facts, {"contexts": torch.stack(list(contexts.values()))}

    def restore(self, facts: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """Continues from a `state`."""
        contexts = list(tensors["contexts"])
        self.steps = [
            Step(**dict(zip(FIGURES, figures, strict=True)), context=contexts[place])
            for *figures, place in facts["history"]
        ]
        self._improved_at = facts["improved_at"]
        self._best = tuple(facts["best"])
