# SPDX-License-Identifier: BSD-3-Clause
"""_abi.py: attn.h as ctypes has it: the structs, and what each function takes and returns."""

from __future__ import annotations

from ctypes import CDLL, POINTER, Structure, c_char_p, c_double, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from typing import Any

ABI = 0  # the binary interface that is written down here


class Tensor(Structure):
    array: Any  # whose memory it looks at, kept alive by it

    _fields_ = [("data", c_void_p), ("dtype", c_int32), ("ndim", c_int32), ("shape", c_int64 * 4),
                ("stride", c_int64 * 4)]


def _tensors(*names: str) -> list[tuple[str, Any]]:
    return [(name, POINTER(Tensor)) for name in names]


class EngineOptions(Structure):
    _fields_ = [("struct_size", c_uint32), ("threads", c_int32), ("way", c_int32), ("reserved", c_int32),
                ("allocate", c_void_p), ("release", c_void_p), ("allocator_data", c_void_p), ("execute", c_void_p),
                ("executor_data", c_void_p), ("log", c_void_p), ("log_data", c_void_p), ("kernels", c_char_p)]


class ParamInfo(Structure):
    _fields_ = [("struct_size", c_uint32), ("ndim", c_int32), ("shape", c_int64 * 4), ("elements", c_int64),
                ("name", c_char_p), ("bound", c_int32), ("reserved", c_int32)]


class RopeOptions(Structure):
    _fields_ = [("struct_size", c_uint32), ("layout", c_int32), ("dimensions", c_int64), ("base", c_double),
                ("first", c_int64), *_tensors("positions"), ("inverse", c_int32), ("reserved", c_int32)]


class MemoryOptions(Structure):
    _fields_ = [("struct_size", c_uint32), ("flags", c_uint32), ("dtype", c_int32), ("reserved", c_int32),
                ("batch", c_int64), ("key_heads", c_int64), ("key_dim", c_int64), ("value_dim", c_int64),
                ("capacity", c_int64), ("rope", POINTER(RopeOptions)), ("page", c_int64)]


class PagesAppendArgs(Structure):
    _fields_ = [("struct_size", c_uint32), ("reserved", c_int32),
                *_tensors("slots", "key", "value", "key_pages", "value_pages", "key_scales", "value_scales")]


class WeightsStats(Structure):
    _fields_ = [("struct_size", c_uint32), ("reserved", c_int32), *_tensors("entropy", "strongest", "key_sums")]


class ForwardArgs(Structure):
    _fields_ = [("struct_size", c_uint32), ("scores_stage", c_int32),
                *_tensors("query", "key", "value", "mask", "bias", "key_lengths"), ("query_start", c_int64),
                *_tensors("context", "weights", "scores", "logsumexp"), ("workspace", c_void_p),
                ("workspace_size", c_size_t), ("dropout", c_double), ("dropout_seed", c_uint64),
                ("dropout_offset", c_uint64), ("memory", c_void_p), ("stats", POINTER(WeightsStats)),
                *_tensors("key_scales", "value_scales", "query_offsets", "key_offsets"), ("mask_align", c_int32),
                ("reserved", c_int32), *_tensors("page_table", "page_offsets")]


class BackwardArgs(Structure):
    _fields_ = [("struct_size", c_uint32), ("accumulate", c_int32), ("forward", POINTER(ForwardArgs)),
                *_tensors("d_context", "d_weights", "d_logsumexp", "d_query", "d_key", "d_value", "d_bias", "d_alibi",
                          "d_relative"),
                ("d_params", POINTER(POINTER(Tensor))), ("workspace", c_void_p), ("workspace_size", c_size_t),
                *_tensors("d_sinks")]


class AttentionalArgs(Structure):
    _fields_ = [("struct_size", c_uint32), ("accumulate", c_int32),
                *_tensors("weight", "bias", "context", "query", "output", "d_output", "d_weight", "d_bias", "d_context",
                          "d_query")]


class MergeArgs(Structure):
    _fields_ = [("struct_size", c_uint32), ("reserved", c_int32), ("parts", c_int64),
                ("contexts", POINTER(POINTER(Tensor))), ("logsumexps", POINTER(POINTER(Tensor))),
                *_tensors("context", "logsumexp")]


