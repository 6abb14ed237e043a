"""The shared-prefix forward of a causal text tower (CLIP, MetaCLIP 2).

A causal tower that reads `[BOS, context, words before the name, name, EOS]` computes the same hidden
states for everything up to the name whatever the name is. So they are computed once per candidate,
and per class only the name's own tokens, which attend to the prefix's keys and values.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


class PrefixTower:
    """Text features of a population of contexts under fixed prompts.

    Args:
        text_model: transformers' `CLIPTextModel` or one built alike.
        prompts: token ids of each prompt without context, BOS first, EOS last (its first occurrence
            is where the tower pools).
    """

    def __init__(self, text_model: Any, prompts: list[list[int]]) -> None:
        self.tower = text_model
        prompts = [prompt[: prompt.index(prompt[-1]) + 1] for prompt in prompts]
        shortest = min(map(len, prompts))
        common = 1
        while common < shortest - 1 and len({prompt[common] for prompt in prompts}) == 1:
            common += 1
        self.common = common  # BOS and the template's words that all prompts start with
        device = text_model.final_layer_norm.weight.device
        longest = max(map(len, prompts)) - common
        tails = [prompt[common:] + [prompt[-1]] * (longest - len(prompt) + common) for prompt in prompts]
        self.prefix_ids = torch.tensor(prompts[0][:common], device=device)
        self.tail_ids = torch.tensor(tails, device=device)
        self.last = torch.tensor([len(prompt) - common - 1 for prompt in prompts], device=device)

    @torch.no_grad()
    def pooled(self, contexts: Tensor) -> Tensor:
        """`(P, m, dim)` -> what the tower pools at EOS, `(P, C, dim)`, before the projection."""
        population, _, dim = contexts.shape
        embeddings = self.tower.embeddings
        words = embeddings.token_embedding(self.prefix_ids).expand(population, -1, -1)
        prefix = torch.cat([words[:, :1], contexts, words[:, 1:]], 1)
        position = embeddings.position_embedding.weight
        length = prefix.shape[1]
        prefix = prefix + position[:length]
        classes, tail_length = self.tail_ids.shape
        tail = embeddings.token_embedding(self.tail_ids) + position[length : length + tail_length]
        tail = tail.expand(population, -1, -1, -1).reshape(population, classes * tail_length, dim)
        causal = torch.ones(length, length, dtype=torch.bool, device=prefix.device).tril()
        own = torch.ones(tail_length, tail_length, dtype=torch.bool, device=prefix.device).tril()
        for layer in self.tower.encoder.layers:
            prefix, tail = self._layer(layer, prefix, tail, causal, own)
        tail = tail.view(population, classes, tail_length, dim)
        at_eos = tail[:, torch.arange(classes, device=tail.device), self.last]
        return self.tower.final_layer_norm(at_eos)

    def _layer(self, layer: Any, prefix: Tensor, tail: Tensor, causal: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
        attention = layer.self_attn
        heads, width = attention.num_heads, attention.head_dim
        length = prefix.shape[1]
        both = torch.cat([prefix, tail], 1)
        normed = layer.layer_norm1(both)
        population, total, dim = both.shape
        query, key, value = (
            projection(normed).view(population, total, heads, width).transpose(1, 2)
            for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        scale = attention.scale
        of_prefix = F.scaled_dot_product_attention(
            query[:, :, :length], key[:, :, :length], value[:, :, :length], attn_mask=causal, scale=scale
        )
        steps = own.shape[0]
        tail_query = query[:, :, length:]
        to_prefix = tail_query @ key[:, :, :length].transpose(-1, -2)  # (P, heads, C·t, prefix)
        per_class = (population, heads, -1, steps, width)
        tail_query, tail_key, tail_value = (states[:, :, length:].reshape(per_class) for states in (query, key, value))
        to_own = (tail_query @ tail_key.transpose(-1, -2)).masked_fill(~own, -torch.inf)
        to_own = to_own.reshape(population, heads, -1, steps)
        weights = (torch.cat([to_prefix, to_own], -1) * scale).softmax(-1)
        of_tail = weights[..., :length] @ value[:, :, :length]
        own_weights = weights[..., length:].reshape(population, heads, -1, steps, steps)
        of_tail = of_tail + (own_weights @ tail_value).reshape(of_tail.shape)
        attended = torch.cat([of_prefix, of_tail], 2).transpose(1, 2).reshape(population, total, dim)
        both = both + attention.out_proj(attended)
        both = both + layer.mlp(layer.layer_norm2(both))
        return both[:, :length], both[:, length:]
