# SPDX-License-Identifier: BSD-3-Clause
"""_sentences.py: decomposable attention and Luong's attentional step as functions that autograd can go back through."""

from __future__ import annotations

from typing import Any

import torch

from .. import _attentional, _decomposable
from .._decomposable import Decomposed
from . import _once
from ._tensors import array_of, arrays_of, lengths, outside_graphs, plain, tensor_of


def _gradients(made: Any, names: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(tensor_of(getattr(made, name)) for name in names)


class _Decomposable(torch.autograd.Function):
    """Takes f, g, a, b and the lengths of both sentences; a, b and lengths may be None."""

    NAMES = "f", "g", "a", "b"

    @staticmethod
    def forward(ctx: Any, *tensors: torch.Tensor | None) -> Any:
        *arrays, a_lengths, b_lengths = arrays_of(tensors)
        result = _decomposable.decomposable(*arrays, a_lengths=a_lengths, b_lengths=b_lengths)
        made = [*map(tensor_of, result)]
        ctx.save_for_backward(*made, *tensors)
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*made[2:])
        return tuple(made)

    @staticmethod
    def backward(ctx: Any, d_beta: Any, d_alpha: Any, *_: Any) -> Any:
        if d_beta is None and d_alpha is None:
            return (None,) * 6
        made, tensors = ctx.saved_tensors[:4], ctx.saved_tensors[4:]
        wanted = [name for name, needs in zip(_Decomposable.NAMES, ctx.needs_input_grad) if needs]

        def compute() -> tuple[Any, ...]:
            *arrays, a_lengths, b_lengths = arrays_of(tensors)
            return _gradients(_decomposable.decomposable_grad(
                *arrays_of((d_beta, d_alpha)), *arrays, a_lengths=a_lengths, b_lengths=b_lengths,
                result=Decomposed(*arrays_of(made)), wanted=wanted), _Decomposable.NAMES)

        return (*_once.gradients(compute, *tensors, d_beta, d_alpha), None, None)


class _Attentional(torch.autograd.Function):
    NAMES = "weight", "context", "query", "bias"

    @staticmethod
    def forward(ctx: Any, *tensors: torch.Tensor | None) -> Any:
        output = tensor_of(_attentional.attentional(*arrays_of(tensors)))
        ctx.save_for_backward(output, *tensors)
        return output

    @staticmethod
    def backward(ctx: Any, d_output: Any) -> Any:
        saved = ctx.saved_tensors
        wanted = [name for name, needs in zip(_Attentional.NAMES, ctx.needs_input_grad) if needs]

        def compute() -> tuple[Any, ...]:
            gradients = _attentional.attentional_grad(array_of(d_output), *arrays_of(saved), wanted=wanted)
            return _gradients(gradients, _Attentional.NAMES)

        return _once.gradients(compute, *saved, d_output)


_apply_decomposable: Any = _Decomposable.apply
_apply_attentional: Any = _Attentional.apply


def _all_plain(**tensors: Any) -> list[torch.Tensor | None]:
    return [None if tensor is None else plain(tensor, name) for name, tensor in tensors.items()]


@outside_graphs
def decomposable(f: torch.Tensor, g: torch.Tensor, a: torch.Tensor | None = None, b: torch.Tensor | None = None, *,
                 a_lengths: Any = None, b_lengths: Any = None) -> Decomposed:
    """attn.decomposable() on tensors, with gradients of beta and alpha by f, g, a and b, which cannot be differentiated
    again. The log-sum-exps have none."""
    return Decomposed(*_apply_decomposable(*_all_plain(
        f=f, g=g, a=a, b=b, a_lengths=lengths(a_lengths, "a_lengths"), b_lengths=lengths(b_lengths, "b_lengths"))))


@outside_graphs
def attentional(weight: torch.Tensor, context: torch.Tensor, query: torch.Tensor,
                bias: torch.Tensor | None = None) -> torch.Tensor:
    """attn.attentional() on tensors, with gradients by all four, which cannot be differentiated again."""
    output: torch.Tensor = _apply_attentional(*_all_plain(weight=weight, context=context, query=query, bias=bias))
    return output
