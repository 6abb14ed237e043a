"""What a visitor wants forgotten, and the images for it: drawings, an upload, a data set, or names alone."""

from __future__ import annotations

import io
import random
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hf_unlearn.data.class_names import split_names
from hf_unlearn.data.labeled_images import LabeledImages
from hf_unlearn.models.embedded import EMBEDDED
from space.inputs.archives import SIDE, labelled_images, unpacked
from space.inputs.limits import has_names, open_image, parse_labels, repeated
from space.inputs.transient_files import here

DRAWINGS, NAMES, FILES, DATASET = "drawings", "names", "files", "dataset"
EDIT, CONTEXT = "edit", "context"
SOURCES = {
    NAMES: "Names only: no images",
    DRAWINGS: "The demo's drawings",
    FILES: "My images: one folder per class",
    DATASET: "A data set on the Hub",
}
METHODS = {
    EDIT: "Edit: names are enough, a few seconds",
    CONTEXT: "Context: searched for with the model's scores only, a minute or more",
}
MAX_CLASSES, SHOTS, PER_CLASS = 200, 16, 48
MAX_DATASET = 500 * 2**20
STRANGE = 3  # of the demo's unlisted concepts, every third is judged: enough for a figure, and quick
BUDGETS = (50, 3_000)
STRENGTHS = {"gentle": 0.25, "normal": 0.5, "strong": 0.75}


@dataclass(frozen=True)
class Order:
    """What a visitor asks for; checked and complete.

    Attributes:
        base: the base model's name.
        forget, keep: class names; `keep` may be empty for an edit, which keeps everything else, and with images of
            one's own: all their other classes are kept.
        source: one of `SOURCES`; an edit learns from no image, it is judged by them.
        budget: candidates to score at most; an edit takes none.
        strength: how much is given for forgetting, 0 to 1, see `unlearn`.
        files: an uploaded zip, or nothing.
        dataset: a data set's id, or nothing.
        merged: what to say of names that were written more than once, as Markdown, or nothing.
    """

    base: str
    forget: list[str]
    keep: list[str]
    source: str
    budget: int
    strength: float = 0.5
    files: list[str] = field(default_factory=list)
    dataset: str = ""
    method: str = CONTEXT
    merged: str = ""

    @classmethod
    def of(
        cls,
        base: str,
        forget: str,
        keep: str,
        source: str,
        budget: float,
        strength: str = "normal",
        files: Sequence[str] = (),
        dataset: str = "",
        method: str = "",
    ) -> Order:
        """From what the page or a client sends, which may be anything that JSON holds.

        Args:
            method: one of `METHODS`; if not given, an edit where there are no images, else a context.

        Raises:
            ValueError: if something is missing, no text where text is expected, out of bounds, or to be both forgotten
                and kept.
        """
        texts = (base, forget or "", keep or "", source, strength, dataset or "", method or "")
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("An order is text, but for its budget: names stand one per line.")
        if source not in SOURCES:
            raise ValueError(f"There is no source of images '{str(source)[:40]}'; choose {', '.join(SOURCES)}.")
        if not isinstance(budget, int | float) or not BUDGETS[0] <= budget <= BUDGETS[1]:
            raise ValueError(f"The budget is {BUDGETS[0]:,} to {BUDGETS[1]:,} queries, got {str(budget)[:20]}.")
        if strength not in STRENGTHS:
            raise ValueError(f"There is no strength '{str(strength)[:40]}'; choose {', '.join(STRENGTHS)}.")
        method = method or (EDIT if source == NAMES else CONTEXT)
        if method not in METHODS:
            raise ValueError(f"There is no method '{method[:40]}'; choose {', '.join(METHODS)}.")
        gone = parse_labels(forget or "", MAX_CLASSES, "names to forget")
        kept = parse_labels(keep, MAX_CLASSES, "names to keep") if has_names(keep or "") else []
        if not kept and method == CONTEXT and source in (DRAWINGS, NAMES):
            raise ValueError("There are no names to keep: write at least one, so that the model keeps something.")
        if both := [name for name in kept if name in gone]:
            raise ValueError(f"'{both[0]}' is to be forgotten and kept; take it out of one list.")
        if len(gone) + len(kept) > MAX_CLASSES:
            raise ValueError(f"These are {len(gone) + len(kept)} names; at most {MAX_CLASSES} are taken.")
        return cls(
            base, gone, kept, source, int(budget), STRENGTHS[strength], list(files or ()), (dataset or "").strip(),
            method, repeated(forget or "", keep or ""),
        )  # fmt: skip


