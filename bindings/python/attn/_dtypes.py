# SPDX-License-Identifier: BSD-3-Clause
"""_dtypes.py: the types of elements: what the library, NumPy and torch call each of them. All that there is to know of one
is a line of TYPES."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ._library import DTypeError, constant
from ._values import shown

DType = np.dtype[Any]

# NumPy has no bfloat16: this stands for it, over the same bits. Of uint16 alone nobody knows what it is.
bfloat16: DType = np.dtype([("bfloat16", "u2")])


class Type(NamedTuple):
    word: str    # the library's, in small letters
    name: str    # NumPy's and torch's
    dtype: DType
    beside: str  # the name of what is computed in, and of what stands beside it: parameters, weights, log-sum-exps, stats

    @property
    def number(self) -> int:
        return constant(f"ATTN_{self.word.upper()}")


TYPES = (Type("f32", "float32", np.dtype("f4"), "float32"), Type("f64", "float64", np.dtype("f8"), "float64"),
         Type("f16", "float16", np.dtype("f2"), "float32"), Type("bf16", "bfloat16", bfloat16, "float32"),
         Type("i8", "int8", np.dtype("i1"), "int8"), Type("bool", "bool", np.dtype("?"), "bool"),
         Type("i32", "int32", np.dtype("i4"), "int32"), Type("i64", "int64", np.dtype("i8"), "int64"))


def _of(*words: str) -> dict[DType, int]:
    return {one.dtype: one.number for one in TYPES if one.word in words}


# The library's numbers by NumPy's types: of what is computed with, of what a memory holds, and of keys and values, which may
# be integers too, of what those are multiplied by, of masks, of lengths.
REAL, SCALE, TRUTH, WHOLE = _of("f32", "f64", "f16", "bf16"), _of("f32"), _of("bool"), _of("i32", "i64")
STORED = {**REAL, **_of("i8")}
_NAMES = {one.dtype: one.name for one in TYPES}
_BESIDE = {one.dtype: np.dtype(one.beside) for one in TYPES if one.beside != one.name}
_WORDS = {called: one.dtype for one in TYPES for called in (one.word, one.name)}


def same(dtype: DType) -> DType:
    """dtype, or the bfloat16 of this module for one of another's, as of ml_dtypes, which is told by its name."""
    return bfloat16 if dtype.itemsize == 2 and dtype.name == "bfloat16" and dtype.isnative else dtype


def beside(dtype: DType) -> DType:
    """The type of weights, scores, log-sum-exps and stats of arrays of this one."""
    return _BESIDE.get(same(dtype), dtype)


def name_of(dtype: DType) -> str:
    return _NAMES.get(same(dtype), str(dtype))


def names(taken: Mapping[DType, int]) -> str:
    """The types of one of the tables, for a sentence."""
    *first, last = (_NAMES[dtype] for dtype in taken)
    return f"{', '.join(first)} or {last}" if first else last


def dtype_of(given: npt.DTypeLike, name: str, taken: Mapping[DType, int] = REAL) -> DType:
    """The type that is meant: by NumPy's words, by the library's, or as torch has it. What is meant to be of 16 bits or 8
    is so: to NumPy "f16" and "i8" have as many bytes."""
    word = str(given).removeprefix("torch.") if isinstance(given, str) or type(given).__module__ == "torch" else None
    dtype = None if word is None else _WORDS.get(word)
    if dtype is None:
        try:
            dtype = np.dtype(given)
        except TypeError:
            pass
    if dtype is None or same(dtype) not in taken:
        raise DTypeError(f"{name} is {shown(given)}, but {names(taken)} is taken")
    return dtype
