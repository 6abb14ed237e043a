"""Makes the adapters that come with the Space: `space/adapters/NAME`, all for the embedded CLIP.

    OMP_NUM_THREADS=1 python benchmarks/make_adapters.py

All are edits, made of names in a second each, but for one: `moderation-by-scores` forgets what `moderation` does as a
context, searched for with scores only (minutes). A search that was stopped goes on where it was (its state is in
`runs/adapters`; delete that to start over). The same command makes the same adapters bit for bit (with as many
threads). `--again` makes none: those that are there are judged again and saved in today's format.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console

from hf_unlearn import ClipBlackBox, ForgetAdapter, LabeledImages, evaluate, unlearn
from hf_unlearn.demo import emoji_tasks as demo

ROOT = Path(__file__).parents[1]
SHOTS, JUDGED = 16, 8
MODERATION = demo.tasks()["moderation"][0]
EVERYDAY = tuple(name for name in MODERATION["names"] if name not in MODERATION["forget"])
MORE = ("bear", "crayon", "fish", "gem stone", "hospital", "lemon", "mushroom", "rainbow", "shield", "train", "violin")
FORGET: dict[str, tuple[str, ...]] = {
    "alcohol": (
        "beer mug", "bottle with popping cork", "clinking beer mugs", "clinking glasses", "cocktail glass", "sake",
        "tropical drink", "tumbler glass", "wine glass",
    ),
    "weapons": ("bomb", "bow and arrow", "crossed swords", "dagger", "water pistol"),
    "gambling": (
        "diamond suit", "flower playing cards", "game die", "joker", "mahjong red dragon", "slot machine", "spade suit",
    ),
    "tobacco": ("cigarette",),
    "people": (
        "artist", "astronaut", "cook", "farmer", "firefighter", "mechanic", "scientist", "singer", "student", "teacher",
    ),
    "insects": ("honeybee", "lady beetle", "spider", "spider web"),
    "moderation": tuple(MODERATION["forget"]),
    "moderation-by-scores": tuple(MODERATION["forget"]),
}  # fmt: skip
BY_SCORES = ("moderation-by-scores",)
VARIANTS = {name: (name, f"man {name}", f"woman {name}") for name in FORGET["people"]}
Drawings = list[tuple[str, Image.Image]]  # artist and drawing


@dataclass(frozen=True)
class Material:
    """Augmented drawings by artists that differ between the three, and other names of the forgotten classes."""

    train: LabeledImages
    validation: LabeledImages
    test: LabeledImages
    synonyms: dict[str, list[str]]


def material(forget: tuple[str, ...]) -> Material:
    """What an adapter is trained and judged on."""
    train, validation, test = drawn((*forget, *EVERYDAY, *MORE))
    synonyms = {name: other for name in forget if (other := demo.concepts()[name]["names"][1:])}
    sets = (("train", train, SHOTS), ("validation", validation, JUDGED), ("test", test, JUDGED))
    return Material(*(_augmented(found, role, copies) for role, found, copies in sets), synonyms)


def drawn(names: tuple[str, ...]) -> tuple[dict[str, Drawings], ...]:
    """For training, validation and test: class -> drawings, the artists of a class in one of them only.

    People are drawn as women, men and persons, under one name.
    """
    train, validation, test = ({name: _drawings(name, role) for name in names} for role in demo.ARTISTS)
    for name in names:
        if not validation[name]:  # the validation artists drew no professions: one training artist validates
            aside = max(artist for artist, _ in train[name])
            validation[name] = [own for own in train[name] if own[0] == aside]
            train[name] = [own for own in train[name] if own[0] != aside]
    return train, validation, test


def _drawings(name: str, role: str) -> Drawings:
    return [own for variant in VARIANTS.get(name, (name,)) for own in demo.drawings(variant, role)]


def _augmented(found: dict[str, Drawings], role: str, copies: int) -> LabeledImages:
    items, labels = [], []
    for label, (name, drawings) in enumerate(found.items()):
        for number in range(copies):
            artist, drawing = drawings[number % len(drawings)]
            key = hashlib.sha256(f"{role} {name} {artist} {number}".encode()).digest()
            items.append(demo.augment(drawing, np.random.default_rng(list(key[:16]))))
            labels.append(label)
    return LabeledImages(tuple(items), tuple(labels), tuple(found))


def make(name: str, model: ClipBlackBox, own: Material, max_queries: int, runs: Path) -> ForgetAdapter:
    """One adapter: an edit from its names, or a context searched for on images."""
    if name not in BY_SCORES:
        return unlearn(model, classes=own.test.names, forget=FORGET[name], method="edit").adapter
    return unlearn(
        model, own.train, forget=FORGET[name], validation=own.validation, max_queries=max_queries, shots=SHOTS,
        patience=None, run_dir=runs / name,
    ).adapter  # fmt: skip


def judged(adapter: ForgetAdapter, model: ClipBlackBox, own: Material) -> ForgetAdapter:
    """The adapter with its report inside."""
    listed = {*own.test.names, *(variant for variants in VARIANTS.values() for variant in variants)}
    others = sorted(set(demo.concepts()) - listed)
    report = evaluate(
        model, own.test, adapter, validation=own.validation, unlisted=demo.plain(others, "test"),
        unlisted_validation=demo.plain(others, "validation"), synonyms=own.synonyms,
    )  # fmt: skip
    return adapter.with_report(report.content)


def told(adapter: ForgetAdapter, folder: Path) -> str:
    """Its figures in a line."""
    size = sum(path.stat().st_size for path in folder.iterdir())
    keys = ("H", "err_for", "acc_mem", "short_list_1", "short_list_4", "recoverability", "synonym_err", "collateral")
    figures = ((key, adapter.config.metrics.get(key)) for key in keys)
    words = ", ".join(f"{key} {100 * value:.1f}" for key, value in figures if value is not None)
    gone, kept = len(adapter.config.forget), len(adapter.config.retain)
    return f"{adapter.kind}, forgets {gone} of {gone + kept}: {words}, {size / 1024:.0f} KB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(FORGET)}; all if not given")
    parser.add_argument("--max-queries", type=int, default=2_000)
    parser.add_argument("--out", type=Path, default=ROOT / "space" / "adapters")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "adapters")
    parser.add_argument("--again", action="store_true", help="judge those that are there again, make none")
    given = parser.parse_args()
    if unknown := set(given.names) - set(FORGET):
        parser.error(f"no adapter {unknown.pop()!r}; there are {', '.join(FORGET)}")
    console, model = Console(), ClipBlackBox(device="cpu")
    for name in given.names or FORGET:
        start = time.monotonic()
        folder, own = given.out / name, material(FORGET[name])
        if given.again:
            adapter = ForgetAdapter.from_pretrained(folder)
        else:
            adapter = make(name, model, own, given.max_queries, given.runs)
        adapter = judged(adapter, model, own)
        adapter.save_pretrained(folder)
        line = told(adapter, folder)
        console.print(f"{name}: {line}, {time.monotonic() - start:.0f} s", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
