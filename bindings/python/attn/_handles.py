# SPDX-License-Identifier: BSD-3-Clause
"""_handles.py: the library's handles as classes: Engine, Mechanism; and Call and Gradient, which are attn_forward and
attn_backward with arguments that are laid out once and run many times. Views of NumPy arrays are made here, and nothing
is ever copied."""

import ctypes
import json
import weakref
from ctypes import POINTER, byref, c_int32, c_size_t, c_void_p, pointer

import numpy as np

from ._library import BackwardArgs, EngineOptions, ForwardArgs, ParamInfo, Tensor, check, constant, lib

_DTYPES = {np.dtype(numpy): constant(f"ATTN_{name}") for numpy, name in (
    ("f4", "F32"), ("f8", "F64"), ("f2", "F16"), ("i1", "I8"), ("?", "BOOL"), ("i4", "I32"), ("i8", "I64"))}
_WAYS = {None: "AUTOMATIC", "automatic": "AUTOMATIC", "blas": "BLAS", "tiles": "TILES"}
_ALIGNMENTS = {None: constant("ATTN_ALIGN_NONE"), "top_left": constant("ATTN_ALIGN_TOP_LEFT"),
               "bottom_right": constant("ATTN_ALIGN_BOTTOM_RIGHT")}
_NORMALISERS = {"softmax": constant("ATTN_SOFTMAX"), "hardmax": constant("ATTN_HARDMAX")}
_STAGES = {name: constant(f"ATTN_SCORES_{name.upper()}") for name in ("raw", "capped", "masked", "weights")}
ADDITIVE_FLAGS = {name: constant(f"ATTN_ADDITIVE_{name}")
                  for name in ("BIAS", "NORMALISED", "QUERY_PROJECTED", "KEY_PROJECTED")}
_SLOPES = "the ALiBi slopes"
_ARGS_SIZE = ctypes.sizeof(ForwardArgs)


def choose(table, word, what):
    try:
        return table[word]
    except (KeyError, TypeError):
        words = ", ".join(repr(w) for w in table if w is not None)
        raise ValueError(f"{what} is {word!r}, but it is one of {words}") from None


def view(array, name):
    """An attn_tensor over the array's memory. The library judges shape, alignment and whether the dtype fits there."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} is a {type(array).__name__}, but a NumPy array is needed")
    dtype = _DTYPES.get(array.dtype)
    if dtype is None:
        raise TypeError(f"{name} is {array.dtype}, but float32 or float64 is computed with; nothing is converted")
    if array.ndim > 4:
        raise ValueError(f"{name} has {array.ndim} dimensions, but at most 4 are taken")
    size, strides = array.itemsize, array.strides
    elements = tuple([stride // size for stride in strides])
    if any([stride % size for stride in strides]):
        raise ValueError(f"{name} has strides of {strides} bytes, which are no multiples of its {size}-byte elements")
    return Tensor(array.__array_interface__["data"][0], dtype, array.ndim, array.shape, elements)


class Engine:
    """The means to compute: threads (None: one per CPU), way (None, "blas", "tiles"), kernels (None or a name)."""

    def __init__(self, threads=None, way=None, kernels=None):
        options = EngineOptions(struct_size=ctypes.sizeof(EngineOptions), threads=threads or 0,
                                way=constant("ATTN_WAY_" + choose(_WAYS, way, "way")),
                                kernels=kernels.encode() if kernels else None)
        self.handle = c_void_p()
        check(lib.attn_engine_create(byref(options), byref(self.handle)))
        weakref.finalize(self, lib.attn_engine_destroy, self.handle).atexit = False

    def describe(self):
        """attn_engine_describe's JSON, as a dict."""
        size = c_size_t()
        check(lib.attn_engine_describe(self.handle, None, byref(size)))
        text = ctypes.create_string_buffer(size.value)
        check(lib.attn_engine_describe(self.handle, text, byref(size)))
        return json.loads(text.value)


