"""Membership: can an attacker recognize, by the scores, the drawings that an adapter was trained on?

Many adapters are trained, each on a random half of the drawings, in complementary pairs: every drawing is in for half
of them and out for the others. For every drawing an attacker who knows some of the adapters picks the threshold on
its confidence that separates "in" from "out" best. The other adapters show how well that works. Epsilon is what
differential privacy would have to promise for as much success (the estimator of the Google Unlearning Challenge). The
confidence is the logit of LiRA (Carlini et al., 2022).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import torch
from torch import Tensor

from hf_unlearn.auditing.case import Case
from hf_unlearn.auditing.fast_training import train_context
from hf_unlearn.auditing.intervals import LEVEL, bootstrap_mean, bound_share
from hf_unlearn.auditing.progress import Advance
from hf_unlearn.data.labeled_images import LabeledImages
from hf_unlearn.errors import InputError
from hf_unlearn.optimizers.objective import Objective

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

FROM_NAMES = "an edit is made from names alone: no image went in, so there is no membership to infer"
WITH_IMAGES = "this edit was made with the help of images; the audit can't make it again without some of them"
LEAST_MODELS = 4


class Membership(TypedDict, total=False):
    """How well the attack works, and what it was measured with; or `skipped`, why it was not measured.

    `epsilon` is the lower bound of the worst drawing, `epsilon_high` the upper bound. `ceiling` is the largest bound
    that so few adapters can show. `resolved` drawings have a bound above 0.
    """

    skipped: str
    epsilon: float
    epsilon_median: float | None
    epsilon_high: float | None
    resolved: int
    ceiling: float
    auc: float
    auc_low: float
    auc_high: float
    drawings: int
    models: int
    queries_each: int
    auc_forget: float | None
    auc_retain: float | None


def measure_membership(
    case: Case,
    drawings: LabeledImages,
    *,
    models: int = 64,
    queries: int = 45,
    seed: int = 0,
    advance: Advance = lambda done: None,
) -> Membership:
    """Trains `2 * models` adapters and attacks every drawing; for an edit it only says why nothing is measured.

    Args:
        drawings: one image per drawing (no augmented copies), of the adapter's classes.
        models: adapters with, and as many without, each drawing; at least 4.
        queries: budget of each; it is small, so these adapters are weaker than one that `unlearn` makes.
        advance: called with the number of adapters trained so far.

    Raises:
        InputError: if `models` is below 4, or drawings of forget or of retain classes are missing.
    """
    if case.adapter.context is None:
        return {"skipped": WITH_IMAGES if case.adapter.config.few_shot_digest else FROM_NAMES}
    if models < LEAST_MODELS:
        raise InputError(f"membership needs at least {LEAST_MODELS} adapters with each drawing, got models={models}")
    if drawings.names != case.names:
        raise InputError("membership: the drawings must have the adapter's classes, in the order of the images")
    drawings = drawings.select([i for i, label in enumerate(drawings.labels) if drawings.labels.count(label) > 1])
    labels = torch.tensor(drawings.labels)
    inside = draw_halves(labels, models, seed)
    confidence = _train_adapters(case, drawings, inside, queries, seed, advance)
    hidden = case.forget[labels].numpy()
    confidence[:, hidden] *= -1  # what was trained to be forgotten is known less well
    return {
        **measure_success(confidence, inside),
        "drawings": len(drawings),
        "models": models,
        "queries_each": queries,
        "auc_forget": pool_auc(confidence[:, hidden], inside[:, hidden]) if hidden.any() else None,
        "auc_retain": pool_auc(confidence[:, ~hidden], inside[:, ~hidden]) if not hidden.all() else None,
    }


def _train_adapters(
    case: Case, drawings: LabeledImages, inside: Bools, queries: int, seed: int, advance: Advance
) -> Floats:
    """`(2 * models, N)`: the confidence in every drawing of adapters trained on those inside."""
    labels, handle = torch.tensor(drawings.labels), case.encode(drawings)
    confidence = np.empty(inside.shape)
    for number, row in enumerate(inside):
        scores = _train_adapter(case, handle, labels, torch.from_numpy(row), queries, seed + number)
        confidence[number] = compute_logits(scores, labels)
        advance(number + 1)
    return confidence


def _train_adapter(case: Case, handle: Any, labels: Tensor, inside: Tensor, queries: int, seed: int) -> Tensor:
    """Log-scores `(N, C)` of all drawings under an adapter trained on those inside."""
    rows = inside.nonzero().flatten()
    objective = Objective(labels[rows], case.forget, entropy_weight=0.3, margin_weight=1.0)
    tokens = 0 if case.adapter.context is None else len(case.adapter.context)

    def score(contexts: Tensor) -> Tensor:
        return case.plain_box.log_scores(contexts, handle, case.names)

    moves = train_context(case.plain_box, score, objective, rows, n_ctx=tokens, queries=queries, seed=seed)
    return list(moves)[-1].scores


def draw_halves(labels: Tensor, models: int, seed: int) -> Bools:
    """Which drawings each adapter is trained on; every class is halved, so every adapter has all classes.

    Returns:
        `(2 * models, N)` bool; rows `2i` and `2i + 1` are complements.
    """
    draw = np.random.default_rng(seed)
    rows = np.zeros((2 * models, len(labels)), bool)
    for pair in range(models):
        for label in torch.unique(labels).tolist():
            members = draw.permutation((labels == label).nonzero().flatten().numpy())
            size = len(members) // 2 + int(len(members) % 2 and draw.random() < 0.5)
            rows[2 * pair, members[:size]] = True
        rows[2 * pair + 1] = ~rows[2 * pair]
    return rows


def compute_logits(log_scores: Tensor, labels: Tensor) -> Floats:
    """`(N, C)` -> `(N,)`: log p − log(1 − p) of the true class, kept finite."""
    of_truth = log_scores.cpu().double().gather(1, labels.cpu()[:, None])[:, 0].clamp(-60, -1e-12)
    logits: Floats = (of_truth - torch.log(-torch.expm1(of_truth))).numpy()
    return logits


def measure_success(confidence: Floats, inside: Bools) -> Membership:
    """Epsilon of every drawing and of the pooled attack.

    Args:
        confidence: `(2 * models, N)`.
        inside: the same shape, bool.
    """
    count, drawings = len(inside) // 2, inside.shape[1]
    alpha = (1 - LEVEL) / drawings  # all intervals hold together (Bonferroni)
    guesses = guess_membership(confidence, inside)
    hits, alarms = (guesses & inside).sum(0), (guesses & ~inside).sum(0)
    each = [bound_epsilon(int(h), int(a), count, alpha) for h, a in zip(hits, alarms, strict=True)]
    lows = [low for _, low, _ in each]
    points = np.array([point for point, _, _ in each])
    highest = int(np.argmax(lows))
    auc = [pool_auc(confidence[2 * i : 2 * i + 2], inside[2 * i : 2 * i + 2], centre=confidence) for i in range(count)]
    low, high = bootstrap_mean(auc)
    return {
        "epsilon": lows[highest],
        "epsilon_median": float(np.median(points[np.isfinite(points)])) if np.isfinite(points).any() else None,
        "epsilon_high": each[highest][2] if math.isfinite(each[highest][2]) else None,
        "resolved": int(sum(low > 0 for low in lows)),
        "ceiling": bound_epsilon(count, 0, count, alpha)[1],
        "auc": float(np.mean(auc)),
        "auc_low": low,
        "auc_high": high,
    }


def guess_membership(confidence: Floats, inside: Bools) -> Bools:
    """`(2 * models, N)` bool: who is in, by a threshold chosen on the other half of the pairs."""
    count = len(inside) // 2
    half = (np.arange(2 * count) // 2) < (count + 1) // 2
    guesses = np.zeros_like(inside)
    for fitted, judged in ((half, ~half), (~half, half)):
        for column in range(inside.shape[1]):
            threshold, sign = _find_threshold(confidence[fitted, column], inside[fitted, column])
            guesses[judged, column] = sign * confidence[judged, column] > sign * threshold
    return guesses


def _find_threshold(values: Floats, inside: Bools) -> tuple[float, int]:
    """Where to cut, and which side is "in" (1: above), for the fewest errors."""
    order = np.argsort(values)
    ordered, truth = values[order], inside[order]
    below = np.concatenate([[0], np.cumsum(np.where(truth, 1, -1))])  # members minus others among the lowest k
    above = int(below[-1]) - below
    best = int(np.argmax(np.abs(above - below)))
    bounds = np.concatenate([[ordered[0] - 1], (ordered[1:] + ordered[:-1]) / 2, [ordered[-1] + 1]])
    return float(bounds[best]), 1 if above[best] >= below[best] else -1


def bound_epsilon(hits: int, alarms: int, count: int, alpha: float) -> tuple[float, float, float]:
    """Epsilon of an attack that says "in" for `hits` of `count` members and for `alarms` of as many others.

    Returns:
        The estimate, its lower and its upper bound.
    """
    (hit_low, hit_high), (alarm_low, alarm_high) = bound_share(hits, count, alpha), bound_share(alarms, count, alpha)
    return (
        _compute_epsilon(hits / count, alarms / count),
        _compute_epsilon(hit_low, alarm_high),
        max(_compute_epsilon(hit_high, alarm_low), _compute_epsilon(1 - hit_low, 1 - alarm_high)),
    )


def _compute_epsilon(hit: float, alarm: float) -> float:
    ratios = [(hit, alarm), (1 - alarm, 1 - hit)]
    return max(0.0, *(math.log(a / b) if a and b else (math.inf if a else -math.inf) for a, b in ratios))


def pool_auc(confidence: Floats, inside: Bools, centre: Floats | None = None) -> float:
    """AUROC over all drawings together, each centred on its mean; 0.5 is guessing."""
    from sklearn.metrics import roc_auc_score

    mean = (confidence if centre is None else centre).mean(0)
    return float(roc_auc_score(inside.ravel(), (confidence - mean).ravel()))
