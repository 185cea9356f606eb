# SPDX-License-Identifier: BSD-3-Clause
"""_words.py: the words that stand for the library's constants."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from ._library import ArgumentError, DTypeError, constant
from ._values import shown

Align = Literal["top_left", "bottom_right"]
MaskAlign = Literal["bottom_right"]
Normaliser = Literal["softmax", "hardmax"]
Precision = Literal["exact", "fast"]
Score = Literal["dot", "scaled_dot", "general", "additive", "concat", "location"]
Exact = Literal["exact"]
Stage = Literal["raw", "capped", "masked", "weights"]
Way = Literal["automatic", "blas", "tiles"]


def _named(prefix: str, *words: str) -> dict[str | None, int]:
    return {word: constant(f"ATTN_{prefix}_{word.upper()}") for word in words}


WAYS = {None: constant("ATTN_WAY_AUTOMATIC"), **_named("WAY", "automatic", "blas", "tiles")}
ALIGNMENTS = {None: constant("ATTN_ALIGN_NONE"), **_named("ALIGN", "top_left", "bottom_right")}
MASK_ALIGNMENTS = {None: constant("ATTN_ALIGN_NONE"), **_named("ALIGN", "bottom_right")}
NORMALISERS: dict[str | None, int] = {"softmax": constant("ATTN_SOFTMAX"), "hardmax": constant("ATTN_HARDMAX")}
PRECISIONS = _named("PRECISION", "exact", "fast")
STAGES = _named("SCORES", "raw", "capped", "masked", "weights")
LOCALS = _named("LOCAL", "monotonic", "predictive", "predictive_floor")
RELATIVES = _named("RELATIVE", "clipped", "t5", "t5_causal")
LAYOUTS = _named("ROPE", "interleaved", "halves")
ADDITIVE_FLAGS = _named("ADDITIVE", "bias", "normalised", "query_projected", "key_projected")
MEMORY_FLAGS = _named("MEMORY", "fixed", "keys_alone")
MULTIHEAD_FLAGS = _named("MULTIHEAD", "bias", "packed")


def choose(table: Mapping[str | None, int], word: object, what: str) -> int:
    try:
        return table[word]  # type: ignore[index]
    except (KeyError, TypeError):
        words = ", ".join("None" if known is None else repr(known) for known in table)
        raise ArgumentError(f"{what} is {shown(word)}, but it is one of {words}") from None


def join(table: Mapping[str | None, int], words: Iterable[str], what: str) -> int:
    """The flags of these words together."""
    if isinstance(words, str):
        raise DTypeError(f"{what} is {shown(words)}, but a list of such words is needed")
    flags = 0
    for word in words:
        flags |= choose(table, word, what)
    return flags
