# SPDX-License-Identifier: BSD-3-Clause
"""attn: attention for CPUs, by libattn, on NumPy arrays. Nothing is copied and nothing is converted.

    context = attn.attention(query, key, value, causal="bottom_right")
    result = attn.attention(query, key, value, causal="bottom_right", return_logsumexp=True)
    gradients = attn.attention_grad(result, query, key, value, d_context=d_context, causal="bottom_right")

Arrays are [batch, heads, length, dimension]; those of fewer dimensions lack the leading ones. float32 or float64, any
strides. What is refused raises attn.Error with the library's sentence."""

import contextlib
import functools
import threading
from collections import OrderedDict, namedtuple

import numpy as np

from ._handles import ADDITIVE_FLAGS, Call, Engine, Gradient, Mechanism
from ._library import Error, lib

__all__ = ["Error", "Result", "attention", "attention_grad", "info", "version"]

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


def _mechanism(threads, query, key, value, score, params, **modifiers):
    """The mechanism for these arrays, with nothing bound to it."""
    for array, name in ((query, "query"), (value if key is None else key, "key")):
        if not isinstance(array, np.ndarray) or array.ndim == 0:
            raise TypeError(f"{name} is a {type(array).__name__}, but a NumPy array of 1 to 4 dimensions is needed")
    if modifiers["window"] is not None:
        modifiers["window"] = _aligned(modifiers["window"], 2, modifiers["causal"], "window")
    return _mechanisms.get(_engine(threads), score, _sizes(score, params, query, key), **modifiers)


@contextlib.contextmanager
def _bound(mechanism, params, alibi, causal):
    """Binds parameters and slopes for a while: the mechanism stays, and must not hold memory that is no longer ours."""
    if alibi is not None:
        alibi = _aligned((alibi,) if isinstance(alibi, np.ndarray) else alibi, 1, causal, "alibi")
    try:
        for name, array in params.items():
            mechanism.bind(name, array)
        if alibi is not None:
            mechanism.alibi(*alibi)
        yield
    finally:
        mechanism.release()


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
    params = params or {}
    mechanism = _mechanism(threads, query, key, value, score, params, scale=scale, softcap=softcap,
                           temperature=temperature, normaliser=normaliser, causal=causal, window=window)
    values = key if value is None else value
    rows, scores = query.shape[:-1], query.shape[:-1] + ((values if key is None else key).shape[-2:-1] or (1,))
    if out is None:
        out = np.empty(rows + values.shape[-1:], query.dtype)
    elif not (isinstance(out, np.ndarray) and out.flags.writeable):
        raise ValueError("out is not a NumPy array that can be written to")
    result = Result(out, np.empty(scores, query.dtype) if return_weights else None,
                    np.empty(rows or (1,), query.dtype) if return_logsumexp else None,
                    np.empty(scores, query.dtype) if return_scores else None)
    with _bound(mechanism, params, alibi, causal):
        Call(mechanism, query_start=query_start, stage=return_scores or "raw", query=query, key=key, value=value,
             mask=mask, bias=bias, key_lengths=key_lengths, context=out, weights=result.weights,
             scores=result.scores, logsumexp=result.logsumexp).run()
    if not (return_weights or return_logsumexp or return_scores):
        return out
    if return_logsumexp and not rows:
        result = result._replace(logsumexp=result.logsumexp.reshape(()))
    return result


def attention_grad(result, query, key, value=None, *, d_context=None, d_weights=None, d_logsumexp=None, wanted=None,
                   score="scaled_dot", params=None, scale=None, softcap=0.0, temperature=1.0, bias=None, mask=None,
                   key_lengths=None, causal=None, window=None, alibi=None, query_start=0, normaliser="softmax",
                   threads=None):
    """Gradients of a loss by what attention() read: a dict with query, key, value, bias, alibi (its slopes), and the
    parameters by their names; of those that were given, and of these the wanted ones, None: all.

    result      what attention() returned for the same arrays and the same rule, with return_logsumexp=True.
    d_context [B, Hq, Tq, Dv], d_weights [B, Hq, Tq, Tk], d_logsumexp [B, Hq, Tq]: the loss's gradients by the outputs;
                at least one. Where value is None, the gradient of key is that of both its parts.
    The rest is as for attention(); hardmax has no gradient."""
    if not isinstance(result, Result) or result.logsumexp is None:
        raise TypeError("result is not what attention() returns with return_logsumexp=True")
    params = params or {}
    mechanism = _mechanism(threads, query, key, value, score, params, scale=scale, softcap=softcap,
                           temperature=temperature, normaliser=normaliser, causal=causal, window=window)
    given = {"query": query, "key": key, "value": value, "bias": bias, **params,
             "alibi": alibi if alibi is None or isinstance(alibi, np.ndarray) else alibi[0]}
    given = {name: array for name, array in given.items() if array is not None}
    unknown = [name for name in wanted or () if name not in given]
    if unknown:
        raise ValueError(f"wanted has {unknown[0]!r}, but what was given is {', '.join(map(repr, given))}")
    gradients = {name: np.empty(np.shape(array), query.dtype) for name, array in given.items()
                 if wanted is None or name in wanted}
    d_params = {name: gradients[name] for name in params if name in gradients}
    row = lambda array: array.reshape(1) if isinstance(array, np.ndarray) and array.ndim == 0 else array
    with _bound(mechanism, params, alibi, causal):
        call = Call(mechanism, query_start=query_start, query=query, key=key, value=value, mask=mask, bias=bias,
                    key_lengths=key_lengths, context=result.context, logsumexp=row(result.logsumexp))
        Gradient(call, d_context=d_context, d_weights=d_weights, d_logsumexp=row(d_logsumexp), d_params=d_params,
                 **{f"d_{name}": array for name, array in gradients.items() if name not in params}).run()
    return gradients
