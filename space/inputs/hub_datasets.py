"""Images of a data set on the Hub, read within bounds and without running any of its code."""

from __future__ import annotations

import io
import random
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hf_unlearn.data.labeled_images import LabeledImages
from hf_unlearn.errors import InputError
from space.inputs.limits import open_image
from space.inputs.transient_files import process_files
from space.inputs.uploaded_images import SIDE

if TYPE_CHECKING:
    from datasets import Dataset

PER_CLASS = 48  # images of a class at most
MAX_DATASET = 500 * 2**20  # bytes


def load_dataset_images(repo_id: str, names: Sequence[str]) -> LabeledImages:
    """Up to 48 images per class of a data set's training split, read without a token.

    Args:
        names: the classes to read; all of them if empty.

    Raises:
        InputError: if the data set is missing, too large, or holds no images with class names.
        HubError: if the Hub does not answer.
    """
    if not repo_id:
        raise InputError("There is no data set yet: give its id on the Hub, such as user/pets.")
    try:
        import datasets
    except ImportError:
        raise InputError("This Space reads no data sets; send a zip.") from None
    commit, size = _check_size(repo_id)
    process_files().expect(2 * size)  # as downloaded, and as a table
    with _temporary_folder(repo_id) as home:
        try:
            table = datasets.load_dataset(repo_id, split="train", revision=commit, token=False, cache_dir=str(home))
        except (ValueError, RuntimeError, FileNotFoundError, datasets.exceptions.DatasetsError) as error:
            why = str(error).replace(str(home), "")[:120]
            raise InputError(f"{repo_id[:80]}: this data set can't be read ({why}).") from error
        return images_from_table(table, names, home)


def images_from_table(table: Dataset, names: Sequence[str], home: Path | None = None) -> LabeledImages:
    """Up to 48 images per class of a table, drawn with a fixed seed and opened within the bounds of an upload.

    Args:
        names: the classes to read; all of them if empty.
        home: the folder that the table was downloaded to.

    Raises:
        InputError: if the table has no column of images or of class names, or an image can't be read.
    """
    import datasets

    image = _find_column(table, datasets.Image, "images")
    label = _find_column(table, datasets.ClassLabel, "class names")
    known, labels = table.features[label].names, list(table[label])
    chosen = _draw_rows(labels, {i for i, name in enumerate(known) if not names or name in names})
    images = []
    for item in table.select(chosen).cast_column(image, datasets.Image(decode=False))[image]:
        if item is None:
            raise InputError("This data set has a row without an image; choose another one, or send a zip.")
        source = io.BytesIO(item["bytes"]) if item["bytes"] is not None else _check_path(item["path"], home)
        picture = open_image(source)
        picture.thumbnail((SIDE, SIDE))
        images.append(picture)
    return LabeledImages.from_arrays(images, [labels[row] for row in chosen], known)


def _find_column(table: Dataset, kind: type, what: str) -> str:
    found = [name for name, feature in table.features.items() if isinstance(feature, kind)]
    if not found:
        raise InputError(f"This data set has no column of {what}; it has {', '.join(table.column_names)[:200]}.")
    return str(found[0])


def _draw_rows(labels: Sequence[int], wanted: set[int]) -> list[int]:
    rows = list(range(len(labels)))
    random.Random(0).shuffle(rows)
    taken: dict[int, list[int]] = {i: [] for i in wanted}
    for row in rows:
        if labels[row] in wanted and len(taken[labels[row]]) < PER_CLASS:
            taken[labels[row]].append(row)
    return [row for of_class in taken.values() for row in of_class]


def _check_path(path: str, home: Path | None) -> Path:
    """The path of a downloaded image: a table may name any file of this machine."""
    if home is None or not Path(path).resolve().is_relative_to(home.resolve()):
        raise InputError("This data set names a file outside itself; choose another one.")
    return Path(path)


@contextmanager
def _temporary_folder(repo_id: str) -> Iterator[Path]:
    """A folder to read a data set into.

    At the end of the block it is removed, and so is the data set's card in the Hub's cache.
    """
    from huggingface_hub import constants

    cache, name = Path(constants.HF_HUB_CACHE), f"datasets--{repo_id.replace('/', '--')}"
    known = (cache / name).exists()
    try:
        with tempfile.TemporaryDirectory(dir=process_files().folder("datasets"), ignore_cleanup_errors=True) as home:
            yield Path(home)
    finally:
        for left in () if known else (cache / name, cache / ".locks" / name):
            shutil.rmtree(left, ignore_errors=True)


def _check_size(repo_id: str) -> tuple[str, int]:
    """The commit of a data set and its size in bytes."""
    from huggingface_hub import HfApi

    from hf_unlearn.hub.error_messages import explained

    if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,95}/[\w.-]{1,96}", repo_id, re.A):
        raise InputError(f"'{repo_id[:80]}' is no data set's id; expected one from the Hub such as user/pets.")
    api = HfApi(token=False)
    with explained(repo_id):
        commit = str(api.dataset_info(repo_id).sha)
        files = api.list_repo_tree(repo_id, repo_type="dataset", revision=commit, recursive=True)
        size = sum(getattr(file, "size", 0) or 0 for file in files)
    if size > MAX_DATASET:
        raise InputError(
            f"{repo_id} has {size / 2**20:,.0f} MB; at most {MAX_DATASET >> 20} are fetched here. "
            "Send a zip of some images."
        )
    return commit, size
