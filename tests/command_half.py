# SPDX-License-Identifier: BSD-3-Clause
"""command_half.py COMMAND: numbers of 16 bits: float16 as f2, bfloat16 as V2, which ml_dtypes writes, or as u2 by an option.
What comes of them is what comes of the same numbers in float32, rounded once."""

import io
import json
import os
import unittest
from pathlib import Path

import numpy as np
from command_support import InAnEmptyFolder, quantised, widened


def narrowed(x, kind):
    """The numbers in 16 bits: f2, or the bits of bfloat16, to the nearest, of two to the even one."""
    if kind == "f2":
        return x.astype("f2")
    bits = np.ascontiguousarray(x, "f4").view("u4")
    return ((bits + 0x7fff + (bits >> 16 & 1)) >> 16).astype("u2").reshape(x.shape)


def save(path, x):
    """As ml_dtypes' bfloat16 is written, where it is that: with '<V2' in the header, which np.save has not for its own V2."""
    if x.dtype.kind != "u":
        return np.save(path, x)
    np.save(path, x.view("V2"))
    data = Path(path).read_bytes()
    assert data.count(b"'|V2'") == 1
    Path(path).write_bytes(data.replace(b"'|V2'", b"'<V2'"))


def load(path):
    """f2, or the bits of bfloat16, whose header must say '<V2', or whatever else there is."""
    x = np.load(path)
    if x.dtype.kind == "V":
        assert b"'descr': '<V2'" in Path(path).read_bytes()[:128]
    return x.view("<u2") if x.dtype.kind == "V" else x


KINDS = {"f2": 2.0**-11, "bf16": 2.0**-8}  # and what the nearest is off by, at most


