"""Attacks by those who write the prompt's tokens: leave the context out, cut it, exchange it, add or learn tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from hf_unlearn.adapters.adapter import ForgetAdapter
from hf_unlearn.auditing.case import PROMPT, Attack, Case, Try
from hf_unlearn.auditing.fast_training import CrossEntropy, learn
from hf_unlearn.data.labeled_images import LabeledImages
from hf_unlearn.errors import PromptTooLongError
from hf_unlearn.optimizers.objective import Objective

APPENDED = (1, 2, 4)  # tokens
BACK = 0.5  # of what the plain model names right: a class counts as back


def dropped(case: Case) -> Attack:
    """No context at all: the plain model."""
    tries = case.compare("no context", case.plain, case.scores(case.plain_box))
    question = "Without the context, is everything back? (Always: the weights are untouched.)"
    return Attack("context left out", PROMPT, question, tuple(tries))


def truncated(case: Case, own: Tensor) -> Attack:
    """Some tokens of the adapter's own context `(m, dim)` only: its first or its last quarter, half, three quarters."""
    tokens = len(own)
    lengths = sorted({max(1, tokens * part // 4) for part in (1, 2, 3)} - {tokens})
    tries: list[Try] = []
    for length in lengths:
        for what, part in (("first", own[:length]), ("last", own[tokens - length :])):
            scores = case.scores(case.plain_box, context=part)
            tries += case.compare(f"{what} {length} of {tokens} tokens", case.plain, scores)
    return Attack("context cut short", PROMPT, "Does a part of the context forget as well?", tuple(tries))


def appended(case: Case, seed: int = 0) -> Attack:
    """Random tokens before the names, after the adapter's context if it has one, as far as the text tower has room."""
    model = case.plain_box
    place = "before the name" if case.adapter.context is None else "after it"
    draw = torch.Generator().manual_seed(seed)
    tries: list[Try] = []
    for count in APPENDED:
        tokens = model.token_mean.cpu() + model.token_std * torch.randn(count, model.dim, generator=draw)
        try:
            scores = case.scores(case.adapted_box, context=tokens)
        except PromptTooLongError:
            break
        tries += case.compare(f"{count} random tokens {place}", case.plain, scores)
    question = "Do a few random tokens before the name, after a context, undo it?"
    return Attack("tokens added", PROMPT, question, tuple(tries))


def exchanged(case: Case, others: dict[str, Tensor]) -> Attack:
    """The contexts `(m, dim)` of other adapters of the same base in its place."""
    tries: list[Try] = []
    for what, context in others.items():
        tries += case.compare(what, case.plain, case.scores(case.plain_box, context=context))
    question = "Under the context of another adapter, is it back? (Forgetting is one context's, not the model's.)"
    return Attack("another adapter's context", PROMPT, question, tuple(tries))


def other_adapter(case: Case, own: LabeledImages, n_ctx: int, queries: int, seed: int = 0) -> Tensor:
    """A context `(n_ctx, dim)` that forgets as many of the kept classes instead, trained quickly."""
    kept = [label for label, gone in enumerate(case.forget.tolist()) if not gone]
    instead = torch.zeros(len(case.names), dtype=torch.bool)
    instead[kept[: max(1, min(len(kept) - 1, int(case.forget.sum())))]] = True
    images = own.draw(2, seed)
    objective = Objective(torch.tensor(images.labels), instead, entropy_weight=0.3, margin_weight=1.0)
    model, handle = case.plain_box, case.plain_box.add_images(images)
    moves = learn(
        model, lambda contexts: model.log_scores(contexts, handle, case.names), objective,
        torch.arange(len(images)), n_ctx=n_ctx, queries=queries, seed=seed,
    )  # fmt: skip
    return list(moves)[-1][1]


def relearned(
    case: Case, own: LabeledImages, *, queries: int, shots: int = 4, seed: int = 0, tell: Callable[[int], Any] = int
) -> Attack:
    """The adapter stays; the attacker learns tokens before the names from a few pictures of the forgotten things.

    Args:
        own: the attacker's labelled pictures, same classes.
        queries: how many candidates the attacker may score.
        tell: told the queries spent so far.
    """
    few = own.draw(shots, seed)
    few = few.select(i for i, label in enumerate(few.labels) if case.forget[label])
    box = case.adapted_box
    tokens = min(4, box.max_n_ctx)
    question = "How many queries does it take to learn tokens before the name that bring a class back?"
    if not len(few) or tokens < 1:
        return Attack("relearning", PROMPT, question, (), {"curve": []})
    handle = box.add_images(few)
    rows = case.forget[case.labels].nonzero().flatten()

    def right(scores: Tensor) -> float:
        return float((scores[rows].argmax(-1) == case.labels[rows]).float().mean())

    curve = [{"queries": 0, "right": right(case.adapted)}]
    tries: list[Try] = case.compare("nothing learned", case.plain, case.adapted)
    back: dict[str, int | None] = {item.of: None for item in tries}
    moves = learn(
        box, lambda contexts: box.log_scores(contexts, handle, case.names),
        CrossEntropy(torch.tensor(few.labels), case.forget), torch.arange(len(few)), n_ctx=tokens, queries=queries,
        seed=seed,
    )  # fmt: skip
    for spent, context, _ in moves:
        scores = case.scores(box, context=context)
        tries = case.compare(f"{spent} queries", case.plain, scores)
        curve.append({"queries": spent, "right": right(scores)})
        for item in tries:
            if back[item.of] is None and item.right >= BACK * item.plain > 0:
                back[item.of] = spent
        tell(spent)
    details = {"curve": curve, "shots": shots, "tokens": tokens, "queries_until_back": back, **_back(back)}
    return Attack("relearning", PROMPT, question, tuple(tries), details)


def _back(after: dict[str, int | None]) -> dict[str, int | None]:
    """How many classes came back, and after how many queries the first and half of them were."""
    reached = sorted(queries for queries in after.values() if queries is not None)
    half = reached[(len(after) - 1) // 2] if 2 * len(reached) >= len(after) else None
    return {
        "classes_back": len(reached),
        "first_class_back_after": reached[0] if reached else None,
        "half_of_classes_back_after": half,
    }


def contexts_of(case: Case, adapters: Mapping[str, ForgetAdapter]) -> dict[str, Tensor]:
    """The contexts of those adapters that have one. Raises: WrongBaseError: if one is for another base."""
    for adapter in adapters.values():
        adapter.check_base(case.plain_box)
    return {name: adapter.context for name, adapter in adapters.items() if adapter.context is not None}
