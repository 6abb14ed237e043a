"""Methods x draws on the embedded CLIP's tasks, every run judged on test images; prints mean ± std.

    python benchmarks/arena.py --tasks emoji10 emoji100 moderation --budgets 500 2000

A run goes to the largest budget and is judged at each. One JSON line per run and budget goes to
`--out`; runs already there are not repeated. Every method gets the same images, objective (but
`lcs-cma-paper`, which keeps the paper's), budget and seeds, and no early stop. Single-threaded
workers, one per core.
"""

import argparse
import json
import os
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
Job = tuple[str, int, int, str, tuple[int, ...]]  # task, draw, seed, method, budgets


def run(job: Job) -> list[dict]:
    import torch

    from hf_unlearn import demo
    from hf_unlearn.black_box import ClipBlackBox
    from hf_unlearn.evaluate import evaluate
    from hf_unlearn.unlearn import unlearn

    torch.set_num_threads(1)
    name, draw, seed, method, budgets = job
    task = demo.task(name, draw, seed)
    model = ClipBlackBox()
    result = unlearn(
        model, task.train, forget=task.forget, validation=task.validation, max_queries=max(budgets), method=method,
        shots=task.shots, seed=seed, patience=None, progress=False,
    )  # fmt: skip
    adapters = [result.at(budget) for budget in budgets]
    report = evaluate(
        model, task.test, *adapters, validation=task.validation, unlisted=task.unlisted,
        unlisted_validation=task.unlisted_validation, synonyms=task.synonyms,
    )  # fmt: skip
    where = {"task": name, "draw": draw, "seed": seed}
    table = [{**where, "budget": 0, "row": row.pop("name"), "seconds": 0.0, **row} for row in report.rows[:2]]
    for budget, adapter, row in zip(budgets, adapters, report.rows[2:], strict=True):
        extra = {"seconds": adapter.config.ledger["seconds"], **adapter.config.metrics}
        table.append({**where, "budget": budget, "row": row.pop("name"), **extra, **row})
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=["emoji10", "emoji100", "moderation"])
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--budgets", nargs="+", type=int, default=[500, 2000])
    parser.add_argument("--draws", type=int, help="only the first so many draws of a task")
    parser.add_argument("--out", type=Path, default=Path("runs/arena.jsonl"))
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for line in args.out.read_text().splitlines()] if args.out.exists() else []
    done = {(row["task"], row["draw"], row["seed"], row["row"], row["budget"]) for row in rows}
    jobs = [job for job in wanted(args) if any((*job[:4], budget) not in done for budget in job[4])]
    workers = get_context("spawn").Pool(os.cpu_count(), maxtasksperchild=8)
    with args.out.open("a") as file, workers as pool:
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
            (task, draw, seed, method, tuple(sorted(args.budgets)))
            for draw, seed in pairs[: args.draws]
            for method in args.methods
        ]
    return jobs


def table(task: str, rows: list[dict]) -> Table:
    shown = Table("row", "budget", "runs", *COLUMNS, "s", title=f"{task}: test, mean ± std, %", title_justify="left")
    order = ("zero-shot", "label-mask", *METHODS)
    kinds = {(row["row"], row["budget"]) for row in rows}
    for name, budget in sorted(kinds, key=lambda kind: (order.index(kind[0]), kind[1])):
        found = {(row["draw"], row["seed"]): row for row in rows if (row["row"], row["budget"]) == (name, budget)}
        cells = [cell([row[key] for row in found.values() if row.get(key) is not None]) for key in COLUMNS]
        seconds = statistics.mean(row["seconds"] for row in found.values())
        shown.add_row(name, str(budget or "–"), str(len(found)), *cells, f"{seconds:.0f}")
    return shown


def cell(values: list[float]) -> str:
    if not values:
        return "–"
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{100 * statistics.mean(values):.1f} ± {100 * spread:.1f}"


if __name__ == "__main__":
    main()
