"""The registry of methods that search for a context: latent sizes, objective and optimizer of each, by name.

A new method is one entry in `METHODS`; an optimizer that no method uses yet is one entry in `OPTIMIZERS`.
This module loads without torch, so that the command line can list the methods.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hf_unlearn.arguments import positive, share, weight, whole_number
from hf_unlearn.errors import InputError
from hf_unlearn.text import brief

if TYPE_CHECKING:
    from torch import Tensor

    from hf_unlearn.optimizers.base import Optimizer
    from hf_unlearn.optimizers.latent_context import LatentContext
    from hf_unlearn.optimizers.objective import Objective

WHOLE = {"n_ctx": 1, "shared": 0, "unique": 0, "list_length": 1}  # the least of each
WEIGHTS = ("spread", "entropy_weight", "margin_weight", "list_weight", "leak_weight", "vicinity")
FEW_CLASSES = 10  # up to here the paper has smaller sizes (its section 4.1)


@dataclass(frozen=True)
class Recipe:
    """Everything about a method that is not data: latent sizes, objective, optimizer.

    Attributes:
        n_ctx: context length `m`.
        shared, unique, single_block, spread, orthogonal: the latent's shape, see `LatentContext`.
        entropy_weight, margin_weight, margin_scale, list_weight, list_length, leak_weight, vicinity: see `Objective`.
        optimizer: a name in `OPTIMIZERS`: `"cma"` or `"proximal"`.
        options: further arguments of the optimizer.

    Raises:
        ValueError: if a size or `list_length` is no whole number, or a weight no finite number of at least 0. Also if
            the options are no pairs of a name and a value.
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
    list_weight: float = 0.3
    list_length: int = 4
    leak_weight: float = 0.5
    vicinity: float = 2.0
    optimizer: str = "cma"
    options: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        checked: dict[str, Any] = {name: weight(name, getattr(self, name)) for name in WEIGHTS}
        checked |= {name: whole_number(name, getattr(self, name), least) for name, least in WHOLE.items()}
        checked |= {"margin_scale": positive("margin_scale", self.margin_scale)}
        try:
            checked["options"] = tuple(dict(self.options).items())
        except (TypeError, ValueError):
            raise InputError(f"options must be pairs of a name and a value, got {brief(self.options)}") from None
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def with_strength(self, strength: float) -> Recipe:
        """Returns the recipe with the weights of forget images times 1/4 (strength 0) to 4 (strength 1).

        Raises:
            ValueError: if strength is not from 0 to 1.
        """
        factor = 4 ** (2 * share("strength", strength) - 1)
        return replace(
            self,
            entropy_weight=factor * self.entropy_weight,
            margin_weight=factor * self.margin_weight,
            list_weight=factor * self.list_weight,
            leak_weight=factor * self.leak_weight,
        )

    def in_precision(self, precision: str) -> Recipe:
        """Returns the recipe for a model in this precision; rounding makes longer probes necessary."""
        if self.optimizer != "proximal" or precision not in PROBES or "step" in dict(self.options):
            return self
        return replace(self, options=(*self.options, ("step", PROBES[precision])))


def _proximal(classes: int) -> Recipe:
    width = 512 if classes <= FEW_CLASSES else 1_024
    return Recipe(8, 0, width, single_block=True, spread=9.0, orthogonal=True, optimizer="proximal")


def _lcs_cma(classes: int) -> Recipe:
    return Recipe(8, shared=100, unique=25)


def _lcs_cma_paper(classes: int) -> Recipe:
    n_ctx, shared, unique = (4, 20, 5) if classes <= FEW_CLASSES else (16, 400, 100)
    return Recipe(
        n_ctx, shared, unique, entropy_weight=1.0, margin_weight=0.0, list_weight=0.0, leak_weight=0.0, vicinity=0.0
    )


