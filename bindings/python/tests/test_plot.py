# SPDX-License-Identifier: BSD-3-Clause
"""test_plot.py: weights as a picture: whose words, which colours, and that it can be saved. Needs matplotlib."""

import io
import sys
import unittest
from pathlib import Path

import numpy as np

try:
    import matplotlib
    from matplotlib import pyplot
except ImportError as missing:
    raise unittest.SkipTest("matplotlib is missing") from missing

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import attn

matplotlib.use("agg")


class Plot(unittest.TestCase):
    def setUp(self):
        self.weights = np.random.default_rng(0).random((1, 2, 3))
        self.addCleanup(pyplot.close, "all")

    def words(self, axes):
        return ([tick.get_text() for tick in axes.get_yticklabels()], [tick.get_text() for tick in axes.get_xticklabels()])

    def saved(self, axes):
        file = io.BytesIO()
        axes.figure.savefig(file, format="svg")
        return file.getvalue().decode()

    def test_a_word_stands_at_each_row_and_column(self):
        axes = attn.plot(self.weights, ["a", "b"], ["one", "two", "three"], title="who looks where")
        self.assertEqual(self.words(axes), (["a", "b"], ["one", "two", "three"]))
        self.assertEqual(axes.get_title(), "who looks where")
        np.testing.assert_array_equal(axes.images[0].get_array(), self.weights[0])
        self.assertIs(attn.plot(self.weights, axes=axes), axes)

    def test_words_are_no_formulas(self):
        axes = attn.plot(self.weights, ["$x_$", "$"], ["$5", "$a^2$", "\\alpha_"], title="$\\broken{$ costs $3")
        self.saved(axes)
        for label in (*axes.get_xticklabels(), *axes.get_yticklabels(), axes.title):
            self.assertFalse(label.get_parse_math() or label.get_usetex(), label.get_text())

    def test_token_ids_are_words(self):
        axes = attn.plot(self.weights, np.array([7, 11]), [101, 2000, 3])
        self.assertEqual(self.words(axes), (["7", "11"], ["101", "2000", "3"]))
        self.saved(axes)

    def test_the_greatest_weight_is_the_darkest_and_a_bar_says_what_it_is(self):
        diffuse = np.full((4, 80), 1 / 80)
        diffuse[2, 5] = 0.02
        axes = attn.plot(diffuse)
        self.assertEqual(axes.images[0].get_clim(), (0, 0.02))
        bar = axes.images[0].colorbar
        self.assertEqual((bar.vmin, bar.vmax), (0, 0.02))
        self.assertIn(bar.ax, axes.figure.axes)
        self.assertIsNone(attn.plot(diffuse, colour_bar=False).images[0].colorbar)
        self.assertEqual(attn.plot(np.array([[np.nan, 0.5, np.inf]])).images[0].get_clim(), (0, 0.5))
        self.assertEqual(attn.plot(np.zeros((2, 2))).images[0].get_clim(), (0, 1))
        self.assertEqual(attn.plot(np.eye(2, dtype="f2")).images[0].get_clim(), (0, 1))

    def test_what_is_no_picture_is_refused(self):
        for kind, given in ((attn.ShapeError, (self.weights[0, 0],)), (attn.ShapeError, (np.zeros((2, 2, 2)),)),
                            (attn.ShapeError, (self.weights, ["a"])), (attn.ShapeError, (self.weights, None, ["a"] * 4)),
                            (attn.DTypeError, (self.weights, "ab")), (attn.DTypeError, (self.weights, 2)),
                            (attn.DTypeError, ([[1.0]],)), (attn.DTypeError, (self.weights.astype("c16"),)),
                            (attn.DTypeError, (np.ma.array(self.weights),)), (attn.ArgumentError, (np.zeros((0, 3)),))):
            with self.subTest(kind, given=given), self.assertRaises(kind):
                attn.plot(*given)
        self.assertEqual(pyplot.get_fignums(), [])


if __name__ == "__main__":
    unittest.main()
