# SPDX-License-Identifier: BSD-3-Clause
"""_attentional.py: Luong's attentional step, tanh(W_c [context; query] + bias), and its gradients."""

from __future__ import annotations

from collections.abc import Collection
from ctypes import byref
from typing import Any, NamedTuple

import numpy as np

from ._abi import AttentionalArgs
from ._handles import Engine, engine_of
from ._library import check, lib
from ._tensors import Array, ArrayLike, array_of, lay, like, maybe, writable
from ._values import chosen, fill


class AttentionalGradients(NamedTuple):
    """None where there was none, or it was not wanted."""

    weight: Any = None
    context: Any = None
    query: Any = None
    bias: Any = None


def _inputs(weight: ArrayLike, context: ArrayLike, query: ArrayLike, bias: ArrayLike | None) -> dict[str, Array | None]:
    return {"weight": array_of(weight, "weight"), "context": array_of(context, "context"),
            "query": array_of(query, "query"), "bias": maybe(bias, "bias")}


def attentional(weight: ArrayLike, context: ArrayLike, query: ArrayLike, bias: ArrayLike | None = None, *,
                out: ArrayLike | None = None, engine: Engine | None = None) -> Any:
    """The attentional state [.., T, H] (Luong 2015, eq. 5) of weight [H, Dv + Dq], context [.., T, Dv], query
    [.., T, Dq] and bias [H]."""
    arrays, args = _inputs(weight, context, query, bias), fill(AttentionalArgs)
    states, rows = arrays["query"], arrays["weight"]
    assert states is not None and rows is not None
    output = np.empty((*states.shape[:-1], *rows.shape[:1]), states.dtype) if out is None else writable(out, "out")
    lay(args, {**arrays, "output": output})
    check(lib.attn_attentional_forward(engine_of(engine).handle, byref(args)))
    return like(output, query) if out is None else out


def attentional_grad(d_output: ArrayLike, output: ArrayLike, weight: ArrayLike, context: ArrayLike, query: ArrayLike,
                     bias: ArrayLike | None = None, *, wanted: Collection[str] | None = None,
                     engine: Engine | None = None) -> AttentionalGradients:
    """Gradients of a loss by what attentional() read, from that by its output, which is given too."""
    arrays, args = _inputs(weight, context, query, bias), fill(AttentionalArgs)
    there = {name: array for name, array in arrays.items() if array is not None}
    made = {name: np.empty(there[name].shape, there[name].dtype) for name in chosen(wanted, there)}
    lay(args, {**arrays, "output": array_of(output, "output"), "d_output": array_of(d_output, "d_output"),
               **{f"d_{name}": array for name, array in made.items()}})
    check(lib.attn_attentional_backward(engine_of(engine).handle, byref(args)))
    return AttentionalGradients(**{name: like(array, query) for name, array in made.items()})
