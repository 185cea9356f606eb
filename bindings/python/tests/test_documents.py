# SPDX-License-Identifier: BSD-3-Clause
"""test_documents.py: the Python in the READMEs runs, and prints what is printed there; the examples run. What needs
PyTorch is skipped without it."""

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]


def has(module):
    return importlib.util.find_spec(module) is not None


class Documents(unittest.TestCase):
    def run_program(self, source):
        """What it prints."""
        environment = {**os.environ, "PYTHONPATH": str(HERE), "MPLBACKEND": "agg"}
        with tempfile.TemporaryDirectory() as empty:
            done = subprocess.run([sys.executable, "-c", source], cwd=empty, env=environment, check=False, text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_readmes(self):
        count = 0
        for document in (HERE / "README.md", HERE.parents[1] / "README.md"):
            text = document.read_text(encoding="utf-8")
            for program, prints in re.findall(r"```python\n(.*?)```(?:\n+```text\n(.*?)```)?", text, re.DOTALL):
                with self.subTest(document.name, program=program):
                    if "import torch" in program and not has("torch"):
                        self.skipTest("torch is missing")
                    self.assertEqual(self.run_program(program), prints)
                count += 1
        self.assertGreaterEqual(count, 3)

    def test_examples(self):
        for example, says in (("sentence", "it: it 0.61, animal 0.36"), ("decoder_step", "as without a memory: True"),
                              ("layer", "step 500: mean square error 0.0"), ("gpt", "calls taken: 12 left: {}"),
                              ("serve", "all tokens equal those of recomputation")):
            with self.subTest(example):
                if example == "gpt" and not has("torch"):
                    self.skipTest("torch is missing")
                self.assertIn(says, self.run_program((HERE / "examples" / f"{example}.py").read_text(encoding="utf-8")))


if __name__ == "__main__":
    unittest.main()
