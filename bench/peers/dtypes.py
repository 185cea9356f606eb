# SPDX-License-Identifier: BSD-3-Clause
"""dtypes.py: the types that keys and values are stored in, and what follows from them; asked by all who make, read or judge
arrays. Nothing else says what a type is."""

from dataclasses import dataclass

import numpy as np
from ml_dtypes import bfloat16


@dataclass(frozen=True)
class DType:
    """Of a case. Everyone is given the same arrays of `inputs`; I8 is what keys and values are kept in, each by its own
    rounding of the same float32 numbers."""

    name: str
    size: int         # bytes of a stored number; the scales of I8 are not counted
    inputs: np.dtype  # query, key, value, and what comes out
    wrong: float      # an error that no rounding makes: something else was computed, and its time says nothing


F32 = DType("f32", 4, np.dtype(np.float32), 1e-3)
F16 = DType("f16", 2, np.dtype(np.float16), 5e-2)
BF16 = DType("bf16", 2, np.dtype(bfloat16), 5e-2)
I8 = DType("i8", 1, np.dtype(np.float32), 5e-2)
