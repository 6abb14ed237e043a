"""Rows that see more than scores: CoOp with gradients (the ceiling), a retrained CLIP, C-Emb."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from hf_unlearn.adapters.adapter import ForgetAdapter
from hf_unlearn.adapters.config import AdapterConfig
from hf_unlearn.data.labeled_images import LabeledImages
from hf_unlearn.demo.emoji_tasks import Task
from hf_unlearn.evaluation.metrics import accuracies, harmonic_mean
from hf_unlearn.models.black_box import BlackBox, ImageSet
from hf_unlearn.models.clip import ClipBlackBox
from hf_unlearn.models.text_edit import digest
from hf_unlearn.optimizers.methods import build_objective, recipe
from hf_unlearn.training.training_data import TEMPLATES, make_stand_ins
from hf_unlearn.training.unlearning import unlearn


def coop(
    model: ClipBlackBox, task: Task, seed: int, steps: int = 400, rate: float = 0.05, vicinity: float | None = None,
    names: bool = False, ensemble: float = 0.0, directions: int = 0,
) -> ForgetAdapter:  # fmt: skip
    """CoOp (Zhou et al., IJCV 2022) under our objective: Adam on the context, through the text tower.

    Same images, start, context length and selection as the black-box rows; a step costs about as much as
    three queries.

    Args:
        vicinity: in place of the objective's.
        names: whether stand-ins made of names train beside the images, as many.
        ensemble: weight of a term that keeps kept images at the scores that the plain model gives them among the kept
            names, mean over templates (Kullback-Leibler divergence).
        directions: as many random ones that the context may move in, at steps as long; 0 for all.
    """
    start = unlearn(
        model, task.train, forget=task.forget, validation=task.validation, max_queries=1, shots=task.shots, seed=seed,
        progress=False,
    ).adapter  # fmt: skip
    loss = loss_of(model, task, seed, vicinity, names, ensemble)
    held_out, labels = model.add_images(task.validation), torch.tensor(task.validation.labels)
    forget = torch.tensor([name in task.forget for name in task.names])
    selection = build_objective(recipe("proximal", len(task.names)), labels, forget)
    basis = directions_of(start.context.numel(), directions, seed)
    latent = torch.zeros(len(basis), requires_grad=True)
    optimizer = torch.optim.Adam([latent], lr=rate * (start.context.numel() / len(basis)) ** 0.5)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    best, best_context = (-1.0, 0.0), start.context
    for _ in range(steps):
        context = start.context + (latent @ basis).view_as(start.context)
        texts = text_features(model, context, task.names)
        with torch.no_grad():
            judged = log_scores(model, texts, held_out)
            error, kept = (float(x) for x in accuracies(judged, labels, forget))
            rank = (harmonic_mean(error, kept), -float(selection(judged)))
        if rank > best:
            best, best_context = rank, context.detach().clone()
        optimizer.zero_grad()
        loss(texts).backward()
        optimizer.step()
        schedule.step()
    config = replace(
        start.config, method="coop", weights_sha256=digest(best_context), ledger={"queries": 0, "steps": steps},
        metrics={"validation_H": best[0]},
    )  # fmt: skip
    return ForgetAdapter(best_context, config)


def loss_of(
    model: ClipBlackBox, task: Task, seed: int, vicinity: float | None, names: bool, ensemble: float
) -> Callable[[Tensor], Tensor]:
    """Text features -> the loss on the few-shot images; see `coop`."""
    few_shot, forget = task.train.draw(task.shots, seed), torch.tensor([name in task.forget for name in task.names])
    images, labels = model.add_images(few_shot), torch.tensor(few_shot.labels)
    kept, features = ~forget[labels], images.features
    plain = plain_scores(model, images, task.names)[kept][:, ~forget].log_softmax(-1)
    if names:
        stand_ins = make_stand_ins(model, task.names, task.shots, seed)
        features = torch.cat([features, stand_ins.handle.features[: len(stand_ins.train)]])
        labels = torch.cat([labels, stand_ins.train])
    plan = recipe("proximal", len(task.names))
    objective = build_objective(plan if vicinity is None else replace(plan, vicinity=vicinity), labels, forget)

    def loss(texts: Tensor) -> Tensor:
        scores = log_scores(model, texts, ImageSet(features))
        among_kept = scores[: len(kept)][kept][:, ~forget].log_softmax(-1)
        return objective(scores) + ensemble * F.kl_div(among_kept, plain, reduction="batchmean", log_target=True)

    return loss


def directions_of(size: int, count: int, seed: int) -> Tensor:
    """`(count, size)` random orthonormal rows; the identity for a count of 0."""
    if not count:
        return torch.eye(size)
    return torch.linalg.qr(torch.randn(size, count, generator=torch.Generator().manual_seed(seed))).Q.T


def plain_scores(model: ClipBlackBox, images: ImageSet, names: Sequence[str]) -> Tensor:
    """`(N, C)` log-scores without a context, the mean over templates."""
    none = torch.zeros(1, 0, model.dim)
    return torch.stack([model.with_template(one).log_scores(none, images, names)[0] for one in TEMPLATES]).mean(0)


def text_features(model: ClipBlackBox, context: Tensor, names: Sequence[str]) -> Tensor:
    """What `ClipBlackBox.text_features` answers, with a gradient: `(m, dim)` -> `(C, width)`."""
    _, tower = model._towers(tuple(names))
    return tower(context[None])[0]


def log_scores(model: ClipBlackBox, texts: Tensor, images: ImageSet) -> Tensor:
    return (model.model.logit_scale.exp() * images.features @ texts.T).log_softmax(-1)


class Retrained:
    """Stands in for an adapter in `evaluate`: the plain model is judged beside another one."""

    def __init__(self, config: AdapterConfig, other: ClipBlackBox) -> None:
        self.config, self.other, self.kind = config, other, "context"

    def check_base(self, model: BlackBox) -> None:
        """Any will do."""

    def applied_to(self, model: Both) -> BlackBox:
        return model.second()


class Both(ClipBlackBox):
    """A model and another one over the same images: so a retrained model is judged as an adapter is."""

    @classmethod
    def of(cls, model: ClipBlackBox, other: ClipBlackBox, which: int = 0) -> Both:
        both = copy(model)
        both.__class__ = cls
        both.models, both.which = (model, other), which
        return both

    def second(self) -> Both:
        return Both.of(*self.models, 1)

    def add_images(self, images: LabeledImages) -> tuple[ImageSet, ImageSet]:
        return tuple(model.add_images(images) for model in self.models)

    def log_scores(self, contexts: Tensor, images: tuple[ImageSet, ImageSet], names: Sequence[str]) -> Tensor:
        return self.models[self.which].log_scores(contexts, images[self.which], names)

    def with_template(self, template: str) -> Both:
        return Both.of(*(model.with_template(template) for model in self.models), self.which)


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
