# SPDX-License-Identifier: BSD-3-Clause
"""test_dtypes.py: arrays of float16 and bfloat16, NumPy's, ml_dtypes's and those of other libraries; what comes back, how
exact it is, and what is refused. Needs NumPy alone; what needs ml_dtypes is skipped without it."""

import copy
import functools
import os
import pickle
import subprocess
import sys
import unittest
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import attn
from attn import _dlpack, _dtypes, _tensors

try:
    import ml_dtypes
except ImportError:
    ml_dtypes = None

FOREIGN = () if ml_dtypes is None else (np.dtype(ml_dtypes.bfloat16),)
KINDS = (np.dtype("f2"), attn.bfloat16, *FOREIGN)
DRAW = np.random.default_rng(7)


def is_bfloat16(dtype):
    return dtype != np.dtype("f2")


def narrow(array, dtype):
    """The nearest numbers of 16 bits, of two the even one."""
    if not is_bfloat16(dtype):
        return array.astype(dtype)
    bits = array.astype("f4").view("u4").astype("u8")
    return ((bits + 0x7fff + (bits >> 16 & 1)) >> 16).astype("u2").view(dtype)


def wide(array):
    """The same numbers in float64."""
    if array.dtype.kind == "f":
        return array.astype("f8")
    return (array.view("u2").astype("u4") << 16).view("f4").astype("f8")


def unit(dtype):
    """By what part of itself a number is off when it is rounded, at most."""
    return 2.0**-8 if is_bfloat16(dtype) else 2.0**-11


def drawn(*shape, dtype):
    return narrow(DRAW.standard_normal(shape), dtype)


class Foreign:
    """An array of some other library, which has bfloat16 and __dlpack__; old ones have it without keywords."""

    def __init__(self, array, old=False):
        self.array, self.old = array, old

    def __dlpack__(self, *given, **named):
        return self.array.__dlpack__(*(() if self.old else given), **({} if self.old else named))

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def from_dlpack(array):
    return Foreign(array)


def read(foreign):
    """What it holds, as this module's bfloat16."""
    return _tensors.array_of(foreign, "foreign")


def of_each(test):
    """A test of each type."""

    @functools.wraps(test)
    def tests(self):
        for dtype in KINDS:
            with self.subTest(dtype=dtype.name):
                test(self, dtype)

    return tests


class Halves(unittest.TestCase):
    def is_rounded_once(self, got, want, dtype):
        """got, of 16 bits, is want but for its last rounding and those of float32."""
        off = np.abs(wide(got) - want)
        self.assertTrue((off <= unit(dtype) * np.abs(want) + 2.0**-17 * (1 + np.abs(want).max(initial=0))).all(), off.max())

    def inputs(self, dtype):
        return drawn(2, 4, 5, 8, dtype=dtype), drawn(2, 2, 7, 8, dtype=dtype), drawn(2, 2, 7, 6, dtype=dtype)


