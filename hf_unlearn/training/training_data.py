"""The encoded data of a run: few-shot images, stand-ins made from class names, or confidently classified images."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from hf_unlearn.data.class_names import check_names
from hf_unlearn.data.labeled_images import LabeledImages
from hf_unlearn.errors import InputError
from hf_unlearn.models.black_box import ENCODED_AT_ONCE, BlackBox, ImageSet, TextEncoder, is_text_encoder
from hf_unlearn.models.clip import ClipBlackBox
from hf_unlearn.text import brief
from hf_unlearn.training.forget_task import ForgetTask, Settings
from hf_unlearn.training.workers import Workers

TEMPLATES = (
    "{}", "This is a photo of {}.", "a photo of a {}.", "a picture of the {}.", "a drawing of a {}.",
    "an image of a {}", "the {}", "a close-up photo of a {}.", "a bright photo of the {}.", "a rendition of the {}.",
    "an icon of a {}.", "a good photo of a {}.",
)  # fmt: skip
HELD_OUT_TEMPLATES = (
    "a photo of the {}.", "a {}", "a picture of a {}.", "a sketch of the {}.", "a painting of a {}", "art of a {}.",
)  # fmt: skip
EVERYDAY_WORDS = (
    "dog", "bird", "tree", "flower", "mountain", "car", "train", "house", "door", "chair", "lamp", "clock", "computer",
    "book", "cup", "plate", "apple", "bread", "cake", "shirt", "shoe", "bag", "ball", "piano", "camera", "star",
    "cloud", "fire", "man", "woman", "hand", "heart", "bridge", "city", "island", "flag", "map", "tool", "box",
)  # fmt: skip
CONFIDENT = 0.5  # least probability at which the base model's class is accepted for an unlabelled image
SIGNAL = 0.5  # share of a stand-in's length that its class makes; the rest is noise, as in real images


@dataclass(frozen=True)
class TrainingData:
    """Encoded images or stand-ins, training before validation.

    Attributes:
        names: the `C` class names.
        handle: all images, as the black box refers to them.
        train, validation: `(n,)`, class of each.
        digests: of the data, as name -> digests or numbers; equal for equal data.
        kind: where the data come from, for the adapter's config.
        images: the images without stand-ins; None where all are stand-ins.
    """

    names: tuple[str, ...]
    handle: Any
    train: Tensor
    validation: Tensor
    digests: dict[str, list[str] | int]
    kind: str
    images: LabeledImages | None = None


def load_training_data(workers: Workers, model: BlackBox, task: ForgetTask, settings: Settings) -> TrainingData:
    """Encodes the best data that a task gives: labelled images, unlabelled images, or names.

    Raises:
        ValueError: see `encode_few_shot` and `make_stand_ins`.
    """
    shots, seed = settings.shots, settings.seed
    if task.images is not None:
        return encode_few_shot(workers, model, task.images, task.validation, task.forget, shots, seed)
    if task.unlabelled:
        unlabelled = LabeledImages(tuple(task.unlabelled), (0,) * len(task.unlabelled), ("anything",))
        return select_confident(workers, model, unlabelled, task.all_names, shots, seed)
    return make_stand_ins(model, task.all_names, shots, seed)


def encode_few_shot(
    workers: Workers,
    model: BlackBox,
    images: LabeledImages,
    validation: LabeledImages | None,
    forget: Collection[str],
    shots: int,
    seed: int,
) -> TrainingData:
    """Draws few-shot images by keyed hash and encodes them.

    Raises:
        ValueError: if a class has no images, or validation images have other classes.
    """
    if validation is None:
        train, held_out, _ = images.few_shot(shots, seed)
    else:
        train, held_out = images.draw(shots, seed), validation
    if held_out.names != images.names:
        raise InputError("validation images must have the same classes as the images, in the same order")
    for name, count in train.counts().items():
        if not count:
            role = "to forget " if name in forget else ""
            raise InputError(f"class {brief(name)} {role}has no images; add some or leave the class out")
    both = LabeledImages(train.items + held_out.items, train.labels + held_out.labels, images.names)
    return TrainingData(
        images.names,
        encode_images(workers, model, both),
        torch.tensor(train.labels),
        torch.tensor(held_out.labels),
        {"training images": train.digests(), "validation images": held_out.digests()},
        "labelled",
        both,
    )


def encode_images(workers: Workers, model: BlackBox, images: LabeledImages) -> Any:
    """Encodes images, each process some of the batches; returns the black box's handle of all."""
    parts = workers.divide(len(images), ENCODED_AT_ONCE)
    if workers.count == 1 or not all(parts) or model.calls == 1:
        return model.add_images(images)
    indices = [i for part in parts[workers.rank] for i in range(part.start, part.stop)]
    mine = model.add_images(images.select(indices))
    assert isinstance(mine, ImageSet)
    return ImageSet(workers.gather_rows(mine.features, parts))


