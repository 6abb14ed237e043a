"""The shared-prefix forward of a causal text tower (CLIP, MetaCLIP 2).

A causal tower that reads `[BOS, context, words before the name, name, EOS]` computes the same hidden
states for everything up to the name whatever the name is. Names that start alike share those tokens too:
the tails of all prompts form a prefix tree. So many prompts are one sequence, the common prefix and
then the nodes of the tree, each computed once, under a mask that lets a node attend to the prefix and to
its own ancestors. The last layer is computed at the EOS nodes alone, which is where the tower pools.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers.activations import QuickGELUActivation


@dataclass(frozen=True)
class Limits:
    """How much is computed at a time.

    Attributes:
        nodes: tokens of a sequence behind the prefix; attention grows with their square, the prefix's share shrinks.
        tokens: of all candidates together: bounds memory and keeps the activations in cache.
    """

    nodes: int
    tokens: int


CPU, GPU = Limits(nodes=256, tokens=2_048), Limits(nodes=256, tokens=16_384)


@dataclass(frozen=True)
class Tree:
    """The prefix tree over the tails of some prompts, breadth first; no two nodes are alike.

    Attributes:
        ids: `(n,)`, token of each node.
        depth: `(n,)`, tokens between the common prefix and the node.
        sees: `(n, n)` bool, the node's ancestors and itself.
        ends: the EOS nodes.
        prompts: `(C,)`, for each prompt its place among the EOS nodes.
    """

    ids: Tensor
    depth: Tensor
    sees: Tensor
    ends: Tensor
    prompts: Tensor

    @classmethod
    def of(cls, tails: Sequence[tuple[int, ...]], device: torch.device) -> Tree:
        paths = sorted({tail[:end] for tail in tails for end in range(1, len(tail) + 1)}, key=lambda path: len(path))
        number = {path: row for row, path in enumerate(paths)}
        sees = torch.eye(len(paths), dtype=torch.bool)
        for row, path in enumerate(paths):
            if len(path) > 1:
                sees[row] |= sees[number[path[:-1]]]
        ends = sorted({number[tail] for tail in tails})
        return cls(
            torch.tensor([path[-1] for path in paths], device=device),
            torch.tensor([len(path) - 1 for path in paths], device=device),
            sees.to(device),
            torch.tensor(ends, device=device),
            torch.tensor([ends.index(number[tail]) for tail in tails], device=device),
        )

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Layer:
    """One transformer layer, queries, keys and values in one product.

    Attributes:
        weight, bias: `(3 dim, dim)`, `(3 dim,)`.
    """

    module: Any
    weight: Tensor
    bias: Tensor

    @classmethod
    def of(cls, module: Any) -> Layer:
        parts = (module.self_attn.q_proj, module.self_attn.k_proj, module.self_attn.v_proj)
        return cls(module, torch.cat([part.weight for part in parts]), torch.cat([part.bias for part in parts]))

    def __call__(self, hidden: Tensor, mask: Tensor, rows: Tensor | None = None) -> Tensor:
        """`(P, n, dim)` -> the same; given `rows`, at these places of the sequence alone."""
        attention = self.module.self_attn
        qkv = F.linear(self.module.layer_norm1(hidden), self.weight, self.bias)
        query, key, value = qkv.unflatten(-1, (3, attention.num_heads, attention.head_dim)).permute(2, 0, 3, 1, 4)
        if rows is not None:
            query, hidden, mask = query[:, :, rows], hidden[:, rows], mask[rows]
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=attention.scale)
        hidden = hidden + attention.out_proj(mixed.transpose(1, 2).flatten(2))
        return hidden + _mlp(self.module.mlp, self.module.layer_norm2(hidden))


class PrefixTower:
    """Text features of a population of contexts under fixed prompts.

    Args:
        text_model: transformers' `CLIPTextModel` or one built alike.
        prompts: token ids of each prompt without context, BOS first, EOS last (its first occurrence
            is where the tower pools).
        layers: of `text_model`, where several towers share them.
        limits: how much to compute at a time; more prompts or candidates take turns.
    """

    def __init__(
        self,
        text_model: Any,
        prompts: list[list[int]],
        layers: Sequence[Layer] | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.tower = text_model
        self.layers = layers_of(text_model) if layers is None else layers
        device = text_model.final_layer_norm.weight.device
        self.limits = limits or (CPU if device.type == "cpu" else GPU)
        prompts = [prompt[: prompt.index(prompt[-1]) + 1] for prompt in prompts]
        shortest = min(map(len, prompts))
        common = 1
        while common < shortest - 1 and len({prompt[common] for prompt in prompts}) == 1:
            common += 1
        self.common = common  # BOS and the template's words that all prompts start with
        self.prefix_ids = torch.tensor(prompts[0][:common], device=device)
        tails = [tuple(prompt[common:]) for prompt in prompts]
        order = sorted(range(len(tails)), key=tails.__getitem__)  # what starts alike shares a tree
        self.trees = [
            Tree.of([tails[i] for i in part], device)
            for part in _parts(order, [tails[i] for i in order], self.limits.nodes)
        ]
        self.place = torch.tensor(order, device=device).argsort()  # prompt -> its place among the trees' prompts
        self._masks: tuple[int, list[Tensor]] = (-1, [])

    def pooled(self, contexts: Tensor) -> Tensor:
        """`(P, m, dim)` -> what the tower pools at EOS, `(P, C, dim)`, before the projection."""
        longest = max(map(len, self.trees)) + self.common + contexts.shape[1]
        return torch.cat([self._pooled(part) for part in contexts.split(max(1, self.limits.tokens // longest))])

    def _pooled(self, contexts: Tensor) -> Tensor:
        embeddings = self.tower.embeddings
        word, position = embeddings.token_embedding, embeddings.position_embedding.weight
        opening = word(self.prefix_ids).expand(len(contexts), -1, -1)
        prefix = torch.cat([opening[:, :1], contexts, opening[:, 1:]], 1)
        length = prefix.shape[1]
        prefix = prefix + position[:length]
        pooled = []
        for tree, mask in zip(self.trees, self._masks_behind(length, contexts.dtype), strict=True):
            nodes = (word(tree.ids) + position[length + tree.depth]).expand(len(contexts), -1, -1)
            hidden, ends = torch.cat([prefix, nodes], 1), length + tree.ends
            for layer in self.layers[:-1]:
                hidden = layer(hidden, mask)
            pooled.append(self.tower.final_layer_norm(self.layers[-1](hidden, mask, ends))[:, tree.prompts])
        return torch.cat(pooled, 1)[:, self.place]

    def _masks_behind(self, length: int, dtype: torch.dtype) -> list[Tensor]:
        """For every tree what may be attended to, `(n, n)`: 0, else minus infinity; behind a prefix so long."""
        known, masks = self._masks
        if known != length:
            masks = [_mask(length, tree.sees, dtype) for tree in self.trees]
            self._masks = length, masks
        return masks


def layers_of(text_model: Any) -> list[Layer]:
    """The tower's layers, ready to be shared by several towers."""
    return [Layer.of(module) for module in text_model.encoder.layers]


