# SPDX-License-Identifier: BSD-3-Clause
"""test_precision.py: precision="fast": who takes the word, that it reaches the library, and how near what comes of it is
to what is exact. Needs NumPy alone."""

import contextlib
import sys
import unittest
from pathlib import Path
from unittest import mock

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import attn
from attn import _attention, _rule
from test_dtypes import wide
from test_quantised import drawn, quantised

NEAR = 2.0**-7  # of the greatest of the numbers
BF16 = attn.bfloat16


@contextlib.contextmanager
def heard():
    """What the library is told of precision meanwhile, by whatever mechanisms are made."""
    words, tell = [], _rule.lib.attn_mechanism_set_precision
    _attention._plain.clear()
    _attention._free.clear()

    def hear(handle, word):
        words.append(word)
        return tell(handle, word)

    with mock.patch.object(_rule.lib, "attn_mechanism_set_precision", hear):
        yield words


class Precision(unittest.TestCase):
    def three(self, dtype, queries=64):
        return [drawn(1, heads, length, 64, dtype=dtype) for heads, length in ((4, queries), (2, 256), (2, 256))]

    def near(self, got, want):
        got, want = (np.asarray(x, "f8") if x.dtype.kind == "f" else wide(x) for x in (got, want))
        self.assertEqual(got.shape, want.shape)
        self.assertLessEqual(np.abs(got - want).max(), NEAR * np.abs(want).max())
        self.assertGreater(np.abs(want).max(), 0)

    def as_described(self, function, kind):
        """What function(queries, precision) gives is near; it has the same bits where this CPU has nothing that is
        faster, and where it has, others for one query or for many."""
        same = []
        for queries in (1, 64):
            got, want = (function(queries, word) for word in ("fast", "exact"))
            self.near(got, want)
            same.append(got.tobytes() == want.tobytes())
        self.assertEqual(all(same), attn.info()["fast"][kind] == "exact")

    def test_the_library_is_told(self):
        q, k, v = self.three(BF16, 2)
        W, slopes = {"W": np.eye(64, dtype="f4")}, (np.ones(4, "f4"), "top_left")
        made = attn.attention(q, k, v, return_logsumexp="exact")
        ways = {
            "attention": lambda **given: attn.attention(q, k, v, **given),
            "attention with params": lambda **given: attn.attention(q, k, v, score="general", params=W, **given),
            "attention with slopes": lambda **given: attn.attention(q, k, v, alibi=slopes, **given),
            "attention with a list": lambda **given: attn.attention(q, k, v, window=[1, 1, "top_left"], **given),
            "attention_grad": lambda **given: attn.attention_grad(q, q, k, v, result=made, **given),
            "attention_grad without a result": lambda **given: attn.attention_grad(q, q, k, v, **given),
            "Mechanism": lambda **given: attn.Mechanism("general", params=W, **given),
        }
        for name, way in ways.items():
            for given, want in (({"precision": "fast"}, [1]), ({"precision": "exact"}, []), ({}, [])):
                with self.subTest(name, **given), heard() as words:
                    way(**given)
                    self.assertEqual(words, want)
            for word in ("quick", "Fast", 1, None):
                with self.subTest(name, word=word), self.assertRaisesRegex(
                        attn.ArgumentError, f"precision is {word!r}, but it is one of 'exact', 'fast'$"):
                    way(precision=word)
        with heard() as words:
            mechanism = attn.Mechanism(precision="fast")
            mechanism.set_precision("exact")
            mechanism.set_precision("fast")
            with self.assertRaisesRegex(attn.ArgumentError, "precision is 'quick', but it is one of 'exact', 'fast'$"):
                mechanism.set_precision("quick")
        self.assertEqual(words, [1, 0, 1])

    def test_it_is_kept_apart_from_what_is_exact(self):
        """Mechanisms behind attention() are kept: none of the one rule is taken for the other."""
        q, k, v = self.three(BF16, 2)
        for more in ({}, {"score": "general", "params": {"W": np.eye(64, dtype="f4")}}):
            with heard() as words:
                for word in ("exact", "fast", "exact", "fast"):
                    attn.attention(q, k, v, precision=word, **more)
                self.assertEqual(words, [1])
                self.assertEqual(len(_attention._free if more else _attention._plain), 2)

    def test_bfloat16_is_near(self):
        q, k, v = self.three(BF16)
        for more in ({}, {"causal": "bottom_right"}, {"mask": np.arange(256) % 3 > 0}, {"key_lengths": [200]},
                     {"softcap": 5.0, "temperature": 0.7}, {"normaliser": "hardmax"}, {"dropout": 0.25, "seed": 3}):
            with self.subTest(**more):
                self.near(attn.attention(q, k, v, precision="fast", **more), attn.attention(q, k, v, **more))
        self.as_described(lambda queries, word: attn.attention(
            q[:, :, :queries], k, v, precision=word, out=np.zeros((1, 4, queries, 64), "f4")), "bf16")

    def test_integers_are_near(self):
        q, k, v = self.three(np.dtype("f4"))
        (k, of_keys, _), (v, of_values, _) = map(quantised, (k, v))
        scales = {"key_scales": of_keys, "value_scales": of_values}
        self.as_described(lambda queries, word: attn.attention(q[:, :, :queries], k, v, **scales, precision=word), "i8")

    def test_other_types_have_the_same_bits(self):
        for dtype in (np.dtype("f4"), np.dtype("f2")):
            given = self.three(dtype)
            np.testing.assert_array_equal(attn.attention(*given, precision="fast"), attn.attention(*given))
        given = [x.astype("f8") for x in self.three(np.dtype("f4"))]
        np.testing.assert_array_equal(attn.attention(*given, precision="fast"), attn.attention(*given))

    def test_weights_that_are_asked_for_are_not_rounded(self):
        given, more = self.three(BF16), {"return_weights": True, "return_logsumexp": True, "return_stats": True}
        got, want = (attn.attention(*given, **more, precision=word) for word in ("fast", "exact"))
        for mine, exact in ((got.weights, want.weights), (got.logsumexp, want.logsumexp),
                            (got.stats.entropy, want.stats.entropy), (got.stats.key_sums, want.stats.key_sums)):
            np.testing.assert_allclose(mine, exact, rtol=1e-4, atol=1e-6)
        self.near(got.context, want.context)

    def test_gradients_are_exact(self):
        """From the same result they have the same bits; from a fast one they are near."""
        q, k, v = self.three(BF16)
        flow = drawn(1, 4, 64, 64, dtype=BF16)
        made = attn.attention(q, k, v, return_logsumexp="exact")
        want = attn.attention_grad(flow, q, k, v, result=made)
        same = attn.attention_grad(flow, q, k, v, result=made, precision="fast")
        again = attn.attention_grad(flow, q, k, v, precision="fast")
        for name in ("query", "key", "value"):
            np.testing.assert_array_equal(wide(getattr(same, name)), wide(getattr(want, name)))
            self.near(getattr(again, name), getattr(attn.attention_grad(flow, q, k, v), name))

    def test_a_mechanism_may_change_it(self):
        """Also where calls of the same form were laid out before, and in one that is laid out once."""
        given, mechanism = self.three(BF16), attn.Mechanism()
        exact, fast = attn.attention(*given), attn.attention(*given, precision="fast")
        context = np.zeros_like(exact)
        call = mechanism.call(*given, context=context)
        for word, want in (("exact", exact), ("fast", fast), ("exact", exact)):
            mechanism.set_precision(word)
            np.testing.assert_array_equal(wide(mechanism(*given)), wide(want))
            call.run()
            np.testing.assert_array_equal(wide(context), wide(want))

    def test_memories_and_layers_compute_by_it(self):
        q, k, v = self.three(BF16, 4)
        exact, fast = attn.Mechanism(), attn.Mechanism(precision="fast")
        for dtype in (BF16, "i8"):
            self.near(*(one(q, memory=attn.Memory.of(one, k, v, dtype=dtype)) for one in (fast, exact)))
        x = drawn(1, 40, 64, dtype=BF16)
        params = {name: drawn(64, 64) / 8 for name in ("W_q", "W_k", "W_v", "W_o")}
        self.near(*(attn.MultiHead(64, 2, mechanism=one, bias=False, params=params)(x) for one in (fast, exact)))


if __name__ == "__main__":
    unittest.main()
