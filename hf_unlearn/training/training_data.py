"""What a run learns from and is chosen by: few-shot images, stand-ins made from class names, unlabelled images."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from hf_unlearn.data.class_names import check_names
from hf_unlearn.data.labeled_images import LabeledImages
from hf_unlearn.errors import InputError
from hf_unlearn.models.black_box import BlackBox, ImageSet
from hf_unlearn.models.clip import ClipBlackBox
from hf_unlearn.text import brief
from hf_unlearn.training.workers import Crew

TEMPLATES = (
    "{}", "This is a photo of {}.", "a photo of a {}.", "a picture of the {}.", "a drawing of a {}.",
    "an image of a {}", "the {}", "a close-up photo of a {}.", "a bright photo of the {}.", "a rendition of the {}.",
    "an icon of a {}.", "a good photo of a {}.",
)  # fmt: skip
HELD_OUT = (
    "a photo of the {}.", "a {}", "a picture of a {}.", "a sketch of the {}.", "a painting of a {}", "art of a {}.",
)  # fmt: skip
ANYTHING = (
    "dog", "bird", "tree", "flower", "mountain", "car", "train", "house", "door", "chair", "lamp", "clock", "computer",
    "book", "cup", "plate", "apple", "bread", "cake", "shirt", "shoe", "bag", "ball", "piano", "camera", "star",
    "cloud", "fire", "man", "woman", "hand", "heart", "bridge", "city", "island", "flag", "map", "tool", "box",
)  # fmt: skip
SURE = 0.5  # the least probability at which the plain model's word is taken for an unlabelled image
SIGNAL = 0.5  # share of a stand-in's length that its class makes; the rest is noise, as in real images


@dataclass(frozen=True)
class Evidence:
    """Encoded images or stand-ins, training before validation.

    Attributes:
        names: the `C` class names.
        handle: all of them, as the black box knows them.
        train, validation: `(n,)` class of each.
        identity: what makes two runs the same run.
        kind: what it is made of, for whoever gets the adapter.
        images: the images themselves, stand-ins aside; None if there are none.
    """

    names: tuple[str, ...]
    handle: Any
    train: Tensor
    validation: Tensor
    identity: dict[str, Any]
    kind: str
    images: LabeledImages | None = None


def class_names(
    images: LabeledImages | None, classes: Sequence[str] | None, unlabelled: object, validation: object
) -> tuple[str, ...]:
    """The names of all classes. Raises: ValueError: if what a run is given does not go together."""
    if images is not None:
        if classes is not None or unlabelled:
            raise InputError("classes and unlabelled images are for a run by names; labelled images bring their own")
        return images.names
    if classes is None:
        raise InputError("expected labelled images, or the names of all classes (classes=) for a run by names only")
    if isinstance(unlabelled, str | Path | Image.Image):
        raise InputError(
            f"unlabelled must be a list of images or their paths, got {brief(unlabelled)}; of a folder: "
            "sorted(Path(folder).glob('*.jpg'))"
        )
    if validation is not None:
        raise InputError("a run by names only validates on stand-ins; give labelled images to use validation images")
    return tuple(check_names(classes))


def gather(
    crew: Crew,
    model: BlackBox,
    images: LabeledImages | None,
    validation: LabeledImages | None,
    unlabelled: Sequence[Image.Image | Path] | None,
    names: Sequence[str],
    forget: Collection[str],
    shots: int,
    seed: int,
) -> Evidence:
    """The best of what a run is given. Raises: ValueError: see `from_images`, `from_names`."""
    if images is not None:
        return from_images(crew, model, images, validation, forget, shots, seed)
    if unlabelled:
        anything = LabeledImages(tuple(unlabelled), (0,) * len(unlabelled), ("anything",))
        return from_unlabelled(crew, model, anything, names, shots, seed)
    return from_names(model, names, shots, seed)


def from_images(
    crew: Crew,
    model: BlackBox,
    images: LabeledImages,
    validation: LabeledImages | None,
    forget: Collection[str],
    shots: int,
    seed: int,
) -> Evidence:
    """The keyed few-shot draw, encoded.

    Raises:
        ValueError: if a class has no images, or validation images have other classes.
    """
    if validation is None:
        train, held_out, _ = images.few_shot(shots, seed)
    else:
        train, held_out = images.draw(shots, seed), validation
    if held_out.names != images.names:
        raise InputError("validation images must have the same classes, in the same order")
    for name, count in train.counts().items():
        if not count:
            role = "to forget " if name in forget else ""
            raise InputError(f"class {brief(name)} {role}has no images; add some or leave the class out")
    both = LabeledImages(train.items + held_out.items, train.labels + held_out.labels, images.names)
    return Evidence(
        images.names,
        crew.encode(model, both),
        torch.tensor(train.labels),
        torch.tensor(held_out.labels),
        {"training images": train.digests(), "validation images": held_out.digests()},
        "labelled",
        both,
    )


def from_names(model: BlackBox, names: Sequence[str], shots: int, seed: int) -> Evidence:
    """Stand-ins for images: what a class's prompts have that prompts of anything have not, under noise.

    A stand-in of a class is `unit(a (t − t̄) + noise)`: `t` the text feature of its name in one of several templates,
    `t̄` the mean over everyday words, `a` the share of its length that the class makes, the noise alike in all
    directions. So what is learned must hold for whatever lies near a name, as images do. Validation stand-ins have
    other templates. Shifting them to where unlabelled images lie (the modality gap; Liang et al., NeurIPS 2022) did
    not help.

    Raises:
        ValueError: if the black box gives no text features, or names are empty or not unique.
    """
    if not hasattr(model, "text_features"):
        raise InputError(
            f"{model.model_id} answers with scores only, and a run without images needs its text features; "
            "give labelled images, or a model of your own"
        )
    check_names(names)
    model = cast(ClipBlackBox, model)
    plain = torch.zeros(1, 0, model.dim)

    def features(templates: Sequence[str], words: Sequence[str]) -> Tensor:
        return torch.cat([model.with_template(template).text_features(plain, words) for template in templates]).cpu()

    anything = features(TEMPLATES[:3], ANYTHING).mean((0, 1))
    generator = torch.Generator().manual_seed(seed)
    spread = ((1 - SIGNAL**2) / len(anything)) ** 0.5
    parts = []
    for templates in (TEMPLATES, HELD_OUT):
        of_class = features(templates, names) - anything  # (templates, C, width)
        pick = torch.randint(len(templates), (len(names), shots), generator=generator)
        chosen = of_class[pick, torch.arange(len(names))[:, None]].flatten(0, 1)
        noise = spread * torch.randn(chosen.shape, generator=generator)
        parts.append(F.normalize(SIGNAL * chosen + noise, dim=-1))
    labels = torch.arange(len(names)).repeat_interleave(shots)
    handle = ImageSet(torch.cat(parts).to(model.device))
    return Evidence(tuple(names), handle, labels, labels.clone(), {"stand-ins": shots}, "none: names only")


def from_unlabelled(
    crew: Crew, model: BlackBox, images: LabeledImages, names: Sequence[str], shots: int, seed: int
) -> Evidence:
    """Images that the plain model is sure of, the surest first, train and validate by turns; stand-ins fill up.

    Args:
        images: of any of the classes and of anything else; their labels are not looked at.

    Raises:
        ValueError: see `from_names`.
    """
    made = from_names(model, names, shots, seed)
    encoded = crew.encode(model, images)
    sure, guess = cast(ClipBlackBox, model).zero_shot(encoded, names).exp().max(-1)
    features = made.handle.features.clone()
    shown: list[int] = []
    for label in range(len(names)):
        known = ((guess == label) & (sure > SURE)).nonzero().flatten()
        known = known[sure[known].argsort(descending=True, stable=True)][: 2 * shots]
        for offset, half in ((0, known[::2]), (len(made.train), known[1::2])):
            place = offset + shots * label
            features[place : place + len(half)] = encoded.features[half]
        shown += known.tolist()
    return replace(
        made, handle=ImageSet(features), identity={**made.identity, "unlabelled images": images.digests()},
        kind="unlabelled", images=images.select(sorted(shown)),
    )  # fmt: skip
