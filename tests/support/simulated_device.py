"""A device simulated on the CPU, without float64, as Apple's GPUs are. For a process of its own: it stays for good.

Its tensors keep what they hold on the CPU. As on a real device, they have no `.numpy()` and don't mix with others.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "simulated"
COPIES = ("_to_copy", "copy_", "index", "index_put_", "index_put", "_index_put_impl_")  # these take the CPU's tensors
_setup_privateuseone_for_python_backend(NAME)
DEVICE = torch.device(NAME, 0)
launched: set[str] = set()  # names of the operations that ran there


class There(torch.Tensor):
    """A tensor on the device."""

    held: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> There:
        if held.dtype == torch.float64:
            raise TypeError("this device has no float64")
        shape = torch.empty_strided(held.size(), held.stride(), dtype=held.dtype, device="meta")
        there = torch.Tensor._make_subclass(cls, shape, dispatch_device=True)
        there.held = held
        return there

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _call(func, args, kwargs or {})

    def tolist(self) -> Any:
        return self.held.tolist()


class _Everywhere(TorchDispatchMode):
    """For calls that make a tensor on the device from none."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _call(func, args, kwargs or {})


class _FromNumbers(TorchFunctionMode):
    """For `torch.tensor([...], device=DEVICE)`, which is no call of the other mode."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        where = kwargs.pop("device", None) if func is torch.tensor else None
        made = func(*args, **kwargs)
        return made if where is None else made.to(where)


def switched_on() -> ExitStack:
    """While it lasts, `device=DEVICE` works."""
    stack = ExitStack()
    stack.enter_context(_Everywhere())
    stack.enter_context(_FromNumbers())
    stack.enter_context(torch.autograd.set_multithreading_enabled(False))
    return stack


def _call(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    if func is torch.ops.prim.device.default:
        return DEVICE
    tensors = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    ours = [tensor for tensor in tensors if isinstance(tensor, There)]
    name = func.overloadpacket.__name__
    if ours and name not in COPIES and any(t.ndim and not isinstance(t, There) for t in tensors):
        raise RuntimeError(f"{name}: tensors on the device and on the CPU")
    wanted = kwargs.get("device")
    there = bool(ours) if wanted is None else torch.device(wanted).type == NAME
    if ours or there:
        launched.add(str(func))
    if wanted is not None and there:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    if name == "copy_":
        there = isinstance(args[0], There)
    held = {id(tensor.held): tensor for tensor in ours}
    plain = pytree.tree_map(lambda x: x.held if isinstance(x, There) else x, (args, kwargs))
    out = func(*plain[0], **plain[1])
    if not there:
        return out
    return pytree.tree_map(lambda x: _there(x, held), out)


def _there(result: Any, known: dict[int, There]) -> Any:
    """A result on the device; of a call in place, the tensor that was given."""
    if not isinstance(result, torch.Tensor):
        return result
    return known[id(result)] if id(result) in known else There(result)
