"""Scores before and after an adapter, and a sentence on what they show."""

from __future__ import annotations

from collections.abc import Sequence

from space.inputs.limits import MARK, plain_text
from space.services.classification import Classification
from space.views.adapter_facts import describe_status

Scores = dict[str, float]
LIMITS = (
    "Scores are shares among the labels you give and always sum to 100%: with other labels they differ. An adapter was "
    "judged on the names in its lists; for others there is no promise."
)


def render_comparison(found: Classification) -> tuple[Scores, Scores, str]:
    """Scores before and after by label, and what they show, as Markdown. Labels to be forgotten are marked."""
    if found.adapter is None or found.after is None:
        words = f"**No adapter is chosen.** {_name_top(found.names, found.before)} {found.repeats}".rstrip()
        return dict(zip(found.names, found.before, strict=True)), {}, words
    keys = [name + MARK if marked else name for name, marked in zip(found.names, found.forgotten, strict=True)]
    outcome = f"{_describe_outcome(found, found.after)} {found.repeats}".rstrip()
    words = describe_status(found.adapter, found.enabled, outcome)
    return dict(zip(keys, found.before, strict=True)), dict(zip(keys, found.after, strict=True)), words


def _name_top(names: Sequence[str], scores: Sequence[float]) -> str:
    top = max(range(len(scores)), key=scores.__getitem__)
    return f"The plain model says **{plain_text(names[top])}** ({scores[top]:.0%})."


def _describe_outcome(found: Classification, after: Sequence[float]) -> str:
    def share(scores: Sequence[float]) -> str:
        return f"{sum(score for score, marked in zip(scores, found.forgotten, strict=True) if marked):.0%}"

    seen = _name_top(found.names, found.before)
    if found.enabled:
        top = max(range(len(after)), key=after.__getitem__)
        seen = f"{seen[:-1]}, with the adapter it says **{plain_text(found.names[top])}** ({after[top]:.0%})."
    if not any(found.forgotten):
        return f"{seen} None of your labels is a name that this adapter forgets."
    together = f"The names to be forgotten share {share(found.before)} of the score"
    return f"{seen} {together} before, {share(after)} after." if found.enabled else f"{seen} {together}."
