# SPDX-License-Identifier: BSD-3-Clause
"""command_pictures.py COMMAND: pictures of attention are read back: their cells, words and numbers are those that were
drawn, whatever the words are."""

import base64
import json
import re
import struct
import unittest
import zlib
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from command_support import InAnEmptyFolder, attn

ENGLISH = "The agreement on the European Economic Area was signed in August 1992 ."
FRENCH = "L' accord sur la zone économique européenne a été signé en août 1992 ."
SVG = "{http://www.w3.org/2000/svg}"
COMMANDS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u206a\u206f"  # of direction


def png(data):
    """The pixels of a PNG of 8 bits, [rows, columns, channels]."""
    at, packed = 8, b""
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at:at + 8])
        if kind == b"IHDR":
            width, height, _, colour = struct.unpack(">IIBB", data[at + 8:at + 18])
        if kind == b"IDAT":
            packed += data[at + 8:at + 8 + length]
        at += length + 12
    channels = {2: 3, 6: 4}[colour]
    lines = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(height, 1 + width * channels)
    out = np.zeros((height + 1, (width + 1) * channels), int)  # a row above and a pixel before, of zeros
    for y, line in enumerate(lines.astype(int)):
        for x in range(channels, len(line) - 1 + channels):
            left, above, corner = out[y + 1, x - channels], out[y, x], out[y, x - channels]
            guess = left + above - corner
            paeth = min((left, above, corner), key=lambda v: abs(guess - v))
            add = (0, left, above, (left + above) // 2, paeth)[line[0]]
            out[y + 1, x] = (line[x - channels + 1] + add) % 256
    return out[1:, channels:].reshape(height, width, channels)


class Page(HTMLParser):
    """What a page says: words and numbers by where they stand, pictures, and the data of the script."""

    def __init__(self, text):
        super().__init__()
        self.text, self.titles, self.pictures, self.styles, self.inside = {}, {}, [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        said = dict(attributes)
        self.inside.append(said.get("id") or said.get("class") or tag)
        if tag == "img":
            self.pictures.append(png(base64.b64decode(said["src"].partition(",")[2])))
        if tag in ("img", "input", "meta"):
            self.inside.pop()
        elif tag in ("button", "span", "b", "label"):
            self.text.setdefault(self.inside[-2], []).append("")
            self.titles.setdefault(self.inside[-2], []).append(said.get("title"))

    def handle_endtag(self, tag):
        if tag not in ("img", "input", "meta"):
            self.inside.pop()

    def handle_data(self, data):
        if "style" in self.inside:
            self.styles.append(data)
        if self.inside and self.inside[-1] == "weights":
            self.data = json.loads(data)
        for place in self.inside:
            if place in self.text:
                self.text[place][-1] += data.rstrip("\n")

    def weights(self):
        values = [np.frombuffer(base64.b64decode(h["values"]), "<f4") for h in self.data["heads"]]
        shape = self.data["heads"][0]["rows"], self.data["heads"][0]["columns"]
        return np.array(values, "f8").reshape(-1, *shape) * self.data["unit"]


def cells_of_svg(root, index):
    """How dark the cells of a matrix are, from its paths."""
    group = root.findall(SVG + "g")[index]
    found = {}
    for path in group.findall(SVG + "path"):
        colour = [int(path.get("stroke")[i:i + 2], 16) for i in (1, 3, 5)]
        column = row = 0
        for right, down, length in re.findall(r"m(-?\d+) (-?\d+)h(\d+)", path.get("d")):
            column, row = column + int(right), row + int(down)
            for _ in range(int(length)):
                assert (row, column) not in found
                found[row, column] = 765 - sum(colour)
                column += 1
    return found


class Pictures(InAnEmptyFolder):
    def draw(self, *arguments, kinds=("png", "svg", "pdf", "html")):
        return self.good(*arguments, *(x for kind in kinds for x in ("-o", "x." + kind)))

    def heads(self, rows, columns, heads=3):
        weights = self.random.random((2, heads, rows, columns)).astype("f4") ** 8
        weights /= weights.sum(-1, keepdims=True)
        np.save("w.npy", weights)
        return weights

    def words(self, rows, columns):
        Path("rows.txt").write_text("\n".join(rows), "utf-8")
        Path("columns.txt").write_text("\n".join(columns), "utf-8")
        return "--rows", "rows.txt", "--columns", "columns.txt"

    def test_alignment_finds_words_spelled_alike(self):
        shown = self.good("align", ENGLISH, FRENCH).decode()
        self.draw("align", ENGLISH, FRENCH, "--weights", "w.npy")
        weights, english, french = np.load("w.npy"), ENGLISH.split(), FRENCH.split()
        self.assertEqual(weights.shape, (len(french), len(english)))
        np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-6)
        for target, source in (("économique", "Economic"), ("européenne", "European"), ("signé", "signed"), ("1992", "1992"),
                               (".", ".")):
            row = weights[french.index(target)]
            self.assertEqual(english[row.argmax()], source)
            self.assertGreater(row.max(), 0.9)
        for word in english + french:
            self.assertIn(word, shown)
        starts = {"png": b"\x89PNG\r\n", "svg": b"<?xml", "pdf": b"%PDF", "html": b"<!DOCTYPE html>"}
        for ending, start in starts.items():
            self.assertTrue(Path("x." + ending).read_bytes().startswith(start), ending)
        for ending in ("html", "svg"):
            text = Path("x." + ending).read_text("utf-8")
            for word in english + french:
                self.assertIn(word.replace("'", "&#39;"), text)
            self.assertNotRegex(text, r"https?://(?!www\.w3\.org)")

    def test_words_stay_words_in_every_kind(self):
        np.save("w.npy", np.array([[1.0]]))
        words = self.words(["</script><img/src=x>"], ["\"'&<q>"])
        self.draw("plot", "w.npy", *words, "--title", "<b>&amp;</title>")
        page = Path("x.html").read_text("utf-8")
        self.assertNotIn("<img/", page)
        self.assertNotIn("<q>", page)
        self.assertNotIn("<b>&amp;", page)
        self.assertEqual(page.count("</script>"), 2)
        read = Page(page)
        self.assertEqual((read.text["rows"], read.text["columns"]), (["</script><img/src=x>"], ["\"'&<q>"]))
        root = ElementTree.parse("x.svg").getroot()
        self.assertEqual(root.findtext(SVG + "title"), "<b>&amp;</title>")
        self.assertLessEqual({"</script><img/src=x>", "\"'&<q>"}, {text.text for text in root.iter(SVG + "text")})

    def test_the_same_twice(self):
        for ending in ("png", "svg", "html"):
            self.good("align", "a b", "b c", "-o", "1." + ending)
            self.good("align", "a b", "b c", "-o", "2." + ending)
            self.assertEqual(Path("1." + ending).read_bytes(), Path("2." + ending).read_bytes())

    def test_every_head_is_in_every_kind(self):
        weights = self.heads(5, 7)
        self.draw("plot", "w.npy", "--batch", "1", "--head", "all")
        page = Page(Path("x.html").read_text("utf-8"))
        np.testing.assert_array_equal(page.weights(), weights[1])
        self.assertEqual([h["name"] for h in page.data["heads"]], ["head 0", "head 1", "head 2"])
        self.assertEqual(len(page.pictures), 4)
        np.testing.assert_array_equal(page.pictures[0], page.pictures[-1])
        root = ElementTree.parse("x.svg").getroot()
        self.assertEqual([g.tag for g in root.findall(SVG + "g")], 3 * [SVG + "g"])
        shown = self.good("plot", "w.npy", "--head", "all").decode()
        for i in range(3):
            dark = cells_of_svg(root, i)
            got = np.array([[dark.get((row, column), 0) for column in range(7)] for row in range(5)])
            opaque = page.pictures[i][..., 3]
            for picture in (got, opaque):
                order = np.argsort(weights[1, i], axis=None)
                self.assertTrue((np.diff(picture.ravel()[order]) >= 0).all())
            self.assertIn("head %d\n" % i, shown)
            self.assertIn("head %d" % i, {text.text for text in root.iter(SVG + "text")})

    def test_one_head_is_drawn_as_before(self):
        weights = self.heads(5, 7)
        self.draw("plot", "w.npy", "--head", "2")
        page = Page(Path("x.html").read_text("utf-8"))
        np.testing.assert_array_equal(page.weights(), weights[:1, 2])
        self.assertEqual(len(page.pictures), 1)
        self.assertEqual(page.text["values"], ["%.2f" % x for x in weights[0, 2].ravel()])

    def test_heads_that_cannot_be_shown(self):
        np.save("none.npy", np.ones((0, 2, 2)))
        np.save("many.npy", np.ones((129, 2, 2)))
        np.save("w.npy", np.ones((2, 2, 2)))
        for arguments, sentence in ((("none.npy",), "heads"), (("many.npy",), "128"), (("w.npy", "--batch", "1"), "--batch")):
            self.bad("plot", *arguments, "--head", "all", sentence=sentence)
        self.bad("plot", "w.npy", "--head", "alle", sentence="--head")

    def test_numbers_of_any_size_reach_the_page(self):
        for scale in (1e-320, 1e-200, 1, 1e200, 1e308):
            weights = np.array([[0, 0.25, 1], [0.5, 0.125, 0]]) * scale
            np.save("w.npy", weights)
            self.draw("plot", "w.npy", kinds=("html",))
            np.testing.assert_allclose(Page(Path("x.html").read_text("utf-8")).weights()[0], weights, rtol=1e-7)
        np.save("w.npy", np.zeros((2, 3)))
        self.draw("plot", "w.npy")

    def test_equal_words_have_their_places_beside_them(self):
        self.heads(3, 4)
        self.draw("plot", "w.npy", *self.words(["while", "a", "while"], ["a", "b", "while", "b"]), kinds=("html",))
        page = Page(Path("x.html").read_text("utf-8"))
        for place in ("rows", "row-words"):
            self.assertEqual(page.text[place], ["while0", "a", "while2"])
            self.assertEqual(page.titles[place], ["0: while", "1: a", "2: while"])
        for place in ("columns", "column-words"):
            self.assertEqual(page.text[place], ["a", "b1", "while", "b3"])

    def test_large_matrices_are_small_files(self):
        weights = self.random.random((500, 500))
        np.save("w.npy", weights / weights.sum(-1, keepdims=True))
        self.draw("plot", "w.npy")
        for kind in ("png", "svg", "pdf", "html"):
            self.assertLess(Path("x." + kind).stat().st_size, 4 << 20, kind)
        painted = cells_of_svg(ElementTree.parse("x.svg").getroot(), 0)
        self.assertLessEqual(set(zip(*np.nonzero(weights > 0.01))), set(painted))

    def test_svg_has_a_title_a_description_text_and_a_ramp(self):
        self.heads(3, 4, heads=1)
        self.draw("plot", "w.npy", *self.words(["one", "two", "機械 翻訳"], ["four", "five", "six", "سبعة"]), "--title", "A B",
                  kinds=("svg",))
        root = ElementTree.parse("x.svg").getroot()
        self.assertEqual(root[0].text, "A B")
        self.assertIn("3 queries", root.findtext(SVG + "desc"))
        self.assertEqual(root.get("aria-labelledby").split(), [root[0].get("id"), root[1].get("id")])
        said = [text.text for text in root.iter(SVG + "text")]
        for word in ("A B", "one", "two", "機械 翻訳", "four", "five", "six", "سبعة", "keys (source words)"):
            self.assertIn(word, said)
        stops = [stop.get("stop-color") for stop in root.find(SVG + "linearGradient")]
        lightness = [sum(int(c[i:i + 2], 16) for i in (1, 3, 5)) for c in stops]
        self.assertEqual(lightness, sorted(set(lightness), reverse=True))
        self.assertIn("url(#ramp)", {rect.get("fill") for rect in root.iter(SVG + "rect")})

    def test_the_colour_bar_of_a_png_has_no_stripes(self):
        np.save("w.npy", np.ones((1, 1)))
        self.draw("plot", "w.npy", "--title", "A", kinds=("png",))
        pixels = png(Path("x.png").read_bytes()).sum(-1)
        bars = [column for column in pixels.T if len(set(column)) > 100]  # only the bar has so many colours
        self.assertGreater(len(bars), 20)
        middle = bars[len(bars) // 2]
        bar = middle[np.argmin(middle):][:190]
        self.assertTrue((np.diff(bar) >= 0).all() and np.diff(bar).max() <= 8)

    def test_words_without_a_font_are_named(self):
        np.save("w.npy", np.ones((1, 1)))
        nobody = "a\u0378\u0379"  # unassigned
        for kind in ("png", "pdf"):
            done = attn("plot", "w.npy", *self.words([nobody], ["b"]), "-o", "x." + kind)
            self.assertEqual(done.returncode, 0)
            self.assertRegex(done.stderr.decode(), r"\Aattn: warning: [^\n]*'" + nobody + r"'[^\n]*\n\Z")
            self.assertTrue(Path("x." + kind).exists())
        self.draw("plot", "w.npy", *self.words([nobody], ["b"]), kinds=("svg", "html"))
        self.draw("plot", "w.npy", *self.words(["a"], ["b"]))

    def test_every_character_of_utf8_is_taken(self):
        np.save("w.npy", np.ones((1, 1)))
        words = self.words(["a\ufdd0\ufffe\uffff\U0001ffff\U0010ffffb"], ["x"])
        for kind in ("png", "svg", "pdf", "html"):
            self.assertEqual(attn("plot", "w.npy", *words, "-o", "x." + kind).returncode, 0, kind)
        said = [text.text for text in ElementTree.parse("x.svg").getroot().iter(SVG + "text")]
        self.assertIn("a\ufdd0\ufffd\ufffd\U0001ffff\U0010ffffb", said)
        self.assertIn("a\ufdd0\ufffe\uffff\U0001ffff\U0010ffffb", self.good("plot", "w.npy", *words).decode())

    def test_commands_reach_neither_terminal_nor_error_stream(self):
        np.save("w.npy", np.ones((1, 1)))
        words = self.words(["a" + COMMANDS + "b"], ["c\u202ed"])
        shown = self.good("plot", "w.npy", *words, "--title", "e\u202ef").decode()
        shown += attn("plot", "g\u202eh\u0085i", "-o", "x.png").stderr.decode()
        shown += attn("plot", "w.npy", *self.words(["a\u202e\u0378"], ["c"]), "-o", "x.png").stderr.decode()
        self.assertEqual(set(COMMANDS + "\u0085") & set(shown), set())
        for word in ("a\\u061c\\u200e", "c\\u202ed", "e\\u202ef", "g\\u202eh\\u0085i", "a\\u202e"):
            self.assertIn(word, shown)


if __name__ == "__main__":
    unittest.main(verbosity=1)
