"""Which tab a link opens: `?forget=…` the first screen, `?model=…&adapter=…` the tab that tries adapters.

A log-in or log-out loads the page again, and Gradio's button passes one value of the link through it. So the browser
keeps the link meanwhile, in this tab alone, and the page is left as `?login`.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from urllib.parse import parse_qsl

import gradio as gr

TABS = ("now", "forget", "library", "try", "about")
LONGEST, LONGEST_LINK = 10_000, 50_000  # characters of one value, and of all
KEEP_LINK = """() => {
  try {
    if (location.search !== '?login') sessionStorage.setItem('link', location.search);
    history.replaceState(null, '', location.pathname + '?login');
  } catch {}  // a browser without storage comes back to the page as it is for everybody
}"""
KEPT_LINK = """() => {
  try {
    if (!/^\\?login=?$/.test(location.search)) return [''];
    const link = sessionStorage.getItem('link') || '';
    history.replaceState(null, '', location.pathname + link);
    return [link];
  } catch { return ['']; }
}"""


def read_query(request: gr.Request, kept: str | None = None) -> dict[str, str]:
    """The values of a link, each cut to a bearable length.

    Args:
        kept: the link that the browser kept during a log-in, from `?` on; nothing at other times.
    """
    query = dict(parse_qsl(kept[1:LONGEST_LINK], keep_blank_values=True)) if kept else request.query_params
    return {key: str(value)[:LONGEST] for key, value in query.items()}


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
