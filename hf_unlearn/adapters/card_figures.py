"""The figures on an adapter's card: a table of the report's rows, and what leaks, in words."""

from __future__ import annotations

from typing import Any

from hf_unlearn.text import join_names, markdown

FIGURES = (
    "H",
    "err_for",
    "acc_mem",
    "short_list_1",
    "short_list_4",
    "short_list_9",
    "entropy",
    "top5_leak",
    "recoverability",
    "forget_detect",
    "synonym_err",
)
HEADINGS = (
    "| | queries | H | Err_for | Acc_mem | named beside 1 | beside 4 | beside 9 | entropy | top-k leak | "
    "recoverability | detect | synonym err |"
)
LEAKS = {  # metric -> what it says in words; {} is its value times 100
    "short_list_4": "Beside four random kept names {} % of the forgotten images still get their own name.",
    "recoverability": "A probe that reads the scores can name the forgotten class: {} on a scale from 0 (it guesses) "
    "to 100 (it always can).",
    "top5_leak": "How often the forgotten name is still among the top few differs by {} points from chance: the "
    "farther from 0, the more a ranking gives away.",
    "forget_detect": "A probe tells forgotten images from images of classes in neither list with an area under the "
    "curve of {}: 50 is not at all.",
    "synonym_err": "Asked by another name of the same thing, it fails on {} % of the images: the rest come back.",
    "look_alike": "Up to {} % of one forgotten class land on one and the same other name.",
    "bypass_acc": "With the context left out, {} % of the forgotten images are told right again.",
    "collateral": "On classes in neither list its accuracy changes by {} points.",
}
EDIT_LEAKS = LEAKS | {
    "bypass_acc": "Under a plain prompt, with the edit in effect, {} % of the forgotten images are told right; without "
    "the edit, in the public base model, everything is back."
}
COMPARED = ("short_list_4", "recoverability", "top5_leak", "forget_detect", "synonym_err", "look_alike")


def leaks_of(kind: str) -> dict[str, str]:
    """Metric -> what it says in words about an adapter of this kind; {} is its value times 100."""
    return EDIT_LEAKS if kind == "edit" else LEAKS


def find_row(config: dict[str, Any], report: dict[str, Any]) -> dict[str, Any] | None:
    """The row of a report about the adapter with this config; None if the report has no such row."""
    rows = (row for row in report["rows"] if row.get("weights_sha256") == config["weights_sha256"])
    return next(rows, None)


def render_figures(config: dict[str, Any], report: dict[str, Any], drawn: bool) -> list[str]:
    """The lines of the section; `drawn` says whether the report's picture is there."""
    judged = report["images"]
    lines = [
        f"## Figures ({markdown(judged['kind'])} images: {judged['forget']} forget, {judged['retain']} retain)",
        "",
        HEADINGS,
        "|---" * (len(FIGURES) + 2) + "|",
        *(_row(row) for row in report["rows"]),
        "",
        "zero-shot is the base as it is; label-mask only strikes the forgotten names from the label set. Named beside "
        "k: forgotten images that still get their own name in a list with k random kept names.",
        "",
        *(["![before and after](report.png)", ""] if drawn else []),
    ]
    if row := find_row(config, report):
        mask: dict[str, Any] = next((other for other in report["rows"] if other["name"] == "label-mask"), {})
        lines += ["## How it resists, where it leaks", "", *_leaks(config["kind"], row, mask), ""]
    return lines


def _leaks(kind: str, row: dict[str, Any], mask: dict[str, Any]) -> list[str]:
    lines = []
    for key, words in leaks_of(kind).items():
        if row.get(key) is not None:
            beside = f" A label mask: {100 * mask[key]:.1f}." if key in COMPARED and mask.get(key) is not None else ""
            lines.append(f"- {words.format(f'{100 * row[key]:.1f}')}{beside}")
    missing = [key for key in ("recoverability", "forget_detect", "synonym_err") if row.get(key) is None]
    if missing:
        lines.append(f"- Not measured: {join_names(missing)}. What was not measured may leak.")
    return lines


def _row(row: dict[str, Any]) -> str:
    cells = [f"{100 * row[key]:.1f}" if row.get(key) is not None else "–" for key in FIGURES]
    return f"| {markdown(row['name'])} | {row['queries']:,} | {' | '.join(cells)} |"
