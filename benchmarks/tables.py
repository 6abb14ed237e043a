"""Methods x draws on the embedded CLIP's tasks, every run judged on test images; prints mean ± std.

    python benchmarks/tables.py --tasks emoji10 emoji100 moderation --budgets 500 2000

One JSON line per run goes to `--out`; runs already there are not repeated. Every method gets the
same images, objective (but `lcs-cma-paper`, which keeps the paper's), budget and seeds, and no early
stop. Two single-threaded workers.
"""

import argparse
import json
import statistics
from multiprocessing import get_context
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

METHODS = ("lcs-cma-paper", "lcs-cma", "proximal")
COLUMNS = (
    "H", "err_for", "acc_mem", "entropy", "recoverability", "top5_leak", "forget_detect",
    "retain_ece", "synonym_err", "collateral",
)  # fmt: skip
Job = tuple[str, int, int, str, int]  # task, draw, seed, method, queries


def run(job: Job) -> list[dict]:
    import torch

    from hf_unlearn import demo
    from hf_unlearn.black_box import ClipBlackBox
    from hf_unlearn.evaluate import evaluate
    from hf_unlearn.unlearn import unlearn

    torch.set_num_threads(1)
    name, draw, seed, method, queries = job
    task = demo.task(name, draw, seed)
    model = ClipBlackBox()
    result = unlearn(
        model, task.train, forget=task.forget, validation=task.validation, max_queries=queries, method=method,
        shots=task.shots, seed=seed, patience=None, progress=False,
    )  # fmt: skip
    report = evaluate(
        model, task.test, result.adapter, validation=task.validation, unlisted=task.unlisted,
        unlisted_validation=task.unlisted_validation, synonyms=task.synonyms,
    )  # fmt: skip
    where = {"task": name, "draw": draw, "seed": seed, "budget": queries}
    seconds = result.adapter.config.ledger["seconds"]
    loss = min(step.loss for step in result.history)
    return [{**where, "row": row.pop("name"), "seconds": seconds, "loss": loss, **row} for row in report.rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=["emoji10", "emoji100", "moderation"])
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--budgets", nargs="+", type=int, default=[500, 2000])
    parser.add_argument("--draws", type=int, help="only the first so many draws of a task")
    parser.add_argument("--out", type=Path, default=Path("runs/tables.jsonl"))
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for line in args.out.read_text().splitlines()] if args.out.exists() else []
    done = {(row["task"], row["draw"], row["seed"], row["row"], row["budget"]) for row in rows}
    jobs = [job for job in wanted(args) if job not in done]
    with args.out.open("a") as file, get_context("spawn").Pool(2, maxtasksperchild=8) as pool:
        for result in track(pool.imap_unordered(run, jobs), total=len(jobs), description="runs"):
            file.writelines(json.dumps(row) + "\n" for row in result)
            file.flush()
            rows += result
    for task in args.tasks:
        Console(width=180).print(table(task, [row for row in rows if row["task"] == task]))


def wanted(args: argparse.Namespace) -> list[Job]:
    """Draw 0 with seed 0, draw 1 with seed 1, …; `moderation` has one draw and five seeds."""
    from hf_unlearn import demo

    jobs = []
    for task in args.tasks:
        draws = len(demo.tasks()[task])
        pairs = [(0, seed) for seed in range(5)] if draws == 1 else [(draw, draw) for draw in range(draws)]
        jobs += [
            (task, draw, seed, method, budget)
            for draw, seed in pairs[: args.draws]
            for budget in args.budgets
            for method in args.methods
        ]
    return jobs


def table(task: str, rows: list[dict]) -> Table:
    shown = Table("row", "budget", "runs", *COLUMNS, "s", title=f"{task}: test, mean ± std, %", title_justify="left")
    kinds = {(row["row"], row["budget"] if row["queries"] else 0) for row in rows}
    order = ("zero-shot", "label-mask", *METHODS)
    for name, budget in sorted(kinds, key=lambda kind: (order.index(kind[0]), kind[1])):
        own = [row for row in rows if row["row"] == name and budget in (0, row["budget"])]
        found = {(row["draw"], row["seed"]): row for row in own}
        cells = [cell([row[key] for row in found.values() if row.get(key) is not None]) for key in COLUMNS]
        seconds = statistics.mean(row["seconds"] for row in found.values()) if budget else 0
        shown.add_row(name, str(budget or "–"), str(len(found)), *cells, f"{seconds:.0f}")
    return shown


def cell(values: list[float]) -> str:
    if not values:
        return "–"
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{100 * statistics.mean(values):.1f} ± {100 * spread:.1f}"


if __name__ == "__main__":
    main()
