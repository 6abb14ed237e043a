"""How every command that trains ends: judge the adapter, save it, say what came out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_unlearn.cli.images import tell_of_overlap
from hf_unlearn.console import say, say_json, show
from hf_unlearn.text import brief

if TYPE_CHECKING:
    from hf_unlearn.adapters.adapter import ForgetAdapter
    from hf_unlearn.data.labeled_images import LabeledImages
    from hf_unlearn.evaluation.report import Report
    from hf_unlearn.models.clip import ClipBlackBox
    from hf_unlearn.training.result import Result

SHOWN = 5  # forgotten names that are said back


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
    """Judges on `judged`, or on what the few-shot draw leaves of `images`, saves, prints; the main process does.

    No image goes into an edit, so half of them fit the probes and half are judged.
    """
    from hf_unlearn.adapters.storage import kind_of
    from hf_unlearn.evaluation.evaluator import evaluate
    from hf_unlearn.training.workers import Crew

    crew = Crew()
    crew.leave()
    if not crew.is_main:
        return
    validation, kind = None, "test"
    if images is not None and judged is not None:
        tell_of_overlap(judged, images)
    if images is not None:
        is_edit = result.adapter.kind == "edit"
        train, validation, rest = images.few_shot(len(images) if is_edit else shots, seed)
        if judged is None and is_edit:
            judged, kind = train, "held-out"
        elif judged is None:
            judged, kind = (rest, "held-out") if all(rest.counts().values()) else (validation, "validation")
    adapter, report = result.adapter, None
    if judged is not None:
        fit = validation if kind != "validation" else None
        report = evaluate(clip, judged, adapter, validation=fit, kind=kind)
        adapter = adapter.with_report(report.content)
    before = kind_of(folder)
    adapter.save_pretrained(folder)
    if as_json:
        say_json(_as_json(adapter, report, folder))
        return
    if adapter.kind == "edit":
        _tell_edit(adapter)
    else:
        say(f"stopped after {adapter.config.ledger['queries']:,} queries: {result.reason.value}")
    if report:
        show(report)
    elif adapter.kind == "context":
        say("not evaluated: give --data or --test")
    say(f"adapter saved in {folder}{in_place_of(before, adapter.kind)}")


def in_place_of(before: str | None, kind: str) -> str:
    """What an adapter replaced, if that was of the other kind."""
    return f" in place of {'an edit' if before == 'edit' else 'a context'}" if before not in (None, kind) else ""


def _as_json(adapter: ForgetAdapter, report: Report | None, folder: Path) -> str:
    """The report; of an edit the words it changes most as well, and what it is."""
    content: dict[str, Any] = dict(report.content) if report else {}
    if adapter.kind == "edit":
        config = adapter.config
        content |= {
            "adapter": str(folder), "kind": "edit", "forget": config.forget, "retain": config.retain,
            "neighbours": config.neighbours, "ledger": config.ledger,
        }  # fmt: skip
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)


def _first(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = len(names) - SHOWN
    return ", ".join(map(brief, names[:SHOWN])) + (f" and {more:,} more" if more > 0 else "")


def _tell_edit(adapter: ForgetAdapter) -> None:
    from hf_unlearn.edits.neighbours import Neighbour, describe_neighbours

    config = adapter.config
    told = describe_neighbours([Neighbour(**item) for item in config.neighbours])
    count = f"{len(config.forget)} name{'s' * (len(config.forget) > 1)}"
    lines = [
        f"edit of the text features: {count} forgotten in {config.ledger['seconds']:.1f} s, 0 queries, no image",
        f"forgotten: {_first(config.forget)}",
        told,
        "Too much? Protect words with --keep WORD and run it again. Too little? Add --forget WORD, or raise --breadth.",
        "Images and their features are untouched: searching images by image still finds what was forgotten.",
    ]
    for line in filter(None, lines):
        say(line)
