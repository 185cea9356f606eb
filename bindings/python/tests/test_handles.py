# SPDX-License-Identifier: BSD-3-Clause
"""test_handles.py: mechanisms, memories, layers of heads, positions, Luong's step and decomposable attention against the
formulas in NumPy, float64. Needs NumPy alone."""

import copy
import gc
import pickle
import sys
import unittest
import weakref
from pathlib import Path
from unittest import mock

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import attn


def softmax(e, axis=-1):
    powers = np.exp(e - e.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


class Handles(unittest.TestCase):
    def setUp(self):
        random = np.random.default_rng(11)
        self.normal = lambda *shape: random.standard_normal(shape)

    def same(self, got, want):
        np.testing.assert_allclose(got, want, 1e-12, 1e-12)

    def moves(self, loss, arrays, gradients):
        """The gradients say how the loss moves with each array."""
        for name, gradient in gradients.items():
            with self.subTest(name):
                way, step = self.normal(*gradient.shape), 1e-5
                after, before = (loss(**{**arrays, name: arrays[name] + sign * step * way}) for sign in (1, -1))
                want = (after - before) / (2 * step)
                self.assertAlmostEqual((gradient * way).sum(), want, delta=1e-6 * (1 + abs(want)))

    def test_a_mechanism_takes_its_sizes_from_its_parameters(self):
        for score, params, sizes, want in (
            ("general", {"W": (6, 4)}, {}, ["W"]), ("location", {"W": (9, 6)}, {}, ["W"]),
            ("additive", {"W": (3, 6), "U": (3, 4), "v": (3,)}, {}, ["W", "U", "v"]),
            ("additive", {"W": (3, 6), "v": (3,), "b": (3,), "g": (1,)}, {}, ["W", "v", "b", "g"]),
            ("concat", {"W": (3, 10), "v": (3,)}, {"query_dim": 6}, ["W", "v"]),
            ("concat", {"W": (3, 10), "v": (3,)}, {"key_dim": 4}, ["W", "v"]),
            ("dot", {"W_p": (3, 6), "v_p": (3,)}, {"local": ("predictive", 2)}, ["W_p", "v_p"]),
        ):
            with self.subTest(score, params=list(params)):
                arrays = {name: self.normal(*shape) for name, shape in params.items()}
                mechanism = attn.Mechanism(score, params=arrays, **sizes)
                self.assertEqual(sorted(mechanism.param_shapes()), sorted(want))
                self.assertEqual(mechanism.param_shapes(), {name: params[name] for name in mechanism.param_shapes()})
                self.assertEqual(mechanism.param_total, sum(array.size for array in arrays.values()))
                self.assertEqual(mechanism.name, score)
                self.assertIs(mechanism.params[want[0]], arrays[want[0]])
        with self.assertRaises(ValueError):
            attn.Mechanism("additive", params={"W": self.normal(3, 6)})
        with self.assertRaises(ValueError):
            attn.Mechanism("concat", params={"W": self.normal(3, 6), "v": self.normal(3)})

    def test_a_mechanism_is_the_function_with_its_rule_fixed(self):
        query, key, value, W = self.normal(2, 5, 6), self.normal(2, 7, 4), self.normal(2, 7, 3), self.normal(6, 4)
        rule = {"score": "general", "params": {"W": W}, "softcap": 3.0, "causal": "bottom_right", "temperature": 0.5}
        mechanism, d_context = attn.Mechanism(**rule), self.normal(2, 5, 3)
        self.same(mechanism(query, key, value), attn.attention(query, key, value, **rule))
        got = mechanism.backward(d_context, query, key, value)
        want = attn.attention_grad(d_context, query, key, value, **rule)
        self.same(got.params["W"], want.params["W"])
        W *= 2  # training goes on in place
        self.same(mechanism(query, key, value), attn.attention(query, key, value, **rule))
        mechanism.set_softcap(0.0)
        mechanism.set_causal(None)
        mechanism.set_temperature(1.0)
        self.same(mechanism(query, key, value), softmax(query @ W @ key.swapaxes(-1, -2)) @ value)
        mechanism.bind(W=None)
        with self.assertRaisesRegex(attn.Error, "W"):
            mechanism(query, key, value)

    def test_local_attention_looks_around_a_centre(self):
        query, key, W_p, v_p = self.normal(2, 5, 6), self.normal(2, 9, 6), self.normal(4, 6), self.normal(4)
        centre = 9 / (1 + np.exp(-(np.tanh(query @ W_p.T) @ v_p)))[..., None]
        away = np.arange(9) - centre
        e = np.where(abs(away) <= 2, query @ key.swapaxes(-1, -2), -np.inf)
        want = (softmax(e) * np.exp(-away**2 / 2)) @ key
        params = {"W_p": W_p, "v_p": v_p}
        self.same(attn.attention(query, key, score="dot", local=("predictive", 2), params=params), want)
        loss = lambda **given: (attn.attention(given["query"], given["key"], score="dot", local=("predictive", 2), params={
            name: given[name] for name in params})**2).sum()
        arrays = {"query": query, "key": key, **params}
        gradients = attn.attention_grad(2 * want, query, key, score="dot", local=("predictive", 2), params=params)
        self.moves(loss, arrays, {"query": gradients.query, "key": gradients.key, **gradients.params})
        near = abs(np.arange(9) - np.arange(5)[:, None]) <= 1
        self.same(attn.attention(query, key, score="dot", local=("monotonic", 1)),
                  softmax(np.where(near, query @ key.swapaxes(-1, -2), -np.inf)) @ key)

    def test_relative_biases_and_their_gradient(self):
        query, key, table = self.normal(3, 5, 4), self.normal(3, 7, 4), self.normal(3, 5)
        distance = np.clip(np.arange(7) - np.arange(5)[:, None], -2, 2) + 2
        weights = softmax(query @ key.swapaxes(-1, -2) / 2 + table[:, distance])
        self.same(attn.attention(query, key, relative=(table, "clipped", 2, "top_left")), weights @ key)
        loss = lambda table: (attn.attention(query, key, relative=(table, "clipped", 2, "top_left"))**2).sum()
        made = attn.attention_grad(2 * weights @ key, query, key, relative=(table, "clipped", 2, "top_left"))
        self.moves(loss, {"table": table}, {"table": made.relative})
        self.assertEqual(attn.attention(query, key, relative=(self.normal(1, 8), "t5", 20), causal="top_left").shape,
                         (3, 5, 4))

    def test_dropped_weights_are_zero_and_the_others_grow(self):
        query, key = self.normal(2, 4, 50, 6), self.normal(2, 4, 60, 6)
        whole = attn.attention(query, key, return_weights=True).weights
        some = attn.attention(query, key, dropout=0.25, seed=5, return_weights=True).weights
        kept = some != 0
        self.assertAlmostEqual(kept.mean(), 0.75, delta=0.02)
        self.same(some[kept], whole[kept] / 0.75)
        rule = {"dropout": 0.25, "seed": 5, "offset": 7}
        gradients = attn.attention_grad(self.normal(2, 4, 50, 6), query, key, **rule, wanted=["query"])
        self.assertIsNone(gradients.key)

    def test_a_memory_of_prepared_keys_gives_what_the_keys_give(self):
        W, U, v = self.normal(3, 6), self.normal(3, 4), self.normal(3)
        mechanism = attn.Mechanism("additive", params={"W": W, "U": U, "v": v})
        query, key, value = self.normal(2, 1, 1, 6), self.normal(2, 1, 7, 4), self.normal(2, 1, 7, 5)
        memory = attn.Memory.of(mechanism, key, value)
        self.same(mechanism(query, memory=memory), mechanism(query, key, value))
        weights = mechanism(query, memory=memory, return_weights=True).weights
        self.assertEqual(weights.shape, (2, 1, 1, 7))
        context = np.empty((2, 1, 1, 5))
        call = mechanism.call(query, memory=memory, context=context)
        call.run()
        self.same(context, mechanism(query, key, value))
        for _ in range(5):
            memory.append(key, value)
            call.run()
            np.testing.assert_array_equal(context, mechanism(query, memory=memory))

    def test_a_memory_grows_and_is_cut_reordered_and_forked(self):
        mechanism = attn.Mechanism(causal="bottom_right")
        query, key, value = self.normal(2, 4, 3, 6), self.normal(2, 2, 9, 6), self.normal(2, 2, 9, 5)
        memory = attn.Memory(mechanism, batch=2, key_heads=2, key_dim=6, value_dim=5, dtype="f8")
        memory.append(key[:, :, :4], value[:, :, :4])
        memory.append(key[:, :, 4:], value[:, :, 4:], counts=[5, 2])
        self.assertEqual((memory.batch, memory.lengths), (2, [9, 6]))
        self.same(mechanism(query, memory=memory), mechanism(query, key, value, key_lengths=[9, 6]))
        other = memory.fork()
        memory.truncate([3, 6])
        self.same(mechanism(query, memory=memory), mechanism(query, key, value, key_lengths=[3, 6]))
        self.same(mechanism(query, memory=other), mechanism(query, key, value, key_lengths=[9, 6]))
        other.reorder([1, 1, 0])
        self.assertEqual(other.lengths, [6, 6, 9])
        rows = [1, 1, 0]
        self.same(mechanism(query[rows], memory=other),
                  mechanism(query[rows], key[rows], value[rows], key_lengths=[6, 6, 9]))
        fixed = attn.Memory(mechanism, key_dim=6, capacity=2, fixed=True, dtype="f8")
        fixed.append(key[:1, :1, :2])
        with self.assertRaises(attn.Error) as caught:
            fixed.append(key[:1, :1, :1])
        self.assertEqual((caught.exception.status, fixed.lengths), ("ATTN_ERR_BUFFER", [2]))

    def test_a_memory_in_pages(self):
        """It gives what its copy in rows gives, through all that may be done with it; a prefix is kept once."""
        mechanism = attn.Mechanism(causal="bottom_right")
        query, key, value = self.normal(3, 4, 2, 6), self.normal(3, 2, 9, 6), self.normal(3, 2, 9, 5)
        shape = {"batch": 1, "key_heads": 2, "key_dim": 6, "value_dim": 5, "dtype": "f8", "page": 4}
        memory = attn.Memory(mechanism, **shape, capacity=20, fixed=True)
        memory.append(key[:1, :, :6], value[:1, :, :6])
        memory.reorder([0, 0, 0])  # 2 pages; without sharing 6, and there are 5
        memory.append(key[:, :, 6:], value[:, :, 6:], counts=[1, 0, 2])
        other = memory.fork()
        with self.assertRaises(attn.Error) as caught:
            memory.append(key[:, :, :8], value[:, :, :8])
        self.assertEqual((caught.exception.status, memory.lengths), ("ATTN_ERR_BUFFER", [7, 6, 8]))
        all_keys, all_values = (np.concatenate([x[:1, :, :6].repeat(3, 0), x[:, :, 6:]], 2) for x in (key, value))
        wanted = mechanism(query, all_keys, all_values, key_lengths=[7, 6, 8])
        self.same(mechanism(query, memory=memory), wanted)
        memory.truncate([0, 0, 0])
        self.same(mechanism(query, memory=other), wanted)
        self.same(mechanism(query, memory=attn.Memory.of(mechanism, key, value, page=3)), mechanism(query, key, value))
        with self.assertRaisesRegex(attn.Error, "page is -1"):
            attn.Memory(mechanism, key_dim=6, page=-1)

    def test_a_memory_that_turns_its_keys(self):
        mechanism, rope = attn.Mechanism(), attn.Rope("halves", base=500.0)
        query, key, value = self.normal(1, 2, 3, 8), self.normal(1, 2, 5, 8), self.normal(1, 2, 5, 8)
        memory = attn.Memory.of(mechanism, key, value, rope=rope)
        self.same(mechanism(query, memory=memory), mechanism(query, attn.rope(key, layout="halves", base=500.0), value))

    def test_rotary_positions(self):
        x, angles = self.normal(2, 3, 5, 8), np.arange(5)[:, None] * 100.0**(-np.arange(4) / 4)
        pairs = x[..., ::2] + 1j * x[..., 1::2]
        turned = pairs * np.exp(1j * angles)
        got = attn.rope(x, layout="interleaved", base=100.0)
        self.same(got[..., ::2] + 1j * got[..., 1::2], turned)
        self.same(attn.rope(got, layout="interleaved", base=100.0, inverse=True), x)
        self.same(attn.rope(x, layout="interleaved", base=100.0, positions=[0, 1, 2, 3, 4]), got)
        self.same(attn.rope(x[:, :, 2:], layout="interleaved", base=100.0, first=2), got[:, :, 2:])
        place = x.copy()
        self.assertIs(attn.rope(place, layout="interleaved", base=100.0, out=place), place)
        self.same(place, got)

    def test_sinusoids_and_slopes(self):
        angles = (3 + np.arange(4))[:, None] / 10000.0**(2 * np.arange(3) / 6)
        table = attn.sinusoidal(4, 6, first=3, dtype="f8")
        self.same(table[:, ::2], np.sin(angles))
        self.same(table[:, 1::2], np.cos(angles))
        self.same(attn.alibi_slopes(8, dtype="f8"), 2.0**-np.arange(1, 9))

    def test_parts_of_the_keys_are_merged(self):
        query, key, value = self.normal(2, 4, 3, 6), self.normal(2, 2, 11, 6), self.normal(2, 2, 11, 5)
        whole = attn.attention(query, key, value, return_logsumexp=True)
        cuts = [slice(0, 4), slice(4, 5), slice(5, 5), slice(5, 11)]
        parts = [attn.attention(query, key[:, :, cut], value[:, :, cut], return_logsumexp=True) for cut in cuts]
        contexts, sums = [part.context for part in parts], [part.logsumexp for part in parts]
        merged = attn.merge(contexts, sums, return_logsumexp=True)
        self.same(merged.context, whole.context)
        self.same(merged.logsumexp, whole.logsumexp)
        np.testing.assert_array_equal(attn.merge(np.stack(contexts), np.stack(sums)), merged.context)

        d_context = self.normal(*whole.context.shape)
        want = attn.attention_grad(d_context, query, key, value, result=whole)
        got = [attn.attention_grad(d_context, query, key[:, :, cut], value[:, :, cut], result=merged) for cut in cuts]
        self.same(sum(part.query for part in got), want.query)
        self.same(np.concatenate([part.key for part in got], 2), want.key)
        self.same(np.concatenate([part.value for part in got], 2), want.value)

        place, sum_place = contexts[1].copy(), sums[1].copy()
        contexts[1], sums[1] = place, sum_place
        got = attn.merge(contexts, sums, out=place, logsumexp_out=sum_place, return_logsumexp=True)
        self.assertIs(got.context, place)
        self.assertIs(got.logsumexp, sum_place)
        np.testing.assert_array_equal(place, merged.context)
        np.testing.assert_array_equal(sum_place, merged.logsumexp)

    def test_merged_parts_have_types_of_their_own(self):
        context, rows = self.normal(3, 4), self.normal(3)
        narrow, single = context.astype("f2"), context.astype("f4")
        got = attn.merge([narrow, single], [rows, rows.astype("f4")], return_logsumexp=True)
        self.assertEqual((got.context.dtype, got.logsumexp.dtype), (np.float16, np.float64))
        np.testing.assert_allclose(got.context, context, atol=2e-3)
        np.testing.assert_allclose(got.logsumexp, rows + np.log(2), atol=1e-6)
        exact = attn.merge([single], [rows.astype("f4")], return_logsumexp="exact")
        self.assertEqual(exact.logsumexp.dtype, np.float64)
        np.testing.assert_array_equal(exact.context, single)
        alone = attn.merge([context[0]], [rows[0, ...]], return_logsumexp=True)  # one row, whose sum has no dimensions
        self.assertEqual((alone.context.shape, alone.logsumexp.shape), ((4,), ()))
        for error, sentence, given in ((attn.ArgumentError, "contexts is empty", ([], [])),
                                       (attn.ShapeError, "contexts are 2, but logsumexps are 1", ([context] * 2, [rows])),
                                       (attn.DTypeError, "contexts is 3, but a list", (3, [rows])),
                                       (attn.DTypeError, r"contexts\[1\] is a str", ([context, "x"], [rows] * 2)),
                                       (attn.DTypeError, r"contexts\[1\] is ATTN_F32", ([context, single], [rows] * 2)),
                                       (attn.ShapeError, r"logsumexps\[0\] has shape", ([context], [rows[1:]]))):
            with self.assertRaisesRegex(error, sentence):
                attn.merge(*given)

    def test_the_attentional_step(self):
        arrays = {"weight": self.normal(5, 7), "context": self.normal(2, 3, 4), "query": self.normal(2, 3, 3),
                  "bias": self.normal(5)}
        output = attn.attentional(**arrays)
        self.same(output, np.tanh(np.concatenate([arrays["context"], arrays["query"]], -1) @ arrays["weight"].T
                                  + arrays["bias"]))
        gradients = attn.attentional_grad(2 * output, output, **arrays)
        self.moves(lambda **given: (attn.attentional(**given)**2).sum(), arrays, gradients._asdict())
        alone = attn.attentional_grad(2 * output, output, **arrays, wanted=["weight"])
        self.assertEqual((alone.bias, alone.query, alone.context), (None, None, None))

    def test_decomposable_attention(self):
        arrays = {"f": self.normal(2, 1, 5, 4), "g": self.normal(2, 1, 7, 4), "a": self.normal(2, 1, 5, 3),
                  "b": self.normal(2, 1, 7, 6)}
        e = arrays["f"] @ arrays["g"].swapaxes(-1, -2)
        result = attn.decomposable(**arrays)
        self.same(result.beta, softmax(e) @ arrays["b"])
        self.same(result.alpha, softmax(e, -2).swapaxes(-1, -2) @ arrays["a"])
        self.same(result.a_logsumexp, np.log(np.exp(e).sum(-1)))
        flows = self.normal(2, 1, 5, 6), self.normal(2, 1, 7, 3)

        def loss(**given):
            made = attn.decomposable(**given)
            return (flows[0] * made.beta).sum() + (flows[1] * made.alpha).sum()

        gradients = attn.decomposable_grad(*flows, **arrays, result=result)
        self.moves(loss, arrays, gradients._asdict())
        self.same(attn.decomposable_grad(*flows, **arrays).f, gradients.f)
        short = attn.decomposable(arrays["f"], arrays["g"], a_lengths=[5, 2], b_lengths=[3, 7])
        self.same(short.beta[0], softmax(e[0, :, :, :3]) @ arrays["g"][0, :, :3])
        self.assertFalse(short.beta[1, :, 2:].any())

    def test_a_layer_of_heads(self):
        x, y, z = self.normal(2, 5, 6), self.normal(2, 7, 4), self.normal(2, 7, 3)
        layer = attn.MultiHead(6, 4, key_heads=2, key_dim=4, value_dim=3, head_dim=5, value_head_dim=2, output_dim=8)
        self.assertEqual(layer.param_shapes(), {"W_q": (20, 6), "W_k": (10, 4), "W_v": (4, 3), "W_o": (8, 8),
                                                "b_q": (20,), "b_k": (10,), "b_v": (4,), "b_o": (8,)})
        params = {name: self.normal(*shape) for name, shape in layer.param_shapes().items()}
        layer.bind(**params)

        def expected(x, y, z, **p):
            cut = lambda rows, part, heads: (rows @ p[f"W_{part}"].T + p[f"b_{part}"]).reshape(
                *rows.shape[:2], heads, -1).swapaxes(1, 2)
            q, k, v = cut(x, "q", 4), cut(y, "k", 2).repeat(2, 1), cut(z, "v", 2).repeat(2, 1)
            joined = (softmax(q @ k.swapaxes(-1, -2) / np.sqrt(5)) @ v).swapaxes(1, 2).reshape(2, 5, 8)
            return joined @ p["W_o"].T + p["b_o"]

        result = layer.forward(x, y, z, save=True, return_weights=True, return_logsumexp=True, return_scores="weights")
        self.same(result.output, expected(x, y, z, **params))
        self.same(result.weights, result.scores)
        self.assertEqual((result.weights.shape, result.logsumexp.shape), ((2, 4, 5, 7), (2, 4, 5)))
        gradients = layer.backward(2 * result.output, x, y, z, result=result)
        self.moves(lambda x, y, z, **p: (expected(x, y, z, **p)**2).sum(), {"x": x, "y": y, "z": z, **params},
                   {"x": gradients.query, "y": gradients.key, "z": gradients.value, **gradients.params})
        alone = layer.backward(2 * result.output, x, y, z, wanted=["W_o"])
        self.assertEqual((alone.query, list(alone.params)), (None, ["W_o"]))
        self.same(alone.params["W_o"], gradients.params["W_o"])
        with self.assertRaises(ValueError):
            layer.backward(2 * result.output, x, y, z, result=result._replace(saved=None))
        with self.assertRaisesRegex(ValueError, "wanted has 'W_x'"):
            layer.backward(2 * result.output, x, y, z, wanted=["W_x"])

    def test_what_is_saved_may_be_copied_to_any_address(self):
        layer, x = attn.MultiHead(4, 2, bias=False), self.normal(3, 4)
        layer.bind(**{name: self.normal(*shape) for name, shape in layer.param_shapes().items()})
        result = layer.forward(x, save=True)
        wanted = layer.backward(2 * result.output, x, result=result)
        room = np.empty(result.saved.nbytes + 128, np.uint8)
        for shift in (0, 8, 16, 40, 63):
            first = -room.ctypes.data % 64 + shift
            moved = room[first:first + result.saved.nbytes]
            moved[:] = result.saved
            got = layer.backward(2 * result.output, x, result=result._replace(saved=moved))
            np.testing.assert_array_equal(got.query, wanted.query)

    def test_a_layer_of_an_additive_score_trains_it_too(self):
        params = {"W": self.normal(3, 5), "U": self.normal(3, 5), "v": self.normal(3)}
        layer = attn.MultiHead(10, 2, mechanism=attn.Mechanism("additive", params=params), bias=False, packed=True)
        shapes = layer.param_shapes()
        self.assertEqual(shapes, {"W_qkv": (30, 10), "W_o": (10, 10)})
        layer.bind(**{name: self.normal(*shape) for name, shape in shapes.items()})
        x = self.normal(4, 10)
        output = layer(x)
        gradients = layer.backward(2 * output, x)

        def loss(**moved):
            layer.mechanism.bind(**moved)
            return (layer(x)**2).sum()

        self.moves(loss, params, gradients.mechanism_params)
        layer.mechanism.bind(**params)

    def test_a_layer_trains_biases_of_distances_and_sinks_too(self):
        sinks, slopes, table, x, flow = self.normal(2), self.normal(2), self.normal(2, 5), self.normal(1, 6, 8), self.normal(1, 2, 6)
        params = {name: self.normal(*shape) for name, shape in attn.MultiHead(8, 2).param_shapes().items()}

        def layer(alibi, relative, sinks):
            mechanism = attn.Mechanism(sinks=sinks)
            mechanism.set_alibi(alibi, "top_left")
            mechanism.set_relative(relative, "clipped", 2, "top_left")
            return attn.MultiHead(8, 2, mechanism=mechanism, params=params)

        def loss(**moved):
            made = layer(**moved).forward(x, return_logsumexp=True)
            return (made.output**2).sum() + (flow * made.logsumexp).sum()

        there = layer(slopes, table, sinks)
        gradients = there.backward(2 * there.forward(x), x, d_logsumexp=flow)
        self.moves(loss, {"alibi": slopes, "relative": table, "sinks": sinks},
                   {"alibi": gradients.alibi, "relative": gradients.relative, "sinks": gradients.sinks})

    def test_a_layer_decodes_step_by_step(self):
        layer = attn.MultiHead(6, 2, mechanism=attn.Mechanism(causal="bottom_right"), packed=True)
        layer.bind(**{name: self.normal(*shape) for name, shape in layer.param_shapes().items()})
        x, memory = self.normal(3, 5, 6), layer.memory(batch=3, dtype="f8")
        self.same(np.concatenate([layer(x[:, t:t + 1], memory=memory) for t in range(5)], 1), layer(x))
        self.assertEqual(memory.lengths, [5] * 3)
        again = layer.forward(x[:, 4:], memory=memory, attend_only=True, return_weights=True)
        self.same(again.output, layer(x)[:, 4:])
        self.assertEqual(again.weights.shape, (3, 2, 1, 5))

    def test_a_call_that_was_refused_can_be_run_later(self):
        query, key, W = self.normal(2, 6), self.normal(3, 4), self.normal(6, 4)
        mechanism, context = attn.Mechanism("general", query_dim=6, key_dim=4), np.full((2, 4), 9.0)
        call = mechanism.call(query, key, context=context)
        for work in (call.run, call.reserve, call.run):
            with self.assertRaisesRegex(attn.ArgumentError, "parameter W of general is not bound"):
                work()
        self.assertTrue((context == 9).all())
        for bound in (W, 2 * W):
            mechanism.bind(W=bound)
            call.run()
            np.testing.assert_array_equal(context, mechanism(query, key))
        W = mechanism.params["W"]
        W *= -1  # in place
        call.run()
        np.testing.assert_array_equal(context, mechanism(query, key))
        mechanism.bind(W=None)
        with self.assertRaisesRegex(attn.ArgumentError, "parameter W of general is not bound"):
            call.run()
        wrong = attn.Mechanism().call(query, query, context=np.empty((2, 5)))
        for work in (wrong.run, wrong.reserve):
            with self.assertRaises(attn.ShapeError):
                work()

    def test_a_call_has_one_plan_which_goes_with_it(self):
        library, made, gone = attn._calls.lib, [], []
        create, destroy = library.attn_plan_create, library.attn_plan_destroy

        def count(mechanism, args, plan):
            made.append(create(mechanism, args, plan))
            return made[-1]

        mechanism, query, context = attn.Mechanism(), self.normal(2, 4), np.empty((2, 4))
        with mock.patch.object(library, "attn_plan_create", count), mock.patch.object(
                library, "attn_plan_destroy", lambda plan: gone.append(destroy(plan))):
            mechanism(query, query, return_logsumexp=True)  # what runs once has none
            attn.attention_grad(query, query, query)
            call = mechanism.call(query, query, context=context, logsumexp=np.empty(2))
            attn.Gradient(call, d_context=query, d_query=np.empty((2, 4)))
            self.assertEqual(made, [])
            call.run()
            call.reserve().run()
            self.assertEqual((made, gone), ([0], []))
            del mechanism  # which the call has
            context.fill(0)
            call.run()
            self.assertTrue(context.any())
            del call
            gc.collect()
            self.assertEqual((made, gone), ([0], [None]))

    def test_what_stands_on_a_handle_is_not_copied(self):
        mechanism = attn.Mechanism(engine=attn.Engine(threads=1))
        query, key = self.normal(1, 1, 2, 4), self.normal(1, 1, 3, 4)
        call = mechanism.call(query, key, context=np.empty_like(query), logsumexp=np.empty((1, 1, 2)))
        call.run()
        for thing in (mechanism.engine, mechanism, attn.MultiHead(4, 1, mechanism=mechanism), call,
                      attn.Gradient(call, d_context=query, d_query=np.empty_like(query)),
                      type("Mine", (attn.Mechanism,), {})()):
            ways = [copy.copy, copy.deepcopy, *(lambda thing, n=n: pickle.dumps(thing, n)
                                                for n in range(pickle.HIGHEST_PROTOCOL + 1))]
            for way in ways:
                with self.subTest(type(thing), way=way), self.assertRaisesRegex(
                        TypeError, f"attn.{type(thing).__name__} cannot be copied or pickled: (make|lay out) another one"):
                    way(thing)

    def test_a_copy_of_a_memory_is_a_fork(self):
        mechanism = attn.Mechanism()
        query, key = self.normal(1, 1, 2, 4), self.normal(1, 1, 5, 4)
        memory = attn.Memory.of(mechanism, key)
        for way in (copy.copy, copy.deepcopy):
            other = way(memory)
            other.truncate([2])
            self.assertEqual((memory.lengths, other.lengths), ([5], [2]))
            self.same(mechanism(query, memory=memory), mechanism(query, key))
            self.same(mechanism(query, memory=other), mechanism(query, key[:, :, :2]))
        with self.assertRaisesRegex(TypeError, r"attn.Memory cannot be copied or pickled: append its keys"):
            pickle.dumps(memory)

    def test_results_are_copied_and_pickled(self):
        query, key = self.normal(1, 1, 2, 4), self.normal(1, 1, 5, 4)
        result = attn.attention(query, key, return_logsumexp=True)
        gradients = attn.attention_grad(query, query, key, score="general", params={"W": np.eye(4)})
        for given in (result, gradients, attn.decomposable(query, key)):
            for other in (copy.deepcopy(given), pickle.loads(pickle.dumps(given))):
                self.assertIs(type(other), type(given))
                self.same(other[0], given[0])
        self.assertEqual(list(pickle.loads(pickle.dumps(gradients)).params), ["W"])

    def test_gradients_share_nothing(self):
        self.assertIsNot(attn.Gradients().params, attn.Gradients().params)
        self.assertEqual(attn.Gradients(query=1)._replace(key=2), (1, 2, None, None, {}, None, None, None))
        self.assertIsNot(attn.attention_grad(np.eye(2), np.eye(2), np.eye(2)).params, attn.Gradients().params)

    def test_a_mechanism_goes_at_once_with_its_parameters(self):
        W = self.normal(4, 4)
        before = sys.getrefcount(W)
        mechanism = attn.Mechanism("general", params={"W": W})
        for _ in range(2):
            mechanism(self.normal(3, 4), self.normal(5, 4))
        gone = weakref.ref(mechanism)
        del mechanism
        self.assertIsNone(gone())
        self.assertEqual(sys.getrefcount(W), before)

    def test_handles_go_with_whoever_has_them(self):
        mechanism = attn.Mechanism(engine=attn.Engine(threads=1))
        memory = attn.Memory.of(mechanism, self.normal(3, 4))
        layer = attn.MultiHead(4, 1, mechanism=mechanism, bias=False)
        cycle = [mechanism, memory, layer]
        cycle.append(cycle)
        del cycle, mechanism
        self.assertEqual(memory.lengths, [3])
        self.same(memory.mechanism(np.zeros((1, 4)), memory=memory).shape, (1, 4))
        del memory, layer


if __name__ == "__main__":
    unittest.main()
