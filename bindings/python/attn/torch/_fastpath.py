# SPDX-License-Identifier: BSD-3-Clause
"""_fastpath.py: what torch.nn's layers call in inference, past scaled_dot_product_attention: one operation for attention
with its projections, one for a layer of TransformerEncoder. Both have attention of their own, with a matrix of weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

import torch
import torch.nn.functional as F

from ._covers import autocast, not_plain, outside
from ._places import Function

Tensor = torch.Tensor
# Below this length, or for fewer products than this, torch's one operation is faster than several: with bfloat16, for which
# CPUs have products of their own, longer than with the others.
LONG, MUCH = {torch.float32: 256, torch.bfloat16: 2048, torch.float16: 256}, 1 << 24


def _mask(mask: Tensor | None, kind: int | None, dtype: torch.dtype) -> Tensor | None:
    """What may be seen, or a bias of this type, of torch's mask: whole, or of the keys alone (kind 1). True, or minus
    infinity, hides."""
    if mask is None:
        return None
    if kind == 1:
        mask = mask[:, None, None, :]
    for d in range(mask.ndim):
        if mask.stride(d) == 0:  # as torch repeats a mask for heads and sequences
            mask = mask.narrow(d, 0, 1)
    if mask.dtype is torch.bool:
        return mask.logical_not()
    visible = mask == 0
    return visible if bool(visible.logical_or(mask == -torch.inf).all()) else mask.to(dtype)  # a mask hides whole tiles


class Taker(Protocol):
    """Who attends, and counts."""

    taken: int
    left: Counter[str]

    def attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor: ...


class Layers:
    """Both operations, which are taken where they gain by it. active() gives who is asked."""

    def __init__(self, active: Callable[[], Taker]):
        self.active = active

    def _is_left(self, x: Tensor, *others: Tensor | None, weights: bool = False) -> bool:
        """Counts the call."""
        why = outside() or ("autocast" if autocast() else not_plain(None, x, *others))
        if why is None and (x.shape[1] < LONG[x.dtype] or x.shape[1] * x.numel() < MUCH):
            why = "torch's fast path is faster"
        if why is None and weights:
            why = "weights are wanted"
        one = self.active()
        if why is None:
            one.taken += 1
        else:
            one.left[why] += 1
        return why is not None

    def _attend(self, x: Tensor, heads: int, packed: tuple[Tensor, Tensor], out: tuple[Tensor, Tensor],
                mask: Tensor | None, kind: int | None) -> Tensor:
        batch, length, dim = x.shape
        query, key, value = F.linear(x, *packed).view(batch, length, 3, heads, dim // heads).permute(2, 0, 3, 1, 4)
        context = self.active().attend(query, key, value, _mask(mask, kind, x.dtype))
        return F.linear(context.transpose(1, 2).reshape(batch, length, dim), *out)

    def multi_head_attention(self, below: Function) -> Function:
        def ours(query: Tensor, key: Tensor, value: Tensor, embed_dim: int, num_head: int, qkv_weight: Tensor,
                 qkv_bias: Tensor, proj_weight: Tensor, proj_bias: Tensor, mask: Tensor | None = None,
                 need_weights: bool = True, average_attn_weights: bool = True, mask_type: int | None = None) -> Any:
            if self._is_left(query, qkv_weight, qkv_bias, proj_weight, proj_bias, weights=need_weights):
                return below(query, key, value, embed_dim, num_head, qkv_weight, qkv_bias, proj_weight, proj_bias, mask,
                             need_weights, average_attn_weights, mask_type)
            made = self._attend(query, num_head, (qkv_weight, qkv_bias), (proj_weight, proj_bias), mask, mask_type)
            return made, None

        return ours

    def encoder_layer(self, below: Function) -> Function:
        def ours(src: Tensor, embed_dim: int, num_heads: int, qkv_weight: Tensor, qkv_bias: Tensor, proj_weight: Tensor,
                 proj_bias: Tensor, use_gelu: bool, norm_first: bool, eps: float, norm_weight_1: Tensor,
                 norm_bias_1: Tensor, norm_weight_2: Tensor, norm_bias_2: Tensor, ffn_weight_1: Tensor,
                 ffn_bias_1: Tensor, ffn_weight_2: Tensor, ffn_bias_2: Tensor, mask: Tensor | None = None,
                 mask_type: int | None = None) -> Any:
            params = (qkv_weight, qkv_bias, proj_weight, proj_bias, norm_weight_1, norm_bias_1, norm_weight_2, norm_bias_2,
                      ffn_weight_1, ffn_bias_1, ffn_weight_2, ffn_bias_2)
            if self._is_left(src, *params):
                return below(src, embed_dim, num_heads, *params[:4], use_gelu, norm_first, eps, *params[4:], mask,
                             mask_type)
            norms = [lambda x, w=w, b=b: F.layer_norm(x, (embed_dim,), w, b, eps)
                     for w, b in ((norm_weight_1, norm_bias_1), (norm_weight_2, norm_bias_2))]
            x = norms[0](src) if norm_first else src
            x = self._attend(x, num_heads, (qkv_weight, qkv_bias), (proj_weight, proj_bias), mask, mask_type).add_(src)
            between = x if norm_first else norms[0](x)
            x = F.linear(norms[1](between) if norm_first else between, ffn_weight_1, ffn_bias_1)
            x = F.linear(F.gelu(x) if use_gelu else x.relu_(), ffn_weight_2, ffn_bias_2).add_(between)
            return x if norm_first else norms[1](x)

        return ours
