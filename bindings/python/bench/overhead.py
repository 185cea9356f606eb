# SPDX-License-Identifier: BSD-3-Clause
"""overhead.py: what a call costs from Python on the least work there is: 1 query, 5 keys of 4 dimensions. Microseconds,
the fastest of many rounds, in turns."""

import os
import sys
import timeit

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import numpy as np

import attn

CALLS, ROUNDS = 2000, 200

query, key, value = (np.random.default_rng(0).standard_normal((1, 1, rows, 4), np.float32) for rows in (1, 5, 5))
mechanism = attn.Mechanism(engine=attn.Engine(threads=1))
context = np.empty_like(query)
call = mechanism.call(query, key, value, context=context)
subjects = {
    "Call.run()": call.run,
    "mechanism(query, key, value)": lambda: mechanism(query, key, value),
    "attn.attention(query, key, value)": lambda: attn.attention(query, key, value, threads=1),
    "attn.attention(..., causal=, out=)":
        lambda: attn.attention(query, key, value, threads=1, causal="bottom_right", out=context),
}
fastest = dict.fromkeys(subjects, float("inf"))
for _ in range(ROUNDS):
    for name, subject in subjects.items():
        fastest[name] = min(fastest[name], timeit.timeit(subject, number=CALLS) / CALLS)
for name, seconds in fastest.items():
    print(f"{name:36}{1e6 * seconds:6.2f}")
