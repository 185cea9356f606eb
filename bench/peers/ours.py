# SPDX-License-Identifier: BSD-3-Clause
"""ours.py: libattn as an entrant, by its prepared calls: outputs and scratch are there before, as with the peers that
allow it."""

import ctypes
from copy import copy
from dataclasses import replace

import attn
import numpy as np
from attn import Call, Engine, Gradient, Mechanism, Memory
from attn._library import check, lib
from cases import Data, aligned, unmasked
from measure import Entrant
from ours_layer import Layer
from ours_memory import Decoding, scratch_of

EVERYWHERE = "libattn, all keys"  # the entrant that local attention is compared with


class Libattn:
    def __init__(self, limits, threads):
        self.limits, self.engines = limits, {"libattn": Engine(threads), "libattn-blas": Engine(threads, way="blas")}
        self.about = self.engines["libattn"].describe()

    def versions(self):
        blas = self.about["blas"]
        return (f"libattn {attn.version} ({self.about['way']}, {self.about['kernels']}; {blas['version']}, "
                f"{blas['file']})")

    def mechanism(self, name, data):
        case, engine = data.case, self.engines[name]
        if case.kind == "local":
            local = ("predictive", case.half_width) if case.half_width else None
            return Mechanism("dot", params=data.params if local else None, local=local, engine=engine)
        if case.is_additive:
            dims = case.states or (case.dim, case.dim)
            return Mechanism("additive", params=data.params, query_dim=dims[0], key_dim=dims[1], engine=engine)
        mechanism = Mechanism(softcap=case.softcap, causal="top_left" if case.causal else None, engine=engine,
                              window=(case.window, case.window, "top_left") if case.window else None)
        if case.alibi:
            mechanism.set_alibi(data.slopes, "top_left")
        return mechanism

    def entrant(self, name, data, engine=None):
        case, mechanism = data.case, self.mechanism(engine or name, data)
        if case.is_layer:
            return self.layer(name, data, mechanism)
        if case.kind.endswith("gradient"):
            return self.gradient(name, data, mechanism)
        if case.kind == "tokens":
            return self.tokens(name, data, mechanism)
        mask = data.mask if case.checkerboard else None
        calls, contexts = [], []
        for query, key, value in data.sets:
            width = (key if value is None else value).shape[-1]
            if case.layout == "BSHD":
                context = aligned((case.batch, case.queries, case.heads, width)).transpose(0, 2, 1, 3)
            else:
                context = aligned((case.batch, case.heads, case.queries, width))
            contexts.append(context)
            if case.memory:
                memory = Memory.of(mechanism, key, value, capacity=case.Tk, fixed=True)
                call = Call(mechanism, query=query, memory=memory, context=context)
            else:
                call = Call(mechanism, query=query, key=key, value=value, mask=mask, context=context)
            calls.append(call.reserve().run)
        return Entrant(name, calls, lambda _: contexts[0], self.backend(mechanism), peer=False,
                       extra_bytes=scratch_of(call))

    @staticmethod
    def backend(mechanism):
        way = mechanism.engine.describe()
        return f"{way['way']}, {way['kernels']}"

    def gradient(self, name, data, mechanism):
        """attn_backward, after attn_forward: with it in the time if the case says so."""
        case, (query, key, value) = data.case, data.sets[0]
        context, logsumexp = aligned(data.flow.shape), np.empty(data.flow.shape[:3])  # exact
        made = {part: aligned(array.shape) for part, array in zip(("query", "key", "value"), data.sets[0])}
        made.update((param, aligned(array.shape)) for param, array in data.params.items())
        forward = Call(mechanism, query=query, key=key, value=value, context=context, logsumexp=logsumexp).reserve()
        backward = Gradient(forward, d_context=data.flow, d_params={param: made[param] for param in data.params},
                            **{f"d_{part}": made[part] for part in ("query", "key", "value")})
        size = ctypes.c_size_t()
        check(lib.attn_backward_workspace(mechanism.handle, ctypes.byref(backward.args), ctypes.byref(size)))
        workspace = aligned((size.value // 4 + 16,))
        backward.args.workspace, backward.args.workspace_size = workspace.ctypes.data, size.value
        backward.workspace = workspace

        def train():
            forward.run()
            backward.run()

        entrant = Entrant(name, [train if case.train else backward.run], lambda _: made, self.backend(mechanism),
                          peer=False, before=None if case.train else forward.run)
        entrant.extra_bytes = scratch_of(forward) + size.value + context.nbytes + logsumexp.nbytes
        return entrant

    def layer(self, name, data, mechanism):
        layer = Layer(mechanism, data)
        entrant = Entrant(name, [layer.run_forward], lambda _: layer.output, self.backend(mechanism), peer=False)
        if data.flow is not None:
            entrant = Entrant(name, [layer.run_backward], lambda _: layer.made, self.backend(mechanism), peer=False,
                              before=layer.run_forward)
        entrant.extra_bytes = layer.bytes_needed
        return entrant

    def tokens(self, name, data, mechanism):
        case = data.case
        context = aligned((case.tokens, case.batch, case.heads, 1, case.dim))
        decoding = Decoding(mechanism, data, context)
        by_python = name.endswith("Python")
        call = decoding.by_python() if by_python else decoding.by_c(self.limits)
        return Entrant(name, [call], lambda _: context, f"{self.backend(mechanism)}, called from "
                       f"{'Python' if by_python else 'C'}", peer=False, before=decoding.restart)

    def entrants(self, data):
        """Ours first; then the BLAS way, and what the case is to be compared with among our own."""
        ours = [self.entrant("libattn", data), self.entrant("libattn-blas", data)]
        other = unmasked(data.case)
        if other:
            case, share, name = other
            beside = self.entrant(name, Data(case), engine="libattn")
            beside.share, beside.same_inputs = share, False
            ours.append(beside)
        if data.case.kind == "local":
            everywhere = copy(data)
            everywhere.case = replace(data.case, half_width=0)
            ours.append(self.entrant(EVERYWHERE, everywhere, engine="libattn"))
            ours[-1].same_inputs = False  # they are the same, but its output is another one
        if data.case.kind == "tokens":
            ours.append(self.entrant("libattn, called from Python", data, engine="libattn"))
        if data.case.kind == "tiny":  # a caller in C does not wait for Python between two calls
            by_python = self.entrant("libattn, called from Python", data, engine="libattn")
            ours.append(by_python)
            for entrant in ours[:2]:
                call = entrant.calls[0].__self__
                function = ctypes.cast(lib.attn_forward, ctypes.c_void_p)
                entrant.timer = lambda call=call: self.limits.repeat(function, call._handle, call._reference, 2000)
                entrant.backend += ", called from C"
        return ours
