# SPDX-License-Identifier: BSD-3-Clause
"""The two that are compared, as processes of their own that train on in slices: `translate train`, begun anew for each
slice from where the last one ended, and train.py, which waits. PyTorch is not imported here, so that no process inherits its
memory."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import subprocess
import sys

MEGABYTE = 1024  # of what Linux tells in kilobytes


@dataclasses.dataclass(frozen=True)
class Step:
    number: int
    loss: float
    norm: float
    seconds: float

    @staticmethod
    def of(line: str) -> Step:
        number, loss, norm, seconds = line.split()[:4]  # the program says more
        return Step(int(number), float(loss), float(norm), float(seconds))


def _peak(process: subprocess.Popen[str]) -> float:
    """Waits for the end; megabytes that it had at most."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{process.args} ended with {process.returncode}")
    return usage.ru_maxrss / MEGABYTE


class Translate:
    """The program, in a folder of its own."""

    def __init__(self, program: str, pairs: pathlib.Path, folder: pathlib.Path) -> None:
        self.program, self.pairs = program, str(pairs)
        self.at, self.log = folder / "at.ckpt", folder / "log"
        self.peak = 0.0

    def _run(self, *words: str) -> None:
        process = subprocess.Popen([self.program, *words], text=True)
        self.peak = max(self.peak, _peak(process))

    def begin(self, checkpoint: pathlib.Path, batches: pathlib.Path, count: int, *options: str) -> None:
        """Writes the checkpoint of step 0, and what will be trained on."""
        for to in (checkpoint, self.at):
            self._run("train", "--train", self.pairs, "-o", str(to), "--stop-after", "0", "--quiet", *options)
        self._run(
            "batches", "--train", self.pairs, "--checkpoint", str(checkpoint), "--count", str(count), "-o", str(batches)
        )
        self.peak = 0.0

    def train(self, steps: int) -> list[Step]:
        self.log.unlink(missing_ok=True)
        told = ("--stop-after", str(steps), "--log", str(self.log), "--quiet")
        self._run("train", "--train", self.pairs, "--resume", str(self.at), *told)
        return [Step.of(line) for line in self.log.read_text().splitlines()]


class Torch:
    def __init__(self, checkpoint: pathlib.Path, batches: pathlib.Path, threads: int, compiled: bool = False) -> None:
        train = str(pathlib.Path(__file__).with_name("train.py"))
        command = [sys.executable, train, str(checkpoint), str(batches), "--threads", str(threads), "--slices"]
        self.process = subprocess.Popen(
            command + ["--compile"] * compiled, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        _, self.version, kilobytes = self._line().split()
        self.start = int(kilobytes) / MEGABYTE

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("PyTorch's process has ended")
        return line

    def train(self, steps: int) -> list[Step]:
        assert self.process.stdin is not None
        print(steps, file=self.process.stdin, flush=True)
        return [Step.of(self._line()) for _ in range(steps)]

    def end(self) -> float:
        """Megabytes that it had at most."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        peak = _peak(self.process)
        self.process.stdout.close()
        return peak
