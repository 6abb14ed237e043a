"""The first screen: type a word, and see at once what the model no longer recognizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from hf_unlearn.models.embedded import EMBEDDED
from space.services.certainty import measure
from space.services.instant_edit import InstantEdits
from space.services.recipe import EXAMPLE, LINKED, OWN_PHOTO, PRESETS, Recipe, read_link
from space.ui.chips import draw_chips
from space.ui.components import Components, updates
from space.ui.now_answer import PARTS, respond, respond_to
from space.ui.page import BARE, HERE, INSTANT, LAST, LIVE, PRIVATE, FileImage, set_first_picture, set_first_value
from space.views import first_screen as view
from space.views.library import label_base

LINK = (HERE / "link.js").read_text(encoding="utf-8")
INTRO = (
    "CLIP is a model that names what is in a picture. Write words below, and it forgets them within a second, "
    "without any training. Everything else it still knows."
)
OF_EMOJI = " The model that answers first was trained on emoji drawings and knows few photographs."
ACTS = """firstScreen.ask = () => trigger('input');
document.addEventListener('new-edit', () => trigger('clear'));"""


@dataclass(frozen=True)
class FirstScreen(Components):
    """The components. Those of `RECIPE` are what an event reads, in the order of `Recipe.parse`."""

    forget: gr.HTML
    keep: gr.HTML
    labels: gr.HTML
    picture: gr.Textbox
    base: gr.Dropdown
    breadth: gr.Slider
    enabled: gr.Checkbox
    image: gr.Image
    answered: gr.JSON
    acts: gr.HTML
    comparison: gr.HTML
    verdict: gr.HTML
    strip: gr.HTML
    neighbours: gr.HTML
    link: gr.HTML
    code: gr.HTML
    banner: gr.HTML
    problems: gr.HTML
    actions: gr.Row


ALL = FirstScreen.names()
RECIPE = ("forget", "keep", "labels", "picture", "base", "breadth", "enabled")  # what `Recipe.parse` takes


def draw(edits: InstantEdits) -> FirstScreen:
    """Draws the tab; `fill` puts the example into it."""
    gr.Markdown(INTRO + (OF_EMOJI if edits.first_base == EMBEDDED else ""))
    problems, banner = gr.HTML(visible=False, **BARE), gr.HTML(visible=False, elem_classes="banner", **BARE)
    forget = draw_chips(
        EXAMPLE.forget, "forget", "Forget", "type a word, Enter", {**PRESETS, "your own": ()}, "forget-chips"
    )
    with gr.Row(equal_height=False, elem_classes="stage"):
        with gr.Column(scale=2, min_width=240):
            image = FileImage(
                label="Picture", sources=["upload", "webcam", "clipboard"], format="png", height=236, buttons=[],
                elem_id="picture", elem_classes="picture", placeholder="Use your photo",
            )  # fmt: skip
        with gr.Column(scale=3, min_width=280, elem_classes="outcome"):
            comparison = gr.HTML(elem_id="comparison", **BARE)
            verdict = gr.HTML(elem_id="verdict", html_template=LIVE, js_on_load=None, **BARE)
            with gr.Row(elem_classes="compare-with"):
                labels = draw_chips((), "labels", "Compare with", "names of yours")
                enabled = gr.Checkbox(True, label="Forgetting is on", container=False, scale=0, min_width=150)
    strip, neighbours = (
        gr.HTML(elem_id=name, html_template=LIVE, js_on_load=None, **BARE) for name in ("strip", "neighbours")
    )
    link = gr.HTML(js_on_load=LINK, **BARE, elem_id="link")
    with gr.Row(elem_classes="actions") as actions:
        with gr.Accordion("Protect words, reach further, another model", open=False):
            keep = draw_chips((), "keep", "Protect", "a word that must stay")
            breadth = gr.Slider(
                0, 1, EXAMPLE.breadth, step=0.05, label="Breadth",
                info="0: the name as such. 1: all that lies around it.",
            )  # fmt: skip
            base = gr.Dropdown(base_choices(edits), value=edits.first_base, label="Model")
        with gr.Accordion("Get the code", open=False):
            code = gr.HTML(js_on_load=LINK, **BARE, elem_classes="code")
    picture, answered = gr.Textbox("", visible=False), gr.JSON(visible=False)
    acts = gr.HTML("", visible="hidden", js_on_load=ACTS)
    return FirstScreen(
        forget, keep, labels, picture, base, breadth, enabled, image, answered, acts, comparison, verdict, strip,
        neighbours, link, code, banner, problems, actions,
    )  # fmt: skip


def base_choices(edits: InstantEdits) -> list[tuple[str, str]]:
    """The models that edits are offered for: a label and the name of each."""
    return [(label_base(name), name) for name in edits.store.models.bases]


def fill(screen: FirstScreen, edits: InstantEdits) -> None:
    """Puts the example into the page as it is first painted. Loads the first model; without it the page says why."""
    example = Recipe(EXAMPLE.forget, base=edits.first_base)
    screen.answered.value = found = respond_to(edits, example)
    for name, value in zip(PARTS, found["parts"], strict=True):
        set_first_value(getattr(screen, name), value)
    if found["shown"]:
        set_first_picture(screen.image, found["shown"])
        measure(edits, example)  # encodes all pictures and their names, for which visitors would wait


def wire(screen: FirstScreen, edits: InstantEdits) -> None:
    """Every change is made in the browser; one event answers the recipe as it is then, errors too.

    What changes the recipe comes first: Gradio runs the events of one trigger in their order.
    """

    def answer(*values: Any) -> dict[str, Any]:
        *recipe, photo, asked = values
        return {**respond(edits, recipe, photo), "asked": asked}

    on, browser = screen, {**PRIVATE, "show_progress": "hidden"}
    clicked, reworded = [on.forget, on.keep, on.picture, on.enabled], [on.picture, on.enabled, on.banner]
    on.acts.input(None, [on.forget, on.keep], clicked, js="firstScreen.act", **browser)
    on.forget.input(None, [on.forget, on.picture, on.answered], reworded, js="firstScreen.reword", **browser)
    on.image.upload(None, None, on.picture, js=f"() => '{OWN_PHOTO}'", **browser)
    on.image.clear(None, None, on.picture, js="() => ''", **browser)
    changes = [each.input for each in (on.forget, on.acts, on.keep, on.labels, on.base, on.breadth, on.enabled)]
    asked = gr.on(
        [*changes, on.breadth.release, on.image.upload, on.image.clear], answer, [*state(on), on.acts], on.answered,
        js="firstScreen.send", **browser, **LAST, **INSTANT,
    )  # fmt: skip
    show_after(asked, screen)
    asked.failure(None, state(on), None, js="firstScreen.failed", **browser)


def state(screen: FirstScreen) -> list[Any]:
    """What the browser knows the recipe by: what `Recipe.parse` takes, and the photo."""
    return screen.named((*RECIPE, "image"))


def show_after(event: gr.events.Dependency, screen: FirstScreen) -> None:
    """Shows what an event has answered, if the page still holds the recipe that it is for."""
    shown = screen.named(("image", *PARTS))
    event.success(None, [screen.answered, *state(screen)], shown, js="firstScreen.show", **PRIVATE)


def open_link(edits: InstantEdits, query: Mapping[str, str]) -> list[Any]:
    """What a link shows: its recipe with a banner, what of it can't be used in a panel, or the page as it is."""
    if "forget" not in query and not any(query.get(part) for part in LINKED):
        return updates({}, ALL)  # it is painted already, and the visitor may have begun
    recipe, problems = read_link(query, edits.store.models.bases)
    asked = bool(recipe.forget)
    if not asked and query.get("forget") != "":
        recipe = replace(recipe, forget=EXAMPLE.forget)
    found = show_recipe(edits, recipe)
    # a visitor may have begun to type: what the link does not say stays
    found |= {name: list(names) for name in ("keep", "labels") if (names := getattr(recipe, name))}
    found["banner"] = gr.HTML(view.render_banner(recipe), visible=asked)
    found["problems"] = gr.HTML(view.render_problems(problems), visible=bool(problems))
    return updates(found, ALL)


def show_recipe(edits: InstantEdits, recipe: Recipe) -> dict[str, Any]:
    """By component: the answer to a recipe, and the recipe itself except for names to protect and labels."""
    return {
        "answered": respond_to(edits, recipe), "forget": list(recipe.forget), "picture": recipe.picture,
        "base": gr.Dropdown(base_choices(edits), value=recipe.base), "breadth": recipe.breadth, "enabled": True,
    }  # fmt: skip
