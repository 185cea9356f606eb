#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Draws what translate evaluate --json measured of several models against the length of sentences, as SVG: Figure 2 of
Bahdanau, Cho and Bengio (2014), and the exact matches beside it. Files of one model, of several seeds, are one line: the mean.

    plots/lengths.py EVALUATE.json... [--out FILE.svg] [--trained-to WORDS]
"""
import argparse
import json
import statistics

from chart import COLOURS, FAINT, Panel, drawing


def middle(name):
    """Of a bucket: "11-20" is at 15.5, "61+" at 65.5."""
    low, _, high = name.rstrip("+").partition("-")
    return (int(low) + int(high)) / 2 if high else int(low) + 4.5


def label(data):
    kind = data["setup"]["model"]
    return kind + (", source reversed" if data["setup"].get("reverse-source") else "")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="EVALUATE.json")
    parser.add_argument("--out", default="lengths.svg", metavar="FILE.svg")
    parser.add_argument("--trained-to", type=float, metavar="WORDS", help="the longest sentence that was learned from")
    arguments = parser.parse_args()
    models = []
    for path in arguments.files:
        with open(path, encoding="utf-8") as opened:
            models.append(json.load(opened))
    lines = {}
    for model in models:
        lines.setdefault(label(model), []).append(model)
    names = [name + (f", mean of {len(seeds)}" if len(seeds) > 1 else "") for name, seeds in lines.items()]
    buckets = sorted({row["words"] for m in models for row in m["lengths"]}, key=middle)
    sentences = {row["words"]: row["sentences"] for row in models[0]["lengths"]}
    svg, top = drawing("Translations against the length of the source",
                       "sentences of that length: " + ", ".join(str(sentences.get(name, 0)) for name in buckets), names,
                       height=480)
    x = (min(map(middle, buckets)) - 5, max(map(middle, buckets)) + 5, "words of the source")
    ticks = [middle(name) for name in buckets]
    for box, key, title, factor in (((64, top + 22, 460, 420), "bleu", "BLEU", 1),
                                    ((544, top + 22, 940, 420), "exact", "translated exactly, %", 100)):
        panel = Panel(svg, box, x, (0, 100, title), x_ticks=ticks,
                      x_form=dict(zip(ticks, buckets)).get)
        if arguments.trained_to:
            at = panel.at(arguments.trained_to, 0)[0]
            svg.line(at, box[1], at, box[3], FAINT, 1.2)
            behind = at + 120 < box[2]
            svg.text(at + 5 if behind else at - 5, box[3] - 8, "longest learned from", size=11, fill=FAINT,
                     anchor="start" if behind else "end")
        for i, seeds in enumerate(lines.values()):
            points = []
            for name in buckets:
                values = [row[key] for m in seeds for row in m["lengths"] if row["words"] == name and row[key] is not None]
                if values:
                    points.append((middle(name), factor * statistics.mean(values)))
            panel.line(points, COLOURS[i % len(COLOURS)], names[i])
    svg.write(arguments.out)


if __name__ == "__main__":
    main()
