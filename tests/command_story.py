# SPDX-License-Identifier: BSD-3-Clause
"""command_story.py COMMAND: the page of alignments in a browser: a model is chosen, words are asked by clicks and keys, the
temperature is moved; the cells that light up are those of softmax."""

import json
import re
import unittest
from pathlib import Path

import numpy as np
from alignments_sample import GOLD, SOURCE, TARGET, alignments
from command_browser import InABrowser

READ = """
  const cells = () => all('.values b'), parts = () => cells().map(part);
  const labels = () => cells().map(cell => cell.getAttribute('aria-label'));
  const choose = i => all('#heads input')[i].click();
  const slider = page.querySelector('#temperature');
  const move = to => { slider.value = to; slider.dispatchEvent(new view.Event('input')); };
  const places = selector => cells().map((cell, i) => cell.matches(selector) ? i : -1).filter(i => i >= 0);
  const buttons = side => all('#' + side + ' button').map(part);
"""


def matrix(run, name):
    return np.array([[-np.inf if x is None else x for x in row] for row in run[name]])


def softmax(run, temperature):
    scores = matrix(run, "scores") / temperature
    exponentials = np.exp(scores - scores.max(-1, keepdims=True))
    weights = exponentials / exponentials.sum(-1, keepdims=True)
    return weights * matrix(run, "factor") if "factor" in run else weights


def bits(weights):
    p = weights / weights.sum(-1, keepdims=True)
    return -np.where(p > 0, p * np.log2(np.where(p > 0, p, 1)), 0).sum(-1)


def contrast(one, other):
    """The contrast of two colours "rgb(r, g, b)", after WCAG 2."""
    def luminance(colour):
        c = np.array([float(x) for x in re.findall(r"[\d.]+", colour)[:3]]) / 255
        return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]
    a, b = sorted((luminance(one), luminance(other)))
    return (b + 0.05) / (a + 0.05)


