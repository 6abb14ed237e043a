"""What can be done with an adapter just made: use it, download it, export it, push it; also after a log-in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from hf_unlearn.errors import HfUnlearnError
from space.services.adapter_store import AdapterStore
from space.services.downloads import Downloads, file_name
from space.services.run_progress import RunResult
from space.ui.page import HEAVY, LIGHT, PRIVATE, in_words, session_of
from space.ui.push_panel import draw_push
from space.views.run_summary import render_summary

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


def draw(store: AdapterStore, downloads: Downloads, shown: gr.HTML, made: gr.BrowserState, demo: gr.Blocks) -> Keeping:
    """Draws and wires the panel.

    Args:
        shown: where the summary of the run is.
        made: the key of what was made; the browser keeps it, since a log-in loads the page again.
    """
    with gr.Column(visible=False) as panel:
        with gr.Row():
            use = gr.Button("Use it in Try", variant="primary")
            zipped = gr.DownloadButton("Download the adapter (zip)")
            export = gr.Button("Export a checkpoint")
        exported = gr.File(label="A plain transformers checkpoint that forgets by itself", visible=False)
        name = draw_push([made], store.get, demo)

    def resume(key: str, request: gr.Request) -> tuple[Any, ...]:
        try:
            adapter = store.reclaim(str(key), session_of(request))
        except HfUnlearnError:  # none was made, or it is no longer here
            return "", gr.skip(), gr.skip(), gr.skip()
        again = RunResult(adapter, key, "made before this page was loaded", ())
        zipped = gr.DownloadButton(value=downloads.zip_adapter(adapter))
        return key, render_summary(again), gr.Column(visible=True), zipped

    @in_words
    def save(key: str) -> gr.File:
        return gr.File(value=downloads.zip_checkpoint(store, store.get(key)), visible=True)

    demo.load(resume, made, [made, shown, panel, zipped], **LIGHT, **PRIVATE)
    export.click(save, made, exported, **HEAVY, **PRIVATE)
    if name is not None:
        made.change(in_words(lambda key: file_name(store.get(key)) if key else ""), made, name, **LIGHT, **PRIVATE)
    return Keeping(use, panel, zipped)
