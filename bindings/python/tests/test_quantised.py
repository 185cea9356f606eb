# SPDX-License-Identifier: BSD-3-Clause
"""test_quantised.py: keys and values of int8 with scales, and memories of 16 and of 8 bits: they are what they stand for, in
what is computed of them too. Needs NumPy alone."""

import sys
import unittest
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import attn
from test_dtypes import KINDS, narrow, unit, wide

DRAW = np.random.default_rng(11)
FLOAT = np.dtype("f4")


def quantised(rows):
    """Integers, the scale of each row, and what both stand for, as a memory makes them."""
    rows = wide(rows).astype("f4")
    scales = np.abs(rows).max(-1) / np.float32(127)
    integers = np.rint(np.divide(rows, scales[..., None], where=scales[..., None] > 0, out=np.zeros_like(rows))).astype("i1")
    return integers, scales, integers * scales[..., None]


def drawn(*shape, dtype=FLOAT):
    numbers = DRAW.standard_normal(shape).astype("f4")
    return numbers if dtype == FLOAT else narrow(numbers, dtype)


def kept(rows, dtype):
    """What a memory of this type has of rows."""
    if dtype == np.int8:
        return quantised(rows)[2]
    return wide(narrow(wide(rows), dtype)) if dtype in KINDS else wide(rows)


class Quantised(unittest.TestCase):
    def setUp(self):
        self.key, self.key_scales, self.keys = quantised(drawn(2, 2, 7, 8))
        self.value, self.value_scales, self.values = quantised(drawn(2, 2, 7, 6))
        self.given = {"key": self.key, "value": self.value, "key_scales": self.key_scales, "value_scales": self.value_scales}

    def near(self, got, want, dtype=FLOAT, roundings=1):
        """Rounded once, where it is narrow."""
        self.assertEqual(got.shape, want.shape)
        of_type = 0 if dtype == FLOAT else roundings * 1.001 * unit(dtype)
        np.testing.assert_allclose(wide(got), wide(want), rtol=of_type, atol=3e-6)

    def test_they_are_what_they_stand_for(self):
        for dtype in (FLOAT, *KINDS):
            query = drawn(2, 4, 3, 8, dtype=dtype)
            for more in ({}, {"causal": "top_left", "key_lengths": [7, 4]}, {"normaliser": "hardmax"}, {"softcap": 2.0}):
                with self.subTest(dtype, **more):
                    want = attn.attention(wide(query).astype("f4"), self.keys, self.values, return_weights=True, **more)
                    got = attn.attention(query, **self.given, return_weights=True, **more)
                    self.near(got.context, want.context, dtype)
                    self.near(got.weights, want.weights)
                    self.assertEqual(got.context.dtype, dtype)

    def test_every_score_takes_them(self):
        query = drawn(2, 2, 3, 8)
        shapes = {"dot": {}, "general": {"W": (8, 8)}, "concat": {"W": (5, 16), "v": (5,)},
                  "additive": {"W": (5, 8), "U": (5, 8), "v": (5,)}, "location": {"W": (9, 8)}}
        for score, shapes_of in shapes.items():
            rule = {"score": score, "params": {name: drawn(*shape) for name, shape in shapes_of.items()}}
            with self.subTest(score):
                self.near(attn.attention(query, **self.given, **rule), attn.attention(query, self.keys, self.values, **rule))

    def test_either_may_be_of_integers(self):
        query = drawn(2, 4, 3, 8)
        want = attn.attention(query, self.keys, self.values)
        self.near(attn.attention(query, self.key, self.values, key_scales=self.key_scales), want)
        self.near(attn.attention(query, self.keys, self.value, value_scales=self.value_scales), want)
        self.near(attn.attention(query, self.key, key_scales=self.key_scales), attn.attention(query, self.keys))

    def test_any_strides_are_walked(self):
        query = drawn(2, 4, 3, 8)
        laid = lambda array: np.ascontiguousarray(array.swapaxes(1, 2)).swapaxes(1, 2)
        strided = {name: laid(array)[:, :, ::-1][:, :, ::-1] for name, array in self.given.items()}
        np.testing.assert_array_equal(attn.attention(query, **strided), attn.attention(query, **self.given))
        one = np.broadcast_to(np.float32(0.25), self.key_scales.shape)
        self.near(attn.attention(query, self.key, key_scales=one), attn.attention(query, (self.key * np.float32(0.25))))

    def test_calls_that_are_made_again_look_at_other_scales(self):
        query, mechanism = drawn(2, 4, 3, 8), attn.Mechanism()
        first = mechanism(query, **self.given)
        self.near(mechanism(query, **{**self.given, "value_scales": 2 * self.value_scales}), 2 * first)
        self.near(mechanism(query, self.keys, self.values), first)
        context = np.zeros_like(first)
        call = mechanism.call(query, context=context, **self.given)
        call.run()
        np.testing.assert_array_equal(context, first)
        self.value_scales *= 2
        call.run()
        self.near(context, 2 * first)

    def test_what_does_not_belong_together_is_refused(self):
        query = drawn(2, 4, 3, 8)
        for error, sentence, change in (
                (attn.ArgumentError, "key is ATTN_I8, but key_scales is NULL", {"key_scales": None}),
                (attn.ArgumentError, "there is value_scales, but value is ATTN_F32", {"value": self.values}),
                (attn.ShapeError, "key_scales", {"key_scales": self.key_scales[..., :-1]}),
                (attn.DTypeError, "key_scales is float64, but float32 is taken",
                 {"key_scales": self.key_scales.astype("f8")}),
                (attn.DTypeError, "value is uint8, but .* or int8 is taken", {"value": self.value.view("u1")})):
            with self.subTest(sentence), self.assertRaisesRegex(error, sentence):
                attn.attention(query, **{**self.given, **change})
        with self.assertRaisesRegex(attn.DTypeError, "key is ATTN_I8"):
            attn.attention(query.astype("f8"), **self.given)
        with self.assertRaisesRegex(attn.UnsupportedError, "no gradients"):
            attn.attention_grad(drawn(2, 4, 3, 6), query, self.key, self.value)