class Story(InABrowser):
    def setUp(self):
        super().setUp()
        self.write(alignments())

    def write(self, file):
        self.runs = file["runs"]
        self.names = [run["model"] for run in self.runs]
        Path("a.json").write_text(json.dumps(file), "utf-8")
        self.good("plot", "a.json", "-o", "x.html")

    def run_of(self, name):
        i = self.names.index(name)
        return i, self.runs[i]

    def ask(self, script, *rest, **more):
        return super().ask(READ + script, *rest, **more)

    def test_every_model_is_there_and_its_cells_light_up(self):
        answers = self.ask("""return all('#heads input').map((input, i) => {
          input.click();
          return { name: input.parentElement.textContent.trim(), title: page.querySelector('#matrix-title').textContent,
                   about: page.querySelector('#about').textContent, parts: parts(), labels: labels(),
                   dark: cells().map(cell => parseFloat(view.getComputedStyle(cell).backgroundColor.match(/[\\d.]+/)[0])) };
        });""")
        self.assertEqual([a["name"] for a in answers], self.names)
        for a, run in zip(answers, self.runs):
            weights = matrix(run, "weights")
            self.assertEqual(a["title"], "All weights of " + run["model"])
            self.assertEqual(a["about"], run["note"])
            np.testing.assert_allclose(a["parts"], weights.ravel(), atol=1e-6)
            order = np.argsort(weights, axis=None, kind="stable")
            self.assertTrue((np.diff(np.array(a["dark"])[order]) <= 1e-3).all(), a["name"])
            for label, weight in zip(a["labels"], weights.ravel()):
                self.assertIn(" looked %.2f at " % weight, label)

    def test_adjectives_cross(self):
        answers = self.ask("""return all('#heads input').map(input => { input.click(); return places('.best'); });""")
        for best, run in zip(answers, self.runs):
            weights = matrix(run, "weights")
            self.assertEqual(best, [row * len(SOURCE) + int(w.argmax()) for row, w in enumerate(weights)])
            if run["model"] != "location":
                looked = [SOURCE[best[TARGET.index(word)] % len(SOURCE)] for word in ("zone", "économique", "européenne")]
                self.assertEqual(looked, ["Area", "Economic", "European"], run["model"])

    def test_words_are_asked_by_clicks_and_keys(self):
        i, run = self.run_of("luong general")
        answers = self.ask("""choose(%d);
          const answers = [], take = () => answers.push([said(), buttons('rows'), buttons('columns')]);
          const word = (side, i) => all('#' + side + ' button')[i];
          word('rows', 4).click(); take();
          press(word('rows', 4), 'ArrowRight'); take();
          word('columns', 6).click(); take();
          press(cells()[0], 'ArrowUp'); take();
          press(page.activeElement, 'ArrowLeft'); take();
          press(page.activeElement, 'Enter'); take();
          answers.push(page.activeElement.getAttribute('aria-label'));
          const style = view.getComputedStyle(page.activeElement);
          answers.push(style.outlineStyle, all('.values b[tabindex="0"]').length,
                       page.querySelector('#said').getAttribute('aria-live'));
          return answers;""" % i)
        weights = matrix(run, "weights")
        zeros = {"rows": np.zeros(len(TARGET)), "columns": np.zeros(len(SOURCE))}
        for (said, rows, columns), (side, at) in zip(answers, [("rows", 4), ("rows", 5), ("columns", 6), ("rows", 4),
                                                               ("columns", 5), ("rows", 4)]):
            word, verb, of, numbers = ((TARGET[at], "looks at", SOURCE, weights[at]) if side == "rows" else
                                       (SOURCE[at], "is looked at by", TARGET, weights[:, at]))
            best = int(numbers.argmax())
            self.assertTrue(said.startswith("%s %s (luong general) %s %.2f" % (word, verb, of[best], numbers[best])), said)
            np.testing.assert_allclose(rows, zeros["rows"] if side == "rows" else numbers, atol=1e-6)
            np.testing.assert_allclose(columns, zeros["columns"] if side == "columns" else numbers, atol=1e-6)
        self.assertRegex(answers[6], r"\Azone looked 0\.\d\d at Economic")
        self.assertEqual(answers[7:], ["solid", 1, "polite"])

    def test_the_temperature_goes_from_one_hot_to_uniform(self):
        chosen = [self.run_of(name) for name in ("bahdanau", "local-m", "local-p", "transformer, layer 2 head 3")]
        all_answers = self.ask("""return %s.map(i => {
          choose(i);
          const start = slider.value;
          const answers = [-200, -37, 0, 50, 200].map(to => { move(to); return { parts: parts(),
            keys: page.querySelector('#keys').textContent, spoken: slider.getAttribute('aria-valuetext') }; });
          page.querySelector('#as-given').click();
          return { start, answers, back: parts(), value: slider.value, off: page.querySelector('#as-given').disabled };
        });""" % [i for i, _ in chosen])
        for (_, run), answers in zip(chosen, all_answers):
            name, given = run["model"], run.get("temperature", 1)
            for to, a in zip((-200, -37, 0, 50, 200), answers["answers"]):
                want = softmax(run, 10 ** (to / 100))
                np.testing.assert_allclose(np.reshape(a["parts"], want.shape), want, atol=1e-5, err_msg=name)
                keys = "%.1f effective keys on average" % np.mean(2 ** bits(want))
                self.assertIn(keys, a["keys"])
                self.assertIn(keys, a["spoken"])
                seen = np.isfinite(matrix(run, "scores"))
                self.assertTrue((want[~seen] == 0).all())
                if "factor" not in run and to == -200:
                    self.assertTrue(((np.reshape(a["parts"], want.shape) > 0.99).sum(-1) == 1).all())
                if "factor" not in run and to == 200:
                    even = np.where(seen, 1 / seen.sum(-1, keepdims=True), 0)
                    spread = np.ptp(matrix(run, "scores")[seen]) / 100  # no two scores are further apart
                    np.testing.assert_allclose(np.reshape(a["parts"], want.shape), even, rtol=np.expm1(spread))
            self.assertEqual(answers["start"], str(round(100 * np.log10(given))))
            self.assertEqual((answers["value"], answers["off"]), (answers["start"], True))
            np.testing.assert_allclose(answers["back"], matrix(run, "weights").ravel(), atol=1e-6)

    def test_without_scores_the_temperature_stays_and_says_why(self):
        i, _ = self.run_of("transformer, average of the heads of layer 2")
        answers = self.ask("""choose(%d);
          const off = [slider.disabled, page.querySelector('#softmax-note').textContent,
                       slider.getAttribute('aria-describedby')];
          choose(0);
          return [...off, slider.disabled];""" % i)
        self.assertEqual((answers[0], answers[2], answers[3]), (True, "softmax-note", False))
        self.assertIn("no scores", answers[1])

    def test_entropies_and_effective_keys_stand_beside_their_rows(self):
        answers = self.ask("""const facts = () => all('.facts span').map(fact => fact.textContent);
          choose(1); const before = facts(); move(30);
          return [before, facts(), all('.facts span').map(fact => fact.getAttribute('aria-label')),
                  all('.facts span').map(fact => Number(fact.style.getPropertyValue('--bar')))];""")
        for facts, weights in zip(answers, (matrix(self.runs[1], "weights"), softmax(self.runs[1], 10 ** 0.3))):
            h = bits(weights)
            self.assertEqual(facts[::2], ["%.2f" % x for x in h])
            self.assertEqual(facts[1::2], ["%.1f" % x for x in 2 ** h])
        self.assertEqual(answers[2][2], "accord: entropy %.2f bits" % h[1])
        np.testing.assert_allclose(answers[3][::2], h / np.log2(len(SOURCE)), atol=1e-5)

    def test_links_are_drawn_thin(self):
        sure, possible, lines, dash = self.ask("""return [places('.sure'), places('.possible'),
          all('#lines .link').map(line => view.getComputedStyle(line).strokeWidth),
          view.getComputedStyle(page.querySelector('.values .possible'), '::before').borderStyle];""")
        places = {kind: sorted(t * len(SOURCE) + s for s, t, k in GOLD if k == kind) for kind in ("sure", "possible")}
        self.assertEqual((sure, possible), (places["sure"], places["possible"]))
        self.assertEqual((lines, dash), (["1px"] * len(GOLD), "dashed"))

    def test_lines_lead_from_the_word_that_asks_as_thick_as_its_weights(self):
        answers = self.ask("""const middle = element => { const b = box(element); return b.left + b.width / 2; };
          return [['rows', 8], ['columns', 7]].map(([side, i]) => {
            const word = all('#' + side + ' button')[i], other = side === 'rows' ? '#columns' : '#rows';
            word.click();
            const left = box(page.querySelector('#lines')).left;
            return all('#lines .weight').map(line => {
              const ends = line.getAttribute('d').match(/[\\d.]+/g).map(Number);
              const [here, there] = side === 'rows' ? [ends[0], ends[6]] : [ends[6], ends[0]];
              return [Math.abs(here + left - middle(word)) < 1,
                      all(other + ' button').findIndex(button => Math.abs(there + left - middle(button)) < 1),
                      parseFloat(line.style.strokeWidth)];
            });
          });""")
        weights = matrix(self.runs[0], "weights")
        for lines, numbers in zip(answers, (weights[8], weights[:, 7])):
            self.assertEqual([there for _, there, _ in lines], [i for i, w in enumerate(numbers) if w >= 0.01])
            for here, there, width in lines:
                self.assertTrue(here)
                self.assertAlmostEqual(width, 1 + 9 * numbers[there], places=4)

    def test_it_is_a_grid_for_those_who_listen(self):
        roles = self.ask("""const own = all('[role=row][aria-owns]').map(row => row.getAttribute('aria-owns').split(' ')
            .map(id => page.getElementById(id).getAttribute('role')));
          const grid = page.querySelector('[role=grid]');
          return { own, rows: grid.querySelectorAll('[role=row]').length,
                   title: page.getElementById(grid.getAttribute('aria-labelledby')).textContent,
                   cells: grid.querySelectorAll('[role=row] > [role=gridcell]').length,
                   columns: grid.querySelectorAll('[role=row] > [role=columnheader]').length,
                   accord: labels()[%d], legend: page.querySelector('#heads legend').textContent,
                   labelled: all('input, button').filter(e => e.labels === null ||
                     (e.labels.length === 0 && e.textContent === '')).map(e => e.outerHTML) };""" % (len(SOURCE) + 1))
        weight = matrix(self.runs[0], "weights")[1, 1]
        self.assertEqual(roles["own"], len(TARGET) * [["rowheader", "gridcell", "gridcell"]])
        self.assertEqual(roles["rows"], len(TARGET) + 1)
        self.assertEqual((roles["cells"], roles["columns"]), (len(TARGET) * len(SOURCE), len(SOURCE)))
        self.assertEqual(roles["accord"], "accord looked %.2f at agreement, the most, a sure link" % weight)
        self.assertEqual((roles["title"], roles["legend"], roles["labelled"]), ("All weights of bahdanau", "Models", []))

    def test_it_is_readable_at_400_pixels_and_asks_nothing_of_the_network(self):
        for width in (400, 1200):
            answers = self.ask("""const small = (selector, least) => all(selector).filter(element =>
                box(element).height < least || box(element).width < least).map(e => e.textContent);
              const cell = box(cells()[0]), scroll = page.querySelector('.scroll');
              return { wide: all('#heads input').map(input => { input.click(); return page.scrollingElement.scrollWidth; }),
                       small: small('.words button, #softmax button', 24), cell: cell.width,
                       font: parseFloat(view.getComputedStyle(all('.column-words span')[0]).fontSize),
                       all: box(page.querySelector('.cells')).right <= box(scroll).right,
                       sideways: view.getComputedStyle(all('.column-words span')[0]).writingMode,
                       asked: view.performance.getEntriesByType('resource').map(e => e.name).filter(n => !/^data:/.test(n)) };""",
                               width)
            self.assertLessEqual(max(answers["wide"]), width)
            self.assertEqual((answers["small"], answers["asked"]), ([], []))
            self.assertGreaterEqual(answers["cell"], 12)
            self.assertGreaterEqual(answers["font"], 11)
            self.assertTrue(answers["all"])
            self.assertEqual(answers["sideways"], "vertical-rl")
        self.assertNotRegex(Path("x.html").read_text("utf-8"), r"https?://(?!www\.w3\.org)")

    def test_light_and_dark_have_contrast(self):
        pages = []
        for dark in (False, True):
            answers = self.ask("""const style = (selector, property) => view.getComputedStyle(page.querySelector(selector))[property];
              const strong = page.querySelector('.values .strong');
              return { page: style('body', 'backgroundColor'), ink: style('body', 'color'), soft: style('.hint', 'color'),
                       raised: style('#said', 'backgroundColor'), link: style('#lines .link', 'stroke'),
                       bits: style('#said .bits', 'color'), chosen: style('.matrix .chosen', 'color') };""", dark=dark)
            pages.append(answers["page"])
            for one, other, least in (("ink", "page", 7), ("soft", "page", 4.5), ("bits", "raised", 4.5), ("ink", "raised", 7),
                                      ("chosen", "page", 4.5), ("link", "page", 3)):
                self.assertGreaterEqual(contrast(answers[one], answers[other]), least, (one, other, dark))
        self.assertGreater(contrast(*pages), 10)

    def test_nothing_moves_for_those_who_do_not_want_it(self):
        durations = [self.ask("return view.getComputedStyle(cells()[0]).transitionDuration;", options=options)
                     for options in ((), ("--force-prefers-reduced-motion",))]
        self.assertEqual(durations, ["0.15s", "0s"])

    def test_models_may_have_other_words(self):
        file = alignments(["bahdanau", "luong dot"])
        second = file["runs"][1]
        second.update(target=["x", "<b>", "x"], source=["שלום", "b"], gold=[[1, 2, "possible"]], weights=[[1, 0], [0.5, 0.5], [0, 0]],
                      scores=[[0, None], [3, 3], [None, None]], reference=["zwei", "drei"])
        self.write(file)
        answers = self.ask("""const words = selector => all(selector).map(word => word.textContent);
          const see = () => [words('#rows button'), words('.row-words span'), words('#columns button'),
                             words('.column-words span'), parts(), places('.possible'),
                             page.querySelector('#reference').textContent];
          all('#rows button')[13].click();
          choose(1); const second = see();
          all('#rows button')[2].click(); second.push(said(), all('.facts span')[5].textContent);
          move(100); second.push(parts());
          choose(0); const first = see();
          return [first, second];""")
        first, second = answers
        self.assertEqual(first[:4], [TARGET, TARGET, SOURCE, SOURCE])
        self.assertEqual(second[:4], [["x0", "<b>", "x2"], ["x0", "<b>", "x2"], ["שלום", "b"], ["שלום", "b"]])
        self.assertEqual(second[4:7], [[1, 0, 0.5, 0.5, 0, 0], [5], "Reference: zwei drei"])
        self.assertEqual(second[7:], ["x2 looks at (luong dot) nothing", "–", [1, 0, 0.5, 0.5, 0, 0]])

    def test_large_matrices_are_pictures(self):
        np.save("w.npy", np.eye(120))
        self.good("plot", "w.npy", "-o", "x.html")
        answers = super().ask("""all('#rows button')[7].click();
          return [said(), all('.values b').length, view.getComputedStyle(page.querySelector('.cells img')).display,
                  page.querySelector('.scroll').tabIndex];""")
        self.assertEqual(answers[:2], ["7 looks at 7 1.00 entropy 0.00 bits, as of 1.0 keys", 0])
        self.assertEqual((answers[2] != "none", answers[3]), (True, 0))

    def test_pictures_for_people(self):
        for name, width, height, dark in (("alignments-1200-light", 1200, 1500, False), ("alignments-1200-dark", 1200, 1500, True),
                                          ("alignments-400-light", 400, 1500, False), ("alignments-400-dark", 400, 1500, True)):
            file = self.picture(name, READ + "all('#rows button')[6].click();", width, height, dark)
            self.assertGreater(file.stat().st_size, 10000)
        self.picture("alignments-1200-hot", READ + "all('#rows button')[6].click(); move(60);", 1200, 1500)


if __name__ == "__main__":
    unittest.main(verbosity=1)
