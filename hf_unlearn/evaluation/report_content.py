"""What `report.json` holds: the types of its rows, its classes and its counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Required, TypedDict


class Row(TypedDict, total=False):
    """The metrics of one candidate, as `hf_unlearn.evaluation.metrics` defines them.

    A key is absent where nothing was given to measure it on. Its value is None where the metric is undefined.
    """

    name: Required[str]
    queries: Required[int]
    H: float | None
    err_for: float | None
    acc_mem: float | None
    entropy: float | None
    top5_leak: float | None
    retain_nll: float | None
    retain_ece: float | None
    look_alike: float | None
    short_list_1: float | None
    short_list_4: float | None
    short_list_9: float | None
    short_list_19: float | None
    recoverability: float | None
    forget_detect: float | None
    collateral: float | None
    collateral_all_names: float | None
    synonym_err: float | None
    synonyms: int
    bypass_acc: float | None
    weights_sha256: str


class ClassAccuracy(TypedDict):
    """The accuracy on one class's images, without and with the last adapter."""

    name: str
    role: Literal["forget", "retain"]
    images: int
    accuracy_before: float
    accuracy_after: float


class ImageCounts(TypedDict):
    """How many images of forget and of retain classes there were, and what they are ("test", "validation")."""

    kind: str
    forget: int
    retain: int
    classes: int


class ReportContent(TypedDict, total=False):
    """The whole file; older files may lack some keys."""

    rows: Required[list[Row]]
    per_class: Required[list[ClassAccuracy]]
    forget: list[str]
    retain: list[str]
    images: Required[ImageCounts]
    base_model: str
    template: str
    method: Required[str]
    ledger: dict[str, Any]


def figure_of(row: Mapping[str, object], key: str) -> float | None:
    """One metric of a row; None if it is absent or undefined."""
    value = row.get(key)
    return value if isinstance(value, int | float) else None
