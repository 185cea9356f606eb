# SPDX-License-Identifier: BSD-3-Clause
"""_pages.py: keys and values that are written into pages of the caller's, where their slots say."""

from __future__ import annotations

from ctypes import byref

from ._abi import PagesAppendArgs
from ._handles import Engine, engine_of
from ._library import check, lib
from ._tensors import ArrayLike, Lengths, lay, lengths_of, maybe, writable
from ._values import fill


def pages_append(key: ArrayLike | None, value: ArrayLike | None, key_pages: ArrayLike | None,
                 value_pages: ArrayLike | None, slots: Lengths, *, key_scales: ArrayLike | None = None,
                 value_scales: ArrayLike | None = None, engine: Engine | None = None) -> None:
    """Writes rows of key [1, Hk, n, Dk] and value [1, Hk, n, Dv], of fewer dimensions where the leading ones are lacking,
    into key_pages [N, Hk, page, Dk] and value_pages [N, Hk, page, Dv], which attention() reads with a page_table: pages
    whose positions are outermost are given transposed. All else in them stays as it is.

    key, value      float32, float64, float16 or bfloat16; pages of another of these types get them rounded. One of the two,
                    with its pages, may be None.
    slots           [n], int32, int64 or a list: row i goes to place slots[i] % page of page slots[i] // page; -1: nowhere.
    key_scales      [N, Hk, page] of float32, where key_pages are int8: they are written, too. value_scales likewise."""
    outputs = {"key_pages": key_pages, "value_pages": value_pages, "key_scales": key_scales, "value_scales": value_scales}
    args = fill(PagesAppendArgs)
    lay(args, {"slots": lengths_of(slots, "slots"), "key": maybe(key, "key"), "value": maybe(value, "value"),
               **{name: writable(given, name) for name, given in outputs.items() if given is not None}})
    check(lib.attn_pages_append(engine_of(engine).handle, byref(args)))
