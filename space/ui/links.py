"""Which tab a link opens: `?forget=…` the first screen, `?model=…&adapter=…` the tab that tries adapters."""

from __future__ import annotations

from collections.abc import Container, Mapping

import gradio as gr

TABS = ("now", "forget", "library", "try", "about")
LONGEST = 10_000  # characters of one value


def read_query(request: gr.Request) -> dict[str, str]:
    """The values of a link, each cut to a bearable length."""
    return {key: str(value)[:LONGEST] for key, value in request.query_params.items()}


def choose_tab(query: Mapping[str, str], bases: Container[str]) -> str:
    """The tab that a link asks for, or the one that can show what it asks for.

    Args:
        bases: the models that the first screen offers.
    """
    if query.get("tab") in TABS:
        return str(query["tab"])
    model = query.get("model")
    elsewhere = bool(model) and model not in bases and "forget" not in query
    return "try" if query.get("adapter") or elsewhere else TABS[0]
