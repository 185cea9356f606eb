# SPDX-License-Identifier: BSD-3-Clause
"""command_files.py COMMAND: which .npy files are taken, by NumPy's own word, and that no output takes the place of an
input."""

import io
import os
import random
import struct
import subprocess
import unittest
import warnings
from pathlib import Path

import numpy as np
from command_support import COMMAND, ENVIRONMENT, InAnEmptyFolder, attn, widened

OURS = {np.dtype(t) for t in ("f2", "f4", "f8", "V2", "?", "i1", "i4", "i8")}


def npy(header, version=1, data=b""):
    header = header if isinstance(header, bytes) else header.encode("utf-8" if version == 3 else "latin1")
    return b"\x93NUMPY" + bytes((version, 0)) + struct.pack("<H" if version == 1 else "<I", len(header)) + header + data


def numpys(header, version=1):
    """The array that NumPy reads from a file of that header, and the file; None where it takes no such header."""
    numbers = np.random.default_rng(1).choice([0x3f, 0x40], 512).astype("u1").tobytes()  # of 0.5 to 4 in any type and order
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            array = np.load(io.BytesIO(npy(header, version, numbers)))
        except Exception:  # whatever NumPy or Python says of it
            return None, npy(header, version, bytes(24))
    return array, npy(header, version, numbers[:array.nbytes])


