# SPDX-License-Identifier: BSD-3-Clause
"""_run.py: one call of a mechanism, forward or backward: outputs are made, then written."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ._calls import Call, Gradient
from ._tensors import Array, ArrayLike, Lengths, array_of, lengths_of, like, maybe, writable
from ._words import Exact, Stage

if TYPE_CHECKING:
    from ._mechanism import Mechanism
    from ._memory import Memory


class Result(NamedTuple):
    """What was computed; None where it was not asked for."""

    context: Any
    weights: Any = None
    logsumexp: Any = None
    scores: Any = None


class Gradients(NamedTuple):
    """Of a loss by what was read; None where there was none, or it was not wanted."""

    query: Any = None
    key: Any = None
    value: Any = None
    bias: Any = None
    params: dict[str, Any] = {}
    alibi: Any = None
    relative: Any = None


def _row(array: Array | None) -> Array | None:
    """The library knows no arrays without dimensions."""
    return array.reshape(1) if array is not None and array.ndim == 0 else array


def logsumexp_dtype(wanted: bool | Exact, dtype: Any) -> Any:
    return np.float64 if wanted == "exact" else dtype


class _Layout:
    """A Call for arrays of certain shapes, strides and types, whichever they are, and what its outputs are. For it
    is the views that take the time of a small call: they are laid out once, and told other addresses."""

    def __init__(self, mechanism: Mechanism, inputs: tuple[Array | None, ...], outs: tuple[Array | None, ...],
                 keywords: dict[str, Any]):
        arrays: dict[str, Any] = dict(zip(_INPUTS + _OUTPUTS, inputs + outs))
        self.call = Call(mechanism, **arrays, **keywords)
        self.outs = [None if array is None else (array.shape, array.dtype) for array in outs]
        self.inputs, self.outputs = ([tensor for name in names if (tensor := self.call.tensors.get(name))]
                                     for names in (_INPUTS, _OUTPUTS))
        self.call.args.kept = None  # other arrays come
        del self.call.mechanism     # which has this layout, and must go when nobody has it any more


_INPUTS = "query", "key", "value", "mask", "bias", "key_lengths"
_OUTPUTS = "context", "weights", "logsumexp", "scores"
_MOST_LAYOUTS = 64


def _sizes(q: Array, k: Array | None, v: Array | None, memory: Memory | None) -> tuple[int, int]:
    """The dimension of the context, and how many keys there are."""
    if memory is not None:
        return memory.value_dim, max(memory.lengths, default=0)
    values = k if v is None else v
    if values is None or values.ndim == 0 or q.ndim == 0:
        raise ValueError("query, key and value are needed, of 1 to 4 dimensions")
    counted = values if k is None else k
    return values.shape[-1], counted.shape[-2] if counted.ndim > 1 else 1


def forward(mechanism: Mechanism, query: ArrayLike, key: ArrayLike | None, value: ArrayLike | None, *,
            memory: Memory | None = None, mask: ArrayLike | None = None, bias: ArrayLike | None = None,
            key_lengths: Lengths | None = None, query_start: int = 0, dropout: float = 0.0, seed: int = 0,
            offset: int = 0, return_weights: bool = False, return_logsumexp: bool | Exact = False,
            return_scores: Stage | None = None, out: ArrayLike | None = None) -> Any:
    q = query if type(query) is np.ndarray else array_of(query, "query")
    k = key if type(key) is np.ndarray else maybe(key, "key")
    v = value if type(value) is np.ndarray else maybe(value, "value")
    m, b, lengths = maybe(mask, "mask"), maybe(bias, "bias"), lengths_of(key_lengths, "key_lengths")
    given = None if out is None else writable(out, "out")
    inputs, dtype = (q, k, v, m, b, lengths), q.dtype
    what = (*[None if x is None else (x.shape, x.strides, x.dtype) for x in inputs], query_start, dropout,
            return_weights, return_logsumexp, return_scores,
            None if given is None else (given.shape, given.strides, given.dtype))
    layouts: dict[Any, list[_Layout]] = mechanism._layouts
    layout = None
    try:
        layout = layouts[what].pop() if memory is None else None
    except (KeyError, IndexError):  # there is none, or another thread has it
        pass
    if layout is None:
        (width, keys), rows = _sizes(q, k, v, memory), q.shape[:-1]
        outs = (np.empty((*rows, width), dtype) if given is None else given,
                np.empty((*rows, keys), dtype) if return_weights else None,
                np.empty(rows or (1,), logsumexp_dtype(return_logsumexp, dtype)) if return_logsumexp else None,
                np.empty((*rows, keys), dtype) if return_scores else None)
        layout = _Layout(mechanism, inputs, outs,
                         {"memory": memory, "query_start": query_start, "dropout": dropout, "seed": seed,
                          "offset": offset, "stage": return_scores or "raw"})
    else:
        outs = tuple([None if made is None else np.empty(*made)  # type: ignore[assignment]
                      for made in layout.outs])
        if given is not None:
            outs = (given, *outs[1:])
        if dropout:
            layout.call.args.dropout_seed, layout.call.args.dropout_offset = seed, offset
        for tensor, array in zip(layout.inputs, [x for x in inputs if x is not None]):
            tensor.data = array.__array_interface__["data"][0]
        for tensor, array in zip(layout.outputs, [x for x in outs if x is not None]):
            tensor.data = array.__array_interface__["data"][0]
    layout.call.run()
    if memory is None:
        if len(layouts) >= _MOST_LAYOUTS:
            layouts.clear()
        layouts.setdefault(what, []).append(layout)
    context, weights, logsumexp, scores = outs
    returned: Any = out if out is not None else context if query is q else like(context, query)
    if not (return_weights or return_logsumexp or return_scores):
        return returned
    if logsumexp is not None and q.ndim == 1:
        logsumexp = logsumexp.reshape(())
    return Result(returned, *(None if made is None else like(made, query) for made in (weights, logsumexp, scores)))


def backward(mechanism: Mechanism, d_context: ArrayLike | None, query: ArrayLike, key: ArrayLike | None,
             value: ArrayLike | None, *, d_weights: ArrayLike | None = None, d_logsumexp: ArrayLike | None = None,
             result: Result | None = None, wanted: Collection[str] | None = None, mask: ArrayLike | None = None,
             bias: ArrayLike | None = None, key_lengths: Lengths | None = None, query_start: int = 0,
             dropout: float = 0.0, seed: int = 0, offset: int = 0) -> Gradients:
    q, k, v, b = array_of(query, "query"), maybe(key, "key"), maybe(value, "value"), maybe(bias, "bias")
    args: dict[str, Any] = {"mask": mask, "bias": b, "key_lengths": key_lengths, "query_start": query_start,
                            "dropout": dropout, "seed": seed, "offset": offset}
    if result is None:
        result = forward(mechanism, q, k, v, return_logsumexp="exact", **args)
    elif not isinstance(result, Result) or result.logsumexp is None:
        raise TypeError("result is not what comes with return_logsumexp")
    given = {"query": q, "key": k, "value": v, "bias": b,
             **mechanism.distances()}
    known = [name for name, array in given.items() if array is not None] + list(mechanism._shapes)
    unknown = [name for name in wanted or () if name not in known]
    if unknown:
        raise ValueError(f"wanted has {unknown[0]!r}, but what was given is {', '.join(map(repr, known))}")
    made = {name: np.empty(array.shape, q.dtype) for name, array in given.items()
            if array is not None and (wanted is None or name in wanted)}
    params = mechanism._gradients(wanted, q.dtype)
    call = Call(mechanism, query=q, key=k, value=v, context=result.context,
                logsumexp=_row(array_of(result.logsumexp, "logsumexp")), **args)
    tensors: dict[str, Any] = {f"d_{name}": array for name, array in made.items()}
    Gradient(call, d_context=d_context, d_weights=d_weights, d_logsumexp=_row(maybe(d_logsumexp, "d_logsumexp")),
             d_params=params, **tensors).run()
    return Gradients(**{name: like(array, query) for name, array in made.items()},
                     params={name: like(array, query) for name, array in params.items()})
