# SPDX-License-Identifier: BSD-3-Clause
"""keras_cases.py: Keras's own tests of attention, with the library in the place of what they test; and random calls, with
the library and without, gradients too. On Keras's torch backend."""

import os

os.environ["KERAS_BACKEND"] = "torch"

import contextlib
import io
import itertools
import unittest
import warnings
from functools import partial

import attn.torch
import keras
import numpy as np
import torch
from keras.src import backend
from keras.src.layers.attention import additive_attention_test, attention_test
from keras.src.layers.attention import grouped_query_attention_test, multi_head_attention_test
from keras.src.ops import nn_test
from outcome import Suite

_theirs = backend.nn.dot_product_attention
_their_call = keras.layers.Attention.call  # AdditiveAttention has it too
_calls = {"count": 0}


def computed(*tensors):
    """In what type to compute, as a list of the tensors in it: float32 for half types."""
    dtype = torch.float64 if any(tensor.dtype == torch.float64 for tensor in tensors) else torch.float32
    return [tensor.to(dtype) for tensor in tensors]


def dot_product_attention(query, key, value, bias=None, mask=None, scale=None, is_causal=False, flash_attention=None,
                          attn_logits_soft_cap=None):
    """Keras's, [B, T, N, H]: heads are strides."""
    query, key, value = map(backend.convert_to_tensor, (query, key, value))
    if not query.ndim == key.ndim == value.ndim == 4 or flash_attention or query.device.type != "cpu":
        return _theirs(query, key, value, bias, mask, scale, is_causal, flash_attention)  # to be refused, or shapes alone
    _calls["count"] += 1
    out = query.dtype if query.dtype == key.dtype == value.dtype else torch.promote_types(
        query.dtype, torch.promote_types(key.dtype, value.dtype))
    heads = [tensor.transpose(1, 2) for tensor in computed(query, key, value)]
    context = attn.torch.attention(
        *heads, bias=None if bias is None else backend.convert_to_tensor(bias).to(heads[0].dtype),
        mask=None if mask is None else backend.convert_to_tensor(mask, dtype="bool"),
        scale=None if scale is None else float(scale), softcap=attn_logits_soft_cap or 0.0,
        causal="top_left" if is_causal else None)
    return context.transpose(1, 2).to(out)


def layer_call(self, inputs, mask=None, training=False, return_attention_scores=False, use_causal_mask=False):
    """Of layers.Attention and layers.AdditiveAttention."""
    self._validate_inputs(inputs=inputs, mask=mask)
    tensors = [backend.convert_to_tensor(tensor) for tensor in inputs]
    if tensors[0].device.type != "cpu":
        return _their_call(self, inputs, mask, training, return_attention_scores, use_causal_mask)  # shapes alone
    _calls["count"] += 1
    out = tensors[0].dtype
    query, value, *key = computed(*tensors)
    key, dim = key[0] if key else value, query.shape[-1]
    scale = None if self.scale is None else backend.convert_to_tensor(self.scale).to(query.dtype)
    rule = {"score": "dot"}
    if isinstance(self, keras.layers.AdditiveAttention):
        rule = {"score": "additive", "params": {"v": torch.ones(dim, dtype=query.dtype) if scale is None else scale}}
    elif self.score_mode == "concat":
        weight = backend.convert_to_tensor(self.concat_score_weight).to(query.dtype)
        rule = {"score": "additive", "params": {"v": weight.expand(dim)}}
    if scale is not None and not isinstance(self, keras.layers.AdditiveAttention):
        query = query * scale
        key = key * scale if self.score_mode == "concat" else key
    query_mask, value_mask = (None if one is None else backend.convert_to_tensor(one, dtype="bool")
                              for one in (mask or (None, None))[:2])
    if training and self.dropout > 0:
        rule.update(dropout=self.dropout, seed=int(backend.random.draw_seed(self.seed_generator)[-1]))
    result = attn.torch.attention(query, key, value, **rule, causal="top_left" if use_causal_mask else None,
                                  mask=None if value_mask is None else value_mask[..., None, :], return_weights=True)
    context, weights = result.context.to(out), result.weights.to(out)
    if query_mask is not None:
        context = torch.where(query_mask[..., None], context, 0)
    return (context, weights) if return_attention_scores else context


def ours(on):
    backend.nn.dot_product_attention = dot_product_attention if on else _theirs
    keras.layers.Attention.call = layer_call if on else _their_call


def own_tests():
    """Keras's tests by their names."""
    wanted = {nn_test: "dot_product_attention", additive_attention_test: "", attention_test: "",
              multi_head_attention_test: "", grouped_query_attention_test: ""}
    for module, part in wanted.items():
        for test in itertools.chain.from_iterable(flat(unittest.defaultTestLoader.loadTestsFromModule(module))):
            if part in test.id() and not test.id().endswith("test_session"):
                yield test.id().removeprefix("keras.src."), test


def flat(tests):
    for test in tests:
        if isinstance(test, unittest.TestSuite):
            yield from flat(test)
        else:
            yield [test]


