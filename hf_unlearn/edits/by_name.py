"""Makes an edit from names: encodes them, what is kept, and the vocabulary that is held in place."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hf_unlearn.data.class_names import name_list
from hf_unlearn.edits.closed_form import solve_edit
from hf_unlearn.edits.neighbours import Neighbour, find_neighbours
from hf_unlearn.edits.vocabulary import distinct, load_vocabulary
from hf_unlearn.errors import InputError
from hf_unlearn.models.black_box import TextEncoder
from hf_unlearn.models.text_edit import TextEdit
from hf_unlearn.text import brief

OF_NAMES = ("{}", "a photo of a {}", "This is a photo of {}.", "an image of {}", "a {}")
OF_WORDS = ("{}", "This is a photo of {}.", "an image of {}")
SAME = 1e-6  # 1 - cosine of two names that a model can't distinguish


@dataclass(frozen=True)
class NamedEdit:
    """An edit and what it does to the rest of the vocabulary.

    Attributes:
        edit: the map of text features.
        neighbours: the words that it changes most.
        words: how many words it holds in place.
    """

    edit: TextEdit
    neighbours: list[Neighbour]
    words: int


def forget_by_name(
    box: TextEncoder,
    forget: Sequence[str],
    keep: Sequence[str] = (),
    *,
    vocabulary: Sequence[str] | None = None,
    breadth: float = 0.5,
    strength: float = 0.5,
) -> NamedEdit:
    """The edit for some names, whatever their order: names are sorted first, so equal requests give equal bits.

    Args:
        box: a black box with text features.
        forget, keep: names; those to keep weigh as much as all other words together.
        vocabulary: words to hold in place, if not the tokenizer's.
        breadth, strength: see `solve_edit`.

    Raises:
        InputError: if there is neither a tokenizer nor a vocabulary, or `breadth` or `strength` is not from 0 to 1.
            Also if a name to keep has the text features of one to forget ("Gun" and "gun"). A ValueError.
    """
    names, kept = sorted(name_list("forget", forget)), sorted(name_list("keep", keep))
    vocabulary = None if vocabulary is None else sorted(distinct(vocabulary))
    words, held = load_vocabulary(box, OF_WORDS, exclude=[*names, *kept], vocabulary=vocabulary)
    of_names = name_features(box, names)
    of_kept = name_features(box, kept) if kept else of_names[:, :0]
    _check_different(names, of_names, kept, of_kept)
    edit = solve_edit(of_names, of_kept, held, breadth=breadth, strength=strength)
    near = find_neighbours(edit, words, held, names, of_names)
    return NamedEdit(edit, near, len(words))


def source_of(vocabulary: Sequence[str] | None) -> str:
    """What identifies a vocabulary: `"tokenizer"`, or the SHA-256 of the words that were given, in any order."""
    if vocabulary is None:
        return "tokenizer"
    return hashlib.sha256("\n".join(sorted(distinct(vocabulary))).encode()).hexdigest()


def _check_different(names: Sequence[str], of_names: Tensor, kept: Sequence[str], of_kept: Tensor) -> None:
    """Refuses a name to keep that has the text features of one to forget."""
    if not kept:
        return
    closest, row = (of_kept.mean(0) @ of_names.mean(0).T / of_names.mean(0).norm(dim=1)).max(1)
    same = closest > (1 - SAME) * of_kept.mean(0).norm(dim=1)
    if same.any():
        place = int(same.nonzero()[0])
        raise InputError(
            f"{brief(kept[place])} is to be kept, and to this model it reads as {brief(names[int(row[place])])}, which "
            "is to be forgotten; remove one of them"
        )


@torch.no_grad()
def name_features(box: TextEncoder, names: Sequence[str]) -> Tensor:
    """Unit text features of `n` names under five templates, `(5, n, width)` float32 on the CPU.

    Raises:
        PromptTooLongError: if a name does not fit the text tower; a ValueError.
    """
    plain = torch.zeros(1, 0, box.dim)
    return torch.stack([box.with_template(t).text_features(plain, list(names))[0].float().cpu() for t in OF_NAMES])
