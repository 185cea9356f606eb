# SPDX-License-Identifier: BSD-3-Clause
"""command_alignments.py COMMAND: files of alignments: what is read is drawn, a panel for each run, and what is wrong with a file
is said in a sentence."""

import copy
import json
import struct
import unittest
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from alignments_sample import GOLD, SOURCE, TARGET, alignments
from command_pictures import SVG, Page, cells_of_svg, png
from command_support import InAnEmptyFolder

SMALL = {"format": "attn-alignments 1",
         "runs": [{"model": "one", "source": ["a", "b"], "target": ["x"], "weights": [[0.25, 0.75]]},
                  {"model": "two", "source": ["a", "b", "c"], "target": ["y", "z"], "gold": [[2, 1], [0, 0, "possible"]],
                   "weights": [[1, 0, 0], [0.5, 0.25, 0.25]]}]}


class Alignments(InAnEmptyFolder):
    def write(self, file, name="a.json"):
        Path(name).write_text(file if isinstance(file, str) else json.dumps(file), "utf-8")

    def changed(self, change):
        file = copy.deepcopy(SMALL)
        change(file)
        return file

    def test_every_run_is_a_panel_with_its_words_in_svg(self):
        file = alignments()
        self.write(file)
        self.good("plot", "a.json", "-o", "x.svg")
        root = ElementTree.parse("x.svg").getroot()
        panels = [g for g in root.findall(SVG + "g") if g.get("class") is None]
        self.assertEqual(len(panels), len(file["runs"]))
        said = [text.text for text in root.iter(SVG + "text")]
        for word in set(SOURCE + TARGET):
            self.assertEqual(said.count(word), len(panels) * (SOURCE + TARGET).count(word), word)
        for i, run in enumerate(file["runs"]):
            self.assertIn(run["model"], said)
            dark = cells_of_svg(root, i)
            weights = np.array(run["weights"])
            got = np.array([[dark.get(at, 0) for at in np.ndindex(weights.shape)]])
            self.assertTrue((np.diff(got.ravel()[np.argsort(weights, axis=None)]) >= 0).all())
            self.assertEqual(got.reshape(weights.shape).argmax(-1).tolist(), weights.argmax(-1).tolist())
        self.assertIn("bahdanau: L' → The; accord → agreement;", root.findtext(SVG + "desc"))
        self.assertIn("zone → Area; économique → Economic; européenne → European", root.findtext(SVG + "desc"))

    def test_links_are_outlined_in_svg(self):
        self.write(alignments(["bahdanau", "location"]))
        self.good("plot", "a.json", "-o", "x.svg")
        root = ElementTree.parse("x.svg").getroot()
        panels = [g for g in root.findall(SVG + "g") if g.get("class") is None]
        groups = [g for g in root.findall(SVG + "g") if g.get("class") == "links"]
        self.assertEqual(len(groups), 2)
        for panel, links in zip(panels, groups):
            x, y, cell = [float(n) for n in panel.get("transform").replace("translate(", "").replace(") scale(", " ")[:-1].split()]
            got = {(int((float(r.get("x")) - x) // cell), int((float(r.get("y")) - y + cell / 2) // cell),
                    "sure" if r.get("stroke-dasharray") is None else "possible") for r in links}
            self.assertEqual(got, set(map(tuple, GOLD)))

    def test_nine_runs_are_readable_in_png(self):
        self.write(alignments())
        self.good("plot", "a.json", "-o", "x.png", "-o", "x.svg", "-o", "x.pdf")
        root = ElementTree.parse("x.svg").getroot()
        sizes = {float(text.get("font-size")) for text in root.iter(SVG + "text")}
        self.assertGreaterEqual(min(sizes), 11)
        size = struct.unpack(">II", Path("x.png").read_bytes()[16:24])
        self.assertEqual(size, (2 * int(root.get("width")), 2 * int(root.get("height"))))
        places = {g.get("transform").split(")")[0] for g in root.findall(SVG + "g") if g.get("class") is None}
        across = {place.split("(")[1].split()[0] for place in places}
        self.assertEqual((len(places), len(across)), (9, 3))

    def test_links_are_outlined_in_png(self):
        outlined = []
        for gold in ([], [[0, 0]], [[0, 0, "possible"]]):
            self.write({"format": SMALL["format"], "title": "A", "runs": [dict(SMALL["runs"][0], gold=gold)]})
            self.good("plot", "a.json", "-o", "x.png")
            pixels = png(Path("x.png").read_bytes())
            outlined.append((abs(pixels - [224, 105, 7]).sum(-1) < 30).sum())
        self.assertEqual(outlined[0], 0)
        self.assertGreater(outlined[1], 4 * 60)
        self.assertTrue(0.3 * outlined[1] < outlined[2] < 0.8 * outlined[1], outlined)

    def test_runs_of_other_sizes_stand_beside_each_other(self):
        self.write(SMALL)
        self.good("plot", "a.json", "-o", "x.svg", "-o", "x.png", "-o", "x.html")
        root = ElementTree.parse("x.svg").getroot()
        self.assertEqual([len(cells_of_svg(root, i)) for i in (0, 1)], [2, 4])
        page = Page(Path("x.html").read_text("utf-8"))
        self.assertEqual([(h["rows"], h["columns"], h["columnWords"]) for h in page.data["heads"]],
                         [(1, 2, ["a", "b"]), (2, 3, ["a", "b", "c"])])
        self.assertEqual(page.data["heads"][1]["links"], [[1, 2, 0], [0, 0, 1]])

    def test_one_run_by_name_or_index(self):
        self.write(SMALL)
        self.good("plot", "a.json", "--run", "two", "-o", "1.svg")
        self.good("plot", "a.json", "--run", "1", "-o", "2.svg")
        self.assertEqual(Path("1.svg").read_bytes(), Path("2.svg").read_bytes())
        said = {text.text for text in ElementTree.parse("1.svg").getroot().iter(SVG + "text")}
        self.assertLessEqual({"y", "z", "a", "b", "c"}, said)
        self.assertNotIn("x", said)
        for run in ("three", "2", "-1", "", "1 "):
            self.bad("plot", "a.json", "--run=" + run, "-o", "3.svg", sentence="no run '%s'" % run)

    def test_the_terminal_shows_every_run(self):
        self.write(self.changed(lambda f: f["runs"][0].update(note="a note")))
        shown = self.good("plot", "a.json").decode()
        for text in ("Alignments\n", "\none: a note\n", "\ntwo\n", "0.75 b", "1.00 a"):
            self.assertIn(text, shown)

    def test_any_text_is_a_word(self):
        words = ["</script><b>", "\"'&\\", "\U0001d11e", "שלום", "\u00e9"]
        run = {"model": "<i>&", "source": words, "target": words, "weights": np.eye(5).tolist()}
        file = {"format": "attn-alignments 1", "title": "<u>", "runs": [run, dict(run, model="two", source=words[::-1])]}
        for ascii_only in (False, True):
            self.write(json.dumps(file, ensure_ascii=ascii_only))
            self.good("plot", "a.json", "-o", "%d.html" % ascii_only, "-o", "x.svg", "--title", "other")
        text = Path("0.html").read_text("utf-8")
        self.assertEqual(text, Path("1.html").read_text("utf-8"))
        page = Page(text)
        self.assertEqual(text.count("</script>"), 2)
        self.assertEqual(page.data["heads"][0]["rowWords"], words)
        self.assertNotIn("rowWords", page.data["heads"][1])
        self.assertEqual(page.data["heads"][1]["columnWords"], words[::-1])
        self.assertIn("<title>other</title>", text)

    def test_escapes_and_numbers_are_those_of_json(self):
        self.write(' {"runs":[{"model":"\\"\\\\\\/\\u00E9\\u20ac\\uD834\\udd1e","target":["x"],"source":["a","b","c","d"]'
                   '\t,\r\n"weights":[[0.5e0,25E-2,2.5e-1,0.0]]}],"format":"attn-alignments 1"}\n')
        self.good("plot", "a.json", "-o", "x.html")
        page = Page(Path("x.html").read_text("utf-8"))
        self.assertEqual(page.data["heads"][0]["name"], '"\\/\u00e9\u20ac\U0001d11e')
        self.assertEqual(page.weights().ravel().tolist(), [0.5, 0.25, 0.25, 0])

    def test_what_is_no_json(self):
        for text, where in (("", "line 1, column 1"), ("{", "column 2"), ('{"a": 1,}', "column 9"), ("[1 2]", "column 4"),
                            ("\n\n [tru]", "line 3, column 3"), ("[01]", "column 3"), ("[1.]", "column 4"), ("[+1]", "column 2"),
                            ("[.5]", "column 2"), ("[1e]", "column 4"), ("[-]", "column 3"), ("[NaN]", "column 2"),
                            ("[1e999]", "no double"), ("[" + 200 * "1" + "]", "100 characters"), ('["a]', "no end"),
                            ('["\\x"]', "escape"), ('["\\u12g4"]', "hexadecimal"), ('["\\ud800"]', "surrogate"),
                            ('["\\udc00\\ud800"]', "surrogate"), ('["\\ud800\\u0041"]', "surrogate"), ('["\\u0000"]', "U+0000"),
                            ('["\n"]', "control"), ('{"a": 1, "a": 2}', "twice"), ("[] []", "goes on"), (40 * "[", "brackets"),
                            ("{1: 2}", "'\"'"), ('{"a" 1}', "':'"), ("[1}", "']'"), ("/**/[]", "column 1"), ("'a'", "column 1")):
            self.write(text)
            self.bad("plot", "a.json", "-o", "x.html", sentence="a.json is not JSON: ")
            self.bad("plot", "a.json", sentence=where)
        Path("a.json").write_bytes(b'["\xff"]')
        self.bad("plot", "a.json", sentence="column 3: this byte is not UTF-8")
        self.write("{%s}" % ",".join('"%d": 1' % i for i in range(101)))
        self.bad("plot", "a.json", sentence="100 names")

    def test_what_is_wrong_with_a_file(self):
        scores = {"scores": [[0, 1.0986123]]}
        cases = [
            (lambda f: f.update(format="attn-alignments 2"), "its format is 'attn-alignments 2'; attn reads"),
            (lambda f: f.update(format="other"), "not 'attn-alignments 1'"),
            (lambda f: f.pop("format"), '"format" is missing'),
            (lambda f: f.update(format=1), '"format" is a number, not a text'),
            (lambda f: f.update(runs=[]), "0 runs"), (lambda f: f.update(runs={}), '"runs" is an object'),
            (lambda f: f.update(runs=65 * f["runs"][:1]), "65 runs"), (lambda f: f["runs"].append(3), "run 2: it is a number"),
            (lambda f: f.update(title="a\nb"), "more than one line"), (lambda f: f.update(title=" "), "without a letter"),
            (lambda f: f.update(title="\u0007"), "U+0007"),
        ]
        run = lambda change, sentence, i=0: cases.append((lambda f: change(f["runs"][i]), "run %d: %s" % (i, sentence)))
        for name in ("model", "source", "target", "weights"):
            run(lambda r, name=name: r.pop(name), '"%s" is missing' % name)
            run(lambda r, name=name: r.update({name: True}), '"%s" is true, not' % name)
        run(lambda r: r.update(model="one"), "it has the model 'one', and so has run 0", 1)
        run(lambda r: r.update(source=[]), '"source" has 0 words')
        run(lambda r: r.update(source=101 * ["a"]), '"source" has 101 words')
        run(lambda r: r.update(target=[1]), '"target" has a number where a text belongs')
        run(lambda r: r.update(weights=[[1, 0], [0, 1]]), '"weights" has 2 rows, and there are 1 target words')
        run(lambda r: r.update(weights=[[1]]), '"weights" has 1 numbers in row 0, and there are 2 source words')
        run(lambda r: r.update(weights=[1]), '"weights" has a number as row 0')
        run(lambda r: r.update(weights=[[1, -0.5]]), '"weights" has -0.5 in row 0, column 1; it is never negative')
        run(lambda r: r.update(weights=[[1, None]]), '"weights" has null in row 0, column 1')
        run(lambda r: r.update(weights=[[1, "0"]]), '"weights" has a text in row 0, column 1')
        run(lambda r: r.update(scores=[[1]]), '"scores" has 1 numbers')
        run(lambda r: r.update(scores=[[0, 0]]), '"weights" has 0.25 in row 0, column 0, where "scores" and "temperature" make it 0.5')
        run(lambda r: r.update(scores, temperature=2), '"weights" has 0.25')
        run(lambda r: r.update(scores, temperature=0), '"temperature" is 0; it is greater than 0')
        run(lambda r: r.update(scores, factor=[[0.5, 1]]), '"weights" has 0.25 in row 0, column 0, where "scores", "factor"')
        run(lambda r: r.update(scores, factor=[[-1, 1]]), '"factor" has -1')
        run(lambda r: r.update(factor=[[1, 1]]), '"factor" is there without "scores"')
        run(lambda r: r.update(note=3), '"note" is a number')
        run(lambda r: r.update(reference="a"), '"reference" is a text, not a list')
        for gold, sentence in (([[0]], "something else"), ([[0, 0, "sure", 1]], "something else"), ([3], "something else"),
                               ([[2, 0]], '"gold" has 2 for one of the 2 source words'),
                               ([[0, 1]], '"gold" has 1 for one of the 1 target words'), ([[-1, 0]], '"gold" has -1'),
                               ([[0.5, 0]], '"gold" has 0.5'), ([["a", 0]], "a text where a word's index"),
                               ([[0, 0, "maybe"]], "'maybe'"), ([[0, 0], [0, 0, "possible"]], "link [0, 0] twice")):
            cases.append((lambda f, gold=gold: f["runs"][0].update(gold=gold), sentence))
        Path("x.html").write_text("before")
        self.write(SMALL)
        self.good("plot", "a.json")
        self.write(self.changed(lambda f: f["runs"][0].update(scores)))
        self.good("plot", "a.json")
        for change, sentence in cases:
            self.write(self.changed(change))
            self.bad("plot", "a.json", "-o", "x.html", "-o", "x.png", sentence=sentence)
            self.assertEqual(Path("x.html").read_text(), "before")
        for value in (3, [], "a", None):
            self.write(json.dumps(value))
            self.bad("plot", "a.json", sentence="not an object")

    def test_options_of_the_other_kind_of_file(self):
        self.write(SMALL)
        np.save("w.npy", np.eye(2))
        for option in ("--rows", "--columns", "--batch", "--head"):
            self.bad("plot", "a.json", option, "0", sentence=option + " is for .npy files")
        self.bad("plot", "w.npy", "--run", "0", sentence="--run chooses from a .json file")
        self.bad("plot", "none.json", sentence="none.json")

    def test_other_names_are_for_others(self):
        self.write(self.changed(lambda f: (f.update(made_by={"a": [1]}), f["runs"][0].update(bleu=97.1))))
        self.good("plot", "a.json", "-o", "x.svg")


if __name__ == "__main__":
    unittest.main(verbosity=1)