class Headers(InAnEmptyFolder):
    """What NumPy takes as a header, attn takes, and nothing else: of arrays that attn reads at all."""
    PLAIN = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"

    def check(self, header, version=1):
        """Whether both take it; None where NumPy takes it for an array that attn does not read."""
        array, file = numpys(header, version)
        if array is not None and (array.ndim not in (1, 2, 3, 4) or array.dtype.newbyteorder("=") not in OURS):
            return None
        Path("x.npy").write_bytes(file)
        done = attn("run", "--score", "dot", "--query", "x.npy", "--key", "x.npy", "--scores", "raw=-",
                    "--threads", "1")
        taken = done.returncode == 0 or b"whole numbers" in done.stderr
        self.assertEqual(taken, array is not None, (header, version, done.stderr))
        if done.returncode == 0:
            got = np.load(io.BytesIO(done.stdout))
            want = widened(array.view(">u2" if "'>V" in header else "<u2") if array.dtype.kind == "V" else array)
            want = want @ want.swapaxes(-1, -2) if array.ndim > 1 else np.array([want @ want])
            np.testing.assert_allclose(got, want, rtol=1e-4, err_msg=repr(header))
        return taken

    def each(self, headers, taken, versions=(1, 2, 3)):
        for header in headers:
            for version in versions:
                self.assertIs(self.check(header, version), taken, (header, version))

    def put(self, old, *new):
        return [self.PLAIN.replace(old, value) for value in new]

    def test_space_and_comments(self):
        self.each([
            self.PLAIN, self.PLAIN + "\n", self.PLAIN + "   \n", "{'descr':'<f4','fortran_order':False,'shape':(2,3)}",
            *self.put(" ", "\t", "\n", "\r\n", "\r", "\f", " # what } ' it is\n", "\\\n", "\n\n   \n"),
            " \t" + self.PLAIN, "\n\n" + self.PLAIN, "# no\n" + self.PLAIN, self.PLAIN + "# no",
            self.PLAIN + "\n  # no\n\t\n", "(" + self.PLAIN + ")", "((\n" + self.PLAIN + "\n))\r\n", self.PLAIN + "\f \t"], True)
        self.each([
            *self.put(" ", "\v", "\0", "\\ \n", "\x85"), "\n " + self.PLAIN, self.PLAIN + " x",
            self.PLAIN + ",", self.PLAIN + "\n1", "", self.PLAIN + "\\\n", self.PLAIN + "\\", "(" + self.PLAIN, self.PLAIN + ")",
            self.PLAIN[:-1], "[" + self.PLAIN + "]", "()", "{}", "{1, 2}", "1", "'descr'"], False)

    def test_keys_and_strings(self):
        self.each(self.put("'descr'", *(
            '"descr"', "'''descr'''", '"""descr"""', "u'descr'", "U'descr'", "r'descr'", "R'descr'", "'de' 'scr'", "('descr')",
            r"'\x64escr'", r"'\144escr'", r"'\u0064escr'", r"'\U00000064escr'", "'desc\\\nr'", "'desc\\\r\nr'", "'des' u'c' r'r'",
            "'descr': 3, 'descr'", r"'descr': '\'\d\N{DIGIT ONE}\777', 'descr'", r"'descr': r'\'', 'descr'", "'descr': br'x' RB'y', 'descr'",
            "'descr': '''\n'x''y''', 'descr'",
            "'descr': [1.5, {'a': None}, {1, 2}, b'x', ..., -1j, 1 - 2j, -1.5 + 2j, 0xff, 1_0, (), 1., .5, 1e5, 1.5E-3, 00, 007j], 'descr'",
        )), True)
        self.each(self.put("'descr'", *(
            "'Descr'", "b'descr'", "f'descr'", "ur'descr'", "rr'descr'", "'descr", "descr", "1", "'descr' b''", r"'\x6escr'",
            "'desc\nr'", "'descr' 'r'", r"'\descr'", r"r'\x64escr'", "**{}, 'descr'", "'descr': 1.5.5, 'descr'",
            "'descr': 1 2, 'descr'", "'descr': -True, 'descr'", "'descr': --1, 'descr'", "'descr': 1 + 2, 'descr'",
            "'descr': (1,,), 'descr'", "'descr': x, 'descr'", "'descr': 0x, 'descr'", "'descr': 1__0, 'descr'", "'descr': 1_, 'descr'",
            "'descr': 007, 'descr'", "'descr': {1: 2, 3}, 'descr'", r"'descr': '\N{}', 'descr'", "'descr': ., 'descr'",
            "'descr': {1, 2: 3}, 'descr'", "'descr': , 'descr'", "'descr': 1e, 'descr'", "'descr': -'x', 'descr'",
            "'descr': -None, 'descr'", "'descr': -[], 'descr'", "'descr': 1j + 2j, 'descr'", r"'descr': '\U00110000', 'descr'",
            r"'descr': '\'", "'descr': '''x'', 'descr'", "'descr': b'\xe9', 'descr'", "'x': 1, 'descr'")), False)
        self.each(["{'shape': (2, 3), 'descr': '<f4', 'fortran_order': False}",
                   "{'shape': (2, 3), 'shape': (3,), 'descr': '<f4', 'fortran_order': True}"], True)
        self.each(["{'shape': (2, 3), 'descr': '<f4'}", "{'shape': (2, 3) 'descr': '<f4', 'fortran_order': False}"], False)

    def test_shapes_and_orders(self):
        self.each(self.put("(2, 3)", *(
            "(2,3)", "(2, 3,)", "(6,)", "((2), (3))", "((2, 3))", "(+2, 3)", "(0x2, 0b11)", "(0o2, 0X3)", "(1_0,)", "(+(2), 3)",
            "(2, 3, 1, 1)", "(0, 3)", "(00, 2)", "(0_0, 3)", "(0x_2, 3)", "(- 0, 3)")), True)
        self.each(self.put("(2, 3)", *(
            "(2)", "2, 3", "[2, 3]", "(True, 3)", "(2., 3)", "(02, 3)", "(2 3)", "(2, 3", "('2', 3)", "(2,, 3)", "(,)", "(2e0,)", "(None,)", "{2, 3}",
            "(2j,)", "(2l, 3)", "(99999999999999999999,)", "(2, 99999999999999999999)", "(4611686018427387904, 4611686018427387904)",
            "(2, 3)L", "(2 + 0, 3)", "(2 + 0j, 3)", "(2\n, 3", "(2, 3]")), False)
        self.each(self.put("(2, 3)", "(2L, 3L)", "(2 L, 3)", "(0x2L, 3)"), True, (1, 2))
        self.each(self.put("(2, 3)", "(2L, 3L)", "(2 L, 3)"), False, (3,))
        self.each(self.put("(2, 3)", "(2LL, 3)", "(02L, 3)", "(2l, 3)", "('2'L, 3)", "(2\nL, 3)"), False)
        self.each(self.put("False", "True", "(False)", "((True))"), True)
        self.each(self.put("False", "true", "0", "None", "'False'", "Falsely", "(True,)", "not True", "False\xe9"), False)

    def test_types(self):
        letters = ("f2", "f4", "f8", "V2", "i1", "i4", "i8", "b1", "b", "?", "e", "f", "d", "i", "l", "q", "p", "f04", "f 4", "f+4", "V02", "V 2")
        self.each(self.put("<f4", *(mark + letter for mark in ("", "<", ">", "=", "|") for letter in letters)), True, (1,))
        self.each(self.put("<f4", "float", "float16", "float32", "float64", "half", "single", "double", "int", "int_", "intc", "intp", "int8", "byte", "int32", "int64",
                           "longlong", "bool", "bool_"), True, (1,))
        self.each(self.put("<f4", "<", "4", "f3", "<half", "V-2", "V2 ", "v2", "f-4", "f4 ", " f4", "f4x", "<<f4", "=<f4", "?1", "d8", "Float32", "<float32",
                           "=int", " int", "O", "|O", "!f4", "@f4", "f4\\0", "é"), False, (1,))
        self.each(self.put("'<f4'", "None", "b'<f4'", "4", "'<f4' 'x'", "'<f4'.x", "('<f4')x", "('<f4',)"), False)
        self.each(self.put("'<f4'", "('<f4')", "'<' 'f4'", "u'<f4'", '"<f4"', r"'\x3cf4'"), True)

    def test_encodings_and_lengths(self):
        self.each([self.PLAIN + "# é", self.PLAIN.replace("'descr'", "'descr': 'é', 'descr'"), self.PLAIN.ljust(10000),
                   self.PLAIN.ljust(9990) + "#" + 9 * "é"], True)
        self.each([self.PLAIN.ljust(10001), self.PLAIN.ljust(60000)], False)
        self.each([self.PLAIN.encode() + b"# \xff"], True, (1, 2))
        self.each([self.PLAIN.encode() + b"# \xff"], False, (3,))
        self.each([self.PLAIN], False, (0, 4, 255))

    def test_brackets_within_brackets(self):
        self.each([50 * "(" + self.PLAIN + 50 * ")"], True)
        self.bad("plot", "-", stdin=npy(5000 * "(" + self.PLAIN), sentence="brackets")

    def test_headers_put_together_at_random(self):
        numbers = random.Random(5)
        pieces = ["{", "}", "(", ")", "[", "]", ",", ":", "'", '"', "\\", "#", "L", "u", "r", "b", "+", "-", "0", "1", "2", "_", ".", "e", "j",
                  "x", "True", "'descr'", "'<f4'", "2,", "''", "'''", "é", "None", "f8", "\\x33", "(3,)", "1j", ""]
        pieces += 4 * [" ", "\n", "\t", "\r\n", "#\n"]
        borders = [i for i, c in enumerate(self.PLAIN) if c in " {}(),:"]
        counts = {True: 0, False: 0, None: 0}
        for _ in range(300):
            header = self.PLAIN
            for _ in range(numbers.choice((1, 1, 1, 2, 3))):
                at, cut = numbers.choice((*borders, numbers.randrange(len(header)))), numbers.choice((0, 0, 0, 1, 2))
                header = header[:at] + numbers.choice(pieces) + header[at + cut:]
            counts[self.check(header, numbers.choice((1, 2, 3)))] += 1
        self.assertGreater(min(counts[True], counts[False]), 30)


