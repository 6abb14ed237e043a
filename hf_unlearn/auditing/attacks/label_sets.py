"""Attacks by other labels: the forgotten names alone, beside a few random ones, on short lists."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hf_unlearn.auditing.case import CALLER, Attack, Case, Try
from hf_unlearn.evaluation.metrics import short_list

BESIDE = 9  # other labels beside a forgotten one
JUDGED_LIST = 4  # kept names on the short list that the verdict holds


def only_forgotten(case: Case) -> Attack:
    """Nothing but the forgotten names as labels."""
    names = case.forget_names
    columns = {name: names.index(name) for name in names}
    tries = case.compare("forgotten names only", *case.both(names), columns) if len(names) > 1 else []
    question = "Offered the forgotten names only, does the model still tell them apart?"
    return Attack("forgotten names only", CALLER, question, tuple(tries), {"chance": 1 / len(names)})


def random_labels(case: Case, vocabulary: Sequence[str] = (), draws: int = 2, seed: int = 0) -> Attack:
    """A forgotten name beside nine random other labels, of the kept classes and the vocabulary.

    What hid the forgotten class was perhaps a kept look-alike; without it the name may win again.
    """
    pool = [*case.retain_names, *(word for word in dict.fromkeys(vocabulary) if word not in case.names)]
    beside = min(BESIDE, len(pool))
    draw = np.random.default_rng(seed)
    tries: list[Try] = []
    for _ in range(draws):
        for name in case.forget_names:
            labels = [name, *(pool[i] for i in draw.choice(len(pool), beside, replace=False))]
            what = {name: f"{name} beside {beside} random labels"}
            tries += case.compare(what, *case.both(labels), {name: 0})
    question = "Does the forgotten name win against a few random labels?"
    return Attack("random labels", CALLER, question, tuple(tries), {"chance": 1 / (beside + 1)})


def short_lists(case: Case) -> Attack:
    """The forgotten name beside four random kept names, over all such lists; read off the scores, no query."""
    tries: list[Try] = []
    if len(case.retain_names) >= JUDGED_LIST:
        for name in case.forget_names:
            own = case.labels == case.names.index(name)
            if own.any():
                labels, both = case.labels[own], (case.plain[own], case.adapted[own])
                shares = (short_list(scores, labels, case.forget, JUDGED_LIST) for scores in both)
                tries.append(Try(f"{name} beside {JUDGED_LIST} kept names", name, int(own.sum()), *shares))
    question = "On a list of five, the forgotten name and four random kept ones, is its own name still given?"
    return Attack("short lists", CALLER, question, tuple(tries), {"chance": 1 / (JUDGED_LIST + 1)}, own_limit=True)
