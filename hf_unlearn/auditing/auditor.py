"""The audit: every attack that we know, measured on an adapter through its black box alone."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from hf_unlearn.adapters.adapter import ForgetAdapter, check_adapter
from hf_unlearn.auditing.case import Case
from hf_unlearn.auditing.checks import check_limits
from hf_unlearn.auditing.findings import Findings
from hf_unlearn.auditing.inputs import Inputs
from hf_unlearn.auditing.plan import Plan
from hf_unlearn.auditing.report import Audit
from hf_unlearn.auditing.report_content import AuditContent, AuditLedger
from hf_unlearn.auditing.thresholds import Thresholds
from hf_unlearn.data.labeled_images import LabeledImages, check_images
from hf_unlearn.evaluation.class_checks import check_validation
from hf_unlearn.models.black_box import BlackBox, Ledger, check_box
from hf_unlearn.models.prompts import check_distinguishable

__all__ = ["Audit", "Thresholds", "audit"]


def audit(
    model: BlackBox,
    adapter: ForgetAdapter,
    images: LabeledImages,
    *,
    validation: LabeledImages | None = None,
    unlisted: LabeledImages | None = None,
    unlisted_validation: LabeledImages | None = None,
    synonyms: Mapping[str, Sequence[str]] | None = None,
    vocabulary: Mapping[str, Mapping[str, Sequence[str]]] | None = None,
    pictures: Mapping[str, LabeledImages] | None = None,
    others: Mapping[str, ForgetAdapter] | None = None,
    drawings: Sequence[int] | None = None,
    groups: Mapping[str, str] | None = None,
    group_pictures: LabeledImages | None = None,
    training: LabeledImages | None = None,
    models: int = 64,
    relearn_queries: int = 150,
    thresholds: Thresholds | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Audit:
    """Attacks an adapter and measures how much of what it forgot comes back, and what it costs other classes.

    Args:
        model: the adapter's base; a black box is enough for a context.
        adapter: a context or an edit.
        images: of the adapter's classes, forget and retain; none that it was trained on. An edit keeps everything that
            it does not forget, so its images may be of any other classes as well.
        validation: pictures of the same classes, as an attacker has some: probes and contexts are trained on them.
            Without them there are no probes, no relearning and no second adapter.
        unlisted, unlisted_validation: images of classes in neither list.
        synonyms: forget class -> other names.
        vocabulary: kind ("hypernyms", "descriptions", "German") -> forget class -> words.
        pictures: kind -> other pictures of forget classes.
        others: further adapters of the same base, whose contexts are tried.
        drawings: which drawing each of `images` is a copy of.
        groups: class name -> group, to compare groups.
        group_pictures: images of those names in `groups` that the adapter does not list.
        training: one image per training drawing; if given, membership is measured by training `2 * models` adapters.
            It is not measured for an edit.
        models: adapters with, and as many without, each drawing.
        relearn_queries: the budget of the relearning attacker.
        thresholds: the limits of the verdict.
        seed: of every draw.
        progress: whether to show a bar on the terminal with the time left.

    Raises:
        InputError: if images, groups or sizes don't fit the adapter; nothing is trained. Also if the tokenizer makes
            the same tokens of two classes. It is a `ValueError`.
        WrongBaseError: if `model` is not the adapter's base.
        BudgetSpentError: if the model answers no more queries.
        RemoteError: if a remote model does not answer; an audit never passes for a missing answer.
    """
    check_box(model)
    check_images(images=images)
    check_adapter(adapter)
    start, before = time.monotonic(), model.ledger.copy()
    given = Inputs.check(
        validation=validation, unlisted=unlisted, unlisted_validation=unlisted_validation, synonyms=synonyms,
        vocabulary=vocabulary, pictures=pictures, others=others, drawings=drawings, groups=groups,
        group_pictures=group_pictures, training=training, models=models, relearn_queries=relearn_queries, seed=seed,
    )  # fmt: skip
    for labelled in filter(None, (images, unlisted, group_pictures)):
        check_distinguishable(model, labelled.names)
    case = Case(model, adapter, images)
    check_validation(validation, images.names)
    found = Plan.make(case, given).run(progress)
    ledger = _describe_ledger(model.ledger.since(before), time.monotonic() - start)
    return Audit(_describe(case, found, thresholds or Thresholds(), ledger))


def _describe(case: Case, found: Findings, limits: Thresholds, ledger: AuditLedger) -> AuditContent:
    """The verdict, and all that it rests on."""
    attacks = [attack.summarize() for attack in found.attacks]
    checks = check_limits(found, attacks, limits)
    config = case.adapter.config
    return {
        "verdict": "fail" if any(check.passed is False for check in checks) else "pass",
        "checks": [check.to_content() for check in checks],
        "metrics": found.metrics,
        "attacks": attacks,
        "not_run": [{"name": item.name, "why": item.why} for item in found.not_run],
        "adapter": {
            "kind": case.adapter.kind,
            "base_model": config.base_model,
            "weights_sha256": config.weights_sha256,
            "forget": list(case.forget_names),
            "retain": list(case.retain_names),
        },
        "report": {key: value for key, value in found.report.content.items() if key != "rows"},
        "ledger": ledger,
    }


def _describe_ledger(asked: Ledger, seconds: float) -> AuditLedger:
    return {
        "queries": asked.queries,
        "text_tokens": asked.text_tokens,
        "image_encodings": asked.image_encodings,
        "seconds": round(seconds, 1),
    }
