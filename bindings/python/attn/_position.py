# SPDX-License-Identifier: BSD-3-Clause
"""_position.py: what tells a model where a token stands: sinusoids, ALiBi's slopes, rotary positions."""

from __future__ import annotations

from ctypes import byref, pointer
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ._abi import RopeOptions
from ._dtypes import dtype_of
from ._handles import Engine, engine_of
from ._library import check, lib
from ._tensors import Array, ArrayLike, Lengths, array_of, lengths_of, like, view, writable
from ._values import fill, flag, integer, real
from ._words import LAYOUTS, choose


@dataclass(frozen=True)
class Rope:
    """Rotary positions (Su 2021): layout "interleaved" (the paper's) or "halves" (GPT-NeoX, transformers' Llama), which
    has no default, since weights are right with one alone; the first dimensions of each row are turned, 0: all of them."""

    layout: str
    dimensions: int = 0
    base: float = 10000.0

    def options(self, first: int = 0, positions: Array | None = None, inverse: bool = False) -> RopeOptions:
        options = fill(RopeOptions, layout=choose(LAYOUTS, self.layout, "layout"), dimensions=self.dimensions,
                       base=self.base, first=first, inverse=int(flag(inverse, "inverse")))
        if positions is not None:
            options.positions = pointer(view(positions, "positions"))
        return options


def rope(array: ArrayLike, *, layout: str, dimensions: int = 0, base: float = 10000.0, first: int = 0,
         positions: Lengths | None = None, inverse: bool = False, out: ArrayLike | None = None,
         engine: Engine | None = None) -> Any:
    """array [B, H, T, D] with each row turned by its position: first + t, or positions [B, T] or [T]. layout as for
    Rope. inverse turns back, which is the gradient too. out may be array itself."""
    rows = array_of(array, "array")
    to = np.empty(rows.shape, rows.dtype) if out is None else writable(out, "out")
    options = Rope(layout, dimensions, base).options(first, lengths_of(positions, "positions"), inverse)
    check(lib.attn_rope(engine_of(engine).handle, byref(options), byref(view(rows, "array")),
                        byref(view(to, "out"))))
    return like(to, array) if out is None else out


def sinusoidal(length: int, dimension: int, *, first: int = 0, base: float = 10000.0,
               dtype: npt.DTypeLike = np.float32) -> Array:
    """The sinusoids of positions first .. first + length - 1 (Vaswani 2017, section 3.5), [length, dimension]."""
    sizes = integer(length, "length", least=0), integer(dimension, "dimension", least=0)
    table = np.empty(sizes, dtype_of(dtype, "dtype"))
    check(lib.attn_position_sinusoidal(byref(view(table, "table")), integer(first, "first"), real(base, "base")))
    return table


def alibi_slopes(heads: int, *, dtype: npt.DTypeLike = np.float32) -> Array:
    """The slopes of Press 2022 for so many heads."""
    slopes = np.empty(integer(heads, "heads", least=0), dtype_of(dtype, "dtype"))
    check(lib.attn_position_alibi_slopes(byref(view(slopes, "slopes"))))
    return slopes
