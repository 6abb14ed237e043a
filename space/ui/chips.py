"""A list of names as chips: a component of the page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import gradio as gr

SCRIPT = (Path(__file__).parent / "chips.js").read_text(encoding="utf-8")


def draw_chips(
    names: Sequence[str],
    part: str,
    label: str,
    hint: str,
    presets: Mapping[str, Sequence[str]] | None = None,
    elem_id: str = "",
) -> gr.HTML:
    """A list of names that a visitor edits; its value is a list of text, its event is `input`.

    Visitors' names are never part of the template: Gradio evaluates templates as code. The script sets them as text.

    Args:
        names: the value at first.
        part: of a link, which carries the names.
        label: what the names are for.
        hint: shown in the empty box.
        presets: label of a button -> the names it sets.
    """
    buttons = "".join(
        f"<button type='button' data-names='{escape(json.dumps(list(own)))}'>{escape(title)}</button>"
        for title, own in (presets or {}).items()
    )
    return gr.HTML(
        list(names),
        html_template=(
            f"<div class='chips' role='group' data-part='{part}' aria-label='{escape(label)}'>"
            f"<span class='title'>{escape(label)}</span><ul></ul>"
            f"<input type='text' autocomplete='off' autocapitalize='none' spellcheck='false' "
            f"placeholder='{escape(hint)}' aria-label='{escape(label)}: {escape(hint)}'>"
            f"<span class='presets'><button type='button' class='undo' hidden>Undo</button>{buttons}</span></div>"
        ),
        js_on_load=SCRIPT,
        elem_id=elem_id or None,
        padding=False,
        apply_default_css=False,
    )
