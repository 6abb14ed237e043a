"""Log-scores to a loss: what "forget these, keep those" means in numbers. Pure functions of tensors.

No index here names an element twice: several threads add up such an index's gradient in any order, and the same seed
would give another adapter.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

LEAK_FLOOR = 0.01  # ε of the leak term; a spread of 0.1 in a log-score is nothing
DISPLACEMENTS = 256  # that vicinal images take in turns, at most
WITHIN = 0.34  # share of an image feature's squared length by which images of one class differ, about


@dataclass(frozen=True)
class Objective:
    """Retain cross-entropy + entropy term + margin term + leak term over labelled log-scores.

        L = CE(retain images) + w_e · mean_forget[ −(1/C) Σ_c log p_c ]
            + w_m · mean_forget[ softplus(k · (log p_y − max_{j≠y} log p_j)) ]
            + w_l · mean over scores c of [ log(1 + B_c / (W_c + ε)) ]

    `B_c` and `W_c` are the variance of the log-score of class `c` on forget images, between their classes and
    within them: small, and whoever sees all scores can't tell which forgotten thing a picture shows (Fisher's
    criterion, turned round). With `entropy_weight=1, margin_weight=0` it is the paper's loss (its equations 1
    to 3).

    With a `vicinity` every image counts twice, as it is and displaced by `vicinity` times a random combination of
    what tells images of one class apart: few images stand for what lies around them (vicinal risk minimization,
    Chapelle et al., NeurIPS 2000). Two-tower logits are linear in the image feature, so the scores of
    displaced images follow from those of the images, with no further query.

    With `namings` the log-scores are of more names than classes, and the loss is the mean over namings, each of which
    takes the scores of `C` names.

    Attributes:
        labels: `(N,)` class of each image.
        forget: `(C,)` bool, True for the classes to forget.
        entropy_weight: `w_e`, cross-entropy of forget images to the uniform distribution.
        margin_weight: `w_m`, pushes the true class of a forget image below the runner-up.
        margin_scale: `k`, how sharp the margin is.
        leak_weight: `w_l`, keeps the scores of forget images from telling their classes apart.
        vicinity: how far displaced images lie, in standard deviations within a class; 0 for none.
        namings: `(V, C)`, which columns of the log-scores are the classes under each naming; None for the only one.
    """

    labels: Tensor
    forget: Tensor
    entropy_weight: float = 1.0
    margin_weight: float = 0.0
    margin_scale: float = 1.0
    leak_weight: float = 0.0
    vicinity: float = 0.0
    namings: Tensor | None = None

    def __post_init__(self) -> None:
        of_images = self.forget[self.labels]
        if not of_images.any() or of_images.all():
            raise ValueError("the objective needs images of forget classes and of retain classes; one kind is missing")

    def part(self, images: Tensor) -> Objective:
        """The same objective on some of the images, given by their indices.

        Raises:
            ValueError: if they are all of forget classes, or all of retain classes.
        """
        return replace(self, labels=self.labels[images])

    def to(self, device: torch.device) -> Objective:
        """The same objective for log-scores on another device."""
        if self.labels.device == device:
            return self
        namings = None if self.namings is None else self.namings.to(device)
        return replace(self, labels=self.labels.to(device), forget=self.forget.to(device), namings=namings)

    def __call__(self, log_scores: Tensor, runner_up: Tensor | None = None) -> Tensor:
        """`(..., N, C)` -> `(...)`.

        Args:
            runner_up: `(..., N)` class to hold the margin against; the best other class if not given.
                Frozen, the loss without its leak term is convex in the logits (what a prox-linear step solves).
        """
        log_scores, labels = self._examples(log_scores)
        is_forget = self.forget[labels]
        kept = log_scores[..., ~is_forget, :]
        loss = -kept.gather(-1, labels[~is_forget].expand(kept.shape[:-1])[..., None]).mean((-1, -2))
        gone = log_scores[..., is_forget, :]
        if self.entropy_weight:
            loss = loss - self.entropy_weight * gone.mean((-1, -2))
        if self.margin_weight:
            if runner_up is None:
                runner_up = _runner_up(log_scores, labels)
            truth = labels[is_forget].expand(gone.shape[:-1])[..., None]
            rival = runner_up[..., is_forget][..., None]
            margin = (gone.gather(-1, truth) - gone.gather(-1, rival))[..., 0]
            loss = loss + self.margin_weight * F.softplus(self.margin_scale * margin).mean(-1)
        if self.leak_weight:
            loss = loss + self.leak_weight * leak(gone, labels[is_forget])
        return loss if self.namings is None else loss.mean(-1)

    def runner_up(self, log_scores: Tensor) -> Tensor:
        """`(..., N, C)` -> `(..., [V,] N)`, displaced images behind: the best class other than the true one."""
        return _runner_up(*self._examples(log_scores))

    def _examples(self, log_scores: Tensor) -> tuple[Tensor, Tensor]:
        """Log-scores `(..., [V,] N, C)` and labels of the images, displaced ones behind, under every naming."""
        log_scores, labels = self._near(log_scores)
        if self.namings is not None:
            log_scores = torch.stack([log_scores[..., naming] for naming in self.namings], -3).log_softmax(-1)
        return log_scores, labels

    def _near(self, log_scores: Tensor) -> tuple[Tensor, Tensor]:
        if not self.vicinity or self._displacements is None:
            return log_scores, self.labels
        moves = self._displacements.to(log_scores.dtype) @ log_scores
        turns = -(-len(self.labels) // len(self._displacements))
        moves = torch.cat([moves] * turns, -2)[..., : len(self.labels), :]
        length = (1 + WITHIN * self.vicinity**2) ** 0.5  # of a displaced feature, which the model would make 1
        near = (log_scores + self.vicinity * moves) / length
        return torch.cat([log_scores, near.log_softmax(-1)], -2), self.labels.repeat(2)

    @cached_property
    def _displacements(self) -> Tensor | None:
        """`(r, N)`: random combinations of images' deviations from their class's mean; None if none deviates."""
        labels = self.labels.cpu()
        of_class = F.one_hot(labels.unique(return_inverse=True)[1]).float()
        if len(labels) == of_class.shape[1]:
            return None
        count = min(DISPLACEMENTS, len(labels))
        weights = torch.randn(count, len(labels), generator=torch.Generator().manual_seed(0)) / len(labels) ** 0.5
        return (weights - (weights @ of_class / of_class.sum(0)) @ of_class.T).to(self.labels.device)


def _runner_up(log_scores: Tensor, labels: Tensor) -> Tensor:
    truth = F.one_hot(labels, log_scores.shape[-1]).bool()
    return log_scores.masked_fill(truth, -torch.inf).argmax(-1)


def leak(log_scores: Tensor, labels: Tensor) -> Tensor:
    """`(..., n, C)` of `n` labelled images -> `(...)`: how well each score tells their classes apart."""
    of_class = F.one_hot(labels.unique(return_inverse=True)[1]).to(log_scores)  # (n, classes)
    means = (of_class / of_class.sum(0)).T @ log_scores
    between = means.var(-2, correction=0)
    within = (log_scores - of_class @ means).square().mean(-2)
    return (between / (within + LEAK_FLOOR)).log1p().mean(-1)
