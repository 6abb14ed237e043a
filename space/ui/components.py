"""Components of a part of the page by their names: what an event reads, and what it writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

import gradio as gr


class Components:
    """A dataclass whose fields are components."""

    def named(self, names: Iterable[str]) -> list[Any]:
        """The components with these names."""
        return [getattr(self, name) for name in names]

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The names of all components, in their order."""
        return tuple(field.name for field in fields(cls))  # type: ignore[arg-type]


def updates(found: Mapping[str, Any], names: Iterable[str]) -> list[Any]:
    """For every component named its new value, or nothing new."""
    return [found.get(name, gr.skip()) for name in names]
