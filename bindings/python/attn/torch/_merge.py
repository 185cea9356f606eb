# SPDX-License-Identifier: BSD-3-Clause
"""_merge.py: the results of attention over parts of the keys, joined by a function that autograd can go back through."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from .. import _merge
from .._run import Result
from .._values import flag
from . import _once
from ._tensors import arrays_of, beside, outside_graphs, plain, tensor_of


def _gradients(contexts: list[torch.Tensor], logsumexps: list[torch.Tensor], context: torch.Tensor, logsumexp: torch.Tensor,
               d_context: torch.Tensor | None, d_logsumexp: torch.Tensor | None) -> list[torch.Tensor]:
    """Of each context, then of each log-sum-exp. A part's share of the whole is exp(its log-sum-exp - the whole's), 0 where it
    saw nothing; there its context may be anything."""
    wide, of_contexts, of_sums = context.dtype, [], []
    for part, sums in zip(contexts, logsumexps):
        share = (sums.reshape(logsumexp.shape).to(logsumexp.dtype) - logsumexp).exp()
        unseen = sums.reshape(logsumexp.shape) == -torch.inf
        share = share.masked_fill(unseen, 0).to(wide)
        moved = torch.zeros_like(share) if d_logsumexp is None else d_logsumexp.reshape(share.shape).to(wide)
        d_part = torch.zeros_like(context)
        if d_context is not None:
            flow = d_context.reshape(context.shape).to(wide)
            d_part = share.unsqueeze(-1) * flow
            moved = moved + ((part.reshape(context.shape).to(wide) - context) * flow).sum(-1)
        of_contexts.append(d_part.to(part.dtype).reshape(part.shape))
        of_sums.append((share * moved).masked_fill(unseen, 0).to(sums.dtype).reshape(sums.shape))
    return of_contexts + of_sums


class _Merge(torch.autograd.Function):
    """Takes how many parts there are, their contexts and their log-sum-exps. Gives context and log-sum-exp."""

    @staticmethod
    def forward(ctx: Any, parts: int, *tensors: torch.Tensor) -> Any:
        arrays, first = arrays_of(tensors), tensors[0]
        exact = torch.empty(first.shape, dtype=beside(first.dtype))  # not rounded to 16 bits
        result = _merge.merge(arrays[:parts], arrays[parts:], out=exact.numpy(), return_logsumexp="exact")
        logsumexp = tensor_of(result.logsumexp)
        ctx.parts = parts
        ctx.save_for_backward(exact, logsumexp, *tensors)
        ctx.set_materialize_grads(False)
        return exact.to(first.dtype), logsumexp

    @staticmethod
    def backward(ctx: Any, d_context: Any, d_logsumexp: Any) -> Any:
        exact, logsumexp, *tensors = ctx.saved_tensors
        if d_context is None and d_logsumexp is None:
            return (None,) * (1 + len(tensors))

        def compute() -> tuple[Any, ...]:
            made = _gradients(tensors[:ctx.parts], tensors[ctx.parts:], exact, logsumexp, d_context, d_logsumexp)
            return tuple(one if needs else None for one, needs in zip(made, ctx.needs_input_grad[1:]))

        return (None, *_once.gradients(compute, *tensors, d_context, d_logsumexp))


_apply: Any = _Merge.apply


def _all_plain(given: Iterable[Any], name: str) -> list[torch.Tensor]:
    return [plain(tensor, f"{name}[{k}]") for k, tensor in enumerate(given)]


@outside_graphs
def merge(contexts: Iterable[torch.Tensor], logsumexps: Iterable[torch.Tensor], *, return_logsumexp: bool = False) -> Any:
    """attn.merge() on tensors: the context of all keys, from those of parts of them, contexts [B, Hq, Tq, Dv], and their
    logsumexps [B, Hq, Tq], as attention() returns them with return_logsumexp. With gradients of both results by both lists,
    through which those of the whole reach the queries, keys and values of each part; they cannot be differentiated again.
    With return_logsumexp a Result of both, the log-sum-exp as wide as the widest of the parts'."""
    parts, sums = _all_plain(contexts, "contexts"), _all_plain(logsumexps, "logsumexps")
    wanted = flag(return_logsumexp, "return_logsumexp")
    if not parts or len(parts) != len(sums):
        _merge.merge(arrays_of(parts), arrays_of(sums))  # which says what is wrong
    context, logsumexp = _apply(len(parts), *parts, *sums)
    if not wanted:
        return context
    wide = torch.float64 if any(one.dtype is torch.float64 for one in sums) else torch.float32
    return Result(context, logsumexp=logsumexp.to(wide))
