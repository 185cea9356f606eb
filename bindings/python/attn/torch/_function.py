# SPDX-License-Identifier: BSD-3-Clause
"""_function.py: every mechanism as a function of tensors that autograd can go back through."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch

from .. import _attention, _dtypes
from .._library import UnsupportedError
from .._run import Result, Stats, room_beside
from .._words import Align, MaskAlign, Normaliser, Precision, Score, Stage
from . import _once, _projected
from ._tensors import array_of, beside, lengths, outside_graphs, plain, tensor_of

_ARRAYS = "query", "key", "value", "mask", "bias", "key_lengths", "query_offsets", "key_offsets"
_FORWARD = "key_scales", "value_scales", "page_table", "page_offsets"  # of integers and of pages, which have no gradients
_USED = "alibi", "relative"  # arrays too, each with the words for how it is used
_BARE = "sinks",             # and without any


def _arguments(rule: Mapping[str, Any], arrays: Mapping[str, Any]) -> dict[str, Any]:
    """What attention() and attention_grad() are given: those arrays that have none of these names are parameters."""
    given = {name: arrays.get(name) for name in _ARRAYS}
    forward = {name: arrays[name] for name in _FORWARD if name in arrays}
    used = {name: (arrays[name], *rule[name]) for name in _USED if name in arrays}
    params = {name: array for name, array in arrays.items() if name not in _ARRAYS + _FORWARD + _USED + _BARE}
    bare = {name: arrays[name] for name in _BARE if name in arrays}
    return {**rule, **given, **forward, **used, **bare, "params": params}


def _room(query: Any, width: int, dtype: Any, offsets: Any) -> Any:
    """Room for the context, in the order of dimensions that the query lies in, as torch's kernels leave it: whoever has
    split heads with a view and a transpose joins them again without a copy."""
    room = np.empty_like if offsets is None else np.zeros_like  # rows of no sequence are not written to
    if query.shape[-1] == width:
        return room(query, dtype)
    return room(np.lib.stride_tricks.as_strided(query, (*query.shape[:-1], width)), dtype)


def _forward(rule: Mapping[str, Any], arrays: Mapping[str, Any], laid: bool, exact: bool, **returns: Any) -> Any:
    """attention(), with a context that is laid as the query, if it has dimensions to order and is not so anyway; exact: and
    that is not rounded to 16 bits."""
    query, values = arrays["query"], arrays.get("value", arrays.get("key"))
    dtype = _dtypes.beside(query.dtype) if exact else query.dtype
    out = None
    if values is not None and values.ndim and query.ndim:
        if laid and query.ndim > 2 and not query.flags.c_contiguous:
            out = _room(query, values.shape[-1], dtype, arrays.get("query_offsets"))
        elif dtype != query.dtype:
            out = room_beside(arrays.get("query_offsets"))((*query.shape[:-1], values.shape[-1]), dtype)
    return _attention.attention(**_arguments(rule, arrays), **returns, out=out)


class _Attention(torch.autograd.Function):
    """Takes the rule, whether the context is laid as the query, what is returned, the names of the tensors, and the
    tensors. Gives context and log-sum-exp; then weights, scores and the stats, or None."""

    @staticmethod
    def forward(ctx: Any, rule: dict[str, Any], laid: bool, returns: dict[str, Any], names: tuple[str, ...],
                *tensors: torch.Tensor) -> Any:
        arrays = {name: array_of(tensor) for name, tensor in zip(names, tensors)}
        result = _forward(rule, arrays, laid, True, **returns, return_logsumexp="exact")
        exact, weights, logsumexp, scores = map(tensor_of, result[:4])
        context = exact.to(tensors[names.index("query")].dtype)
        ctx.rule, ctx.names = rule, names
        ctx.save_for_backward(exact, logsumexp, *tensors)
        logsumexp = logsumexp.to(beside(context.dtype))
        ctx.set_materialize_grads(False)
        stats = [*map(tensor_of, result.stats or Stats())]
        ctx.mark_non_differentiable(*(made for made in (scores, *stats) if made is not None))
        return (context, logsumexp, weights, scores, *stats)

    @staticmethod
    def backward(ctx: Any, d_context: Any, d_logsumexp: Any, d_weights: Any, *_: Any) -> Any:
        exact, logsumexp, *tensors = ctx.saved_tensors
        needs = ctx.needs_input_grad[4:]
        flows = {"d_context": d_context, "d_weights": d_weights, "d_logsumexp": d_logsumexp}

        def compute() -> tuple[Any, ...]:
            arrays = {name: array_of(tensor) for name, tensor in zip(ctx.names, tensors)}
            wanted = [name for name, need in zip(ctx.names, needs) if need]
            into: dict[str, Any] = {name: None if flow is None else array_of(flow) for name, flow in flows.items()}
            gradients = _attention.attention_grad(**into, **_arguments(ctx.rule, arrays), wanted=wanted,
                                                  result=Result(array_of(exact), None, logsumexp.numpy()))
            made = {**gradients._asdict(), **gradients.params}
            return tuple(tensor_of(made[name]) if need else None for name, need in zip(ctx.names, needs))

        if all(flow is None for flow in flows.values()):
            return (None,) * (4 + len(tensors))
        return (None, None, None, None, *_once.gradients(compute, *tensors, *flows.values()))


_apply: Any = _Attention.apply


def has_gradients(*tensors: torch.Tensor | None) -> bool:
    """Whether autograd will come back through a call with these."""
    return torch.is_grad_enabled() and any([tensor is not None and tensor.requires_grad for tensor in tensors])


def _beside(query: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    """A parameter as the library reads it beside this query: those of a layer of 16 bits are of 16 bits too."""
    return parameter.to(beside(query.dtype)) if parameter.dtype is query.dtype else parameter


def attend(rule: dict[str, Any], tensors: Mapping[str, torch.Tensor], laid: bool, returns: dict[str, Any],
           return_logsumexp: bool = False) -> Any:
    """attention() of these tensors by this rule: the context alone, or a Result."""
    if has_gradients(*tensors.values()):
        context, logsumexp, weights, scores, *stats = _apply(rule, laid, returns, tuple(tensors), *tensors.values())
    else:  # the short way, which keeps nothing
        arrays = {name: array_of(tensor) for name, tensor in tensors.items()}
        made = _forward(rule, arrays, laid, False, **returns, return_logsumexp="exact" if return_logsumexp else False)
        if not isinstance(made, Result):
            return tensor_of(made)
        outputs: list[Any] = [*map(tensor_of, (*made[:-1], *(made.stats or Stats())))]
        context, weights, logsumexp, scores, *stats = outputs
        if logsumexp is not None:
            logsumexp = logsumexp.to(beside(context.dtype))
    if not (return_logsumexp or any(returns.values())):
        return context
    told = Stats(*stats) if any([made is not None for made in stats]) else None
    return Result(context, weights, logsumexp if return_logsumexp else None, scores, told)


@outside_graphs
def attention(query: torch.Tensor, key: torch.Tensor | None, value: torch.Tensor | None = None, *,
              key_scales: torch.Tensor | None = None, value_scales: torch.Tensor | None = None,
              score: Score = "scaled_dot", params: Mapping[str, torch.Tensor] | None = None, scale: float | None = None,
              softcap: float = 0.0, temperature: float = 1.0, bias: torch.Tensor | None = None,
              mask: torch.Tensor | None = None, key_lengths: Any = None, query_offsets: Any = None,
              key_offsets: Any = None, mask_align: MaskAlign | None = None, page_table: Any = None,
              page_offsets: Any = None, causal: Align | None = None, window: Any = None, alibi: Any = None,
              relative: Any = None, sinks: torch.Tensor | None = None, local: Any = None,
              query_start: int = 0, normaliser: Normaliser = "softmax", precision: Precision = "exact",
              dropout: float = 0.0, seed: int | None = None, offset: int = 0, return_weights: bool = False,
              return_logsumexp: bool = False, return_scores: Stage | None = None,
              return_stats: bool | Collection[str] = False, threads: int | None = None) -> Any:
    """attn.attention() on tensors, with gradients of the context, the weights and the log-sum-exp by query, key, value,
    bias, every parameter, the slopes of alibi, the table of relative and the sinks, but of the weights by these; they
    cannot be differentiated again. Scores and stats have none. seed: None draws one from torch's generator. precision is
    that of the way forward; gradients are exact whichever it is.

    query_offsets and key_offsets say where the sequences of a ragged batch lie, as for attn.attention(); gradients lie in
    the same rows. key_scales and value_scales, of float32, are for keys and values of int8, and page_table and page_offsets
    for those in pages, likewise; neither where anything requires grad.

    The context lies in the order of dimensions that the query lies in, and gradients as what they are of. Parameters,
    slopes, tables and sinks that are of 16 bits, as the query is, are read as float32. Where gradients are needed, torch
    multiplies queries and keys of one type with the matrices of additive, general and concat by these, and keeps the
    products, as of a layer. Keys that many calls read are best projected once:

        keys = torch.nn.functional.linear(states, U)
        for query in ...: attention(query, keys, states, score="additive", params={"W": W, "v": v})"""
    given = {"query": query, "key": key, "value": value, "key_scales": key_scales, "value_scales": value_scales,
             "mask": mask, "bias": bias, "key_lengths": lengths(key_lengths, "key_lengths"),
             "query_offsets": lengths(query_offsets, "query_offsets"),
             "key_offsets": lengths(key_offsets, "key_offsets"), "page_table": lengths(page_table, "page_table"),
             "page_offsets": lengths(page_offsets, "page_offsets"), "sinks": sinks,
             **(params or {})}
    used: dict[str, Any] = {}
    for name, of in (("alibi", alibi), ("relative", relative)):
        if of is not None:
            given[name], used[name] = (of, ()) if isinstance(of, torch.Tensor) else (of[0], tuple(of[1:]))
    tensors = {name: plain(tensor, name) for name, tensor in given.items() if tensor is not None}
    tensors = {name: tensor if name in _ARRAYS + _FORWARD else _beside(tensors["query"], tensor)
               for name, tensor in tensors.items()}
    if has_gradients(*tensors.values()) and not tensors.keys().isdisjoint(_FORWARD):
        where = "in pages" if "page_table" in tensors or "page_offsets" in tensors else "of integers"
        raise UnsupportedError(f"key or value is {where}, which have no gradients, but something requires grad: give its "
                               ".detach(), or call under torch.no_grad()")
    if has_gradients(*tensors.values()) and score in ("additive", "general", "concat"):
        own = {name: tensors.pop(name) for name in params or {}}
        if key is not None and value is None:
            tensors["value"] = tensors["key"]
        score, tensors["query"], projected, own = _projected.project(_projected.Call(score, query, key, own))
        tensors.update(own if projected is None else {"key": projected, **own})
    rule: dict[str, Any] = {
        "score": score, "scale": scale, "softcap": softcap, "temperature": temperature, "causal": causal,
        "window": tuple(window) if isinstance(window, list) else window,
        "local": tuple(local) if isinstance(local, list) else local,
        "mask_align": mask_align, "query_start": query_start, "normaliser": normaliser, "precision": precision, "dropout": dropout, "offset": offset,
        "threads": threads,
        "seed": seed if seed is not None else int(torch.randint(1 << 62, (), device="cpu")) if dropout else 0, **used}
    return attend(rule, tensors, True, {"return_weights": return_weights, "return_scores": return_scores,
                                         "return_stats": return_stats}, return_logsumexp)
