# SPDX-License-Identifier: BSD-3-Clause
"""_decomposable.py: the attend stage of decomposable attention (Parikh 2016), both ways at once, and its gradients."""

from __future__ import annotations

from collections.abc import Collection
from ctypes import byref
from typing import Any, NamedTuple

import numpy as np

from ._abi import DecomposableArgs
from ._dtypes import beside
from ._handles import Engine, engine_of
from ._library import DTypeError, check, lib
from ._tensors import Array, ArrayLike, Lengths, array_of, lay, lengths_of, like, maybe
from ._values import chosen, fill


class Decomposed(NamedTuple):
    """What in b is aligned with each row of a, and what in a with each row of b; and the log-sum-exps."""

    beta: Any
    alpha: Any
    a_logsumexp: Any
    b_logsumexp: Any


class DecomposableGradients(NamedTuple):
    """None where there was none, or it was not wanted."""

    f: Any = None
    g: Any = None
    a: Any = None
    b: Any = None


def _inputs(f: ArrayLike, g: ArrayLike, a: ArrayLike | None, b: ArrayLike | None, a_lengths: Lengths | None,
            b_lengths: Lengths | None) -> dict[str, Array | None]:
    return {"f": array_of(f, "f"), "g": array_of(g, "g"), "a": maybe(a, "a"), "b": maybe(b, "b"),
            "a_lengths": lengths_of(a_lengths, "a_lengths"), "b_lengths": lengths_of(b_lengths, "b_lengths")}


def decomposable(f: ArrayLike, g: ArrayLike, a: ArrayLike | None = None, b: ArrayLike | None = None, *,
                 a_lengths: Lengths | None = None, b_lengths: Lengths | None = None,
                 engine: Engine | None = None) -> Decomposed:
    """beta [B, H, Ta, Db] and alpha [B, H, Tb, Da], with their log-sum-exps, of the projected sentences f = F(a)
    [B, H, Ta, D] and g = F(b) [B, H, Tb, D], and a and b themselves; None: f, g."""
    inputs, args = _inputs(f, g, a, b, a_lengths, b_lengths), fill(DecomposableArgs)
    rows = {"f": array_of(f, "f"), "g": array_of(g, "g")}
    sides = {"beta": ("f", "b", "g"), "alpha": ("g", "a", "f")}
    made: dict[str, Array] = {}
    for name, (mine, theirs, otherwise) in sides.items():
        values = inputs[theirs] if inputs[theirs] is not None else rows[otherwise]
        assert values is not None
        made[name] = np.empty((*rows[mine].shape[:-1], *values.shape[-1:]), rows[mine].dtype)
    made.update({f"{side}_logsumexp": np.empty(rows[mine].shape[:-1], beside(rows[mine].dtype))
                 for side, mine in (("a", "f"), ("b", "g"))})
    lay(args, {**inputs, **made})
    check(lib.attn_decomposable_forward(engine_of(engine).handle, byref(args)))
    return Decomposed(**{name: like(array, f) for name, array in made.items()})


def decomposable_grad(d_beta: ArrayLike | None, d_alpha: ArrayLike | None, f: ArrayLike, g: ArrayLike,
                      a: ArrayLike | None = None, b: ArrayLike | None = None, *, a_lengths: Lengths | None = None,
                      b_lengths: Lengths | None = None, result: Decomposed | None = None,
                      wanted: Collection[str] | None = None, engine: Engine | None = None) -> DecomposableGradients:
    """Gradients of a loss by f, g, a and b, from those by beta and alpha. result: what decomposable() returned for the
    same arguments; None: it is computed again."""
    inputs, args = _inputs(f, g, a, b, a_lengths, b_lengths), fill(DecomposableArgs)
    if result is None:
        result = decomposable(f, g, a, b, a_lengths=a_lengths, b_lengths=b_lengths, engine=engine)
    elif not isinstance(result, Decomposed):
        raise DTypeError(f"result is a {type(result).__name__}, but what decomposable() returned is needed")
    there = {name: array for name in ("f", "g", "a", "b") if (array := inputs[name]) is not None}
    made = {name: np.empty(there[name].shape, there[name].dtype) for name in chosen(wanted, there)}
    lay(args, {**inputs, **{name: array_of(given, name) for name, given in result._asdict().items()},
               "d_beta": maybe(d_beta, "d_beta"), "d_alpha": maybe(d_alpha, "d_alpha"),
               **{f"d_{name}": array for name, array in made.items()}})
    check(lib.attn_decomposable_backward(engine_of(engine).handle, byref(args)))
    return DecomposableGradients(**{name: like(array, f) for name, array in made.items()})
