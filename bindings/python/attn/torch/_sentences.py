# SPDX-License-Identifier: BSD-3-Clause
"""_sentences.py: decomposable attention and Luong's attentional step as functions that autograd can go back through."""

from __future__ import annotations

from typing import Any

import torch

from .. import _attentional, _decomposable
from .._decomposable import Decomposed
from ._function import array_of, plain


def _arrays(tensors: tuple[torch.Tensor | None, ...]) -> list[Any]:
    return [None if tensor is None else array_of(tensor) for tensor in tensors]


def _lengths(given: Any) -> Any:
    return array_of(given) if isinstance(given, torch.Tensor) else given


def _gradients(made: Any, names: tuple[str, ...]) -> tuple[Any, ...]:
    gradients = [getattr(made, name) for name in names]
    return tuple(None if array is None else torch.from_numpy(array) for array in gradients)


class _Decomposable(torch.autograd.Function):
    NAMES = "f", "g", "a", "b"

    @staticmethod
    def forward(ctx: Any, lengths: dict[str, Any], *tensors: torch.Tensor | None) -> Any:
        result = _decomposable.decomposable(*_arrays(tensors), **lengths)
        made = [torch.from_numpy(array) for array in result]
        ctx.lengths = lengths
        ctx.save_for_backward(*made, *tensors)
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*made[2:])
        return tuple(made)

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator, unused-ignore]
    def backward(ctx: Any, d_beta: Any, d_alpha: Any, *_: Any) -> Any:
        if d_beta is None and d_alpha is None:
            return (None,) * 5
        made, tensors = ctx.saved_tensors[:4], ctx.saved_tensors[4:]
        wanted = [name for name, needs in zip(_Decomposable.NAMES, ctx.needs_input_grad[1:]) if needs]
        gradients = _decomposable.decomposable_grad(*_arrays((d_beta, d_alpha)), *_arrays(tensors), **ctx.lengths,
                                                    result=Decomposed(*_arrays(made)), wanted=wanted)
        return (None, *_gradients(gradients, _Decomposable.NAMES))


class _Attentional(torch.autograd.Function):
    NAMES = "weight", "context", "query", "bias"

    @staticmethod
    def forward(ctx: Any, *tensors: torch.Tensor | None) -> Any:
        output = torch.from_numpy(_attentional.attentional(*_arrays(tensors)))
        ctx.save_for_backward(output, *tensors)
        return output

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator, unused-ignore]
    def backward(ctx: Any, d_output: Any) -> Any:
        wanted = [name for name, needs in zip(_Attentional.NAMES, ctx.needs_input_grad) if needs]
        gradients = _attentional.attentional_grad(array_of(d_output), *_arrays(ctx.saved_tensors), wanted=wanted)
        return _gradients(gradients, _Attentional.NAMES)


_apply_decomposable: Any = _Decomposable.apply
_apply_attentional: Any = _Attentional.apply


def _all_plain(**tensors: Any) -> list[torch.Tensor | None]:
    return [None if tensor is None else plain(tensor, name) for name, tensor in tensors.items()]


def decomposable(f: torch.Tensor, g: torch.Tensor, a: torch.Tensor | None = None, b: torch.Tensor | None = None, *,
                 a_lengths: Any = None, b_lengths: Any = None) -> Decomposed:
    """attn.decomposable() on tensors, with gradients of beta and alpha by f, g, a and b. The log-sum-exps have none."""
    lengths = {"a_lengths": _lengths(a_lengths), "b_lengths": _lengths(b_lengths)}
    return Decomposed(*_apply_decomposable(lengths, *_all_plain(f=f, g=g, a=a, b=b)))


def attentional(weight: torch.Tensor, context: torch.Tensor, query: torch.Tensor,
                bias: torch.Tensor | None = None) -> torch.Tensor:
    """attn.attentional() on tensors, with gradients by all four."""
    output: torch.Tensor = _apply_attentional(*_all_plain(weight=weight, context=context, query=query, bias=bias))
    return output
