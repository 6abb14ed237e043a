"""Images of a data set on the Hub, streamed: each is written to a file unchanged, and decoded when it is asked for.

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
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from PIL import Image, UnidentifiedImageError

from hf_unlearn.data.folder_layout import SPLITS
from hf_unlearn.data.labeled_images import LabeledImages
from hf_unlearn.data.pixels import open_file, to_rgb
from hf_unlearn.errors import InputError
from hf_unlearn.text import brief, listed

ADDRESS = re.compile(r"hf:/+datasets/(?P<id>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^?]+))?(?:\?(?P<named>.*))?", re.A)
NAMED = ("image", "label", "config")
LABELS = ("label", "labels", "class", "category")  # usual names of a column of text
NO_DATASETS = "data sets of the Hub need the package datasets: pip install 'hf_unlearn[datasets]'"


@dataclass(frozen=True)
class HubDataset:
    """A data set on the Hub, by its address.

    Attributes:
        id, revision: which one.
        image, label, config: columns and configuration; None where they are to be found.
    """

    id: str
    revision: str | None = None
    image: str | None = None
    label: str | None = None
    config: str | None = None

    def splits(self) -> dict[str, str]:
        """`train`, `validation`, `test` -> the name of that split; another name -> itself.

        Raises:
            InputError: if there is no such data set, or it can't be read without code; a ValueError.
        """
        try:
            from datasets import get_dataset_split_names
        except ImportError:
            raise InputError(f"{self.id}: {NO_DATASETS}") from None
        with self._readable():
            names = get_dataset_split_names(self.id, self.config, revision=self.revision)
        return {SPLITS.get(name.lower(), name): name for name in names}

    def read(self, split: str) -> LabeledImages:
        """The images of a split, in files that are removed when Python ends.

        Raises:
            InputError: if it has no column of images or of class names, or a row lacks its image or its class. The
                message names the row; a ValueError.
        """
        import datasets

        place = Path(tempfile.mkdtemp(prefix="hf-unlearn-"))
        atexit.register(shutil.rmtree, place, ignore_errors=True)
        items, labels = [], []
        with self._readable():
            rows = datasets.load_dataset(self.id, self.config, split=split, revision=self.revision, streaming=True)
            rows = rows if rows.features else rows._resolve_features()
            features = rows.features
            image, label = self._find_columns(features, datasets.Image, datasets.ClassLabel)
            stream = rows.cast_column(image, datasets.Image(decode=False)).select_columns([image, label])
            for number, row in enumerate(stream):
                where = f"{self.id}, row {number} of {split}"
                items.append(_write(row[image], place / f"{split} row {number}", where))
                labels.append(_check_label(row[label], where))
        names = getattr(features[label], "names", None) or sorted(set(labels))
        return LabeledImages.from_arrays(
            items, [names.index(name) if isinstance(name, str) else name for name in labels], names
        )

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """Within the block, what `datasets` raises for a data set that it can't read becomes one sentence."""
        from datasets import exceptions

        try:
            yield
        except InputError:
            raise
        except (ValueError, RuntimeError, FileNotFoundError, UnidentifiedImageError, exceptions.DatasetsError) as error:
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


def _write(item: Any, path: Path, where: str) -> Path:
    if isinstance(item, Image.Image):  # a file of an image folder: datasets has decoded it
        to_rgb(item).save(path, "PNG")
        return path
    content = item.get("bytes") if isinstance(item, dict) else None
    if not content:
        raise InputError(f"{where}: has no image; take the row out, or name another column")
    try:
        open_file(io.BytesIO(content))  # its header alone
    except Exception as error:  # whatever a damaged file makes Pillow raise
        raise InputError(f"{where}: not a readable image; take the row out") from error
    path.write_bytes(content)
    return path


def _check_label(label: Any, where: str) -> int | str:
    if isinstance(label, str) and label.strip():
        return label
    if isinstance(label, int) and label >= 0:
        return label
    raise InputError(f"{where}: has no class ({brief(label)}); take the row out, or name another column")
