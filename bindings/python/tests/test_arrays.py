# SPDX-License-Identifier: BSD-3-Clause
"""test_arrays.py: whose arrays are taken, that nothing is copied, that nothing else is held up meanwhile, and what a
refusal is. Needs NumPy alone."""

import os
import subprocess
import sys
import threading
import time
import unittest
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import attn
from attn import _run, _tensors


def halves(*given, **named):
    """rope(), in the layout that most weights have."""
    return attn.rope(*given, layout="halves", **named)


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
            import jax
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
        for traced in (jax.jit(attn.attention), jax.vmap(attn.attention),
                       jax.grad(lambda *arrays: attn.attention(*arrays).sum())):
            with self.assertRaisesRegex(attn.DTypeError, "which JAX traces"):
                traced(*given)
        with self.assertRaisesRegex(attn.DTypeError, r"of int4.*\.astype\(\)"):
            attn.attention(given[0].astype("int4"), *given[1:])
        halved = attn.attention(*(array.astype("bfloat16") for array in given))
        self.assertEqual(halved.dtype, jnp.bfloat16)
        np.testing.assert_allclose(np.asarray(halved.astype("f4")), np.asarray(got), atol=0.03)
        result = attn.attention(*given, return_logsumexp=True)
        self.assertIsInstance(attn.attention_grad(got, *given, result=result).query, jnp.ndarray)

        @jax.jit
        def through_a_callback(*arrays):
            return jax.pure_callback(lambda *given: attn.attention(*map(np.asarray, given)),
                                     jax.ShapeDtypeStruct(arrays[0].shape, arrays[0].dtype), *arrays)

        np.testing.assert_array_equal(np.asarray(through_a_callback(*given)), np.asarray(got))

    def test_views_point_where_the_arrays_lie(self):
        for array in (self.query, self.query.transpose(0, 2, 1, 3), self.query[:, ::2, ::-1], self.query[0, 0, 0, ::3],
                      np.broadcast_to(self.query[:1], self.query.shape)):
            for given in (array, Foreign(array)) if array.flags.writeable else (array,):
                tensor = _tensors.view(_tensors.array_of(given, "array"), "array")
                self.assertEqual(tensor.data, array.__array_interface__["data"][0])
                self.assertEqual([stride * 4 for stride in tensor.stride[:tensor.ndim]], list(array.strides))
                self.assertEqual(tuple(tensor.shape[:tensor.ndim]), array.shape)

    def test_addresses_are_read_from_what_is_still_there(self):
        program = """
import numpy as np
import attn
from attn import _tensors
for array in (np.eye(3), np.eye(3)[1:, ::-1], np.zeros((0, 3))):
    assert _tensors._address_by_protocol(array) == _tensors.address(array) == array.ctypes.data
np.testing.assert_allclose(attn.attention(np.zeros((1, 2)), np.eye(2)), [[0.5, 0.5]])"""
        where = str(Path(attn.__file__).resolve().parents[1])
        done = subprocess.run([sys.executable, "-c", program], check=False, text=True, stderr=subprocess.PIPE,
                              env={**os.environ, "PYTHONMALLOC": "debug", "PYTHONPATH": where})
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_the_way_by_the_protocol_is_the_way_by_the_object(self):
        plain = attn.attention(self.query, self.key, self.value)
        weighed = attn.attention(self.query, self.key, self.value, return_weights=True)
        for name, value in (("IN_OBJECT", False), ("address", _tensors._address_by_protocol)):
            self.addCleanup(setattr, _run, name, getattr(_run, name))
            setattr(_run, name, value)
        mechanism = attn.Mechanism()
        for _ in range(2):
            np.testing.assert_array_equal(mechanism(self.query, self.key, self.value), plain)
            got = mechanism(self.query, self.key, self.value, return_weights=True)
            np.testing.assert_array_equal(got.weights, weighed.weights)

    def test_what_a_list_is_made_into_lives_until_it_was_read(self):
        ones, many = np.ones((1, 50000, 2)), list(range(50000))  # so many that freed memory is the system's again
        np.testing.assert_array_equal(halves(ones, positions=many), halves(ones))
        mechanism, query, keys = attn.Mechanism(), np.ones((50000, 1, 1, 2)), np.ones((50000, 1, 2, 2))
        lengths = [1] * 50000
        context = np.empty_like(query)
        mechanism.call(query, keys, key_lengths=lengths, context=context).run()
        np.testing.assert_array_equal(context, query)
        np.testing.assert_array_equal(mechanism(query, keys, key_lengths=lengths), query)
        memory = attn.Memory(mechanism, batch=50000, key_dim=2, dtype="f8")
        memory.append(keys, counts=lengths)
        memory.truncate(lengths)
        memory.reorder(many)
        self.assertEqual(memory.lengths, lengths)

    def test_what_another_library_hands_out_once_lives_until_it_was_read(self):
        class Lent(Foreign):
            """Its numbers are where they are for as long as somebody has what __dlpack__ gave."""

            def __dlpack__(self, *args, **keywords):
                return self.array.copy().__dlpack__(*args, **keywords)

        big = np.random.default_rng(0).standard_normal((4, 500, 100))
        weight = big[0, :3].repeat(2, 1)
        output = attn.attentional(weight, big, big)
        for function, given in ((halves, (big,)), (attn.decomposable, (big, big)), (attn.attentional, (weight, big, big)),
                                (attn.attentional_grad, (output, output, weight, big, big)), (attn.attention, (big, big, big)),
                                (attn.decomposable_grad, (big, big, big, big)), (attn.attention_grad, (big, big, big, big))):
            got, want = function(*map(Lent, given)), function(*given)
            for mine, theirs in zip(got, want) if isinstance(got, tuple) else ((got, want),):
                if isinstance(theirs, np.ndarray):
                    np.testing.assert_array_equal(mine.array, theirs)

    def odd(self, array):
        """The same numbers with strides along dimensions of size 1 that are no multiples of anything."""
        strides = [stride if length > 1 else 3 for length, stride in zip(array.shape, array.strides)]
        return np.ndarray(array.shape, array.dtype, array, 0, strides)

    def test_steps_that_nobody_takes_may_be_of_any_size(self):
        query, key, value = self.query[:1, :1, :1], self.key[:1, :1], self.value[:1, :, :, :1].copy()[:, :1]
        want = attn.Mechanism()(query, key, value)
        for given in ((self.odd(query), key, value), (query, self.odd(key), value), (query, key, self.odd(value))):
            np.testing.assert_array_equal(attn.Mechanism()(*given), want)
        mechanism, out = attn.Mechanism(), np.empty_like(want)
        mechanism(query, key, value)
        np.testing.assert_array_equal(mechanism(self.odd(query), self.odd(key), self.odd(value), out=self.odd(out)), want)
        rule = {"bias": np.full((1, 7), 0.5, "f4"), "mask": np.ones((1, 7), bool), "key_lengths": np.array([5])}
        odd = {name: self.odd(array) for name, array in rule.items()}
        np.testing.assert_array_equal(attn.attention(query, key, value, **odd), attn.attention(query, key, value, **rule))
        record = np.zeros(1, [("row", "f4", 8), ("pad", "u1")])
        record["row"] = query[0, 0]
        self.assertEqual(record["row"].shape, (1, 8))
        np.testing.assert_array_equal(attn.attention(record["row"], key[0, 0], value[0, 0]), want[0, 0])
        np.testing.assert_array_equal(halves(self.odd(query), first=3), halves(query, first=3))

    def test_an_empty_array_has_neither_steps_nor_a_place(self):
        empty = np.ndarray((0, 8), "f4", np.zeros(100, np.uint8), 1, (3, 5))
        key, value = self.key[0, 0], self.value[0, 0]
        for _ in range(2):
            self.assertEqual(attn.attention(empty, key, value).shape, (0, 8))
            np.testing.assert_array_equal(attn.attention(key, empty, empty), np.zeros((7, 8)))

    def test_strides_within_an_element_are_refused(self):
        split = np.zeros((5, 8), "u1,f4")["f1"]
        with self.assertRaisesRegex(attn.ShapeError, r"query has strides of \(40, 5\) bytes.*array\.copy\(\)"):
            attn.attention(split, self.key[0, 0], self.value[0, 0])

    def test_arrays_of_other_kinds_are_arrays(self):
        query, key, value = self.query[0, 0], self.key[0, 0], self.value[0, 0]
        want = attn.attention(query, key, value, return_weights=True, return_logsumexp=True)
        kind = type("Kind", (np.ndarray,), {"__getitem__": None, "reshape": None})
        for turn in (lambda array: array.view(np.matrix), lambda array: array.view(kind)):
            got = attn.attention(*map(turn, (query, key, value)), return_weights=True, return_logsumexp=True)
            for mine, theirs in zip(got, want):
                self.assertIs(type(mine), np.ndarray) if mine is not None else None
                np.testing.assert_array_equal(mine, theirs)
            gradients = attn.attention_grad(*map(turn, (want.context, query, key, value)))
            np.testing.assert_array_equal(gradients.key, attn.attention_grad(want.context, query, key, value).key)
        inherits = type("Inherits", (Foreign,), {"__module__": "somewhere"})
        self.assertIsInstance(attn.attention(inherits(query), key, value), Foreign)

    def test_results_that_cannot_be_written_have_gradients(self):
        result = attn.attention(self.query, self.key, self.value, return_logsumexp="exact")
        for array in result[:1] + result[2:3]:
            array.flags.writeable = False
        got = attn.attention_grad(self.value[:, :, :5], self.query, self.key, self.value, result=result)
        want = attn.attention_grad(self.value[:, :, :5], self.query, self.key, self.value)
        np.testing.assert_array_equal(got.query, want.query)

    def test_results_of_a_prepared_call_follow_the_arrays(self):
        context, lengths = np.zeros((2, 3, 5, 8), "f4"), np.array([7, 5], "i4")
        mechanism = attn.Mechanism()
        call = mechanism.call(self.query, self.key, self.value, key_lengths=lengths, context=context)

        def runs_as_forward():
            call.run()
            np.testing.assert_array_equal(context, mechanism(self.query, self.key, self.value, key_lengths=lengths))

        for factor in (1, 2, -1):
            self.query *= factor
            runs_as_forward()
        for lengths[0] in (0, 3, 7):
            runs_as_forward()
            self.assertEqual(context[0].any(), lengths[0] > 0)
        lengths[0] = 8
        with self.assertRaisesRegex(attn.ArgumentError, r"key_lengths\[0\] is 8"):
            call.run()
        lengths[0] = 7
        runs_as_forward()
        mechanism.set_scale(0.25)
        mechanism.set_causal("bottom_right")
        runs_as_forward()

    def test_results_of_a_prepared_call_have_the_bits_of_one_that_is_not(self):
        bias = self.query[..., :1] + np.zeros(7, "f4")
        rule = {"mask": bias > -1, "bias": bias, "dropout": 0.25, "seed": 3, "query_start": 2}
        want = attn.attention(self.query, self.key, self.value, **rule, return_weights=True, return_logsumexp="exact",
                              return_scores="masked", return_stats=True)
        got = {name: np.empty_like(array) for name, array in (*want._asdict().items(), *want.stats._asdict().items())
               if name != "stats"}
        for call in (attn.Mechanism().call(self.query, self.key, self.value, **rule, stage="masked", **got).reserve(),
                     attn.Mechanism().call(self.query, self.key, self.value, **rule, stage="masked", **got)):
            for array in got.values():
                array.fill(9)
            call.run()
            for name, array in got.items():
                np.testing.assert_array_equal(array, getattr(want.stats if name in want.stats._fields else want, name))

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
        try:
            start = time.perf_counter()
            attn.attention(query, query, threads=1)
            end = time.perf_counter()
        finally:
            running.clear()
            other.join()
        inside = [step for step in steps if start < step < end]
        # Who holds the lock lets nobody else run at all; a machine at its limits may let the other run but seldom.
        self.assertGreater(len(inside), 3, f"in {end - start:.3f} s")


if __name__ == "__main__":
    unittest.main()
