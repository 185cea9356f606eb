# SPDX-License-Identifier: BSD-3-Clause
"""_replace.py: puts libattn in the place of torch.nn.functional.scaled_dot_product_attention, and takes it away again."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
import torch.nn.functional

from .. import _attention
from .._words import Align
from ._function import attention
from ._tensors import array_of

_theirs = torch.nn.functional.scaled_dot_product_attention
_TENSORS = (torch.Tensor, torch.nn.Parameter)
_active: list[Replacement] = []


def _outside() -> str | None:
    """What of torch is at work around the call that has to see torch's own operation."""
    if torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None:
        return "being compiled"
    if torch.is_autocast_enabled("cpu"):
        return "autocast"
    if torch._C._functorch.peek_interpreter_stack() is not None or torch.autograd.forward_ad._current_level >= 0:
        return "function transforms"
    if torch._C._len_torch_dispatch_stack() or torch._C._len_torch_function_stack():
        return "modes of torch"
    return None


def _unlike(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: Any, is_causal: bool, grouped: bool) -> str | None:
    """What of the arguments is not covered."""
    for tensor in (q, k, v) if mask is None else (q, k, v, mask):
        if type(tensor) not in _TENSORS:
            return "not plain tensors"
        if tensor.is_nested or tensor.layout is not torch.strided:
            return "nested or sparse"
        if not tensor.is_cpu:
            return "not on the CPU"
        if tensor.dtype is not torch.float32 and not (tensor is mask and tensor.dtype is torch.bool):
            return "not float32"
        if tensor.numel() == 0 or tensor.is_neg():
            return "empty or lazily negated"
    if not 2 <= q.ndim <= 4 or not q.ndim == k.ndim == v.ndim:
        return "dimensions"
    heads = q.ndim - (3 if grouped and q.ndim > 2 else 2)
    if not q.shape[:heads] == k.shape[:heads] == v.shape[:heads] or k.shape[:-1] != v.shape[:-1] or \
            q.shape[-1] != k.shape[-1]:
        return "shapes"  # which are to be broadcast, or are wrong
    if grouped and (q.ndim == 2 or q.shape[-3] % k.shape[-3]):
        return "shapes"
    if mask is not None:
        full = (*q.shape[:-1], k.shape[-2])
        if is_causal or mask.ndim > len(full) or any(
                mine not in (1, wants) for mine, wants in zip(mask.shape[::-1], full[::-1])):
            return "mask"
    return None


class Replacement:
    """What enable() gives: a context manager, and counts of the calls: taken, and left by the reason for which they
    were."""

    def __init__(self, dropout: bool, threads: int | None):
        self.dropout, self.threads = dropout, threads
        self.taken, self.left = 0, Counter[str]()
        self._fast_path = torch.backends.mha.get_fastpath_enabled()

    def __call__(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor,
                 attn_mask: torch.Tensor | None = None, dropout_p: float = 0.0, is_causal: bool = False,
                 scale: float | None = None, enable_gqa: bool = False) -> torch.Tensor:
        """Scaled dot-product attention as torch has it."""
        why = _outside() or _unlike(query, key, value, attn_mask, is_causal, enable_gqa)
        if why is None and dropout_p and not (self.dropout and 0 < dropout_p < 1):
            why = "dropout"
        if why is not None:
            self.left[why] += 1
            return _theirs(query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa)
        self.taken += 1
        mask, bias = (attn_mask, None) if attn_mask is None or attn_mask.dtype == torch.bool else (None, attn_mask)
        causal: Align | None = "top_left" if is_causal else None
        threads = torch.get_num_threads() if self.threads is None else self.threads
        context: torch.Tensor
        if dropout_p or torch.is_grad_enabled() and (query.requires_grad or key.requires_grad or value.requires_grad
                                                     or bias is not None and bias.requires_grad):
            context = attention(query, key, value, scale=scale, mask=mask, bias=bias, causal=causal, dropout=dropout_p,
                                threads=threads)
        else:  # the short way
            context = torch.from_numpy(_attention.attention(
                array_of(query), array_of(key), array_of(value), scale=scale, causal=causal, threads=threads,
                mask=None if mask is None else array_of(mask), bias=None if bias is None else array_of(bias)))
        return context

    def __enter__(self) -> Replacement:
        return self

    def __exit__(self, *_: object) -> None:
        if self in _active:
            _active.remove(self)
            _put(self)


def _put(last: Replacement) -> None:
    """Puts the latest replacement that is active, or torch's own, in its place; last is the one before."""
    torch.nn.functional.scaled_dot_product_attention = _active[-1] if _active else _theirs
    torch.backends.mha.set_fastpath_enabled(False if _active else last._fast_path)


def enable(*, dropout: bool = False, threads: int | None = None) -> Replacement:
    """From now on torch.nn.functional.scaled_dot_product_attention of plain float32 tensors on the CPU is computed by
    libattn, forward and backward; whatever else there is is left to torch: other types and devices, nested tensors,
    shapes to be broadcast, autocast, compiling. torch.nn.MultiheadAttention and the Transformer's layers come here
    too, once their fast path, which knows torch's attention alone, is off; so it is off until disable(), or the end of
    a with statement.

    dropout     calls with dropout are taken too, which drop other weights than torch would, by a seed from its generator
    threads     of the engine; None: as many as torch has."""
    replacement = Replacement(dropout, threads)
    if _active:
        replacement._fast_path = _active[0]._fast_path
    _active.append(replacement)
    _put(replacement)
    return replacement


def disable() -> None:
    """Torch's own attention again, however often another was enabled."""
    if _active:
        last = _active[0]
        _active.clear()
        _put(last)
