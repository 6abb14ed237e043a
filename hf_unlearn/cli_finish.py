"""How every command that trains ends: judge the adapter, save it, say what came out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from hf_unlearn.clip import ClipBlackBox
    from hf_unlearn.data import LabeledImages
    from hf_unlearn.result import Result

out = Console()


def check_out(folder: Path) -> None:
    """Raises: ValueError: if `folder` holds something that is no adapter, or can't be written."""
    from hf_unlearn.adapter_files import check_writable

    if folder.exists() and not (folder / "config.json").exists() and any(folder.iterdir()):
        raise ValueError(f"{folder}: exists and is no adapter; choose another --out")
    check_writable(folder)


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
    """Judges on `judged`, or on what the few-shot draw leaves of `images`, saves, prints; the main process does."""
    from hf_unlearn.evaluate import evaluate
    from hf_unlearn.processes import Crew

    crew = Crew()
    crew.leave()
    if not crew.is_main:
        return
    validation, kind = None, "test"
    if images is not None:
        _, validation, rest = images.few_shot(shots, seed)
        if judged is None:
            judged, kind = (rest, "held-out") if all(rest.counts().values()) else (validation, "validation")
    adapter, report = result.adapter, None
    if judged is not None:
        fit = validation if kind != "validation" else None
        report = evaluate(clip, judged, adapter, validation=fit, kind=kind)
        adapter = adapter.with_report(report.content)
    adapter.save_pretrained(folder)
    if as_json:
        print(report.to_json() if report else "{}")
        return
    out.print(f"stopped after {adapter.config.ledger['queries']:,} queries: {result.reason.value}")
    out.print(report or "not evaluated: give --data or --test")
    out.print(f"adapter saved in {folder}")
