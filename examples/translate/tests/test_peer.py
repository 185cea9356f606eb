#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Trains small models by the program that TRANSLATE names and in PyTorch, from the same start on the same batches: the losses
must be the same. Skipped where there is no PyTorch."""
from __future__ import annotations

import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

if importlib.util.find_spec("torch") is None:
    print("no Python with torch: skipped")
    sys.exit(77)
sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "peer"))
import torch  # noqa: E402

import batches  # noqa: E402
import checkpoint  # noqa: E402
import train  # noqa: E402
from program import Step, Translate  # noqa: E402

PROGRAM = os.environ.get("TRANSLATE", "translate")
STEPS, AGREEMENT = 20, 1e-4
SIZES = ["--dropout", "0", "--embed", "10", "--states", "12", "--hidden", "7", "--layers", "2", "--heads", "3"]
SIZES += ["--feed-forward", "20", "--rows", "9", "--warmup", "6", "--steps", "40", "--rate", "0.01", "--clip", "0.5"]


class Peer(unittest.TestCase):
    folder: pathlib.Path

    @classmethod
    def setUpClass(cls) -> None:
        torch.set_num_threads(1)
        scratch = tempfile.TemporaryDirectory()
        cls.addClassCleanup(scratch.cleanup)
        cls.folder = pathlib.Path(scratch.name)
        made = ["--train", "100", "--measured", "10", "--longest", "20"]
        subprocess.run([PROGRAM, "data", str(cls.folder), *made], check=True)

    def begin(self, *options: str) -> tuple[Translate, pathlib.Path, pathlib.Path]:
        """100 sentences in batches of 9 are 12, the last of one sentence: 20 steps are nearly two epochs."""
        ours = Translate(PROGRAM, self.folder / "train.tsv", self.folder)
        start, taken = self.folder / "start.ckpt", self.folder / "batches"
        ours.begin(start, taken, STEPS, *SIZES, *options)
        return ours, start, taken

    def trained(self, *options: str) -> tuple[list[Step], list[Step]]:
        ours, start, taken = self.begin(*options)
        trainer = train.Trainer(checkpoint.read(start))
        theirs = [Step(i, *trainer.train(batch)) for i, batch in enumerate(batches.read(taken), 1)]
        return ours.train(STEPS), theirs

    def agree(self, *options: str) -> None:
        ours, theirs = self.trained(*options)
        self.assertEqual([step.number for step in ours], list(range(1, STEPS + 1)))
        for a, b in zip(ours, theirs, strict=True):
            self.assertAlmostEqual(a.loss, b.loss, delta=AGREEMENT, msg=f"loss of step {a.number}")
            self.assertAlmostEqual(a.norm, b.norm, delta=10 * AGREEMENT * b.norm, msg=f"norm of step {a.number}")
        self.assertLess(ours[-1].loss, ours[0].loss - 0.1, "nothing is learnt that could differ")

    def test_bahdanau_is_torchs(self) -> None:
        self.agree("--model", "bahdanau", "--shards", "1", "--smoothing", "0")

    def test_bahdanau_with_smoothed_labels_in_two_shards_is_torchs(self) -> None:
        self.agree("--model", "bahdanau", "--shards", "2", "--smoothing", "0.1")

    def test_the_transformer_is_torchs(self) -> None:
        self.agree("--model", "transformer", "--states", "12", "--shards", "1", "--smoothing", "0.1")

    def test_the_transformer_in_two_shards_is_torchs(self) -> None:
        self.agree("--model", "transformer", "--states", "12", "--shards", "2", "--smoothing", "0")

    def test_other_weights_are_seen(self) -> None:
        """That the losses agree is no accident of losses that change little."""
        ours, start, taken = self.begin("--model", "bahdanau", "--shards", "1")
        read = checkpoint.read(start)
        read.parameters["attention.v"].neg_()
        trainer = train.Trainer(read)
        theirs = [trainer.train(batch)[0] for batch in batches.read(taken)]
        apart = max(abs(a.loss - b) for a, b in zip(ours.train(STEPS), theirs, strict=True))
        self.assertGreater(apart, AGREEMENT)

    def test_batches_are_the_trainings(self) -> None:
        """Every sentence once in an epoch, padded, and written alike from the middle of a training."""
        ours, start, taken = self.begin("--model", "bahdanau", "--shards", "1")
        whole = list(batches.read(taken))
        self.assertEqual(sorted(len(b.source) for b in whole[:12]), [1] + 11 * [9])
        self.assertTrue(any((b.source == batches.PADDING).any() for b in whole), "no padding to be tested with")
        ours.train(7)
        rest = self.folder / "rest"
        command = ["batches", "--train", str(ours.pairs), "--checkpoint", str(ours.at), "--count", "13"]
        subprocess.run([PROGRAM, *command, "-o", str(rest)], check=True)
        self.assertTrue(taken.read_text().endswith(rest.read_text()))

    def test_the_start_alone_is_step_0(self) -> None:
        _, start, _ = self.begin("--model", "bahdanau", "--shards", "1")
        read = checkpoint.read(start)
        self.assertEqual(read.step, 0)
        self.assertEqual(read.whole("states"), 12)
        self.assertEqual(read.source_words[:4], ["<padding>", "<unknown>", "<begin>", "<end>"])
        self.assertEqual(read.parameters["output.weight"].shape, (len(read.target_words), 12))
        self.assertTrue((read.parameters["output.bias"] == 0).all())

    def test_the_comparison_measures_both(self) -> None:
        compare, results = pathlib.Path(train.__file__).with_name("compare.py"), self.folder / "results.json"
        command = [sys.executable, str(compare), "--translate", PROGRAM, "--pairs", str(self.folder / "train.tsv")]
        command += ["--model", "bahdanau", "--threads", "1", "--rounds", "1", "--slice", "3", "--json", str(results)]
        subprocess.run([*command, "--", *SIZES], check=True, stdout=subprocess.DEVNULL)
        (result,) = json.loads(results.read_text())
        self.assertLess(result["loss_difference"]["eager"], AGREEMENT)
        self.assertGreater(min(result["words_per_second"].values()), 0)
        self.assertGreater(min(result["peak_mb"].values()), 0)

    def test_what_cannot_be_compared_is_refused(self) -> None:
        _, start, _ = self.begin("--model", "bahdanau", "--shards", "1", "--dropout", "0.1")
        with self.assertRaisesRegex(ValueError, "dropout 0"):
            train.Trainer(checkpoint.read(start))


if __name__ == "__main__":
    unittest.main()
