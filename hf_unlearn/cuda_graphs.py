"""Functions of one tensor replayed as CUDA graphs: hundreds of small kernels for the price of one launch."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor

KEPT = 6  # graphs of one function; populations come in few sizes


class Replayed:
    """`work(x)`, captured as a CUDA graph for each shape of `x` when it comes for the second time.

    On other devices, and where gradients are wanted, it is `work` itself. The first call of a shape runs as it is,
    so that a shape that comes once costs no capture.

    Args:
        work: launches kernels for `x` and returns a tensor; no step of it may wait for the device.
        kept: graphs to keep, the least recently used makes room.
    """

    def __init__(self, work: Callable[[Tensor], Tensor], kept: int = KEPT) -> None:
        self._work, self._kept = work, kept
        self._graphs: OrderedDict[tuple, tuple[torch.cuda.CUDAGraph, Tensor, Tensor] | None] = OrderedDict()

    def __call__(self, x: Tensor) -> Tensor:
        """`work(x)`; the result is the caller's own."""
        if not x.is_cuda or torch.is_grad_enabled():
            return self._work(x)
        shape = (tuple(x.shape), x.dtype)
        if shape not in self._graphs:
            self._graphs[shape] = None
            while len(self._graphs) > self._kept:
                self._graphs.popitem(last=False)
            return self._work(x)
        self._graphs.move_to_end(shape)
        captured = self._graphs[shape] or self._capture(x)
        self._graphs[shape] = captured
        graph, given, result = captured
        given.copy_(x)
        graph.replay()
        return result.clone()

    def _capture(self, x: Tensor) -> tuple[torch.cuda.CUDAGraph, Tensor, Tensor]:
        given, graph = x.clone(), torch.cuda.CUDAGraph()
        torch.cuda.synchronize(x.device)
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            result = self._work(given)
        return graph, given, result
