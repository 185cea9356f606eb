# SPDX-License-Identifier: BSD-3-Clause
"""_replace.py: puts libattn in the place of torch.nn.functional.scaled_dot_product_attention, and takes it away again."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
import torch.nn.functional

from .._words import PRECISIONS, Precision, choose
from ._covers import autocast, outside, unlike
from ._fastpath import Layers
from ._function import attend
from ._places import Function, Place


def _is_as_flash(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None) -> bool:
    """Whether torch's flash kernel would take this, whose context lies as the query does; others give contiguous ones."""
    return query.ndim == 4 and query.shape[-1] == value.shape[-1] and \
        query.stride(-1) == key.stride(-1) == value.stride(-1) == 1 and not (mask is not None and mask.requires_grad)


class Replacement:
    """What enable() gives: a context manager, which can be entered again, and counts of the calls: taken, and left by
    the reason for which they were."""

    def __init__(self, dropout: bool, threads: int | None, precision: Precision):
        self.dropout, self.threads, self.precision = dropout, threads, precision
        self.taken, self.left = 0, Counter[str]()
        self._entered = 0

    def attend(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None = None,
               dropout: float = 0.0, causal: bool = False, scale: float | None = None) -> torch.Tensor:
        """By libattn. mask is as torch's attn_mask is: what may be seen, or a bias."""
        if mask is not None and mask.ndim == 0:  # the library knows no tensors without dimensions
            mask = mask.reshape(1)
        tensors = {"query": query, "key": key, "value": value}
        if mask is not None:
            tensors["mask" if mask.dtype == torch.bool else "bias"] = mask
        rule: dict[str, Any] = {"scale": scale, "causal": "top_left" if causal else None, "precision": self.precision,
                                "threads": torch.get_num_threads() if self.threads is None else self.threads}
        if dropout:
            rule["dropout"], rule["seed"] = dropout, int(torch.randint(1 << 62, (), device="cpu"))
        context: torch.Tensor = attend(rule, tensors, _is_as_flash(query, key, value, mask), {})
        return context

    def __enter__(self) -> Replacement:
        self._entered += 1
        if self not in _active:
            _activate(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._entered -= 1
        if self._entered == 0 and self in _active:
            _active.remove(self)
            if not _active:
                _clear()


_active: list[Replacement] = []


def _scaled_dot_product_attention(below: Function) -> Function:
    def ours(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attn_mask: torch.Tensor | None = None,
             dropout_p: float = 0.0, is_causal: bool = False, *, scale: float | None = None,
             enable_gqa: bool = False) -> Any:
        one, cast = _active[-1], autocast()
        why = outside() or unlike(cast, query, key, value, attn_mask, is_causal, scale, enable_gqa)
        if why is None and dropout_p and not (one.dropout and 0 < dropout_p < 1):
            why = "dropout"
        if why is not None:
            one.left[why] += 1
            grouped = {"enable_gqa": enable_gqa} if enable_gqa else {}  # which torch 2.4 has not
            return below(query, key, value, attn_mask, dropout_p, is_causal, scale=scale, **grouped)
        one.taken += 1
        if cast is not None:
            query, key, value = (tensor.to(cast) for tensor in (query, key, value))
        if attn_mask is not None and attn_mask.dtype is not torch.bool:
            attn_mask = attn_mask.to(query.dtype)
        return one.attend(query, key, value, attn_mask, dropout_p, is_causal, scale)

    return ours


_layers = Layers(lambda: _active[-1])
_PLACES = (Place(torch.nn.functional, "scaled_dot_product_attention", _scaled_dot_product_attention),
           Place(torch, "_transformer_encoder_layer_fwd", _layers.encoder_layer),
           Place(torch, "_native_multi_head_attention", _layers.multi_head_attention))


def _activate(replacement: Replacement) -> None:
    _active.append(replacement)
    for place in _PLACES:
        place.put()


def _clear() -> None:
    for place in _PLACES:
        place.clear()


def enable(*, dropout: bool = False, threads: int | None = None, precision: Precision = "exact") -> Replacement:
    """From now on torch.nn.functional.scaled_dot_product_attention of plain tensors of float32, bfloat16 or float16 on the
    CPU is computed by libattn, forward and backward, until disable(), or the end of a with statement; within
    torch.autocast("cpu"), which casts as it does for torch's, too. torch.nn.MultiheadAttention and the Transformer's layers
    come here too. Whatever else there is is left to torch:

    - other types and devices, several types in one call, nested tensors, shapes to be broadcast, transforms of functions;
    - what is compiled, scripted, exported or traced, whole; of that the first three are not counted;
    - everything while torch's flash attention is off, as within sdpa_kernel(SDPBackend.MATH), where gradients can be
      differentiated again; ours say that they cannot;
    - in inference, layers on torch's fast path with sequences so short that it is faster, with padding, or in autocast;
    - MultiheadAttention with need_weights=True, its default, which calls no such function, and so is counted nowhere
      unless it is on the fast path.

    dropout     calls with dropout are taken too, which drop other weights than torch would, by a seed from its generator;
                it is where most is won, as torch has no kernel for them
    threads     of the engine; None: as many as torch has
    precision   as of attention(): "fast" lets a CPU that has instructions for it multiply bfloat16 as it is, on the way
                forward."""
    choose(PRECISIONS, precision, "precision")
    replacement = Replacement(dropout, threads, precision)
    _activate(replacement)
    return replacement


def disable() -> None:
    """What was there before again, however often another was enabled."""
    _active.clear()
    _clear()
