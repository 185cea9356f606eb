# SPDX-License-Identifier: BSD-3-Clause
"""Panels with axes, on the drawings of bench/plot.py, whose colours and letters they share. Needs Python 3 alone."""
import math
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "bench"))
from plot import COLOURS, FAINT, GRID, INK, Svg  # noqa: E402

__all__ = ["COLOURS", "FAINT", "GRID", "INK", "Panel", "Svg", "drawing", "even_ticks"]


def even_ticks(low, high, most=8):
    """Round numbers from low to high, at most so many."""
    span = high - low
    step = next(s for e in range(-6, 7) for s in (10**e, 2 * 10**e, 2.5 * 10**e, 5 * 10**e) if span / s <= most)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def drawing(title, subtitle, names, width=960, height=420):
    """A drawing with its legend, and the y at which panels may begin."""
    svg = Svg(width, height, title, subtitle)
    return svg, svg.legend(names, 58) + 12 if names else 72


class Panel:
    """A rectangle in which numbers have places. x and y are (low, high, label); log: the axes that go by powers."""

    def __init__(self, svg, box, x, y, log="", x_ticks=None, y_ticks=None, x_form="{:g}".format, y_form="{:g}".format):
        self.svg, (self.left, self.top, self.right, self.bottom), self.log = svg, box, log
        self.x_range, self.y_range = x[:2], y[:2]
        for tick in y_ticks or self.ticks("y"):
            at = self.at(self.x_range[0], tick)[1]
            svg.line(self.left, at, self.right, at)
            svg.text(self.left - 8, at + 4, y_form(tick), size=11, anchor="end", fill=FAINT)
        for tick in x_ticks or self.ticks("x"):
            at = self.at(tick, self.y_range[0])[0]
            svg.line(at, self.bottom, at, self.bottom + 4, FAINT)
            svg.text(at, self.bottom + 18, x_form(tick), size=11, anchor="middle", fill=FAINT)
        svg.line(self.left, self.bottom, self.right, self.bottom, INK, 1.2)
        svg.text((self.left + self.right) / 2, self.bottom + 38, x[2], anchor="middle")
        svg.text(self.left, self.top - 10, y[2], weight="600")

    def ticks(self, axis):
        low, high = self.x_range if axis == "x" else self.y_range
        if axis not in self.log:
            return even_ticks(low, high)
        powers = range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)
        return [10**e for e in powers]

    def share(self, value, axis):
        low, high = self.x_range if axis == "x" else self.y_range
        if axis in self.log:
            value, low, high = math.log(value), math.log(low), math.log(high)
        return (value - low) / (high - low)

    def at(self, x, y):
        return (self.left + self.share(x, "x") * (self.right - self.left),
                self.bottom - self.share(y, "y") * (self.bottom - self.top))

    def line(self, points, colour, hint="", dots=True):
        points = [(x, y) for x, y in points if y is not None]
        placed = [self.at(*point) for point in points]
        self.svg.path(placed, colour)
        for (x, y), place in zip(points if dots else [], placed):
            self.svg.dot(*place, colour, f"{hint}: {x:g}, {y:.4g}")

    def points(self, points, colour, radius=2.2):
        """Many of them: small, and seen through."""
        circles = "".join(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="{radius}"/>' for a, b in (self.at(*p) for p in points))
        self.svg.parts.append(f'<g fill="{colour}" fill-opacity="0.35">{circles}</g>')

    def bar(self, x1, x2, y1, y2, colour, hint):
        """An upright one."""
        (left, low), (right, high) = self.at(x1, y1), self.at(x2, y2)
        self.svg.bar(left, right, high, round(max(low - high, 0), 1), colour, hint)
