"""The tasks of the embedded CLIP and their images. All of it works offline."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance

from hf_unlearn.data.labeled_images import LabeledImages
from hf_unlearn.errors import InputError

FOLDER = Path(__file__).parent
ARCHIVE, TASKS = FOLDER / "emoji.zip", FOLDER / "tasks.json"
ATTACKS, PROFESSIONS = FOLDER / "attacks.json", FOLDER / "professions.json"
ARTISTS = {  # drawings never cross roles; the embedded CLIP has not seen the test artists
    "train": ("noto", "noto-v1", "fluent", "fluent-flat", "fxemoji", "streamline"),
    "validation": ("emojione", "emojione-v1"),
    "test": ("twemoji", "openmoji"),
}
SHOTS = {"emoji10": 16, "emoji100": 8, "moderation": 16}
JUDGED = 8  # images per class: augmented copies per class for validation and test


@dataclass(frozen=True)
class Task:
    """A forgetting task on the embedded CLIP.

    Attributes:
        names, forget: class names, and those to forget.
        train, validation, test: augmented drawings by disjoint artists.
        unlisted, unlisted_validation: plain drawings of classes in neither list (test and validation artists).
        synonyms: other names of the forget classes, never used in adapter training.
        shots: images per class to train on.
    """

    names: tuple[str, ...]
    forget: tuple[str, ...]
    train: LabeledImages
    validation: LabeledImages
    test: LabeledImages
    unlisted: LabeledImages
    unlisted_validation: LabeledImages
    synonyms: dict[str, list[str]]
    shots: int


def tasks() -> dict[str, Any]:
    """The fixed lists: `emoji10` and `emoji100` draws, `moderation`."""
    found: dict[str, Any] = json.loads(TASKS.read_text(encoding="utf-8"))
    return found


def task(name: str, draw: int = 0, seed: int = 0) -> Task:
    """One of `emoji10` (20 draws), `emoji100` (5 draws), `moderation` (1).

    Args:
        seed: of the augmentation of training images; validation and test images are always the same.

    Raises:
        InputError: if there is no such task or draw.
    """
    draws = tasks().get(name)
    if draws is None:
        raise InputError(f"no task {name!r}; there are {', '.join(SHOTS)}")
    if not 0 <= draw < len(draws):
        raise InputError(f"{name} has draws 0 to {len(draws) - 1}, got {draw}")
    names, forget = tuple(draws[draw]["names"]), tuple(draws[draw]["forget"])
    return task_of(names, forget, SHOTS[name], seed)


def task_of(names: Sequence[str], forget: Sequence[str], shots: int = 16, seed: int = 0) -> Task:
    """A task of forgetting some of any concepts.

    Raises:
        InputError: if a name is not in the archive, or the artists of a role did not draw it.
    """
    if unknown := [name for name in names if name not in concepts()]:
        raise InputError(f"no drawings of {unknown[0]!r}; hf_unlearn.demo.emoji_tasks.concepts() has the names")
    others = tuple(name for name in sorted(concepts()) if name not in names and _everyday(name))
    return Task(
        tuple(names),
        tuple(forget),
        augmented(names, "train", shots, seed),
        augmented(names, "validation", JUDGED, 0),
        augmented(names, "test", JUDGED, 0),
        plain(others, "test"),
        plain(others, "validation"),
        {name: other for name in forget if (other := concepts()[name]["names"][1:])},
        shots,
    )


def attack_words() -> dict[str, dict[str, list[str]]]:
    """Kind (hypernyms, descriptions, languages) -> forget class of `moderation` -> words, for audits."""
    found: dict[str, dict[str, list[str]]] = json.loads(ATTACKS.read_text(encoding="utf-8"))
    return found


@lru_cache(maxsize=1)
def _archive() -> zipfile.ZipFile:
    """The archive in memory: its directory is long to read, and a forked process can share it."""
    return zipfile.ZipFile(io.BytesIO(ARCHIVE.read_bytes()))


@lru_cache(maxsize=1)
def concepts() -> dict[str, dict[str, Any]]:
    """Class name -> slug, all its names, category."""
    index = json.loads(_archive().read("index.json"))
    return {entry["name"]: {"slug": slug, **entry} for slug, entry in index["concepts"].items()}


def licences() -> dict[str, dict[str, str]]:
    """Artist -> author, source, licence of the drawings."""
    found: dict[str, dict[str, str]] = json.loads(_archive().read("index.json"))["artists"]
    return found


def drawings(name: str, role: str) -> list[tuple[str, Image.Image]]:
    """Artist and drawing (64 pixels, RGBA) of a concept by the artists of a role."""
    found = []
    for artist in ARTISTS[role]:
        path = f"{artist}/{concepts()[name]['slug']}.webp"
        if path in _archive().NameToInfo:
            found.append((artist, Image.open(io.BytesIO(_archive().read(path))).convert("RGBA")))
    return found


def plain(names: Sequence[str], role: str) -> LabeledImages:
    """The drawings of a role, not augmented."""
    items, labels = [], []
    for label, name in enumerate(names):
        for _, drawing in drawings(name, role):
            items.append(drawing)
            labels.append(label)
    return LabeledImages(tuple(items), tuple(labels), tuple(names))


def by_artist(names: Sequence[str], role: str) -> dict[str, LabeledImages]:
    """The drawings of a role, not augmented, artist -> images."""
    found: dict[str, list[tuple[int, Image.Image]]] = {}
    for label, name in enumerate(names):
        for artist, drawing in drawings(name, role):
            found.setdefault(artist, []).append((label, drawing))
    return {
        artist: LabeledImages(tuple(item for _, item in drawn), tuple(label for label, _ in drawn), tuple(names))
        for artist, drawn in found.items()
    }


def drawing_numbers(names: Sequence[str], role: str, copies: int) -> list[int]:
    """For every image of `augmented`, which of its class's drawings it is a copy of."""
    counts = [len(drawings(name, role)) for name in names]
    return [number % count for count in counts for number in range(copies)]


