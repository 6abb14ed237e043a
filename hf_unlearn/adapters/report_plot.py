"""The picture of a report, `report.png`: the rows side by side, and every class before and after.

A picture is drawn when its report is saved. It carries the report's digest, so a later push can use it again.
"""

from __future__ import annotations

import hashlib
import io
import json
from typing import Any

from hf_unlearn.drawing import default_figures, label

PLOT = "report.png"
SIGNATURE, DIGEST_WITHIN = b"\x89PNG\r\n\x1a\n", 1024  # bytes from the start of a PNG

BARS = {
    "err_for": "forget error",
    "acc_mem": "retain accuracy",
    "H": "H",
    "entropy": "entropy",
    "recoverability": "recoverability",
    "short_list_4": "named beside\n4 kept names",
}
LOW = ("recoverability", "short_list_4")  # of the bars, the last ones
INK, FORGET, RETAIN = "#333333", "#c44e52", "#4c72b0"
SHADES = 32  # a palette makes the file a quarter as large


def draw_picture(report: dict[str, Any]) -> bytes:
    """Draws metrics of every row, and accuracy of every class before (light) and after (dark), as a PNG."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    rows, kind, method = report["rows"], report["images"]["kind"], report["method"]
    classes = sorted(report["per_class"], key=lambda item: (item["role"], item["name"]))[:120]
    names = [item["name"] for item in (*rows, *classes)]
    with default_figures([*names, kind, method]) as figure_of:
        figure = figure_of(figsize=(max(9.0, 0.2 * len(classes) + 2), 7.5), layout="constrained")
        top, bottom = figure.subplots(2, 1)
        _draw_rows(top, rows, label(kind))
        _draw_classes(bottom, classes, label(method))
        figure.savefig(drawn := io.BytesIO(), dpi=110)
    picture = Image.open(drawn).convert("RGB")
    picture = picture.quantize(SHADES, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    facts = PngInfo()
    facts.add_text("report", _digest_report(report))
    picture.save(written := io.BytesIO(), "PNG", optimize=True, pnginfo=facts)
    return written.getvalue()


def is_picture_of(picture: bytes, report: dict[str, Any]) -> bool:
    """Whether `draw_picture` made this picture from this report, by the digest in it."""
    return picture.startswith(SIGNATURE) and _digest_report(report).encode() in picture[:DIGEST_WITHIN]


def _digest_report(report: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(report, sort_keys=True).encode()).hexdigest()


def _draw_rows(axes: Any, rows: list[dict[str, Any]], kind: str) -> None:
    """Draws bars of every metric, one per row, with the legend below."""
    shown = [key for key in BARS if any(row.get(key) is not None for row in rows)]
    width = 0.8 / len(rows)
    colours = ["#bbbbbb", "#888888", "#dd8452", "#55a868", "#8172b3", "#937860"]
    drawn = []
    for number, row in enumerate(rows):
        heights = [100 * (row.get(key) or 0.0) for key in shown]
        places = [place + (number - (len(rows) - 1) / 2) * width for place in range(len(shown))]
        drawn.append(axes.bar(places, heights, width, color=colours[number % len(colours)]))
        axes.bar_label(drawn[-1], fmt="%.0f", fontsize=7, color=INK)
    axes.set_xticks(range(len(shown)), [BARS[key] for key in shown])
    axes.set_ylim(0, 112)
    axes.set_ylabel("%")
    axes.set_title(f"{kind} images: {_describe_goal(shown)}")
    axes.spines[["top", "right"]].set_visible(False)
    names = [label(row["name"]) for row in rows]
    beside = max(1, min(len(names), 130 // (8 + max(map(len, names)))))
    axes.legend(drawn, names, ncols=beside, frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.16))


def _draw_classes(axes: Any, classes: list[dict[str, Any]], method: str) -> None:
    colour = [FORGET if item["role"] == "forget" else RETAIN for item in classes]
    places = list(range(len(classes)))
    axes.bar(places, [100 * item["accuracy_before"] for item in classes], 0.8, color=colour, alpha=0.3)
    axes.bar(places, [100 * item["accuracy_after"] for item in classes], 0.5, color=colour)
    axes.set_xticks(places, [label(item["name"]) for item in classes], rotation=60, ha="right", fontsize=7)
    axes.set_xlim(-0.7, len(classes) - 0.3)
    axes.set_ylabel("accuracy, %")
    axes.set_title(f"each class before (light) and after {method} (dark); red is to be forgotten")
    axes.spines[["top", "right"]].set_visible(False)


def _describe_goal(shown: list[str]) -> str:
    """Which of the bars should be high."""
    low = sum(key in LOW for key in shown)
    return "all should be high" if not low else f"the last {'two ' if low > 1 else ''}should be low, all others high"
