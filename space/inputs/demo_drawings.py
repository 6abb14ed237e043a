"""The demo's drawings as the images of names: of a thing by its name, or by another name of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from hf_unlearn.data.labeled_images import LabeledImages
from hf_unlearn.models.embedded import EMBEDDED
from space.inputs.run_request import CONTEXT, DATASET, DRAWINGS, EDIT, FILES, RunRequest
from space.inputs.task_images import TaskImages, list_names

SHOTS = 16  # training images per class
STRANGE = 3  # every third of the demo's unlisted concepts is evaluated: enough for a figure, and quick


def drawn_as(names: Iterable[str]) -> dict[str, str]:
    """Name -> the concept that shows it, for those names that drawings show, in their order.

    A concept shows one name: its first name before any other name of it.
    """
    names = list(names)
    known = {name: name for name in names if _is_drawn(name)}
    for name in names:
        others = (concept for concept in _called().get(name.casefold(), ()) if concept not in known.values())
        if name not in known and (concept := next(filter(_is_drawn, others), "")):
            known[name] = concept
    return {name: known[name] for name in names if name in known}


def everyday_names(beside: Iterable[str] = ()) -> list[str]:
    """Harmless names of the demo, none of them a name of what drawings of the names `beside` show."""
    from hf_unlearn.demo import emoji_tasks as demo

    task, taken = demo.tasks()["moderation"][0], {*beside, *drawn_as(beside).values()}
    return [name for name in [name for name in task["names"] if name not in task["forget"]][::2] if name not in taken]


def is_drawn(request: RunRequest) -> bool:
    """Whether the demo's drawings are the images of a request, or of a part of its names."""
    needs_none = request.source != DRAWINGS or request.method == EDIT
    of_demo = request.source not in (FILES, DATASET) and (request.base == EMBEDDED or not needs_none)
    return of_demo and bool(drawn_as(_names_of(request)))


def _names_of(request: RunRequest) -> tuple[str, ...]:
    """The names of a request, and everyday names beside them where it keeps none that drawings show."""
    asked = (*request.forget, *request.keep)
    spare = request.method == EDIT and not drawn_as(request.keep)
    return (*asked, *everyday_names(asked)) if spare else asked


def load_drawings(request: RunRequest) -> TaskImages:
    """Drawings of those names that they show. A search that lacks some of its names learns from none of them."""
    from hf_unlearn.demo import emoji_tasks as demo

    names = _names_of(request)
    drawn = drawn_as(names)
    forget = [name for name in request.forget if name in drawn]
    learns = request.source == DRAWINGS and request.method == CONTEXT
    task = demo.task_of(tuple(drawn.values()), [drawn[name] for name in forget], SHOTS if learns else 1)
    places = [names.index(name) for name in drawn]

    def called(images: LabeledImages) -> LabeledImages:
        return LabeledImages(images.items, tuple(places[label] for label in images.labels), names)

    strange = range(0, len(task.unlisted.names), STRANGE)
    unlisted, unlisted_validation = (
        images.select(i for i, label in enumerate(images.labels) if label in strange)
        for images in (task.unlisted, task.unlisted_validation)
    )
    others = {name: [each for each in demo.concepts()[drawn[name]]["names"] if each != name] for name in forget}
    return TaskImages(
        names, called(task.train) if learns and len(drawn) == len(names) else None, called(task.validation),
        called(task.test), "test", unlisted, unlisted_validation, {name: each for name, each in others.items() if each},
        _describe_undrawn([name for name in (*request.forget, *request.keep) if name not in drawn], learns),
    )  # fmt: skip


def _describe_undrawn(names: Sequence[str], learns: bool) -> str:
    """Which names no drawing shows, and what follows from that."""
    if not names:
        return ""
    learned = " The search learned from the names alone." if learns else ""
    return f"No drawing shows {list_names(names)}: {'they are' if names[1:] else 'it is'} not measured.{learned}"


@lru_cache(maxsize=1_024)
def _is_drawn(name: str) -> bool:
    """Whether artists of every role drew the concept of this name."""
    from hf_unlearn.demo import emoji_tasks as demo

    return name in demo.concepts() and all(demo.drawings(name, role) for role in demo.ARTISTS)


@lru_cache(maxsize=1)
def _called() -> dict[str, list[str]]:
    """Any name, in lower case -> the concepts that have it."""
    from hf_unlearn.demo import emoji_tasks as demo

    found: dict[str, list[str]] = {}
    for name, concept in demo.concepts().items():
        for other in {each.casefold() for each in (name, *concept["names"])}:
            found.setdefault(other, []).append(name)
    return found