def run_test(test):
    """Whether it was skipped, by itself or by a mark for pytest."""
    marks = getattr(getattr(test, test._testMethodName), "pytestmark", [])
    if any(mark.name == "skip" or (mark.name == "skipif" and mark.args[0]) for mark in marks):
        return True
    result = unittest.TestResult()
    ours(True)
    try:
        test.run(result)
    finally:
        ours(False)
    for _, text in result.errors + result.failures:
        raise AssertionError(text.strip().splitlines()[-1])
    return bool(result.skipped)


def random_calls():
    """What is called with what, in float32, which Keras makes of float64 too: pairs of a name and a function."""
    for heads, causal, given, scale in itertools.product(((4, 4), (4, 2), (4, 1)), (False, True), ("", "mask", "bias"),
                                                         (None, 0.3)):
        if not (causal and given == "bias"):  # which Keras refuses on torch
            name = f"dot_product_attention, heads {heads}{', causal' * causal}{given and ', ' + given}, scale {scale}"
            yield name, partial(compare_products, heads=heads, causal=causal, given=given, scale=scale)
    for layer, options in ((keras.layers.AdditiveAttention, {"use_scale": True}),
                           (keras.layers.AdditiveAttention, {"use_scale": False}),
                           (keras.layers.Attention, {"use_scale": True, "score_mode": "concat"}),
                           (keras.layers.Attention, {"use_scale": True})):
        for causal, masks in itertools.product((False, True), ("", "value", "both")):
            name = f"{layer.__name__} {options}{', causal' * causal}{masks and ', masks: ' + masks}"
            yield name, partial(compare_layers, kind=layer, options=options, causal=causal, masks=masks)


def judged(random, ours, theirs, tensors):
    """Outputs, by the tolerances of Keras's test case, and gradients of random sums of them, of which Keras has no test,
    by those of torch's for float32."""
    flows, made = None, []
    for function in (theirs, ours):
        outputs = function()
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        flows = flows or [torch.tensor(random.standard_normal(output.shape)).to(output) for output in outputs]
        gradients = torch.autograd.grad(outputs, tensors, flows)
        made.append(([output.detach() for output in outputs], gradients))
    (want, gradients_wanted), (got, gradients) = made
    for one, other in zip(got, want):
        assert one.dtype == other.dtype == torch.float32
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-6, atol=1e-6)
    for one, other in zip(gradients, gradients_wanted):
        torch.testing.assert_close(one, other)


def drawn(random, *shapes):
    return [torch.tensor(random.standard_normal(shape), dtype=torch.float32, requires_grad=True) for shape in shapes]


def compare_products(random, heads, causal, given, scale):
    tensors = drawn(random, (2, 9, heads[0], 16), (2, 11, heads[1], 16), (2, 11, heads[1], 16))
    rule = {"is_causal": causal, "scale": scale}
    if given == "mask":
        rule["mask"] = torch.tensor(random.random((2, 1, 9, 11)) < 0.7)
        rule["mask"][..., 0] = True
    if given == "bias":
        rule["bias"] = torch.tensor(random.standard_normal((1, heads[0], 9, 11)), dtype=torch.float32)
    judged(random, lambda: dot_product_attention(*tensors, **rule), lambda: _theirs(*tensors, **rule), tensors)


def compare_layers(random, kind, options, causal, masks):
    layer = kind(**options)
    tensors = drawn(random, (3, 5, 8), (3, 7, 8), (3, 7, 8))
    layer.build([tensor.shape for tensor in tensors])
    for weight in layer.trainable_weights:
        weight.assign(random.standard_normal(weight.shape))
    mask = None
    if masks:
        mask = [torch.tensor(random.random((3, 5)) < 0.7) if masks == "both" else None,
                torch.tensor(random.random((3, 7)) < 0.6)]
        mask[1][:, 0] = True
    given = {"mask": mask, "use_causal_mask": causal, "return_attention_scores": True}
    judged(random, lambda: layer_call(layer, tensors, **given), lambda: _their_call(layer, tensors, **given),
           tensors + [weight.value for weight in layer.trainable_weights])


def suites():
    made = Suite("Keras", f"keras {keras.__version__}: its own tests of ops.dot_product_attention, layers.Attention, "
                 "layers.AdditiveAttention, layers.MultiHeadAttention and layers.GroupedQueryAttention; and random calls",
                 "its own tests by their own means; outputs of random calls by its test case's rtol and atol, 1e-6 "
                 "each, their gradients by torch.testing.assert_close, rtol 1.3e-6 and atol 1e-5")
    skipped = []
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):  # they train models, and say so
        warnings.simplefilter("ignore")
        for name, test in own_tests():
            made.run(name, lambda name=name, test=test: run_test(test) and skipped.append(name))
    made.passed = [name for name in made.passed if name not in skipped]
    own = len(made.passed) + len(made.failed)
    by_us, random = _calls["count"], np.random.default_rng(0)
    for name, call in random_calls():
        made.run(name, call, random)
    made.notes = [
        f"{own} tests of Keras's own, in which {by_us} calls were computed by the library; "
        f"{len(skipped)} more it skips on this backend, such as those of flash attention.",
        "A query that may see no key gets zeros from the library; Keras adds a large negative number to its scores and "
        "gives some average. No case here has such a query.",
    ]
    return [made]
