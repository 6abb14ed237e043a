"""Runs killed with SIGKILL at random moments, every second one during a save, then taken up again.

    python benchmarks/kills.py                  # 50 kills, 16 minutes on a busy machine
    python benchmarks/kills.py --kills 5

A run that is killed five times and then ends must leave the adapter of the run that nobody touched, bit for bit; a run
that does not, or that can't be taken up again, is lost.
"""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "tests"), str(Path(__file__).parents[1])]
from forked import Forked  # noqa: E402

from hf_unlearn import demo  # noqa: E402
from hf_unlearn.adapter_files import CONTEXT  # noqa: E402
from hf_unlearn.run_dir import STATE  # noqa: E402

EACH = 5  # kills per run


def write_images(folder: Path) -> list[str]:
    """The classes of the first draw of emoji10, one sub-folder each; gives those to forget."""
    task = demo.task("emoji10")
    for number, image in enumerate(task.train):
        path = folder / task.names[task.train.labels[number]]
        path.mkdir(parents=True, exist_ok=True)
        image.save(path / f"{number}.png")
    return list(task.forget)


def command(images: Path, forget: list[str], out: Path, run: Path) -> list[str]:
    chosen = [word for name in forget for word in ("--forget", name)]
    return [
        "forget", "--data", str(images), *chosen, "--out", str(out), "--run-dir", str(run), "--seed", "0", "--shots",
        "4", "--max-queries", "450", "--patience", "0", "--json",
    ]  # fmt: skip


def kill(words: list[str], run: Path, draw: random.Random, longest: float, during_save: bool) -> str:
    """Starts the run and kills it; says when: before, between or during saves, or that it had ended."""
    fresh = run / f".{STATE}"

    def saving() -> bool:
        try:
            return fresh.stat().st_mtime_ns != left
        except FileNotFoundError:
            return False

    left = fresh.stat().st_mtime_ns if fresh.exists() else 0  # by an earlier kill
    process = Forked(words, run)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    draw, when, lost = random.Random(args.seed), [], 0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        forget = write_images(folder / "images")
        begun = time.monotonic()
        Forked(command(folder / "images", forget, folder / "whole", folder / "run-whole"), folder / "whole").wait()
        longest = (time.monotonic() - begun) / 2  # until a kill that waits for no save
        whole = (folder / "whole" / CONTEXT).read_bytes()
        runs = 0
        while sum(not moment.startswith(("ended", "failed")) for moment in when) < args.kills:
            runs += 1
            out, run = folder / f"out-{runs}", folder / f"run-{runs}"
            words, moments = command(folder / "images", forget, out, run), []
            for number in range(EACH):
                moments.append(kill(words, run, draw, longest, during_save=number % 2 == 1))
                if moments[-1] == "ended":
                    break
            when += moments
            (last := Forked(words, run)).wait()
            same = (out / CONTEXT).exists() and (out / CONTEXT).read_bytes() == whole
            lost += not same
            outcome = "the same adapter" if same else f"LOST {last.said()[1]}"
            print(f"run {runs}: killed {', '.join(moments)}: {outcome}", flush=True)
    kills = {moment: when.count(moment) for moment in sorted(set(when)) if moment != "ended"}
    print(f"{sum(kills.values())} kills ({', '.join(f'{n} {moment}' for moment, n in kills.items())}), "
          f"{runs} runs, {lost} lost")  # fmt: skip
    raise SystemExit(lost > 0)


if __name__ == "__main__":
    main()
