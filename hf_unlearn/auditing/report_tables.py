"""An audit's tables as rows of text, the same for the terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from hf_unlearn.auditing.attack_results import AttackSummary, CurvePoint
from hf_unlearn.auditing.collateral import RetainHarm, UnlistedHarm
from hf_unlearn.auditing.findings import AuditMetrics
from hf_unlearn.auditing.groups import GroupTable
from hf_unlearn.auditing.membership import Membership
from hf_unlearn.auditing.report_content import AuditContent, CheckContent
from hf_unlearn.evaluation.report_content import Row, figure_of
from hf_unlearn.evaluation.rows import SHORT_LISTS

MARKS = {True: "pass", False: "FAIL", None: "not judged"}
WORST_CLASSES = 5  # that the table of harm lists
CURVE_POINTS = 8  # that the table of relearning lists


class Table(NamedTuple):
    """Key of the explanation, headings, rows of text."""

    key: str
    headings: list[str]
    rows: list[list[str]]


def make_tables(content: AuditContent) -> Iterator[Table]:
    """All tables of an audit."""
    found = content["metrics"]
    yield _tabulate_checks(content["checks"])
    yield from _tabulate_attacks(content["attacks"])
    if any(row.get("short_list_1") is not None for row in found["rows"]):
        yield _tabulate_short_lists(found["rows"])
    yield _tabulate_harm(found["harm"], found.get("unlisted"))
    yield _tabulate_calibration(found["harm"])
    if groups := found.get("groups"):
        for role, table in groups["roles"].items():
            yield _tabulate_groups(role, table)
    yield _tabulate_probes(found)
    if member := found.get("membership"):
        yield _tabulate_membership(member)
    if content["not_run"]:
        yield Table("not run", ["attack", "why"], [[item["name"], item["why"]] for item in content["not_run"]])


def format_percent(value: float | None) -> str:
    """A share of 1 as a percentage, a dash for None."""
    return "–" if value is None else f"{100 * value:.1f}"


def _format_number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _format_range(low: float | None, high: float | None) -> str:
    return "–" if low is None else f"{format_percent(low)} to {format_percent(high)}"


def _tabulate_checks(checks: list[CheckContent]) -> Table:
    rows = []
    for item in checks:
        form = _format_number if item["check"] == "max_epsilon" else format_percent
        what = item["what"] + (f" ({item['which']})" if item["which"] else "")
        rows.append([what, form(item["value"]), form(item["limit"]), MARKS[item["passed"]]])
    return Table("verdict", ["check", "measured", "limit", ""], rows)


def _tabulate_attacks(attacks: list[AttackSummary]) -> Iterator[Table]:
    rows = [
        [
            item["name"], item["access"], format_percent(item["right"]), _format_range(item["low"], item["high"]),
            format_percent(item["plain"]), f"{item['known']}/{item['tries']}",
        ]
        for item in attacks
        if item["tries"]
    ]  # fmt: skip
    yield Table("attacks", ["attack", "needs", "right", "95 %", "plain", "known"], rows)
    strongest = [(item["name"], item["strongest"]) for item in attacks if item["strongest"]]
    rows = [[name, best["what"], best["of"], format_percent(best["right"])] for name, best in strongest]
    yield Table("strongest", ["attack", "what was tried", "brings back", "right"], rows)
    if curve := next((item["curve"] for item in attacks if item.get("curve")), None):
        rows = [[f"{point['queries']:,}", format_percent(point["right"])] for point in _thin_out(curve)]
        yield Table("relearning", ["queries", "named right"], rows)


def _thin_out(curve: list[CurvePoint]) -> list[CurvePoint]:
    """A few of the points, the first and the last among them."""
    if len(curve) <= CURVE_POINTS:
        return curve
    return [curve[round(i * (len(curve) - 1) / (CURVE_POINTS - 1))] for i in range(CURVE_POINTS)]


def _tabulate_short_lists(rows: list[Row]) -> Table:
    cells = [[row["name"], *(format_percent(figure_of(row, f"short_list_{k}")) for k in SHORT_LISTS)] for row in rows]
    return Table("short lists", ["row", *(f"beside {k}" for k in SHORT_LISTS)], cells)


def _tabulate_harm(harm: RetainHarm, unlisted: UnlistedHarm | None) -> Table:
    rows = [
        [
            item["name"], format_percent(item["before"]), format_percent(item["after"]), format_percent(item["drop"]),
            _format_range(item["low"], item["high"]),
        ]
        for item in harm["classes"][:WORST_CLASSES]
    ]  # fmt: skip
    rows.append(["all kept classes", "", "", format_percent(harm["drop"]), _format_range(harm["low"], harm["high"])])
    if unlisted:
        rows.append([
            "classes in neither list", format_percent(unlisted["before"]), format_percent(unlisted["after"]),
            format_percent(unlisted["drop"]), _format_range(unlisted["low"], unlisted["high"]),
        ])  # fmt: skip
    return Table("harm", ["class", "before", "after", "lost", "95 %"], rows)


def _tabulate_calibration(harm: RetainHarm) -> Table:
    before, after = (harm["calibration"][when] for when in ("before", "after"))
    rows = [
        ["calibration error", f"{before['ece']:.3f}", f"{after['ece']:.3f}"],
        ["log-loss", f"{before['nll']:.3f}", f"{after['nll']:.3f}"],
    ]
    return Table("calibration", ["", "before", "after"], rows)


def _tabulate_groups(role: str, table: GroupTable) -> Table:
    rows = [
        [
            item["group"], str(item["classes"]), format_percent(item["before"]), format_percent(item["after"]),
            format_percent(item["change"]), _format_range(item["low"], item["high"]),
        ]
        for item in table["groups"]
    ]  # fmt: skip
    rows.append(["gap", "", format_percent(table["gap_before"]), format_percent(table["gap_after"]), "", ""])
    return Table(f"groups: {role}", ["group", "classes", "before", "after", "change", "95 %"], rows)


def _tabulate_probes(found: AuditMetrics) -> Table:
    rows = [
        [f"the scores, {what}", format_percent(found["rows"][number].get("recoverability"))]
        for what, number in (("plain model", 0), ("label mask", 1), ("adapter", -1))
    ]
    rows.append(["image features (adapter or not)", format_percent(found["feature_probe"])])
    return Table("probes", ["probe on", "forgotten class read"], rows)


def _tabulate_membership(member: Membership) -> Table:
    if "skipped" in member:
        return Table("membership", ["figure", "value"], [["not measured", member["skipped"]]])
    rows = [
        ["epsilon shown for the worst drawing (lower bound)", f"{member['epsilon']:.2f}"],
        ["most that so few adapters can show", f"{member['ceiling']:.2f}"],
        ["upper bound for that drawing", _format_number(member["epsilon_high"])],
        ["median of the drawings' estimates", _format_number(member["epsilon_median"])],
        ["drawings with a bound above 0", f"{member['resolved']} of {member['drawings']}"],
        ["AUROC of all drawings", f"{member['auc']:.3f} ({member['auc_low']:.3f} to {member['auc_high']:.3f})"],
    ]
    return Table("membership", ["figure", "value"], rows)
