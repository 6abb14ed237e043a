"""Many visitors at once on the real app on loopback: latencies, memory, and whether anybody got another's answer.

    python benchmarks/space_load.py --visitors 50 --forgetting 5 --seconds 120
    python benchmarks/space_load.py --visitors 1 --forgetting 0 --seconds 20 --pause 0
    python benchmarks/space_load.py --mixed --visitors 50 --pause 20 --seconds 7200 --out load

With `--mixed` visitors do all that `space_acts.py` holds, come and go, and pause for `--pause` seconds on average.
Every half minute what the app takes of the machine goes to `samples.csv` in `--out`; at the end it is drawn.

A visitor looks at the scores for `--pause` seconds before the next picture; who forgets starts anew at once. What has
no answer `--grace` seconds after the end is counted as such and not waited for. Every visitor has labels of its own,
so an answer about other labels is a mix-up; so is an adapter that forgets another visitor's names.
"""

import argparse
import csv
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from space_acts import ACTS, LONGEST_STAY

from hf_unlearn.demo import emoji_tasks as demo
from tests.support.browser import serving
from tests.support.gradio_http import Refusal, Stranger

SAMPLED_EVERY = 30  # seconds


class Crowd:
    """Visitors, each in a thread of its own; what they were answered, and how long it took."""

    def __init__(self, address: str, picture: Path, pause: float) -> None:
        self.address, self.picture, self.pause = address, picture, pause
        self.waits: list[float] = []  # of a visitor, upload and queue included
        self.served: list[float] = []  # of the server, for the same
        self.runs: list[float] = []
        self.wrong: list[str] = []
        self.names = sorted(name for name, facts in demo.concepts().items() if facts["category"] != "People & Body")

    def classify(self, visitor: Stranger, number: int) -> None:
        own = [f"{name} {number}" for name in self.names[:8]]
        start = time.monotonic()
        asked = visitor.upload(self.picture), "\n".join(own), "", "embedded", True
        before, *_ = visitor.call(visitor.named("classify"), *asked)
        self.waits.append(time.monotonic() - start)
        self.served.append(visitor.took)
        if {row["label"] for row in before["confidences"]} != set(own):
            self.wrong.append(f"visitor {number} got another's labels")
        time.sleep(self.pause)

    def forget(self, visitor: Stranger, number: int) -> None:
        gone, kept = self.names[10 * number : 10 * number + 3], self.names[10 * number + 3 : 10 * number + 9]
        start = time.monotonic()
        asked = "\n".join(gone), "\n".join(kept), "embedded", "drawings", 50, "normal", "", ""
        (made,) = visitor.call(visitor.named("forget"), *asked)
        self.runs.append(time.monotonic() - start)
        if made["forget"] != gone:
            self.wrong.append(f"run {number} forgot another's names")

    def come(self, act: Callable[[Stranger, int], None], number: int, end: float) -> threading.Thread:
        """One visitor, who goes on till the end."""

        def stay() -> None:
            visitor = Stranger(self.address)
            while time.monotonic() < end:
                try:
                    act(visitor, number)
                except Exception as error:
                    self.wrong.append(f"{act.__name__}: {error!r}"[:200])
                    time.sleep(1)

        thread = threading.Thread(target=stay, daemon=True)
        thread.start()
        return thread


class Mixed:
    """Visitors who do one thing after another; what they did, how long it took, and what went wrong."""

    def __init__(self, address: str, pause: float) -> None:
        self.address, self.pause = address, pause
        self.done: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()  # a polite act refused in words: too many visitors, a full disk
        self.wrong: list[str] = []
        self.waits: list[float] = []  # since the last sample

    def stay(self, number: int, end: float) -> None:
        draw = random.Random(number)
        time.sleep(draw.random() * self.pause)
        while time.monotonic() < end:
            try:
                visitor = Stranger(self.address)
            except Exception as error:
                self._note("coming", error)
                time.sleep(self.pause)
                continue
            with visitor.http:
                for _ in range(draw.randint(1, LONGEST_STAY)):
                    if time.monotonic() < end:
                        self.act(visitor, draw)
                        time.sleep(draw.expovariate(1 / self.pause))

    def act(self, visitor: Stranger, draw: random.Random) -> None:
        (act,) = draw.choices(list(ACTS), list(ACTS.values()))
        start = time.monotonic()
        try:
            act(visitor, draw)
            self.done[act.__name__] += 1
            self.waits.append(time.monotonic() - start)
        except Refusal as refusal:
            self.refused[f"{act.__name__}: {str(refusal)[:120]}"] += 1
        except Exception as error:
            self._note(act.__name__, error)

    def _note(self, what: str, error: Exception) -> None:
        self.wrong.append(f"{what}: {error!r}"[:300])


