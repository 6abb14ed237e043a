"""Attack on a context: put another adapter's context in its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from hf_unlearn.adapters.adapter import ForgetAdapter
from hf_unlearn.auditing.attack_results import PROMPT, Attack, NotRun, Try
from hf_unlearn.auditing.attacks.context_left_out import NO_CONTEXT
from hf_unlearn.auditing.attacks.relearning import NO_PICTURES
from hf_unlearn.auditing.case import Case
from hf_unlearn.auditing.fast_training import train_context
from hf_unlearn.auditing.inputs import Inputs
from hf_unlearn.auditing.progress import Step
from hf_unlearn.data.labeled_images import LabeledImages
from hf_unlearn.optimizers.objective import Objective

NAME = "another adapter's context"
QUERIES = 30  # for training a second adapter


def plan_other_contexts(case: Case, given: Inputs) -> Iterator[Step[Attack] | NotRun]:
    """One step, for contexts: those of the adapters given, and one trained on the attacker's pictures.

    Raises:
        WrongBaseError: if an adapter is for another base.
    """
    if (context := case.adapter.context) is None:
        yield NotRun(NAME, NO_CONTEXT)
        return
    contexts = find_contexts(case, given.others)
    if (pictures := given.validation) is not None:

        def exchange_with_trained() -> Attack:
            trained = train_other_context(case, pictures, len(context), QUERIES, given.seed)
            return exchange_context(case, {"one that forgets kept classes": trained, **contexts})

        yield Step("another adapter", QUERIES, lambda _: exchange_with_trained())
    elif contexts:
        yield Step("another adapter", 2, lambda _: exchange_context(case, contexts))
    else:
        yield NotRun(NAME, NO_PICTURES)


def find_contexts(case: Case, adapters: Mapping[str, ForgetAdapter]) -> dict[str, Tensor]:
    """The contexts `(m, dim)` of those adapters that have one.

    Raises:
        WrongBaseError: if an adapter is for another base.
    """
    for adapter in adapters.values():
        adapter.check_base(case.plain_box)
    return {name: adapter.context for name, adapter in adapters.items() if adapter.context is not None}


def train_other_context(case: Case, pictures: LabeledImages, n_ctx: int, queries: int, seed: int = 0) -> Tensor:
    """A quickly trained context `(n_ctx, dim)` that forgets as many of the kept classes."""
    kept = [label for label, hidden in enumerate(case.forget.tolist()) if not hidden]
    instead = torch.zeros(len(case.names), dtype=torch.bool)
    instead[kept[: max(1, min(len(kept) - 1, int(case.forget.sum())))]] = True
    images = pictures.draw(2, seed)
    objective = Objective(torch.tensor(images.labels), instead, entropy_weight=0.3, margin_weight=1.0)
    model, handle = case.plain_box, case.encode(images)
    moves = train_context(
        model, lambda contexts: model.log_scores(contexts, handle, case.names), objective,
        torch.arange(len(images)), n_ctx=n_ctx, queries=queries, seed=seed,
    )  # fmt: skip
    return list(moves)[-1].context


def exchange_context(case: Case, contexts: Mapping[str, Tensor]) -> Attack:
    """Other contexts `(m, dim)` of the same base in the adapter's place."""
    tries: list[Try] = []
    for what, context in contexts.items():
        tries += case.compare(what, case.plain, case.score(case.plain_box, context=context))
    question = "Under another adapter's context, is it back? (A context forgets, the model does not.)"
    return Attack(NAME, PROMPT, question, tuple(tries))
