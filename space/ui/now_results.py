"""Below the first screen: take the edit along, and how sure its figures are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr

from hf_unlearn.errors import InputError
from space.services.certainty import measure
from space.services.downloads import Downloads
from space.services.instant_edit import InstantEdits
from space.services.recipe import Recipe
from space.ui.page import HEAVY, INSTANT, PRIVATE, in_words
from space.ui.push_panel import draw_push
from space.views.certainty import render_figures

if TYPE_CHECKING:
    from hf_unlearn import ForgetAdapter

NOTHING = "Write a word to forget first."


def draw_results(edits: InstantEdits, downloads: Downloads, recipe: list[Any], demo: gr.Blocks) -> None:
    """Draws and wires two panels.

    Args:
        recipe: the components that a recipe is parsed from.
    """
    with gr.Accordion("Get the model", open=False):
        with gr.Row():
            adapter = gr.Button("Adapter (zip, a few KB)")
            checkpoint = gr.Button("Stock checkpoint (zip, nothing of ours needed to load it)")
        file = gr.File(label="Download", visible=False)
        draw_push(recipe, lambda *values: _adapter(edits, values), demo)
    with gr.Accordion("How sure is this?", open=False) as sure:
        figures = gr.HTML("Measuring …", elem_classes="report")

    @in_words
    def save(*values: Any) -> gr.File:
        return gr.File(downloads.zip_adapter(_adapter(edits, values)), visible=True)

    @in_words
    def save_checkpoint(*values: Any) -> gr.File:
        return gr.File(downloads.zip_checkpoint(edits.store, _adapter(edits, values)), visible=True)

    @in_words
    def judge(*values: Any) -> str:
        recipe = Recipe.parse(*values)
        return render_figures(measure(edits, recipe), edits.store.list_saved(recipe.base)[0])

    adapter.click(save, recipe, file, **INSTANT, **PRIVATE)
    checkpoint.click(save_checkpoint, recipe, file, **HEAVY, **PRIVATE)
    sure.expand(judge, recipe, figures, **INSTANT, **PRIVATE)


def _adapter(edits: InstantEdits, values: tuple[Any, ...]) -> ForgetAdapter:
    if (found := edits.adapter(Recipe.parse(*values))) is None:
        raise InputError(NOTHING)
    return found
