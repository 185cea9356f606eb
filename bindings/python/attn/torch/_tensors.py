# SPDX-License-Identifier: BSD-3-Clause
"""_tensors.py: tensors as NumPy's arrays over the same memory and back, and which of them there can be at all."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
import torch

from .._dtypes import TYPES, bfloat16
from .._tensors import lengths_of

Function = TypeVar("Function", bound=Callable[..., Any])


_BESIDE: dict[torch.dtype, torch.dtype] = {getattr(torch, one.name): getattr(torch, one.beside) for one in TYPES}


def beside(dtype: torch.dtype) -> torch.dtype:
    """The type of what stands beside tensors of this one: parameters, weights, log-sum-exps."""
    return _BESIDE.get(dtype, dtype)


def array_of(tensor: torch.Tensor) -> Any:
    """A NumPy array over the tensor's memory, or a TypeError where NumPy has not its type."""
    if tensor.requires_grad:
        tensor = tensor.detach()
    if tensor.dtype is torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(bfloat16)
    return tensor.numpy()


def tensor_of(array: Any) -> Any:
    """A tensor over the memory of an array that was made here; None stays None."""
    if array is None:
        return None
    if array.dtype == bfloat16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def arrays_of(tensors: Any) -> list[Any]:
    return [None if tensor is None else array_of(tensor) for tensor in tensors]


def plain(tensor: Any, name: str) -> torch.Tensor:
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"{name} is a {type(tensor).__name__}, but a tensor is needed")
    if tensor.device.type != "cpu":
        raise TypeError(f"{name} is on {tensor.device}, but attention is computed on the CPU; nothing is copied")
    return tensor


def lengths(given: Any, name: str) -> torch.Tensor | None:
    """Lengths as a tensor, for autograd to keep: it sees when a tensor is changed before the way back. What is none is
    copied, as nobody would see it there."""
    if given is None or isinstance(given, torch.Tensor):
        return given
    return torch.from_numpy(np.array(lengths_of(given, name)))


def recorded() -> str | None:
    """Who is writing down torch's operations, if anybody is. Ours is none of them: what it gives would be a constant."""
    if torch._C._get_tracing_state() is not None:
        return "torch.jit.trace"
    proxies: Any = sys.modules.get("torch.fx.experimental.proxy_tensor")  # nobody does who has not loaded it
    return "make_fx or torch.export" if proxies is not None and proxies.get_proxy_mode() is not None else None


def outside_graphs(function: Function) -> Function:
    """A function that is in no graph of torch's: compiled code is cut in two there, and what records refuses it."""

    @functools.wraps(function)
    def called(*given: Any, **named: Any) -> Any:
        if torch.compiler.is_compiling():
            disable: Any = torch.compiler.disable
            return disable(function)(*given, **named)
        by = recorded()
        if by is not None:
            raise RuntimeError(f"attn.torch.{function.__name__} cannot be recorded by {by}: it is no operation of torch's, "
                               "and what it gives would be written down as a constant")
        return function(*given, **named)

    return cast(Function, called)
