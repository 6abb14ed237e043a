"""Images of a data set on the Hub within the Space's bounds: its size, images of a class, and each image."""

from __future__ import annotations

import io
import random
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

from PIL import Image

from hf_unlearn.data.folder_layout import TRAIN
from hf_unlearn.data.hub_datasets import HubDataset, HubRow, HubRows, choose_splits, find_dataset
from hf_unlearn.data.labeled_images import LabeledImages
from hf_unlearn.errors import InputError
from hf_unlearn.hub.ids import is_repo_id
from space.inputs.limits import open_image
from space.inputs.uploaded_images import SIDE

PER_CLASS = 48  # images of a class at most
MAX_DATASET, MAX_IMAGE = 500 * 2**20, 50 * 2**20  # bytes
MAX_ROWS = 1_000_000


def load_dataset_images(address: str, names: Sequence[str]) -> LabeledImages:
    """Up to 48 images per class of a data set's training split, read without a token.

    Args:
        address: its id on the Hub, perhaps with `@REVISION` and `?image=COLUMN&label=COLUMN`.
        names: the classes to read; all of them if empty.

    Raises:
        InputError: if the data set is missing, too large, or holds no images with class names.
        HubError: if the Hub does not answer.
    """
    from hf_unlearn.hub.error_messages import explained

    if find_spec("datasets") is None:
        raise InputError("This Space reads no data sets; send a zip.")
    asked = _find(address)
    with explained(asked.id), _leaving_nothing(asked.id):
        dataset = replace(asked, revision=_check_size(asked), token=False)
        splits = dataset.splits()
        return draw_images(dataset.rows(splits[choose_splits(splits, [[TRAIN]])[0]]), names)


def draw_images(rows: HubRows, names: Sequence[str]) -> LabeledImages:
    """Up to 48 images per class, drawn with a fixed seed and opened within the bounds of an upload.

    The rows are streamed twice, first for their classes: no more than the images drawn is in memory.

    Args:
        names: the classes to read; all of them if empty.

    Raises:
        InputError: if an image that is drawn is missing or can't be read; the message names its row.
    """
    labels = [row.label for row in islice(rows, MAX_ROWS + 1)]
    if len(labels) > MAX_ROWS:
        raise InputError(f"{rows.dataset.id} has more than {MAX_ROWS:,} rows; choose another one, or send a zip.")
    known = rows.names or sorted({label for label in labels if isinstance(label, str) and label.strip()})
    numbers = {name: number for number, name in enumerate(known)}
    classes = [numbers.get(label, -1) if isinstance(label, str) else label for label in labels]
    wanted = {name.casefold() for name in names or numbers}
    chosen = _draw_rows(classes, [number for name, number in numbers.items() if name.casefold() in wanted])
    images: dict[int, Image.Image] = {}
    for number, row in enumerate(rows if chosen else ()):
        if number in chosen:
            images[number] = _open(row)
        if len(images) == len(chosen):
            break
    return LabeledImages.from_arrays([images[row] for row in chosen], [classes[row] for row in chosen], known)


def _draw_rows(classes: Sequence[Any], wanted: Iterable[int]) -> list[int]:
    rows = list(range(len(classes)))
    random.Random(0).shuffle(rows)
    taken: dict[int, list[int]] = {number: [] for number in wanted}
    for row in rows:
        if classes[row] in taken and len(taken[classes[row]]) < PER_CLASS:
            taken[classes[row]].append(row)
    return [row for of_class in taken.values() for row in of_class]


def _open(row: HubRow) -> Image.Image:
    try:
        image = open_image(io.BytesIO(row.content(MAX_IMAGE)))
    except InputError as error:
        raise InputError(str(error) if row.where in str(error) else f"{row.where}: {error}") from error
    image.thumbnail((SIDE, SIDE))
    return image


def _find(address: str) -> HubDataset:
    """The data set that a visitor names, by its id or its address."""
    if not address:
        raise InputError("There is no data set yet: give its id on the Hub, such as user/pets.")
    try:
        found = find_dataset(address if address.startswith("hf:/") else f"hf://datasets/{address}")
    except InputError:
        found = None
    if found is None or not is_repo_id(found.id):
        raise InputError(f"'{address[:80]}' is no data set's id; expected one from the Hub such as user/pets.")
    return found


@contextmanager
def _leaving_nothing(repo_id: str) -> Iterator[None]:
    """At the end of the block the data set's card is removed from the Hub's cache, unless it was there before."""
    from huggingface_hub import constants

    cache, name = Path(constants.HF_HUB_CACHE), f"datasets--{repo_id.replace('/', '--')}"
    known = (cache / name).exists()
    try:
        yield
    finally:
        for left in () if known else (cache / name, cache / ".locks" / name):
            shutil.rmtree(left, ignore_errors=True)


def _check_size(dataset: HubDataset) -> str:
    """The commit of a data set, if it is not too large."""
    from huggingface_hub import HfApi

    api = HfApi(token=False)
    commit = str(api.dataset_info(dataset.id, revision=dataset.revision).sha)
    files = api.list_repo_tree(dataset.id, repo_type="dataset", revision=commit, recursive=True)
    size = sum(getattr(file, "size", 0) or 0 for file in files)
    if size > MAX_DATASET:
        raise InputError(
            f"{dataset.id} has {size / 2**20:,.0f} MB; at most {MAX_DATASET >> 20} are fetched here. "
            "Send a zip of some images."
        )
    return commit
