# SPDX-License-Identifier: BSD-3-Clause
"""_merge.py: the results of attention over parts of the keys, joined."""

from __future__ import annotations

from collections.abc import Iterable
from ctypes import POINTER, byref, pointer
from typing import Any

import numpy as np

from ._abi import MergeArgs, Tensor
from ._handles import Engine, engine_of
from ._library import ArgumentError, DTypeError, ShapeError, check, lib
from ._run import Result, logsumexp_dtype
from ._tensors import Array, ArrayLike, array_of, like, view, writable
from ._values import fill, shown
from ._words import Exact


def _list(given: object, name: str) -> list[Any]:
    """A list, or an array along its first dimension."""
    try:
        return list(given)  # type: ignore[call-overload]
    except TypeError:
        raise DTypeError(f"{name} is {shown(given)}, but a list of arrays is needed") from None


def _rows(array: Array) -> Array:
    """The library knows no arrays without dimensions."""
    return array.reshape(1) if array.ndim == 0 else array


def _pointers(views: list[Tensor]) -> Any:
    return (POINTER(Tensor) * len(views))(*map(pointer, views))


def merge(contexts: Iterable[ArrayLike], logsumexps: Iterable[ArrayLike], *, out: ArrayLike | None = None,
          logsumexp_out: ArrayLike | None = None, return_logsumexp: bool | Exact = False,
          engine: Engine | None = None) -> Any:
    """The context of all keys, from those of parts of them.

    contexts [B, Hq, Tq, Dv] and logsumexps [B, Hq, Tq] are lists of what attention() returned for each part, best with
    return_logsumexp="exact". With return_logsumexp a Result of both, the log-sum-exp as wide as the widest of the
    parts', or "exact". out may be one of contexts and logsumexp_out one of logsumexps: then a running result takes up
    the others. Such a Result is what attention_grad takes for each of the parts."""
    given, sums = _list(contexts, "contexts"), _list(logsumexps, "logsumexps")
    if not given:
        raise ArgumentError("contexts is empty, but at least one part is needed")
    if len(given) != len(sums):
        raise ShapeError(f"contexts are {len(given)}, but logsumexps are {len(sums)}")
    parts = [array_of(part, f"contexts[{k}]") for k, part in enumerate(given)]
    rows = [_rows(array_of(part, f"logsumexps[{k}]")) for k, part in enumerate(sums)]
    context = np.empty(parts[0].shape, parts[0].dtype) if out is None else writable(out, "out")
    logsumexp = None if logsumexp_out is None else _rows(writable(logsumexp_out, "logsumexp_out"))
    wanted = logsumexp_dtype(return_logsumexp, np.float64 if any(part.dtype == np.float64 for part in rows) else np.float32)
    if logsumexp is None and wanted is not None:
        logsumexp = np.empty(rows[0].shape, wanted)

    args = fill(MergeArgs, parts=len(parts))
    args.contexts = _pointers([view(part, f"contexts[{k}]") for k, part in enumerate(parts)])
    args.logsumexps = _pointers([view(part, f"logsumexps[{k}]") for k, part in enumerate(rows)])
    args.context = pointer(view(context, "out"))
    if logsumexp is not None:
        args.logsumexp = pointer(view(logsumexp, "logsumexp_out"))
    check(lib.attn_merge(engine_of(engine).handle, byref(args)))
    made = like(context, given[0]) if out is None else out
    if wanted is None or logsumexp is None:
        return made
    if logsumexp_out is not None:
        return Result(made, logsumexp=logsumexp_out)
    return Result(made, logsumexp=like(logsumexp.reshape(parts[0].shape[:-1]), given[0]))
