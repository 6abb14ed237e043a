"""The codec between a remote black box and a Space: exact, bounded, and without torch."""

import base64
import io
import math
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from hf_unlearn.errors import InputError
from hf_unlearn.models.wire import (
    decode_array,
    decode_bytes,
    encode_array,
    encode_image,
    read_count,
    read_number,
)


@pytest.mark.parametrize("shape", [(3, 2, 4), (1, 0, 32), (7,)])
def test_an_array_arrives_bit_for_bit(shape):
    numbers = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    assert np.array_equal(decode_array(encode_array(numbers), shape), numbers)
    turned = np.asfortranarray(numbers)
    assert encode_array(turned) == encode_array(numbers)


def test_an_impossible_score_arrives_too():
    assert decode_array(encode_array([-math.inf, 0.0]), (2,))[0] == -math.inf


@pytest.mark.parametrize(
    ("numbers", "shape", "message"),
    [
        ([1.0, math.nan], (2,), "NaN or infinity"),
        ([1.0, math.inf], (2,), "NaN or infinity"),
        ([1.0], (2,), "expected 2 numbers, got 1"),
        ([1.0] * 40, (2,), "larger than announced"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(numbers, shape, message):
    with pytest.raises(InputError, match=message):
        decode_array(encode_array(numbers), shape)


@pytest.mark.parametrize("text", ["%%%%", "A", "AAAA\n", None, 3, b"AAAA"])
def test_what_is_not_base64_is_refused(text):
    with pytest.raises(InputError, match=r"not base64|larger than announced"):
        decode_bytes(text, 100)


def test_a_long_text_is_refused_before_it_is_decoded():
    text = base64.b64encode(bytes(1_000)).decode()
    assert len(decode_bytes(text, 1_000)) == 1_000
    with pytest.raises(InputError, match="larger than announced"):
        decode_bytes(text, 900)


def test_an_image_arrives_without_loss():
    pixels = np.random.default_rng(0).integers(0, 255, (5, 6, 3), np.uint8)
    data = base64.b64decode(encode_image(Image.fromarray(pixels)))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), pixels)


@pytest.mark.parametrize("value", ["nan", math.inf, "-inf"])
def test_a_number_that_is_not_finite_is_refused(value):
    assert read_number("1.5") == 1.5
    with pytest.raises(InputError, match="it holds"):
        read_number(value)


@pytest.mark.parametrize("value", [-1, 0, "9" * 30])
def test_a_count_has_bounds(value):
    assert read_count(1, 1) == 1
    with pytest.raises(InputError, match="it counts"):
        read_count(value, 1)


def test_it_loads_no_torch():
    code = "import hf_unlearn.models.wire, sys; print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"
