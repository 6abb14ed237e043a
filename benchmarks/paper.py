"""The paper's protocol on a real checkpoint and real data; our figures beside the paper's.

    python benchmarks/paper.py --dataset cifar10 --model openai/clip-vit-base-patch16
    python benchmarks/paper.py --dataset pets --forget 0.4 --shots 16   # a folder with train/ and test/

Data sets come from the Hub through `datasets` (extra), or from a folder with one sub-folder of images per
class in `train` and `test`. As in the paper (arXiv 2411.00409, section 4.1): the first 40 % of the classes
are forgotten, so many shots train and as many validate, template `{}.`, three seeds.
"""

import argparse
import statistics
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hf_unlearn import ClipBlackBox, LabeledImages, evaluate, unlearn

METHODS = ("lcs-cma-paper", "lcs-cma", "proximal")
FIGURES = ("H", "err_for", "acc_mem")
IMAGENET30 = (
    "acorn", "airliner", "ambulance", "American alligator", "banjo", "barn", "bikini", "digital clock", "dragonfly",
    "dumbbell", "forklift", "goblet", "grand piano", "hotdog", "hourglass", "manhole cover", "mosque", "nail",
    "parking meter", "pillow", "revolver", "dial telephone", "schooner", "snowmobile", "soccer ball", "stingray",
    "strawberry", "tank", "toaster", "volcano",
)  # fmt: skip


@dataclass(frozen=True)
class Protocol:
    """One of the paper's experiments; `paper` are its figures in per cent, `H, Err_for, Acc_mem` by method."""

    shots: int
    queries: int
    forgotten: int
    hub: tuple[str, str, str]  # data set, image column, label column
    splits: tuple[str, str]
    paper: dict[str, tuple[float, float, float]]


PROTOCOLS = {
    "cifar10": Protocol(
        16, 8_000, 4, ("uoft-cs/cifar10", "img", "label"), ("train", "test"),
        {"zero-shot": (15.30, 8.37, 89.05), "lcs-cma-paper": (95.07, 96.10, 94.06), "coop": (96.49, 96.95, 96.04)},
    ),
    "cifar100": Protocol(
        4, 16_000, 40, ("uoft-cs/cifar100", "img", "fine_label"), ("train", "test"),
        {"zero-shot": (42.14, 31.17, 65.03), "lcs-cma-paper": (80.99, 93.37, 71.52), "coop": (82.22, 99.81, 69.90)},
    ),
    "cub": Protocol(
        1, 16_000, 80, ("bentrevett/caltech-ucsd-birds-200-2011", "image", "label"), ("train", "test"),
        {"zero-shot": (46.30, 46.20, 46.41), "lcs-cma-paper": (59.67, 89.29, 44.81), "coop": (63.20, 98.09, 46.62)},
    ),
    "imagenet30": Protocol(
        16, 8_000, 12, ("ILSVRC/imagenet-1k", "image", "label"), ("train", "validation"),
        {"zero-shot": (2.31, 1.17, 98.00), "lcs-cma-paper": (97.28, 95.94, 98.67), "coop": (99.30, 99.72, 98.89)},
    ),
}  # fmt: skip


def load(dataset: str) -> tuple[LabeledImages, LabeledImages]:
    """Training and test images; of `imagenet30`, those of its 30 classes."""
    if dataset not in PROTOCOLS:
        return LabeledImages.from_folder(Path(dataset, "train")), LabeledImages.from_folder(Path(dataset, "test"))
    from datasets import load_dataset

    protocol = PROTOCOLS[dataset]
    name, image, label = protocol.hub
    train, test = (load_dataset(name, split=split) for split in protocol.splits)
    if dataset == "imagenet30":
        chosen = [i for i, names in enumerate(train.features[label].names) if names.split(", ")[0] in IMAGENET30]
        if len(chosen) != len(IMAGENET30):
            raise SystemExit(f"found {len(chosen)} of ImageNet30's 30 classes among the names of {name}")
        train, test = (part.filter(set(chosen).__contains__, input_columns=label) for part in (train, test))
        return tuple(_renumbered(LabeledImages.from_dataset(part, image, label), chosen) for part in (train, test))
    return LabeledImages.from_dataset(train, image, label), LabeledImages.from_dataset(test, image, label)


def _renumbered(images: LabeledImages, chosen: list[int]) -> LabeledImages:
    place = {label: number for number, label in enumerate(chosen)}
    names = tuple(images.names[label].split(", ")[0] for label in chosen)
    return LabeledImages(images.items, tuple(place[label] for label in images.labels), names)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, help=f"{', '.join(PROTOCOLS)}, or a folder with train/ and test/")
    parser.add_argument("--model", default="openai/clip-vit-base-patch16")
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--max-queries", type=int, help="the paper's for its data sets, else 2,000")
    parser.add_argument("--shots", type=int, help="the paper's for its data sets, else 16")
    parser.add_argument("--forget", type=float, default=0.4, help="share of the classes of a folder to forget")
    args = parser.parse_args()
    protocol = PROTOCOLS.get(args.dataset)
    train, test = load(args.dataset)
    count = protocol.forgotten if protocol else round(args.forget * len(train.names))
    forget = train.names[:count]
    model = ClipBlackBox(args.model, template="{}.")
    found: dict[str, list[dict]] = {}
    for seed in range(args.seeds):
        for method in args.methods:
            result = unlearn(
                model, train, forget=forget, method=method, seed=seed, patience=None,
                shots=args.shots or (protocol.shots if protocol else 16),
                max_queries=args.max_queries or (protocol.queries if protocol else 2_000),
            )  # fmt: skip
            seconds = result.adapter.config.ledger["seconds"]
            for row in evaluate(model, test, result.adapter).rows:
                found.setdefault(row["name"], []).append({**row, "seconds": seconds if row["queries"] else 0.0})
    table = Table("row", "queries", *FIGURES, "seconds", "the paper", title=f"{args.dataset}, {args.model}, test, %")
    for name, rows in found.items():
        theirs = protocol.paper.get(name) if protocol else None
        table.add_row(
            name, f"{rows[0]['queries']:,}", *(_spread([100 * row[key] for row in rows]) for key in FIGURES),
            f"{statistics.mean(row['seconds'] for row in rows):.0f}",
            " / ".join(f"{value:.2f}" for value in theirs) if theirs else "–",
        )  # fmt: skip
    Console(width=140).print(table)


def _spread(values: list[float]) -> str:
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values) if len(values) > 1 else 0.0:.1f}"


if __name__ == "__main__":
    main()
