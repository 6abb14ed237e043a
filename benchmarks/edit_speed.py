"""How long an edit takes: the first of a model, a later one, and `edit_vectors`.

    OMP_NUM_THREADS=2 python benchmarks/edit_speed.py

20 names on the embedded CLIP, and on a random one of ViT-B/16's shape with 3,000 words held in place (one token each,
as most words of CLIP's own tokenizer are).
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from speed import write_model

from hf_unlearn import ClipBlackBox, ForgetAdapter, unlearn
from hf_unlearn.demo import emoji_tasks as demo

NAMES, WORDS = 20, 3_000


def seconds(work: Callable[[], object], times: int = 1) -> float:
    """The least of so many."""
    best = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def tell(what: str, model: ClipBlackBox, names: list[str], words: list[str] | None) -> ForgetAdapter:
    """Prints the first and the later time; the adapter."""
    first = seconds(lambda: unlearn(model, forget=names, vocabulary=words))
    later = seconds(lambda: unlearn(model, forget=names, vocabulary=words), times=5)
    adapter = unlearn(model, forget=names, vocabulary=words).adapter
    size = adapter.edit.up.numel() * 8 / 1000
    print(f"{what}: first {first:.2f} s, then {later:.2f} s; rank {adapter.config.rank}, {size:.0f} KB", flush=True)
    return adapter


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HF_UNLEARN_CACHE"] = folder
        names = list(demo.task("moderation").forget)
        tell("embedded CLIP, its own words", ClipBlackBox(device="cpu"), names, None)
        write_model("ViT-B/16", Path(folder, "model"))
        wide = ClipBlackBox(str(Path(folder, "model")), template="{} 269", device="cpu")
        words = [str(number) for number in range(1_000, 1_000 + WORDS)]
        adapter = tell(f"ViT-B/16's shape, {WORDS:,} words", wide, [f"{n} {n + 1}" for n in range(500, 520)], words)
        vectors = np.random.default_rng(0).normal(size=(10_000, 512)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        took = seconds(lambda: adapter.edit_vectors(vectors), times=5)
        print(f"edit_vectors, 10,000 x 512, rank {adapter.config.rank}: {1000 * took:.0f} ms")


if __name__ == "__main__":
    main()
