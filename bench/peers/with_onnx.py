# SPDX-License-Identifier: BSD-3-Clause
"""with_onnx.py: ONNX Runtime: Attention of opset 23, and its own MultiHeadAttention and GroupQueryAttention, the latter over
a cache of int8 too. Inputs and outputs are bound in place, each operator in the layout that it takes."""

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper

from cases import aligned, aligned_copy
from dtypes import F16, F32, I8
from measure import Entrant

KINDS = {"attention", "decode", "chunk", "tiny", "tokens"}  # of cases that it computes
DTYPES = {F32, F16, I8}
TYPES = {np.dtype("f4"): TensorProto.FLOAT, np.dtype("f2"): TensorProto.FLOAT16, np.dtype("i1"): TensorProto.INT8, np.dtype("i4"): TensorProto.INT32, np.dtype("?"): TensorProto.BOOL}
_threads = 1


def start(threads):
    global _threads
    _threads = threads
    return f"onnxruntime {ort.__version__}"


def session(node, inputs, outputs):
    info = lambda name, array: helper.make_tensor_value_info(name, TYPES[array.dtype], array.shape)
    graph = helper.make_graph([node], "attention", [info(*item) for item in inputs.items()],
                              [info(*item) for item in outputs.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23),
                                                    helper.make_opsetid("com.microsoft", 1)])
    model.ir_version = 11
    options = ort.SessionOptions()
    options.intra_op_num_threads = _threads
    options.add_session_config_entry("session.force_spinning_stop", "1")  # once a run has returned
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def entrant(name, node, sets, read):
    """sets: (inputs, outputs) by name. An output may share the memory of an input: a cache."""
    run, bindings, kept = session(node, *sets[0]), [], []
    for inputs, outputs in sets:
        binding = run.io_binding()
        values = {id(array): ort.OrtValue.ortvalue_from_numpy(array) for array in (*inputs.values(), *outputs.values())}
        for input_name, array in inputs.items():
            binding.bind_ortvalue_input(input_name, values[id(array)])
        for output_name, array in outputs.items():
            binding.bind_ortvalue_output(output_name, values[id(array)])
        bindings.append(binding)
        kept.append((inputs, outputs, values))
    context = kept[0][2][id(kept[0][1]["o"])]
    made = Entrant(name, [lambda b=b: run.run_with_iobinding(b) for b in bindings], lambda _: read(context.numpy()),
                   f"{node.op_type}, CPUExecutionProvider")
    made.kept = kept
    return made


def flat(array):
    """[B, H, T, D] as the operators' other layout, [B, T, H D]."""
    return aligned_copy(array.transpose(0, 2, 1, 3)).reshape(array.shape[0], array.shape[2], -1)


def unflat(heads):
    return lambda array: array.reshape(*array.shape[:2], heads, -1).transpose(0, 2, 1, 3)


def attention(data):
    case, more, names = data.case, {}, ["q", "k", "v"]
    if case.alibi:
        more["mask"] = data.bias()[None]
    elif case.window or case.checkerboard:
        more["mask"] = data.mask
    options = {"is_causal": int(case.causal and not more), "softcap": case.softcap}
    if case.layout == "BSHD":
        options.update(q_num_heads=case.heads, kv_num_heads=case.Hk)
    lay, read = (flat, unflat(case.heads)) if case.layout == "BSHD" else (lambda array: array, lambda array: array)
    node = helper.make_node("Attention", names + list(more), ["o"], **options)
    sets = [({"q": lay(q), "k": lay(k), "v": lay(v), **more}, {"o": aligned(lay(q).shape, q.dtype)})
            for q, k, v in data.sets]
    return entrant("onnx-attention", node, sets, read)


def multihead(data):
    case, more, names = data.case, {}, ["q", "k", "v"]
    if case.alibi:
        more["bias"] = data.bias()[None]
    elif case.window or case.checkerboard:
        more["bias"] = data.mask_as_bias()
    if more:
        names += ["", "", "bias"]
    node = helper.make_node("MultiHeadAttention", names, ["o"], domain="com.microsoft", num_heads=case.heads,
                            unidirectional=int(case.causal and not more))
    sets = [({"q": flat(q), "k": flat(k), "v": flat(v), **more}, {"o": aligned(flat(q).shape, q.dtype)})
            for q, k, v in data.expanded()]
    return entrant("onnx-multihead", node, sets, unflat(case.heads))