@dataclass(frozen=True)
class Material:
    """Images to learn from and to judge by; none of them for names that nobody has images of.

    Attributes:
        names: all class names.
        train, validation: images to search and to select with.
        judged: images nobody optimized on, or the validation images where there are no others; `kind` says which.
        unlisted, unlisted_validation, synonyms: see `evaluate`; where they are to be had.
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


def gather(order: Order) -> Material:
    """The images of an order.

    Raises:
        ValueError: if there are none for a name, or what was sent is none we take.
        OSError: if the Hub is needed and can't be asked.
    """
    if order.source == FILES:
        with unpacked(order.files) as folder:
            sent = labelled_images(folder)
            return _own(sent.images, order, sent.test, sent.note)
    if order.source == DATASET:
        wanted = [*order.forget, *order.keep] if order.keep else []  # none: all there are
        return _own(_of_dataset(order.dataset, wanted), order)
    if order.source == NAMES:
        names = (*order.forget, *order.keep)
        return _drawn(order) if order.base == EMBEDDED and not _undrawn(names) else Material(names)
    if missing := _undrawn((*order.forget, *order.keep)):
        raise ValueError(f"There are no drawings of '{missing[0]}'; tick names of the list, or choose other images.")
    return _drawn(order)


def everyday() -> list[str]:
    """Names of the demo that nobody minds."""
    from hf_unlearn.demo import emoji_tasks as demo

    task = demo.tasks()["moderation"][0]
    return [name for name in task["names"] if name not in task["forget"]][::2]


def _undrawn(names: Sequence[str]) -> list[str]:
    from hf_unlearn.demo import emoji_tasks as demo

    def drawn(name: str) -> bool:
        return name in demo.concepts() and all(demo.drawings(name, role) for role in demo.ARTISTS)

    return [name for name in names if not drawn(name)]


def _drawn(order: Order) -> Material:
    """Drawings of the names; where none are kept, an edit is judged beside everyday ones."""
    from hf_unlearn.demo import emoji_tasks as demo

    keep = order.keep or [name for name in everyday() if name not in order.forget]
    task = demo.task_of((*order.forget, *keep), order.forget, 1 if order.method == EDIT else SHOTS)
    strange = range(0, len(task.unlisted.names), STRANGE)
    unlisted, unlisted_validation = (
        images.select(i for i, label in enumerate(images.labels) if label in strange)
        for images in (task.unlisted, task.unlisted_validation)
    )
    return Material(
        task.names, task.train, task.validation, task.test, "test", unlisted, unlisted_validation, task.synonyms
    )


def _own(images: LabeledImages, order: Order, test: LabeledImages | None = None, note: str = "") -> Material:
    """A visitor's images, split: to search with, to select with, to judge by; `test` judges if it has every class."""
    split_names(images.names, order.forget)
    keep = order.keep or [name for name in images.names if name not in order.forget]
    if unknown := [name for name in keep if name not in images.names]:
        raise ValueError(f"There is no class '{unknown[0]}' among the images' {len(images.names)}; leave it out.")
    names = (*order.forget, *keep)
    if len(names) > MAX_CLASSES:
        raise ValueError(f"These are {len(names)} classes; at most {MAX_CLASSES} are taken.")
    own = images.only(names)
    if empty := next((name for name, count in own.counts().items() if not count), None):
        raise ValueError(f"There are no images of '{empty}'; add some, or leave the name out.")
    shots = min(SHOTS, max(1, min(own.counts().values()) // 3))
    train, validation, rest = own.few_shot(shots, 0)
    judged = next((part for part in (test and test.only(names), rest) if part and all(part.counts().values())), None)
    kind = "test" if judged else "validation"
    return Material(names, train, validation, judged or validation, kind, note=note)


def _of_dataset(repo_id: str, names: Sequence[str]) -> LabeledImages:
    """Up to 48 images per class of a data set's training split, read without a token; none of its code is run."""
    if not repo_id:
        raise ValueError("There is no data set yet: give its id on the Hub, such as user/pets.")
    try:
        import datasets
    except ImportError:
        raise ValueError("This Space reads no data sets (pip install 'hf_unlearn[datasets]'); send a zip.") from None
    commit, size = _checked_dataset(repo_id)
    here().expect(2 * size)  # as it was sent, and as a table
    with _nothing_left(repo_id) as home:
        try:
            table = datasets.load_dataset(repo_id, split="train", revision=commit, token=False, cache_dir=str(home))
        except (ValueError, RuntimeError, FileNotFoundError, datasets.exceptions.DatasetsError) as error:
            why = str(error).replace(str(home), "")[:120]
            raise ValueError(f"{repo_id[:80]}: this data set can't be read ({why}).") from error
        return from_table(table, names, home)


@contextmanager
def _nothing_left(repo_id: str) -> Iterator[Path]:
    """A folder to read a data set into; neither it nor the data set's card in the Hub's cache outlives the block."""
    from huggingface_hub import constants

    cache, name = Path(constants.HF_HUB_CACHE), f"datasets--{repo_id.replace('/', '--')}"
    known = (cache / name).exists()
    try:
        with tempfile.TemporaryDirectory(dir=here().folder("datasets"), ignore_cleanup_errors=True) as home:
            yield Path(home)
    finally:
        for left in () if known else (cache / name, cache / ".locks" / name):
            shutil.rmtree(left, ignore_errors=True)


def from_table(table: Any, names: Sequence[str], home: Path | None = None) -> LabeledImages:
    """Some images per class of a `datasets.Dataset`; images are opened with the bounds of an upload.

    Args:
        home: the folder that the table was fetched into.

    Raises:
        ValueError: if it has no image column, no column of class names, or an image is none we read.
    """
    import datasets

    def column(kind: type, what: str) -> str:
        found = [name for name, feature in table.features.items() if isinstance(feature, kind)]
        if not found:
            raise ValueError(f"This data set has no column of {what}; it has {', '.join(table.column_names)[:200]}.")
        return found[0]

    image, label = column(datasets.Image, "images"), column(datasets.ClassLabel, "class names")
    known, labels = table.features[label].names, list(table[label])
    rows = list(range(len(labels)))
    random.Random(0).shuffle(rows)
    wanted = {i for i, name in enumerate(known) if not names or name in names}
    taken: dict[int, list[int]] = {i: [] for i in wanted}
    for row in rows:
        if labels[row] in wanted and len(taken[labels[row]]) < PER_CLASS:
            taken[labels[row]].append(row)
    chosen = [row for own in taken.values() for row in own]
    images = []
    for item in table.select(chosen).cast_column(image, datasets.Image(decode=False))[image]:
        if item is None:
            raise ValueError("This data set has a row without an image; choose another one, or send a zip.")
        picture = open_image(io.BytesIO(item["bytes"]) if item["bytes"] is not None else _fetched(item["path"], home))
        picture.thumbnail((SIDE, SIDE))
        images.append(picture)
    return LabeledImages.from_arrays(images, [labels[row] for row in chosen], known)


def _fetched(path: str, home: Path | None) -> Path:
    """A file that a data set names, if it is one that was fetched for it: a table may name any file of this machine."""
    if home is None or not Path(path).resolve().is_relative_to(home.resolve()):
        raise ValueError("This data set names a file that is not its own; choose another one.")
    return Path(path)


def _checked_dataset(repo_id: str) -> tuple[str, int]:
    """The commit of a data set whose size is known to be bearable, and that size in bytes."""
    from huggingface_hub import HfApi

    from hf_unlearn.hub.error_messages import explained

    if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,95}/[\w.-]{1,96}", repo_id, re.A):
        raise ValueError(f"'{repo_id[:80]}' is no data set's id; expected one from the Hub such as user/pets.")
    api = HfApi(token=False)
    with explained(repo_id):
        commit = str(api.dataset_info(repo_id).sha)
        files = api.list_repo_tree(repo_id, repo_type="dataset", revision=commit, recursive=True)
        size = sum(getattr(file, "size", 0) or 0 for file in files)
    if size > MAX_DATASET:
        raise ValueError(
            f"{repo_id} has {size / 2**20:,.0f} MB; at most {MAX_DATASET >> 20} are fetched here. "
            "Send a zip of some images."
        )
    return commit, size
