# SPDX-License-Identifier: BSD-3-Clause
"""with_jax.py: JAX's dot_product_attention under jit, and Keras's AdditiveAttention on JAX, under jit as well."""

import os

os.environ["KERAS_BACKEND"] = "jax"
import jax
import jax.numpy as jnp
import keras
import numpy as np

from dtypes import F32
from measure import Entrant

KINDS = {"attention", "decode", "additive", "tiny"}  # of cases that it computes
DTYPES = {F32}
MOST_BYTES = 4 << 30  # of scores, which are held whole, and more than once


def start(threads):
    return f"jax {jax.__version__}, keras {keras.__version__}"


def entrant(name, function, sets, backend, read):
    """jax.jit takes its inputs as they are, so that nothing is copied in a call."""
    jitted = jax.jit(function)
    return Entrant(name, [lambda s=s: jitted(*s).block_until_ready() for s in sets], read, backend)


def attention(data):
    """In its own layout, [B, T, H, D]."""
    case, more = data.case, {}
    if case.alibi:
        more["bias"] = jnp.asarray(np.where(data.mask, data.bias(), 0)[None])
    if case.checkerboard:
        more["mask"] = jnp.asarray(data.mask[None, None])
    if case.window:
        more["local_window_size"] = (case.window, case.window)
    sets = [tuple(jnp.asarray(np.ascontiguousarray(x.transpose(0, 2, 1, 3))) for x in s) for s in data.sets]
    return entrant("jax", lambda q, k, v: jax.nn.dot_product_attention(q, k, v, is_causal=case.causal, **more), sets,
                   "XLA", lambda context: np.asarray(context).transpose(0, 2, 1, 3))


def additive(data):
    data = data.projected()
    case = data.case
    layer = keras.layers.AdditiveAttention(use_scale=True)
    layer.build([(case.batch, case.queries, case.dim), (case.batch, case.Tk, case.dim)])
    layer.set_weights([data.params["v"]])
    sets = [tuple(jnp.asarray(x[:, 0]) for x in s if x is not None) for s in data.sets]
    W, U = (jnp.asarray(data.params[name]) if case.states else None for name in "WU")

    def function(query, key, value=None):
        q, k = (query @ W.T, key @ U.T) if case.states else (query, key)
        return layer([q, key if value is None else value, k])

    return entrant("keras-additive", function, sets, "JAX, jit", lambda context: np.asarray(context)[:, None])


def peers(data):
    case = data.case
    if case.kind == "additive":
        yield "keras-additive", lambda: additive(data)
    elif not case.softcap:
        size = 4 * case.batch * case.heads * case.queries * case.Tk
        yield "jax", lambda: attention(data) if size <= MOST_BYTES else \
            f"it holds all scores, {size / 2**30:.1f} GB of them, more than once"


def finish():
    jax.clear_caches()
