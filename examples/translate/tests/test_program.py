#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Uses the program as its users do: data, a short training, an interrupted one, measuring, translating, what is looked at; and
what it says to bad input. The program is told by the environment variable TRANSLATE."""
import json
import math
import os
import signal
import subprocess
import tempfile
import time
import unittest

PROGRAM = os.environ["TRANSLATE"]
TINY = ["--embed", "16", "--states", "32", "--hidden", "16", "--feed-forward", "32", "--rows", "16", "--quiet"]
KINDS = ["none", "bahdanau", "dot", "general", "concat", "location", "local-m", "local-p", "transformer"]


def run(*words, status=0, text=None):
    """The program's output; its status must be this. Nothing but a sentence may come with a failure."""
    done = subprocess.run([PROGRAM, *words], input=text, capture_output=True, text=True, check=False)
    if done.returncode != status:
        raise AssertionError(f"{' '.join(words)} ended with {done.returncode}, not {status}: {done.stderr}")
    if status == 2 and not done.stderr.startswith("translate: "):
        raise AssertionError(f"{' '.join(words)} said {done.stderr!r}")
    return done.stdout if status == 0 else done.stderr


class Program(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.scratch.cleanup)
        os.chdir(cls.scratch.name)
        run("data", "data", "--train", "400", "--measured", "60")
        cls.models = {}
        for kind in KINDS:
            run("train", "--model", kind, "--train", "data/train.tsv", "-o", kind, "--steps", "6", *TINY)

    def test_data_is_what_it_says(self):
        sources, lines = set(), 0
        for name, count, longest in (("train", 400, 30), ("dev", 60, 30), ("test", 60, 60)):
            with open(f"data/{name}.tsv", encoding="utf-8") as file:
                rows = [line.rstrip("\n").split("\t") for line in file]
            self.assertEqual(len(rows), count)
            lines += count
            for source, target, links in rows:
                self.assertLessEqual(len(source.split(" ")), longest)
                self.assertTrue(all(int(link.replace("?", "-").split("-")[1]) < len(target.split(" ")) for link in links.split(" ")))
                sources.add(source)
        self.assertEqual(len(sources), lines, "a sentence is in two places")
        with open("data/canonical.tsv", encoding="utf-8") as file:
            canonical = file.read().split("\t")
        self.assertEqual(canonical[0], "The agreement on the European Economic Area was signed in August 1992 .")
        self.assertEqual(canonical[1], "L' accord sur la zone économique européenne a été signé en août 1992 .")
        self.assertNotIn(canonical[0], sources)
        run("data", "again", "--train", "400", "--measured", "60")
        for name in ("train", "dev", "test"):
            with open(f"data/{name}.tsv", "rb") as one, open(f"again/{name}.tsv", "rb") as other:
                self.assertEqual(one.read(), other.read())

    def test_a_training_that_is_stopped_and_taken_up_writes_the_same_file(self):
        common = ["train", "--model", "general", "--train", "data/train.tsv", "--steps", "9", "--reverse-source", *TINY]
        run(*common, "-o", "whole")
        run(*common, "-o", "part", "--stop-after", "4")
        run("train", "--resume", "part", "--train", "data/train.tsv", "--quiet")
        with open("whole", "rb") as one, open("part", "rb") as other:
            self.assertEqual(one.read(), other.read())

    def test_an_interrupt_leaves_a_checkpoint_to_go_on_from(self):
        words = ["train", "--model", "dot", "--train", "data/train.tsv", "-o", "stopped", "--steps", "1000000", *TINY, "--log", "log"]
        process = subprocess.Popen([PROGRAM, *words], stderr=subprocess.PIPE, text=True)
        for _ in range(600):
            if os.path.exists("log") and time.sleep(0.1) is None and process.poll() is None:
                break
            time.sleep(0.05)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, said)
        with open("stopped", "rb") as file:
            head = file.read(2000).decode("utf-8", "replace")
        step = int(head.split("\nstep ")[1].split("\n")[0])
        self.assertGreater(step, 0)
        run("train", "--resume", "stopped", "--train", "data/train.tsv", "--stop-after", "2", "--quiet")
        with open("stopped", "rb") as file:
            self.assertIn(f"\nstep {step + 2}\n", file.read(2000).decode("utf-8", "replace"))
        self.assertEqual([name for name in os.listdir(".") if ".part" in name], [])

    def test_figures_add_up(self):
        for kind in KINDS:
            said = run("evaluate", kind, "data/test.tsv", "--json", "figures.json", "--quiet")
            with open("figures.json", encoding="utf-8") as file:
                figures = json.load(file)
            self.assertEqual(figures["setup"]["model"], kind)
            self.assertEqual(sum(bucket["sentences"] for bucket in figures["lengths"]), 60)
            self.assertEqual(figures["all"]["sentences"], 60)
            self.assertTrue(0 < figures["loss"] < math.log(3000))
            self.assertEqual(figures["all"]["aer"] is None, kind == "none")
            self.assertIn("exact %", said)

    def test_sentences_are_translated_line_by_line(self):
        said = run("run", "bahdanau", text="The king signed .\n\n  An   unknownword here\n")
        self.assertEqual(said.count("\n"), 3)
        self.assertEqual(said.split("\n")[1], "")
        self.assertEqual(run("run", "none", "data/../canon", status=2).count("\n"), 1)

    def test_what_is_looked_at_is_written_for_attn_plot(self):
        kinds = [kind for kind in KINDS if kind != "none"]
        run("align", *kinds, "dot", "--pairs", "data/canonical.tsv", "-o", "alignments.json", "--title", "A title")
        with open("alignments.json", encoding="utf-8") as file:
            told = json.load(file)
        self.assertEqual(told["format"], "attn-alignments 1")
        self.assertEqual([one["model"] for one in told["runs"]], [*kinds, "dot, 2"])
        for one in told["runs"]:
            self.assertEqual((len(one["source"]), len(one["target"])), (13, 14))
            for scores, weights, factor in zip(one["scores"], one["weights"], one.get("factor", [[1] * 13] * 14)):
                scores = [-math.inf if score is None else score for score in scores]
                shares = [math.exp(score - max(scores)) for score in scores]
                for share, weight, times in zip(shares, weights, factor):
                    self.assertAlmostEqual(share / sum(shares) * times, weight, delta=1e-5)
            self.assertEqual(len(one["gold"]), len({(link[0], link[1]) for link in one["gold"]}))

    def test_bad_input_gets_a_sentence_and_changes_nothing(self):
        with open("broken.tsv", "w", encoding="utf-8") as file:
            file.write("one two\teins zwei\nonly one side\n")
        with open("empty.tsv", "w", encoding="utf-8"):
            pass
        with open("version", "w", encoding="utf-8") as file:
            file.write("attn-translate 99\n")
        new = ["-o", "new", *TINY]
        before = sorted(os.listdir("."))
        for words, part in (
            (["nonsense"], "no command nonsense"),
            (["train", "--train", "nowhere", *new], "nowhere"),
            (["train", "--train", "broken.tsv", *new], "2"),
            (["train", "--train", "empty.tsv", *new], "no sentence"),
            (["train", *new], "--train is missing"),
            (["train", "--train", "data/train.tsv", *TINY], "-o is missing"),
            (["train", "--train", "data/train.tsv", "--model", "rnnsearch", *new], "no model rnnsearch"),
            (["train", "--train", "data/train.tsv", "--dropout", "1", *new], "--dropout must be"),
            (["train", "--train", "data/train.tsv", "--rows", "2.5", *new], "--rows must be"),
            (["train", "--train", "data/train.tsv", "--rows", "", *new], "--rows must be"),
            (["train", "--train", "data/train.tsv", "--heads", "3", "--model", "transformer", "-o", "new"], "heads"),
            (["train", "--train", "data/train.tsv", *new, "--states", "7"], "even"),
            (["train", "--resume", "dot", "--train", "data/dev.tsv"], "other sentences"),
            (["train", "--resume", "dot", "--train", "data/train.tsv", "--states", "64"], "--states 32"),
            (["train", "--resume", "dot", "--train", "data/train.tsv", "--model", "general"], "--model dot"),
            (["train", "--train", "data/train.tsv", "-o", "no/such/folder", *TINY], "no/such/folder"),
            (["evaluate", "dot", "nowhere"], "nowhere"),
            (["evaluate", "nowhere", "data/test.tsv"], "nowhere"),
            (["evaluate", "data/test.tsv", "data/test.tsv"], "no checkpoint"),
            (["evaluate", "version", "data/test.tsv"], "version 99"),
            (["evaluate", "dot"], "missing"),
            (["evaluate", "dot", "data/test.tsv", "more"], "too many"),
            (["evaluate", "dot", "data/test.tsv", "--beam", "0"], "--beam must be"),
            (["evaluate", "dot", "data/test.tsv", "--beam"], "lacks its value"),
            (["evaluate", "dot", "data/test.tsv", "--json", "no/such/folder"], "no/such/folder"),
            (["align", "none", "--pairs", "data/canonical.tsv", "-o", "x"], "looks at nothing"),
            (["align", "dot", "--pairs", "data/canonical.tsv", "--line", "2", "-o", "x"], "lines"),
            (["data", "nowhere/at/all"], "cannot be made"),
            (["data", "more", "--longest", "2"], "--longest must be"),
        ):
            with self.subTest(words=words):
                self.assertIn(part, run(*words, status=2))
        with open("long.tsv", "w", encoding="utf-8") as file:
            file.write("a " * 150 + "a\tb\n")
        self.assertIn("places", run("evaluate", "location", "long.tsv", status=2))
        run("evaluate", "dot", "long.tsv", "--quiet")
        os.remove("long.tsv")
        self.assertEqual(before, sorted(os.listdir(".")))


if __name__ == "__main__":
    unittest.main()
