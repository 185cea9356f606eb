# SPDX-License-Identifier: BSD-3-Clause
"""with_openvino.py: OpenVINO's scaled_dot_product_attention, one stream, float32, inputs in place; and its PagedAttention."""

import numpy as np
import openvino as ov
from openvino import opset13

import openvino_paged
from dtypes import F32
from measure import Entrant

KINDS = {"attention", "decode", "chunk", "tiny"}  # of cases that it computes
DTYPES = openvino_paged.DTYPES
_threads = 1


def start(threads):
    global _threads
    _threads = threads
    return f"openvino {ov.__version__.partition('-')[0]}"


def attention(data):
    case, swap = data.case, data.case.layout == "BSHD"
    sets = [[x.transpose(0, 2, 1, 3) if swap else x for x in s] for s in data.expanded()]
    inputs = [opset13.parameter(list(x.shape), np.float32) for x in sets[0]]
    order = opset13.constant(np.array([0, 2, 1, 3], np.int64))
    nodes = [opset13.transpose(p, order) for p in inputs] if swap else list(inputs)
    mask = None
    if case.alibi:
        mask = data.bias()[None]
    elif case.window or case.checkerboard:
        mask = data.mask_as_bias()
    if mask is not None:
        inputs.append(opset13.parameter(list(mask.shape), np.float32))
        nodes.append(inputs[-1])
    result = opset13.scaled_dot_product_attention(*nodes, causal=case.causal and mask is None)
    if swap:
        result = opset13.transpose(result, order)
    model = ov.Core().compile_model(ov.Model([result], inputs), "CPU", {
        "INFERENCE_NUM_THREADS": _threads, "INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": 1})
    requests = []
    for arrays in sets:
        request = model.create_infer_request()
        for index, array in enumerate([*arrays, *([mask] if mask is not None else [])]):
            request.set_input_tensor(index, ov.Tensor(array, shared_memory=True))
        requests.append(request)
    read = lambda _: requests[0].get_output_tensor().data.transpose(0, 2, 1, 3) if swap else \
        requests[0].get_output_tensor().data
    entrant = Entrant("openvino", [request.infer for request in requests], read, "CPU, scaled_dot_product_attention")
    entrant.kept = (sets, mask, model)
    return entrant


def peers(data):
    case = data.case
    if case.dtype is F32 and case.kind != "chunk" and not case.softcap:
        if case.bytes * case.heads // case.Hk <= 1 << 30:
            yield "openvino", lambda: attention(data)
    if case.kind != "tiny":
        yield from openvino_paged.peers(data, _threads)


def finish():
    pass
