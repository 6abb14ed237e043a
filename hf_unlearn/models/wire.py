"""How numbers and images travel between `SpaceBlackBox` and a Space: base64 text within JSON. Loads no torch.

Arrays are little-endian float32 in C order; their shape travels beside them. Images are PNG files.
"""

from __future__ import annotations

import base64
import binascii
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from hf_unlearn.errors import InputError
from hf_unlearn.text import brief

MOST = 2**53  # the first whole number that JSON readers may round


def encode_array(numbers: ArrayLike) -> str:
    """Numbers of any shape as base64 of their float32 bytes."""
    return base64.b64encode(np.ascontiguousarray(numbers, "<f4").tobytes()).decode()


def decode_array(text: str, shape: Sequence[int]) -> NDArray[np.float32]:
    """The float32 array of this shape behind a text; -inf is allowed, as a log-score may be.

    Raises:
        InputError: if the text is not base64, the shape differs, or a number is NaN or +inf.
    """
    data = decode_bytes(text, 4 * math.prod(shape))
    if len(data) != 4 * math.prod(shape):
        raise InputError(f"expected {math.prod(shape):,} numbers, got {len(data) / 4:g}")
    numbers = np.frombuffer(data, "<f4").astype(np.float32).reshape(shape)
    if not (numbers < math.inf).all():  # NaN is no less than anything
        raise InputError("it holds NaN or infinity")
    return numbers


def encode_image(image: Image.Image) -> str:
    """An image as a lossless PNG in base64."""
    image.save(file := io.BytesIO(), "PNG")
    return base64.b64encode(file.getvalue()).decode()


def decode_bytes(text: Any, most: int) -> bytes:
    """The bytes behind base64 text. The length of the text is checked first.

    Raises:
        InputError: if it is not base64 text, or holds more than `most` bytes.
    """
    if not isinstance(text, str) or len(text) > 4 * (most + 2) // 3 + 4:
        raise InputError("A part of this message is larger than announced or allowed.")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InputError("A part of this message is not base64.") from None


def read_number(value: Any) -> float:
    """A finite float out of JSON.

    Raises:
        InputError: if it is NaN or infinite.
        TypeError: if it is neither a number nor text; a ValueError for other text.
    """
    if not math.isfinite(number := float(value)):
        raise InputError(f"it holds {number}")
    return number


def read_count(value: Any, least: int = 0) -> int:
    """A whole number out of JSON, from `least` to below 2^53.

    Raises:
        InputError: if it is out of these bounds.
        TypeError: if it is neither a number nor text; a ValueError for other text.
    """
    if not least <= (count := int(value)) < MOST:
        raise InputError(f"it counts {brief(count)}")
    return count
