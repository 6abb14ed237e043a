"""What `audit.json` holds."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from hf_unlearn.auditing.attack_results import AttackSummary
from hf_unlearn.auditing.findings import AuditMetrics


class CheckContent(TypedDict):
    """A limit and what was measured; see `hf_unlearn.auditing.checks.Check`."""

    check: str
    what: str
    which: str
    value: float | None
    limit: float
    passed: bool | None


class NotRunContent(TypedDict):
    """An attack that could not run, and why."""

    name: str
    why: str


class AuditedAdapter(TypedDict):
    """The adapter under audit; the classes kept are those of the images."""

    kind: str
    base_model: str
    weights_sha256: str
    forget: list[str]
    retain: list[str]


class AuditLedger(TypedDict):
    """What the audit asked of the model, and its seconds."""

    queries: int
    text_tokens: int
    image_encodings: int
    seconds: float


class AuditContent(TypedDict):
    """The whole file; `report` is the content of an evaluation's report without its rows."""

    verdict: Literal["pass", "fail"]
    checks: list[CheckContent]
    metrics: AuditMetrics
    attacks: list[AttackSummary]
    not_run: list[NotRunContent]
    adapter: AuditedAdapter
    report: dict[str, Any]
    ledger: AuditLedger
