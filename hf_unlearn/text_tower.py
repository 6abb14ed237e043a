"""The shared-prefix forward of a causal text tower (CLIP, MetaCLIP 2).

A causal tower that reads `[BOS, context, words before the name, name, EOS]` computes the same hidden
states for everything up to the name whatever the name is. So they are computed once per candidate,
and per class only the name's own tokens, which attend to the prefix's keys and values. Names that
start alike share those tokens too: the tails of all prompts form a prefix tree, every node of which
is computed once. The last layer is computed at the EOS nodes alone, which is where the tower pools.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers.activations import QuickGELUActivation

NODES = 2_048  # tokens computed at a time: bounds memory and keeps the activations in cache

State = tuple[Tensor, Tensor]  # one layer's keys and values of the prefix, (P, heads, length, width) each


@dataclass(frozen=True)
class Tree:
    """The prefix tree over the tails of some prompts, breadth first; no two nodes are alike.

    Attributes:
        ids: `(n,)`, token of each node.
        depth: `(n,)`, tokens between the common prefix and the node.
        levels: for each depth, `(nodes there, depth + 1)`: the path of each node, itself last.
        ends: the rows of `levels` that are EOS nodes, in the same form.
        prompts: `(C,)`, for each prompt its row among the EOS nodes.
    """

    ids: Tensor
    depth: Tensor
    levels: tuple[Tensor, ...]
    ends: tuple[Tensor, ...]
    prompts: Tensor

    @classmethod
    def of(cls, tails: Sequence[tuple[int, ...]], device: torch.device) -> Tree:
        deepest = max(map(len, tails))
        paths = [sorted({tail[: depth + 1] for tail in tails if len(tail) > depth}) for depth in range(deepest)]
        nodes = [path for level in paths for path in level]
        number = {path: row for row, path in enumerate(nodes)}
        whole = set(tails)
        end_row = {path: row for row, path in enumerate(path for path in nodes if path in whole)}

        def rows(level: list[tuple[int, ...]]) -> Tensor:
            ancestry = [[number[path[: depth + 1]] for depth in range(len(path))] for path in level]
            return torch.tensor(ancestry, device=device)

        return cls(
            torch.tensor([path[-1] for path in nodes], device=device),
            torch.tensor([len(path) - 1 for path in nodes], device=device),
            tuple(rows(level) for level in paths),
            tuple(rows(ending) for level in paths if (ending := [path for path in level if path in whole])),
            torch.tensor([end_row[tail] for tail in tails], device=device),
        )

    def __len__(self) -> int:
        return len(self.ids)


class PrefixTower:
    """Text features of a population of contexts under fixed prompts.

    Args:
        text_model: transformers' `CLIPTextModel` or one built alike.
        prompts: token ids of each prompt without context, BOS first, EOS last (its first occurrence
            is where the tower pools).
        nodes: tokens to compute at a time, at least; more prompts or candidates take turns.
    """

    def __init__(self, text_model: Any, prompts: list[list[int]], nodes: int = NODES) -> None:
        self.tower = text_model
        self.nodes = nodes
        self.device = text_model.final_layer_norm.weight.device
        prompts = [prompt[: prompt.index(prompt[-1]) + 1] for prompt in prompts]
        shortest = min(map(len, prompts))
        common = 1
        while common < shortest - 1 and len({prompt[common] for prompt in prompts}) == 1:
            common += 1
        self.common = common  # BOS and the template's words that all prompts start with
        self.prefix_ids = torch.tensor(prompts[0][:common], device=self.device)
        tails = [tuple(prompt[common:]) for prompt in prompts]
        order = sorted(range(len(tails)), key=tails.__getitem__)  # what starts alike shares a tree
        self.trees = [
            Tree.of([tails[i] for i in part], self.device)
            for part in _parts(order, [len(tail) for tail in tails], nodes)
        ]
        self.place = torch.tensor(order, device=self.device).argsort()  # prompt -> its place among the trees' prompts
        self._last_tails: tuple[int, list[Tensor]] = (-1, [])

    def pooled(self, contexts: Tensor) -> Tensor:
        """`(P, m, dim)` -> what the tower pools at EOS, `(P, C, dim)`, before the projection."""
        at_once = max(1, self.nodes // (max(map(len, self.trees)) + self.common + contexts.shape[1]))
        return torch.cat([self._pooled(part) for part in contexts.split(at_once)])

    def _pooled(self, contexts: Tensor) -> Tensor:
        states = self._prefix(contexts)
        tails = self._embedded_tails(len(self.prefix_ids) + contexts.shape[1])
        parts = [self._tail(tree, tail, states) for tree, tail in zip(self.trees, tails, strict=True)]
        return torch.cat(parts, 1)[:, self.place]

    def _embedded_tails(self, start: int) -> list[Tensor]:
        """Tokens and positions of every tree's nodes, `(n, dim)`, behind a prefix of `start` tokens."""
        known, tails = self._last_tails
        if known != start:
            embeddings = self.tower.embeddings
            token, position = embeddings.token_embedding, embeddings.position_embedding.weight
            tails = [token(tree.ids) + position[start + tree.depth] for tree in self.trees]
            self._last_tails = start, tails
        return tails

    def _prefix(self, contexts: Tensor) -> list[State]:
        """Keys and values of `[BOS, context, common words]` in every layer."""
        embeddings = self.tower.embeddings
        words = embeddings.token_embedding(self.prefix_ids).expand(len(contexts), -1, -1)
        hidden = torch.cat([words[:, :1], contexts, words[:, 1:]], 1)
        hidden = hidden + embeddings.position_embedding.weight[: hidden.shape[1]]
        states = []
        *_, last = self.tower.encoder.layers
        for layer in self.tower.encoder.layers:
            attention = layer.self_attn
            normed = layer.layer_norm1(hidden)
            key, value = (
                _heads(part(normed), attention).transpose(1, 2) for part in (attention.k_proj, attention.v_proj)
            )
            states.append((key, value))
            if layer is not last:
                query = _heads(attention.q_proj(normed), attention).transpose(1, 2)
                mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=attention.scale)
                hidden = hidden + attention.out_proj(mixed.transpose(1, 2).flatten(2))
                hidden = hidden + _mlp(layer.mlp, layer.layer_norm2(hidden))
        return states

    def _tail(self, tree: Tree, tail: Tensor, states: list[State]) -> Tensor:
        """What the tower pools for the prompts of one tree, `(P, its prompts, dim)`."""
        hidden = tail.expand(len(states[0][0]), -1, -1)
        *_, last = self.tower.encoder.layers
        for layer, state in zip(self.tower.encoder.layers, states, strict=True):
            attention = layer.self_attn
            normed = layer.layer_norm1(hidden)
            key, value = (_heads(part(normed), attention) for part in (attention.k_proj, attention.v_proj))
            levels = tree.levels
            if layer is last:
                levels = tree.ends
                ends = torch.cat([level[:, -1] for level in levels])
                normed, hidden = normed[:, ends], hidden[:, ends]
            query = _heads(attention.q_proj(normed), attention) * attention.scale
            mixed = _attend(query, key, value, state, levels)
            hidden = hidden + attention.out_proj(mixed.flatten(2))
            hidden = hidden + _mlp(layer.mlp, layer.layer_norm2(hidden))
        return self.tower.final_layer_norm(hidden)[:, tree.prompts]


