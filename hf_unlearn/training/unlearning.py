"""The one loop: ask, decode, score, tell; keep the best on validation; stop."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hf_unlearn.adapters.adapter import ForgetAdapter, base_name
from hf_unlearn.adapters.config import AdapterConfig
from hf_unlearn.arguments import LARGEST_SEED, MOST_SHOTS, share, whole_number
from hf_unlearn.data.class_names import check_names, name_list, split_names, synonym_lists
from hf_unlearn.data.labeled_images import LabeledImages, check_images
from hf_unlearn.data.synonyms import asked_names, namings
from hf_unlearn.errors import BudgetSpentError, InputError
from hf_unlearn.models.black_box import BlackBox, Ledger, check_box
from hf_unlearn.models.text_edit import digest
from hf_unlearn.optimizers.methods import METHODS, Recipe, build_objective, recipe
from hf_unlearn.text import brief
from hf_unlearn.training import training_data as evidence
from hf_unlearn.training.checkpoint import RunDir
from hf_unlearn.training.edit_run import EDIT, make_edit, refuse_for_an_edit
from hf_unlearn.training.history import Standing, Step
from hf_unlearn.training.peak_memory import PeakMemory
from hf_unlearn.training.result import Result, StopReason, validation_of
from hf_unlearn.training.warm_start import Search
from hf_unlearn.training.workers import Crew


def unlearn(
    model: BlackBox,
    images: LabeledImages | None = None,
    *,
    forget: Sequence[str],
    keep: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    unlabelled: Sequence[Image.Image | Path] | None = None,
    synonyms: Mapping[str, Sequence[str]] | None = None,
    max_queries: int = 2_000,
    method: str | Recipe | None = None,
    validation: LabeledImages | None = None,
    shots: int = 16,
    n_ctx: int | None = None,
    strength: float = 0.5,
    breadth: float = 0.5,
    vocabulary: Sequence[str] | None = None,
    patience: int | None = 600,
    seed: int = 0,
    progress: bool = True,
    on_step: Callable[[Step], bool | None] | None = None,
    run_dir: str | Path | None = None,
    init: ForgetAdapter | Result | None = None,
) -> Result:
    """Makes an adapter under which `model` forgets the classes `forget` and keeps the others.

    Names alone, `unlearn(model, forget=["gun", "knife"])`, make an *edit* of the text features: closed form, no image,
    no query, about a second. It needs a model that gives text features. With labelled images or a list of all
    `classes` a *context* is searched for, with scores alone; `method="edit"` makes an edit there too.

    Args:
        model: the black box; only its scores are used.
        images: labelled images of all classes. `shots` per class train; as many validate, unless
            `validation` is given. None for a run by names only: stand-ins for images are made from what the
            model answers to text, see `evidence.from_names`.
        forget: names of the classes to forget.
        keep: for an edit, names that matter most among all that is kept; not needed.
        classes: names of all classes, those to forget among them, for a run by names only.
        unlabelled: for such a run, images of some of the classes and of anything else; those that the plain model is
            sure of take the place of stand-ins, see `evidence.from_unlabelled`.
        synonyms: other names of classes to forget, under which they shall be forgotten too; a query then takes as
            much longer as there are more names.
        max_queries: candidate contexts to score at most; each is scored once on all images.
        method: "edit", one of `METHODS`, or a `Recipe`; if not given, "edit" where there are neither images nor
            classes, else "proximal".
        shots, max_queries, patience, seed: for a context; an edit draws and searches nothing.
        n_ctx: context length, if not the method's own.
        strength: from 0 (gentle: keep the retain classes as they are) to 1 (strong: forget whatever it costs).
        breadth: for an edit, from 0 (the names as such) to 1 (all that lies around them).
        vocabulary: for an edit, words to hold in place, if not those of the model's tokenizer.
        patience: stop after so many queries without a better candidate; None never does.
        seed: fixes the few-shot draw, the projection `A` and the optimizer.
        progress: a bar on the terminal with loss, `H`, queries and the time left.
        on_step: told after every batch; return True to stop there.
        run_dir: private folder that holds the run's state; the same call takes an interrupted run up again
            and ends with the same adapter, bit for bit.
        init: a finished adapter of this model; its context is the start, so that categories are added or
            given back for fewer queries. Or the result of an earlier run: on the same images and classes its
            search goes on, with what its queries said of the scores; on others it is a start like its adapter.

    Raises:
        ValueError: if names, images, a number or a combination makes no sense; nothing is run.
        WrongBaseError: if `init` was made for another model.
        RunError: if the run folder holds another run, is in use, or can't be written.
    """
    forget, others = name_list("forget", forget), synonym_lists(synonyms)
    keep = None if keep is None else name_list("keep", keep)
    classes = None if classes is None else check_names(classes)
    breadth, strength = share("breadth", breadth), share("strength", strength)
    max_queries, shots = whole_number("max_queries", max_queries), whole_number("shots", shots, most=MOST_SHOTS)
    patience = None if patience is None else whole_number("patience", patience, 0)
    n_ctx = None if n_ctx is None else whole_number("n_ctx", n_ctx)
    seed = whole_number("seed", seed, 0, LARGEST_SEED)
    check_box(model)
    check_images(images=images, validation=validation)
    _check_method(method)
    if method == EDIT or (method is None and images is None and classes is None and not unlabelled):
        refuse_for_an_edit(
            init=init, n_ctx=n_ctx, run_dir=run_dir, unlabelled=unlabelled, validation=validation,
            max_queries=max_queries, shots=shots, patience=patience, seed=seed,
        )  # fmt: skip
        return _by_name(
            model, images.names if images is not None else classes, forget, keep or (), synonyms=others,
            vocabulary=vocabulary, breadth=breadth, strength=strength,
        )  # fmt: skip
    if not isinstance(init, ForgetAdapter | Result | None):
        raise InputError(
            f"init must be an adapter or a result, got {brief(init)}; load it: ForgetAdapter.from_pretrained(...)"
        )
    if keep is not None or vocabulary is not None or breadth != 0.5:
        raise InputError(
            "keep, vocabulary and breadth are for an edit; a context keeps all classes that are not forgotten"
        )
    method = "proximal" if method is None else method
    start = time.monotonic()
    names = evidence.class_names(images, classes, unlabelled, validation)
    plain = recipe(method, len(names)) if isinstance(method, str) else method
    first = init.adapter if isinstance(init, Result) else init
    if first is not None:
        if first.kind == EDIT:
            raise InputError("an edit is no start for a context; search on top of it: unlearn(model.under(edit), ...)")
        first.check_base(model)
        if n_ctx not in (None, first.config.n_ctx):
            raise InputError(f"n_ctx is {n_ctx}, but the context to start from has {first.config.n_ctx} tokens")
        n_ctx = first.config.n_ctx
    plain = replace(plain, n_ctx=n_ctx) if n_ctx is not None else plain
    plan = plain.with_strength(strength)
    _check(model, names, forget, plan)
    asked, columns = asked_names(names, forget, others), namings(names, others)
    before = model.ledger.copy()
    crew, memory = Crew(), PeakMemory()
    learnt = evidence.gather(crew, model, images, validation, unlabelled, names, forget, shots, seed)
    is_forget = torch.tensor([name in forget for name in names])
    device = getattr(model, "device", torch.device("cpu"))  # a remote one's scores come as numbers
    objective = build_objective(plan, learnt.train, is_forget, columns).to(device)
    selection = build_objective(plan, learnt.validation, is_forget, columns).to(device)
    scored_by = {
        "base model": model.fingerprint(), "template": model.template, "classes": list(learnt.names), **learnt.identity
    }  # fmt: skip
    of = {**scored_by, "asked": asked, "method": asdict(plain), "seed": seed}
    if isinstance(init, Result) and init.search is not None and init.search.of == of:
        search, continued = init.search.again(plan, objective), True
    else:
        search, continued = Search.new(plan, model, objective, seed, first, of), False
    optimizer = search.optimizer

    identity = {  # what makes two runs the same run; budget and patience may change
        **scored_by,
        "classes to forget": sorted(forget),
        "method": json.loads(json.dumps(asdict(plan))),
        "seed": seed,
        "context to start from": first and first.config.weights_sha256,
        **({"synonyms": others} if others else {}),
        **({"search gone on with": True} if continued else {}),
    }
    standing = Standing()
    cancelled = False
    shown = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("queries"))
    quiet = not (progress and crew.is_main and sys.stderr.isatty())
    bar = Progress(*shown, TimeRemainingColumn(), console=Console(stderr=True), disable=quiet)
    run, earlier = None, Ledger()
    with ExitStack() as stack:
        if run_dir is not None:
            run = RunDir(run_dir, identity)
            if crew.is_main:
                stack.enter_context(run.locked())
            if (saved := run.load()) is not None:
                standing.restore(saved, optimizer)
                start -= standing.history[-1].seconds
                before, earlier = model.ledger.copy(), Ledger(*saved.facts["ledger"])
        stack.enter_context(bar)
        stack.enter_context(crew.patient())
        task = bar.add_task("scoring the start", total=max_queries, completed=standing.queries)
        try:
            while standing.queries < max_queries and not standing.stale(patience):
                cancelled, due = crew.agree(cancelled, run is not None and bool(standing.history) and run.due())
                if run is not None and due:
                    state = standing.state(optimizer, earlier.plus(crew.total(model.ledger.since(before))))
                    if crew.is_main:
                        run.save(state)
                if cancelled:
                    reason = StopReason.INTERRUPTED if crew.interrupted else StopReason.CANCELLED
                    break
                wanted = crew.follow(optimizer.ask())
                latents = wanted[: max_queries - standing.queries]
                contexts = search.latent.decode(torch.from_numpy(latents))
                scored = crew.score(model, contexts, learnt.handle, asked, objective, selection, optimizer.images)
                memory.note()
                rows: Sequence[int] = range(len(latents))  # a batch that the budget cuts short teaches nothing
                if len(latents) == len(wanted):
                    rows = optimizer.tell(latents, scored.losses.cpu().double().numpy(), scored.log_scores)
                step = standing.note(contexts, rows, scored, time.monotonic() - start)
                bar.update(task, completed=step.queries, description=f"loss {step.loss:.3f}  H {100 * step.H:.1f}")
                cancelled = bool(on_step is not None and on_step(step))
            else:
                reason = StopReason.CONVERGED if standing.queries < max_queries else StopReason.BUDGET
        except (KeyboardInterrupt, BudgetSpentError) as error:
            if not standing.history:
                raise
            reason = StopReason.INTERRUPTED if isinstance(error, KeyboardInterrupt) else StopReason.REFUSED
    step = standing.history[-1]
    ledger = {
        **asdict(earlier.plus(crew.total(model.ledger.since(before)))),
        "seconds": round(time.monotonic() - start, 2),
        "peak_memory_mb": round(memory.mb, 1),
    }
    config = AdapterConfig(
        base_model=base_name(model.model_id),
        base_revision=model.revision,
        base_fingerprint=model.fingerprint(),
        n_ctx=plan.n_ctx,
        dim=model.dim,
        template=model.template,
        forget=[name for name in names if name in forget],
        retain=[name for name in names if name not in forget],
        synonyms=others,
        method=method if isinstance(method, str) else plan.optimizer,
        hyperparameters={
            **asdict(plan), "options": dict(plan.options), "shots": shots, "patience": patience,
            "max_queries": max_queries, "images": learnt.kind, "strength": strength,
            "init": first and first.config.weights_sha256, "continued": continued,
        },
        seed=seed,
        ledger=ledger,
        metrics=validation_of(step),
        weights_sha256=digest(step.context),
        few_shot_digest=learnt.images.salted_digest(digest(step.context)[:32]) if learnt.images else {},
    )  # fmt: skip
    return Result(ForgetAdapter(step.context, config), reason, tuple(standing.history), search)


def _by_name(
    model: BlackBox, listed: Sequence[str] | None, forget: Sequence[str], keep: Sequence[str], **options: Any
) -> Result:
    """The edit; of a list of classes all others are kept."""
    if listed is not None:
        split_names(listed, forget)
        keep = [*keep, *(name for name in listed if name not in forget and name not in keep)]
    return make_edit(model, forget, keep=keep, all_kept=listed is not None, **options)


def _check_method(method: object) -> None:
    named = isinstance(method, str) and method in (*METHODS, EDIT)
    if not (named or method is None or isinstance(method, Recipe)):
        raise InputError(f"unknown method {brief(method)}; expected one of {', '.join(METHODS)}, edit, or a Recipe")


def _check(model: BlackBox, names: Sequence[str], forget: Sequence[str], plan: Recipe) -> None:
    split_names(names, forget)
    if model.max_n_ctx < 1:
        raise InputError(
            f"{model.model_id} takes no context: it answers to text only, or reads too few tokens; make an edit, which "
            "needs names alone: unlearn(model, forget=[...])"
        )
    if not 1 <= plan.n_ctx <= model.max_n_ctx:
        raise InputError(
            f"n_ctx must be 1 to {model.max_n_ctx} for {model.model_id} (its text tower must also read "
            f"the template and the names), got {plan.n_ctx}"
        )
