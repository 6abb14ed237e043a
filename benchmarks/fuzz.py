"""100,000 hostile inputs for each reader: config, context, report, label files, images, folders, API payloads,
zips, state.

    python benchmarks/fuzz.py                              # everything; hours
    python benchmarks/fuzz.py --inputs 5000 --only report.json "image files"

What may come out is an answer that holds what it promises, or the reader's own error. Memory is capped at 2 GB above
the start; the slowest input's CPU time is printed. The inputs are those of `tests/test_fuzz.py`, from other seeds.
"""

import argparse
import resource
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

sys.path[:0] = [str(Path(__file__).parents[1] / "tests"), str(Path(__file__).parents[1])]
from conftest import write_clip  # noqa: E402
from fuzzing import Readers  # noqa: E402

ROOM = 2 * 2**30
MEMORY = Path("/dev/shm")  # small files are written there twenty times as fast
AT_ONCE = 2_000  # inputs per seed: hypothesis remembers all inputs of a seed


def fuzz(readers: Readers, target: str, inputs: int, start: int) -> tuple[int, float, list[str]]:
    """How many inputs were read, seconds of the slowest, and the tracebacks of undocumented errors."""
    strategy, read = readers.targets[target]
    count, slowest, failures = 0, 0.0, []

    def feed(content: object) -> None:
        nonlocal count, slowest
        count += 1
        begun = time.thread_time()
        read(content)
        slowest = max(slowest, time.thread_time() - begun)

    quiet = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}
    turn = 0
    while count < inputs:
        part = settings(max_examples=min(AT_ONCE, inputs - count), phases=[Phase.generate], **quiet)
        turn += 1
        try:
            seed(start + turn)(part(given(strategy)(feed)))()
        except Exception:
            failures.append(traceback.format_exc())
        shutil.rmtree(readers.folder / "trees", ignore_errors=True)
    return count, slowest, failures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--only", nargs="*", help="targets; all if not given")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        readers = Readers(Path(folder), write_clip(Path(folder) / "clip", seed=0))
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, used + ROOM))
        for target in args.only or readers.targets:
            begun = time.monotonic()
            count, slowest, failures = fuzz(readers, target, args.inputs, args.seed)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"{target:28} {count:9,} inputs  {len(failures)} undocumented  slowest {slowest:.2f} s  "
                  f"peak {peak:,.0f} MB  {time.monotonic() - begun:.0f} s", flush=True)  # fmt: skip
            failed += len(failures)
            if failures:
                print(failures[0])
    raise SystemExit(failed > 0)


if __name__ == "__main__":
    main()
