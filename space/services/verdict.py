"""What a picture's scores before and after mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from space.services.recipe import Recipe

NONE = "none of these"
CONFIDENT = 0.5  # share of the score
Outcome = Literal[
    "no picture", "no names", "off", "unknown", "forgotten", "leaks", "other label", "other name", "kept", "lost"
]


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
        outcome: `forgotten`: a name to forget was on top and no longer is. `leaks`: it still is. `other label`: another
            label is on top now. `other name`: offered another name of the same thing, the model gives that. `kept`,
            `lost`: of a picture of something else. `unknown`: the plain model recognizes none of the labels.
        before, after: the top label.
        suggestion: a name to forget (`other label`, `other name`) or to protect (`lost`) as well.
    """

    outcome: Outcome
    before: Guess | None = None
    after: Guess | None = None
    suggestion: str = ""


def judge(bars: Sequence[Bar], recipe: Recipe, leak: Guess | None = None) -> Verdict:
    """Says what came of a picture.

    Args:
        bars: shares before and after, "none of these" among them.
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
    if not first.forgotten:
        now = Guess(first.name, first.after)
        return Verdict("kept", before, now) if then is first else Verdict("lost", before, after, first.name)
    if then.forgotten:
        return Verdict("leaks", before, after)
    if then.name != NONE and after.share > CONFIDENT:
        return Verdict("other label", before, after, then.name)
    if leak is not None and leak.share > CONFIDENT:
        return Verdict("other name", before, leak, leak.name)
    return Verdict("forgotten", before, after)
