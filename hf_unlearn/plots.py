"""One picture of a report: the rows side by side, and every class before and after."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image

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


def plot_report(report: dict[str, Any], path: str | Path | BinaryIO) -> None:
    """Draws metrics of every row, and accuracy of every class before (light) and after (dark), as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows, classes = report["rows"], report["per_class"]
    classes = sorted(classes, key=lambda item: (item["role"], item["name"]))[:120]
    figure = Figure(figsize=(max(9.0, 0.2 * len(classes) + 2), 7.5), layout="constrained")
    FigureCanvasAgg(figure)
    top, bottom = figure.subplots(2, 1)
    shown = [key for key in BARS if any(row.get(key) is not None for row in rows)]
    width = 0.8 / len(rows)
    colours = ["#bbbbbb", "#888888", "#dd8452", "#55a868", "#8172b3", "#937860"]
    for number, row in enumerate(rows):
        heights = [100 * (row.get(key) or 0.0) for key in shown]
        places = [place + (number - (len(rows) - 1) / 2) * width for place in range(len(shown))]
        bars = top.bar(places, heights, width, label=_plain(row["name"]), color=colours[number % len(colours)])
        top.bar_label(bars, fmt="%.0f", fontsize=7, color=INK)
    top.set_xticks(range(len(shown)), [BARS[key] for key in shown])
    top.set_ylim(0, 112)
    top.set_ylabel("%")
    top.set_title(f"{_plain(report['images']['kind'])} images: {_wanted(shown)}")
    top.legend(ncols=len(rows), frameon=False, fontsize=8, loc="upper right")
    colour = [FORGET if item["role"] == "forget" else RETAIN for item in classes]
    places = list(range(len(classes)))
    bottom.bar(places, [100 * item["accuracy_before"] for item in classes], 0.8, color=colour, alpha=0.3)
    bottom.bar(places, [100 * item["accuracy_after"] for item in classes], 0.5, color=colour)
    bottom.set_xticks(places, [_plain(item["name"]) for item in classes], rotation=60, ha="right", fontsize=7)
    bottom.set_xlim(-0.7, len(classes) - 0.3)
    bottom.set_ylabel("accuracy, %")
    bottom.set_title(f"each class before (light) and after {_plain(report['method'])} (dark); red is to be forgotten")
    for axes in (top, bottom):
        axes.spines[["top", "right"]].set_visible(False)
    with warnings.catch_warnings():  # a name in a script the font lacks is drawn as boxes
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        figure.savefig(drawn := io.BytesIO(), dpi=110)
    picture = Image.open(drawn).convert("RGB")
    picture = picture.quantize(SHADES, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    picture.save(path, "PNG", optimize=True)


def _wanted(shown: list[str]) -> str:
    """What is good, of the bars that are there."""
    low = sum(key in LOW for key in shown)
    return "all should be high" if not low else f"the last {'two ' if low > 1 else ''}should be low, all others high"


def _plain(text: str) -> str:
    """Names come from strangers: no formulas, and one line of bearable length."""
    line = " ".join(text.split()).replace("$", r"\$")
    return line if len(line) <= 60 else line[:59] + "…"
