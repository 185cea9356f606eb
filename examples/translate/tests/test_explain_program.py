#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Uses translate explain, adversary and figures as their users do, and draws what they measured. The program is told by the
environment variable TRANSLATE."""
import json
import math
import os
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

PROGRAM = os.environ["TRANSLATE"]
PLOTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "plots")
TINY = ["--embed", "16", "--states", "32", "--hidden", "16", "--feed-forward", "32", "--rows", "16", "--quiet"]
EXPLAINED = ["bahdanau", "dot", "general", "concat", "location", "local-m", "bahdanau-even", "luong-even"]
REFUSED = ["none", "local-p", "transformer"]
QUICK = ["--most", "3", "--permutations", "5", "--starts", "1", "--iterations", "5", "--quiet"]


def run(*words, status=0):
    done = subprocess.run([PROGRAM, *words], capture_output=True, text=True, check=False)
    if done.returncode != status:
        raise AssertionError(f"{' '.join(words)} ended with {done.returncode}, not {status}: {done.stderr}")
    return done.stdout if status == 0 else done.stderr


def read(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


class Explain(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.scratch.cleanup)
        os.chdir(cls.scratch.name)
        run("data", "data", "--train", "200", "--measured", "30")
        for kind in EXPLAINED + REFUSED:
            run("train", "--model", kind, "--train", "data/train.tsv", "-o", kind, "--steps", "4", *TINY)
        run("train", "--model", "bahdanau", "--train", "data/train.tsv", "-o", "other", "--steps", "4", "--seed", "2", *TINY)

    def test_every_kind_with_weights_is_explained(self):
        for kind in EXPLAINED:
            run("explain", kind, "data/dev.tsv", "--json", f"{kind}.json", *QUICK)
            figures = read(f"{kind}.json")
            steps = figures["steps"]
            self.assertEqual(len(figures["greatest_weights"]), steps)
            self.assertTrue(all(0 <= far <= math.log(2) for far in figures["adversarial_divergences"]))
            self.assertTrue(all(moved <= 0.01 for moved in figures["adversarial_moved"]))
            self.assertTrue(all(0 <= moved <= 1 for moved in figures["permutation_medians"]))
            if kind.endswith("even"):
                self.assertAlmostEqual(figures["own_weights"]["loss"], figures["even_weights"]["loss"], 6)
                self.assertLess(max(figures["permutation_medians"]), 1e-5)

    def test_what_has_no_such_weights_is_refused_in_a_sentence(self):
        for kind in REFUSED:
            for command in (["explain", kind, "data/dev.tsv"], ["figures", kind, "data/dev.tsv"],
                            ["adversary", kind, "--train", "data/train.tsv", "-o", "never"]):
                said = run(*command, status=2)
                self.assertRegex(said, rf"^translate: {kind} is of the kind {kind}: .+\n$")
        self.assertFalse(os.path.exists("never"))
        self.assertRegex(run("explain", "dot", "data/dev.tsv", "local-p", status=2), "do not sum to 1")

    def test_a_seed_decides_everything(self):
        for name, seed in (("one", "1"), ("again", "1"), ("another", "2")):
            run("explain", "concat", "data/dev.tsv", "--seed", seed, "--json", f"{name}.json", *QUICK)
        self.assertEqual(read("one.json"), read("again.json"))
        self.assertNotEqual(read("one.json")["permutation_medians"], read("another.json")["permutation_medians"])

    def test_a_model_is_like_itself_and_unlike_another_seed(self):
        run("explain", "bahdanau", "data/dev.tsv", "bahdanau", "other", "--json", "rivals.json", *QUICK)
        itself, other = read("rivals.json")["others"]
        self.assertEqual((itself["divergence"]["p95"], itself["variation"]["mean"], itself["same_word"]), (0, 0, 1))
        self.assertGreater(other["variation"]["mean"], 0)

    def test_an_adversary_is_a_model(self):
        run("adversary", "bahdanau", "--train", "data/train.tsv", "-o", "adversary", "--steps", "5", "--rows", "8", "--quiet")
        run("explain", "bahdanau", "data/dev.tsv", "adversary", "--json", "adversary.json", *QUICK)
        run("evaluate", "adversary", "data/dev.tsv", "--beam", "1", "--quiet")
        self.assertIn("nothing to go on training with",
                      run("train", "--train", "data/train.tsv", "--resume", "adversary", status=2))

    def test_pictures_are_drawn(self):
        run("explain", "dot", "data/dev.tsv", "dot", "--json", "dot.json", *QUICK)
        run("figures", "dot", "data/dev.tsv", "--samples", "2", "--json", "figures.json")
        run("evaluate", "dot", "data/test.tsv", "--beam", "1", "--quiet", "--json", "evaluate.json")
        self.assertEqual(read("figures.json")["hull"]["outside"], 0)
        for words in (["explain.py", "dot.json", "--out", "svg"], ["figures.py", "figures.json", "--out", "svg"],
                      ["lengths.py", "evaluate.json", "--out", "svg/lengths.svg"]):
            subprocess.run([sys.executable, os.path.join(PLOTS, words[0]), *words[1:]], check=True, stdout=subprocess.DEVNULL)
        drawn = sorted(os.listdir("svg"))
        self.assertEqual(len(drawn), 9)
        for name in drawn:
            root = xml.etree.ElementTree.parse(os.path.join("svg", name)).getroot()
            self.assertTrue(root.tag.endswith("svg"))


if __name__ == "__main__":
    unittest.main()
