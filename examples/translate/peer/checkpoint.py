# SPDX-License-Identifier: BSD-3-Clause
"""A checkpoint of the program, for PyTorch: train/checkpoint.h says what is in the file."""

from __future__ import annotations

import dataclasses
import pathlib

import numpy
import torch


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    setup: dict[str, str]  # every field of train/setup.h, as it is written
    step: int
    source_words: list[str]
    target_words: list[str]
    parameters: dict[str, torch.Tensor]  # by name; a vector has one dimension

    def whole(self, name: str) -> int:
        return int(self.setup[name])

    def number(self, name: str) -> float:
        return float(self.setup[name])


class _Lines:
    """The head, line by line."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def next(self) -> str:
        end = self.data.index(b"\n", self.at)
        line = self.data[self.at : end].decode()
        self.at = end + 1
        return line

    def words(self, name: str) -> list[str]:
        there, count = self.next().split(" ")
        assert there == name, f"{there} is where {name} should be"
        return [self.next() for _ in range(int(count))]


def read(path: str | pathlib.Path) -> Checkpoint:
    lines = _Lines(pathlib.Path(path).read_bytes())
    if lines.next() != "attn-translate 1":
        raise ValueError(f"{path} is no checkpoint that is known here")
    setup: dict[str, str] = {}
    while "data" not in setup:  # the last field before the words
        name, value = lines.next().split(" ", 1)
        setup[name] = value
    step = int(setup.pop("step"))
    source, target = lines.words("source-words"), lines.words("target-words")
    places: list[tuple[str, int, int, int]] = []
    while (fields := lines.next().split(" "))[0] == "parameter":
        places.append((fields[1], int(fields[2]), int(fields[3]), int(fields[4])))
    total = int(fields[2])  # "arrays COUNT TOTAL CHECKSUM"
    numbers = numpy.frombuffer(lines.data, "<f4", total, lines.at)
    parameters: dict[str, torch.Tensor] = {}
    for name, rows, columns, first in places:
        part = torch.from_numpy(numbers[first : first + rows * columns].copy())
        parameters[name] = part if rows == 1 else part.reshape(rows, columns)
    return Checkpoint(setup, step, source, target, parameters)
