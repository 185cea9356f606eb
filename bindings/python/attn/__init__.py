# SPDX-License-Identifier: BSD-3-Clause
"""attn: attention for CPUs, by libattn, on arrays of NumPy, or of torch, JAX and whatever else has __dlpack__. Nothing
is copied and nothing is converted.

    context = attn.attention(query, key, value, causal="bottom_right")
    gradients = attn.attention_grad(d_context, query, key, value, causal="bottom_right")

Arrays are [batch, heads, length, dimension]; those of fewer dimensions lack the leading ones. float32, float64,
float16 or bfloat16, any strides. What is refused raises attn.Error with the library's sentence."""

from ._attention import attention, attention_grad, info
from ._attentional import AttentionalGradients, attentional, attentional_grad
from ._calls import Call, Gradient
from ._decomposable import DecomposableGradients, Decomposed, decomposable, decomposable_grad
from ._dtypes import bfloat16
from ._handles import Engine
from ._library import ArgumentError, DTypeError, Error, OutOfMemoryError, ShapeError, UnsupportedError, lib
from ._mechanism import Mechanism
from ._memory import Memory, Pages
from ._merge import merge
from ._multihead import MultiHead, MultiHeadGradients, MultiHeadResult
from ._pages import pages_append
from ._plot import plot
from ._position import Rope, alibi_slopes, rope, sinusoidal
from ._run import Gradients, Result, Stats

__all__ = ["ArgumentError", "AttentionalGradients", "Call", "DTypeError", "DecomposableGradients", "Decomposed",
           "Engine", "Error", "Gradient", "Gradients", "Mechanism", "Memory", "MultiHead", "MultiHeadGradients",
           "MultiHeadResult", "OutOfMemoryError", "Pages", "Result", "Rope", "ShapeError", "Stats", "UnsupportedError",
           "alibi_slopes", "attention", "attention_grad", "attentional", "attentional_grad", "bfloat16", "decomposable",
           "decomposable_grad", "info", "merge", "pages_append", "plot", "rope", "sinusoidal", "version"]

version: str = lib.attn_version().decode()
__version__ = version
