"""Edits by name, as `unlearn` and `combine` make them: names in, an adapter out, no query."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from hf_unlearn.adapters.adapter import ForgetAdapter, base_name
from hf_unlearn.adapters.config import AdapterConfig
from hf_unlearn.data.class_names import check_names, name_list, split_names, synonym_lists
from hf_unlearn.data.synonyms import asked_names
from hf_unlearn.edits.by_name import forget_by_name, source_of
from hf_unlearn.edits.vocabulary import distinct
from hf_unlearn.errors import InputError, OtherVocabularyError
from hf_unlearn.models.black_box import BlackBox, as_text_encoder
from hf_unlearn.models.prompts import check_distinguishable
from hf_unlearn.models.text_edit import digest
from hf_unlearn.text import brief
from hf_unlearn.training.forget_task import EDIT, ForgetTask
from hf_unlearn.training.result import Result, StopReason

DIALS = ("breadth", "strength")
INSTEAD = (
    "make text features of its scores: unlearn(ReferenceBlackBox(model), ...). Or search for a context: give labelled "
    "images and a method such as 'proximal'"
)
FOR_CONTEXTS: dict[str, object] = {  # arguments of a search for a context, with their defaults
    "init": None, "n_ctx": None, "run_dir": None, "unlabelled": None, "validation": None, "max_queries": 2_000,
    "shots": 16, "patience": 600, "seed": 0,
}  # fmt: skip


def run_edit(
    model: BlackBox, task: ForgetTask, *, vocabulary: Sequence[str] | None, breadth: float, strength: float
) -> Result:
    """Makes the edit of a task; of a list of classes it keeps all others.

    Raises:
        ValueError: see `make_edit`.
    """
    keep, listed = task.keep or [], task.listed_names
    if listed is not None:
        split_names(listed, task.forget)
        keep = [*keep, *(name for name in listed if name not in task.forget and name not in keep)]
    return make_edit(
        model, task.forget, keep=keep, all_kept=listed is not None, synonyms=task.synonyms, vocabulary=vocabulary,
        breadth=breadth, strength=strength,
    )  # fmt: skip


def make_edit(
    model: BlackBox,
    forget: Sequence[str],
    *,
    keep: Sequence[str] = (),
    all_kept: bool = False,
    synonyms: Mapping[str, Sequence[str]] | None = None,
    vocabulary: Sequence[str] | None = None,
    breadth: float = 0.5,
    strength: float = 0.5,
) -> Result:
    """Makes the edit adapter of some names.

    Args:
        keep: names that weigh more than the vocabulary; may be empty, everything else is kept as well.
        all_kept: whether `keep` are all other classes of a list. A name given back is then one of them again.
        synonyms: forget name -> other names, forgotten like it.
        vocabulary: words to hold in place; the tokenizer's words if not given.

    Raises:
        ValueError: if the model gives no text features, or names are missing, empty, in both lists or the same tokens.
    """
    start = time.monotonic()
    encoder = as_text_encoder(model, INSTEAD)
    forget, keep = _check_both(forget, keep)
    others = synonym_lists(synonyms)
    check_distinguishable(encoder, asked_names([*forget, *keep], forget, others))
    vocabulary = _vocabulary_of(encoder, vocabulary)
    before = model.ledger.copy()
    every_name = [*forget, *(word for words in others.values() for word in words)]
    made = forget_by_name(encoder, every_name, keep, vocabulary=vocabulary, breadth=breadth, strength=strength)
    width, rank = made.edit.up.shape
    config = AdapterConfig(
        base_model=base_name(model.model_id),
        base_revision=model.revision,
        base_subfolder=getattr(model, "subfolder", None),
        base_fingerprint=model.fingerprint(),
        kind="edit",
        width=width,
        rank=rank,
        template=model.template,
        forget=forget,
        retain=keep,
        synonyms=others,
        method=getattr(encoder, "edit_method", EDIT),
        hyperparameters={
            "breadth": breadth, "strength": strength, "vocabulary": source_of(vocabulary), "words": made.words,
            "all_kept": all_kept, **getattr(encoder, "edit_facts", {}),
        },
        neighbours=[asdict(item) for item in made.neighbours],
        ledger={**asdict(model.ledger.since(before)), "seconds": round(time.monotonic() - start, 2)},
        weights_sha256=digest(made.edit),
    )  # fmt: skip
    return Result(ForgetAdapter(made.edit, config), StopReason.SOLVED, ())


def _vocabulary_of(model: BlackBox, vocabulary: Sequence[str] | None) -> list[str] | None:
    """The words to hold in place: those given, or the anchor words of a box that has some; None for the tokenizer's."""
    words = getattr(model, "words", None) if vocabulary is None else vocabulary
    return None if words is None else distinct(words)


