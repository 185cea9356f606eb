# SPDX-License-Identifier: BSD-3-Clause
"""test_serving.py: what a server asks for: memories that take ragged batches, sequences that join and leave, branches of
guesses that came true, pages; and layers that turn and whose batches are ragged, against each sequence alone. Float64
where nothing is said. Needs NumPy alone."""

import sys
import unittest
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import attn

KEYS, VALUES, DIM, HEADS = 2, 3, 6, 4
OFFSETS = [1, 4, 4, 6, 11]  # the first row is nobody's, and a sequence has none
ROPE = attn.Rope("halves", base=100.0)


def cut(array, offsets, b, axis=-2):
    return array[(slice(None),) * (array.ndim + axis) + (slice(*offsets[b:b + 2]),)]


class Serving(unittest.TestCase):
    def setUp(self):
        random = np.random.default_rng(23)
        self.normal = lambda *shape: random.standard_normal(shape)
        self.rule = attn.Mechanism(causal="bottom_right")

    def same(self, got, want):
        np.testing.assert_allclose(got, want, 1e-12, 1e-12)

    def memory(self, batch, **more):
        return attn.Memory(self.rule, **{"batch": batch, "key_heads": KEYS, "key_dim": DIM, "value_dim": VALUES, "dtype": "f8",
                                         **more})

    def holds(self, memory, keys, values):
        """Each sequence of the memory is these keys and values."""
        self.assertEqual(memory.lengths, [key.shape[-2] for key in keys])
        query = self.normal(len(keys), HEADS, 1, DIM)
        got = self.rule(query, memory=memory)
        for b, (key, value) in enumerate(zip(keys, values)):
            if key.shape[-2]:
                self.same(got[b], self.rule(query[b], key, value))

    # ------------------------------------------------------------------------------------------------- memories

    def test_a_memory_takes_a_ragged_batch(self):
        key, value = self.normal(1, KEYS, 12, DIM), self.normal(1, KEYS, 12, VALUES)
        key[:, :, [0, 11]] = np.nan  # nobody's
        for page in 0, 2:
            with self.subTest(page=page):
                memory = self.memory(4, page=page)
                for offsets in (OFFSETS, np.array(OFFSETS, "i4")):
                    memory.append(key, value, offsets=offsets)
                twice = [[np.concatenate([cut(array[0], OFFSETS, b)] * 2, -2) for b in range(4)] for array in (key, value)]
                self.holds(memory, *twice)
        with self.assertRaisesRegex(attn.ArgumentError, "counts are given, but so are offsets"):
            memory.append(key, value, [1] * 4, offsets=OFFSETS)
        for error, words, offsets in ((attn.ShapeError, "offsets", [0, 3]), (attn.ArgumentError, "offsets", [0, 3, 2, 4, 5]),
                                      (attn.ArgumentError, "offsets", [0, 3, 3, 4, 13]), (attn.DTypeError, "offsets", 3.0),
                                      (attn.DTypeError, "offsets is float64", np.zeros(5))):
            with self.subTest(words, offsets=str(offsets)), self.assertRaisesRegex(error, words):
                memory.append(key, value, offsets=offsets)
            self.assertEqual(memory.lengths, [6, 0, 4, 10])

    def test_a_branch_of_guesses_is_kept(self):
        key, value = self.normal(3, KEYS, 7, DIM), self.normal(3, KEYS, 7, VALUES)
        chosen = [0, 1, 2, 4, 6], [0, 1, 2, 3], [0, 6]
        for page in 0, 2:
            with self.subTest(page=page):
                memory = self.memory(3, page=page)
                memory.append(key, value)
                other = memory.fork()
                memory.keep([3, 4, 1], np.array([4, 6, 6], "i4"), (0, 2, 2, 3))
                self.holds(memory, [key[b][:, chosen[b]] for b in range(3)], [value[b][:, chosen[b]] for b in range(3)])
                self.holds(other, list(key), list(value))
        for words, given in (("positions", ([1, 1, 1], [0, 1], [0, 2, 2, 2])), ("positions", ([1, 1, 1], [2, 2], [0, 2, 2, 2])),
                             ("lengths", ([9, 1, 1], [], [0, 0, 0, 0])), ("offsets", ([1, 1, 1], [1], [0, 1])),
                             ("positions is", ([1, 1, 1], 1.5, [0, 0, 0, 0]))):
            with self.subTest(words), self.assertRaisesRegex(attn.Error, words):
                memory.keep(*given)
            self.assertEqual(memory.lengths, [5, 4, 2])
        turned = self.memory(1, rope=ROPE)
        turned.append(key[:1], value[:1])
        with self.assertRaises(attn.UnsupportedError):
            turned.keep([2], [4], [0, 1])
        turned.keep([2], [2, 3], [0, 2])
        self.assertEqual(turned.lengths, [4])

    def test_sequences_join_and_leave(self):
        key, value = self.normal(2, KEYS, 5, DIM), self.normal(2, KEYS, 5, VALUES)
        for page in 0, 2:
            with self.subTest(page=page):
                memory = self.memory(2, page=page)
                memory.append(key, value, [5, 3])
                memory.reorder([1, -1, 0])
                self.assertEqual(memory.lengths, [3, 0, 5])
                memory.append(key[:1], value[:1], offsets=[0, 1, 5, 5])
                self.holds(memory, [np.concatenate([key[1][:, :3], key[0][:, :1]], 1), key[0][:, 1:], key[0]],
                           [np.concatenate([value[1][:, :3], value[0][:, :1]], 1), value[0][:, 1:], value[0]])
                for nobody in ([], np.zeros(0, "i4")):
                    memory.reorder(nobody)
                    self.assertEqual((memory.batch, memory.lengths), (0, []))
                memory.reorder([-1, -1])
                self.assertEqual(memory.lengths, [0, 0])
                with self.assertRaisesRegex(attn.ArgumentError, "rows"):
                    memory.reorder([-2])

    def test_a_pool_tells_its_pages(self):
        memory = self.memory(1, page=4, capacity=20, fixed=True)
        self.assertEqual(memory.pages, (5, 5))
        memory.append(self.normal(KEYS, 6, DIM), self.normal(KEYS, 6, VALUES))
        self.assertEqual((memory.pages.total, memory.pages.unused), (5, 3))
        other = memory.fork()
        other.append(self.normal(KEYS, 1, DIM), self.normal(KEYS, 1, VALUES))  # into a copy of the second page
        self.assertEqual((memory.pages, other.pages), ((5, 2), (5, 2)))
        other.truncate([0])
        memory.reorder([])
        total, unused = other.pages
        self.assertEqual((total, unused), (5, 5))
        self.assertEqual(self.memory(1).pages, (0, 0))

    # ------------------------------------------------------------------------------------------------- pages by slots

    def test_rows_are_written_into_pages_by_their_slots(self):
        draw = lambda *shape: self.normal(*shape).astype("f4")
        key, value = draw(9, KEYS, DIM), draw(9, KEYS, VALUES)  # as a model has them: positions, then heads
        slots = [7, 3, -1, 11, 0, 5, 4, 2, 10]
        want, rows = np.full((12, KEYS, DIM), 7, "f4"), [i for i, slot in enumerate(slots) if slot >= 0]
        want[[slots[i] for i in rows]] = key[rows]
        pages, values = np.full((3, 4, KEYS, DIM), 7, "f4"), np.full((3, KEYS, 4, VALUES), 7, "f4")
        for form in slots, np.array(slots), np.array(slots, "i4"):
            pages[:] = values[:] = 7
            self.assertIsNone(attn.pages_append(key.swapaxes(0, 1), value.swapaxes(0, 1)[None], pages.swapaxes(1, 2), values, form))
            np.testing.assert_array_equal(pages.reshape(12, KEYS, DIM), want)
            np.testing.assert_array_equal(values.swapaxes(1, 2).reshape(12, KEYS, VALUES)[slots[8]], value[8])
        query, order = draw(1, HEADS, 1, DIM), [7, 3, 11, 0]  # a sequence whose positions are pages of 1
        got = attn.attention(query, pages.reshape(12, KEYS, 1, DIM), page_table=[order], key_lengths=[4])
        np.testing.assert_allclose(got, attn.attention(query, key[[0, 1, 3, 4]].swapaxes(0, 1)[None]), rtol=1e-5, atol=1e-6)
        half = np.zeros((3, KEYS, 4, DIM), "f2")
        attn.pages_append(key.swapaxes(0, 1), None, half, None, slots)
        np.testing.assert_array_equal(half.swapaxes(1, 2).reshape(12, KEYS, DIM)[slots[0]], key[0].astype("f2"))

    def test_pages_may_be_of_8_bits(self):
        key, slots = self.normal(KEYS, 4, DIM).astype("f4"), [5, -1, 1, 2]
        pages, scales = np.zeros((2, KEYS, 3, DIM), "i1"), np.zeros((2, KEYS, 3), "f4")
        attn.pages_append(key, None, pages, None, slots, key_scales=scales)
        there = (pages * scales[..., None]).swapaxes(1, 2).reshape(6, KEYS, DIM)
        for i in 0, 2, 3:
            np.testing.assert_allclose(there[slots[i]], key[:, i], atol=np.abs(key[:, i]).max() / 127)
        self.assertFalse(there[[0, 3, 4]].any())
        values, of_values = np.zeros_like(pages), np.zeros_like(scales)
        attn.pages_append(None, key, None, values, slots, value_scales=of_values)
        np.testing.assert_array_equal(values, pages)
        np.testing.assert_array_equal(of_values, scales)
        with self.assertRaisesRegex(attn.Error, "key_scales"):
            attn.pages_append(key, None, pages, None, slots)

    def test_what_cannot_be_written_is_refused(self):
        key, pages = self.normal(KEYS, 2, DIM), np.full((2, KEYS, 3, DIM), 7.0)
        fixed = pages.copy()
        fixed.flags.writeable = False
        for error, words, given in ((attn.ArgumentError, "slots", {"slots": [0, 6]}), (attn.ArgumentError, "slots", {"slots": [3, 3]}),
                                    (attn.ArgumentError, "slots", {"slots": [-2, 3]}), (attn.ShapeError, "key has shape", {"slots": [1]}),
                                    (attn.DTypeError, "slots is float64", {"slots": np.zeros(2)}),
                                    (attn.ArgumentError, "slots", {"slots": None}),
                                    (attn.ArgumentError, "key_pages", {"key_pages": None}),
                                    (attn.ArgumentError, "key_pages cannot be written", {"key_pages": fixed}),
                                    (attn.ShapeError, "key", {"key_pages": pages[..., 1:]}),
                                    (attn.DTypeError, "engine is", {"engine": 3})):
            with self.subTest(words, given=str(list(given))), self.assertRaisesRegex(error, words):
                attn.pages_append(**{"key": key, "value": None, "key_pages": pages, "value_pages": None, "slots": [0, 5], **given})
            self.assertTrue((pages == 7).all())

    # ------------------------------------------------------------------------------------------------- layers

    def layer(self, causal="bottom_right", **more):
        layer = attn.MultiHead(8, HEADS, mechanism=attn.Mechanism(causal=causal), key_heads=KEYS, head_dim=DIM, **more)
        layer.bind(**{name: self.normal(*shape) for name, shape in layer.param_shapes().items()})
        return layer

    def formula(self, layer, x, positions, key_positions=None, y=None):
        y, p = x if y is None else y, layer.params
        heads = lambda rows, part, n: (rows @ p[f"W_{part}"].T + p[f"b_{part}"]).reshape(*rows.shape[:2], n, DIM).swapaxes(1, 2)
        turn = lambda rows, at: attn.rope(np.ascontiguousarray(rows), layout=ROPE.layout, base=ROPE.base, positions=at)
        q, k = turn(heads(x, "q", HEADS), positions), turn(heads(y, "k", KEYS), positions if key_positions is None else key_positions)
        context = layer.mechanism(q, k, np.ascontiguousarray(heads(y, "v", KEYS)))
        return context.swapaxes(1, 2).reshape(*x.shape[:2], -1) @ p["W_o"].T + p["b_o"]

    def test_a_layer_turns_by_positions(self):
        layer, x, y = self.layer(None, rope=ROPE), self.normal(2, 5, 8), self.normal(2, 7, 8)
        self.same(layer(x), self.formula(layer, x, range(5)))
        for positions in ([3, 1, 4, 1, 5], np.array([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]], "i4")):
            self.same(layer(x, positions=positions), self.formula(layer, x, positions))
        self.same(layer(x, y), self.formula(layer, x, range(5), range(7), y))
        self.same(layer(x, y, query_start=2), self.formula(layer, x, range(2, 7), range(7), y))
        given = {"positions": [5, 4, 3, 2, 1], "key_positions": [8, 1, 7, 2, 6, 3, 5]}
        self.same(layer(x, y, **given), self.formula(layer, x, *given.values(), y))
        for saved in False, True:
            result = layer.forward(x, y, save=True, **given)
            gradients = layer.backward(2 * result.output, x, y, result=result if saved else None, **given)
            for array, gradient in ((x, gradients.query), (y, gradients.key), (layer.params["W_k"], gradients.params["W_k"])):
                way, before = self.normal(*array.shape), array.copy()
                losses = []
                for step in 1e-5, -1e-5:
                    array[...] = before + step * way
                    losses.append((self.formula(layer, x, *given.values(), y)**2).sum())
                    array[...] = before
                want = (losses[0] - losses[1]) / 2e-5
                self.assertAlmostEqual((gradient * way).sum(), want, delta=1e-6 * (1 + abs(want)))
        for error, words, more in ((attn.ShapeError, "positions", {"positions": [1, 2]}),
                                   (attn.DTypeError, "positions is float64", {"positions": np.zeros(5)}),
                                   (attn.Error, "key_positions", {"key_positions": [1, 2, 3, 4, 5]})):
            with self.subTest(words), self.assertRaisesRegex(error, words):
                layer(x, **more)
        with self.assertRaisesRegex(attn.ArgumentError, "dimensions"):
            self.layer(rope=attn.Rope("halves", dimensions=5))
        with self.assertRaisesRegex(attn.DTypeError, "rope is"):
            self.layer(rope="halves")

    def test_a_layer_takes_a_ragged_batch(self):
        """Each sequence is what it is alone, in self-attention and over keys of their own offsets, forward and backward."""
        x, y, keys = self.normal(1, 12, 8), self.normal(1, 9, 8), [0, 2, 5, 8, 9]
        x[:, [0, 11]] = np.nan  # nobody's
        wants = {"return_weights": True, "return_logsumexp": True, "return_scores": "masked", "return_stats": True, "save": True}
        for rope in None, ROPE:
            layer = self.layer(rope=rope)
            for given, of_keys, offsets, longest in (((x,), OFFSETS, {"query_offsets": np.array(OFFSETS, "i4")}, 5),
                                                     ((x, y), keys, {"query_offsets": OFFSETS, "key_offsets": keys}, 3)):
                with self.subTest(rope=rope, inputs=len(given)):
                    got = layer.forward(*given, **offsets, **wants)
                    self.assertEqual((got.output.shape, got.weights.shape), ((1, 12, 8), (1, HEADS, 12, longest)))
                    self.assertEqual(got.stats.key_sums.shape, (1, HEADS, given[-1].shape[1]))
                    self.assertFalse(got.output[:, [0, 11]].any() or got.weights[:, :, [0, 11]].any())
                    self.assertTrue((got.logsumexp[:, :, [0, 11]] == -np.inf).all())
                    d_output = np.where(np.isnan(x), 0, 2 * got.output)
                    results = [layer.backward(d_output, *given, **offsets, result=one) for one in (got, None)]
                    sums = {name: 0 for name in layer.params}
                    for b in range(4):
                        alone = [cut(array, of, b) for array, of in zip(given, (OFFSETS, keys))]
                        if not alone[0].shape[1]:
                            continue
                        there, n = slice(*OFFSETS[b:b + 2]), of_keys[b + 1] - of_keys[b]
                        want = layer.forward(*alone, **wants)
                        self.same(got.output[:, there], want.output)
                        self.same(got.weights[:, :, there, :n], want.weights)
                        self.assertFalse(got.weights[:, :, there, n:].any())
                        self.same(got.scores[:, :, there, :n], want.scores)
                        self.same(got.logsumexp[:, :, there], want.logsumexp)
                        self.same(got.stats.key_sums[:, :, slice(*of_keys[b:b + 2])], want.stats.key_sums)
                        own = layer.backward(d_output[:, there], *alone)
                        for gradients in results:
                            self.same(gradients.query[:, there], own.query)
                            if len(given) > 1:
                                self.same(gradients.key[:, slice(*of_keys[b:b + 2])], own.key)
                        sums = {name: total + own.params[name] for name, total in sums.items()}
                    for gradients in results:
                        self.assertFalse(gradients.query[:, [0, 11]].any())
                        for name, total in sums.items():
                            np.testing.assert_allclose(gradients.params[name], total, 1e-11, 1e-11)
        for words, given in (("query_offsets", {"query_offsets": [0, 3, 2]}), ("query_offsets", {"query_offsets": [0, 13]}),
                             ("key_offsets", {"query_offsets": OFFSETS, "key_offsets": OFFSETS}),
                             ("query_offsets is float64", {"query_offsets": np.zeros(3)})):
            with self.subTest(words), self.assertRaisesRegex(attn.Error, words):
                layer.forward(x, **given, **wants)

    def test_a_layer_serves_a_continuous_batch(self):
        """Prompts in chunks beside words one by one; sequences join and leave; each is what it is alone at once."""
        layer = self.layer(rope=ROPE)
        texts = [self.normal(1, n, 8) for n in (6, 4, 7)]
        whole = [layer(text)[0] for text in texts]
        for page in 0, 2:
            memory, done, rows = layer.memory(dtype="f8", page=page), [0, 0, 0], [0]
            steps = (([0], [3]), ([0, 1], [1, 4]), ([0, 1, 2], [1, 0, 5]), ([2, 0], [2, 1]))
            for now, counts in steps:
                memory.reorder([rows.index(text) if text in rows else -1 for text in now])
                rows, offsets = now, np.cumsum([0, *counts])
                x = np.concatenate([texts[text][:, done[text]:done[text] + n] for text, n in zip(now, counts)], 1)
                got = layer.forward(x, memory=memory, query_offsets=offsets, return_weights=True, return_stats=["key_sums"])
                for b, (text, n) in enumerate(zip(now, counts)):
                    self.same(got.output[0, offsets[b]:offsets[b + 1]], whole[text][done[text]:done[text] + n])
                    done[text] += n
                self.assertEqual(memory.lengths, [done[text] for text in now])
                self.assertEqual(got.weights.shape, (1, HEADS, x.shape[1], max(memory.lengths)))
                self.assertEqual(got.stats.key_sums.shape, (len(now), HEADS, max(memory.lengths)))
                self.same(got.stats.key_sums.sum(-1), np.broadcast_to(np.array(counts)[:, None], (len(now), HEADS)))

    def test_a_layer_follows_a_tree_of_guesses(self):
        """Guesses at two words that follow, each twice: what is kept of them is what the words would have given."""
        layer, text, guesses = self.layer(None, rope=ROPE), self.normal(1, 4, 8), self.normal(1, 4, 8)
        tree = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 1]], bool)  # of 0 follows 2, of 1 follows 3
        memory = layer.memory(dtype="f8")
        for t in range(4):
            layer(text[:, t:t + 1], memory=memory)
        got = layer(guesses, memory=memory, positions=[4, 4, 5, 5], mask=tree, mask_align="bottom_right")
        memory.keep([4], [5, 7], [0, 2])
        again, branch = layer.memory(dtype="f8"), guesses[:, [1, 3]]
        for rows in (text[:, t:t + 1] for t in range(4)):
            layer(rows, memory=again)
        for t in range(2):
            self.same(got[:, 1 + 2 * t], layer(branch[:, t:t + 1], memory=again)[:, 0])
        self.assertEqual(memory.lengths, again.lengths)
        following = self.normal(1, 1, 8)
        self.same(layer(following, memory=memory), layer(following, memory=again))


if __name__ == "__main__":
    unittest.main()
