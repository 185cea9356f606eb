# SPDX-License-Identifier: BSD-3-Clause
"""onnx_cases.py: the cases of ONNX for its operator Attention, opsets 23 to 25, against the library. The operator's
conventions are brought to the library's here: heads cut out of the hidden dimension, a cache, positions, several types in
one call."""

import warnings

import attn
import numpy as np
from onnx import TensorProto, helper
from onnx.backend.test.case.node import collect_testcases
from onnx.backend.test.runner import Runner
from outcome import Suite

INPUTS = ("Q", "K", "V", "attn_mask", "past_key", "past_value", "nonpad_kv_seqlen")
STAGES = ("raw", "capped", "masked", "weights")


def cut(array, heads):
    """[B, T, heads x size] as [B, heads, T, size]; what has 4 dimensions is so already."""
    return array if array.ndim == 4 else array.reshape(*array.shape[:2], heads, -1).swapaxes(1, 2)


def widened(mask, keys):
    """A mask that is shorter than the keys hides those that it has nothing to say about."""
    missing = keys - mask.shape[-1]
    if missing <= 0:
        return mask
    hidden = np.full((*mask.shape[:-1], missing), False if mask.dtype == bool else -np.inf, mask.dtype)
    return np.concatenate([mask, hidden], -1)


def onnx_attention(inputs, attributes, wants_scores=False):
    """Y, present_key, present_value and qk_matmul_output, of which the last is None where it is not wanted."""
    given = {name: array for name, array in inputs.items() if array is not None}
    out, flat = given["Q"].dtype, given["Q"].ndim == 3
    doubles = attributes.get("softmax_precision") == TensorProto.DOUBLE or out == np.float64
    types = {array.dtype for name, array in given.items() if name != "nonpad_kv_seqlen"} - {np.dtype(bool)}
    compute = np.float64 if doubles else out if types == {out} else np.float32
    query = cut(given["Q"], attributes.get("q_num_heads"))
    key, value = (cut(given[name], attributes.get("kv_num_heads")) for name in ("K", "V"))
    past = 0
    if "past_key" in given:
        past = given["past_key"].shape[2]
        key = np.concatenate([given["past_key"], key], 2)
        value = np.concatenate([given["past_value"], value], 2)
    rule = {"scale": attributes.get("scale"), "softcap": attributes.get("softcap", 0.0)}
    if "attn_mask" in given:
        mask = widened(given["attn_mask"], key.shape[2])
        rule["mask" if mask.dtype == bool else "bias"] = mask if mask.dtype == bool else mask.astype(compute)
    # A query stands behind the keys of the past; in a cache that is kept outside, at the end of the valid keys.
    align, rule["key_lengths"] = "top_left", given.get("nonpad_kv_seqlen")
    if rule["key_lengths"] is not None:
        align = "bottom_right"
    window = tuple(attributes.get(f"{side}_window_size", -1) for side in ("left", "right"))
    if attributes.get("is_causal"):
        rule["causal"] = align
    if window != (-1, -1):
        rule["window"] = (*window, align)
    if past and len({"causal", "window"} & set(rule)):
        rule["query_start"] = past
    stage = STAGES[attributes.get("qk_matmul_output_mode", 0)] if wants_scores else None
    result = attn.attention(*(array.astype(compute, copy=False) for array in (query, key, value)), **rule,
                            return_scores=stage)
    context, scores = (result.context, result.scores.astype(out)) if wants_scores else (result, None)
    if flat:
        context = context.swapaxes(1, 2).reshape(context.shape[0], context.shape[2], -1)
    return context.astype(out), key, value, scores


def compare(case, node):
    """As the suite's own runner does it: shapes, types, and its tolerances."""
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    for inputs, expected in case.data_sets:
        names, arrays = [name for name in node.input if name], iter(inputs)
        given = {slot: next(arrays) if name else None for slot, name in zip(INPUTS, node.input)}
        assert len(names) == len(inputs)
        wants_scores = len(node.output) > 3 and bool(node.output[3])
        made = onnx_attention(given, attributes, wants_scores)
        got = [array for array, name in zip(made, node.output) if name]
        Runner.assert_similar_outputs(expected, got, case.rtol, case.atol)


def suites():
    import onnx

    made = Suite("ONNX Attention", f"onnx {onnx.__version__}, onnx.backend.test.case.node, opsets 23 to 25",
                 "the suite's own comparison: shapes, types, rtol 1e-3 and atol 1e-7; for bfloat16 its rtol of 2^-6")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = collect_testcases("Attention")
    nodes = {case.name: case.model.graph.node[0] for case in cases if case.model.graph.node[0].op_type == "Attention"}
    for case in cases:
        made.run(case.name, compare, case, nodes[case.name.removesuffix("_expanded")])
    made.notes = [
        f"{len(nodes)} cases of the operator; the other {len(cases) - len(nodes)} are the same with the operator spelled "
        "out in others (`_expanded`), which bring inputs and outputs of their own, and are computed as the operator.",
        "float16 and bfloat16 are computed in float32 and rounded at the end; the suite's expected values were rounded "
        "after each step.",
        "A cache that the operator appends to is joined by NumPy, since it is an output; queries then stand at "
        "`query_start`. With `nonpad_kv_seqlen` they are aligned bottom-right to the `key_lengths`.",
    ]
    return [made]
