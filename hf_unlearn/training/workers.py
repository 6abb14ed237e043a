"""Communication between the processes of one job: what each computes, all receive.

The main process decides what to score and when to stop; all processes take the same step. With one process
nothing is sent.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from hf_unlearn.errors import ProcessLostError
from hf_unlearn.models.black_box import Ledger
from hf_unlearn.models.device import join_job
from hf_unlearn.optimizers.base import Array

Parts = Sequence[Sequence[slice]]  # of each process, the rows that it computes


class Workers:
    """The processes of this job, as accelerate sees them.

    Attributes:
        count: number of processes.
        rank: number of this process, from 0.
        is_main: whether this is the process that decides, saves and prints.
        interrupted: whether Ctrl-C was pressed within `deferring_interrupts`.
    """

    def __init__(self) -> None:
        self._state = join_job()
        self.count: int = self._state.num_processes
        self.rank: int = self._state.process_index
        self.is_main: bool = self._state.is_main_process
        self.device: torch.device = self._state.device
        self.interrupted = False

    def divide(self, count: int, size: int) -> Parts:
        """Divides `count` rows into slices of `size`, dealt to the processes in turns."""
        slices = [slice(start, min(start + size, count)) for start in range(0, count, size)]
        return [slices[rank :: self.count] for rank in range(self.count)]

    def gather_rows(self, mine: Tensor, parts: Parts) -> Tensor:
        """Collects the rows that all processes computed; returns them in order, on every process.

        Args:
            mine: the rows of this process.
            parts: which rows each process computed, from `divide`.

        Raises:
            ProcessLostError: if another process ended.
        """
        if self.count == 1:
            return mine
        from accelerate.utils import gather

        index = [[i for part in rows for i in range(part.start, part.stop)] for rows in parts]
        padded = mine.new_zeros(max(map(len, index)), mine.shape[1])
        padded[: len(mine)] = mine
        with _report_lost_process():
            everyone = gather(padded.to(self.device).contiguous()).to(mine.device)
        result = mine.new_empty(sum(map(len, index)), mine.shape[1])
        for rows, theirs in zip(index, everyone.split(len(padded)), strict=True):
            result[rows] = theirs[: len(rows)]
        return result

    def broadcast(self, numbers: Array) -> Array:
        """Returns the main process's numbers, float64, on every process.

        Raises:
            ProcessLostError: if another process ended.
        """
        if self.count == 1:
            return numbers
        from accelerate.utils import broadcast

        bits = torch.from_numpy(numbers).view(torch.int64)  # not every device has float64
        with _report_lost_process():
            received: Tensor = broadcast(bits.to(self.device))
        return received.cpu().view(torch.float64).numpy()

    def agree(self, *flags: bool) -> tuple[bool, ...]:
        """Returns the main process's flags on every process; Ctrl-C sets the first one."""
        flags = (flags[0] or self.interrupted, *flags[1:])
        if self.count == 1:
            return flags
        numbers = torch.tensor(flags, dtype=torch.float64).numpy()
        return tuple(self.broadcast(numbers).astype(bool).tolist())

    @contextmanager
    def deferring_interrupts(self) -> Iterator[None]:
        """Within the block, Ctrl-C in a job of several processes sets `interrupted`: all stop after the same step."""
        if self.count == 1 or threading.current_thread() is not threading.main_thread():
            yield
            return

        def note(*_: object) -> None:
            self.interrupted = True

        before = signal.signal(signal.SIGINT, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def sum_ledgers(self, ledger: Ledger) -> Ledger:
        """Adds the ledgers of all processes.

        Raises:
            ProcessLostError: if another process ended.
        """
        if self.count == 1:
            return ledger
        from accelerate.utils import reduce

        counts = torch.tensor(ledger.values(), dtype=torch.long, device=self.device)
        with _report_lost_process():
            return Ledger(*reduce(counts, "sum").tolist())

    def disconnect(self) -> None:
        """Closes the connection between the processes, at the end of a program."""
        self._state.destroy_process_group()


@contextmanager
def _report_lost_process() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise ProcessLostError(
            "another process of this job has ended, so this one stops too; look for its error above, then start "
            "the job again"
        ) from error
