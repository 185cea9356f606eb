# SPDX-License-Identifier: BSD-3-Clause
"""ours.py: libattn as an entrant, by its planned calls: outputs and scratch are there before, as with the peers that
allow it."""

import ctypes
from copy import copy
from dataclasses import replace
from functools import partial

import attn
import numpy as np
from attn import Call, Engine, Mechanism, Memory
from attn._library import lib
from cases import Data, aligned, unmasked
from dtypes import BF16, F32, I8
from measure import Entrant
from ours_call import Backward, Forward, Plan
from ours_layer import Layer
from ours_memory import Decoding, Filled

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
        mechanism = self.rule(name.partition(",")[0], data)
        if name.endswith(", fast"):
            mechanism.set_precision("fast")
        return mechanism

    def rule(self, name, data):
        case, engine = data.case, self.engines[name]
        if case.kind == "local":
            local = ("predictive", case.half_width) if case.half_width else None
            return Mechanism("dot", params=data.params if local else None, local=local, engine=engine)
        if case.is_additive:
            dims = case.states or (case.dim, case.dim)
            return Mechanism("additive", params=data.params, query_dim=dims[0], key_dim=dims[1], engine=engine)
        mechanism = Mechanism(softcap=case.softcap, causal="bottom_right" if case.causal else None, engine=engine,
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
        return self.planned(name, self.forwards(data, mechanism), mechanism)

    @staticmethod
    def forwards(data, mechanism, memory_of=None):
        """A call for each set of inputs. memory_of: makes a memory of a set's keys and values, which is read then."""
        case, made = data.case, []
        mask = data.mask if case.checkerboard else None
        if case.memory:
            memory_of = lambda key, value: Memory.of(mechanism, key, value, capacity=case.Tk, fixed=True)
        for query, key, value in data.sets:
            width = (key if value is None else value).shape[-1]
            if case.layout == "BSHD":
                context = aligned((case.batch, case.queries, case.heads, width), query.dtype).transpose(0, 2, 1, 3)
            else:
                context = aligned((case.batch, case.heads, case.queries, width), query.dtype)
            if memory_of:
                made.append(Forward(mechanism, query=query, memory=memory_of(key, value), context=context))
            else:
                made.append(Forward(mechanism, query=query, key=key, value=value, mask=mask, context=context))
        return made

    def planned(self, name, forwards, mechanism):
        """One plan, which runs on each set in turn: what a server does at each layer."""
        return Entrant(name, Plan(forwards).calls, lambda _: forwards[0].arrays["context"], self.backend(mechanism),
                       peer=False, extra_bytes=forwards[0].scratch)

    def plain(self, name, data):
        """attn_forward, which looks at its arguments in every call."""
        mechanism = self.mechanism("libattn", data)
        forwards = [forward.reserve() for forward in self.forwards(data, mechanism)]
        return Entrant(name, [forward.run for forward in forwards], lambda _: forwards[0].arrays["context"],
                       self.backend(mechanism), peer=False, extra_bytes=forwards[0].scratch)

    def memory(self, name, data):
        """An attn_memory of the case's type, which has keys and values as it wants them; or why the library has none."""
        mechanism = self.mechanism("libattn, fast" if name.endswith(", fast") else "libattn", data)
        try:
            forwards = self.forwards(data, mechanism, partial(Filled, mechanism, data.case.dtype))
            return self.planned(name, forwards, mechanism)
        except (attn.DTypeError, attn.UnsupportedError) as refusal:
            return f"this version of the library refuses it: {refusal}"

    @staticmethod
    def backend(mechanism):
        way = mechanism.engine.describe()
        return f"{way['way']}, {way['kernels']}"

    def gradient(self, name, data, mechanism):
        """attn_backward, after attn_forward: with it in the time if the case says so."""
        case, (query, key, value) = data.case, data.sets[0]
        context = aligned(data.flow.shape, query.dtype)
        logsumexp = np.empty(data.flow.shape[:3], np.float64 if case.dtype is F32 else np.float32)  # as exact as it may be
        made = {part: aligned(array.shape, array.dtype) for part, array in zip(("query", "key", "value"), data.sets[0])}
        made.update((param, aligned(array.shape)) for param, array in data.params.items())
        forward = Forward(mechanism, query=query, key=key, value=value, context=context, logsumexp=logsumexp).reserve()
        backward = Backward(mechanism, forward, {param: made[param] for param in data.params}, d_context=data.flow,
                            **{f"d_{part}": made[part] for part in ("query", "key", "value")})

        def train():
            forward.run()
            backward.run()

        entrant = Entrant(name, [train if case.train else backward.run], lambda _: made, self.backend(mechanism),
                          peer=False, before=None if case.train else forward.run)
        entrant.extra_bytes = forward.scratch + backward.scratch + context.nbytes + logsumexp.nbytes
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

    def tiny(self, data):
        """Called from C, as a caller in C does not wait for Python between two calls; and from Python."""
        def from_c(name, planned=False):
            mechanism = self.mechanism(name.partition(",")[0], data)
            forward, = [forward.reserve() for forward in self.forwards(data, mechanism)]
            function, first, run = lib.attn_forward, mechanism.handle, forward.run
            if planned:
                plan = Plan([forward])
                function, first, run = lib.attn_plan_run, plan.handle, plan.calls[0]
            function = ctypes.cast(function, ctypes.c_void_p)
            return Entrant(name, [run], lambda _: forward.arrays["context"], f"{self.backend(mechanism)}, called from C",
                           peer=False, extra_bytes=forward.scratch,
                           timer=lambda: self.limits.repeat(function, first, forward.reference, 2000))

        def from_python(name):
            mechanism, (query, key, value) = self.mechanism("libattn", data), data.sets[0]
            context = aligned(query.shape)
            call = Call(mechanism, query=query, key=key, value=value, context=context).reserve()
            return Entrant(name, [call.run], lambda _: context, self.backend(mechanism), peer=False)

        yield "libattn", lambda: from_c("libattn")
        yield "libattn-blas", lambda: from_c("libattn-blas")
        yield "libattn, attn_plan", lambda: from_c("libattn, attn_plan", planned=True)
        yield "libattn, called from Python", lambda: from_python("libattn, called from Python")

    def everywhere(self, data):
        """Of local attention, the same queries looking at all keys."""
        wide = copy(data)
        wide.case = replace(data.case, half_width=0)
        entrant = self.entrant(EVERYWHERE, wide, engine="libattn")
        entrant.same_inputs = False  # they are the same, but its output is another one
        return entrant

    def beside(self, case, share, name):
        entrant = self.entrant(name, Data(case), engine="libattn")
        entrant.share, entrant.same_inputs = share, False
        return entrant

    def entrants(self, data):
        """(name, how to make it): first the one that all are compared with, or one to take its place where the library
        cannot; then the BLAS way, and what the case is to be compared with among our own."""
        case = data.case
        if case.kind == "tiny":
            yield from self.tiny(data)
            return
        if case.dtype is I8:
            yield "libattn int8 memory", lambda: self.memory("libattn int8 memory", data)
            yield "libattn int8 memory, fast", lambda: self.memory("libattn int8 memory, fast", data)
            yield "libattn, float32", lambda: self.entrant("libattn, float32", data, engine="libattn")
            return
        yield "libattn", lambda: self.entrant("libattn", data)
        yield "libattn-blas", lambda: self.entrant("libattn-blas", data)
        if case.dtype is BF16 and case.kind in ("attention", "decode", "chunk"):
            yield "libattn, fast", lambda: self.entrant("libattn, fast", data)
        if case.kind in ("decode", "chunk"):
            yield "libattn, memory", lambda: self.memory("libattn, memory", data)
        if case.kind == "decode":
            yield "libattn, attn_forward", lambda: self.plain("libattn, attn_forward", data)
        other = unmasked(case)
        if other:
            yield other[2], lambda: self.beside(*other)
        if case.kind == "local":
            yield EVERYWHERE, lambda: self.everywhere(data)
        if case.kind == "tokens":
            yield "libattn, called from Python", lambda: self.entrant("libattn, called from Python", data, engine="libattn")
