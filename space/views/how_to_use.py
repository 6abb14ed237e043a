"""Lines of code, for a recipe: Python, curl, MCP."""

from __future__ import annotations

import json
from html import escape

from hf_unlearn.models.embedded import EMBEDDED
from space.services.real_model import COMMIT, REAL_MODEL
from space.services.recipe import DEFAULT_BREADTH, Recipe

ORIGIN = '<span class="origin"></span>'  # the page's address; the browser fills it in


def render_code(recipe: Recipe) -> str:
    """How to make and use the same edit elsewhere, with the names in it."""
    return "".join(
        f"<h2>{title}</h2><pre tabindex='0' aria-label='{title}'><code>{code}</code></pre>"
        for title, code in (
            ("Python", escape(python_code(recipe), quote=False)),
            ("HTTP", http_code(recipe)),
            ("MCP, for agents", mcp_code()),
        )
    )


def python_code(recipe: Recipe) -> str:
    """Three lines: the model, the edit, an image under it."""
    more = f", keep={_names(recipe.keep)}" if recipe.keep else ""
    more += f", breadth={recipe.breadth:g}" if recipe.breadth != DEFAULT_BREADTH else ""
    pinned = f', revision="{COMMIT}"' if recipe.base == REAL_MODEL else ""
    labels = _names((*recipe.forget[:2], *recipe.labels[:3], "guitar"))
    return (
        "from hf_unlearn import ClipBlackBox, unlearn\n"
        f'adapter = unlearn(ClipBlackBox("{recipe.base}"{pinned}), forget={_names(recipe.forget)}{more}).adapter\n'
        f'adapter.load_base().classify(["photo.jpg"], labels={labels})'
    )


def http_code(recipe: Recipe) -> str:
    """The call over HTTP, as HTML: the address is filled in by the browser."""
    words: list[object] = [", ".join(recipe.forget), ", ".join(recipe.keep)]
    if (recipe.base, recipe.breadth) != (EMBEDDED, DEFAULT_BREADTH):
        words += [recipe.base, recipe.breadth]
    data = json.dumps({"data": words}, ensure_ascii=False)
    quoted = escape(data.replace("'", "'\\''"), quote=False)
    call = f"{ORIGIN}gradio_api/call/forget_now"
    return (
        f"event=$(curl -s {call} -H 'Content-Type: application/json' -d '{quoted}' | cut -d'\"' -f4)\n"
        f"curl -sN {call}/$event"
    )


def mcp_code() -> str:
    """The entry of an agent's configuration, as HTML."""
    return f'{{"mcpServers": {{"hf_unlearn": {{"url": "{ORIGIN}gradio_api/mcp/"}}}}}}'


def _names(names: tuple[str, ...]) -> str:
    return json.dumps(list(dict.fromkeys(names)), ensure_ascii=False)
