# SPDX-License-Identifier: BSD-3-Clause
"""Trains a checkpoint of step 0 in PyTorch as `translate train` would, on what `translate batches` wrote. Prints a line a
step, as the program's --log begins: step, mean loss without smoothing, norm of the gradient, seconds.

    python train.py CHECKPOINT BATCHES --threads 1
"""

from __future__ import annotations

import argparse
import itertools
import math
import resource
import sys
import time
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import nn

import bahdanau
import batches
import checkpoint
import transformer
from batches import NO_WORD, Batch
from checkpoint import Checkpoint

KINDS = {"bahdanau": bahdanau.from_checkpoint, "transformer": transformer.from_checkpoint}


def rate_at(c: Checkpoint, step: int) -> float:
    """As in train/optimiser.c."""
    warmup, steps = c.whole("warmup"), c.whole("steps")
    risen = (step + 1) / warmup if step < warmup else 1.0
    fallen = 0.5 * (1 + math.cos(math.pi * step / steps))
    return c.number("rate") * risen * (0.02 + 0.98 * fallen)


class Trainer:
    def __init__(self, c: Checkpoint, compiled: bool = False) -> None:
        if c.number("dropout") > 0:
            raise ValueError("what is dropped is drawn otherwise here: --dropout 0")
        if c.step != 0:
            raise ValueError(f"the checkpoint is of step {c.step}, not of the beginning")
        self.of, self.step = c, 0
        self.model: nn.Module = KINDS[c.setup["model"]](c)
        self.optimiser = torch.optim.Adam(self.model.parameters(), betas=(0.9, 0.999), eps=1e-8, fused=True)
        self.clip, self.smoothing = c.number("clip"), c.number("smoothing")
        self.run = torch.compile(self.model, dynamic=True) if compiled else self.model

    def plain(self, logits: torch.Tensor, batch: Batch) -> float:
        with torch.no_grad():
            return F.cross_entropy(logits.flatten(0, 1), batch.target_out.flatten(), ignore_index=NO_WORD).item()

    def train(self, batch: Batch) -> tuple[float, float, float]:
        """Mean loss without smoothing, norm of the gradient, and seconds."""
        begun = time.perf_counter()
        for group in self.optimiser.param_groups:
            group["lr"] = rate_at(self.of, self.step)
        self.optimiser.zero_grad(set_to_none=True)
        logits = self.run(batch)
        loss = F.cross_entropy(
            logits.flatten(0, 1),
            batch.target_out.flatten(),
            ignore_index=NO_WORD,
            label_smoothing=self.smoothing,
        )
        loss.backward()
        most = self.clip if self.clip > 0 else math.inf
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), most, foreach=True).item()
        self.optimiser.step()
        seconds = time.perf_counter() - begun
        self.step += 1
        plain = self.plain(logits, batch) if self.smoothing > 0 else loss.item()
        return plain, norm, seconds


def run(trainer: Trainer, taken: Iterable[Batch]) -> None:
    for batch in taken:
        loss, norm, seconds = trainer.train(batch)
        print(f"{trainer.step} {loss:.9g} {norm:.9g} {seconds:.6f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="of step 0, with dropout 0")
    parser.add_argument("batches")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compile", action="store_true", help="by torch.compile")
    parser.add_argument("--slices", action="store_true", help="as many steps as each line of standard input says")
    told = parser.parse_args()
    torch.set_num_threads(told.threads)
    torch.manual_seed(0)
    start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    trainer = Trainer(checkpoint.read(told.checkpoint), told.compile)
    taken = iter(list(batches.read(told.batches)))
    if not told.slices:
        run(trainer, taken)
        return
    print(f"torch {torch.__version__} {start}", flush=True)  # the version, and kilobytes before there is a model
    for line in sys.stdin:
        run(trainer, itertools.islice(taken, int(line)))


if __name__ == "__main__":
    main()
