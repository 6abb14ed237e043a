"""`unlearn`, the door to training: it checks a request and makes an edit or searches for a context."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from PIL import Image

from hf_unlearn.adapters.adapter import ForgetAdapter
from hf_unlearn.data.labeled_images import LabeledImages
from hf_unlearn.edits.by_score import SCORE_EDIT
from hf_unlearn.edits.by_score.box import read_off_scores
from hf_unlearn.errors import InputError
from hf_unlearn.models.black_box import BlackBox, check_box
from hf_unlearn.models.prompts import check_distinguishable
from hf_unlearn.optimizers.methods import Recipe
from hf_unlearn.text import brief
from hf_unlearn.training.checkpoint import Checkpoint
from hf_unlearn.training.context_config import write_config
from hf_unlearn.training.edit_run import refuse_for_an_edit, run_edit
from hf_unlearn.training.forget_task import EDIT, ForgetTask, Settings
from hf_unlearn.training.history import Step
from hf_unlearn.training.progress_bar import ProgressBar
from hf_unlearn.training.resolved_method import check_method, resolve_method
from hf_unlearn.training.result import Result
from hf_unlearn.training.run import Run
from hf_unlearn.training.run_cost import RunCost
from hf_unlearn.training.run_identity import RunIdentity
from hf_unlearn.training.scoring import Scorer
from hf_unlearn.training.training_data import load_training_data
from hf_unlearn.training.warm_start import Search
from hf_unlearn.training.workers import Workers


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
    no query, about a second. It needs a model that gives text features, or a `ReferenceBlackBox`. Labelled images or a
    list of all `classes` start a search for a *context*, with scores alone; `method="edit"` makes an edit there too.

    Args:
        model: the black box; only its scores are used.
        images: labelled images of all classes. `shots` per class train; as many validate, unless
            `validation` is given. None for a run by names only: it makes stand-ins for images from the model's
            text features, see `training_data.make_stand_ins`.
        forget: names of the classes to forget.
        keep: names that an edit protects most among all that it keeps; not needed.
        classes: names of all classes, those to forget among them, for a run by names only.
        unlabelled: for such a run, images of some of the classes and of anything else. Those that the base model
            classifies confidently replace stand-ins, see `training_data.select_confident`.
        synonyms: other names of classes to forget, which are forgotten too; the cost of a query grows with the
            number of names.
        max_queries: candidate contexts to score at most; each is scored once on all images.
        method: "edit", one of `METHODS`, or a `Recipe`. Also "score-edit": an edit of a model that gives scores only,
            to apply to a `ReferenceBlackBox` of it, with `vocabulary` as its words. The default is "edit" where there
            are neither images nor classes, else "proximal".
        shots, max_queries, patience, seed: for a context; an edit draws and searches nothing.
        n_ctx: context length in tokens; the method's default if not given.
        strength: trades kept accuracy for forgetting, from 0 (gentle) to 1 (strong).
        breadth: for an edit, from 0 (only the names) to 1 (everything near them).
        vocabulary: for an edit, words to hold in place; the words of the model's tokenizer if not given.
        patience: stop after so many queries without a better candidate; None or 0 never does.
        seed: fixes the few-shot draw, the projection `A` and the optimizer.
        progress: whether to show a bar on the terminal with loss, `H`, queries and the time left.
        on_step: called after every batch; return True to stop there.
        run_dir: private folder for the run's state. The same call resumes an interrupted run
            and ends with the same adapter, bit for bit.
        init: an adapter of this model, whose context is the start: adding categories or giving them
            back takes fewer queries. Or the result of an earlier run: on the same images and classes its
            search continues, with what its queries showed; on others it is a start like its adapter.

    Raises:
        ValueError: if names, images, a number or a combination makes no sense; nothing is run. Also if the tokenizer
            makes the same tokens of two names.
        WrongBaseError: if `init` was made for another model.
        RunError: if the run folder holds another run, is in use, or can't be written.
    """
    task = ForgetTask.check(
        forget=forget, keep=keep, synonyms=synonyms, classes=classes, images=images, validation=validation,
        unlabelled=unlabelled,
    )  # fmt: skip
    settings = Settings.check(
        max_queries=max_queries, shots=shots, patience=patience, n_ctx=n_ctx, seed=seed, strength=strength,
        breadth=breadth,
    )  # fmt: skip
    check_box(model)
    check_method(method)
    if method == SCORE_EDIT:
        model = read_off_scores(model, vocabulary)
    if method in (EDIT, SCORE_EDIT) or (method is None and task.has_names_only):
        refuse_for_an_edit(
            init=init, n_ctx=n_ctx, run_dir=run_dir, unlabelled=unlabelled, validation=validation,
            max_queries=max_queries, shots=shots, patience=patience, seed=seed,
        )  # fmt: skip
        return run_edit(model, task, vocabulary=vocabulary, breadth=settings.breadth, strength=settings.strength)
    if on_step is not None and not callable(on_step):
        raise InputError(f"on_step must be a function of a step, got {type(on_step).__name__} {brief(on_step)}")
    _refuse_for_a_context(init, keep=keep, vocabulary=vocabulary, breadth=settings.breadth)
    return _search_context(
        model, task, settings, method, init=init, run_dir=run_dir, progress=progress, on_step=on_step
    )


def _search_context(
    model: BlackBox,
    task: ForgetTask,
    settings: Settings,
    method: str | Recipe | None,
    *,
    init: ForgetAdapter | Result | None,
    run_dir: str | Path | None,
    progress: bool,
    on_step: Callable[[Step], bool | None] | None,
) -> Result:
    """Searches for a context that forgets a task's classes; see `unlearn`."""
    start, earlier = (init.adapter, init.search) if isinstance(init, Result) else (init, None)
    resolved = resolve_method(model, task.all_names, method, start, settings)
    check_distinguishable(model, task.asked_names)
    workers = Workers()
    cost = RunCost(model, workers)
    data = load_training_data(workers, model, task, settings)
    scorer = Scorer(workers, model, data, resolved.recipe, task)
    identity = RunIdentity.of(model, task, resolved, data, settings.seed)
    search = Search.start_or_continue(earlier, model, scorer.objective, identity)
    run = Run(search, scorer, workers, cost, max_queries=settings.max_queries, patience=settings.patience)
    with (
        Checkpoint.open(run_dir, search.identity.as_json(), lock=workers.is_main) as checkpoint,
        ProgressBar(settings.max_queries, progress and workers.is_main) as bar,
        workers.deferring_interrupts(),
    ):
        run.resume(checkpoint)
        bar.resume(run.history.queries)
        reason = run.loop(checkpoint, bar.show, on_step)
    config = write_config(model, task, settings, data, run)
    return Result(ForgetAdapter(run.history.steps[-1].context, config), reason, tuple(run.history.steps), search)


def _refuse_for_a_context(init: object, *, keep: object, vocabulary: object, breadth: float) -> None:
    """Checks the arguments of an edit, and the type of the start.

    Raises:
        ValueError: if an argument of an edit is given, or the start is not an adapter or a result.
    """
    if not isinstance(init, ForgetAdapter | Result | None):
        raise InputError(
            f"init must be an adapter or a result, got {brief(init)}; load it: ForgetAdapter.from_pretrained(...)"
        )
    if keep is not None or vocabulary is not None or breadth != 0.5:
        raise InputError(
            "keep, vocabulary and breadth are for an edit; a context keeps all classes that are not forgotten"
        )
