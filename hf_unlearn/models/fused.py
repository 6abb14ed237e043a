"""A tower's layers on NVIDIA GPUs: few kernels, and float32 on the units made for half precision.

A float32 number is, but for its last bits, the sum of two halves (float16). So a product of float32 matrices is one of
matrices of halves, three times as wide: `[x₁ | x₂ | x₁] [w₁ | w₁ | w₂]ᵀ`, which tensor cores compute and sum up in
float32 (Ootomo & Yokota, 2022). What is too small to count is left out, `x₂ w₂`.

Residual sums are taken by the products before them: `hidden += x wᵀ` is one kernel. The biases of such products are not
in `hidden`; they add up to one vector per place, which the next LayerNorm adds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from hf_unlearn.models.cuda_graphs import Replayed
from hf_unlearn.models.packed_layer import wants_gradient

SCALE = 16.0  # of activations as halves, so that small ones keep their bits
LARGEST = 2.0**15  # a half holds twice as much
STREAM = torch.float32  # of hidden states between layers
WIDEST = 4_096  # of a row in one program
ACTIVATIONS = {"QuickGELUActivation": 1, "GELUActivation": 2}


@cache
def _kernels() -> Any:
    """The Triton kernels; None where there is no Triton."""
    try:
        from hf_unlearn.models import triton_kernels
    except ImportError:
        return None
    return triton_kernels


def available(device: torch.device) -> bool:
    """Whether kernels run: Triton, and an NVIDIA GPU of this decade."""
    if device.type != "cuda" or torch.version.cuda is None or torch.cuda.get_device_capability(device)[0] < 8:
        return False
    return _kernels() is not None


def fits(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether products in this precision are available; TF32, where it is allowed, is as fast as split halves."""
    return available(device) and not (dtype == torch.float32 and torch.backends.cuda.matmul.allow_tf32)


def fits_layers(modules: Sequence[Any]) -> bool:
    """Whether layers can be fused: on a GPU, of a known activation, of numbers that halves hold."""
    weight = modules[0].mlp.fc1.weight
    known = all(_activation(module.mlp.activation_fn) for module in modules) and not weight.shape[1] % 8
    if not known or weight.shape[1] > WIDEST or not fits(weight.dtype, weight.device):
        return False
    largest = max(float(parameter.abs().max()) for module in modules for parameter in module.parameters())
    return weight.dtype != torch.float32 or largest < LARGEST


def _activation(function: Any) -> int:
    return ACTIVATIONS.get(type(function).__name__, 0)


@dataclass(frozen=True)
class Product:
    """A linear map of rows that the kernels write.

    Attributes:
        weight: `(out, in)`, or of split halves, `(out, 3 in)` or, with the bias behind, `(out, 3 in + 8)`.
        bias: `(out,)`; None where it is within `weight`, or there is no bias.
        split: whether of split halves.
        scale: what the result of split halves is to be multiplied by.
    """

    weight: Tensor
    bias: Tensor | None
    split: bool
    scale: float = 1.0

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor | None, split: bool) -> Product:
        """From a linear map, whose float32 weight is split into halves if `split`."""
        if not split:
            return cls(weight, bias, split)
        columns = [weight] if bias is None else [weight, bias[:, None]]
        largest = max(float(column.abs().max()) for column in columns)
        power = 2.0 ** (10 - math.ceil(math.log2(max(largest, 1e-30))))  # the largest becomes about 1,000
        high, low = zip(*(_two(power * column) for column in columns), strict=True)
        parts = [high[0], high[0], low[0]]
        if bias is not None:
            parts += [high[1], low[1], weight.new_zeros(len(weight), 6).half()]
        return cls(torch.cat(parts, 1).contiguous(), None, split, 1 / (power * SCALE))

    def __call__(self, rows: Tensor) -> Tensor:
        """`(M, in)` as the kernels write them -> `(M, out)`."""
        if not self.split:
            return F.linear(rows, self.weight, self.bias)
        empty = torch.empty(1, 1, device=rows.device).expand(len(rows), len(self.weight))
        return torch.addmm(empty, rows, self.weight.T, out_dtype=torch.float32, beta=0, alpha=self.scale)

    def onto(self, hidden: Tensor, rows: Tensor) -> None:
        """`hidden += product`, `(M, out)`, without a bias."""
        if hidden.dtype == rows.dtype:
            hidden.addmm_(rows, self.weight.T)
        else:
            torch.addmm(hidden, rows, self.weight.T, out_dtype=torch.float32, alpha=self.scale, out=hidden)


