# SPDX-License-Identifier: BSD-3-Clause
"""_memory.py: keys and values made ready for many queries: encoder states, or a growing cache."""

from __future__ import annotations

from ctypes import byref, c_int64, pointer
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ._abi import MemoryOptions
from ._dtypes import STORED, dtype_of, same
from ._handles import Handle, instance
from ._library import ArgumentError, check, lib
from ._position import Rope
from ._rule import Rule
from ._tensors import Array, ArrayLike, Lengths, array_of, dimensions, lengths_of, maybe, view
from ._values import fill, flag, integer
from ._words import MEMORY_FLAGS


class Pages(NamedTuple):
    """Those of a memory's pool, its forks' among them."""

    total: int
    unused: int  # nobody has them


def _views(**arrays: Array | None) -> list[Any]:
    """What the library is told of arrays that may be missing, as arguments of a call."""
    return [None if array is None else byref(view(array, name)) for name, array in arrays.items()]


class Memory(Handle):
    """An empty memory for one mechanism.

    value_dim   None: the keys are the values
    key_dim     0 where no key is read (location)
    capacity    positions of each sequence that there is room for from the beginning; fixed: nor ever more
    dtype       what keys and values are stored as: NumPy's or torch's type, or a word: "f32", "f64", "f16", "bf16" or
                "i8", or the whole of it, as "bfloat16"
    rope        turns keys by their positions as they are appended
    page        positions of a page: the sequences have pages of one pool, which those that reorder() and fork() make
                share until one of them is appended to. What changes a memory must not run beside a use of its forks then.
                0: each sequence lies by itself"""

    kind = "memory"
    copying = "append its keys and values to a new one; copy.copy() and fork() copy it within a process"

    def __init__(self, mechanism: Rule, *, batch: int = 1, key_heads: int = 1, key_dim: int,
                 value_dim: int | None = None, capacity: int = 0, fixed: bool = False,
                 dtype: npt.DTypeLike = np.float32, rope: Rope | None = None, page: int = 0):
        super().__init__()
        flags = sum(MEMORY_FLAGS[name] for name, given in (("fixed", flag(fixed, "fixed")),
                                                           ("keys_alone", value_dim is None)) if given)
        stored = STORED[same(dtype_of(dtype, "dtype", STORED))]
        options = fill(MemoryOptions, flags=flags, dtype=stored, batch=batch, key_heads=key_heads, key_dim=key_dim,
                       value_dim=0 if value_dim is None else value_dim, capacity=capacity, page=page)
        if rope is not None:
            options.rope = pointer(instance(rope, Rope, "rope").options())
        self.mechanism = instance(mechanism, Rule, "mechanism")
        self.value_dim = int(options.key_dim if value_dim is None else options.value_dim)
        check(lib.attn_memory_create(mechanism.handle, byref(options), byref(self.handle)))
        self._own(mechanism)

    @classmethod
    def of(cls, mechanism: Rule, key: ArrayLike, value: ArrayLike | None = None, *, capacity: int = 0,
           fixed: bool = False, dtype: npt.DTypeLike | None = None, rope: Rope | None = None, page: int = 0) -> Memory:
        """A memory that holds these keys [B, Hk, n, Dk] and values, which may lack leading dimensions. dtype: what they are
        stored as; None: as they are."""
        keys, values = dimensions(array_of(key, "key"), "key"), maybe(value, "value")
        batch, heads, length, dim = (1,) * (4 - keys.ndim) + keys.shape
        made = cls(mechanism, batch=batch, key_heads=heads, key_dim=dim, fixed=fixed, rope=rope, page=page,
                   dtype=keys.dtype if dtype is None else dtype, capacity=max(integer(capacity, "capacity"), length),
                   value_dim=None if values is None else dimensions(values, "value").shape[-1])
        made.append(keys, values)
        return made

    def append(self, key: ArrayLike | None, value: ArrayLike | None = None, counts: Lengths | None = None, *,
               offsets: Lengths | None = None) -> None:
        """Appends n positions to each sequence, or the first counts[b] of them to sequence b; key [B, Hk, n, Dk]
        (None where no key is read), value [B, Hk, n, Dv] (None where the keys are the values).
        offsets     [B + 1], whole numbers or a list of them: a ragged batch. Sequence b gets rows offsets[b] to
                    offsets[b + 1] of key [1, Hk, all of them, Dk] and value, as many as there are."""
        if counts is not None and offsets is not None:
            raise ArgumentError("counts are given, but so are offsets, which say how many each sequence gets")
        arrays = {"key": maybe(key, "key"), "value": maybe(value, "value")}
        if offsets is None:
            check(lib.attn_memory_append(self.handle, *_views(**arrays, counts=lengths_of(counts, "counts"))))
        else:
            check(lib.attn_memory_append_ragged(self.handle, *_views(**arrays, offsets=lengths_of(offsets, "offsets"))))

    def truncate(self, lengths: Lengths) -> None:
        """Forgets what lies past these lengths, one for each sequence."""
        check(lib.attn_memory_truncate(self.handle, *_views(lengths=lengths_of(lengths, "lengths"))))

    def keep(self, lengths: Lengths, positions: Lengths, offsets: Lengths) -> None:
        """Forgets what lies past these lengths, one for each sequence, but for positions that were chosen, which then
        follow in their order: the branch of a tree of guesses that came true. Of positions entries offsets[b] to
        offsets[b + 1] are sequence b's, [B + 1], each at least its length here, and more than the one before. Keys that
        rope has turned stay where they are, or it is refused."""
        check(lib.attn_memory_keep(self.handle, *_views(
            lengths=lengths_of(lengths, "lengths"), positions=lengths_of(positions, "positions"),
            offsets=lengths_of(offsets, "offsets"))))

    def reorder(self, rows: Lengths) -> None:
        """Makes sequence b a copy of what sequence rows[b] was, or, where that is -1, a new and empty one; there are as
        many sequences as rows then, perhaps none."""
        check(lib.attn_memory_reorder(self.handle, *_views(rows=lengths_of(rows, "rows"))))

    def fork(self) -> Memory:
        """A second memory with the same content, to go on by itself; with pages it shares them."""
        copy = object.__new__(Memory)
        Handle.__init__(copy)
        copy.mechanism, copy.value_dim = self.mechanism, self.value_dim
        check(lib.attn_memory_fork(self.handle, byref(copy.handle)))
        copy._own(copy.mechanism)
        return copy

    __copy__ = fork

    def __deepcopy__(self, memo: object) -> Memory:
        return self.fork()

    @property
    def batch(self) -> int:
        batch = c_int64()
        check(lib.attn_memory_lengths(self.handle, byref(batch), None, 0))
        return batch.value

    @property
    def lengths(self) -> list[int]:
        """Of each sequence."""
        batch, count = c_int64(), self.batch
        lengths = (c_int64 * count)()
        check(lib.attn_memory_lengths(self.handle, byref(batch), lengths, count))
        return list(lengths)

    @property
    def pages(self) -> Pages:
        """How many pages its pool has in total, its forks' among them, and how many of these nobody has; none without pages."""
        count, unused = c_int64(), c_int64()
        check(lib.attn_memory_pages(self.handle, byref(count), byref(unused)))
        return Pages(count.value, unused.value)
