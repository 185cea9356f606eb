# SPDX-License-Identifier: BSD-3-Clause
"""test_arrays.py: whose arrays are taken, that nothing is copied, that nothing else is held up meanwhile, and what a
refusal is. Needs NumPy alone."""

import sys
import threading
import time
import unittest
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import attn
from attn import _tensors


class Foreign:
    """An array of some other library, which has __dlpack__ and nothing else; from_dlpack below is that library's."""

    def __init__(self, array):
        self.array, self.asked = array, 0

    def __dlpack__(self, *args, **keywords):
        self.asked += 1
        return self.array.__dlpack__(*args, **keywords)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def from_dlpack(array):
    return Foreign(array)


class Arrays(unittest.TestCase):
    def setUp(self):
        random = np.random.default_rng(3)
        self.query, self.key, self.value = (random.standard_normal((2, 3, length, 8)).astype("f4")
                                            for length in (5, 7, 7))

    def test_any_library_with_dlpack(self):
        want = attn.attention(self.query, self.key, self.value, return_weights=True)
        given = [Foreign(array) for array in (self.query, self.key[..., ::-1][..., ::-1], self.value)]
        got = attn.attention(*given, return_weights=True)
        self.assertIsInstance(got.context, Foreign)
        np.testing.assert_array_equal(got.context.array, want.context)
        np.testing.assert_array_equal(got.weights.array, want.weights)
        gradients = attn.attention_grad(got.context, *given)
        self.assertIsInstance(gradients.key, Foreign)

    def test_arrays_of_jax(self):
        try:
            import jax.numpy as jnp
        except ImportError:
            self.skipTest("JAX is missing")
        given = [jnp.asarray(array) for array in (self.query, self.key, self.value)]
        for array in given:
            self.assertEqual(_tensors.array_of(array, "array").__array_interface__["data"][0],
                             array.unsafe_buffer_pointer())
        got = attn.attention(*given)
        self.assertIsInstance(got, jnp.ndarray)
        np.testing.assert_array_equal(np.asarray(got), attn.attention(self.query, self.key, self.value))
        with self.assertRaisesRegex(ValueError, "cannot be written to"):  # JAX's are constant
            attn.attention(*given, out=jnp.zeros_like(got))

    def test_views_point_where_the_arrays_lie(self):
        for array in (self.query, self.query.transpose(0, 2, 1, 3), self.query[:, ::2, ::-1], self.query[0, 0, 0, ::3],
                      np.broadcast_to(self.query[:1], self.query.shape)):
            for given in (array, Foreign(array)) if array.flags.writeable else (array,):
                tensor = _tensors.view(_tensors.array_of(given, "array"), "array")
                self.assertEqual(tensor.data, array.__array_interface__["data"][0])
                self.assertEqual([stride * 4 for stride in tensor.stride[:tensor.ndim]], list(array.strides))
                self.assertEqual(tuple(tensor.shape[:tensor.ndim]), array.shape)

    def test_results_of_a_prepared_call_follow_the_arrays(self):
        context = np.zeros((2, 3, 5, 8), "f4")
        call = attn.Mechanism().call(self.query, self.key, self.value, context=context).reserve()
        for factor in (1, 2, -1):
            self.query *= factor
            call.run()
            np.testing.assert_array_equal(context, attn.attention(self.query, self.key, self.value))

    def test_calls_of_one_shape_share_nothing_but_the_layout(self):
        rule = {"mask": self.query[..., :1] > -9, "return_logsumexp": True}
        first = attn.attention(self.query, self.key, self.value, **rule)
        kept = first.context.copy()
        second = attn.attention(2 * self.query, self.key, self.value, **rule)
        np.testing.assert_array_equal(first.context, kept)
        np.testing.assert_array_equal(second.context, attn.attention(2 * self.query, self.key, self.value))
        before = [sys.getrefcount(array) for array in (self.query, self.key, self.value)]
        attn.attention(self.query, self.key, self.value, key_lengths=[7, 3])
        self.assertEqual([sys.getrefcount(array) for array in (self.query, self.key, self.value)], before)

    def test_draws_are_new_in_a_layout_that_is_old(self):
        drop = lambda seed, offset=0: attn.attention(self.query, self.key, self.value, dropout=0.5, seed=seed,
                                                     offset=offset)
        first = drop(1)
        self.assertFalse(np.array_equal(first, drop(2)))
        self.assertFalse(np.array_equal(first, drop(1, 100)))
        np.testing.assert_array_equal(first, drop(1))

    def test_other_types_are_refused(self):
        for dtype in ("f2", "i4", "i8", "u1", "c8", "O", "?"):
            with self.subTest(dtype), self.assertRaises(TypeError):
                attn.attention(self.query.astype(dtype), self.key, self.value)
        for mask in (np.ones((5, 7), "f4"), np.ones((5, 7), "i4"), [[True]]):
            with self.assertRaises(TypeError):
                attn.attention(self.query, self.key, self.value, mask=mask)
        with self.assertRaises(TypeError):
            attn.attention(self.query, self.key, self.value, bias=np.zeros((5, 7)))
        with self.assertRaises(TypeError):
            attn.attention(self.query, self.key, self.value, key_lengths=np.array([1.0, 2.0]))

    def test_a_refusal_is_of_a_kind(self):
        for kind, builtin, given in ((attn.ShapeError, ValueError, {"key": self.key[..., 1:]}),
                                     (attn.DTypeError, TypeError, {"bias": np.zeros((5, 7))}),
                                     (attn.ArgumentError, ValueError, {"temperature": -1.0}),
                                     (attn.ArgumentError, ValueError, {"params": {"V": self.key}})):
            with self.subTest(kind), self.assertRaises(kind) as caught:
                attn.attention(**{"query": self.query, "key": self.key, "value": self.value, **given})
            self.assertIsInstance(caught.exception, (attn.Error, builtin))
            self.assertTrue(caught.exception.status.startswith("ATTN_ERR_"))
        with self.assertRaises(NotImplementedError):
            attn.attention_grad(self.query, self.query, self.key, self.value, normaliser="hardmax")

    def test_others_go_on_while_it_computes(self):
        query = np.random.default_rng(1).standard_normal((1, 8, 2048, 64)).astype("f4")
        running, steps = threading.Event(), []

        def count():
            while running.is_set():
                steps.append(time.perf_counter())
                time.sleep(0.0005)

        running.set()
        other = threading.Thread(target=count)
        other.start()
        start = time.perf_counter()
        attn.attention(query, query, threads=1)
        end = time.perf_counter()
        running.clear()
        other.join()
        inside = [step for step in steps if start < step < end]
        # Who holds the lock lets nobody else run at all; a machine at its limits may let the other run but seldom.
        self.assertGreater(len(inside), 3, f"in {end - start:.3f} s")


if __name__ == "__main__":
    unittest.main()
