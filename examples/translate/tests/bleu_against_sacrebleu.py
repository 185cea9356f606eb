#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Holds the measures against those that others trust: BLEU against sacrebleu; Kendall's tau, the Jensen-Shannon divergence,
entropies and quantiles against SciPy and NumPy, where those are there.

    bleu_against_sacrebleu.py DRIVER

DRIVER is the program made of measure_driver.c. Ends with 77 where there is no sacrebleu.
"""
import math
import os
import random
import subprocess
import sys
import tempfile
import warnings

try:
    import sacrebleu
except ImportError:
    sys.exit(77)
try:
    import numpy
    import scipy.spatial.distance
    import scipy.special
    import scipy.stats
except ImportError:
    scipy = None

LIMIT = 1e-9
WORDS = ["le", "la", "accord", "économique", "'", ".", ",", "été", "a", "ab", "abc", "%d", "…", "-", "日本", "E"]
CASES = [  # name, hypotheses, references
    ("empty_hypothesis", [""], ["a b c d"]),
    ("all_hypotheses_empty", ["", "", ""], ["a b", "c", "d e f g h"]),
    ("one_hypothesis_empty", ["", "a b c d e"], ["x y", "a b c d e"]),
    ("shorter_than_four_tokens", ["a b c"], ["a b c"]),
    ("length_1", ["a"], ["a"]),
    ("length_1_many", ["a", "b", "c"], ["a", "b", "c"]),
    ("exactly_four", ["a b c d"], ["a b c d"]),
    ("no_match", ["a b c d e"], ["v w x y z"]),
    ("unigrams_only", ["a x b y c z"], ["a b c d e f"]),
    ("bigrams_only", ["a b x c d y e f"], ["a b c d e f g h"]),
    ("one_order_without_match_two", ["a b c x d e f y"], ["a b c q d e f r"]),
    ("repeated_in_hypothesis", ["the the the the the the the"], ["the cat is on the mat"]),
    ("repeated_in_both", ["a a a a a a b a a a"], ["a a a a b a a a a a a"]),
    ("short_hypothesis", ["a b c d"], ["a b c d e f g h i j"]),
    ("long_hypothesis", ["a b c d e f g h i j"], ["a b c d"]),
    ("perfect", ["a b c d e f", "g h i j"], ["a b c d e f", "g h i j"]),
    ("case_tells", ["A b c d e"], ["a b c d e"]),
    ("prefixes_of_tokens", ["ab c a bc abc d"], ["a bc ab c ab cd"]),
    ("no_reference", ["a b c d"], [""]),
    ("long", [" ".join(str(i % 7) for i in range(400))], [" ".join(str(i % 11) for i in range(420))]),
]


def corpora():
    """The cases by name, and random ones, from nearly right to nonsense."""
    yield from CASES
    for number in range(400):
        generator = random.Random(number)
        words = generator.sample(WORDS, generator.randint(1, len(WORDS)))
        if generator.random() < 0.3:
            words += [f"w{i}" for i in range(300)]
        longest, noise = generator.choice([1, 3, 5, 12, 40, 200]), generator.choice([0, 0.1, 0.3, 0.7, 1])
        hypotheses, references = [], []
        for _ in range(generator.choice([1, 2, 5, 30])):
            reference = generator.choices(words, k=generator.randint(0, longest))
            hypothesis = [generator.choice(words) if generator.random() < noise else token for token in reference]
            if generator.random() < noise and hypothesis:
                del hypothesis[generator.randrange(len(hypothesis)):]
            if generator.random() < noise:
                hypothesis += generator.choices(words, k=generator.randint(0, 5))
            hypotheses.append(" ".join(hypothesis))
            references.append(" ".join(reference))
        yield f"random_{number}", hypotheses, references


def run(*arguments):
    return subprocess.run(arguments, check=True, capture_output=True, text=True).stdout


def check_bleu(driver, scratch):
    count, worst, positive = 0, 0, 0
    paths = [os.path.join(scratch, name) for name in ("hypotheses", "references")]
    for name, *sides in corpora():
        for path, lines in zip(paths, sides):
            with open(path, "w", encoding="utf-8") as file:
                file.writelines(line + "\n" for line in lines)
        expected = sacrebleu.corpus_bleu(sides[0], [sides[1]], tokenize="none", force=True).score
        actual = float(run(driver, "bleu", *paths))
        count, worst, positive = count + 1, max(worst, abs(actual - expected)), positive + (expected > 0)
        if not abs(actual - expected) <= LIMIT:
            sys.exit(f"{name}: BLEU is {actual}, sacrebleu {sacrebleu.__version__} has {expected}")
    print(f"BLEU of {count} corpora, {positive} of them above 0: at most {worst:.1e} from sacrebleu's")


def expected_numbers(x, y):
    return [scipy.stats.kendalltau(x, y, variant="b").statistic, abs(x - y).sum() / 2,
            scipy.spatial.distance.jensenshannon(x, y) ** 2, scipy.stats.entropy(y),
            scipy.stats.entropy(scipy.special.softmax(x)), numpy.median(x), numpy.quantile(x, 0.1)]


def check_numbers(driver, scratch):
    warnings.simplefilter("ignore")  # of samples too small for a tau, which is NaN then
    generator = numpy.random.default_rng(3)
    pairs = []
    for number in range(400):
        count = int(generator.choice([1, 2, 3, 7, 30, 100]))
        x, y = generator.dirichlet(numpy.full(count, generator.choice([0.05, 1, 20])), size=2)
        if number % 3 == 1:  # ties, and zeros
            x, y = generator.integers(0, 4, (2, count)).astype(float)
            x[0], y[-1] = 1, 1
            x, y = x / x.sum(), y / y.sum()
        if number % 3 == 2:  # one follows the other
            y = x ** 2 / (x ** 2).sum()
        pairs.append((x, y))
    path = os.path.join(scratch, "numbers")
    with open(path, "w", encoding="utf-8") as file:
        for pair in pairs:
            file.writelines(" ".join(f"{value:.17g}" for value in side) + "\n" for side in pair)
    lines, worst = run(driver, "numbers", path).splitlines(), 0
    assert len(lines) == len(pairs)
    names = "tau, total variation, Jensen-Shannon, entropy, softmax entropy, median, quantile".split(", ")
    for line, (x, y) in zip(lines, pairs):
        for name, text, expected in zip(names, line.split(), expected_numbers(x, y)):
            actual = float(text)
            if math.isnan(actual) and math.isnan(expected):
                continue
            if not abs(actual - expected) <= LIMIT:
                sys.exit(f"{name} is {actual}, not {expected}, of {x} and {y}")
            worst = max(worst, abs(actual - expected))
    print(f"{len(names)} measures of {len(pairs)} pairs of distributions: at most {worst:.1e} from SciPy's and NumPy's")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as scratch:
        check_bleu(sys.argv[1], scratch)
        if scipy is None:
            print("There is no SciPy to hold the others against")
        else:
            check_numbers(sys.argv[1], scratch)


if __name__ == "__main__":
    main()