def augmented(names: Sequence[str], role: str, copies: int, seed: int) -> LabeledImages:
    """`copies` augmented images per class, its drawings taken in turn.

    Raises:
        InputError: if a class has no drawing by the artists of the role.
    """
    items, labels = [], []
    for label, name in enumerate(names):
        if not (found := drawings(name, role)):
            raise InputError(f"no {role} artist ({', '.join(ARTISTS[role])}) drew {name!r}; leave it out of the task")
        for number in range(copies):
            artist, drawing = found[number % len(found)]
            key = hashlib.sha256(f"{role} {seed} {name} {artist} {number}".encode()).digest()
            items.append(augment(drawing, np.random.default_rng(list(key[:16]))))
            labels.append(label)
    return LabeledImages(tuple(items), tuple(labels), tuple(names))


def augment(drawing: Image.Image, draw: np.random.Generator) -> Image.Image:
    """A drawing moved, scaled, turned a little, recoloured, on white or a pale background, 64 pixels RGB."""
    side = drawing.width
    scaled = round(side * draw.uniform(0.75, 1.0))
    turned = drawing.resize((scaled, scaled), Image.Resampling.LANCZOS)
    turned = turned.rotate(draw.uniform(-8, 8), Image.Resampling.BICUBIC, expand=False)
    canvas = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    room = side - scaled
    canvas.paste(turned, (int(draw.integers(0, room + 1)), int(draw.integers(0, room + 1))))
    pale = tuple(int(x) for x in draw.integers(200, 256, 3)) if draw.random() < 0.3 else (255, 255, 255)
    background = Image.new("RGBA", (side, side), (*pale, 255))
    image = Image.alpha_composite(background, canvas).convert("RGB")
    image = ImageEnhance.Color(image).enhance(draw.uniform(0.7, 1.2))
    return ImageEnhance.Brightness(image).enhance(draw.uniform(0.9, 1.08))


def _everyday(name: str) -> bool:
    return concepts()[name]["category"] not in ("People & Body", "Smileys & Emotion")
