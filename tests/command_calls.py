# SPDX-License-Identifier: BSD-3-Clause
"""command_calls.py COMMAND: what attn run does beside attention itself, against NumPy formulas: numbers, gradients
against the differences of the formulas, and refusals."""

import io
import os
import unittest

import numpy as np
from command_support import InAnEmptyFolder, quantised, softmax


class AttentionalStep(InAnEmptyFolder):
    RUN = ("run", "--score", "general", "--query", "query.npy", "--key", "key.npy", "--param", "W=W.npy", "--param",
           "W_c=W_c.npy")

    def make(self, **shapes):
        shapes = {"query": (2, 3, 6), "key": (2, 5, 4), "W": (6, 4), "W_c": (7, 10), **shapes}
        return {name: self.normal(name + ".npy", *shape, dtype="f8") for name, shape in shapes.items()}

    @staticmethod
    def outputs(t):
        weights = softmax(t["query"] @ t["W"] @ t["key"].swapaxes(-1, -2))
        context = weights @ t.get("value", t["key"])
        output = np.tanh(np.concatenate([context, t["query"]], -1) @ t["W_c"].T + t.get("b_c", 0))
        return {"output": output, "context": context, "weights": weights}

    def check(self, options, flows, **shapes):
        t = self.make(**shapes)
        d = self.run_with_gradients((*self.RUN, *options), self.outputs(t), flows)
        self.check_gradients(t, lambda: sum((d[name] * self.outputs(t)[name]).sum() for name in d))

    def test_output_and_gradients(self):
        self.check((), ("output",))
        self.check(("--param", "b_c=b_c.npy", "--value", "value.npy"), ("output", "context", "weights"), b_c=(7,),
                   value=(2, 5, 3), W_c=(7, 9))

    def test_the_state_of_the_step_does_not_turn(self):
        t = self.make(key=(2, 5, 6), W=(6, 6), W_c=(7, 12))
        options = ("--rope", "halves", "--query-start", "2")
        self.good(*self.RUN, *options, "--output", "o.npy", "--context", "c.npy")
        want = np.tanh(np.concatenate([np.load("c.npy"), t["query"]], -1) @ t["W_c"].T)
        np.testing.assert_allclose(np.load("o.npy"), want, atol=1e-12)
        os.mkdir("gradients")
        self.normal("d_output.npy", 2, 3, 7, dtype="f8")
        self.good(*self.RUN, *options, "--d-output", "d_output.npy", "--grad-out", "gradients")

        def loss():
            np.save("query.npy", t["query"])
            out = self.good(*self.RUN, *options)
            return (np.load(io.BytesIO(out)) * np.load("d_output.npy")).sum()

        self.assertEqual({"d_query.npy", "d_key.npy", "d_W.npy", "d_W_c.npy"}, set(os.listdir("gradients")))
        for at in ((0, 0, 0), (1, 2, 5)):
            here = t["query"][at]
            t["query"][at] = here + 1e-6
            more = loss()
            t["query"][at] = here - 1e-6
            self.assertAlmostEqual(np.load("gradients/d_query.npy")[at], (more - loss()) / 2e-6, places=6)
            t["query"][at] = here

    def test_refusals(self):
        self.make(W3=(7, 9), b_c=(7,), b_3=(3,), d_output=(2, 3, 7), d_context=(2, 3, 4), d_flat=(3, 4))
        np.save("o.npy", np.arange(3))
        os.mkdir("gradients")
        plain, out = self.RUN[:-2], ("--output", "o.npy")
        into = ("--grad-out", "gradients", *out)
        self.refuse_all([
            ((*plain, *out), "--output needs --param W_c"),
            ((*plain, "--param", "b_c=b_c.npy", "--context", "c.npy"), "--param b_c needs --param W_c"),
            ((*plain, "--d-output", "d_output.npy", "--grad-out", "gradients"), "--d-output needs --param W_c"),
            ((*self.RUN, "--context", "c.npy"), "needs --output"),
            ((*self.RUN, "--d-output", "d_output.npy", *out), "--d-output needs --grad-out"),
            ((*self.RUN, "--d-context", "d_context.npy", *into), "needs --d-output"),
            ((*self.RUN, "--d-output", "d_context.npy", *into), "d_output"),
            ((*self.RUN, "--d-output", "d_output.npy", "--d-context", "d_flat.npy", *into), "d_context"),
            ((*self.RUN, "--param", "b_c=b_3.npy", *out), "bias"),
            ((*plain, "--param", "W_c=W3.npy", *out), "weight"),
            ((*plain, "--param", "W_c=b_c.npy", *out), "weight"),
        ])


