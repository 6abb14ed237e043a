"""Attack by short lists: the forgotten name beside four random kept names."""

from __future__ import annotations

from collections.abc import Iterator

from hf_unlearn.auditing.attack_results import CALLER, Attack, Try
from hf_unlearn.auditing.case import Case
from hf_unlearn.auditing.inputs import Inputs
from hf_unlearn.auditing.progress import Step
from hf_unlearn.evaluation.metrics import short_list

BESIDE = 4  # kept names on the short list that has a limit in the verdict


def plan_short_lists(case: Case, given: Inputs) -> Iterator[Step[Attack]]:
    """One step without queries, for every adapter."""
    yield Step("labels", 0, lambda _: try_short_lists(case))


def try_short_lists(case: Case) -> Attack:
    """The forgotten name beside four random kept names, the mean over all such lists; computed from known scores."""
    tries: list[Try] = []
    if len(case.retain_names) >= BESIDE:
        for name in case.forget_names:
            members = case.labels == case.names.index(name)
            if members.any():
                labels, both = case.labels[members], (case.plain[members], case.adapted[members])
                plain, right = (short_list(scores, labels, case.forget, BESIDE) for scores in both)
                tries.append(Try(f"{name} beside {BESIDE} kept names", name, int(members.sum()), plain, right))
    question = "On a list of the forgotten name and four random kept ones, does the forgotten name win?"
    return Attack("short lists", CALLER, question, tuple(tries), {"chance": 1 / (BESIDE + 1)}, own_limit=True)
