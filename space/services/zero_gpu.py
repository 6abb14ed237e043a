"""ZeroGPU Spaces, where everything runs on the CPU.

ZeroGPU lends a GPU to one call in a forked process. A run is watched and stopped from outside, which a fork prevents.
One image is classified sooner than the process starts.
"""

from __future__ import annotations

import os


def model_device() -> str | None:
    """The device of models: the CPU on a ZeroGPU Space, else None, which is torch's default."""
    return "cpu" if os.environ.get("SPACES_ZERO_GPU") else None


def register_gpu_function() -> None:
    """Decorates one function: a ZeroGPU Space without any does not start."""
    if os.environ.get("SPACES_ZERO_GPU"):
        import spaces

        spaces.GPU(model_device)
