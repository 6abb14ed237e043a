"""The Library's cards and the About page, as HTML."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from hf_unlearn.adapters.model_card import DUAL_USE, EDIT_SCOPE, SCOPE
from hf_unlearn.errors import HfUnlearnError
from hf_unlearn.models.embedded import EMBEDDED
from space.error_words import first_line
from space.inputs.limits import one_line, plain_text
from space.services.adapter_store import AdapterStore
from space.services.model_cache import PRESETS
from space.services.pictures import pictures_named
from space.services.recipe import MAX_NAMES, Recipe
from space.views.run_report import list_figures

if TYPE_CHECKING:
    from hf_unlearn import ForgetAdapter

NAMED, FROM_HUB, DRAWN = 12, 12, 6
PICTURE = """
<svg class="how" viewBox="0 0 720 200" role="img" aria-labelledby="how-title">
<title id="how-title">An image goes through the image tower. A learned context goes before each label's prompt, through
the text tower. The two are compared; names to be forgotten no longer match, the others still do.</title>
<g class="box"><rect x="10" y="14" width="120" height="54" rx="8"/><rect x="180" y="14" width="150" height="54" rx="8"/>
<rect x="180" y="122" width="150" height="54" rx="8"/><rect x="400" y="68" width="110" height="54" rx="8"/></g>
<rect class="context" x="10" y="122" width="62" height="54" rx="8"/><g class="box">
<rect x="76" y="122" width="84" height="54" rx="8"/></g>
<g class="line"><path d="M130 41H176M160 149H176
M330 41C370 41 360 85 396 88M330 149C370 149 360 106 396 102M510 95H546"/>
</g><g class="words"><text x="70" y="46">image</text><text x="255" y="46">image tower</text>
<text x="255" y="154">text tower</text><text class="on-colour" x="41" y="154">context</text>
<text x="118" y="154">“beer mug”</text>
<text x="455" y="100">compare</text></g>
<g class="words left"><text x="556" y="66" class="gone">beer mug: no match</text>
<text x="556" y="100">guitar: as before</text>
<text x="556" y="134">banana: as before</text><text x="10" y="196">a few KB</text>
<text x="180" y="196">weights as they were</text></g></svg>
"""


def render_library(store: AdapterStore) -> str:
    """Cards of the adapters that come with this Space."""
    found, left_out = store.list_saved()
    cards = "".join(render_card(key, adapter, of_hub=False) for key, adapter in found.items())
    if not cards:
        cards = "<p>No adapter is saved here yet. Make one under <b>Forget</b>, or look on the Hub.</p>"
    return f'<div class="cards">{cards}</div>' + "".join(f"<p class='note'>{line}</p>" for line in left_out)


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
    link = "?" + urlencode({"tab": "try", "model": config.base_model, "adapter": key})
    return (
        f'<article class="card"><h3>{plain_text(key if of_hub else key.split("/")[-1])}</h3>{_pictures(adapter)}'
        f"<p><b>Forgets {len(config.forget)}</b>{of_all}: {names}</p>"
        f"<p>Base: {plain_text(config.base_model)}</p><dl>{shares}</dl>"
        f"<code>{escape(_code(key, adapter, of_hub))}</code>{_open_here(adapter)}"
        f'<p><a href="{escape(link)}" aria-label="Open {plain_text(key)} in Try">Open in Try</a></p></article>'
    )


def _pictures(adapter: ForgetAdapter) -> str:
    """Drawings of what an adapter forgets, where there are any."""
    shown = pictures_named(adapter.config.forget)[:DRAWN]
    images = "".join(f'<img src="pictures/{escape(one.key)}.png" alt="" width="40" height="40">' for one in shown)
    return f'<p class="thumbnails">{images}</p>' if shown else ""


def _code(key: str, adapter: ForgetAdapter, of_hub: bool) -> str:
    """A line that works outside a checkout of this repository, where there is one."""
    if of_hub or adapter.kind != "edit" or adapter.config.base_model != EMBEDDED:
        return f'ForgetAdapter.from_pretrained("{key}")'
    names = ", ".join(f'"{one_line(name)}"' for name in adapter.config.forget)
    return f'unlearn(ClipBlackBox("{EMBEDDED}"), forget=[{names}]).adapter'


def _open_here(adapter: ForgetAdapter) -> str:
    """A link that makes the same names forgotten on the first screen, for an edit of the embedded model."""
    config = adapter.config
    if (
        adapter.kind != "edit"
        or config.base_model != EMBEDDED
        or max(len(config.forget), len(config.retain)) > MAX_NAMES
    ):
        return ""
    link = Recipe(tuple(config.forget), tuple(config.retain)).link()
    return f'<p><a href="{escape(link)}">Open here</a></p>'


def render_about() -> str:
    """How it works in one picture, limits, scope and dual use."""
    parts: Mapping[str, str] = {
        "How it works": "A CLIP scores an image against each label's prompt. An edit is a small map behind the text "
        "tower that turns the names to forget away and leaves all other words in place; it is computed from names in "
        "a second. Where a model answers with scores only, a context, a few learned token embeddings, is put before "
        "the prompt (the picture). It is searched for with forward calls. Either way images of the names to forget no "
        "longer find their label, the other names keep theirs.",
        "What it is not": f"A context: {SCOPE} An edit of the text features: {EDIT_SCOPE}",
        "Dual use": DUAL_USE.replace("Dual use: a", "A", 1),
        "Limits": "A label mask, which only strikes the names from the list, is hard to beat: see every table. "
        "Other names of the same thing are forgotten only in part, and names in neither list often lose accuracy. "
        "Scores are shares among the labels given. The embedded model is small, was trained on emoji drawings, and "
        "knows little of photos.",
        "Your data": "Images are looked at and not kept. Adapters that you make or bring stay in this app's memory for "
        "an hour after their last use, under a key that only you have; your browser keeps the last one. "
        "A token you log in with is used for your push and stored nowhere.",
    }
    return PICTURE + "".join(f"<h2>{title}</h2><p>{escape(text)}</p>" for title, text in parts.items())


def label_base(base: str) -> str:
    """A base model's name as visitors read it."""
    return "embedded: a small CLIP trained on emoji" if base == EMBEDDED else base


def list_bases(store: AdapterStore) -> list[tuple[str, str]]:
    """The base models to choose from: a label and the name of each."""
    presets = PRESETS if store.models.any_on_hub else {}
    return [(label_base(base), base) for base in store.models.bases] + [
        (f"{base}: {words}", base) for base, words in presets.items()
    ]