class DecomposableArgs(Structure):
    _fields_ = [("struct_size", c_uint32), ("accumulate", c_int32),
                *_tensors("f", "g", "a", "b", "a_lengths", "b_lengths", "beta", "alpha", "a_logsumexp", "b_logsumexp",
                          "d_beta", "d_alpha", "d_f", "d_g", "d_a", "d_b")]


class MultiheadOptions(Structure):
    _fields_ = [("struct_size", c_uint32), ("flags", c_uint32), ("query_heads", c_int64), ("key_heads", c_int64),
                ("query_dim", c_int64), ("key_dim", c_int64), ("value_dim", c_int64), ("head_dim", c_int64),
                ("value_head_dim", c_int64), ("output_dim", c_int64), ("rope", POINTER(RopeOptions))]


class MultiheadArgs(Structure):
    _fields_ = [("struct_size", c_uint32), ("attend_only", c_int32), *_tensors("query", "key", "value"),
                ("attention", POINTER(ForwardArgs)), *_tensors("output"), ("saved", c_void_p), ("saved_size", c_size_t),
                ("workspace", c_void_p), ("workspace_size", c_size_t), ("memory", c_void_p),
                *_tensors("positions", "key_positions")]


class MultiheadBackwardArgs(Structure):
    _fields_ = [("struct_size", c_uint32), ("accumulate", c_int32), ("forward", POINTER(MultiheadArgs)),
                *_tensors("d_output", "d_weights", "d_logsumexp", "d_query", "d_key", "d_value", "d_bias", "d_alibi",
                          "d_relative"),
                ("d_params", POINTER(POINTER(Tensor))), ("d_mechanism_params", POINTER(POINTER(Tensor))),
                ("workspace", c_void_p), ("workspace_size", c_size_t), *_tensors("d_sinks")]


STRUCTS: dict[str, type[Structure]] = {
    "tensor": Tensor, "engine_options": EngineOptions, "param_info": ParamInfo, "rope_options": RopeOptions,
    "memory_options": MemoryOptions, "pages_append_args": PagesAppendArgs, "weights_stats": WeightsStats,
    "forward_args": ForwardArgs, "backward_args": BackwardArgs,
    "attentional_args": AttentionalArgs, "merge_args": MergeArgs, "decomposable_args": DecomposableArgs,
    "multihead_options": MultiheadOptions, "multihead_args": MultiheadArgs, "multihead_backward_args": MultiheadBackwardArgs}

_HANDLE, _OUT, _TENSOR, _SIZE = c_void_p, POINTER(c_void_p), POINTER(Tensor), POINTER(c_size_t)

