"""What an adapter's `report.json` holds, and how it is read. It may come from a stranger, as the config may."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hf_unlearn.adapters.config import finite, number, read_json
from hf_unlearn.errors import AdapterError

MAX_ROWS, MAX_CLASSES, MAX_TEXT = 50, 100_000, 500


def read_report(path: Path) -> dict[str, Any]:
    """Reads `report.json`, and checks what the card, the plot and the table use of it.

    Raises:
        AdapterError: if it is no such file, or tampered with; the message names the place.
    """
    report = read_json(path)

    def expect(right: bool, where: str, what: str) -> None:
        if not right:
            raise AdapterError(f"{path}: {where} must be {what}; get the adapter again, or ask its maker")

    rows = report.get("rows")
    expect(_list_of_objects(rows, MAX_ROWS) and bool(rows), "rows", f"1 to {MAX_ROWS} objects")
    for row in rows or ():
        if "context_sha256" in row and "weights_sha256" not in row:  # its name before version 2
            row["weights_sha256"] = row.pop("context_sha256")
        expect(_text(row.get("name")), "the name of a row", "text")
        expect(_count(row.get("queries")), "the queries of a row", "a whole number")
        metrics = [value for key, value in row.items() if key not in ("name", "weights_sha256")]
        right = all(value is None or (number(value) and abs(value) < 1e15) for value in metrics)
        expect(right, "every metric of a row", "a number or null")
    classes = report.get("per_class")
    expect(_list_of_objects(classes, MAX_CLASSES), "per_class", "a list of objects")
    for item in classes or ():
        expect(_text(item.get("name")) and item.get("role") in ("forget", "retain"), "a class", "named, with its role")
        shares = [item.get(key) for key in ("accuracy_before", "accuracy_after")]
        expect(all(number(value) and 0 <= value <= 1 for value in shares), "an accuracy", "0 to 1")
    images = report.get("images")
    counts = [images.get(key) for key in ("forget", "retain", "classes")] if isinstance(images, dict) else [None]
    kind = images.get("kind") if isinstance(images, dict) else None
    expect(all(map(_count, counts)) and _text(kind), "images", "counts and their kind")
    expect(_text(report.get("method")), "method", "text")
    expect(finite(report), "every number", "finite")
    return report


def _list_of_objects(value: Any, most: int) -> bool:
    return isinstance(value, list) and len(value) <= most and all(isinstance(item, dict) for item in value)


def _text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_TEXT


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**53
