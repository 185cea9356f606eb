# SPDX-License-Identifier: BSD-3-Clause
"""test_ragged.py: ragged batches and masks of the last keys: each sequence is what it is alone, forward, backward and laid
out; offsets of any form; and what of it is refused. Needs NumPy alone."""

import sys
import unittest
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import attn

HEADS, KEY_HEADS, DIM, VALUES = 4, 2, 8, 5
QUERY_OFFSETS, KEY_OFFSETS = (0, 3, 3, 4, 9, 11), (1, 6, 8, 8, 15, 17)  # one without queries, one without keys


def rows(array, offsets, b):
    return array[..., offsets[b]:offsets[b + 1], :]


class Ragged(unittest.TestCase):
    def setUp(self):
        draw = np.random.default_rng(5)
        self.query, self.key, self.value = (draw.standard_normal(shape).astype("f4") for shape in (
            (1, HEADS, 12, DIM), (1, KEY_HEADS, 18, DIM), (1, KEY_HEADS, 18, VALUES)))  # the last rows are nobody's
        self.d_context = draw.standard_normal((1, HEADS, 12, VALUES)).astype("f4")
        self.given = self.query, self.key, self.value
        self.offsets = {"query_offsets": np.array(QUERY_OFFSETS, "i4"), "key_offsets": np.array(KEY_OFFSETS)}

    def alone(self, b, queries=QUERY_OFFSETS, keys=KEY_OFFSETS):
        return rows(self.query, queries, b), rows(self.key, keys, b), rows(self.value, keys, b)

    def test_each_sequence_is_what_it_is_alone(self):
        wants = {"return_weights": True, "return_logsumexp": True, "return_scores": "masked", "return_stats": True}
        for more in ({}, {"causal": "bottom_right"}, {"softcap": 2.0, "window": (1, 1, "top_left")}):
            with self.subTest(**more):
                got = attn.attention(*self.given, **self.offsets, **wants, **more)
                self.assertEqual(got.context.shape, (1, HEADS, 12, VALUES))
                self.assertEqual(got.weights.shape, (1, HEADS, 12, 7))
                self.assertEqual(got.stats.key_sums.shape, (1, HEADS, 18))
                for b in range(5):
                    want, there = attn.attention(*self.alone(b), **wants, **more), slice(*QUERY_OFFSETS[b:b + 2])
                    keys = KEY_OFFSETS[b + 1] - KEY_OFFSETS[b]
                    np.testing.assert_array_equal(got.context[:, :, there], want.context)
                    np.testing.assert_array_equal(got.weights[:, :, there, :keys], want.weights)
                    self.assertFalse(got.weights[:, :, there, keys:].any())
                    np.testing.assert_array_equal(got.scores[:, :, there, :keys], want.scores)
                    self.assertTrue((got.scores[:, :, there, keys:] == -np.inf).all())
                    for name in ("entropy", "strongest"):
                        np.testing.assert_array_equal(getattr(got.stats, name)[:, :, there], getattr(want.stats, name))
                    np.testing.assert_array_equal(got.logsumexp[:, :, there], want.logsumexp)
                    np.testing.assert_array_equal(got.stats.key_sums[:, :, slice(*KEY_OFFSETS[b:b + 2])],
                                                  want.stats.key_sums)

    def test_rows_of_no_sequence_see_no_key(self):
        for _ in range(3):  # the third has memory of the others
            got = attn.attention(*self.given, **self.offsets, return_weights=True, return_logsumexp=True, return_stats=True)
            self.assertFalse(got.context[:, :, 11].any() or got.weights[:, :, 11].any() or got.stats.entropy[:, :, 11].any())
            self.assertTrue((got.logsumexp[:, :, 11] == -np.inf).all() and (got.stats.strongest[:, :, 11] == -1).all())
            got.context[:] = got.weights[:] = got.logsumexp[:] = np.nan
        gradients = attn.attention_grad(self.d_context, *self.given, **self.offsets)
        self.assertFalse(gradients.query[:, :, 11].any())
        self.assertFalse(gradients.key[:, :, [0, 17]].any() or gradients.value[:, :, [0, 17]].any())

    def test_gradients_are_those_of_each_alone(self):
        bias = np.random.default_rng(6).standard_normal((12, 7)).astype("f4")
        got = attn.attention_grad(self.d_context, *self.given, **self.offsets, bias=bias, causal="top_left")
        rule = attn.Mechanism(causal="top_left")
        again = rule.backward(self.d_context, *self.given, **self.offsets, bias=bias)
        for b in range(5):
            q, k = slice(*QUERY_OFFSETS[b:b + 2]), slice(*KEY_OFFSETS[b:b + 2])
            want = rule.backward(self.d_context[:, :, q], *self.alone(b), bias=bias[q, :k.stop - k.start])
            for one in (got, again):
                np.testing.assert_array_equal(one.query[:, :, q], want.query)
                np.testing.assert_array_equal(one.key[:, :, k], want.key)
                np.testing.assert_array_equal(one.value[:, :, k], want.value)
                np.testing.assert_array_equal(one.bias[q, :k.stop - k.start], want.bias)

    def test_offsets_may_have_any_form(self):
        want = attn.attention(*self.given, **self.offsets)
        for queries in (list(QUERY_OFFSETS), np.repeat(np.array(QUERY_OFFSETS), 2)[::2],
                        np.array(QUERY_OFFSETS[::-1], "i4")[::-1]):
            got = attn.attention(*self.given, query_offsets=queries, key_offsets=tuple(KEY_OFFSETS))
            np.testing.assert_array_equal(got, want)
        strided = np.ascontiguousarray(self.query.swapaxes(1, 2)).swapaxes(1, 2)  # as a model has them: rows, then heads
        np.testing.assert_array_equal(attn.attention(strided, *self.given[1:], **self.offsets), want)
        one_head = attn.attention(*(array[0, 0] for array in self.given), **self.offsets)
        self.assertEqual(one_head.shape, (12, VALUES))
        np.testing.assert_array_equal(one_head, want[0, 0])

    def test_another_call_has_other_offsets(self):
        """What was laid out for the first call has other shapes."""
        for queries, keys in (QUERY_OFFSETS, KEY_OFFSETS), ((0, 1, 5, 6, 6, 12), (0, 2, 3, 7, 9, 10)), ((2, 3), (0, 18)):
            got = attn.attention(*self.given, query_offsets=queries, key_offsets=keys, return_weights=True)
            for b in range(len(queries) - 1):
                want = attn.attention(*self.alone(b, queries, keys), return_weights=True)
                np.testing.assert_array_equal(rows(got.context, queries, b), want.context)
                np.testing.assert_array_equal(rows(got.weights, queries, b)[..., :keys[b + 1] - keys[b]], want.weights)

    def test_one_side_may_be_padded(self):
        padded = np.random.default_rng(8).standard_normal((5, KEY_HEADS, 6, DIM)).astype("f4")
        lengths = [6, 2, 0, 3, 1]
        got = attn.attention(self.query, padded, query_offsets=QUERY_OFFSETS, key_lengths=lengths, return_weights=True,
                             return_stats=["key_sums"])
        self.assertEqual(got.weights.shape, (1, HEADS, 12, 6))
        self.assertEqual(got.stats.key_sums.shape, (5, HEADS, 6))
        for b, length in enumerate(lengths):
            want = attn.attention(rows(self.query, QUERY_OFFSETS, b), padded[b:b + 1], key_lengths=[length],
                                  return_weights=True, return_stats=["key_sums"])
            np.testing.assert_array_equal(rows(got.context, QUERY_OFFSETS, b), want.context)
            np.testing.assert_array_equal(got.stats.key_sums[b], want.stats.key_sums[0])
        query = np.random.default_rng(9).standard_normal((5, HEADS, 2, DIM)).astype("f4")
        got = attn.attention(query, self.key, key_offsets=KEY_OFFSETS)
        self.assertEqual(got.shape, (5, HEADS, 2, DIM))
        np.testing.assert_array_equal(got[3:4], attn.attention(query[3:4], rows(self.key, KEY_OFFSETS, 3)))

    def test_a_memory_has_ragged_queries(self):
        rule = attn.Mechanism(causal="bottom_right")
        memory = attn.Memory(rule, batch=3, key_heads=KEY_HEADS, key_dim=DIM, value_dim=DIM)
        steps = np.random.default_rng(10).standard_normal((3, KEY_HEADS, 6, DIM)).astype("f4")
        memory.append(steps, steps, [6, 2, 4])
        got, offsets = rule(self.query, memory=memory, query_offsets=[0, 4, 5, 8]), (0, 4, 5, 8)
        for b, length in enumerate((6, 2, 4)):
            want = rule(rows(self.query, offsets, b), steps[b:b + 1, :, :length])
            np.testing.assert_allclose(rows(got, offsets, b), want, atol=3e-6)

    def test_a_call_that_is_laid_out_reads_its_offsets_anew(self):
        context = np.zeros((1, HEADS, 12, VALUES), "f4")
        call = attn.Mechanism().call(*self.given, **self.offsets, context=context)
        call.run()
        np.testing.assert_array_equal(context, attn.attention(*self.given, **self.offsets))
        self.offsets["query_offsets"][:], self.offsets["key_offsets"][:] = (0, 0, 5, 6, 6, 12), (0, 6, 7, 7, 8, 18)
        call.run()
        np.testing.assert_array_equal(context, attn.attention(*self.given, **self.offsets))

    def test_a_mask_may_be_of_the_last_keys(self):
        """Guesses that follow the same keys: each sees itself and those that it follows."""
        tree = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 1]], bool)
        query, whole = self.query[:, :, :3], np.ones((3, 18), bool)
        whole[:, -3:] = tree
        got = attn.attention(query, *self.given[1:], mask=tree, mask_align="bottom_right", return_weights=True)
        want = attn.attention(query, *self.given[1:], mask=whole, return_weights=True)
        np.testing.assert_array_equal(got.weights, want.weights)
        d_context = self.d_context[:, :, :3]
        np.testing.assert_array_equal(
            attn.attention_grad(d_context, query, *self.given[1:], mask=tree, mask_align="bottom_right").key,
            attn.attention_grad(d_context, query, *self.given[1:], mask=whole).key)
        with self.assertRaisesRegex(attn.ShapeError, "mask"):
            attn.attention(query, *self.given[1:], mask=tree)

    def test_keys_and_values_may_be_in_pages(self):
        draw = np.random.default_rng(12)
        query, key, value = (draw.standard_normal(shape).astype("f4") for shape in (
            (2, HEADS, 3, DIM), (6, KEY_HEADS, 5, DIM), (6, KEY_HEADS, 5, VALUES)))  # 6 pages of 5 positions
        table, lengths = np.array([[4, 1, 5], [0, 1, 2]]), [12, 6]  # the second of each is the same
        wants = {"return_weights": True, "return_stats": True}
        got = attn.attention(query, key, value, page_table=table, key_lengths=lengths, **wants)
        self.assertEqual((got.context.shape, got.weights.shape), ((2, HEADS, 3, VALUES), (2, HEADS, 3, 12)))
        for b, length in enumerate(lengths):
            own = [np.concatenate(list(pages[table[b]]), 1)[None, :, :length] for pages in (key, value)]
            want = attn.attention(query[b:b + 1], *own, **wants)
            for one, other in ((got.context[b], want.context[0]), (got.weights[b, :, :, :length], want.weights[0]),
                               (got.stats.key_sums[b, :, :length], want.stats.key_sums[0])):
                np.testing.assert_allclose(one, other, atol=3e-6)
        packed = {"page_table": np.array([4, 1, 5, 0, 1], "i4"), "page_offsets": [0, 3, 5], "key_lengths": lengths}
        np.testing.assert_allclose(attn.attention(query, key, value, **packed), got.context, atol=3e-6)
        ragged = query.swapaxes(0, 1).reshape(1, HEADS, 6, DIM)
        np.testing.assert_allclose(attn.attention(ragged, key, value, **packed, query_offsets=[0, 3, 6])[0],
                                   got.context.swapaxes(0, 1).reshape(HEADS, 6, VALUES), atol=3e-6)
        context, rule = np.zeros_like(got.context), attn.Mechanism()
        call = rule.call(query, key, value, page_table=table, key_lengths=np.array(lengths), context=context)
        for _ in range(2):
            call.run()
            np.testing.assert_allclose(context, rule(query, key, value, page_table=table, key_lengths=lengths), atol=3e-6)
            table[:] = [[0, 2, 3], [5, 5, 9]]  # of which the last is not needed
        for wrong, words in (({"page_table": table + 4}, "pages"), ({"key_lengths": None}, "key_lengths is NULL"),
                             ({"key_lengths": [16, 6]}, "16"), ({"page_table": table.astype("f4")}, "page_table is float32"),
                             ({"page_table": None, "page_offsets": [0, 3, 5]}, "page")):
            with self.subTest(words), self.assertRaisesRegex(attn.Error, words):
                attn.attention(query, key, value, **{"page_table": table, "key_lengths": lengths, **wrong})

    def test_what_is_wrong_is_refused(self):
        wrong = [(attn.ArgumentError, r"query_offsets\[2\] is 2, less than", {"query_offsets": [0, 3, 2, 4, 9, 11]}),
                 (attn.ArgumentError, "ends with 13", {"query_offsets": [0, 3, 3, 4, 9, 13]}),
                 (attn.ArgumentError, "query_offsets", {"query_offsets": [-1, 3, 3, 4, 9, 11]}),
                 (attn.ArgumentError, "key_offsets", {"key_offsets": [0, 6, 8, 8, 15, 1 << 62]}),
                 (attn.ArgumentError, "key_offsets", {"key_offsets": [-(1 << 63), 6, 8, 8, 15, 17]}),
                 (attn.ShapeError, "key_offsets has 6", {"query_offsets": [0, 3]}),
                 (attn.ShapeError, "query_offsets", {"query_offsets": []}),
                 (attn.ShapeError, "query_offsets", {"query_offsets": [[0, 3, 3], [4, 9, 11]]}),
                 (attn.DTypeError, "query_offsets", {"query_offsets": np.arange(6.0)}),
                 (attn.DTypeError, "query_offsets", {"query_offsets": 6}),
                 (attn.ShapeError, "batch", {"key_offsets": None}),
                 (attn.ArgumentError, "mask_align", {"mask_align": "bottom_right"}),
                 (attn.ArgumentError, "mask_align is 'top_left'", {"mask_align": "top_left", "mask": np.ones((1, 1), bool)}),
                 (attn.ArgumentError, "mask_align is", {"mask_align": ["bottom_right"], "mask": np.ones((1, 1), bool)})]
        for error, words, given in wrong:
            for more in ({}, {"return_weights": True, "return_stats": True}):
                with self.subTest(words, **more), self.assertRaisesRegex(error, words):
                    attn.attention(*self.given, **{**self.offsets, **given}, **more)
        with self.assertRaisesRegex(attn.ArgumentError, "query_offsets"):
            attn.attention_grad(self.d_context, *self.given, query_offsets=[0, 3, 2], key_offsets=[0, 1, 2])


if __name__ == "__main__":
    unittest.main()
