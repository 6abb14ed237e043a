"""`hf-unlearn` in processes of their own that start at once: forked from one that has imported everything already."""

from __future__ import annotations

import multiprocessing
import os
import sys
from pathlib import Path

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    [
        "hf_unlearn.cli", "hf_unlearn.unlearn", "hf_unlearn.evaluate", "hf_unlearn.plots", "accelerate",
        "sklearn.linear_model", "transformers.models.clip.modeling_clip", "transformers.models.clip.processing_clip",
        "transformers.models.auto.processing_auto",
    ]
)  # fmt: skip


def start(arguments: list[str], said: Path, settings: dict[str, str] | None = None) -> multiprocessing.Process:
    """Runs `hf-unlearn` with these arguments; what it prints goes to the file `said`."""
    process = SERVER.Process(target=_main, args=(arguments, said, settings or {}), daemon=True)
    process.start()
    return process


def _main(arguments: list[str], said: Path, settings: dict[str, str]) -> None:
    with said.open("w") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    os.environ.update(settings)
    sys.argv = ["hf-unlearn", *arguments]
    from hf_unlearn.cli import main

    main()
