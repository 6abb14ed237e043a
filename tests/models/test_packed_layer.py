"""oneDNN's products on a CPU against PyTorch's usual ones."""

from types import SimpleNamespace

import pytest
import torch
from transformers.activations import ACT2FN

from hf_unlearn.models import packed_layer
from hf_unlearn.models.packed_layer import PackedLayer, PlainLayer
from hf_unlearn.models.prefix_tower import Layer, layers_of

pytestmark = pytest.mark.skipif(not packed_layer.available(), reason="no oneDNN, or no x86 processor")
DIM = 32


class Mlp(torch.nn.Module):
    """What of transformers' MLP is read."""

    def __init__(self, activation: str) -> None:
        super().__init__()
        self.fc1, self.fc2 = torch.nn.Linear(DIM, 4 * DIM), torch.nn.Linear(4 * DIM, DIM)
        self.activation_fn = ACT2FN[activation]

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.fc2(self.activation_fn(self.fc1(hidden)))


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu", "relu"])
@torch.no_grad()
def test_products_are_the_plain_ones_but_for_rounding(activation):
    torch.manual_seed(0)
    module = SimpleNamespace(self_attn=SimpleNamespace(out_proj=torch.nn.Linear(DIM, DIM)), mlp=Mlp(activation))
    weight, bias = torch.randn(3 * DIM, DIM), torch.randn(3 * DIM)
    packed, plain = PackedLayer.of(module, weight, bias), PlainLayer(module, weight, bias)
    rows = torch.randn(5, 7, 2, DIM).transpose(0, 1)
    for name in ("qkv", "out", "mlp"):
        assert torch.allclose(getattr(packed, name)(rows), getattr(plain, name)(rows), atol=1e-5)


def test_a_float32_model_on_a_cpu_has_packed_layers_and_one_in_half_precision_has_not(clip):
    assert all(one.packed is not None for one in layers_of(clip.model.text_model))
    module = clip.model.text_model.encoder.layers[0]
    weight, bias = Layer.of(module).weight, Layer.of(module).bias
    assert PackedLayer.of(module, weight.bfloat16(), bias.bfloat16()) is None
