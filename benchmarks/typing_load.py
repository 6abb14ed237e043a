"""Many visitors who ask the Space to forget a word every few seconds: how long each waits for the answer.

python benchmarks/typing_load.py [--visitors 50] [--pause 5] [--seconds 60]
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path
from threading import Thread

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from hf_unlearn.demo import emoji_tasks as demo
from tests.support.browser import serving
from tests.support.gradio_http import Refusal, Stranger


def visit(address: str, seed: int, pause: float, end: float, waits: list[float], wrong: list[str]) -> None:
    """Asks for words of the demo until `end`, a random pause before each."""
    draw, stranger, names = random.Random(seed), Stranger(address), sorted(demo.concepts())
    event = stranger.named("forget_now")
    while time.monotonic() < end:
        time.sleep(draw.uniform(0, 2 * pause))
        start = time.monotonic()
        try:
            stranger.call(event, ", ".join(draw.sample(names, draw.randint(1, 3))), "", "embedded", 0.5)
        except Refusal as refusal:
            wrong.append(str(refusal))
        waits.append(time.monotonic() - start)


def main() -> None:
    """Prints the median, the 95th percentile, and how many were refused."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--visitors", type=int, default=50)
    parser.add_argument("--pause", type=float, default=5.0, help="seconds between answers, on average")
    parser.add_argument("--seconds", type=float, default=60.0)
    given = parser.parse_args()
    waits: list[float] = []
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as root, serving(Path(root)) as address:
        end = time.monotonic() + given.seconds
        visitors = [
            Thread(target=visit, args=(address, seed, given.pause, end, waits, wrong)) for seed in range(given.visitors)
        ]
        for visitor in visitors:
            visitor.start()
        for visitor in visitors:
            visitor.join()
    median, late = np.percentile(waits, [50, 95])
    print(f"{len(waits)} words: median {median:.2f} s, 95th percentile {late:.2f} s, {len(wrong)} refused {wrong[:1]}")


if __name__ == "__main__":
    main()