class Layers(InAnEmptyFolder):
    @staticmethod
    def shapes(heads=4, key_heads=2, dim=3, value_dim=2, key=None, value=None, packed=False, bias=False, rank=3,
               mechanism={}):
        x = (2, 5, 6)[3 - rank:]
        shapes = {"query": x, **({"key": key} if key else {}), **({"value": value} if value else {})}
        rows = {"q": heads * dim, "k": key_heads * dim, "v": key_heads * value_dim}
        inputs = {"q": 6, "k": (key or x)[-1], "v": (value or key or x)[-1]}
        if packed:
            rows, inputs = {"qkv": sum(rows.values())}, {"qkv": 6}
        rows["o"], inputs["o"] = 7, heads * value_dim
        shapes.update({"W_" + n: (rows[n], inputs[n]) for n in rows})
        shapes.update({"b_" + n: (rows[n],) for n in rows} if bias else {})
        return {**shapes, **mechanism}

    @staticmethod
    def outputs(t, heads=4, key_heads=2, dim=3, value_dim=2, score="scaled-dot", causal=False, keep=1):
        """From the formulas; for queries of any rank up to 3."""
        x = t["query"].reshape((1,) * (3 - t["query"].ndim) + t["query"].shape)
        y = t.get("key", x)
        z = t.get("value", y)
        sizes = np.cumsum([heads * dim, key_heads * dim])
        if "W_qkv" in t:
            w, b = np.split(t["W_qkv"], sizes), np.split(t.get("b_qkv", np.zeros(len(t["W_qkv"]))), sizes)
        else:
            w, b = [t["W_" + n] for n in "qkv"], [t.get("b_" + n, 0) for n in "qkv"]

        def cut(rows, count):
            return rows.reshape(*rows.shape[:2], count, -1).swapaxes(1, 2)

        q = cut(x @ w[0].T + b[0], heads)
        k, v = (np.repeat(cut(i @ w[n].T + b[n], key_heads), heads // key_heads, 1) for n, i in ((1, y), (2, z)))
        if score == "additive":
            e = np.tanh((q @ t["W"].T)[:, :, :, None] + (k @ t["U"].T)[:, :, None]) @ t["v"]
        elif score == "general":
            e = q @ t["W"] @ k.swapaxes(-1, -2)
        else:
            e = q @ k.swapaxes(-1, -2) / np.sqrt(dim)
        e = e + t.get("bias", 0)
        ahead = np.arange(e.shape[-1]) - np.arange(e.shape[-2])[:, None]
        if "alibi" in t:
            e = e - t["alibi"][:, None, None] * abs(ahead)
        if "relative" in t:  # clipped at 3
            e = e + t["relative"][:, ahead.clip(-3, 3) + 3]
        if causal:
            e = np.where(np.arange(e.shape[-1]) <= np.arange(e.shape[-2])[:, None] + e.shape[-1] - e.shape[-2], e, -np.inf)
        sums = np.exp(e).sum(-1) + (np.exp(t["sinks"])[:, None] if "sinks" in t else 0)
        weights = np.exp(e) / sums[..., None]
        joined = (weights * keep @ v).swapaxes(1, 2).reshape(*x.shape[:2], -1)
        output = joined @ t["W_o"].T + t.get("b_o", 0)
        rank = max(t["query"].ndim, 2)
        lead, rows = output.shape[3 - t["query"].ndim:], weights.shape[3 - rank:]
        return {"output": output.reshape(lead), "weights": weights.reshape(rows),
                "logsumexp": np.log(sums).reshape(rows[:-1])}

    def make(self, shapes):
        return {name: self.normal(name + ".npy", *shape, dtype="f8") for name, shape in shapes.items()}

    @staticmethod
    def command(shapes, options=(), score="scaled-dot", heads=4, key_heads=2):
        files = [x for name in shapes for x in
                 (("--" + name, name + ".npy") if name in ("query", "key", "value", "bias", "alibi", "sinks") else
                  ("--" + name, "clipped=" + name + ".npy", "--max-distance", "3") if name == "relative" else
                  ("--param", name + "=" + name + ".npy"))]
        return ("run", "--score", score, "--heads", str(heads), *(("--key-heads", str(key_heads)) if key_heads != heads else ()),
                *files, *options)

    def check(self, options=(), flows=("output", "weights"), score="scaled-dot", causal=False, extra={}, **said):
        shapes = {**self.shapes(**said), **extra}
        t, known = self.make(shapes), {n: said[n] for n in ("heads", "key_heads", "dim", "value_dim") if n in said}
        counts = {n: said[n] for n in ("heads", "key_heads") if n in said}

        def outputs():
            return self.outputs(t, score=score, causal=causal, **known)

        d = self.run_with_gradients(self.command(shapes, options, score, **counts), outputs(), flows)
        self.check_gradients(t, lambda: sum((d[name] * outputs()[name]).sum() for name in d), score)

    def test_self_attention(self):
        self.check()
        self.check(bias=True, flows=("output",))
        self.check(packed=True, flows=("weights",))
        self.check(packed=True, bias=True)
        self.check(heads=2, key_heads=2, dim=3, value_dim=3)
        self.check(heads=1, key_heads=1, value_dim=4, bias=True)

    def test_cross_attention(self):
        self.check(key=(2, 3, 4))
        self.check(key=(2, 3, 4), value=(2, 3, 8), bias=True)
        self.check(key=(2, 3, 6), value=(2, 3, 6), packed=True, bias=True)

    def test_scores_and_modifiers(self):
        self.check(score="general", mechanism={"W": (3, 3)})
        self.check(score="additive", mechanism={"W": (8, 3), "U": (8, 3), "v": (8,)})
        self.check(("--causal", "bottom-right"), causal=True, extra={"bias": (4, 1, 5)})

    def test_low_ranks_and_standard_output(self):
        for rank in (1, 2):
            shapes = self.shapes(rank=rank)
            t = self.make(shapes)
            want = self.outputs(t)
            self.good(*self.command(shapes), *(x for name in want for x in ("--" + name, name + ".npy")))
            for name in want:
                self.assertEqual(np.load(name + ".npy").shape, want[name].shape)
            self.compare(want)
            out = self.good(*self.command(shapes))
            np.testing.assert_allclose(np.load(io.BytesIO(out)), want["output"], atol=1e-12)

    def test_float32(self):
        shapes = self.shapes(packed=True, bias=True)
        t = {name: self.normal(name + ".npy", *shape) for name, shape in shapes.items()}
        self.good(*self.command(shapes), "--output", "o.npy")
        got, want = np.load("o.npy"), self.outputs(t)["output"]
        self.assertEqual(got.dtype, np.float32)
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)

    def test_biases_of_distances(self):
        self.check(("--align", "top-left"), extra={"alibi": (4,)}, flows=("output", "logsumexp"))
        self.check(("--align", "top-left"), extra={"relative": (4, 7)}, flows=("output",))
        self.check(("--align", "top-left"), extra={"alibi": (4,), "relative": (4, 7)}, flows=("weights", "logsumexp"))

    def test_sinks(self):
        self.check(extra={"sinks": (4,)}, flows=("output", "logsumexp"))
        self.check(("--causal", "bottom-right"), causal=True, extra={"sinks": (4,)}, flows=("output",), bias=True)

    def test_refusals(self):
        shapes = self.shapes(key=(2, 3, 4), bias=True)
        self.make(shapes)
        self.make({"W_qkv": (22, 6), "b_qkv": (22,), "W_13": (13, 6), "W_flat": (72,), "d_output": (2, 5, 7), "d_flat": (5, 7),
                   "four": (1, 2, 5, 6), "b_13": (13,), "slopes": (3,), "sinks": (4,), "W_o9": (7, 9), "d_weights": (2, 4, 5, 3)})
        self.normal("query4.npy", 2, 5, 6)
        np.save("whole.npy", np.ones((2, 5, 6), "i4"))
        np.save("o.npy", np.arange(3))
        os.mkdir("gradients")

        def run(without=(), options=(), heads=4, key_heads=2, **instead):
            names = [name for name in shapes if name not in without]
            line = list(self.command(names, ("--output", "o.npy", *options), heads=heads, key_heads=key_heads))
            for name, file in instead.items():
                line[line.index(name + "=" + name + ".npy" if "_" in name else name + ".npy")] = (
                    name + "=" + file if "_" in name else file)
            return line

        separate = [name for name in shapes if name[:2] in ("W_", "b_") and name[2:] in "qkv"]
        biases = [name for name in shapes if name[:2] == "b_"]
        into = ("--grad-out", "gradients")
        self.refuse_all([
            (run(["W_q"]), "--param W_q=FILE, or W_qkv"), (run(["W_k"]), "W_k"), (run(["W_v"]), "W_v"),
            (run(["W_o"]), "--param W_o=FILE"), (run(["b_k"]), "b_k"), (run(["b_o"]), "b_o"),
            (run(options=("--param", "W_qkv=W_qkv.npy")), "W_q does not go with it"),
            (run(biases, ("--param", "W_qkv=W_qkv.npy")), "W_q does not go with it"),
            (run(options=("--param", "b_qkv=b_qkv.npy")), "--param b_qkv needs --param W_qkv"),
            (run(separate, ("--param", "W_qkv=W_qkv.npy")), "b_qkv"),
            (run(separate, ("--param", "W_qkv=W_qkv.npy", "--param", "b_qkv=b_qkv.npy")), "equal dimensions"),
            (run([*separate, *biases, "key"], ("--param", "W_qkv=W_13.npy")), "W_qkv, without the values, has"),
            (run([*separate, *biases, "key"], ("--param", "W_qkv=W_qkv.npy"), W_o="W_o9.npy"), "W_o has 9 columns"),
            (run(W_q="W_13.npy"), "W_q has 13 rows, which are no 4 whole heads"), (run(W_v="W_13.npy"), "2 whole heads"),
            (run(W_q="W_flat.npy"), "rank 1"), (run(W_k="W_13.npy"), "W_k"), (run(W_o="W_13.npy"), "W_o"),
            (run(b_q="b_13.npy"), "b_q"), (run(heads=0), "--heads"), (run(heads=2**62), "--heads"), (run(key_heads=-1), "--key-heads"),
            (run(heads=4, key_heads=3), "heads"), (run(heads=2), "W_k"), (run(query="four.npy"), "rank 3"),
            (run(query="whole.npy"), "whole.npy"), (run(query="query4.npy"), "f"),
            (run(options=("--param", "W=W_13.npy")), "W"), (run(["key"], ("--value", "key.npy")), "--value needs --key"),
            (run(options=("--context", "c.npy")), "--context does not go with --heads"),
            (run(options=("--rope", "halves")), "--rope does not go with --heads"),
            (run(options=("--d-output", "d_output.npy")), "--d-output needs --grad-out"),
            (run(options=into), "--d-output, --d-weights or --d-logsumexp"), (run(options=("--d-output", "d_flat.npy", *into)), "d_output"),
            (run(options=("--d-output", "d_output.npy", "--hardmax", *into)), ""),
            (run(options=("--d-output", "d_output.npy", "--grad-out", "none")), "none"),
            (run(options=("--alibi", "slopes.npy", "--align", "top-left")), "ALiBi"),
            (run(options=("--sinks", "slopes.npy")), "sinks"),
            (run(options=("--sinks", "sinks.npy", "--d-weights", "d_weights.npy", *into)), "d_sinks"),
            (run(options=("--weights", "none/w.npy")), "none"),
            (("run", "--score", "dot", "--query", "query.npy", "--key-heads", "2"), "--key-heads needs --heads"),
        ])


class Decomposable(InAnEmptyFolder):
    SHAPES = {"f": (2, 1, 3, 4), "g": (2, 1, 5, 4)}

    def make(self, **shapes):
        return {name: self.normal(name + ".npy", *shape, dtype="f8") for name, shape in {**self.SHAPES, **shapes}.items()}

    @staticmethod
    def outputs(t, a_lengths=(3, 3), b_lengths=(5, 5)):
        seen_a = np.arange(t["f"].shape[-2]) < np.array(a_lengths)[:, None, None]
        seen_b = np.arange(t["g"].shape[-2]) < np.array(b_lengths)[:, None, None]
        e = np.where(seen_a[..., None] & seen_b[..., None, :], t["f"] @ t["g"].swapaxes(-1, -2), -np.inf)
        with np.errstate(divide="ignore"):
            a_total, b_total = np.log(np.exp(e).sum(-1)), np.log(np.exp(e).sum(-2))
        return {"beta": softmax(e) @ t.get("b", t["g"]), "alpha": softmax(e.swapaxes(-1, -2)) @ t.get("a", t["f"]),
                "a-logsumexp": a_total, "b-logsumexp": b_total}

    def check(self, options=(), flows=("beta", "alpha"), lengths={}, **shapes):
        t = self.make(**shapes)
        run = ("run", "--decomposable", *(x for name in t for x in ("--" + name, name + ".npy")), *options)
        d = self.run_with_gradients(run, self.outputs(t, **lengths), flows)
        self.check_gradients(t, lambda: sum((d[name] * self.outputs(t, **lengths)[name]).sum() for name in d))

    def test_both_alignments_and_gradients(self):
        self.check()
        self.check(a=(2, 1, 3, 7), b=(2, 1, 5, 6))
        self.check(flows=("alpha",), b=(2, 1, 5, 6))
        np.save("a_lengths.npy", np.array([2, 3], "i4"))
        np.save("b_lengths.npy", np.array([5, 0], "i8"))
        self.check(("--a-lengths", "a_lengths.npy", "--b-lengths", "b_lengths.npy"), flows=("beta",), a=(2, 1, 3, 7),
                   lengths={"a_lengths": (2, 3), "b_lengths": (5, 0)})

    def test_one_output_alone_and_low_ranks(self):
        t = self.make(f=(4,), g=(5, 4))
        out = self.good("run", "--decomposable", "--f", "f.npy", "--g", "g.npy", "--beta", "-")
        np.testing.assert_allclose(np.load(io.BytesIO(out)), softmax(t["g"] @ t["f"]) @ t["g"], atol=1e-12)
        out = self.good("run", "--decomposable", "--f", "f.npy", "--g", "g.npy", "--a-logsumexp", "-")
        np.testing.assert_allclose(np.load(io.BytesIO(out)), [np.log(np.exp(t["g"] @ t["f"]).sum())], atol=1e-12)

    def test_refusals(self):
        self.make(wide=(2, 1, 5, 3), a=(2, 1, 2, 4), d_beta=(2, 1, 3, 4), W=(4, 4))
        np.save("whole.npy", np.ones((2, 5, 4), "i4"))
        np.save("beta.npy", np.arange(3))
        os.mkdir("gradients")
        run = ("run", "--decomposable", "--f", "f.npy", "--g", "g.npy")
        out = ("--beta", "beta.npy")
        into = ("--grad-out", "gradients", *out)
        self.refuse_all([
            (("run", "--f", "f.npy", "--g", "g.npy", *out), "--f needs --decomposable"),
            (("run", "--decomposable", "--g", "g.npy", *out), "--decomposable needs --f"),
            (("run", "--decomposable", "--f", "f.npy", *out), "--decomposable needs --g"),
            (run, "--beta FILE or --alpha FILE"), ((*run, "--heads", "2", *out), "--"),
            ((*run, "--score", "dot", *out), "--score does not go with --decomposable"),
            ((*run, "--param", "W=W.npy", *out), "--param does not go with --decomposable"),
            (("run", "--decomposable", "--f", "f.npy", "--g", "wide.npy", *out), "g"),
            (("run", "--decomposable", "--f", "f.npy", "--g", "whole.npy", *out), "whole.npy"),
            ((*run, "--a", "a.npy", *out), "a"), ((*run, "--a-lengths", "f.npy", *out), "a_lengths"),
            ((*run, "--beta", "gradients"), "directory"), ((*run, *out, "--alpha", "./beta.npy"), "two outputs"),
            ((*run, "--d-beta", "d_beta.npy", *out), "--d-beta needs --grad-out"), ((*run, *into), "--d-beta or --d-alpha"),
            ((*run, "--d-alpha", "d_beta.npy", *into), "d_alpha"), ((*run, "--d-beta", "wide.npy", *into), "d_beta"),
            ((*run, "--d-beta", "d_beta.npy", "--grad-out", "none"), "none"),
        ])


class Incremental(InAnEmptyFolder):
    """The queries one by one over a memory have the numbers of all of them at once, which other tests compare with
    formulas."""
    PARAMS = {"general": {"W": (6, 6)}, "location": {"W": (9, 6)}, "concat": {"W": (8, 12), "v": (8,)},
              "additive": {"W": (8, 6), "U": (8, 6), "v": (8,)}}
    STATS = {"entropy": "entropy", "strongest": "strongest", "key-sums": "key-sums"}
    OUTPUTS = {"context": "context", "weights": "weights", "scores": "masked=scores", "logsumexp": "logsumexp", **STATS}

    def same(self, run, options=(), outputs=OUTPUTS, tolerance=1e-11, steps=()):
        at_once, by_step = ([*run, *options, *(x for name, file in outputs.items() for x in ("--" + name, file + end))]
                            for end in (".npy", ".step.npy"))
        self.good(*at_once)
        self.good(*by_step, "--incremental", *steps)
        for name in outputs:
            want, got = np.load(name + ".npy"), np.load(name + ".step.npy")
            self.assertEqual((got.dtype, got.shape), (want.dtype, want.shape))
            np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance, err_msg=str((*run, *options, name)))

    def make(self, dtype="f8", **shapes):
        for name, shape in shapes.items():
            self.normal(name + ".npy", *shape, dtype=dtype)

    def run_of(self, score="scaled-dot", value=True, query=(2, 4, 5, 6), key=(2, 2, 7, 6), dtype="f8"):
        params = self.PARAMS.get(score, {})
        self.make(dtype, query=query, key=key, value=(*key[:-1], 3), **params)
        return ("run", "--score", score, "--query", "query.npy", "--key", "key.npy", *(("--value", "value.npy") if value else ()),
                *(x for name in params for x in ("--param", name + "=" + name + ".npy")))

    def test_every_score(self):
        for score in ("dot", "scaled-dot", "general", "additive", "concat", "location"):
            for value in (True, False):
                run = self.run_of(score, value)
                self.same(run)
                self.same(run, ("--causal", "bottom-right"))
                self.same(run, ("--causal", "bottom-right"), steps=("--page", "3"))
                self.same(self.run_of(score, value, dtype="f4"), ("--causal", "top-left"), tolerance=1e-5)
        self.same(("run", "--score", "location", "--query", "query.npy", "--value", "value.npy", "--param", "W=W.npy"),
                  tolerance=1e-5) # sums by key are added up in another order

    def test_modifiers(self):
        run = self.run_of()
        self.make(bias=(4, 1, 7), row=(5, 1), slopes=(4,), sinks=(4,), table=(4, 7))
        np.save("mask.npy", self.random.random((2, 1, 5, 7)) > 0.3)
        np.save("lengths.npy", np.array([6, 2], "i4"))
        measured = ("--alibi", "slopes.npy", "--relative", "clipped=table.npy", "--max-distance", "3", "--window", "2,1")
        for options in [
            ("--mask", "mask.npy", "--bias", "bias.npy", "--scale", "2", "--softcap", "1.5", "--temperature", ".7"),
            ("--mask", "mask.npy", "--bias", "row.npy", "--lengths", "lengths.npy", "--causal", "bottom-right"),
            ("--lengths", "lengths.npy", "--causal", "top-left", "--query-start", "2", *measured),
            ("--lengths", "lengths.npy", "--causal", "bottom-right", *measured), ("--align", "top-left", *measured),
            ("--causal", "top-left", "--query-start", "-2", "--mask", "mask.npy"), ("--causal", "top-left", "--query-start", "50"),
            ("--local", "monotonic", "--half-width", "1", "--query-start", "1", "--causal", "top-left"),
            ("--local", "monotonic", "--half-width", "2", "--lengths", "lengths.npy"),
            ("--sinks", "sinks.npy", "--causal", "bottom-right", "--temperature", ".7"),
            ("--rope", "halves", "--causal", "top-left", "--query-start", "2"), ("--hardmax", "--causal", "bottom-right"),
        ]:
            self.same(run, options)
        self.make(W_p=(3, 6), v_p=(3,))
        self.same(run, ("--local", "predictive", "--half-width", "2", "--param", "W_p=W_p.npy", "--param", "v_p=v_p.npy"),
                  {name: self.OUTPUTS[name] for name in self.OUTPUTS if name != "scores"})
        self.same(run, outputs={"scores": "raw=scores"})

    def test_shapes(self):
        for query, key in (((6,), (7, 6)), ((5, 6), (7, 6)), ((4, 9, 6), (1, 7, 6)), ((0, 6), (7, 6)), ((5, 6), (1, 6))):
            run = self.run_of(query=query, key=key)
            self.same(run)
            self.same(run, ("--causal", "bottom-right"))
            self.same(run, ("--causal", "top-left"))
        np.save("key.npy", np.asfortranarray(np.load("key.npy")))
        self.make(W_c=(4, 9))
        self.same(run, ("--param", "W_c=W_c.npy"), {"output": "output"})

    def test_layers(self):
        for key, value, packed, bias in ((None, None, True, True), (None, None, False, False), ((2, 3, 4), None, False, True),
                                         ((2, 7, 6), (2, 7, 8), False, False)):
            shapes = Layers.shapes(key=key, value=value, packed=packed, bias=bias)
            self.make(**shapes)
            run = Layers.command(shapes)
            outputs = {"output": "output", **{name: self.OUTPUTS[name] for name in self.OUTPUTS if name != "context"}}
            for options in ((), ("--causal", "bottom-right"), ("--causal", "top-left", "--query-start", "1", "--window", "2,0")):
                self.same(run, options, outputs)
            self.same(run, ("--causal", "bottom-right"), outputs, steps=("--page", "2"))
        shapes = Layers.shapes(rank=2, mechanism={"W": (3, 3)})
        self.make(**shapes)
        self.same(Layers.command(shapes, score="general"), ("--causal", "bottom-right"), outputs)

    def test_memories_of_8_bits(self):
        """Float32 over a memory of integers is over what these stand for; a layer's rows are the words here."""
        run = self.run_of(dtype="f4")
        self.good(*run, "--incremental", "--memory-dtype", "int8", "--causal", "bottom-right", "--context", "got.npy")
        for name in "key.npy", "value.npy":
            integers, scales, meant = quantised(np.load(name))
            np.save("i1_" + name, integers)
            np.save("scales_" + name, scales)
            np.save(name, meant)
        self.good(*run, "--causal", "bottom-right", "--context", "want.npy")
        np.testing.assert_allclose(np.load("got.npy"), np.load("want.npy"), rtol=1e-5, atol=1e-5)
        integers = ("run", "--score", "scaled-dot", "--query", "query.npy", "--key", "i1_key.npy", "--key-scales", "scales_key.npy")
        self.good(*integers, "--value", "i1_value.npy", "--value-scales", "scales_value.npy", "--causal", "bottom-right", "--context", "got.npy")
        np.testing.assert_allclose(np.load("got.npy"), np.load("want.npy"), rtol=1e-5, atol=1e-5)
        self.good(*integers, "--context", "got.npy")
        self.good(*run[:7], "--context", "want.npy")
        np.testing.assert_allclose(np.load("got.npy"), np.load("want.npy"), rtol=1e-5, atol=1e-5)

        words = self.random.normal(size=(2, 5, 6)).astype("f4")
        np.save("x.npy", words)
        np.save("unit.npy", np.eye(6, dtype="f4"))
        np.save("heads.npy", words.reshape(2, 5, 2, 3).swapaxes(1, 2))
        np.save("rows.npy", quantised(np.load("heads.npy"))[2])
        layer = ("run", "--score", "scaled-dot", "--heads", "2", "--query", "x.npy", "--causal", "top-left", "--incremental",
                 *(x for name in "qkvo" for x in ("--param", "W_%s=unit.npy" % name)))
        self.good(*layer, "--memory-dtype", "int8", "--output", "got.npy")
        self.good("run", "--score", "scaled-dot", "--query", "heads.npy", "--key", "rows.npy", "--causal", "top-left", "--context", "want.npy")
        want = np.load("want.npy").swapaxes(1, 2).reshape(2, 5, 6)
        np.testing.assert_allclose(np.load("got.npy"), want, rtol=1e-5, atol=1e-5)
        self.assertEqual(self.good(*layer, "--memory-dtype", "float32"), self.good(*layer))

    def test_refusals_of_integers(self):
        run = (*self.run_of(dtype="f4"), "--context", "c.npy")
        integers, scales, _ = quantised(np.load("key.npy"))
        np.save("i1.npy", integers)
        np.save("scales.npy", scales)
        np.save("f8.npy", np.load("query.npy").astype("f8"))
        os.mkdir("gradients")
        self.normal("d_context.npy", 2, 4, 5, 6)
        alone = ("run", "--score", "scaled-dot", "--query", "query.npy", "--key", "i1.npy", "--context", "c.npy")
        self.refuse_all([
            ((*run, "--memory-dtype", "int8"), "--memory-dtype needs --incremental"),
            ((*run, "--page", "4"), "--page needs --incremental"), ((*run, "--incremental", "--page", "0"), "at least 1"),
            ((*run, "--incremental", "--page", "3000000000"), "page is 3000000000"),
            ((*run, "--incremental", "--memory-dtype", "i8"), "float32, float64, float16, bfloat16, int8"),
            ((*run, "--incremental", "--memory-dtype", "bfloat16"), "ATTN_BF16"),
            ((*run, "--key-scales", "scales.npy"), "there is key_scales, but key is ATTN_F32"),
            (alone, "key is ATTN_I8, but key_scales is NULL"), ((*alone, "--value-scales", "scales.npy"), "--value-scales needs --value"),
            ((*alone, "--key-scales", "key.npy"), "key_scales"),
            ((*alone, "--key-scales", "scales.npy", "--incremental"), "--key-scales does not go with --incremental"),
            ((*alone, "--key-scales", "scales.npy", "--rope", "halves"), "ATTN_I8"),
            ((*alone, "--key-scales", "scales.npy", "--d-context", "d_context.npy", "--grad-out", "gradients"), "no gradients"),
            ((*(x.replace("query.npy", "f8.npy") for x in alone), "--key-scales", "scales.npy"), "query is ATTN_F64"),
            (("run", "--score", "dot", "--query", "i1.npy", "--key", "i1.npy", "--context", "c.npy"), "i1.npy holds whole numbers"),
        ])

    def test_refusals(self):
        run = (*self.run_of(), "--incremental", "--context", "c.npy")
        layer = Layers.shapes()
        self.make(d_context=(2, 4, 5, 3), slopes=(4,), W_p=(3, 6), v_p=(3,), **{n: s for n, s in layer.items() if n != "query"})
        np.save("x.npy", np.ones((2, 5, 6)))
        np.save("lengths.npy", np.array([5, 2], "i4"))
        np.save("long.npy", np.array([8, 2], "i4"))
        np.save("c.npy", np.arange(3))
        os.mkdir("gradients")
        heads = [x.replace("query.npy", "x.npy") for x in Layers.command(layer)]
        self.make(W=(8, 3), U=(8, 3), v=(8,))
        additive = [x.replace("scaled-dot", "additive") for x in heads] + [
            x for name in "WUv" for x in ("--param", name + "=" + name + ".npy")]
        predictive = ("--local", "predictive", "--half-width", "2", "--param", "W_p=W_p.npy", "--param", "v_p=v_p.npy")
        self.refuse_all([
            ((*run, "--d-context", "d_context.npy", "--grad-out", "gradients"), "--grad-out does not go with --incremental"),
            ((*run, "--dropout", ".1"), "--dropout does not go with --incremental"),
            ((*run, "--alibi", "slopes.npy", "--align", "bottom-right"), "top-left"),
            ((*run, "--alibi", "slopes.npy", "--align", "bottom-right", "--causal", "top-left"), "the same word"),
            ((*run, "--causal", "top-left", *predictive), "--local predictive"),
            ((*run, "--causal", "bottom-right", "--local", "monotonic", "--half-width", "2"), "top-left"),
            ((*run, "--causal", "top-left", "--scores", "raw=s.npy"), "raw or capped"),
            ((*run, "--lengths", "long.npy"), "key_lengths"), ((*run, "--mask", "lengths.npy"), "mask"),
            ((*heads, "--incremental", "--output", "c.npy", "--lengths", "lengths.npy"), "--lengths"),
            ((*additive, "--incremental", "--output", "c.npy"), "projected keys"),
            (("run", "--decomposable", "--incremental", "--f", "x.npy", "--g", "x.npy", "--beta", "c.npy"), "--incremental"),
        ])


if __name__ == "__main__":
    unittest.main(verbosity=1)
