"""Commands killed with SIGKILL at random moments, every second one during a save, then repeated.

    python benchmarks/kills.py                  # 50 kills, 20 minutes on a busy machine
    python benchmarks/kills.py --kills 10 --jobs edit export --threads 2

A search with a run folder that is killed five times and then ends must leave the adapter of the search that nobody
touched, bit for bit. Whatever else is killed while it saves over something older, or where nothing was, must leave the
old state or the new one, whole; and the same command must then succeed. What does not is lost.
"""

import argparse
import json
import random
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from hf_unlearn import ForgetAdapter
from hf_unlearn.adapters.storage import CONTEXT
from hf_unlearn.auditing.report import Audit
from hf_unlearn.auditing.report_plots import plot_audit
from hf_unlearn.demo import emoji_tasks as demo
from hf_unlearn.files import PENDING, STATE, whole
from tests.support.forked import Forked

EACH = 5  # kills per search with a run folder


@dataclass
class Job:
    """A command that saves.

    Attributes:
        start: starts a command, given also a file's name for what it prints.
        words: the command, but for where it saves to.
        older: the command that made what is there before; None for nothing.
        look: what a folder holds, as text that tells the old state from the new one; an error if it is not whole.
        lasts: seconds that a save takes at most, for kills within it.
    """

    start: Callable[[list[str], Path], Forked]
    words: Callable[[Path], list[str]]
    older: Callable[[Path], list[str]] | None
    look: Callable[[Path], str]
    lasts: float = 0.01


def write_images(folder: Path, per_class: int | None = None) -> list[str]:
    """The classes of the first draw of emoji10, one sub-folder each; gives those to forget."""
    task, left = demo.task("emoji10"), Counter[int]()
    for number, image in enumerate(task.train):
        label = task.train.labels[number]
        left[label] += 1
        if per_class is None or left[label] <= per_class:
            path = folder / task.names[label]
            path.mkdir(parents=True, exist_ok=True)
            image.save(path / f"{number}.png")
    return list(task.forget)


def search(images: Path, forget: list[str], out: Path, run: Path | None = None, queries: int = 450) -> list[str]:
    chosen = [word for name in forget for word in ("--forget", name)]
    kept = ["--run-dir", str(run)] if run else []
    return [
        "forget", "--data", str(images), *chosen, "--out", str(out), *kept, "--seed", "0", "--shots", "4",
        "--max-queries", str(queries), "--patience", "0", "--json",
    ]  # fmt: skip


def adapter_in(folder: Path) -> str:
    adapter = ForgetAdapter.from_pretrained(folder)
    return f"{adapter.config.weights_sha256} {adapter.report is not None}"


def export_in(folder: Path) -> str:
    return json.dumps(sorted((path.name, hash(path.read_bytes())) for path in folder.iterdir()))


def audit_in(folder: Path) -> str:
    """The files must be those that `audit.json` says: drawn and told again, they are the same."""
    files = {path.name: path.read_bytes() for path in whole(folder).iterdir() if not path.name.startswith(".")}
    content = json.loads(files.pop("audit.json"))
    told = {"audit.md": Audit(content).to_markdown().encode(), **plot_audit(content)}
    assert files == told, f"of another audit: {[name for name in told if files.get(name) != told[name]]}"
    return str(content["seed"]) if "seed" in content else json.dumps(content["metrics"]["rows"])[:2000]


def jobs_of(place: Path, start: Callable[[list[str], Path], Forked]) -> dict[str, Job]:
    images, few = place / "images", place / "few"
    forget = write_images(images)
    write_images(few, 4)

    def edit(name: str) -> Callable[[Path], list[str]]:
        measured = ["--method", "edit", "--data", str(few)]
        return lambda out: ["forget", "--forget", name, *measured, "--out", str(out), "--json"]

    start(edit(forget[0])(place / "edit"), place / "edit").wait()
    audited = ["audit", "--data", str(few), "--relearn-queries", "4", "--json", "--adapter", str(place / "edit")]
    return {
        "edit": Job(start, edit(forget[0]), edit(forget[1]), adapter_in),
        "edit over a context": Job(
            start, edit(forget[0]), lambda out: search(few, forget[:1], out, None, 20), adapter_in
        ),
        "context over an edit": Job(
            start, lambda out: search(few, forget[:1], out, None, 20), edit(forget[1]), adapter_in
        ),
        "new edit": Job(start, edit(forget[0]), None, adapter_in),
        "export": Job(start, lambda out: ["export", str(place / "edit"), str(out)], None, export_in, 0.5),
        "audit": Job(
            start,
            lambda out: [*audited, "--seed", "0", "--out", str(out)],
            lambda out: [*audited, "--seed", "1", "--out", str(out)],
            audit_in,
        ),
    }


def hidden(out: Path) -> set[str]:
    """Names of what a save has begun, beside the folder and in it; not those of a check whether it can be written."""
    places = [place for place in (out.parent, out) if place.is_dir()]
    return {path.name for place in places for path in place.iterdir() if re.match(r"\.(?!\w{8}$)", path.name)}


def kill_job(job: Job, out: Path, draw: random.Random, longest: float, during_save: bool) -> str:
    """Starts the command and kills it; says when."""
    before = hidden(out)
    process = job.start(job.words(out), out.parent / "said")
    if during_save:
        while process.poll() is None and not hidden(out) - before:
            time.sleep(0.0001)
        time.sleep(draw.uniform(0, job.lasts))
    else:
        process.wait(longest * draw.random())
    if (status := process.poll()) is not None:
        return "ended" if status in (0, 1) else f"failed: {process.said()[1].strip()}"
    process.kill()
    return "during a save" if hidden(out) - before else "outside of saves"


