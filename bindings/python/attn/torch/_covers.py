# SPDX-License-Identifier: BSD-3-Clause
"""_covers.py: which calls of torch's scaled_dot_product_attention are not taken, and why."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._device import DeviceContext

from ._tensors import recorded

_TENSORS = (torch.Tensor, torch.nn.Parameter)
_TYPES = torch.float32, torch.bfloat16, torch.float16
_MOST = torch.finfo(torch.float32).max


def _is_mode_at_work() -> bool:
    """Whether a mode of torch's has to see its operations. A default device has not: it is for tensors that are made."""
    if torch._C._len_torch_dispatch_stack():
        return True
    return any([type(torch._C._get_function_stack_at(i)) is not DeviceContext
                for i in range(torch._C._len_torch_function_stack())])


def outside() -> str | None:
    """What of torch is at work around the call that has to see torch's own operation."""
    if torch._C._get_tracing_state() is not None or torch.compiler.is_compiling():
        return "being compiled"
    if torch._C._functorch.peek_interpreter_stack() is not None or torch.autograd.forward_ad._current_level >= 0:
        return "function transforms"
    if _is_mode_at_work() or recorded():
        return "modes of torch"
    if not torch._C._get_flash_sdp_enabled():  # as within sdpa_kernel(SDPBackend.MATH), whose gradients have gradients
        return "flash attention is off"
    return None


def autocast() -> torch.dtype | None:
    """What autocast has scaled_dot_product_attention computed in, where it is at work."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None


def type_in(cast: torch.dtype | None, tensor: torch.Tensor) -> torch.dtype:
    """What a tensor comes to be of where autocast casts to this one: what is of float64, or of no real numbers, stays."""
    dtype = tensor.dtype
    return dtype if cast is None or dtype is torch.float64 or not dtype.is_floating_point else cast


def not_plain(cast: torch.dtype | None, *tensors: torch.Tensor | None) -> str | None:
    """Why these are not all plain tensors on the CPU of one type that is taken, after such a cast."""
    first: torch.dtype | None = None
    for tensor in tensors:
        if tensor is None:
            continue
        if type(tensor) not in _TENSORS:
            return "not plain tensors"
        if tensor.is_nested or tensor.layout is not torch.strided:
            return "nested or sparse"
        if not tensor.is_cpu:
            return "not on the CPU"
        dtype = tensor.dtype if cast is None else type_in(cast, tensor)
        if dtype not in _TYPES:
            return "other types"
        first = dtype if first is None else first
        if dtype is not first:
            return "several types"
        if tensor.numel() == 0 or tensor.is_neg():
            return "empty or lazily negated"
    return None


def _is_exact(mask: torch.Tensor, cast: torch.dtype | None, query: torch.Tensor) -> bool:
    """Whether a mask of float32 is the same in the query's 16 bits, as one of zeros and minus infinity is."""
    dtype = type_in(cast, query)
    return dtype is not torch.float32 and not_plain(cast, mask) is None and type_in(cast, mask) is torch.float32 and \
        not mask.requires_grad and bool((mask.to(dtype) == mask).all())


def unlike(cast: torch.dtype | None, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: Any, is_causal: bool,
           scale: Any, grouped: bool) -> str | None:
    """What of the arguments, after a cast of autocast's, is not covered."""
    is_bool = mask is not None and type(mask) in _TENSORS and mask.dtype is torch.bool and mask.is_cpu and mask.numel()
    why = not_plain(cast, q, k, v)
    if why is None and mask is not None and not is_bool and not _is_exact(mask, cast, q):
        why = not_plain(cast, q, mask)
    if why is not None:
        return why
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
    if scale is not None and not (type(scale) in (float, int) and -_MOST <= scale <= _MOST):
        return "scale"
    return None
