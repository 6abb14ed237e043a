"""What the first screen shows for a recipe: one value, from which the browser fills the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from PIL import Image

from hf_unlearn.errors import HfUnlearnError
from space.error_words import first_line
from space.inputs.limits import open_image
from space.services.instant_edit import Answer, InstantEdits
from space.services.recipe import OWN_PHOTO, Recipe
from space.views import first_screen as view
from space.views.how_to_use import render_code

PARTS = ("comparison", "verdict", "strip", "neighbours", "link", "code")


def respond(edits: InstantEdits, values: Sequence[Any], path: object = None) -> dict[str, Any]:
    """The answer to a recipe, or why it has none: a refusal is an answer too, so that nothing of another recipe stays.

    Args:
        values: what `Recipe.parse` takes.
        path: of the visitor's photo.

    Returns:
        forget: the names to forget. shown: key of the picture; None: the picture stays. query: of the link to it.
        parts: HTML, one of each of `PARTS`.
    """
    recipe = None
    try:
        recipe = Recipe.parse(*values)
        photo = _open(path) if recipe.picture == OWN_PHOTO else None
        return _describe(edits.answer(recipe, photo))
    except HfUnlearnError as error:
        return _refuse(error, recipe)


def respond_to(edits: InstantEdits, recipe: Recipe) -> dict[str, Any]:
    """The same for a recipe that the server puts into the page; `asked` are the values that the page has then."""
    asked = [*map(list, (recipe.forget, recipe.keep, recipe.labels)), recipe.picture, recipe.base, recipe.breadth]
    return {**respond(edits, [*asked, recipe.enabled]), "asked": [*asked, recipe.enabled, None]}


def _open(path: object) -> Image.Image | None:
    return open_image(path) if isinstance(path, str) and path else None


def _describe(answer: Answer) -> dict[str, Any]:
    parts = {
        "comparison": view.render_comparison(answer), "verdict": view.render_verdict(answer),
        "strip": view.render_strip(answer), "neighbours": view.render_neighbours(answer),
        "link": render_link(answer.recipe), "code": render_code(answer.recipe),
    }  # fmt: skip
    return _name(answer.recipe, answer.shown, parts)


def _refuse(error: HfUnlearnError, recipe: Recipe | None) -> dict[str, Any]:
    parts = {"verdict": view.render_error(first_line(error)), "link": render_link(recipe) if recipe else ""}
    return _name(recipe, None, parts)


def _name(recipe: Recipe | None, shown: str | None, parts: Mapping[str, str]) -> dict[str, Any]:
    return {
        "forget": list(recipe.forget) if recipe else [], "shown": shown, "query": recipe.link() if recipe else "",
        "parts": [parts.get(name, "") for name in PARTS],
    }  # fmt: skip


def render_link(recipe: Recipe) -> str:
    """A button that copies the recipe's link, as HTML."""
    note = " A link can't carry your photo." if recipe.picture == OWN_PHOTO else ""
    return (
        f'<p class="link"><button type="button" data-link="{escape(recipe.link())}">Copy link</button>'
        f"<span class='note'>It opens this page with these words and never expires.{note}</span></p>"
    )
