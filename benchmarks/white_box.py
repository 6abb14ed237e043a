"""Rows that see more than scores: CoOp with gradients (the ceiling), null-space projection, a retrained CLIP, C-Emb."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from hf_unlearn.adapter import ForgetAdapter, digest
from hf_unlearn.black_box import ImageSet
from hf_unlearn.clip import ClipBlackBox
from hf_unlearn.data import LabeledImages
from hf_unlearn.demo import Task
from hf_unlearn.evidence import HELD_OUT
from hf_unlearn.metrics import accuracies, harmonic_mean
from hf_unlearn.recipes import objective_of, recipe
from hf_unlearn.unlearn import unlearn


def coop(model: ClipBlackBox, task: Task, seed: int, steps: int = 400, rate: float = 0.05) -> ForgetAdapter:
    """CoOp (Zhou et al., IJCV 2022) under our objective: Adam on the context, through the text tower.

    Same images, start, context length and selection as the black-box rows; a step costs about as much as
    three queries.
    """
    start = unlearn(
        model, task.train, forget=task.forget, validation=task.validation, max_queries=1, shots=task.shots, seed=seed,
        progress=False,
    ).adapter  # fmt: skip
    forget = torch.tensor([name in task.forget for name in task.names])
    few_shot = task.train.draw(task.shots, seed)
    train, held_out = model.add_images(few_shot), model.add_images(task.validation)
    plan = recipe("proximal", len(task.names))
    objective = objective_of(plan, torch.tensor(few_shot.labels), forget)
    selection = objective_of(plan, torch.tensor(task.validation.labels), forget)
    context = start.context.clone().requires_grad_()
    optimizer = torch.optim.Adam([context], lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    best, best_context = (-1.0, 0.0), start.context
    for _ in range(steps):
        texts = text_features(model, context, task.names)
        with torch.no_grad():
            judged = log_scores(model, texts, held_out)
            error, kept = (float(x) for x in accuracies(judged, selection.labels, forget))
            rank = (harmonic_mean(error, kept), -float(selection(judged)))
        if rank > best:
            best, best_context = rank, context.detach().clone()
        optimizer.zero_grad()
        objective(log_scores(model, texts, train)).backward()
        optimizer.step()
        schedule.step()
    config = replace(
        start.config, method="coop", weights_sha256=digest(best_context), ledger={"queries": 0, "steps": steps},
        metrics={"validation_H": best[0]},
    )  # fmt: skip
    return ForgetAdapter(best_context, config)


def text_features(model: ClipBlackBox, context: Tensor, names: Sequence[str]) -> Tensor:
    """What `ClipBlackBox.text_features` answers, with a gradient: `(m, dim)` -> `(C, width)`."""
    _, tower = model._towers(tuple(names))
    return F.normalize(model.model.text_projection(tower.pooled(context[None]))[0], dim=-1)


def log_scores(model: ClipBlackBox, texts: Tensor, images: ImageSet) -> Tensor:
    return (model.model.logit_scale.exp() * images.features @ texts.T).log_softmax(-1)


class Instead(ClipBlackBox):
    """The plain model where no context is given, another where one is: so models are judged as adapters are."""

    @classmethod
    def of(cls, model: ClipBlackBox, other: ClipBlackBox) -> Instead:
        both = copy(model)
        both.__class__ = cls
        both.plain, both.other = model, other
        return both

    def add_images(self, images: LabeledImages) -> tuple[ImageSet, ImageSet]:
        return self.plain.add_images(images), self.other.add_images(images)

    def log_scores(self, contexts: Tensor, images: tuple[ImageSet, ImageSet], names: Sequence[str]) -> Tensor:
        model, own = (self.other, images[1]) if contexts.shape[1] else (self.plain, images[0])
        return model.log_scores(torch.zeros(len(contexts), 0, model.dim), own, names)

    def with_template(self, template: str) -> Instead:
        return Instead.of(self.plain.with_template(template), self.other.with_template(template))


class NullSpace(ClipBlackBox):
    """A CLIP whose text features have lost the span of the forgotten names (Mishra et al., arXiv 2512.14137).

    The names' features are means over templates other than the prompt's: what its own leave is rounding noise, which
    normalizing makes as long as any feature.
    """

    @classmethod
    def of(cls, model: ClipBlackBox, forget: Sequence[str]) -> NullSpace:
        other = copy(model)
        other.__class__ = cls
        plain = torch.zeros(1, 0, model.dim)
        features = [model.with_template(template).text_features(plain, list(forget))[0] for template in HELD_OUT]
        other.basis = torch.linalg.qr(torch.stack(features).mean(0).T).Q  # (width, forgotten)
        return other

    def log_scores(self, contexts: Tensor, images: ImageSet, names: Sequence[str]) -> Tensor:
        texts = self.text_features(contexts, names)
        texts = F.normalize(texts - texts @ self.basis @ self.basis.T, dim=-1)
        return (self.model.logit_scale.exp() * (images.features @ texts.transpose(1, 2))).log_softmax(-1)


class ClassEmbeddings(ClipBlackBox):
    """A CLIP that takes every image for its class's text feature: the paper's class-names-only variant (C-Emb)."""

    @classmethod
    def of(cls, model: ClipBlackBox) -> ClassEmbeddings:
        other = copy(model)
        other.__class__ = cls
        return other

    def add_images(self, images: LabeledImages) -> ImageSet:
        features = self.with_template("a photo of a {}.").text_features(torch.zeros(1, 0, self.dim), images.names)[0]
        return ImageSet(features[torch.tensor(images.labels)])
