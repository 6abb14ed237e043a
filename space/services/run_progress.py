"""What a run reports: its progress while it lasts, its result at the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hf_unlearn import ForgetAdapter
    from hf_unlearn.training.history import Step


@dataclass(frozen=True)
class RunProgress:
    """How far a run is.

    Attributes:
        doing: what it does now, in words.
        queries: units that are done.
        budget: units in all; 0 if unknown.
        left: seconds until the last unit, as estimated from the speed so far.
        steps: the figures of every step of a search.
        unit: queries, texts where an edit reads a vocabulary, or images where they are encoded.
        judged_on: a sentence about what the figures of the steps are computed on.
        made: the adapter, once there is one that is not evaluated yet.
    """

    doing: str
    queries: int = 0
    budget: int = 0
    left: float | None = None
    steps: tuple[Step, ...] = ()
    unit: str = "queries"
    judged_on: str = ""
    made: RunResult | None = None

    @property
    def share(self) -> float:
        """The part that is done, 0 to 1."""
        return self.queries / self.budget if self.budget else 0.0


@dataclass(frozen=True)
class RunResult:
    """What a run made.

    Attributes:
        adapter: the adapter, with its report if there were images to evaluate it on.
        key: the adapter's key in the store.
        reason: why the run stopped.
        steps: the figures of every step of a search.
        confusions: forgotten class -> name -> share of the class's images that now get that name, 0 to 1.
        note: sentences on how an upload is used, and on names that no image shows.
        unjudged: why there is no evaluation, or nothing.
    """

    adapter: ForgetAdapter
    key: str
    reason: str
    steps: tuple[Step, ...]
    confusions: dict[str, dict[str, float]] = field(default_factory=dict)
    note: str = ""
    unjudged: str = ""
