"""Memory and files of the Space over thousands of visits: what stays when visitors have left.

    python benchmarks/memory_over_time.py [--visits 3000] [--every 250] [--visitors 1] [--pause 0] [--types]

A visit is a new browser with new words and a new photo. It opens the page, forgets words, classifies
the photo, fetches the adapter, types on the page and leaves, often in the middle of an answer. The next visit begins
`--pause` seconds later. Every row has medians of the last `--every` visits. With `--types` the app runs in this
process, and the types are listed of which there are more at the end than after a third. Two hours:

    python benchmarks/memory_over_time.py --visits 2400 --pause 2
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from space_acts import NAMES, look, picture, sent

from tests.support.browser import REPOSITORY, serving
from tests.support.gradio_http import Stranger, launched

SYLLABLES = "bcdfghklmnprstvw", "aeiou"
LEAVES = 0.3  # of all visitors leave in the middle of an answer
READ_EVERY = 2.0  # seconds


def new_word(draw: random.Random) -> str:
    """A word of three syllables."""
    return "".join(draw.choice(letters) for _ in range(3) for letters in SYLLABLES)


def visit(address: str, number: int, pause: float) -> None:
    """One visitor, who comes after a pause."""
    time.sleep(pause)
    draw, visitor = random.Random(number), Stranger(address)
    with visitor.http:
        look(visitor, draw)
        words = [draw.choice(NAMES), new_word(draw)]
        (made,) = visitor.call(visitor.named("forget_now"), ", ".join(words), "", "embedded", 0.5)
        photo = sent(visitor, picture(draw), "photo.png")
        labels = ", ".join([*words, new_word(draw), draw.choice(NAMES)])
        visitor.call(visitor.named("classify"), photo, labels, made["adapter"], "embedded", True)
        (file,) = visitor.call(visitor.named("download"), made["adapter"])
        visitor.http.get(f"/file={file['path']}").raise_for_status()
        typed = next(event["id"] for event in visitor.events["dependencies"] if takes_picture(visitor, event))
        if draw.random() > LEAVES:
            visitor.call(typed, *on_page(words))
        else:
            visitor.join(typed, *on_page([new_word(draw)]))
            with visitor.listening() as news:
                next(news)


def takes_picture(visitor: Stranger, event: dict[str, Any]) -> bool:
    """Whether an event reads the first screen's picture; the first of them answers what is typed."""
    return event["backend_fn"] and "Picture" in map(visitor.labels.get, event["inputs"])


def on_page(words: list[str]) -> list[object]:
    """What the first screen sends when a visitor has typed."""
    return [words, [], [], "", "embedded", 0.5, True, None, ""]


@contextmanager
def app_beside(home: Path) -> Iterator[tuple[str, psutil.Process]]:
    """The app in another process."""
    with serving(REPOSITORY, TMPDIR=str(home)) as address:
        yield address, next(child for child in psutil.Process().children() if "python" in child.name())


@contextmanager
def app_here(home: Path) -> Iterator[tuple[str, psutil.Process]]:
    """The app in this process."""
    from space.ui.app import build

    tempfile.tempdir = str(home)
    with launched(build(REPOSITORY)) as address:
        yield address, psutil.Process()


def live_types() -> Counter[str]:
    """How many objects of each type there are."""
    gc.collect()
    return Counter(f"{type(found).__module__}.{type(found).__qualname__}" for found in gc.get_objects())


def megabytes_left(home: Path) -> tuple[int, float]:
    """How many files there are, and their megabytes."""
    sizes = [path.lstat().st_size for path in home.rglob("*") if path.is_file()]
    return len(sizes), sum(sizes) / 2**20


class Watch:
    """A row for each part of the visits: memory during them."""

    def __init__(self, app: psutil.Process, home: Path) -> None:
        self.app, self.home, self.start, self.wrong = app, home, time.monotonic(), 0
        self.medians: list[float] = []

    def over(self, address: str, pool: ThreadPoolExecutor, numbers: range, pause: float) -> None:
        """Has these visits made, and prints a row."""
        left, read = {pool.submit(visit, address, number, pause) for number in numbers}, []
        visits = set(left)
        while left:
            left = wait(left, READ_EVERY).not_done
            read.append(self.app.memory_full_info().uss / 2**20)
        failed = [visit.exception() for visit in visits if visit.exception()]
        self.wrong += len(failed)
        self.medians.append(statistics.median(read))
        files, size = megabytes_left(self.home)
        row = {
            "visits": numbers.stop, "seconds": time.monotonic() - self.start, "private MB": self.medians[-1],
            "at most": max(read), "cpu s": sum(self.app.cpu_times()[:2]), "threads": self.app.num_threads(),
            "open files": self.app.num_fds(), "temporary files": files, "MB": size, "wrong": self.wrong,
        }  # fmt: skip
        print(*(f"{name} {value:.0f} " for name, value in row.items()), *failed[:1], flush=True)


def main() -> None:
    """Prints rows, and the growth from the end of the first third to the end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, number in (("visits", 3_000), ("every", 250), ("visitors", 1)):
        parser.add_argument(f"--{name}", type=int, default=number)
    parser.add_argument("--pause", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--types", action="store_true")
    given = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    app_of = app_here if given.types else app_beside
    with tempfile.TemporaryDirectory() as folder, app_of(Path(folder)) as (address, app):
        watch, types = Watch(app, Path(folder)), Counter[str]()
        with ThreadPoolExecutor(given.visitors) as pool:
            for first in range(0, given.visits, given.every):
                if given.types and not types and first * 3 >= given.visits:
                    types = live_types()
                watch.over(address, pool, range(first, min(first + given.every, given.visits)), given.pause)
        if given.types:
            print(*(live_types() - types).most_common(30), sep="\n")
    third = watch.medians[len(watch.medians) // 3]
    print(
        f"growth after the first third: {100 * (watch.medians[-1] / third - 1):+.1f} %, {watch.wrong} visits went wrong"
    )


if __name__ == "__main__":
    main()
