# SPDX-License-Identifier: BSD-3-Clause
"""command.py COMMAND: the command attn as its users meet it: its numbers against NumPy, its files as NumPy writes and
reads them, its pictures, and one sentence with exit status 2 for everything that is wrong."""

import io
import os
import random
import struct
import subprocess
import unittest
from pathlib import Path

import numpy as np
from command_support import COMMAND, ENVIRONMENT, InAnEmptyFolder, attn, softmax


class Numbers(InAnEmptyFolder):
    def check(self, dtype, tolerance):
        q, k = self.normal("q.npy", 2, 4, 3, 6, dtype=dtype), self.normal("k.npy", 2, 2, 5, 6, dtype=dtype)
        v = self.normal("v.npy", 2, 2, 5, 7, dtype=dtype)
        np.save("k.npy", np.asfortranarray(k))
        np.save("v.npy", v.astype(v.dtype.newbyteorder(">")))
        w, u, b = (self.normal(n, *s, dtype=dtype) for n, s in (("W.npy", (8, 6)), ("U.npy", (8, 6)), ("b.npy", (8,))))
        a, g = self.normal("a.npy", 8, dtype=dtype), self.normal("g.npy", 1, dtype=dtype)
        m, c, s = (self.normal(n, *x, dtype=dtype) for n, x in (("M.npy", (6, 6)), ("C.npy", (8, 12)), ("S.npy", (9, 6))))
        kk, vv = np.repeat(k, 2, 1), np.repeat(v, 2, 1)
        dot = np.einsum("bhid,bhjd->bhij", q, kk)

        def tanh(left, right, vector):
            return np.einsum("a,bhija->bhij", vector, np.tanh(left[:, :, :, None] + right[:, :, None]))

        normalised = g * a / np.linalg.norm(a)
        cases = {
            "dot": ([], dot),
            "scaled-dot": ([], dot / np.sqrt(6)),
            "general": (["W=M.npy"], np.einsum("bhid,de,bhje->bhij", q, m, kk)),
            "additive": (["W=W.npy", "U=U.npy", "v=a.npy"], tanh(q @ w.T, kk @ u.T, a)),
            "additive ": (["W=W.npy", "U=U.npy", "v=a.npy", "b=b.npy", "g=g.npy"], tanh(q @ w.T + b, kk @ u.T, normalised)),
            "concat": (["W=C.npy", "v=a.npy"], tanh(q @ c[:, :6].T, kk @ c[:, 6:].T, a)),
            "location": (["W=S.npy"], (q @ s.T)[..., :5]),
        }
        for name, (params, scores) in cases.items():
            options = [x for p in params for x in ("--param", p)]
            self.good("run", "--score", name.strip(), "--query", "q.npy", "--key", "k.npy", "--value", "v.npy", *options,
                      "--context", "c.npy", "--weights", "w.npy", "--scores", "raw=s.npy", "--logsumexp", "l.npy")
            weights = softmax(scores)
            for file, want in (("c", weights @ vv), ("w", weights), ("s", scores), ("l", np.log(np.exp(scores).sum(-1)))):
                got = np.load(file + ".npy")
                self.assertEqual((got.dtype, got.shape), (q.dtype, want.shape))
                np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance, err_msg=name + file)
        return q, dot, vv

    def test_every_score_agrees_with_numpy(self):
        self.check("f4", 1e-4)
        self.check("f8", 1e-11)

    def test_modifiers_agree_with_numpy(self):
        q, dot, vv = self.check("f8", 1e-11)
        bias, slopes = self.normal("bias.npy", 3, 5, dtype="f8"), self.normal("slopes.npy", 4, dtype="f8")
        mask, lengths = self.random.random((2, 1, 3, 5)) > 0.3, np.array([5, 3], "i4")
        np.save("mask.npy", mask)
        np.save("lengths.npy", lengths)
        keys = np.arange(5)
        position = (lengths[:, None] - 3 + np.arange(3))[:, None, :, None]
        scores = 2 * np.tanh(dot * 0.3 / 2) + bias - slopes[None, :, None, None] * np.abs(position - keys)
        seen = mask & (keys < lengths[:, None, None, None]) & (keys <= position) & (keys >= position - 2)
        weights = softmax(np.where(seen, scores, -np.inf) / 0.7)
        self.good("run", "--score", "dot", "--query", "q.npy", "--key", "k.npy", "--value", "v.npy", "--scale", "0.3",
                  "--softcap", "2", "--bias", "bias.npy", "--mask", "mask.npy", "--lengths", "lengths.npy", "--alibi",
                  "slopes.npy", "--causal", "bottom-right", "--window", "2,-1", "--temperature", ".7", "--weights", "w.npy",
                  "--context", "c.npy")
        np.testing.assert_allclose(np.load("w.npy"), weights, atol=1e-12)
        np.testing.assert_allclose(np.load("c.npy"), weights @ vv, atol=1e-12)
        out = self.good("run", "--score", "dot", "--query", "q.npy", "--key", "k.npy", "--causal", "top-left",
                        "--query-start", "1", "--hardmax", "--weights", "-")
        visible = np.where(keys <= np.arange(3)[:, None] + 1, dot, -np.inf)
        np.testing.assert_array_equal(np.load(io.BytesIO(out)), np.eye(5)[visible.argmax(-1)])

    def test_streams_and_low_ranks(self):
        q, k = self.normal("q.npy", 6, dtype="f8"), self.normal("k.npy", 5, 6, dtype="f8")
        out = self.good("run", "--score", "dot", "--query", "-", "--key", "k.npy", stdin=Path("q.npy").read_bytes())
        np.testing.assert_allclose(np.load(io.BytesIO(out)), softmax(k @ q) @ k, atol=1e-12)
        places = self.normal("S.npy", 7, 6, dtype="f8")
        out = self.good("run", "--score", "location", "--query", "q.npy", "--value", "k.npy", "--param", "W=S.npy")
        np.testing.assert_allclose(np.load(io.BytesIO(out)), softmax((places @ q)[:5]) @ k, atol=1e-12)


