"""Runs killed with SIGKILL at random moments, every second one during a save, then taken up again.

    python benchmarks/kills.py                  # 50 kills, about 15 minutes on a core
    python benchmarks/kills.py --kills 5

A run that is killed five times and then ends must leave the adapter of the run that nobody touched, bit for bit; a run
that does not, or that can't be taken up again, is lost.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hf_unlearn import demo
from hf_unlearn.adapter_files import CONTEXT
from hf_unlearn.run_dir import STATE

EACH = 5  # kills per run


def write_images(folder: Path) -> list[str]:
    """The classes of the first draw of emoji10, one sub-folder each; gives those to forget."""
    task = demo.task("emoji10")
    for number, image in enumerate(task.train):
        path = folder / task.names[task.train.labels[number]]
        path.mkdir(parents=True, exist_ok=True)
        image.save(path / f"{number}.png")
    return list(task.forget)


def command(images: Path, forget: list[str], out: Path, run: Path, seed: int) -> list[str]:
    chosen = [word for name in forget for word in ("--forget", name)]
    return [
        sys.executable, "-m", "hf_unlearn", "forget", "--data", str(images), *chosen, "--out", str(out), "--run-dir",
        str(run), "--seed", str(seed), "--shots", "4", "--max-queries", "450", "--patience", "0", "--json",
    ]  # fmt: skip


def kill(words: list[str], run: Path, draw: random.Random, during_save: bool) -> str:
    """Starts the run and kills it; says when: before, between or during saves, or that it had ended."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    fresh, state = run / f".{STATE}", run / STATE
    if during_save:
        skipped = draw.randrange(3)  # saves that are let through
        while process.poll() is None:
            if fresh.exists():
                if not skipped:
                    time.sleep(draw.uniform(0, 0.002))
                    break
                skipped -= 1
                while fresh.exists():
                    time.sleep(0.0002)
            time.sleep(0.0002)
    else:
        wait = time.monotonic() + draw.uniform(0.5, 16)
        while process.poll() is None and time.monotonic() < wait:
            time.sleep(0.01)
    if process.poll() is not None:
        _, error = process.communicate()
        return "ended" if process.returncode == 0 else f"failed: {error.strip()}"
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    return "during a save" if fresh.exists() else "between saves" if state.exists() else "before the first save"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    draw, when, lost = random.Random(args.seed), [], 0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        forget = write_images(folder / "images")
        untouched = command(folder / "images", forget, folder / "whole", folder / "run-whole", 0)
        subprocess.run(untouched, check=True, stdout=subprocess.DEVNULL)
        whole = (folder / "whole" / CONTEXT).read_bytes()
        runs = 0
        while sum(not moment.startswith(("ended", "failed")) for moment in when) < args.kills:
            runs += 1
            out, run = folder / f"out-{runs}", folder / f"run-{runs}"
            words, moments = command(folder / "images", forget, out, run, 0), []
            for number in range(EACH):
                moments.append(kill(words, run, draw, during_save=number % 2 == 1))
                if moments[-1] == "ended":
                    break
            when += moments
            done = subprocess.run(words, capture_output=True, text=True)
            same = done.returncode == 0 and (out / CONTEXT).read_bytes() == whole
            lost += not same
            print(f"run {runs}: killed {', '.join(moments)}: {'the same adapter' if same else 'LOST ' + done.stderr}",
                  flush=True)  # fmt: skip
    kills = {moment: when.count(moment) for moment in sorted(set(when)) if moment != "ended"}
    print(f"{sum(kills.values())} kills ({', '.join(f'{n} {moment}' for moment, n in kills.items())}), "
          f"{runs} runs, {lost} lost")  # fmt: skip
    raise SystemExit(lost > 0)


if __name__ == "__main__":
    main()