def _bbt_cma(classes: int) -> Recipe:
    n_ctx, per_token = (4, 10) if classes <= FEW_CLASSES else (16, 125)
    return Recipe(n_ctx, 0, per_token * n_ctx, single_block=True)


def _ind_cma(classes: int) -> Recipe:
    n_ctx, per_token = (4, 10) if classes <= FEW_CLASSES else (16, 125)
    return Recipe(n_ctx, 0, per_token)


PROBES = {"float16": 0.1, "bfloat16": 0.3}  # lengths of probes, where the optimizer's default drowns in rounding
METHODS: dict[str, Callable[[int], Recipe]] = {  # name -> number of classes -> recipe
    "proximal": _proximal,
    "lcs-cma": _lcs_cma,
    "lcs-cma-paper": _lcs_cma_paper,
    "bbt-cma": _bbt_cma,
    "ind-cma": _ind_cma,
}


def recipe(method: str, classes: int) -> Recipe:
    """Returns the recipe of a method for so many classes.

    `lcs-cma-paper`, `bbt-cma` and `ind-cma` have the paper's sizes (its section 4.1). `proximal` and `lcs-cma`
    have the sizes that did best on other classes than the tasks' (benchmarks/README.md).

    Raises:
        ValueError: if there is no such method, or `classes` is no whole number.
    """
    if not isinstance(method, str) or method not in METHODS:
        raise InputError(f"unknown method {brief(method)}; expected one of {', '.join(METHODS)}")
    return METHODS[method](whole_number("classes", classes))


def _make_proximal(latent: LatentContext, objective: Objective, seed: int, **options: Any) -> Optimizer:
    from hf_unlearn.optimizers.proximal import Proximal

    return Proximal(latent.size, objective, seed, **options)


def _make_cma(latent: LatentContext, objective: Objective, seed: int, **options: Any) -> Optimizer:
    from hf_unlearn.optimizers.block_cma import BlockCMA

    return BlockCMA(latent.blocks, seed, **options)


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"proximal": _make_proximal, "cma": _make_cma}
OPTIONS = {"proximal": ("probes", "step", "radius", "drift", "model_images"), "cma": ("population", "sigma")}


def build_optimizer(plan: Recipe, latent: LatentContext, objective: Objective, seed: int) -> Optimizer:
    """Builds a recipe's optimizer.

    Raises:
        ValueError: if there is no such optimizer, or an option is unknown or makes no sense.
    """
    if not isinstance(plan.optimizer, str) or plan.optimizer not in OPTIMIZERS:
        raise InputError(f"unknown optimizer {brief(plan.optimizer)}; expected one of {', '.join(OPTIMIZERS)}")
    if unknown := dict(plan.options).keys() - set(OPTIONS.get(plan.optimizer, dict(plan.options))):
        known = ", ".join(OPTIONS[plan.optimizer])
        raise InputError(f"{plan.optimizer} has no option {brief(min(unknown, key=str))}; it has {known}")
    return OPTIMIZERS[plan.optimizer](latent, objective, seed, **dict(plan.options))


def build_latent(plan: Recipe, start: Tensor, scale: float, seed: int) -> LatentContext:
    """Builds a recipe's latent around the mean token, `(dim,)`, or a finished context, `(n_ctx, dim)`, not spread."""
    from hf_unlearn.optimizers.latent_context import LatentContext

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


def build_objective(
    plan: Recipe, labels: Tensor, is_forget: Tensor, namings: Sequence[Sequence[int]] = ()
) -> Objective:
    """Builds a recipe's objective on images with these `labels`, `(N,)`; `is_forget` is `(C,)`."""
    import torch

    from hf_unlearn.optimizers.objective import Objective

    return Objective(
        labels, is_forget, plan.entropy_weight, plan.margin_weight, plan.margin_scale, plan.list_weight,
        plan.list_length, plan.leak_weight, plan.vicinity, torch.tensor(namings) if namings else None,
    )  # fmt: skip
