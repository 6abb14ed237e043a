"""Attack on a context: keep some of its tokens only."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from hf_unlearn.auditing.attack_results import PROMPT, Attack, NotRun, Try
from hf_unlearn.auditing.attacks.context_left_out import NO_CONTEXT
from hf_unlearn.auditing.case import Case
from hf_unlearn.auditing.inputs import Inputs
from hf_unlearn.auditing.progress import Step

NAME = "context cut short"


def plan_context_cut_short(case: Case, given: Inputs) -> Iterator[Step[Attack] | NotRun]:
    """One step, for contexts."""
    if (context := case.adapter.context) is None:
        yield NotRun(NAME, NO_CONTEXT)
    else:
        yield Step("contexts", 6, lambda _: cut_context_short(case, context))


def cut_context_short(case: Case, context: Tensor) -> Attack:
    """The first or the last quarter, half or three quarters of a context `(m, dim)`."""
    tokens = len(context)
    lengths = sorted({max(1, tokens * part // 4) for part in (1, 2, 3)} - {tokens})
    tries: list[Try] = []
    for length in lengths:
        for what, part in (("first", context[:length]), ("last", context[tokens - length :])):
            scores = case.score(case.plain_box, context=part)
            tries += case.compare(f"{what} {length} of {tokens} tokens", case.plain, scores)
    return Attack(NAME, PROMPT, "Does a part of the context forget as well?", tuple(tries))
