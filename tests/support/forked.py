"""`hf-unlearn` in processes of their own that start at once: forked from one that has imported everything already."""

from __future__ import annotations

import multiprocessing
import os
import sys
from pathlib import Path

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    [
        "hf_unlearn.cli.main", "hf_unlearn.training.unlearning", "hf_unlearn.evaluation.evaluator",
        "hf_unlearn.adapters.report_plot", "accelerate",
        "sklearn.linear_model", "transformers.models.clip.modeling_clip", "transformers.models.clip.processing_clip",
        "transformers.models.auto.processing_auto",
    ]
)  # fmt: skip


class Forked:
    """One `hf-unlearn`.

    Args:
        arguments: what stands behind `hf-unlearn`.
        said: two files beside each other get what it prints.
        settings: more environment.
        folder: where it works.
        threads: on how many threads.
    """

    def __init__(
        self,
        arguments: list[str],
        said: Path,
        settings: dict[str, str] | None = None,
        folder: Path = Path(),
        threads: int = 1,
    ) -> None:
        self._out, self._err = said.with_suffix(".out"), said.with_suffix(".err")
        self._process = SERVER.Process(
            target=_main, args=(arguments, self._out, self._err, settings or {}, folder, threads), daemon=True
        )
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid
        return self._process.pid

    def poll(self) -> int | None:
        """The exit status; None as long as it runs."""
        return self._process.exitcode

    def wait(self, seconds: float | None = None) -> int | None:
        """The same, waiting at most so long."""
        self._process.join(seconds)
        return self.poll()

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.join()

    def said(self) -> tuple[str, str]:
        """Its output and its errors so far."""
        return self._out.read_text(), self._err.read_text()


def _main(arguments: list[str], out: Path, err: Path, settings: dict[str, str], folder: Path, threads: int) -> None:
    for stream, path in ((1, out), (2, err)):
        with path.open("w") as file:
            os.dup2(file.fileno(), stream)
    os.environ.update(settings)
    os.chdir(folder)
    sys.argv = ["hf-unlearn", *arguments]
    import torch

    from hf_unlearn.cli.main import main

    torch.set_num_threads(threads)
    main()
