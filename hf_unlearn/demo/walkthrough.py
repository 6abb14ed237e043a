"""`hf-unlearn demo`: the whole job from end to end, printed on the terminal."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from hf_unlearn.adapters.adapter import ForgetAdapter
from hf_unlearn.adapters.storage import check_out
from hf_unlearn.console import lasting, visible
from hf_unlearn.demo import emoji_tasks as demo
from hf_unlearn.edits.neighbours import Neighbour, describe_neighbours
from hf_unlearn.evaluation.evaluator import evaluate
from hf_unlearn.evaluation.report import Report
from hf_unlearn.models.clip import ClipBlackBox
from hf_unlearn.training.unlearning import unlearn

SEARCHED = ("lcs-cma", "proximal")  # with scores alone; the last one is ours


def walk_through(
    folder: Path, max_queries: int, quiet: bool = False, device: str | None = None, dtype: str = "float32"
) -> Report:
    """Forgets `moderation` by name, then with scores alone, compares, saves under `folder`, reloads and classifies.

    Args:
        device, dtype: see `ClipBlackBox`.

    Raises:
        InputError: if a folder of adapters there holds something else, or there is no such device.
        StorageError: if it can't be written.
    """
    by_name, by_scores = folder / "adapter", folder / "adapter-by-scores"
    for place in (by_name, by_scores):
        check_out(place)
    console = Console(quiet=quiet)
    task, model = demo.task("moderation"), ClipBlackBox(device=device, dtype=dtype)
    edit = _forget_by_name(console, model, task)
    console.print(f"[bold]2. With scores alone.[/] A context, trained on {len(task.train)} labelled images:")
    searched = [_search(console, model, task, method, max_queries, quiet) for method in SEARCHED]
    report = evaluate(
        model, task.test, *searched, edit, validation=task.validation, unlisted=task.unlisted,
        unlisted_validation=task.unlisted_validation, synonyms=task.synonyms,
    )  # fmt: skip
    console.print("\n[bold]3. Results[/] on images by artists that neither the CLIP nor an adapter has seen.")
    console.print("named beside 4: share of forgotten images still given their name beside 4 kept names.")
    console.print(report)
    edit.with_report(report.content).save_pretrained(by_name)
    searched[-1].with_report(evaluate(model, task.test, searched[-1]).content).save_pretrained(by_scores)
    saved = f"saved in {by_name} (the edit) and {by_scores} (the context), each with its card and report.png"
    console.print(Text(visible(saved)))
    console.print("\n[bold]4. In use.[/] A new process loads the edit and classifies test images:")
    command = [sys.executable, "-m", "hf_unlearn.demo.walkthrough", str(by_name), str(model.device), dtype]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL if quiet else None)
    console.print("\nThis is suppression on the text side, not erasure: the base model still has everything.")
    console.print("Try it in the browser: [bold]make space[/] (or python app.py), then open http://127.0.0.1:7860")
    return report


def _forget_by_name(console: Console, model: ClipBlackBox, task: demo.Task) -> ForgetAdapter:
    kept = [name for name in task.names if name not in task.forget]
    console.rule("hf_unlearn: a CLIP forgets what you choose")
    console.print(f"[bold]forget[/] {len(task.forget)}: {', '.join(task.forget)}")
    console.print(f"[bold]keep[/]   {len(kept)}: {', '.join(kept)}\n")
    edit = unlearn(model, forget=task.forget, keep=kept)
    neighbours = describe_neighbours([Neighbour(**item) for item in edit.neighbours])
    seconds = edit.adapter.config.ledger["seconds"]
    console.print(f"[bold]1. By name.[/] An edit of the text features, in {seconds:.1f} s:")
    console.print(f"   no image, no query. {escape(neighbours)}\n")
    return edit.adapter


def _search(
    console: Console, model: ClipBlackBox, task: demo.Task, method: str, max_queries: int, quiet: bool
) -> ForgetAdapter:
    result = unlearn(
        model, task.train, forget=task.forget, validation=task.validation, max_queries=max_queries,
        method=method, shots=task.shots, patience=None, progress=not quiet,
    )  # fmt: skip
    ledger = result.adapter.config.ledger
    console.print(f"   {method:9} {ledger['queries']:,} queries in {ledger['seconds']:.0f} s")
    return result.adapter


def show_classifications(folder: Path, device: str, dtype: str) -> None:
    """Loads the adapter and prints how a few test images are classified, without and with it."""
    adapter = ForgetAdapter.from_pretrained(folder)
    adapted = adapter.load_base(device=device, dtype=dtype)
    labels = [*adapter.config.forget, *adapter.config.retain]
    chosen = [name for group in (adapter.config.forget[::6], adapter.config.retain[::8]) for name in group]
    images = demo.plain(chosen, "test")
    after = adapted.classify(list(images), labels)
    with adapted.disabled() as plain:
        before = plain.classify(list(images), labels)
    table = Table("test image", "", "base model", "with the adapter", title_justify="left")
    for row, label in enumerate(images.labels):
        if row and images.labels[row - 1] == label:
            continue  # one drawing per class is enough to look at
        name = images.names[label]
        cells = [f"{labels[int(p[row].argmax())]} {100 * float(p[row].max()):.0f} %" for p in (before, after)]
        role = "[red]forget[/]" if name in adapter.config.forget else "keep"
        table.add_row(Text(name), role, *map(Text, cells))
    Console().print(table)


if __name__ == "__main__":
    with lasting():
        show_classifications(Path(sys.argv[1]), *sys.argv[2:])