def grouped(data):
    """The queries are the newest positions: their keys and values come beside the cache, and are the cache's last."""
    case = data.case
    common = dict(domain="com.microsoft", num_heads=case.heads, kv_num_heads=case.Hk, softcap=case.softcap)
    last, total = np.full(case.batch, case.Tk - 1, np.int32), np.array(case.Tk, np.int32)
    cached, sets = case.kind in ("decode", "chunk"), []
    names, scales = ["q", "k", "v", *(("pk", "pv") if cached else ("", "")), "last", "total"], {}
    if case.dtype is I8:
        common.update(k_quant_type="PER_CHANNEL", v_quant_type="PER_CHANNEL", kv_cache_bit_width=8)
        names += [""] * 5 + ["ks", "vs"]
        scales = {name: channel_scales([s[part] for s in data.sets]) for name, part in (("ks", 1), ("vs", 2))}
    node = helper.make_node("GroupQueryAttention", names, ["o", "rk", "rv"], **common)
    for q, k, v in data.sets:
        if cached:
            new = slice(case.Tk - case.queries, None)
            inputs = {"q": flat(q), "k": flat(k[:, :, new]), "v": flat(v[:, :, new])}
            if case.dtype is I8:
                k, v = quantised(k, scales["ks"]), quantised(v, scales["vs"])
            inputs.update(pk=k, pv=v)
            caches = {"rk": k, "rv": v}
        else:
            inputs = {"q": flat(q), "k": flat(k), "v": flat(v)}
            caches = {"rk": aligned(k.shape, k.dtype), "rv": aligned(v.shape, v.dtype)}
        sets.append(({**inputs, "last": last, "total": total, **scales},
                     {"o": aligned(inputs["q"].shape, q.dtype), **caches}))
    return entrant("onnx-grouped int8" if case.dtype is I8 else "onnx-grouped", node, sets, unflat(case.heads))


def channel_scales(arrays):
    """[1, Hk, 1, D]: what the largest number of each dimension of a head becomes 127 by. As a calibration would find them."""
    return np.maximum.reduce([abs(array).max((0, 2), keepdims=True) for array in arrays]) / np.float32(127)


def quantised(array, scales):
    return aligned_copy(np.rint(array / scales), np.dtype(np.int8))


def tokens(data):
    """GroupQueryAttention over one cache, which is its input and its output: a binding for each token."""
    case, (query, key, value) = data.case, data.sets[0]
    node = helper.make_node("GroupQueryAttention", ["q", "k", "v", "pk", "pv", "last", "total"], ["o", "rk", "rv"],
                            domain="com.microsoft", num_heads=case.heads, kv_num_heads=case.Hk)
    caches = [aligned((case.batch, case.Hk, case.keys + case.tokens, case.dim)) for _ in "kv"]
    for cache, past in zip(caches, ("past_key", "past_value")):
        cache[:, :, :case.keys] = data.params[past]
    sets = []
    for t in range(case.tokens):
        inputs = {"q": flat(query[t]), "k": flat(key[t]), "v": flat(value[t]), "pk": caches[0], "pv": caches[1],
                  "last": np.full(case.batch, case.keys + t, np.int32), "total": np.array(case.keys + t + 1, np.int32)}
        sets.append((inputs, {"o": aligned(inputs["q"].shape), "rk": caches[0], "rv": caches[1]}))
    steps = entrant("onnx-grouped", node, sets, None)

    def decode():
        for step in steps.calls:
            step()

    contexts = [outputs["o"] for _, outputs in sets]
    made = Entrant("onnx-grouped", [decode], lambda _: np.stack([unflat(case.heads)(o) for o in contexts]),
                   steps.backend)
    made.kept = (steps, caches)
    return made


def peers(data):
    case = data.case
    if case.kind == "tokens":
        yield "onnx-grouped", lambda: tokens(data)
        return
    if case.dtype is I8 or case.kind == "chunk":
        yield "onnx-grouped int8" if case.dtype is I8 else "onnx-grouped", lambda: grouped(data)
        return
    yield "onnx-attention", lambda: attention(data)
    if case.kind == "attention" and not case.softcap:
        yield "onnx-multihead", lambda: multihead(data)
    if (case.causal or case.kind == "decode") and not case.alibi:  # heads need not be grouped for it to be the fastest
        yield "onnx-grouped", lambda: grouped(data)


def finish():
    pass
