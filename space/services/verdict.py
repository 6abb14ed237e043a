"""What a picture's scores before and after mean."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from space.services.pictures import Picture, is_kind_of, pictures_of, same_words, shows
from space.services.recipe import Recipe

NONE = "none of these"
CONFIDENT = 0.5  # share of the score
Outcome = Literal[
    "no picture", "no names", "off", "unknown", "forgotten", "leaks", "other label", "other name", "kept", "kept only",
    "related", "lost",
]  # fmt: skip


def without_floor(names: Iterable[str]) -> list[str]:
    """Names without those that read like the floor's, each once."""
    return [name for name in dict.fromkeys(names) if name.casefold() != NONE]


@dataclass(frozen=True)
class Guess:
    """A name and its share of the score, 0 to 1."""

    name: str
    share: float


@dataclass(frozen=True)
class Bar:
    """A label's share of the score before and after, each from 0 to 1."""

    name: str
    before: float
    after: float
    forgotten: bool


@dataclass(frozen=True)
class Verdict:
    """The outcome for one picture.

    Attributes:
        outcome: `forgotten`: a name of what is to be forgotten was on top and no longer is. `leaks`: a name to forget
            still is. `other label`: another label is on top now, or another name of what is to be forgotten still is.
            `other name`: offered another name of the same thing, the model gives that. `kept`, `lost`: of a picture of
            something else. `kept only`: the same as `kept`, where no picture shows a name to forget. `related`: the
            top label may name what is to be forgotten. `unknown`: the plain model recognizes none of the labels.
        before, after: the top label.
        suggestion: maybe a name to forget (`other label`, `other name`, `related`) or to protect (`lost`) as well.
    """

    outcome: Outcome
    before: Guess | None = None
    after: Guess | None = None
    suggestion: str = ""


@dataclass(frozen=True)
class Related:
    """Labels beside the names to forget.

    Attributes:
        same: those that name what is to be forgotten in this picture.
        maybe: those that may.
        others: those that name something else.
    """

    same: frozenset[str] = frozenset()
    maybe: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()


def find_related(labels: Sequence[str], recipe: Recipe, picture: Picture | None) -> Related:
    """Labels that name what is to be forgotten in other words.

    Args:
        picture: what is shown; None for a photo of which nothing is known.
    """
    others = [label for label in labels if label not in recipe.forget and label not in recipe.keep]
    same = {label for label in others if any(same_words(label, name) for name in recipe.forget)}
    if picture is None:
        drawings = [each for each in pictures_of(recipe.forget) if _is_named(each, recipe)]
        maybe = {label for label in others if any(is_kind_of(name, label) for name in recipe.forget)}
        maybe |= {label for label in others if any(shows(drawing, label) for drawing in drawings)}
        return Related(frozenset(same), frozenset(maybe - same))
    shown = {label for label in others if shows(picture, label)}
    rest = frozenset({*others} - same - shown)
    if _is_named(picture, recipe):
        return Related(frozenset(same | shown), frozenset(), rest)
    asked = any(shows(picture, name) for name in recipe.forget)
    return Related(frozenset(same), frozenset(shown - same if asked else ()), rest)


def _is_named(picture: Picture, recipe: Recipe) -> bool:
    """Whether a name to forget is a name of what a picture shows."""
    return any(same_words(own, name) for own in picture.names for name in recipe.forget)


def judge(
    bars: Sequence[Bar],
    recipe: Recipe,
    related: Related = Related(),
    unseen: bool = False,
    leak: Guess | None = None,
) -> Verdict:
    """Says what came of a picture.

    Args:
        bars: shares before and after, "none of these" among them.
        related: labels that name, or may name, what is to be forgotten.
        unseen: whether no picture shows some name to forget, so that others kept prove little.
        leak: the highest share of another name of the same thing.
    """
    first, then = max(bars, key=lambda bar: bar.before), max(bars, key=lambda bar: bar.after)
    before, after = Guess(first.name, first.before), Guess(then.name, then.after)
    if not recipe.forget:
        return Verdict("no names", before, after)
    if not recipe.enabled:
        return Verdict("off", before, after)
    if first.name == NONE:
        return Verdict("unknown", before, after)
    if not (first.forgotten or first.name in related.same):
        return _judge_kept(first, then, first.name in related.maybe, unseen)
    if then.forgotten:
        return Verdict("leaks", before, after)
    if then.name in related.same or (then.name != NONE and after.share > CONFIDENT):
        return Verdict("other label", before, after, "" if then.name in related.others else then.name)
    if leak is not None and leak.share > CONFIDENT:
        return Verdict("other name", before, leak, leak.name)
    return Verdict("forgotten", before, after)


def _judge_kept(first: Bar, then: Bar, related: bool, unseen: bool) -> Verdict:
    """The outcome where the plain model sees something that is not to be forgotten."""
    before, now = Guess(first.name, first.before), Guess(first.name, first.after)
    if related:
        return Verdict("related", before, now, first.name if then is first else "")
    if then is not first:
        return Verdict("lost", before, Guess(then.name, then.after), first.name)
    return Verdict("kept only" if unseen else "kept", before, now)
