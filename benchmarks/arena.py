"""Methods x draws on the embedded CLIP's tasks, every run judged on test images; prints mean ± std.

    python benchmarks/arena.py --tasks emoji10 emoji100 moderation --budgets 500 2000
    python benchmarks/arena.py --tasks tune10 tune60 --methods lcs-cma proximal:step=0.05,shared=300

A run goes to the largest budget and is judged at each. One JSON line per run and budget goes to
`--out` with the accuracy of every class; runs already there are not repeated. `arena_report.py` makes the
tables, paired differences and plots of that file. Every method gets the same images, objective (but
`lcs-cma-paper`, which keeps the paper's), budget and seeds, and no early stop. Single-threaded
workers, one per core. `tune10`, `tune60`, `tune100` are other class draws, for choosing settings, which
stand behind a method's name. `--model` runs the tasks on another CLIP. `coop` and `null-space` see more than
scores; `names-only` and `c-emb` (the paper's) see no image, `unlabelled` sees images without labels;
`retrained=FOLDER` is another CLIP, one that was trained without what the task forgets.
"""

import argparse
import json
import os
import random
import time
from collections.abc import Callable
from dataclasses import fields, replace
from multiprocessing import get_context
from pathlib import Path

import torch
from arena_report import tell
from PIL import Image
from rich.progress import track
from white_box import ClassEmbeddings, Instead, NullSpace, coop

from hf_unlearn import demo
from hf_unlearn.adapter import ForgetAdapter
from hf_unlearn.clip import EMBEDDED, ClipBlackBox
from hf_unlearn.demo import Task
from hf_unlearn.evaluate import evaluate
from hf_unlearn.recipes import Recipe, recipe
from hf_unlearn.unlearn import unlearn

METHODS = ("lcs-cma-paper", "lcs-cma", "proximal")
ARTISTS = dict(demo.ARTISTS)  # of the embedded model
RETRAINED = "retrained="
NO_BUDGET = ("null-space", "coop", RETRAINED)
TUNE = {"tune10": (10, 4, 16), "tune60": (60, 20, 16), "tune100": (100, 40, 8)}  # classes, forgotten, shots
Job = tuple[str, int, int, str, tuple[int, ...], str]  # task, draw, seed, method, budgets, model


def run(job: Job) -> list[dict]:
    torch.set_num_threads(1)
    name, draw, seed, method, budgets, which = job
    told = Path(which) / "artists.json"  # another model has not seen other artists
    demo.ARTISTS.update(json.loads(told.read_text()) if told.exists() else ARTISTS)
    task = task_of(name, draw, seed)
    model = judge = ClipBlackBox(which)
    start = time.monotonic()
    if method == "coop":
        adapters = [coop(model, task, seed)]
    elif method == "null-space":
        judge, adapters = Instead.of(model, NullSpace.of(model, task.forget)), [nothing(model, task, seed)]
    elif method.startswith(RETRAINED):
        judge = Instead.of(model, ClipBlackBox(method.removeprefix(RETRAINED)))
        adapters = [nothing(model, task, seed)]
    else:
        shared = {"forget": task.forget, "max_queries": max(budgets), "shots": task.shots, "seed": seed,
                  "patience": None, "progress": False}  # fmt: skip
        if method == "names-only":
            result = unlearn(model, classes=task.names, **shared)
        elif method == "unlabelled":
            result = unlearn(model, classes=task.names, unlabelled=unsorted(task, seed), **shared)
        elif method == "c-emb":
            box = ClassEmbeddings.of(model)
            result = unlearn(box, task.train, validation=task.validation, method="lcs-cma-paper", **shared)
        else:
            plan = recipe_of(method, len(task.names))
            result = unlearn(model, task.train, validation=task.validation, method=plan, **shared)
        adapters = [result.at(budget) for budget in budgets]
    seconds = round(time.monotonic() - start, 2)
    report = evaluate(
        judge, task.test, *adapters, validation=task.validation, unlisted=task.unlisted,
        unlisted_validation=task.unlisted_validation, synonyms=task.synonyms,
    )  # fmt: skip
    where = {"task": named(name, which), "draw": draw, "seed": seed, "forgotten": len(task.forget)}
    judge_all = per_class(judge, task)
    table = [{**where, "budget": 0, "row": row.pop("name"), "seconds": 0.0, **row} for row in report.rows[:2]]
    for budget, adapter, row in zip(budgets, adapters, report.rows[2:], strict=True):
        row.pop("name")
        took = adapter.config.ledger.get("seconds", seconds)
        chosen = adapter.config.metrics if judge is model else {}
        table.append({**where, "budget": budget, "row": row_of(method), "seconds": took, **chosen, **row,
                      "per_class": judge_all(adapter.context)})  # fmt: skip
    return table


