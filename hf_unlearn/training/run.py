"""The loop of a run: `ask`, decode, score, `tell`; keep the best on validation; stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from hf_unlearn.errors import BudgetSpentError, InputError
from hf_unlearn.models.black_box import Ledger
from hf_unlearn.training.checkpoint import Checkpoint, RunState
from hf_unlearn.training.history import History, Step
from hf_unlearn.training.result import StopReason
from hf_unlearn.training.run_cost import RunCost
from hf_unlearn.training.scoring import PopulationScores, Scorer
from hf_unlearn.training.warm_start import Search
from hf_unlearn.training.workers import Workers

PREFIX = "optimizer."  # of the optimizer's tensors in a checkpoint
BLANK_QUERIES = 64  # in a row without one finite loss, after which a box is given up


class Run:
    """One run of a search, from its start or its checkpoint to a stop reason.

    Args:
        max_queries: contexts to score at most, those before an interruption included.
        patience: queries without improvement after which the run ends; None for never.

    Attributes:
        history: the steps so far.
        cost: the cost so far.
    """

    def __init__(
        self,
        search: Search,
        scorer: Scorer,
        workers: Workers,
        cost: RunCost,
        *,
        max_queries: int,
        patience: int | None,
    ) -> None:
        self.search, self.cost, self.history = search, cost, History()
        self._scorer, self._workers = scorer, workers
        self._max_queries, self._patience = max_queries, patience
        self._blank_queries = 0  # since the last finite loss

    def resume(self, checkpoint: Checkpoint | None) -> None:
        """Continues from a checkpoint that holds a state.

        Raises:
            RunError: if the state is damaged or belongs to another run.
        """
        if checkpoint is None or (state := checkpoint.load()) is None:
            return
        self.history.restore(state.facts, state.tensors)
        tensors = {name.removeprefix(PREFIX): x for name, x in state.tensors.items() if name.startswith(PREFIX)}
        self.search.optimizer.restore((state.facts["optimizer"], tensors))
        self.cost.resume(Ledger(*state.facts["ledger"]), self.history.steps[-1].seconds)

    def loop(
        self, checkpoint: Checkpoint | None, show: Callable[[Step], None], on_step: Callable[[Step], bool | None] | None
    ) -> StopReason:
        """Scores batches until the run ends; an interruption keeps the best so far.

        Args:
            show: called after every batch.
            on_step: called after every batch; True cancels the run.

        Raises:
            KeyboardInterrupt, BudgetSpentError: if there is nothing to keep yet.
        """
        try:
            return self._loop(checkpoint, show, on_step)
        except (KeyboardInterrupt, BudgetSpentError) as error:
            if not self.history.steps:
                raise
            return StopReason.INTERRUPTED if isinstance(error, KeyboardInterrupt) else StopReason.REFUSED

    def _loop(
        self, checkpoint: Checkpoint | None, show: Callable[[Step], None], on_step: Callable[[Step], bool | None] | None
    ) -> StopReason:
        cancelled = False
        while self.history.queries < self._max_queries:
            if self.history.is_stale(self._patience):
                return StopReason.CONVERGED
            if self._blank_queries >= BLANK_QUERIES:
                return StopReason.BLANK
            cancelled = self._stop_or_save(checkpoint, cancelled)
            if cancelled:
                return StopReason.INTERRUPTED if self._workers.interrupted else StopReason.CANCELLED
            step = self._step()
            show(step)
            cancelled = bool(on_step is not None and on_step(step))
        return StopReason.BUDGET

    def _stop_or_save(self, checkpoint: Checkpoint | None, cancelled: bool) -> bool:
        """Saves a due state; returns whether all processes must stop."""
        is_due = checkpoint is not None and bool(self.history.steps) and checkpoint.is_due()
        cancelled, is_due = self._workers.agree(cancelled, is_due)
        if checkpoint is not None and is_due:
            state = self._state()
            if self._workers.is_main:
                checkpoint.save(state)
        return cancelled

    def _step(self) -> Step:
        """Scores one batch and learns from it."""
        optimizer, latent = self.search.optimizer, self.search.latent
        wanted = self._workers.broadcast(optimizer.ask())
        latents = wanted[: self._max_queries - self.history.queries]
        contexts = latent.decode(torch.from_numpy(latents))
        scores = self._scorer.score(contexts, optimizer.images)
        self.cost.memory.note()
        if not self.history.steps:
            _check_first(scores)
        has_number = bool(scores.losses.isfinite().any())
        self._blank_queries = 0 if has_number else self._blank_queries + len(contexts)
        iterates: Sequence[int] = range(len(latents))  # a batch that the budget cuts short teaches nothing
        if len(latents) == len(wanted):
            iterates = optimizer.tell(latents, scores.losses.cpu().double().numpy(), scores.log_scores)
        return self.history.add(contexts, iterates, scores, self.cost.seconds)

    def _state(self) -> RunState:
        facts, tensors = self.history.state()
        of_optimizer, arrays = self.search.optimizer.state()
        return RunState(
            {**facts, "ledger": self.cost.ledger().values(), "optimizer": of_optimizer},
            {**tensors, **{PREFIX + name: tensor for name, tensor in arrays.items()}},
        )


def _check_first(scores: PopulationScores) -> None:
    """Refuses a box whose first answer no search can start from."""
    if not (scores.losses.isfinite().any() and scores.log_scores.isfinite().all()):
        raise InputError(
            "the black box answered the first query with scores that are no numbers; expected log-scores, each row a "
            "log-softmax over the names"
        )
