"""What an audit found: printed as tables in plain words, saved as JSON, Markdown and pictures."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.markup import escape
from rich.table import Table

from hf_unlearn.audit.plots import plot_audit
from hf_unlearn.audit.words import EXPLAINED, LIMITS, figure, markdown, percent, visible
from hf_unlearn.report import Report


@dataclass(frozen=True)
class Audit:
    """`content` holds `verdict` ("pass" or "fail"), `checks`, `metrics`, `attacks` and what was audited."""

    content: dict[str, Any]

    @property
    def passed(self) -> bool:
        return self.content["verdict"] == "pass"

    def attack(self, name: str) -> dict[str, Any]:
        """Raises: KeyError: if there is no such attack."""
        for attack in self.content["attacks"]:
            if attack["name"] == name:
                return attack
        raise KeyError(name)

    def to_json(self) -> str:
        return json.dumps(self.content, indent=2, ensure_ascii=False, allow_nan=False)

    def to_markdown(self) -> str:
        return markdown(self.content, self.tables())

    def save(self, folder: str | Path) -> None:
        """`audit.md`, pictures and, last, `audit.json`; each file whole or not there.

        Raises:
            OSError: if the folder can't be written.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=".audit.", dir=folder))
        try:
            names = plot_audit(self.content, fresh)
            (fresh / "audit.md").write_text(self.to_markdown(), encoding="utf-8")
            (fresh / "audit.json").write_text(self.to_json() + "\n", encoding="utf-8")
            (folder / "audit.json").unlink(missing_ok=True)  # an old one must not vouch for new pictures
            for name in (*names, "audit.md", "audit.json"):
                os.replace(fresh / name, folder / name)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def tables(self) -> Iterator[tuple[str, list[str], list[list[str]]]]:
        """Key of the explanation, headings, rows of text; the same for terminal and Markdown."""
        found = self.content["metrics"]
        marks = {True: "pass", False: "FAIL", None: "not judged"}
        yield "verdict", ["check", "measured", "limit", ""], [
            [
                item["what"] + (f" ({item['which']})" if item["which"] else ""),
                figure(item["value"], item["check"] != "max_epsilon"),
                figure(item["limit"], item["check"] != "max_epsilon"),
                marks[item["passed"]],
            ]
            for item in self.content["checks"]
        ]  # fmt: skip
        attacks = self.content["attacks"]
        yield "attacks", ["attack", "needs", "right", "95 %", "plain", "known"], [
            [
                item["name"], item["access"], percent(item["right"]), _range(item), percent(item["plain"]),
                f"{item['known']}/{item['tries']}",
            ]
            for item in attacks
            if item["tries"]
        ]  # fmt: skip
        strongest = [(item["name"], item["strongest"]) for item in attacks if item["strongest"]]
        yield "strongest", ["attack", "what was tried", "brings back", "right"], [
            [name, best["what"], best["of"], percent(best["right"])] for name, best in strongest
        ]  # fmt: skip
        relearning = next((item for item in attacks if item.get("curve")), None)
        if relearning:
            yield "relearning", ["queries", "named right"], [
                [f"{point['queries']:,}", percent(point["right"])] for point in _some(relearning["curve"])
            ]  # fmt: skip
        harm, unlisted = found["harm"], found.get("unlisted")
        rows = [
            [item["name"], percent(item["before"]), percent(item["after"]), percent(item["drop"]), _range(item)]
            for item in harm["classes"][:5]
        ]
        rows.append(["all kept classes", "", "", percent(harm["drop"]), _range(harm)])
        if unlisted:
            rows.append(
                ["classes in neither list", percent(unlisted["before"]), percent(unlisted["after"]),
                 percent(unlisted["drop"]), _range(unlisted)]
            )  # fmt: skip
        yield "harm", ["class", "before", "after", "lost", "95 %"], rows
        calibration = harm["calibration"]
        yield "calibration", ["", "before", "after"], [
            [label, *(f"{calibration[when][key]:.3f}" for when in ("before", "after"))]
            for key, label in (("ece", "calibration error"), ("nll", "log-loss"))
        ]  # fmt: skip
        for role, table in (found["groups"]["roles"] if found.get("groups") else {}).items():
            yield f"groups: {role}", ["group", "classes", "before", "after", "change", "95 %"], [
                [item["group"], str(item["classes"]), percent(item["before"]), percent(item["after"]),
                 percent(item["change"]), _range(item)] for item in table["groups"]
            ] + [["gap", "", percent(table["gap_before"]), percent(table["gap_after"]), "", ""]]  # fmt: skip
        probe = found["feature_probe"]
        yield (
            "probes",
            ["probe on", "forgotten class read"],
            [
                ["the scores, plain model", percent(found["rows"][0].get("recoverability"))],
                ["the scores, label mask", percent(found["rows"][1].get("recoverability"))],
                ["the scores, adapter", percent(found["rows"][-1].get("recoverability"))],
                ["image features (adapter or not)", percent(probe)],
            ],
        )
        if member := found.get("membership"):
            yield "membership", ["figure", "value"], [
                ["epsilon shown for the worst drawing (lower bound)", f"{member['epsilon']:.2f}"],
                ["most that so few adapters can show", f"{member['ceiling']:.2f}"],
                ["upper bound for that drawing", figure(member["epsilon_high"], False)],
                ["median of the drawings' estimates", figure(member["epsilon_median"], False)],
                ["drawings with a bound above 0", f"{member['resolved']} of {member['drawings']}"],
                ["AUROC of all drawings", f"{member['auc']:.3f} ({member['auc_low']:.3f} to {member['auc_high']:.3f})"],
            ]  # fmt: skip

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Report({**self.content["report"], "rows": self.content["metrics"]["rows"]})
        yield escape(EXPLAINED["figures"]) + "\n"
        for key, headings, rows in self.tables():
            title = key if key != "verdict" else f"verdict: {self.content['verdict'].upper()}"
            table = Table(title=escape(title), title_justify="left", title_style="bold")
            for number, heading in enumerate(headings):
                left = not number or heading in ("needs", "what was tried", "brings back", "value")
                table.add_column(heading, justify="left" if left else "right", overflow="fold")
            for row in rows:
                table.add_row(*(escape(visible(cell)) for cell in row))
            yield table
            yield escape(EXPLAINED[key.split(":")[0]]) + "\n"
        yield escape(LIMITS)

    def __str__(self) -> str:
        console = Console(no_color=True, force_terminal=False, width=120)
        with console.capture() as capture:
            console.print(self)
        return capture.get()


def _range(item: dict[str, Any]) -> str:
    return "–" if item["low"] is None else f"{percent(item['low'])} to {percent(item['high'])}"


def _some(curve: list[dict[str, Any]], count: int = 8) -> list[dict[str, Any]]:
    """At most so many points, the first and the last among them."""
    if len(curve) <= count:
        return curve
    return [curve[round(i * (len(curve) - 1) / (count - 1))] for i in range(count)]
