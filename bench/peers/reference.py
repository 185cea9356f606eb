# SPDX-License-Identifier: BSD-3-Clause
"""reference.py: what a case's first set of inputs comes to in float64, on some heads and rows, straight from the
formulas; and how far an output is from it."""

import numpy as np

MOST_HEADS, MOST_ROWS = 8, 192
WRONG = 1e-3  # an error that no rounding makes: something else was computed, and its time says nothing


class Reference:
    def __init__(self, data):
        case = data.case
        spread = lambda count, most: np.unique(np.linspace(0, count - 1, min(count, most)).astype(int))
        self.rows = spread(case.queries, MOST_ROWS)
        self.places = [divmod(int(h), case.heads) for h in spread(case.batch * case.heads, MOST_HEADS)]
        self.wanted = np.stack([self.one(data, b, h) for b, h in self.places])

    def one(self, data, b, h):
        case, (query, key, value) = data.case, data.sets[0]
        group = h // (case.heads // case.Hk)
        q, k = query[b, h][self.rows].astype(np.float64), key[b, group].astype(np.float64)
        v = k if value is None else value[b, group].astype(np.float64)
        if case.kind == "additive":
            params = {name: array.astype(np.float64) for name, array in data.params.items()}
            if case.states:
                q, k = q @ params["W"].T, k @ params["U"].T
            e = np.stack([np.tanh(row + k) @ params["v"] for row in q])
        else:
            e = q @ k.T / np.sqrt(case.dim)
        if case.softcap:
            e = case.softcap * np.tanh(e / case.softcap)
        if case.alibi:
            e -= np.float64(data.slopes[h]) * abs(self.rows[:, None] - np.arange(case.Tk))
        seen = case.visible(self.rows)
        if seen is not None:
            e = np.where(seen, e, -np.inf)
        e = np.exp(e - e.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True) @ v

    def errors(self, context):
        """Root mean square and largest error, both relative to the root mean square of what is right."""
        got = np.stack([context[b, h][self.rows] for b, h in self.places])
        size = np.sqrt((self.wanted ** 2).mean())
        wrong = got - self.wanted
        if not np.isfinite(wrong).all():
            raise ArithmeticError("its output is not finite")
        error, largest = float(np.sqrt((wrong ** 2).mean()) / size), float(abs(wrong).max() / size)
        if error > WRONG:
            raise ArithmeticError(f"its output is another one: the error is {error:.2g}")
        return error, largest
