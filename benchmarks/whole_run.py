"""The paper's CIFAR-10 experiment end to end, on a random CLIP of ViT-B/16's shape: 320 images, 8,000 candidates.

    python benchmarks/whole_run.py --method lcs-cma-paper        # or proximal

Cost depends on shapes alone, so the images are noise; 16 shots train and as many validate.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from speed import names_of, write_model

from hf_unlearn import ClipBlackBox, LabeledImages, unlearn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", default="lcs-cma-paper")
    parser.add_argument("--queries", type=int, default=8_000)
    args = parser.parse_args()
    names, draw = names_of("cifar10"), np.random.default_rng(0)
    noise = [draw.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in range(32 * len(names))]
    images = LabeledImages.from_arrays(noise, [number % len(names) for number in range(len(noise))], names)
    with tempfile.TemporaryDirectory() as folder:
        write_model("ViT-B/16", Path(folder))
        start = time.monotonic()
        model = ClipBlackBox(folder, template="{}")
        result = unlearn(
            model, images, forget=names[:4], method=args.method, max_queries=args.queries, patience=None, progress=False
        )
        ledger = result.adapter.config.ledger
        print(f"{args.method}: {ledger['queries']:,} candidates, {ledger['image_encodings']} images encoded, "
              f"{time.monotonic() - start:.0f} s from loading the model to the adapter, "
              f"{ledger['peak_memory_mb']:,.0f} MB at most")  # fmt: skip


if __name__ == "__main__":
    main()
