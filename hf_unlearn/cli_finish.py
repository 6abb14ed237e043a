"""How every command that trains ends: judge the adapter, save it, say what came out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from hf_unlearn.adapter import ForgetAdapter
    from hf_unlearn.clip import ClipBlackBox
    from hf_unlearn.data import LabeledImages
    from hf_unlearn.report import Report
    from hf_unlearn.result import Result

out = Console()


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
    from hf_unlearn.evaluate import evaluate
    from hf_unlearn.processes import Crew

    crew = Crew()
    crew.leave()
    if not crew.is_main:
        return
    validation, kind = None, "test"
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
    adapter.save_pretrained(folder)
    if as_json:
        print(_as_json(adapter, report, folder))
        return
    if adapter.kind == "edit":
        _tell_edit(adapter)
    else:
        out.print(f"stopped after {adapter.config.ledger['queries']:,} queries: {result.reason.value}")
    if report:
        out.print(report)
    elif adapter.kind == "context":
        out.print("not evaluated: give --data or --test")
    out.print(f"adapter saved in {folder}")


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


def _tell_edit(adapter: ForgetAdapter) -> None:
    from hf_unlearn.card import plain
    from hf_unlearn.edits.neighbours import Neighbour, describe

    config = adapter.config
    told = describe([Neighbour(**item) for item in config.neighbours])
    count = f"{len(config.forget)} name{'s' * (len(config.forget) > 1)}"
    lines = [
        f"edit of the text features: {count} forgotten in {config.ledger['seconds']:.1f} s, 0 queries, no image",
        told,
        "Too much? Protect words with --keep WORD and run it again. Too little? Add --forget WORD, or raise --breadth.",
        "Images and their features are untouched: searching images by image still finds what was forgotten.",
    ]
    for line in filter(None, lines):
        out.print(escape(plain(line)), highlight=False, soft_wrap=True)
