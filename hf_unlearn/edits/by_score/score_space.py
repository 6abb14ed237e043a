"""Features of texts and images, read off scores alone.

`Z (n, m)` holds the scores of `m` anchor words on `n` reference images, each row less its mean. A CLIP's scores are
inner products, so `Z = U S V'` has at most the rank of its features. It factors into two halves of equal weight:

    a text with scores z on the reference images:   B z,  B = U S^-1/2 U'
    an image with scores a of the anchor words:     a P,  P = V S^-1/2 U'

Both live in the space of the reference images. Their inner product is the score of the text on the image, less the
image's mean over the anchor words. This is the Nyström extension of `Z` (Williams & Seeger, NIPS 2000). The even
split makes lengths and angles much like those of the model's text features. Without it, what the reference images
show would weigh most.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from hf_unlearn.errors import InputError

CUT = 1e-3  # of the largest singular value: smaller ones are rounding, and their inverses would amplify it
LARGE = 1e-2  # of the largest singular value
LIFT = 1.0  # a constant beside features of mean square 1, by which they keep their lengths when normalized


@dataclass(frozen=True)
class ScoreSpace:
    """What scores of anchor words on reference images say about any text and any image.

    Attributes:
        anchors: `(n, m)` float32, scores of `m` anchor words on `n` reference images, each row less its mean.

    Raises:
        InputError: if all scores are the same.
    """

    anchors: Tensor

    def __post_init__(self) -> None:
        if not self.anchors.any():
            raise InputError("expected scores that differ between words, got the same for every word")

    @property
    def width(self) -> int:
        """Numbers in the feature of a text: one for each reference image, and a constant."""
        return len(self.anchors) + 1

    def text_features(self, scores: Tensor) -> Tensor:
        """Centred scores of `C` texts on the reference images, `(C, n)`, -> unit features `(C, n + 1)`, float32."""
        return _lift(scores.double() @ self._halves[0]).float()

    def image_features(self, scores: Tensor) -> Tensor:
        """Centred scores of the anchor words on `N` images, `(N, m)`, -> features `(N, n)`, float64."""
        return scores.double() @ self._halves[1]

    def compare(self, images: Tensor, texts: Tensor) -> Tensor:
        """Image features `(N, n)`, text features `(..., C, n + 1)` -> centred scores `(..., N, C)`, float64."""
        return images @ _lower(texts.double()).transpose(-1, -2)

    @cached_property
    def directions(self) -> int:
        """In how many directions the reference images differ by more than a hundredth of the main one."""
        sizes = torch.linalg.svdvals(self.anchors.double())
        return int((sizes > LARGE * sizes[0]).sum())

    @cached_property
    def explained(self) -> float:
        """Share of the scores' variance that the rest predicts, at most 1: a fifth of words and images is held out.

        Near 1, the scores of these images and words fix those of any other text and of any image that is like one of
        them. Whether the images differ enough is said by `directions`.
        """
        order = torch.Generator().manual_seed(0)
        images, words = (torch.randperm(size, generator=order) for size in self.anchors.shape)
        rest, held = (words[len(words) // 5 :], words[: len(words) // 5])
        known, asked = images[len(images) // 5 :], images[: len(images) // 5]
        table = self.anchors.double()
        table = table - table[:, rest].mean(1, keepdim=True)
        space = ScoreSpace(table[known][:, rest].float())
        texts = space.text_features(table[known][:, held].T)
        missed = space.compare(space.image_features(table[asked][:, rest]), texts) - table[asked][:, held]
        return 1 - float(missed.square().sum() / table[asked][:, held].square().sum().clamp(min=1e-300))

    @cached_property
    def _halves(self) -> tuple[Tensor, Tensor]:
        """`B (n, n)` and `P (m, n)`, scaled so that the anchor words' features have a mean square of 1."""
        left, sizes, right = torch.linalg.svd(self.anchors.double(), full_matrices=False)
        rank = int((sizes > CUT * sizes[0]).sum())
        left, sizes, right = left[:, :rank], sizes[:rank], right[:rank]
        length = (sizes.sum() / self.anchors.shape[1]).sqrt()
        half = (left / sizes.sqrt()).T
        return left @ half / length, length * (right.T @ half)


def _lift(features: Tensor) -> Tensor:
    """`(C, n)` of any lengths -> `(C, n + 1)` of unit length."""
    return F.normalize(torch.cat([features, torch.full_like(features[..., :1], LIFT)], -1), dim=-1)


def _lower(lifted: Tensor) -> Tensor:
    """`(..., n + 1)` -> `(..., n)`, the lengths as before `_lift`."""
    return LIFT * lifted[..., :-1] / lifted[..., -1:]
