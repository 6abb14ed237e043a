"""The words that an edit changes most: what else was forgotten, for people without test images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from hf_unlearn.models.text_edit import TextEdit

MOST, FEWEST = 40, 5
FORGOTTEN, NEARLY = 0.5, 0.8  # below: "also forgotten", "nearly"; above, a word is hardly changed


@dataclass(frozen=True)
class Neighbour:
    """A word that was not to be forgotten, and what the edit does to it.

    Attributes:
        word: of the vocabulary.
        of: the nearest forgotten name.
        similarity: cosine between the word's text features before and after, each minus the mean of all words; 1 means
            unchanged.
    """

    word: str
    of: str
    similarity: float


def find_neighbours(
    edit: TextEdit, words: Sequence[str], features: Tensor, names: Sequence[str], of_names: Tensor
) -> list[Neighbour]:
    """The words that an edit changes most, in that order: all below a similarity of 0.8, at least 5 and at most 40.

    Args:
        words: `m` words of the vocabulary, with `features (templates, m, width)`.
        names: the `F` forgotten names, with `of_names (templates, F, width)`.
    """
    centre = features.mean((0, 1))
    middles = F.normalize(features.mean(0), dim=-1)
    before = F.normalize(middles - centre, dim=-1)
    similarity = (before * F.normalize(edit(middles) - centre, dim=-1)).sum(-1)
    nearest = (before @ F.normalize(of_names.mean(0) - centre, dim=-1).T).argmax(-1)
    count = min(MOST, max(FEWEST, int((similarity < NEARLY).sum())))
    order = similarity.argsort().tolist()[:count]
    return [Neighbour(words[row], names[int(nearest[row])], round(float(similarity[row]), 3)) for row in order]


def describe_neighbours(neighbours: Sequence[Neighbour]) -> str:
    """`also forgotten: pistol, rifle; nearly: drill`, in one line; the nearest words where none is changed much."""
    groups = {
        "also forgotten": [item.word for item in neighbours if item.similarity < FORGOTTEN],
        "nearly": [item.word for item in neighbours if FORGOTTEN <= item.similarity < NEARLY],
    }
    summary = "; ".join(f"{what}: {', '.join(found)}" for what, found in groups.items() if found)
    if not summary and neighbours:
        summary = f"no other word changes much; most: {', '.join(item.word for item in neighbours[:FEWEST])}"
    return summary
