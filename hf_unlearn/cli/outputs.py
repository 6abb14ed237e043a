"""How every command that trains ends: evaluate the adapter, save it, print the result."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_unlearn.cli.images import warn_of_overlap
from hf_unlearn.console import print_json, print_line, print_rich
from hf_unlearn.text import brief

if TYPE_CHECKING:
    from hf_unlearn.adapters.adapter import ForgetAdapter
    from hf_unlearn.data.labeled_images import LabeledImages
    from hf_unlearn.evaluation.report import Report
    from hf_unlearn.models.clip import ClipBlackBox
    from hf_unlearn.training.result import Result

SHOWN = 5  # forgotten names that the command prints


def finish(
    result: Result,
    clip: ClipBlackBox,
    images: LabeledImages | None,
    judged: LabeledImages | None,
    *,
    shots: int,
    seed: int,
    folder: Path,
    as_json: bool,
) -> None:
    """Evaluates on `judged`, or on what the few-shot draw leaves of `images`; saves, prints: the main process alone.

    An edit uses no image, so half of the images fit the probes and half evaluate it.
    """
    from hf_unlearn.adapters.storage import kind_of
    from hf_unlearn.training.workers import Workers

    workers = Workers()
    workers.disconnect()
    if not workers.is_main:
        return
    adapter, report = _evaluate(result.adapter, clip, images, judged, shots, seed)
    before = kind_of(folder)
    adapter.save_pretrained(folder)
    if as_json:
        print_json(_to_json(adapter, report, folder))
        return
    if adapter.kind == "edit":
        _print_edit(adapter)
    else:
        print_line(f"stopped after {adapter.config.ledger['queries']:,} queries: {result.reason.value}")
    if report:
        print_rich(report)
    elif adapter.kind == "context":
        print_line("not evaluated: give --data or --test")
    print_line(f"adapter saved in {folder}{name_replaced(before, adapter.kind)}")


def _evaluate(
    adapter: ForgetAdapter,
    clip: ClipBlackBox,
    images: LabeledImages | None,
    judged: LabeledImages | None,
    shots: int,
    seed: int,
) -> tuple[ForgetAdapter, Report | None]:
    """The adapter with its report in it, and the report; None if there is no image."""
    from hf_unlearn.evaluation.evaluator import evaluate

    validation, kind = None, "test"
    if images is not None and judged is not None:
        warn_of_overlap(judged, images)
    if images is not None:
        is_edit = adapter.kind == "edit"
        train, validation, rest = images.few_shot(len(images) if is_edit else shots, seed)
        if judged is None and is_edit:
            judged, kind = train, "held-out"
        elif judged is None:
            judged, kind = (rest, "held-out") if all(rest.counts().values()) else (validation, "validation")
    if judged is None:
        return adapter, None
    fit = validation if kind != "validation" else None
    report = evaluate(clip, judged, adapter, validation=fit, kind=kind)
    return adapter.with_report(report.content), report


def name_replaced(before: str | None, kind: str) -> str:
    """Names the adapter that was replaced, if it was of the other kind."""
    return f" in place of {'an edit' if before == 'edit' else 'a context'}" if before not in (None, kind) else ""


def _to_json(adapter: ForgetAdapter, report: Report | None, folder: Path) -> str:
    """The report; for an edit, also its names and the words that it changes most."""
    content: dict[str, Any] = dict(report.content) if report else {}
    if adapter.kind == "edit":
        config = adapter.config
        content |= {
            "adapter": str(folder), "kind": "edit", "forget": config.forget, "retain": config.retain,
            "neighbours": config.neighbours, "ledger": config.ledger,
        }  # fmt: skip
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)


def _first_names(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = len(names) - SHOWN
    return ", ".join(map(brief, names[:SHOWN])) + (f" and {more:,} more" if more > 0 else "")


def _print_edit(adapter: ForgetAdapter) -> None:
    from hf_unlearn.edits.neighbours import Neighbour, describe_neighbours

    config = adapter.config
    neighbours = describe_neighbours([Neighbour(**item) for item in config.neighbours])
    count = f"{len(config.forget)} name{'s' * (len(config.forget) > 1)}"
    lines = [
        f"edit of the text features: {count} forgotten in {config.ledger['seconds']:.1f} s, 0 queries, no image",
        f"forgotten: {_first_names(config.forget)}",
        neighbours,
        "Too much? Protect words with --keep WORD and run it again. Too little? Add --forget WORD, or raise --breadth.",
        "Images and their features are untouched: searching images by image still finds what was forgotten.",
    ]
    for line in filter(None, lines):
        print_line(line)
