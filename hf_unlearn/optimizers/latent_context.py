"""Affine maps from latents, which optimizers search, to contexts, which the text tower reads."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from hf_unlearn.errors import InputError


@dataclass(frozen=True)
class LatentContext:
    """Latent context sharing and its two relatives, as fixed affine maps (the paper, section 3.2).

    With sharing, token `i` of the context is `start_i + [z_s ; z_u,i] A`; the latent is laid out as
    `[z_s | z_u,1 | … | z_u,m]`. Without a shared part (`shared=0`) the tokens are independent. As a
    single block, one latent is projected to all tokens at once.

    Attributes:
        start: `(m, dim)`, the context at the latent 0.
        projection: `A`, `(shared + unique, dim)`, or `(unique, m * dim)` for a single block.
        shared: width of the part that all tokens share.
        unique: width of the part that each token has alone.
        single_block: one latent for the whole context.
    """

    start: Tensor
    projection: Tensor
    shared: int
    unique: int
    single_block: bool = False

    @classmethod
    def create(
        cls,
        start: Tensor,
        scale: float,
        *,
        n_ctx: int,
        shared: int,
        unique: int,
        single_block: bool = False,
        spread: float = 0.0,
        orthogonal: bool = False,
        seed: int,
    ) -> LatentContext:
        """Draws `A ~ N(0, scale²)`, or orthogonal rows.

        Args:
            start: `(dim,)`, repeated for every token, or `(n_ctx, dim)`.
            scale: standard deviation of the model's token embeddings.
            spread: every token of the start is moved by noise of `spread * scale`. Far from the origin a
                token's direction is all that layer norms leave, and the residual stream keeps it.
            orthogonal: whether the rows of `A` are orthogonal, as many as requested or as fit; only for a single
                block. A latent of length 1 then moves the context by the mean length of its tokens.

        Raises:
            ValueError: if sizes are not positive, don't fit `start`, a single block has a shared part, or
                orthogonal rows are asked for without one.
        """
        if n_ctx < 1 or shared < 0 or unique < 0 or shared + unique < 1:
            raise InputError(f"expected n_ctx >= 1 and a latent, got n_ctx={n_ctx}, shared={shared}, unique={unique}")
        if single_block and shared:
            raise InputError(f"a single block shares nothing; got shared={shared}, expected 0")
        if start.ndim == 2 and len(start) != n_ctx:
            raise InputError(f"start has {len(start)} tokens, n_ctx is {n_ctx}; they must agree")
        if orthogonal and not single_block:
            raise InputError("orthogonal rows are for a single block, got single_block=False")
        dim = start.shape[-1]
        generator = torch.Generator().manual_seed(seed)
        start = start.expand(n_ctx, dim).float().cpu()
        if spread:
            start = start + spread * scale * torch.randn(n_ctx, dim, generator=generator)
        rows, columns = (unique, n_ctx * dim) if single_block else (shared + unique, dim)
        if orthogonal:
            rows = unique = min(rows, columns)
            rotation = torch.linalg.qr(torch.randn(columns, rows, generator=generator)).Q.T
            projection = rotation * start.square().sum(1).mean().sqrt()
        else:
            projection = scale * torch.randn(rows, columns, generator=generator)
        return cls(start, projection, shared, unique, single_block)

    @property
    def n_ctx(self) -> int:
        """Tokens of a context."""
        return len(self.start)

    @property
    def size(self) -> int:
        """Width of a latent."""
        return self.unique if self.single_block else self.shared + self.n_ctx * self.unique

    @property
    def blocks(self) -> list[slice]:
        """The parts of a latent that belong together: the shared one, then one per token."""
        if self.single_block:
            return [slice(0, self.unique)]
        bounds = [0, *range(self.shared, self.size + 1, self.unique or self.size)]
        return [slice(a, b) for a, b in pairwise(bounds) if b > a]

    def decode(self, latents: Tensor) -> Tensor:
        """`(P, size)` -> contexts `(P, m, dim)`, float32.

        Raises:
            ValueError: if the latents' width is not `size`.
        """
        if latents.ndim != 2 or latents.shape[1] != self.size:
            raise InputError(f"expected latents of shape (P, {self.size}), got {tuple(latents.shape)}")
        latents = latents.float()
        if self.single_block:
            return self.start + (latents @ self.projection).view(-1, *self.start.shape)
        shared = latents[:, : self.shared] @ self.projection[: self.shared]
        unique = latents[:, self.shared :].reshape(len(latents), self.n_ctx, self.unique)
        return self.start + shared[:, None] + unique @ self.projection[self.shared :]
