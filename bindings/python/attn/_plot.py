# SPDX-License-Identifier: BSD-3-Clause
"""_plot.py: weights as a picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ._library import ArgumentError, DTypeError, ShapeError
from ._tensors import ArrayLike, array_of
from ._values import flag, shown

_LITERALLY = {"parse_math": False, "usetex": False}  # to matplotlib a $ begins a formula


def _words(given: object, name: str, size: int) -> list[str] | None:
    """Words, or what else stands for tokens, as their numbers do."""
    if given is None:
        return None
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise DTypeError(f"{name} is {shown(given)}, but a list of words is needed")
    words = [str(word) for word in given]
    if len(words) != size:
        raise ShapeError(f"{name} has {len(words)} words, but weights has {size}")
    return words


def plot(weights: ArrayLike, rows: Sequence[Any] | None = None, columns: Sequence[Any] | None = None, *,
         axes: Any = None, title: str | None = None, colours: str = "Blues", colour_bar: bool = True) -> Any:
    """Draws weights [Tq, Tk] with a word for each query at the left and each key on top, as alignments are usually
    drawn, and gives matplotlib's axes back. Dimensions in front may be there if they are 1. The darkest colour is the
    greatest weight's, and a bar says how great that is. axes: where to draw; None: a figure of its own. Needs
    matplotlib."""
    import matplotlib.pyplot
    import matplotlib.ticker

    array = array_of(weights, "weights")
    size: int
    if array.ndim < 2 or any(size != 1 for size in array.shape[:-2]):
        raise ShapeError(f"weights has the shape {array.shape}, but one matrix of queries and keys is drawn: choose a "
                         "sequence and a head")
    if array.dtype.kind not in "fiub":
        raise DTypeError(f"weights is {array.dtype}, but numbers are drawn")
    queries, keys = array.shape[-2:]
    if not queries or not keys:
        raise ArgumentError(f"weights has the shape {array.shape}: there is nothing to draw")
    matrix = array.reshape(queries, keys).astype(float)
    left, top = _words(rows, "rows", queries), _words(columns, "columns", keys)
    bar = flag(colour_bar, "colour_bar")
    if axes is None:
        width, height = (1.2 + 0.35 * min(size, 60) for size in (keys, queries))
        axes = matplotlib.pyplot.figure(figsize=(width + bar, height), layout="constrained").add_subplot()
    greatest = float(matrix.max(initial=0.0, where=np.isfinite(matrix)))
    image = axes.imshow(matrix, cmap=colours, vmin=0, vmax=greatest or 1.0, aspect="equal")
    if bar:
        axes.figure.colorbar(image, ax=axes, label="weight")
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    for axis, words in ((axes.xaxis, top), (axes.yaxis, left)):
        if words is None:
            axis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
        else:
            axis.set_ticks(range(len(words)), labels=words, **_LITERALLY)
    if top is not None:
        axes.tick_params(axis="x", rotation=90 if max(map(len, top)) > 3 else 0)
    axes.set_xlabel("key")
    axes.set_ylabel("query")
    if title is not None:
        axes.set_title(title, **_LITERALLY)
    return axes
