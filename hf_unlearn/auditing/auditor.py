"""The audit: how far an adapter's forgetting goes, by measuring every attack we know. Black-box throughout."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from hf_unlearn.adapters.adapter import ForgetAdapter
from hf_unlearn.arguments import LARGEST_SEED, whole_number
from hf_unlearn.auditing.case import Attack, Case
from hf_unlearn.auditing.plan import Inputs, attacks, figures
from hf_unlearn.auditing.report import Audit
from hf_unlearn.auditing.steps import run_steps
from hf_unlearn.auditing.thresholds import Thresholds, checks
from hf_unlearn.data.class_names import check_names, synonym_lists
from hf_unlearn.data.labeled_images import LabeledImages, check_images
from hf_unlearn.evaluation.class_checks import check_validation
from hf_unlearn.models.black_box import BlackBox, check_box
from hf_unlearn.text import brief

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
    """Attacks an adapter and says how much of what it forgot comes back, and what it costs the rest.

    Args:
        model: the adapter's base; a black box is enough for a context.
        adapter: a context or an edit.
        images: of the adapter's classes, forget and retain; none that it was trained on. An edit keeps whatever it
            is not asked to forget, so its images may be of any other classes as well.
        validation: an attacker's own pictures, same classes: probes are fitted and contexts learned on them.
            Without them there are no probes, no relearning and no second adapter.
        unlisted, unlisted_validation: images of classes in neither list.
        synonyms: forget class -> other names.
        vocabulary: kind ("hypernyms", "descriptions", "German") -> forget class -> words.
        pictures: kind -> other pictures of forget classes.
        others: further adapters of the same base, whose contexts are tried.
        drawings: which drawing each of `images` is a copy of.
        groups: class name -> group, to compare groups.
        group_pictures: images of those names in `groups` that the adapter does not list.
        training: one image per training drawing; if given, membership is measured, by training `2 * models`
            adapters; of an edit it is not.
        models: adapters with, and as many without, each drawing.
        relearn_queries: what the relearning attacker may spend.
        thresholds: what the verdict lets pass.
        progress: a bar on the terminal with the time left.

    Raises:
        ValueError: if images, groups or sizes don't fit the adapter; nothing is trained.
        WrongBaseError: if `model` is not the adapter's base.
    """
    check_box(model)
    check_images(images=images, validation=validation, unlisted=unlisted, training=training)
    start, before = time.monotonic(), model.ledger.copy()
    given = Inputs(
        validation, unlisted, unlisted_validation, synonym_lists(synonyms),
        {kind: synonym_lists(own, f"vocabulary[{brief(kind)}]") for kind, own in (vocabulary or {}).items()},
        pictures or {}, others or {}, drawings, _groups(groups), group_pictures, training,
        whole_number("models", models), whole_number("relearn_queries", relearn_queries),
        whole_number("seed", seed, 0, LARGEST_SEED),
    )  # fmt: skip
    case = Case(model, adapter, images)
    check_validation(validation, images.names)
    measures, (tries, left_out) = figures(case, given), attacks(case, given)
    done = run_steps([*measures.values(), *tries], progress)
    found = _content(
        case, dict(zip(measures, done, strict=False)), done[len(measures) :], thresholds or Thresholds(), left_out
    )
    found["ledger"] = {**vars(model.ledger.since(before)), "seconds": round(time.monotonic() - start, 1)}
    return Audit(found)


def _groups(groups: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """Class -> group, the classes as images name theirs. Raises: ValueError: if a class stands there twice."""
    if not groups:
        return groups
    return dict(zip(check_names(list(groups), "groups"), groups.values(), strict=True))


def _content(
    case: Case, measured: dict[str, Any], tried: Sequence[Attack], limits: Thresholds, left_out: Mapping[str, str]
) -> dict[str, Any]:
    """`Audit.content`, all but the ledger."""
    config = case.adapter.config
    summaries = [attack.summary() for attack in tried]
    report = measured.pop("report")
    probe = next((attack["recovered"] for attack in summaries if "recovered" in attack), None)
    metrics = {"rows": report.pop("rows"), **measured, "feature_probe": probe}
    held = checks(metrics, summaries, case.known, limits)
    return {
        "verdict": "fail" if any(item["passed"] is False for item in held) else "pass",
        "checks": held,
        "metrics": metrics,
        "attacks": summaries,
        "not_run": [{"name": name, "why": why} for name, why in left_out.items()],
        "adapter": {
            "kind": case.adapter.kind,
            "base_model": config.base_model,
            "weights_sha256": config.weights_sha256,
            "forget": list(case.forget_names),
            "retain": list(case.retain_names),
        },
        "report": report,
    }