def _two(numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Halves that add up to float32 numbers."""
    high = numbers.half()
    return high, (numbers - high.float()).half()


class FusedLayer:
    """One transformer layer; called as `text_tower.Layer` is, whose weights and bias it takes.

    Args:
        plain: the layer.
        before: `(dim,)` float32, biases that the hidden states given to it lack.
        first, last: whether it is the first one, which may not write into what it is given, or the last one, which
            adds what is lacking.
    """

    def __init__(self, plain: Any, before: Tensor, first: bool, last: bool) -> None:
        self.plain, self.first, self.last = plain, first, last
        module = plain.module
        split = plain.weight.dtype == torch.float32
        self.qkv = Product.of(plain.weight, plain.bias, split)
        self.out = Product.of(module.self_attn.out_proj.weight, None, split)
        self.up = Product.of(module.mlp.fc1.weight, module.mlp.fc1.bias, split)
        self.down = Product.of(module.mlp.fc2.weight, None, split)
        self.activation = _activation(module.mlp.activation_fn)
        self.between = before + _float(module.self_attn.out_proj.bias)
        self.before, self.after = before, self.between + _float(module.mlp.fc2.bias)
        self.norms = [
            (_float(norm.weight), _float(norm.bias), norm.eps) for norm in (module.layer_norm1, module.layer_norm2)
        ]

    def __call__(
        self, hidden: Tensor, mask: Tensor | None, before: Tensor | None = None, rows: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `text_tower.Layer`; without a mask all is seen. Only what the last layer returns lacks no biases."""
        if wants_gradient(hidden, before):  # kernels have no gradient
            return self.plain(hidden, mask, before, rows)
        attention, shape = self.plain.module.self_attn, hidden.shape
        if self.first:
            hidden = hidden.to(STREAM, copy=True, memory_format=torch.contiguous_format)
        qkv = self.qkv(self._normalized(hidden.view(-1, shape[-1]), self.before, 0))
        width = attention.head_dim
        query, own = qkv.view(*shape[:2], -1, 3 * width).split((width, 2 * width), -1)
        if rows is not None:
            tree = torch.arange(len(rows), device=rows.device)[:, None]
            query, hidden = query[tree, rows], hidden[tree, rows]
            mask = None if mask is None else mask[tree, :, rows].transpose(1, 2)
        seen = own if before is None else torch.cat([before.expand(len(own), -1, -1, -1), own], 1)
        query, key, value = (part.transpose(1, 2) for part in (query, *seen.split(width, -1)))
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=attention.scale)
        flat = hidden.view(-1, shape[-1])
        self.out.onto(flat, activated(mixed.transpose(1, 2).reshape(flat.shape), 0, self.out.split))
        inner = self.up(self._normalized(flat, self.between, 1))
        self.down.onto(flat, activated(inner, self.activation, self.down.split))
        return (hidden + self.after).to(self.plain.weight.dtype) if self.last else hidden, own

    def _normalized(self, hidden: Tensor, offset: Tensor, which: int) -> Tensor:
        """One of the two LayerNorms of `hidden + offset`, `(M, dim)`, as its product reads it."""
        weight, bias, eps = self.norms[which]
        count, width = hidden.shape
        split, block = self.qkv.split, _power(width)
        stride = 3 * width + 8 if split else width
        out = torch.empty(count, stride, dtype=self.qkv.weight.dtype, device=hidden.device)
        _kernels().normalized[(count,)](
            hidden, offset, weight, bias, out, eps,
            width=width, stride=stride, block=block, split=split, scale=SCALE, num_warps=min(8, max(1, block // 256)),
        )  # fmt: skip
        return out


def fuse_layers(layers: Sequence[Any]) -> list[Any]:
    """The layers of a tower, fused."""
    lacking = torch.zeros_like(_float(layers[0].module.layer_norm1.bias))
    result: list[Any] = []
    for place, layer in enumerate(layers):
        result.append(FusedLayer(layer, lacking, first=not place, last=place == len(layers) - 1))
        lacking = result[-1].after
    return result


def activated(given: Tensor, activation: int, split: bool) -> Tensor:
    """An activation of `(M, dim)`; for a split product `(M, 3 dim)` halves."""
    if not activation and not split:
        return given
    count, width = given.shape
    shape = (count, 3 * width if split else width)
    out = torch.empty(shape, dtype=torch.float16 if split else given.dtype, device=given.device)
    block = min(1_024, _power(width))
    _kernels().activated[(count, -(-width // block))](
        given, out, width=width, block=block, activation=activation, split=split, scale=SCALE, num_warps=4
    )
    return out


def advance(point: Tensor, *rest: Any) -> None:
    """One move of L-BFGS, see `triton_kernels.advanced`."""
    (count, width), history = point.shape, len(rest[-3])
    _kernels().advanced[(count,)](point, *rest, count, width=width, block=_power(width), history=history, num_warps=4)


REPLAYED = 2**22  # log-scores whose making is worth a graph


class Scores:
    """Log-scores of images, `(N, width)` float32, under text features, in one product for all candidates.

    Args:
        sharpness: what cosines are multiplied by.
        dtype: the precision of the product.
    """

    def __init__(self, images: Tensor, sharpness: float, dtype: torch.dtype) -> None:
        self.images = images
        self.split = dtype == torch.float32
        self._rows = activated(images.contiguous(), 0, True) if self.split else images.to(dtype)
        self._scale = sharpness / SCALE**2 if self.split else sharpness
        self._replayed = Replayed(self._of)

    def __call__(self, texts: Tensor) -> Tensor:
        """`(P, C, width)` float32 -> `(P, N, C)`."""
        small = texts.shape[0] * texts.shape[1] * len(self.images) <= REPLAYED
        scores = self._replayed(texts) if small else self._of(texts)
        return scores.transpose(0, 1)

    def _of(self, texts: Tensor) -> Tensor:
        flat = texts.reshape(-1, texts.shape[-1])
        other = _beside(flat) if self.split else flat.to(self._rows.dtype)
        empty = torch.empty(1, 1, device=flat.device).expand(len(self._rows), len(other))
        logits = torch.addmm(empty, self._rows, other.T, out_dtype=torch.float32, beta=0, alpha=self._scale)
        return logits.unflatten(1, texts.shape[:2]).log_softmax(-1)


def _beside(numbers: Tensor) -> Tensor:
    """`(M, width)` float32 as the other side of a product of split halves, `(M, 3 width)`."""
    high, low = _two(SCALE * numbers)
    return torch.cat([high, high, low], 1)


def _float(parameter: Tensor) -> Tensor:
    return parameter.detach().float()


def _power(width: int) -> int:
    return 1 << (width - 1).bit_length()
