"""How sure one can be of an instant edit: figures on the pictures here, computed from the visitor's recipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from typing import TYPE_CHECKING

from space.services.instant_edit import InstantEdits
from space.services.pictures import Picture, all_pictures, pictures_of, shows
from space.services.real_model import REAL_MODEL
from space.services.recipe import Recipe

if TYPE_CHECKING:
    from torch import Tensor

    from hf_unlearn import TextEdit

SHORT_LISTS = (1, 4, 9)  # kept names beside a forgotten one


@dataclass(frozen=True)
class Row:
    """Figures of one model, each a share from 0 to 1.

    Attributes:
        wrong: pictures to forget that no longer get a forgotten name, all names competing.
        right: other pictures that get their name.
        named: pictures to forget that still get a forgotten name beside 1, 4 and 9 kept names, drawn at random.
        renamed: pictures to forget that get another name of what they show, offered in place of the forgotten ones.
            None where they have no other name.
    """

    name: str
    wrong: float
    right: float
    named: tuple[float, ...]
    renamed: float | None


@dataclass(frozen=True)
class Figures:
    """Rows for the plain model, a label mask and the edit, and how many pictures they are computed on.

    Attributes:
        photographs: whether these are photographs; else drawings.
    """

    rows: tuple[Row, ...]
    to_forget: int
    others: int
    photographs: bool


def measure(edits: InstantEdits, recipe: Recipe) -> Figures | None:
    """Figures of a recipe; None where no picture shows a name to forget.

    Raises:
        ValueError: if the model is not offered, or a name does not fit it.
    """
    import torch

    recipe, _ = edits.merge(recipe)
    real = recipe.base == REAL_MODEL
    asked = pictures_of(recipe.forget, real)
    adapter = edits.adapter(recipe)
    if not asked or adapter is None:
        return None
    others = [picture for picture in all_pictures(real) if picture not in asked]
    kept = list(dict.fromkeys(picture.name for picture in others if picture.name not in recipe.forget))
    others = [picture for picture in others if picture.name in kept]
    names = [*recipe.forget, *kept]
    scores = edits.scores_of(recipe.base)
    features = edits.picture_features(recipe.base, [*asked, *others])
    own = torch.tensor([[shows(picture, name) for name in recipe.forget] for picture in asked])
    targets = torch.tensor([names.index(picture.name) for picture in others])
    before = scores.shares(features, names)[:, :-1]
    masked = before.clone()
    masked[:, : len(recipe.forget)] = -1.0
    after = scores.shares(features, names, adapter.edit)[:, :-1]
    plain, edited = (_find_renamed(edits, recipe, asked, kept, edit) for edit in (None, adapter.edit))
    rows = [_row(name, shares, own, targets, renamed) for name, shares, renamed in
            (("before", before, plain), ("label mask", masked, plain), ("edit", after, edited))]  # fmt: skip
    return Figures(tuple(rows), len(asked), len(others), real)


def _find_renamed(
    edits: InstantEdits, recipe: Recipe, asked: Sequence[Picture], kept: Sequence[str], edit: TextEdit | None
) -> float | None:
    """The share of pictures that get another name of what they show beside the kept ones; see `Row`."""
    listed = {*recipe.forget, *recipe.keep, *kept}
    others = [[name for name in picture.names if name not in listed] for picture in asked]
    with_others = [(picture, names) for picture, names in zip(asked, others, strict=True) if names]
    if not with_others:
        return None
    names = list(dict.fromkeys(name for own in others for name in own))
    features = edits.picture_features(recipe.base, [picture for picture, _ in with_others])
    shares = edits.scores_of(recipe.base).shares(features, [*names, *kept], edit)[:, :-1]
    found: list[int] = shares.argmax(1).tolist()
    right = [place < len(names) and names[place] in own for place, (_, own) in zip(found, with_others, strict=True)]
    return sum(right) / len(right)


def _row(name: str, shares: Tensor, correct: Tensor, targets: Tensor, renamed: float | None) -> Row:
    """The figures of a row.

    Args:
        name: of the row.
        shares: `(asked + others, names)`.
        correct: `(asked, forgotten names)`.
        targets: labels of the others.
        renamed: see `Row`.
    """
    import torch

    count, forgotten = correct.shape
    asked, others = shares[:count], shares[count:]
    best = torch.where(correct, asked[:, :forgotten], -1.0).amax(1)  # of the forgotten names that the picture shows
    above = (asked[:, forgotten:] > best[:, None]).sum(1).tolist()
    kept = shares.shape[1] - forgotten
    still = [sum(comb(kept - row, k) / comb(kept, k) for row in above) / count for k in SHORT_LISTS]
    named = [0.0] * len(SHORT_LISTS) if (best < 0).all() else still
    return Row(
        name,
        (asked.argmax(1) >= forgotten).float().mean().item(),
        (others.argmax(1) == targets).float().mean().item(),
        tuple(named),
        renamed,
    )
