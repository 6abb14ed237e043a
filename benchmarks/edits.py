"""Edits as rows of the arena: ours, and what others would do with the same text features. Closed form, no query."""

from __future__ import annotations

import math
import random
from copy import copy
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from hf_unlearn.adapters.adapter import ForgetAdapter
from hf_unlearn.adapters.export.hardening import RIDGE, edit
from hf_unlearn.data.labeled_images import LabeledImages
from hf_unlearn.demo.emoji_tasks import Task
from hf_unlearn.edits.by_name import OF_WORDS, name_features
from hf_unlearn.edits.by_score import SCORE_EDIT
from hf_unlearn.edits.by_score.box import IMAGES, WORDS, ReferenceBlackBox
from hf_unlearn.edits.by_score.reference_images import make_reference_images
from hf_unlearn.edits.vocabulary import vocabulary_features, vocabulary_words
from hf_unlearn.models.black_box import ImageSet
from hf_unlearn.models.clip import ClipBlackBox
from hf_unlearn.models.text_edit import TextEdit, digest
from hf_unlearn.training.unlearning import unlearn

EDITS = ("edit", "null-space", "leace", "least-squares")


def vocabulary(model: ClipBlackBox, task: Task) -> list[str]:
    """The tokenizer's words without any that a test asks for: listed, unlisted, other names."""
    asked = {*task.names, *task.unlisted.names, *(word for own in task.synonyms.values() for word in own)}
    return [word for word in vocabulary_words(model) if word not in asked]


def edit_adapter(model: ClipBlackBox, task: Task, method: str) -> ForgetAdapter:
    """`"edit"`, `"edit:strength=1,breadth=0.3"`, or a peer: `"null-space"`, `"leace"`, `"least-squares"`.

    `"edit:keep=0"` gets no kept names; `"edit:linear=1"` has no gate, as an exported checkpoint.
    """
    base, _, settings = method.partition(":")
    dials = _settings(settings)
    held, known = vocabulary(model, task), task.names if dials.pop("keep", 1) else None
    linear = dials.pop("linear", 0)
    ours = unlearn(model, forget=task.forget, classes=known, method="edit", vocabulary=held, **dials).adapter
    if base == "edit":
        return _with(ours, ours.edit.linear(), "edit") if linear else ours
    kept = [name for name in task.names if name not in task.forget]
    gone, keep = name_features(model, task.forget).double(), name_features(model, kept).double()
    change = {"null-space": null_space, "leace": leace, "least-squares": least_squares}[base](
        gone, keep, vocabulary_features(model, held, OF_WORDS).double()
    )
    return _with(ours, change, method)


def score_edit(model: ClipBlackBox, task: Task, method: str, seed: int) -> tuple[ReferenceBlackBox, ForgetAdapter]:
    """`"score-edit"`, `"score-edit:images=120,words=60"`: an edit from scores alone, on the library's reference images.

    In place of these, `"score-edit:train=1"` takes training images, `"kept=1"` those of kept classes, and `"others=1"`
    images of classes in neither list.
    """
    dials = _settings(method.partition(":")[2])
    draw, held = random.Random(seed), vocabulary(model, task)
    words = draw.sample(held, min(len(held), int(dials.get("words", WORDS))))
    count = int(dials.get("images", IMAGES))
    if dials.keys() & {"train", "kept", "others"}:
        source = task.unlisted_validation if "others" in dials else task.train
        hidden = task.forget if "kept" in dials else ()
        found = [image for image, label in zip(source, source.labels, strict=True) if source.names[label] not in hidden]
        images = draw.sample(found, min(len(found), count))
    else:
        images = make_reference_images(count)
    box = ReferenceBlackBox(model, images, words)
    return box, unlearn(box, forget=task.forget, classes=task.names, method=SCORE_EDIT).adapter


def _with(adapter: ForgetAdapter, change: TextEdit, method: str) -> ForgetAdapter:
    width, rank = change.up.shape
    config = replace(
        adapter.config, method=method, width=width, rank=rank, neighbours=[], weights_sha256=digest(change)
    )  # fmt: skip
    return ForgetAdapter(change, config)


def _settings(text: str) -> dict[str, float]:
    return {key: float(value) for key, value in (item.split("=") for item in text.split(",") if item)}


def null_space(gone: Tensor, keep: Tensor, held: Tensor) -> TextEdit:
    """The projection onto the null space of the names, means over templates (Mishra et al., arXiv 2512.14137)."""
    basis = torch.linalg.qr(gone.mean(0).T).Q
    return TextEdit.of(-basis, basis.T)


def leace(gone: Tensor, keep: Tensor, held: Tensor) -> TextEdit:
    """LEACE (Belrose et al., arXiv 2306.03819; package `concept-erasure`): which forgotten name a text is, unreadable.

    Fitted on the names, what is kept and the vocabulary, in all templates; without the bias, which no projection has.
    """
    from concept_erasure import LeaceFitter

    others = torch.cat([keep.flatten(0, 1), held.flatten(0, 1)])
    x = torch.cat([gone.flatten(0, 1), others])
    z = torch.cat(
        [torch.eye(gone.shape[1], dtype=x.dtype).repeat(len(gone), 1), x.new_zeros(len(others), gone.shape[1])]
    )
    eraser = LeaceFitter.fit(x, z, affine=False, shrinkage=False, svd_tol=1e-6).eraser
    return TextEdit.of(-eraser.proj_left, eraser.proj_right)


def least_squares(gone: Tensor, keep: Tensor, held: Tensor) -> TextEdit:
    """Least squares to the mean of what is kept (Gandikota et al., arXiv 2308.14761), as `export --hardened` has it."""
    gone, keep = gone.flatten(0, 1), keep.flatten(0, 1)
    matrix = edit(torch.cat([gone, keep]), torch.cat([keep.mean(0).expand_as(gone), keep]), RIDGE)
    return TextEdit(matrix - torch.eye(len(matrix)), torch.eye(len(matrix)))


class Lifted(ClipBlackBox):
    """The same scores from features in a cone, as real CLIPs have them: one constant number more, then unit length.

    No score's rank and no softmax changes; only the geometry does: `beta` 1.73 gives two texts a cosine of 0.76,
    `gamma` opens a gap between texts and images.
    """

    @classmethod
    def of(cls, model: ClipBlackBox, beta: float, gamma: float) -> Lifted:
        other = copy(model)
        other.__class__ = cls
        other.beta, other.gamma = beta, gamma
        return other

    @property
    def width(self) -> int:
        return super().width + 1

    def text_features(self, contexts: Tensor, names: list[str]) -> Tensor:
        return _lift(super().text_features(contexts, names), self.beta)

    def add_images(self, images: LabeledImages) -> ImageSet:
        return ImageSet(_lift(super().add_images(images).features, self.gamma))

    def compare(self, texts: Tensor, images: ImageSet) -> Tensor:
        self.ledger.queries += len(texts)
        scale = self.model.logit_scale.exp() * math.sqrt((1 + self.beta**2) * (1 + self.gamma**2))
        return (scale * (images.features @ texts.transpose(1, 2))).log_softmax(-1)

    def with_template(self, template: str) -> Lifted:
        return Lifted.of(super().with_template(template), self.beta, self.gamma)


def _lift(features: Tensor, by: float) -> Tensor:
    return F.normalize(torch.cat([features, features.new_full((*features.shape[:-1], 1), by)], -1), dim=-1)