class Inputs(InAnEmptyFolder):
    """An input is never written, whatever option names it, by whatever name, in whatever order."""

    def setUp(self):
        super().setUp()
        for name, shape in (("q", (1, 2, 4)), ("k", (1, 3, 4)), ("W", (4, 4)), ("d", (1, 2, 4)), ("x", (1, 3, 4)),
                            ("W_q", (4, 4)), ("W_k", (4, 4)), ("W_v", (4, 4)), ("W_o", (4, 4))):
            self.normal(name + ".npy", *shape, dtype="f8")
        np.save("w.npy", np.ones((2, 2)))
        Path("words.txt").write_text("a b")
        Path("words.svg").write_text("a b")
        Path("w.png").write_bytes(Path("w.npy").read_bytes())
        os.mkdir("folder")
        for name in ("q", "k", "W"):
            np.save("folder/d_%s.npy" % {"q": "query", "k": "key", "W": "W"}[name], np.load(name + ".npy"))
        os.symlink("q.npy", "link.npy")
        os.link("q.npy", "hard.npy")

    def test_outputs_that_are_inputs_are_refused(self):
        run = ("run", "--score", "general", "--query", "q.npy", "--key", "k.npy", "--param", "W=W.npy")
        into = ("--d-context", "d.npy", "--grad-out", "folder", "--context", "c.npy")
        layer = ("run", "--score", "dot", "--heads", "2", "--query", "x.npy",
                 *(v for n in "qkvo" for v in ("--param", "W_%s=W_%s.npy" % (n, n))))
        parts = ("run", "--decomposable", "--f", "q.npy", "--g", "k.npy")
        lines = [(run + (option, value + name), "input " + read)
                 for option, value in (("--context", ""), ("--weights", ""), ("--scores", "raw="), ("--logsumexp", ""))
                 for name, read in (("q.npy", "q.npy"), ("./k.npy", "k.npy"), ("folder/../W.npy", "W.npy"),
                                    ("link.npy", "q.npy"), ("hard.npy", "q.npy"))]
        lines += [(("run", option, "q.npy") + run[1:], "input q.npy") for option in ("--context", "--weights")]
        lines += [(tuple(x if x != name + ".npy" else "folder/d_%s.npy" % to for x in run) + into, "folder/d_" + to)
                  for name, to in (("q", "query"), ("k", "key"))]
        lines += [(run[:-1] + ("W=folder/d_W.npy",) + into, "folder/d_W"),
                  (run + ("--bias", "d.npy", "--context", "d.npy"), "d.npy")]
        lines += [(layer + ("--output", name), "input " + name) for name in ("x.npy", "W_q.npy", "W_o.npy")]
        lines += [(parts + (option, "k.npy"), "input k.npy") for option in ("--beta", "--alpha", "--a-logsumexp")]
        lines += [(("plot", "w.png", "-o", "w.png"), "input w.png"), (("plot", "-o", "w.png", "./w.png"), "input ./w.png"),
                  (("plot", "w.npy", "--rows", "words.svg", "-o", "words.svg"), "input words.svg"),
                  (("plot", "w.npy", "-o", "new.png", "-o", "words.svg", "--columns", "words.svg"), "input words.svg")]
        self.refuse_all(lines)

    def test_standard_streams_are_files_too(self):
        run = [COMMAND, "run", "--score", "dot", "--key", "k.npy", "--query"]
        before = Path("q.npy").read_bytes()
        for arguments, stdin, stdout in ((["-", "--context", "q.npy"], "q.npy", None), (["q.npy"], None, "q.npy"),
                                         (["-"], "q.npy", "q.npy")):
            with open(stdin or os.devnull, "rb") as source, open(stdout or os.devnull, "r+b") as target:
                done = subprocess.run([*run, *arguments], stdin=source, stdout=target, stderr=subprocess.PIPE, env=ENVIRONMENT)
            self.assertEqual((done.returncode, Path("q.npy").read_bytes()), (2, before), arguments)
            self.assertIn(b"same file as the input", done.stderr)

    def test_inputs_may_be_the_same_file_and_devices_both(self):
        self.good("run", "--score", "dot", "--query", "q.npy", "--key", "q.npy", "--context", "/dev/null", stdin=b"")
        self.good("run", "--score", "dot", "--query", "link.npy", "--key", "hard.npy", "--context", "new.npy")


if __name__ == "__main__":
    unittest.main(verbosity=1)
