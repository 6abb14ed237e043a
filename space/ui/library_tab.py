"""Library and About: cards of adapters, and what all this is."""

from __future__ import annotations

from html import escape

import gradio as gr

from space.services.adapter_store import AdapterStore
from space.ui.page import LIGHT, PRIVATE, in_words
from space.views import library as cards
from space.views.about import render_about


def draw(store: AdapterStore, demo: gr.Blocks) -> None:
    """Draws the tab Library."""
    gr.Markdown("## Adapters that come with this Space\nLook at what one forgets before you use it.")
    here = gr.HTML()
    demo.load(lambda: cards.render_library(store), None, here, **LIGHT, **PRIVATE)
    with gr.Row(equal_height=True):
        base = gr.Textbox(label="On the Hub, for the base model", info="Leave it empty for all.", max_lines=1)
        look = gr.Button("Look on the Hub", scale=0, min_width=180)
    there = gr.HTML()

    @in_words
    def of_hub(base: str) -> str:
        return cards.render_hub(store, base)

    look.click(of_hub, base, there, **LIGHT, **PRIVATE)
    base.submit(of_hub, base, there, **LIGHT, **PRIVATE)


def draw_about() -> None:
    """Draws the tab About."""
    gr.HTML(render_about(), elem_classes="about")
    gr.HTML(f"<p class='note'>{escape('API and MCP: see the link at the bottom of the page.')}</p>")
