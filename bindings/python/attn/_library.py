# SPDX-License-Identifier: BSD-3-Clause
"""_library.py: finds libattn and loads it; its structs, its constants, its signatures, and its failures as exceptions.

The library is looked for, in this order:
    1. where the environment variable ATTN_LIBRARY says: a file;
    2. in the build tree beside this source tree: build/release/src, or the newest other build/*/src;
    3. where the system keeps its libraries."""

import ctypes
import ctypes.util
import os
from ctypes import POINTER, Structure, byref, c_char_p, c_double, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from pathlib import Path

ABI = 0  # the binary interface that the structs below describe


class Tensor(Structure):
    _fields_ = [("data", c_void_p), ("dtype", c_int32), ("ndim", c_int32), ("shape", c_int64 * 4),
                ("stride", c_int64 * 4)]


class EngineOptions(Structure):
    _fields_ = [("struct_size", c_uint32), ("threads", c_int32), ("way", c_int32), ("reserved", c_int32),
                ("allocate", c_void_p), ("release", c_void_p), ("allocator_data", c_void_p), ("execute", c_void_p),
                ("executor_data", c_void_p), ("log", c_void_p), ("log_data", c_void_p), ("kernels", c_char_p)]


class ForwardArgs(Structure):
    _fields_ = [("struct_size", c_uint32), ("scores_stage", c_int32)] + [
        (name, POINTER(Tensor)) for name in ("query", "key", "value", "mask", "bias", "key_lengths")] + [
        ("query_start", c_int64)] + [
        (name, POINTER(Tensor)) for name in ("context", "weights", "scores", "logsumexp")] + [
        ("workspace", c_void_p), ("workspace_size", c_size_t), ("dropout", c_double), ("dropout_seed", c_uint64),
        ("dropout_offset", c_uint64), ("memory", c_void_p)]


class BackwardArgs(Structure):
    _fields_ = [("struct_size", c_uint32), ("accumulate", c_int32), ("forward", POINTER(ForwardArgs))] + [
        (name, POINTER(Tensor)) for name in ("d_context", "d_weights", "d_logsumexp", "d_query", "d_key", "d_value",
                                             "d_bias", "d_alibi", "d_relative")] + [
        ("d_params", POINTER(POINTER(Tensor))), ("workspace", c_void_p), ("workspace_size", c_size_t)]


class ParamInfo(Structure):
    _fields_ = [("struct_size", c_uint32), ("ndim", c_int32), ("shape", c_int64 * 4), ("elements", c_int64),
                ("name", c_char_p), ("bound", c_int32), ("reserved", c_int32)]


class Error(Exception):
    """A call that libattn refused. str() is the library's sentence; status is the name of its status."""

    def __init__(self, sentence, status):
        super().__init__(sentence)
        self.status = status


def _find():
    named = os.environ.get("ATTN_LIBRARY")
    if named:
        return named
    builds = Path(__file__).resolve().parents[3] / "build"
    release = builds / "release" / "src" / "libattn.so"
    if release.exists():
        return str(release)
    others = sorted(builds.glob("*/src/libattn.so"), key=lambda path: path.stat().st_mtime)
    if others:
        return str(others[-1])
    found = ctypes.util.find_library("attn")
    if found:
        return found
    raise ImportError("libattn was not found: build it, install it, or name its file in ATTN_LIBRARY")


def _load():
    path = _find()
    library = ctypes.CDLL(path)
    library.attn_abi_version.restype = c_int32
    got = library.attn_abi_version()
    if got != ABI:
        raise ImportError(f"{path} has the binary interface {got}, but this binding is written for {ABI}")
    tensor, handle = POINTER(Tensor), c_void_p
    arguments = {
        "attn_constant": [c_char_p, POINTER(c_int64)],
        "attn_engine_create": [POINTER(EngineOptions), POINTER(handle)],
        "attn_engine_describe": [handle, c_char_p, POINTER(c_size_t)],
        "attn_mechanism_create_dot": [handle, POINTER(handle)],
        "attn_mechanism_create_scaled_dot": [handle, POINTER(handle)],
        "attn_mechanism_create_general": [handle, c_int64, c_int64, POINTER(handle)],
        "attn_mechanism_create_additive": [handle, c_int64, c_int64, c_int64, c_uint32, POINTER(handle)],
        "attn_mechanism_create_concat": [handle, c_int64, c_int64, c_int64, POINTER(handle)],
        "attn_mechanism_create_location": [handle, c_int64, c_int64, POINTER(handle)],
        "attn_mechanism_param_count": [handle, POINTER(c_int32)],
        "attn_mechanism_param_info": [handle, c_int32, POINTER(ParamInfo)],
        "attn_mechanism_bind_param": [handle, c_char_p, tensor],
        "attn_mechanism_set_scale": [handle, c_double],
        "attn_mechanism_set_softcap": [handle, c_double],
        "attn_mechanism_set_temperature": [handle, c_double],
        "attn_mechanism_set_normaliser": [handle, c_int32],
        "attn_mechanism_set_causal": [handle, c_int32],
        "attn_mechanism_set_window": [handle, c_int64, c_int64, c_int32],
        "attn_mechanism_set_alibi": [handle, tensor, c_int32],
        "attn_forward": [handle, POINTER(ForwardArgs)],
        "attn_forward_workspace": [handle, POINTER(ForwardArgs), POINTER(c_size_t)],
        "attn_backward": [handle, POINTER(BackwardArgs)],
        "attn_backward_workspace": [handle, POINTER(BackwardArgs), POINTER(c_size_t)],
    }
    for name, types in arguments.items():
        function = getattr(library, name)
        function.argtypes, function.restype = types, c_int32
    for name in ("attn_engine_destroy", "attn_mechanism_destroy"):
        getattr(library, name).argtypes, getattr(library, name).restype = [handle], None
    for name in ("attn_version", "attn_last_error", "attn_status_string"):
        getattr(library, name).restype = c_char_p
    library.attn_status_string.argtypes = [c_int32]
    return path, library


PATH, lib = _load()


def check(status):
    """Raises what the library says of a failure; a status of 0 is none."""
    if status:
        name = lib.attn_status_string(status).decode().partition(":")[0]
        raise Error(lib.attn_last_error().decode(errors="replace"), name)


def constant(name):
    """The number of any ATTN_ constant, from the library itself."""
    value = c_int64()
    check(lib.attn_constant(name.encode(), byref(value)))
    return value.value


for _name, _struct in (("tensor", Tensor), ("engine_options", EngineOptions), ("param_info", ParamInfo),
                       ("forward_args", ForwardArgs), ("backward_args", BackwardArgs)):
    if constant(f"sizeof attn_{_name}") != ctypes.sizeof(_struct):
        raise ImportError(f"{PATH} has another attn_{_name} than this binding, of "
                          f"{constant(f'sizeof attn_{_name}')} bytes, not {ctypes.sizeof(_struct)}")
