"""The audit: how far an adapter's forgetting goes, by measuring every attack we know. Black-box throughout."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from hf_unlearn.adapter import ForgetAdapter
from hf_unlearn.audit import contexts, names
from hf_unlearn.audit import images as pictures_of
from hf_unlearn.audit.case import MODEL, NOBODY, Attack, Case
from hf_unlearn.audit.groups import group_gaps
from hf_unlearn.audit.harm import retain_harm, unlisted_harm
from hf_unlearn.audit.membership import measure_membership
from hf_unlearn.audit.report import Audit
from hf_unlearn.audit.verdict import Thresholds, checks
from hf_unlearn.black_box import BlackBox, ImageSet
from hf_unlearn.data import LabeledImages
from hf_unlearn.evaluate import evaluate
from hf_unlearn.metrics import recoverability

__all__ = ["Audit", "Thresholds", "audit"]

Job = tuple[str, float, Callable[[Callable[[int], Any]], Any]]  # what, about how many queries, and the work


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
        model: the adapter's base; a black box is enough.
        images: of the adapter's classes, forget and retain; none that it was trained on.
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
        training: one image per training drawing; if given, membership is measured, by training `2 * models` adapters.
        models: adapters with, and as many without, each drawing.
        relearn_queries: what the relearning attacker may spend.
        thresholds: what the verdict lets pass.
        progress: a bar on the terminal with the time left.

    Raises:
        ValueError: if images, groups or sizes don't fit the adapter; nothing is trained.
        WrongBaseError: if `model` is not the adapter's base.
    """
    start = time.monotonic()
    if relearn_queries < 1:
        raise ValueError(f"relearn_queries must be at least 1, got {relearn_queries}")
    before = model.ledger.copy()
    case = Case(model, adapter, images)
    if validation is not None and validation.names != images.names:
        raise ValueError("validation images must have the same classes, in the same order, as the images judged")
    words = {"synonyms": synonyms or {}, **(vocabulary or {})}
    words["plurals"] = {name: [names.plural(name)] for name in case.forget_names}
    words["misspellings"] = {name: names.misspellings(name) for name in case.forget_names}
    strangers = unlisted.names if unlisted is not None else ()

    attacks: list[Job] = [("as it is", 1, lambda tell: _as_it_is(case))]
    attacks += [
        (kind, 8, partial(_other_names, case, kind, words[kind]))
        for kind in words
        if any(name in case.forget_names for name in words[kind])
    ]
    attacks += [
        ("templates", 20, lambda tell: names.templates(case)),
        ("labels", 4 * len(case.forget_names), lambda tell: names.random_labels(case, strangers, seed=seed)),
        ("labels", 2, lambda tell: names.only_forgotten(case)),
        ("pictures", 20, lambda tell: pictures_of.changed(case)),
    ]
    if pictures:
        attacks.append(("other pictures", 8, lambda tell: pictures_of.other_pictures(case, pictures)))
    attacks += [
        ("contexts", 1, lambda tell: contexts.dropped(case)),
        ("contexts", 6, lambda tell: contexts.truncated(case)),
        ("contexts", 3, lambda tell: contexts.appended(case, seed)),
    ]
    exchanged = contexts.contexts_of(case, dict(others or {}))
    if validation is not None:
        own = validation

        def second(tell: Callable[[int], Any]) -> Attack:
            trained = {"one that forgets kept classes": contexts.other_adapter(case, own, 30, seed)}
            return contexts.exchanged(case, {**trained, **exchanged})

        attacks.append(("another adapter", 30, second))
        attacks.append(
            ("relearning", 2 * relearn_queries,
             lambda tell: contexts.relearned(case, own, queries=relearn_queries, seed=seed, tell=lambda n: tell(2 * n)))
        )  # fmt: skip
        attacks.append(("probes", 10, lambda tell: _feature_probe(case, own)))
    elif exchanged:
        attacks.append(("another adapter", 2, lambda tell: contexts.exchanged(case, exchanged)))
    figures: dict[str, Job] = {
        "report": (
            "figures", 60,
            lambda tell: evaluate(
                case.model, images, adapter, validation=validation, unlisted=unlisted,
                unlisted_validation=unlisted_validation, synonyms=synonyms,
            ),
        ),
        "harm": ("harm", 1, lambda tell: retain_harm(case, drawings)),
    }  # fmt: skip
    if unlisted is not None:
        figures["unlisted"] = ("harm", 6, lambda tell: unlisted_harm(case, unlisted))
    if groups:
        figures["groups"] = ("groups", 4, lambda tell: group_gaps(case, groups, group_pictures))
    if training is not None:
        queries = 45
        figures["membership"] = (
            f"membership: {2 * models} adapters", 2 * models * queries,
            lambda tell: measure_membership(
                case, training, models=models, queries=queries, seed=seed, tell=lambda n: tell(queries * n)
            ),
        )  # fmt: skip
    done = _run([*figures.values(), *attacks], progress)
    metrics: dict[str, Any] = dict(zip(figures, done, strict=False))
    tried = [attack.summary() for attack in done[len(figures) :]]
    report = metrics.pop("report").content
    metrics = {"rows": report.pop("rows"), **metrics}
    probe = next((attack["recovered"] for attack in tried if "recovered" in attack), None)
    metrics["feature_probe"] = probe
    held = checks(metrics, tried, case.known, thresholds or Thresholds())
    return Audit(
        {
            "verdict": "fail" if any(item["passed"] is False for item in held) else "pass",
            "checks": held,
            "metrics": metrics,
            "attacks": tried,
            "adapter": {
                "base_model": adapter.config.base_model,
                "context_sha256": adapter.config.context_sha256,
                "forget": list(case.forget_names),
                "retain": list(case.retain_names),
            },
            "report": report,
            "ledger": {
                **vars(model.ledger.since(before)),
                "seconds": round(time.monotonic() - start, 1),
            },
        }
    )


