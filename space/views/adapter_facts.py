"""What an adapter forgets and keeps, as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hf_unlearn.adapters.model_card import scope
from space.inputs.limits import join_names, plain_text
from space.services.whole_words import keep_words

if TYPE_CHECKING:
    from hf_unlearn import ForgetAdapter

SHORT_LISTS = (1, 4, 9)  # kept names beside the forgotten one


def describe_adapter(adapter: ForgetAdapter) -> str:
    """What an adapter forgets and keeps, how it was made, and its figures."""
    config = adapter.config
    kept = f"**Keeps {len(config.retain)}:** {join_names(config.retain)}"
    parts = [
        f"**Forgets {len(config.forget)}:** {join_names(config.forget)}",
        f"**Words nobody asked about:** {others}." if (others := list_neighbours(adapter)) else "",
        kept if config.retain else "**Keeps everything else.**",
        f"Base {name_base(adapter)}, " + ", ".join(_list_facts(adapter)),
        describe_short_lists(adapter),
    ]
    return "\n\n".join(filter(None, parts))


def name_base(adapter: ForgetAdapter) -> str:
    """The name of an adapter's base, with its place in its repository; none of it is markup."""
    base, place = adapter.config.base_model, adapter.config.base_subfolder
    return plain_text(base) + (f" (subfolder {plain_text(place)})" if place else "")


def _list_facts(adapter: ForgetAdapter) -> list[str]:
    config = adapter.config
    edited = adapter.kind == "edit"
    facts = ["edit of the text features" if edited else f"method {plain_text(config.method)}"]
    if isinstance(queries := config.ledger.get("queries"), int | float):
        facts.append(f"{queries:,.0f} queries")
    for key, words in (("err_for", "wrong on forgotten"), ("acc_mem", "right on kept")):
        if isinstance(value := config.metrics.get(key), int | float):
            facts.append(f"{words} {value:.0%}")
    return facts


def describe_short_lists(adapter: ForgetAdapter) -> str:
    """How often forgotten images still get their name among few labels; nothing if it was not measured."""
    found = [(k, adapter.config.metrics.get(f"short_list_{k}")) for k in SHORT_LISTS]
    shares = [f"{value:.0%} with {k + 1} labels" for k, value in found if isinstance(value, int | float)]
    words = "forgotten images that still get their name beside kept ones"
    return f"**In short lists,** {words}: {', '.join(shares)}." if shares else ""


def describe_status(adapter: ForgetAdapter, enabled: bool, outcome: str = "") -> str:
    """Whether an adapter is in effect, its outcome for an image, the names it forgets, and its limits."""
    forget = adapter.config.forget
    names = f"{len(forget):,} name{'s' * (len(forget) > 1)}: {join_names(forget)}."
    if others := list_neighbours(adapter):
        names += f"\n\nWords nobody asked about: {others}."
    if enabled:
        return f"**The adapter is in effect** on the right. {outcome}\n\nIt suppresses {names}\n\n{scope(adapter.kind)}"
    off = "**The adapter is switched off**: both sides are the plain model."
    return f"{off} {outcome}\n\nSwitched on, it suppresses {names}\n\n{scope(adapter.kind)}"


def list_neighbours(adapter: ForgetAdapter) -> str:
    """The words that an edit changes most, `also forgotten: …; nearly: …`; none of them is markup."""
    from hf_unlearn.edits.neighbours import Neighbour, describe_neighbours  # loads torch

    config = adapter.config
    found = sorted(keep_words(config.neighbours, config.base_model), key=lambda item: item["similarity"])
    return describe_neighbours([Neighbour(plain_text(item["word"][:80]), "", item["similarity"]) for item in found])
