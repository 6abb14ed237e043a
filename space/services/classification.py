"""What the Try page says: scores before and after, what came of it, what an adapter forgets, images to try."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from PIL import Image

from hf_unlearn.adapters.model_card import scope
from hf_unlearn.data.class_names import clean_name
from space.inputs.limits import MARK, MAX_LABELS, check_image, listed, parse_labels, plain_text, repeated
from space.services.adapter_store import Shelf

if TYPE_CHECKING:
    from hf_unlearn import AdaptedClip, ClipBlackBox, ForgetAdapter

Scores = dict[str, float]
SHORT_LISTS = (1, 4, 9)  # kept names beside the forgotten one
LIMITS = (
    "Scores are shares among the labels you give and always sum to 100%: with other labels they differ. An adapter was "
    "judged on the names in its lists; for others there is no promise."
)


def classify(
    shelf: Shelf, image: Image.Image | None, labels: str, adapter: str | None, base: str, enabled: bool = True
) -> tuple[Scores, Scores, str]:
    """Scores of an image by the plain model and with an adapter, and what that means, as Markdown.

    Args:
        labels: see `parse_labels`.
        adapter: a key that `Shelf.adapter` knows; none for the plain model alone.
        base: the base model, where no adapter says it.
        enabled: False leaves the adapter out, so that both scores are the plain model's.

    Raises:
        ValueError: if image, adapter, model or labels are none we take; the message is for the visitor.
        OSError: if the Hub is needed and can't be asked.
    """
    from hf_unlearn.models.black_box import TEMPLATE

    picture, names, merged = check_image(image), parse_labels(labels), repeated(labels)
    if not adapter:
        scores = _plain(shelf.models.get(base).with_template(TEMPLATE), picture, names)
        words = f"**No adapter is chosen.** {_says(names, scores)} {merged}".rstrip()
        return dict(zip(names, scores, strict=True)), {}, words
    chosen = shelf.adapter(adapter)
    before, after = _scores(shelf.adapted(chosen), picture, names, enabled)
    gone = {clean_name(name).casefold() for name in chosen.config.forget}
    forgotten = [name.casefold() in gone for name in names]
    keys = [name + MARK if marked else name for name, marked in zip(names, forgotten, strict=True)]
    outcome = f"{_outcome(names, forgotten, before, after, enabled)} {merged}".rstrip()
    words = status(chosen, enabled, outcome)
    return dict(zip(keys, before, strict=True)), dict(zip(keys, after, strict=True)), words


def _scores(
    adapted: AdaptedClip, picture: Image.Image, names: Sequence[str], enabled: bool
) -> tuple[list[float], list[float]]:
    import torch

    images, nothing = adapted.model.add_images([picture]), torch.zeros(1, 0, adapted.model.dim)
    before = adapted.model.log_scores(nothing, images, names)[0, 0].exp().tolist()
    if not enabled:
        return before, before
    return before, adapted.adapted.log_scores(nothing, images, names)[0, 0].exp().tolist()


def _plain(model: ClipBlackBox, picture: Image.Image, names: Sequence[str]) -> list[float]:
    return model.zero_shot(model.add_images([picture]), names)[0].exp().tolist()


def describe(adapter: ForgetAdapter) -> str:
    """Markdown: what an adapter forgets and keeps, and where it comes from."""
    config = adapter.config
    kept = f"**Keeps {len(config.retain)}:** {listed(config.retain)}" if config.retain else "**Keeps everything else.**"
    facts = [f"method {plain_text(config.method)}"]
    if adapter.kind == "edit":
        facts[0] = "edit of the text features"
    if isinstance(queries := config.ledger.get("queries"), int | float):
        facts.append(f"{queries:,.0f} queries")
    for key, words in (("err_for", "wrong on forgotten"), ("acc_mem", "right on kept")):
        if isinstance(value := config.metrics.get(key), int | float):
            facts.append(f"{words} {value:.0%}")
    parts = [
        f"**Forgets {len(config.forget)}:** {listed(config.forget)}",
        f"**Words nobody asked about:** {others}." if (others := neighbours(adapter)) else "",
        kept,
        f"Base {plain_text(config.base_model)}, " + ", ".join(facts),
        short_lists(adapter),
    ]
    return "\n\n".join(filter(None, parts))


def short_lists(adapter: ForgetAdapter) -> str:
    """Markdown: how often forgotten images still get their name among few labels, as visitors give."""
    found = [(k, adapter.config.metrics.get(f"short_list_{k}")) for k in SHORT_LISTS]
    shares = [f"{value:.0%} with {k + 1} labels" for k, value in found if isinstance(value, int | float)]
    words = "forgotten images that still get their name beside kept ones"
    return f"**In short lists,** {words}: {', '.join(shares)}." if shares else ""


def status(adapter: ForgetAdapter, enabled: bool, outcome: str = "") -> str:
    """Markdown: whether the adapter is in effect, what came of it, which names it forgets, and what that is not."""
    forget = adapter.config.forget
    names = f"{len(forget):,} name{'s' * (len(forget) > 1)}: {listed(forget)}."
    if others := neighbours(adapter):
        names += f"\n\nWords nobody asked about: {others}."
    if enabled:
        return f"**The adapter is in effect** on the right. {outcome}\n\nIt suppresses {names}\n\n{scope(adapter.kind)}"
    off = "**The adapter is switched off**: both sides are the plain model."
    return f"{off} {outcome}\n\nSwitched on, it suppresses {names}\n\n{scope(adapter.kind)}"


def labels_of(adapter: ForgetAdapter | None) -> str:
    """The adapter's forget and retain names, one per line, as many as can be scored; without one the demo's."""
    if adapter is None:
        return "\n".join(_of_demo())
    return "\n".join([*adapter.config.forget, *_kept(adapter)][:MAX_LABELS])


def examples(adapter: ForgetAdapter | None, each: int = 6) -> list[tuple[Image.Image, str]]:
    """Test drawings of the demo for some forget and retain names, with those names; maybe none."""
    if adapter is None:
        return _drawn(_of_demo()[:: max(1, len(_of_demo()) // (2 * each))][: 2 * each])
    found = []
    for names in (adapter.config.forget, _kept(adapter)):
        known = _known(tuple(names))
        found += _drawn(known[:: max(1, len(known) // each)][:each])
    return found


def base_of(adapter: ForgetAdapter | None, base: str) -> str:
    """Whose model is in use."""
    return base if adapter is None else adapter.config.base_model


def _drawn(names: Sequence[str]) -> list[tuple[Image.Image, str]]:
    from hf_unlearn.demo import emoji_tasks as demo

    images = demo.plain(names, "test") if names else None
    return [
        (images[images.labels.index(label)], name)
        for label, name in enumerate(images.names if images else ())
        if images and label in images.labels
    ]


def _kept(adapter: ForgetAdapter) -> list[str]:
    """The names that it keeps; where it names none, some of the demo's."""
    gone = set(adapter.config.forget)
    return adapter.config.retain or [name for name in _of_demo() if name not in gone]


