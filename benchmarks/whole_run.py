"""Whole runs, from loading the model to the adapter: the paper's CIFAR-10 experiment and the task `moderation`.

    python benchmarks/whole_run.py                      # on the GPU if there is one
    python benchmarks/whole_run.py --methods proximal --queries 2000 --moderation 0

The first is on a random CLIP of ViT-B/16's shape: 320 images, 10 classes, 8,000 candidates by each method. Cost depends
on shapes alone, so the images are noise; 16 shots train and as many validate. The second is on the embedded CLIP.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from speed import names_of, where, write_model

from hf_unlearn import ClipBlackBox, LabeledImages, unlearn
from hf_unlearn.demo import emoji_tasks as demo


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="*", default=["lcs-cma-paper", "proximal"])
    parser.add_argument("--queries", type=int, default=8_000, help="of the paper's experiment")
    parser.add_argument("--moderation", type=int, default=2_000, help="queries of `proximal` on moderation; 0 for none")
    args = parser.parse_args()
    print(f"on {where()}")
    names, draw = names_of("cifar10"), np.random.default_rng(0)
    noise = [draw.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in range(32 * len(names))]
    images = LabeledImages.from_arrays(noise, [number % len(names) for number in range(len(noise))], names)
    with tempfile.TemporaryDirectory() as folder:
        write_model("ViT-B/16", Path(folder))
        for method in args.methods:
            run(f"CIFAR-10's shape, {method}", folder, "{}", images, names[:4], method, args.queries)
    if args.moderation:
        task = demo.task("moderation")
        run("moderation, proximal", "embedded", None, task.train, task.forget, "proximal", args.moderation)


def run(
    title: str, model: str, template: str | None, images: LabeledImages, forget: list[str], method: str, queries: int
) -> None:
    start = time.monotonic()
    box = ClipBlackBox(model, **({"template": template} if template else {}))
    result = unlearn(box, images, forget=forget, method=method, max_queries=queries, patience=None, progress=False)
    ledger, last = result.adapter.config.ledger, result.history[-1]
    print(f"{title}: {ledger['queries']:,} candidates, {ledger['image_encodings']} images encoded, "
          f"{time.monotonic() - start:.1f} s from loading the model to the adapter, "
          f"{ledger['peak_memory_mb']:,.0f} MB at most, loss {last.loss:.2f}, H on validation {100 * last.H:.1f}",
          flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
