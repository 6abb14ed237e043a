"""Adapters made from adapters: one that forgets what several forget, and one with a class given back."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor

from hf_unlearn.adapters.adapter import ForgetAdapter, check_adapter
from hf_unlearn.arguments import whole_number
from hf_unlearn.data.class_names import like, name_list
from hf_unlearn.data.labeled_images import LabeledImages
from hf_unlearn.errors import InputError
from hf_unlearn.models.black_box import BlackBox
from hf_unlearn.models.text_edit import digest
from hf_unlearn.text import brief, listed
from hf_unlearn.training.edit_run import DIALS, edit_again, refuse_for_an_edit
from hf_unlearn.training.forget_task import EDIT
from hf_unlearn.training.result import Result
from hf_unlearn.training.unlearning import unlearn

SUMMED = ("queries", "text_tokens", "image_encodings", "seconds")  # of ledgers; memory is a maximum
COMBINE_QUERIES, WITHOUT_QUERIES = 500, 300
DECIDED = ("forget", "classes", "init")  # arguments of `unlearn`
OF_DRAW = ("images", "classes", "validation", "shots", "seed")  # options that decide what a start is scored on


def combine(
    adapters: Sequence[ForgetAdapter],
    model: BlackBox,
    images: LabeledImages | None = None,
    *,
    max_queries: int = COMBINE_QUERIES,
    **options: Any,
) -> Result:
    """Makes one adapter that forgets what any of `adapters` forgets, for fewer queries than a new run.

    Edits are computed again from all names together, without images or queries. The result equals the edit of
    one request with all names, bit for bit.

    Contexts can't be added up, so for them this is a new run with a warm start. It scores the adapters' contexts and
    their mean first, one query each, and `unlearn` continues from the best on validation.

    The result keeps all that one of the adapters keeps and none forgets: **forgetting wins**. A class that one adapter
    keeps and another forgets is forgotten; give it back afterwards with `without`.

    Args:
        adapters: two or more of one kind and base; contexts also of one length and template.
        model: their base.
        images: labelled images of all their classes, others are ignored; None for names only.
        max_queries: candidate contexts to score at most, those of the start included.
        options: further arguments of `unlearn`: `validation`, `shots`, `seed`, `patience`, `run_dir`, … For edits
            only `vocabulary`, `breadth` and `strength`; the last two are by default those of the adapters. Where these
            differ, the largest is used and a warning says so.

    Raises:
        ValueError: if there are fewer than two adapters, they don't fit together, nothing would be kept, or images
            lack a class.
        WrongBaseError: if one was made for another model.
    """
    adapters = _check(adapters, model)
    max_queries = whole_number("max_queries", max_queries)
    forget = list(dict.fromkeys(name for adapter in adapters for name in adapter.config.forget))
    classes = [*forget, *(name for adapter in adapters for name in adapter.config.retain)]
    synonyms = _merge_synonyms(adapters, forget, classes)
    if adapters[0].kind == EDIT:
        return edit_again(model, adapters, forget, synonyms, **_edit_options(options, max_queries, COMBINE_QUERIES))
    _refuse_decided(options)
    _warn_of_names_alone(adapters, images, options.get("unlabelled"))
    options |= _class_options(images, options.get("validation"), classes)
    options.setdefault("synonyms", synonyms)
    return _combine_contexts(adapters, model, forget, max_queries, options)


def _combine_contexts(
    adapters: Sequence[ForgetAdapter], model: BlackBox, forget: list[str], max_queries: int, options: dict[str, Any]
) -> Result:
    """Scores every start with one query and searches from the best."""
    starts = [*adapters, _mean(adapters)]
    if max_queries <= len(starts):
        raise InputError(
            f"max_queries must be more than the {len(starts)} contexts that may be the start, got {max_queries}"
        )
    box = cast(BlackBox, _EncodesOnce(model.with_template(adapters[0].config.template)))
    drawn = {key: value for key, value in options.items() if key in OF_DRAW}
    tried = [unlearn(box, forget=forget, init=start, max_queries=1, progress=False, **drawn) for start in starts]
    best = max(range(len(starts)), key=lambda i: (tried[i].history[-1].H, -tried[i].history[-1].loss))
    result = unlearn(box, forget=forget, init=starts[best], max_queries=max_queries - len(starts), **options)
    config = result.adapter.config
    ledger = dict(config.ledger)
    for key in SUMMED:
        ledger[key] = round(ledger[key] + sum(start.adapter.config.ledger[key] for start in tried), 2)
    combined = [adapter.config.weights_sha256 for adapter in adapters]
    hyperparameters = {**config.hyperparameters, "max_queries": max_queries, "combined": combined}
    config = replace(config, ledger=ledger, hyperparameters=hyperparameters)
    return replace(result, adapter=replace(result.adapter, config=config))


def without(
    adapter: ForgetAdapter,
    names: str | Sequence[str],
    model: BlackBox,
    images: LabeledImages | None = None,
    *,
    max_queries: int = WITHOUT_QUERIES,
    **options: Any,
) -> Result:
    """Gives one or more classes back: the new adapter keeps them and forgets the others as before.

    An edit is computed again from the other names, as if the ones given back had never been requested.

    Args:
        adapter: its context is the start.
        names: the class or classes to give back; at least one other must stay forgotten.
        model: the adapter's base.
        images: labelled images of all its classes, others are ignored; None for names only.
        max_queries: candidate contexts to score at most.
        options: as for `combine`.

    Raises:
        ValueError: if a name is not forgotten, none would be any more, or images lack a class.
        WrongBaseError: if the adapter was made for another model.
    """
    check_adapter(adapter)
    back = name_list("names", [names] if isinstance(names, str) else names)
    max_queries = whole_number("max_queries", max_queries)
    forgotten = adapter.config.forget
    if not back or (unknown := [name for name in back if name not in forgotten]):
        got = f"{brief(unknown[0])}{like(unknown[0], forgotten)}" if back else "none"
        raise InputError(f"expected a class that the adapter forgets, got {got}; it forgets: {listed(forgotten)}")
    forget = [name for name in forgotten if name not in back]
    if not forget:
        raise InputError("nothing would be left to forget; use the base model without an adapter")
    adapter.check_base(model)
    if adapter.kind == EDIT:
        synonyms = _merge_synonyms([adapter], forget, [*forgotten, *adapter.config.retain])
        return edit_again(model, [adapter], forget, synonyms, **_edit_options(options, max_queries, WITHOUT_QUERIES))
    _refuse_decided(options)
    _warn_of_names_alone([adapter], images, options.get("unlabelled"))
    options |= _class_options(images, options.get("validation"), [*forget, *adapter.config.retain, *back])
    options.setdefault("synonyms", _merge_synonyms([adapter], forget, forgotten))
    box = model.with_template(adapter.config.template)
    return unlearn(box, forget=forget, init=adapter, max_queries=max_queries, **options)


def _warn_of_names_alone(adapters: Sequence[ForgetAdapter], images: LabeledImages | None, unlabelled: Any) -> None:
    """Says that contexts which images made are about to be trained further without any."""
    if images is None and not unlabelled and any(adapter.config.ledger.get("image_encodings") for adapter in adapters):
        warnings.warn(
            "no images are given, so the context is trained further on names alone and keeps less than the images "
            "taught it; give images (on the command line: --data)",
            stacklevel=3,  # the caller of `combine` or `without`
        )


def _refuse_decided(options: dict[str, Any]) -> None:
    """Checks that no option says what the adapters decide.

    Raises:
        InputError: if one does; a ValueError.
    """
    if given := [name for name in DECIDED if name in options]:
        raise InputError(f"{listed(given)}: the adapters decide this; leave it out")


class _EncodesOnce:
    """A black box that always gets the same images, and encodes them the first time."""

    def __init__(self, model: BlackBox) -> None:
        self._model = model
        self._handle: Any = None

    def add_images(self, images: Any) -> Any:
        if self._handle is None:
            self._handle = self._model.add_images(images)
        return self._handle

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


def _class_options(
    images: LabeledImages | None, validation: LabeledImages | None, classes: Sequence[str]
) -> dict[str, Any]:
    """The arguments by which `unlearn` learns the classes: images of them, or their names."""
    names = list(dict.fromkeys(classes))
    if images is None:
        return {"images": None, "classes": names}
    return {"images": images.only(names), "validation": validation and validation.only(names)}


def _edit_options(options: dict[str, Any], max_queries: int, default: int) -> dict[str, Any]:
    """Selects the options of an edit.

    Raises:
        ValueError: if another one is given.
    """
    of_edit = (*DIALS, "vocabulary")
    others = {key: value for key, value in options.items() if key not in (*of_edit, "progress", "on_step")}
    refuse_for_an_edit(**others, **({} if max_queries == default else {"max_queries": max_queries}))
    return {key: options[key] for key in of_edit if key in options}


def _merge_synonyms(
    adapters: Sequence[ForgetAdapter], forget: Sequence[str], classes: Sequence[str]
) -> dict[str, list[str]]:
    """Merges the synonyms that the adapters were trained on; each appears once, and none that is a class."""
    taken, merged = set(classes), {}
    for name in forget:
        of_name = dict.fromkeys(word for adapter in adapters for word in adapter.config.synonyms.get(name, ()))
        merged[name] = [word for word in of_name if word not in taken]
        taken.update(merged[name])
    return merged


def _mean(adapters: Sequence[ForgetAdapter]) -> ForgetAdapter:
    mean = torch.stack([cast(Tensor, adapter.context) for adapter in adapters]).mean(0)
    return ForgetAdapter(mean, replace(adapters[0].config, weights_sha256=digest(mean)))


def _check(adapters: object, model: BlackBox) -> list[ForgetAdapter]:
    """Checks that adapters are of one kind, base, length and template."""
    several = adapters if isinstance(adapters, Iterable) and not isinstance(adapters, str) else [adapters]
    found = list(map(check_adapter, several))
    if len(found) < 2:
        raise InputError(f"expected two or more adapters to combine, got {len(found)}")
    for adapter in found:
        adapter.check_base(model)
    if len({adapter.kind for adapter in found}) > 1:
        raise InputError(
            "a context and an edit can't be made one adapter; make both edits, or use them together: "
            "model.under(context).under(edit)"
        )
    if found[0].kind == EDIT:
        return found
    for key, what in (("n_ctx", "context length"), ("template", "template")):
        if len(values := list(dict.fromkeys(getattr(adapter.config, key) for adapter in found))) > 1:
            raise InputError(
                f"only adapters of one {what} can be combined, these have {listed(values)}; train one of them again"
            )
    return found