def _attend(query: Tensor, key: Tensor, value: Tensor, prefix: State, levels: Sequence[Tensor]) -> Tensor:
    """Attention of tree nodes to the prefix and to their own path; all `(P, nodes, heads, width)`.

    Nodes of one depth have paths of one length, so nothing is masked or padded.
    """
    prefix_key, prefix_value = prefix
    length = prefix_key.shape[2]
    to_prefix = (query.transpose(1, 2) @ prefix_key.transpose(-1, -2)).transpose(1, 2)  # (P, nodes, heads, length)
    of_prefix, of_path, start = [], [], 0
    for path in levels:
        rows = slice(start, start := start + len(path))
        to_path = (query[:, rows, None] * key[:, path]).sum(-1).transpose(2, 3)  # (P, rows, heads, depth + 1)
        weights = torch.cat([to_prefix[:, rows], to_path], -1).softmax(-1)
        of_prefix.append(weights[..., :length])
        of_path.append((weights[..., length:].transpose(2, 3)[..., None] * value[:, path]).sum(2))
    mixed = torch.cat(of_prefix, 1).transpose(1, 2) @ prefix_value
    return mixed.transpose(1, 2) + torch.cat(of_path, 1)


def _mlp(mlp: Any, hidden: Tensor) -> Tensor:
    """`mlp(hidden)`; OpenAI's GELU, `x · sigmoid(1.702 x)`, as one SiLU whose scales the matrix products take along."""
    if not isinstance(mlp.activation_fn, QuickGELUActivation):
        return mlp(hidden)
    scale, (fc1, fc2) = 1.702, (mlp.fc1, mlp.fc2)
    inner = F.silu(torch.addmm(fc1.bias, hidden.flatten(0, -2), fc1.weight.T, beta=scale, alpha=scale))
    return torch.addmm(fc2.bias, inner, fc2.weight.T, alpha=1 / scale).view_as(hidden)


def _heads(states: Tensor, attention: Any) -> Tensor:
    """`(P, n, dim)` -> `(P, n, heads, width)`."""
    return states.unflatten(-1, (attention.num_heads, attention.head_dim))


def _parts(order: list[int], lengths: list[int], most: int) -> Iterator[list[int]]:
    """`order` cut so that no part's lengths add up to more than `most`, a single longer one aside."""
    part: list[int] = []
    total = 0
    for index in order:
        if part and total + lengths[index] > most:
            yield part
            part, total = [], 0
        part.append(index)
        total += lengths[index]
    yield part
