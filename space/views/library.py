"""The Library's cards as HTML."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from hf_unlearn.errors import HfUnlearnError
from hf_unlearn.models.embedded import EMBEDDED
from space.error_words import first_line
from space.inputs.limits import one_line, plain_text
from space.services.adapter_store import AdapterStore
from space.services.model_cache import PRESETS
from space.services.pictures import pictures_named
from space.services.recipe import MAX_NAMES, Recipe
from space.views.adapter_facts import name_base
from space.views.kinds import render_pairs
from space.views.run_report import list_figures

if TYPE_CHECKING:
    from hf_unlearn import ForgetAdapter

NAMED, FROM_HUB, DRAWN = 12, 12, 6
NEEDS = {
    "edit": "An edit: needs the text features: weights, embeddings, or some 15 queries that read them off scores.",
    "context": "A context: needs the scores alone.",
}


def render_library(store: AdapterStore) -> str:
    """Cards of the adapters that come with this Space."""
    found, left_out = store.list_saved()
    cards = "".join(render_card(key, adapter, of_hub=False) for key, adapter in found.items())
    if not cards:
        cards = "<p>No adapter is saved here yet. Make one under <b>Forget now</b>, or look on the Hub.</p>"
    notes = "".join(f"<p class='note'>{line}</p>" for line in left_out)
    return f'<div class="cards">{cards}</div>{render_pairs(found)}{notes}'


def render_hub(store: AdapterStore, base: str) -> str:
    """Cards of the public adapters on the Hub, for one base model or for any.

    Raises:
        OSError: if the Hub does not answer.
    """
    from hf_unlearn.hub.client import find

    cards = []
    for info in find((base or "").strip() or None, limit=FROM_HUB):
        try:
            cards.append(render_card(info.id, store.get(info.id), of_hub=True))
        except HfUnlearnError as error:
            why = plain_text(first_line(error))[:300]
            cards.append(f'<article class="card"><h3>{plain_text(info.id)}</h3><p>Left out: {why}</p></article>')
    return f'<div class="cards">{"".join(cards)}</div>' if cards else "<p>The Hub lists no adapter for this base.</p>"


def render_card(key: str, adapter: ForgetAdapter, of_hub: bool) -> str:
    """One adapter: what it forgets, its base and figures, the line of code, and a link that opens it in Try."""
    config = adapter.config
    names = ", ".join(map(plain_text, config.forget[:NAMED]))
    names += f" and {len(config.forget) - NAMED} more" if len(config.forget) > NAMED else ""
    of_all = f" of {len(config.forget) + len(config.retain)}" if config.retain else ""
    shares = "".join(
        f"<div><dt>{escape(words)}</dt><dd>{100 * value:.0f} %</dd></div>" for words, value in list_figures(adapter)
    )
    name = plain_text(key if of_hub else name_of(key))
    link = "?" + urlencode({"tab": "try", "model": config.base_model, "adapter": key})
    return (
        f'<article class="card"><h3>{name}</h3>{_pictures(adapter)}'
        f"<p><b>Forgets {len(config.forget)}</b>{of_all}: {names}</p>"
        f"<p>Base: {name_base(adapter)}</p><dl>{shares}</dl>"
        f"<p>{NEEDS[adapter.kind]}</p>"
        f"{'' if of_hub else _download(key)}<code>{escape(_code(key, of_hub))}</code>{_open_here(adapter, name)}"
        f'<p><a href="{escape(link)}" aria-label="Open in Try: {name}">Open in Try</a></p></article>'
    )


def _pictures(adapter: ForgetAdapter) -> str:
    """Drawings of what an adapter forgets, where there are any."""
    shown = pictures_named(adapter.config.forget)[:DRAWN]
    images = "".join(f'<img src="pictures/{escape(one.key)}.png" alt="" width="40" height="40">' for one in shown)
    return f'<p class="thumbnails">{images}</p>' if shown else ""


def name_of(key: str) -> str:
    """The name of one of the library's adapters, which its zip and the folder in it have."""
    parts = [part for part in key.split("/") if part != "adapter"]
    return parts[-1]


def _code(key: str, of_hub: bool) -> str:
    """A line that works on any machine: with a name on the Hub, or with the folder of the download."""
    name = key if of_hub else name_of(key)
    return f'ForgetAdapter.from_pretrained("{one_line(name)}")' + ("" if of_hub else "  # the folder in the zip")


def _download(key: str) -> str:
    name = plain_text(name_of(key))
    return (
        f'<p><a href="adapters/{escape(quote(key))}.zip" download aria-label="Download (zip): {name}">'
        "Download (zip)</a></p>"
    )


def _open_here(adapter: ForgetAdapter, name: str) -> str:
    """A link that makes the same names forgotten on the first screen, for an edit of the embedded model."""
    config = adapter.config
    if (
        adapter.kind != "edit"
        or config.base_model != EMBEDDED
        or max(len(config.forget), len(config.retain)) > MAX_NAMES
    ):
        return ""
    link = Recipe(tuple(config.forget), tuple(config.retain)).link()
    return f'<p><a href="{escape(link)}" aria-label="Open here: {name}">Open here</a></p>'


def label_base(base: str) -> str:
    """A base model's name as visitors read it."""
    return "embedded: a small CLIP trained on emoji" if base == EMBEDDED else base


def list_bases(store: AdapterStore) -> list[tuple[str, str]]:
    """The base models to choose from: a label and the name of each."""
    presets = PRESETS if store.models.any_on_hub else {}
    return [(label_base(base), base) for base in store.models.bases] + [
        (f"{base}: {words}", base) for base, words in presets.items()
    ]
