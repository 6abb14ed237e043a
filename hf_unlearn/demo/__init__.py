"""The demo: drawn emoji, their tasks, and the walkthrough of `hf-unlearn demo`. All of it works offline."""

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    """`demo.task`, `demo.concepts` … are those of `emoji_tasks`, imported when first used."""
    if name.startswith("__"):
        raise AttributeError(f"module 'hf_unlearn.demo' has no attribute {name!r}")
    return getattr(import_module("hf_unlearn.demo.emoji_tasks"), name)
