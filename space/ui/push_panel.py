"""Pushing an adapter to the visitor's account on the Hub."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gradio as gr

from space.services.hub_push import can_log_in, push_adapter
from space.ui.links import KEEP_LINK
from space.ui.page import HEAVY, LIGHT, PRIVATE, in_words

if TYPE_CHECKING:
    from hf_unlearn import ForgetAdapter

NO_LOGIN = "Logging in is not set up here. Download the zip, unpack it, then `hf-unlearn push FOLDER NAME`."


def draw_push(
    inputs: list[Any], adapter_of: Callable[..., ForgetAdapter], demo: gr.Blocks, opens: bool = True
) -> gr.Textbox | None:
    """Draws and wires the panel.

    Args:
        inputs: the components that `adapter_of` reads the adapter from.
        opens: whether the panel opens after a log-in, which loads the page again.

    Returns:
        The box with the repository's name; None where logging in is not set up.
    """
    with gr.Accordion("Push it to your account on the Hub", open=False) as panel:
        if not can_log_in():
            gr.Markdown(NO_LOGIN)
            return None
        gr.LoginButton().click(None, js=KEEP_LINK, **PRIVATE)
        name = gr.Textbox(label="Name of the new repository", placeholder="clip-without-beer", max_lines=1)
        private = gr.Checkbox(True, label="Private")
        button = gr.Button("Push")
        answer = gr.Markdown()

    @in_words
    def send(name: str, private: bool, token: gr.OAuthToken | None, *values: Any) -> str:
        return push_adapter(adapter_of(*values), name, private, token.token if token else None)

    def open_again(token: gr.OAuthToken | None) -> gr.Accordion:
        return gr.Accordion(open=token is not None)

    button.click(send, [name, private, *inputs], answer, **HEAVY, **PRIVATE)
    if opens:
        demo.load(open_again, None, panel, **LIGHT, **PRIVATE)
    return name
