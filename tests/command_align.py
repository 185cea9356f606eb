# SPDX-License-Identifier: BSD-3-Clause
"""command_align.py COMMAND: attn align, whose weights are the softmax of cosines between sets of n-grams, and nothing
else: no n-gram stands for another."""

import os
import re
import unicodedata
import unittest
from pathlib import Path

import numpy as np
from command_support import InAnEmptyFolder, attn, softmax

PAGE = Path(os.environ["SOURCE"], "tools", "attn.1")


def grams(word):
    """A word's n-grams: its runs of 1 to 4 characters between marks, and the whole."""
    letters = unicodedata.normalize("NFD", word.lower())
    marked = ["first", *(c for c in letters if unicodedata.category(c) != "Mn"), "last"]
    runs = {tuple(marked[i:i + n]) for n in range(1, 5) for i in range(len(marked) - n + 1)}
    return (runs - {("first",), ("last",)}) | {("whole", *marked)}


def cosines(source, target):
    a, b = [grams(w) for w in target.split()], [grams(w) for w in source.split()]
    return np.array([[len(x & y) / np.sqrt(len(x) * len(y)) for y in b] for x in a])


def example():
    """The two sentences of the manual page."""
    text = PAGE.read_text("utf-8").replace("\\('e", "é").replace("\\(^u", "û")
    found = re.search(r'attn align "(.*?)" \\e\n +"(.*?)"', text)
    assert found is not None
    return found.groups()


class Align(InAnEmptyFolder):
    def align(self, source, target, *options):
        self.good("align", source, target, "--weights", "w.npy", "-o", "x.html", *options)
        return np.load("w.npy")

    def test_weights_are_the_softmax_of_cosines(self):
        long = " ".join("".join(map(chr, self.random.integers(97, 123, size=self.random.integers(1, 12)))) for _ in range(400))
        marks = "<a> a <a a> < > << ab <ab> aaaa aaaaa"
        for source, target in (example(), (long, long[::-1]), (marks, marks[::-1]), ("abc", "xyz zz"), ("Été ÉTÉ", "ete Eté")):
            np.testing.assert_allclose(self.align(source, target), softmax(cosines(source, target) / 0.1), atol=2e-6)
        np.testing.assert_allclose(self.align("ab bc", "abc", "--temperature", "2"), softmax(cosines("ab bc", "abc") / 2),
                                   atol=2e-6)

    def test_the_manual_pages_example(self):
        source, target = example()
        weights = self.align(source, target)
        sees = dict(zip(target.split(), np.array(source.split())[weights.argmax(-1)]))
        for word, seen in (("août", "August"), ("accord", "agreement"), ("signé", "signed"), ("1992", "1992"), (".", ".")):
            self.assertEqual(sees[word], seen)

    def test_words_that_share_nothing_see_everything_alike(self):
        for row in self.align("abc def ghi", "xyz uvw"):
            np.testing.assert_array_equal(row, row[0])

    def test_what_the_sentences_share_is_bounded(self):
        letters = "".join(map(chr, self.random.integers(0x4e00, 0x9fff, size=30000)))
        done = attn("align", letters, letters)
        self.assertEqual(done.returncode, 2)
        self.assertRegex(done.stderr.decode(), r"\Aattn: [^\n]*n-grams[^\n]*\n\Z")
        self.assertEqual(self.align(letters, "x").shape, (1, 1))


if __name__ == "__main__":
    unittest.main(verbosity=1)
