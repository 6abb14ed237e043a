"""Tables, paired differences and plots of what `arena.py` wrote.

    python benchmarks/arena_report.py runs/arena.jsonl --plots docs
    python benchmarks/arena_report.py runs/eight.jsonl --only H short_list_4        # a line for each task and model

Differences are of test `H` on the same draw and seed, with a 95 % bootstrap interval over classes (each
draw's forgotten and kept classes drawn again, 2,000 times).
"""

import argparse
import json
import statistics
from collections.abc import Iterable
from pathlib import Path

import matplotlib as mpl
import numpy as np
from rich.console import Console
from rich.table import Table

from hf_unlearn.evaluation.metrics import harmonic_mean

OURS, PEERS = "proximal", ("lcs-cma", "lcs-cma-paper", "coop")
FIXED = (
    "zero-shot", "label-mask", "edit", "edit+context", "null-space", "least-squares", "leace", "retrained", "coop"
)  # fmt: skip
COLUMNS = {
    "H": "H", "err_for": "Err_for", "acc_mem": "Acc_mem", "short_list_1": "beside 1", "short_list_4": "beside 4",
    "short_list_9": "beside 9", "synonym_err": "syn. err", "collateral": "collateral", "entropy": "entropy",
    "recoverability": "recover.", "top5_leak": "top-k leak", "forget_detect": "detect", "retain_ece": "ECE",
}  # fmt: skip
TRADED = {  # against H: what the y axis says, and from where to where
    "entropy": ("entropy on forget images, %", (0, 102)),
    "recoverability": ("recoverability, %", (0, 102)),
    "retain_ece": ("ECE on kept images, %", (0, 40)),
    "collateral": ("collateral, points", (-65, 5)),
}
Run = tuple[int, int]  # draw, seed


def tell(rows: list[dict]) -> None:
    """One task's table and differences."""
    console = Console(width=230)
    console.print(table(rows))
    for line in differences(rows):
        console.print(line, highlight=False)


def table(rows: list[dict]) -> Table:
    shown = Table("row", "queries", "runs", *COLUMNS.values(), "s")
    shown.title, shown.title_justify = f"{rows[0]['task']}: test, mean ± std, %", "left"
    order = {name: place for place, name in enumerate((*FIXED, *PEERS[1::-1], OURS))}
    for name, budget in sorted(kinds(rows), key=lambda kind: (order.get(kind[0], 99), *kind)):
        found = list(runs(rows, name, budget).values())
        cells = [cell([row[key] for row in found if row.get(key) is not None]) for key in COLUMNS]
        seconds = statistics.mean(row["seconds"] for row in found)
        shown.add_row(name, f"{budget:,}" if budget else "–", str(len(found)), *cells, f"{seconds:.0f}")
    return shown


def compact(rows: list[dict], figure: str) -> Table:
    """One figure of all rows, a line for each task and model; in brackets how many runs, where fewer."""
    columns = sorted(kinds(rows), key=lambda kind: (FIXED.index(kind[0]) if kind[0] in FIXED else 99, *kind))
    shown = Table("task", "runs", *(f"{name} {budget or ''}".strip() for name, budget in columns), title=figure)
    for task in dict.fromkeys(row["task"] for row in rows):
        found = [list(runs([row for row in rows if row["task"] == task], *kind).values()) for kind in columns]
        most = max(map(len, found))
        cells = [
            cell([row[figure] for row in some]) + (f" ({len(some)})" if 0 < len(some) < most else "") for some in found
        ]
        shown.add_row(task, str(most), *cells)
    return shown


def differences(rows: list[dict]) -> Iterable[str]:
    """Ours against every peer that had as many queries or more."""
    budgets = sorted({budget for name, budget in kinds(rows) if name == OURS})
    for peer in PEERS:
        theirs = sorted({budget for name, budget in kinds(rows) if name == peer})
        for budget in budgets:
            for other in theirs:
                pairs = paired(runs(rows, OURS, budget), runs(rows, peer, other))
                if not pairs or 0 < other < budget:
                    continue
                mean, low, high = interval(pairs)
                won = sum(ours["H"] > his["H"] for ours, his in pairs)
                asked = f"{other:,} queries" if other else "gradients"
                yield (
                    f"{rows[0]['task']}: {OURS} at {budget:,} queries - {peer} with {asked}: "
                    f"{mean:+.1f} [{low:+.1f}, {high:+.1f}], ahead in {won} of {len(pairs)}"
                )


def interval(pairs: list[tuple[dict, dict]], times: int = 2_000) -> tuple[float, float, float]:
    """Mean difference of `H` over runs in points, and its 95 % bootstrap interval over classes."""
    draw = np.random.default_rng(0)
    means = np.zeros(times)
    for ours, theirs in pairs:
        gone = ours["forgotten"]
        a, b = np.array(ours["per_class"]), np.array(theirs["per_class"])
        of_gone = draw.integers(0, gone, (times, gone))
        of_kept = draw.integers(gone, len(a), (times, len(a) - gone))
        means += [
            harmonic_mean(1 - a[f].mean(), a[k].mean()) - harmonic_mean(1 - b[f].mean(), b[k].mean())
            for f, k in zip(of_gone, of_kept, strict=True)
        ]
    low, high = np.percentile(100 * means / len(pairs), [2.5, 97.5])
    return 100 * statistics.mean(ours["H"] - theirs["H"] for ours, theirs in pairs), float(low), float(high)


