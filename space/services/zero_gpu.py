"""ZeroGPU lends a GPU to one call in a forked process: nothing for a run that is watched and stopped from outside it,
and one image is classified sooner than that process starts. On such a Space all is done on the CPU."""

from __future__ import annotations

import os


def model_device() -> str | None:
    """Where models go: None is wherever torch would have them."""
    return "cpu" if os.environ.get("SPACES_ZERO_GPU") else None


def register_gpu_function() -> None:
    """Marks one function, without which such a Space does not start."""
    if os.environ.get("SPACES_ZERO_GPU"):
        import spaces

        spaces.GPU(model_device)
