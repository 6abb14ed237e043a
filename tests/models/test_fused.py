"""What of the GPU's arithmetic a CPU can check: float32 as products of halves."""

import pytest
import torch

from hf_unlearn.models import fused


def beside(rows: torch.Tensor, bias: bool) -> torch.Tensor:
    """Rows as the kernels write them."""
    high, low = fused._two(fused.SCALE * rows)
    ones = rows.new_zeros(len(rows), 8)
    ones[:, :2] = fused.SCALE
    return torch.cat([high, low, high, *([ones.half()] if bias else [])], 1)


@pytest.mark.parametrize("spread", [1e-3, 0.02, 5.0])
@pytest.mark.parametrize("with_bias", [False, True])
def test_a_product_of_split_halves_is_one_of_float32(spread, with_bias):
    draw = torch.Generator().manual_seed(0)
    rows, weight = torch.randn(50, 256, generator=draw), spread * torch.randn(64, 256, generator=draw)
    bias = 3 * spread * torch.randn(64, generator=draw) if with_bias else None
    product = fused.Product.of(weight, bias, split=True)
    assert product.weight.dtype == torch.float16
    got = product.scale * (beside(rows, with_bias).double() @ product.weight.double().T)
    expected = torch.nn.functional.linear(rows.double(), weight.double(), None if bias is None else bias.double())
    assert float((got - expected).norm() / expected.norm()) < 1e-6
    once = rows.half().double() @ weight.half().double().T + (0 if bias is None else bias.double())
    assert float((once - expected).norm() / expected.norm()) > 1e-4  # what halves alone would give


def test_a_cpu_fuses_nothing(clip):
    assert not fused.available(torch.device("cpu"))
    assert not fused.fits_layers(list(clip.model.text_model.encoder.layers))
    assert clip.fast is False
