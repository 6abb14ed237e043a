"""Pixels: turns files, arrays and tensors into upright RGB images, or refuses them in one sentence."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from hf_unlearn.errors import InputError, PixelError

# raster decoders: none starts another program, none decodes an image larger than its header says
FORMATS = (
    "PNG", "JPEG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "AVIF", "HEIF", "JPEG2000", "PPM", "QOI", "PCX", "SGI", "PSD",
    "TGA",
)  # fmt: skip
OF_TGA = {".tga", ".icb", ".vda", ".vst"}  # the format has no magic number, so any bytes might look like it
HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
NO_HEIC = "a HEIC photo; pip install 'hf_unlearn[heic]' to read it, or save it as JPEG"
EXPECTED = "expected a path, a PIL image, the bytes of an image file, an open file, an array or a tensor"
URL = re.compile(r"[a-z][a-z0-9+.-]+://|data:", re.I)
ROUNDING = 1e-5  # how far beyond 0 and 1 a float may be by rounding


def to_rgb(item: Any, index: int | None = None) -> Image.Image:
    """An image as upright RGB, transparency laid on white; the first one of several frames or pages.

    Args:
        item: a path (no URL), a PIL image, the bytes of an image file, or a file open for reading. Also an array
            `(height, width)` or `(height, width, 1 to 4)`, or a tensor, whose channels may also come first. Channels
            are grey, grey and alpha, RGB, or RGB and alpha. Pixels are bools, floats 0 to 1, or whole numbers of 8, 12
            or 16 bits, whichever holds the largest value.
        index: its place among several, for the message of an error.

    Raises:
        InputError: if it can't be read as an image, has no pixels, or has more than Pillow's `MAX_IMAGE_PIXELS` (89
            megapixels). The message names it; a ValueError.
    """
    where = _where(item, index)
    try:
        with _silence():
            return _read(item)
    except FileNotFoundError as error:
        raise InputError(f"{where}: no such file") from error
    except IsADirectoryError as error:
        raise InputError(f"{where}: a folder; expected an image file") from error
    except PixelError as error:
        raise InputError(f"{where}: {error}") from error
    except UnidentifiedImageError as error:
        why = NO_HEIC if needs_heic(item) else "not a readable image; replace it or take it away"
        raise InputError(f"{where}: {why}") from error
    except Exception as error:  # damaged files make Pillow's decoders raise whatever they stumble over
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{where}: not a readable image ({why}); replace it or take it away") from error


def to_image(item: Any, index: int) -> Image.Image | Path:
    """An image in the form that is kept: a path or a PIL image unchanged, anything else as a PIL image.

    Raises:
        InputError: as `to_rgb` does; the files of paths are not read yet.
    """
    if isinstance(item, Path | Image.Image):
        return item
    if isinstance(item, str | PathLike) and not URL.match(str(item)):
        return Path(item)
    rgb = to_rgb(item, index)
    try:
        return Image.fromarray(item)  # it keeps its tones and its transparency, if Pillow knows its kind
    except Exception:
        return rgb


def as_images(images: Any) -> Iterable[Any]:
    """The images of an argument, one by one: a single image is a list of one, a batch `(N, ., ., .)` gives `N`.

    Raises:
        InputError: if it is not iterable; a ValueError.
    """
    if isinstance(images, str | PathLike | bytes | bytearray | memoryview | Image.Image) or hasattr(images, "read"):
        return [images]
    if isinstance(getattr(images, "ndim", None), int):
        return images if images.ndim == 4 else [images]
    if isinstance(images, Mapping) or not isinstance(images, Iterable):
        raise InputError(f"{EXPECTED}, or several of them; got {type(images).__name__}")
    return images


def rgb_images(images: Iterable[Any]) -> Iterator[Image.Image]:
    """Each as RGB.

    Raises:
        InputError: as `to_rgb` does; the message gives the place, counted from 0.
    """
    return (to_rgb(item, index) for index, item in enumerate(images))


@lru_cache(maxsize=1)
def formats() -> tuple[str, ...]:
    """The formats that are read here: HEIF with the extra `heic`, AVIF with a Pillow that has it."""
    Image.init()
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        pass
    else:
        register_heif_opener()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def open_file(file: Any) -> Image.Image:
    """`Image.open` of a path or an open file, by content, with the decoders of `formats` only.

    Raises:
        UnidentifiedImageError: if it has another format; and anything else that Pillow's `open` raises.
    """
    named = Path(file).suffix.lower() if isinstance(file, str | PathLike) else ""
    with _silence():
        return Image.open(file, formats=[name for name in formats() if name != "TGA" or named in OF_TGA])


def eight_bit(pixels: np.ndarray) -> np.ndarray:
    """Pixels of any plain kind as uint8, see `to_rgb`.

    Raises:
        PixelError: if they are not numbers, not finite, negative, or above the range of their kind.
    """
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == bool:
        return pixels.astype(np.uint8) * np.uint8(255)
    of_floats = pixels.dtype.kind == "f"
    if not of_floats and pixels.dtype.kind not in "ui":
        raise PixelError(f"pixels of type {pixels.dtype}; expected bools, floats 0 to 1, or whole numbers 0 to 255")
    low, high = pixels.min(), pixels.max()
    if of_floats and low >= -ROUNDING and high <= 1 + ROUNDING:
        return np.round(pixels.astype(np.float64).clip(0, 1) * 255).astype(np.uint8)
    most = 255 if of_floats else 65535
    if not (np.isfinite(low) and np.isfinite(high)):
        raise PixelError(f"{pixels.dtype} pixels that are not finite (NaN or infinity); expected floats 0 to 1")
    if low < 0 or high > most or (of_floats and (pixels != np.round(pixels)).any()):
        wanted = "floats 0 to 1, or whole numbers 0 to 255" if of_floats else "whole numbers 0 to 255, or to 65535"
        raise PixelError(f"{pixels.dtype} pixels from {low:g} to {high:g}; expected {wanted}: scale them first")
    return (pixels.astype(np.int64) >> (0 if high <= 255 else 4 if high <= 4095 else 8)).astype(np.uint8)


@contextmanager
def _silence() -> Iterator[None]:
    """Silences warnings about damage that a decoder tolerates: an image is read, or an error says why not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _read(item: Any) -> Image.Image:
    if isinstance(item, str) and URL.match(item):
        raise PixelError("a URL, and none is fetched; download it and give its path")
    if isinstance(item, bytes | bytearray | memoryview):
        item = io.BytesIO(item)
    if isinstance(item, str | PathLike) or hasattr(item, "read"):
        with open_file(item) as image:
            return _upright_rgb(image)
    return _upright_rgb(item if isinstance(item, Image.Image) else _of_numbers(item))


