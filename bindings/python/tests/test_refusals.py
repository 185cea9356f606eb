# SPDX-License-Identifier: BSD-3-Clause
"""test_refusals.py: what is not taken, and the sentences that say so: numbers that do not fit, words and names that are
none, types of elements and of arguments. A refusal leaves everything as it was. Needs NumPy alone."""

import copy
import multiprocessing
import pickle
import sys
import unittest
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import attn


def halves(*given, **named):
    """rope(), in the layout that most weights have."""
    return attn.rope(*given, layout="halves", **named)


class Traced:
    """What JAX gives a function that it traces."""

    def __dlpack__(self):
        raise TypeError("there is nothing to look at")


Tracer = type("Tracer", (Traced,), {"__module__": "jax._src.core"})


def refused_call(scale):
    return attn.attention(np.eye(2), np.eye(2), temperature=scale)


class Refusals(unittest.TestCase):
    def setUp(self):
        random = np.random.default_rng(5)
        self.query, self.key, self.value = (random.standard_normal((2, 1, length, 4)) for length in (3, 5, 5))

    def refused(self, kind, sentence, function, *given, **named):
        with self.subTest(getattr(function, "__qualname__", function), given=given, named=list(named)), \
                self.assertRaisesRegex(kind, sentence) as caught:
            function(*given, **named)
        if hasattr(caught, "exception"):
            self.assertIsInstance(caught.exception, attn.Error)

    def attention(self, **given):
        return attn.attention(**{"query": self.query, "key": self.key, "value": self.value, **given})

    def test_whole_numbers_fit_where_they_go(self):
        most, layer = 2**64, {"query_dim": 4, "query_heads": 2}
        mechanism = attn.Mechanism()
        for name, function, given in (
            ("threads", attn.Engine, {"threads": 2**32 + 1}), ("threads", attn.info, {"threads": most + 1}),
            ("threads", self.attention, {"threads": most + 1}),
            ("window's left", self.attention, {"window": (most, 0, "top_left")}),
            ("window's right", self.attention, {"window": (0, most, "top_left")}),
            ("window's left", mechanism.set_window, {"left": most, "right": 0, "align": "top_left"}),
            ("query_start", self.attention, {"query_start": most, "causal": "top_left"}),
            ("seed", self.attention, {"seed": most, "dropout": 0.5}), ("seed", self.attention, {"seed": -1, "dropout": 0.5}),
            ("offset", self.attention, {"offset": most, "dropout": 0.5}), ("seed", self.attention, {"seed": most}),
            ("half_width", self.attention, {"local": ("monotonic", most + 1)}),
            ("half_width", mechanism.set_local, {"local": "monotonic", "half_width": most}),
            ("query_dim", mechanism.set_local, {"local": "predictive", "half_width": 1, "query_dim": most + 4}),
            ("max_distance", self.attention, {"relative": (np.zeros((1, 5)), "clipped", most + 2, "top_left")}),
            ("key_lengths", self.attention, {"key_lengths": [most + 1, 1]}),
            ("query_dim", attn.Mechanism, {"score": "general", "query_dim": most + 4, "key_dim": 4}),
            ("key_dim", attn.Mechanism, {"score": "concat", "query_dim": 4, "key_dim": most, "hidden_dim": 3}),
            ("hidden_dim", attn.Mechanism, {"score": "additive", "query_dim": 4, "key_dim": 4, "hidden_dim": most + 1}),
            ("max_keys", attn.Mechanism, {"score": "location", "query_dim": 4, "max_keys": most + 9}),
            ("batch", attn.Memory, {"mechanism": mechanism, "key_dim": 4, "batch": most + 1}),
            ("capacity", attn.Memory, {"mechanism": mechanism, "key_dim": 4, "capacity": most}),
            ("key_dim", attn.Memory, {"mechanism": mechanism, "key_dim": most + 4}),
            ("key_heads", attn.MultiHead, {**layer, "key_heads": most}),
            ("output_dim", attn.MultiHead, {**layer, "output_dim": most + 4}),
            ("first", halves, {"array": self.query, "first": most}),
            ("dimensions", halves, {"array": self.query, "dimensions": most + 2}),
            ("positions", halves, {"array": self.query, "positions": [0, 1, most]}),
            ("first", attn.sinusoidal, {"length": 2, "dimension": 4, "first": most}),
            ("length", attn.sinusoidal, {"length": -2, "dimension": 4}), ("heads", attn.alibi_slopes, {"heads": -1}),
        ):
            self.refused(attn.ArgumentError, rf"{name} is -?\d+, but -?\d+ to \d+ is what it may be", function, **given)
        self.assertTrue(np.isfinite(self.attention(seed=2**64 - 1, dropout=0.5)).all())

    def test_whole_numbers_are_whole(self):
        for given in ({"key_lengths": [2.7, 1]}, {"key_lengths": ["3", 1]}, {"key_lengths": [True, 3]},
                      {"key_lengths": 3}, {"key_lengths": iter([1, 2])}, {"seed": []}, {"offset": None}, {"query_start": None},
                      {"key_lengths": [np.ma.masked, 1]}, {"key_lengths": [None, 1]}, {"query_start": 1.0},
                      {"query_start": "1"}, {"seed": 1.5, "dropout": 0.5}, {"threads": 1.0}, {"threads": True},
                      {"window": (1.0, 0, "top_left")}, {"local": ("monotonic", 1.5)}):
            self.refused(attn.DTypeError, "whole number", self.attention, **given)
        self.refused(attn.ShapeError, "of one length", halves, self.query, positions=[[0, 1], [2]])
        np.testing.assert_array_equal(self.attention(key_lengths=(np.int8(2), np.array(3))),
                                      self.attention(key_lengths=[2, 3]))
        np.testing.assert_array_equal(halves(self.query, positions=range(3)), halves(self.query))
        np.testing.assert_array_equal(halves(self.query, positions=[[0, 1, 2]] * 2), halves(self.query))

    def test_what_equals_a_right_value_is_not_taken_for_it_afterwards(self):
        for right, wrong in (({"query_start": 1, "causal": "top_left"}, {"query_start": 1.0, "causal": "top_left"}),
                             ({"window": (1, 0, "top_left")}, {"window": (1.0, 0, "top_left")}),
                             ({"threads": 1}, {"threads": 1.0}), ({"return_weights": True}, {"return_weights": 1.0}),
                             ({"local": ("monotonic", 1)}, {"local": ("monotonic", 1.0)})):
            self.attention(**right)
            self.refused(attn.DTypeError, " is ", self.attention, **wrong)

    def test_numbers_are_numbers(self):
        for given in ({"scale": "0.5"}, {"scale": [0.5]}, {"softcap": "3"}, {"temperature": None}, {"dropout": "0.5"},
                      {"scale": 1j}, {"dropout": []}, {"dropout": None}, {"scale": np.ma.masked},
                      {"scale": np.ones(2)}, {"scale": 10**400}):
            self.refused(attn.DTypeError, "but a number is needed", self.attention, **given)
        self.refused(attn.DTypeError, "base is '3'", halves, self.query, base="3")
        self.refused(attn.DTypeError, "base is '3'", attn.sinusoidal, 2, 4, base="3")
        for scale in (1, np.float32(0.5), np.array(0.25)):
            np.testing.assert_array_equal(self.attention(scale=scale), self.attention(scale=float(scale)))

    def test_yes_and_no(self):
        for given in ({"return_weights": "no"}, {"return_weights": []}, {"return_weights": None},
                      {"return_weights": np.ones(2)},
                      {"return_weights": 2}, {"return_logsumexp": 2.0}):
            self.refused(attn.DTypeError, "but True or False is needed", self.attention, **given)
        mechanism, x = attn.Mechanism(), np.zeros((1, 2, 4))
        layer = attn.MultiHead(4, 1, bias=False, params={name: np.eye(4) for name in ("W_q", "W_k", "W_v", "W_o")})
        call = mechanism.call(self.query, self.key, context=self.query.copy(), logsumexp=np.empty((2, 1, 3)))
        for name, function, given in (("fixed", attn.Memory, {"mechanism": mechanism, "key_dim": 4}),
                                      ("inverse", halves, {"array": self.query}), ("save", layer, {"query": x}),
                                      ("bias", attn.MultiHead, {"query_dim": 4, "query_heads": 1}),
                                      ("packed", attn.MultiHead, {"query_dim": 4, "query_heads": 1}),
                                      ("return_weights", layer, {"query": x}), ("attend_only", layer, {"query": x}),
                                      ("accumulate", attn.Gradient, {"call": call})):
            self.refused(attn.DTypeError, f"{name} is 'no', but True or False", function, **given, **{name: "no"})

    def test_words_are_known(self):
        for given in ({"score": "cosine"}, {"score": ["dot"]}, {"causal": "usual"}, {"causal": True}, {"causal": ["top_left"]},
                      {"normaliser": "l1"}, {"return_scores": "all"}, {"return_scores": ""}, {"return_scores": True},
                      {"relative": (np.zeros((1, 5)), "sliced", 2, "top_left")}, {"local": ("sideways", 3)},
                      {"window": (1, 1, "left")}):
            self.refused(attn.ArgumentError, "but it is one of ", self.attention, **given)
        self.refused(attn.ArgumentError, "return_logsumexp is 'exakt', but it is False, True or 'exact'", self.attention,
                     return_logsumexp="exakt")
        for local in (("monotonic",), "monotonic", ("monotonic", 1, 2), 3, ()):
            self.refused(attn.ArgumentError, "local is .* a word and a half width", self.attention, local=local)
        self.refused(attn.DTypeError, "half_width is None", attn.Mechanism().set_local, "monotonic")
        self.refused(attn.DTypeError, "max_distance is None", attn.Mechanism().set_relative, np.zeros((1, 5)), "clipped",
                     align="top_left")
        self.refused(attn.ArgumentError, "way is 'quick'", attn.Engine, way="quick")
        self.refused(attn.DTypeError, "kernels is 3", attn.Engine, kernels=3)
        self.refused(attn.DTypeError, r"kernels is 'portable\\x00x'", attn.Engine, kernels="portable\0x")
        self.refused(attn.ArgumentError, "layout is 'thirds'", attn.rope, self.query, layout="thirds")
        self.refused(attn.DTypeError, "flags is 'bias', but a list", attn.Mechanism, "additive", query_dim=4, key_dim=4,
                     hidden_dim=3, flags="bias")

    def test_names_are_known(self):
        layer = attn.MultiHead(4, 1, bias=False)
        W = np.eye(4)
        mechanism = attn.Mechanism("general", params={"W": W})
        call = mechanism.call(self.query, self.key, context=self.query.copy(), logsumexp=np.empty((2, 1, 3)))
        with self.assertRaises(TypeError):
            attn.Gradient(call, d_contxt=self.query)
        self.refused(attn.ArgumentError, "d_params has 'w', but what has a gradient is 'W'", attn.Gradient, call,
                     d_context=self.query, d_params={"w": W})
        weight, context = np.zeros((2, 8)), self.query
        output = context[..., :2]
        grad = {"d_output": output, "output": output, "weight": weight, "context": context, "query": context}
        for wanted, sentence in ((["quary"], "wanted has 'quary', but what was given is 'weight'|'f'|'query'"),
                                 ("query", "wanted is 'query', but a list"), (3, "wanted is 3, but a list")):
            for function, given in ((attn.attentional_grad, grad),
                                    (attn.decomposable_grad, {"d_beta": self.key, "d_alpha": self.query, "f": self.query,
                                                              "g": self.key}),
                                    (attn.attention_grad, {"d_context": self.query, "query": self.query, "key": self.key}),
                                    (layer.backward, {"d_output": self.query[:, 0], "query": self.query[:, 0]})):
                self.refused(attn.Error, sentence, function, **given, wanted=wanted)
        made = attn.attention_grad(self.query, self.query, self.key, wanted=iter(["key"]))  # which can be read but once
        self.assertIsNotNone(made.key)

    def test_parameters_are_named_and_the_names_told(self):
        for kind in (attn.Mechanism, lambda score, params: self.attention(score=score, params=params)):
            self.refused(attn.ArgumentError, "needs the parameter v in params, which has 'W', 'u'", kind, "additive",
                         params={"W": np.eye(4), "u": np.eye(4)})
        additive = attn.Mechanism("additive", query_dim=4, key_dim=4, hidden_dim=3)
        self.refused(attn.ArgumentError, r'additive has no parameter "w"; it has W, U, v$', additive.bind, w=np.eye(4))
        self.refused(attn.ArgumentError, r'no parameter "W"; it has none$', attn.Mechanism("dot").bind, W=np.eye(4))
        self.refused(attn.ArgumentError, r'no parameter "W_x"; it has W_q, W_k, W_v, W_o$',
                     attn.MultiHead(4, 1, bias=False).bind, W_x=np.eye(4))
        for params in ([self.query], self.query, 3):
            self.refused(attn.DTypeError, "params is .* a dict of arrays by their names", self.attention, params=params)
            self.refused(attn.DTypeError, "params is", attn.Mechanism, "general", params=params)
            self.refused(attn.DTypeError, "params is", attn.MultiHead, 4, 1, params=params)
        for name in (3, "W\0"):
            self.refused(attn.DTypeError, "a parameter's name is", attn.Mechanism, "general", query_dim=4, key_dim=4,
                         params={name: np.eye(4)})

    def test_parameters_are_bound_all_or_none(self):
        shapes = {"W": (3, 4), "U": (3, 4), "v": (3,)}
        old, new = ({name: np.full(shape, value) for name, shape in shapes.items()} for value in (1.0, 2.0))
        mechanism = attn.Mechanism("additive", params=old)
        want = mechanism(self.query, self.key)
        for wrong in ({"U": np.eye(7)}, {"U": [1.0]}, {"U": new["U"].astype("i4")}, {"x": new["U"]}):
            with self.assertRaises(attn.Error):
                mechanism.bind(**{"W": new["W"], "v": None, **wrong})
            self.assertEqual({name: id(array) for name, array in mechanism.params.items()},
                             {name: id(array) for name, array in old.items()})
            np.testing.assert_array_equal(mechanism(self.query, self.key), want)
        fresh = attn.Mechanism("additive", query_dim=4, key_dim=4, hidden_dim=3)
        with self.assertRaises(attn.Error):
            fresh.bind(W=new["W"], U=np.eye(7))
        with self.assertRaisesRegex(attn.Error, "parameter W of additive is not bound"):
            fresh(self.query, self.key)

    def test_other_elements_are_named_with_what_is_taken(self):
        every = [{"query": self.query}, {"key": self.key}, {"value": self.value}, {"bias": np.zeros((3, 5))},
                 {"out": np.zeros_like(self.query)}, {"score": "general", "params": {"W": np.eye(4)}},
                 {"alibi": (np.ones(1), "top_left")}, {"relative": (np.zeros((1, 5)), "clipped", 2, "top_left")},
                 {"sinks": np.ones(1)}]
        for given in every:
            for dtype in ("i4", "?", ">f8", ">f2"):
                turn = lambda x: x.astype(dtype) if isinstance(x, np.ndarray) else type(x)(map(turn, x)) \
                    if isinstance(x, tuple) else {name: turn(y) for name, y in x.items()} if isinstance(x, dict) else x
                self.refused(attn.DTypeError, r"is \S+, but float32, .* or (bfloat16|int8) is taken.*\.astype\('float32'\)",
                             self.attention, **{name: turn(x) for name, x in given.items()})
        for mask in ("u1", "i8", "f8"):
            self.refused(attn.DTypeError, r"mask is \w+, but bool is taken.*\.astype\('bool'\)", self.attention,
                         mask=np.ones((3, 5), mask))
        for lengths in ("i2", "u8", "f8", "?"):
            self.refused(attn.DTypeError, r"key_lengths is \w+, but int32 or int64 is taken.*\.astype\('int32'\)",
                         self.attention, key_lengths=np.ones(2, lengths))
        for dtype in ("i4", "nonsense", np.dtype("i8"), "longdouble"):
            for function, given, taken in ((attn.sinusoidal, (2, 4), "float16 or bfloat16"),
                                           (attn.alibi_slopes, (2,), "float16 or bfloat16"),
                                           (attn.MultiHead(4, 1).memory, (), "float16, bfloat16 or int8")):
                self.refused(attn.DTypeError, f"dtype is .*, but float32, float64, {taken} is taken", function, *given,
                             dtype=dtype)
        self.refused(attn.DTypeError, "bias is ATTN_F32, but query is ATTN_F64", self.attention, bias=np.zeros((3, 5), "f4"))

    def test_what_is_no_array_is_named_with_what_is_needed(self):
        for name in ("query", "key", "value", "mask", "bias", "out"):
            for given in ([[1.0]], 1.0, np.float32(1), "text", {}):
                self.refused(attn.DTypeError, rf"{name} is a \w+, but an array is needed.*numpy\.asarray", self.attention,
                             **{name: given})
        self.refused(attn.DTypeError, "query is a Tracer, which JAX traces for jit, grad or vmap", self.attention,
                     query=Tracer())
        for given in ({"query": np.array(1.0)}, {"key": np.array(1.0)}, {"value": np.array(1.0)},
                      {"query": self.query[None]}, {"query": np.array(1.0), "score": "general", "params": {"W": np.eye(4)}}):
            self.refused(attn.ShapeError, r"has \d dimensions, but", self.attention, **given)
        for function in (attn.decomposable, lambda f, g: attn.attentional(f, g, g), lambda f, g: attn.attention(f, g),
                         lambda f, g: attn.Memory.of(attn.Mechanism(), f), lambda f, g: halves(f),
                         lambda f, g: attn.MultiHead(4, 1)(f), lambda f, g: attn.attention_grad(g, f, f)):
            self.refused(attn.ShapeError, " ", function, np.array(1.0), self.query)
        self.refused(attn.ArgumentError, "key or value is missing", self.attention, key=None, value=None)
        result = self.attention(return_logsumexp=True)
        for wrong in (result.context, tuple(result), result._replace(logsumexp=None)):
            self.refused(attn.DTypeError, "result is a", attn.attention_grad, self.value, self.query, self.key, self.value,
                         result=wrong)

    def test_a_tensor_that_requires_grad_is_told_of_attn_torch(self):
        tensor = type("Tensor", (), {"requires_grad": True, "__dlpack__": None})()
        self.refused(attn.DTypeError, r"requires grad: attn\.torch has gradients.*\.detach\(\)", self.attention, query=tensor)

    def test_handles_are_of_their_kind(self):
        mechanism, engine = attn.Mechanism(), attn.Engine(threads=1)
        memory = attn.Memory.of(mechanism, self.key)
        layer = attn.MultiHead(4, 1)
        layer.bind(**{name: np.zeros(shape) for name, shape in layer.param_shapes().items()})
        for name, function, given in (
            ("memory", mechanism, {"query": self.query, "memory": engine}),
            ("memory", layer, {"query": self.query[:, 0], "memory": mechanism}),
            ("memory", mechanism.call, {"query": self.query, "memory": layer}),
            ("mechanism", attn.Call, {"mechanism": layer, "query": self.query}),
            ("mechanism", attn.Memory, {"mechanism": engine, "key_dim": 4}),
            ("mechanism", attn.Memory.of, {"mechanism": memory, "key": self.key}),
            ("mechanism", attn.MultiHead, {"query_dim": 4, "query_heads": 1, "mechanism": engine}),
            ("call", attn.Gradient, {"call": mechanism}), ("engine", attn.Mechanism, {"engine": mechanism}),
            ("engine", halves, {"array": self.query, "engine": 1}),
            ("engine", attn.decomposable, {"f": self.query, "g": self.key, "engine": 1}),
            ("engine", attn.attentional, {"weight": self.query, "context": self.query, "query": self.query, "engine": 1}),
            ("rope", attn.Memory, {"mechanism": mechanism, "key_dim": 4, "rope": "halves"}),
        ):
            self.refused(attn.DTypeError, f"{name} is .* but an attn.{name.capitalize()} is needed", function, **given)

    def test_masked_arrays_are_refused_wherever_arrays_go(self):
        hidden = lambda array: np.ma.array(array, mask=np.zeros(array.shape, bool))
        mechanism, layer = attn.Mechanism(), attn.MultiHead(4, 1)
        memory = attn.Memory(mechanism, batch=2, key_dim=4, dtype="f8")
        d = {"d_context": self.value, "query": self.query, "key": self.key, "value": self.value}
        sentence = r"is a masked array.*\.filled\(\) or \.data"
        out = np.zeros_like(self.query)
        for given in ({"query": self.query}, {"key": self.key}, {"value": self.value}, {"bias": np.zeros((3, 5))},
                      {"mask": np.ones((3, 5), bool)}, {"key_lengths": np.array([1, 2])}, {"out": out}):
            self.refused(attn.DTypeError, sentence, self.attention, **{name: hidden(array) for name, array in given.items()})
        self.assertFalse(out.any())
        for name in d:
            self.refused(attn.DTypeError, sentence, attn.attention_grad, **{**d, name: hidden(d[name])})
        for function, given in (
            (self.attention, {"score": "general", "params": {"W": hidden(np.eye(4))}}),
            (self.attention, {"alibi": (hidden(np.ones(1)), "top_left")}),
            (self.attention, {"relative": (hidden(np.zeros((1, 5))), "clipped", 2, "top_left")}),
            (self.attention, {"sinks": hidden(np.ones(1))}),
            (attn.Mechanism("general", query_dim=4, key_dim=4).bind, {"W": hidden(np.eye(4))}),
            (layer.bind, {"W_q": hidden(np.eye(4))}), (layer, {"query": hidden(self.query[:, 0])}),
            (memory.append, {"key": hidden(self.key)}), (memory.truncate, {"lengths": hidden(np.zeros(2, int))}),
            (halves, {"array": hidden(self.query)}), (halves, {"array": self.query, "positions": hidden(np.arange(3))}),
            (attn.decomposable, {"f": hidden(self.query), "g": self.key}),
            (attn.attentional, {"weight": np.zeros((2, 8)), "context": hidden(self.query), "query": self.query}),
            (mechanism.call, {"query": self.query, "key": self.key, "context": hidden(self.query)}),
        ):
            self.refused(attn.DTypeError, sentence, function, **given)

    def test_a_refusal_can_be_copied_and_pickled(self):
        for kind, given in ((attn.ArgumentError, {"temperature": -1.0}), (attn.ShapeError, {"key": self.key[..., 1:]}),
                            (attn.DTypeError, {"query": [1.0]}), (attn.DTypeError, {"bias": np.zeros((3, 5), "f4")})):
            with self.assertRaises(kind) as caught:
                self.attention(**given)
            error = caught.exception
            error.where = "here"
            for other in (copy.copy(error), copy.deepcopy(error), pickle.loads(pickle.dumps(error))):
                self.assertIs(type(other), kind)
                self.assertEqual((str(other), other.status, other.where), (str(error), error.status, "here"))
        for kind in (attn.Error, attn.OutOfMemoryError, attn.UnsupportedError):
            other = pickle.loads(pickle.dumps(kind("a sentence", "ATTN_ERR_BUFFER")))
            self.assertEqual((type(other), str(other), other.status), (kind, "a sentence", "ATTN_ERR_BUFFER"))

    def test_a_refusal_comes_back_from_another_process(self):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            with self.assertRaises(attn.ArgumentError) as caught:
                pool.map_async(refused_call, [-1.0]).get(60)
        self.assertEqual(caught.exception.status, "ATTN_ERR_ARGUMENT")


if __name__ == "__main__":
    unittest.main()
