"""Everything about a method that is not data: latent sizes, objective, optimizer; and what is built from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from hf_unlearn.arguments import share
from hf_unlearn.errors import InputError
from hf_unlearn.optimizers.base import Optimizer
from hf_unlearn.optimizers.block_cma import BlockCMA
from hf_unlearn.optimizers.latent_context import LatentContext
from hf_unlearn.optimizers.objective import Objective
from hf_unlearn.optimizers.proximal import Proximal
from hf_unlearn.text import brief


@dataclass(frozen=True)
class Recipe:
    """Everything about a method that is not data: latent sizes, objective, optimizer.

    Attributes:
        n_ctx: context length `m`.
        shared, unique, single_block, spread, orthogonal: the latent's shape, see `LatentContext`.
        entropy_weight, margin_weight, margin_scale, leak_weight, vicinity: see `Objective`.
        optimizer: `"cma"` or `"proximal"`.
        options: further arguments of the optimizer.
    """

    n_ctx: int
    shared: int
    unique: int
    single_block: bool = False
    spread: float = 0.0
    orthogonal: bool = False
    entropy_weight: float = 0.3
    margin_weight: float = 1.0
    margin_scale: float = 1.0
    leak_weight: float = 0.5
    vicinity: float = 2.0
    optimizer: str = "cma"
    options: tuple[tuple[str, Any], ...] = ()

    def with_strength(self, strength: float) -> Recipe:
        """The same, what is asked of forget images weighing a quarter (0, gentle) to four times (1, strong).

        Raises:
            ValueError: if strength is not from 0 to 1.
        """
        factor = 4 ** (2 * share("strength", strength) - 1)
        return replace(
            self,
            entropy_weight=factor * self.entropy_weight,
            margin_weight=factor * self.margin_weight,
            leak_weight=factor * self.leak_weight,
        )


METHODS = ("proximal", "lcs-cma", "lcs-cma-paper", "bbt-cma", "ind-cma")


def recipe(method: str, classes: int) -> Recipe:
    """The recipe of a method for so many classes.

    `lcs-cma-paper`, `bbt-cma` and `ind-cma` have the paper's sizes (its section 4.1). `proximal` and `lcs-cma`
    have those that did best on other classes than the tasks' (benchmarks/README.md).

    Raises:
        ValueError: if there is no such method.
    """
    few = classes <= 10
    n_ctx = 4 if few else 16
    shared, unique, alone = (20, 5, 10) if few else (400, 100, 125)
    match method:
        case "proximal":
            width = 512 if few else 1_024
            return Recipe(8, 0, width, single_block=True, spread=9.0, orthogonal=True, optimizer="proximal")
        case "lcs-cma":
            return Recipe(8, shared=100, unique=25)
        case "lcs-cma-paper":
            return Recipe(n_ctx, shared, unique, entropy_weight=1.0, margin_weight=0.0, leak_weight=0.0, vicinity=0.0)
        case "bbt-cma":
            return Recipe(n_ctx, 0, alone * n_ctx, single_block=True)
        case "ind-cma":
            return Recipe(n_ctx, 0, alone)
    raise InputError(f"unknown method {brief(method)}; expected one of {', '.join(METHODS)}")


def latent_of(plan: Recipe, start: Tensor, scale: float, seed: int) -> LatentContext:
    """The plan's latent around the mean token, `(dim,)`, or a finished context, `(n_ctx, dim)`, not spread."""
    return LatentContext.create(
        start,
        scale,
        n_ctx=plan.n_ctx,
        shared=plan.shared,
        unique=plan.unique,
        single_block=plan.single_block,
        spread=plan.spread if start.ndim == 1 else 0.0,
        orthogonal=plan.orthogonal,
        seed=seed,
    )


def objective_of(plan: Recipe, labels: Tensor, is_forget: Tensor, namings: Sequence[Sequence[int]] = ()) -> Objective:
    return Objective(
        labels, is_forget, plan.entropy_weight, plan.margin_weight, plan.margin_scale, plan.leak_weight, plan.vicinity,
        torch.tensor(namings) if namings else None,
    )  # fmt: skip


def optimizer_of(plan: Recipe, latent: LatentContext, objective: Objective, seed: int) -> Optimizer:
    if plan.optimizer == "proximal":
        return Proximal(latent.size, objective, seed, **dict(plan.options))
    return BlockCMA(latent.blocks, seed, **dict(plan.options))
