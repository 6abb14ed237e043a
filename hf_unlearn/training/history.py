"""Where a run stands: every batch's figures, the best context on validation so far; to and from a state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from hf_unlearn.evaluation.metrics import harmonic_mean
from hf_unlearn.models.black_box import Ledger
from hf_unlearn.optimizers.base import Optimizer
from hf_unlearn.training.checkpoint import RunState
from hf_unlearn.training.workers import Scored


@dataclass(frozen=True)
class Step:
    """Where a run stands: the best on validation so far, its context, and the training loss just seen."""

    queries: int
    loss: float
    H: float
    err_for: float
    acc_mem: float
    seconds: float
    context: Tensor = field(compare=False)  # (m, dim)


class Standing:
    """The history of a run, its last step holding the best so far."""

    def __init__(self) -> None:
        self.history: list[Step] = []
        self.improved_at = 0
        self._best: tuple[float, float] = (-1.0, 0.0)  # (H, -loss) on validation

    @property
    def queries(self) -> int:
        return self.history[-1].queries if self.history else 0

    def stale(self, patience: int | None) -> bool:
        """Whether the last improvement lies `patience` queries back."""
        return patience is not None and self.queries - self.improved_at >= patience

    def note(self, contexts: Tensor, rows: Sequence[int], scored: Scored, seconds: float) -> Step:
        """Adds a batch; `rows` of it may become the best, by `H` on validation, ties by loss."""
        queries, loss = self.queries + len(contexts), float(scored.losses.min())
        step = self.history[-1] if self.history else None
        for row in rows:
            error, kept = float(scored.err_for[row]), float(scored.acc_mem[row])
            rank = (harmonic_mean(error, kept), -float(scored.selection_losses[row]))
            if step is None or rank > self._best:
                self._best, self.improved_at = rank, queries
                step = Step(queries, loss, rank[0], error, kept, seconds, contexts[row].clone())
        assert step is not None  # every optimizer's first batch has an iterate
        self.history.append(replace(step, queries=queries, loss=loss, seconds=seconds))
        return self.history[-1]

    def state(self, optimizer: Optimizer, ledger: Ledger) -> RunState:
        contexts: dict[int, Tensor] = {id(step.context): step.context for step in self.history}
        number = {key: place for place, key in enumerate(contexts)}
        rows = [
            [step.queries, step.loss, step.H, step.err_for, step.acc_mem, step.seconds, number[id(step.context)]]
            for step in self.history
        ]
        facts, tensors = optimizer.state()
        return RunState(
            {
                "history": rows,
                "improved_at": self.improved_at,
                "best": self._best,
                "ledger": ledger.values(),
                "optimizer": facts,
            },
            {"contexts": torch.stack(list(contexts.values())), **{f"optimizer.{k}": v for k, v in tensors.items()}},
        )

    def restore(self, state: RunState, optimizer: Optimizer) -> None:
        contexts = list(state.tensors["contexts"])
        names = ("queries", "loss", "H", "err_for", "acc_mem", "seconds")
        self.history = [
            Step(**dict(zip(names, figures, strict=True)), context=contexts[place])
            for *figures, place in state.facts["history"]
        ]
        self.improved_at = state.facts["improved_at"]
        self._best = tuple(state.facts["best"])
        own = {k.removeprefix("optimizer."): v for k, v in state.tensors.items() if k.startswith("optimizer.")}
        optimizer.restore((state.facts["optimizer"], own))
