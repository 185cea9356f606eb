# SPDX-License-Identifier: BSD-3-Clause
"""sentence.py: dot attention on one sentence: which words a word looks at, by nothing but the likeness of their vectors."""

import attn
import numpy as np

words = "the animal did not cross the street because it was too tired".split()
random = np.random.default_rng(4)
meaning = {word: random.standard_normal(16).astype("f4") for word in dict.fromkeys(words)}
meaning["it"] = meaning["animal"] + 0.3 * meaning["it"]  # what a trained model would have found out
vectors = np.stack([meaning[word] for word in words])

result = attn.attention(vectors, vectors, score="dot", temperature=4.0, return_weights=True)
for word, weights in zip(words, result.weights):
    best = np.argsort(-weights)[:3]
    print(f"{word:>8}:", ", ".join(f"{words[j]} {weights[j]:.2f}" for j in best))

try:
    attn.plot(result.weights, words, words).figure.savefig("sentence.png")
except ImportError:
    print("(no matplotlib, no picture)")
