"""The shared-prefix forward of a causal text tower (CLIP, MetaCLIP 2).

A causal tower that reads `[BOS, context, words before the name, name, EOS]` computes the same hidden
states for everything up to the name whatever the name is. Names that start alike share those tokens too:
the tails of all prompts form a prefix tree. So a tree is one sequence, every node computed once, under a mask that
lets it attend to the prefix and to its own ancestors. Many prompts make several trees. The last layer is computed at
the EOS nodes alone, which is where the tower pools.

Hidden states are `(trees, tokens, candidates, dim)`: candidates and heads together are what attention calls heads, so
that one call serves all trees, each under its own mask.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from hf_unlearn.models import fused
from hf_unlearn.models.packed_layer import PackedLayer, PlainLayer, wants_gradient

Tail = tuple[int, ...]  # a prompt's tokens behind the common prefix


@dataclass(frozen=True)
class Limits:
    """How much is computed at a time.

    Attributes:
        nodes: of a tree; attention grows with their square.
        tokens: of all trees and candidates together: bounds memory and keeps the activations in cache.
        repeated: whether every tree computes the prefix again, as part of its sequence. Else its keys and values are
            copied, which costs a GPU more than computing few tokens in half precision.
    """

    nodes: int
    tokens: int
    repeated: bool

    @classmethod
    def of(cls, weight: Tensor) -> Limits:
        """What is fastest (benchmarks/README.md) on the device and in the precision of the model's weights."""
        if weight.device.type == "cpu":
            return cls(nodes=64, tokens=2_048, repeated=False)
        if weight.dtype == torch.float32:
            return cls(nodes=128, tokens=65_536, repeated=False)
        return cls(nodes=384, tokens=49_152, repeated=True)


@dataclass(frozen=True)
class Forest:
    """Prefix trees over the tails of some prompts, nodes breadth first, padded to one size.

    Attributes:
        ids: `(T, n)`, token of each node.
        depth: `(T, n)`, tokens between the common prefix and the node.
        sees: `(T, n, n)` bool, the node's ancestors and itself.
        ends: `(T, e)`, the EOS nodes.
        prompts: `(C,)`, for each prompt its row of `(T * e)`.
        nodes: how many there are, padding left out.
    """

    ids: Tensor
    depth: Tensor
    sees: Tensor
    ends: Tensor
    prompts: Tensor
    nodes: int

    @classmethod
    def of(cls, tails: Sequence[Tail], most: int, device: torch.device) -> Forest:
        """Of trees of `most` nodes at most, a single longer tail aside."""
        parts = list(_parts(sorted(set(tails)), most))
        paths = [sorted({tail[:end] for tail in part for end in range(1, len(tail) + 1)}, key=len) for part in parts]
        size, widest = max(map(len, paths)), max(map(len, parts))
        ids, depth = torch.zeros(len(parts), size, dtype=torch.long), torch.zeros(len(parts), size, dtype=torch.long)
        sees = torch.eye(size, dtype=torch.bool).repeat(len(parts), 1, 1)
        ends = torch.zeros(len(parts), widest, dtype=torch.long)
        row_of = {}
        for tree, (part, nodes) in enumerate(zip(parts, paths, strict=True)):
            number = {path: node for node, path in enumerate(nodes)}
            for path, node in number.items():
                ids[tree, node], depth[tree, node] = path[-1], len(path) - 1
                if len(path) > 1:
                    sees[tree, node] |= sees[tree, number[path[:-1]]]
            for place, tail in enumerate(part):
                ends[tree, place], row_of[tail] = number[tail], tree * widest + place
        prompts = torch.tensor([row_of[tail] for tail in tails], device=device)
        ids, depth, sees, ends = (tensor.to(device) for tensor in (ids, depth, sees, ends))
        return cls(ids, depth, sees, ends, prompts, sum(map(len, paths)))


