"""Photographs for a model that knows photographs; authors and licences are beside the files."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

FOLDER = Path(__file__).resolve().parents[1] / "photographs"
NAMES = {  # by file: what it shows, then its other names
    "cat": ("cat", "kitten", "tabby cat"),
    "coffee": ("coffee", "espresso", "cup of coffee"),
    "astronaut": ("astronaut", "spaceman"),
    "rocket": ("rocket", "rocket launch"),
    "photographer": ("photographer", "cameraman"),
    "flower": ("flower", "dahlia"),
    "temple": ("temple", "pagoda"),
    "galaxies": ("galaxies", "stars"),
    "brick-wall": ("brick wall", "bricks"),
    "grass": ("grass", "lawn"),
    "gravel": ("gravel", "pebbles"),
    "retina": ("retina", "fundus of an eye"),
}


def load_photograph(file: str) -> Image.Image:
    """The photograph of a file's name, RGB. Raises: KeyError: if it does not exist."""
    if file not in NAMES:
        raise KeyError(file)
    with Image.open(FOLDER / f"{file}.webp") as image:
        return image.convert("RGB")
