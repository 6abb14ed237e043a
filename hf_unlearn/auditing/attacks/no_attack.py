"""No attack: what the adapter leaves of the forgotten classes."""

from __future__ import annotations

from collections.abc import Iterator

from hf_unlearn.auditing.attack_results import NOBODY, Attack
from hf_unlearn.auditing.case import Case
from hf_unlearn.auditing.inputs import Inputs
from hf_unlearn.auditing.progress import Step


def plan_no_attack(case: Case, given: Inputs) -> Iterator[Step[Attack]]:
    """One step, for every adapter."""
    yield Step("no attack", 1, lambda _: try_nothing(case))


def try_nothing(case: Case) -> Attack:
    """The images and names as they are."""
    tries = case.compare("nothing", case.plain, case.adapted)
    return Attack("no attack", NOBODY, "Without an attack, what is still named right?", tuple(tries))
