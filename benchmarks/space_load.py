"""Many visitors at once on the real app on loopback: latencies, memory, and whether anybody got another's answer.

    python benchmarks/space_load.py --visitors 50 --forgetting 5 --seconds 120
    python benchmarks/space_load.py --visitors 1 --forgetting 0 --seconds 20 --pause 0

A visitor looks at the scores for `--pause` seconds before the next picture; who forgets starts anew at once. What has
no answer `--grace` seconds after the end is counted as such and not waited for. Every visitor has labels of its own,
so an answer about other labels is a mix-up; so is an adapter that forgets another visitor's names.
"""

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from browser import serving
from gradio_http import Stranger

from hf_unlearn import demo


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--visitors", type=int, default=50)
    parser.add_argument("--forgetting", type=int, default=5)
    for name, seconds in (("seconds", 120), ("pause", 2), ("grace", 120)):
        parser.add_argument(f"--{name}", type=float, default=seconds)
    args = parser.parse_args()
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
