# SPDX-License-Identifier: BSD-3-Clause
"""with_ggml.py: ggml's flash_attn_ext, which llama.cpp has, through ggml.c. Queries are float32, as it wants them; keys and
values are of the case's type, those of 8 bits its q8_0: blocks of 32 numbers with a scale of 16 bits."""

import ctypes
import os
from ctypes import POINTER, c_char_p, c_float, c_int, c_int32, c_int64, c_void_p
from pathlib import Path

import numpy as np

from cases import aligned_copy
from dtypes import BF16, F16, F32, I8
from measure import Entrant, Missing

KINDS = {"attention", "decode", "chunk"}  # of cases that it computes
DTYPES = {F32, BF16, F16, I8}
_lib = None


class Shape(ctypes.Structure):
    _fields_ = [(name, c_int64) for name in ("batch", "heads", "key_heads", "queries", "keys", "dim")] + \
        [("causal", c_int32), ("softcap", c_float)]


def start(threads):
    global _lib
    folder = Path(os.environ["PEERS_TREE"]) / "ggml"
    if (folder / "absent").exists():
        raise Missing((folder / "absent").read_text(encoding="utf-8").strip())
    lib = ctypes.CDLL(str(folder / "peers_ggml.so"))
    lib.peers_ggml_version.restype = c_char_p
    lib.peers_ggml_create.restype = c_void_p
    lib.peers_ggml_create.argtypes = [c_char_p, POINTER(Shape), c_void_p, c_void_p, c_void_p]
    lib.peers_ggml_output.restype = POINTER(c_float)
    lib.peers_ggml_output.argtypes = lib.peers_ggml_run.argtypes = lib.peers_ggml_destroy.argtypes = [c_void_p]
    lib.peers_ggml_destroy.restype = None
    lib.peers_ggml_start.argtypes = [c_int]
    if lib.peers_ggml_start(threads) != 0:
        raise Missing("its threads could not be started")
    _lib = lib
    return f"ggml {lib.peers_ggml_version().decode()} ({(folder / 'installed').read_text(encoding='utf-8').strip()})"


class Call:
    """A graph over its own copies of a set of inputs."""

    def __init__(self, case, kind, arrays):
        query, key, value = (aligned_copy(array, F32.inputs) for array in arrays)
        shape = Shape(case.batch, case.heads, case.Hk, case.queries, case.Tk, case.dim, case.causal, case.softcap)
        self.handle = _lib.peers_ggml_create(kind.encode(), ctypes.byref(shape), query.ctypes.data, key.ctypes.data,
                                             value.ctypes.data)
        if not self.handle:
            raise MemoryError(f"ggml made no call of {kind}")

    def __del__(self):
        if self.handle:
            _lib.peers_ggml_destroy(self.handle)

    def run(self):
        if _lib.peers_ggml_run(self.handle) != 0:
            raise RuntimeError("ggml's graph failed")


def entrant(data):
    case = data.case
    kind = "q8_0" if case.dtype is I8 else case.dtype.name
    calls = [Call(case, kind, arrays) for arrays in data.sets]
    made = np.ctypeslib.as_array(_lib.peers_ggml_output(calls[0].handle), (case.batch, case.queries, case.heads, case.dim))
    return Entrant("ggml" if case.dtype is not I8 else "ggml q8_0", [call.run for call in calls],
                   lambda _: made.transpose(0, 2, 1, 3), f"flash_attn_ext, {kind}")


def peers(data):
    case = data.case
    if (case.dtype is not I8 or case.dim % 32 == 0) and not (case.window or case.checkerboard or case.alibi):
        yield "ggml q8_0" if case.dtype is I8 else "ggml", lambda: entrant(data)


def finish():
    pass
