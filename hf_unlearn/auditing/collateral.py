"""What the adapter costs those it should not touch: kept classes, and classes in neither list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hf_unlearn.auditing.case import Case
from hf_unlearn.auditing.intervals import bootstrap
from hf_unlearn.data.labeled_images import LabeledImages
from hf_unlearn.errors import InputError
from hf_unlearn.evaluation import metrics


def retain_harm(case: Case, drawings: Sequence[int] | None = None) -> dict[str, Any]:
    """Accuracy lost per kept class, with intervals, and calibration before and after.

    Args:
        drawings: for every image, which drawing it is a copy of; each its own if not given. A class's interval
            is a bootstrap over its drawings, the mean's over classes.

    Raises:
        ValueError: unless there is one drawing per image.
    """
    if drawings is not None and len(drawings) != len(case.labels):
        raise InputError(f"expected a drawing for each of {len(case.labels)} images, got {len(drawings)}")
    source = torch.arange(len(case.labels)) if drawings is None else torch.tensor(list(drawings))
    before, after = ((x.argmax(-1) == case.labels).double() for x in (case.plain, case.adapted))
    classes = []
    for label in (~case.forget).nonzero().flatten().tolist():
        own = case.labels == label
        if not own.any():
            continue
        lost = (before - after)[own]
        of = [lost[source[own] == number].mean().item() for number in source[own].unique()]
        low, high = bootstrap(of)
        classes.append(
            {
                "name": case.names[label], "images": int(own.sum()), "drawings": len(of),
                "before": before[own].mean().item(), "after": after[own].mean().item(),
                "drop": lost.mean().item(), "low": low, "high": high,
            }
        )  # fmt: skip
    low, high = bootstrap([item["drop"] for item in classes])
    kept = ~case.forget[case.labels]
    return {
        "drop": sum(item["drop"] for item in classes) / len(classes),
        "low": low,
        "high": high,
        "worst": max(classes, key=lambda item: item["drop"]),
        "classes": sorted(classes, key=lambda item: -item["drop"]),
        "calibration": {
            when: {
                "ece": metrics.calibration_error(scores[kept], case.labels[kept]),
                "nll": metrics.log_loss(scores[kept], case.labels[kept]),
            }
            for when, scores in (("before", case.plain), ("after", case.adapted))
        },
    }


def unlisted_harm(case: Case, unlisted: LabeledImages) -> dict[str, Any]:
    """Accuracy lost on classes in neither list, arg-max over their own names; the interval is over classes."""
    handle = case.plain_box.add_images(unlisted)
    labels = torch.tensor(unlisted.labels)
    before, after = ((x.argmax(-1) == labels).double() for x in case.both(unlisted.names, handle))
    drops = per_class(before - after, labels)
    low, high = bootstrap(list(drops.values()))
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


def per_class(values: Tensor, labels: Tensor) -> dict[int, float]:
    """Mean of `(N,)` values over the images of each class that has some."""
    return {label: values[labels == label].mean().item() for label in labels.unique().tolist()}