class Calls(Halves):
    @of_each
    def test_the_context_is_of_the_calls_type_and_the_rest_float32(self, dtype):
        given, bias = self.inputs(dtype), drawn(4, 1, 7, dtype=dtype)
        rule = {"mask": DRAW.random((5, 7)) < 0.8, "key_lengths": [7, 4], "causal": "bottom_right", "softcap": 5.0}
        more = {"return_weights": True, "return_logsumexp": True, "return_scores": "masked", "return_stats": True}
        got = attn.attention(*given, bias=bias, **rule, **more)
        want = attn.attention(*map(wide, given), bias=wide(bias), **rule, **more)
        self.assertEqual(got.context.dtype, dtype)
        self.is_rounded_once(got.context, want.context, dtype)
        for mine, theirs in ((got.weights, want.weights), (got.logsumexp, want.logsumexp), (got.scores, want.scores),
                             (got.stats.entropy, want.stats.entropy), (got.stats.key_sums, want.stats.key_sums)):
            self.assertEqual(mine.dtype, np.float32)
            np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(got.stats.strongest, want.stats.strongest)
        exact = attn.attention(*given, bias=bias, **rule, return_logsumexp="exact")
        self.assertEqual(exact.logsumexp.dtype, np.float64)

    @of_each
    def test_gradients_are_of_the_type_of_what_they_are_of(self, dtype):
        given = dict(zip(("query", "key", "value"), self.inputs(dtype)), bias=drawn(4, 1, 7, dtype=dtype))
        slopes, table = (DRAW.standard_normal(shape).astype("f4") for shape in ((4,), (4, 5)))
        d_context, d_weights = drawn(2, 4, 5, 6, dtype=dtype), DRAW.standard_normal((2, 4, 5, 7)).astype("f4")
        params = {"W": DRAW.standard_normal((8, 8)).astype("f4")}

        def gradients(of, beside):
            distances = {"alibi": (beside(slopes), "top_left"), "relative": (beside(table), "clipped", 2, "top_left")}
            return attn.attention_grad(of(d_context), **{name: of(array) for name, array in given.items()},
                                       d_weights=beside(d_weights), score="general", scale=0.1, **distances,
                                       params={name: beside(array) for name, array in params.items()})

        got, want = gradients(lambda x: x, lambda x: x), gradients(wide, lambda x: x.astype("f8"))
        for name in ("query", "key", "value", "bias"):
            mine, theirs = getattr(got, name), getattr(want, name)
            self.assertEqual(mine.dtype, dtype)
            self.is_rounded_once(mine, theirs, dtype)
        for mine, theirs in ((got.alibi, want.alibi), (got.relative, want.relative), (got.params["W"], want.params["W"])):
            self.assertEqual(mine.dtype, np.float32)
            np.testing.assert_allclose(mine, theirs, rtol=0, atol=2.0**-17 * (1 + np.abs(theirs).max()))

    @of_each
    def test_parameters_are_float32_or_of_the_same_type(self, dtype):
        shapes = {"additive": {"W": (3, 8), "U": (3, 8), "v": (3,)}, "concat": {"W": (3, 16), "v": (3,)},
                  "general": {"W": (8, 8)}, "location": {"W": (9, 8)}}
        given = self.inputs(dtype)
        for score, params in shapes.items():
            params = {name: DRAW.standard_normal(shape).astype("f4") for name, shape in params.items()}
            got = attn.attention(*given, score=score, params=params)
            want = attn.attention(*map(wide, given), score=score,
                                  params={name: array.astype("f8") for name, array in params.items()})
            self.is_rounded_once(got, want, dtype)
            for name in params:
                narrowed = {**params, name: narrow(params[name], dtype)}
                widened = {**params, name: wide(narrowed[name]).astype("f4")}
                np.testing.assert_array_equal(wide(attn.attention(*given, score=score, params=narrowed)),
                                              wide(attn.attention(*given, score=score, params=widened)))
                with self.assertRaisesRegex(attn.DTypeError, name):
                    attn.attention(*given, score=score, params={**params, name: params[name].astype("f8")})

    @of_each
    def test_any_strides_are_walked_and_nothing_is_copied(self, dtype):
        query, key, value = self.inputs(dtype)
        plain = lambda *given: attn.attention(*(np.ascontiguousarray(array.view("u2")).view(dtype) for array in given))
        for given in ((query[..., ::-1], key[..., ::-1], value[..., ::-1]),
                      (query[:, :, ::-2], key[:, :, 1:], value[:, :, 1:]),
                      (query.transpose(0, 2, 1, 3)[:, :4], key[:, :, :4, :], value[:, :, :4, ::3]),
                      (np.broadcast_to(query[:1], query.shape), key, value), (query[0, 0], key[0, 0], value[0, 0]),
                      (query[0, 0, 0], key[0, 0], value[0, 0])):
            np.testing.assert_array_equal(wide(attn.attention(*given)), wide(plain(*given)))
            for array in given:
                tensor = _tensors.view(array, "array")
                self.assertEqual((tensor.data, [2 * stride for stride in tensor.stride[:array.ndim]]),
                                 (array.__array_interface__["data"][0], list(array.strides)))
        gradient = attn.attention_grad(query[..., :6], query.swapaxes(0, 1).copy().swapaxes(0, 1), key, value).query
        self.assertEqual(np.argsort(gradient.strides).tolist(), [3, 2, 0, 1])  # laid as the query

    @of_each
    def test_arrays_without_elements(self, dtype):
        query, key, value = self.inputs(dtype)
        self.assertEqual(attn.attention(query[:, :, :0], key, value).shape, (2, 4, 0, 6))
        nothing = attn.attention(query, key[:, :, :0], value[:, :, :0], return_logsumexp=True)
        self.assertFalse(wide(nothing.context).any())
        self.assertTrue((nothing.logsumexp == -np.inf).all())
        self.assertFalse(wide(attn.attention_grad(nothing.context, query, key[:, :, :0], value[:, :, :0]).query).any())
        self.assertEqual(attn.attention(query, key, value[..., :0]).dtype, dtype)

    @of_each
    def test_they_are_written_where_they_are_to_be(self, dtype):
        given = self.inputs(dtype)
        want = attn.attention(*given)
        out = drawn(2, 5, 6, 4, dtype=dtype).transpose(0, 3, 1, 2)[..., ::-1]
        self.assertIs(attn.attention(*given, out=out), out)
        np.testing.assert_array_equal(wide(out), wide(want))
        exact = np.empty((2, 4, 5, 6), "f4")
        attn.attention(*given, out=exact)
        np.testing.assert_array_equal(wide(narrow(exact, dtype)), wide(want))
        for other in (np.dtype("f8"), np.dtype("f2") if is_bfloat16(dtype) else attn.bfloat16):
            room = np.ones((2, 4, 5, 6)) if other == np.float64 else narrow(np.ones((2, 4, 5, 6)), other)
            with self.assertRaisesRegex(attn.DTypeError, "context is ATTN_"):
                attn.attention(*given, out=room)
            self.assertTrue((wide(room) == 1).all())

    @of_each
    def test_gradients_of_great_scores_are_exact_from_a_context_that_is(self, dtype):
        """As attention_grad() makes it, if it is given no result; from one that was rounded they need not be."""
        query, key, d_context = (narrow(8 * DRAW.standard_normal((2, 3, 40, 16)), dtype) for _ in range(3))
        want = attn.attention_grad(*map(wide, (d_context, query, key))).query
        far = lambda result: np.linalg.norm(wide(attn.attention_grad(
            d_context, query, key, result=result, wanted=["query"]).query) - want) / np.linalg.norm(want)
        exact = np.empty((2, 3, 40, 16), "f4")
        for result in (None, attn.attention(query, key, return_logsumexp="exact", out=exact)):
            self.assertLess(far(result), unit(dtype) / 2)

    @of_each
    def test_a_prepared_call_and_its_gradient(self, dtype):
        query, key, value = self.inputs(dtype)
        context, logsumexp = narrow(np.zeros((2, 4, 5, 6)), dtype), np.empty((2, 4, 5))
        weights, entropy = np.empty((2, 4, 5, 7), "f4"), np.empty((2, 4, 5), "f4")
        mechanism = attn.Mechanism(causal="bottom_right")
        call = mechanism.call(query, key, value, context=context, logsumexp=logsumexp, weights=weights, entropy=entropy)
        made = {f"d_{name}": narrow(np.zeros(array.shape), dtype)
                for name, array in (("query", query), ("key", key), ("value", value))}
        gradient = attn.Gradient(call, d_context=context, **made).reserve()
        for _ in range(2):
            call.run()
            want = mechanism(query, key, value, return_weights=True, return_logsumexp="exact", return_stats=["entropy"])
            np.testing.assert_array_equal(wide(context), wide(want.context))
            np.testing.assert_array_equal(weights, want.weights)
            np.testing.assert_array_equal(entropy, want.stats.entropy)
            gradient.run()
            back = mechanism.backward(context, query, key, value, result=want)
            for name, array in made.items():
                np.testing.assert_array_equal(wide(array), wide(getattr(back, name[2:])))
            query[:] = query[:, ::-1].copy()
        more = attn.Gradient(call, d_context=context, accumulate=True, **made)
        call.run()
        gradient.run()
        once = {name: wide(array) for name, array in made.items()}
        more.run()
        for name, array in made.items():
            np.testing.assert_allclose(wide(array), 2 * once[name], rtol=2 * unit(dtype), atol=1e-6)

    @of_each
    def test_results_can_be_copied_and_pickled(self, dtype):
        given = self.inputs(dtype)
        result = attn.attention(*given, return_logsumexp="exact")
        want = attn.attention_grad(result.context, *given, result=result)
        for turn in (copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))):
            other, arrays = turn(result), [turn(array) for array in given]
            self.assertEqual(other.context.dtype, dtype)
            got = attn.attention_grad(other.context, *arrays, result=other)
            self.assertEqual(got.key.dtype, dtype)
            np.testing.assert_array_equal(wide(got.key), wide(want.key))

    def test_types_of_one_name_have_one_meaning(self):
        if ml_dtypes is None:
            self.skipTest("ml_dtypes is missing")
        query, key, value = self.inputs(np.dtype(ml_dtypes.bfloat16))
        want = attn.attention(query, key, value)
        np.testing.assert_array_equal(want.astype("f8"), wide(want))
        got = attn.attention(query.view("u2").view(attn.bfloat16), key, value)
        self.assertEqual(got.dtype, attn.bfloat16)
        np.testing.assert_array_equal(got.view("u2"), want.view("u2"))


