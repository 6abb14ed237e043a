"""How log-scores change with the latent: a Jacobian that a Kalman filter keeps from every query."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

RANK = 128  # patterns over images that changes are kept in, at most


class FilteredJacobian:
    """`J`, known with a covariance `P` over the latent's directions that is the same for every score.

    Changes of log-scores are kept centred over the classes (a softmax sees no more of them), and in few patterns over
    the images where the first observations suffice to find these: two-tower scores are products of image and text
    features, so there are no more patterns than features are wide.

    Args:
        size: `d`, width of the latent.
        generator: for which directions come first.
        rank: patterns at most.
    """

    def __init__(self, size: int, generator: np.random.Generator, rank: int = RANK) -> None:
        rotation = torch.linalg.qr(torch.from_numpy(generator.standard_normal((size, size)))).Q
        self.doubt = rotation * torch.linspace(1.0, 0.99, size) @ rotation.T  # P; near ties let chance decide
        self.rank = rank
        self.patterns = torch.empty(0)  # (n, r), orthonormal columns
        self.values = torch.empty(0)  # (r * C, d)

    def __call__(self, step: Tensor) -> Tensor:
        """`(d,)` -> `(n, C)`: the change to expect, up to a constant per image."""
        return self.patterns @ (self.values @ step).view(self.patterns.shape[1], -1)

    def doubtful(self, count: int) -> Tensor:
        """`(count, d)`, orthonormal: the directions of which least is known, most doubtful first."""
        return torch.linalg.eigh(self.doubt).eigenvectors[:, -count:].flip(1).T

    def learn(self, moves: Tensor, changes: Tensor, noise: float) -> None:
        """Kalman's update with observations `change = J move + noise |move|`, one after the other.

        Args:
            moves: `(k, d)` float64.
            changes: `(k, n, C)` of log-scores; a row with a number that is not finite teaches nothing.
            noise: share of an observation's squared length.
        """
        useful = changes.flatten(1).isfinite().all(1).cpu() & (moves.square().sum(1) > 1e-12)
        moves, changes = moves[useful], changes[useful.to(changes.device)]
        if not len(moves):
            return
        changes = changes - changes.mean(-1, keepdim=True)
        if not len(self.patterns):
            self._begin(changes)
        observed = (self.patterns.T @ changes).flatten(1)  # (k, r * C)
        gains = torch.empty_like(moves)
        for gain, move in zip(gains, moves, strict=True):
            seen = self.doubt @ move
            gain.copy_(seen / (move @ seen + noise * move @ move))
            self.doubt -= torch.outer(gain, seen)
        along, by, mixed = (tensor.to(observed) for tensor in (moves, gains, moves @ gains.T))
        surprises = torch.linalg.solve_triangular(  # of each observation, those before it learnt
            mixed.tril(-1), observed - along @ self.values.T, upper=False, unitriangular=True
        )
        self.values.addmm_(surprises.T, by)

    def blur(self, amount: float) -> None:
        """The filter's drift: `J` is another one elsewhere; nothing is more doubtful than at the start."""
        self.doubt = (self.doubt + self.doubt.T) / 2 + amount * torch.eye(len(self.doubt), dtype=self.doubt.dtype)
        self.doubt /= max(1.0, float(self.doubt.diagonal().max()))

    def _begin(self, changes: Tensor) -> None:
        count, images, classes = changes.shape
        self.patterns = torch.eye(images).to(changes)
        if count * (classes - 1) >= 2 * self.rank < images:
            self.patterns = torch.linalg.svd(changes.transpose(0, 1).flatten(1), full_matrices=False).U[:, : self.rank]
        self.values = changes.new_zeros(self.patterns.shape[1] * classes, len(self.doubt))
