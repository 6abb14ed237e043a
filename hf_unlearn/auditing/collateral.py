"""What the adapter costs: accuracy lost on kept classes, and on classes in neither list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import torch
from torch import Tensor

from hf_unlearn.auditing.case import Case
from hf_unlearn.auditing.intervals import bootstrap_mean
from hf_unlearn.data.labeled_images import LabeledImages
from hf_unlearn.errors import InputError
from hf_unlearn.evaluation import metrics


class ClassHarm(TypedDict):
    """Accuracy on a kept class before and after; the interval of its drop is over its drawings."""

    name: str
    images: int
    drawings: int
    before: float
    after: float
    drop: float
    low: float
    high: float


class Calibration(TypedDict):
    """Expected calibration error, and log-loss in nats."""

    ece: float
    nll: float


class RetainHarm(TypedDict):
    """The mean drop over kept classes with its interval, and every class, the worst first."""

    drop: float
    low: float
    high: float
    worst: ClassHarm
    classes: list[ClassHarm]
    calibration: dict[str, Calibration]


class ClassDrop(TypedDict):
    """Accuracy lost on one class."""

    name: str
    drop: float


class UnlistedHarm(TypedDict):
    """Accuracy on unlisted classes before and after; the interval of the mean drop is over classes."""

    classes: int
    before: float
    after: float
    drop: float
    low: float
    high: float
    worst: ClassDrop


def measure_retain_harm(case: Case, drawings: Sequence[int] | None = None) -> RetainHarm:
    """Accuracy lost per kept class, with intervals, and calibration before and after.

    Args:
        drawings: for every image, which drawing it is a copy of; if not given, every image is a drawing. A class's
            interval is a bootstrap over its drawings, the mean's over classes.

    Raises:
        InputError: unless there is one drawing per image.
    """
    if drawings is not None and len(drawings) != len(case.labels):
        raise InputError(f"expected a drawing for each of {len(case.labels)} images, got {len(drawings)}")
    source = torch.arange(len(case.labels)) if drawings is None else torch.tensor(list(drawings))
    before, after = ((x.argmax(-1) == case.labels).double() for x in (case.plain, case.adapted))
    classes = [
        _measure_class(case.names[label], case.labels == label, source, before, after)
        for label in (~case.forget).nonzero().flatten().tolist()
        if (case.labels == label).any()
    ]
    low, high = bootstrap_mean([item["drop"] for item in classes])
    return {
        "drop": sum(item["drop"] for item in classes) / len(classes),
        "low": low,
        "high": high,
        "worst": max(classes, key=lambda item: item["drop"]),
        "classes": sorted(classes, key=lambda item: -item["drop"]),
        "calibration": {
            "before": _measure_calibration(case, case.plain),
            "after": _measure_calibration(case, case.adapted),
        },
    }


def measure_unlisted_harm(case: Case, unlisted: LabeledImages) -> UnlistedHarm:
    """Accuracy lost on classes in neither list, arg-max over their names; the interval is over classes."""
    labels = torch.tensor(unlisted.labels)
    scores = case.score_both(unlisted.names, case.encode(unlisted))
    before, after = ((x.argmax(-1) == labels).double() for x in scores)
    drops = average_per_class(before - after, labels)
    low, high = bootstrap_mean(list(drops.values()))
    worst = max(drops, key=lambda label: drops[label])
    return {
        "classes": len(drops),
        "before": before.mean().item(),
        "after": after.mean().item(),
        "drop": sum(drops.values()) / len(drops),
        "low": low,
        "high": high,
        "worst": {"name": unlisted.names[worst], "drop": drops[worst]},
    }


def average_per_class(values: Tensor, labels: Tensor) -> dict[int, float]:
    """The mean of `(N,)` values over the images of each class that has some."""
    return {label: values[labels == label].mean().item() for label in torch.unique(labels).tolist()}


def _measure_class(name: str, members: Tensor, source: Tensor, before: Tensor, after: Tensor) -> ClassHarm:
    lost = (before - after)[members]
    of_drawings = [lost[source[members] == number].mean().item() for number in torch.unique(source[members])]
    low, high = bootstrap_mean(of_drawings)
    return {
        "name": name,
        "images": int(members.sum()),
        "drawings": len(of_drawings),
        "before": before[members].mean().item(),
        "after": after[members].mean().item(),
        "drop": lost.mean().item(),
        "low": low,
        "high": high,
    }


def _measure_calibration(case: Case, scores: Tensor) -> Calibration:
    kept = ~case.forget[case.labels]
    return {
        "ece": metrics.calibration_error(scores[kept], case.labels[kept]),
        "nll": metrics.log_loss(scores[kept], case.labels[kept]),
    }
