# SPDX-License-Identifier: BSD-3-Clause
"""test_attention.py: the binding against the formulas in NumPy, and what it refuses. Needs NumPy and the library:

    ATTN_LIBRARY=build/release/src/libattn.so python3 bindings/python/tests/test_attention.py
"""

import functools
import gc
import sys
import threading
import unittest
from pathlib import Path

try:
    import numpy as np
except ImportError:
    print("NumPy is missing")
    sys.exit(77)

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import attn

B, Hq, Hk, Tq, Tk, D, A = 2, 4, 2, 5, 7, 6, 3


def expected(query, key, value, score=None, visible=None, bias=0.0, scale=None, softcap=0.0, temperature=1.0):
    """Context, weights and log-sum-exp in float64, of arrays [B, H, T, D]."""
    query, key, value = (np.asarray(x, np.float64) for x in (query, key, value))
    group = query.shape[1] // key.shape[1]
    key, value = key.repeat(group, 1), value.repeat(group, 1)
    if scale is None:
        scale = 1 / np.sqrt(key.shape[-1])
    e = score(query, key) if score else scale * query @ key.swapaxes(-1, -2)
    if softcap:
        e = softcap * np.tanh(e / softcap)
    e = (e + bias) / temperature
    if visible is not None:
        e = np.where(visible, e, -np.inf)
    most = e.max(-1, keepdims=True)
    powers = np.exp(e - np.where(np.isfinite(most), most, 0))
    total = powers.sum(-1, keepdims=True)
    weights = powers / np.where(total > 0, total, 1)
    with np.errstate(divide="ignore"):
        return weights @ value, weights, (np.log(total) + np.where(total > 0, most, 0))[..., 0]


