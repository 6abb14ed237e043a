"""A request to forget answered by an edit: names in, an adapter out, no query."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from hf_unlearn.adapters.adapter import ForgetAdapter, base_name
from hf_unlearn.adapters.config import AdapterConfig
from hf_unlearn.data.class_names import check_names, name_list, synonym_lists
from hf_unlearn.data.synonyms import asked_names
from hf_unlearn.edits.by_name import forget_by_name, source_of
from hf_unlearn.edits.vocabulary import distinct
from hf_unlearn.errors import InputError
from hf_unlearn.models.black_box import BlackBox
from hf_unlearn.models.text_edit import digest
from hf_unlearn.text import brief
from hf_unlearn.training.result import Result, StopReason

EDIT, DIALS = "edit", ("breadth", "strength")
OF_CONTEXT = {  # what only a search for a context takes, and what it is if not given
    "init": None, "n_ctx": None, "run_dir": None, "unlabelled": None, "validation": None, "max_queries": 2_000,
    "shots": 16, "patience": 600, "seed": 0,
}  # fmt: skip


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
    """The edit adapter for some names.

    Args:
        keep: names that weigh more than the vocabulary; may be empty, everything else is kept as well.
        all_kept: whether `keep` are all other classes of a list: a name given back is then one of them again.
        synonyms: forget name -> other names, forgotten like it.
        vocabulary: words to hold in place, if not the tokenizer's own.

    Raises:
        ValueError: if the model gives no text features, or names are missing, empty, or in both lists.
    """
    start = time.monotonic()
    check_text_features(model)
    forget, keep = (list(dict.fromkeys(name_list(what, names))) for what, names in (("forget", forget), ("keep", keep)))
    if not forget:
        raise InputError("expected at least one name to forget, got none")
    if both := [name for name in forget if name in keep]:
        raise InputError(f"{brief(both[0])} is to be forgotten and to be kept; take it out of one of the lists")
    check_names([*forget, *keep])
    others = synonym_lists(synonyms)
    asked_names([*forget, *keep], forget, others)
    vocabulary = None if vocabulary is None else distinct(vocabulary)
    before = model.ledger.copy()
    made = forget_by_name(
        model, [*forget, *(word for own in others.values() for word in own)], keep, vocabulary=vocabulary,
        breadth=breadth, strength=strength,
    )  # fmt: skip
    width, rank = made.edit.up.shape
    config = AdapterConfig(
        base_model=base_name(model.model_id),
        base_revision=model.revision,
        base_fingerprint=model.fingerprint(),
        kind="edit",
        width=width,
        rank=rank,
        template=model.template,
        forget=forget,
        retain=keep,
        synonyms=others,
        method=EDIT,
        hyperparameters={
            "breadth": breadth, "strength": strength, "vocabulary": source_of(vocabulary), "words": made.words,
            "all_kept": all_kept,
        },
        neighbours=[asdict(item) for item in made.neighbours],
        ledger={**asdict(model.ledger.since(before)), "seconds": round(time.monotonic() - start, 2)},
        weights_sha256=digest(made.edit),
    )  # fmt: skip
    return Result(ForgetAdapter(made.edit, config), StopReason.SOLVED, ())


def edit_again(
    model: BlackBox,
    adapters: Sequence[ForgetAdapter],
    forget: Sequence[str],
    synonyms: Mapping[str, Sequence[str]],
    vocabulary: Sequence[str] | None = None,
    **dials: float,
) -> Result:
    """The edit for `forget`, with what `adapters` keep; the larger of their `breadth` and `strength` if none is given.

    Computed from the names, so it is what one request with all of them would have made, bit for bit.

    Raises:
        ValueError: if an adapter held other words in place than are held now.
        WrongBaseError: if one was made for another model.
    """
    vocabulary = None if vocabulary is None else distinct(vocabulary)
    for adapter in adapters:
        adapter.check_base(model)
        held = adapter.config.hyperparameters.get("vocabulary")
        if held != source_of(vocabulary):
            own = (
                "the tokenizer's words"
                if held == "tokenizer"
                else "words that were given (vocabulary=[...], --vocabulary)"
            )
            raise InputError(f"an edit is computed again with the words it held in place: {own}; give the same now")
    dials = {dial: max(_dial(adapter, dial) for adapter in adapters) for dial in DIALS} | dials
    all_kept = any(adapter.config.hyperparameters.get("all_kept") is True for adapter in adapters)
    keep = dict.fromkeys(name for adapter in adapters for name in adapter.config.retain)
    if all_kept:
        keep |= dict.fromkeys(name for adapter in adapters for name in adapter.config.forget)
    return make_edit(
        model.with_template(adapters[0].config.template), forget, keep=[name for name in keep if name not in forget],
        all_kept=all_kept, synonyms=synonyms, vocabulary=vocabulary, **dials,
    )  # fmt: skip


def check_text_features(model: Any) -> None:
    """Raises: ValueError: if the model answers with scores only."""
    if not hasattr(model, "text_features"):
        raise InputError(
            f"{model.model_id} answers with scores only, and an edit needs its text features; "
            "search for a context: give labelled images and a method such as 'proximal'"
        )


def refuse_for_an_edit(**given: object) -> None:
    """Raises: ValueError: if something is given that only a search for a context takes."""
    for name, value in given.items():
        default = OF_CONTEXT.get(name)
        if value is not default and (default is None or value != default):
            raise InputError(f"{name} is for a context; an edit needs names alone (several: combine the adapters)")


def _dial(adapter: ForgetAdapter, dial: str) -> float:
    return float(adapter.config.hyperparameters.get(dial, 0.5))
