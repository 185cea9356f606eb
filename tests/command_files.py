# SPDX-License-Identifier: BSD-3-Clause
"""command_files.py COMMAND: which .npy files are taken, by NumPy's own word, and that no output takes the place of an
input."""

import os
import subprocess
import unittest
from pathlib import Path

import numpy as np
from command_support import COMMAND, ENVIRONMENT, InAnEmptyFolder


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
