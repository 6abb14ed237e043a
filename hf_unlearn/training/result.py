"""The result of a run: the adapter, the stop reason, the history."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from hf_unlearn.adapters.adapter import ForgetAdapter
from hf_unlearn.errors import InputError
from hf_unlearn.models.text_edit import digest
from hf_unlearn.training.history import Step
from hf_unlearn.training.warm_start import Search


class StopReason(Enum):
    """Why a run ended."""

    BUDGET = "the query budget is used up"
    CONVERGED = "validation has not improved for a while"
    INTERRUPTED = "interrupted; the best so far is kept"
    CANCELLED = "cancelled; the best so far is kept"
    SOLVED = "solved in closed form"
    REFUSED = "the black box answers no more queries; the best so far is kept"
    BLANK = "the black box answers with scores that are no numbers; the best so far is kept"


@dataclass(frozen=True)
class Result:
    """The result of `unlearn`. An edit has no history and no search.

    Attributes:
        adapter: the best context on validation, or the edit.
        reason: why the run ended.
        history: a step per batch.
        search: what a later run continues with (`init=`).
    """

    adapter: ForgetAdapter
    reason: StopReason
    history: tuple[Step, ...]
    search: Search | None = field(default=None, repr=False, compare=False)

    @property
    def neighbours(self) -> list[dict[str, Any]]:
        """The words that an edit changes most, each `word`, `of` and `similarity`; empty for a context."""
        return self.adapter.config.neighbours

    def at(self, queries: int) -> ForgetAdapter:
        """Returns the adapter that the run had after at most so many queries.

        Raises:
            ValueError: if the first batch was not scored by then.
        """
        if not self.history:
            return self.adapter
        step = next((step for step in reversed(self.history) if step.queries <= queries), None)
        if step is None:
            raise InputError(f"the first batch took {self.history[0].queries} queries, asked for {queries}")
        config = self.adapter.config
        return ForgetAdapter(
            step.context,
            replace(
                config,
                ledger={**config.ledger, "queries": step.queries, "seconds": round(step.seconds, 2)},
                metrics=validation_of(step),
                weights_sha256=digest(step.context),
            ),
        )


def validation_of(step: Step) -> dict[str, float | None]:
    """The `metrics` of an adapter with this step's context."""
    return {"validation_H": step.H, "validation_err_for": step.err_for, "validation_acc_mem": step.acc_mem}
