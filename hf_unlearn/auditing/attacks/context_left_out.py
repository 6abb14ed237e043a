"""Attack on a context: leave it out."""

from __future__ import annotations

from collections.abc import Iterator

from hf_unlearn.auditing.attack_results import PROMPT, Attack, NotRun
from hf_unlearn.auditing.case import Case
from hf_unlearn.auditing.inputs import Inputs
from hf_unlearn.auditing.progress import Step

NAME = "context left out"
NO_CONTEXT = "an edit has no context"


def plan_context_left_out(case: Case, given: Inputs) -> Iterator[Step[Attack] | NotRun]:
    """One step, for contexts."""
    if case.adapter.context is None:
        yield NotRun(NAME, NO_CONTEXT)
    else:
        yield Step("contexts", 1, lambda _: leave_context_out(case))


def leave_context_out(case: Case) -> Attack:
    """No context: the plain model."""
    tries = case.compare("no context", case.plain, case.score(case.plain_box))
    question = "Without the context, is everything back? (Always: the weights are untouched.)"
    return Attack(NAME, PROMPT, question, tuple(tries))
