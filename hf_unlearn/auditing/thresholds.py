"""Pass or fail: figures held against limits that the user can set."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

from hf_unlearn.errors import InputError

ENOUGH = 3  # classes, or all if there are fewer; on one or two classes a share is mostly chance


@dataclass(frozen=True)
class Thresholds:
    """The most that is let pass, as shares of 1 (epsilon apart).

    Attributes:
        max_forget: forget images named right, nothing attacked.
        max_attack: forget images named right under the worst of the judged attacks that had `ENOUGH` classes.
        max_short_list: forget images that still get their own name beside four random kept names.
        max_recoverability: how well a probe reads the forgotten class off the scores.
        max_retain_drop: accuracy lost on kept classes, on average.
        max_class_drop: accuracy lost on the worst kept class.
        max_collateral: accuracy lost on classes in neither list.
        max_group_gap: how much further one group's accuracy changed than another's, lower bound.
        max_epsilon: membership, the lower bound of the worst drawing; not judged where so few adapters can't show more.

    Raises:
        ValueError: if a limit is negative or no number, or a share above 1.
    """

    max_forget: float = 0.25
    max_attack: float = 0.5
    max_short_list: float = 0.25
    max_recoverability: float = 0.8
    max_retain_drop: float = 0.15
    max_class_drop: float = 0.6
    max_collateral: float = 0.2
    max_group_gap: float = 0.15
    max_epsilon: float = 1.0

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            top = math.inf if item.name == "max_epsilon" else 1.0
            if not (math.isfinite(value) and 0 <= value <= top):
                expected = "at least 0" if top == math.inf else "a share from 0 to 1"
                raise InputError(f"--{item.name.replace('_', '-')} must be {expected}, got {value}")


WORDS = {
    "max_forget": "forget images still named right",
    "max_attack": "forget images named right under the worst attack",
    "max_short_list": "forget images that get their name beside 4 kept ones",
    "max_recoverability": "forgotten class read off the scores by a probe",
    "max_retain_drop": "accuracy lost on kept classes",
    "max_class_drop": "accuracy lost on the worst kept class",
    "max_collateral": "accuracy lost on classes in neither list",
    "max_group_gap": "groups changed differently by at least",
    "max_epsilon": "epsilon shown for a training drawing",
}


def checks(
    metrics: dict[str, Any], attacks: list[dict[str, Any]], known: int, limits: Thresholds
) -> list[dict[str, Any]]:
    """Every limit with what was measured: `passed` is None where nothing could be.

    Args:
        metrics: of `Audit.content`, `attacks` likewise.
        known: how many of the forget classes the plain model knows.
    """
    judged = [
        attack
        for attack in attacks
        if attack["judged"] and attack["right"] is not None and attack["classes"] >= min(ENOUGH, known)
    ]
    worst = max(judged, key=lambda attack: attack["right"], default=None)
    of_adapter = metrics["rows"][-1]
    groups, unlisted, member = (metrics.get(name) for name in ("groups", "unlisted", "membership"))
    why = _not_judged(member, limits) if member else ""
    found: dict[str, tuple[float | None, str]] = {
        "max_forget": (1 - of_adapter["err_for"], ""),
        "max_attack": (worst["right"], worst["name"]) if worst else (None, ""),
        "max_short_list": (of_adapter.get("short_list_4"), ""),
        "max_recoverability": (of_adapter.get("recoverability"), ""),
        "max_retain_drop": (metrics["harm"]["drop"], ""),
        "max_class_drop": (metrics["harm"]["worst"]["drop"], metrics["harm"]["worst"]["name"]),
        "max_collateral": (unlisted["drop"] if unlisted else None, ""),
        "max_group_gap": (groups["shown"] if groups else None, ""),
        "max_epsilon": (member.get("epsilon") if member else None, why),
    }
    result = []
    for key, (value, which) in found.items():
        limit = getattr(limits, key)
        passed = None if value is None or (key == "max_epsilon" and why) else value <= limit
        result.append(
            {"check": key, "what": WORDS[key], "which": which, "value": value, "limit": limit, "passed": passed}
        )
    return result


def _not_judged(member: dict[str, Any], limits: Thresholds) -> str:
    """Why membership says nothing for or against the adapter; empty if it does."""
    if "skipped" in member:
        return member["skipped"]
    return "" if member["ceiling"] > limits.max_epsilon else "too few adapters to show more"
