"""Bias: whether forgetting, keeping or collateral harm falls on some groups of classes more than on others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NotRequired, TypedDict

import torch
from torch import Tensor

from hf_unlearn.auditing.case import Case
from hf_unlearn.auditing.collateral import average_per_class
from hf_unlearn.auditing.intervals import bootstrap_difference, bootstrap_mean
from hf_unlearn.data.labeled_images import LabeledImages
from hf_unlearn.errors import InputError
from hf_unlearn.text import brief


class GroupChange(TypedDict):
    """The accuracy of one group before and after; the interval of its change is over its classes."""

    group: str
    classes: int
    before: float
    after: float
    change: float
    low: float
    high: float


class GroupTable(TypedDict):
    """All groups in one role; a gap is the best group's accuracy minus the worst's.

    `difference` is how much further one group's accuracy changed than another's, if there are two.
    """

    groups: list[GroupChange]
    gap_before: float
    gap_after: float
    difference: NotRequired[float]
    difference_low: NotRequired[float]
    difference_high: NotRequired[float]


class GroupGaps(TypedDict):
    """Tables by role ("forget", "retain", "unlisted"); `shown` is the largest lower bound of a difference."""

    roles: dict[str, GroupTable]
    shown: float | None


def measure_group_gaps(case: Case, groups: Mapping[str, str], pictures: LabeledImages | None = None) -> GroupGaps:
    """Accuracy per group before and after, for forget, retain and unlisted classes; intervals are over classes.

    Args:
        groups: class name -> group.
        pictures: images of those names that the adapter does not list, classified among these names.

    Raises:
        InputError: if a name is neither a class nor in `pictures`, or all names are of one group.
    """
    _check_groups(case, groups, pictures)
    labels = case.labels
    right = _find_right(case.plain, case.adapted, labels)
    forget = _tabulate(groups, {*case.forget_names} & {*groups}, case.names, labels, *right)
    retain = _tabulate(groups, {*case.retain_names} & {*groups}, case.names, labels, *right)
    unlisted = None
    if pictures is not None:
        labels = torch.tensor(pictures.labels)
        right = _find_right(*case.score_both(pictures.names, case.encode(pictures)), labels)
        unlisted = _tabulate(groups, set(groups) - set(case.names), pictures.names, labels, *right)
    tables = {"forget": forget, "retain": retain, "unlisted": unlisted}
    roles = {role: table for role, table in tables.items() if table}
    bounds = [max(0.0, table["difference_low"]) for table in roles.values() if "difference_low" in table]
    return {"roles": roles, "shown": max(bounds, default=None)}


def _check_groups(case: Case, groups: Mapping[str, str], pictures: LabeledImages | None) -> None:
    if len(set(groups.values())) < 2:
        raise InputError("groups: expected at least two groups to compare, got one")
    others = () if pictures is None else pictures.names
    if unknown := [name for name in groups if name not in case.names and name not in others]:
        raise InputError(
            f"groups: {brief(unknown[0])} is no class of the adapter and there are no pictures of it; "
            "correct the name or leave it out"
        )


def _find_right(plain: Tensor, adapted: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """`(N,)` each: 1 for images named right without and with the adapter."""
    return (plain.argmax(-1) == labels).double(), (adapted.argmax(-1) == labels).double()


def _tabulate(
    groups: Mapping[str, str], members: set[str], names: tuple[str, ...], labels: Tensor, before: Tensor, after: Tensor
) -> GroupTable | None:
    """The groups of those members that have images; None if no member has."""
    of_before, of_after = average_per_class(before, labels), average_per_class(after, labels)
    changes: dict[str, list[float]] = {}
    rows: list[GroupChange] = []
    for group in sorted(set(groups.values())):
        classes = [i for i in of_before if names[i] in members and groups[names[i]] == group]
        if classes:
            then, now = [of_before[i] for i in classes], [of_after[i] for i in classes]
            changes[group] = [b - a for b, a in zip(now, then, strict=True)]
            rows.append(_compare(group, then, now, changes[group]))
    if not rows:
        return None
    table: GroupTable = {
        "groups": rows,
        "gap_before": max(row["before"] for row in rows) - min(row["before"] for row in rows),
        "gap_after": max(row["after"] for row in rows) - min(row["after"] for row in rows),
    }
    if len(rows) > 1:
        least, most = (choose(rows, key=lambda row: row["change"]) for choose in (min, max))
        low, high = bootstrap_difference(changes[most["group"]], changes[least["group"]])
        table["difference"] = most["change"] - least["change"]
        table["difference_low"], table["difference_high"] = low, high
    return table


def _compare(group: str, before: list[float], after: list[float], changes: list[float]) -> GroupChange:
    low, high = bootstrap_mean(changes)
    return {
        "group": group,
        "classes": len(changes),
        "before": sum(before) / len(changes),
        "after": sum(after) / len(changes),
        "change": (sum(after) - sum(before)) / len(changes),
        "low": low,
        "high": high,
    }
