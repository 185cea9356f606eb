# SPDX-License-Identifier: BSD-3-Clause
"""command_stats.py COMMAND: attn stats, against the formulas in NumPy, of weights of every rank; as a table and as JSON."""

import json
import unittest

import numpy as np
from command_support import InAnEmptyFolder, attn, softmax


def stats(weights):
    """Entropy, strongest key and sums by key of weights [.., rows, keys], rows being divided by their sums."""
    weights = np.asarray(weights, np.float64)
    total = weights.sum(-1, keepdims=True)
    shares = weights / np.where(total > 0, total, 1)
    entropy = -(shares * np.log(np.where(shares > 0, shares, 1))).sum(-1)
    return entropy, np.where(total[..., 0] > 0, weights.argmax(-1), -1), weights.sum(-2) if weights.ndim > 1 else weights


class Stats(InAnEmptyFolder):
    def weights(self, *shape, dtype="f4"):
        w = softmax(3 * self.random.standard_normal(shape))
        if w.ndim > 1 and w.shape[-2] > 1:
            w[..., 1, :] = 0         # a row that sees nothing
            w[..., -1, :] *= 0.5     # and one that dropout has left other weights
        return w.astype(dtype)

    def test_are_those_of_the_formulas(self):
        for shape in (7,), (1, 5), (4, 7), (3, 4, 7), (2, 3, 4, 7), (1, 1, 3, 2):
            for dtype in "f4", "f8":
                w = self.weights(*shape, dtype=dtype)
                np.save("w.npy", w)
                np.save("fortran.npy", np.asfortranarray(w))
                entropy, strongest, sums = stats(w)
                for name in "w.npy", "fortran.npy":
                    got = json.loads(self.good("stats", name, "--json"))
                    self.assertEqual(list(got), ["entropy", "effective_keys", "strongest", "key_sums"])
                    for member, want in (("entropy", entropy), ("effective_keys", np.exp(entropy)), ("key_sums", sums)):
                        self.assertEqual(np.shape(got[member]), want.shape)
                        np.testing.assert_allclose(got[member], want, rtol=1e-12, atol=1e-12)
                    np.testing.assert_array_equal(got["strongest"], strongest)

    def test_run_has_them_of_weights_that_it_makes(self):
        for query, key in (((6,), (7, 6)), ((5, 6), (7, 6)), ((4, 9, 6), (2, 7, 6)), ((2, 4, 5, 6), (2, 2, 7, 6))):
            for dtype in "f4", "f8":
                self.normal("query.npy", *query, dtype=dtype)
                self.normal("key.npy", *key, dtype=dtype)
                run = ("run", "--score", "dot", "--causal", "bottom-right", "--query", "query.npy", "--key", "key.npy")
                names = ("entropy", "strongest", "key-sums")
                self.good(*run, "--weights", "w.npy")
                self.good(*run, *(x for name in names for x in ("--" + name, name + ".npy")))
                weights = np.load("w.npy")
                for name, want in zip(names, stats(weights)):
                    got = np.load(name + ".npy")
                    self.assertEqual(got.dtype, np.int64 if name == "strongest" else weights.dtype)
                    self.assertEqual(got.shape, want.shape or (1,))
                    np.testing.assert_allclose(got, want.reshape(got.shape), rtol=1e-5, atol=1e-5, err_msg=name)

    def test_the_table_says_the_same(self):
        w = self.weights(2, 3, 4, 7)
        np.save("w.npy", w)
        entropy, strongest, sums = stats(w)
        text = self.good("stats", "w.npy").decode()
        matrices = text.split("\n\n")
        self.assertEqual(len(matrices), 6)
        for k, matrix in enumerate(matrices):
            lines = matrix.split("\n")
            self.assertEqual(lines[0], f"batch {k // 3}, head {k % 3}")
            self.assertEqual(lines[1].split(), ["query", "entropy", "keys", "strongest"])
            for i in range(4):
                at = (k // 3, k % 3, i)
                number, own, keys, key = lines[2 + i].split()
                self.assertEqual((int(number), key), (i, "none" if strongest[at] < 0 else str(strongest[at])))
                self.assertAlmostEqual(float(own), entropy[at], delta=6e-5)
                self.assertAlmostEqual(float(keys), np.exp(entropy[at]), delta=6e-3)
            self.assertEqual(lines[6].split(), ["key", "sum"])
            for j in range(7):
                number, own = lines[7 + j].split()
                self.assertEqual(int(number), j)
                self.assertAlmostEqual(float(own), sums[k // 3, k % 3, j], delta=6e-5)
        np.save("one.npy", w[0, 0])
        self.assertTrue(self.good("stats", "one.npy").decode().lstrip().startswith("query"))

    def test_of_what_attn_run_writes(self):
        np.save("q.npy", self.random.standard_normal((2, 3, 4)).astype("f4"))
        np.save("k.npy", self.random.standard_normal((2, 5, 4)).astype("f4"))
        self.good("run", "--score", "dot", "--query", "q.npy", "--key", "k.npy", "--causal", "top-left", "--weights", "w.npy")
        got = json.loads(self.good("stats", "w.npy", "--json"))
        np.testing.assert_allclose(np.ravel(got["entropy"])[[0, 3]], 0, atol=1e-6)
        self.assertEqual([row[0] for row in got["strongest"]], [0, 0])

    def test_refuses_what_are_no_weights(self):
        np.save("whole.npy", np.arange(3))
        np.save("negative.npy", np.array([[0.5, -0.5]], "f4"))
        np.save("nan.npy", np.array([np.nan]))
        np.save("infinite.npy", np.array([np.inf]))
        np.save("w.npy", np.ones(3, "f4"))
        for arguments, sentence in ((("whole.npy",), "f2, f4, f8 or bfloat16"), (("negative.npy",), "row 0, column 1"), (("nan.npy",), "finite"),
                                    (("infinite.npy",), "finite"), (("none.npy",), "none.npy"), ((), "weights"),
                                    (("w.npy", "w.npy"), "w.npy"), (("w.npy", "--jason"), "jason")):
            self.bad("stats", *arguments, sentence=sentence)
        self.assertIn(b"usage: attn stats", attn("stats", "--help").stdout)


if __name__ == "__main__":
    unittest.main(verbosity=1)
