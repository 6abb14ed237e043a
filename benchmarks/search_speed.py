"""What an edit adds to the time of a query to a search engine of 1,000,000 vectors.

    OMP_NUM_THREADS=1 python benchmarks/search_speed.py

The text tower has ViT-B/16's shape, the vectors 512 numbers. An exact index compares a query with every vector. An
approximate one (IVF of 4,096 lists, 16 visited, 8 bits a number) compares it with some 4,000. Queries come one by one.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np
from edit_speed import NAMES, WORDS
from speed import write_model

from hf_unlearn import AdaptedClip, ClipBlackBox, unlearn

CHUNK = 50_000
QUERIES = 50


def random_vectors(count: int, width: int, draw: np.random.Generator) -> np.ndarray:
    vectors = draw.standard_normal((count, width), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def approximate(width: int, lists: int, draw: np.random.Generator) -> faiss.Index:
    index = faiss.index_factory(width, f"IVF{lists},SQ8", faiss.METRIC_INNER_PRODUCT)
    index.train(random_vectors(lists * 8, width, draw))
    index.nprobe = 16
    return index


def milliseconds(work: Callable[[int], object]) -> float:
    """The median over the queries."""
    took = []
    for query in range(QUERIES):
        start = time.perf_counter()
        work(query)
        took.append(time.perf_counter() - start)
    return 1_000 * statistics.median(took)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vectors", type=int, default=1_000_000)
    parser.add_argument("--lists", type=int, default=4_096)
    options = parser.parse_args()
    faiss.omp_set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    draw = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HF_UNLEARN_CACHE"] = folder
        write_model("ViT-B/16", Path(folder, "model"))
        model = ClipBlackBox(str(Path(folder, "model")), template="{} 269", device="cpu")
        words = [str(number) for number in range(1_000, 1_000 + WORDS)]
        adapter = unlearn(model, forget=[f"{n} {n + 1}" for n in range(500, 500 + NAMES)], vocabulary=words).adapter
        clip = AdaptedClip(model, adapter)
        with clip.disabled():
            encode = milliseconds(lambda query: clip.text_features([f"{query} 7 of 9"]))
            queries = clip.text_features([f"{query} 7 of 9" for query in range(QUERIES)]).numpy()
        edit = milliseconds(lambda query: adapter.edit_vectors(queries[query : query + 1]))
    indices = {
        "exact": faiss.IndexFlatIP(queries.shape[1]),
        "approximate": approximate(queries.shape[1], options.lists, draw),
    }
    for _ in range(0, options.vectors, CHUNK):
        chunk = random_vectors(min(CHUNK, options.vectors), queries.shape[1], draw)
        for index in indices.values():
            index.add(chunk)
    print("| index | text vector, ms | edit, ms | search, ms | the edit's share |\n|---|---|---|---|---|")
    for name, index in indices.items():
        search = milliseconds(lambda query, index=index: index.search(queries[query : query + 1], 10))
        share = edit / (encode + edit + search)
        print(f"| {name} | {encode:.2f} | {edit:.3f} | {search:.2f} | {share:.1%} |", flush=True)


if __name__ == "__main__":
    main()
