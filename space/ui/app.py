"""The page: tabs, deep links, and the remote black box; what it does is in the modules beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gradio as gr
from anyio.to_thread import run_sync
from starlette.middleware import Middleware

from space.inputs.limits import MAX_UPLOAD
from space.inputs.request_limits import RequestLimits
from space.inputs.transient_files import SWEPT_EVERY, TransientFiles, process_files
from space.services.adapter_store import AdapterStore
from space.services.downloads import Downloads
from space.services.gpu_runs import GpuRuns
from space.services.instant_edit import InstantEdits
from space.services.memory import release_memory
from space.services.model_cache import ModelCache
from space.services.real_model import RealModel
from space.services.scoring_service import AT_ONCE, PICTURE_BYTES, ScoringService
from space.ui import adapter_files, forget_now_tab, forget_tab, library_tab, picture_files, try_tab
from space.ui.endpoints import answer_agents_in_json, offer_endpoints
from space.ui.links import KEPT_LINK, TABS, choose_tab, read_query
from space.ui.now_results import draw_results
from space.ui.page import CSS, HEAD, LIGHT, PRIVATE, guard, session_of
from space.ui.presence import release_agents
from space.ui.queue_bounds import bound_call_log, forget_sessions
from space.ui.real_model_notice import Notice
from space.ui.remote_box import offer_remote_box

SESSIONS = 256  # whose changes of the page are remembered, a third of a megabyte each
BODY, UPLOAD = AT_ONCE * PICTURE_BYTES * 4 // 3 + 2**20, 51 * 2**20  # bytes of a request, the largest that makes sense


def build(root: Path, bases: dict[str, str] | None = None, queries: int = 100_000) -> gr.Blocks:
    """The Space's page.

    Args:
        root: folder that holds `runs` and `space/adapters`, where saved adapters are looked for.
        bases: base models that the operator offers, as adapters name them -> Hub id or folder; the embedded one if
            not given.
        queries: how many candidates the remote black box scores in one session.
    """
    files = process_files()  # before any component asks where its files go
    models = ModelCache(bases)
    store = AdapterStore(root, models)
    runs = GpuRuns(store)
    edits, downloads = InstantEdits(store), Downloads(files)
    real = RealModel(models)
    with gr.Blocks(
        title="hf_unlearn: make a model forget a word", analytics_enabled=False, delete_cache=(600, 3600)
    ) as demo:
        gr.Markdown("# Make a model forget a word")
        made = gr.BrowserState("")  # of no tab: one that is not open yet would not have it when the page is loaded
        with gr.Tabs(selected=TABS[0]) as tabs:
            with gr.Tab("Forget now", id="now", elem_id="tab-now"):
                notice = Notice()
                screen = forget_now_tab.draw(edits)
                draw_results(edits, downloads, screen, demo)
            with gr.Tab("Scores only", id="forget", elem_id="tab-forget"):
                forgetting = forget_tab.draw(store, runs, downloads, made, demo)
            with gr.Tab("Library", id="library", elem_id="tab-library"):
                library_tab.draw(store, demo)
            with gr.Tab("Try an adapter", id="try", elem_id="tab-try"):
                trying = try_tab.draw(store)
            with gr.Tab("About", id="about", elem_id="tab-about"):
                library_tab.draw_about()
        forget_now_tab.wire(screen, edits)
        notice.wire(screen, [forgetting.base, trying.base], real, edits, demo)

        kept = gr.Textbox("", visible=False)

        def arrive(link: str | None, request: gr.Request) -> list[Any]:
            """What a link asks for: `?forget=…`, or `?model=…&adapter=…&tab=…`; after a log-in the one before it."""
            query = read_query(request, link)
            tab = choose_tab(query, models.bases)
            of_try = try_tab.open_link(store, query, session_of(request))
            words = query if tab == TABS[0] or "forget" in query else {}
            return [gr.Tabs(selected=tab), *of_try, *forget_now_tab.open_link(edits, words)]

        filled = [tabs, trying.base, trying.adapter, trying.look, *screen.named(forget_now_tab.ALL)]
        arrived = demo.load(arrive, kept, filled, js=KEPT_LINK, **{**LIGHT, "show_progress": "hidden"}, **PRIVATE)
        forget_now_tab.show_after(arrived, screen)
        arrived.failure(None, js="firstScreen.arrive", **PRIVATE)
        for tab in tabs.children:
            tab.select(None, js=f"() => firstScreen.open('{tab.id}')", **PRIVATE)
        try_tab.wire(store, trying, arrived, forgetting.use, made)
        forgetting.use.click(lambda: gr.Tabs(selected="try"), None, tabs, **LIGHT, **PRIVATE)

        wake = gr.Button(visible="hidden", elem_id="wake")  # see answers.js
        wake.click(lambda: None, None, None, **{**LIGHT, "show_progress": "hidden"}, **PRIVATE)
        offer_endpoints(store, runs, edits, downloads)
        offer_remote_box(ScoringService(lambda: models.bases, models.get, queries))
    guard(demo)
    demo.files = [picture_files.ROUTE, adapter_files.route(store)]
    demo.fill = partial(forget_now_tab.fill, screen, edits)  # before the page is served
    demo.fetch = partial(real.start, edits.scores_of) if bases is None else lambda: None  # else as the operator says
    return demo


def launch(demo: gr.Blocks, **options: Any) -> Any:
    """Serves the page; `options` are those of `gr.Blocks.launch`."""
    demo.fill()  # type: ignore[attr-defined]  # the example is part of the page that is painted first
    demo.fetch()  # type: ignore[attr-defined]  # in the background
    bound_call_log()

    @asynccontextmanager
    async def served(_: Any) -> AsyncIterator[None]:
        release_agents(demo)
        answer_agents_in_json(demo)
        sweeping = asyncio.create_task(_sweep(demo, process_files()))
        yield
        sweeping.cancel()

    theme = gr.themes.Default(
        primary_hue="indigo", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
    ).set(
        block_info_text_color="*neutral_500",
        body_text_color_subdued="*neutral_500",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
    )
    settings = {
        "theme": theme, "css": CSS, "head": HEAD, "max_file_size": MAX_UPLOAD,
        "footer_links": ["api", "gradio", "settings"],
        "mcp_server": find_spec("mcp") is not None, "run_history": False,
        "state_session_capacity": SESSIONS,
        "app_kwargs": {
            "lifespan": served, "routes": demo.files,  # type: ignore[attr-defined]
            "middleware": [Middleware(RequestLimits, process_files(), UPLOAD, BODY)],
        },
    }  # fmt: skip
    return demo.queue(max_size=64).launch(**{**settings, **options})


async def _sweep(demo: gr.Blocks, files: TransientFiles) -> None:
    while True:
        await asyncio.sleep(SWEPT_EVERY)
        forget_sessions(demo)
        await run_sync(files.sweep)
        await run_sync(release_memory)
