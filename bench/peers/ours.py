# SPDX-License-Identifier: BSD-3-Clause
"""ours.py: libattn as an entrant, by its prepared calls: outputs and workspace are there before, as with the peers that
allow it."""

import ctypes

import attn
from attn import Call, Engine, Mechanism
from attn._handles import ADDITIVE_FLAGS
from attn._library import lib
from cases import Data, aligned, unmasked
from measure import Entrant


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
        if case.kind == "additive":
            dims = case.states or (case.dim, case.dim)
            flags = 0 if case.states else ADDITIVE_FLAGS["QUERY_PROJECTED"] | ADDITIVE_FLAGS["KEY_PROJECTED"]
            mechanism = Mechanism(engine, "additive", (*dims, case.dim, flags))
            for param, array in data.params.items():
                mechanism.bind(param, array)
            return mechanism
        mechanism = Mechanism(engine, softcap=case.softcap or None, causal="top_left" if case.causal else None,
                              window=(case.window, case.window, "top_left") if case.window else None)
        if case.alibi:
            mechanism.alibi(data.slopes, "top_left")
        return mechanism

    def entrant(self, name, data, engine=None):
        case, mechanism = data.case, self.mechanism(engine or name, data)
        mask = data.mask if case.checkerboard else None
        calls, contexts = [], []
        for query, key, value in data.sets:
            width = (key if value is None else value).shape[-1]
            if case.layout == "BSHD":
                context = aligned((case.batch, case.queries, case.heads, width)).transpose(0, 2, 1, 3)
            else:
                context = aligned((case.batch, case.heads, case.queries, width))
            contexts.append(context)
            calls.append(Call(mechanism, query=query, key=key, value=value, mask=mask, context=context).reserve().run)
        way = self.engines[engine or name].describe()
        return Entrant(name, calls, lambda _: contexts[0], f"{way['way']}, {way['kernels']}", peer=False)

    def entrants(self, data):
        """Ours first; then the BLAS way, and what the case is to be compared with among our own."""
        ours = [self.entrant("libattn", data), self.entrant("libattn-blas", data)]
        other = unmasked(data.case)
        if other:
            case, share, name = other
            beside = self.entrant(name, Data(case), engine="libattn")
            beside.share, beside.same_inputs = share, False
            ours.append(beside)
        if data.case.kind == "tiny":  # a caller in C does not wait for Python between two calls
            by_python = self.entrant("libattn, called from Python", data, engine="libattn")
            ours.append(by_python)
            for entrant in ours[:2]:
                call = entrant.calls[0].__self__
                function = ctypes.cast(lib.attn_forward, ctypes.c_void_p)
                entrant.timer = lambda call=call: self.limits.repeat(function, call._handle, call._reference, 2000)
                entrant.backend += ", called from C"
        return ours