class Attention(unittest.TestCase):
    def setUp(self):
        self.random = np.random.default_rng(7)
        self.query, self.key = self.normal(B, Hq, Tq, D), self.normal(B, Hk, Tk, D)
        self.value = self.normal(B, Hk, Tk, 3)

    def normal(self, *shape, dtype="f4"):
        return self.random.standard_normal(shape).astype(dtype)

    def same(self, got, want):
        tolerance = 1e-13 if got.dtype == np.float64 else 2e-5
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)

    def test_stats_are_of_the_weights(self):
        mask = self.random.random((B, 1, Tq, Tk)) > 0.3
        mask[0, 0, 2] = False
        for dtype in "f4", "f8":
            query, key, value = (x.astype(dtype) for x in (self.query, self.key, self.value))
            got = attn.attention(query, key, value, mask=mask, return_stats=True)
            context, weights, _ = expected(query, key, value, visible=mask)
            logarithms = np.log(np.where(weights > 0, weights, 1))
            entropy, seen = -(weights * logarithms).sum(-1), np.broadcast_to(mask.any(-1), (B, Hq, Tq))
            self.same(got.context, context)
            self.same(got.stats.entropy, entropy)
            self.same(got.stats.effective_keys, np.exp(entropy))
            self.same(got.stats.key_sums, weights.sum(-2))
            self.assertEqual(got.stats.strongest.dtype, np.int64)
            np.testing.assert_array_equal(got.stats.strongest, np.where(seen, weights.argmax(-1), -1))
            self.assertEqual(got.stats.entropy.dtype, dtype)
            again = attn.attention(query, key, value, mask=mask, return_stats=True, return_weights=True,
                                   return_logsumexp=True, return_scores="raw")
            self.same(again.weights, weights)
            self.same(again.stats.entropy, entropy)
            for names in ("key_sums",), ["strongest", "entropy"], {"entropy"}:
                for _ in range(2):  # by a layout that is new, and by one that is there
                    part = attn.attention(query, key, value, mask=mask, return_stats=names).stats
                    for name, array in part._asdict().items():
                        self.assertEqual(array is not None, name in names)
                        if array is not None:
                            self.same(array, getattr(got.stats, name))
            self.assertIsNone(attn.Stats().effective_keys)
            self.assertIsNone(attn.attention(query, key, value, return_weights=True).stats)
        one = attn.attention(self.query[0, 0, 0], self.key[0, 0], return_stats=True).stats
        self.assertEqual((one.entropy.shape, one.strongest.shape, one.key_sums.shape), ((), (), (Tk,)))
        for wrong in (1, "entropy", ["weights"], None):
            with self.assertRaisesRegex(attn.ArgumentError, "return_stats"):
                attn.attention(self.query, self.key, return_stats=wrong)
        mechanism = attn.Mechanism()
        want = attn.attention(self.query, self.key, return_stats=True).stats
        memory = attn.Memory(mechanism, batch=B, key_heads=Hk, key_dim=D)
        memory.append(self.key)
        self.same(mechanism.forward(self.query, memory=memory, return_stats=True).stats.key_sums, want.key_sums)
        sums = np.empty((B, Hq, Tk), "f4")
        mechanism.call(self.query, self.key, key_sums=sums).run()
        self.same(sums, want.key_sums)

    def test_a_layer_tells_what_the_weights_of_its_heads_say(self):
        layer = attn.MultiHead(8, 4, bias=False, params={name: self.normal(8, 8) for name in ("W_q", "W_k", "W_v", "W_o")})
        x = self.normal(B, Tq, 8)
        got = layer.forward(x, return_weights=True, return_stats=True)
        self.same(got.stats.key_sums, got.weights.sum(-2))
        np.testing.assert_array_equal(got.stats.strongest, got.weights.argmax(-1))
        self.same(got.stats.entropy, -(got.weights * np.log(got.weights)).sum(-1))
        only = layer.forward(x, return_stats=["entropy"])
        self.assertIsNone(only.stats.key_sums)
        self.same(only.output, got.output)

    def test_scaled_dot_with_grouped_heads_in_both_types(self):
        for dtype in ("f4", "f8"):
            query, key, value = (x.astype(dtype) for x in (self.query, self.key, self.value))
            context = attn.attention(query, key, value)
            self.assertEqual((context.dtype, context.shape), (np.dtype(dtype), (B, Hq, Tq, 3)))
            self.same(context, expected(query, key, value)[0])

    def test_keys_are_values_where_there_are_none(self):
        self.same(attn.attention(self.query, self.key), expected(self.query, self.key, self.key)[0])

    def test_modifiers(self):
        bias, mask = self.normal(Hq, Tq, Tk), self.random.random((B, 1, Tq, Tk)) < 0.7
        i, j = np.arange(Tq)[:, None], np.arange(Tk)
        slopes, lengths = np.array([0.5, 0.25, 0.125, 1], "f4"), np.array([3, 7])
        after = i + lengths[:, None, None, None] - Tq
        for given, want in (
            ({"scale": 0.3}, {"scale": 0.3}),
            ({"softcap": 0.8, "temperature": 0.5}, {"softcap": 0.8, "temperature": 0.5}),
            ({"bias": bias, "mask": mask}, {"bias": bias, "visible": mask}),
            ({"causal": "top_left", "query_start": 1}, {"visible": j <= i + 1}),
            ({"causal": "bottom_right", "key_lengths": lengths},
             {"visible": (j <= after) & (j < lengths[:, None, None, None])}),
            ({"window": (1, 0, "top_left")}, {"visible": (j >= i - 1) & (j <= i)}),
            ({"causal": "top_left", "window": (2, -1)}, {"visible": (j >= i - 2) & (j <= i)}),
            ({"alibi": (slopes, "top_left")}, {"bias": -slopes[:, None, None] * abs(i - j)}),
            ({"alibi": slopes, "causal": "bottom_right"},
             {"bias": -slopes[:, None, None] * abs(i + 2 - j), "visible": j <= i + 2}),
        ):
            with self.subTest(list(given)):
                got = attn.attention(self.query, self.key, self.value, return_weights=True, return_logsumexp=True,
                                     return_scores="weights", **given)
                context, weights, logsumexp = expected(self.query, self.key, self.value, **want)
                self.same(got.context, context)
                self.same(got.weights, weights)
                self.same(got.scores, weights)
                self.same(got.logsumexp, logsumexp)

    def test_scores_with_parameters(self):
        q, k = self.query, self.key
        W, U, v, b, g = self.normal(A, D), self.normal(A, D), self.normal(A), self.normal(A), self.normal(1)
        C, square, places = self.normal(A, 2 * D), self.normal(D, D), self.normal(Tk + 2, D)
        pairs = lambda x, y: x[:, :, :, None] + y[:, :, None]
        tanh = lambda x, y, v, b=0: np.tanh(pairs(x, y) + b) @ v
        for score, params, want in (
            ("dot", {}, lambda q, k: q @ k.swapaxes(-1, -2)),
            ("general", {"W": square}, lambda q, k: q @ square @ k.swapaxes(-1, -2)),
            ("additive", {"W": W, "U": U, "v": v}, lambda q, k: tanh(q @ W.T, k @ U.T, v)),
            ("additive", {"W": W, "U": U, "v": v, "b": b, "g": g},
             lambda q, k: tanh(q @ W.T, k @ U.T, g * v / np.linalg.norm(v.astype("f8")), b)),
            ("additive", {"v": self.normal(D)}, None),
            ("concat", {"W": C, "v": v}, lambda q, k: tanh(q @ C[:, :D].T, k @ C[:, D:].T, v)),
            ("location", {"W": places}, lambda q, k: q @ places[:Tk].T),
        ):
            with self.subTest(score, params=list(params)):
                want = want or (lambda q, k: tanh(q, k, params["v"]))
                self.same(attn.attention(q, k, self.value, score=score, params=params),
                          expected(q, k, self.value, score=want)[0])

    def test_hardmax_takes_the_value_of_the_best_key(self):
        best = expected(self.query, self.key, self.value)[1].argmax(-1)
        context = attn.attention(self.query, self.key, self.value, normaliser="hardmax")
        self.same(context, np.take_along_axis(self.value.repeat(2, 1), best[..., None], 2))

    def test_gradients_say_how_the_results_move(self):
        normal = functools.partial(self.normal, dtype="f8")
        flows = {"d_context": normal(B, Hq, Tq, 3), "d_weights": normal(B, Hq, Tq, Tk),
                 "d_logsumexp": normal(B, Hq, Tq)}
        rule = {"score": "additive", "softcap": 2.0, "temperature": 0.7, "causal": "bottom_right", "window": (4, 1)}

        def run(given):
            params = {name: given[name] for name in ("W", "U", "v", "b", "g")}
            given = {**rule, "params": params, **{name: given[name] for name in given if name not in params}}
            result = attn.attention(**given, return_weights=True, return_logsumexp=True)
            return given, result, sum((flows[f"d_{name}"] * getattr(result, name)).sum()
                                      for name in ("context", "weights", "logsumexp"))

        start = {"query": normal(B, Hq, Tq, D), "key": normal(B, Hk, Tk, D), "value": normal(B, Hk, Tk, 3),
                 "bias": normal(1, Hq, 1, Tk), "alibi": normal(Hq), "W": normal(A, D), "U": normal(A, D),
                 "v": normal(A), "b": normal(A), "g": normal(1)}
        given, result, _ = run(start)
        gradients = attn.attention_grad(**given, **flows, result=result)
        named = {**gradients._asdict(), **gradients.params}
        self.assertEqual({name for name, gradient in named.items() if gradient is not None},
                         {*start, "params"})
        for name in start:
            gradient = named[name]
            with self.subTest(name):
                self.assertEqual((gradient.shape, gradient.dtype), (start[name].shape, np.dtype("f8")))
                way, step = normal(*gradient.shape), 1e-5
                after, before = (run({**start, name: start[name] + sign * step * way})[2] for sign in (1, -1))
                self.assertAlmostEqual((after - before) / (2 * step), (gradient * way).sum(), delta=1e-6)
                again = attn.attention_grad(**given, **flows)  # which computes the result once more
                again = {**again._asdict(), **again.params}[name]
                np.testing.assert_allclose(again, gradient, 1e-12, 1e-13)
                alone = attn.attention_grad(**given, **flows, result=result, wanted=[name])
                alone = {other: made for other, made in {**alone._asdict(), **alone.params}.items()
                         if made is not None and other != "params"}
                self.assertEqual(list(alone), [name])
                np.testing.assert_array_equal(alone[name], gradient)

    def test_sinks_are_a_key_more(self):
        sinks = np.array([0.5, -1, 0, 2], "f8")
        query, key, value = (x.astype("f8") for x in (self.query, self.key, self.value))
        more = [np.concatenate([x, np.zeros_like(x[:, :, :1])], 2) for x in (key, value)]
        bias = np.zeros((1, Hq, 1, Tk + 1))
        bias[..., -1] = sinks[:, None]
        bias = np.broadcast_to(bias, (B, Hq, Tq, Tk + 1))
        returns = {"return_weights": True, "return_logsumexp": True}
        for dtype in "f8", "f4":
            for rule in ({}, {"softcap": 0.8, "temperature": 0.5}, {"scale": 0.3}):
                with self.subTest(dtype, **rule):
                    context, weights, logsumexp = expected(query, *more, bias=bias, **rule)
                    given = [x.astype(dtype) for x in (query, key, value)]
                    got = attn.attention(*given, sinks=sinks.astype(dtype), **returns, **rule)
                    self.same(got.context, context)
                    self.same(got.weights, weights[..., :-1])
                    self.same(got.logsumexp, logsumexp)
                    mechanism = attn.Mechanism(sinks=sinks.astype(dtype), **rule)
                    again = mechanism.forward(*given, **returns)
                    for mine, other in zip(got[:3], again[:3]):
                        np.testing.assert_array_equal(mine, other)
                    plain = attn.attention(*given, **rule)  # these are not those of a rule that has been used
                    mechanism.set_sinks(None)
                    np.testing.assert_array_equal(mechanism(*given), plain)
                    self.same(plain, expected(query, key, value, **rule)[0])
        other = attn.attention(query, key, value, sinks=sinks + 1)
        self.same(other, expected(query, *more, bias=bias + (np.arange(Tk + 1) == Tk))[0])
        unseen = attn.attention(query, key, value, sinks=sinks, temperature=0.5, mask=np.zeros((Tq, Tk), bool),
                                return_logsumexp=True)
        np.testing.assert_array_equal(unseen.context, np.zeros_like(unseen.context))
        self.same(unseen.logsumexp, np.broadcast_to(2 * sinks[:, None], (B, Hq, Tq)))

    def test_gradients_of_sinks(self):
        normal = functools.partial(self.normal, dtype="f8")
        flows = {"d_context": normal(B, Hq, Tq, 3), "d_logsumexp": normal(B, Hq, Tq)}
        rule = {"temperature": 0.7, "causal": "bottom_right"}
        start = {"query": normal(B, Hq, Tq, D), "key": normal(B, Hk, Tk, D), "value": normal(B, Hk, Tk, 3),
                 "sinks": normal(Hq)}

        def loss(**moved):
            result = attn.attention(**{**start, **moved}, **rule, return_logsumexp=True)
            return (flows["d_context"] * result.context).sum() + (flows["d_logsumexp"] * result.logsumexp).sum()

        result = attn.attention(**start, **rule, return_logsumexp=True)
        gradients = attn.attention_grad(**start, **flows, **rule, result=result)
        for name, array in start.items():
            with self.subTest(name):
                way, step = normal(*array.shape), 1e-5
                after, before = (loss(**{name: array + sign * step * way}) for sign in (1, -1))
                gradient = getattr(gradients, name)
                self.assertEqual((gradient.shape, gradient.dtype), (array.shape, array.dtype))
                self.assertAlmostEqual((after - before) / (2 * step), (gradient * way).sum(), delta=1e-6)
        alone = attn.attention_grad(**start, **flows, **rule, wanted=["sinks"])
        self.same(alone.sinks, gradients.sinks)
        self.assertEqual((alone.query, alone.key, alone.value, alone.alibi, alone.relative), (None,) * 5)
        self.assertIsNone(attn.attention_grad(**{**start, "sinks": None}, **flows, **rule).sinks)

        flow = normal(B, Hq, Tq, Tk)  # through the weights the others have gradients, too
        of_weights = lambda **moved: (flow * attn.attention(**{**start, **moved}, **rule, return_weights=True).weights).sum()
        beside = attn.attention_grad(None, **start, d_weights=flow, **rule, wanted=["query", "key"])
        for name in "query", "key":
            way, step = normal(*start[name].shape), 1e-5
            after, before = (of_weights(**{name: start[name] + sign * step * way}) for sign in (1, -1))
            self.assertAlmostEqual((after - before) / (2 * step), (getattr(beside, name) * way).sum(), delta=1e-6)

    def test_sinks_that_are_refused(self):
        sinks = np.zeros(Hq, "f4")
        for error, given in ((attn.ShapeError, {"sinks": sinks[1:]}), (attn.ShapeError, {"sinks": sinks[None]}),
                             (attn.DTypeError, {"sinks": sinks.astype("f8")}), (attn.DTypeError, {"sinks": [0.0] * Hq}),
                             (attn.UnsupportedError, {"sinks": sinks, "normaliser": "hardmax"})):
            with self.subTest(given.keys()), self.assertRaisesRegex(error, "sinks"):
                attn.attention(self.query, self.key, self.value, **given)
        flows = {"d_context": self.normal(B, Hq, Tq, 3), "d_weights": self.normal(B, Hq, Tq, Tk)}
        with self.assertRaisesRegex(attn.UnsupportedError, "d_sinks.*d_weights"):
            attn.attention_grad(**flows, query=self.query, key=self.key, value=self.value, sinks=sinks)
        attn.attention_grad(**flows, query=self.query, key=self.key, value=self.value, sinks=sinks, wanted=["query"])
        self.same(attn.attention(self.query, self.key, self.value), expected(self.query, self.key, self.value)[0])
        mechanism = attn.Mechanism(sinks=sinks)
        with self.assertRaisesRegex(attn.ShapeError, "sinks"):
            mechanism.set_sinks(sinks[None])
        self.assertIs(mechanism.sinks, sinks)  # a refused one changes nothing

    def test_gradients_of_fewer_dimensions(self):
        query, key, d_context = self.query[0, 0, 0], self.key[0, 0], self.normal(D)
        result = attn.attention(query, key, return_logsumexp=True)
        got = attn.attention_grad(d_context, query, key, d_logsumexp=np.array(0.5, "f4"), result=result)
        weights = expected(query[None, None, None], key[None, None], key[None, None])[1][0, 0, 0]
        inner = key @ d_context
        d_score = weights * (inner - weights @ inner + 0.5) / np.sqrt(D)
        self.assertEqual((got.value, got.bias, got.params), (None, None, {}))
        self.same(got.query, d_score @ key)
        self.same(got.key, np.outer(d_score, query) + np.outer(weights, d_context))

    def test_gradients_that_are_refused(self):
        result = attn.attention(self.query, self.key, return_logsumexp=True)
        flow = {"d_context": self.normal(B, Hq, Tq, D)}
        for error, given in ((TypeError, {"result": result.context}),
                             (TypeError, {"result": result._replace(logsumexp=None)}),
                             (ValueError, {"wanted": ["bias"]}), (TypeError, {"bias": [0.0]}),
                             (attn.Error, {"d_context": None}), (attn.Error, {"normaliser": "hardmax"}),
                             (attn.Error, {"d_context": self.query[..., :-1]})):
            with self.subTest(given.keys()), self.assertRaises(error):
                attn.attention_grad(**{"result": result, "query": self.query, "key": self.key, **flow, **given})

    def test_fewer_dimensions(self):
        query, key, value = self.query[0, 0], self.key[0, 0], self.value[0, 0]
        want = [x[0, 0] for x in expected(*(x[None, None] for x in (query, key, value)))]
        for q, pick in ((query, slice(None)), (query[1], 1)):
            got = attn.attention(q, key, value, return_weights=True, return_logsumexp=True)
            for array, wanted in zip(got, want):
                self.assertEqual(array.shape, wanted[pick].shape)
                self.same(array, wanted[pick])

    def test_any_strides_and_an_output_of_the_callers(self):
        query, key = self.query.transpose(0, 2, 1, 3).copy().transpose(0, 2, 1, 3), self.key[..., ::-1]
        out = np.zeros((B, Tq, Hq, 3), "f4").transpose(0, 2, 1, 3)
        value = np.broadcast_to(self.value[:1], self.value.shape)
        self.assertIs(attn.attention(query, key, value, out=out), out)
        self.same(out, expected(query, key, value)[0])

    def test_nothing_is_converted(self):
        for query, error in ((self.query.tolist(), TypeError), (self.query.astype(">f4"), TypeError),
                             (self.query.astype("c8"), TypeError), (self.query.astype("f2"), attn.Error),
                             (self.query.astype("i8"), attn.Error), (self.query.astype("f8"), attn.Error),
                             (self.query[None], ValueError),
                             (np.zeros((Tq, D), "u1,f4")["f1"], ValueError)):
            with self.subTest(str(getattr(query, "dtype", "list"))), self.assertRaises(error):
                attn.attention(query, self.key, self.value)

    def test_a_refusal_is_the_librarys_sentence(self):
        with self.assertRaisesRegex(attn.Error, r"attn_forward: query has dimension 6 and key 5") as caught:
            attn.attention(self.query, self.key[..., :-1], self.value)
        self.assertEqual(caught.exception.status, "ATTN_ERR_SHAPE")
        for given in ({"mask": self.query}, {"temperature": 0.0}, {"params": {"W": self.query}},
                      {"score": "additive", "params": {"W": self.normal(A, D), "v": self.normal(A)}},
                      {"query_start": 3, "causal": "bottom_right"}, {"out": self.query}):
            with self.subTest(list(given)), self.assertRaises(attn.Error) as caught:
                attn.attention(self.query, self.key, self.value, **given)
            self.assertTrue(str(caught.exception))

    def test_words_that_are_none(self):
        for given in ({"score": "cosine"}, {"causal": "usual"}, {"causal": True}, {"window": (1, 1)},
                      {"alibi": (self.query,)}, {"normaliser": "l1"}, {"return_scores": "all"}, {"score": "general"}):
            with self.subTest(given.keys()), self.assertRaises(ValueError):
                attn.attention(self.query, self.key, self.value, **given)
        frozen = np.zeros((B, Hq, Tq, 3), "f4")
        frozen.flags.writeable = False
        with self.assertRaises(ValueError):
            attn.attention(self.query, self.key, self.value, out=frozen)

    def test_a_call_keeps_no_array(self):
        slopes, sinks, W = np.ones(Hq, "f4"), np.zeros(Hq, "f4"), self.normal(D, D)
        before = sys.getrefcount(slopes), sys.getrefcount(sinks), sys.getrefcount(W)
        rule = {"score": "general", "params": {"W": W}, "alibi": (slopes, "top_left"), "sinks": sinks}
        result = attn.attention(self.query, self.key, **rule, return_logsumexp=True)
        attn.attention_grad(result.context, self.query, self.key, **rule, result=result)
        del rule
        gc.collect()
        self.assertEqual((sys.getrefcount(slopes), sys.getrefcount(sinks), sys.getrefcount(W)), before)

    def test_a_mechanism_keeps_its_sinks(self):
        sinks = np.full(Hq, 0.5, "f4")
        before = sys.getrefcount(sinks)
        mechanism = attn.Mechanism(sinks=sinks)
        self.assertGreater(sys.getrefcount(sinks), before)
        want = attn.attention(self.query, self.key, self.value, sinks=sinks)
        np.testing.assert_array_equal(mechanism(self.query, self.key, self.value), want)
        sinks += 1  # what is borrowed is read anew
        np.testing.assert_array_equal(mechanism(self.query, self.key, self.value),
                                      attn.attention(self.query, self.key, self.value, sinks=sinks))
        mechanism.set_sinks(None)
        self.assertEqual(sys.getrefcount(sinks), before)

    def test_more_rules_than_are_kept(self):
        for n in range(100):
            scale = 0.01 * (n % 50)
            self.same(attn.attention(self.query, self.key, scale=scale),
                      expected(self.query, self.key, self.key, scale=scale)[0])

    def test_many_threads_with_parameters_of_their_own(self):
        wrong = []

        def work(seed):
            W = np.random.default_rng(seed).standard_normal((D, D)).astype("f4")
            want = attn.attention(self.query @ W, self.key, self.value, score="dot")
            for _ in range(100):
                got = attn.attention(self.query, self.key, self.value, score="general", params={"W": W})
                if not np.allclose(got, want, 1e-4, 1e-4):
                    wrong.append(seed)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])

    def test_prepared_call_that_is_reserved(self):
        context = np.empty((B, Hq, Tq, 3), "f4")
        call = attn.Call(attn.Mechanism(causal="top_left", engine=attn.Engine(threads=1, way="blas")), query=self.query,
                         key=self.key, value=self.value, context=context).reserve()
        for _ in range(2):
            call.run()
            self.same(context, attn.attention(self.query, self.key, self.value, causal="top_left"))
            self.query *= 0.5

    def test_info(self):
        about = attn.info(threads=2)
        self.assertEqual((about["version"], about["threads"]), (attn.version, 2))


if __name__ == "__main__":
    unittest.main()
