"""Labels and drawings to try an adapter on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from PIL import Image

from space.inputs.limits import MAX_LABELS

if TYPE_CHECKING:
    from hf_unlearn import ForgetAdapter


def suggest_labels(adapter: ForgetAdapter | None) -> str:
    """The names that an adapter forgets and keeps, one per line, as many as can be scored; without one the demo's."""
    if adapter is None:
        return "\n".join(_demo_names())
    return "\n".join([*adapter.config.forget, *_kept_names(adapter)][:MAX_LABELS])


def example_images(adapter: ForgetAdapter | None, each: int = 6) -> list[tuple[Image.Image, str]]:
    """Test drawings of the demo with their names, for names that an adapter forgets and keeps; maybe none.

    Args:
        each: drawings of forgotten and of kept names, at most.
    """
    if adapter is None:
        names = _demo_names()
        return _test_drawings(names[:: max(1, len(names) // (2 * each))][: 2 * each])
    found = []
    for listed in (adapter.config.forget, _kept_names(adapter)):
        known = _demo_concepts(listed)
        found += _test_drawings(known[:: max(1, len(known) // each)][:each])
    return found


def _kept_names(adapter: ForgetAdapter) -> list[str]:
    """The names that it keeps; where it names none, some of the demo's."""
    forgotten = set(adapter.config.forget)
    return adapter.config.retain or [name for name in _demo_names() if name not in forgotten]


def _test_drawings(names: Sequence[str]) -> list[tuple[Image.Image, str]]:
    from hf_unlearn.demo import emoji_tasks as demo

    images = demo.plain(names, "test") if names else None
    return [
        (images[images.labels.index(label)], name)
        for label, name in enumerate(images.names if images else ())
        if images and label in images.labels
    ]


def _demo_concepts(names: Sequence[str]) -> list[str]:
    from hf_unlearn.demo import emoji_tasks as demo

    return [name for name in names if demo.ARCHIVE.is_file() and name in demo.concepts()]


@lru_cache(maxsize=1)
def _demo_names() -> list[str]:
    from hf_unlearn.demo import emoji_tasks as demo

    names = demo.tasks()["moderation"][0]["names"]
    return [name for number, name in enumerate(names) if number % 3 == 0]
