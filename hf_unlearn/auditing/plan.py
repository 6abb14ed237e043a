"""The plan of an audit: what is measured, which attacks run, and which can't and why."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from hf_unlearn.auditing.attack_results import Attack, NotRun
from hf_unlearn.auditing.attacks.added_tokens import plan_added_tokens
from hf_unlearn.auditing.attacks.context_cut_short import plan_context_cut_short
from hf_unlearn.auditing.attacks.context_left_out import plan_context_left_out
from hf_unlearn.auditing.attacks.feature_probe import plan_feature_probe
from hf_unlearn.auditing.attacks.forgotten_names_only import plan_forgotten_names_only
from hf_unlearn.auditing.attacks.no_attack import plan_no_attack
from hf_unlearn.auditing.attacks.other_contexts import plan_other_contexts
from hf_unlearn.auditing.attacks.other_names import plan_other_names
from hf_unlearn.auditing.attacks.other_pictures import plan_other_pictures
from hf_unlearn.auditing.attacks.picture_changes import plan_picture_changes
from hf_unlearn.auditing.attacks.random_labels import plan_random_labels
from hf_unlearn.auditing.attacks.relearning import plan_relearning
from hf_unlearn.auditing.attacks.short_lists import plan_short_lists
from hf_unlearn.auditing.attacks.templates import plan_templates
from hf_unlearn.auditing.attacks.usual_templates import plan_usual_templates
from hf_unlearn.auditing.case import Case
from hf_unlearn.auditing.collateral import (
    RetainHarm,
    UnlistedHarm,
    measure_retain_harm,
    measure_unlisted_harm,
)
from hf_unlearn.auditing.findings import Findings
from hf_unlearn.auditing.groups import GroupGaps, measure_group_gaps
from hf_unlearn.auditing.inputs import Inputs
from hf_unlearn.auditing.membership import Membership, measure_membership
from hf_unlearn.auditing.progress import ProgressBar, Step
from hf_unlearn.evaluation.evaluator import evaluate_from_memory
from hf_unlearn.evaluation.report import Report
from hf_unlearn.evaluation.rows import EvaluationImages

MEMBER_QUERIES = 45  # for training each of membership's adapters
ATTACKS: tuple[Callable[[Case, Inputs], Iterable[Step[Attack] | NotRun]], ...] = (  # in the order of the report
    plan_no_attack,
    plan_other_names,
    plan_templates,
    plan_usual_templates,
    plan_short_lists,
    plan_random_labels,
    plan_forgotten_names_only,
    plan_picture_changes,
    plan_other_pictures,
    plan_context_left_out,
    plan_context_cut_short,
    plan_other_contexts,
    plan_added_tokens,
    plan_relearning,
    plan_feature_probe,
)


@dataclass(frozen=True)
class Plan:
    """The steps of an audit; a step is None where nothing was given for it.

    Attributes:
        attacks: that run, in order.
        not_run: attacks that can't, and why.
        known: how many forget classes the plain model knows.
    """

    report: Step[Report]
    harm: Step[RetainHarm]
    unlisted: Step[UnlistedHarm] | None
    groups: Step[GroupGaps] | None
    membership: Step[Membership] | None
    attacks: tuple[Step[Attack], ...]
    not_run: tuple[NotRun, ...]
    known: int

    @classmethod
    def make(cls, case: Case, given: Inputs) -> Plan:
        """Decides by the adapter's kind, the model and what was given."""
        planned = [item for plan_attack in ATTACKS for item in plan_attack(case, given)]
        return cls(
            _plan_report(case, given),
            Step("harm", 1, lambda _: measure_retain_harm(case, given.drawings)),
            _plan_unlisted(case, given),
            _plan_groups(case, given),
            _plan_membership(case, given),
            tuple(item for item in planned if isinstance(item, Step)),
            tuple(item for item in planned if isinstance(item, NotRun)),
            case.known,
        )

    @property
    def queries(self) -> float:
        """About how many all steps take."""
        figures: list[Step[Any] | None] = [self.report, self.harm, self.unlisted, self.groups, self.membership]
        return sum(step.queries for step in (*figures, *self.attacks) if step is not None)

    def run(self, progress: bool) -> Findings:
        """Runs every step, behind a progress bar if wanted."""
        with ProgressBar(self.queries, progress) as bar:
            return Findings(
                report=bar.run(self.report),
                harm=bar.run(self.harm),
                unlisted=bar.run(self.unlisted) if self.unlisted else None,
                groups=bar.run(self.groups) if self.groups else None,
                membership=bar.run(self.membership) if self.membership else None,
                attacks=tuple(bar.run(attack) for attack in self.attacks),
                not_run=self.not_run,
                known=self.known,
            )


def _plan_report(case: Case, given: Inputs) -> Step[Report]:
    images = EvaluationImages(case.images, given.validation, given.unlisted, given.unlisted_validation)
    return Step("figures", 60, lambda _: evaluate_from_memory(case.memory, images, [case.adapter], given.synonyms))


def _plan_unlisted(case: Case, given: Inputs) -> Step[UnlistedHarm] | None:
    if (unlisted := given.unlisted) is None:
        return None
    return Step("harm", 6, lambda _: measure_unlisted_harm(case, unlisted))


def _plan_groups(case: Case, given: Inputs) -> Step[GroupGaps] | None:
    if not (groups := given.groups):
        return None
    return Step("groups", 4, lambda _: measure_group_gaps(case, groups, given.group_pictures))


def _plan_membership(case: Case, given: Inputs) -> Step[Membership] | None:
    if (training := given.training) is None:
        return None
    adapters = 2 * given.models
    return Step(f"membership: {adapters} adapters", adapters * MEMBER_QUERIES, lambda advance: measure_membership(
        case, training, models=given.models, queries=MEMBER_QUERIES, seed=given.seed,
        advance=lambda done: advance(MEMBER_QUERIES * done),
    ))  # fmt: skip
