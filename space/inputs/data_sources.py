"""The images of a request: the demo's drawings, an upload, a data set, or none."""

from __future__ import annotations

from collections.abc import Sequence

from hf_unlearn.data.class_names import like
from hf_unlearn.data.folder_layout import TEST, TRAIN, VALIDATION
from hf_unlearn.data.labeled_images import LabeledImages
from hf_unlearn.errors import InputError
from space.inputs.archives import unpack
from space.inputs.demo_drawings import SHOTS, is_drawn, load_drawings
from space.inputs.hub_datasets import load_dataset_images
from space.inputs.run_request import CONTEXT, DATASET, EDIT, FILES, MAX_CLASSES, RunRequest
from space.inputs.task_images import TaskImages, list_names
from space.inputs.uploaded_images import UploadedImages, read_images


def collect_images(request: RunRequest) -> TaskImages:
    """The images of a request.

    Raises:
        InputError: if a context's name is no class of the upload or data set, or these can't be used.
        HubError: if the Hub is needed and does not answer.
    """
    if request.source == FILES:
        with unpack(request.files) as folder:
            return _split_images(read_images(folder), request)
    if request.source == DATASET:
        wanted = [*request.forget, *request.keep] if request.keep else []
        return _split_images(UploadedImages(load_dataset_images(request.dataset, wanted)), request)
    return load_drawings(request) if is_drawn(request) else TaskImages((*request.forget, *request.keep))


def _split_images(sent: UploadedImages, request: RunRequest) -> TaskImages:
    """A visitor's images to learn from, to choose by and to evaluate on; splits that lack no class are used as such.

    An edit needs no images of a name. A name in other capitals is the class.
    """
    sent = sent.spelled([*request.forget, *request.keep])
    keep = request.keep or [name for name in sent.images.names if name not in request.forget]
    names = (*request.forget, *keep)
    if not keep:
        raise InputError(
            "All classes of the images are to be forgotten; add a class of other images, or names to keep."
        )
    if len(names) > MAX_CLASSES:
        raise InputError(f"These are {len(names)} classes; at most {MAX_CLASSES} are allowed.")
    counts = sent.images.counts()
    missing = [name for name in names if not counts.get(name)]
    if missing and request.method == CONTEXT:
        raise InputError(_explain_missing(missing[0], sent.images.names))
    shown = tuple(name for name in names if name not in missing)
    made = _divide(sent, shown, request.method) if shown else TaskImages(())
    used = f"Your images: {'; '.join(filter(None, [_describe_use(made, sent, request), sent.note]))}."
    unseen = f"None of them shows {list_names(missing)}{like(missing[0], set(counts) - {*names})}." if missing else ""
    train, validation, judged = (
        images and _spread(images, names) for images in (made.train, made.validation, made.judged)
    )
    return TaskImages(names, train, validation, judged, made.kind, note=f"{used} {unseen}".rstrip())


def _explain_missing(name: str, classes: Sequence[str]) -> str:
    why = "There are no images of" if name in classes else "No class of the images is called"
    near = like(name, classes) if name not in classes else ""
    return f"{why} '{name[:40]}'{near}: a context learns from images of every name. Add some, or make an edit."


def _divide(sent: UploadedImages, names: tuple[str, ...], method: str) -> TaskImages:
    """The images of these classes, each of which has some, by what they are used for."""
    listed = sent.images.only(names)
    test = _complete(sent.test, names)
    given = _complete(sent.validation, names)
    parts = 3 - (test is not None) - (given is not None)
    least = min(listed.counts().values())
    if least == 1 and method == EDIT:  # which learns from none of them
        return TaskImages(names, judged=test or given or listed)
    shots = min(SHOTS, max(1, least // parts))
    if given is not None and (test is not None or least == 1):
        train, validation, judged = listed.draw(shots, 0), given.draw(SHOTS, 0), test
    else:
        train, second, rest = listed.few_shot(shots, 0)
        validation = given.draw(SHOTS, 0) if given is not None else second
        judged = test or _complete(second if given is not None else rest, names)
    kind = "test" if judged else "validation"
    return TaskImages(names, train, validation, judged or validation, kind)


def _spread(images: LabeledImages, names: Sequence[str]) -> LabeledImages:
    """The images over all of these names, some of which have none."""
    return LabeledImages(images.items, tuple(names.index(images.names[label]) for label in images.labels), tuple(names))


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
