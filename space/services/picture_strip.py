"""The strip of the first screen: pictures to be forgotten and kept, before and after; and names that none shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from space.services.pictures import Picture, other_pictures, pictures_of, same_words
from space.services.real_model import REAL_MODEL
from space.services.recipe import PRESETS, Recipe
from space.services.verdict import NONE, Guess, without_floor

if TYPE_CHECKING:
    from hf_unlearn import TextEdit
    from space.services.instant_edit import InstantEdits

SHOWN, MOST_FORGOTTEN, FEWEST_KEPT = 12, 6, 6  # pictures of the strip
LOOKED_AT = 4  # pictures of a name, to see whether the model says it


@dataclass(frozen=True)
class Cell:
    """A picture of the strip: what the model says before and after, and whether that is what was asked."""

    picture: Picture
    before: Guess
    after: Guess
    to_forget: bool
    as_asked: bool


@dataclass(frozen=True)
class Unseen:
    """A name to forget whose effect no picture shows.

    Attributes:
        name: the name.
        pictured: whether there are pictures of it; the plain model says the name of none of them.
        instead: names to forget as well, whose effect is shown: those of the preset, or the same word in another form.
    """

    name: str
    pictured: bool
    instead: tuple[str, ...] = ()


def build_strip(edits: InstantEdits, recipe: Recipe, edit: TextEdit | None) -> tuple[Cell, ...]:
    """Pictures that the plain model recognizes, those to be forgotten first."""
    real = recipe.base == REAL_MODEL
    asked = pictures_of(recipe.forget, real)[: 2 * MOST_FORGOTTEN]
    others = other_pictures(recipe.forget, real)
    pictures = [*asked, *others]
    if not pictures:
        return ()
    names = without_floor([*recipe.forget, *(picture.name for picture in others[:SHOWN])])
    features, scores = edits.picture_features(recipe.base, pictures), edits.scores_of(recipe.base)
    gone, cells = {*names} & {*recipe.forget}, []
    before, after = scores.shares(features, names).tolist(), scores.shares(features, names, edit).tolist()
    for row, picture in enumerate(pictures):
        first, then = (_top([*names, NONE], shares[row]) for shares in (before, after))
        to_forget = row < len(asked)
        if first.name in gone if to_forget else first.name == picture.name:  # the plain model knows it
            as_asked = then.name not in gone if to_forget else then.name == picture.name
            cells.append(Cell(picture, first, then, to_forget, as_asked))
    forgotten = [cell for cell in cells if cell.to_forget][:MOST_FORGOTTEN]
    kept = [cell for cell in cells if not cell.to_forget][: max(FEWEST_KEPT, SHOWN - len(forgotten))]
    return (*forgotten, *kept)


def kept_names(strip: Sequence[Cell]) -> list[str]:
    """What the first kept pictures show: labels where a visitor gives none."""
    return [cell.picture.name for cell in strip if not cell.to_forget][:FEWEST_KEPT]


def plainest(strip: Sequence[Cell], names: Sequence[str] = ()) -> Picture | None:
    """The picture on which the effect is plain: the first that is forgotten, of these names if there are any."""
    cells = [cell for cell in strip if not names or cell.before.name in names]
    return next(
        (cell.picture for cell in cells if cell.to_forget and cell.as_asked), cells[0].picture if cells else None
    )


def find_unseen(edits: InstantEdits, recipe: Recipe, strip: Sequence[Cell]) -> tuple[Unseen, ...]:
    """The names to forget that the plain model says of no picture."""
    seen = {cell.before.name for cell in strip if cell.to_forget}
    kept = kept_names(strip)
    return tuple(
        _describe_unseen(edits, recipe, name, kept)
        for name in recipe.forget
        if name not in seen and not _says(edits, recipe.base, name, name, kept)
    )


def _describe_unseen(edits: InstantEdits, recipe: Recipe, name: str, kept: Sequence[str]) -> Unseen:
    pictures = pictures_of([name], recipe.base == REAL_MODEL)
    preset: Sequence[str] = next((names for title, names in PRESETS.items() if same_words(title, name)), ())
    forms = dict.fromkeys(own for picture in pictures for own in picture.names if same_words(own, name))
    known = preset or [own for own in forms if _says(edits, recipe.base, own, name, kept)][:1]
    return Unseen(name, bool(pictures), tuple(own for own in known if own not in recipe.forget))


def _says(edits: InstantEdits, base: str, name: str, shown: str, kept: Sequence[str]) -> bool:
    """Whether the plain model gives a name to any picture of what is shown, beside kept names and the floor."""
    pictures = pictures_of([shown], base == REAL_MODEL)[:LOOKED_AT]
    if not pictures:
        return False
    shares = edits.scores_of(base).shares(edits.picture_features(base, pictures), [name, *kept])
    return bool((shares.argmax(1) == 0).any())


def _top(names: Sequence[str], shares: Sequence[float]) -> Guess:
    place = max(range(len(shares)), key=shares.__getitem__)
    return Guess(names[place], shares[place])
