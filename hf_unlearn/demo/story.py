"""`hf-unlearn demo`: the main job from end to end, told on the terminal."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hf_unlearn import demo
from hf_unlearn.adapter import ForgetAdapter
from hf_unlearn.clip import ClipBlackBox
from hf_unlearn.evaluate import evaluate
from hf_unlearn.report import Report
from hf_unlearn.unlearn import unlearn

METHODS = ("lcs-cma", "proximal")  # the last one is ours and is saved


def tell(folder: Path, max_queries: int, quiet: bool = False) -> Report:
    """Trains on `moderation`, compares, saves under `folder`, reloads in a new process and classifies."""
    console = Console(quiet=quiet)
    task = demo.task("moderation")
    console.rule("hf_unlearn: a CLIP forgets what you choose")
    console.print(f"[bold]forget[/] {len(task.forget)}: {', '.join(task.forget)}")
    kept = [name for name in task.names if name not in task.forget]
    console.print(f"[bold]keep[/]   {len(kept)}: {', '.join(kept)}")
    console.print(f"{len(task.train)} training images; test images by artists that neither CLIP nor adapter has seen\n")
    model = ClipBlackBox()
    adapters = []
    for method in METHODS:
        result = unlearn(
            model, task.train, forget=task.forget, validation=task.validation, max_queries=max_queries,
            method=method, shots=task.shots, patience=None, progress=not quiet,
        )  # fmt: skip
        ledger = result.adapter.config.ledger
        console.print(f"{method:9} {ledger['queries']:,} queries in {ledger['seconds']:.0f} s ({result.reason.value})")
        adapters.append(result.adapter)
    report = evaluate(
        model, task.test, *adapters, validation=task.validation, unlisted=task.unlisted,
        unlisted_validation=task.unlisted_validation, synonyms=task.synonyms,
    )  # fmt: skip
    console.print(report)
    target = folder / "adapter"
    adapters[-1].with_report(report.content).save_pretrained(target)
    size = sum((target / name).stat().st_size for name in ("config.json", "forget_context.safetensors"))
    console.print(f"saved in {target}: context and config are {size / 1024:.0f} KB; picture: {target / 'report.png'}\n")
    console.print("a new process loads it with ForgetAdapter.from_pretrained and classifies test images:")
    command = [sys.executable, "-m", "hf_unlearn.demo.story", str(target)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL if quiet else None)
    console.print("\nThis is suppression behind a prompt, not erasure: leave the context out and everything is back.")
    console.print("Try it in the browser: [bold]make space[/], then open http://127.0.0.1:7860")
    return report


def show(folder: Path) -> None:
    """Loads the adapter and prints what it makes of a few test images, without and with the context."""
    adapter = ForgetAdapter.from_pretrained(folder)
    adapted = adapter.load_base()
    labels = [*adapter.config.forget, *adapter.config.retain]
    chosen = [name for group in (adapter.config.forget[::6], adapter.config.retain[::8]) for name in group]
    images = demo.plain(chosen, "test")
    after = adapted.classify(list(images), labels)
    with adapted.disabled() as plain:
        before = plain.classify(list(images), labels)
    table = Table("test image", "", "plain model says", "with the adapter", title_justify="left")
    for row, label in enumerate(images.labels):
        if row and images.labels[row - 1] == label:
            continue  # one drawing per class is enough to look at
        name = images.names[label]
        cells = [f"{escape(labels[int(p[row].argmax())])} {100 * float(p[row].max()):.0f} %" for p in (before, after)]
        role = "[red]forget[/]" if name in adapter.config.forget else "keep"
        table.add_row(escape(name), role, *cells)
    Console().print(table)


if __name__ == "__main__":
    show(Path(sys.argv[1]))
