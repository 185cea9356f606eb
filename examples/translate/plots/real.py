#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What scripts/story --real measured, in Markdown: BLEU by length on each task, and what the models make of sentences that are
in none of it.

    plots/real.py DIRECTORY SAMPLES [--command TEXT] [--out FILE.md]

DIRECTORY holds TASK-MODEL-1.json of translate evaluate and TASK-MODEL-1.said of translate run, SAMPLES the sentences,
TASK.txt.
"""
import argparse
import json
import os

TASKS = {"wesnoth": ("bahdanau", "transformer"), "messages": ("bahdanau", "transformer"),
         "cmudict": ("general", "local-m", "transformer")}


def lines_of(path):
    with open(path, encoding="utf-8") as opened:
        return opened.read().splitlines()


def table(task, runs):
    buckets = sorted({one["words"] for run in runs.values() for one in run["lengths"]}, key=lambda name: int(name.split("-")[0].rstrip("+")))
    text = (f"| {task} | " + " | ".join(buckets) + " | all | exact % | perplexity | words known |\n|---|"
            + "---:|" * (len(buckets) + 4) + "\n")
    for name, run in runs.items():
        by_name = {one["words"]: one["bleu"] for one in run["lengths"]}
        cells = [f"{by_name[bucket]:.1f}" if bucket in by_name else "-" for bucket in buckets]
        text += (f"| {name} | " + " | ".join(cells) + f" | {run['all']['bleu']:.1f} | {100 * run['all']['exact']:.1f} "
                 f"| {run['perplexity']:.1f} | {run['known']} |\n")
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory")
    parser.add_argument("samples")
    parser.add_argument("--command", default="scripts/story --real")
    parser.add_argument("--out", metavar="FILE.md")
    arguments = parser.parse_args()
    text = f"<!-- Made by {arguments.command}. -->\n"
    for task, models in TASKS.items():
        runs, said = {}, {}
        for model in models:
            base = os.path.join(arguments.directory, f"{task}-{model}-1")
            with open(base + ".json", encoding="utf-8") as opened:
                runs[model] = json.load(opened)
            runs[model]["perplexity"] = 2.718281828459045 ** runs[model]["loss"]
            with open(base, "rb") as opened:
                words = [line for line in opened.read(1 << 16).split(b"\n") if line.startswith(b"source-words ")]
            runs[model]["known"] = int(words[0].split()[1])
            said[model] = lines_of(base + ".said")
        text += f"\nBLEU by the length of the source:\n\n{table(task, runs)}\n"
        for place, sentence in enumerate(lines_of(os.path.join(arguments.samples, f"{task}.txt"))):
            text += f"    {sentence}\n"
            text += "".join(f"      {model}: {said[model][place]}\n" for model in models) + "\n"
    if arguments.out is None:
        print(text)
    else:
        with open(arguments.out, "w", encoding="utf-8") as opened:
            opened.write(text)
        print(arguments.out)


if __name__ == "__main__":
    main()
