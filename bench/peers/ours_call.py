# SPDX-License-Identifier: BSD-3-Clause
"""ours_call.py: attn_forward, attn_plan and attn_backward by the C interface, laid out once, on arrays of any type that it
takes: what a server's loop calls, without the binding's checks in the time."""

from ctypes import byref, c_size_t, c_void_p, pointer, sizeof

import numpy as np
from attn._abi import BackwardArgs, ForwardArgs, Tensor
from attn._calls import run_forward, run_plan
from attn._library import check, constant, lib

from cases import aligned
from dtypes import BF16, F16, F32

DTYPES = {**{dtype.inputs: constant(f"ATTN_{dtype.name.upper()}") for dtype in (F32, F16, BF16)},
          np.dtype(np.float64): constant("ATTN_F64"), np.dtype(bool): constant("ATTN_BOOL")}


def tensor(array):
    """An attn_tensor over the array, which it keeps."""
    view = Tensor(array.ctypes.data, DTYPES[array.dtype], array.ndim, array.shape,
                  tuple(stride // array.itemsize for stride in array.strides))
    view.array = array
    return view


def lay(args, arrays):
    """Views of the arrays that there are, for the struct's members of their names; to be kept."""
    views = {name: tensor(array) for name, array in arrays.items() if array is not None}
    for name, view in views.items():
        setattr(args, name, pointer(view))
    return views


class Forward:
    """attn_forward_args of arrays that stay where they are. run() is attn_forward, in a workspace that is there before
    once it is reserved."""

    def __init__(self, mechanism, memory=None, **arrays):
        self.args = ForwardArgs(struct_size=sizeof(ForwardArgs), memory=memory and memory.handle)
        self.kept, self.arrays = (mechanism, memory, lay(self.args, arrays)), arrays
        self.handle, self.reference = mechanism.handle, byref(self.args)

    @property
    def scratch(self):
        """Bytes."""
        size = c_size_t()
        check(lib.attn_forward_workspace(self.handle, self.reference, byref(size)))
        return size.value

    def reserve(self):
        self.workspace = aligned((self.scratch // 4 + 16,))
        self.args.workspace, self.args.workspace_size = self.workspace.ctypes.data, self.workspace.nbytes
        return self

    def run(self):
        status = run_forward(self.handle, self.reference)
        if status:
            check(status)


class Plan:
    """attn_plan of the first of several calls, whose shapes are alike: each run has the addresses of one of them."""

    def __init__(self, forwards):
        self.handle, self.kept = c_void_p(), forwards
        check(lib.attn_plan_create(forwards[0].handle, forwards[0].reference, byref(self.handle)))

    def __del__(self):
        lib.attn_plan_destroy(self.handle)

    @property
    def calls(self):
        return [lambda reference=forward.reference: self.run(reference) for forward in self.kept]

    def run(self, reference):
        status = run_plan(self.handle, reference)
        if status:
            check(status)


class Backward:
    """attn_backward after a Forward with context and logsumexp, in a workspace that is there before."""

    def __init__(self, mechanism, forward, d_params, **arrays):
        self.args = BackwardArgs(struct_size=sizeof(BackwardArgs), forward=pointer(forward.args))
        self.kept = mechanism, forward, lay(self.args, arrays), d_params
        if d_params:
            self.args.d_params = mechanism._pointers(d_params)
        self.handle, self.reference = mechanism.handle, byref(self.args)
        size = c_size_t()
        check(lib.attn_backward_workspace(self.handle, self.reference, byref(size)))
        self.scratch = size.value
        self.workspace = aligned((size.value // 4 + 16,))
        self.args.workspace, self.args.workspace_size = self.workspace.ctypes.data, self.workspace.nbytes

    def run(self):
        check(lib.attn_backward(self.handle, self.reference))