def plot(rows: list[dict], folder: Path) -> None:
    """`arena-queries.png`: H against queries; `arena-trades.png`: other figures against H, as queries grow."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    tasks = list(dict.fromkeys(row["task"] for row in rows))
    searched = [name for name in (*PEERS[1::-1], OURS) if any(row["row"] == name for row in rows)]
    colours = {name: f"C{place}" for place, name in enumerate(searched)} | {
        "label-mask": "black", "coop": "magenta", "zero-shot": "C8", "null-space": "C9",
    }  # fmt: skip
    figure, axes = plt.subplots(1, len(tasks), figsize=(4.2 * len(tasks), 3.6), sharey=True, squeeze=False)
    for axis, task in zip(axes[0], tasks, strict=True):
        own = [row for row in rows if row["task"] == task]
        for name in searched:
            budgets = sorted({budget for kind, budget in kinds(own) if kind == name})
            values = [[100 * row["H"] for row in runs(own, name, budget).values()] for budget in budgets]
            spread = [statistics.stdev(found) if len(found) > 1 else 0 for found in values]
            means = [statistics.mean(found) for found in values]
            axis.errorbar(budgets, means, spread, color=colours[name], marker="o", capsize=3, label=name)
        for name in ("label-mask", "null-space", "coop"):
            if found := runs(own, name, 0):
                height = 100 * statistics.mean(row["H"] for row in found.values())
                axis.axhline(height, color=colours[name], linestyle="--", label=name)
        axis.set(xscale="log", title=task, xlabel="queries", ylim=(0, 102))
        axis.set_xticks(asked := sorted({budget for _, budget in kinds(own) if budget}), [f"{b:,}" for b in asked])
        axis.tick_params(axis="x", labelsize=7)
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("H on test images, %")
    axes[0][0].legend(fontsize=8, loc="lower right")
    save(figure, folder / "arena-queries.png")

    others = sorted({row["row"] for row in rows} - set(colours))
    colours |= {name: f"C{place}" for place, name in enumerate(others, 3)}
    shown = {}
    size = (4.2 * len(tasks), 2.8 * len(TRADED))
    figure, axes = plt.subplots(len(TRADED), len(tasks), figsize=size, sharex=True, sharey="row", squeeze=False)
    for (key, (label, limits)), line in zip(TRADED.items(), axes, strict=True):
        for axis, task in zip(line, tasks, strict=True):
            own = [row for row in rows if row["task"] == task]
            for name in sorted({name for name, _ in kinds(own)}):
                found = [runs(own, name, budget).values() for kind, budget in sorted(kinds(own)) if kind == name]
                x, y = ([100 * statistics.mean(row[what] for row in some) for some in found] for what in ("H", key))
                marker = "s" if name in others else "o"
                (shown[name],) = axis.plot(x, y, color=colours[name], marker=marker, markersize=4, label=name)
            axis.set(xlim=(0, 102), ylim=limits)
            axis.grid(alpha=0.3)
        line[0].set_ylabel(label)
    for axis, task in zip(axes[0], tasks, strict=True):
        axis.set_title(task)
    for axis in axes[-1]:
        axis.set_xlabel("H on test images, %")
    axes[1][-1].legend(handles=list(shown.values()), fontsize=7, loc="lower left", ncols=2)  # nobody's points are there
    save(figure, folder / "arena-trades.png")


def save(figure: "mpl.figure.Figure", path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def kinds(rows: list[dict]) -> set[tuple[str, int]]:
    return {(row["row"], row["budget"]) for row in rows}


def runs(rows: list[dict], name: str, budget: int) -> dict[Run, dict]:
    return {(row["draw"], row["seed"]): row for row in rows if (row["row"], row["budget"]) == (name, budget)}


def paired(ours: dict[Run, dict], theirs: dict[Run, dict]) -> list[tuple[dict, dict]]:
    return [(ours[run], theirs[run]) for run in ours.keys() & theirs.keys()]


def cell(values: list[float]) -> str:
    if not values:
        return "–"
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{100 * statistics.mean(values):.1f} ± {100 * spread:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument(
        "--only", nargs="+", choices=COLUMNS, help="tables of these figures, all tasks and models in each"
    )
    parser.add_argument("--plots", type=Path, help="folder for the two pictures")
    args = parser.parse_args()
    rows = [json.loads(line) for path in args.runs for line in path.read_text(encoding="utf-8").splitlines()]
    for figure in args.only or ():
        Console(width=400).print(compact(rows, figure))
    for task in dict.fromkeys(row["task"] for row in rows) if not args.only else ():
        tell([row for row in rows if row["task"] == task])
    if args.plots:
        plot(rows, args.plots)


if __name__ == "__main__":
    main()