class Refused(Halves):
    def test_bits_are_no_numbers_until_somebody_says_so(self):
        query, key, value = self.inputs(attn.bfloat16)
        bits = [array.view("u2") for array in (query, key, value)]
        for view in ("u2", "i2"):
            with self.assertRaisesRegex(attn.DTypeError, r"query is u?int16, but .* \.view\(attn\.bfloat16\) says so"):
                attn.attention(*(array.view(view) for array in bits))
        for name, at in (("query", 0), ("key", 1), ("value", 2)):
            with self.assertRaisesRegex(attn.DTypeError, f"{name} is uint16"):
                attn.attention(*(bits[i] if i == at else array for i, array in enumerate((query, key, value))))
        with self.assertRaisesRegex(attn.DTypeError, "query is uint16"):
            attn.attention(*map(Foreign, bits))
        np.testing.assert_array_equal(attn.attention(*(array.view(attn.bfloat16) for array in bits)).view("u2"),
                                      attn.attention(query, key, value).view("u2"))

    def test_types_are_not_mixed(self):
        names = {np.dtype("f4"): "F32", np.dtype("f8"): "F64", np.dtype("f2"): "F16", attn.bfloat16: "BF16"}
        turn = lambda array, dtype: array.astype(dtype) if dtype in (np.float32, np.float64) else narrow(array, dtype)
        arrays = dict(zip(("query", "key", "value"), (DRAW.standard_normal((3, 4)) for _ in range(3))))
        for one, first in names.items():
            for other, second in names.items():
                if one == other:
                    continue
                for wrong in ("key", "value"):
                    given = {name: turn(array, other if name == wrong else one) for name, array in arrays.items()}
                    with self.assertRaisesRegex(attn.DTypeError, f"{wrong} is ATTN_{second}, but query is ATTN_{first}"):
                        attn.attention(**given)
                    with self.assertRaisesRegex(attn.DTypeError, f"{wrong} is ATTN_{second}, but query is ATTN_{first}"):
                        attn.attention_grad(given["query"], **given)
                given = {name: turn(array, one) for name, array in arrays.items()}
                with self.assertRaisesRegex(attn.DTypeError, f"bias is ATTN_{second}, but query is ATTN_{first}"):
                    attn.attention(**given, bias=turn(np.zeros((3, 3)), other))
                with self.assertRaisesRegex(attn.DTypeError, f"d_context is ATTN_{second}"):
                    attn.attention_grad(turn(arrays["query"], other), **given)

    def test_bytes_are_in_the_machines_order(self):
        query = DRAW.standard_normal((3, 4))
        for swapped in (np.dtype("f2").newbyteorder(), attn.bfloat16.newbyteorder(),
                        *(dtype.newbyteorder() for dtype in FOREIGN)):
            if swapped in KINDS:
                continue
            with self.subTest(swapped.str), self.assertRaisesRegex(attn.DTypeError, "query is "):
                attn.attention(*[np.zeros((3, 4), "u2").view(swapped)] * 3)

    def test_others_of_16_bits_are_others(self):
        for dtype in ([("bfloat", "u2")], [("bfloat16", "i2")], "V2", [("bfloat16", "u1", 2)]):
            with self.subTest(dtype), self.assertRaisesRegex(attn.DTypeError, "query is "):
                attn.attention(*[np.zeros((3, 4), "u2").view(dtype)] * 3)

    @of_each
    def test_layers_give_their_type_and_tables_are_refused(self, dtype):
        x = drawn(1, 1, 3, 8, dtype=dtype)
        layer = attn.MultiHead(8, 2, bias=False)
        layer.bind(**{name: np.ones(shape, "f4") for name, shape in layer.param_shapes().items()})
        for function, given in ((attn.decomposable, (x, x)), (attn.attentional, (drawn(4, 16, dtype=dtype), x, x)),
                                (layer, (x[0],)), (lambda x: attn.rope(x, layout="halves"), (x,))):
            made = function(*given)
            self.assertEqual((made[0] if isinstance(made, tuple) else made).dtype, dtype)
        for make in (lambda: attn.sinusoidal(3, 4, dtype=dtype), lambda: attn.alibi_slopes(3, dtype=dtype)):
            with self.assertRaisesRegex(attn.DTypeError, "^attn_.* is ATTN_B?F16, but "):
                make()