def kill_saves(name: str, job: Job, place: Path, draw: random.Random, kills: int) -> tuple[Counter, int]:
    """Kills one job so often, each time over the old state; counts of moments and states, and how many were lost."""
    place.mkdir(parents=True)
    begun = time.monotonic()
    job.start(job.words(place / "whole"), place / "whole").wait()
    longest, new = time.monotonic() - begun, job.look(place / "whole")
    old = ""
    if job.older:
        job.start(job.older(place / "old"), place / "old").wait()
        old = job.look(place / "old")
    counts, lost, number = Counter[str](), 0, 0
    while sum(counts.values()) < kills:
        number += 1
        out = place / str(number) / "out"
        out.parent.mkdir()
        if job.older:
            shutil.copytree(place / "old", out)
        moment = kill_job(job, out, draw, longest, during_save=number % 2 == 1)
        if moment == "ended":
            continue
        try:
            found = {old: "the old state", new: "the new state"}.get(job.look(out) if out.exists() else "", "ANOTHER")
            pending = ", pending" if (out / PENDING).exists() else ""
        except Exception as error:
            found, pending = f"LOST ({type(error).__name__}: {error})", ""
        (last := job.start(job.words(out), out.parent / "last")).wait()
        try:
            again = job.look(out) == new and not (out / PENDING).exists()
        except Exception:
            again = False
        good = again and found in ("the old state", "the new state")
        lost += not good
        counts[f"{moment}: {found}{pending}"] += 1
        if not good:
            print(f"{name}: killed {moment}: {found}; then {'whole' if again else last.said()}", flush=True)
    return counts, lost


def kill_run(start: Callable[[], Forked], run: Path, draw: random.Random, longest: float, during_save: bool) -> str:
    """Starts a search and kills it; says when: before, between or during saves of its state, or that it had ended."""
    fresh = run / f".{STATE}"

    def saving() -> bool:
        try:
            return fresh.stat().st_mtime_ns != left
        except FileNotFoundError:
            return False

    left = fresh.stat().st_mtime_ns if fresh.exists() else 0  # by an earlier kill
    process = start()
    if during_save:
        skipped = draw.randrange(2)  # saves that are let through
        while process.poll() is None:
            if saving():
                if not skipped:
                    time.sleep(draw.uniform(0, 0.002))
                    break
                skipped -= 1
                while saving():
                    time.sleep(0.0002)
            time.sleep(0.0002)
    else:
        process.wait(longest * draw.random() ** 3)  # often early, before the first save
    if (status := process.poll()) is not None:
        return "ended" if status == 0 else f"failed: {process.said()[1].strip()}"
    process.kill()
    if saving():
        return "during a save"
    return "between saves" if (run / STATE).exists() else "before the first save"


def kill_runs(images: Path, start: Callable, place: Path, draw: random.Random, kills: int) -> tuple[Counter, int]:
    """Kills searches with a run folder, five times each, and lets them end; counts of moments, how many were lost."""
    place.mkdir(parents=True)
    begun, forget = time.monotonic(), list(demo.task("emoji10").forget)
    start(search(images, forget, place / "whole", place / "run-whole"), place / "whole").wait()
    longest = (time.monotonic() - begun) / 2  # until a kill that waits for no save
    untouched = (place / "whole" / CONTEXT).read_bytes()
    counts, lost, number = Counter[str](), 0, 0
    while sum(counts.values()) < kills:
        number += 1
        out, run = place / f"out-{number}", place / f"run-{number}"
        words = search(images, forget, out, run)
        for turn in range(min(EACH, kills - sum(counts.values()))):
            moment = kill_run(partial(start, words, run), run, draw, longest, during_save=turn % 2 == 1)
            if moment == "ended":
                break
            counts[moment] += 1
        (last := start(words, run)).wait()
        same = (out / CONTEXT).exists() and (out / CONTEXT).read_bytes() == untouched
        lost += not same
        print(f"search {number}: {'the same adapter' if same else f'LOST {last.said()[1]}'}", flush=True)
    return counts, lost


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="of all jobs together")
    parser.add_argument("--jobs", nargs="*", help="search, edit, export, …; all if not given")
    parser.add_argument("--threads", type=int, nargs="*", default=[1], help="of each command; all jobs with each")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    draw, lost, done = random.Random(args.seed), 0, 0
    with tempfile.TemporaryDirectory() as name:
        jobs = {}
        for threads in args.threads:
            place, start = Path(name, str(threads)), partial(Forked, threads=threads)
            chosen = jobs_of(place, start)
            jobs |= {(job, threads): (chosen.get(job), place, start) for job in args.jobs or ["search", *chosen]}
        for number, ((called, threads), (job, place, start)) in enumerate(jobs.items()):
            kills = args.kills // len(jobs) + (number < args.kills % len(jobs))
            if job is None:
                counts, gone = kill_runs(place / "images", start, place / "search", draw, kills)
            else:
                counts, gone = kill_saves(called, job, place / "saves" / called.replace(" ", "-"), draw, kills)
            lost, done = lost + gone, done + sum(counts.values())
            told = ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
            print(f"{called}, {threads} threads: {sum(counts.values())} kills, {gone} lost ({told})", flush=True)
    print(f"{done} kills, {lost} lost")
    raise SystemExit(lost > 0)


if __name__ == "__main__":
    main()
