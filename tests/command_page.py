# SPDX-License-Identifier: BSD-3-Clause
"""command_page.py COMMAND: the page of attn plot in a browser, in windows of two widths: what is asked is answered where
it can be seen. Skipped where there is no Chromium."""

import re
import unittest
from pathlib import Path

import numpy as np
from command_browser import InABrowser

WORDS = 80


class PageInABrowser(InABrowser):
    def setUp(self):
        super().setUp()
        weights = self.random.random((3, WORDS, WORDS)) ** 9
        self.weights = (weights / weights.sum(-1, keepdims=True)).astype("f4")
        np.save("w.npy", self.weights)
        self.rows = ["row%d" % i for i in range(WORDS)]
        self.columns = ["column%d" % i for i in range(WORDS)]
        self.rows[5] = self.rows[70] = "while"
        self.rows[7] = "Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichen"
        Path("rows.txt").write_text("\n".join(self.rows), "utf-8")
        Path("columns.txt").write_text("\n".join(self.columns), "utf-8")
        self.good("plot", "w.npy", "--head", "all", "--rows", "rows.txt", "--columns", "columns.txt", "-o", "x.html")

    def best(self, numbers, words, count):
        return [(words[i], "%.2f" % numbers[i]) for i in np.argsort(-numbers, kind="stable")[:count]]

    def test_rows_and_columns_are_asked_by_clicks_and_keys(self):
        answers = self.ask("""
          const answers = [];
          all('#rows button')[3].click(); answers.push(said());
          all('#columns button')[70].click(); answers.push(said());
          all('.row-words span')[3].click(); answers.push(said());
          all('.column-words span')[70].click(); answers.push(said());
          press(all('#columns button')[70], 'ArrowLeft'); answers.push(said());
          press(page.querySelector('.scroll'), 'ArrowDown'); answers.push(said());
          all('#heads input')[2].click(); answers.push(said());
          return answers;""")
        self.assertEqual(len(answers), 7)
        for said, (head, word, numbers, words) in zip(answers, [
            (0, "row3 looks at", self.weights[0, 3], self.columns),
            (0, "column70 is looked at by", self.weights[0, :, 70], self.rows),
            (0, "row3 looks at", self.weights[0, 3], self.columns),
            (0, "column70 is looked at by", self.weights[0, :, 70], self.rows),
            (0, "column69 is looked at by", self.weights[0, :, 69], self.rows),
            (0, "row4 looks at", self.weights[0, 4], self.columns),
            (2, "row4 looks at", self.weights[2, 4], self.columns),
        ]):
            self.assertTrue(said.startswith("%s (head %d)" % (word, head)), said)
            for seen, number in self.best(numbers, words, 3):
                self.assertIn("%s %s" % (seen, number), re.sub(r"while ?(5|70)\b", "while", said))

    def test_the_other_side_is_shaded(self):
        shades = self.ask("""all('#columns button')[9].click();
          return [all('#rows button').map(part), all('#columns button').map(part)];""")
        np.testing.assert_allclose(shades[0], self.weights[0, :, 9] / self.weights.max(), atol=1e-6)
        self.assertEqual(set(shades[1]), {0})

    def test_a_click_is_answered_in_view_at_any_width(self):
        for width in (400, 1200):
            answers = self.ask("""
              return all('#rows button, #columns button, .row-words span').filter((_, i) => i % 20 === 0).map(word => {
                word.scrollIntoView({ block: 'center' });
                word.click();
                return [said().includes(word.title.split(': ')[1]), seen(page.querySelector('#said')),
                        page.documentElement.scrollWidth <= view.innerWidth];
              });""", width)
            self.assertEqual(answers, 12 * [[True, True, True]])

    def test_words_stay_beside_the_matrix_when_it_is_scrolled(self):
        for width in (400, 1200):
            moved = self.ask("""
              const scroll = page.querySelector('.scroll'), cells = page.querySelector('.cells');
              const places = () => [box(page.querySelector('.column-words')).top - box(scroll).top,
                                    box(page.querySelector('.row-words')).left - box(scroll).left];
              const align = () => Math.max(...all('.column-words span').map((word, i) =>
                Math.abs(box(word).left + box(word).width / 2 - box(cells).left - (i + .5) * box(cells).width / %d)));
              const before = places();
              scroll.scrollTop = 300; scroll.scrollLeft = 300;
              return { before, after: places(), down: scroll.scrollTop, align: align() };""" % WORDS, width)
            np.testing.assert_allclose(moved["before"], moved["after"], atol=1)
            self.assertGreater(moved["down"], 0)
            self.assertLess(moved["align"], 1)

    def test_words_that_are_cut_show_it_and_have_their_text(self):
        cut = self.ask("""const word = all('.row-words span')[7], style = view.getComputedStyle(word);
          return [word.scrollWidth > word.clientWidth, style.textOverflow, word.title];""", 400)
        self.assertEqual(cut, [True, "ellipsis", "7: " + self.rows[7]])

    def test_what_does_not_fit_is_told_by_a_shade_at_the_edge(self):
        edges = self.ask("""const edges = page.querySelector('.edges'), scroll = page.querySelector('.scroll');
          const before = edges.className;
          scroll.scrollLeft = 1e6; scroll.scrollTop = 1e6; scroll.dispatchEvent(new view.Event('scroll'));
          return [before, edges.className];""", 400)
        self.assertEqual(edges, ["edges more-right more-below", "edges"])

    def test_a_word_that_is_chosen_is_scrolled_to_in_the_matrix(self):
        inside = self.ask("""const scroll = page.querySelector('.scroll');
          all('#rows button')[79].click(); all('#columns button')[79].click();
          const row = box(all('.row-words span')[79]), column = box(all('.column-words span')[79]);
          return [row.bottom <= box(scroll).bottom + 1, column.right <= box(scroll).right + 1];""", 400)
        self.assertEqual(inside, [True, True])


if __name__ == "__main__":
    unittest.main(verbosity=1)
