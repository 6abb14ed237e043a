"""How the processes of one job share its work: images are encoded once, a population is scored once.

The main process says what to score and when to stop; every process scores its micro-batches, all get
all results and take the same step. Micro-batches don't depend on the number of processes, so neither
do the numbers. With one process nothing is sent.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hf_unlearn.data.labeled_images import LabeledImages
from hf_unlearn.errors import ProcessLostError
from hf_unlearn.evaluation.metrics import accuracies
from hf_unlearn.models.black_box import ENCODED_AT_ONCE, PROMPTS_AT_ONCE, SCORES_AT_ONCE, BlackBox, ImageSet, Ledger
from hf_unlearn.optimizers.objective import Objective


@dataclass(frozen=True)
class Scored:
    """What a run needs of a population's scores; a tensor each, one row per candidate.

    Attributes:
        losses: `(P,)`, the objective on the training images.
        err_for, acc_mem, selection_losses: `(P,)`, on the validation images.
        log_scores: `(P, n, C)` of the `n` training images asked for.
    """

    losses: Tensor
    err_for: Tensor
    acc_mem: Tensor
    selection_losses: Tensor
    log_scores: Tensor


class Crew:
    """The processes of this job, as accelerate sees them."""

    def __init__(self) -> None:
        from accelerate import PartialState

        self._state = PartialState()
        self.count: int = self._state.num_processes
        self.rank: int = self._state.process_index
        self.is_main: bool = self._state.is_main_process
        self.interrupted = False

    def encode(self, model: BlackBox, images: LabeledImages) -> Any:
        """All images, every process encoding some of the batches."""
        batches = _slices(len(images), ENCODED_AT_ONCE)
        if self.count == 1 or len(batches) < self.count or model.calls == 1:
            return model.add_images(images)
        own = [batches[rank :: self.count] for rank in range(self.count)]
        mine = model.add_images(images.select(i for part in own[self.rank] for i in range(part.start, part.stop)))
        assert isinstance(mine, ImageSet)
        return ImageSet(self._share(mine.features, own))

    def score(
        self,
        model: BlackBox,
        contexts: Tensor,
        images: Any,
        names: Sequence[str],
        objective: Objective,
        selection: Objective,
        wanted: Tensor,
    ) -> Scored:
        """Scores `(P, m, dim)` contexts on training images (the first of `images`) and validation images.

        Args:
            objective: on the training images.
            selection: the same on the validation images.
            wanted: `(n,)`, the training images whose log-scores are kept.
        """
        classes, trained, rows = len(names), len(objective.labels), []
        most = max(1, getattr(model, "scores_at_once", SCORES_AT_ONCE) // (len(images) * classes))
        prompts = getattr(model, "prompts_at_once", PROMPTS_AT_ONCE)
        parts = _slices(len(contexts), min(most, micro_batch(len(contexts), classes, model.calls, prompts)))
        own = [parts[rank :: self.count] for rank in range(self.count)]
        for part in own[self.rank]:
            scores = model.log_scores(contexts[part], images, names)
            train, judged = scores[:, :trained], scores[:, trained:]
            objective, selection = objective.to(scores.device), selection.to(scores.device)
            plain = judged[..., : len(selection.forget)]  # by the classes' own names
            figures = [objective(train), *accuracies(plain, selection.labels, selection.forget), selection(judged)]
            rows.append(torch.cat([torch.stack(figures, 1), train[:, wanted].flatten(1)], 1))
        idle = torch.empty(0, 4 + len(wanted) * classes, device=self._state.device)
        together = torch.cat(rows) if rows else idle
        if self.count > 1:
            together = self._share(together, own)
        losses, errors, kept, judged_losses = together[:, :4].unbind(1)
        return Scored(losses, errors, kept, judged_losses, together[:, 4:].unflatten(1, (len(wanted), classes)))

    def follow(self, asked: np.ndarray) -> np.ndarray:
        """What the main process wants scored next, the same for all."""
        return asked if self.count == 1 else self._from_main(asked)

    def agree(self, *flags: bool) -> tuple[bool, ...]:
        """The main process's flags for all; the first is also set by Ctrl-C."""
        flags = (flags[0] or self.interrupted, *flags[1:])
        return flags if self.count == 1 else tuple(self._from_main(np.array(flags, dtype=float)).astype(bool).tolist())

    def _from_main(self, numbers: np.ndarray) -> np.ndarray:
        from accelerate.utils import broadcast

        bits = torch.from_numpy(numbers).view(torch.int64)  # not every device has float64
        with _lost():
            return broadcast(bits.to(self._state.device)).cpu().view(torch.float64).numpy()

    @contextmanager
    def patient(self) -> Iterator[None]:
        """Ctrl-C reaches every process of a job; here it makes all of them stop after the same step."""
        if self.count == 1 or threading.current_thread() is not threading.main_thread():
            yield
            return

        def note(*_: Any) -> None:
            self.interrupted = True

        before = signal.signal(signal.SIGINT, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def total(self, ledger: Ledger) -> Ledger:
        """What all processes asked together."""
        if self.count == 1:
            return ledger
        from accelerate.utils import reduce

        counts = torch.tensor(ledger.values(), dtype=torch.long, device=self._state.device)
        with _lost():
            return Ledger(*reduce(counts, "sum").tolist())

    def leave(self) -> None:
        """Ends the processes' connection; for the end of a program."""
        self._state.destroy_process_group()

    def _share(self, mine: Tensor, parts: list[list[slice]]) -> Tensor:
        """Rows that processes computed, `parts[rank]` those of each, put together in order."""
        from accelerate.utils import gather

        index = [[i for part in own for i in range(part.start, part.stop)] for own in parts]
        padded = mine.new_zeros(max(map(len, index)), mine.shape[1])
        padded[: len(mine)] = mine
        with _lost():
            everyone = gather(padded.to(self._state.device).contiguous()).to(mine.device)
        result = mine.new_empty(sum(map(len, index)), mine.shape[1])
        for rows, theirs in zip(index, everyone.split(len(padded)), strict=True):
            result[rows] = theirs[: len(rows)]
        return result


@contextmanager
def _lost() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise ProcessLostError(
            "another process of this job has ended, so this one stops too; look for its error above, then start "
            "the job again"
        ) from error


def micro_batch(population: int, classes: int, calls: int, prompts: int = PROMPTS_AT_ONCE) -> int:
    """Candidates per call of a black box: the same however many processes there are, so numbers are too."""
    return max(-(-population // calls), -(-prompts // classes))


def _slices(count: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]
