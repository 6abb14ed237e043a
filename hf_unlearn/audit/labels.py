"""Attacks by other labels: the forgotten names alone, beside a few random ones, on short lists."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hf_unlearn.audit.case import CALLER, Attack, Case, Try

BESIDE = 9  # other labels beside a forgotten one
JUDGED_LIST = 4
DRAWS = 5  # short lists per image


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


def short_lists(case: Case, seed: int = 0) -> Attack:
    """The forgotten name beside four random kept names, five lists an image; read off the scores, no query."""
    question = "On a list of five, the forgotten name and four random kept ones, is its own name still given?"
    kept = (~case.forget).nonzero().flatten()
    tries: list[Try] = []
    if len(kept) >= JUDGED_LIST:
        draw = torch.Generator().manual_seed(seed)
        order = torch.rand(len(case.labels), DRAWS, len(kept), generator=draw).argsort(-1)
        beside = kept[order[..., :JUDGED_LIST]]
        before, after = (_still_named(scores, case.labels, beside) for scores in (case.plain, case.adapted))
        for name in case.forget_names:
            own = case.labels == case.names.index(name)
            if own.any():
                shares = (x[own].mean().item() for x in (before, after))
                tries.append(Try(f"{name} beside {JUDGED_LIST} kept names", name, int(own.sum()), *shares))
    details = {"chance": 1 / (JUDGED_LIST + 1)}
    return Attack("short lists", CALLER, question, tuple(tries), details, own_limit=True)


def _still_named(scores: Tensor, labels: Tensor, beside: Tensor) -> Tensor:
    """`(N, C)`, `(N,)`, columns `(N, draws, k)` -> `(N,)`: in what share of the lists the true name scores highest."""
    rows = torch.arange(len(labels))
    rivals = scores[rows[:, None, None], beside].max(-1).values
    return (scores[rows, labels][:, None] > rivals).float().mean(-1)
