"""The images of a request: the demo's drawings, an upload, a data set, or none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from hf_unlearn.data.class_names import split_names
from hf_unlearn.data.folder_layout import TEST, TRAIN, VALIDATION
from hf_unlearn.data.labeled_images import LabeledImages
from hf_unlearn.errors import InputError
from hf_unlearn.models.embedded import EMBEDDED
from space.inputs.archives import unpack
from space.inputs.hub_datasets import load_dataset_images
from space.inputs.run_request import DATASET, EDIT, FILES, MAX_CLASSES, NAMES, RunRequest
from space.inputs.uploaded_images import UploadedImages, read_images

SHOTS = 16  # training images per class
STRANGE = 3  # every third of the demo's unlisted concepts is evaluated: enough for a figure, and quick


@dataclass(frozen=True)
class TaskImages:
    """Images to learn from and to evaluate on; none of them where a visitor gave names alone.

    Attributes:
        names: all class names.
        train, validation: images to search and to select with.
        judged: images that no optimizer saw, or the validation images if there are no others.
        kind: "test" or "validation": which of them `judged` is.
        unlisted, unlisted_validation, synonyms: see `hf_unlearn.evaluate`; empty where they are unknown.
        note: what a visitor should know of an upload.
    """

    names: tuple[str, ...]
    train: LabeledImages | None = None
    validation: LabeledImages | None = None
    judged: LabeledImages | None = None
    kind: str = "test"
    unlisted: LabeledImages | None = None
    unlisted_validation: LabeledImages | None = None
    synonyms: dict[str, list[str]] = field(default_factory=dict)
    note: str = ""


def collect_images(request: RunRequest) -> TaskImages:
    """The images of a request.

    Raises:
        InputError: if a name has no images, or the upload or data set can't be used.
        HubError: if the Hub is needed and does not answer.
    """
    if request.source == FILES:
        with unpack(request.files) as folder:
            return _split_images(read_images(folder), request)
    if request.source == DATASET:
        wanted = [*request.forget, *request.keep] if request.keep else []
        return _split_images(UploadedImages(load_dataset_images(request.dataset, wanted)), request)
    if is_drawn(request):
        return _load_drawings(request)
    names = (*request.forget, *request.keep)
    if request.source == NAMES or request.method == EDIT:  # an edit needs no images
        return TaskImages(names)
    undrawn = _names_without_drawings(names)
    raise InputError(f"There are no drawings of '{undrawn[0]}'; tick names of the list, or choose other images.")


def is_drawn(request: RunRequest) -> bool:
    """Whether the demo's drawings are the images of a request."""
    if request.source in (FILES, DATASET):
        return False
    needs_none = request.source == NAMES or request.method == EDIT
    return (request.base == EMBEDDED or not needs_none) and not _names_without_drawings(
        [*request.forget, *request.keep]
    )


def everyday_names() -> list[str]:
    """Harmless names of the demo."""
    from hf_unlearn.demo import emoji_tasks as demo

    task = demo.tasks()["moderation"][0]
    return [name for name in task["names"] if name not in task["forget"]][::2]


def _names_without_drawings(names: Sequence[str]) -> list[str]:
    from hf_unlearn.demo import emoji_tasks as demo

    def has_drawings(name: str) -> bool:
        return name in demo.concepts() and all(demo.drawings(name, role) for role in demo.ARTISTS)

    return [name for name in names if not has_drawings(name)]


def _load_drawings(request: RunRequest) -> TaskImages:
    """Drawings of the names; where none are kept, everyday names are evaluated beside them."""
    from hf_unlearn.demo import emoji_tasks as demo

    keep = request.keep or [name for name in everyday_names() if name not in request.forget]
    task = demo.task_of((*request.forget, *keep), request.forget, 1 if request.method == EDIT else SHOTS)
    strange = range(0, len(task.unlisted.names), STRANGE)
    unlisted, unlisted_validation = (
        images.select(i for i, label in enumerate(images.labels) if label in strange)
        for images in (task.unlisted, task.unlisted_validation)
    )
    return TaskImages(
        task.names, task.train, task.validation, task.test, "test", unlisted, unlisted_validation, task.synonyms
    )


def _split_images(sent: UploadedImages, request: RunRequest) -> TaskImages:
    """A visitor's images to learn from, to choose by and to evaluate on; splits that lack no class are used as such."""
    images = sent.images
    split_names(images.names, request.forget)
    keep = request.keep or [name for name in images.names if name not in request.forget]
    if unknown := [name for name in keep if name not in images.names]:
        raise InputError(f"There is no class '{unknown[0]}' among the images' {len(images.names)}; leave it out.")
    names = (*request.forget, *keep)
    if len(names) > MAX_CLASSES:
        raise InputError(f"These are {len(names)} classes; at most {MAX_CLASSES} are allowed.")
    listed = images.only(names)
    if empty := next((name for name, count in listed.counts().items() if not count), None):
        raise InputError(f"There are no images of '{empty}'; add some, or leave the name out.")
    test = _complete(sent.test, names)
    given = _complete(sent.validation, names)
    parts = 3 - (test is not None) - (given is not None)
    least = min(listed.counts().values())
    shots = min(SHOTS, max(1, least // parts))
    if given is not None and (test is not None or least == 1):
        train, validation, judged = listed.draw(shots, 0), given.draw(SHOTS, 0), test
    else:
        train, second, rest = listed.few_shot(shots, 0)
        validation = given.draw(SHOTS, 0) if given is not None else second
        judged = test or _complete(second if given is not None else rest, names)
    kind = "test" if judged else "validation"
    made = TaskImages(names, train, validation, judged or validation, kind)
    return replace(made, note="; ".join(filter(None, [_describe_use(made, sent, request), sent.note])))


def _complete(images: LabeledImages | None, names: Sequence[str]) -> LabeledImages | None:
    """The images of these classes, if there are some of each."""
    if images is None or not set(names) <= set(images.names):
        return None
    listed = images.only(names)
    return listed if all(listed.counts().values()) else None


def _describe_use(made: TaskImages, sent: UploadedImages, request: RunRequest) -> str:
    """What a visitor's images are used for, with their numbers and folders."""

    def of(kind: str, images: LabeledImages | None) -> str:
        place = sent.places.get(kind) or sent.places.get(TRAIN)
        return f"{len(images or ()):,}" + (f" of {place}" if place else "")

    tested = of(TEST if _complete(sent.test, made.names) else TRAIN, made.judged)
    if request.method == EDIT:
        return f"an edit learns from none; it is evaluated on {tested}"
    learned, chosen = (
        of(TRAIN, made.train),
        of(VALIDATION if _complete(sent.validation, made.names) else TRAIN, made.validation),
    )
    last = "the same, since there are no others" if made.kind == "validation" else tested
    return f"the search learns from {learned}, chooses by {chosen}, and is evaluated on {last}"
