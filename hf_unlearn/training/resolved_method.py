"""The method of a run, resolved: its recipe for this task, and the context it starts from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hf_unlearn.adapters.adapter import ForgetAdapter
from hf_unlearn.edits.by_score import SCORE_EDIT
from hf_unlearn.errors import InputError
from hf_unlearn.models.black_box import BlackBox
from hf_unlearn.optimizers.methods import METHODS, Recipe, recipe
from hf_unlearn.text import brief
from hf_unlearn.training.forget_task import EDIT, Settings


@dataclass(frozen=True)
class ResolvedMethod:
    """A recipe for one task.

    Attributes:
        name: of the method, or of the optimizer where the caller gave a recipe.
        base_recipe: before `strength`.
        recipe: after `strength`, in the precision of the model.
        start: the adapter whose context the run starts from; None for the mean token.
    """

    name: str
    base_recipe: Recipe
    recipe: Recipe
    start: ForgetAdapter | None


def check_method(method: object) -> None:
    """Checks the argument `method` of `unlearn`.

    Raises:
        ValueError: if it is not a known method or a recipe.
    """
    known = (*METHODS, EDIT, SCORE_EDIT)
    if not ((isinstance(method, str) and method in known) or method is None or isinstance(method, Recipe)):
        raise InputError(f"unknown method {brief(method)}; expected one of {', '.join(known)}, or a Recipe")


def resolve_method(
    model: BlackBox,
    names: Sequence[str],
    method: str | Recipe | None,
    start: ForgetAdapter | None,
    settings: Settings,
) -> ResolvedMethod:
    """Resolves a method for these classes, this model and this start; the default is "proximal".

    Raises:
        ValueError: if the start is not a context, or the model does not read so many tokens.
        WrongBaseError: if the start was made for another model.
    """
    method = "proximal" if method is None else method
    plan = recipe(method, len(names)) if isinstance(method, str) else method
    n_ctx = settings.n_ctx if start is None else _check_start(start, model, settings.n_ctx)
    plan = plan if n_ctx is None else replace(plan, n_ctx=n_ctx)
    _check_length(model, plan.n_ctx)
    name = method if isinstance(method, str) else plan.optimizer
    precision = precision_of(model)
    return ResolvedMethod(name, plan, plan.with_strength(settings.strength).in_precision(precision), start)


def precision_of(model: BlackBox) -> str:
    """Names the precision that a model computes in, such as "float16"; nothing where a box does not say."""
    return str(getattr(model, "dtype", "")).removeprefix("torch.")


def _check_start(start: ForgetAdapter, model: BlackBox, n_ctx: int | None) -> int:
    """Checks the adapter to start from; returns its context's length."""
    if start.kind == EDIT or start.config.n_ctx is None:
        raise InputError("an edit is no start for a context; search on top of it: unlearn(model.under(edit), ...)")
    start.check_base(model)
    if n_ctx not in (None, start.config.n_ctx):
        raise InputError(f"n_ctx is {n_ctx}, but the context to start from has {start.config.n_ctx} tokens")
    return start.config.n_ctx


def _check_length(model: BlackBox, n_ctx: int) -> None:
    if model.max_n_ctx < 1:
        raise InputError(
            f"{model.model_id} takes no context: it answers to text only, or reads too few tokens; make an edit, which "
            "needs names alone: unlearn(model, forget=[...])"
        )
    if not 1 <= n_ctx <= model.max_n_ctx:
        raise InputError(
            f"n_ctx must be 1 to {model.max_n_ctx} for {model.model_id} (its text tower must also read "
            f"the template and the names), got {n_ctx}"
        )
