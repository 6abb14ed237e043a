"""Scores of one image before and after an adapter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from hf_unlearn.data.class_names import clean_name
from space.inputs.limits import check_image, describe_repeats, parse_labels
from space.services.adapter_store import AdapterStore

if TYPE_CHECKING:
    from hf_unlearn import AdaptedClip, ClipBlackBox, ForgetAdapter


@dataclass(frozen=True)
class Classification:
    """Scores of one image.

    Attributes:
        names: the labels.
        before: a probability per label by the base model.
        after: the same with the adapter; None if no adapter is chosen.
        forgotten: for every label whether the adapter forgets it.
        adapter: the chosen adapter.
        enabled: whether the adapter is in effect; if not, `after` equals `before`.
        repeats: a sentence in Markdown about labels that were written more than once, or nothing.
    """

    names: list[str]
    before: list[float]
    after: list[float] | None
    forgotten: list[bool]
    adapter: ForgetAdapter | None
    enabled: bool
    repeats: str


def classify(
    store: AdapterStore, image: Image.Image | None, labels: str, adapter: str | None, base: str, enabled: bool = True
) -> Classification:
    """Scores an image with the base model and with an adapter.

    Args:
        labels: see `parse_labels`.
        adapter: a key of the store, or nothing.
        base: the base model's name; an adapter brings its base model with it.
        enabled: False leaves the adapter out.

    Raises:
        ValueError: if image, adapter, model or labels can't be used; the message is meant for the visitor.
        OSError: if the Hub is needed and does not answer.
    """
    from hf_unlearn.models.black_box import TEMPLATE
    from hf_unlearn.models.prompts import check_distinguishable

    picture, names, repeats = check_image(image), parse_labels(labels), describe_repeats(labels)
    if not adapter:
        model = store.models.get(base).with_template(TEMPLATE)
        check_distinguishable(model, names)
        scores = _score_plain(model, picture, names)
        return Classification(names, scores, None, [False] * len(names), None, enabled, repeats)
    chosen = store.get(adapter)
    adapted = store.apply(chosen)
    check_distinguishable(adapted.model, names)
    before, after = _score_both(adapted, picture, names, enabled)
    forgotten = {clean_name(name).casefold() for name in chosen.config.forget}
    return Classification(
        names, before, after, [name.casefold() in forgotten for name in names], chosen, enabled, repeats
    )


def _score_both(
    adapted: AdaptedClip, picture: Image.Image, names: Sequence[str], enabled: bool
) -> tuple[list[float], list[float]]:
    import torch

    images, nothing = adapted.model.add_images([picture]), torch.zeros(1, 0, adapted.model.dim)
    before = adapted.model.log_scores(nothing, images, names)[0, 0].exp().tolist()
    if not enabled:
        return before, before
    return before, adapted.adapted.log_scores(nothing, images, names)[0, 0].exp().tolist()


def _score_plain(model: ClipBlackBox, picture: Image.Image, names: Sequence[str]) -> list[float]:
    scores: list[float] = model.zero_shot(model.add_images([picture]), names)[0].exp().tolist()
    return scores
