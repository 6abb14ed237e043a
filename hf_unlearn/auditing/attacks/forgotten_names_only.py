"""Attack by the forgotten names alone as labels."""

from __future__ import annotations

from collections.abc import Iterator

from hf_unlearn.auditing.attack_results import CALLER, Attack
from hf_unlearn.auditing.case import Case
from hf_unlearn.auditing.inputs import Inputs
from hf_unlearn.auditing.progress import Step


def plan_forgotten_names_only(case: Case, given: Inputs) -> Iterator[Step[Attack]]:
    """One step, for every adapter."""
    yield Step("labels", 2, lambda _: try_forgotten_names_only(case))


def try_forgotten_names_only(case: Case) -> Attack:
    """Nothing but the forgotten names as labels; there are no tries if there is one name only."""
    names = case.forget_names
    columns = {name: names.index(name) for name in names}
    tries = case.compare("forgotten names only", *case.score_both(names), columns) if len(names) > 1 else []
    question = "Among the forgotten names only, does the right one win?"
    return Attack("forgotten names only", CALLER, question, tuple(tries), {"chance": 1 / len(names)})
