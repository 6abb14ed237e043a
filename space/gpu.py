"""ZeroGPU: on such a Space, what is marked runs on a GPU lent for the call; anywhere else it just runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def on_gpu(function: Callable[P, R]) -> Callable[P, R]:
    """The function, by way of `spaces.GPU` where the Space has ZeroGPU."""
    if not os.environ.get("SPACES_ZERO_GPU"):
        return function
    import spaces

    return spaces.GPU(function)
