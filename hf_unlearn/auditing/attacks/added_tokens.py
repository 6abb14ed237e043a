"""Attack by random tokens before the names."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from hf_unlearn.auditing.attack_results import PROMPT, Attack, NotRun, Try
from hf_unlearn.auditing.case import Case
from hf_unlearn.auditing.inputs import Inputs
from hf_unlearn.auditing.progress import Step
from hf_unlearn.errors import PromptTooLongError

NAME = "tokens added"
NO_TOKENS = "this model answers to text and can't be given tokens"
COUNTS = (1, 2, 4)  # tokens


def plan_added_tokens(case: Case, given: Inputs) -> Iterator[Step[Attack] | NotRun]:
    """One step, for models that take tokens."""
    if case.takes_contexts:
        yield Step("contexts", 3, lambda _: add_tokens(case, given.seed))
    else:
        yield NotRun(NAME, NO_TOKENS)


def add_tokens(case: Case, seed: int = 0) -> Attack:
    """Random tokens before the names, after a context if there is one, as far as the text tower has room."""
    model = case.plain_box
    place = "before the name" if case.adapter.context is None else "after it"
    draw = torch.Generator().manual_seed(seed)
    tries: list[Try] = []
    for count in COUNTS:
        tokens = model.token_mean.cpu() + model.token_std * torch.randn(count, model.dim, generator=draw)
        try:
            scores = case.score(case.adapted_box, context=tokens)
        except PromptTooLongError:
            break
        tries += case.compare(f"{count} random tokens {place}", case.plain, scores)
    question = "Do a few random tokens before the name, after a context, undo it?"
    return Attack(NAME, PROMPT, question, tuple(tries))