def _of_numbers(item: Any) -> Image.Image:
    """An array or a tensor as a PIL image of 8 bits."""
    is_tensor = hasattr(item, "detach")
    if is_tensor:
        item = item.detach().cpu()
        pixels = (item.float() if item.is_floating_point() else item).numpy()  # NumPy lacks bfloat16
    elif hasattr(item, "__array__"):
        pixels = np.asarray(item)
    else:
        raise PixelError(f"{EXPECTED}; got {type(item).__name__}")
    if is_tensor and pixels.ndim == 3 and pixels.shape[0] in (1, 3, 4):
        pixels = pixels.transpose(1, 2, 0)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or not 1 <= pixels.shape[2] <= 4 or not pixels.size:
        first = " (an array's channels come last: array.transpose(1, 2, 0))" if _channels_first(pixels) else ""
        shape = tuple(np.shape(item))
        raise PixelError(f"an array of shape {shape}; expected (height, width) or (height, width, 1 to 4){first}")
    pixels = eight_bit(pixels)
    return Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels))


def _channels_first(pixels: np.ndarray) -> bool:
    return pixels.ndim == 3 and pixels.shape[0] in (1, 3, 4)


def _upright_rgb(image: Image.Image) -> Image.Image:
    if not image.width * image.height:
        raise PixelError(f"an image of {image.width} x {image.height} pixels; expected at least 1 x 1")
    most = Image.MAX_IMAGE_PIXELS
    if most is not None and image.width * image.height > most:
        raise InputError(f"{image.width * image.height / 1e6:.0f} megapixels, at most {most / 1e6:.0f} are read")
    image = _plain(_upright(image))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _upright(image: Image.Image) -> Image.Image:
    """A copy, turned by its EXIF data; unreadable data are ignored."""
    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except Exception:
        return image.copy()


def _plain(image: Image.Image) -> Image.Image:
    """Of 8 bits, and of a mode that Pillow turns into RGB or RGBA."""
    clear = image.info.get("transparency")
    if image.mode == "F" or image.mode.startswith("I"):
        numbers = np.asarray(image)
        grey = Image.fromarray(eight_bit(numbers))
        if isinstance(clear, int):
            grey.putalpha(Image.fromarray(eight_bit(numbers != clear)))
        return grey
    if isinstance(clear, tuple) and max(clear) > 255:  # of 16 bits, where Pillow keeps the upper 8 of the pixels
        image.info["transparency"] = tuple(value >> 8 for value in clear)
    if image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
        assert converted is not None
        return converted
    weighted = {"La": "LA", "RGBa": "RGBA"}  # colours multiplied by their opacity
    return image.convert(weighted[image.mode]) if image.mode in weighted else image


def _where(item: Any, index: int | None) -> str:
    """How an error names an item: by its file, if it has one, and its number, if known."""
    name = item if isinstance(item, str | PathLike) else getattr(item, "filename", None) or getattr(item, "name", None)
    shown = name[:300] if isinstance(name, str) else str(name) if isinstance(name, PathLike) else ""
    if index is None:
        return shown or "image"
    return f"image {index} ({shown})" if shown else f"image {index}"


def needs_heic(item: Any) -> bool:
    """Whether the content of a file is HEIC, and the extra that reads it is missing."""
    try:
        if isinstance(item, str | PathLike):
            with open(item, "rb") as file:
                head = file.read(12)
        elif isinstance(item, bytes | bytearray | memoryview):
            head = bytes(item[:12])
        else:
            item.seek(0)
            head = item.read(12)
    except (OSError, AttributeError):
        return False
    return "HEIF" not in formats() and head[4:8] == b"ftyp" and head[8:12] in HEIF_BRANDS
