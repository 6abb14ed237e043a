"""What a run learns from and is evaluated on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hf_unlearn.data.labeled_images import LabeledImages

NAMED = 10  # names that a note lists


@dataclass(frozen=True)
class TaskImages:
    """Images to learn from and to evaluate on; none of them where nothing shows the names.

    Attributes:
        names: all class names.
        train, validation: images to search and to select with. Without the former a search learns from the names.
        judged: images that no optimizer saw, or the validation images if there are no others.
        kind: "test" or "validation": which of them `judged` is.
        unlisted, unlisted_validation, synonyms: see `hf_unlearn.evaluate`; empty where they are unknown.
        note: sentences that a visitor should read: how an upload is used, which names nothing shows.
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


def list_names(names: Sequence[str]) -> str:
    """Names for a note, the first ten of them."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(f"“{name}”" for name in names[:NAMED]) + more
