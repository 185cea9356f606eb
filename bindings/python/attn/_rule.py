# SPDX-License-Identifier: BSD-3-Clause
"""_rule.py: what a mechanism is: a score function with its parameters, and the modifiers. That it computes is said in
_mechanism.py, above what it computes with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ctypes import byref, c_int64
from typing import Any, TypeVar

from ._handles import Engine, Parameters, engine_of
from ._library import ArgumentError, check, lib
from ._tensors import Array, ArrayLike, array_of, view
from ._values import integer, mapping, real, shown
from ._words import (ADDITIVE_FLAGS, ALIGNMENTS, LOCALS, NORMALISERS, PRECISIONS, RELATIVES, Align, Normaliser, Precision,
                     Score, choose, join)

_SCORES: dict[str | None, int] = {score: i for i, score in enumerate(
    ("dot", "scaled_dot", "general", "additive", "concat", "location"))}


def aligned(given: Any, count: int, causal: Align | None, what: str) -> tuple[Any, ...]:
    """given with its alignment at the end: its own, or that of causal."""
    if isinstance(given, (tuple, list)) and len(given) == count + 1:
        return tuple(given)
    given = given if isinstance(given, (tuple, list)) else (given,)
    if causal is None or len(given) != count:
        raise ArgumentError(f"{what} is {shown(given)}, but it has {count} entries, and as its last an alignment, 'top_left' "
                            "or 'bottom_right', unless causal has one")
    return (*given, causal)


def window_of(window: Any, causal: Align | None) -> tuple[int, int, Align]:
    """What set_window() takes."""
    left, right, align = aligned(window, 2, causal, "window")
    return integer(left, "window's left"), integer(right, "window's right"), align


def sizes_of(score: str, params: Mapping[str, Array], flags: Iterable[str] | None, query_dim: int | None,
             key_dim: int | None, hidden_dim: int | None, max_keys: int | None) -> tuple[int, ...]:
    """What the score's create function takes after the engine. A dimension that is not given is a parameter's; where
    parameters are given and no flags, they say which of its forms an additive score has."""
    choose(_SCORES, score, "score")

    def size(given: int | None, param: str, dimension: int, what: str) -> int:
        if given is not None:
            return integer(given, what)
        if param not in params:
            has = f", which has {', '.join(map(shown, params))}" if params else ""
            raise ArgumentError(f"score {score!r} needs the parameter {param} in params{has}; or {what}")
        shape = params[param].shape
        return int(shape[dimension]) if dimension < len(shape) else 0

    if score in ("dot", "scaled_dot"):
        return ()
    if score == "general":
        return size(query_dim, "W", 0, "query_dim"), size(key_dim, "W", 1, "key_dim")
    if score == "location":
        return size(query_dim, "W", 1, "query_dim"), size(max_keys, "W", 0, "max_keys")
    hidden = size(hidden_dim, "v", 0, "hidden_dim")
    if score == "concat":
        both = size(None if query_dim is None or key_dim is None else 0, "W", 1, "query_dim and key_dim")
        if query_dim is None and key_dim is None:
            raise ArgumentError("score 'concat' needs query_dim or key_dim: W does not tell where the one ends")
        if query_dim is None:
            key = integer(key_dim, "key_dim")
            return both - key, key, hidden
        query = integer(query_dim, "query_dim")
        return query, both - query if key_dim is None else integer(key_dim, "key_dim"), hidden
    if flags is None:
        tells = {"bias": "b" in params, "normalised": "g" in params,
                 "query_projected": bool(params) and "W" not in params,
                 "key_projected": bool(params) and "U" not in params}
        flags = [flag for flag, told in tells.items() if told]
    flags = flags if isinstance(flags, str) else list(flags)
    query = hidden if "query_projected" in flags and query_dim is None else size(query_dim, "W", 1, "query_dim")
    key = hidden if "key_projected" in flags and key_dim is None else size(key_dim, "U", 1, "key_dim")
    return query, key, hidden, join(ADDITIVE_FLAGS, flags, "flags")


def local_of(local: Any, params: Mapping[str, Array]) -> tuple[Any, ...]:
    """What set_local() takes: with the dimensions of W_p where there is one."""
    if not isinstance(local, (tuple, list)) or len(local) not in (2, 4):
        raise ArgumentError(f"local is {shown(local)}, but it is a word and a half width, as ('monotonic', 10)")
    W_p = params.get("W_p")
    sizes = local[2:] if W_p is None or W_p.ndim != 2 else (W_p.shape[1], W_p.shape[0])
    return (local[0], *(integer(size, name) for size, name in
                        zip((local[1], *sizes), ("local's half_width", "local's query_dim", "local's hidden_dim"))))


AnyRule = TypeVar("AnyRule", bound="Rule")


class Rule(Parameters):
    """attn_mechanism: see Mechanism, which adds no data to it."""

    kind = "mechanism"

    def __init__(self, score: Score = "scaled_dot", *, params: Mapping[str, ArrayLike] | None = None,
                 flags: Iterable[str] | None = None, query_dim: int | None = None, key_dim: int | None = None,
                 hidden_dim: int | None = None, max_keys: int | None = None, scale: float | None = None,
                 softcap: float = 0.0, temperature: float = 1.0, normaliser: Normaliser = "softmax",
                 precision: Precision = "exact", causal: Align | None = None, window: Any = None, alibi: Any = None,
                 relative: Any = None, sinks: ArrayLike | None = None, local: Any = None, engine: Engine | None = None):
        arrays = {name: array_of(given, f"parameter {name}") for name, given in mapping(params, "params").items()}
        sizes = sizes_of(score, arrays, flags, query_dim, key_dim, hidden_dim, max_keys)
        if window is not None:
            window = window_of(window, causal)
        if local is not None:
            local = local_of(local, arrays)
        self._create(score, sizes, engine_of(engine), scale, softcap, temperature, normaliser, precision,
                     causal, window, local)
        if alibi is not None:
            self.set_alibi(*aligned(alibi, 1, causal, "alibi"))
        if relative is not None:
            self.set_relative(*aligned(relative, 3, causal, "relative"))
        if sinks is not None:
            self.set_sinks(sinks)
        self._bind(arrays)

    def _create(self: AnyRule, score: Score, sizes: tuple[int, ...], engine: Engine, scale: float | None = None,
                softcap: float = 0.0, temperature: float = 1.0, normaliser: Normaliser = "softmax",
                precision: Precision = "exact", causal: Align | None = None, window: Any = None,
                local: Any = None) -> AnyRule:
        """With nothing bound to it."""
        super().__init__()
        self.engine, self.score = engine, score
        self.alibi: tuple[Array, Align] | None = None
        self.relative: tuple[Any, ...] | None = None
        self.sinks: Array | None = None
        self._layouts: dict[Any, Any] = {}  # _run.py's
        check(getattr(lib, f"attn_mechanism_create_{score}")(engine.handle, *sizes, byref(self.handle)))
        self._own()
        if scale is not None:
            self.set_scale(scale)
        if softcap != 0.0:
            self.set_softcap(softcap)
        if temperature != 1.0:
            self.set_temperature(temperature)
        if normaliser != "softmax":
            self.set_normaliser(normaliser)
        if precision != "exact":
            self.set_precision(precision)
        if causal is not None:
            self.set_causal(causal)
        if window is not None:
            self.set_window(*window)
        if local is not None:
            self.set_local(*local)
        return self

    def set_scale(self, scale: float) -> None:
        check(lib.attn_mechanism_set_scale(self.handle, real(scale, "scale")))

    def set_softcap(self, cap: float) -> None:
        check(lib.attn_mechanism_set_softcap(self.handle, real(cap, "softcap")))

    def set_temperature(self, tau: float) -> None:
        check(lib.attn_mechanism_set_temperature(self.handle, real(tau, "temperature")))

    def set_normaliser(self, normaliser: Normaliser) -> None:
        check(lib.attn_mechanism_set_normaliser(self.handle, choose(NORMALISERS, normaliser, "normaliser")))

    def set_precision(self, precision: Precision) -> None:
        """"exact", or "fast": numbers of 16 and 8 bits may be multiplied as they are kept. As attn.h says."""
        check(lib.attn_mechanism_set_precision(self.handle, choose(PRECISIONS, precision, "precision")))

    def set_causal(self, align: Align | None) -> None:
        check(lib.attn_mechanism_set_causal(self.handle, choose(ALIGNMENTS, align, "causal")))

    def set_window(self, left: int, right: int, align: Align | None) -> None:
        check(lib.attn_mechanism_set_window(self.handle, integer(left, "window's left"), integer(right, "window's right"),
                                            choose(ALIGNMENTS, align, "window")))

    def set_alibi(self, slopes: ArrayLike | None, align: Align | None) -> None:
        """Slopes, one for each query head, are borrowed and kept alive; None takes them away."""
        array = None if slopes is None else array_of(slopes, "alibi")
        tensor = None if array is None else byref(view(array, "alibi"))
        check(lib.attn_mechanism_set_alibi(self.handle, tensor, choose(ALIGNMENTS, align, "alibi")))
        self.alibi = None if array is None or align is None else (array, align)

    def set_relative(self, table: ArrayLike | None, relative: str | None = None, max_distance: int | None = None,
                     align: Align | None = None) -> None:
        """A table [Hq, n] or [1, n] of biases by distance, "clipped", "t5" or "t5_causal"; borrowed and kept alive."""
        array = None if table is None else array_of(table, "relative")
        if array is None:
            check(lib.attn_mechanism_set_relative_bias(self.handle, None, 0, 0, 0))
            self.relative = None
            return
        check(lib.attn_mechanism_set_relative_bias(self.handle, byref(view(array, "relative")),
                                                   choose(RELATIVES, relative, "relative"),
                                                   integer(max_distance, "relative's max_distance"),
                                                   choose(ALIGNMENTS, align, "relative")))
        self.relative = array, relative, max_distance, align

    def set_sinks(self, sinks: ArrayLike | None) -> None:
        """A logit for each query head that has its part in the softmax and no key; borrowed and kept alive. None takes
        them away."""
        array = None if sinks is None else array_of(sinks, "sinks")
        check(lib.attn_mechanism_set_sinks(self.handle, None if array is None else byref(view(array, "sinks"))))
        self.sinks = array

    def tables(self) -> dict[str, Array | None]:
        """The slopes of ALiBi, the table of relative biases and the sinks, None where there are none."""
        return {"alibi": None if self.alibi is None else self.alibi[0],
                "relative": None if self.relative is None else self.relative[0], "sinks": self.sinks}

    def set_local(self, local: str | None, half_width: int | None = None, query_dim: int = 0, hidden_dim: int = 0) -> None:
        """"monotonic" with its half width; or "predictive" or "predictive_floor", which need query_dim and hidden_dim too,
        and have the parameters W_p and v_p, to be bound then. None takes it away."""
        width = 0 if local is None and half_width is None else integer(half_width, "half_width")
        check(lib.attn_mechanism_set_local(self.handle, 0 if local is None else choose(LOCALS, local, "local"), width,
                                           integer(query_dim, "query_dim"), integer(hidden_dim, "hidden_dim")))
        self.__dict__.pop("_shapes", None)
        for name in ("W_p", "v_p"):
            self._bound.pop(name, None)

    @property
    def name(self) -> str:
        """The score's, by the library."""
        name: bytes = lib.attn_mechanism_name(self.handle)
        return name.decode()

    @property
    def param_total(self) -> int:
        """How many trainable numbers there are."""
        total = c_int64()
        check(lib.attn_mechanism_param_total(self.handle, byref(total)))
        return total.value
