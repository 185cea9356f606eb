# SPDX-License-Identifier: BSD-3-Clause
"""_mechanism.py: a rule that computes: forward, backward, and laid out to be run many times."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from . import _run
from ._calls import Call
from ._memory import Memory
from ._rule import Rule
from ._run import NOWHERE, Gradients, Result
from ._tensors import ArrayLike, Lengths
from ._words import Exact, MaskAlign, Stage


class Mechanism(Rule):
    """A score with its modifiers. Its dimensions are those of params, which are bound, where they are not given.

    score       dot, scaled_dot, general, additive, concat (give query_dim or key_dim too), location
    flags       of an additive score that is made without params: bias, normalised, query_projected, key_projected
    the others  as for attn.attention()."""

    def forward(self, query: ArrayLike, key: ArrayLike | None = None, value: ArrayLike | None = None, *,
                key_scales: ArrayLike | None = None, value_scales: ArrayLike | None = None,
                memory: Memory | None = None, mask: ArrayLike | None = None, bias: ArrayLike | None = None,
                key_lengths: Lengths | None = None, query_offsets: Lengths | None = None,
                key_offsets: Lengths | None = None, mask_align: MaskAlign | None = None,
                page_table: Lengths | None = None, page_offsets: Lengths | None = None, query_start: int = 0,
                dropout: float = 0.0, seed: int = 0, offset: int = 0, return_weights: bool = False, return_logsumexp: bool | Exact = False,
                return_scores: Stage | None = None, return_stats: bool | Collection[str] = False,
                out: ArrayLike | None = None) -> Any:
        """As attn.attention(), by this rule; over a memory in place of key and value, if there is one."""
        places = (NOWHERE if query_offsets is None and key_offsets is None and page_table is None and page_offsets is None
                  else (query_offsets, key_offsets, page_table, page_offsets))
        return _run.forward(self, query, key, value, memory, mask, bias, key_lengths, query_start, dropout, seed, offset,
                            return_weights, return_logsumexp, return_scores, return_stats, out, key_scales, value_scales,
                            places, mask_align)

    __call__ = forward

    def backward(self, d_context: ArrayLike | None, query: ArrayLike, key: ArrayLike | None = None,
                 value: ArrayLike | None = None, *, d_weights: ArrayLike | None = None,
                 d_logsumexp: ArrayLike | None = None, result: Result | None = None,
                 wanted: Collection[str] | None = None, mask: ArrayLike | None = None, bias: ArrayLike | None = None,
                 key_lengths: Lengths | None = None, query_offsets: Lengths | None = None,
                 key_offsets: Lengths | None = None, mask_align: MaskAlign | None = None, query_start: int = 0,
                 dropout: float = 0.0, seed: int = 0, offset: int = 0) -> Gradients:
        """As attn.attention_grad(), by this rule."""
        return _run.backward(self, d_context, query, key, value, d_weights=d_weights, d_logsumexp=d_logsumexp,
                             result=result, wanted=wanted, mask=mask, bias=bias, key_lengths=key_lengths,
                             query_offsets=query_offsets, key_offsets=key_offsets, mask_align=mask_align,
                             query_start=query_start, dropout=dropout, seed=seed, offset=offset)

    def call(self, query: ArrayLike, key: ArrayLike | None = None, value: ArrayLike | None = None,
             **keywords: Any) -> Call:
        """A Call of this rule, laid out to be run many times."""
        return Call(self, query=query, key=key, value=value, **keywords)