class Mechanism:
    """A rule. sizes are what the create function takes after the engine; each modifier is None where it is not set.
    causal is an alignment; window is (left, right, alignment)."""

    def __init__(self, engine, score="scaled_dot", sizes=(), *, scale=None, softcap=None, temperature=None,
                 normaliser=None, causal=None, window=None):
        self.handle, self.engine, self._kept = c_void_p(), engine, {}
        check(getattr(lib, f"attn_mechanism_create_{score}")(engine.handle, *sizes, byref(self.handle)))
        weakref.finalize(self, lib.attn_mechanism_destroy, self.handle).atexit = False
        for name, number in (("scale", scale), ("softcap", softcap), ("temperature", temperature)):
            if number is not None:
                check(getattr(lib, f"attn_mechanism_set_{name}")(self.handle, number))
        if normaliser is not None:
            check(lib.attn_mechanism_set_normaliser(self.handle, choose(_NORMALISERS, normaliser, "normaliser")))
        if causal is not None:
            check(lib.attn_mechanism_set_causal(self.handle, choose(_ALIGNMENTS, causal, "causal")))
        if window is not None:
            left, right, align = window
            check(lib.attn_mechanism_set_window(self.handle, left, right, choose(_ALIGNMENTS, align, "window")))

    def params(self):
        """The names of its parameters, in the library's order."""
        count, info = c_int32(), ParamInfo(struct_size=ctypes.sizeof(ParamInfo))
        check(lib.attn_mechanism_param_count(self.handle, byref(count)))
        names = []
        for index in range(count.value):
            check(lib.attn_mechanism_param_info(self.handle, index, byref(info)))
            names.append(info.name.decode())
        return names

    def bind(self, name, array):
        """Binds a parameter, which is kept alive; None unbinds it."""
        tensor = None if array is None else byref(view(array, f"parameter {name}"))
        check(lib.attn_mechanism_bind_param(self.handle, name.encode(), tensor))
        self._kept[name] = array

    def alibi(self, slopes, align):
        """Slopes, one for each query head, are kept alive; None takes them away."""
        tensor = None if slopes is None else byref(view(slopes, "alibi"))
        check(lib.attn_mechanism_set_alibi(self.handle, tensor, choose(_ALIGNMENTS, align, "alibi")))
        self._kept[_SLOPES] = slopes

    def release(self):
        """Unbinds whatever is bound."""
        for name in [name for name, array in self._kept.items() if array is not None]:
            if name == _SLOPES:
                self.alibi(None, None)
            else:
                self.bind(name, None)


class Call:
    """attn_forward of one mechanism on arrays that stay where they are. run() computes; the outputs are the arrays
    that were given for them. tensors: query, key, value, mask, bias, key_lengths, context, weights, scores,
    logsumexp, of which those that are None are left out."""

    def __init__(self, mechanism, *, query_start=0, stage="raw", **tensors):
        self.args = ForwardArgs(struct_size=_ARGS_SIZE, scores_stage=choose(_STAGES, stage, "return_scores"),
                                query_start=query_start)
        for name, array in tensors.items():
            if array is not None:
                setattr(self.args, name, pointer(view(array, name)))
        self.mechanism, self._kept = mechanism, tensors
        self._handle, self._reference = mechanism.handle, byref(self.args)

    def reserve(self):
        """Gives the call a workspace of its own, so that running it allocates nothing."""
        size = c_size_t()
        check(lib.attn_forward_workspace(self._handle, self._reference, byref(size)))
        self._kept["workspace"] = workspace = np.empty(size.value, np.uint8)
        self.args.workspace, self.args.workspace_size = workspace.ctypes.data, size.value
        return self

    def run(self):
        status = lib.attn_forward(self._handle, self._reference)
        if status:
            check(status)


class Gradient:
    """attn_backward of a Call that has run, with context and log-sum-exp among its outputs. run() computes; the outputs
    are the arrays that were given for them. d_params: arrays by the parameter's name. tensors: d_context, d_weights,
    d_logsumexp, which flow in; d_query, d_key, d_value, d_bias, d_alibi, which are written, or with accumulate added
    to. Those that are None are left out."""

    def __init__(self, call, *, accumulate=False, d_params=None, **tensors):
        self.args = BackwardArgs(struct_size=ctypes.sizeof(BackwardArgs), accumulate=accumulate,
                                 forward=pointer(call.args))
        for name, array in tensors.items():
            if array is not None:
                setattr(self.args, name, pointer(view(array, name)))
        if d_params:
            names = call.mechanism.params()
            self.args.d_params = (POINTER(Tensor) * len(names))(*(
                pointer(view(d_params[name], f"d_params {name}")) if name in d_params else None for name in names))
        self.call, self._kept = call, (tensors, d_params)

    def run(self):
        check(lib.attn_backward(self.call.mechanism.handle, byref(self.args)))
