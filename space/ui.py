"""What the Space looks like. Gradio only: everything it does is in `handlers`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, wraps
from html import escape
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import gradio as gr
from PIL import Image

from space import handlers
from space.handlers import Scores, Shelf
from space.score import Desk

AFTER, OFF = "With the adapter", "With the adapter (switched off)"
NONE_SAVED = (
    "**No adapter is saved yet.** Run `make demo` in the repository: it trains one and saves it in "
    "`runs/demo/adapter`. Then press *Refresh*."
)
CHOOSE, START = "**Choose an adapter.**", "Drop an image or pick a drawing to see scores."
P = ParamSpec("P")
R = TypeVar("R")

CSS = """
.scores {max-height: 24rem; overflow-y: auto !important}
.scores h2 {font-size: var(--text-xl)}
.picture img {width: 100%; height: 100%; object-fit: contain}
.drawings .grid-wrap {padding-top: var(--size-7); min-height: 0; max-height: none}
.drawings .grid-container {grid-template-columns: repeat(4, minmax(0, 1fr)) !important}
@media (max-width: 480px) {.drawings .grid-container {grid-template-columns: repeat(3, minmax(0, 1fr)) !important}}
.drawings .caption-label {font-size: var(--text-xs)}
"""


def build(root: Path, bases: dict[str, str] | None = None, queries: int = 100_000) -> gr.Blocks:
    """The Space's page.

    Args:
        root: folder that holds `runs` and `space/adapters`, where saved adapters are looked for.
        bases: base models on offer, as adapters name them -> Hub id or folder; the embedded one if not given.
        queries: how many candidates the remote black box scores in one session.
    """
    shelf = Shelf(root, bases) if bases else Shelf(root)
    with gr.Blocks(title="hf_unlearn", analytics_enabled=False, delete_cache=(600, 3600)) as demo:
        gr.Markdown(
            "# hf_unlearn\nMake a CLIP forget the categories you choose, its weights untouched. "
            "Pick an adapter, drop an image, and compare."
        )
        with gr.Tab("Try"):
            _wire_try(demo, shelf, _draw_try(shelf))
        _wire_score(Desk(shelf.bases, handlers.model, queries))
    return demo


def launch(demo: gr.Blocks, **options: Any) -> Any:
    """Serves the page; `options` are those of `gr.Blocks.launch`."""
    theme = gr.themes.Default(
        primary_hue="indigo", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
    ).set(block_info_text_color="*neutral_500", body_text_color_subdued="*neutral_500")
    settings = {"theme": theme, "css": CSS, "max_file_size": "20mb", "footer_links": ["api", "gradio", "settings"]}
    return demo.queue(max_size=32).launch(**{**settings, "run_history": False, **options})


@dataclass(frozen=True)
class _Parts:
    """The components of the Try page that events read or write."""

    model: gr.Dropdown
    adapter: gr.Dropdown
    refresh: gr.Button
    key: gr.Textbox
    facts: gr.Markdown
    image: gr.Image
    gallery: gr.Gallery
    enabled: gr.Checkbox
    before: gr.Label
    after: gr.Label
    message: gr.Markdown
    labels: gr.Textbox
    compare: gr.Button


def _draw_try(shelf: Shelf) -> _Parts:
    with gr.Row(equal_height=True):
        bases = [(_base_label(base), base) for base in shelf.bases]
        model = gr.Dropdown(bases, label="Base model", interactive=True, min_width=280)
        adapter = gr.Dropdown([], label="Saved adapter", interactive=True, scale=2, min_width=280)
        refresh = gr.Button("Refresh", scale=0, min_width=120)
    # what is classified with; a dropdown would tell API clients its choices at start as the only ones
    key = gr.Textbox(visible=False, label="Saved adapter, one that /adapters lists")
    with gr.Accordion("What this adapter forgets and keeps", open=False):
        facts = gr.Markdown()
    with gr.Row():
        with gr.Column(scale=2):
            image = gr.Image(
                type="pil", label="Image", sources=["upload", "clipboard", "webcam"], height=260, buttons=[],
                elem_classes="picture",
            )  # fmt: skip
            gallery = gr.Gallery(
                label="Or pick a test drawing", columns=4, height="auto", object_fit="contain", visible=False,
                allow_preview=False, interactive=False, buttons=[], elem_classes="drawings",
            )  # fmt: skip
        with gr.Column(scale=3):
            enabled = gr.Checkbox(True, label="Adapter in effect", info="Switch it off: both sides become equal.")
            with gr.Row():
                before = gr.Label(label="Plain model", elem_classes="scores")
                after = gr.Label(label=AFTER, elem_classes="scores")
            message = gr.Markdown(container=True, label="What this shows")
            labels = gr.Textbox(
                label="Labels", lines=4, max_lines=6, info="One per line, or on a single line separated by commas."
            )
            compare = gr.Button("Compare", variant="primary")
    with gr.Accordion("How it works and limits", open=False):
        gr.Markdown(handlers.about())
    return _Parts(
        model, adapter, refresh, key, facts, _checked(image), gallery, enabled, before, after, message, labels, compare
    )


def _wire_try(demo: gr.Blocks, shelf: Shelf, on: _Parts) -> None:
    @_in_words
    def classify(
        image: Image.Image | None, adapter: str | None, labels: str, enabled: bool
    ) -> tuple[Scores, Scores, str]:
        """Scores of an image by the plain model and with an adapter in effect, and in words what that means.

        Labels come one per line, or on a single line separated by commas; enabled false leaves the adapter out.
        """
        return shelf.classify(image, adapter, labels, enabled)

    @_in_words
    def again(
        image: Image.Image | None, adapter: str | None, labels: str, enabled: bool
    ) -> tuple[Scores | None, Scores | None, str]:
        if not adapter:
            return None, None, CHOOSE if shelf.adapters()[0] else NONE_SAVED
        if image is None:
            return None, None, handlers.status(shelf.adapter(adapter), enabled, START)
        return shelf.classify(image, adapter, labels, enabled)

    def find(base: str, current: str | None) -> gr.Dropdown:
        found, left_out = shelf.adapters(base)
        for line in left_out:
            gr.Info(line, title="Left out")
        choices = [(_label(key, saved), key) for key, saved in found.items()]
        return gr.Dropdown(choices, value=current if current in found else next(iter(found), None))

    def show(adapter: str | None) -> tuple[str, str, str, gr.Gallery]:
        try:
            saved = shelf.adapter(adapter) if adapter else None
        except ValueError as error:  # damaged since it was listed
            gr.Warning(escape(str(error), quote=False))
            saved = None
        if saved is None:
            return "", "", "", gr.Gallery(value=None, visible=False)
        drawn = handlers.drawings(saved)
        gallery = gr.Gallery(value=drawn or None, visible=bool(drawn), selected_index=None)
        return str(adapter), handlers.describe(saved), handlers.labels_of(saved), gallery

    @_in_words
    def pick(adapter: str, event: gr.SelectData) -> Image.Image:
        return handlers.drawings(shelf.adapter(adapter))[event.index][0]

    def adapters() -> list[dict[str, Any]]:
        """The saved adapters: what /classify takes as adapter, and which names each forgets and keeps."""
        found, _ = shelf.adapters()
        return [{"adapter": key, "forget": x.config.forget, "retain": x.config.retain} for key, x in found.items()]

    heavy: dict[str, Any] = {"concurrency_limit": 2, "concurrency_id": "model"}
    light: dict[str, Any] = {"concurrency_limit": 4, "concurrency_id": "page", "show_progress": "minimal"}
    private: dict[str, Any] = {"api_visibility": "private"}
    last: dict[str, Any] = {"trigger_mode": "always_last"}
    scored: dict[str, Any] = {
        "inputs": [on.image, on.key, on.labels, on.enabled],
        "outputs": [on.before, on.after, on.message],
    }
    gr.on([on.compare.click, on.image.upload], classify, **scored, api_name="classify", **heavy)
    on.enabled.input(again, **scored, **last, **heavy, **private)
    on.image.clear(partial(again, None), scored["inputs"][1:], scored["outputs"], **light, **private)
    on.enabled.change(lambda state: gr.Label(label=AFTER if state else OFF), on.enabled, on.after, **light, **private)
    listed = gr.on(
        [demo.load, on.refresh.click, on.model.input], find, [on.model, on.adapter], on.adapter, **light, **private
    )
    for chosen in (listed.then, on.adapter.input):
        shown = chosen(show, on.adapter, [on.key, on.facts, on.labels, on.gallery], **light, **private)
        shown.then(again, **scored, **heavy, **private)
    picked = on.gallery.select(pick, on.key, on.image, **last, **light, **private)
    picked.then(again, **scored, **heavy, **private)
    gr.api(adapters, api_name="adapters", concurrency_limit=4, concurrency_id="page")


def _wire_score(desk: Desk) -> None:
    """The remote black box, for `hf_unlearn.SpaceBlackBox`; of no use in a browser."""

    @_in_words
    def describe(base: str, template: str, request: gr.Request) -> dict[str, Any]:
        """A base model as a black box: width, token statistics, fingerprint, bounds, queries left."""
        return desk.describe(base, template, str(request.session_hash))

    @_in_words
    def images(base: str, handle: str, pictures: list[str], request: gr.Request) -> dict[str, Any]:
        """Encodes images (PNG in base64) once; the handle returned stands for them in this session."""
        return desk.add_images(base, handle, pictures, str(request.session_hash))

    @_in_words
    def score(
        base: str, template: str, handle: str, names: list[str], contexts: str, shape: list[int], request: gr.Request
    ) -> dict[str, Any]:
        """Log-scores (float32 in base64) of the handle's images under contexts, candidates × tokens × width."""
        return desk.score(base, template, handle, names, contexts, shape, str(request.session_hash))

    for function in (describe, images, score):
        gr.api(function, api_name=function.__name__, concurrency_limit=2, concurrency_id="model")


def _checked(image: gr.Image) -> gr.Image:
    """An image input that looks at format and size before any pixel is decoded, and says in words what is wrong.

    (Of this instance only: Gradio writes a stub file beside the source of every subclass of a component.)
    """

    def preprocess(payload: Any) -> Image.Image | None:
        if payload is None:
            return None
        if not payload.path:
            raise gr.Error("Send the image as a file.", print_exception=False)
        return _in_words(handlers.open_image)(payload.path)

    image.preprocess = preprocess  # type: ignore[method-assign]
    return image


def _in_words(function: Callable[P, R]) -> Callable[P, R]:
    """What a handler refuses becomes one sentence on the page, markup in it made harmless."""

    @wraps(function)
    def told(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except (ValueError, OSError) as error:
            first = (str(error).splitlines() or ["something went wrong"])[0]
            raise gr.Error(escape(first, quote=False), print_exception=False) from error

    return told


def _label(key: str, adapter: Any) -> str:
    forget, retain = adapter.config.forget, adapter.config.retain
    return f"{key}: forgets {len(forget)} of {len(forget) + len(retain)}"


def _base_label(base: str) -> str:
    return "embedded: a small CLIP trained on emoji" if base == handlers.EMBEDDED else base
