"""Limits of what strangers send: the size of an upload, images, labels and texts. Every refusal is one sentence."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from pathlib import Path
from typing import BinaryIO

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from hf_unlearn.data.class_names import clean_name
from hf_unlearn.data.pixels import needs_heic, open_file, to_rgb
from hf_unlearn.errors import InputError, PixelError

MAX_PIXELS, MAX_RATIO = 25_000_000, 20  # a model resizes the short side, so a thin strip would grow huge
MAX_PHOTO = 120_000_000  # pixels of a JPEG that is decoded at a half, a quarter or an eighth of its size
MAX_LABELS, MAX_LABEL = 1_000, 200
MAX_UPLOAD = "50mb"
MARK = " (to be forgotten)"
UNREADABLE = "This file is not an image we can read; use PNG, JPEG, WebP, GIF, BMP, TIFF or AVIF."
DAMAGED = "This image file is damaged or was cut off; save it again, or use another one."
NO_HEIC_HERE = "This is a HEIC photo, which is not read here; save it as JPEG or PNG."
SHOWN = 200  # names of a list that are written out
# lines, tabs, and the semicolons and commas of other scripts: unlike a comma, none of them is ever part of a name
BETWEEN_NAMES = re.compile("[\n\r\v\f\x1c-\x1e\x85\u2028\u2029\t;；﹔؛，﹐､、﹑،፣߸]")


def open_image(path: str | Path | BinaryIO) -> Image.Image:
    """Reads an uploaded image file as upright RGB. Its size is checked before its pixels are decoded.

    A large photo, a JPEG of up to 120 megapixels, is decoded at a part of its size: no more pixels are ever in memory.

    Raises:
        InputError: if it is no image of a known format, damaged, or larger than `check_image` allows.
    """
    try:
        image = open_file(path)
    except Image.DecompressionBombError:
        raise InputError(_too_large("more than 100")) from None
    except Exception:  # Pillow's readers raise whatever they stumble over
        raise InputError(NO_HEIC_HERE if needs_heic(path) else UNREADABLE) from None
    with image:
        _shrink(image)
        check_image(image)
        try:
            return to_rgb(image)
        except InputError as error:  # it names a file of this machine
            if isinstance(why := error.__cause__, PixelError):
                raise InputError(f"This image has {why}.") from None
            raise InputError(DAMAGED) from None


def _shrink(image: Image.Image) -> None:
    """Sets a photo with too many pixels to be decoded smaller. A progressive JPEG would take memory for all of them."""
    pixels = image.width * image.height
    if isinstance(image, JpegImageFile) and MAX_PIXELS < pixels <= MAX_PHOTO and not image.info.get("progressive"):
        part = next(part for part in (2, 4) if pixels <= MAX_PIXELS * part**2)
        image.draft(None, (image.width // part, image.height // part))


def check_image(image: object) -> Image.Image:
    """Checks the size of an image and returns it.

    Raises:
        InputError: if it is no PIL image, has more than 25 megapixels or is a thin strip.
    """
    if image is None:
        raise InputError("There is no image yet: drop one, paste one, or pick a drawing.")
    if not isinstance(image, Image.Image):
        raise InputError(f"Expected a PIL image, got {type(image).__name__}.")
    if image.width * image.height > MAX_PIXELS:
        raise InputError(_too_large(f"{image.width * image.height / 1e6:.0f}"))
    if max(image.size) > MAX_RATIO * min(image.size):
        size = f"{image.width} × {image.height}"
        raise InputError(f"This image is a strip of {size} pixels; its sides may differ by a factor of {MAX_RATIO}.")
    return image


def parse_labels(text: str, most: int = MAX_LABELS, what: str = "labels") -> list[str]:
    """Labels from a text: one per line, or separated by semicolons, tabs or commas of any script.

    A plain comma separates only where nothing else does: on one of several lines, "washington, d.c." is one name.
    Labels are cleaned by `clean_name`. Duplicates count once.

    Args:
        most: how many labels are accepted.
        what: what they are, for messages.

    Raises:
        InputError: if the text has no label, there are more than `most`, or one is too long or no Unicode.
    """
    if not isinstance(text, str):
        raise InputError(f"Expected the {what} as text, one per line; got {type(text).__name__}.")
    if len(text) > MAX_LABELS * (MAX_LABEL + 2):
        raise InputError(f"The {what} are too long a text; at most {most:,} of {MAX_LABEL} characters are read.")
    labels = list(dict.fromkeys(_split(text)))
    if not labels:
        raise InputError(f"There are no {what}: write at least one, one per line or separated by commas.")
    if len(labels) > most:
        raise InputError(f"These are {len(labels):,} {what}; at most {most:,} are accepted at once.")
    if longest := next((label for label in labels if len(label) > MAX_LABEL), None):
        raise InputError(f"The label '{longest[:30]}…' has {len(longest):,} characters; at most {MAX_LABEL} are read.")
    if any("\ud800" <= letter <= "\udfff" for label in labels for letter in label):
        raise InputError(f"One of the {what} is no valid Unicode text; write it again.")
    return labels


def describe_repeats(*texts: str) -> str:
    """A sentence in Markdown about names that one of the texts repeats; nothing if no name is repeated."""
    twice = [name for text in texts for name, count in Counter(_split(text)).items() if count > 1]
    if not twice:
        return ""
    return f"{join_names(twice)}: written more than once, counted once."


def has_names(text: str) -> bool:
    """Whether a text holds a name."""
    return bool(_split(text))


def _split(text: str) -> list[str]:
    text = unicodedata.normalize("NFC", text)
    parts = [part for part in BETWEEN_NAMES.split(text) if part.strip(" ,")]
    if len(parts) == 1:
        parts = parts[0].split(",")
    names = (clean_name(clean_name(part.strip(" ,")).removesuffix(MARK)) for part in parts)
    return [name for name in names if name]


def plain_text(value: object) -> str:
    """A stranger's string for Markdown or HTML, without any markup: special characters become HTML entities."""
    line = one_line(str(value))
    return "".join(c if c.isalnum() or c in " ,'" else f"&#{ord(c)};" for c in line if c.isprintable())


def join_names(names: list[str] | tuple[str, ...]) -> str:
    """A stranger's names for Markdown or HTML, the first 200 of them, without any markup."""
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(map(plain_text, names[:SHOWN])) + more


def one_line(text: str) -> str:
    """A text with single blanks in place of line breaks and runs of blanks."""
    return " ".join(text.split())


def _too_large(megapixels: str) -> str:
    most = f"at most {MAX_PIXELS // 1_000_000} are read, or {MAX_PHOTO // 1_000_000} of a plain JPEG"
    return f"This image has {megapixels} megapixels; {most}. Make it smaller, or save it as a plain JPEG."
