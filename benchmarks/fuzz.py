"""100,000 hostile inputs for each reader: of an adapter, of words, images, folders, zips, requests and a run's state.

    python benchmarks/fuzz.py                              # everything; four minutes of processor time each at most
    python benchmarks/fuzz.py --inputs 5000 --only report.json "image files"

What may come out is an answer that holds what it promises, or the reader's own error. Memory is capped at 2 GB above
the start; the slowest input's CPU time is printed. The inputs are drawn as those of `tests/test_fuzz.py`, from other
seeds.
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
from hypothesis import strategies as st
from hypothesis.internal.conjecture.providers import AVAILABLE_PROVIDERS

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.support.checkpoints import write_clip
from tests.support.fuzzing import Readers, quietly

ROOM = 2 * 2**30
MEMORY = Path("/dev/shm")  # small files are written there twenty times as fast
LONG = 2.0  # seconds of processor time for one input
AT_ONCE, BATCH = 2_000, 20  # inputs per seed, for hypothesis remembers them all, and per example, which cost it most
AVAILABLE_PROVIDERS["plain"] = "hypothesis.internal.conjecture.providers.HypothesisProvider"  # draws and nothing more


def fuzz(readers: Readers, target: str, inputs: int, start: int, limit: float) -> tuple[int, float, dict[str, str]]:
    """How many inputs were read, seconds of the slowest, and undocumented errors: one traceback of each kind."""
    strategy, read = readers.targets[target]
    count, slowest, failures = 0, 0.0, dict[str, str]()

    def feed(batch: list[object]) -> None:
        nonlocal count, slowest
        for content in batch:
            count += 1
            begun = time.thread_time()
            try:
                quietly(read, content)
                slowest = max(slowest, took := time.thread_time() - begun)
                assert took < LONG, f"{took:.1f} seconds"
            except Exception as error:
                place = traceback.extract_tb(error.__traceback__)[-1]
                told = "".join(traceback.format_exception(error, limit=-6))
                failures.setdefault(f"{type(error)} {place}", f"{told}the input: {repr(content)[:3_000]}")

    batches = st.lists(strategy, min_size=BATCH, max_size=BATCH)
    quiet = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck), "backend": "plain"}
    turn, until = 0, time.process_time() + limit
    while count < inputs and time.process_time() < until:
        examples = -(-min(AT_ONCE, inputs - count) // BATCH)
        part = settings(max_examples=examples, phases=[Phase.generate], **quiet)
        turn += 1
        seed(start + turn)(part(given(batches)(feed)))()
        shutil.rmtree(readers.folder / "trees", ignore_errors=True)
    return count, slowest, failures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=240.0, help="processor time for each reader at most")
    parser.add_argument("--only", nargs="*", help="targets; all if not given")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        readers = Readers(Path(folder), write_clip(Path(folder) / "clip", seed=0))
        used = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, used + ROOM))
        for target in args.only or readers.targets:
            begun = time.monotonic()
            count, slowest, failures = fuzz(readers, target, args.inputs, args.seed, args.seconds)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"{target:28} {count:9,} inputs  {len(failures)} kinds undocumented  slowest {slowest:.2f} s  "
                  f"peak {peak:,.0f} MB  {time.monotonic() - begun:.0f} s", flush=True)  # fmt: skip
            failed += len(failures)
            for told in failures.values():
                print(told, flush=True)
    raise SystemExit(failed > 0)


if __name__ == "__main__":
    main()
