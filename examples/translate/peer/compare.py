# SPDX-License-Identifier: BSD-3-Clause
"""The program beside PyTorch: the same model from the same start on the same batches. First 20 steps, whose losses must
agree; then words a second of both, slice after slice in turn, so that whatever else the machine does slows both down alike.
A slice's first steps are not counted: they fill caches."""

from __future__ import annotations

import argparse
import ctypes
import json
import pathlib
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from typing import Any

from program import Step, Torch, Translate

AGREEMENT = 1e-4
FIRST, NOT_COUNTED = 20, 2
GOALS = {"bahdanau": 2.0, "transformer": 1.3}


def words_of(path: pathlib.Path) -> list[int]:
    """The words of each batch, ends included."""
    lines = path.read_text().splitlines()
    counts: list[int] = []
    while lines:
        rows = int(lines.pop(0))
        batch, lines = lines[:rows], lines[rows:]
        counts.append(sum(len(line.split("\t")[1].split()) + 1 for line in batch))
    return counts


def difference(ours: list[Step], theirs: list[Step]) -> float:
    """The greatest between losses of the same step."""
    assert [s.number for s in ours] == [s.number for s in theirs]
    return max(abs(a.loss - b.loss) / max(1.0, abs(b.loss)) for a, b in zip(ours, theirs))


def speed(steps: list[Step], words: list[int]) -> float:
    counted = steps[NOT_COUNTED:]
    return sum(words[s.number - 1] for s in counted) / sum(s.seconds for s in counted)


def spread(numbers: list[float]) -> dict[str, float]:
    """The median, and an interval that has it in 19 of 20 cases, from the ranks; few numbers: all of them."""
    ordered, n = sorted(numbers), len(numbers)
    lower = max(0, int((n - 1.96 * n**0.5) / 2))
    return {"median": statistics.median(ordered), "low": ordered[lower], "high": ordered[n - 1 - lower]}


def compare(told: argparse.Namespace, kind: str, threads: int, folder: pathlib.Path) -> dict[str, Any]:
    folder.mkdir()
    start, batches = folder / "start.ckpt", folder / "batches"
    ours = Translate(told.translate, told.pairs, folder)
    count = FIRST + told.rounds * told.slice
    ours.begin(start, batches, count, "--model", kind, "--dropout", "0", "--shards", str(threads), *told.options)
    words = words_of(batches)
    theirs = {"eager": Torch(start, batches, threads)}
    if told.compile and kind == "transformer":  # a loop over words would be compiled for every length
        theirs["compiled"] = Torch(start, batches, threads, compiled=True)
    first = ours.train(FIRST)
    apart = {name: difference(first, torch.train(FIRST)) for name, torch in theirs.items()}
    speeds: dict[str, list[float]] = {name: [] for name in ("ours", *theirs)}
    for i in range(told.rounds):
        entrants: list[tuple[str, Translate | Torch]] = [("ours", ours), *theirs.items()]
        for name, entrant in entrants if i % 2 == 0 else entrants[::-1]:
            speeds[name].append(speed(entrant.train(told.slice), words))
    result: dict[str, Any] = {
        "model": kind,
        "threads": threads,
        "torch": theirs["eager"].version,
        "words_per_second": {name: statistics.median(numbers) for name, numbers in speeds.items()},
        "loss_difference": apart,
        "ratio": {
            name: spread([a / b for a, b in zip(speeds["ours"], speeds[name])]) for name in theirs if told.rounds > 0
        },
        "torch_start_mb": theirs["eager"].start,
    }
    peaks = {name: torch.end() for name, torch in theirs.items()}
    return result | {"peak_mb": {"ours": ours.peak, **peaks}}


def blas_of(program: str) -> dict[str, str]:
    """What the program's BLAS says of itself, if it is an OpenBLAS."""
    linked = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
    found = re.search(r"=> (\S*blas\S*)", linked)
    if not found:
        return {}
    told = {"library": pathlib.Path(found[1]).resolve().name}
    library = ctypes.CDLL(found[1])
    for name, function in (("version", "openblas_get_config"), ("core", "openblas_get_corename")):
        if hasattr(library, function):
            call = getattr(library, function)
            call.restype = ctypes.c_char_p
            told[name] = call().decode()
    return told


def cpu_name() -> str:
    names = re.findall(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return names[0] if names else platform.machine()


def line_of(result: dict[str, Any], name: str) -> str:
    speeds, peaks, ratio = result["words_per_second"], result["peak_mb"], result["ratio"][name]
    return (
        f"{result['model']:12} {result['threads']:7} {name:9} {speeds['ours']:9.0f} {speeds[name]:9.0f} "
        f"{ratio['median']:6.2f} {ratio['low']:5.2f} .. {ratio['high']:5.2f} {peaks['ours']:8.0f} {peaks[name]:8.0f} "
        f"{result['loss_difference'][name]:9.1e}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--translate", required=True, help="the program")
    parser.add_argument("--pairs", required=True, type=pathlib.Path, help="sentences to train on")
    parser.add_argument("--json", type=pathlib.Path, help="a file for the results")
    parser.add_argument("--model", action="append", choices=list(GOALS), help="this one alone; may be repeated")
    parser.add_argument("--threads", action="append", type=int, help="this number alone; 1 and 2 without it")
    parser.add_argument("--rounds", type=int, default=15, help="slices of either")
    parser.add_argument("--slice", type=int, default=22, help="steps of a slice")
    parser.add_argument("--compile", action="store_true", help="the transformer by torch.compile too")
    parser.add_argument("options", nargs="*", help="more of translate train's: after --")
    told = parser.parse_args()
    if told.rounds < 1 or told.slice <= NOT_COUNTED:
        parser.error(f"there must be a round, and more than {NOT_COUNTED} steps in a slice")
    machine = {"cpu": cpu_name(), "blas": blas_of(told.translate)}
    print("; ".join([machine["cpu"], *machine["blas"].values()]), flush=True)
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        print(
            f"{'model':12} threads {'PyTorch':9} {'words/s':>9} {'PyTorch':>9} {'ratio':>6} {'':14} {'peak MB':>8} "
            f"{'PyTorch':>8} {'losses':>9}"
        )
        for kind in told.model or GOALS:
            for threads in told.threads or (1, 2):
                result = compare(told, kind, threads, pathlib.Path(scratch) / f"{kind}-{threads}")
                results.append(machine | result | {"goal": GOALS[kind]})
                for name in result["ratio"]:
                    print(line_of(result, name), flush=True)
    if told.json:
        told.json.write_text(json.dumps(results, indent=1) + "\n")
    wrong = [r for r in results if max(r["loss_difference"].values()) > AGREEMENT]
    for result in wrong:
        print(f"{result['model']}: losses differ by {result['loss_difference']}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
