"""The one loop: ask, decode, score, tell; keep the best on validation; stop."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import Enum
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from hf_unlearn.adapter import ForgetAdapter, base_name, digest
from hf_unlearn.adapter_config import AdapterConfig
from hf_unlearn.black_box import BlackBox, BudgetSpentError
from hf_unlearn.context import LatentContext
from hf_unlearn.data import LabeledImages, split_names
from hf_unlearn.metrics import harmonic_mean
from hf_unlearn.objective import Objective
from hf_unlearn.optimizers import BlockCMA, Optimizer, Proximal
from hf_unlearn.processes import Crew


@dataclass(frozen=True)
class Recipe:
    """Everything about a method that is not data: latent sizes, objective, optimizer.

    Attributes:
        n_ctx: context length `m`.
        shared, unique, single_block: the latent's shape, see `LatentContext`.
        entropy_weight, margin_weight, margin_scale: see `Objective`.
        optimizer: `"cma"` or `"proximal"`.
        options: further arguments of the optimizer.
    """

    n_ctx: int
    shared: int
    unique: int
    single_block: bool = False
    entropy_weight: float = 0.3
    margin_weight: float = 1.0
    margin_scale: float = 1.0
    optimizer: str = "cma"
    options: tuple[tuple[str, Any], ...] = ()


METHODS = ("proximal", "lcs-cma", "lcs-cma-paper", "bbt-cma", "ind-cma")


def recipe(method: str, classes: int) -> Recipe:
    """The recipe of a method for so many classes; the CMA variants have the paper's sizes (its section 4.1).

    Raises:
        ValueError: if there is no such method.
    """
    few = classes <= 10
    n_ctx = 4 if few else 16
    shared, unique, alone = (20, 5, 10) if few else (400, 100, 125)
    match method:
        case "proximal":
            return Recipe(4, shared=160, unique=10, optimizer="proximal")
        case "lcs-cma":
            return Recipe(n_ctx, shared, unique)
        case "lcs-cma-paper":
            return Recipe(n_ctx, shared, unique, entropy_weight=1.0, margin_weight=0.0)
        case "bbt-cma":
            return Recipe(n_ctx, 0, alone * n_ctx, single_block=True)
        case "ind-cma":
            return Recipe(n_ctx, 0, alone)
    raise ValueError(f"unknown method {method!r}; expected one of {', '.join(METHODS)}")


class StopReason(Enum):
    """Why a run ended."""

    BUDGET = "the query budget is used up"
    CONVERGED = "validation has not improved for a while"
    INTERRUPTED = "interrupted; the best so far is kept"
    CANCELLED = "cancelled; the best so far is kept"
    REFUSED = "the black box answers no more queries; the best so far is kept"


@dataclass(frozen=True)
class Step:
    """Where a run stands: the best on validation so far, its context, and the training loss just seen."""

    queries: int
    loss: float
    H: float
    err_for: float
    acc_mem: float
    seconds: float
    context: Tensor = field(compare=False)  # (m, dim)


@dataclass(frozen=True)
class Result:
    """What `unlearn` returns: the adapter, why it stopped, and how it got there."""

    adapter: ForgetAdapter
    reason: StopReason
    history: tuple[Step, ...]

    def at(self, queries: int) -> ForgetAdapter:
        """The adapter as it stood after at most so many queries.

        Raises:
            ValueError: if not even the first batch was scored by then.
        """
        step = next((step for step in reversed(self.history) if step.queries <= queries), None)
        if step is None:
            raise ValueError(f"the first batch took {self.history[0].queries} queries, asked for {queries}")
        config = self.adapter.config
        return ForgetAdapter(
            step.context,
            replace(
                config,
                ledger={**config.ledger, "queries": step.queries, "seconds": round(step.seconds, 2)},
                metrics=_validation(step),
                context_sha256=digest(step.context),
            ),
        )


def unlearn(
    model: BlackBox,
    images: LabeledImages,
    *,
    forget: Sequence[str],
    max_queries: int = 2_000,
    method: str | Recipe = "proximal",
    validation: LabeledImages | None = None,
    shots: int = 16,
    n_ctx: int | None = None,
    patience: int | None = 600,
    seed: int = 0,
    progress: bool = True,
    on_step: Callable[[Step], bool | None] | None = None,
) -> Result:
    """Learns a context under which `model` forgets the classes `forget` and keeps the others.

    Args:
        model: the black box; only its scores are used.
        images: labelled images of all classes. `shots` per class train; as many validate, unless
            `validation` is given.
        forget: names of the classes to forget.
        max_queries: candidate contexts to score at most; each is scored once on all images.
        method: one of `METHODS`, or a `Recipe`.
        n_ctx: context length, if not the method's own.
        patience: stop after so many queries without a better candidate; None never does.
        seed: fixes the few-shot draw, the projection `A` and the optimizer.
        progress: a bar on the terminal with loss, `H`, queries and the time left.
        on_step: told after every batch; return True to stop there.

    Raises:
        ValueError: if classes, images, budget or context length make no sense; nothing is run.
    """
    start = time.monotonic()
    plan = recipe(method, len(images.names)) if isinstance(method, str) else method
    plan = replace(plan, n_ctx=n_ctx) if n_ctx is not None else plan
    _check(model, images, forget, max_queries, plan)
    if validation is None:
        train, held_out, _ = images.few_shot(shots, seed)
    else:
        train, held_out = images.draw(shots, seed), validation
    if held_out.names != images.names:
        raise ValueError("validation images must have the same classes, in the same order")
    for name, count in train.counts().items():
        if not count:
            role = "to forget " if name in forget else ""
            raise ValueError(f"class {name!r} {role}has no images; add some or leave the class out")

    before = model.ledger.copy()
    crew = Crew()
    both = LabeledImages(train.items + held_out.items, train.labels + held_out.labels, images.names)
    handle = crew.encode(model, both)
    is_forget = torch.tensor([name in forget for name in images.names])
    objective = _objective(plan, torch.tensor(train.labels), is_forget)
    selection = _objective(plan, torch.tensor(held_out.labels), is_forget)
    seeds = np.random.SeedSequence(seed).generate_state(2)
    latent = LatentContext.create(
        model.token_mean,
        model.token_std,
        n_ctx=plan.n_ctx,
        shared=plan.shared,
        unique=plan.unique,
        single_block=plan.single_block,
        seed=int(seeds[0]),
    )
    optimizer = _optimizer(plan, latent, objective, int(seeds[1]))

    best: tuple[float, float] = (-1.0, 0.0)  # (H, -loss) on validation
    step: Step | None = None
    history: list[Step] = []
    queries = improved_at = 0
    cancelled = False
    reason = StopReason.BUDGET
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("queries"))
    quiet = not (progress and crew.is_main and sys.stderr.isatty())
    bar = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), disable=quiet)
    try:
        with bar, crew.patient():
            task = bar.add_task("scoring the start", total=max_queries)
            while queries < max_queries:
                asked, stopped = crew.follow(optimizer.ask(), cancelled)
                if stopped:
                    reason = StopReason.INTERRUPTED if crew.interrupted else StopReason.CANCELLED
                    break
                latents = asked[: max_queries - queries]
                contexts = latent.decode(torch.from_numpy(latents))
                scored = crew.score(model, contexts, handle, images.names, objective, selection, optimizer.images)
                queries += len(latents)
                if len(latents) == len(asked):
                    optimizer.tell(latents, scored.losses.double().cpu().numpy(), scored.log_scores)
                    rows: Sequence[int] = optimizer.iterates
                else:
                    rows = range(len(latents))  # the budget cut the last batch short: nothing to learn, only to select
                now: dict[str, Any] = {
                    "queries": queries,
                    "loss": float(scored.losses.min()),
                    "seconds": time.monotonic() - start,
                }
                for row in rows:
                    error, kept = float(scored.err_for[row]), float(scored.acc_mem[row])
                    rank = (harmonic_mean(error, kept), -float(scored.selection_losses[row]))
                    if step is None or rank > best:
                        best, improved_at = rank, queries
                        step = Step(**now, H=rank[0], err_for=error, acc_mem=kept, context=contexts[row].clone())
                assert step is not None  # every optimizer's first batch has an iterate
                step = replace(step, **now)
                history.append(step)
                bar.update(task, completed=queries, description=f"loss {step.loss:.3f}  H {100 * step.H:.1f}")
                cancelled = bool(on_step is not None and on_step(step))
                if cancelled and crew.count == 1:
                    reason = StopReason.CANCELLED
                    break
                if patience is not None and queries - improved_at >= patience:
                    reason = StopReason.CONVERGED
                    break
    except KeyboardInterrupt:
        if step is None:
            raise
        reason = StopReason.INTERRUPTED
    except BudgetSpentError:
        if step is None:
            raise
        reason = StopReason.REFUSED
    assert step is not None
    ledger = {
        **asdict(crew.total(model.ledger.since(before))),
        "seconds": round(time.monotonic() - start, 2),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }
    config = AdapterConfig(
        base_model=base_name(model.model_id),
        base_revision=model.revision,
        base_fingerprint=model.fingerprint(),
        n_ctx=plan.n_ctx,
        dim=model.dim,
        template=model.template,
        forget=[name for name in images.names if name in forget],
        retain=[name for name in images.names if name not in forget],
        method=method if isinstance(method, str) else plan.optimizer,
        hyperparameters={
            **asdict(plan), "options": dict(plan.options), "shots": shots, "patience": patience,
            "max_queries": max_queries,
        },
        seed=seed,
        ledger=ledger,
        metrics=_validation(step),
        context_sha256=digest(step.context),
    )  # fmt: skip
    return Result(ForgetAdapter(step.context, config), reason, tuple(history))


def _validation(step: Step) -> dict[str, float | None]:
    return {"validation_H": step.H, "validation_err_for": step.err_for, "validation_acc_mem": step.acc_mem}


def _check(model: BlackBox, images: LabeledImages, forget: Sequence[str], max_queries: int, plan: Recipe) -> None:
    split_names(images.names, forget)
    if max_queries < 1:
        raise ValueError(f"max_queries must be at least 1, got {max_queries}")
    if not 1 <= plan.n_ctx <= model.max_n_ctx:
        raise ValueError(
            f"n_ctx must be 1 to {model.max_n_ctx} for {model.model_id} (its text tower must also read "
            f"the template and the names), got {plan.n_ctx}"
        )


def _objective(plan: Recipe, labels: Tensor, is_forget: Tensor) -> Objective:
    return Objective(labels, is_forget, plan.entropy_weight, plan.margin_weight, plan.margin_scale)


def _optimizer(plan: Recipe, latent: LatentContext, objective: Objective, seed: int) -> Optimizer:
    if plan.optimizer == "proximal":
        return Proximal(latent.size, objective, seed, **dict(plan.options))
    return BlockCMA(latent.blocks, seed, **dict(plan.options))
