"""Try: a base model, an adapter, an image; scores before and after, side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr
from PIL import Image

from hf_unlearn.errors import HfUnlearnError
from space.error_words import first_line
from space.inputs.limits import plain_text
from space.services.adapter_store import OWN, AdapterStore
from space.services.classification import classify as score
from space.services.examples import example_images, suggest_labels
from space.services.pictures import find_picture, pictures_named
from space.ui.page import ACTS, BARE, HEAVY, LAST, LIGHT, PRIVATE, CheckedImage, in_words, session_of
from space.views.adapter_facts import describe_adapter, describe_status
from space.views.comparison import LIMITS, render_comparison
from space.views.first_screen import render_thumbnails
from space.views.library import list_bases
from space.views.score_bars import render_scores

REFUSED = "This could not be scored; the notice says why."
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
    problem: gr.HTML
    facts: gr.Markdown
    image: gr.Image
    pictures: gr.HTML
    enabled: gr.Checkbox
    scores: gr.HTML
    message: gr.Markdown
    labels: gr.Textbox
    suggested: gr.Textbox
    compare: gr.Button


def draw(store: AdapterStore) -> TryTab:
    """Draws the tab; `wire` wires it."""
    with gr.Row(equal_height=True):
        base = gr.Dropdown(
            list_bases(store), value=next(iter(store.models.bases)), label="Base model, or any CLIP's id on the Hub",
            allow_custom_value=True, interactive=True, scale=2, min_width=280,
        )  # fmt: skip
        adapter = gr.Dropdown(
            [(PLAIN, "")], value="", label="Adapter, or an adapter's id on the Hub", allow_custom_value=True,
            interactive=True, scale=2, min_width=280,
        )  # fmt: skip
        look = gr.Button("Ask the Hub", scale=0, min_width=140, interactive=False)  # until a link's base is filled in
    key, suggested = gr.Textbox(visible=False), gr.Textbox(visible=False)
    problem = gr.HTML(visible=False, **BARE)
    with gr.Accordion("Bring an adapter of your own", open=False):
        upload = gr.File(label="An adapter as a zip, or its files", file_count="multiple", height=140)
    with gr.Accordion("What this adapter forgets and keeps", open=False):
        facts = gr.Markdown()
    with gr.Row():
        with gr.Column(scale=2):
            image = CheckedImage(
                type="pil", label="Image", sources=["upload", "clipboard", "webcam"], format="png", height=260,
                buttons=[], elem_classes="picture",
            )  # fmt: skip
        with gr.Column(scale=3):
            enabled = gr.Checkbox(True, label="Adapter in effect", info="Switch it off: both sides become equal.")
            scores = gr.HTML(elem_id="scores", **BARE)
            message = gr.Markdown(container=True, label="What this shows", elem_classes="live")
    pictures = gr.HTML(js_on_load=ACTS, elem_classes="drawings", **BARE)
    labels = gr.Textbox(
        label="Labels", lines=4, max_lines=6, info="One per line, or separated by commas or semicolons."
    )
    button = gr.Button("Compare", variant="primary")
    gr.Markdown(LIMITS, elem_classes="note")
    return TryTab(
        base, adapter, look, upload, key, problem, facts, image, pictures, enabled, scores, message, labels,
        suggested, button,
    )  # fmt: skip


def wire(store: AdapterStore, on: TryTab, arrived: gr.events.Dependency, use: gr.Button, made: gr.BrowserState) -> None:
    """Wires the tab.

    Args:
        arrived: the first event, which fills base and adapter.
        use: a button of another tab that opens here the adapter whose key is in `made`.
    """

    @in_words
    def compare(image: Image.Image | None, labels: str, adapter: str, model: str, enabled: bool) -> tuple[str, str]:
        before, after, words = render_comparison(score(store, image, labels, adapter, model, enabled))
        return render_scores(before, after, enabled), words

    @in_words
    def again(image: Image.Image | None, labels: str, adapter: str, model: str, enabled: bool) -> tuple[str, str]:
        if image is not None:
            return compare(image, labels, adapter, model, enabled)
        return "", describe_status(store.get(adapter), enabled, START) if adapter else START

    @in_words
    def look(base: str, current: str | None, request: gr.Request) -> gr.Dropdown:
        from hf_unlearn.hub.client import find as on_hub

        listed = [(f"{info.id} (on the Hub)", info.id) for info in on_hub(base)]
        gr.Info(f"The Hub lists {len(listed)} adapter{'s' * (len(listed) != 1)} for this base model.")
        return gr.Dropdown(choices_of(store, base, session_of(request)) + listed, value=current)

    def pick(event: gr.EventData) -> Image.Image:
        return find_picture(str(event.name)).load()

    scored: dict[str, Any] = {
        "inputs": [on.image, on.labels, on.key, on.base, on.enabled], "outputs": [on.scores, on.message],
    }  # fmt: skip
    refused: dict[str, Any] = {"fn": lambda: ("", REFUSED), "outputs": scored["outputs"], **PRIVATE}

    def score_again(event: gr.events.Dependency) -> None:
        event.success(again, **scored, **HEAVY, **PRIVATE).failure(**refused)

    _wire_choice(store, on, arrived, use, made, score_again)
    gr.on([on.compare.click, on.image.upload], compare, **scored, **HEAVY, **PRIVATE).failure(**refused)
    on.enabled.input(again, **scored, **LAST, **HEAVY, **PRIVATE).failure(**refused)
    on.image.clear(partial(again, None), scored["inputs"][1:], scored["outputs"], **LIGHT, **PRIVATE)
    on.look.click(look, [on.base, on.adapter], on.adapter, **LIGHT, **PRIVATE)
    picked = on.pictures.select(in_words(pick), None, on.image, **LAST, **LIGHT, **PRIVATE)
    score_again(picked)


def _wire_choice(
    store: AdapterStore,
    on: TryTab,
    arrived: gr.events.Dependency,
    use: gr.Button,
    made: gr.BrowserState,
    then: Callable[[gr.events.Dependency], None],
) -> None:
    """Whatever chooses an adapter shows what it forgets, and `then` scores again."""

    def find(base: str, current: str | None, request: gr.Request) -> gr.Dropdown:
        choices = choices_of(store, base, session_of(request))
        keys = [key for _, key in choices]
        return gr.Dropdown(choices, value=current if current in keys else keys[min(1, len(keys) - 1)])

    def show(adapter: str | None, base: str, labels: str | None, suggested: str | None) -> tuple[Any, ...]:
        saved, problem = None, "" if adapter else _explain_base(store, str(base or ""))
        try:
            saved = store.get(adapter) if adapter else None
        except HfUnlearnError as error:
            problem = f"<p class='panel' role='alert'>{plain_text(first_line(error))} You see the plain model.</p>"
        fresh = suggest_labels(saved)
        drawn = [name for _, name in example_images(saved)]
        typed = bool((labels or "").strip()) and labels != suggested  # what a visitor typed stays
        return (
            adapter if saved else "", base if saved is None else saved.config.base_model,
            gr.HTML(problem, visible=bool(problem)),
            describe_adapter(saved) if saved else "No adapter is chosen: you see the plain model.",
            gr.skip() if typed else fresh, fresh, render_thumbnails(pictures_named(drawn)),
            gr.Checkbox(saved is not None, interactive=saved is not None),
        )  # fmt: skip

    @in_words
    def upload(files: list[str] | None, request: gr.Request) -> tuple[gr.Dropdown, None]:
        if not files:
            return gr.Dropdown(), None
        return take(store.add_upload(files, session_of(request)), request), None

    @in_words
    def take(key: str, request: gr.Request) -> gr.Dropdown:
        base = store.get(key).config.base_model
        return gr.Dropdown(choices_of(store, base, session_of(request)), value=key)

    found = on.base.input(find, [on.base, on.adapter], on.adapter, **LIGHT, **PRIVATE)
    brought = on.upload.upload(upload, on.upload, [on.adapter, on.upload], **LIGHT, **PRIVATE)
    taken = use.click(take, made, on.adapter, **LIGHT, **PRIVATE)
    shown = [on.key, on.base, on.problem, on.facts, on.labels, on.suggested, on.pictures, on.enabled]
    for event in (arrived.success, found.success, brought.success, taken.success, on.adapter.input):
        then(event(show, [on.adapter, on.base, on.labels, on.suggested], shown, **LIGHT, **PRIVATE))


def _explain_base(store: AdapterStore, base: str) -> str:
    """A panel on a model that the page does not hold; nothing where it does."""
    if not base or base in store.models.bases:
        return ""
    fetched = "it is fetched from the Hub at the first image, if it is there."
    after = fetched if store.models.any_on_hub else "choose another."
    return f"<p class='panel' role='alert'>The model {plain_text(base[:80])} is not on this page: {after}</p>"


def open_link(store: AdapterStore, query: Mapping[str, str], session: str) -> list[Any]:
    """What a link shows here: its base model and adapter, and the button for the Hub, which was disabled until now."""
    base = query.get("model", "")[:200] or next(iter(store.models.bases))
    choices = choices_of(store, base, session)
    value = query.get("adapter", "")[:200] or choices[min(1, len(choices) - 1)][1]
    return [base, gr.Dropdown(choices, value=value), gr.Button(interactive=True)]


def choices_of(store: AdapterStore, base: str, session: str) -> list[tuple[str, str]]:
    """Adapters of a base: the visitor's own first after the choice of none; then the library's."""
    own = {key: kept for key, kept in store.list_private(session).items() if kept.config.base_model == base}
    found, _ = store.list_saved(base)
    return [(PLAIN, ""), *((_label(key, adapter), key) for key, adapter in {**own, **found}.items())]


def _label(key: str, adapter: Any) -> str:
    forget, retain = adapter.config.forget, adapter.config.retain
    name = f"yours, {forget[0][:40]} …" if key.startswith(OWN) else key
    return f"{name}: forgets {len(forget)}" + (f" of {len(forget) + len(retain)}" if retain else "")