def philox(words, seed):
    """Philox4x32-10 (Salmon 2011) of counters [..., 4]."""
    c, mask = [words[..., i].astype(object) for i in range(4)], 2**32 - 1
    low, high = seed & mask, seed >> 32
    for _ in range(10):
        a, b = c[0] * 0xD2511F53, c[2] * 0xCD9E8D57
        c = [(b >> 32) ^ c[1] ^ low, b & mask, (a >> 32) ^ c[3] ^ high, a & mask]
        low, high = (low + 0x9E3779B9) & mask, (high + 0xBB67AE85) & mask
    return np.stack(c, -1).astype("u8")


def kept(shape, dropout, seed, offset):
    """What weights [B, Hq, Tq, Tk] are multiplied by."""
    rows, keys = np.prod(shape[:3]), np.arange(shape[3])
    words = np.zeros((rows, shape[3], 4), object)
    for r in range(rows):
        words[r, :, 1], words[r, :, 2] = (offset + r) % 2**32, (offset + r) >> 32
    words[..., 0] = keys // 4
    drawn = philox(words, seed)[:, keys, keys % 4].reshape(shape)
    return np.where(drawn < int(dropout * 2**32), 0, 1 / (1 - dropout))


def bucket(kind, distance, columns, most):
    """The column of a relative bias's table; distance is key less query."""
    if kind == "clipped":
        return most + np.clip(distance, -most, most)

    def one_way(n, buckets):
        exact = buckets // 2
        others = buckets - exact

        def one(d):
            if d < exact:
                return d
            # The step k that (d / exact)^others has reached among (most / exact)^k, in whole numbers.
            reached = [k for k in range(others) if d**others * exact**k >= most**k * exact**others]
            return exact + reached[-1]

        return np.vectorize(one, otypes=[int])(n)

    if kind == "t5-causal":
        return one_way(np.maximum(-distance, 0), columns)
    return np.where(distance > 0, columns // 2, 0) + one_way(np.abs(distance), columns // 2)


def turned(x, layout, dimensions, base, first):
    n = dimensions or x.shape[-1]
    angle = (first + np.arange(x.shape[-2]))[:, None] * float(base) ** (-2 * np.arange(n // 2) / n)
    a, b = (slice(0, n, 2), slice(1, n, 2)) if layout == "interleaved" else (slice(0, n // 2), slice(n // 2, n))
    to = x.copy()
    to[..., a] = x[..., a] * np.cos(angle) - x[..., b] * np.sin(angle)
    to[..., b] = x[..., b] * np.cos(angle) + x[..., a] * np.sin(angle)
    return to


def outputs(t, score="scaled-dot", start=0, tau=1, relative=None, most=0, local=None, half=0, rope=None, dimensions=0,
            base=10000, dropout=0, seed=0, offset=0, causal=False, softcap=0):
    """Context, weights and log-sum-exp of the tensors t, from the formulas; a query stands at start + i."""
    q, k = t["query"], np.repeat(t["key"], t["query"].shape[1] // t["key"].shape[1], 1)
    v = np.repeat(t.get("value", t["key"]), q.shape[1] // t["key"].shape[1], 1)
    if rope:
        q, k = turned(q, rope, dimensions, base, start), turned(k, rope, dimensions, base, 0)
    if score in ("additive", "concat"):
        w, u = (t["W"], t["U"]) if score == "additive" else (t["W"][:, :q.shape[-1]], t["W"][:, q.shape[-1]:])
        vector = t["g"] * t["v"] / np.linalg.norm(t["v"]) if "g" in t else t["v"]
        e = np.tanh((q @ w.T + t.get("b", 0))[:, :, :, None] + (k @ u.T)[:, :, None]) @ vector
    elif score == "location":
        e = (q @ t["W"].T)[..., :k.shape[2]]
    elif score == "general":
        e = q @ t["W"] @ k.swapaxes(-1, -2)
    else:
        e = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])
    if softcap:
        e = softcap * np.tanh(e / softcap)
    position, keys = start + np.arange(q.shape[2])[:, None], np.arange(k.shape[2])
    e = e + t.get("bias", 0) - t.get("alibi", np.zeros(1))[:, None, None] * np.abs(position - keys)
    if relative:
        e = e + t["relative"][:, bucket(relative, keys - position, t["relative"].shape[1], most)]
    seen, factor = np.ones_like(e, bool), 1
    if causal:
        seen &= keys <= position
    if local == "monotonic":
        seen &= np.abs(keys - np.minimum(position, len(keys) - 1)) <= half
    elif local:
        centre = (len(keys) / (1 + np.exp(-(np.tanh(q @ t["W_p"].T) @ t["v_p"]))))[..., None]
        seen &= np.abs(keys - (np.floor(centre) if local == "predictive-floor" else centre)) <= half
        factor = np.exp(-(keys - centre) ** 2 / (2 * (half / 2) ** 2))
    e = np.where(seen, e, -np.inf) / tau
    with np.errstate(divide="ignore"):
        total = np.log(np.exp(e).sum(-1))
    weights = softmax(e) * factor
    if "sinks" in t:
        of_keys, total = total, np.logaddexp(total, t["sinks"][:, None] / tau)
        weights = weights * np.exp(of_keys - total)[..., None]
    if dropout:
        weights = weights * kept(weights.shape, dropout, seed, offset)
    return weights @ v, weights, total


class Mechanisms(InAnEmptyFolder):
    """Every modifier with its gradients: these against the differences of the formulas."""
    PARAMS = {"general": {"W": (6, 6)}, "location": {"W": (9, 6)}, "concat": {"W": (8, 12), "v": (8,)},
              "additive": {"W": (8, 6), "U": (8, 6), "v": (8,), "b": (8,), "g": (1,)}}

    def check(self, score="scaled-dot", options=(), extra={}, value=True, flows=("context", "weights", "logsumexp"), **said):
        shapes = {"query": (2, 4, 3, 6), "key": (2, 2, 5, 6), **({"value": (2, 2, 5, 7)} if value else {}),
                  **self.PARAMS.get(score, {}), **extra}
        t = {name: self.normal(name + ".npy", *shape, dtype="f8") for name, shape in shapes.items()}
        files = []
        for name in t:
            if name in ("query", "key", "value", "bias", "alibi", "sinks"):
                files += ["--" + name, name + ".npy"]
            elif name == "relative":
                files += ["--relative", said["relative"] + "=relative.npy"]
            else:
                files += ["--param", name + "=" + name + ".npy"]
        want = dict(zip(("context", "weights", "logsumexp"), outputs(t, score, **said)))
        run = ("run", "--score", score, *files, *options)
        d = self.run_with_gradients(run, want, flows)
        self.check_gradients(t, lambda: sum((d[name] * x).sum() for name, x in zip(want, outputs(t, score, **said))
                                            if name in d), score)

    def test_gradients_of_every_score(self):
        for score in ("dot", "scaled-dot", "general", "additive", "concat", "location"):
            scale = ("--scale", str(6 ** -0.5)) if score == "dot" else ()
            self.check(score, scale)
        self.check(value=False)
        self.check(flows=("weights",))
        self.check("additive", value=False, flows=("logsumexp",))

    def test_gradients_through_modifiers(self):
        self.check(options=("--softcap", "2", "--temperature", ".7", "--align", "top-left", "--query-start", "1", "--causal",
                            "top-left"), extra={"bias": (4, 1, 5), "alibi": (4,)}, start=1, softcap=2, tau=0.7, causal=True)

    def test_sinks(self):
        flows = ("context", "logsumexp")
        self.check(extra={"sinks": (4,)}, flows=flows)
        self.check("additive", ("--temperature", ".7", "--softcap", "2", "--causal", "top-left"), {"sinks": (4,)}, flows=flows,
                   tau=0.7, softcap=2, causal=True)
        self.check(options=("--dropout", ".4", "--seed", "5"), extra={"sinks": (4,)}, flows=("context",), dropout=0.4, seed=5)

    def test_sinks_are_a_key_more(self):
        sinks = self.normal("sinks.npy", 4, dtype="f8")
        key, value = self.normal("key.npy", 2, 5, 6, dtype="f8"), self.normal("value.npy", 2, 5, 3, dtype="f8")
        self.normal("query.npy", 4, 3, 6, dtype="f8")
        np.save("more.npy", np.pad(key, ((0, 0), (0, 1), (0, 0))))
        np.save("more values.npy", np.pad(value, ((0, 0), (0, 1), (0, 0))))
        np.save("bias.npy", np.pad(sinks[:, None, None], ((0, 0), (0, 0), (5, 0))))
        run, out = ("run", "--score", "scaled-dot", "--query", "query.npy"), ("--logsumexp", "lse.npy", "--context", "c.npy")
        self.good(*run, "--key", "key.npy", "--value", "value.npy", "--sinks", "sinks.npy", *out)
        got = np.load("c.npy"), np.load("lse.npy")
        self.good(*run, "--key", "more.npy", "--value", "more values.npy", "--bias", "bias.npy", *out)
        for mine, want in zip(got, (np.load("c.npy"), np.load("lse.npy"))):
            np.testing.assert_allclose(mine, want, rtol=1e-12, atol=1e-12)

    def test_relative_biases(self):
        for kind, columns, most, heads in (("clipped", 5, 2, 4), ("t5", 8, 5, 4), ("t5-causal", 4, 6, 1)):
            self.check(options=("--max-distance", str(most), "--align", "top-left", "--query-start", "7"),
                       extra={"relative": (heads, columns)}, relative=kind, most=most, start=7)

    def test_local_attention(self):
        self.check(options=("--local", "monotonic", "--half-width", "1", "--query-start", "1"), local="monotonic", half=1,
                   start=1)
        for local in ("predictive", "predictive-floor"):
            for score in ("scaled-dot", "additive"):
                self.check(score, ("--local", local, "--half-width", "2"), {"W_p": (3, 6), "v_p": (3,)}, local=local, half=2)

    def test_dropout(self):
        self.check("general", ("--dropout", ".4", "--seed", "12345678901234567890", "--offset", "4294967290"), dropout=0.4,
                   seed=12345678901234567890, offset=4294967290)

    def test_rotary_positions(self):
        self.check(options=("--rope", "interleaved", "--query-start", "2"), rope="interleaved", start=2)
        self.check(options=("--rope", "halves", "--rope-dimensions", "4", "--rope-base", "100", "--query-start", "2",
                            "--causal", "top-left"), rope="halves", dimensions=4, base=100, start=2, causal=True)
        self.check("additive", ("--rope", "halves"), rope="halves", value=False)
        self.check(options=("--rope", "interleaved", "--local", "predictive", "--half-width", "2"),
                   extra={"W_p": (3, 6), "v_p": (3,)}, rope="interleaved", local="predictive", half=2)


def raw(name, header, data=b"", version=(1, 0), length=None):
    header = header.encode("latin1")
    size = struct.pack("<H" if version[0] == 1 else "<I", len(header) if length is None else length)
    with open(name, "wb") as file:
        file.write(b"\x93NUMPY" + bytes(version) + size + header + data)


class Refusals(InAnEmptyFolder):
    RUN = ("run", "--score", "scaled-dot", "--query", "q.npy", "--key", "k.npy")

    def setUp(self):
        super().setUp()
        self.normal("q.npy", 3, 4)
        self.normal("k.npy", 5, 4)
        self.normal("q8.npy", 3, 4, dtype="f8")
        self.normal("v_p.npy", 2)
        self.normal("table.npy", 1, 3)
        self.normal("sinks.npy", 1)
        self.normal("W.npy", 9, 4)
        os.mkdir("folder")

    def test_files_that_are_no_arrays(self):
        header = "{'descr': '<f4', 'fortran_order': False, 'shape': %s, }"
        raw("huge.npy", header % "(4611686018427387904, 4611686018427387904)")
        raw("big.npy", header % "(1000000000, 100000000)")
        raw("digits.npy", header % "(99999999999999999999,)")
        raw("negative.npy", header % "(-1, 4)")
        raw("header past the end.npy", header % "(2,2)", length=60000)
        raw("header of gigabytes.npy", header % "(1,2)", b"", (2, 0), 4000000000)
        raw("version 4.npy", header % "(1,2)", bytes(8), (4, 0))
        raw("key missing.npy", "{'descr': '<f4', 'shape': (1,2)}", bytes(8))
        raw("program.npy", "import os; os.system('touch x')")
        raw("short.npy", header % "(1,2)", bytes(7))
        raw("long.npy", header % "(1,2)", bytes(9))
        raw("no tuple.npy", header % "(2)", bytes(8))
        raw("garbage after.npy", header % "(1,2)" + "x", bytes(8))
        np.save("object.npy", np.array([[{}]], dtype=object), allow_pickle=True)
        np.save("record.npy", np.zeros(3, dtype=[("a", "f4")]))
        np.save("raw bytes.npy", np.zeros((2, 2), "V3"))
        np.save("uint16.npy", np.zeros((2, 2), "u2"))
        np.save("complex.npy", np.zeros((2, 2), "c8"))
        np.save("scalar.npy", np.float32(3))
        np.save("rank 5.npy", np.zeros((1, 1, 1, 1, 1), "f4"))
        np.save("whole numbers.npy", np.zeros((3, 4), "i4"))
        Path("empty.npy").touch()
        Path("zip.npy").write_bytes(b"PK\3\4" + b"x" * 100)
        for name in sorted(os.listdir()):
            if name not in ("q.npy", "k.npy", "q8.npy", "v_p.npy", "table.npy", "sinks.npy", "W.npy"):
                self.bad("run", "--score", "dot", "--query", name, "--key", "k.npy", "--context", "x.npy", sentence=name)

    def test_command_lines(self):
        run = self.RUN
        for arguments in [
            (), ("nonsense",), ("bad\nname",), ("info", "--bogus"), ("info", "extra"), ("info", "--json=3"), ("run",),
            ("run", "--score"), ("run", "--score", "dot"), ("run", "--score", "dot", "--query", "q.npy"),
            ("run", "--score", "what", "--query", "q.npy", "--key", "k.npy"),
            ("run", "--score", "dot", "--query", "none.npy", "--key", "k.npy"),
            ("run", "--score", "dot", "--query", "-", "--key", "-"),
            ("run", "--score", "dot", "--query", "q.npy", "--key", "q8.npy"),
            ("run", "--score", "additive", "--query", "q.npy", "--key", "k.npy"), ("run", "--score", "dot", "--query", "q.npy"),
            ("run", "--score", "general", "--query", "q.npy", "--value", "k.npy", "--param", "W=W.npy"),
            ("run", "--score", "general", "--query", "q.npy", "--key", "k.npy"),
            ("run", "--score", "location", "--query", "q.npy", "--key", "k.npy"),
            (*run, "--scale", "abc"), (*run, "--scale", "nan"), (*run, "--scale", "1", "--scale", "2"),
            (*run, "--softcap", "-1"), (*run, "--temperature", "0"), (*run, "--query-start", "1.5"),
            (*run, "--window", "3", "--align", "top-left"), (*run, "--window", "3,3"), (*run, "--align", "top-left"),
            (*run, "--window", "x,3", "--align", "top-left"), (*run, "--causal"), (*run, "--causal", "middle"),
            (*run, "--causal", "bottom-right", "--query-start", "2"), (*run, "--threads", "-1"),
            (*run, "--threads", "99999999999"), (*run, "--way", "fast"),
            (*run, "--precision"), (*run, "--precision", "quick"), (*run, "--precision", "exact", "--precision", "fast"),
            (*run, "--scores", "raw"), (*run, "--scores", "what=x"), (*run, "--param", "W"), (*run, "--param", "=x"),
            (*run, "--param", "W=q.npy"), (*run, "--mask", "q.npy"), (*run, "--lengths", "q.npy"),
            (*run, "--alibi", "q.npy", "--align", "top-left"),
            (*run, "--sinks", "q.npy"), (*run, "--sinks", "v_p.npy"), (*run, "--sinks", "none.npy"), (*run, "--sinks"),
            (*run, "--sinks", "sinks.npy", "--hardmax"),
            (*run, "--local", "monotonic"), (*run, "--half-width", "2"), (*run, "--local", "near", "--half-width", "2"),
            (*run, "--local", "monotonic", "--half-width", "-1"), (*run, "--local", "predictive", "--half-width", "2"),
            (*run, "--local", "predictive", "--half-width", "2", "--param", "v_p=v_p.npy"),
            (*run, "--local", "monotonic", "--half-width", "2", "--param", "v_p=v_p.npy"),
            (*run, "--relative", "clipped", "--max-distance", "1", "--align", "top-left"),
            (*run, "--relative", "what=q.npy", "--max-distance", "1", "--align", "top-left"),
            (*run, "--relative", "clipped=table.npy", "--align", "top-left"),
            (*run, "--relative", "clipped=table.npy", "--max-distance", "1"),
            (*run, "--relative", "clipped=table.npy", "--max-distance", "2", "--align", "top-left"),
            (*run, "--relative", "t5=table.npy", "--max-distance", "2", "--align", "top-left"),
            (*run, "--max-distance", "1"), (*run, "--seed", "1"), (*run, "--offset", "1"),
            (*run, "--dropout", "1"), (*run, "--dropout", "nan"), (*run, "--dropout", ".1", "--seed", "-1"),
            (*run, "--dropout", ".1", "--seed", "18446744073709551616"), (*run, "--dropout", ".1", "--offset", "x"),
            (*run, "--rope", "turned"), (*run, "--rope-base", "10"), (*run, "--rope-dimensions", "2"),
            (*run, "--rope", "halves", "--rope-dimensions", "3"), (*run, "--rope", "halves", "--rope-dimensions", "0"),
            (*run, "--rope", "halves", "--rope-dimensions", "6"), (*run, "--rope", "halves", "--rope-base", "0"),
            (*run, "--rope", "halves", "--rope-base", "nan"), (*run, "--rope", "halves", "--causal", "bottom-right"),
            ("run", "--score", "location", "--query", "q.npy", "--value", "k.npy", "--param", "W=W.npy", "--rope", "halves"),
        ]:
            self.bad(*arguments)
        np.save("no dimensions.npy", np.zeros((5, 0), "f4"))
        self.bad("run", "--score", "dot", "--query", "q.npy", "--key", "no dimensions.npy", sentence="key")
        self.assertNotIn(b"needs --key", attn("run", "--score", "dot", "--query", "q.npy", "--key", "no dimensions.npy").stderr)

    def test_outputs_that_cannot_be_written(self):
        run = self.RUN
        for arguments in [
            ("--context", "none/x.npy"), ("--context", "folder"), ("--context", ""), ("--context", "-", "--weights", "-"),
            ("--context", "x.npy", "--weights", "./x.npy"), ("--context", "x.npy", "--weights", "none/x.npy"),
            ("--context", "x.npy", "--weights", "/dev/full"),
        ]:
            self.bad(*run, *arguments)
        np.save("old.npy", np.arange(3))
        before = Path("old.npy").read_bytes()
        self.bad(*run, "--context", "old.npy", "--weights", "/dev/full")
        self.assertEqual(Path("old.npy").read_bytes(), before)
        for arguments in [("info",), ("--help",), ("--version",), ("align", "a", "b"), run]:
            with open("/dev/full", "wb") as full:
                done = subprocess.run([COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE, env=ENVIRONMENT)
            self.assertEqual((done.returncode, done.stderr.count(b"\n")), (2, 1), arguments)

    def test_gradients_that_cannot_be_had(self):
        run = (*self.RUN, "--context", "c.npy")
        into = ("--grad-out", "folder")
        self.normal("d_c.npy", 3, 4)
        self.normal("d_w.npy", 3, 5)
        np.save("folder/d_key.npy", np.arange(3))
        before = Path("folder/d_key.npy").read_bytes()
        for arguments in [
            into, ("--d-context", "d_c.npy"), ("--d-context", "none.npy", *into), ("--d-context", "d_w.npy", *into),
            ("--d-weights", "d_c.npy", *into), ("--d-logsumexp", "d_c.npy", *into), ("--d-context", "q8.npy", *into),
            ("--d-context", "d_c.npy", "--grad-out", "none"), ("--d-context", "d_c.npy", "--grad-out", "q.npy"),
            ("--d-context", "d_c.npy", "--grad-out", ""), ("--d-context", "d_c.npy", "--hardmax", *into),
            ("--d-context", "d_c.npy", "--weights", "folder/d_query.npy", *into),
            ("--d-context", "d_c.npy", "--weights", "/dev/full", *into),
        ]:
            self.bad(*run, *arguments)
            self.assertEqual(os.listdir("folder"), ["d_key.npy"], arguments)
            self.assertEqual(Path("folder/d_key.npy").read_bytes(), before, arguments)
        self.good(*self.RUN, "--d-context", "d_c.npy", *into)
        self.assertEqual(np.load("folder/d_key.npy").shape, (5, 4))

    def test_plots_and_words(self):
        np.save("nan.npy", np.array([[np.nan, 1]]))
        np.save("below.npy", np.array([[-1.0, 1]]))
        np.save("wide.npy", np.ones((2, 501)))
        np.save("none.npy", np.ones((0, 4)))
        np.save("w.npy", np.ones((3, 4)))
        Path("latin.txt").write_bytes(b"caf\xe9 x y")
        Path("escape.txt").write_bytes(b"a \x1b[31m b")
        Path("four.txt").write_text("a b c d")
        for arguments in [
            (), ("a", "b"), ("missing",), ("nan.npy",), ("below.npy",), ("wide.npy",), ("none.npy",), ("w.npy", "-o", "x"),
            ("w.npy", "-o", "x.gif"), ("w.npy", "-o", "none/x.png"), ("w.npy", "-o", "x.png", "-o", "none/x.svg"),
            ("w.npy", "--rows", "latin.txt"), ("w.npy", "--rows", "escape.txt"), ("w.npy", "--rows", "four.txt"),
            ("w.npy", "--head", "1"), ("w.npy", "--batch", "x"), ("w.npy", "--title", b"a\xff"), ("w.npy", "-o"),
        ]:
            self.bad("plot", *arguments)
        for arguments in [("",), ("a",), ("", "b"), ("a", "b", "c"), (b"\xff", "b"), ("a\033", "b"), ("a", "b", "-o", "x.jpg"),
                          ("a", "b", "--temperature", "0"), ("a " * 501, "b")]:
            self.bad("align", *arguments)

    def test_mutated_files_never_crash(self):
        numbers = random.Random(1)
        stored = io.BytesIO()
        np.save(stored, np.random.rand(2, 3).astype("f4"))
        pieces = [b"(", b")", b",", b"'", b"{", b"}", b"-", b"9" * 20, b"True", b"descr", b"\0", b"\xff", b"0", b"<f8", b"|O"]
        for _ in range(300):
            data = bytearray(stored.getvalue())
            for _ in range(numbers.randint(1, 4)):
                at = numbers.randrange(min(len(data), 100))
                change = numbers.randrange(4)
                if change == 0:
                    data[at] = numbers.randrange(256)
                elif change == 1:
                    data[at:at] = numbers.choice(pieces)
                elif change == 2:
                    del data[at:at + numbers.randint(1, 5)]
                else:
                    data = data[:numbers.randrange(len(data)) + 1]
            done = attn("plot", "-", stdin=bytes(data))
            self.assertIn(done.returncode, (0, 2), (bytes(data), done.stderr))
            if done.returncode == 0:
                np.load(io.BytesIO(bytes(data)))


class Info(InAnEmptyFolder):
    def test_info(self):
        import json
        self.assertIn(b"suits cpu", self.good("info"))
        told = json.loads(self.good("info", "--json"))
        self.assertIn(told["way"], ("blas", "tiles"))
        self.assertTrue(told["blas"]["library"])


if __name__ == "__main__":
    unittest.main(verbosity=1)
