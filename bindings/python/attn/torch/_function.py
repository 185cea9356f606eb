# SPDX-License-Identifier: BSD-3-Clause
"""_function.py: every mechanism as a function of tensors that autograd can go back through."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from .. import _attention
from .._run import Result
from .._words import Align, Normaliser, Score, Stage

_OWN = {"query", "key", "value", "bias", "alibi", "relative"}  # all other names are those of parameters


def _call(function: Any, rule: Mapping[str, Any], arrays: Mapping[str, Any], *first: Any, **more: Any) -> Any:
    """attention() or attention_grad() of what apply() was given."""
    given = {name: arrays.get(name) for name in ("query", "key", "value", "bias")}
    for name in ("alibi", "relative"):  # the array, then how it is used
        if name in arrays:
            given[name] = (arrays[name], *rule[name])
    params = {name: array for name, array in arrays.items() if name not in _OWN}
    rest = {name: word for name, word in rule.items() if name not in ("alibi", "relative", "return_weights",
                                                                       "return_scores")}
    return function(*first, **given, params=params, **rest, **more)


def array_of(tensor: torch.Tensor) -> Any:
    """A NumPy array over the tensor's memory, or a TypeError where NumPy has not its type."""
    return tensor.detach().numpy() if tensor.requires_grad else tensor.numpy()


class _Attention(torch.autograd.Function):
    """Takes the rule, the names of the tensors, and the tensors. Gives context and log-sum-exp; then weights and
    scores, or None."""

    @staticmethod
    def forward(ctx: Any, rule: dict[str, Any], names: tuple[str, ...], *tensors: torch.Tensor) -> Any:
        arrays = {name: array_of(tensor) for name, tensor in zip(names, tensors)}
        result = _call(_attention.attention, rule, arrays, return_logsumexp="exact", return_weights=rule["return_weights"],
                       return_scores=rule["return_scores"])
        context, logsumexp = torch.from_numpy(result.context), torch.from_numpy(result.logsumexp)
        weights, scores = (None if array is None else torch.from_numpy(array) for array in (result.weights, result.scores))
        ctx.rule, ctx.names = rule, names
        ctx.save_for_backward(context, logsumexp, *tensors)
        logsumexp = logsumexp.to(context.dtype)
        ctx.set_materialize_grads(False)
        if scores is not None:
            ctx.mark_non_differentiable(scores)
        return context, logsumexp, weights, scores

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator, unused-ignore]
    def backward(ctx: Any, d_context: Any, d_logsumexp: Any, d_weights: Any, _: Any) -> Any:
        context, logsumexp, *tensors = ctx.saved_tensors
        if d_context is None and d_logsumexp is None and d_weights is None:
            return (None, None, *(None for _ in tensors))
        arrays = {name: array_of(tensor) for name, tensor in zip(ctx.names, tensors)}
        wanted = [name for name, needs in zip(ctx.names, ctx.needs_input_grad[2:]) if needs]
        flows = {name: None if flow is None else flow.numpy()
                 for name, flow in (("d_weights", d_weights), ("d_logsumexp", d_logsumexp))}
        gradients = _call(_attention.attention_grad, ctx.rule, arrays, None if d_context is None else d_context.numpy(),
                          **flows, wanted=wanted, result=Result(context.numpy(), None, logsumexp.numpy()))
        made = {**gradients._asdict(), **gradients.params}
        return (None, None, *(torch.from_numpy(made[name]) if name in wanted else None for name in ctx.names))


_apply: Any = _Attention.apply


def plain(tensor: Any, name: str) -> torch.Tensor:
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"{name} is a {type(tensor).__name__}, but a tensor is needed")
    if tensor.device.type != "cpu":
        raise TypeError(f"{name} is on {tensor.device}, but attention is computed on the CPU; nothing is copied")
    return tensor


def attention(query: torch.Tensor, key: torch.Tensor | None, value: torch.Tensor | None = None, *,
              score: Score = "scaled_dot", params: Mapping[str, torch.Tensor] | None = None, scale: float | None = None,
              softcap: float = 0.0, temperature: float = 1.0, bias: torch.Tensor | None = None,
              mask: torch.Tensor | None = None, key_lengths: Any = None, causal: Align | None = None, window: Any = None,
              alibi: Any = None, relative: Any = None, local: Any = None, query_start: int = 0,
              normaliser: Normaliser = "softmax", dropout: float = 0.0, seed: int | None = None, offset: int = 0,
              return_weights: bool = False, return_logsumexp: bool = False, return_scores: Stage | None = None,
              threads: int | None = None) -> Any:
    """attn.attention() on tensors, with gradients of the context, the weights and the log-sum-exp by query, key, value,
    bias, every parameter, the slopes of alibi and the table of relative. Scores have none. seed: None draws one from
    torch's generator."""
    tensors = {"query": query, "key": key, "value": value, "bias": bias, **(params or {})}
    rule: dict[str, Any] = {
        "score": score, "scale": scale, "softcap": softcap, "temperature": temperature,
        "key_lengths": array_of(key_lengths) if isinstance(key_lengths, torch.Tensor) else key_lengths,
        "mask": None if mask is None else array_of(plain(mask, "mask")), "causal": causal, "window": window, "local": local,
        "query_start": query_start, "normaliser": normaliser, "dropout": dropout, "offset": offset, "threads": threads,
        "return_weights": return_weights, "return_scores": return_scores}
    rule["seed"] = seed if seed is not None else int(torch.randint(1 << 62, ())) if dropout else 0
    for name, given in (("alibi", alibi), ("relative", relative)):
        if given is not None:
            tensors[name], rule[name] = (given, ()) if isinstance(given, torch.Tensor) else (given[0], tuple(given[1:]))
    tensors = {name: plain(tensor, name) for name, tensor in tensors.items() if tensor is not None}
    context, logsumexp, weights, scores = _apply(rule, tuple(tensors), *tensors.values())
    if not (return_weights or return_logsumexp or return_scores):
        return context
    return Result(context, weights, logsumexp if return_logsumexp else None, scores)
