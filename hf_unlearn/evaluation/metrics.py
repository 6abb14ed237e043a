"""The metrics of forgetting: pure functions of log-scores `(N, C)`, labels `(N,)` and `forget` `(C,)` bool."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import Pipeline


def harmonic_mean(err_for: float, acc_mem: float) -> float:
    """`H` of two shares (Kuwana et al., 2024): 0 if either is 0."""
    return 2 * err_for * acc_mem / (err_for + acc_mem) if err_for + acc_mem else 0.0


def accuracies(log_scores: Tensor, labels: Tensor, forget: Tensor) -> tuple[Tensor, Tensor]:
    """`Err_for`, the error on forget images, and `Acc_mem`, the accuracy on retain images, by arg-max over all names.

    Args:
        log_scores: `(..., N, C)`.

    Returns:
        Both `(...)`, NaN where there is no such image.
    """
    right = (log_scores.argmax(-1) == labels).float()
    is_forget = forget[labels]
    return 1 - right[..., is_forget].mean(-1), right[..., ~is_forget].mean(-1)


def entropy(log_scores: Tensor) -> float:
    """The mean entropy of the scores, divided by log C: 1 if all scores are equal."""
    terms = torch.where(log_scores > -torch.inf, log_scores.exp() * log_scores, 0.0)
    return (-terms.sum(-1).mean() / math.log(log_scores.shape[1])).item()


def top_leak(log_scores: Tensor, labels: Tensor) -> float:
    """How far the share of images with their true name in the top k is from chance, k/C; 0 is chance.

    k is 5, or 2 for at most ten classes. A masked name, whose score is -inf, is never in the top.
    """
    classes = log_scores.shape[1]
    k = 2 if classes <= 10 else 5
    top = log_scores.topk(k, -1)
    hit = (top.indices == labels[:, None]) & (top.values > -torch.inf)
    return abs(hit.any(1).float().mean().item() - k / classes)


def short_list(log_scores: Tensor, labels: Tensor, forget: Tensor, k: int) -> float:
    """The share of forget images whose true name wins on a list of that name and `k` random kept names.

    This is the mean over all lists, in closed form. If `b` kept names score below the true one, a list holds only
    such names with probability `C(b, k) / C(kept, k)`.

    Returns:
        NaN where there is no forget image, or fewer than `k` kept names.
    """
    hidden, kept = forget[labels], int((~forget).sum())
    if k > kept or not hidden.any():
        return math.nan
    scores = log_scores[hidden]
    below = (scores[:, ~forget] < scores.gather(1, labels[hidden, None])).sum(1).cpu().double()
    step = torch.arange(k, dtype=torch.float64)
    return ((below[:, None] - step).clamp(min=0) / (kept - step)).prod(1).mean().item()


def recoverability(fit: Tensor, fit_labels: Tensor, test: Tensor, test_labels: Tensor) -> float:
    """How well a logistic-regression probe reads the forgotten class off the scores of forget images.

    The probe is fitted on validation images and scored on test images. Its inputs are standardized; its
    regularization is chosen by cross-validation.

    Args:
        fit, test: log-scores of forget images, `(n, C)` and `(N, C)`.
        fit_labels, test_labels: their classes.

    Returns:
        0 for guessing, 1 for every class right. NaN where there are fewer than two classes, no image, or no score
        because all names are masked.
    """
    classes = len(torch.unique(fit_labels))
    if classes < 2:
        return math.nan
    fitted, tested = _keep_finite(fit, test)
    if not fitted.shape[1] or not len(tested):
        return math.nan
    probe = _make_probe(fit_labels).fit(fitted, fit_labels.cpu().numpy())
    accuracy = float(probe.score(tested, test_labels.cpu().numpy()))
    return (accuracy - 1 / classes) / (1 - 1 / classes)


def forget_detect(fit_forget: Tensor, fit_unlisted: Tensor, test_forget: Tensor, test_unlisted: Tensor) -> float:
    """AUROC of a probe that separates forget images from images of unlisted classes by their scores; 0.5 is chance.

    The probe is that of `recoverability`, fitted on validation images and scored on test images.

    Returns:
        NaN where a set has no image, or all names are masked.
    """
    from sklearn.metrics import roc_auc_score

    if not all(map(len, (fit_forget, fit_unlisted, test_forget, test_unlisted))):
        return math.nan
    fit, test = _keep_finite(torch.cat([fit_forget, fit_unlisted]), torch.cat([test_forget, test_unlisted]))
    if not fit.shape[1]:
        return math.nan
    fit_truth = torch.cat([torch.ones(len(fit_forget)), torch.zeros(len(fit_unlisted))]).long()
    test_truth = torch.cat([torch.ones(len(test_forget)), torch.zeros(len(test_unlisted))])
    guess = _make_probe(fit_truth).fit(fit, fit_truth.numpy()).decision_function(test)
    return float(roc_auc_score(test_truth.numpy(), guess))


def _keep_finite(fit: Tensor, test: Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The columns that a probe can read: a label mask's are -inf."""
    columns = torch.isfinite(fit).all(0) & torch.isfinite(test).all(0)
    return fit[:, columns].cpu().double().numpy(), test[:, columns].cpu().double().numpy()


def _make_probe(labels: Tensor) -> Pipeline | GridSearchCV:
    """An unfitted probe; its regularization is tuned if every class has at least two images."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    folds = min(3, int(torch.unique(labels, return_counts=True)[1].min()))
    if folds < 2:
        return probe
    grid = {"logisticregression__C": [0.01, 0.1, 1.0, 10.0]}
    return GridSearchCV(probe, grid, cv=StratifiedKFold(folds, shuffle=True, random_state=0))


def calibration_error(log_scores: Tensor, labels: Tensor, bins: int = 10) -> float:
    """Expected calibration error over confidence bins of equal width (Guo et al., ICML 2017)."""
    confidence, guess = log_scores.exp().max(-1)
    right = (guess == labels).float()
    bin_of = (confidence * bins).long().clamp(max=bins - 1)
    gap = confidence.new_zeros(bins).index_add_(0, bin_of, confidence - right)
    return (gap.abs().sum() / len(labels)).item()


def log_loss(log_scores: Tensor, labels: Tensor) -> float:
    """The mean of −log p of the true class, in nats."""
    return -log_scores.gather(1, labels[:, None]).mean().item()


def look_alike(log_scores: Tensor, labels: Tensor, forget: Tensor) -> float:
    """The largest share of one forget class's images that are named as one other class."""
    guess = log_scores.argmax(-1)
    worst = 0.0
    for label in forget.nonzero().flatten().tolist():
        landed = guess[labels == label]
        landed_elsewhere = landed[landed != label]
        if len(landed_elsewhere):
            worst = max(worst, torch.bincount(landed_elsewhere).max().item() / len(landed))
    return worst
