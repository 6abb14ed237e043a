"""Everything that an audit measured, by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from hf_unlearn.auditing.attack_results import Attack, NotRun
from hf_unlearn.auditing.collateral import RetainHarm, UnlistedHarm
from hf_unlearn.auditing.groups import GroupGaps
from hf_unlearn.auditing.membership import Membership
from hf_unlearn.evaluation.report import Report
from hf_unlearn.evaluation.report_content import Row


class OptionalMetrics(TypedDict, total=False):
    """Metrics that are absent where nothing was given to measure them on."""

    unlisted: UnlistedHarm
    groups: GroupGaps
    membership: Membership


class AuditMetrics(OptionalMetrics):
    """What was measured beside the attacks, as in `audit.json`."""

    rows: list[Row]
    harm: RetainHarm
    feature_probe: float | None


@dataclass(frozen=True)
class Findings:
    """Figures and attacks; a figure is None where nothing was given to measure it on.

    Attributes:
        report: of the adapter's evaluation, beside the plain model and a label mask.
        harm: to kept classes.
        unlisted: harm to classes in neither list.
        groups: whether groups of classes fare differently.
        membership: whether drawings of the training can be recognized.
        attacks: that were run, in order.
        not_run: attacks that could not be, and why.
        known: how many forget classes the plain model knows.
    """

    report: Report
    harm: RetainHarm
    unlisted: UnlistedHarm | None
    groups: GroupGaps | None
    membership: Membership | None
    attacks: tuple[Attack, ...]
    not_run: tuple[NotRun, ...]
    known: int

    @property
    def metrics(self) -> AuditMetrics:
        """The figures as in `audit.json`."""
        optional: OptionalMetrics = {}
        if self.unlisted is not None:
            optional["unlisted"] = self.unlisted
        if self.groups is not None:
            optional["groups"] = self.groups
        if self.membership is not None:
            optional["membership"] = self.membership
        return {"rows": self.report.rows, "harm": self.harm, **optional, "feature_probe": self._find_probe()}

    def _find_probe(self) -> float | None:
        """How well a probe reads the class off image features."""
        return next((item.details["recovered"] for item in self.attacks if "recovered" in item.details), None)
