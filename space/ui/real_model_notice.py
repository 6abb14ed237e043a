"""Above the first screen: whether a CLIP of photographs is on its way, and a button that shows it when it is ready."""

from __future__ import annotations

from typing import Any

import gradio as gr

from space.services.instant_edit import InstantEdits
from space.services.real_model import REAL_MODEL, RealModel, State
from space.services.recipe import Recipe
from space.ui.components import updates
from space.ui.forget_now_tab import ALL, FirstScreen, base_choices, show_after, show_recipe
from space.ui.page import INSTANT, LIGHT, PRIVATE
from space.views.library import list_bases

POLL_SECONDS = 5.0  # only while the model is on its way
EXAMPLE = Recipe(("cat",), base=REAL_MODEL)
WORDS = {
    State.ABSENT: "",
    State.COMING: "This page answers with a small CLIP trained on emoji. One trained on photographs is being fetched.",
    State.READY: "A CLIP trained on photographs is ready.",
}


class Notice:
    """The components: a sentence, a button, a clock that asks for news."""

    def __init__(self) -> None:
        with gr.Row(visible=False, elem_classes="banner", elem_id="real-model") as self.row:
            self.text = gr.HTML()
            self.button = gr.Button("Forget “cat” in photographs", size="sm", scale=0, min_width=240, visible=False)
        self.clock = gr.Timer(POLL_SECONDS, active=False)

    def wire(
        self, screen: FirstScreen, lists: list[gr.Dropdown], real: RealModel, edits: InstantEdits, demo: gr.Blocks
    ) -> None:
        """Reports the state when the page opens and while the model is on its way.

        Args:
            lists: the other tabs' lists of base models.
        """

        def report() -> list[Any]:
            state = real.state
            return [
                gr.Row(visible=state is not State.ABSENT),
                f"<p role='status'>{WORDS[state]}</p>",
                gr.Button(visible=state is State.READY),
                gr.Timer(active=state is State.COMING),
                gr.Dropdown(base_choices(edits)),
                *(gr.Dropdown(list_bases(edits.store)) for _ in lists),
            ]

        def use() -> list[Any]:
            return updates({**show_recipe(edits, EXAMPLE), "keep": [], "labels": []}, ALL)

        quiet: dict[str, Any] = {"show_progress": "hidden", **PRIVATE}
        shown = [self.row, self.text, self.button, self.clock, screen.base, *lists]
        gr.on([demo.load, self.clock.tick], report, None, shown, **{**LIGHT, **quiet})
        show_after(self.button.click(use, None, screen.named(ALL), **INSTANT, **quiet), screen)
