# SPDX-License-Identifier: BSD-3-Clause
"""What the tests of the command attn share. Their first argument is the command."""

import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np

COMMAND = os.path.abspath(sys.argv.pop(1))
ENVIRONMENT = dict(os.environ, ASAN_OPTIONS="detect_leaks=0:exitcode=99", UBSAN_OPTIONS="exitcode=98", LC_ALL="C.UTF-8")


def attn(*arguments, stdin=b""):
    return subprocess.run([COMMAND, *arguments], input=stdin, capture_output=True, env=ENVIRONMENT, timeout=60)


def quantised(rows):
    """Integers, the scale of each row, and what both stand for, as a memory of 8 bits has them."""
    scales = np.abs(rows).max(-1) / np.float32(127)
    integers = np.rint(rows / scales[..., None]).astype("i1")
    return integers, scales, integers * scales[..., None]


def widened(x):
    """Numbers as f8; of u2 those whose bits in bfloat16 they are."""
    return (x.astype("u4") << 16).view("f4").astype("f8") if x.dtype.kind == "u" else x.astype("f8")


def softmax(scores):
    most = scores.max(-1, keepdims=True)
    exponentials = np.exp(scores - np.where(np.isfinite(most), most, 0))
    total = exponentials.sum(-1, keepdims=True)
    return np.where(total > 0, exponentials / np.where(total > 0, total, 1), 0)


class InAnEmptyFolder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(folder.name)
        self.random = np.random.default_rng(3)

    def good(self, *arguments, stdin=b""):
        done = attn(*arguments, stdin=stdin)
        self.assertEqual((done.returncode, done.stderr), (0, b""), arguments)
        return done.stdout

    def bad(self, *arguments, stdin=b"", sentence=""):
        """One sentence, status 2, and not a file more than before."""
        before = sorted(os.listdir())
        done = attn(*arguments, stdin=stdin)
        self.assertEqual(done.returncode, 2, (arguments, done.stderr))
        self.assertEqual(done.stdout, b"", arguments)
        self.assertRegex(done.stderr.decode(), r"\Aattn: [^\n]+\n\Z", arguments)
        self.assertIn(sentence, done.stderr.decode(), arguments)
        self.assertEqual(sorted(os.listdir()), before, arguments)

    def refuse_all(self, lines):
        """Each line is bad, and the files that are there keep their bytes."""
        files = [path for path in sorted(Path().rglob("*")) if path.is_file()]
        before = [path.read_bytes() for path in files]
        for arguments, sentence in lines:
            self.bad(*arguments, sentence=sentence)
            self.assertEqual(files, [path for path in sorted(Path().rglob("*")) if path.is_file()], arguments)
            self.assertEqual(before, [path.read_bytes() for path in files], arguments)

    def normal(self, name, *shape, dtype="f4"):
        array = self.random.normal(size=shape).astype(dtype)
        np.save(name, array)
        return array

    def run_with_gradients(self, run, want, flows):
        """Runs the command with the outputs of want, and gradients from those that flows names; compares the outputs.
        Returns the gradients that flow in."""
        d = {name: self.normal("d_" + name + ".npy", *want[name].shape, dtype="f8") for name in flows}
        os.makedirs("gradients", exist_ok=True)
        for old in Path("gradients").iterdir():
            old.unlink()
        self.good(*run, *(x for name in want for x in ("--" + name, name + ".npy")), "--grad-out", "gradients",
                  *(x for name in flows for x in ("--d-" + name, "d_" + name + ".npy")))
        self.compare(want)
        return d

    def compare(self, want):
        for name in want:
            np.testing.assert_allclose(np.load(name + ".npy"), want[name], rtol=1e-10, atol=1e-10, err_msg=name)

    def check_gradients(self, t, loss, title=""):
        """The files in gradients are those by the tensors t, and the differences of the loss, which looks at these."""
        self.assertEqual({"d_" + name + ".npy" for name in t}, set(os.listdir("gradients")))
        for name, x in t.items():
            differences, step = np.empty_like(x), 1e-6
            for at in np.ndindex(x.shape):
                here = x[at]
                x[at] = here + step
                more = loss()
                x[at] = here - step
                differences[at] = (more - loss()) / (2 * step)
                x[at] = here
            got = np.load("gradients/d_" + name + ".npy")
            self.assertEqual((got.dtype, got.shape), (x.dtype, x.shape))
            np.testing.assert_allclose(got, differences, rtol=1e-6, atol=1e-6, err_msg=title + " d_" + name)
