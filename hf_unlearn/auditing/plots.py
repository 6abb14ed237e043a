"""Pictures of an audit: the attacks, the relearning curve, the harm per class."""

from __future__ import annotations

import io
from typing import Any

from hf_unlearn.auditing.case import PROMPT
from hf_unlearn.drawing import drawing, label

PICTURES = ("attacks.png", "harm.png", "relearning.png")
INK, PLAIN, ATTACKED, KEPT = "#333333", "#bbbbbb", "#c44e52", "#4c72b0"


def plot_audit(content: dict[str, Any]) -> dict[str, bytes]:
    """`attacks.png`, `harm.png` and, if there is a curve, `relearning.png`, as PNG."""
    attacks, harm = content["attacks"], content["metrics"]["harm"]
    curve = next((attack["curve"] for attack in attacks if attack.get("curve")), None)
    with drawing([item["name"] for item in (*attacks, *harm["classes"])]) as figure_of:
        figures = {"attacks.png": _attacks(figure_of, attacks), "harm.png": _harm(figure_of, harm)}
        if curve:
            figures["relearning.png"] = _relearning(figure_of, curve)
        return {name: _png(figure) for name, figure in figures.items()}


def _png(figure: Any) -> bytes:
    figure.savefig(drawn := io.BytesIO(), format="png", dpi=110)
    return drawn.getvalue()


def _figure(figure_of: Any, width: float, height: float) -> tuple[Any, Any]:
    figure = figure_of(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _attacks(figure_of: Any, attacks: list[dict[str, Any]]) -> Any:
    shown = [attack for attack in attacks if attack["right"] is not None]
    figure, axes = _figure(figure_of, 9.0, 1.6 + 0.4 * len(shown))
    places = range(len(shown))
    axes.barh(places, [100 * attack["plain"] for attack in shown], 0.8, color=PLAIN, label="without the adapter")
    right = [100 * attack["right"] for attack in shown]
    spread = [
        [100 * (attack["right"] - attack["low"]) for attack in shown],
        [100 * (attack["high"] - attack["right"]) for attack in shown],
    ]
    axes.barh(places, right, 0.5, xerr=spread, color=ATTACKED, ecolor=INK, label="with it, attacked")
    names = [attack["name"] + (" (prompt)" if attack["access"] == PROMPT else "") for attack in shown]
    axes.set_yticks(places, [label(name) for name in names], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("forget images named right, %; whiskers: 95 % over classes")
    axes.set_title("attacks: the shorter the red bar, the better suppressed")
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    return figure


def _harm(figure_of: Any, harm: dict[str, Any]) -> Any:
    classes = harm["classes"][:60]
    figure, axes = _figure(figure_of, max(7.0, 0.2 * len(classes) + 2), 4.5)
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


def _relearning(figure_of: Any, curve: list[dict[str, Any]]) -> Any:
    figure, axes = _figure(figure_of, 7.0, 4.0)
    axes.step(
        [point["queries"] for point in curve], [100 * point["right"] for point in curve], where="post", color=ATTACKED
    )
    axes.set_ylim(0, 100)
    axes.set_xlabel("queries that the attacker spent on learning tokens before the name")
    axes.set_ylabel("forget images named right, %")
    axes.set_title("relearning: the later it rises, the better")
    return figure
