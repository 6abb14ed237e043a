"""What the training script reads: drawings by concept, captions by concept."""

import io
import json
import random
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

TEMPLATES = (
    "{}",
    "This is a photo of {}.",
    "a photo of a {}.",
    "a picture of {}",
    "an emoji of {}",
    "a drawing of a {}",
    "the {}",
    "an icon that shows {}.",
    "here you can see {}.",
    "a small bright picture of the {}, drawn by hand",
    "one of many little drawings in this book, and on this page there is {}.",
    "we asked an artist to draw it with a few clean lines and friendly colours: {}",
)
SHORT = 9  # so many of the templates are short
PAIRS = {"noto": "noto-mono", "fluent-flat": "fluent-mono", "emojione": "emojione-mono"}  # one designer, two styles


@dataclass(frozen=True)
class Drawings:
    """All drawings in memory as RGBA, `(n, 4, 64, 64)` uint8."""

    pixels: Tensor
    concept: Tensor  # (n,)
    artist: list[str]
    names: list[list[str]]  # every name of each concept, the class name first
    trainable: Tensor  # rows of the drawings that may be trained on
    known: Tensor  # the concepts that they show

    @classmethod
    def load(cls, path: Path, never: Sequence[str], without: Sequence[str] = ()) -> "Drawings":
        """Those of the artists `never` are kept to judge by; the concepts `without` are judged by, never trained on."""
        with zipfile.ZipFile(path) as archive:
            concepts = json.loads(archive.read("index.json"))["concepts"]
            number = {slug: i for i, slug in enumerate(concepts)}
            files = [name for name in archive.namelist() if name.endswith(".webp")]
            images = [np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGBA")) for name in files]
        artist = [name.split("/")[0] for name in files]
        pixels = torch.tensor(np.stack(images)).permute(0, 3, 1, 2).contiguous()
        concept = [number[Path(name).stem] for name in files]
        row_of = {key: row for row, key in enumerate(zip(artist, concept, strict=True))}
        pairs = [
            (row, row_of[PAIRS[name], which])
            for (name, which), row in row_of.items()
            if (PAIRS.get(name), which) in row_of and not {name, PAIRS[name]} & set(never)
        ]
        colour, lines = (list(rows) for rows in zip(*pairs, strict=True))
        artist += ["inked"] * len(pairs)
        concept += [concept[row] for row in colour]
        names = [entry["names"] for entry in concepts.values()]
        known = [number for number, own in enumerate(names) if own[0] not in without]
        seen = set(known)
        return cls(
            torch.cat([pixels, inked(pixels[colour], pixels[lines])]),
            torch.tensor(concept),
            artist,
            names,
            torch.tensor([row for row, name in enumerate(artist) if name not in never and concept[row] in seen]),
            torch.tensor(known),
        )

    def pick_rows(self, concepts: Tensor, generator: torch.Generator) -> Tensor:
        """One random trainable drawing per concept, as positions in `trainable`: (B,)."""
        order = torch.randperm(len(self.trainable), generator=generator)
        position = torch.empty(len(self.names), dtype=torch.long)
        position[self.concept[self.trainable[order]]] = order
        return position[concepts]

    def pick(self, concepts: Tensor, generator: torch.Generator) -> Tensor:
        return self.pixels_of(self.pick_rows(concepts, generator))

    def pixels_of(self, positions: Tensor) -> Tensor:
        return self.pixels[self.trainable[positions]]

    @torch.no_grad()
    def features(
        self, encode: Callable[[Tensor], Tensor], artists: Sequence[str], pixels: int
    ) -> tuple[Tensor, Tensor]:
        """Unit features of the artists' drawings as they are, on white, and their concepts: `(n, dim)`, `(n,)`."""
        rows = [row for row, name in enumerate(self.artist) if name in artists]
        rgba = self.pixels[rows].float() / 255
        white = rgba[:, :3] * rgba[:, 3:] + 1 - rgba[:, 3:]
        small = F.interpolate(white, size=(pixels, pixels), mode="bicubic", antialias=True).clamp(0, 1)
        chunks = (small * 2 - 1).split(256)
        return torch.cat([F.normalize(encode(chunk).float(), dim=-1) for chunk in chunks]), self.concept[rows]


def inked(colour: Tensor, lines: Tensor) -> Tensor:
    """The contours of a designer's monochrome drawings over the same designer's colours: `(n, 4, 64, 64)`."""
    paint, ink = colour.float() / 255, lines.float() / 255
    dark = ink[:, 3:] * (1 - ink[:, :3].mean(1, keepdim=True))
    contour = dark + F.max_pool2d(-dark, 5, stride=1, padding=2)  # large black areas keep their rims only
    alpha = torch.maximum(paint[:, 3:], contour)
    mixed = paint[:, :3] * paint[:, 3:] * (1 - contour) / alpha.clamp(min=1e-3)
    return (torch.cat([mixed, alpha], 1) * 255).round().byte()


class Captions:
    """Random names in random templates, tokenized once, trimmed to the batch's longest.

    Half of the captions have the class name, the others share the rest. A batch is of short
    templates, a third of them the first two, or (one in five) of long ones: no time goes to padding.
    """

    def __init__(self, names: list[list[str]], tokenizer) -> None:
        self.table = [
            [tokenizer(template.format(name), truncation=True)["input_ids"] for name in own for template in TEMPLATES]
            for own in names
        ]
        self.pad = tokenizer.pad_token_id

    def encode(self, concepts: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        draw = random.Random(int(torch.randint(2**31, (1,), generator=generator)))
        pick = self._long if draw.random() < 0.2 else self._short
        chosen = [self._draw(self.table[concept], pick(draw), draw) for concept in concepts.tolist()]
        longest = max(map(len, chosen))
        ids = torch.tensor([row + [self.pad] * (longest - len(row)) for row in chosen])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in chosen])
        return ids, mask

    @staticmethod
    def _draw(own: list[list[int]], template: int, draw: random.Random) -> list[int]:
        names = len(own) // len(TEMPLATES)
        name = 0 if draw.random() < 0.5 else draw.randrange(names)
        return own[name * len(TEMPLATES) + template]

    @staticmethod
    def _short(draw: random.Random) -> int:
        return draw.randrange(2 if draw.random() < 0.2 else SHORT)

    @staticmethod
    def _long(draw: random.Random) -> int:
        return draw.randrange(SHORT, len(TEMPLATES))
