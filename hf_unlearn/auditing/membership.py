"""Membership: can a drawing that an adapter was trained on be told from one that it was not, by the scores?

Many adapters are trained, each on a random half of the drawings, in complementary pairs: so every drawing is in for
half of them and out for the other half. For every drawing an attacker who knows some of the adapters picks the
threshold on its confidence that best tells "in" from "out", and is judged on the other adapters; epsilon is what
differential privacy would have to promise for so much success (the Google Unlearning Challenge's estimator; the
confidence is LiRA's logit, Carlini et al., 2022).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hf_unlearn.auditing.case import Case
from hf_unlearn.auditing.fast_training import learn
from hf_unlearn.auditing.intervals import LEVEL, bootstrap, exact_share
from hf_unlearn.data.labeled_images import LabeledImages
from hf_unlearn.errors import InputError
from hf_unlearn.optimizers.objective import Objective

FROM_NAMES = "an edit is made from names alone: no image went in, so there is no membership to infer"
WITH_IMAGES = "this edit was made with the help of images, and the audit has no way to make it again without some"


def measure_membership(
    case: Case,
    drawings: LabeledImages,
    *,
    models: int = 64,
    queries: int = 45,
    seed: int = 0,
    tell: Callable[[int], Any] = int,
) -> dict[str, Any]:
    """Trains `2 * models` adapters and attacks every drawing; for an edit only says why there is nothing to measure.

    Args:
        drawings: one image per drawing (no augmented copies), of the adapter's classes.
        models: adapters with, and as many without, each drawing; at least 4.
        queries: budget of each; small, so the adapters are weaker than one made with `hf-unlearn forget`.
        tell: told how many adapters are done.

    Raises:
        ValueError: if `models` is below 4, or drawings of forget or of retain classes are missing.
    """
    if case.adapter.context is None:
        return {"skipped": WITH_IMAGES if case.adapter.config.few_shot_digest else FROM_NAMES}
    if models < 4:
        raise InputError(f"membership needs at least 4 adapters with each drawing, got models={models}")
    if drawings.names != case.names:
        raise InputError("membership: the drawings must have the adapter's classes, in the order of the images")
    used = [i for i, label in enumerate(drawings.labels) if drawings.labels.count(label) > 1]
    drawings = drawings.select(used)
    inside = halves(torch.tensor(drawings.labels), models, seed)
    handle = case.plain_box.add_images(drawings)
    confidence = np.empty(inside.shape)
    tokens = len(case.adapter.context)
    for number, row in enumerate(inside):
        scores = _trained(
            case, handle, torch.tensor(drawings.labels), torch.from_numpy(row), tokens, queries, seed + number
        )
        confidence[number] = logits(scores, torch.tensor(drawings.labels))
        tell(number + 1)
    gone = case.forget[torch.tensor(drawings.labels)].numpy()
    confidence[:, gone] *= -1  # what was trained to be forgotten is known less well
    figures = judge(confidence, inside)
    return {
        **figures,
        "drawings": len(drawings),
        "models": models,
        "queries_each": queries,
        "auc_forget": pooled_auc(confidence[:, gone], inside[:, gone]) if gone.any() else None,
        "auc_retain": pooled_auc(confidence[:, ~gone], inside[:, ~gone]) if not gone.all() else None,
    }


def halves(labels: Tensor, models: int, seed: int) -> np.ndarray:
    """`(2 * models, N)` bool, which drawings each adapter is trained on; rows `2i` and `2i + 1` are complements.

    Every class is halved apart, so no adapter lacks one that has two drawings.
    """
    draw = np.random.default_rng(seed)
    rows = np.zeros((2 * models, len(labels)), bool)
    for pair in range(models):
        for label in labels.unique().tolist():
            own = draw.permutation((labels == label).nonzero().flatten().numpy())
            size = len(own) // 2 + int(len(own) % 2 and draw.random() < 0.5)
            rows[2 * pair, own[:size]] = True
        rows[2 * pair + 1] = ~rows[2 * pair]
    return rows


def logits(log_scores: Tensor, labels: Tensor) -> np.ndarray:
    """`(N, C)` -> `(N,)`: log p − log(1 − p) of the true class, kept finite."""
    own = log_scores.cpu().double().gather(1, labels.cpu()[:, None])[:, 0].clamp(-60, -1e-12)
    return (own - torch.log(-torch.expm1(own))).numpy()


def judge(confidence: np.ndarray, inside: np.ndarray) -> dict[str, Any]:
    """Epsilon of every drawing and of the pooled attack.

    Args:
        confidence: `(2 * models, N)`.
        inside: the same shape, bool.
    """
    count, drawings = len(inside) // 2, inside.shape[1]
    alpha = (1 - LEVEL) / drawings  # all intervals hold together (Bonferroni)
    guesses = guess(confidence, inside)
    hits, alarms = (guesses & inside).sum(0), (guesses & ~inside).sum(0)
    each = [epsilon(int(h), int(a), count, alpha) for h, a in zip(hits, alarms, strict=True)]
    lows = [low for _, low, _ in each]
    points = np.array([point for point, _, _ in each])
    highest = int(np.argmax(lows))
    auc = [
        pooled_auc(confidence[2 * i : 2 * i + 2], inside[2 * i : 2 * i + 2], centre=confidence) for i in range(count)
    ]
    low, high = bootstrap(auc)
    return {
        "epsilon": lows[highest],
        "epsilon_median": float(np.median(points[np.isfinite(points)])) if np.isfinite(points).any() else None,
        "epsilon_high": each[highest][2] if math.isfinite(each[highest][2]) else None,
        "resolved": int(sum(low > 0 for low in lows)),
        "ceiling": epsilon(count, 0, count, alpha)[1],
        "auc": float(np.mean(auc)),
        "auc_low": low,
        "auc_high": high,
    }


def guess(confidence: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """`(2 * models, N)` bool: who is in, by a threshold chosen on the other half of the pairs."""
    count = len(inside) // 2
    half = (np.arange(2 * count) // 2) < (count + 1) // 2
    guesses = np.zeros_like(inside)
    for fitted, judged in ((half, ~half), (~half, half)):
        for column in range(inside.shape[1]):
            threshold, sign = _threshold(confidence[fitted, column], inside[fitted, column])
            guesses[judged, column] = sign * confidence[judged, column] > sign * threshold
    return guesses


def _threshold(values: np.ndarray, inside: np.ndarray) -> tuple[float, int]:
    """Where to cut, and which side is "in" (1: above), for the fewest errors."""
    order = np.argsort(values)
    ordered, truth = values[order], inside[order]
    below = np.concatenate([[0], np.cumsum(np.where(truth, 1, -1))])  # members minus others among the lowest k
    above = int(below[-1]) - below
    best = int(np.argmax(np.abs(above - below)))
    bounds = np.concatenate([[ordered[0] - 1], (ordered[1:] + ordered[:-1]) / 2, [ordered[-1] + 1]])
    return float(bounds[best]), 1 if above[best] >= below[best] else -1


def epsilon(hits: int, alarms: int, count: int, alpha: float) -> tuple[float, float, float]:
    """Point, lower and upper epsilon of an attack that says "in" for `hits` of `count` members and `alarms` others."""
    (hit_low, hit_high), (alarm_low, alarm_high) = exact_share(hits, count, alpha), exact_share(alarms, count, alpha)
    return (
        _epsilon(hits / count, alarms / count),
        _epsilon(hit_low, alarm_high),
        max(_epsilon(hit_high, alarm_low), _epsilon(1 - hit_low, 1 - alarm_high)),
    )


def _epsilon(hit: float, alarm: float) -> float:
    ratios = [(hit, alarm), (1 - alarm, 1 - hit)]
    return max(0.0, *(math.log(a / b) if a and b else (math.inf if a else -math.inf) for a, b in ratios))


def pooled_auc(confidence: np.ndarray, inside: np.ndarray, centre: np.ndarray | None = None) -> float:
    """AUROC over all drawings together, each centred on its own mean; 0.5 is guessing."""
    from sklearn.metrics import roc_auc_score

    mean = (confidence if centre is None else centre).mean(0)
    return float(roc_auc_score(inside.ravel(), (confidence - mean).ravel()))


def _trained(case: Case, handle: Any, labels: Tensor, inside: Tensor, n_ctx: int, queries: int, seed: int) -> Tensor:
    """Log-scores `(N, C)` of all drawings under an adapter trained on those inside."""
    rows = inside.nonzero().flatten()
    objective = Objective(labels[rows], case.forget, entropy_weight=0.3, margin_weight=1.0)

    def score(contexts: Tensor) -> Tensor:
        return case.plain_box.log_scores(contexts, handle, case.names)

    return list(learn(case.plain_box, score, objective, rows, n_ctx=n_ctx, queries=queries, seed=seed))[-1][2]
