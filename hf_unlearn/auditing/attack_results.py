"""The results of attacks: single tries, and the shares that they come to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypedDict

from hf_unlearn.auditing.intervals import bootstrap_mean

KNOWN = 0.5  # a try counts for a class if the plain model names at least this share of its images right under it

Access = Literal["nothing", "caller", "prompt", "model"]
NOBODY: Access = "nothing"
CALLER: Access = "caller"
PROMPT: Access = "prompt"
MODEL: Access = "model"


@dataclass(frozen=True)
class Try:
    """One attempt on one forget class: shares of its images named right.

    Attributes:
        what: the name, template, picture change or context tried.
        of: the forget class.
        images: how many.
        plain: share that the model without adapter names right under the same try.
        right: share that the model under the adapter names right.
    """

    what: str
    of: str
    images: int
    plain: float
    right: float


class CurvePoint(TypedDict):
    """The share of forget images named right after so many queries of relearning."""

    queries: int
    right: float


class AttackDetails(TypedDict, total=False):
    """What single attacks report beside shares."""

    chance: float
    too_long: int
    curve: list[CurvePoint]
    shots: int
    tokens: int
    queries_until_back: dict[str, int | None]
    classes_back: int
    first_class_back_after: int | None
    half_of_classes_back_after: int | None
    recovered: float | None
    used: str


class StrongestTry(TypedDict):
    """The try that brought most of one class back."""

    what: str
    of: str
    right: float
    plain: float


class AttackSummary(AttackDetails):
    """An attack in `audit.json`; shares are means over classes of the means over their known tries."""

    name: str
    access: Access
    judged: bool
    question: str
    right: float | None
    low: float | None
    high: float | None
    plain: float | None
    tries: int
    known: int
    classes: int
    strongest: StrongestTry | None


@dataclass(frozen=True)
class Attack:
    """One attack with all its tries.

    Attributes:
        name: of the attack.
        access: what the attacker needs. `nothing` is no attack; `caller` chooses names, sentences and pictures;
            `prompt` also changes the tokens of the prompt; `model` reads the model's features.
        question: what the attack finds out.
        tries: one per thing tried and forget class.
        details: other measurements.
        own_limit: whether the verdict has a separate limit for it, so that the limit for the worst attack ignores it.
    """

    name: str
    access: Access
    question: str
    tries: tuple[Try, ...]
    details: AttackDetails = field(default_factory=AttackDetails)
    own_limit: bool = False

    @property
    def judged(self) -> bool:
        """Whether the limit for the worst attack counts it: no adapter promises to withstand a rewritten prompt."""
        return self.access == CALLER and not self.own_limit

    @property
    def known(self) -> tuple[Try, ...]:
        """The tries that the plain model knows: failing on the others says nothing about forgetting."""
        return tuple(item for item in self.tries if item.plain >= KNOWN)

    def summarize(self) -> AttackSummary:
        """The attack's entry in `audit.json`."""
        classes = sorted({item.of for item in self.known})
        of = {name: [item for item in self.known if item.of == name] for name in classes}
        right = [_average([item.right for item in items]) for items in of.values()]
        plain = [_average([item.plain for item in items]) for items in of.values()]
        low, high = bootstrap_mean(right) if right else (None, None)
        return {
            "name": self.name,
            "access": self.access,
            "judged": self.judged,
            "question": self.question,
            "right": _average(right) if right else None,
            "low": low,
            "high": high,
            "plain": _average(plain) if plain else None,
            "tries": len(self.tries),
            "known": len(self.known),
            "classes": len(classes),
            "strongest": self._find_strongest(),
            **self.details,
        }

    def _find_strongest(self) -> StrongestTry | None:
        if not self.known:
            return None
        best = max(self.known, key=lambda item: (item.right, item.plain))
        return {"what": best.what, "of": best.of, "right": best.right, "plain": best.plain}


@dataclass(frozen=True)
class NotRun:
    """An attack that this adapter, this model or the images given don't allow, and why."""

    name: str
    why: str


def _average(values: Sequence[float]) -> float:
    return sum(values) / len(values)
