"""Adapters from adapters: several made one that forgets all, and one that no longer forgets a class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor

from hf_unlearn.adapters.adapter import ForgetAdapter
from hf_unlearn.arguments import whole_number
from hf_unlearn.data.class_names import like, name_list
from hf_unlearn.data.labeled_images import LabeledImages
from hf_unlearn.errors import InputError
from hf_unlearn.models.black_box import BlackBox
from hf_unlearn.models.text_edit import digest
from hf_unlearn.text import brief, listed
from hf_unlearn.training.edit_run import DIALS, EDIT, edit_again, refuse_for_an_edit
from hf_unlearn.training.result import Result
from hf_unlearn.training.unlearning import unlearn

ADDED = ("queries", "text_tokens", "image_encodings", "seconds")  # the ledger's sums; memory is a maximum
COMBINED, GIVEN_BACK = 500, 300  # queries
DRAWN = ("images", "classes", "validation", "shots", "seed")  # what a start is scored on


def combine(
    adapters: Sequence[ForgetAdapter],
    model: BlackBox,
    images: LabeledImages | None = None,
    *,
    max_queries: int = COMBINED,
    **options: Any,
) -> Result:
    """One adapter that forgets what any of `adapters` forgets, for fewer queries than a fresh run.

    Edits are computed again from all names together, without images or queries: the result is what one request with
    all names would have made, bit for bit.

    Contexts can't be added up, so for them this is a run of its own with a warm start: the adapters' contexts and
    their mean are scored first, one query each, and `unlearn` goes on from the best on validation.

    All that one of the adapters keeps and none forgets is kept: **forgetting wins**. A class that one adapter keeps
    and another forgets is forgotten; give it back afterwards with `without`.

    Args:
        adapters: two or more of one kind and base; contexts also of one length and template.
        model: their base.
        images: labelled images of all their classes, others are left out; None for names only.
        max_queries: candidate contexts to score at most, those of the start included.
        options: further arguments of `unlearn`: `validation`, `shots`, `seed`, `patience`, `run_dir`, …; for edits
            `breadth`, `strength`, `vocabulary`, and nothing that is for a search.

    Raises:
        ValueError: if there are fewer than two adapters, they don't fit together, nothing would be kept, or images
            lack a class.
        WrongBaseError: if one was made for another model.
    """
    adapters = _check(adapters, model)
    max_queries = whole_number("max_queries", max_queries)
    if adapters[0].kind == EDIT:
        forget = list(dict.fromkeys(name for adapter in adapters for name in adapter.config.forget))
        kept_too = [name for adapter in adapters for name in adapter.config.retain]
        words = _synonyms(adapters, forget, [*forget, *kept_too])
        return edit_again(model, adapters, forget, words, **_of_edit(options, max_queries, COMBINED))
    starts = [*adapters, _mean(adapters)]
    if max_queries <= len(starts):
        raise InputError(
            f"max_queries must be more than the {len(starts)} contexts that may be the start, got {max_queries}"
        )
    forget = list(dict.fromkeys(name for adapter in adapters for name in adapter.config.forget))
    kept = dict.fromkeys(name for adapter in adapters for name in adapter.config.retain)
    box = _EncodesOnce(model.with_template(adapters[0].config.template))
    options |= _data(images, options.get("validation"), [*forget, *kept])
    options.setdefault("synonyms", _synonyms(adapters, forget, [*forget, *kept]))
    drawn = {key: value for key, value in options.items() if key in DRAWN}
    tried = [unlearn(box, forget=forget, init=one, max_queries=1, progress=False, **drawn) for one in starts]
    best = max(range(len(starts)), key=lambda i: (tried[i].history[-1].H, -tried[i].history[-1].loss))
    left = max_queries - len(starts)
    result = unlearn(box, forget=forget, init=starts[best], max_queries=left, **options)
    config = result.adapter.config
    ledger = dict(config.ledger)
    for key in ADDED:
        ledger[key] = round(ledger[key] + sum(one.adapter.config.ledger[key] for one in tried), 2)
    given = {**config.hyperparameters, "max_queries": max_queries, "combined": [_id(adapter) for adapter in adapters]}
    return replace(
        result, adapter=replace(result.adapter, config=replace(config, ledger=ledger, hyperparameters=given))
    )


def without(
    adapter: ForgetAdapter,
    names: str | Sequence[str],
    model: BlackBox,
    images: LabeledImages | None = None,
    *,
    max_queries: int = GIVEN_BACK,
    **options: Any,
) -> Result:
    """The adapter with one or more classes given back: they are kept from now on, the rest stays as it was.

    An edit is computed again from the names that are left: it is as if the others had never been asked for.

    Args:
        adapter: its context is the start.
        names: the class or classes to give back; some other must stay forgotten.
        model: the adapter's base.
        images: labelled images of all its classes, others are left out; None for names only.
        max_queries: candidate contexts to score at most.
        options: as for `combine`.

    Raises:
        ValueError: if a name is not forgotten, none would be any more, or images lack a class.
        WrongBaseError: if the adapter was made for another model.
    """
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
        words = _synonyms([adapter], forget, [*forgotten, *adapter.config.retain])
        return edit_again(model, [adapter], forget, words, **_of_edit(options, max_queries, GIVEN_BACK))
    options |= _data(images, options.get("validation"), [*forget, *adapter.config.retain, *back])
    options.setdefault("synonyms", _synonyms([adapter], forget, forgotten))
    box = model.with_template(adapter.config.template)
    return unlearn(box, forget=forget, init=adapter, max_queries=max_queries, **options)


class _EncodesOnce:
    """A black box that is only ever shown the same images, and encodes them the first time."""

    def __init__(self, model: BlackBox) -> None:
        self._model = model
        self._handle: Any = None

    def add_images(self, images: Any) -> Any:
        if self._handle is None:
            self._handle = self._model.add_images(images)
        return self._handle

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


def _data(images: LabeledImages | None, validation: LabeledImages | None, classes: Sequence[str]) -> dict[str, Any]:
    """How `unlearn` is told of the classes: by images of them, or by name."""
    names = list(dict.fromkeys(classes))
    if images is None:
        return {"images": None, "classes": names}
    return {"images": images.only(names), "validation": validation and validation.only(names)}


def _of_edit(options: dict[str, Any], max_queries: int, usual: int) -> dict[str, Any]:
    """What of the options is for an edit: its dials and words. Raises: ValueError: if another is given."""
    of_edit = (*DIALS, "vocabulary")
    others = {key: value for key, value in options.items() if key not in (*of_edit, "progress", "on_step")}
    refuse_for_an_edit(**others, **({} if max_queries == usual else {"max_queries": max_queries}))
    return {key: options[key] for key in of_edit if key in options}


def _synonyms(adapters: Sequence[ForgetAdapter], forget: Sequence[str], classes: Sequence[str]) -> dict[str, list[str]]:
    """The other names that the adapters were trained on, of what is forgotten; each once, and none that is a class."""
    taken, merged = set(classes), {}
    for name in forget:
        of_name = dict.fromkeys(word for adapter in adapters for word in adapter.config.synonyms.get(name, ()))
        merged[name] = [word for word in of_name if word not in taken]
        taken.update(merged[name])
    return merged


def _mean(adapters: Sequence[ForgetAdapter]) -> ForgetAdapter:
    mean = torch.stack([cast(Tensor, adapter.context) for adapter in adapters]).mean(0)
    return ForgetAdapter(mean, replace(adapters[0].config, weights_sha256=digest(mean)))


def _check(adapters: Sequence[ForgetAdapter], model: BlackBox) -> list[ForgetAdapter]:
    adapters = [adapters] if isinstance(adapters, ForgetAdapter) else list(adapters)
    if odd := [one for one in adapters if not isinstance(one, ForgetAdapter)]:
        raise InputError(f"adapters must be a list of ForgetAdapter, got {brief(odd[0])} in it; load them first")
    if len(adapters) < 2:
        raise InputError(f"expected two or more adapters to combine, got {len(adapters)}")
    for adapter in adapters:
        adapter.check_base(model)
    if len({adapter.kind for adapter in adapters}) > 1:
        raise InputError(
            "a context and an edit can't be made one adapter; make both edits, or use them together: "
            "model.under(context).under(edit)"
        )
    if adapters[0].kind == EDIT:
        return adapters
    for key, what in (("n_ctx", "context length"), ("template", "template")):
        if len(values := list(dict.fromkeys(getattr(adapter.config, key) for adapter in adapters))) > 1:
            raise InputError(
                f"only adapters of one {what} can be combined, these have {listed(values)}; train one of them again"
            )
    return adapters


def _id(adapter: ForgetAdapter) -> str:
    return adapter.config.weights_sha256