# What they take; each returns a status.
_FUNCTIONS: dict[str, list[Any]] = {
    "constant": [c_char_p, POINTER(c_int64)],
    "engine_create": [POINTER(EngineOptions), _OUT],
    "engine_describe": [_HANDLE, c_char_p, _SIZE],
    "mechanism_create_dot": [_HANDLE, _OUT],
    "mechanism_create_scaled_dot": [_HANDLE, _OUT],
    "mechanism_create_general": [_HANDLE, c_int64, c_int64, _OUT],
    "mechanism_create_additive": [_HANDLE, c_int64, c_int64, c_int64, c_uint32, _OUT],
    "mechanism_create_concat": [_HANDLE, c_int64, c_int64, c_int64, _OUT],
    "mechanism_create_location": [_HANDLE, c_int64, c_int64, _OUT],
    "mechanism_param_count": [_HANDLE, POINTER(c_int32)],
    "mechanism_param_total": [_HANDLE, POINTER(c_int64)],
    "mechanism_param_info": [_HANDLE, c_int32, POINTER(ParamInfo)],
    "mechanism_bind_param": [_HANDLE, c_char_p, _TENSOR],
    "mechanism_set_scale": [_HANDLE, c_double],
    "mechanism_set_softcap": [_HANDLE, c_double],
    "mechanism_set_temperature": [_HANDLE, c_double],
    "mechanism_set_normaliser": [_HANDLE, c_int32],
    "mechanism_set_precision": [_HANDLE, c_int32],
    "mechanism_set_causal": [_HANDLE, c_int32],
    "mechanism_set_window": [_HANDLE, c_int64, c_int64, c_int32],
    "mechanism_set_relative_bias": [_HANDLE, _TENSOR, c_int32, c_int64, c_int32],
    "mechanism_set_local": [_HANDLE, c_int32, c_int64, c_int64, c_int64],
    "mechanism_set_alibi": [_HANDLE, _TENSOR, c_int32],
    "mechanism_set_sinks": [_HANDLE, _TENSOR],
    "position_sinusoidal": [_TENSOR, c_int64, c_double],
    "position_alibi_slopes": [_TENSOR],
    "rope": [_HANDLE, POINTER(RopeOptions), _TENSOR, _TENSOR],
    "memory_create": [_HANDLE, POINTER(MemoryOptions), _OUT],
    "memory_append": [_HANDLE, _TENSOR, _TENSOR, _TENSOR],
    "memory_append_ragged": [_HANDLE, _TENSOR, _TENSOR, _TENSOR],
    "memory_truncate": [_HANDLE, _TENSOR],
    "memory_keep": [_HANDLE, _TENSOR, _TENSOR, _TENSOR],
    "memory_reorder": [_HANDLE, _TENSOR],
    "memory_fork": [_HANDLE, _OUT],
    "memory_lengths": [_HANDLE, POINTER(c_int64), POINTER(c_int64), c_int64],
    "memory_pages": [_HANDLE, POINTER(c_int64), POINTER(c_int64)],
    "pages_append": [_HANDLE, POINTER(PagesAppendArgs)],
    "forward": [_HANDLE, POINTER(ForwardArgs)],
    "forward_workspace": [_HANDLE, POINTER(ForwardArgs), _SIZE],
    "plan_create": [_HANDLE, POINTER(ForwardArgs), _OUT],
    "plan_run": [_HANDLE, POINTER(ForwardArgs)],
    "backward": [_HANDLE, POINTER(BackwardArgs)],
    "backward_workspace": [_HANDLE, POINTER(BackwardArgs), _SIZE],
    "attentional_forward": [_HANDLE, POINTER(AttentionalArgs)],
    "attentional_backward": [_HANDLE, POINTER(AttentionalArgs)],
    "merge": [_HANDLE, POINTER(MergeArgs)],
    "decomposable_forward": [_HANDLE, POINTER(DecomposableArgs)],
    "decomposable_backward": [_HANDLE, POINTER(DecomposableArgs)],
    "multihead_create": [_HANDLE, POINTER(MultiheadOptions), _OUT],
    "multihead_param_count": [_HANDLE, POINTER(c_int32)],
    "multihead_param_info": [_HANDLE, c_int32, POINTER(ParamInfo)],
    "multihead_bind_param": [_HANDLE, c_char_p, _TENSOR],
    "multihead_forward": [_HANDLE, POINTER(MultiheadArgs)],
    "multihead_workspace": [_HANDLE, POINTER(MultiheadArgs), _SIZE],
    "multihead_saved": [_HANDLE, POINTER(MultiheadArgs), _SIZE],
    "multihead_backward": [_HANDLE, POINTER(MultiheadBackwardArgs)],
    "multihead_backward_workspace": [_HANDLE, POINTER(MultiheadBackwardArgs), _SIZE],
}


def declare(library: CDLL) -> None:
    """Tells ctypes of every function."""
    for name, takes in _FUNCTIONS.items():
        function = getattr(library, "attn_" + name)
        function.argtypes, function.restype = takes, c_int32
    for name in ("engine", "mechanism", "memory", "plan", "multihead"):
        function = getattr(library, f"attn_{name}_destroy")
        function.argtypes, function.restype = [_HANDLE], None
    for name, takes in (("version", []), ("last_error", []), ("status_string", [c_int32]), ("mechanism_name", [_HANDLE])):
        function = getattr(library, "attn_" + name)
        function.argtypes, function.restype = takes, c_char_p
