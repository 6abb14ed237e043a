"""Images of a data set on the Hub, streamed and undecoded. None of its code runs, and no file outside it is opened.

`hf://datasets/user/pets`, with a revision as `…/pets@v1.0`, and with columns and a configuration by name as
`…/pets?image=photo&label=breed&config=small`.
"""

from __future__ import annotations

import atexit
import io
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from hf_unlearn.data.folder_layout import SPLITS
from hf_unlearn.data.labeled_images import LabeledImages
from hf_unlearn.data.pixels import open_file
from hf_unlearn.errors import InputError
from hf_unlearn.text import brief, listed

ADDRESS = re.compile(r"hf:/+datasets/(?P<id>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^?]+))?(?:\?(?P<named>.*))?", re.A)
NAMED = ("image", "label", "config")
LABELS = ("label", "labels", "class", "category")  # usual names of a column of text
AT_ONCE = 32  # rows whose images are read at the same time
NO_DATASETS = "data sets of the Hub need the package datasets: pip install 'hf_unlearn[datasets]'"


@dataclass(frozen=True)
class HubDataset:
    """A data set on the Hub, by its address.

    Attributes:
        id, revision: which one.
        image, label, config: columns and configuration; None where they are to be found.
        token: access token; None for the one that is saved, False for none.
    """

    id: str
    revision: str | None = None
    image: str | None = None
    label: str | None = None
    config: str | None = None
    token: str | bool | None = None

    def splits(self) -> dict[str, str]:
        """`train`, `validation`, `test` -> the name of that split; another name -> itself.

        Raises:
            InputError: if there is no such data set, or it can't be read without code; a ValueError.
        """
        try:
            from datasets import get_dataset_split_names
        except ImportError:
            raise InputError(f"{self.id}: {NO_DATASETS}") from None
        with self.readable():
            names = get_dataset_split_names(self.id, self.config, revision=self.revision, token=self.token)
        return {SPLITS.get(name.lower(), name): name for name in names}

    def read(self, split: str) -> LabeledImages:
        """The images of a split, in files that are removed when Python ends.

        Raises:
            InputError: as `rows` does. Also if a row lacks its image or its class, or its image can't be read; the
                message names the row.
        """
        place = Path(tempfile.mkdtemp(prefix="hf-unlearn-"))
        atexit.register(shutil.rmtree, place, ignore_errors=True)
        rows = self.rows(split)
        items: list[Path] = []
        labels: list[int | str] = []
        for row, content in _with_contents(rows):
            labels.append(row.check_label())
            items.append(_write(content, place / f"{split} row {len(items)}", row))
        names = rows.names or sorted({str(label) for label in labels})
        return LabeledImages.from_arrays(
            items, [names.index(label) if isinstance(label, str) else label for label in labels], names
        )

    def rows(self, split: str) -> HubRows:
        """The rows of a split, which are streamed as they are asked for.

        Raises:
            InputError: if it can't be read, or has no column of images or of class names; a ValueError.
        """
        import datasets

        with self.readable():
            found = datasets.load_dataset(
                self.id, self.config, split=split, revision=self.revision, token=self.token, streaming=True
            )
            return self.rows_of(found if found.features else found._resolve_features(), split)

    def rows_of(self, stream: Any, split: str) -> HubRows:
        """The rows of a `datasets.IterableDataset`. Raises: InputError: as `rows` does."""
        import datasets

        image, label = self._find_columns(stream.features, datasets.Image, datasets.ClassLabel)
        names = getattr(stream.features[label], "names", None)
        return HubRows(self, split, stream.decode(False).select_columns([image, label]), image, label, names)

    @contextmanager
    def readable(self) -> Iterator[None]:
        """Within the block, what `datasets` raises for a data set that it can't read becomes one sentence."""
        from datasets import exceptions

        try:
            yield
        except InputError:
            raise
        except (ValueError, RuntimeError, FileNotFoundError, exceptions.DatasetsError) as error:
            raise InputError(f"{self.id}: this data set can't be read ({brief(str(error))})") from error

    def _find_columns(self, features: Any, of_images: type, of_names: type) -> tuple[str, str]:
        for name in (self.image, self.label):
            if name is not None and name not in features:
                raise InputError(f"{self.id}: no column {brief(name)}; it has {listed(features)}")
        images = [self.image] if self.image else [key for key, kind in features.items() if isinstance(kind, of_images)]
        labels = [self.label] if self.label else [key for key, kind in features.items() if isinstance(kind, of_names)]
        labels = labels or [key for key in LABELS if getattr(features.get(key), "dtype", None) == "string"]
        for found, what, option in ((images, "images", "image"), (labels, "class names", "label")):
            if len(found) != 1:
                raise InputError(
                    f"{self.id}: {'several columns' if found else 'no column'} of {what} in {listed(features)}; "
                    f"name one: hf://datasets/{self.id}?{option}=COLUMN"
                )
        if not isinstance(features[images[0]], of_images):
            raise InputError(f"{self.id}: column {brief(images[0])} holds no images")
        kind = features[labels[0]]
        if not isinstance(kind, of_names) and getattr(kind, "dtype", None) != "string":
            raise InputError(f"{self.id}: column {brief(labels[0])} holds no class names")
        return images[0], labels[0]


