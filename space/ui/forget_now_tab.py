"""The first screen: type a word, and see at once what the model no longer recognizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr
from PIL import Image

from hf_unlearn.errors import HfUnlearnError
from space.error_words import first_line
from space.inputs.limits import open_image, plain_text
from space.services.certainty import measure
from space.services.instant_edit import Answer, InstantEdits
from space.services.pictures import find_picture
from space.services.recipe import EXAMPLE, LINKED, OWN_PHOTO, PRESETS, Recipe, read_link
from space.ui.chips import draw_chips
from space.ui.components import Components, updates
from space.ui.page import ACTS, BARE, HERE, INSTANT, LAST, LIVE, PRIVATE, FileImage, set_first_value
from space.views import first_screen as view
from space.views.how_to_use import render_code
from space.views.library import label_base

LINK = (HERE / "link.js").read_text(encoding="utf-8")
INTRO = (
    "CLIP is a model that names what is in a picture. Write words below, and it forgets them within a second, "
    "without any training. Everything else it still knows."
)
IN_VIEW = "() => document.querySelector('#verdict').scrollIntoView({block: 'nearest', behavior: 'smooth'})"


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
    shown: gr.Textbox
    comparison: gr.HTML
    verdict: gr.HTML
    strip: gr.HTML
    neighbours: gr.HTML
    link: gr.HTML
    code: gr.HTML
    banner: gr.Row
    banner_text: gr.HTML
    problems: gr.HTML

    def inputs(self) -> list[Any]:
        """What a recipe is read from, the photo, and the key of the picture that is on the page."""
        return self.named((*RECIPE, "image", "shown"))


ALL = FirstScreen.names()
RECIPE = ("forget", "keep", "labels", "picture", "base", "breadth", "enabled")  # what `Recipe.parse` takes
ANSWER = ("picture", "image", "shown", "comparison", "verdict", "strip", "neighbours", "link", "code")
CHANGED = ("forget", "keep", *ANSWER)  # by a button of the answer


def draw(edits: InstantEdits) -> FirstScreen:
    """Draws the tab; `fill` puts the example into it."""
    gr.Markdown(INTRO)
    problems = gr.HTML(visible=False, **BARE)
    with gr.Row(visible=False, elem_classes="banner") as banner:
        banner_text = gr.HTML(**BARE)
        enabled = gr.Checkbox(True, label="Forgetting is on", container=False, scale=0, min_width=180)
    forget = draw_chips(
        EXAMPLE.forget, "Forget", "type a word, Enter", {**PRESETS, "your own": ()}, elem_id="forget-chips"
    )
    with gr.Row(equal_height=False, elem_classes="stage"):
        with gr.Column(scale=2, min_width=240):
            image = FileImage(
                label="Picture", sources=["upload", "webcam", "clipboard"], format="png", height=236, buttons=[],
                elem_id="picture", elem_classes="picture", placeholder="Use your photo",
            )  # fmt: skip
        with gr.Column(scale=3, min_width=280):
            comparison = gr.HTML(elem_id="comparison", **BARE)
            verdict = gr.HTML(elem_id="verdict", html_template=LIVE, js_on_load=ACTS, **BARE)
            labels = draw_chips((), "Compare with", "names of yours")
    strip = gr.HTML(elem_id="strip", js_on_load=ACTS, **BARE)
    neighbours = gr.HTML(elem_id="neighbours", js_on_load=ACTS, **BARE)
    with gr.Accordion("Protect words, reach further, another model", open=False):
        keep = draw_chips((), "Protect", "a word that must stay")
        breadth = gr.Slider(
            0, 1, EXAMPLE.breadth, step=0.05, label="Breadth", info="0: the name as such. 1: all that lies around it."
        )
        base = gr.Dropdown(base_choices(edits), value=edits.first_base, label="Model")
    link = gr.HTML(js_on_load=LINK, **BARE, elem_id="link")
    with gr.Accordion("Get the code", open=False):
        code = gr.HTML(js_on_load=LINK, **BARE, elem_classes="code")
    picture, shown = gr.Textbox("", visible=False), gr.Textbox("", visible=False)
    return FirstScreen(
        forget, keep, labels, picture, base, breadth, enabled, image, shown, comparison, verdict, strip,
        neighbours, link, code, banner, banner_text, problems,
    )  # fmt: skip


def base_choices(edits: InstantEdits) -> list[tuple[str, str]]:
    """The models that edits are offered for: a label and the name of each."""
    return [(label_base(name), name) for name in edits.store.models.bases]


def fill(screen: FirstScreen, edits: InstantEdits) -> None:
    """Puts the example into the page as it is first painted. Loads the first model; without it the page says why."""
    try:
        example = Recipe(EXAMPLE.forget, base=edits.first_base)
        found = _updates(edits.answer(example), "")
        measure(edits, example)  # encodes all pictures and their names, for which visitors would wait
    except HfUnlearnError as error:
        found = {"verdict": view.render_error(first_line(error))}
    for name, value in found.items():
        set_first_value(getattr(screen, name), value)


def wire(screen: FirstScreen, edits: InstantEdits) -> None:
    """Every change is answered by itself; an answer that can't be made is a sentence in the place of the verdict."""

    def answer(*values: Any) -> list[Any]:
        return updates(_respond(edits, values), ANSWER)

    def upload(*values: Any) -> list[Any]:
        return answer(*values[:3], OWN_PHOTO, *values[4:])

    def act(event: gr.EventData, *values: Any) -> list[Any]:
        return updates(_respond(edits, values, str(event.act), str(event.name)), CHANGED)

    said: dict[str, Any] = {"show_progress": "hidden", **LAST, **INSTANT, **PRIVATE}
    changes = [each.input for each in (screen.forget, screen.keep, screen.labels, screen.base, screen.enabled)]
    answers = screen.named(ANSWER)
    gr.on([*changes, screen.breadth.release], answer, screen.inputs(), answers, **said)
    screen.image.input(upload, screen.inputs(), answers, **said)
    for buttons in (screen.verdict, screen.neighbours):
        buttons.select(act, screen.inputs(), screen.named(CHANGED), **said)
    picked = screen.strip.select(act, screen.inputs(), screen.named(CHANGED), **said)
    picked.then(None, js=IN_VIEW, **PRIVATE)


