"""The Jacobian of log-scores with respect to the latent; a Kalman filter updates it with every query."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

RANK = 128  # patterns over images that changes are kept in, at most


class FilteredJacobian:
    """`J`, with a covariance `P` over the latent's directions that is the same for every score.

    Coordinates that no observation has moved along are unknown: `J` is 0 there, `P` 1. Only the known
    ones, which come first, cost time. Changes of log-scores are centred over the classes, as a softmax ignores
    their mean. They are stored in few patterns over the images, once the first observations suffice to find
    these. Two-tower scores are products of image and text features: there are no more patterns than a feature has
    numbers.

    Args:
        size: `d`, width of the latent.
        rank: patterns at most.
    """

    def __init__(self, size: int, rank: int = RANK) -> None:
        self.size, self.rank = size, rank
        self.known = 0
        self.patterns = torch.empty(0)  # (n, r), orthonormal columns
        self.values = torch.empty(0)  # (d, r * C), transposed: J's columns are rows here
        self.gram = torch.empty(0, 0)  # (d, d), values @ values.T: how alike the directions' effects are
        self.doubt = torch.eye(size, dtype=torch.float64)  # P

    def __call__(self, step: Tensor) -> Tensor:
        """`(known,)` -> `(n, C)`: the expected change, up to a constant per image."""
        return self.patterns @ (step @ self.values[: self.known]).view(self.patterns.shape[1], -1)

    def doubtful(self, count: int) -> Tensor:
        """`(count, d)`, unit vectors: the coordinates with the largest variance, each given those before it."""
        fresh = range(self.known, min(self.known + count, self.size))
        left, chosen = self.doubt.diagonal().clone(), list(fresh)
        left[self.known :] = 0
        seen: list[Tensor] = []
        while len(chosen) < count:
            chosen.append(int(left.argmax()))
            column = self.doubt[chosen[-1]] - sum(one * one[chosen[-1]] for one in seen)
            seen.append(column / left[chosen[-1]].sqrt())
            left -= seen[-1].square()
        return F.one_hot(torch.tensor(chosen), self.size).double()

    def needed(self, images: int, classes: int) -> int:
        """First observations that suffice to find patterns; 0 where so few images need none."""
        return -(-2 * self.rank // max(1, classes - 1)) if images > 2 * self.rank else 0

    def learn(self, moves: Tensor, changes: Tensor, noise: float | Tensor) -> None:
        """Updates the filter with observations `change = J move + noise |move|`, one after the other.

        Args:
            moves: `(k, d)` float64.
            changes: `(k, n, C)` of log-scores; a row with a number that is not finite is ignored.
            noise: share of an observation's squared length, of all or `(k,)`.
        """
        useful = changes.flatten(1).isfinite().all(1).cpu() & (moves.square().sum(1) > 1e-12)
        noise = torch.as_tensor(noise).expand(len(moves))[useful]
        moves, changes = moves[useful], changes[useful.to(changes.device)]
        if not len(moves):
            return
        changes = changes - changes.mean(-1, keepdim=True)
        if not len(self.patterns):
            self._begin(changes)
        self.known = max(self.known, int(moves.any(0).nonzero().max()) + 1)
        moves, values = moves[:, : self.known], self.values[: self.known]
        doubt = self.doubt[: self.known, : self.known]
        seen = moves @ doubt
        gains = torch.empty_like(seen)
        for i, move in enumerate(moves):
            seen[i] -= (seen[:i] @ move) @ gains[:i]
            gains[i] = seen[i] / (seen[i] @ move + noise[i] * move @ move)
        doubt.addmm_(gains.T, seen, alpha=-1)
        observed = (self.patterns.T @ changes).flatten(1)  # (k, r * C)
        along, by, mixed = (tensor.to(observed) for tensor in (moves, gains, moves @ gains.T))
        surprises = torch.linalg.solve_triangular(  # of each observation, those before it learnt
            mixed.tril(-1), observed - along @ values, upper=False, unitriangular=True
        )
        inner = surprises @ values.T + surprises @ surprises.T @ by / 2
        self.gram[: self.known, : self.known] += by.T @ inner + inner.T @ by
        values.addmm_(by.T, surprises)

    def blur(self, amount: float) -> None:
        """Inflates the covariance, as `J` differs elsewhere; no variance exceeds that at the start."""
        doubt = self.doubt[: self.known, : self.known]
        doubt.diagonal().add_(amount)
        doubt /= max(1.0, float(doubt.diagonal().max()))

    def state(self) -> dict[str, Tensor]:
        """The filter's tensors, for `restore`."""
        return {
            "patterns": self.patterns,
            "jacobian": self.values[: self.known].clone(),
            "gram": self.gram[: self.known, : self.known].clone(),
            "doubt": self.doubt[: self.known, : self.known].clone(),
        }

    def restore(self, state: dict[str, Tensor]) -> None:
        """Continues from a `state`, bit for bit."""
        self.patterns, values, gram, doubt = (state[name] for name in ("patterns", "jacobian", "gram", "doubt"))
        self.known = len(doubt)
        self.doubt[: self.known, : self.known] = doubt
        if self.known:
            self.values = values.new_zeros(self.size, values.shape[1])
            self.gram = values.new_zeros(self.size, self.size)
            self.values[: self.known], self.gram[: self.known, : self.known] = values, gram

    def to(self, device: torch.device) -> None:
        """Moves the Jacobian to `device`; the covariance stays on its device."""
        self.patterns, self.values, self.gram = (x.to(device) for x in (self.patterns, self.values, self.gram))

    def _begin(self, changes: Tensor) -> None:
        count, images, classes = changes.shape
        self.patterns = torch.eye(images).to(changes)
        if 0 < self.needed(images, classes) <= count:
            seen = changes.transpose(0, 1).flatten(1).cpu().double()
            self.patterns = torch.linalg.eigh(seen @ seen.T).eigenvectors[:, -self.rank :].to(changes).contiguous()
        self.values = changes.new_zeros(self.size, self.patterns.shape[1] * classes)
        self.gram = changes.new_zeros(self.size, self.size)