def _mask(length: int, sees: Tensor, dtype: torch.dtype) -> Tensor:
    size = length + len(sees)
    allowed = torch.ones(size, size, dtype=torch.bool, device=sees.device).tril()
    allowed[length:, length:] = sees
    room = -(-size // 16) * 16  # rows begin where fast attention wants them to
    mask = torch.full((size, room), -torch.inf, dtype=dtype, device=sees.device)[:, :size]
    return mask.masked_fill_(allowed, 0)


def _mlp(mlp: Any, hidden: Tensor) -> Tensor:
    """`mlp(hidden)`; OpenAI's GELU, `x · sigmoid(1.702 x)`, as one SiLU whose scales the matrix products take along."""
    if not isinstance(mlp.activation_fn, QuickGELUActivation):
        return mlp(hidden)
    scale, (fc1, fc2) = 1.702, (mlp.fc1, mlp.fc2)
    inner = F.silu(torch.addmm(fc1.bias, hidden.flatten(0, -2), fc1.weight.T, beta=scale, alpha=scale))
    return torch.addmm(fc2.bias, inner, fc2.weight.T, alpha=1 / scale).view_as(hidden)


def _parts(order: list[int], tails: list[tuple[int, ...]], most: int) -> Iterator[list[int]]:
    """`order` cut into parts of about as many nodes each, none of more than `most`, a single longer tail aside."""
    grown = [_nodes_added(before, tail) for before, tail in zip([(), *tails], tails, strict=False)]
    fair = sum(grown) / -(-sum(grown) // most)
    part: list[int] = []
    total = 0
    for index, tail, nodes in zip(order, tails, grown, strict=True):
        if part and nodes and (total >= fair or total + nodes > most):
            yield part
            part, total, nodes = [], 0, len(tail)
        part.append(index)
        total += nodes
    yield part


def _nodes_added(before: tuple[int, ...], tail: tuple[int, ...]) -> int:
    """Nodes that a tail adds to the tree of the sorted tails before it."""
    alike = 0
    while alike < min(len(before), len(tail)) and before[alike] == tail[alike]:
        alike += 1
    return len(tail) - alike
