"""The metrics of forgetting, as pure functions of log-scores `(N, C)`, labels `(N,)` and `forget` `(C,)` bool."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor


def harmonic_mean(err_for: float, acc_mem: float) -> float:
    """`H`: 0 if either is 0."""
    return 2 * err_for * acc_mem / (err_for + acc_mem) if err_for + acc_mem else 0.0


def accuracies(log_scores: Tensor, labels: Tensor, forget: Tensor) -> tuple[Tensor, Tensor]:
    """`Err_for` and `Acc_mem` over `(..., N, C)`: each `(...)`, arg-max over all names."""
    right = (log_scores.argmax(-1) == labels).float()
    is_forget = forget[labels]
    return 1 - right[..., is_forget].mean(-1), right[..., ~is_forget].mean(-1)


def entropy(log_scores: Tensor) -> float:
    """Mean entropy of the scores ÷ log C, 1 when flat."""
    terms = torch.where(log_scores > -torch.inf, log_scores.exp() * log_scores, 0.0)
    return (-terms.sum(-1).mean() / math.log(log_scores.shape[1])).item()


def top_leak(log_scores: Tensor, labels: Tensor) -> float:
    """|share of images whose true name is in the top k − k/C|, k = 5, or 2 for C ≤ 10: 0 is chance.

    Names that score nothing at all (a label mask) are in nobody's top.
    """
    classes = log_scores.shape[1]
    k = 2 if classes <= 10 else 5
    top = log_scores.topk(k, -1)
    hit = (top.indices == labels[:, None]) & (top.values > -torch.inf)
    return abs(hit.any(1).float().mean().item() - k / classes)


def short_list(log_scores: Tensor, labels: Tensor, forget: Tensor, k: int) -> float:
    """Share of forget images that still get their own name when it stands beside `k` random kept names.

    The mean over all lists, in closed form: of the `b` kept names that score below the own one, `k` are drawn with
    probability `C(b, k) / C(kept, k)`. NaN where there is no forget image, or fewer than `k` kept names.
    """
    gone, kept = forget[labels], int((~forget).sum())
    if k > kept or not gone.any():
        return math.nan
    scores = log_scores[gone]
    below = (scores[:, ~forget] < scores.gather(1, labels[gone, None])).sum(1).cpu().double()
    step = torch.arange(k, dtype=torch.float64)
    return ((below[:, None] - step).clamp(min=0) / (kept - step)).prod(1).mean().item()


def recoverability(fit: Tensor, fit_labels: Tensor, test: Tensor, test_labels: Tensor) -> float:
    """How well a logistic-regression probe reads the forgotten class off the scores of forget images.

    The probe is fitted on validation images (inputs standardized, its strength tuned there by
    cross-validation) and scored on test images; 0 is guessing, 1 is reading it perfectly.
    NaN where there are fewer than two classes to tell apart, no image, or no score (all names masked).
    """
    classes = len(fit_labels.unique())
    if classes < 2:
        return math.nan
    seen, judged = _finite(fit, test)
    if not seen.shape[1] or not len(judged):
        return math.nan
    accuracy = _probe(fit_labels).fit(seen, fit_labels.cpu().numpy()).score(judged, test_labels.cpu().numpy())
    return (accuracy - 1 / classes) / (1 - 1 / classes)


def forget_detect(fit_forget: Tensor, fit_unlisted: Tensor, test_forget: Tensor, test_unlisted: Tensor) -> float:
    """AUROC of telling forget images from images of unlisted classes by their score vectors; 0.5 is chance.

    The same probe, fitted on validation images and scored on test images. NaN where one of them has none, or all names
    are masked.
    """
    from sklearn.metrics import roc_auc_score

    if not all(map(len, (fit_forget, fit_unlisted, test_forget, test_unlisted))):
        return math.nan
    fit, test = _finite(torch.cat([fit_forget, fit_unlisted]), torch.cat([test_forget, test_unlisted]))
    if not fit.shape[1]:
        return math.nan
    fit_truth = torch.cat([torch.ones(len(fit_forget)), torch.zeros(len(fit_unlisted))]).long()
    test_truth = torch.cat([torch.ones(len(test_forget)), torch.zeros(len(test_unlisted))])
    guess = _probe(fit_truth).fit(fit, fit_truth.numpy()).decision_function(test)
    return float(roc_auc_score(test_truth.numpy(), guess))


def _finite(fit: Tensor, test: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The columns a probe can read: a label mask's −inf ones say nothing."""
    columns = torch.isfinite(fit).all(0) & torch.isfinite(test).all(0)
    return fit[:, columns].cpu().double().numpy(), test[:, columns].cpu().double().numpy()


def _probe(labels: Tensor) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    folds = min(3, int(labels.unique(return_counts=True)[1].min()))
    if folds < 2:
        return probe
    grid = {"logisticregression__C": [0.01, 0.1, 1.0, 10.0]}
    return GridSearchCV(probe, grid, cv=StratifiedKFold(folds, shuffle=True, random_state=0))


def calibration_error(log_scores: Tensor, labels: Tensor, bins: int = 10) -> float:
    """Expected calibration error over equal-width confidence bins (Guo et al., ICML 2017)."""
    confidence, guess = log_scores.exp().max(-1)
    right = (guess == labels).float()
    bin_of = (confidence * bins).long().clamp(max=bins - 1)
    gap = confidence.new_zeros(bins).index_add_(0, bin_of, confidence - right)
    return (gap.abs().sum() / len(labels)).item()


def log_loss(log_scores: Tensor, labels: Tensor) -> float:
    """Mean −log p of the true class."""
    return -log_scores.gather(1, labels[:, None]).mean().item()


def look_alike(log_scores: Tensor, labels: Tensor, forget: Tensor) -> float:
    """Largest share of one forget class's images that land on one other class."""
    guess = log_scores.argmax(-1)
    worst = 0.0
    for label in forget.nonzero().flatten().tolist():
        landed = guess[labels == label]
        landed_elsewhere = landed[landed != label]
        if len(landed_elsewhere):
            worst = max(worst, torch.bincount(landed_elsewhere).max().item() / len(landed))
    return worst
