# SPDX-License-Identifier: BSD-3-Clause
"""ours_memory.py: attn_memory as an entrant: of tokens, a cache that grows step by step; and filled, of any type of numbers
that the library keeps."""

import ctypes
from ctypes import POINTER, byref, c_void_p, sizeof

import numpy as np
from attn import Call, Memory
from attn._abi import ForwardArgs, MemoryOptions, Tensor
from attn._library import check, constant, lib
from attn._tensors import view

from ours_call import tensor


def scratch_of(call):
    """The bytes of scratch that it takes to run."""
    size = ctypes.c_size_t()
    check(lib.attn_forward_workspace(call._handle, call._reference, byref(size)))
    return size.value


class Filled:
    """An attn_memory of this dtype that holds these keys and values, by the C interface."""

    def __init__(self, mechanism, dtype, key, value):
        batch, heads, length, dim = key.shape
        options = MemoryOptions(struct_size=sizeof(MemoryOptions), flags=constant("ATTN_MEMORY_FIXED"),
                                dtype=constant(f"ATTN_{dtype.name.upper()}"), batch=batch, key_heads=heads, key_dim=dim,
                                value_dim=value.shape[-1], capacity=length)
        self.handle, self.mechanism = c_void_p(), mechanism
        check(lib.attn_memory_create(mechanism.handle, byref(options), byref(self.handle)))
        check(lib.attn_memory_append(self.handle, byref(tensor(key)), byref(tensor(value)), None))

    def __del__(self):
        lib.attn_memory_destroy(self.handle)


class Decoding:
    """The calls of a case of tokens, laid out."""

    def __init__(self, mechanism, data, context):
        case, (query, key, value) = data.case, data.sets[0]
        past = data.params["past_key"], data.params["past_value"]
        self.memory, self.first = Memory.of(mechanism, *past, capacity=case.keys + case.tokens, fixed=True), case.keys
        self.mechanism, self.kept = mechanism, (data, context)
        for t in range(case.tokens):  # as long as it will be, for the size of the workspace
            self.memory.append(key[t], value[t])
        self.calls = [Call(mechanism, query=query[t], memory=self.memory, context=context[t]) for t in range(case.tokens)]
        self.workspace = np.empty(scratch_of(self.calls[0]), np.uint8)  # of those that C makes
        for call in self.calls:
            call.args.workspace, call.args.workspace_size = self.workspace.ctypes.data, self.workspace.nbytes
        self.keys = (Tensor * case.tokens)(*(view(key[t], "key") for t in range(case.tokens)))
        self.values = (Tensor * case.tokens)(*(view(value[t], "value") for t in range(case.tokens)))
        self.args = (POINTER(ForwardArgs) * case.tokens)(*(ctypes.pointer(call.args) for call in self.calls))

    def restart(self):
        """Forgets all but the past."""
        self.memory.truncate([self.first] * self.memory.batch)

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
