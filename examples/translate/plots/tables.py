#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Tables, in Markdown, of what scripts/story measured: every model by the length of sentences, and all of them beside each
other. A model with several seeds has their mean, and in brackets the least and the greatest.

    plots/tables.py DIRECTORY [--command TEXT] [--out FILE.md]

DIRECTORY holds NAME-SEED.json of translate evaluate, and NAME-SEED.log of translate train.
"""
import argparse
import glob
import json
import os
import statistics

ORDER = ["none", "none-reversed", "bahdanau", "bahdanau-even", "dot", "general", "concat", "location", "local-m", "local-p",
         "transformer"]


def runs_of(directory):
    """Name, then what each seed measured."""
    runs = {}
    for path in sorted(glob.glob(os.path.join(directory, "*-[0-9].json"))):
        name = os.path.basename(path)[:-len("-1.json")]
        if name not in ORDER:
            continue
        with open(path, encoding="utf-8") as opened:
            one = json.load(opened)
        with open(path[:-len("json")] + "log", encoding="utf-8") as opened:
            steps = [line.split() for line in opened]
        # Words a second of training, of the middle half of the steps by speed: others share the machine at times.
        speeds = sorted(int(words) / float(seconds) for _, _, _, seconds, words in steps)
        one["training"] = statistics.mean(speeds[len(speeds) // 4:len(speeds) * 3 // 4 + 1])
        runs.setdefault(name, []).append(one)
    return {name: runs[name] for name in ORDER if name in runs}


def cell(values, form, factor=1):
    values = [value for value in values if value is not None]
    if not values:
        return "-"
    values = [factor * value for value in values]
    text = form.format(statistics.mean(values))
    if len(values) > 1:
        text += f" ({form.format(min(values))} to {form.format(max(values))})"
    return text


def row(cells):
    return "| " + " | ".join(cells) + " |\n"


def by_length(runs, key, form, factor=1):
    """A line for each model, a column for each bucket."""
    buckets = [bucket["words"] for bucket in next(iter(runs.values()))[0]["lengths"]]
    lines = row(["model", *buckets, "all"]) + row(["---"] + ["---:"] * (len(buckets) + 1))
    for name, seeds in runs.items():
        cells = []
        for place in range(len(buckets)):
            cells.append(cell([one["lengths"][place][key] for one in seeds], form, factor))
        lines += row([name, *cells, cell([one["all"][key] for one in seeds], form, factor)])
    return lines


def beside(runs):
    heads = ["model", "numbers", "seeds", "loss", "BLEU", "exact %", "AER", "words/s trained", "words/s translated", "MB"]
    lines = row(heads) + row(["---"] + ["---:"] * (len(heads) - 1))
    for name, seeds in runs.items():
        lines += row([name, f"{seeds[0]['parameters']:,}", str(len(seeds)),
                      cell([one["loss"] for one in seeds], "{:.3f}"),
                      cell([one["all"]["bleu"] for one in seeds], "{:.1f}"),
                      cell([one["all"]["exact"] for one in seeds], "{:.1f}", 100),
                      cell([one["all"]["aer"] for one in seeds], "{:.3f}"),
                      f"{statistics.mean(one['training'] for one in seeds):,.0f}",
                      f"{statistics.mean(one['words_per_second'] for one in seeds):,.0f}",
                      f"{max(one['peak_kilobytes'] for one in seeds) / 1024:.0f}"])
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory")
    parser.add_argument("--command", default="scripts/story")
    parser.add_argument("--out", metavar="FILE.md")
    arguments = parser.parse_args()
    runs = runs_of(arguments.directory)
    if not runs:
        parser.error(f"there is nothing in {arguments.directory}")
    first = next(iter(runs.values()))[0]
    text = (f"<!-- Made by {arguments.command}. -->\n"
            f"Learned from sentences of up to 30 words, {first['step']:,} steps of {first['setup']['rows']} sentences, states of "
            f"{first['setup']['states']}; measured on {first['all']['sentences']:,} sentences of up to 60 words, beam of "
            f"{first['beam']}.\n\n"
            f"BLEU by the length of the source:\n\n{by_length(runs, 'bleu', '{:.1f}')}\n"
            f"Exact match, in per cent:\n\n{by_length(runs, 'exact', '{:.1f}', 100)}\n"
            f"Alignment error rate:\n\n{by_length(runs, 'aer', '{:.3f}')}\n"
            f"All of them on all of the sentences:\n\n{beside(runs)}")
    if arguments.out is None:
        print(text)
    else:
        with open(arguments.out, "w", encoding="utf-8") as opened:
            opened.write(text)
        print(arguments.out)


if __name__ == "__main__":
    main()
