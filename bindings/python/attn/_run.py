# SPDX-License-Identifier: BSD-3-Clause
"""_run.py: one call of a mechanism, forward or backward: outputs are made, then written."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ._calls import Call, Gradient
from ._tensors import Array, ArrayLike, Lengths, array_of, like, maybe, writable
from ._words import Stage

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


def forward(mechanism: Mechanism, query: ArrayLike, key: ArrayLike | None, value: ArrayLike | None, *,
            memory: Memory | None = None, mask: ArrayLike | None = None, bias: ArrayLike | None = None,
            key_lengths: Lengths | None = None, query_start: int = 0, dropout: float = 0.0, seed: int = 0,
            offset: int = 0, return_weights: bool = False, return_logsumexp: bool = False,
            return_scores: Stage | None = None, out: ArrayLike | None = None) -> Any:
    q, k, v = array_of(query, "query"), maybe(key, "key"), maybe(value, "value")
    if q.ndim == 0:
        raise ValueError("query has no dimensions, but 1 to 4 are needed")
    rows, dtype = q.shape[:-1], q.dtype
    if memory is not None:
        width, keys = memory.value_dim, max(memory.lengths, default=0)
    else:
        values = k if v is None else v
        if values is None or values.ndim == 0:
            raise ValueError("key and value are missing, or have no dimensions")
        counted = values if k is None else k
        width, keys = values.shape[-1], counted.shape[-2] if counted.ndim > 1 else 1
    context = np.empty((*rows, width), dtype) if out is None else writable(out, "out")
    weights = np.empty((*rows, keys), dtype) if return_weights else None
    scores = np.empty((*rows, keys), dtype) if return_scores else None
    logsumexp = np.empty(rows or (1,), dtype) if return_logsumexp else None
    Call(mechanism, query=q, key=k, value=v, memory=memory, mask=mask, bias=bias, key_lengths=key_lengths,
         query_start=query_start, dropout=dropout, seed=seed, offset=offset, stage=return_scores or "raw",
         context=context, weights=weights, scores=scores, logsumexp=logsumexp).run()
    returned = like(context, query) if out is None else out
    if weights is None and logsumexp is None and scores is None:
        return returned
    if logsumexp is not None and not rows:
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
        result = forward(mechanism, q, k, v, return_logsumexp=True, **args)
    elif not isinstance(result, Result) or result.logsumexp is None:
        raise TypeError("result is not what comes with return_logsumexp=True")
    given = {"query": q, "key": k, "value": v, "bias": b,
             "alibi": None if mechanism.alibi is None else mechanism.alibi[0],
             "relative": None if mechanism.relative is None else mechanism.relative[0]}
    known = [name for name, array in given.items() if array is not None] + list(mechanism._shapes)
    unknown = [name for name in wanted or () if name not in known]
    if unknown:
        raise ValueError(f"wanted has {unknown[0]!r}, but what was given is {', '.join(map(repr, known))}")
    made = {name: np.empty(array.shape, q.dtype) for name, array in given.items()
            if array is not None and (wanted is None or name in wanted)}
    params = mechanism._gradients(wanted, q.dtype)
    call = Call(mechanism, query=q, key=k, value=v, context=result.context,
                logsumexp=_row(array_of(result.logsumexp, "logsumexp")), **args)
    Gradient(call, d_context=d_context, d_weights=d_weights, d_logsumexp=_row(maybe(d_logsumexp, "d_logsumexp")),
             d_params=params, **{f"d_{name}": array for name, array in made.items()}).run()
    return Gradients(**{name: like(array, query) for name, array in made.items()},
                     params={name: like(array, query) for name, array in params.items()})
