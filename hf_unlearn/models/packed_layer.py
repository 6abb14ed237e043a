"""A layer's matrix products on a CPU through oneDNN: weights packed once, an activation in the product's last pass.

Plain products of float32 go to PyTorch's other library, MKL, whose products of a few hundred rows are slower.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

QUICK_GELU = 1.702  # OpenAI's GELU is `x · sigmoid(1.702 x)`, so a SiLU of 1.702 x over 1.702


@cache
def available() -> bool:
    """Whether this PyTorch has oneDNN's products, on an x86 processor; the speed on others is unknown."""
    known = all(hasattr(torch.ops.mkldnn, name) for name in ("_reorder_linear_weight", "_linear_pointwise"))
    return known and torch.backends.mkldnn.is_available() and platform.machine() in ("x86_64", "AMD64")


@dataclass(frozen=True)
class Product:
    """A linear map of rows, and a SiLU of its result if wanted.

    Attributes:
        weight: `(out, in)`, as oneDNN orders it.
        bias: `(out,)`.
        activation: `"none"` or `"swish"`.
    """

    weight: Tensor
    bias: Tensor
    activation: str

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor, activation: str = "none") -> Product:
        """From a linear map."""
        return cls(torch.ops.mkldnn._reorder_linear_weight(weight.contiguous()), bias.contiguous(), activation)

    def __call__(self, rows: Tensor) -> Tensor:
        """`(..., in)` -> `(..., out)`, without a gradient."""
        product: Tensor = torch.ops.mkldnn._linear_pointwise(rows, self.weight, self.bias, self.activation, [], "")
        return product


@dataclass(frozen=True)
class PackedLayer:
    """The products of a transformer layer.

    Attributes:
        qkv: queries, keys and values.
        out: behind attention.
        up, down: the MLP's.
        activation: between these two, where `up` does not do it.
    """

    qkv: Product
    out: Product
    up: Product
    down: Product
    activation: Any

    @classmethod
    def of(cls, module: Any, weight: Tensor, bias: Tensor) -> PackedLayer | None:
        """Of a layer of transformers' CLIP and its weights of queries, keys and values; None where it gains nothing."""
        if weight.device.type != "cpu" or weight.dtype != torch.float32 or not available():
            return None
        out, up, down, activation = module.self_attn.out_proj, module.mlp.fc1, module.mlp.fc2, module.mlp.activation_fn
        qkv, after = Product.of(weight, bias), Product.of(out.weight, out.bias)
        if not _is_quick_gelu(activation):
            return cls(qkv, after, Product.of(up.weight, up.bias), Product.of(down.weight, down.bias), activation)
        fused = Product.of(QUICK_GELU * up.weight, QUICK_GELU * up.bias, "swish")
        return cls(qkv, after, fused, Product.of(down.weight / QUICK_GELU, down.bias), None)

    def mlp(self, hidden: Tensor) -> Tensor:
        """`(..., dim)` -> the same."""
        inner = self.up(hidden)
        return self.down(inner if self.activation is None else self.activation(inner))


@dataclass(frozen=True)
class PlainLayer:
    """The same with PyTorch's usual products: on other devices, in other precisions, and for gradients."""

    module: Any
    weight: Tensor
    bias: Tensor

    def qkv(self, hidden: Tensor) -> Tensor:
        """Queries, keys and values."""
        return F.linear(hidden, self.weight, self.bias)

    def out(self, mixed: Tensor) -> Tensor:
        """Behind attention."""
        result: Tensor = self.module.self_attn.out_proj(mixed)
        return result

    def mlp(self, hidden: Tensor) -> Tensor:
        """`(..., dim)` -> the same; OpenAI's GELU as one SiLU whose scales the matrix products take along."""
        mlp = self.module.mlp
        if not _is_quick_gelu(mlp.activation_fn):
            result: Tensor = mlp(hidden)
            return result
        scale, (fc1, fc2) = QUICK_GELU, (mlp.fc1, mlp.fc2)
        inner = F.silu(torch.addmm(fc1.bias, hidden.flatten(0, -2), fc1.weight.T, beta=scale, alpha=scale))
        return torch.addmm(fc2.bias, inner, fc2.weight.T, alpha=1 / scale).view_as(hidden)


def _is_quick_gelu(function: Any) -> bool:
    return type(function).__name__ == "QuickGELUActivation"


def wants_gradient(*given: Tensor | None) -> bool:
    """Whether any of these tensors is part of a graph of autograd."""
    return torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in given)
