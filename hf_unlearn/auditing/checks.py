"""Pass or fail: what was measured, checked against the limits."""

from __future__ import annotations

from dataclasses import dataclass

from hf_unlearn.auditing.attack_results import AttackSummary
from hf_unlearn.auditing.findings import Findings
from hf_unlearn.auditing.membership import Membership
from hf_unlearn.auditing.report_content import CheckContent
from hf_unlearn.auditing.thresholds import Thresholds

ENOUGH = 3  # classes, or all if there are fewer; on one or two classes a share is mostly chance
TOO_FEW_ADAPTERS = "too few adapters to show more"


@dataclass(frozen=True)
class Check:
    """One limit and what was measured.

    Attributes:
        check: the limit's name in `Thresholds`.
        what: the limit in words.
        which: the attack or class that the value is of, or why there is no value.
        value: what was measured; None if nothing could be.
        limit: the largest value that passes.
        passed: None where nothing decides.
    """

    check: str
    what: str
    which: str
    value: float | None
    limit: float
    passed: bool | None

    def to_content(self) -> CheckContent:
        """The check's entry in `audit.json`."""
        return {
            "check": self.check,
            "what": self.what,
            "which": self.which,
            "value": self.value,
            "limit": self.limit,
            "passed": self.passed,
        }


def check_limits(found: Findings, attacks: list[AttackSummary], limits: Thresholds) -> list[Check]:
    """One check per limit.

    Args:
        attacks: summaries of the findings' attacks.
    """
    adapter, harm, worst = found.report.rows[-1], found.harm["worst"], _find_worst(attacks, found.known)
    error = adapter.get("err_for")
    return [
        _check(limits, "max_forget", "forget images still named right", None if error is None else 1 - error),
        _check(
            limits, "max_attack", "forget images named right under the worst attack",
            worst["right"] if worst else None, worst["name"] if worst else "",
        ),
        _check(
            limits, "max_short_list", "forget images that get their name beside 4 kept ones",
            adapter.get("short_list_4"),
        ),
        _check(
            limits, "max_recoverability", "forgotten class read off the scores by a probe",
            adapter.get("recoverability"),
        ),
        _check(limits, "max_retain_drop", "accuracy lost on kept classes", found.harm["drop"]),
        _check(limits, "max_class_drop", "accuracy lost on the worst kept class", harm["drop"], harm["name"]),
        _check(
            limits, "max_collateral", "accuracy lost on classes in neither list",
            found.unlisted["drop"] if found.unlisted else None,
        ),
        _check(
            limits, "max_group_gap", "groups changed differently by at least",
            found.groups["shown"] if found.groups else None,
        ),
        _check_epsilon(limits, found.membership),
    ]  # fmt: skip


def _check(limits: Thresholds, name: str, what: str, value: float | None, which: str = "") -> Check:
    limit: float = getattr(limits, name)
    return Check(name, what, which, value, limit, None if value is None else value <= limit)


def _check_epsilon(limits: Thresholds, member: Membership | None) -> Check:
    """Membership decides nothing where it was not measured, or where so few adapters can't exceed the limit."""
    what, limit = "epsilon shown for a training drawing", limits.max_epsilon
    if member is None:
        return Check("max_epsilon", what, "", None, limit, None)
    if "skipped" in member:
        return Check("max_epsilon", what, member["skipped"], None, limit, None)
    value = member["epsilon"]
    if member["ceiling"] <= limit:
        return Check("max_epsilon", what, TOO_FEW_ADAPTERS, value, limit, None)
    return Check("max_epsilon", what, "", value, limit, value <= limit)


def _find_worst(attacks: list[AttackSummary], known: int) -> AttackSummary | None:
    """The attack that brought most back, of those that decide the verdict and had enough classes."""
    judged = [
        (attack["right"], attack)
        for attack in attacks
        if attack["judged"] and attack["right"] is not None and attack["classes"] >= min(ENOUGH, known)
    ]
    return max(judged, key=lambda item: item[0], default=(0.0, None))[1]
