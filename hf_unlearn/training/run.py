"""The loop of a run: `ask`, decode, score, `tell`; keep the best on validation; stop."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress

import torch

from hf_unlearn.errors import BudgetSpentError, RunError
from hf_unlearn.models.black_box import Ledger
from hf_unlearn.training.checkpoint import Checkpoint, RunState
from hf_unlearn.training.history import History, Step
from hf_unlearn.training.result import StopReason
from hf_unlearn.training.run_cost import RunCost
from hf_unlearn.training.scoring import Scorer
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
        self._settled = True  # optimizer and history are of the same batch

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
        """Scores batches until the run ends; an interruption keeps the best so far. However it ends, it is saved.

        Args:
            show: called after every batch.
            on_step: called after every batch; True cancels the run.

        Raises:
            KeyboardInterrupt, BudgetSpentError: if there is nothing to keep yet.
        """
        try:
            reason = self._loop(checkpoint, show, on_step)
        except BaseException as error:
            if self._workers.count == 1:  # others may be elsewhere, and a state needs all of them
                with suppress(RuntimeError):  # a device that failed gives no state; its error is the one to tell
                    self._save_last(checkpoint)
            if not self.history.steps or not isinstance(error, KeyboardInterrupt | BudgetSpentError):
                raise
            return StopReason.INTERRUPTED if isinstance(error, KeyboardInterrupt) else StopReason.REFUSED
        self._save_last(checkpoint)
        return reason

    def _loop(
        self, checkpoint: Checkpoint | None, show: Callable[[Step], None], on_step: Callable[[Step], bool | None] | None
    ) -> StopReason:
        cancelled = False
        while self.history.queries < self._max_queries:
            if self.history.is_stale(self._patience) or self._blank_queries >= BLANK_QUERIES:
                return StopReason.BLANK if self._blank_queries else StopReason.CONVERGED
            cancelled = self._stop_or_save(checkpoint, cancelled)
            if cancelled:
                return StopReason.INTERRUPTED if self._workers.interrupted else StopReason.CANCELLED
            step = self._step(checkpoint)
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

    def _save_last(self, checkpoint: Checkpoint | None) -> None:
        """Saves what the run has reached; a full disk is only a warning, as the result is there."""
        if checkpoint is None or not self._settled or not self.history.steps:
            return
        state = self._state()
        if self._workers.is_main:
            try:
                checkpoint.save(state)
            except RunError as error:
                warnings.warn(str(error), stacklevel=5)  # the caller of `unlearn`

    def _step(self, checkpoint: Checkpoint | None) -> Step:
        """Scores one batch and learns from it."""
        optimizer, latent = self.search.optimizer, self.search.latent
        wanted = self._workers.broadcast(optimizer.ask())
        latents = wanted[: self._max_queries - self.history.queries]
        if len(latents) < len(wanted):
            self._save_last(checkpoint)  # with a larger budget the run goes on from here
        contexts = latent.decode(torch.from_numpy(latents))
        scores = self._scorer.score(contexts, optimizer.images, check=not self.history.steps)
        self.cost.memory.note()
        has_number = bool(scores.losses.isfinite().any())
        self._blank_queries = 0 if has_number else self._blank_queries + len(contexts)
        self._settled = False
        iterates: Sequence[int] = range(len(latents))  # a batch that the budget cuts short teaches nothing
        if len(latents) == len(wanted):
            iterates = optimizer.tell(latents, scores.losses.cpu().double().numpy(), scores.log_scores)
        step = self.history.add(contexts, iterates, scores, self.cost.seconds)
        self._settled = len(latents) == len(wanted)
        return step

    def _state(self) -> RunState:
        facts, tensors = self.history.state()
        of_optimizer, arrays = self.search.optimizer.state()
        return RunState(
            {**facts, "ledger": self.cost.ledger().values(), "optimizer": of_optimizer},
            {**tensors, **{PREFIX + name: tensor for name, tensor in arrays.items()}},
        )