def _as_it_is(case: Case) -> Attack:
    tries = case.compare("nothing", case.plain, case.adapted)
    return Attack("no attack", NOBODY, "With nothing attacked, what is still named right?", tuple(tries))


def _other_names(case: Case, kind: str, words: Mapping[str, Sequence[str]], _: Callable[[int], Any]) -> Attack:
    return names.other_names(case, kind, words)


def _feature_probe(case: Case, own: LabeledImages) -> Attack:
    """A linear probe on the image features of forget images, fitted on the attacker's; needs the model's features."""
    fit = case.model.add_images(own)
    question = "Do the image features still show the class? (As before: the adapter only touches the text side.)"
    recovered, access = None, "features that this black box does not give"
    if isinstance(fit, ImageSet) and isinstance(case.handle, ImageSet):
        access = "features"
        import torch

        labels = torch.tensor(own.labels)
        rows, tested = case.forget[labels], case.forget[case.labels]
        value = recoverability(
            fit.features.cpu()[rows], labels[rows], case.handle.features.cpu()[tested], case.labels[tested]
        )
        recovered = value if value == value else None
    return Attack("probe on image features", MODEL, question, (), {"recovered": recovered, "used": access})


def _run(jobs: list[Job], progress: bool) -> list[Any]:
    """Every job's result; the bar moves by queries."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    quiet = not (progress and sys.stderr.isatty())
    results = []
    with Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=Console(stderr=True), disable=quiet,
                  transient=True) as bar:  # fmt: skip
        task = bar.add_task("audit", total=sum(weight for _, weight, _ in jobs))
        spent = 0.0
        for what, weight, work in jobs:
            bar.update(task, description=what)

            def tell(queries: int, spent: float = spent, weight: float = weight) -> None:
                bar.update(task, completed=spent + min(weight, queries))

            results.append(work(tell))
            spent += weight
            bar.update(task, completed=spent)
    return results
