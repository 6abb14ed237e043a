"""Methods x draws on the embedded CLIP's tasks, every run judged on test images; prints mean ± std.

    python benchmarks/arena.py --tasks emoji10 emoji100 moderation --budgets 500 2000
    python benchmarks/arena.py --tasks tune10 tune60 --methods lcs-cma proximal:step=0.05,shared=300

A run goes to the largest budget and is judged at each. One JSON line per run and budget goes to
`--out` with the accuracy of every class; runs already there are not repeated. `arena_report.py` makes the
tables, paired differences and plots of that file. Every method gets the same images, objective (but
`lcs-cma-paper`, which keeps the paper's), budget and seeds, and no early stop. Single-threaded
workers, one per core. `tune10`, `tune60`, `tune100` are other class draws, for choosing settings, which
stand behind a method's name. `--model` runs the tasks on other CLIPs, `--lift BETA GAMMA` on one whose features lie in
a cone (see `edits.Lifted`). `edit`, `null-space`, `leace`, `least-squares` see text features and no image, `coop` sees
gradients; `score-edit` is an edit from scores alone, see `edits.score_edit`. `edit+context` is a context searched for
on top of the edit, with 500 queries. `names-only` and `c-emb` (the paper's) see no image, `unlabelled` sees images
without labels; `retrained=FOLDER` is another CLIP, one that was trained without what the task forgets. The vocabulary
of the edits has no word that a test asks for.
"""

import argparse
import json
import os
import random
import time
from collections.abc import Callable
from dataclasses import fields, replace
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import torch
from arena_report import tell
from edits import EDITS, Lifted, edit_adapter, score_edit
from PIL import Image
from rich.progress import track
from white_box import Both, ClassEmbeddings, Retrained, coop

from hf_unlearn.adapters.adapter import ForgetAdapter
from hf_unlearn.demo import emoji_tasks as demo
from hf_unlearn.demo.emoji_tasks import Task
from hf_unlearn.edits.by_score import SCORE_EDIT
from hf_unlearn.evaluation.evaluator import evaluate
from hf_unlearn.models.clip import ClipBlackBox
from hf_unlearn.models.embedded import EMBEDDED
from hf_unlearn.optimizers.methods import Recipe, recipe
from hf_unlearn.training.unlearning import unlearn

METHODS = ("lcs-cma-paper", "lcs-cma", "proximal")
ARTISTS = dict(demo.ARTISTS)  # of the embedded model
RETRAINED = "retrained="
BOTH, ON_TOP = "edit+context", 500
NO_BUDGET = (*EDITS, SCORE_EDIT, "coop", RETRAINED)
TUNE = {"tune10": (10, 4, 16), "tune60": (60, 20, 16), "tune100": (100, 40, 8)}  # classes, forgotten, shots
Job = tuple[
    str, int, int, str, tuple[int, ...], str, tuple[float, ...]
]  # task, draw, seed, method, budgets, model, lift


def run(job: Job) -> list[dict]:
    torch.set_num_threads(1)
    name, draw, seed, method, budgets, which, lift = job
    told = Path(which) / "artists.json"  # another model has not seen other artists
    demo.ARTISTS.update(json.loads(told.read_text(encoding="utf-8")) if told.exists() else ARTISTS)
    task = task_of(name, draw, seed)
    model = ClipBlackBox(which)
    model = Lifted.of(model, *lift) if lift else model
    start = time.monotonic()
    model, stacks = rows_of(method, model, task, seed, budgets)
    seconds = round(time.monotonic() - start, 2)
    report = evaluate(
        model, task.test, *stacks, validation=task.validation, unlisted=task.unlisted,
        unlisted_validation=task.unlisted_validation, synonyms=task.synonyms,
    )  # fmt: skip
    where = {"task": named(name, which, lift), "draw": draw, "seed": seed, "forgotten": len(task.forget)}
    judge_all = per_class(model, task)
    table = [{**where, "budget": 0, "row": row.pop("name"), "seconds": 0.0, **row} for row in report.rows[:2]]
    for budget, stack, row in zip(budgets, stacks, report.rows[2:], strict=True):
        row.pop("name")
        config = stack[-1].config
        took = config.ledger.get("seconds", seconds) if method not in NO_BUDGET else seconds
        chosen = config.metrics if not method.startswith(RETRAINED) else {}
        table.append({**where, "budget": budget, "row": row_of(method), "seconds": took, **chosen, **row,
                      "per_class": judge_all(stack)})  # fmt: skip
    return table


def rows_of(
    method: str, model: ClipBlackBox, task: Task, seed: int, budgets: tuple[int, ...]
) -> tuple[ClipBlackBox, list[list[ForgetAdapter]]]:
    """What is judged, and the adapters of each row: one row a budget."""
    shared = {"forget": task.forget, "max_queries": max(budgets), "shots": task.shots, "seed": seed,
              "patience": None, "progress": False}  # fmt: skip
    if method.partition(":")[0] in EDITS:
        return model, [[edit_adapter(model, task, method)]]
    if method.partition(":")[0] == SCORE_EDIT:
        box, adapter = score_edit(model, task, method, seed)
        return box, [[adapter]]
    if method == BOTH:
        edit = edit_adapter(model, task, "edit")
        on_top = unlearn(
            model.under(edit), task.train, validation=task.validation, method="proximal",
            **{**shared, "max_queries": ON_TOP},
        )  # fmt: skip
        return model, [[edit, on_top.adapter]]
    if method.partition(":")[0] == "coop":
        return model, [[coop(model, task, seed, **settings_of(method))]]
    if method.startswith(RETRAINED):
        other = ClipBlackBox(method.removeprefix(RETRAINED))
        return Both.of(model, other), [[Retrained(nothing(model, task, seed).config, other)]]
    if (source := method.partition(":")[0]) in ("names-only", "unlabelled"):
        images = unsorted(task, seed) if source == "unlabelled" else None
        plan = recipe_of(method.replace(source, "proximal", 1), len(task.names))
        result = unlearn(model, classes=task.names, unlabelled=images, method=plan, **shared)
    elif method == "c-emb":
        box = ClassEmbeddings.of(model)
        result = unlearn(box, task.train, validation=task.validation, method="lcs-cma-paper", **shared)
    else:
        plan = recipe_of(method, len(task.names))
        result = unlearn(model, task.train, validation=task.validation, method=plan, **shared)
    return model, [[result.at(budget)] for budget in budgets]


