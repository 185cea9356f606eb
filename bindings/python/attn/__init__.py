# SPDX-License-Identifier: BSD-3-Clause
"""attn: attention for CPUs, by libattn, on NumPy arrays. Nothing is copied and nothing is converted.

    context = attn.attention(query, key, value, causal="bottom_right")

Arrays are [batch, heads, length, dimension]; those of fewer dimensions lack the leading ones. float32 or float64, any
strides. What is refused raises attn.Error with the library's sentence."""

import functools
import threading
from collections import OrderedDict, namedtuple

import numpy as np

from ._handles import ADDITIVE_FLAGS, Call, Engine, Mechanism
from ._library import Error, lib

__all__ = ["Error", "Result", "attention", "info", "version"]

version = lib.attn_version().decode()

Result = namedtuple("Result", "context weights logsumexp scores")
Result.__doc__ = "What attention() computed; None where it was not asked for."

_NEEDED = {"dot": "", "scaled_dot": "", "general": "W", "additive": "v", "concat": "v", "location": "W"}
_MOST_MECHANISMS = 32


@functools.lru_cache(maxsize=None)
def _engine(threads):
    return Engine(threads)


def info(threads=None):
    """How this machine computes: attn_engine_describe's JSON as a dict."""
    return _engine(threads).describe()


class _Mechanisms(threading.local):
    """Mechanisms by what they were made of. Each thread has its own, because a call binds its parameters to one."""

    def __init__(self):
        self.made = OrderedDict()

    def get(self, engine, score, sizes, **modifiers):
        what = (engine, score, sizes, tuple(modifiers.values()))
        mechanism = self.made.get(what)
        if mechanism is None:
            mechanism = self.made[what] = Mechanism(engine, score, sizes, **modifiers)
            if len(self.made) > _MOST_MECHANISMS:
                self.made.popitem(last=False)
        return mechanism


_mechanisms = _Mechanisms()


def _sizes(score, params, query, key):
    """What the score's create function takes: dimensions, and the flags of additive."""
    if score not in _NEEDED:
        raise ValueError(f"score is {score!r}, but it is one of {', '.join(map(repr, _NEEDED))}")
    missing = [name for name in _NEEDED[score] if name not in params]
    if missing:
        raise ValueError(f"score {score!r} needs the parameter {missing[0]} in params")
    if score in ("dot", "scaled_dot"):
        return ()
    query_dim, key_dim = query.shape[-1], 0 if key is None else key.shape[-1]
    if score == "general":
        return query_dim, key_dim
    if score == "location":
        return query_dim, params["W"].shape[0]
    if score == "concat":
        return query_dim, key_dim, params["v"].shape[0]
    flags = {"BIAS": "b" in params, "NORMALISED": "g" in params, "QUERY_PROJECTED": "W" not in params,
             "KEY_PROJECTED": "U" not in params}
    return query_dim, key_dim, params["v"].shape[0], sum(ADDITIVE_FLAGS[flag] for flag, on in flags.items() if on)


def _aligned(given, count, causal, what):
    """given with its alignment at the end: its own, or that of causal."""
    if len(given) == count + 1:
        return tuple(given)
    if causal is None or len(given) != count:
        raise ValueError(f"{what} needs an alignment, 'top_left' or 'bottom_right', as its last entry, "
                         "unless causal has one")
    return (*given, causal)


def attention(query, key, value=None, *, score="scaled_dot", params=None, scale=None, softcap=0.0, temperature=1.0,
              bias=None, mask=None, key_lengths=None, causal=None, window=None, alibi=None, query_start=0,
              normaliser="softmax", return_weights=False, return_logsumexp=False, return_scores=None, threads=None,
              out=None):
    """The context, [B, Hq, Tq, Dv]; or a Result, where weights, log-sum-exp or scores are asked for too.

    query [B, Hq, Tq, Dq], key [B, Hk, Tk, Dk], value [B, Hk, Tk, Dv], None: the keys. Hk divides Hq.
    score       dot, scaled_dot, general, additive, concat, location; params are its arrays by name (W, U, v, b, g).
                additive has a bias with b, is normalised with g, and takes projected inputs without W or U.
    scale, softcap (0: none), temperature, bias (broadcasts to [B, Hq, Tq, Tk]), mask (bool, True: may be seen),
    key_lengths [B] (int32 or int64), normaliser ("softmax", "hardmax"): as attn.h says.
    causal      "top_left" or "bottom_right", the alignment.
    window      (left, right, alignment), -1 is unbounded; alibi (slopes, alignment), slopes [Hq]. Where causal is
                given they may leave their alignment out.
    return_scores  "raw", "capped", "masked" or "weights": the stage.
    threads     of the engine; None is one for each CPU.
    out         an array for the context."""
    for array, name in ((query, "query"), (value if key is None else key, "key")):
        if not isinstance(array, np.ndarray) or array.ndim == 0:
            raise TypeError(f"{name} is a {type(array).__name__}, but a NumPy array of 1 to 4 dimensions is needed")
    params = params or {}
    sizes = _sizes(score, params, query, key)
    if window is not None:
        window = _aligned(window, 2, causal, "window")
    if alibi is not None:
        alibi = _aligned((alibi,) if isinstance(alibi, np.ndarray) else alibi, 1, causal, "alibi")
    mechanism = _mechanisms.get(_engine(threads), score, sizes, scale=scale, softcap=softcap, temperature=temperature,
                                normaliser=normaliser, causal=causal, window=window)
    values = key if value is None else value
    rows, scores = query.shape[:-1], query.shape[:-1] + ((values if key is None else key).shape[-2:-1] or (1,))
    if out is None:
        out = np.empty(rows + values.shape[-1:], query.dtype)
    elif not (isinstance(out, np.ndarray) and out.flags.writeable):
        raise ValueError("out is not a NumPy array that can be written to")
    result = Result(out, np.empty(scores, query.dtype) if return_weights else None,
                    np.empty(rows or (1,), query.dtype) if return_logsumexp else None,
                    np.empty(scores, query.dtype) if return_scores else None)
    try:
        for name, array in params.items():
            mechanism.bind(name, array)
        if alibi is not None:
            mechanism.alibi(*alibi)
        Call(mechanism, query_start=query_start, stage=return_scores or "raw", query=query, key=key, value=value,
             mask=mask, bias=bias, key_lengths=key_lengths, context=out, weights=result.weights,
             scores=result.scores, logsumexp=result.logsumexp).run()
    finally:  # the mechanism stays, and must not hold memory that is no longer ours
        mechanism.release()
    if not (return_weights or return_logsumexp or return_scores):
        return out
    if return_logsumexp and not rows:
        result = result._replace(logsumexp=result.logsumexp.reshape(()))
    return result
