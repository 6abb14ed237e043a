"""Pictures of an audit: the attacks, the harm per class, the relearning curve."""

from __future__ import annotations

import io
from typing import Any, TypeAlias

import numpy as np

from hf_unlearn.auditing.attack_results import PROMPT, AttackSummary, CurvePoint
from hf_unlearn.auditing.collateral import RetainHarm
from hf_unlearn.auditing.report_content import AuditContent
from hf_unlearn.drawing import default_figures, label

Figure: TypeAlias = Any  # matplotlib's, which only hf_unlearn.drawing imports
Axes: TypeAlias = Any

PICTURES = ("attacks.png", "harm.png", "relearning.png")
INK, PLAIN, ATTACKED, KEPT = "#333333", "#bbbbbb", "#c44e52", "#4c72b0"


def plot_audit(content: AuditContent) -> dict[str, bytes]:
    """`attacks.png`, `harm.png` and, if there is a curve, `relearning.png`, as PNG."""
    attacks, harm = content["attacks"], content["metrics"]["harm"]
    curve = next((attack["curve"] for attack in attacks if attack.get("curve")), None)
    with default_figures([item["name"] for item in (*attacks, *harm["classes"])]) as figure_of:
        figures = {"attacks.png": _plot_attacks(figure_of, attacks), "harm.png": _plot_harm(figure_of, harm)}
        if curve:
            figures["relearning.png"] = _plot_relearning(figure_of, curve)
        return {name: _render_png(figure) for name, figure in figures.items()}


def _render_png(figure: Figure) -> bytes:
    figure.savefig(drawn := io.BytesIO(), format="png", dpi=110)
    return drawn.getvalue()


def _make_figure(figure_of: type[Figure], width: float, height: float) -> tuple[Figure, Axes]:
    figure = figure_of(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _plot_attacks(figure_of: type[Figure], attacks: list[AttackSummary]) -> Figure:
    shown = [attack for attack in attacks if attack["right"] is not None]
    figure, axes = _make_figure(figure_of, 9.0, 1.6 + 0.4 * len(shown))
    places = range(len(shown))
    shares = np.array([[attack["plain"], attack["right"], attack["low"], attack["high"]] for attack in shown], float)
    plain, right, low, high = 100 * shares.reshape(-1, 4).T
    axes.barh(places, plain, 0.8, color=PLAIN, label="without the adapter")
    spread = np.maximum(0, [right - low, high - right])  # a bound may be beyond the mean by a rounding error
    axes.barh(places, right, 0.5, xerr=spread, color=ATTACKED, ecolor=INK, label="with it, attacked")
    names = [attack["name"] + (" (prompt)" if attack["access"] == PROMPT else "") for attack in shown]
    axes.set_yticks(places, [label(name) for name in names], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("forget images named right, %; whiskers: 95 % over classes")
    axes.set_title("attacks: the shorter the red bar, the better suppressed")
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    return figure


def _plot_harm(figure_of: type[Figure], harm: RetainHarm) -> Figure:
    classes = harm["classes"][:60]
    figure, axes = _make_figure(figure_of, max(7.0, 0.2 * len(classes) + 2), 4.5)
    drops = [100 * item["drop"] for item in classes]
    spread = [
        [max(0.0, 100 * (item["drop"] - item["low"])) for item in classes],
        [max(0.0, 100 * (item["high"] - item["drop"])) for item in classes],
    ]
    axes.bar(range(len(classes)), drops, 0.7, yerr=spread, color=KEPT, ecolor=INK)
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.set_xticks(range(len(classes)), [label(item["name"]) for item in classes], rotation=60, ha="right", fontsize=7)
    axes.set_ylabel("accuracy lost, points of %")
    axes.set_title("kept classes: what each lost; whiskers: 95 % over its drawings")
    return figure


def _plot_relearning(figure_of: type[Figure], curve: list[CurvePoint]) -> Figure:
    figure, axes = _make_figure(figure_of, 7.0, 4.0)
    axes.step(
        [point["queries"] for point in curve], [100 * point["right"] for point in curve], where="post", color=ATTACKED
    )
    axes.set_ylim(0, 100)
    axes.set_xlabel("queries that the attacker spent on learning tokens before the name")
    axes.set_ylabel("forget images named right, %")
    axes.set_title("relearning: the later it rises, the better")
    return figure
