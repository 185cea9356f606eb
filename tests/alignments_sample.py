# SPDX-License-Identifier: BSD-3-Clause
"""Alignments of one sentence by models that nobody has trained: scores are made from the right alignment and noise, so
that the pictures and the page have something to show. Run by itself, it prints the file."""

import json

import numpy as np

SOURCE = "The agreement on the European Economic Area was signed in August 1992 .".split()
TARGET = "L' accord sur la zone économique européenne a été signé en août 1992 .".split()
GOLD = [[0, 0, "sure"], [1, 1, "sure"], [2, 2, "sure"], [3, 3, "sure"], [6, 4, "sure"], [5, 5, "sure"], [4, 6, "sure"],
        [7, 7, "sure"], [7, 8, "possible"], [8, 8, "possible"], [8, 9, "sure"], [9, 10, "sure"], [10, 11, "sure"],
        [11, 12, "sure"], [12, 13, "sure"]]
# How sharp, how noisy, and how many of the words a model is off by one.
MODELS = {"bahdanau": (6.0, 0.8, 0), "luong dot": (4.0, 1.0, 0), "luong general": (5.5, 0.9, 0), "luong concat": (4.5, 1.2, 1),
          "location": (2.0, 1.0, 5), "local-m": (6.0, 0.8, 0), "local-p": (5.0, 0.8, 0),
          "transformer, layer 2 head 3": (7.0, 1.0, 0), "transformer, average of the heads of layer 2": (3.0, 0.6, 0)}


def softmax(scores, temperature=1.0):
    shifted = (scores - scores.max(-1, keepdims=True)) / temperature
    exponentials = np.exp(shifted)
    return exponentials / exponentials.sum(-1, keepdims=True)


def run(model, sharpness, noise, off, random):
    scores = random.normal(size=(len(TARGET), len(SOURCE))) * noise
    for source, target, kind in GOLD:
        scores[target, source] += sharpness * (1 if kind == "sure" else 0.8)
    for row in random.permutation(len(TARGET))[:off]:
        scores[row] = np.roll(scores[row], 1)
    scores = scores.round(3)
    made = {"model": model, "note": "synthetic; BLEU %.1f, AER %.2f" % (99 - 3 * noise, off / 30),
            "source": SOURCE, "target": TARGET, "gold": GOLD}
    if model == "local-m":  # sees three words to either side
        far = abs(np.arange(len(TARGET))[:, None] * len(SOURCE) / len(TARGET) - np.arange(len(SOURCE))) > 3
        scores[far] = -np.inf
    weights = softmax(scores)
    if model == "local-p":
        centres = np.array([next(s for s, t, _ in GOLD if t == row) for row in range(len(TARGET))])
        factor = np.exp(-(np.arange(len(SOURCE)) - centres[:, None] - 0.2) ** 2 / 4.5)
        weights = weights * factor
        made["factor"] = factor.round(6).tolist()
    if "average" in model:
        made["weights"] = weights.round(6).tolist()
        return made
    if "transformer" in model:
        made["temperature"] = 0.5
        weights = softmax(scores, 0.5)
        made["reference"] = TARGET
    made["scores"] = [[None if x == -np.inf else x for x in row] for row in scores.tolist()]
    made["weights"] = weights.round(6).tolist()
    return made


def alignments(models=None):
    """The file, as what json.dump takes."""
    random = np.random.default_rng(1992)
    runs = [run(model, *numbers, random) for model, numbers in MODELS.items()]
    return {"format": "attn-alignments 1", "title": "Synthetic alignments of one sentence",
            "runs": [r for r in runs if models is None or r["model"] in models]}


if __name__ == "__main__":
    print(json.dumps(alignments(), ensure_ascii=False))
