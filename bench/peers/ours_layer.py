# SPDX-License-Identifier: BSD-3-Clause
"""ours_layer.py: attn_multihead as an entrant: a self-attention layer with packed parameters, forward, or backward from
what a forward call saved. Outputs and workspace are there before."""

from ctypes import byref, c_size_t, pointer, sizeof

from attn import MultiHead
from attn._abi import MultiheadArgs, MultiheadBackwardArgs
from attn._library import check, lib
from attn._tensors import lay
from cases import aligned


class Layer:
    """The calls of a case of layers, laid out."""

    def __init__(self, mechanism, data):
        case, self.x = data.case, data.sets[0][0]
        self.layer = MultiHead(case.width, case.heads, mechanism=mechanism, packed=True, params=data.params)
        self.output, self.flow = aligned(self.x.shape), data.flow
        self.made = {"query": aligned(self.x.shape)}
        self.made.update((name, aligned(array.shape)) for name, array in data.params.items())
        self.forward = MultiheadArgs(struct_size=sizeof(MultiheadArgs))
        self.workspaces = []
        lay(self.forward, {"query": self.x, "output": self.output})
        if self.flow is None:
            self._reserve(self.forward, lib.attn_multihead_workspace)
            return
        size = c_size_t()
        check(lib.attn_multihead_saved(self.layer.handle, byref(self.forward), byref(size)))
        self._room(self.forward, "saved", size.value)
        self._reserve(self.forward, lib.attn_multihead_workspace)
        self.backward = MultiheadBackwardArgs(struct_size=sizeof(MultiheadBackwardArgs), forward=pointer(self.forward))
        lay(self.backward, {"d_output": self.flow, "d_query": self.made["query"]})
        self.backward.d_params = self.layer._pointers({name: self.made[name] for name in data.params})
        self._reserve(self.backward, lib.attn_multihead_backward_workspace)

    def _room(self, args, name, size):
        """Memory of the caller's, for the workspace or for what is saved."""
        memory = aligned((size // 4 + 16,))
        self.workspaces.append(memory)
        setattr(args, name, memory.ctypes.data)
        setattr(args, f"{name}_size", memory.nbytes)

    def _reserve(self, args, workspace_of):
        size = c_size_t()
        check(workspace_of(self.layer.handle, byref(args), byref(size)))
        self._room(args, "workspace", size.value)

    @property
    def bytes_needed(self):
        return sum(memory.nbytes for memory in self.workspaces)

    def run_forward(self):
        check(lib.attn_multihead_forward(self.layer.handle, byref(self.forward)))

    def run_backward(self):
        check(lib.attn_multihead_backward(self.layer.handle, byref(self.backward)))
