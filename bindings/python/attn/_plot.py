# SPDX-License-Identifier: BSD-3-Clause
"""_plot.py: weights as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ._tensors import ArrayLike, array_of


def plot(weights: ArrayLike, rows: Sequence[str] | None = None, columns: Sequence[str] | None = None, *,
         axes: Any = None, title: str | None = None, colours: str = "Blues") -> Any:
    """Draws weights [Tq, Tk] with a word for each query at the left and each key on top, as alignments are usually
    drawn, and gives matplotlib's axes back. Dimensions in front may be there if they are 1. axes: where to draw; None: a
    figure of its own. Needs matplotlib."""
    import matplotlib.pyplot
    import matplotlib.ticker

    array = array_of(weights, "weights")
    size: int
    if array.ndim < 2 or any(size != 1 for size in array.shape[:-2]):
        raise ValueError(f"weights has the shape {array.shape}, but one matrix of queries and keys is drawn: choose a "
                         "sequence and a head")
    queries, keys = array.shape[-2:]
    matrix = array.reshape(queries, keys)
    for words, size, name in ((rows, queries, "rows"), (columns, keys, "columns")):
        if words is not None and len(words) != size:
            raise ValueError(f"{name} has {len(words)} words, but weights has {size}")
    if axes is None:
        width, height = (1.2 + 0.35 * min(size, 60) for size in (keys, queries))
        axes = matplotlib.pyplot.figure(figsize=(width, height), layout="constrained").add_subplot()
    axes.imshow(matrix, cmap=colours, vmin=0, vmax=max(1.0, float(matrix.max(initial=0))), aspect="equal")
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    for axis, words in ((axes.xaxis, columns), (axes.yaxis, rows)):
        if words is None:
            axis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
        else:
            axis.set_ticks(range(len(words)), labels=list(words))
    if columns is not None:
        axes.tick_params(axis="x", rotation=90 if max(map(len, columns), default=0) > 3 else 0)
    axes.set_xlabel("key")
    axes.set_ylabel("query")
    if title is not None:
        axes.set_title(title)
    return axes
