# SPDX-License-Identifier: BSD-3-Clause
"""command_terminal.py COMMAND: attn plot in a terminal: its colours are a ramp, whatever the terminal has of them."""

import os
import pty
import re
import subprocess
import unittest

import numpy as np
from command_support import COMMAND, ENVIRONMENT, InAnEmptyFolder

LEVELS = (0, 95, 135, 175, 215, 255)  # of the cube of 6 x 6 x 6 colours that the palette of 256 has from 16 on


def palette(colour):
    return [LEVELS[(colour - 16) // n % 6] for n in (36, 6, 1)]


def oklab(rgb):
    """Lightness, chroma and hue in degrees (Ottosson 2020)."""
    c = np.array(rgb) / 255
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    lms = np.cbrt(np.array([[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
                            [0.0883024619, 0.2817188376, 0.6299787005]]) @ linear)
    lightness, a, b = np.array([[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
                                [0.0259040371, 0.7827717662, -0.8086757660]]) @ lms
    return lightness, np.hypot(a, b), np.degrees(np.arctan2(b, a)) % 360


class Terminal(InAnEmptyFolder):
    def shown(self, **environment):
        """What a terminal of 1000 columns gets of a row of weights that rise from 0 to 1: its row, and the legend."""
        np.save("w.npy", np.linspace(0, 1, 401)[None])
        main, side = pty.openpty()
        with subprocess.Popen([COMMAND, "plot", "w.npy"], stdout=side, stderr=subprocess.PIPE,
                              env=dict(ENVIRONMENT, COLUMNS="1000", NO_COLOR="", **environment)) as command:
            os.close(side)
            pieces = []
            try:
                while piece := os.read(main, 65536):
                    pieces.append(piece)
            except OSError:  # the other side is closed
                pass
            os.close(main)
        lines = b"".join(pieces).decode().splitlines()
        return [line for line in lines if "\033[" in line or "█" in line]

    def check_ramp(self, colours, most_step):
        """White first; then each darker than the one before, by steps that are much alike, and blue."""
        seen = [oklab(colour) for colour in colours]
        self.assertEqual(colours[0], (255, 255, 255))
        steps = -np.diff([lightness for lightness, _, _ in seen])
        self.assertGreater(steps.min(), 0)
        self.assertLess(steps.max(), most_step)
        hues = [hue for _, chroma, hue in seen if chroma > 0.03]
        self.assertLess(max(hues) - min(hues), 40)
        self.assertGreater(len(hues), len(colours) * 0.8)

    def test_256_colours_fall_in_lightness(self):
        row, legend = self.shown(TERM="xterm-256color", COLORTERM="")
        cells = [int(n) for n in re.findall(r"\033\[48;5;(\d+)m  ", row)]
        self.assertEqual(len(cells), 401)
        ramp = [n for i, n in enumerate(cells) if i == 0 or n != cells[i - 1]]
        self.assertEqual(len(set(ramp)), len(ramp))
        self.assertGreaterEqual(len(ramp), 7)
        self.check_ramp([tuple(palette(n)) for n in ramp], 0.15)
        self.assertEqual([int(n) for n in re.findall(r"\033\[48;5;(\d+)m  ", legend)], ramp)

    def test_exact_colours_fall_in_lightness(self):
        row, _ = self.shown(TERM="xterm-256color", COLORTERM="truecolor")
        cells = [tuple(map(int, c)) for c in re.findall(r"\033\[48;2;(\d+);(\d+);(\d+)m  ", row)]
        self.assertEqual(len(cells), 401)
        self.check_ramp(cells[::10], 0.03)

    def test_shades_where_there_are_no_colours(self):
        row = re.sub(r"[^ ░▒▓█]", "", self.shown(TERM="dumb")[0])
        self.assertEqual([c for i, c in enumerate(row) if c != " " and c != row[i - 1]], list("░▒▓█"))


if __name__ == "__main__":
    unittest.main(verbosity=1)
