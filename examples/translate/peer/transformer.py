# SPDX-License-Identifier: BSD-3-Clause
"""The translator of 2017 (model/transformer.h) in PyTorch, as it is best written there: packed projections,
scaled_dot_product_attention, no weights that nobody asked for."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from batches import PADDING, Batch
from checkpoint import Checkpoint


class SelfAttention(nn.Module):
    def __init__(self, states: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.into, self.out = nn.Linear(states, 3 * states), nn.Linear(states, states)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        query, key, value = self.into(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(query, key, value, mask, is_causal=self.causal)
        return self.out(y.transpose(1, 2).flatten(2))


class CrossAttention(nn.Module):
    def __init__(self, states: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key_value = nn.Linear(states, states), nn.Linear(states, 2 * states)
        self.out = nn.Linear(states, states)

    def forward(self, x: torch.Tensor, memory: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        query = self.query(x).unflatten(2, (self.heads, -1)).transpose(1, 2)
        key, value = self.key_value(memory).unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(query, key, value, mask)
        return self.out(y.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    def __init__(self, states: int, heads: int, feed_forward: int, decodes: bool) -> None:
        super().__init__()
        self.self_norm, self.self_attention = nn.LayerNorm(states), SelfAttention(states, heads, decodes)
        self.cross_norm = nn.LayerNorm(states) if decodes else None
        self.cross_attention = CrossAttention(states, heads) if decodes else None
        self.feed_norm = nn.LayerNorm(states)
        self.feed1, self.feed2 = nn.Linear(states, feed_forward), nn.Linear(feed_forward, states)

    def forward(self, x: torch.Tensor, mask: torch.Tensor, memory: torch.Tensor | None = None) -> torch.Tensor:
        # A target's padding comes last, where no word before it looks.
        x = x + self.self_attention(self.self_norm(x), mask if memory is None else None)
        if memory is not None:
            x = x + self.cross_attention(self.cross_norm(x), memory, mask)
        return x + self.feed2(torch.relu(self.feed1(self.feed_norm(x))))


def sinusoids(length: int, states: int) -> torch.Tensor:
    angles = torch.arange(length, dtype=torch.float64).unsqueeze(1) / 10000 ** (
        torch.arange(0, states, 2, dtype=torch.float64) / states
    )
    return torch.stack((angles.sin(), angles.cos()), dim=2).flatten(1)[:, :states].float()


class Stack(nn.Module):
    def __init__(
        self, words: int, most: int, layers: int, states: int, heads: int, feed_forward: int, decodes: bool
    ) -> None:
        super().__init__()
        self.factor = math.sqrt(states)
        self.embedding = nn.Embedding(words, states)
        self.register_buffer("places", sinusoids(most, states), persistent=False)
        self.layers = nn.ModuleList(Layer(states, heads, feed_forward, decodes) for _ in range(layers))
        self.norm = nn.LayerNorm(states)

    def forward(self, words: torch.Tensor, mask: torch.Tensor, memory: torch.Tensor | None = None) -> torch.Tensor:
        x = torch.add(self.places[: words.shape[1]], self.embedding(words), alpha=self.factor)
        for layer in self.layers:
            x = layer(x, mask, memory)
        return self.norm(x)


class Transformer(nn.Module):
    def __init__(
        self,
        source_words: int,
        target_words: int,
        most_words: int,
        layers: int,
        states: int,
        heads: int,
        feed_forward: int,
    ) -> None:
        super().__init__()
        sizes = (most_words + 1, layers, states, heads, feed_forward)
        self.encoder = Stack(source_words, *sizes, decodes=False)
        self.decoder = Stack(target_words, *sizes, decodes=True)
        self.output = nn.Linear(states, target_words)

    def forward(self, batch: Batch) -> torch.Tensor:
        """The logits, [rows, target length, target words]."""
        mask = (batch.source != PADDING)[:, None, None, :]
        memory = self.encoder(batch.source, mask)
        return self.output(self.decoder(batch.target_in, mask, memory))


def _layer(p: dict[str, torch.Tensor], theirs: str, ours: str, decodes: bool) -> dict[str, torch.Tensor]:
    norms = ("self_norm", "cross_norm", "feed_norm") if decodes else ("self_norm", "feed_norm")
    state = {
        f"{theirs}.self_attention.into.weight": p[f"{ours}.self.W_qkv"],
        f"{theirs}.self_attention.into.bias": p[f"{ours}.self.b_qkv"],
        f"{theirs}.self_attention.out.weight": p[f"{ours}.self.W_o"],
        f"{theirs}.self_attention.out.bias": p[f"{ours}.self.b_o"],
    }
    for kind, letter in (("weight", "W"), ("bias", "b")):
        for i, norm in enumerate(norms, 1):
            state[f"{theirs}.{norm}.{kind}"] = p[f"{ours}.norm{i}.{kind}"]
        for feed in ("feed1", "feed2"):
            state[f"{theirs}.{feed}.{kind}"] = p[f"{ours}.{feed}.{kind}"]
        if decodes:
            cross = f"{ours}.cross.{letter}"
            state[f"{theirs}.cross_attention.query.{kind}"] = p[f"{cross}_q"]
            state[f"{theirs}.cross_attention.key_value.{kind}"] = torch.cat((p[f"{cross}_k"], p[f"{cross}_v"]))
            state[f"{theirs}.cross_attention.out.{kind}"] = p[f"{cross}_o"]
    return state


def from_checkpoint(c: Checkpoint) -> Transformer:
    model = Transformer(
        len(c.source_words),
        len(c.target_words),
        *(c.whole(name) for name in ("most-words", "layers", "states", "heads", "feed-forward")),
    )
    p = c.parameters
    state = {"output.weight": p["output.weight"], "output.bias": p["output.bias"]}
    for stack in ("encoder", "decoder"):
        state[f"{stack}.embedding.weight"] = p[f"{stack}.embedding"]
        state[f"{stack}.norm.weight"], state[f"{stack}.norm.bias"] = p[f"{stack}.norm.weight"], p[f"{stack}.norm.bias"]
        for i in range(c.whole("layers")):
            state |= _layer(p, f"{stack}.layers.{i}", f"{stack}.{i}", stack == "decoder")
    model.load_state_dict(state)
    return model
