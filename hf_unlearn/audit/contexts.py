"""Attacks on the context itself, by those who write the prompt: leave it out, cut it, add to it, learn against it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from hf_unlearn.adapter import ForgetAdapter
from hf_unlearn.audit.case import PROMPT, Attack, Case, Try
from hf_unlearn.audit.learn import CrossEntropy, learn
from hf_unlearn.data import LabeledImages
from hf_unlearn.objective import Objective

APPENDED = (1, 2, 4)  # tokens
BACK = 0.5  # of what the plain model names right: a class counts as back


def dropped(case: Case) -> Attack:
    """No context at all: the plain model."""
    tries = case.compare("no context", case.plain, case.scores(case.nothing))
    question = "Without the context, is everything back? (Always: the weights are untouched.)"
    return Attack("context left out", PROMPT, question, tuple(tries))


def truncated(case: Case) -> Attack:
    """Some tokens of the context only: its first or its last quarter, half, three quarters."""
    tokens = len(case.context)
    lengths = sorted({max(1, tokens * part // 4) for part in (1, 2, 3)} - {tokens})
    tries: list[Try] = []
    for length in lengths:
        for what, part in (("first", case.context[:length]), ("last", case.context[tokens - length :])):
            tries += case.compare(f"{what} {length} of {tokens} tokens", case.plain, case.scores(part))
    return Attack("context cut short", PROMPT, "Does a part of the context forget as well?", tuple(tries))


def appended(case: Case, seed: int = 0) -> Attack:
    """Random tokens after the context, as far as the text tower has room."""
    model = case.model
    draw = torch.Generator().manual_seed(seed)
    tries: list[Try] = []
    for count in APPENDED:
        tokens = model.token_mean.cpu() + model.token_std * torch.randn(count, model.dim, generator=draw)
        try:
            scores = case.scores(torch.cat([case.context, tokens]))
        except ValueError:
            break
        tries += case.compare(f"{count} random tokens after it", case.plain, scores)
    return Attack("tokens added", PROMPT, "Do a few random tokens after the context undo it?", tuple(tries))


def exchanged(case: Case, others: dict[str, Tensor]) -> Attack:
    """The contexts `(m, dim)` of other adapters of the same base in its place."""
    tries: list[Try] = []
    for what, context in others.items():
        tries += case.compare(what, case.plain, case.scores(context))
    question = "Under the context of another adapter, is it back? (Forgetting is one context's, not the model's.)"
    return Attack("another adapter's context", PROMPT, question, tuple(tries))


def other_adapter(case: Case, own: LabeledImages, queries: int, seed: int = 0) -> Tensor:
    """A context `(m, dim)` that forgets as many of the kept classes instead, trained quickly."""
    kept = [label for label, gone in enumerate(case.forget.tolist()) if not gone]
    instead = torch.zeros(len(case.names), dtype=torch.bool)
    instead[kept[: max(1, min(len(kept) - 1, int(case.forget.sum())))]] = True
    images = own.draw(2, seed)
    objective = Objective(torch.tensor(images.labels), instead, entropy_weight=0.3, margin_weight=1.0)
    handle = case.model.add_images(images)
    moves = learn(
        case.model, lambda contexts: case.model.log_scores(contexts, handle, case.names), objective,
        torch.arange(len(images)), n_ctx=len(case.context), queries=queries, seed=seed,
    )  # fmt: skip
    return list(moves)[-1][1]


def relearned(
    case: Case, own: LabeledImages, *, queries: int, shots: int = 4, seed: int = 0, tell: Callable[[int], Any] = int
) -> Attack:
    """The context stays; the attacker learns tokens after it from a few pictures of the forgotten things.

    Args:
        own: the attacker's labelled pictures, same classes.
        queries: how many candidates the attacker may score.
        tell: told the queries spent so far.
    """
    few = own.draw(shots, seed)
    few = few.select(i for i, label in enumerate(few.labels) if case.forget[label])
    room = case.model.max_n_ctx - len(case.context)
    question = "How many queries does it take to learn tokens after the context that bring a class back?"
    if not len(few) or room < 1:
        return Attack("relearning", PROMPT, question, (), {"curve": []})
    rows = case.forget[case.labels].nonzero().flatten()
    test_labels = case.labels[rows]
    train_handle = case.model.add_images(few)
    fixed = case.context

    def score(contexts: Tensor) -> Tensor:
        after = torch.cat([fixed.expand(len(contexts), -1, -1), contexts], 1)
        return case.model.log_scores(after, train_handle, case.names)

    objective = CrossEntropy(torch.tensor(few.labels), case.forget)
    right = case.adapted[rows].argmax(-1) == test_labels
    curve = [{"queries": 0, "right": float(right.float().mean())}]
    plain_of = {item.of: item.plain for item in case.compare("", case.plain, case.adapted)}
    back: dict[str, int | None] = dict.fromkeys(plain_of)
    tries: list[Try] = case.compare("nothing learned", case.plain, case.adapted)
    for spent, context, _ in learn(
        case.model, score, objective, torch.arange(len(few)), n_ctx=min(4, room), queries=queries, seed=seed
    ):
        scores = case.scores(torch.cat([fixed, context]))
        tries = case.compare(f"{spent} queries", case.plain, scores)
        curve.append({"queries": spent, "right": float((scores[rows].argmax(-1) == test_labels).float().mean())})
        for item in tries:
            if back[item.of] is None and item.right >= BACK * item.plain > 0:
                back[item.of] = spent
        tell(spent)
    reached = sorted(queries for queries in back.values() if queries is not None)
    details = {
        "curve": curve,
        "shots": shots,
        "tokens": min(4, room),
        "queries_until_back": back,
        "classes_back": len(reached),
        "first_class_back_after": reached[0] if reached else None,
        "half_of_classes_back_after": reached[(len(back) - 1) // 2] if 2 * len(reached) >= len(back) else None,
    }
    return Attack("relearning", PROMPT, question, tuple(tries), details)


def contexts_of(case: Case, adapters: dict[str, ForgetAdapter]) -> dict[str, Tensor]:
    """The contexts of other adapters. Raises: WrongBaseError: if one is for another base."""
    for adapter in adapters.values():
        adapter.check_base(case.model)
    return {name: adapter.context for name, adapter in adapters.items()}