@dataclass(frozen=True)
class Layer:
    """One transformer layer, queries, keys and values in one product, a head's three beside each other.

    Attributes:
        weight, bias: `(heads * 3 * width, dim)` and as many.
        packed: its products on a CPU.
    """

    module: Any
    weight: Tensor
    bias: Tensor
    packed: PackedLayer | None = None

    @classmethod
    def of(cls, module: Any) -> Layer:
        """From a transformer layer of transformers' CLIP."""
        attention = module.self_attn
        parts = (attention.q_proj, attention.k_proj, attention.v_proj)
        heads = (attention.num_heads, attention.head_dim)
        weight = torch.stack([part.weight.unflatten(0, heads) for part in parts], 1).flatten(0, 2)
        bias = torch.stack([part.bias.unflatten(0, heads) for part in parts], 1).flatten()
        return cls(module, weight, bias, PackedLayer.of(module, weight, bias))

    def __call__(
        self, hidden: Tensor, mask: Tensor, before: Tensor | None = None, rows: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """`(T, n, P, dim)` -> the same, and their keys and values, `(T, n, P * heads, 2 * width)`.

        Args:
            mask: `(T, 1, n, L + n)`, added to what attention weighs.
            before: `(1, L, P * heads, 2 * width)`, keys and values of `L` tokens before all sequences.
            rows: `(T, e)`, places in the sequences that alone are wanted.
        """
        attention, products = self.module.self_attn, self._products(hidden, before)
        qkv = products.qkv(self.module.layer_norm1(hidden))
        width = attention.head_dim
        query, own = qkv.view(*hidden.shape[:2], -1, 3 * width).split((width, 2 * width), -1)
        if rows is not None:
            tree = torch.arange(len(rows), device=rows.device)[:, None]
            query, hidden, mask = query[tree, rows], hidden[tree, rows], mask[tree, :, rows].transpose(1, 2)
        seen = own if before is None else torch.cat([before.expand(len(own), -1, -1, -1), own], 1)
        query, key, value = (part.transpose(1, 2) for part in (query, *seen.split(width, -1)))
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=attention.scale)
        hidden = hidden + products.out(mixed.transpose(1, 2).reshape(hidden.shape))
        return hidden + products.mlp(self.module.layer_norm2(hidden)), own

    def _products(self, hidden: Tensor, before: Tensor | None) -> PackedLayer | PlainLayer:
        """The layer's products; packed ones have no gradient."""
        if self.packed is None or wants_gradient(hidden, before):
            return PlainLayer(self.module, self.weight, self.bias)
        return self.packed


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
        layers: Sequence[Any] | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.tower = text_model
        self.layers = layers_of(text_model) if layers is None else layers
        weight = text_model.final_layer_norm.weight
        device, self.limits = weight.device, limits or Limits.of(weight)
        prompts = [prompt[: prompt.index(prompt[-1]) + 1] for prompt in prompts]
        shortest = min(map(len, prompts))
        common = 1
        while common < shortest - 1 and len({prompt[common] for prompt in prompts}) == 1:
            common += 1
        self.common = common  # BOS and the template's words that all prompts start with
        self.prefix_ids = torch.tensor(prompts[0][:common], device=device)
        self.forest = Forest.of([tuple(prompt[common:]) for prompt in prompts], self.limits.nodes, device)
        self._known: tuple[int, Tensor, Tensor] | None = None

    def pooled(self, contexts: Tensor) -> Tensor:
        """`(P, m, dim)` -> what the tower pools at EOS, `(P, C, dim)`, before the projection."""
        longest = self.forest.ids.shape[1] + self.common + contexts.shape[1]
        return torch.cat([self._pooled(part) for part in contexts.split(max(1, self.limits.tokens // longest))])

    def _pooled(self, contexts: Tensor) -> Tensor:
        prefix = self._prefix(contexts)
        length, ends = len(prefix), self.forest.ends
        nodes, mask = self._behind(length, contexts.dtype)
        hidden = nodes[:, :, None].expand(-1, -1, len(contexts), -1)
        if self.limits.repeated or len(nodes) == 1:
            hidden = torch.cat([prefix.expand(len(nodes), -1, -1, -1), hidden], 1)
            before: list[Tensor | None] = [None] * len(self.layers)
            ends = length + ends
        else:
            before, mask = self._read(prefix[None], mask[:1, :, :length, :length]), mask[:, :, length:]
        trees = max(1, self.limits.tokens // (hidden.shape[1] * len(contexts)))  # at a time
        parts = zip(*(part.split(trees) for part in (hidden, mask, ends)), strict=True)
        pooled = torch.cat([self._pool(part, masked, before, e) for part, masked, e in parts])
        return pooled.flatten(0, 1)[self.forest.prompts].transpose(0, 1)

    def _read(self, hidden: Tensor, mask: Tensor) -> list[Tensor | None]:
        """Keys and values of a sequence in every layer."""
        states: list[Tensor | None] = []
        for layer in self.layers:
            hidden, state = layer(hidden, mask)
            states.append(state)
        return states

    def _pool(self, hidden: Tensor, mask: Tensor, before: Sequence[Tensor | None], ends: Tensor) -> Tensor:
        """What is pooled at the `(T, e)` EOS nodes of some trees, `(T, e, P, dim)`."""
        for layer, state in zip(self.layers[:-1], before, strict=False):
            hidden, _ = layer(hidden, mask, state)
        return self.tower.final_layer_norm(self.layers[-1](hidden, mask, before[-1], ends)[0])

    def _prefix(self, contexts: Tensor) -> Tensor:
        """Tokens and positions of `[BOS, context, common words]`, `(L, P, dim)`."""
        embeddings = self.tower.embeddings
        words = embeddings.token_embedding(self.prefix_ids)[:, None].expand(-1, len(contexts), -1)
        hidden = torch.cat([words[:1], contexts.transpose(0, 1), words[1:]])
        return hidden + embeddings.position_embedding.weight[: len(hidden), None]

    def _behind(self, length: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Behind a prefix so long: tokens and positions of nodes, `(T, n, dim)`, and masks, `(T, 1, L + n, L + n)`."""
        if self._known is None or self._known[0] != length:
            embeddings, forest = self.tower.embeddings, self.forest
            nodes = embeddings.token_embedding(forest.ids)
            nodes = nodes + embeddings.position_embedding.weight[length + forest.depth]
            self._known = length, nodes, _mask(length, forest.sees, dtype)
        return self._known[1:]


def layers_of(text_model: Any) -> list[Any]:
    """The tower's layers, ready to be shared by several towers; fused where a GPU can."""
    modules = list(text_model.encoder.layers)
    layers = [Layer.of(module) for module in modules]
    return fused.fuse_layers(layers) if fused.fits_layers(modules) else layers


def _mask(length: int, sees: Tensor, dtype: torch.dtype) -> Tensor:
    """What may be attended to, `(T, 1, L+n, L+n)`: 0, else minus infinity."""
    size = length + sees.shape[1]
    allowed = torch.ones(size, size, dtype=torch.bool, device=sees.device).tril().repeat(len(sees), 1, 1)
    allowed[:, length:, length:] = sees
    room = -(-size // 16) * 16  # rows begin where fast attention wants them to
    mask = torch.full((len(sees), 1, size, room), -torch.inf, dtype=dtype, device=sees.device)[..., :size]
    return mask.masked_fill_(allowed[:, None], 0)


def _parts(tails: list[Tail], most: int) -> Iterator[list[Tail]]:
    """Sorted tails cut into parts whose trees have about as many nodes each, and no more than `most`."""
    grown = [_nodes_added(before, tail) for before, tail in zip([(), *tails], tails, strict=False)]
    fair = sum(grown) / -(-sum(grown) // most)
    part: list[Tail] = []
    total = 0
    for tail, nodes in zip(tails, grown, strict=True):
        if part and (total >= fair or total + nodes > most):
            yield part
            part, total, nodes = [], 0, len(tail)
        part.append(tail)
        total += nodes
    yield part


def _nodes_added(before: Tail, tail: Tail) -> int:
    """Nodes that a tail adds to the tree of the sorted tails before it."""
    alike = 0
    while alike < min(len(before), len(tail)) and before[alike] == tail[alike]:
        alike += 1
    return len(tail) - alike
