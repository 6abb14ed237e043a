"""What can be done with an adapter just made: use it, download it, export it, push it."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from space.services.adapter_store import AdapterStore
from space.services.downloads import Downloads, file_name
from space.ui.page import HEAVY, LIGHT, PRIVATE, in_words
from space.ui.push_panel import draw_push

STAY = "() => history.replaceState(null, '', '?tab=forget')"  # where the log-in leads back to


@dataclass(frozen=True)
class Keeping:
    """Where a run puts what it made.

    Attributes:
        use: opens what was made in Try.
        panel: all of this, shown once there is something.
        zipped: the download.
    """

    use: gr.Button
    panel: gr.Column
    zipped: gr.DownloadButton


def draw(store: AdapterStore, downloads: Downloads, made: gr.BrowserState, demo: gr.Blocks) -> Keeping:
    """Draws and wires the panel.

    Args:
        made: the key of what was made.
    """
    with gr.Column(visible=False) as panel:
        with gr.Row():
            use = gr.Button("Use it in Try", variant="primary")
            zipped = gr.DownloadButton("Download the adapter (zip)")
            export = gr.Button("Export a checkpoint")
        exported = gr.File(label="A plain transformers checkpoint that forgets by itself", visible=False)
        name = draw_push([made], store.get, demo)

    @in_words
    def save(key: str) -> gr.File:
        return gr.File(value=downloads.zip_checkpoint(store, store.get(key)), visible=True)

    export.click(save, made, exported, **HEAVY, **PRIVATE)
    if name is not None:
        made.change(in_words(lambda key: file_name(store.get(key)) if key else ""), made, name, **LIGHT, **PRIVATE)
    return Keeping(use, panel, zipped)
