"""Scores before and after an adapter, and a sentence on what they show."""

from __future__ import annotations

from collections.abc import Sequence

from space.inputs.limits import MARK, plain_text
from space.services.classification import Classification
from space.services.verdict import NONE, without_floor
from space.views.adapter_facts import describe_status

Scores = dict[str, float]
LIMITS = (
    "Scores are shares among the labels you give and “none of these”, and sum to 100%: with other labels they differ. "
    "An adapter was judged on the names in its lists; for others there is no promise."
)


def render_comparison(found: Classification) -> tuple[Scores, Scores, str]:
    """Scores before and after by label, and what they show, as Markdown. Labels to be forgotten are marked.

    "None of these" is the last one, where the model has such a floor and no label has this name.
    """
    names, before, after = _with_floor(found)
    if found.adapter is None or after is None:
        words = f"**No adapter is chosen.** The plain model {_name_top(names, before)}. {found.repeats}".rstrip()
        return dict(zip(names, before, strict=True)), {}, words
    marks = dict(zip(found.names, found.forgotten, strict=True))
    keys = [name + MARK if marks.get(name) else name for name in names]
    outcome = f"{_describe_outcome(found, names, before, after)} {found.repeats}".rstrip()
    words = describe_status(found.adapter, found.enabled, outcome)
    return dict(zip(keys, before, strict=True)), dict(zip(keys, after, strict=True)), words


def _with_floor(found: Classification) -> tuple[list[str], list[float], list[float] | None]:
    """Names and shares of the labels, and of the floor behind them."""
    if found.none_of_these is None or len(without_floor(found.names)) < len(found.names):
        return found.names, found.before, found.after
    was, now = found.none_of_these
    before = [*(share * (1 - was) for share in found.before), was]
    after = None if found.after is None else [*(share * (1 - now) for share in found.after), now]
    return [*found.names, NONE], before, after


def _name_top(names: Sequence[str], scores: Sequence[float]) -> str:
    top = max(range(len(scores)), key=scores.__getitem__)
    if names[top] == NONE:
        return f"recognizes **none of these labels** ({scores[top]:.0%})"
    return f"says **{plain_text(names[top])}** ({scores[top]:.0%})"


def _describe_outcome(
    found: Classification, names: Sequence[str], before: Sequence[float], after: Sequence[float]
) -> str:
    def share(scores: Sequence[float]) -> str:
        rows = zip(scores, found.forgotten, strict=False)  # of the labels; the floor is behind them
        return f"{sum(score for score, marked in rows if marked):.0%}"

    seen = f"The plain model {_name_top(names, before)}"
    seen += f", with the adapter it {_name_top(names, after)}." if found.enabled else "."
    if not any(found.forgotten):
        return f"{seen} None of your labels is a name that this adapter forgets."
    together = f"The names to be forgotten share {share(before)} of the score"
    return f"{seen} {together} before, {share(after)} after." if found.enabled else f"{seen} {together}."
