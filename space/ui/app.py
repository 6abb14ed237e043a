"""The page: tabs, deep links, and the remote black box; what it does is in the modules beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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
from space.services.memory import release_memory
from space.services.model_cache import ModelCache
from space.services.runs import Runs
from space.services.scoring_service import AT_ONCE, PICTURE_BYTES, ScoringService
from space.services.zero_gpu import register_gpu_function
from space.ui import forget_tab, library_tab, try_tab
from space.ui.page import CSS, LIGHT, PRIVATE, guard, in_words, session_of
from space.ui.presence import release_agents

SESSIONS = 256  # whose changes of the page are remembered, a third of a megabyte each
BODY, UPLOAD = AT_ONCE * PICTURE_BYTES * 4 // 3 + 2**20, 51 * 2**20  # bytes of a request, the largest that makes sense
TABS = ("try", "forget", "library", "about")


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
    runs = Runs(store)
    with gr.Blocks(title="hf_unlearn", analytics_enabled=False, delete_cache=(600, 3600)) as demo:
        gr.Markdown("# hf_unlearn\nMake a CLIP forget the categories you choose, its weights untouched.")
        made = gr.BrowserState("")  # of no tab: one that is not open yet would not have it when the page is loaded
        with gr.Tabs() as tabs:
            with gr.Tab("Try", id="try"):
                trying = try_tab.draw(store)
            with gr.Tab("Forget", id="forget"):
                chosen = forget_tab.draw(store, runs, Downloads(files), made, demo)
            with gr.Tab("Library", id="library"):
                library_tab.draw(store, demo)
            with gr.Tab("About", id="about"):
                library_tab.draw_about()

        def arrive(request: gr.Request) -> tuple[Any, ...]:
            """What a link asks for: `?model=…&adapter=…&tab=…`."""
            asked = {key: str(request.query_params.get(key, ""))[:200] for key in ("model", "adapter", "tab")}
            base = asked["model"] or next(iter(models.bases))
            choices = try_tab.choices_of(store, base, session_of(request))
            value = asked["adapter"] or choices[min(1, len(choices) - 1)][1]
            tab = asked["tab"] if asked["tab"] in TABS else "try"
            return gr.Tabs(selected=tab), base, gr.Dropdown(choices, value=value), gr.Button(interactive=True)

        arrived = demo.load(arrive, None, [tabs, trying.base, trying.adapter, trying.look], **LIGHT, **PRIVATE)
        try_tab.wire(store, trying, arrived, chosen)
        chosen.change(lambda: gr.Tabs(selected="try"), None, tabs, **LIGHT, **PRIVATE)

        _wire_score(ScoringService(models.bases, models.get, queries))
    guard(demo)
    return demo


def launch(demo: gr.Blocks, **options: Any) -> Any:
    """Serves the page; `options` are those of `gr.Blocks.launch`."""
    register_gpu_function()

    @asynccontextmanager
    async def served(_: Any) -> AsyncIterator[None]:
        release_agents(demo)
        sweeping = asyncio.create_task(_sweep(process_files()))
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
        "theme": theme, "css": CSS, "max_file_size": MAX_UPLOAD, "footer_links": ["api", "gradio", "settings"],
        "mcp_server": find_spec("mcp") is not None, "run_history": False,
        "state_session_capacity": SESSIONS,
        "app_kwargs": {"lifespan": served, "middleware": [Middleware(RequestLimits, process_files(), UPLOAD, BODY)]},
    }  # fmt: skip
    return demo.queue(max_size=64).launch(**{**settings, **options})


async def _sweep(files: TransientFiles) -> None:
    while True:
        await asyncio.sleep(SWEPT_EVERY)
        await run_sync(files.sweep)
        await run_sync(release_memory)


def _wire_score(scoring: ScoringService) -> None:
    """The remote black box, for `hf_unlearn.SpaceBlackBox`; of no use in a browser."""

    @in_words
    def describe(base: str, template: str, request: gr.Request) -> dict[str, Any]:
        """A base model as a black box: width, token statistics, fingerprint, bounds, queries left."""
        return scoring.describe(base, template, session_of(request))

    @in_words
    def images(base: str, handle: str, pictures: list[str], request: gr.Request) -> dict[str, Any]:
        """Encodes images (PNG in base64) once; the handle returned stands for them in this session."""
        return scoring.add_images(base, handle, pictures, session_of(request))

    @in_words
    def score(
        base: str, template: str, handle: str, names: list[str], contexts: str, shape: list[int], request: gr.Request
    ) -> dict[str, Any]:
        """Log-scores (float32 in base64) of the handle's images under contexts, candidates × tokens × width."""
        return scoring.score(base, template, handle, names, contexts, shape, session_of(request))

    for function in (describe, images, score):
        gr.api(function, api_name=function.__name__, concurrency_limit=2, concurrency_id="model")
