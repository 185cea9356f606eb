# SPDX-License-Identifier: BSD-3-Clause
"""openvino_paged.py: OpenVINO's PagedAttention, its operator for serving, over pages of 32 positions: of the case's type, or
of u8 with a scale and a zero point, which it rounds keys and values to itself. Each call has the newest positions' keys and
values beside it, and writes them into their pages, as at each step of a server."""

import numpy as np
import openvino as ov
from openvino import PartialShape, Type, opset13
from openvino.op import Parameter, _PagedAttentionExtension

from cases import Data, aligned_copy
from dtypes import BF16, F16, F32, I8
from measure import Entrant

PAGE = 32
PRECISION = {F32: "f32", F16: "f16", BF16: "bf16", I8: "u8"}  # of the pages
HINT = {F32: "f32", F16: "f32", BF16: "bf16", I8: "f32"}      # what it computes in
DTYPES = set(PRECISION)


def parameter(name, dtype, shape):
    made = Parameter(dtype, PartialShape(shape))
    made.output(0).set_names({name})
    return made


def compiled(case, threads):
    """The operator alone. Its inputs past the thirteenth are for what is not wanted: rotation, eviction, sinks, sparsity,
    trees of tokens."""
    given = [parameter("q", Type.f32, [-1, case.heads * case.dim]),
             *(parameter(name, Type.f32, [-1, case.Hk * case.dim]) for name in "kv"),
             *(parameter(name, Type.dynamic, [-1, case.Hk, -1, -1]) for name in ("keys", "values")),
             *(parameter(name, Type.i32, [-1]) for name in ("past", "begins", "pages", "page_begins"))]
    most = parameter("most", Type.i32, [])
    number = lambda value, dtype: opset13.constant(np.array(value, dtype))
    none = lambda dtype: opset13.constant(np.zeros(0, dtype))
    i4, f4 = np.int32, np.float32
    node = _PagedAttentionExtension([part.output(0) for part in (
        *given, number(case.dim ** -0.5, f4), number(0, i4), none(f4), most, none(i4), none(i4), none(i4), none(f4),
        none(f4), number(0, i4), number(0, i4), none(f4), number(0, i4), none(i4), none(i4), none(i4), none(i4),
        none(np.uint8), none(i4))])
    info = node.get_rt_info()
    for name, value in (("k_head_size", case.dim), ("v_head_size", case.dim), ("num_k_heads", case.Hk),
                        ("num_v_heads", case.Hk)):
        info[name] = value
    return ov.Core().compile_model(ov.Model([opset13.result(node.output(0))], [*given, most]), "CPU", {
        "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": HINT[case.dtype], "NUM_STREAMS": 1,
        "KV_CACHE_PRECISION": PRECISION[case.dtype]})


def rows(array):
    """[B, H, T, D] as the operator's [B T, H D], in float32."""
    return aligned_copy(array.transpose(0, 2, 1, 3), F32.inputs).reshape(-1, array.shape[1] * array.shape[3])


def tell(request, **tensors):
    for name, value in tensors.items():
        shared = isinstance(value, np.ndarray) and value.ndim == 2
        request.set_tensor(name, value if isinstance(value, ov.Tensor) else ov.Tensor(np.asarray(value),
                                                                                    shared_memory=shared))


def whole(*numbers):
    return np.array(numbers, np.int32)


class Cache:
    """The pages of one set, in no order, filled as if each page were a sequence of its own, which costs no attention to
    speak of."""

    def __init__(self, model, case, key, value):
        self.per_sequence = -(-case.Tk // PAGE)
        count = case.batch * self.per_sequence
        self.pages = np.random.default_rng(1).permutation(count).astype(np.int32)
        self.tensors = {}
        for name in ("keys", "values"):
            port = model.input(name)
            shape = [count if d.is_dynamic else d.get_length() for d in port.get_partial_shape()]
            self.tensors[name] = ov.Tensor(port.get_element_type(), ov.Shape(shape))
        request, query = model.create_infer_request(), np.zeros((case.Tk, case.heads * case.dim), np.float32)
        begins = whole(*range(0, case.Tk, PAGE), case.Tk)
        for b in range(case.batch):
            pages = self.pages[b * self.per_sequence:(b + 1) * self.per_sequence]
            keys, values = rows(key[b:b + 1]), rows(value[b:b + 1])  # which must live as long as the request reads them
            tell(request, q=query, k=keys, v=values, **self.tensors,
                 past=np.zeros(len(pages), np.int32), begins=begins, pages=pages,
                 page_begins=whole(*range(len(pages) + 1)), most=np.array(PAGE, np.int32))
            request.infer()


def entrant(data: Data, threads):
    case = data.case
    model, requests, kept = compiled(case, threads), [], []
    new = slice(case.Tk - case.queries, None)
    for query, key, value in data.sets:
        cache, request = Cache(model, case, key, value), model.create_infer_request()
        inputs = {"q": rows(query), "k": rows(key[:, :, new]), "v": rows(value[:, :, new])}
        tell(request, **inputs, **cache.tensors, past=whole(*[case.Tk - case.queries] * case.batch),
             begins=whole(*range(0, case.batch * case.queries + 1, case.queries)), pages=cache.pages,
             page_begins=whole(*range(0, len(cache.pages) + 1, cache.per_sequence)), most=np.array(case.Tk, np.int32))
        requests.append(request)
        kept.append((cache, inputs))
    read = lambda _: requests[0].get_output_tensor(0).data.reshape(case.batch, case.queries, case.heads, case.dim) \
        .transpose(0, 2, 1, 3)
    made = Entrant("openvino-paged" + (" u8" if case.dtype is I8 else ""), [request.infer for request in requests], read,
                   f"PagedAttention, pages of {PRECISION[case.dtype]}")
    made.kept = model, kept
    return made


def peers(data, threads):
    """It is causal from the bottom right, and has no softcap; of one query causal hides nothing."""
    case = data.case
    if case.softcap or case.alibi or not (case.causal or case.kind == "decode"):
        return
    name = "openvino-paged" + (" u8" if case.dtype is I8 else "")
    if case.dtype is BF16 and "BF16" not in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        yield name, lambda: "OpenVINO has no bfloat16 on this CPU"
    else:
        yield name, lambda: entrant(data, threads)
