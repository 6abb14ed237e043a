"""Functions of tensors replayed as CUDA graphs: hundreds of small kernels for the price of one launch."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor

KEPT = 6  # graphs of one function; populations come in few sizes


class Replayed:
    """`work(*tensors)`, captured as a CUDA graph for each set of shapes when it comes for the second time.

    On other devices, and where gradients are wanted, it is `work` itself. The first call with some shapes runs as is,
    so that shapes that come once cost no capture.

    Args:
        work: launches kernels for its arguments and returns a tensor. None of its steps may wait for the device, or
            depend on what the host alone knows.
        kept: graphs to keep, the least recently used makes room.
    """

    def __init__(self, work: Callable[..., Tensor], kept: int = KEPT) -> None:
        self.work, self._kept = work, kept
        self._graphs: OrderedDict[tuple, _Captured | None] = OrderedDict()

    def __call__(self, *given: Tensor) -> Tensor:
        """`work(*given)`; the result is a copy."""
        if not given[0].is_cuda or torch.is_grad_enabled():
            return self.work(*given)
        shapes = tuple((tuple(tensor.shape), tensor.dtype) for tensor in given)
        if shapes not in self._graphs:
            self._graphs[shapes] = None
            while len(self._graphs) > self._kept:
                self._graphs.popitem(last=False)
            return self.work(*given)
        self._graphs.move_to_end(shapes)
        captured = self._graphs[shapes] = self._graphs[shapes] or _Captured(self.work, given)
        return captured(given)


class _Captured:
    """One graph, the tensors that it reads and the one that it writes."""

    def __init__(self, work: Callable[..., Tensor], given: tuple[Tensor, ...]) -> None:
        self._given, self._graph = tuple(tensor.clone() for tensor in given), torch.cuda.CUDAGraph()
        torch.cuda.synchronize(given[0].device)
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._result = work(*self._given)

    def __call__(self, given: tuple[Tensor, ...]) -> Tensor:
        for own, tensor in zip(self._given, given, strict=True):
            own.copy_(tensor)
        self._graph.replay()
        return self._result.clone()