def named(task: str, model: str, lift: tuple[float, ...] = ()) -> str:
    """The task's name in tables; with the model's, unless it is the embedded one, and the cone's."""
    on = task if model == EMBEDDED else f"{task} on {model}"
    return f"{on}, lifted by {lift[0]:g} and {lift[1]:g}" if lift else on


def row_of(method: str) -> str:
    return "retrained" if method.startswith(RETRAINED) else method


def unsorted(task: Task, seed: int) -> list[Image.Image]:
    """The images that others train on, without labels, among as many of other things."""
    images = [*task.train, *task.unlisted_validation]
    return random.Random(seed).sample(images, len(images))


def per_class(model: ClipBlackBox, task: Task) -> Callable[[list[ForgetAdapter]], list[float]]:
    """Adapters -> accuracy on the test images of every class, the forgotten ones first: what intervals are made of."""
    images, labels = model.add_images(task.test), torch.tensor(task.test.labels)
    order = sorted(range(len(task.names)), key=lambda label: task.names[label] not in task.forget)

    def of(stack: list[ForgetAdapter]) -> list[float]:
        box = model
        for adapter in stack:
            box = adapter.applied_to(box)
        scores = box.log_scores(torch.zeros(1, 0, box.dim), images, task.names)[0].cpu()
        right = (scores.argmax(-1) == labels).float()
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
    base, settings = method.partition(":")[0], settings_of(method)
    if not settings:
        return base
    plan = recipe(base, classes)
    for key, value in settings.items():
        if key == "strength":
            plan = plan.with_strength(value)
        elif key in {item.name for item in fields(plan)}:
            plan = replace(plan, **{key: value})
        else:
            plan = replace(plan, options=(*plan.options, (key, value)))
    return plan


def settings_of(method: str) -> dict:
    """What stands behind a method's name, `"coop:names=true,rate=0.02"`."""
    settings = (setting.split("=") for setting in method.partition(":")[2].split(",") if setting)
    return {key: json.loads(value) for key, value in settings}


def nothing(model: ClipBlackBox, task: Task, seed: int) -> ForgetAdapter:
    """Any adapter of the task: `evaluate` wants one."""
    return unlearn(
        model, task.train, forget=task.forget, validation=task.validation, max_queries=1, shots=task.shots, seed=seed,
        progress=False, method="proximal",
    ).adapter  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=["emoji10", "emoji100", "moderation"])
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--budgets", nargs="+", type=int, default=[500, 2000])
    parser.add_argument("--draws", type=int, help="only the first so many draws of a task")
    parser.add_argument("--model", nargs="+", default=[EMBEDDED], help="other CLIPs, folders (train_emoji_clip.py)")
    parser.add_argument("--lift", nargs=2, type=float, default=(), metavar=("BETA", "GAMMA"))
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes side by side")
    parser.add_argument("--out", type=Path, default=Path("runs/arena.jsonl"))
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for line in args.out.read_text(encoding="utf-8").splitlines()] if args.out.exists() else []
    done = {(row["task"], row["draw"], row["seed"], row["row"], row["budget"]) for row in rows}
    jobs = [
        job for job in wanted(args)
        if any((named(job[0], *job[5:]), *job[1:3], row_of(job[3]), budget) not in done for budget in job[4])
    ]  # fmt: skip
    jobs.sort(key=lambda job: job[0], reverse=True)  # the long ones first
    workers = get_context("spawn").Pool(args.workers, maxtasksperchild=8)
    with args.out.open("a", encoding="utf-8") as file, workers as pool:
        for result in track(pool.imap_unordered(run, jobs), total=len(jobs), description="runs"):
            file.writelines(json.dumps(row) + "\n" for row in result)
            file.flush()
            rows += result
    for task, model in product(args.tasks, args.model):
        tell([row for row in rows if row["task"] == named(task, model, tuple(args.lift))])


def budgets_of(method: str, budgets: tuple[int, ...]) -> tuple[int, ...]:
    """A method that asks for none has one row; so has a context on top of an edit."""
    return (ON_TOP,) if method == BOTH else (0,) if method.startswith(NO_BUDGET) else budgets


def wanted(args: argparse.Namespace) -> list[Job]:
    """Draw 0 with seed 0, draw 1 with seed 1, …; `moderation` has one draw and five seeds."""
    jobs, budgets = [], tuple(sorted(args.budgets))
    for model, task in product(args.model, args.tasks):
        draws = 5 if task in TUNE else len(demo.tasks()[task])
        pairs = [(0, seed) for seed in range(5)] if draws == 1 else [(draw, draw) for draw in range(draws)]
        jobs += [
            (task, draw, seed, method, budgets_of(method, budgets), model, tuple(args.lift))
            for draw, seed in pairs[: args.draws]
            for method in args.methods
        ]
    return jobs


if __name__ == "__main__":
    main()
