# SPDX-License-Identifier: BSD-3-Clause
"""ours_memory.py: attn_memory as an entrant: keys that are made ready before, and a cache that grows token by token."""

import ctypes
import weakref
from ctypes import POINTER, Structure, byref, c_int32, c_int64, c_uint32, c_void_p

import numpy as np
from attn._handles import view
from attn._library import ForwardArgs, Tensor, check, constant, lib


class Options(Structure):
    """attn_memory_options"""

    _fields_ = [("struct_size", c_uint32), ("flags", c_uint32), ("dtype", c_int32), ("reserved", c_int32),
                ("batch", c_int64), ("key_heads", c_int64), ("key_dim", c_int64), ("value_dim", c_int64),
                ("capacity", c_int64), ("rope", c_void_p)]


lib.attn_memory_create.argtypes = [c_void_p, POINTER(Options), POINTER(c_void_p)]
lib.attn_memory_append.argtypes = [c_void_p, POINTER(Tensor), POINTER(Tensor), POINTER(Tensor)]
lib.attn_memory_truncate.argtypes = [c_void_p, POINTER(Tensor)]
lib.attn_memory_destroy.argtypes, lib.attn_memory_destroy.restype = [c_void_p], None


class Memory:
    """Of a mechanism, with the parameters that are bound to it."""

    def __init__(self, mechanism, key, value, capacity):
        batch, heads, length, dim = key.shape
        flags = constant("ATTN_MEMORY_FIXED") | (constant("ATTN_MEMORY_KEYS_ALONE") if value is None else 0)
        options = Options(ctypes.sizeof(Options), flags, constant("ATTN_F32"), 0, batch, heads, dim,
                          0 if value is None else value.shape[-1], capacity)
        self.handle, self.mechanism = c_void_p(), mechanism
        check(lib.attn_memory_create(mechanism.handle, byref(options), byref(self.handle)))
        weakref.finalize(self, lib.attn_memory_destroy, self.handle).atexit = False
        self.append(key, value)
        self._first = np.array([length] * batch, np.int64)
        self._lengths = view(self._first, "lengths")

    def append(self, key, value=None):
        check(lib.attn_memory_append(self.handle, byref(view(key, "key")),
                                     None if value is None else byref(view(value, "value")), None))

    def restart(self):
        """Forgets all but what it was made with."""
        check(lib.attn_memory_truncate(self.handle, byref(self._lengths)))


class Decoding:
    """The calls of a case of tokens, laid out."""

    def __init__(self, make_call, mechanism, data, context):
        case, (query, key, value) = data.case, data.sets[0]
        past = data.params["past_key"], data.params["past_value"]
        self.memory = Memory(mechanism, *past, case.keys + case.tokens)
        self.mechanism, self.kept = mechanism, (data, context)
        for t in range(case.tokens):  # as long as it will be, for the size of the workspace
            self.memory.append(key[t], value[t])
        self.calls = [make_call(self.memory, query=query[t], context=context[t]) for t in range(case.tokens)]
        workspace = self.calls[0].reserve().args
        for call in self.calls:
            call.args.workspace, call.args.workspace_size = workspace.workspace, workspace.workspace_size
        self.keys = (Tensor * case.tokens)(*(view(key[t], "key") for t in range(case.tokens)))
        self.values = (Tensor * case.tokens)(*(view(value[t], "value") for t in range(case.tokens)))
        self.args = (POINTER(ForwardArgs) * case.tokens)(*(ctypes.pointer(call.args) for call in self.calls))

    def by_c(self, limits):
        pointer = lambda function: ctypes.cast(function, c_void_p)
        append, forward = pointer(lib.attn_memory_append), pointer(lib.attn_forward)
        return lambda: limits.tokens(append, forward, self.memory.handle, self.mechanism.handle, self.keys, self.values,
                                     self.args)

    def by_python(self):
        handle, append = self.memory.handle, lib.attn_memory_append
        steps = [(byref(self.keys[t]), byref(self.values[t]), call.run) for t, call in enumerate(self.calls)]

        def decode():
            for key, value, run in steps:
                check(append(handle, key, value, None))
                run()

        return decode