def _known(names: tuple[str, ...]) -> list[str]:
    from hf_unlearn.demo import emoji_tasks as demo

    return [name for name in names if demo.ARCHIVE.is_file() and name in demo.concepts()]


@lru_cache(maxsize=1)
def _of_demo() -> list[str]:
    from hf_unlearn.demo import emoji_tasks as demo

    names = demo.tasks()["moderation"][0]["names"]
    return [name for number, name in enumerate(names) if number % 3 == 0]


def _says(names: Sequence[str], scores: Sequence[float]) -> str:
    top = max(range(len(scores)), key=scores.__getitem__)
    return f"The plain model says **{plain_text(names[top])}** ({scores[top]:.0%})."


def _outcome(
    names: Sequence[str], forgotten: Sequence[bool], before: Sequence[float], after: Sequence[float], enabled: bool
) -> str:
    def share(scores: Sequence[float]) -> str:
        return f"{sum(score for score, marked in zip(scores, forgotten, strict=True) if marked):.0%}"

    seen = _says(names, before)
    if enabled:
        top = max(range(len(after)), key=after.__getitem__)
        seen = f"{seen[:-1]}, with the adapter it says **{plain_text(names[top])}** ({after[top]:.0%})."
    if not any(forgotten):
        return f"{seen} None of your labels is a name that this adapter forgets."
    together = f"The names to be forgotten share {share(before)} of the score"
    return f"{seen} {together} before, {share(after)} after." if enabled else f"{seen} {together}."


def neighbours(adapter: ForgetAdapter) -> str:
    """The words that an edit changes most, `also forgotten: …; nearly: …`, with nothing in them that is markup."""
    from hf_unlearn.edits.neighbours import Neighbour, describe_neighbours  # loads torch

    found = sorted(adapter.config.neighbours, key=lambda item: item["similarity"])
    return describe_neighbours([Neighbour(plain_text(item["word"][:80]), "", item["similarity"]) for item in found])
