"""Attack by random labels: the forgotten name beside nine other labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from hf_unlearn.auditing.attack_results import CALLER, Attack, Try
from hf_unlearn.auditing.case import Case
from hf_unlearn.auditing.inputs import Inputs
from hf_unlearn.auditing.progress import Step

BESIDE = 9  # other labels beside a forgotten one


def plan_random_labels(case: Case, given: Inputs) -> Iterator[Step[Attack]]:
    """One step, for every adapter; the labels are kept classes and unlisted ones."""
    unlisted = given.unlisted.names if given.unlisted is not None else ()
    yield Step("labels", 4 * len(case.forget_names), lambda _: try_random_labels(case, unlisted, seed=given.seed))


def try_random_labels(case: Case, vocabulary: Sequence[str] = (), draws: int = 2, seed: int = 0) -> Attack:
    """A forgotten name beside nine random other labels, of the kept classes and the vocabulary.

    A kept class that looks alike may hide the forgotten one; without it the name may win again.
    """
    pool = [*case.retain_names, *(word for word in dict.fromkeys(vocabulary) if word not in case.names)]
    beside = min(BESIDE, len(pool))
    draw = np.random.default_rng(seed)
    tries: list[Try] = []
    for _ in range(draws):
        for name in case.forget_names:
            labels = [name, *(pool[i] for i in draw.choice(len(pool), beside, replace=False))]
            what = {name: f"{name} beside {beside} random labels"}
            tries += case.compare(what, *case.score_both(labels), {name: 0})
    question = "Does the forgotten name win against a few random labels?"
    return Attack("random labels", CALLER, question, tuple(tries), {"chance": 1 / (beside + 1)})
