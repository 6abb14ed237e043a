"""Below the first screen: take the edit along, and how sure its figures are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr

from hf_unlearn.errors import HfUnlearnError, InputError
from space.error_words import first_line
from space.inputs.limits import one_line
from space.services.certainty import measure
from space.services.downloads import Downloads
from space.services.instant_edit import InstantEdits
from space.services.recipe import Recipe
from space.ui.forget_now_tab import RECIPE, FirstScreen
from space.ui.page import HEAVY, INSTANT, LAST, PRIVATE, in_words
from space.ui.push_panel import draw_push
from space.views.certainty import render_figures
from space.views.first_screen import render_error

if TYPE_CHECKING:
    from hf_unlearn import ForgetAdapter

NEW_EDIT = "document.addEventListener('new-edit', () => element.offsetParent && trigger('select'))"  # if it is open
NOTHING = "Write a word to forget first."


def draw_results(edits: InstantEdits, downloads: Downloads, screen: FirstScreen, demo: gr.Blocks) -> None:
    """Draws and wires two panels, beside the other actions of the screen."""
    recipe = screen.named(RECIPE)
    with screen.actions, gr.Accordion("Get the model", open=False):
        with gr.Row():
            adapter = gr.Button("Adapter (zip, a few KB)")
            checkpoint = gr.Button("Stock checkpoint (zip, nothing of ours needed to load it)")
        file = gr.File(label="Download", visible=False)
        draw_push(recipe, lambda *values: _adapter(edits, values), demo)
    with screen.actions, gr.Accordion("How sure is this?", open=False) as sure:
        figures = gr.HTML("Measuring …", elem_classes="report", js_on_load=NEW_EDIT)

    @in_words
    def save(*values: Any) -> gr.File:
        return _offer(adapter := _adapter(edits, values), downloads.zip_adapter(adapter))

    @in_words
    def save_checkpoint(*values: Any) -> gr.File:
        return _offer(adapter := _adapter(edits, values), downloads.zip_checkpoint(edits.store, adapter))

    def judge(*values: Any) -> str:
        try:
            recipe = Recipe.parse(*values)
            return render_figures(measure(edits, recipe), edits.store.list_saved(recipe.base)[0])
        except HfUnlearnError as error:  # a failed event would lose the one that waits behind it
            return render_error(first_line(error))

    adapter.click(save, recipe, file, **INSTANT, **PRIVATE)
    checkpoint.click(save_checkpoint, recipe, file, **HEAVY, **PRIVATE)
    gr.on([sure.expand, figures.select], judge, recipe, figures, **LAST, **INSTANT, **PRIVATE)
    screen.acts.clear(None, None, file, js="() => ({__type__: 'update', visible: false})", **PRIVATE)


def _offer(adapter: ForgetAdapter, path: str) -> gr.File:
    """A file with what it forgets: the words on the page may be others by then."""
    return gr.File(path, label=f"Forgets {one_line(', '.join(adapter.config.forget))[:200]}", visible=True)


def _adapter(edits: InstantEdits, values: tuple[Any, ...]) -> ForgetAdapter:
    if (found := edits.adapter(Recipe.parse(*values))) is None:
        raise InputError(NOTHING)
    return found
