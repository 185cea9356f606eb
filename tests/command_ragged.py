# SPDX-License-Identifier: BSD-3-Clause
"""command_ragged.py COMMAND: attn run --query-offsets, --key-offsets, --page-table and --mask-align: each sequence is what a
run of it alone writes."""

import unittest

import numpy as np
from command_support import InAnEmptyFolder

RUN = "run", "--score", "scaled-dot"
QUERY_OFFSETS, KEY_OFFSETS = (0, 3, 3, 4, 9), (1, 6, 8, 8, 15)  # one without queries, one without keys
OUTPUTS = "context", "weights", "logsumexp", "entropy", "strongest", "key-sums"


class Ragged(InAnEmptyFolder):
    def setUp(self):
        super().setUp()
        draw = np.random.default_rng(3)
        shapes = {"query": (1, 4, 10, 6), "key": (1, 2, 17, 6), "value": (1, 2, 17, 3), "d-context": (1, 4, 10, 3)}
        self.tensors = {name: draw.standard_normal(shape).astype("f4") for name, shape in shapes.items()}
        np.save("query_offsets.npy", np.array(QUERY_OFFSETS, "i4"))
        np.save("key_offsets.npy", np.array(KEY_OFFSETS, "i8"))
        self.offsets = "--query-offsets", "query_offsets.npy", "--key-offsets", "key_offsets.npy"

    def computed(self, tensors, options=()):
        """What is written of these tensors."""
        for name, tensor in tensors.items():
            np.save(f"{name}.npy", tensor)
        files = (x for name in tensors for x in ("--" + name, name + ".npy"))
        named = (x for name in OUTPUTS for x in ("--" + name, f"out_{name}.npy"))
        self.good(*RUN, *files, *named, "--grad-out", ".", *options)
        made = {name: np.load(f"out_{name}.npy") for name in OUTPUTS}
        return {**made, **{name: np.load(name + ".npy") for name in ("d_query", "d_key", "d_value")}}

    def test_each_sequence_is_what_it_is_alone(self):
        for options in ((), ("--causal", "bottom-right")):
            got = self.computed(self.tensors, (*self.offsets, *options))
            self.assertEqual(got["weights"].shape, (1, 4, 10, 7))
            self.assertEqual(got["key-sums"].shape, (1, 4, 17))
            for b in range(4):
                q, k = slice(*QUERY_OFFSETS[b:b + 2]), slice(*KEY_OFFSETS[b:b + 2])
                rows = {"query": q, "key": k, "value": k, "d-context": q}
                want = self.computed({name: x[:, :, rows[name]] for name, x in self.tensors.items()}, options)
                for name in ("context", "logsumexp", "entropy", "strongest", "d_query"):
                    np.testing.assert_array_equal(got[name][:, :, q], want[name], name)
                for name in ("key-sums", "d_key", "d_value"):
                    np.testing.assert_array_equal(got[name][:, :, k], want[name], name)
                np.testing.assert_array_equal(got["weights"][:, :, q, :k.stop - k.start], want["weights"])
            unseen = {name: got[name][:, :, 9] for name in ("context", "weights", "entropy", "d_query")}
            self.assertFalse(any(x.any() for x in unseen.values()))
            self.assertTrue((got["logsumexp"][:, :, 9] == -np.inf).all() and (got["strongest"][:, :, 9] == -1).all())
            self.assertFalse(got["d_key"][:, :, [0, 15, 16]].any())

    def test_either_may_be_ragged(self):
        np.save("padded.npy", np.random.default_rng(4).standard_normal((4, 2, 6, 6)).astype("f4"))
        np.save("lengths.npy", np.array([6, 0, 2, 5]))
        np.save("query.npy", self.tensors["query"])
        self.good(*RUN, "--query", "query.npy", "--key", "padded.npy", "--lengths", "lengths.npy", *self.offsets[:2],
                  "--context", "c.npy", "--key-sums", "sums.npy")
        np.save("query.npy", self.tensors["query"][:, :, 4:9])
        np.save("padded.npy", np.load("padded.npy")[3:, :, :5])
        self.good(*RUN, "--query", "query.npy", "--key", "padded.npy", "--context", "own.npy", "--key-sums", "own_sums.npy")
        np.testing.assert_allclose(np.load("c.npy")[:, :, 4:9], np.load("own.npy"), atol=1e-6)
        self.assertEqual(np.load("sums.npy").shape, (4, 4, 6))
        np.testing.assert_allclose(np.load("sums.npy")[3:, :, :5], np.load("own_sums.npy"), atol=1e-6)

    def test_a_mask_may_be_of_the_last_keys(self):
        tree, whole = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 1]], bool), np.ones((3, 17), bool)
        whole[:, -3:] = tree
        tensors = {**self.tensors, "query": self.tensors["query"][:, :, :3], "d-context": self.tensors["d-context"][:, :, :3]}
        np.save("tree.npy", tree)
        np.save("whole.npy", whole)
        got = self.computed(tensors, ("--mask", "tree.npy", "--mask-align", "bottom-right"))
        want = self.computed(tensors, ("--mask", "whole.npy"))
        for name in got:
            np.testing.assert_array_equal(got[name], want[name], name)

    def test_keys_may_lie_in_pages(self):
        draw, lengths = np.random.default_rng(5), (7, 0, 5)
        pages = {"key": draw.standard_normal((6, 2, 3, 6)).astype("f4"), "value": draw.standard_normal((6, 2, 3, 4)).astype("f4")}
        query = draw.standard_normal((3, 4, 2, 6)).astype("f4")
        table = np.array([[4, 0, 5], [-1, 77, -3], [4, 2, 99]], "i4")
        np.save("table.npy", table)
        np.save("packed.npy", np.array([9, 4, 0, 5, 4, 2]))
        np.save("ends.npy", np.array([1, 4, 4, 6], "i4"))
        np.save("lengths.npy", np.array(lengths))
        outputs = [x for name in OUTPUTS for x in ("--" + name, f"out_{name}.npy")]
        for options in (("--page-table", "table.npy"), ("--page-table", "packed.npy", "--page-offsets", "ends.npy")):
            np.save("query.npy", query)
            for name, array in pages.items():
                np.save(f"{name}.npy", array)
            run = *RUN, "--query", "query.npy", "--key", "key.npy", "--value", "value.npy", *outputs
            self.good(*run, "--lengths", "lengths.npy", *options, "--causal", "bottom-right")
            got = {name: np.load(f"out_{name}.npy") for name in OUTPUTS}
            self.assertEqual((got["weights"].shape, got["key-sums"].shape), ((3, 4, 2, 7), (3, 4, 7)))
            for b, length in enumerate(lengths):
                own = [4, 0, 5] if b == 0 else [4, 2]
                np.save("query.npy", query[b:b + 1])
                for name, array in pages.items():
                    together = np.concatenate([array[page] for page in own], 1)
                    np.save(f"{name}.npy", together[None, :, :length])
                self.good(*run, "--causal", "bottom-right")
                for name in ("context", "logsumexp", "entropy", "strongest"):
                    np.testing.assert_allclose(got[name][b], np.load(f"out_{name}.npy")[0], 1e-5, 1e-6, err_msg=name)
                np.testing.assert_allclose(got["weights"][b, ..., :length], np.load("out_weights.npy")[0], 1e-5, 1e-6)
        for name, array in (("query", query), *pages.items()):
            np.save(f"{name}.npy", array)
        np.save("long.npy", np.array([7, 0, 10**17]))
        run = *RUN, "--query", "query.npy", "--key", "key.npy", "--value", "value.npy", "--weights", "w.npy"
        lengths = "--lengths", "lengths.npy", "--page-table", "table.npy"
        for options, words in ((lengths[2:], "key_lengths is NULL"), (("--page-offsets", "ends.npy"), "--page-table"),
                               (("--lengths", "long.npy", *lengths[2:]), "key_lengths[2]"),
                               ((*lengths, "--page-offsets", "ends.npy"), "page_table has 3 rows"),
                               ((*lengths, "--rope", "halves"), "--rope"), ((*lengths, "--incremental"), "--incremental"),
                               ((*lengths, *self.offsets[2:]), "key_offsets")):
            with self.subTest(options):
                self.bad(*run, *options, sentence=words)

    def test_refusals(self):
        for name, tensor in self.tensors.items():
            np.save(f"{name}.npy", tensor)
        np.save("down.npy", np.array([0, 3, 2, 4, 9]))
        np.save("far.npy", np.array([0, 3, 3, 4, 99]))
        np.save("short.npy", np.array([0, 3]))
        np.save("none.npy", np.array([], "i4"))
        np.save("tree.npy", np.ones((10, 2), bool))
        run = *RUN, "--query", "query.npy", "--key", "key.npy", "--value", "value.npy", "--weights", "w.npy", "--key-sums", "s.npy"
        keys = *self.offsets[2:], "--query-offsets"
        for options, words in (((*keys, "down.npy"), "query_offsets[2] is 2"), ((*keys, "far.npy"), "ends with 99"),
                               ((*keys, "short.npy"), "key_offsets has 5"), ((*keys, "none.npy"), "query_offsets is empty"),
                               ((*keys, "query.npy"), "query_offsets"), ((*keys, "w.npy"), "w.npy"),
                               (self.offsets[:2], "batch"),
                               ((*self.offsets[:2], "--key-offsets", "far.npy"), "key_offsets ends with 99"),
                               ((*self.offsets, "--rope", "halves"), "--rope"), ((*self.offsets, "--incremental"), "--incremental"),
                               (("--mask-align", "bottom-right"), "--mask"), (("--mask", "tree.npy"), "mask"),
                               (("--mask", "tree.npy", "--mask-align", "top-left"), "bottom-right"),
                               (("--mask", "tree.npy", "--mask-align", "bottom-right", "--incremental"), "--mask-align")):
            with self.subTest(options):
                self.bad(*run, *options, sentence=words)


if __name__ == "__main__":
    unittest.main(verbosity=1)
