"""What the code of a guide must have reached after it ran in a folder: page -> a check of the names it defined."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def check_search(scope: dict[str, Any], folder: Path) -> None:
    """Forgotten queries find no more than chance would, kept ones lose nothing, and no index has changed."""
    plain, edited = (scope["recall"](queries) for queries in _queries(scope))
    forgotten = scope["forgotten"]
    assert plain[forgotten].mean() > 0.75
    assert edited[forgotten].mean() <= 10 / len(scope["images"])
    assert edited[~forgotten].mean() >= plain[~forgotten].mean() > 0.85
    scope["faiss"].write_index(scope["index"], str(folder / "unasked.faiss"))
    assert _digest(folder / "shop.faiss") == _digest(folder / "unasked.faiss")
    _check_database(scope, folder / "shop.qdrant", _queries(scope)[1], edited)


def _check_database(scope: dict[str, Any], path: Path, queries: np.ndarray, expected: np.ndarray) -> None:
    """The database finds what the index finds, and its file is the same before and after."""
    file = next(path.rglob("*.sqlite"))
    before = _digest(file)
    database = scope["QdrantClient"](path=str(path))
    labels = np.array(scope["task"].test.labels)
    for name in ("wine glass", "hot beverage"):
        label = scope["task"].test.names.index(name)
        found = [point.id for point in database.query_points("shop", queries[label], limit=10).points]
        assert (labels[found] == label).sum() / (labels == label).sum() == expected[label], name
    database.close()
    assert _digest(file) == before


def _queries(scope: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    plain = scope["encode"](scope["task"].test.names)
    return plain, scope["adapter"].edit_vectors(plain)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


CHECKS: dict[str, Callable[[dict[str, Any], Path], None]] = {"search": check_search}
