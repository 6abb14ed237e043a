"""Where a model runs, and in which precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from hf_unlearn.errors import InputError
from hf_unlearn.text import brief

if TYPE_CHECKING:
    from accelerate import PartialState


def precision_of(dtype: torch.dtype | str) -> torch.dtype:
    """A dtype, or the one with a name. Raises: InputError: if models are not loaded in it."""
    known = {str(one).removeprefix("torch."): one for one in (torch.float32, torch.float16, torch.bfloat16)}
    if isinstance(dtype, torch.dtype) and dtype.is_floating_point:
        return dtype
    if not isinstance(dtype, str) or dtype not in known:
        raise InputError(f"unknown dtype {brief(dtype)}; expected one of {', '.join(known)}")
    return known[dtype]


def usable(device: str | torch.device) -> torch.device:
    """The device. Raises: InputError: if this computer, or this PyTorch, lacks it."""
    try:
        sample = torch.zeros(1, device=device)
        sample.tolist()  # fails on "meta", which holds no data
        return sample.device
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        why = " ".join(str(error).split())[:120]
        raise InputError(f"device {brief(device)}: can't be used here ({why}); cpu always can") from error


def join_job() -> PartialState:
    """Connects this process with the others of its job, once, and returns what accelerate knows of it.

    `torch.distributed.nn` is imported before: its functions hold the process group that they find when they are
    imported. A group that is held outlives its end, and its threads may then abort a process that exits.
    """
    import torch.distributed.nn  # noqa: F401
    from accelerate import PartialState
    from accelerate.utils import parse_flag_from_env

    return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"))
