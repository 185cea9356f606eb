#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Draws what translate figures --json measured, as SVG.

    plots/figures.py FIGURES.json [--out DIRECTORY]

In DIRECTORY (without it, the present one):
    figure-temperature.svg  from all words alike to one: entropy and greatest weight against temperature
    figure-scaling.svg      variance of q.k, and what of a gradient passes softmax, against d
    figure-lengths.svg      entropy, and the context's distance from the states' mean, against the source's length
    figure-alike.svg        the same as states are moved towards their mean
"""
import argparse
import json
import os

from chart import COLOURS, Panel, drawing

LEFT, RIGHT = (64, 0, 460, 400), (544, 0, 940, 400)


def box(side, top):
    return side[0], top + 22, side[2], side[3]


def fraction(number):
    return f"{number:g}" if number >= 1 else f"1/{1 / number:g}"


def draw_temperature(path, data):
    points = [p for p in data["temperature"] if p["temperature"] > 0]
    names = ["entropy / log T", "greatest weight"]
    svg, top = drawing("Temperature: from all words alike to one word alone",
                       f"{data['model']}, scores of one sentence's steps, softmax(score / temperature); means over steps",
                       names, height=460)
    panel = Panel(svg, (64, top + 22, 940, 400), (points[-1]["temperature"], points[0]["temperature"], "temperature"),
                  (0, 1, "share"), log="x", x_ticks=[p["temperature"] for p in points], x_form=fraction)
    for i, key in enumerate(("entropy", "greatest")):
        panel.line([(p["temperature"], p[key]) for p in points], COLOURS[i], names[i])
    svg.write(path)


def draw_scaling(path, data):
    points, names = data["scaling"], ["q.k", "q.k / sqrt(d)"]
    ds = [p["d"] for p in points]
    svg, top = drawing("Why scores are divided by sqrt(d)",
                       f"queries and keys of normal numbers, {data['scaling_keys']} keys; norm, at the scores, of a "
                       f"gradient of normal numbers by the weights", names, height=460)
    highest = max(p["plain"]["variance"] for p in points) * 1.5
    variance = Panel(svg, box(LEFT, top), (ds[0], ds[-1], "d"), (0.5, highest, "variance of the scores"), log="xy",
                     x_ticks=ds)
    most = max(p[side]["usual_gradient"] for p in points for side in ("plain", "scaled"))
    gradient = Panel(svg, box(RIGHT, top), (ds[0], ds[-1], "d"), (0, most * 1.1, "gradient that passes softmax, median"),
                     log="x", x_ticks=ds)
    for i, side in enumerate(("plain", "scaled")):
        variance.line([(p["d"], p[side]["variance"]) for p in points], COLOURS[i], names[i])
        gradient.line([(p["d"], p[side]["usual_gradient"]) for p in points], COLOURS[i], names[i])
    svg.write(path)


def draw_lengths(path, data):
    names = list(data["lengths"])
    words = [p["words"] for p in data["lengths"][names[0]]]
    svg, top = drawing("Longer and longer sources: how flat are the weights?",
                       f"{data['model']}; where an encoder's states tell the decoder nothing, weights are flat and the context "
                       f"is the states' mean", names, height=460)
    x = (words[0], words[-1], "words of the source")
    entropy = Panel(svg, box(LEFT, top), x, (0, 1, "entropy / log T"), log="x", x_ticks=words)
    most = max(p["context_from_mean"] for rows in data["lengths"].values() for p in rows)
    distance = Panel(svg, box(RIGHT, top), x, (0, max(1, most * 1.05), "distance of context from mean / spread of states"),
                     log="x", x_ticks=words)
    for i, name in enumerate(names):
        entropy.line([(p["words"], p["entropy"]) for p in data["lengths"][name]], COLOURS[i], name)
        distance.line([(p["words"], p["context_from_mean"]) for p in data["lengths"][name]], COLOURS[i], name)
    svg.write(path)


def draw_alike(path, data):
    points = [p for p in data["squeeze"] if p["left"] > 0]
    names = ["entropy / log T", "distance of context from mean / spread of states", "cosine between states"]
    svg, top = drawing("States alike: weights go flat, and the context becomes their mean",
                       f"{data['model']}; a trained encoder's states, moved towards their mean", names, height=460)
    most = max([1] + [p["context_from_mean"] for p in points])
    panel = Panel(svg, (64, top + 22, 940, 400), (points[-1]["left"], 1, "share of the way to the mean that is left"),
                  (0, most, "share"), log="x", x_ticks=[p["left"] for p in points], x_form=fraction)
    for i, key in enumerate(("entropy", "context_from_mean", "cosine")):
        panel.line([(p["left"], p[key]) for p in points], COLOURS[i], names[i])
    svg.write(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", metavar="FIGURES.json")
    parser.add_argument("--out", default=".", metavar="DIRECTORY")
    arguments = parser.parse_args()
    with open(arguments.file, encoding="utf-8") as opened:
        data = json.load(opened)
    os.makedirs(arguments.out, exist_ok=True)
    for name, draw in (("temperature", draw_temperature), ("scaling", draw_scaling), ("lengths", draw_lengths),
                       ("alike", draw_alike)):
        draw(os.path.join(arguments.out, f"figure-{name}.svg"), data)


if __name__ == "__main__":
    main()
