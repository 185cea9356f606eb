# SPDX-License-Identifier: BSD-3-Clause
"""_run.py: one call of a mechanism, forward or backward: outputs are made, then written."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from ctypes import c_uint64
from typing import Any, NamedTuple

import numpy as np
from numpy import empty, ndarray

from ._calls import PLACES, STATS, Computed, Gradient, Laid, run_forward
from ._dtypes import beside
from ._handles import instance
from ._library import ArgumentError, DTypeError, UnsupportedError, check
from ._memory import Memory
from ._rule import Rule
from ._tensors import (HEAD, IN_OBJECT, Array, ArrayLike, Lengths, address, array_of, dimensions, lengths_of, like, maybe,
                       pointer_at, writable)
from ._values import chosen, flag, integer, only, real, shown
from ._words import MASK_ALIGNMENTS, STAGES, Exact, MaskAlign, Stage, choose


class Stats(NamedTuple):
    """What the weights of a call say, before dropout; None where it was not asked for."""

    entropy: Any = None    # [B, Hq, Tq], in nats
    strongest: Any = None  # [B, Hq, Tq], the key of the greatest weight; -1 where no key is seen
    key_sums: Any = None   # [B, Hq, Tk], over all queries; with key_offsets [1, Hq, rows of key]

    @property
    def effective_keys(self) -> Any:
        """[B, Hq, Tq]: exp of the entropy, as many keys of equal weights would have it."""
        return None if self.entropy is None else np.e ** self.entropy


class Result(NamedTuple):
    """What was computed; None where it was not asked for."""

    context: Any
    weights: Any = None
    logsumexp: Any = None
    scores: Any = None
    stats: Any = None


class _Gradients(NamedTuple):
    query: Any
    key: Any
    value: Any
    bias: Any
    params: dict[str, Any]
    alibi: Any
    relative: Any
    sinks: Any


class Gradients(_Gradients):
    """Of a loss by what was read; None where there was none, or it was not wanted."""

    __slots__ = ()

    def __new__(cls, query: Any = None, key: Any = None, value: Any = None, bias: Any = None,
                params: dict[str, Any] | None = None, alibi: Any = None, relative: Any = None,
                sinks: Any = None) -> Gradients:
        return super().__new__(cls, query, key, value, bias, {} if params is None else params, alibi, relative, sinks)


def _row(array: Array | None) -> Array | None:
    """The library knows no arrays without dimensions."""
    return array.reshape(1) if array is not None and array.ndim == 0 else array


def logsumexp_dtype(wanted: bool | Exact, dtype: Any) -> Any:
    """What it is made as; None: it is not wanted."""
    if isinstance(wanted, str):
        if wanted != "exact":
            raise ArgumentError(f"return_logsumexp is {shown(wanted)}, but it is False, True or 'exact'")
        return np.float64
    return dtype if flag(wanted, "return_logsumexp") else None


def stats_names(wanted: bool | Collection[str]) -> tuple[str, ...]:
    """Which of the stats are wanted, in their order."""
    if wanted is False:
        return ()
    if wanted is True:
        return STATS
    if isinstance(wanted, str) or not isinstance(wanted, Collection):
        raise ArgumentError(f"return_stats is {shown(wanted)}, but it is False, True or a list of "
                            f"{', '.join(map(repr, STATS))}")
    names = only(wanted, STATS, "return_stats", "what there is")
    return tuple(name for name in STATS if name in names)


_INPUTS = "query", "key", "value", "mask", "bias", "key_lengths", "key_scales", "value_scales", *PLACES
_OUTPUTS = ("context", "weights", "logsumexp", "scores", *STATS)
_MOST_LAYOUTS = 64
NOWHERE: tuple[Any, ...] = (None,) * len(PLACES)
_ZERO = 0  # what query_start is unless it is given


# What stands in rows that no sequence has, which are not written to: what a query that sees no key gets.
_UNSEEN = 0, 0, -np.inf, -np.inf, 0, -1, 0


def rooms(made: Sequence[Any], ragged: bool) -> tuple[Any, ...]:
    """Arrays of these shapes and types, for the outputs."""
    if not ragged:
        return tuple([None if one is None else empty(*one) for one in made])
    return tuple([None if one is None else np.full(one[0], unseen, one[1]) for one, unseen in zip(made, _UNSEEN)])


class _Layout:
    """A call laid out for arrays of certain shapes, strides and types, whichever they are, and what its outputs are. For
    it is the views that take the time of a small call: they are laid out once, and told other addresses."""

    def __init__(self, mechanism: Rule, inputs: tuple[Any, ...], outs: tuple[Any, ...], keywords: dict[str, Any]):
        arrays: dict[str, Any] = dict(zip(_INPUTS + _OUTPUTS, inputs + outs))
        self.call = Laid(mechanism, **arrays, **keywords)
        self.tensors = self.call.tensors
        self.inputs, self.outputs = ([(i, self.tensors[name]) for i, name in enumerate(names) if name in self.tensors]
                                     for names in (_INPUTS, _OUTPUTS))
        self.made: list[Any] = [None if array is None else (array.shape, array.dtype) for array in outs]
        self.ragged = arrays["query_offsets"] is not None
        self.call.args.kept = None  # other arrays come
        for tensor in self.tensors.values():
            tensor.array = None
        del self.call.mechanism     # which has this layout, and must go when nobody has it any more

    def run(self, inputs: tuple[Any, ...], given: Array | None) -> tuple[Any, ...]:
        """Computes with other arrays of these forms, and returns the outputs, of which the context may be given."""
        outs = rooms(self.made, self.ragged)
        if given is not None:
            outs = (given, *outs[1:])
        for i, tensor in self.inputs:
            tensor.data = address(inputs[i])
        for i, tensor in self.outputs:
            tensor.data = address(outs[i])
        self.call.run()
        return outs


class _Plain(_Layout):
    """The same of query, key, value and the context alone, which most calls are: without a loop, or address()."""

    TENSORS = "query", "key", "value", "context"

    def __init__(self, *what: Any) -> None:
        super().__init__(*what)
        self.query, self.key, self.value, self.context = map(self.tensors.__getitem__, self.TENSORS)
        self.shape, self.dtype = self.made[0]
        self.handle, self.reference = self.call._handle, self.call._reference

    def run(self, inputs: tuple[Any, ...], given: Array | None) -> tuple[Any, ...]:
        q, k, v = inputs[:3]
        context = empty(self.shape, self.dtype) if given is None else given
        self.query.data, self.key.data = pointer_at(id(q) + HEAD).value, pointer_at(id(k) + HEAD).value
        self.value.data, self.context.data = pointer_at(id(v) + HEAD).value, pointer_at(id(context) + HEAD).value
        status = run_forward(self.handle, self.reference)
        if status:
            check(status)
        return context, None, None, None, None, None, None


def _sizes(q: Array, k: Array | None, v: Array | None, memory: Memory | None) -> tuple[int, int]:
    """The dimension of the context, and how many keys there are."""
    dimensions(q, "query")
    if memory is not None:
        return instance(memory, Memory, "memory").value_dim, max(memory.lengths, default=0)
    values = k if v is None else v
    if values is None:
        raise ArgumentError("key or value is missing: without a memory one of them is needed")
    counted = values if k is None else k
    dimensions(values, "key" if v is None else "value")
    return values.shape[-1], dimensions(counted, "key").shape[-2] if counted.ndim > 1 else 1


def longest_of(offsets: Array) -> int:
    """The most rows of a sequence. The library judges the offsets."""
    return max(0, int(np.diff(offsets.ravel()).max())) if offsets.size > 1 else 0


def _columns(keys: int, lengths: Array | None, places: tuple[Array | None, ...]) -> int:
    """How many columns weights have: as many as the longest sequence has keys. keys: rows of key, or of a page; what reaches
    past them is refused."""
    _, key_offsets, table, _ = places
    if key_offsets is not None:
        return min(longest_of(key_offsets), keys)
    if table is not None and table.ndim:
        longest = max(0, int(lengths.max())) if lengths is not None and lengths.size else 0
        return min(longest, int(table.shape[-1]) * keys)
    return keys


def _sums_shape(q: Array, k: Array | None, v: Array | None, columns: int, places: tuple[Array | None, ...]
                ) -> tuple[int, ...]:
    """[B, Hq, Tk], that of key_sums."""
    query_offsets, key_offsets, _, _ = places
    heads, keyed = q.shape[-3:-2], v if k is None else k
    if key_offsets is not None and keyed is not None:
        return (*(1,) * (q.ndim - 3), *heads, keyed.shape[-2] if keyed.ndim > 1 else 1)
    if query_offsets is not None:
        return query_offsets.size - 1, *(heads or (1,)), columns
    return (*q.shape[:-2], columns)


def room_beside(offsets: Any) -> Any:
    """What makes room for a context: rows that no sequence has are not written to."""
    return np.empty if offsets is None else np.zeros


def _form(array: Array | None) -> Any:
    """What a layout is found by."""
    return None if array is None else (array.shape, array.strides, array.dtype)


def _look_at(query_start: Any, dropout: Any, seed: Any, offset: Any) -> tuple[int, float, int, int]:
    if (type(query_start) is int and type(dropout) is float and type(seed) is int and type(offset) is int
            and not seed >> 64 and not offset >> 64):
        return query_start, dropout, seed, offset
    return (integer(query_start, "query_start"), real(dropout, "dropout"), integer(seed, "seed", c_uint64),
            integer(offset, "offset", c_uint64))


def forward(mechanism: Rule, query: ArrayLike, key: ArrayLike | None, value: ArrayLike | None,
            memory: Memory | None, mask: ArrayLike | None, bias: ArrayLike | None, key_lengths: Lengths | None,
            query_start: int, dropout: float, seed: int, offset: int, return_weights: bool,
            return_logsumexp: bool | Exact, return_scores: Stage | None,
            return_stats: bool | Collection[str], out: ArrayLike | None, key_scales: ArrayLike | None = None,
            value_scales: ArrayLike | None = None, places: tuple[Lengths | None, ...] = NOWHERE,
            mask_align: MaskAlign | None = None) -> Any:
    """As attn.attention(), by this rule. places: arrays of PLACES, or None."""
    # A layout is found by what equals it, and 1.0 equals 1: what is not of the right type must not get there.
    if query_start is not _ZERO and type(query_start) is not int or dropout != 0 or seed != 0 or offset != 0:
        query_start, dropout, seed, offset = _look_at(query_start, dropout, seed, offset)
    if return_weights is not False and return_weights is not True:
        return_weights = flag(return_weights, "return_weights")
    if return_logsumexp is not False and return_logsumexp is not True:
        logsumexp_dtype(return_logsumexp, None)
    if return_scores is not None:
        choose(STAGES, return_scores, "return_scores")
    stats = () if return_stats is False else stats_names(return_stats)
    more = return_weights or return_logsumexp or return_scores is not None or stats
    q = query if type(query) is ndarray else array_of(query, "query")
    k = key if type(key) is ndarray else maybe(key, "key")
    v = value if type(value) is ndarray else maybe(value, "value")
    m, b, lengths, given, of_keys, of_values, others, where = None, None, None, None, None, None, None, NOWHERE
    if not (mask is None and bias is None and key_lengths is None and out is None and key_scales is None
            and value_scales is None):
        m = None if mask is None else mask if type(mask) is ndarray else array_of(mask, "mask")
        b = None if bias is None else bias if type(bias) is ndarray else array_of(bias, "bias")
        lengths = None if key_lengths is None else lengths_of(key_lengths, "key_lengths")
        given = None if out is None else writable(out, "out")
        of_keys, of_values = maybe(key_scales, "key_scales"), maybe(value_scales, "value_scales")
        others = _form(m), _form(b), _form(lengths), _form(given), _form(of_keys), _form(of_values)
    columns = None
    if places is not NOWHERE or mask_align is not None:
        choose(MASK_ALIGNMENTS, mask_align, "mask_align")
        where = tuple([lengths_of(place, name) for name, place in zip(PLACES, places)])
        if more:  # which have other shapes where offsets are others
            columns = _columns(sys.maxsize, lengths, where)
        others = others, *map(_form, where), columns, mask_align
    inputs = q, k, v, m, b, lengths, of_keys, of_values, *where
    what = (q.shape, q.flags.c_contiguous or q.strides, q.dtype,
            None if k is None else (k.shape, k.flags.c_contiguous or k.strides, k.dtype),
            None if v is None else (v.shape, v.flags.c_contiguous or v.strides, v.dtype),
            others, query_start, dropout, return_weights, return_logsumexp, return_scores, stats)
    layouts: dict[Any, list[_Layout]] = mechanism._layouts
    free = layouts.get(what) if memory is None else None
    try:
        layout = free.pop()  # type: ignore[union-attr]
    except (AttributeError, IndexError):  # there is none, or other threads have those that there are
        layout = None
    if layout is not None:
        if dropout:
            layout.call.args.dropout_seed, layout.call.args.dropout_offset = seed, offset
        outs = layout.run(inputs, given)
        free.append(layout)  # type: ignore[union-attr]
    else:
        (width, keys), rows, dtype = _sizes(q, k, v, memory), q.shape[:-1], beside(q.dtype)
        keys = _columns(keys, lengths, where)
        made = (None if given is not None else ((*rows, width), q.dtype),
                ((*rows, keys), dtype) if return_weights else None,
                (rows or (1,), logsumexp_dtype(return_logsumexp, dtype)) if return_logsumexp else None,
                None if return_scores is None else ((*rows, keys), dtype),
                (rows or (1,), dtype) if "entropy" in stats else None,
                (rows or (1,), np.int64) if "strongest" in stats else None,
                (_sums_shape(q, k, v, keys, where), dtype) if "key_sums" in stats else None)
        outs = rooms(made, where[0] is not None)
        if given is not None:
            outs = (given, *outs[1:])
        plain = [x is not None for x in inputs + outs] == [name in _Plain.TENSORS for name in _INPUTS + _OUTPUTS]
        layout = (_Plain if plain and IN_OBJECT else _Layout)(
            mechanism, inputs, outs, {"memory": memory, "query_start": query_start, "dropout": dropout, "seed": seed,
                                      "offset": offset, "stage": "raw" if return_scores is None else return_scores,
                                      "mask_align": mask_align})
        layout.call.run()
        if memory is None:
            if len(layouts) >= _MOST_LAYOUTS:
                layouts.clear()
            layouts.setdefault(what, []).append(layout)
    context, weights, logsumexp, scores, *of_weights = outs
    returned: Any = out if out is not None else context if q is query else like(context, query)
    if not more:
        return returned
    if q.ndim == 1:
        logsumexp, of_weights[0], of_weights[1] = (None if made is None else made.reshape(())
                                                   for made in (logsumexp, *of_weights[:2]))
    told = Stats(*(None if made is None else like(made, query) for made in of_weights)) if stats else None
    return Result(returned, *(None if made is None else like(made, query) for made in (weights, logsumexp, scores)), told)


def backward(mechanism: Rule, d_context: ArrayLike | None, query: ArrayLike, key: ArrayLike | None,
             value: ArrayLike | None, *, d_weights: ArrayLike | None = None, d_logsumexp: ArrayLike | None = None,
             result: Result | None = None, wanted: Collection[str] | None = None, mask: ArrayLike | None = None,
             bias: ArrayLike | None = None, key_lengths: Lengths | None = None, query_start: int = 0,
             dropout: float = 0.0, seed: int = 0, offset: int = 0, query_offsets: Lengths | None = None,
             key_offsets: Lengths | None = None, mask_align: MaskAlign | None = None) -> Gradients:
    q, k, v, b = array_of(query, "query"), maybe(key, "key"), maybe(value, "value"), maybe(bias, "bias")
    if any(array is not None and array.dtype == np.int8 for array in (k, v)):
        raise UnsupportedError("key or value is int8, which has no gradients")
    args: dict[str, Any] = {"mask": mask, "bias": b, "key_lengths": key_lengths, "query_start": query_start,
                            "dropout": dropout, "seed": seed, "offset": offset, "query_offsets": query_offsets,
                            "key_offsets": key_offsets, "mask_align": mask_align}
    if result is None:
        wide, exact = beside(q.dtype), None
        if wide != q.dtype:  # a context that is not rounded
            exact = room_beside(query_offsets)((*q.shape[:-1], _sizes(q, k, v, None)[0]), wide)
        result = forward(mechanism, q, k, v, None, mask, b, key_lengths, query_start, dropout, seed, offset, False, "exact",
                         None, False, exact, places=(query_offsets, key_offsets, None, None), mask_align=mask_align)
    elif not isinstance(result, Result) or result.logsumexp is None:
        raise DTypeError(f"result is a {type(result).__name__}, but what comes with return_logsumexp is needed")
    given = {"query": q, "key": k, "value": v, "bias": b, **mechanism.tables()}
    known = [name for name, array in given.items() if array is not None] + list(mechanism._shapes)
    names = chosen(wanted, known)
    room = np.empty_like if query_offsets is None and key_offsets is None else np.zeros_like
    made = {name: room(array, subok=False) for name, array in given.items()  # laid alike
            if array is not None and name in names}
    params = mechanism._gradients(names, beside(q.dtype))
    call = Computed(mechanism, query=q, key=k, value=v, context=result.context,
                    logsumexp=_row(array_of(result.logsumexp, "logsumexp")), **args)
    tensors: dict[str, Any] = {f"d_{name}": array for name, array in made.items()}
    Gradient(call, d_context=d_context, d_weights=d_weights, d_logsumexp=_row(maybe(d_logsumexp, "d_logsumexp")),
             d_params=params, **tensors).run()
    return Gradients(**{name: like(array, query) for name, array in made.items()},
                     params={name: like(array, query) for name, array in params.items()})
