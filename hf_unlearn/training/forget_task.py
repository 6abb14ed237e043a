"""What a caller asks to forget, checked: names, images, and how long to search."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image

from hf_unlearn.arguments import LARGEST_SEED, MOST_SHOTS, share, whole_number
from hf_unlearn.data.class_names import check_names, name_list, split_names, synonym_lists
from hf_unlearn.data.labeled_images import LabeledImages, check_optional_images
from hf_unlearn.data.synonyms import asked_names
from hf_unlearn.errors import InputError
from hf_unlearn.text import brief

EDIT = "edit"  # the method that needs no search


@dataclass(frozen=True)
class ForgetTask:
    """Names to forget, and the data that say how the others look.

    Attributes:
        forget: names to forget, in the caller's order.
        keep: names that an edit protects; None if not given.
        synonyms: name to forget -> its other names.
        classes: names of all classes of a run without labelled images; None if not given.
        images, validation: labelled images; None if not given.
        unlabelled: images of anything; None if not given.
    """

    forget: list[str]
    keep: list[str] | None
    synonyms: dict[str, list[str]]
    classes: list[str] | None
    images: LabeledImages | None
    validation: LabeledImages | None
    unlabelled: list[Image.Image | Path] | None

    @classmethod
    def check(
        cls, *, forget: Any, keep: Any, synonyms: Any, classes: Any, images: Any, validation: Any, unlabelled: Any
    ) -> ForgetTask:
        """Cleans and checks each argument by itself; the arguments are those of `unlearn`.

        Raises:
            ValueError: if one makes no sense; it is named.
        """
        check_optional_images(images=images, validation=validation)
        return cls(
            name_list("forget", forget),
            None if keep is None else name_list("keep", keep),
            synonym_lists(synonyms),
            None if classes is None else check_names(classes),
            images,
            validation,
            None if unlabelled is None else _list_of_images(unlabelled),
        )

    @property
    def has_names_only(self) -> bool:
        """Whether there are neither images nor a list of all classes: enough for an edit, not for a context."""
        return self.images is None and self.classes is None and not self.unlabelled

    @property
    def listed_names(self) -> Sequence[str] | None:
        """Names of all classes, from the images or the list; None if there is neither."""
        return self.classes if self.images is None else self.images.names

    @cached_property
    def all_names(self) -> tuple[str, ...]:
        """Names of all classes, those to forget among them.

        Raises:
            ValueError: if classes and images don't go together, a name to forget is not a class, or two names are
                the same.
        """
        names = self._all_names()
        split_names(names, self.forget)
        asked_names(names, self.forget, self.synonyms)
        return names

    @property
    def asked_names(self) -> tuple[str, ...]:
        """The classes, then the synonyms: what the black box is asked for."""
        return asked_names(self.all_names, self.forget, self.synonyms)

    def _all_names(self) -> tuple[str, ...]:
        if self.images is not None:
            if self.classes is not None or self.unlabelled:
                raise InputError(
                    "classes and unlabelled images are for a run by names; labelled images bring their own names"
                )
            return self.images.names
        if self.classes is None:
            raise InputError("expected labelled images, or the names of all classes (classes=) for a run by names only")
        if self.validation is not None:
            raise InputError(
                "a run by names only validates on stand-ins; give labelled images to use validation images"
            )
        return tuple(self.classes)


def _list_of_images(unlabelled: Any) -> list[Image.Image | Path]:
    """The unlabelled images as a list. Raises: InputError: if they are one image, one path or no list."""
    if not isinstance(unlabelled, str | bytes | Path | Image.Image):
        with suppress(TypeError):
            return list(unlabelled)
    raise InputError(
        f"unlabelled must be a list of images or their paths, got {brief(unlabelled)}; of a folder: "
        "sorted(Path(folder).glob('*.jpg'))"
    )


@dataclass(frozen=True)
class Settings:
    """Numbers of a request, checked; see `unlearn` for each."""

    max_queries: int
    shots: int
    patience: int | None
    n_ctx: int | None
    seed: int
    strength: float
    breadth: float

    @classmethod
    def check(
        cls, *, max_queries: Any, shots: Any, patience: Any, n_ctx: Any, seed: Any, strength: Any, breadth: Any
    ) -> Settings:
        """Checks every number.

        Raises:
            ValueError: if one is out of bounds; it is named.
        """
        return cls(
            max_queries=whole_number("max_queries", max_queries),
            shots=whole_number("shots", shots, most=MOST_SHOTS),
            patience=None if patience is None else whole_number("patience", patience, 0) or None,
            n_ctx=None if n_ctx is None else whole_number("n_ctx", n_ctx),
            seed=whole_number("seed", seed, 0, LARGEST_SEED),
            strength=share("strength", strength),
            breadth=share("breadth", breadth),
        )