def named(task: str, model: str) -> str:
    """The task's name in tables; with the model's, unless it is the embedded one."""
    return task if model == EMBEDDED else f"{task} on {model}"


def row_of(method: str) -> str:
    return "retrained" if method.startswith(RETRAINED) else method


def unsorted(task: Task, seed: int) -> list[Image.Image]:
    """The images that others train on, without labels, among as many of other things."""
    images = [*task.train, *task.unlisted_validation]
    return random.Random(seed).sample(images, len(images))


def per_class(model: ClipBlackBox, task: Task) -> Callable[[torch.Tensor], list[float]]:
    """Context -> accuracy on the test images of every class, the forgotten ones first: what intervals are made of."""
    images, labels = model.add_images(task.test), torch.tensor(task.test.labels)
    order = sorted(range(len(task.names)), key=lambda label: task.names[label] not in task.forget)

    def of(context: torch.Tensor) -> list[float]:
        right = (model.log_scores(context[None], images, task.names)[0].argmax(-1) == labels).float()
        return [round(right[labels == label].mean().item(), 4) for label in order]

    return of


def task_of(name: str, draw: int, seed: int) -> Task:
    if name not in TUNE:
        return demo.task(name, draw, seed)
    classes, forgotten, shots = TUNE[name]
    pool = sorted(name for name, facts in demo.concepts().items() if facts["category"] != "People & Body")
    names = random.Random(f"{name} {draw}").sample(pool, classes)
    return demo.task_of(names, names[:forgotten], shots, seed)


def recipe_of(method: str, classes: int) -> str | Recipe:
    """`"proximal:n_ctx=8,step=0.05,strength=1"`: the method's recipe with other settings, or its optimizer's."""
    base, _, settings = method.partition(":")
    if not settings:
        return base
    plan = recipe(base, classes)
    for setting in settings.split(","):
        key, value = setting.split("=")
        if key == "strength":
            plan = plan.with_strength(json.loads(value))
        elif key in {item.name for item in fields(plan)}:
            plan = replace(plan, **{key: json.loads(value)})
        else:
            plan = replace(plan, options=(*plan.options, (key, json.loads(value))))
    return plan


def nothing(model: ClipBlackBox, task: Task, seed: int) -> ForgetAdapter:
    """Any adapter of the task: `evaluate` wants one."""
    return unlearn(
        model, task.train, forget=task.forget, validation=task.validation, max_queries=1, shots=task.shots, seed=seed,
        progress=False,
    ).adapter  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=["emoji10", "emoji100", "moderation"])
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--budgets", nargs="+", type=int, default=[500, 2000])
    parser.add_argument("--draws", type=int, help="only the first so many draws of a task")
    parser.add_argument("--model", default=EMBEDDED, help="another CLIP, its folder (train_emoji_clip.py makes one)")
    parser.add_argument("--out", type=Path, default=Path("runs/arena.jsonl"))
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for line in args.out.read_text().splitlines()] if args.out.exists() else []
    done = {(row["task"], row["draw"], row["seed"], row["row"], row["budget"]) for row in rows}
    jobs = [
        job for job in wanted(args)
        if any((named(job[0], args.model), *job[1:3], row_of(job[3]), budget) not in done for budget in job[4])
    ]  # fmt: skip
    jobs.sort(key=lambda job: job[0], reverse=True)  # the long ones first
    workers = get_context("spawn").Pool(os.cpu_count(), maxtasksperchild=8)
    with args.out.open("a") as file, workers as pool:
        for result in track(pool.imap_unordered(run, jobs), total=len(jobs), description="runs"):
            file.writelines(json.dumps(row) + "\n" for row in result)
            file.flush()
            rows += result
    for task in args.tasks:
        tell([row for row in rows if row["task"] == named(task, args.model)])


def wanted(args: argparse.Namespace) -> list[Job]:
    """Draw 0 with seed 0, draw 1 with seed 1, …; `moderation` has one draw and five seeds."""
    jobs, budgets = [], tuple(sorted(args.budgets))
    for task in args.tasks:
        draws = 5 if task in TUNE else len(demo.tasks()[task])
        pairs = [(0, seed) for seed in range(5)] if draws == 1 else [(draw, draw) for draw in range(draws)]
        jobs += [
            (task, draw, seed, method, (0,) if method.startswith(NO_BUDGET) else budgets, args.model)
            for draw, seed in pairs[: args.draws]
            for method in args.methods
        ]
    return jobs


if __name__ == "__main__":
    main()
