#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Draws what translate explain --json measured, as SVG.

    plots/explain.py EXPLAIN.json [--out DIRECTORY]

In DIRECTORY (without it, the present one):
    explain-tau.svg          rank correlation of weights with other ways to say what matters
    explain-permutation.svg  how far the output moves where weights are permuted, against the greatest weight
    explain-adversarial.svg  how far from the model's own weights such lie that leave the output where it is
    explain-others.svg       the same of other models, where some were given
"""
import argparse
import json
import os

from chart import COLOURS, FAINT, INK, Panel, drawing, even_ticks

BINS = [(0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.0000001)]
BIN_NAMES = ["greatest weight below 0.25", "0.25 to 0.50", "0.50 to 0.75", "0.75 and more"]
LN2 = 0.6931471805599453


def about(data):
    return f"{data['model']}, {data['sentences']} sentences, {data['steps']} steps"


def draw_tau(path, data):
    rows = list(data["agreement"].items())
    svg, top = drawing("Do weights rank words as other measures of what matters do? Kendall's tau",
                       about(data) + "; box: half of the steps, whiskers: 5 to 95 %, line: median; right: share of steps "
                       "with p < 0.05", [], height=130 + 34 * len(rows))
    left, right, bottom = 330, 870, top + 34 * len(rows)
    least = min(-0.5, *(row["tau"]["p5"] for _, row in rows))
    least = even_ticks(least - 0.2499, 1, 8)[0] if least < -0.5 else -0.5

    def at(value):
        return left + (value - least) / (1 - least) * (right - left)

    for tick in even_ticks(least, 1, 7):
        svg.line(at(tick), top, at(tick), bottom)
        svg.text(at(tick), bottom + 18, f"{tick:g}", size=11, anchor="middle", fill=FAINT)
    svg.line(at(0), top, at(0), bottom, INK, 1.2)
    for i, (name, row) in enumerate(rows):
        tau, middle = row["tau"], top + 34 * i + 17
        colour = "#b6bcc6" if name.startswith("control") else COLOURS[0]
        svg.text(left - 12, middle + 4, name, anchor="end")
        svg.line(at(tau["p5"]), middle, at(tau["p95"]), middle, FAINT, 1.2)
        svg.bar(at(tau["p25"]), at(tau["p75"]), middle - 9, 18, colour, f"{name}: mean {tau['mean']:.3f}")
        svg.line(at(tau["median"]), middle - 9, at(tau["median"]), middle + 9, INK, 2)
        svg.text(right + 14, middle + 4, f"{100 * row['significant']:.0f} %", fill=FAINT)
    svg.write(path)


def draw_permutation(path, data):
    names = ["a step of a sentence", "median within a tenth of weight"]
    svg, top = drawing(f"Weights permuted at random {data['permutations']} times: how far does the output move?",
                       about(data), names, height=500)
    panel = Panel(svg, (70, top + 22, 930, 440), (0, 1, "greatest weight of the step"),
                  (0, 1, "median total variation distance of the output"))
    pairs = list(zip(data["greatest_weights"], data["permutation_medians"]))
    panel.points(pairs, COLOURS[0])
    curve = []
    for tenth in range(10):
        within = sorted(y for x, y in pairs if tenth / 10 <= x < (tenth + 1) / 10 + (tenth == 9))
        if len(within) >= 5:
            curve.append(((tenth + 0.5) / 10, within[len(within) // 2]))
    panel.line(curve, COLOURS[1], names[1])
    svg.write(path)


def draw_adversarial(path, data):
    svg, top = drawing("Adversarial weights: how far from the model's own, with the output where it was?",
                       f"{about(data)}; output within {data['epsilon']:g} of total variation; each step attacked by itself; "
                       f"Jensen-Shannon divergence is at most ln 2", BIN_NAMES, height=500)
    width, count = LN2 / 20, 20
    piles = [[0] * len(BINS) for _ in range(count)]
    for greatest, far in zip(data["greatest_weights"], data["adversarial_divergences"]):
        which = next(i for i, (low, high) in enumerate(BINS) if low <= greatest < high)
        piles[min(int(far / width), count - 1)][which] += 1
    total = len(data["greatest_weights"])
    highest = max(sum(pile) for pile in piles) / total
    panel = Panel(svg, (70, top + 22, 930, 440), (0, LN2, "Jensen-Shannon divergence from the model's weights"),
                  (0, highest * 1.05, "share of steps"), y_form="{:.0%}".format)
    for i, pile in enumerate(piles):
        below = 0
        for which, n in enumerate(pile):
            if n:
                panel.bar(i * width + width / 20, (i + 1) * width - width / 20, below / total, (below + n) / total,
                          COLOURS[which], f"{BIN_NAMES[which]}: {n} steps")
            below += n
    svg.write(path)


def draw_others(path, data):
    """Shares of steps that are at least so far away: each step attacked by itself, and models that were trained."""
    rows = [("adversarial weights, each step by itself", data["adversarial_divergences"])]
    rows += [(os.path.basename(o["checkpoint"]), o["divergences"]) for o in data["others"]]
    names = [f"{name}: {sum(far) / len(far):.3f}" for name, far in rows]
    names[1:] = [f"{name}, output moves {o['variation']['mean']:.3f}" for name, o in zip(names[1:], data["others"])]
    svg, top = drawing("How far from the model's weights do others look?", about(data) + "; behind names the mean", names,
                       height=520)
    panel = Panel(svg, (70, top + 22, 930, 460), (0, LN2, "Jensen-Shannon divergence from the model's weights, at least"),
                  (0, 1, "share of steps"), y_form="{:.0%}".format)
    for i, (_, far) in enumerate(rows):
        ordered = sorted(far, reverse=True)
        points = [(0, 1)] + [(ordered[k], (k + 1) / len(ordered)) for k in range(len(ordered) - 1, -1, -1)]
        panel.line(points, COLOURS[i % len(COLOURS)], dots=False)
    svg.write(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", metavar="EXPLAIN.json")
    parser.add_argument("--out", default=".", metavar="DIRECTORY")
    arguments = parser.parse_args()
    with open(arguments.file, encoding="utf-8") as opened:
        data = json.load(opened)
    os.makedirs(arguments.out, exist_ok=True)
    draw_tau(os.path.join(arguments.out, "explain-tau.svg"), data)
    draw_permutation(os.path.join(arguments.out, "explain-permutation.svg"), data)
    draw_adversarial(os.path.join(arguments.out, "explain-adversarial.svg"), data)
    if data["others"]:
        draw_others(os.path.join(arguments.out, "explain-others.svg"), data)


if __name__ == "__main__":
    main()