class Samples:
    """What a process takes of the machine, over time."""

    columns = ("seconds", "rss_mb", "private_mb", "files", "threads", "sockets", "temp_mb", "cache_mb", "cpu", "acts",
               "refused", "wrong", "p50", "p95")  # fmt: skip

    def __init__(self, app: psutil.Process, home: Path, out: Path) -> None:
        self.app, self.home, self.path = app, home, out / "samples.csv"
        self.start, self.rows = time.monotonic(), list[dict[str, float]]()
        self.spent = sum(app.cpu_times()[:2])
        out.mkdir(parents=True, exist_ok=True)
        with self.path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerow(self.columns)

    def take(self, crowd: Mixed) -> dict[str, float]:
        waits, crowd.waits = crowd.waits, []
        spent, since = sum(self.app.cpu_times()[:2]), self.rows[-1]["seconds"] if self.rows else 0.0
        seconds = time.monotonic() - self.start
        row = {
            "seconds": round(seconds, 1), "rss_mb": self.app.memory_info().rss >> 20,
            "private_mb": self.app.memory_full_info().uss >> 20, "files": self.app.num_fds(),
            "threads": self.app.num_threads(), "sockets": len(self.app.net_connections()),
            "temp_mb": megabytes(self.home / "tmp"), "cache_mb": megabytes(self.home / "hf"),
            "cpu": round((spent - self.spent) / max(1e-9, seconds - since), 2), "acts": sum(crowd.done.values()),
            "refused": sum(crowd.refused.values()), "wrong": len(crowd.wrong), "p50": round(share(waits, 0.5), 2),
            "p95": round(share(waits, 0.95), 2),
        }  # fmt: skip
        self.spent = spent
        self.rows.append(row)
        with self.path.open("a", encoding="utf-8", newline="") as file:
            csv.writer(file).writerow(row[name] for name in self.columns)
        return row

    def draw(self) -> None:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot

        shown = ("rss_mb", "private_mb", "temp_mb", "files", "threads", "p95")
        figure, axes = pyplot.subplots(2, 3, figsize=(12, 6), sharex=True, layout="constrained")
        for axis, name in zip(axes.flat, shown, strict=True):
            axis.plot([row["seconds"] / 60 for row in self.rows], [row[name] for row in self.rows])
            axis.set(title=name, ylim=(0, None))
        for axis in axes[-1]:
            axis.set_xlabel("minutes")
        figure.savefig(self.path.with_suffix(".png"), dpi=100)


def mixed(args: Any) -> None:
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "tmp").mkdir()
        places = {
            "TMPDIR": str(home / "tmp"),
            "HF_HOME": str(home / "hf"),
            "HF_UNLEARN_CACHE": str(home / "hf" / "own"),
        }
        with serving(Path(__file__).resolve().parent.parent, args.out / "log", **places) as address:
            app = next(p for p in psutil.Process().children() if "python" in p.name())
            crowd, samples, end = (
                Mixed(address, args.pause),
                Samples(app, home, args.out),
                time.monotonic() + args.seconds,
            )
            for number in range(args.visitors):
                threading.Thread(target=crowd.stay, args=(number, end), daemon=True).start()
            while time.monotonic() < end:
                row = samples.take(crowd)
                if len(samples.rows) % 2:
                    print(*(f"{name} {value:g}" for name, value in row.items()), flush=True)
                time.sleep(min(SAMPLED_EVERY, max(0.0, end - time.monotonic())))
            samples.take(crowd)
            samples.draw()
            wrong = list(crowd.wrong)
    print(dict(crowd.done), *crowd.refused.items(), f"{len(wrong)} wrong:", *wrong[:40], sep="\n")
    sys.exit(bool(wrong))


def megabytes(folder: Path) -> int:
    sizes = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                sizes += os.lstat(os.path.join(path, name)).st_size
    return sizes >> 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--visitors", type=int, default=50)
    parser.add_argument("--forgetting", type=int, default=5)
    for name, seconds in (("seconds", 120), ("pause", 2), ("grace", 120)):
        parser.add_argument(f"--{name}", type=float, default=seconds)
    parser.add_argument("--mixed", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("load"))
    args = parser.parse_args()
    if args.mixed:
        mixed(args)
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as address:
        crowd = Crowd(address, Path(folder) / "picture.png", pause=0)
        demo.drawings("guitar", "test")[0][1].save(crowd.picture)
        crowd.classify(Stranger(address), 0)  # loads the model
        crowd.waits, crowd.served, crowd.pause = [], [], args.pause
        app = next(p for p in psutil.Process().children() if "python" in p.name())
        before, end = app.memory_info().rss, time.monotonic() + args.seconds
        threads = [crowd.come(crowd.classify, i, end) for i in range(args.visitors)]
        threads += [crowd.come(crowd.forget, i, end) for i in range(args.forgetting)]
        peak = before
        while (waiting := sum(thread.is_alive() for thread in threads)) and time.monotonic() < end + args.grace:
            peak = max(peak, app.memory_info().rss)
            time.sleep(0.2)
        after, wrong = app.memory_info().rss, sorted(crowd.wrong)  # before the app ends, and with it who still waits
    waits, served = (f"p50 {share(of, 0.5):.3f} s, p95 {share(of, 0.95):.3f} s" for of in (crowd.waits, crowd.served))
    print(f"{args.visitors} visitors every {args.pause:g} s, {args.forgetting} forgetting, {args.seconds:g} s: "
          f"{len(crowd.waits)} answers, waited {waits}, of which the server took {served}; "
          f"{len(crowd.runs)} runs, longest {max(crowd.runs, default=0):.0f} s; memory {before >> 20} MB before, "
          f"{peak >> 20} at most, {after >> 20} after; {len(wrong)} errors, {waiting} still waiting")  # fmt: skip
    for line in dict.fromkeys(wrong[:10]):
        print("  ", line)
    sys.exit(bool(wrong or waiting))


def share(seconds: list[float], part: float) -> float:
    """The quantile, 0 of nothing."""
    return sorted(seconds)[min(len(seconds) - 1, int(part * len(seconds)))] if seconds else 0.0


if __name__ == "__main__":
    main()
