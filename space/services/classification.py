"""Scores of one image before and after an adapter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image

from hf_unlearn.data.class_names import clean_name
from hf_unlearn.errors import InputError
from space.inputs.limits import check_image, describe_repeats, join_names, parse_labels
from space.services.adapter_store import AdapterStore
from space.services.floor_scores import floor_scores

if TYPE_CHECKING:
    from hf_unlearn import AdaptedClip, ForgetAdapter

ONE_NAME = "the model reads this like another label, counted once."


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
        repeats: a sentence in Markdown about labels that count once, or nothing.
        none_of_these: the floor's share before and after, where it competes with the labels. None for a model that
            this Space does not offer: its vocabulary was not read.
    """

    names: list[str]
    before: list[float]
    after: list[float] | None
    forgotten: list[bool]
    adapter: ForgetAdapter | None
    enabled: bool
    repeats: str
    none_of_these: tuple[float, float] | None = None


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

    picture, names, repeats = check_image(image), parse_labels(labels), describe_repeats(labels)
    chosen = store.get(adapter) if adapter else None
    adapted = None if chosen is None else store.apply(chosen)
    model = store.models.get(base).with_template(TEMPLATE) if adapted is None else adapted.model
    if merged := model.find_repeats(names):
        names = [name for name in names if name not in merged]
        repeats = f"{repeats} {join_names(tuple(merged))}: {ONE_NAME}".strip()
    images = model.add_images([picture])
    if chosen is None or adapted is None:
        scores: list[float] = model.zero_shot(images, names)[0].exp().tolist()
        floor = _score_floor(store, model, [model], images, names, base)
        return Classification(names, scores, None, [False] * len(names), None, enabled, repeats, floor)
    before, after = _score_both(adapted, images, names, enabled)
    boxes = [model, adapted.adapted if enabled else model]
    floor = _score_floor(store, model, boxes, images, names, chosen.config.base_model, chosen.config.base_subfolder)
    forgotten = {clean_name(name).casefold() for name in chosen.config.forget}
    gone = [name.casefold() in forgotten for name in names]
    return Classification(names, before, after, gone, chosen, enabled, repeats, floor)


def _score_both(
    adapted: AdaptedClip, images: Any, names: Sequence[str], enabled: bool
) -> tuple[list[float], list[float]]:
    import torch

    nothing = torch.zeros(1, 0, adapted.model.dim)
    before = adapted.model.log_scores(nothing, images, names)[0, 0].exp().tolist()
    if not enabled:
        return before, before
    return before, adapted.adapted.log_scores(nothing, images, names)[0, 0].exp().tolist()


def _score_floor(
    store: AdapterStore, model: Any, boxes: Sequence[Any], images: Any, names: Sequence[str], base: str,
    subfolder: str | None = None,
) -> tuple[float, float] | None:  # fmt: skip
    """The share of "none of these" by the plain model, the first of the boxes, and by the last of them."""
    import torch

    if not store.models.offers(base, subfolder):
        return None
    try:
        scores = floor_scores(model)
    except InputError:  # its tokenizer has too few words
        return None
    nothing = torch.zeros(1, 0, model.dim)
    texts = [box.text_features(nothing, names)[0] for box in boxes]
    shares = [scores.beside(images.features, each)[0, -1].item() for each in texts]
    return shares[0], shares[-1]