def _check_both(forget: Sequence[str], keep: Sequence[str]) -> tuple[list[str], list[str]]:
    """Cleans the names to forget and to keep, each once."""
    forget, keep = (list(dict.fromkeys(name_list(what, names))) for what, names in (("forget", forget), ("keep", keep)))
    if not forget:
        raise InputError("expected at least one name to forget, got none")
    if both := [name for name in forget if name in keep]:
        raise InputError(f"{brief(both[0])} is to be forgotten and to be kept; remove it from one of the lists")
    check_names([*forget, *keep])
    return forget, keep


def edit_again(
    model: BlackBox,
    adapters: Sequence[ForgetAdapter],
    forget: Sequence[str],
    synonyms: Mapping[str, Sequence[str]],
    vocabulary: Sequence[str] | None = None,
    **dials: float,
) -> Result:
    """Makes the edit of `forget` again, with the names that `adapters` keep.

    It is computed from the names, so it equals the edit of one request with all of them, bit for bit.

    Args:
        dials: `breadth` and `strength`; those of the adapters where not given. Where these differ, the largest is
            used and a warning says so.

    Raises:
        ValueError: if an adapter held other words in place than `vocabulary`.
        WrongBaseError: if one was made for another model.
    """
    vocabulary = _vocabulary_of(model, vocabulary)
    for adapter in adapters:
        adapter.check_base(model)
        held = adapter.config.hyperparameters.get("vocabulary")
        if held != source_of(vocabulary):
            words = "the tokenizer's words" if held == "tokenizer" else "words that were given (vocabulary=[...])"
            raise OtherVocabularyError(
                f"an edit is computed again with the words it held in place: {words}; give the same now"
            )
    for dial in DIALS:
        if dial not in dials:
            dials[dial] = _shared_dial(adapters, dial)
    all_kept = any(adapter.config.hyperparameters.get("all_kept") is True for adapter in adapters)
    keep = dict.fromkeys(name for adapter in adapters for name in adapter.config.retain)
    if all_kept:
        keep |= dict.fromkeys(name for adapter in adapters for name in adapter.config.forget)
    return make_edit(
        model.with_template(adapters[0].config.template), forget, keep=[name for name in keep if name not in forget],
        all_kept=all_kept, synonyms=synonyms, vocabulary=vocabulary, **dials,
    )  # fmt: skip


def refuse_for_an_edit(**given: object) -> None:
    """Checks that arguments of a search for a context have their defaults.

    Raises:
        ValueError: if one is given; it is named.
    """
    for name, value in given.items():
        default = FOR_CONTEXTS.get(name)
        if value is not default and (default is None or value != default):
            raise InputError(f"{name} is for a context; an edit needs names alone (several: combine the adapters)")


def _shared_dial(adapters: Sequence[ForgetAdapter], dial: str) -> float:
    """Returns the dial that adapters were made with; where they differ, warns and returns the largest."""
    values = sorted({float(adapter.config.hyperparameters.get(dial, 0.5)) for adapter in adapters})
    if len(values) > 1:
        warnings.warn(
            f"the adapters were made with different values of {dial}: {', '.join(map(str, values))}; "
            f"the largest is used; choose another with {dial}",
            stacklevel=4,  # the caller of `combine`
        )
    return values[-1]