@dataclass(frozen=True)
class HubRow:
    """One row. Its image is read when it is asked for.

    Attributes:
        dataset: the data set.
        where: the row's place, for messages.
        image: what the data set has as its image, undecoded.
        label: the class as a number or name, or whatever else the data set has in its place.
    """

    dataset: HubDataset
    where: str
    image: Any
    label: Any

    def content(self, most: int = -1) -> bytes:
        """The image's file, unchanged.

        Args:
            most: bytes; -1 for any size.

        Raises:
            InputError: if it is missing, it is no file of the data set, or it is too large; a ValueError.
        """
        content = self._read(most)
        if 0 <= most < len(content):
            raise InputError(f"{self.where}: its image is larger than {most >> 20:,} MB; take the row out")
        return content

    def _read(self, most: int) -> bytes:
        """As many bytes as are needed to see that they are too many."""
        given = self.image if isinstance(self.image, dict) else {}
        if content := given.get("bytes"):
            return bytes(content)
        if not (path := given.get("path")):
            raise InputError(f"{self.where}: has no image; take the row out, or name another column")
        inside = rf"(zip://[^:]*::)?hf://datasets/{re.escape(self.dataset.id)}[@/][^:]*"
        if not re.fullmatch(inside, str(path)) or ".." in str(path).split("/"):
            raise InputError(f"{self.where}: its image is no file of the data set ({brief(path)}); take the row out")
        import fsspec

        with self.dataset.readable(), fsspec.open(path, "rb", hf={"token": self.dataset.token}) as file:
            return bytes(file.read(most + 1 if most >= 0 else -1))

    def check_label(self) -> int | str:
        """The class. Raises: InputError: if the row has none; a ValueError."""
        if isinstance(self.label, str) and self.label.strip():
            return self.label
        if isinstance(self.label, int) and self.label >= 0:
            return self.label
        raise InputError(f"{self.where}: has no class ({brief(self.label)}); take the row out, or name another column")


@dataclass(frozen=True)
class HubRows:
    """The rows of a split; every iteration streams them again.

    Attributes:
        dataset, split: of which.
        stream: a `datasets.IterableDataset` with two columns, `image` and `label`.
        names: the class names; None where they are the texts of the column `label`.
    """

    dataset: HubDataset
    split: str
    stream: Any
    image: str
    label: str
    names: list[str] | None

    def __iter__(self) -> Iterator[HubRow]:
        with self.dataset.readable():
            for number, row in enumerate(self.stream):
                where = f"{self.dataset.id}, row {number} of {self.split}"
                yield HubRow(self.dataset, where, row[self.image], row[self.label])


def find_dataset(path: Path | str) -> HubDataset | None:
    """The data set that an address names; None for anything else, such as a folder.

    Raises:
        InputError: if it begins as an address and is malformed; a ValueError.
    """
    text = path.as_posix() if isinstance(path, Path) else path  # a Path keeps one of two slashes
    if not re.match(r"hf:/", text):
        return None
    found = ADDRESS.fullmatch(text)
    named = dict(parse_qsl(found["named"] or "")) if found else {}
    if found is None or set(named) - set(NAMED):
        raise InputError(
            f"{brief(text)}: expected hf://datasets/USER/NAME, perhaps with @REVISION, and ?image=COLUMN&label=COLUMN"
        )
    return HubDataset(found["id"], found["revision"], **named)


def choose_splits(there: Iterable[str], groups: Iterable[Iterable[str]]) -> list[str]:
    """The splits of the first group that has any; else all of them."""
    there = list(there)
    chosen = ([kind for kind in group if kind in there] for group in groups)
    return next((found for found in chosen if found), there)


def _with_contents(rows: Iterable[HubRow]) -> Iterator[tuple[HubRow, bytes]]:
    """Every row with the file of its image; several are fetched at the same time."""
    rows = iter(rows)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        while batch := list(islice(rows, AT_ONCE)):
            yield from zip(batch, pool.map(HubRow.content, batch), strict=True)


def _write(content: bytes, path: Path, row: HubRow) -> Path:
    try:
        open_file(io.BytesIO(content))  # its header alone
    except Exception as error:  # whatever a damaged file makes Pillow raise
        raise InputError(f"{row.where}: not a readable image; take the row out") from error
    path.write_bytes(content)
    return path
