# SPDX-License-Identifier: BSD-3-Clause
"""What `translate batches` writes, as tensors."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator

import torch
from torch.nn.utils.rnn import pad_sequence

PADDING, BEGIN, END, NO_WORD = 0, 2, 3, -1  # as in model/batch.h


@dataclasses.dataclass(frozen=True)
class Batch:
    source: torch.Tensor  # [rows, source length]; PADDING past a row's length
    source_lengths: torch.Tensor  # [rows]
    target_in: torch.Tensor  # [rows, target length]: BEGIN, then the sentence
    target_out: torch.Tensor  # [rows, target length]: the sentence, then END; NO_WORD past it
    words: int  # of the target, ends included


def _padded(rows: list[list[int]], padding: int) -> torch.Tensor:
    return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=padding)


def _batch(lines: list[str]) -> Batch:
    pairs = [[[int(word) for word in side.split()] for side in line.split("\t")] for line in lines]
    sources, targets = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return Batch(
        source=_padded(sources, PADDING),
        source_lengths=torch.tensor([len(source) for source in sources]),
        target_in=_padded([[BEGIN, *target] for target in targets], PADDING),
        target_out=_padded([[*target, END] for target in targets], NO_WORD),
        words=sum(len(target) + 1 for target in targets),
    )


def read(path: str | pathlib.Path) -> Iterator[Batch]:
    lines = pathlib.Path(path).read_text().splitlines()
    at = 0
    while at < len(lines):
        rows = int(lines[at])
        yield _batch(lines[at + 1 : at + 1 + rows])
        at += 1 + rows