class Half(InAnEmptyFolder):
    def both(self, kind, **shapes):
        """Writes NAME.npy in 16 bits and NAME.wide.npy in f4 with the same numbers."""
        for name, shape in shapes.items():
            x = narrowed(self.random.normal(size=shape), kind)
            save(name + ".npy", x)
            np.save(name + ".wide.npy", widened(x).astype("f4"))

    def wide(self, line):
        """The command line on the files of f4: those of the same name that are there."""
        return [x[:-len(".npy")] + ".wide.npy" if x.endswith(".npy") and Path(x.split("=")[-1][:-4] + ".wide.npy").exists() else x
                for x in line]

    def compare(self, kind, rounded, beside):
        for name in rounded:
            got, want = load(name + ".npy"), np.load("wide/" + name + ".npy")
            self.assertEqual((got.dtype, got.shape), (np.dtype("f2" if kind == "f2" else "u2"), want.shape), name)
            np.testing.assert_allclose(widened(got), want, rtol=1.001 * KINDS[kind], atol=1e-6, err_msg=name)
        for name in beside:
            got, want = np.load(name + ".npy"), np.load("wide/" + name + ".npy")
            self.assertEqual((got.dtype, got.shape), (want.dtype, want.shape), name)
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5, err_msg=name)

    def run_both(self, kind, line, rounded, beside, gradients=False):
        """Runs on both, with outputs of the two lists, and compares these."""
        os.makedirs("wide", exist_ok=True)
        for folder, given in ("", line), ("wide/", self.wide(line)):
            outputs = [x for name in (*rounded, *beside)
                       for x in ("--" + name, ("masked=" if name == "scores" else "") + folder + name + ".npy")]
            self.good(*given, *outputs, *(["--grad-out", folder or "."] if gradients else []))
        self.compare(kind, rounded, beside)

    BESIDE = ("weights", "scores", "logsumexp", "entropy", "strongest", "key-sums")
    PARAMS = {"general": {"W": (6, 6)}, "location": {"W": (9, 6)}, "concat": {"W": (8, 12), "v": (8,)}, "dot": {}, "scaled-dot": {},
              "additive": {"W": (8, 6), "U": (8, 6), "v": (8,), "b": (8,), "g": (1,)}}

    def test_every_score(self):
        for kind in KINDS:
            self.both(kind, query=(2, 4, 3, 6), key=(2, 2, 5, 6), value=(2, 2, 5, 7))
            for score, params in self.PARAMS.items():
                line = ["run", "--score", score, "--query", "query.npy", "--key", "key.npy", "--value", "value.npy"]
                for name, shape in params.items():
                    self.normal(name + ".npy", *shape)
                    line += ["--param", name + "=" + name + ".npy"]
                self.run_both(kind, line, ("context",), self.BESIDE)

    def test_modifiers(self):
        for kind in KINDS:
            self.both(kind, query=(2, 4, 3, 6), key=(2, 2, 5, 6), bias=(3, 5))
            self.normal("slopes.npy", 4)
            self.normal("table.npy", 1, 5)
            np.save("mask.npy", self.random.random((2, 1, 3, 5)) > 0.3)
            np.save("lengths.npy", np.array([5, 3], "i4"))
            line = ["run", "--score", "dot", "--query", "query.npy", "--key", "key.npy", "--bias", "bias.npy", "--mask", "mask.npy",
                    "--lengths", "lengths.npy", "--alibi", "slopes.npy", "--relative", "clipped=table.npy", "--max-distance", "2",
                    "--causal", "top-left", "--softcap", "2", "--temperature", ".7", "--dropout", ".2", "--seed", "4"]
            self.run_both(kind, line, ("context",), self.BESIDE)
            for way in "blas", "tiles":
                self.run_both(kind, [*line, "--way", way], ("context",), self.BESIDE)

    def test_gradients(self):
        for kind in KINDS:
            self.both(kind, query=(2, 4, 3, 6), key=(2, 2, 5, 6), value=(2, 2, 5, 7), bias=(3, 5), d_context=(2, 4, 3, 7))
            self.normal("W.npy", 6, 6)
            self.normal("slopes.npy", 4)
            self.normal("d_weights.npy", 2, 4, 3, 5)
            self.normal("d_logsumexp.npy", 2, 4, 3)
            line = ["run", "--score", "general", "--param", "W=W.npy", "--query", "query.npy", "--key", "key.npy", "--value", "value.npy",
                    "--bias", "bias.npy", "--alibi", "slopes.npy", "--align", "top-left", "--d-weights", "d_weights.npy",
                    "--d-logsumexp", "d_logsumexp.npy"]
            rounded, beside = ("d_query", "d_key", "d_value", "d_bias"), ("d_W", "d_alibi")
            # The context, which is read where its gradient flows in, is rounded in one call alone.
            self.run_both(kind, line, (), ("logsumexp",), gradients=True)
            self.compare(kind, [x for x in rounded if x != "d_value"], beside)
            self.run_both(kind, [*line, "--d-context", "d_context.npy"], ("context",), ("logsumexp",), gradients=True)
            for name in (*rounded, *beside):
                got, want = load(name + ".npy"), np.load("wide/" + name + ".npy")
                np.testing.assert_allclose(widened(got), want, rtol=4 * KINDS[kind], atol=4 * KINDS[kind], err_msg=name)

    def test_what_is_read(self):
        x = narrowed(self.random.normal(size=(3, 4)), "bf16")
        save("x.npy", x)
        want = self.good("run", "--score", "dot", "--query", "x.npy", "--key", "x.npy")
        got = np.load(io.BytesIO(want)).view("<u2")
        self.assertGreater(np.abs(widened(got)).max(), 0.1)
        swapped = x.view("V2")
        np.save("plain.npy", swapped)                   # '|V2': in the machine's order
        np.save("fortran.npy", np.asfortranarray(swapped))
        Path("big.npy").write_bytes(Path("plain.npy").read_bytes()[:128].replace(b"|V2", b">V2") + x.astype(">u2").tobytes())
        for name in "plain.npy", "fortran.npy", "big.npy":
            self.assertEqual(self.good("run", "--score", "dot", "--query", name, "--key", "x.npy"), want, name)
        np.save("half.npy", widened(x).astype("f2"))
        np.save("big half.npy", np.asfortranarray(widened(x).astype(">f2")))
        run = ("run", "--score", "dot", "--key", "half.npy", "--query")
        self.assertEqual(self.good(*run, "big half.npy"), self.good(*run, "half.npy"))
        self.bad(*run, "x.npy", sentence="key is ATTN_F16, but query is ATTN_BF16")

    def test_u2_is_bfloat16_if_that_is_said(self):
        x, w = narrowed(self.random.normal(size=(3, 4)), "bf16"), narrowed(self.random.normal(size=(4, 4)), "bf16")
        save("x.npy", x)
        np.save("u2.npy", x)
        np.save("big.npy", x.astype(">u2"))
        np.save("W.npy", widened(w).astype("f4"))
        run = ("run", "--score", "general", "--param", "W=W.npy", "--key", "x.npy", "--query")
        want, said = self.good(*run, "x.npy"), "--u2-is-bf16"
        self.assertEqual(self.good(*run, "u2.npy", said), want)
        self.assertEqual(self.good("run", said, *run[1:], "big.npy"), want)
        self.assertEqual(self.good(*run, "-", said, stdin=Path("u2.npy").read_bytes()), want)
        self.bad(*run, "u2.npy", sentence="u2.npy holds u2 (uint16); where these are the bits of bfloat16, attn run takes --u2-is-bf16")
        np.save("w.npy", w)
        for before, after in ((), (said,)), ((said,), ()):  # parameters too, wherever the option stands
            self.assertEqual(self.good("run", *before, "--score", "general", "--param", "W=w.npy", "--query", "x.npy", "--key", "x.npy",
                                       *after), want)
        self.bad("run", "--score", "general", "--param", "W=w.npy", "--query", "x.npy", "--key", "x.npy", sentence="w.npy holds u2")
        self.bad("run", "--decomposable", "--f", "u2.npy", "--g", "u2.npy", "--beta", "b.npy", sentence="--u2-is-bf16")
        for command in "plot", "stats":
            self.bad(command, "u2.npy", sentence="u2.npy holds u2 (uint16)")

    def test_what_is_composed(self):
        """Turned queries, Luong's step, a memory, layers, decomposable attention: as in float32."""
        for kind in KINDS:
            self.both(kind, query=(2, 5, 6), key=(2, 7, 6), value=(2, 7, 4), d_output=(2, 5, 3), d_context=(2, 5, 4),
                      x=(2, 5, 8), W_16=(8, 8), b_16=(8,), d_y=(2, 5, 8), f=(1, 1, 3, 6), g=(1, 1, 4, 6), d_beta=(1, 1, 3, 6))
            self.normal("W_c.npy", 3, 10)
            self.normal("W_32.npy", 8, 8)
            self.normal("b_32.npy", 8)
            plain = ["run", "--score", "scaled-dot", "--query", "query.npy", "--key", "key.npy", "--value", "value.npy"]
            near = {"f2": 6e-3, "bf16": 5e-2}[kind]  # of several roundings

            def lines():
                yield [*plain, "--rope", "halves"], "context", ()
                yield [*plain[:-2], "--rope", "halves", "--d-logsumexp", "d_rows.npy"], "context", ("d_query", "d_key")
                yield [*plain, "--param", "W_c=W_c.npy"], "output", ()
                yield ([*plain, "--param", "W_c=W_c.npy", "--d-output", "d_output.npy", "--d-context", "d_context.npy"], "output",
                       ("d_query", "d_key", "d_value", "d_W_c"))
                yield [*plain, "--incremental"], "context", ()
                yield [*plain, "--incremental", "--causal", "bottom-right"], "context", ()
                for bits in "32", "16":
                    layer = ["run", "--score", "scaled-dot", "--heads", "2", "--query", "x.npy",
                             *(v for n in "qkvo" for v in ("--param", "W_%s=W_%s.npy" % (n, bits), "--param", "b_%s=b_%s.npy" % (n, bits)))]
                    yield layer, "output", ()
                    yield [*layer, "--causal", "top-left", "--incremental"], "output", ()
                    yield [*layer, "--d-output", "d_y.npy"], "output", ("d_query", "d_W_q", "d_b_o")
                yield ["run", "--decomposable", "--f", "f.npy", "--g", "g.npy"], "beta", ()
                yield ["run", "--decomposable", "--f", "f.npy", "--g", "g.npy", "--d-beta", "d_beta.npy"], "beta", ("d_f", "d_g")

            self.normal("d_rows.npy", 2, 5)
            for line, output, gradients in lines():
                into = (["--grad-out", "."], ["--grad-out", "wide"]) if gradients else ([], [])
                os.makedirs("wide", exist_ok=True)
                self.good(*line, "--" + output, "out.npy", *into[0])
                self.good(*self.wide(line), "--" + output, "wide/out.npy", *into[1])
                for name in ("out", *gradients):
                    got, want = load(name + ".npy"), np.load("wide/" + name + ".npy")
                    sixteen = not (name == "d_W_c" or (name.startswith(("d_W", "d_b")) and "W_q=W_32.npy" in line))
                    self.assertEqual(got.dtype.itemsize, 2 if sixteen else 4, (line, name))
                    np.testing.assert_allclose(widened(got), want, rtol=near, atol=near * max(1, np.abs(want).max()), err_msg=str((line, name)))
                os.remove("out.npy")

    def test_memories_of_other_types(self):
        """What is kept in another type is as what that has of it, in a memory of the query's or of float32."""
        for kind in KINDS:
            self.both(kind, query=(2, 4, 5, 6), key=(2, 2, 7, 6), value=(2, 2, 7, 4))
            line = ["run", "--score", "scaled-dot", "--query", "query.npy", "--key", "key.npy", "--value", "value.npy"]
            over, want = ("--incremental", "--causal", "bottom-right", "--memory-dtype"), {"f2": "float16", "bf16": "bfloat16"}[kind]
            self.assertEqual(self.good(*line, *over, want), self.good(*line, *over[:-1]))
            self.good(*line, *over, "int8", "--context", "context.npy")
            for name in "key", "value":
                np.save(name + ".wide.npy", quantised(np.load(name + ".wide.npy"))[2])
            os.makedirs("wide", exist_ok=True)
            self.good(*self.wide(line), *over[:-1], "--context", "wide/context.npy")
            self.compare(kind, ("context",), ())
            self.bad(*line, *over, "float32", sentence="ATTN_F32")
            os.remove("key.wide.npy"), os.remove("value.wide.npy")

    def test_integers(self):
        for kind in KINDS:
            self.both(kind, query=(2, 4, 5, 6))
            for name, shape in ("key", (2, 2, 7, 6)), ("value", (2, 2, 7, 4)):
                integers, scales, meant = quantised(self.random.normal(size=shape).astype("f4"))
                np.save(name + ".npy", integers)
                np.save(name + "_scales.npy", scales)
                np.save(name + ".wide.npy", meant)
            line = ["run", "--score", "scaled-dot", "--query", "query.npy", "--key", "key.npy", "--value", "value.npy", "--causal", "top-left"]
            scales = ["--key-scales", "key_scales.npy", "--value-scales", "value_scales.npy"]
            os.makedirs("wide", exist_ok=True)
            self.good(*line, *scales, "--context", "context.npy", "--weights", "weights.npy")
            self.good(*self.wide(line), "--context", "wide/context.npy", "--weights", "wide/weights.npy")
            self.compare(kind, ("context",), ("weights",))
            os.remove("key.wide.npy"), os.remove("value.wide.npy")

    def test_precision(self):
        """What is fast is near what is exact; its bits are the same where attn info says so, and in other types."""
        fast = json.loads(self.good("info", "--json"))["fast"]

        def near(got, want, of_greatest=2.0**-7):
            got, want = (widened(x.view("<u2") if x.dtype.kind == "V" else x) for x in (got, want))
            self.assertLessEqual(np.abs(got - want).max(), of_greatest * np.abs(want).max())
            self.assertGreater(np.abs(want).max(), 0)

        def compare(line):
            """Whether they have the same bits."""
            exact = self.good(*line)
            self.assertEqual(self.good(*line, "--precision", "exact"), exact)
            got = self.good(*line, "--precision", "fast")
            near(np.load(io.BytesIO(got)), np.load(io.BytesIO(exact)))
            return got == exact

        def as_described(line, kind):
            """Where something is faster, it is for one query or for many."""
            same = [compare([name if x == "query.npy" else x for x in line]) for name in ("query.npy", "one.npy")]
            self.assertEqual(all(same), fast[kind] == "exact", line)

        line = ["run", "--score", "scaled-dot", "--query", "query.npy", "--key", "key.npy", "--value", "value.npy"]
        self.both("bf16", query=(2, 4, 64, 64), key=(2, 2, 256, 64), value=(2, 2, 256, 64), d_context=(2, 4, 64, 64))
        save("one.npy", load("query.npy")[:, :, :1])
        as_described(line, "bf16")
        self.assertTrue(compare(self.wide(line)))
        compare([*line, "--causal", "bottom-right", "--softcap", "2"])
        compare([*line, "--causal", "bottom-right", "--incremental"])
        compare([*line, "--incremental", "--memory-dtype", "int8"])
        for word in "exact", "fast":
            os.mkdir(word)
            self.good(*line, "--precision", word, "--d-context", "d_context.npy", "--grad-out", word,
                      "--context", word + "/c.npy")
        for name in "d_query", "d_key", "d_value":
            near(*(np.load("%s/%s.npy" % (word, name)) for word in ("fast", "exact")), of_greatest=2.0**-6)
        for name in "key", "value":
            integers, scales, _ = quantised(np.load(name + ".wide.npy"))
            np.save(name + ".npy", integers)
            np.save(name + "_scales.npy", scales)
        scales = ["--key-scales", "key_scales.npy", "--value-scales", "value_scales.npy"]
        np.save("one.npy", np.load("query.wide.npy")[:, :, :1])
        os.replace("query.wide.npy", "query.npy")
        as_described([*line, *scales], "i8")
        self.both("bf16", x=(1, 64, 128))
        np.save("W.npy", self.random.normal(size=(128, 128)).astype("f4") / 11)
        compare(["run", "--score", "scaled-dot", "--heads", "2", "--query", "x.npy",
                 *(v for n in "qkvo" for v in ("--param", "W_%s=W.npy" % n))])
        self.bad(*line, *scales, "--precision", "quick",
                 sentence="--precision does not know 'quick'; it takes one of exact, fast")

    def test_pictures_and_stats_of_weights(self):
        for kind in KINDS:
            weights = narrowed(self.random.random((2, 3, 4)) ** 4, kind)
            save("w.npy", weights)
            np.save("wide.npy", widened(weights))
            for command in ("stats",), ("stats", "--json"), ("plot",), ("plot", "--head", "all"):
                self.assertEqual(self.good(command[0], "w.npy", *command[1:]), self.good(command[0], "wide.npy", *command[1:]))
            for file in "w.svg", "w.html":
                self.good("plot", "w.npy", "-o", file, "--title", "t")
                got = Path(file).read_bytes()
                self.good("plot", "wide.npy", "-o", file, "--title", "t")
                self.assertEqual(got, Path(file).read_bytes())

    def test_refusals(self):
        self.both("f2", query=(3, 4), key=(5, 4))
        self.normal("f4.npy", 5, 4)
        self.normal("W8.npy", 4, 4, dtype="f8")
        run = ("run", "--score", "dot", "--query", "query.npy")
        self.refuse_all([
            ((*run, "--key", "f4.npy", "--context", "c.npy"), "key is ATTN_F32, but query is ATTN_F16"),
            (("run", "--score", "general", "--query", "query.npy", "--key", "key.npy", "--param", "W=W8.npy"), "W is ATTN_F64"),
            ((*run, "--key", "key.npy", "--u2-is-bf16=1"), "u2-is-bf16"),
            (("plot", "query.npy", "--u2-is-bf16"), "u2-is-bf16"),
        ])


if __name__ == "__main__":
    unittest.main(verbosity=1)
