"""Evaluation of adapters on images that none was trained on, beside the plain model and a label mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from hf_unlearn.adapters.adapter import ForgetAdapter, check_adapter
from hf_unlearn.data.class_names import difference, synonym_lists
from hf_unlearn.data.labeled_images import LabeledImages, check_images, check_optional_images
from hf_unlearn.errors import InputError
from hf_unlearn.evaluation.class_checks import check_classes, check_validation
from hf_unlearn.evaluation.report import Report
from hf_unlearn.evaluation.report_content import ReportContent, Row
from hf_unlearn.evaluation.rows import Candidate, EvaluationImages, RowMaker
from hf_unlearn.evaluation.score_memory import ScoreMemory
from hf_unlearn.models.black_box import BlackBox, check_box
from hf_unlearn.models.prompts import check_distinguishable
from hf_unlearn.text import brief

ZERO_SHOT, LABEL_MASK = "zero-shot", "label-mask"
BYPASS_TEMPLATE = "a photo of a {}"
Adapters = ForgetAdapter | Sequence[ForgetAdapter]
Stack = tuple[ForgetAdapter, ...]  # in effect together


def evaluate(
    model: BlackBox,
    images: LabeledImages,
    *adapters: Adapters,
    validation: LabeledImages | None = None,
    unlisted: LabeledImages | None = None,
    unlisted_validation: LabeledImages | None = None,
    synonyms: Mapping[str, Sequence[str]] | None = None,
    kind: str = "test",
) -> Report:
    """Evaluates adapters on images that none was trained on; `hf_unlearn.evaluation.metrics` defines the metrics.

    Every distinct score costs one query of the model, however many metrics need it.

    Args:
        model: the adapters' base.
        images: labelled images of the adapters' classes, forget and retain. An edit keeps everything that it does not
            forget, so images of any other class will do beside those it forgets.
        adapters: one or more of either kind that forget the same classes; a row each, named by its method. Several
            as a list are one row, in effect together: `[edit, context]`.
        validation: images the leakage probes are fitted on; without them `recoverability` is left out.
        unlisted: images of classes in neither list, for `collateral`.
        unlisted_validation: the same for fitting `forget_detect`.
        synonyms: other names of forget classes, for `synonym_err`; those that an adapter was trained on are left out.
        kind: what the images are ("test", "validation"), for the report.

    Raises:
        InputError: if the classes of images and adapters differ; it says which. Also if the tokenizer makes the same
            tokens of two classes. It is a `ValueError`.
        WrongBaseError: if `model` is not the adapters' base.
        BudgetSpentError: if the model answers no more queries.
    """
    check_box(model)
    check_images(images=images)
    check_optional_images(validation=validation, unlisted=unlisted, unlisted_validation=unlisted_validation)
    given = EvaluationImages(images, validation, unlisted, unlisted_validation)
    return evaluate_from_memory(ScoreMemory(model), given, adapters, synonyms, kind)


def evaluate_from_memory(
    memory: ScoreMemory,
    images: EvaluationImages,
    adapters: Sequence[Adapters],
    synonyms: Mapping[str, Sequence[str]] | None = None,
    kind: str = "test",
    baselines: Sequence[Row] | None = None,
) -> Report:
    """Does what `evaluate` does, with the images and scores that a longer job may have asked for before.

    Args:
        baselines: the rows of `measure_baselines` for the same images, classes to forget, template and synonyms.
    """
    names = images.test.names
    stacks = _check_stacks(memory.model, names, adapters)
    if len(names) < 2:
        raise InputError(f"expected images of at least two classes, got only {brief(names[0])}")
    check_validation(images.validation, names)
    for labelled in filter(None, (images.test, images.unlisted)):
        check_distinguishable(memory.model, labelled.names)
    every = [adapter for stack in stacks for adapter in stack]
    template = next((one.config.template for one in every if one.kind == "context"), memory.model.template)
    maker, plain, bypass = _make_maker(memory, images, every[0].config.forget, template, _find_unseen(every, synonyms))
    candidates = [_make_candidate(stack, plain, bypass) for stack in stacks]
    rows = [
        *(_measure_baselines(maker, plain, bypass) if baselines is None else baselines),
        *(_sign_row(maker.make_row(one), stack) for one, stack in zip(candidates, stacks, strict=True)),
    ]
    return Report(_describe(maker, rows, candidates[-1], stacks[-1][-1], template, kind))


def measure_baselines(
    memory: ScoreMemory,
    images: EvaluationImages,
    forget: Sequence[str],
    synonyms: Mapping[str, Sequence[str]] | None = None,
) -> list[Row]:
    """The rows of the plain model and of a label mask, which need no adapter, under the model's template."""
    others = _find_unseen((), synonyms)
    return _measure_baselines(*_make_maker(memory, images, forget, memory.model.template, others))


