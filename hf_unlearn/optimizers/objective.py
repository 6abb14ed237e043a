# mypy: disable-error-code="no-any-return"
"""The loss of "forget these, keep those", as pure functions of log-scores.

No index here selects an element twice. Several threads sum such an index's gradient in any order, so the same seed
would give another adapter.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import comb

import torch
from torch import Tensor
from torch.nn import functional as F

from hf_unlearn.arguments import whole_number
from hf_unlearn.errors import InputError
from hf_unlearn.optimizers.leak import leak_derivative, leak_of

DISPLACEMENTS = 256  # that vicinal images take in turns, at most
WITHIN = 0.34  # share of an image feature's squared length by which images of one class differ, about


@dataclass(frozen=True)
class _Fixed:
    """What of `N` examples doesn't depend on their scores; `n` of them are of classes to forget.

    Attributes:
        weight: `(N, 1)`, of an example's log-partition function.
        target: `(N, C)`, weights of its scores.
        gone: `(n,)`, the examples to be forgotten.
        truth, of_class: `(n, C)` and `(n, classes to forget)`, one-hot.
    """

    weight: Tensor
    target: Tensor
    gone: Tensor
    truth: Tensor
    of_class: Tensor


@dataclass(frozen=True)
class Objective:
    """Retain cross-entropy + entropy term + two margin terms + leak term over labelled log-scores.

        L = CE(retain images) + w_e · mean_forget[ −(1/C) Σ_c log p_c ]
            + w_m · mean_forget[ softplus(s · (log p_y − max_{j≠y} log p_j)) ]
            + w_k · mean_forget[ mean over lists of k kept names: softplus(s · (log p_y − max_{j in list} log p_j)) ]
            + w_l · mean over scores c of [ log(1 + B_c / (W_c + ε)) ]

    The first margin holds where all names compete. The second holds in short lists, what people offer: a
    smooth `metrics.short_list`, exact over all lists of `list_length` kept names.

    `B_c` and `W_c` are the variance of the log-score of class `c` on forget images, between their classes and
    within them. Where it is small, all scores together don't show which forgotten class an image has (the inverse
    Fisher criterion). With `entropy_weight=1, margin_weight=0` it is the paper's loss (its equations 1
    to 3).

    With a `vicinity` every image counts twice: unchanged, and displaced by `vicinity` times a random combination of
    deviations within classes. So few images represent their neighbourhood (vicinal risk minimization,
    Chapelle et al., NeurIPS 2000). Two-tower logits are linear in the image feature. So the scores of
    displaced images follow from those of the images, with no further query.

    With `namings` the log-scores are of more names than classes. The loss is then the mean over namings, each of
    which selects the scores of `C` names.

    Attributes:
        labels: `(N,)` class of each image.
        forget: `(C,)` bool, True for the classes to forget.
        entropy_weight: `w_e`, cross-entropy of forget images to the uniform distribution.
        margin_weight: `w_m`, pushes the true class of a forget image below the runner-up.
        margin_scale: `s`, how sharp the margins are.
        list_weight: `w_k`, pushes the true class of a forget image below the best of a few kept names.
        list_length: `k`, how many; all of them where there are fewer.
        leak_weight: `w_l`, keeps the scores of forget images from distinguishing their classes.
        vicinity: how far displaced images lie, in standard deviations within a class; 0 for none.
        namings: `(V, C)`, which columns of the log-scores are the classes under each naming; None for the only one.
    """

    labels: Tensor
    forget: Tensor
    entropy_weight: float = 1.0
    margin_weight: float = 0.0
    margin_scale: float = 1.0
    list_weight: float = 0.0
    list_length: int = 4
    leak_weight: float = 0.0
    vicinity: float = 0.0
    namings: Tensor | None = None

    def __post_init__(self) -> None:
        whole_number("list_length", self.list_length)
        of_images = self.forget[self.labels]
        if not of_images.any() or of_images.all():
            raise InputError("the objective needs images of forget classes and of retain classes; one kind is missing")

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

    def __call__(self, log_scores: Tensor, rivals: Tensor | None = None) -> Tensor:
        """`(..., N, C)` -> `(...)`.

        Args:
            rivals: `([V,] n, C)`, what the margins are held against, see `rivals`; those of these scores if not given.
                Frozen, the loss without its leak term is convex in the logits (what a prox-linear step solves).
        """
        log_scores, labels = self._examples(log_scores)
        of_gone, of_kept, _ = self._kinds
        kept = log_scores[..., of_kept, :]
        loss = -kept.gather(-1, labels[of_kept].expand(kept.shape[:-1])[..., None]).mean((-1, -2))
        gone = log_scores[..., of_gone, :]
        if self.entropy_weight:
            loss = loss - self.entropy_weight * gone.mean((-1, -2))
        if self.margin_weight or self.list_weight:
            rivals = self._rivals(gone) if rivals is None else rivals
            loss = loss + (F.softplus(self._margins(gone)) * rivals).sum(-1).mean(-1)
        if self.leak_weight:
            loss = loss + self.leak_weight * leak_of(gone, self._kinds[2])
        return loss if self.namings is None else loss.mean(-1)

    def derivative(self, logits: Tensor, rivals: Tensor) -> tuple[Tensor, Tensor]:
        """Value and gradient of `self(logits.log_softmax(-1), rivals)`: `(..., N, C)` -> `(...)`, `(..., N, C)`.

        Args:
            rivals: `([V,] n, C)`, see `rivals`.
        """
        examples = self._displaced(logits)
        if self.namings is None:
            value, gradient = self._of_examples(examples, rivals)
        else:
            value, gradient = torch.zeros(()).to(examples), torch.zeros_like(examples)
            for naming, of_naming in zip(self.namings, rivals, strict=True):
                one, slope = self._of_examples(examples[..., naming], of_naming)
                value = value + one / len(self.namings)
                gradient[..., naming] += slope / len(self.namings)
        return value, self._displaced_back(gradient)

    def _of_examples(self, logits: Tensor, rivals: Tensor) -> tuple[Tensor, Tensor]:
        """The same of examples, displaced images among them, under one naming."""
        fixed = self._fixed
        scores = logits.log_softmax(-1)
        chances = scores.exp()
        value = -(fixed.target * scores).sum((-1, -2))
        slope = fixed.weight * chances - fixed.target
        gone, of_gone = scores[..., fixed.gone, :], torch.zeros_like(scores[..., fixed.gone, :])
        if self.margin_weight or self.list_weight:
            margins = self._margins(gone)
            value = value + (F.softplus(margins) * rivals).sum(-1).mean(-1)
            pull = margins.sigmoid() * rivals * (self.margin_scale / len(fixed.gone))
            of_gone = of_gone + fixed.truth * pull.sum(-1, keepdim=True) - pull
        if self.leak_weight:
            leaked, by_score = leak_derivative(gone, fixed.of_class)
            value = value + self.leak_weight * leaked
            by_score = by_score - chances[..., fixed.gone, :] * by_score.sum(-1, keepdim=True)
            of_gone = of_gone + self.leak_weight * by_score
        slope[..., fixed.gone, :] += of_gone
        return value, slope

    @cached_property
    def _fixed(self) -> _Fixed:
        """What of an example doesn't depend on its scores."""
        labels = self.labels.repeat(2) if self._moves_images else self.labels
        is_forget, classes = self.forget[labels], len(self.forget)
        truth = F.one_hot(labels, classes).float()
        weight = torch.where(is_forget, self.entropy_weight / is_forget.sum(), 1 / (~is_forget).sum())[:, None]
        gone, _, of_class = self._kinds
        target = weight * torch.where(is_forget[:, None], torch.full_like(truth, 1 / classes), truth)
        return _Fixed(weight, target, gone, truth[gone], of_class)

    @cached_property
    def _kinds(self) -> tuple[Tensor, Tensor, Tensor]:
        """Indices of the examples to be forgotten and of the others; classes of the first, one-hot."""
        labels = self.labels.repeat(2) if self._moves_images else self.labels
        is_forget = self.forget[labels]
        gone = is_forget.nonzero().flatten()
        of_class = (labels[gone][:, None] == labels[gone].unique()).float()
        return gone, (~is_forget).nonzero().flatten(), of_class

    def curvature(self, logits: Tensor) -> Tensor:
        """Mean second derivative with respect to a logit of `(N, C)`, a number; of the softmax terms alone."""
        examples = self._displaced(logits if self.namings is None else logits[..., self.namings[0]])
        chances = examples.softmax(-1)
        return (self._fixed.weight * chances * (1 - chances)).sum() / logits[..., 0].numel() / chances.shape[-1]

    def hits(self, log_scores: Tensor) -> tuple[Tensor, Tensor]:
        """`Err_for` and `Acc_mem` as `metrics.accuracies` gives them, without waiting for the device."""
        right = (log_scores.argmax(-1) == self.labels).float()
        gone, kept = (part[: len(part) // (1 + self._moves_images)] for part in self._kinds[:2])
        return 1 - right[..., gone].mean(-1), right[..., kept].mean(-1)

    @property
    def _moves_images(self) -> bool:
        return bool(self.vicinity) and len(self._displacements) > 0

    def _displaced(self, scores: Tensor) -> Tensor:
        """`(..., N, C)` -> `(..., 2N, C)`, displaced images behind, up to a constant per image."""
        if not self._moves_images:
            return scores
        moves = self._displacements.to(scores.dtype) @ scores
        turns = -(-len(self.labels) // len(self._displacements))
        moves = torch.cat([moves] * turns, -2)[..., : len(self.labels), :]
        return torch.cat([scores, (scores + self.vicinity * moves) / self._length], -2)

    def _displaced_back(self, slope: Tensor) -> Tensor:
        """The transpose of `_displaced`: `(..., 2N, C)` -> `(..., N, C)`."""
        if not self._moves_images:
            return slope
        own, near = slope.split(len(self.labels), -2)
        near = near / self._length
        count = len(self._displacements)
        moves = torch.zeros_like(near[..., :count, :])
        for part in near.split(count, -2):
            moves[..., : part.shape[-2], :] += part
        return own + near + self.vicinity * (self._displacements.to(slope.dtype).T @ moves)

    @property
    def _length(self) -> float:
        """Of a displaced feature, which the model would make 1."""
        return (1 + WITHIN * self.vicinity**2) ** 0.5

    def rivals(self, log_scores: Tensor) -> Tensor:
        """Weights of the margins of examples to be forgotten below each class: `(..., N, C)` -> `(..., [V,] n, C)`."""
        return self._rivals(self._examples(log_scores)[0][..., self._kinds[0], :])

    def _rivals(self, gone: Tensor) -> Tensor:
        """The same, `(..., n, C)`, of the examples to be forgotten.

        The best other class has the first margin's weight. Each kept class has the second one's, times its chance to be
        the best of a random list.
        """
        best = gone.masked_fill(self._fixed.truth.bool(), -torch.inf).argmax(-1, keepdim=True)
        weights = torch.zeros_like(gone).scatter_(-1, best, self.margin_weight)
        if self.list_weight:
            ranked = gone[..., self._kept].argsort(-1)
            chances = (self.list_weight * self._list_chances).to(gone).expand(ranked.shape)
            weights = weights.scatter_add_(-1, self._kept[ranked], chances)
        return weights

    def _margins(self, gone: Tensor) -> Tensor:
        """`(..., n, C)` -> the same: by how much the true class is above each, times `margin_scale`."""
        own = (gone * self._fixed.truth).sum(-1, keepdim=True)
        return self.margin_scale * (own - gone)

    @cached_property
    def _kept(self) -> Tensor:
        """Indices of the kept classes."""
        return (~self.forget).nonzero().flatten()

    @cached_property
    def _list_chances(self) -> Tensor:
        """`(kept,)`: chance of the kept class at each rank, the worst first, to be the best of a random list."""
        kept = len(self._kept)
        length = min(self.list_length, kept)
        return torch.tensor([comb(rank, length - 1) / comb(kept, length) for rank in range(kept)]).to(
            self.labels.device
        )

    def _examples(self, log_scores: Tensor) -> tuple[Tensor, Tensor]:
        """Log-scores `(..., [V,] N, C)` and labels of the images, displaced ones behind, under every naming."""
        log_scores, labels = self._near(log_scores)
        if self.namings is not None:
            log_scores = torch.stack([log_scores[..., naming] for naming in self.namings], -3).log_softmax(-1)
        return log_scores, labels

    def _near(self, log_scores: Tensor) -> tuple[Tensor, Tensor]:
        if not self._moves_images:
            return log_scores, self.labels
        near = self._displaced(log_scores)[..., len(self.labels) :, :]
        return torch.cat([log_scores, near.log_softmax(-1)], -2), self.labels.repeat(2)

    @cached_property
    def _displacements(self) -> Tensor:
        """`(r, N)`: random combinations of images' deviations from their class's mean; none if none deviates."""
        labels = self.labels.cpu()
        of_class = F.one_hot(labels.unique(return_inverse=True)[1]).float()
        if len(labels) == of_class.shape[1]:
            return torch.empty(0, len(labels))
        count = min(DISPLACEMENTS, len(labels))
        weights = torch.randn(count, len(labels), generator=torch.Generator().manual_seed(0)) / len(labels) ** 0.5
        return (weights - (weights @ of_class / of_class.sum(0)) @ of_class.T).to(self.labels.device)
