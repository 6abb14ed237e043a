"""Try: a base model, an adapter, an image; scores before and after, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr
from PIL import Image

from space.inputs.limits import plain_text
from space.services.adapter_store import OWN, AdapterStore
from space.services.classification import classify as score
from space.services.examples import example_images, suggest_labels
from space.ui.page import HEAVY, LAST, LIGHT, PRIVATE, checked, first_line, in_words, session_of
from space.views.adapter_facts import describe_adapter, describe_status
from space.views.comparison import LIMITS, Scores, render_comparison
from space.views.library import list_bases

AFTER, OFF = "With the adapter", "With the adapter (switched off)"
START = "Drop an image or pick a drawing to see scores."
PLAIN = "No adapter: the plain model"


@dataclass(frozen=True)
class TryTab:
    """The components that events read or write."""

    base: gr.Dropdown
    adapter: gr.Dropdown
    look: gr.Button
    upload: gr.File
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


def draw(store: AdapterStore) -> TryTab:
    with gr.Row(equal_height=True):
        base = gr.Dropdown(
            list_bases(store), value=next(iter(store.models.bases)), label="Base model, or any CLIP's id on the Hub",
            allow_custom_value=True, interactive=True, min_width=280,
        )  # fmt: skip
        adapter = gr.Dropdown(
            [(PLAIN, "")], value="", label="Adapter, or an adapter's id on the Hub", allow_custom_value=True,
            interactive=True, scale=2, min_width=280,
        )  # fmt: skip
        look = gr.Button("Ask the Hub", scale=0, min_width=140, interactive=False)  # until a link's base is filled in
    # what is classified with; a dropdown would tell API clients its choices at start as the only ones
    key = gr.Textbox(visible=False, label="Adapter: one that /adapters lists, user/name on the Hub, or none")
    with gr.Accordion("Bring an adapter of your own", open=False):
        upload = gr.File(label="An adapter as a zip, or its files", file_count="multiple", height=140)
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
            labels = gr.Textbox(
                label="Labels", lines=4, max_lines=6, info="One per line, or separated by commas or semicolons."
            )
            button = gr.Button("Compare", variant="primary")
        with gr.Column(scale=3):  # last: every score is a stop of the Tab key
            enabled = gr.Checkbox(True, label="Adapter in effect", info="Switch it off: both sides become equal.")
            with gr.Row():
                before = gr.Label(label="Plain model", elem_classes="scores")
                after = gr.Label(label=AFTER, elem_classes="scores")
            message = gr.Markdown(container=True, label="What this shows")
    gr.Markdown(LIMITS, elem_classes="note")
    return TryTab(
        base, adapter, look, upload, key, facts, checked(image), gallery, enabled, before, after, message, labels,
        button,
    )  # fmt: skip


def wire(store: AdapterStore, on: TryTab, arrived: gr.events.Dependency, chosen: gr.Textbox) -> None:
    """Args: arrived: the first event, which fills base and adapter; chosen: a key that another tab sends."""

    @in_words
    def classify(
        image: Image.Image | None, labels: str, adapter: str, model: str, enabled: bool
    ) -> tuple[Scores, Scores, str]:
        """Scores of an image by the plain model and with an adapter in effect, and in words what that means.

        Args:
            image: the picture.
            labels: one per line, or separated by commas or semicolons.
            adapter: one that /adapters lists, user/name on the Hub, what /forget made, or nothing: the plain model.
            model: the base model where no adapter says it: embedded, or a CLIP's id on the Hub.
            enabled: false leaves the adapter out.
        """
        return render_comparison(score(store, image, labels, adapter, model, enabled))

    @in_words
    def again(
        image: Image.Image | None, labels: str, adapter: str, model: str, enabled: bool
    ) -> tuple[Scores | None, Scores | None, str]:
        if image is not None:
            return render_comparison(score(store, image, labels, adapter, model, enabled))
        return None, None, describe_status(store.get(adapter), enabled, START) if adapter else START

    def find(base: str, current: str | None, request: gr.Request) -> gr.Dropdown:
        choices = choices_of(store, base, session_of(request))
        keys = [key for _, key in choices]
        return gr.Dropdown(choices, value=current if current in keys else keys[min(1, len(keys) - 1)])

    @in_words
    def look(base: str, current: str | None, request: gr.Request) -> gr.Dropdown:
        from hf_unlearn.hub.client import find as on_hub

        listed = [(f"{info.id} (on the Hub)", info.id) for info in on_hub(base)]
        gr.Info(f"The Hub lists {len(listed)} adapter{'s' * (len(listed) != 1)} for this base model.")
        return gr.Dropdown(choices_of(store, base, session_of(request)) + listed, value=current)

    def show(adapter: str | None, base: str, request: gr.Request) -> tuple[Any, ...]:
        saved = None
        try:
            saved = store.get(adapter) if adapter else None
        except (ValueError, OSError) as error:
            gr.Warning(plain_text(first_line(error)))
        drawn = example_images(saved)
        gallery = gr.Gallery(value=drawn or None, visible=bool(drawn), selected_index=None)
        facts = describe_adapter(saved) if saved else "No adapter is chosen: you see the plain model."
        base = base if saved is None else saved.config.base_model
        return (adapter if saved else ""), base, facts, suggest_labels(saved), gallery

    @in_words
    def upload(files: list[str] | None, request: gr.Request) -> tuple[gr.Dropdown, None]:
        if not files:
            return gr.Dropdown(), None
        return take(store.add_upload(files, session_of(request)), request), None

    @in_words
    def take(key: str, request: gr.Request) -> gr.Dropdown:
        base = store.get(key).config.base_model
        return gr.Dropdown(choices_of(store, base, session_of(request)), value=key)

    @in_words
    def pick(adapter: str, event: gr.SelectData) -> Image.Image:
        return example_images(store.get(adapter) if adapter else None)[event.index][0]

    def adapters() -> list[dict[str, Any]]:
        """The adapters that come with this Space: what /classify takes, and which names each forgets and keeps."""
        found, _ = store.list_saved()
        return [
            {"adapter": key, "model": x.config.base_model, "forget": x.config.forget, "retain": x.config.retain}
            for key, x in found.items()
        ]

    scored: dict[str, Any] = {
        "inputs": [on.image, on.labels, on.key, on.base, on.enabled],
        "outputs": [on.before, on.after, on.message],
    }
    gr.on([on.compare.click, on.image.upload], classify, **scored, api_name="classify", **HEAVY)
    on.enabled.input(again, **scored, **LAST, **HEAVY, **PRIVATE)
    on.image.clear(partial(again, None), scored["inputs"][1:], scored["outputs"], **LIGHT, **PRIVATE)
    on.enabled.change(lambda state: gr.Label(label=AFTER if state else OFF), on.enabled, on.after, **LIGHT, **PRIVATE)
    found = on.base.input(find, [on.base, on.adapter], on.adapter, **LIGHT, **PRIVATE)
    on.look.click(look, [on.base, on.adapter], on.adapter, **LIGHT, **PRIVATE)
    brought = on.upload.upload(upload, on.upload, [on.adapter, on.upload], **LIGHT, **PRIVATE)
    taken = chosen.change(take, chosen, on.adapter, **LIGHT, **PRIVATE)
    for event in (arrived.then, found.then, brought.then, taken.then, on.adapter.input):
        shown = event(
            show, [on.adapter, on.base], [on.key, on.base, on.facts, on.labels, on.gallery], **LIGHT, **PRIVATE
        )
        shown.then(again, **scored, **HEAVY, **PRIVATE)
    picked = on.gallery.select(pick, on.key, on.image, **LAST, **LIGHT, **PRIVATE)
    picked.then(again, **scored, **HEAVY, **PRIVATE)
    gr.api(adapters, api_name="adapters", concurrency_limit=4, concurrency_id="page")


def choices_of(store: AdapterStore, base: str, session: str) -> list[tuple[str, str]]:
    """Adapters of a base: the visitor's own first after the choice of none; then the library's."""
    own = {key: kept for key, kept in store.list_private(session).items() if kept.config.base_model == base}
    found, _ = store.list_saved(base)
    return [(PLAIN, ""), *((_label(key, adapter), key) for key, adapter in {**own, **found}.items())]


def _label(key: str, adapter: Any) -> str:
    forget, retain = adapter.config.forget, adapter.config.retain
    name = f"yours, {forget[0][:40]} …" if key.startswith(OWN) else key
    return f"{name}: forgets {len(forget)}" + (f" of {len(forget) + len(retain)}" if retain else "")