def _measure_baselines(maker: RowMaker, plain: BlackBox, bypass: BlackBox) -> list[Row]:
    return [
        maker.make_row(Candidate(ZERO_SHOT, 0, plain, bypass)),
        maker.make_row(Candidate(LABEL_MASK, 0, plain, bypass, masked=True)),
    ]


def _make_maker(
    memory: ScoreMemory,
    images: EvaluationImages,
    forget: Sequence[str],
    template: str,
    synonyms: Mapping[str, Sequence[str]],
) -> tuple[RowMaker, BlackBox, BlackBox]:
    """What makes rows, and the model under a template and under the plain prompt."""
    plain, bypass = memory.model.with_template(template), memory.model.with_template(BYPASS_TEMPLATE)
    is_forget = torch.tensor([name in forget for name in images.test.names])
    return RowMaker(memory, plain, images, is_forget, synonyms), plain, bypass


def _check_stacks(model: BlackBox, names: Sequence[str], adapters: Sequence[Adapters]) -> list[Stack]:
    """The adapters of each row. Raises: InputError: if there is no adapter, or they forget different classes."""
    several = [one if isinstance(one, Sequence) and not isinstance(one, str | bytes) else (one,) for one in adapters]
    stacks = [tuple(map(check_adapter, stack)) for stack in several]
    if not stacks or not all(stacks):
        raise InputError("expected at least one adapter to evaluate, got none")
    forget = set(stacks[0][0].config.forget)
    for adapter in (adapter for stack in stacks for adapter in stack):
        adapter.check_base(model)
        if set(adapter.config.forget) != forget:
            differing = difference(forget, adapter.config.forget)
            raise InputError(f"the adapters forget different classes; evaluate them one by one ({differing})")
        check_classes(adapter, names)
    return stacks


def _find_unseen(
    adapters: Sequence[ForgetAdapter], synonyms: Mapping[str, Sequence[str]] | None
) -> dict[str, list[str]]:
    """The synonyms that no adapter was trained on."""
    trained = {word for adapter in adapters for words in adapter.config.synonyms.values() for word in words}
    return {name: [word for word in words if word not in trained] for name, words in synonym_lists(synonyms).items()}


def _make_candidate(stack: Stack, plain: BlackBox, bypass: BlackBox) -> Candidate:
    """A stack in effect; without contexts only its edits are."""
    for adapter in stack:
        plain = adapter.applied_to(plain)
        bypass = adapter.applied_to(bypass) if adapter.kind == "edit" else bypass
    queries = sum(int(adapter.config.ledger.get("queries", 0)) for adapter in stack)
    return Candidate(" + ".join(adapter.config.method for adapter in stack), queries, plain, bypass)


def _sign_row(row: Row, stack: Stack) -> Row:
    """The row with the digest of its adapter, by which the adapter finds it."""
    return {**row, "weights_sha256": stack[0].config.weights_sha256} if len(stack) == 1 else row


def _describe(
    maker: RowMaker, rows: list[Row], last: Candidate, adapter: ForgetAdapter, template: str, kind: str
) -> ReportContent:
    """The report's content; its classes are compared under the last candidate."""
    of_forget = int(maker.is_forget.sum())
    forget = [name for name, hidden in zip(maker.names, maker.forget.tolist(), strict=True) if hidden]
    return {
        "rows": rows,
        "per_class": maker.compare_classes(last.box),
        "forget": forget,
        "retain": [name for name in maker.names if name not in forget],
        "images": {
            "kind": kind,
            "forget": of_forget,
            "retain": len(maker.labels) - of_forget,
            "classes": len(maker.names),
        },
        "base_model": adapter.config.base_model,
        "template": template,
        "method": last.name,
        "ledger": adapter.config.ledger,
    }
