# SPDX-License-Identifier: BSD-3-Clause
"""_attention.py: attention and its gradients as functions, for whoever wants no handles: the mechanisms behind them are
made when they are first needed, and kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping
from typing import Any

from . import _run
from ._handles import engine_of
from ._rule import Rule, aligned, local_of, sizes_of, window_of
from ._run import NOWHERE, Gradients, Result
from ._tensors import Array, ArrayLike, Lengths, array_of, dimensions, maybe
from ._values import integer, mapping
from ._words import Align, Exact, MaskAlign, Normaliser, Precision, Score, Stage

_MOST = 32
_plain: dict[Any, Rule] = {}                         # to which nothing is bound: they are everybody's
_free: OrderedDict[Any, list[Rule]] = OrderedDict()  # of the others those that nobody uses at the moment


def _make(score: Score, sizes: tuple[int, ...], threads: int | None, *modifiers: Any) -> Rule:
    return object.__new__(Rule)._create(score, sizes, engine_of(None, threads), *modifiers)


def _add_plain(rule: Any) -> Rule:
    """The mechanism of this rule, for all calls of it."""
    score, threads, scale, softcap, temperature, normaliser, precision, causal, window, local = rule
    if window is not None:
        window = window_of(window, causal)
    if local is not None:
        local = local_of(local, {})
    mechanism = _make(score, sizes_of(score, {}, None, None, None, None, None), threads, scale, softcap, temperature,
                      normaliser, precision, causal, window, local)
    if len(_plain) >= _MOST:
        _plain.clear()
    try:
        _plain[rule] = mechanism
    except TypeError:  # lists are no keys
        pass
    return mechanism


def _borrow(q: Array, k: Array | None, score: Score, params: Mapping[str, ArrayLike] | None, threads: int | None,
            scale: float | None, softcap: float, temperature: float, normaliser: Normaliser, precision: Precision,
            causal: Align | None, window: Any, alibi: Any, relative: Any, sinks: Any, local: Any) -> tuple[Any, Rule]:
    """A mechanism for one call to which all of this is bound, so that it is nobody else's until it is given back; and what
    _give_back() wants to be told of it."""
    arrays = {name: array_of(given, f"parameter {name}") for name, given in mapping(params, "params").items()}
    if window is not None:
        window = window_of(window, causal)
    if threads is not None and type(threads) is not int:
        threads = integer(threads, "threads")
    if local is not None:
        local = local_of(local, arrays)
    sizes = sizes_of(score, arrays, None, dimensions(q, "query").shape[-1],
                     None if k is None else dimensions(k, "key").shape[-1], None, None)
    what = score, sizes, threads, scale, softcap, temperature, normaliser, precision, causal, window, local
    try:
        mechanism = _free[what].pop()
    except (KeyError, IndexError):  # there is none, or other threads have those that there are
        mechanism = _make(*what)
    try:
        mechanism._bind(arrays)
        if alibi is not None:
            mechanism.set_alibi(*aligned(alibi, 1, causal, "alibi"))
        if relative is not None:
            mechanism.set_relative(*aligned(relative, 3, causal, "relative"))
        if sinks is not None:
            mechanism.set_sinks(sinks)
    except BaseException:
        _give_back(what, mechanism)
        raise
    return what, mechanism


def _give_back(rule: Any, mechanism: Rule) -> None:
    """What is kept must not hold memory that is no longer ours."""
    mechanism._unbind()
    if mechanism.alibi is not None:
        mechanism.set_alibi(None, None)
    if mechanism.relative is not None:
        mechanism.set_relative(None)
    if mechanism.sinks is not None:
        mechanism.set_sinks(None)
    if rule not in _free and len(_free) >= _MOST:
        _free.popitem(last=False)
    _free.setdefault(rule, []).append(mechanism)


def attention(query: ArrayLike, key: ArrayLike | None, value: ArrayLike | None = None, *,
              key_scales: ArrayLike | None = None, value_scales: ArrayLike | None = None, score: Score = "scaled_dot",
              params: Mapping[str, ArrayLike] | None = None, scale: float | None = None, softcap: float = 0.0,
              temperature: float = 1.0, bias: ArrayLike | None = None, mask: ArrayLike | None = None,
              key_lengths: Lengths | None = None, query_offsets: Lengths | None = None,
              key_offsets: Lengths | None = None, mask_align: MaskAlign | None = None, page_table: Lengths | None = None,
              page_offsets: Lengths | None = None, causal: Align | None = None, window: Any = None, alibi: Any = None,
              relative: Any = None, sinks: ArrayLike | None = None, local: Any = None, query_start: int = 0,
              normaliser: Normaliser = "softmax", precision: Precision = "exact", dropout: float = 0.0, seed: int = 0,
              offset: int = 0, return_weights: bool = False, return_logsumexp: bool | Exact = False,
              return_scores: Stage | None = None, return_stats: bool | Collection[str] = False,
              threads: int | None = None, out: ArrayLike | None = None) -> Any:
    """The context, [B, Hq, Tq, Dv]; or a Result, where weights, log-sum-exp, scores or stats are asked for too.

    query [B, Hq, Tq, Dq], key [B, Hk, Tk, Dk], value [B, Hk, Tk, Dv], None: the keys. Hk divides Hq. Arrays of fewer
    dimensions lack the leading ones. All are float32, float64, float16 or bfloat16; weights, scores, log-sum-exp, stats and
    parameters of the last two are float32. What comes back is of the library that the query is of.
    key_scales  [B, Hk, Tk] of float32, where key is of int8: what each of its rows is to be multiplied by; value_scales
                likewise. Not beside a query of float64, nor for gradients.
    score       dot, scaled_dot, general, additive, concat, location; params are its arrays by name (W, U, v, b, g).
                additive has a bias with b, is normalised with g, and takes projected inputs without W or U.
    scale, softcap (0: none), temperature, bias (broadcasts to [B, Hq, Tq, Tk]), mask (bool, True: may be seen),
    key_lengths [B] (int32, int64 or a list), normaliser ("softmax", "hardmax"): as attn.h says.
    query_offsets  [B + 1], whole numbers likewise: a ragged batch, without padding. Sequence b has rows query_offsets[b] to
                query_offsets[b + 1] of query, [1, Hq, all of them, Dq], and what comes back has its results in these rows;
                rows of no sequence are those of a query that sees no key. key_offsets likewise of key and value. Weights
                have as many columns as the longest sequence has keys.
    mask_align  "bottom_right": mask is of the last keys of each sequence, [.., n], those before them being visible.
    page_table  [B, most]: the pages of each sequence; key and value are N pages [N, Hk, page, Dk], and there are
                key_lengths. With page_offsets, [B + 1], it is [all], and sequence b has these entries. Not for gradients.
    causal      "top_left" or "bottom_right", the alignment.
    window      (left, right, alignment), -1 is unbounded; alibi (slopes, alignment), slopes [Hq];
    relative    (table, "clipped", "t5" or "t5_causal", max_distance, alignment). Where causal is given these three may
                leave their alignment out.
    sinks       [Hq], a logit for each query head that has its part in the softmax and no key.
    local       ("monotonic", half_width), or ("predictive", half_width) or ("predictive_floor", half_width) with W_p
                and v_p in params.
    dropout     the probability; seed and offset say which weights.
    return_logsumexp  "exact": as float64 whatever the dtype, which gradients are more exact from.
    return_scores  "raw", "capped", "masked" or "weights": the stage.
    return_stats   what the weights say, in a Stats, without the weights being made: entropy and strongest key of each
                query, [B, Hq, Tq], and key_sums over queries, [B, Hq, Tk]; or a list of those names.
    precision   "exact", the same on every CPU; "fast": a CPU that has instructions for it multiplies bfloat16 and int8 as
                they are kept, as attn.h says. info()["fast"] tells whether this one has.
    threads     of the engine; None is one for each CPU.
    out         an array for the context, for 16 bits also one of float32: then it is not rounded, which gradients are more
                exact from."""
    places = (NOWHERE if query_offsets is None and key_offsets is None and page_table is None and page_offsets is None
              else (query_offsets, key_offsets, page_table, page_offsets))
    if (params is None or type(params) is dict and not params) and alibi is None and relative is None and sinks is None:
        # A rule is found by what equals it, and 1.0 equals 1: what is not whole must not get there.
        if window is not None and not (type(window) is tuple and len(window) > 1 and type(window[0]) is int
                                       and type(window[1]) is int):
            window = window_of(window, causal)
        if local is not None and not (type(local) is tuple and len(local) == 2 and type(local[1]) is int):
            local = local_of(local, {})
        if threads is not None and type(threads) is not int:
            threads = integer(threads, "threads")
        rule = score, threads, scale, softcap, temperature, normaliser, precision, causal, window, local
        try:
            mechanism = _plain[rule]
        except (KeyError, TypeError):
            mechanism = _add_plain(rule)
        return _run.forward(mechanism, query, key, value, None, mask, bias, key_lengths, query_start, dropout, seed,
                            offset, return_weights, return_logsumexp, return_scores, return_stats, out, key_scales,
                            value_scales, places, mask_align)
    q, k = array_of(query, "query"), maybe(key, "key")
    what, mechanism = _borrow(q, k, score, params, threads, scale, softcap, temperature, normaliser, precision, causal,
                              window, alibi, relative, sinks, local)
    try:
        return _run.forward(mechanism, query, k, value, None, mask, bias, key_lengths, query_start, dropout, seed, offset,
                            return_weights, return_logsumexp, return_scores, return_stats, out, key_scales, value_scales,
                            places, mask_align)
    finally:
        _give_back(what, mechanism)


def attention_grad(d_context: ArrayLike | None, query: ArrayLike, key: ArrayLike | None, value: ArrayLike | None = None,
                   *, d_weights: ArrayLike | None = None, d_logsumexp: ArrayLike | None = None,
                   result: Result | None = None, wanted: Collection[str] | None = None, score: Score = "scaled_dot",
                   params: Mapping[str, ArrayLike] | None = None, scale: float | None = None, softcap: float = 0.0,
                   temperature: float = 1.0, bias: ArrayLike | None = None, mask: ArrayLike | None = None,
                   key_lengths: Lengths | None = None, query_offsets: Lengths | None = None,
                   key_offsets: Lengths | None = None, mask_align: MaskAlign | None = None,
                   causal: Align | None = None, window: Any = None, alibi: Any = None, relative: Any = None,
                   sinks: ArrayLike | None = None, local: Any = None, query_start: int = 0, normaliser: Normaliser = "softmax", precision: Precision = "exact",
                   dropout: float = 0.0, seed: int = 0, offset: int = 0, threads: int | None = None) -> Gradients:
    """Gradients of a loss by what attention() read: query, key, value, bias, params (a dict by name), alibi (the
    slopes), relative (the table), sinks; each of the type of what it is of. Where value is None, the gradient of key is
    that of both its parts. Sinks have none beside d_weights.

    d_context [B, Hq, Tq, Dv], d_weights [B, Hq, Tq, Tk], d_logsumexp [B, Hq, Tq]: the loss's gradients by the outputs;
                at least one.
    result      what attention() returned for the same arguments with return_logsumexp, best "exact", and of 16 bits
                with an out of float32; None: it is computed again.
    wanted      the names of those that are wanted, parameters by their own; None: all.
    The rest is as for attention(); hardmax has no gradient. precision is that of the result that is computed again:
    gradients are exact whichever it is."""
    q, k = array_of(query, "query"), maybe(key, "key")
    rule, mechanism = _borrow(q, k, score, params, threads, scale, softcap, temperature, normaliser, precision, causal,
                              window, alibi, relative, sinks, local)
    try:
        return _run.backward(mechanism, d_context, query, k, value, d_weights=d_weights, d_logsumexp=d_logsumexp,
                             result=result, wanted=wanted, mask=mask, bias=bias, key_lengths=key_lengths,
                             query_offsets=query_offsets, key_offsets=key_offsets, mask_align=mask_align,
                             query_start=query_start, dropout=dropout, seed=seed, offset=offset)
    finally:
        _give_back(rule, mechanism)


def info(threads: int | None = None) -> dict[str, Any]:
    """How this machine computes: attn_engine_describe's JSON as a dict."""
    return engine_of(None, threads).describe()