class Memories(unittest.TestCase):
    near = Quantised.near

    def of_each(self):
        """What is given, and what it is kept in."""
        for given in (FLOAT, *KINDS):
            for stored in (given, np.dtype("i1")):
                with self.subTest(given=given, stored=stored):
                    yield given, stored

    def test_they_hold_what_they_keep(self):
        mechanism = attn.Mechanism()
        for given, stored in self.of_each():
            key, value, query = (drawn(2, 2, n, d, dtype=given) for n, d in ((7, 8), (7, 6), (3, 8)))
            memory = attn.Memory.of(mechanism, key, value, dtype=stored)
            want = mechanism(wide(query).astype("f4"), *(kept(rows, stored).astype("f4") for rows in (key, value)))
            self.near(mechanism(query, memory=memory), want, given)
            memory.append(key[:, :, :1], value[:, :, :1])
            self.assertEqual(memory.lengths, [8, 8])
            copied = memory.fork()
            memory.truncate([7, 7])
            self.near(mechanism(query, memory=memory), want, given)
            memory.reorder([1, 1, 0])
            self.near(mechanism(query[[1, 1, 0]], memory=memory), want[[1, 1, 0]], given)
            self.assertEqual(copied.lengths, [8, 8])

    def test_what_is_projected_is_kept_in_float32(self):
        params = {"W": drawn(5, 8), "U": drawn(5, 8), "v": drawn(5)}
        mechanism = attn.Mechanism("additive", params=params)
        for given, stored in self.of_each():
            key, value, query = (drawn(1, 2, n, d, dtype=given) for n, d in ((7, 8), (7, 6), (3, 8)))
            memory = attn.Memory.of(mechanism, key, value, dtype=stored)
            want = mechanism(*(array.astype("f4") for array in (wide(query), wide(key), kept(value, stored))))
            self.near(mechanism(query, memory=memory), want, given)

    def test_a_call_runs_over_them(self):
        mechanism = attn.Mechanism()
        for given, stored in self.of_each():
            key, query = drawn(1, 2, 7, 8, dtype=given), drawn(1, 2, 3, 8, dtype=given)
            memory = attn.Memory.of(mechanism, key[:, :, :6], dtype=stored)
            context = np.zeros_like(query)
            call = mechanism.call(query, memory=memory, context=context)
            call.run()
            memory.append(key[:, :, 6:])
            call.run()
            np.testing.assert_array_equal(wide(context), wide(mechanism(query, memory=memory)))

    def test_layers_decode_from_them(self):
        """Keys and values are the words themselves, and so is what a memory keeps of them."""
        unit_matrices = {name: np.eye(8, dtype="f4") for name in ("W_q", "W_k", "W_v", "W_o")}
        layer = attn.MultiHead(8, 2, mechanism=attn.Mechanism(causal="bottom_right"), bias=False, params=unit_matrices)
        for given, stored in self.of_each():
            words = drawn(1, 5, 8, dtype=given)
            heads = wide(words).astype("f4").reshape(1, 5, 2, 4).swapaxes(1, 2)
            memory, known = layer.memory(dtype=stored), layer.memory()
            rows = kept(heads, stored).astype("f4")
            for t in range(5):
                got = layer(words[:, t:t + 1], memory=memory)
                known.append(rows[:, :, t:t + 1], rows[:, :, t:t + 1])
                want = layer(words[:, t:t + 1], memory=known, attend_only=True)
                self.near(got, want, given, roundings=2)
            self.assertGreater(np.abs(wide(got)).max(), 0.1)

    def test_they_refuse_other_types(self):
        mechanism = attn.Mechanism()
        key = drawn(1, 1, 3, 4)
        for given, stored, what in ((key, "f16", "ATTN_F16"), (key, "f64", "ATTN_F64"), (key.astype("f8"), "i8", "ATTN_I8"),
                                    (quantised(key)[0], "i8", "key is ATTN_I8, but the memory is ATTN_I8")):
            with self.subTest(stored, what=what), self.assertRaisesRegex(attn.DTypeError, what):
                attn.Memory.of(mechanism, given, dtype=stored)
        memory = attn.Memory.of(mechanism, narrow(key, np.dtype("f2")))
        with self.assertRaisesRegex(attn.DTypeError, "memory is ATTN_F16, but query is ATTN_F32"):
            mechanism(key, memory=memory)


if __name__ == "__main__":
    unittest.main()
