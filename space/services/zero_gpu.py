"""ZeroGPU Spaces: a GPU for the length of a run, the CPU for everything else.

ZeroGPU lends a GPU to one call in a forked process, and sends arguments and results there and back. An instant edit
and one image are done on the CPU sooner than that process starts.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from typing import ParamSpec, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")
RUN_SECONDS = 120  # of a visitor's daily share

_lent = False  # True in the process that has the GPU


def on_zero_gpu() -> bool:
    """Whether this is a ZeroGPU Space with the package that lends GPUs."""
    return bool(os.environ.get("SPACES_ZERO_GPU")) and find_spec("spaces") is not None


def model_device() -> str | None:
    """The device of models: the CPU where the GPU is not lent to this process, else None, which is torch's default."""
    return "cpu" if os.environ.get("SPACES_ZERO_GPU") and not _lent else None


def accept_gpu() -> None:
    """Called in the forked process: models go to the GPU. One thread, since OpenMP's do not survive a fork."""
    import torch

    global _lent
    _lent = True
    torch.set_num_threads(1)


def with_gpu(function: Callable[P, R]) -> Callable[P, R] | None:
    """The function in a process with a GPU, a generator too; None off ZeroGPU."""
    if not on_zero_gpu():
        return None
    import spaces

    return cast(Callable[P, R], spaces.GPU(function, duration=RUN_SECONDS))