def open_link(edits: InstantEdits, query: Mapping[str, str]) -> list[Any]:
    """What a link shows: its recipe with a banner, what of it can't be used in a panel, or the page as it is."""
    if not any(query.get(part) for part in LINKED):
        return updates({}, ALL)  # it is painted already, and the visitor may have begun
    recipe, problems = read_link(query, edits.store.models.bases)
    asked = bool(recipe.forget)
    if not asked:
        recipe = Recipe.parse(EXAMPLE.forget, recipe.keep, recipe.labels, recipe.picture, recipe.base, recipe.breadth)
    found: dict[str, Any] = {}
    try:
        found = show_recipe(edits, recipe)
    except HfUnlearnError as error:
        problems.append(first_line(error))
    if found:
        # a visitor may have begun to type: what the link does not say stays
        found |= {name: list(names) for name in ("keep", "labels") if (names := getattr(recipe, name))}
        found |= {"banner": gr.Row(visible=asked), "banner_text": view.render_banner(recipe)}
    found["problems"] = gr.HTML(view.render_problems(problems), visible=bool(problems))
    return updates(found, ALL)


def show_recipe(edits: InstantEdits, recipe: Recipe) -> dict[str, Any]:
    """By component: the answer to a recipe, and the recipe itself except for names to protect and labels.

    Raises:
        ValueError, OSError: as `InstantEdits.answer` does.
    """
    found = _updates(edits.answer(recipe), "")
    base = gr.Dropdown(base_choices(edits), value=recipe.base)
    return found | {
        "forget": list(recipe.forget), "picture": recipe.picture, "base": base, "breadth": recipe.breadth,
    }  # fmt: skip


def _respond(edits: InstantEdits, values: Any, act: str = "", name: str = "") -> dict[str, Any]:
    *recipe_values, path, shown = values
    try:
        recipe = Recipe.parse(*recipe_values)
        found: dict[str, Any] = {}
        if act == "add":
            recipe = recipe.adding(name)
            found["forget"] = list(recipe.forget)
        elif act == "protect":
            recipe = recipe.protecting(name)
            found |= {"keep": list(recipe.keep), "forget": list(recipe.forget)}
        elif act == "show":
            recipe = recipe.showing(find_picture(name).key)
        photo = _open(path) if recipe.picture == OWN_PHOTO else None
        return found | {"picture": recipe.picture} | _updates(edits.answer(recipe, photo), str(shown))
    except HfUnlearnError as error:
        return {"comparison": "", "verdict": view.render_error(first_line(error))}


def _open(path: object) -> Image.Image | None:
    return open_image(path) if isinstance(path, str) and path else None


def _updates(answer: Answer, shown: str) -> dict[str, Any]:
    """By component; the picture only if it is another one than is shown."""
    found: dict[str, Any] = {
        "comparison": view.render_comparison(answer), "verdict": view.render_verdict(answer),
        "strip": view.render_strip(answer), "neighbours": view.render_neighbours(answer),
        "link": _link(answer.recipe), "code": render_code(answer.recipe), "shown": answer.shown,
    }  # fmt: skip
    if answer.shown not in (shown, OWN_PHOTO):
        found["image"] = find_picture(answer.shown).load() if answer.shown else None
    return found


def _link(recipe: Recipe) -> str:
    note = " A link can't carry your photo." if recipe.picture == OWN_PHOTO else ""
    return (
        f'<p class="link"><button type="button" data-link="{escape(recipe.link())}">Copy link</button>'
        f"<span class='note'>It opens this page with these words and never expires.{plain_text(note)}</span></p>"
    )