class Elsewhere(Halves):
    """Through __dlpack__, which NumPy has no bfloat16 for."""

    def test_bfloat16_comes_and_goes(self):
        for old in (False, True):
            given = self.inputs(attn.bfloat16)
            want = attn.attention(*given, return_weights=True)
            foreign = [Foreign(_dlpack.given(array), old) for array in given]
            for one, array in zip(foreign, given):
                self.assertEqual(read(one).dtype, attn.bfloat16)
                self.assertEqual(read(one).__array_interface__["data"][0], array.__array_interface__["data"][0])
            got = attn.attention(*foreign, return_weights=True)
            self.assertIsInstance(got.context, Foreign)
            np.testing.assert_array_equal(read(got.context).view("u2"), want.context.view("u2"))
            self.assertEqual(read(got.weights).dtype, np.float32)
            gradient = attn.attention_grad(got.context, *foreign).key
            self.assertIsInstance(gradient, Foreign)
            np.testing.assert_array_equal(read(gradient).view("u2"),
                                          attn.attention_grad(want.context, *given).key.view("u2"))

    def test_results_are_the_querys_whoever_the_others_are_of(self):
        query, key, value = self.inputs(attn.bfloat16)
        want = attn.attention_grad(query[..., :6], query, key, value).value
        for dtype in (attn.bfloat16, *FOREIGN):
            others = [array.view("u2").view(dtype) for array in (key, value)]
            got = attn.attention_grad(query[..., :6], Foreign(_dlpack.given(query)), *others).value
            self.assertIsInstance(got, Foreign)
            np.testing.assert_array_equal(read(got).view("u2"), want.view("u2"))

    def test_strides_come_too(self):
        array = drawn(3, 4, 6, dtype=attn.bfloat16).transpose(2, 0, 1)[::-2, :, 1:]
        got = read(Foreign(_dlpack.given(array)))
        self.assertEqual((got.shape, got.strides), (array.shape, array.strides))
        np.testing.assert_array_equal(got.view("u2"), array.view("u2"))

    def test_other_elements_are_not_renamed(self):
        for dtype in ("f2", "f4", "i2"):
            with self.subTest(dtype), self.assertRaises(BufferError):
                _dlpack.taken(np.zeros(3, dtype))
        with self.assertRaisesRegex(BufferError, "no capsule"):
            np.from_dlpack(_dlpack._Renamed(type("None_", (), {"__dlpack__": lambda *_, **__: _capsule(b"other"),
                                                               "__dlpack_device__": lambda _: (1, 0)})(), 4, 1))

    def test_memory_is_somebodys_until_nobody_has_it(self):
        freed = []

        class Lent(np.ndarray):
            def __del__(self):
                freed.append(self.ndim)

        array = drawn(100, 4, dtype=attn.bfloat16)
        lent = read(Foreign(_dlpack.given(array.view(Lent))))
        freed.clear()
        array.fill((0x3f80,))
        self.assertTrue((wide(lent) == 1).all())
        self.assertNotIn(2, freed)


