"""Bias: whether forgetting, keeping or collateral harm falls on some groups of classes more than on others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hf_unlearn.auditing.case import Case
from hf_unlearn.auditing.collateral import per_class
from hf_unlearn.auditing.intervals import bootstrap, bootstrap_difference
from hf_unlearn.data.labeled_images import LabeledImages
from hf_unlearn.errors import InputError
from hf_unlearn.text import brief


def group_gaps(case: Case, groups: Mapping[str, str], pictures: LabeledImages | None = None) -> dict[str, Any]:
    """Accuracy per group before and after, apart for forget, retain and unlisted classes; and the gaps.

    A gap is the best group's accuracy minus the worst's. `difference` is how much further one group's accuracy
    changed than another's; of all roles, `shown` is the largest that its interval leaves no doubt about. Intervals
    are bootstraps over a group's classes.

    Args:
        groups: class name -> group.
        pictures: images of those names that the adapter does not list, told apart among themselves.

    Raises:
        ValueError: if a name is neither a class nor in `pictures`, or all names are of one group.
    """
    if len(set(groups.values())) < 2:
        raise InputError("groups: expected at least two groups to compare, got one")
    others = () if pictures is None else pictures.names
    if unknown := [name for name in groups if name not in case.names and name not in others]:
        raise InputError(
            f"groups: {brief(unknown[0])} is no class of the adapter and there are no pictures of it; "
            "correct the name or leave it out"
        )
    before, after = ((x.argmax(-1) == case.labels).double() for x in (case.plain, case.adapted))
    forgotten = {name for name in case.forget_names if name in groups}
    kept = {name for name in case.retain_names if name in groups}
    roles = {}
    for role, members in (("forget", forgotten), ("retain", kept)):
        table = _table(groups, members, case.names, case.labels, before, after)
        roles.update({role: table} if table else {})
    if pictures is not None:
        handle, labels = case.plain_box.add_images(pictures), torch.tensor(pictures.labels)
        plain, adapted = ((x.argmax(-1) == labels).double() for x in case.both(pictures.names, handle))
        members = set(groups) - set(case.names)
        table = _table(groups, members, pictures.names, labels, plain, adapted)
        roles.update({"unlisted": table} if table else {})
    shown = [max(0.0, role["difference_low"]) for role in roles.values() if "difference_low" in role]
    return {"roles": roles, "shown": max(shown, default=None)}


def _table(
    groups: Mapping[str, str], members: set[str], names: tuple[str, ...], labels: Tensor, before: Tensor, after: Tensor
) -> dict[str, Any] | None:
    """Per group: classes, accuracy before and after with intervals; None if no member has an image."""
    of_before, of_after = per_class(before, labels), per_class(after, labels)
    rows: list[dict[str, Any]] = []
    changes: dict[str, list[float]] = {}
    for group in sorted(set(groups.values())):
        own = [i for i in of_before if names[i] in members and groups[names[i]] == group]
        if own:
            then, now = [of_before[i] for i in own], [of_after[i] for i in own]
            changes[group] = [b - a for b, a in zip(now, then, strict=True)]
            low, high = bootstrap(changes[group])
            rows.append(
                {
                    "group": group, "classes": len(own), "before": sum(then) / len(own), "after": sum(now) / len(own),
                    "change": (sum(now) - sum(then)) / len(own), "low": low, "high": high,
                }
            )  # fmt: skip
    if not rows:
        return None
    gap_before, gap_after = (
        max(row[when] for row in rows) - min(row[when] for row in rows) for when in ("before", "after")
    )
    table = {"groups": rows, "gap_before": gap_before, "gap_after": gap_after}
    if len(rows) > 1:
        least, most = (choose(rows, key=lambda row: row["change"]) for choose in (min, max))
        low, high = bootstrap_difference(changes[most["group"]], changes[least["group"]])
        table.update(difference=most["change"] - least["change"], difference_low=low, difference_high=high)
    return table
