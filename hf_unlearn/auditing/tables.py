"""An audit's tables as rows of text, the same for the terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hf_unlearn.auditing.explanations import figure, percent

Table = tuple[str, list[str], list[list[str]]]  # key of the explanation, headings, rows
MARKS = {True: "pass", False: "FAIL", None: "not judged"}
LISTS = (1, 4, 9, 19)  # kept names beside a forgotten one


def tables(content: dict[str, Any]) -> Iterator[Table]:
    """All tables of `Audit.content`."""
    found = content["metrics"]
    yield _verdict(content["checks"])
    yield from _attacks(content["attacks"])
    if any(row.get("short_list_1") is not None for row in found["rows"]):
        yield _short_lists(found["rows"])
    yield from _harm(found["harm"], found.get("unlisted"))
    for role, table in (found["groups"]["roles"] if found.get("groups") else {}).items():
        yield _groups(role, table)
    yield _probes(found)
    if member := found.get("membership"):
        yield _membership(member)
    if content["not_run"]:
        yield "not run", ["attack", "why"], [[item["name"], item["why"]] for item in content["not_run"]]


def _verdict(checks: list[dict[str, Any]]) -> Table:
    rows = [
        [
            item["what"] + (f" ({item['which']})" if item["which"] else ""),
            figure(item["value"], item["check"] != "max_epsilon"),
            figure(item["limit"], item["check"] != "max_epsilon"),
            MARKS[item["passed"]],
        ]
        for item in checks
    ]
    return "verdict", ["check", "measured", "limit", ""], rows


def _attacks(attacks: list[dict[str, Any]]) -> Iterator[Table]:
    rows = [
        [
            item["name"], item["access"], percent(item["right"]), _range(item), percent(item["plain"]),
            f"{item['known']}/{item['tries']}",
        ]
        for item in attacks
        if item["tries"]
    ]  # fmt: skip
    yield "attacks", ["attack", "needs", "right", "95 %", "plain", "known"], rows
    strongest = [(item["name"], item["strongest"]) for item in attacks if item["strongest"]]
    rows = [[name, best["what"], best["of"], percent(best["right"])] for name, best in strongest]
    yield "strongest", ["attack", "what was tried", "brings back", "right"], rows
    if curve := next((item["curve"] for item in attacks if item.get("curve")), None):
        rows = [[f"{point['queries']:,}", percent(point["right"])] for point in _some(curve)]
        yield "relearning", ["queries", "named right"], rows


def _short_lists(rows: list[dict[str, Any]]) -> Table:
    cells = [[row["name"], *(percent(row.get(f"short_list_{k}")) for k in LISTS)] for row in rows]
    return "short lists", ["row", *(f"beside {k}" for k in LISTS)], cells


def _harm(harm: dict[str, Any], unlisted: dict[str, Any] | None) -> Iterator[Table]:
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
    rows = [
        [label, *(f"{calibration[when][key]:.3f}" for when in ("before", "after"))]
        for key, label in (("ece", "calibration error"), ("nll", "log-loss"))
    ]
    yield "calibration", ["", "before", "after"], rows


def _groups(role: str, table: dict[str, Any]) -> Table:
    rows = [
        [item["group"], str(item["classes"]), percent(item["before"]), percent(item["after"]),
         percent(item["change"]), _range(item)]
        for item in table["groups"]
    ]  # fmt: skip
    rows.append(["gap", "", percent(table["gap_before"]), percent(table["gap_after"]), "", ""])
    return f"groups: {role}", ["group", "classes", "before", "after", "change", "95 %"], rows


def _probes(found: dict[str, Any]) -> Table:
    rows = [
        [f"the scores, {what}", percent(found["rows"][number].get("recoverability"))]
        for what, number in (("plain model", 0), ("label mask", 1), ("adapter", -1))
    ]
    rows.append(["image features (adapter or not)", percent(found["feature_probe"])])
    return "probes", ["probe on", "forgotten class read"], rows


def _membership(member: dict[str, Any]) -> Table:
    if "skipped" in member:
        return "membership", ["figure", "value"], [["not measured", member["skipped"]]]
    rows = [
        ["epsilon shown for the worst drawing (lower bound)", f"{member['epsilon']:.2f}"],
        ["most that so few adapters can show", f"{member['ceiling']:.2f}"],
        ["upper bound for that drawing", figure(member["epsilon_high"], False)],
        ["median of the drawings' estimates", figure(member["epsilon_median"], False)],
        ["drawings with a bound above 0", f"{member['resolved']} of {member['drawings']}"],
        ["AUROC of all drawings", f"{member['auc']:.3f} ({member['auc_low']:.3f} to {member['auc_high']:.3f})"],
    ]
    return "membership", ["figure", "value"], rows


def _range(item: dict[str, Any]) -> str:
    return "–" if item["low"] is None else f"{percent(item['low'])} to {percent(item['high'])}"


def _some(curve: list[dict[str, Any]], count: int = 8) -> list[dict[str, Any]]:
    """At most so many points, the first and the last among them."""
    if len(curve) <= count:
        return curve
    return [curve[round(i * (len(curve) - 1) / (count - 1))] for i in range(count)]