def _capsule(name):
    import ctypes

    new = ctypes.pythonapi.PyCapsule_New
    new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    return new(1, name, None)


class Types(unittest.TestCase):
    def test_one_line_says_what_a_type_is(self):
        for one in _dtypes.TYPES:
            self.assertEqual(one.number, attn._library.constant(f"ATTN_{one.word.upper()}"))
            for called in (one.word, one.name):
                if one.dtype in _dtypes.STORED:
                    self.assertEqual(_dtypes.dtype_of(called, "dtype", _dtypes.STORED), one.dtype)
        self.assertEqual(sorted(_dtypes.STORED.values()), [1, 2, 3, 4, 5])

    def test_a_memory_is_told_what_it_stores(self):
        words = {"F32": ("f32", "float32", "f4", np.float32), "F64": ("f64", "float64", "f8", np.float64),
                 "F16": ("f16", "float16", "f2", np.float16), "BF16": ("bf16", "bfloat16", attn.bfloat16, *FOREIGN),
                 "I8": ("i8", "int8", "i1", np.int8)}
        mechanism, layer = attn.Mechanism(), attn.MultiHead(8, 2, bias=False)
        for number, given in words.items():
            for dtype in given:
                for make in (lambda dtype: attn.Memory(mechanism, key_dim=4, dtype=dtype),
                             lambda dtype: layer.memory(dtype=dtype)):
                    with self.subTest(number, dtype=dtype):
                        self.assertEqual(make(dtype).lengths, [0])
        for wrong in ("i16", "int64", np.int64, "bool", "nonsense", type):
            with self.subTest(wrong), self.assertRaisesRegex(attn.DTypeError, "dtype is .*, but .* or int8 is taken"):
                attn.Memory(mechanism, key_dim=4, dtype=wrong)

    def test_a_memory_of_keys_may_store_them_as_something_else(self):
        mechanism, keys = attn.Mechanism(), np.eye(3, 4, dtype="f4")
        for dtype in (None, "f32", np.float32):
            self.assertEqual(attn.Memory.of(mechanism, keys, dtype=dtype).lengths, [3])
        with self.assertRaisesRegex(attn.DTypeError, "key is ATTN_F32, but the memory is ATTN_F64"):
            attn.Memory.of(mechanism, keys, dtype="f64")

    def test_ml_dtypes_is_for_those_who_have_it(self):
        program = """
import sys
import numpy as np
import attn
bits = np.full((2, 4), 0x3f80, np.uint16)
assert (attn.attention(*[bits.view(attn.bfloat16)] * 3).view(np.uint16) == bits).all()
assert "ml_dtypes" not in sys.modules"""
        where = str(Path(attn.__file__).resolve().parents[1])
        done = subprocess.run([sys.executable, "-c", program], check=False, text=True, stderr=subprocess.PIPE,
                              env={**os.environ, "PYTHONPATH": where})
        self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    unittest.main()
