"""Attack by learned tokens: the adapter stays, and the attacker trains tokens before the names."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from hf_unlearn.auditing.attack_results import PROMPT, Attack, AttackDetails, CurvePoint, NotRun, Try
from hf_unlearn.auditing.attacks.added_tokens import NO_TOKENS
from hf_unlearn.auditing.case import Case
from hf_unlearn.auditing.fast_training import CrossEntropy, Move, train_context
from hf_unlearn.auditing.inputs import Inputs
from hf_unlearn.auditing.progress import Advance, Step
from hf_unlearn.data.labeled_images import LabeledImages

NAME = "relearning"
QUESTION = "How many queries does it take to learn tokens before the name that bring a class back?"
NO_PICTURES = "needs validation images, which play an attacker's pictures"
BACK = 0.5  # of what the plain model names right: a class counts as back
MOST_TOKENS = 4


def plan_relearning(case: Case, given: Inputs) -> Iterator[Step[Attack] | NotRun]:
    """One step, for models that take tokens; it needs the attacker's pictures."""
    if not case.takes_contexts:
        yield NotRun(NAME, NO_TOKENS)
    elif (pictures := given.validation) is None:
        yield NotRun(NAME, NO_PICTURES)
    else:
        queries = given.relearn_queries
        yield Step(NAME, 2 * queries, lambda advance: relearn(
            case, pictures, queries=queries, seed=given.seed, advance=lambda spent: advance(2 * spent)
        ))  # fmt: skip


def relearn(
    case: Case,
    pictures: LabeledImages,
    *,
    queries: int,
    shots: int = 4,
    seed: int = 0,
    advance: Advance = lambda spent: None,
) -> Attack:
    """Trains tokens before the names on a few pictures of the forgotten things.

    Args:
        pictures: the attacker's labelled pictures, same classes.
        queries: how many candidates the attacker may score.
        shots: pictures per class.
        advance: called with the queries spent so far.
    """
    few = pictures.draw(shots, seed)
    few = few.select(i for i, label in enumerate(few.labels) if case.forget[label])
    tokens = min(MOST_TOKENS, case.adapted_box.max_n_ctx)
    if not len(few) or tokens < 1:
        return Attack(NAME, PROMPT, QUESTION, (), {"curve": []})
    curve: list[CurvePoint] = [{"queries": 0, "right": _share_right(case, case.adapted)}]
    tries: list[Try] = case.compare("nothing learned", case.plain, case.adapted)
    back: dict[str, int | None] = {item.of: None for item in tries}
    for move in _train_tokens(case, few, tokens, queries, seed):
        scores = case.score(case.adapted_box, context=move.context)
        tries = case.compare(f"{move.queries} queries", case.plain, scores)
        curve.append({"queries": move.queries, "right": _share_right(case, scores)})
        for item in tries:
            if back[item.of] is None and item.right >= BACK * item.plain > 0:
                back[item.of] = move.queries
        advance(move.queries)
    details: AttackDetails = {
        "curve": curve, "shots": shots, "tokens": tokens, "queries_until_back": back, **_summarize_back(back),
    }  # fmt: skip
    return Attack(NAME, PROMPT, QUESTION, tuple(tries), details)


def _train_tokens(case: Case, few: LabeledImages, tokens: int, queries: int, seed: int) -> Iterator[Move]:
    box, handle = case.adapted_box, case.encode(few)
    return train_context(
        box, lambda contexts: box.log_scores(contexts, handle, case.names),
        CrossEntropy(torch.tensor(few.labels), case.forget), torch.arange(len(few)), n_ctx=tokens, queries=queries,
        seed=seed,
    )  # fmt: skip


def _share_right(case: Case, scores: Tensor) -> float:
    """The share of forget images named right."""
    rows = case.forget[case.labels].nonzero().flatten()
    return float((scores[rows].argmax(-1) == case.labels[rows]).float().mean())


def _summarize_back(after: dict[str, int | None]) -> AttackDetails:
    """How many classes came back, and after how many queries the first and half of them did."""
    reached = sorted(queries for queries in after.values() if queries is not None)
    half = reached[(len(after) - 1) // 2] if 2 * len(reached) >= len(after) else None
    return {
        "classes_back": len(reached),
        "first_class_back_after": reached[0] if reached else None,
        "half_of_classes_back_after": half,
    }