def make_stand_ins(model: BlackBox, names: Sequence[str], shots: int, seed: int) -> TrainingData:
    """Makes stand-ins for images from class names: the class's direction in text features, plus noise.

    A stand-in of a class is `unit(a (t − t̄) + noise)`. Here `t` is the text feature of its name in one of several
    templates, `t̄` the mean over everyday words. `a` is the share of the length that the class makes; the noise is
    isotropic. So what is learned must hold for everything near a name, as images are. Validation stand-ins have
    other templates. Shifting stand-ins to where unlabelled images lie (the modality gap; Liang et al., NeurIPS 2022)
    did not help.

    Raises:
        ValueError: if the black box gives no text features, or names are empty or not unique.
    """
    if not is_text_encoder(model):
        raise InputError(
            f"{model.model_id} answers with scores only, and a run without images needs its text features; "
            "give labelled images, or load the model itself"
        )
    check_names(names)
    anything = _text_features(model, TEMPLATES[:3], EVERYDAY_WORDS).mean((0, 1))
    generator = torch.Generator().manual_seed(seed)
    spread = ((1 - SIGNAL**2) / len(anything)) ** 0.5
    parts = []
    for templates in (TEMPLATES, HELD_OUT_TEMPLATES):
        of_class = _text_features(model, templates, names) - anything  # (templates, C, width)
        pick = torch.randint(len(templates), (len(names), shots), generator=generator)
        chosen = of_class[pick, torch.arange(len(names))[:, None]].flatten(0, 1)
        noise = spread * torch.randn(chosen.shape, generator=generator)
        parts.append(F.normalize(SIGNAL * chosen + noise, dim=-1))
    labels = torch.arange(len(names)).repeat_interleave(shots)
    handle = ImageSet(torch.cat(parts).to(cast(ClipBlackBox, model).device))
    return TrainingData(tuple(names), handle, labels, labels.clone(), {"stand-ins": shots}, "none: names only")


def _text_features(model: TextEncoder, templates: Sequence[str], words: Sequence[str]) -> Tensor:
    """`(templates, words, width)`, without a context."""
    plain = torch.zeros(1, 0, model.dim)
    return torch.cat([model.with_template(template).text_features(plain, words) for template in templates]).cpu()


def select_confident(
    workers: Workers, model: BlackBox, images: LabeledImages, names: Sequence[str], shots: int, seed: int
) -> TrainingData:
    """Selects images that the base model classifies confidently; stand-ins fill up each class.

    The most confident images come first and train and validate in turns.

    Args:
        images: of any of the classes and of anything else; their labels are ignored.

    Raises:
        ValueError: see `make_stand_ins`.
    """
    stand_ins = make_stand_ins(model, names, shots, seed)
    encoded = encode_images(workers, model, images)
    confidence, guess = cast(ClipBlackBox, model).zero_shot(encoded, names).exp().max(-1)
    features = stand_ins.handle.features.clone()
    selected: list[int] = []
    for label in range(len(names)):
        found = ((guess == label) & (confidence > CONFIDENT)).nonzero().flatten()
        found = found[confidence[found].argsort(descending=True, stable=True)][: 2 * shots]
        for offset, half in ((0, found[::2]), (len(stand_ins.train), found[1::2])):
            place = offset + shots * label
            features[place : place + len(half)] = encoded.features[half]
        selected += found.tolist()
    return replace(
        stand_ins, handle=ImageSet(features), digests={**stand_ins.digests, "unlabelled images": images.digests()},
        kind="unlabelled", images=images.select(sorted(selected)),
    )  # fmt: skip
