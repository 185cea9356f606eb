# SPDX-License-Identifier: BSD-3-Clause
"""reference.py: what a case's first set of inputs comes to in float64, on some heads and rows, straight from the
formulas, its gradients too; and how far an output is from it."""

import numpy as np

MOST_HEADS, MOST_ROWS = 8, 192


def make(data):
    """What judges an entrant's output: errors(output) returns its error and the largest of a single number."""
    return Layer(data) if data.case.is_layer else \
        Gradients(data) if data.case.kind.endswith("gradient") else \
        Tokens(data) if data.case.kind == "tokens" else Reference(data)


def judge(got, wanted, case):
    """Root mean square and largest error, both relative to the root mean square of what is right."""
    size, wrong = np.sqrt((wanted ** 2).mean()), got.astype(np.float64) - wanted
    if not np.isfinite(wrong).all():
        raise ArithmeticError("its output is not finite")
    error, largest = float(np.sqrt((wrong ** 2).mean()) / size), float(abs(wrong).max() / size)
    if error > case.dtype.wrong:
        raise ArithmeticError(f"its output is another one: the error is {error:.2g}")
    return error, largest


def softmax(e):
    e = np.exp(e - e.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


class Reference:
    def __init__(self, data):
        self.case = case = data.case
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
                q, k = q if case.memory else q @ params["W"].T, k @ params["U"].T
            e = np.stack([np.tanh(row + k) @ params["v"] for row in q])
        else:
            e = q @ k.T / (1 if case.kind == "local" else np.sqrt(case.dim))
        if case.softcap:
            e = case.softcap * np.tanh(e / case.softcap)
        if case.alibi:
            e -= np.float64(data.slopes[h]) * abs(self.rows[:, None] - np.arange(case.Tk))
        seen, factor = case.visible(self.rows), 1
        if case.kind == "local":
            params = {name: array.astype(np.float64) for name, array in data.params.items()}
            p = case.Tk / (1 + np.exp(-np.tanh(q @ params["W_p"].T) @ params["v_p"]))[:, None]
            away = np.arange(case.Tk) - p
            seen, factor = abs(away) <= case.half_width, np.exp(-away ** 2 / (case.half_width ** 2 / 2))
        if seen is not None:
            e = np.where(seen, e, -np.inf)
        return factor * softmax(e) @ v

    def errors(self, context):
        return judge(np.stack([context[b, h][self.rows] for b, h in self.places]), self.wanted, self.case)


class Tokens:
    """Of some of the tokens, all heads."""

    def __init__(self, data):
        case, (query, key, value) = data.case, data.sets[0]
        self.case = case
        self.tokens = np.unique(np.linspace(0, case.tokens - 1, 12).astype(int))
        cached = lambda past, new: np.concatenate([data.params[past].astype(np.float64),
                                                   np.moveaxis(new[..., 0, :], 0, 2)], 2)
        keys, values = cached("past_key", key), cached("past_value", value)
        self.wanted = np.stack([self.one(case, query[t], keys[:, :, :case.keys + t + 1], values) for t in self.tokens])

    @staticmethod
    def one(case, query, key, value):
        rows = query.astype(np.float64).reshape(case.batch, case.Hk, -1, case.dim)  # the heads of a group, as rows
        weights = softmax(rows @ key.swapaxes(-1, -2) / np.sqrt(case.dim))
        return (weights @ value[:, :, :key.shape[2]]).reshape(case.batch, case.heads, 1, case.dim)

    def errors(self, contexts):
        return judge(np.stack([contexts[t] for t in self.tokens]), self.wanted, self.case)


class Layer:
    """All of it: output, or gradients by name. That of the keys' bias is zero but for roundings, and so is judged with
    those of the other two."""

    def __init__(self, data):
        case, x = data.case, data.sets[0][0].astype(np.float64)
        self.case = case
        p = {name: array.astype(np.float64) for name, array in data.params.items()}
        apart = lambda rows: rows.reshape(case.batch, case.queries, -1, case.heads, case.dim).transpose(2, 0, 3, 1, 4)
        joined = lambda heads: heads.transpose(1, 3, 0, 2, 4).reshape(case.batch, case.queries, -1)
        q, k, v = apart(x @ p["W_qkv"].T + p["b_qkv"])
        weights = softmax(q @ k.swapaxes(-1, -2) * case.dim ** -0.5)
        context = joined((weights @ v)[None])
        if data.flow is None:
            self.wanted = {"output": context @ p["W_o"].T + p["b_o"]}
            return
        flow = data.flow.astype(np.float64)
        d_context, = apart(flow @ p["W_o"])
        de = d_context @ v.swapaxes(-1, -2)
        de = weights * (de - (weights * de).sum(-1, keepdims=True)) * case.dim ** -0.5
        d = joined(np.stack([de @ k, de.swapaxes(-1, -2) @ q, weights.swapaxes(-1, -2) @ d_context]))
        rows = lambda array: array.reshape(-1, array.shape[-1])
        self.wanted = {"query": d @ p["W_qkv"], "W_qkv": rows(d).T @ rows(x), "b_qkv": rows(d).sum(0),
                       "W_o": rows(flow).T @ rows(context), "b_o": rows(flow).sum(0)}

    def errors(self, got):
        got = got if isinstance(got, dict) else {"output": got}
        self.each = {name: judge(got[name], wanted, self.case) for name, wanted in self.wanted.items()}
        return tuple(max(errors) for errors in zip(*self.each.values()))


class Gradients:
    """Of some heads all rows, by name; of the additive score's v, which all sequences have a part in, all."""

    def __init__(self, data):
        case, every = data.case, data.case.batch * data.case.heads
        self.case = case
        self.places = [divmod(int(h), case.heads) for h in
                       np.unique(np.linspace(0, every - 1, min(every, MOST_HEADS)).astype(int))]
        self.wanted, v = {}, 0.0
        for b, h in [divmod(h, case.heads) for h in range(every)] if case.is_additive else self.places:
            made = self.additive(data, b, h) if case.is_additive else self.one(data, b, h)
            v += made.pop("v", 0.0)
            if (b, h) in self.places:
                for name, array in made.items():
                    self.wanted.setdefault(name, []).append(array)
        self.wanted = {name: np.stack(arrays) for name, arrays in self.wanted.items()}
        if case.is_additive:
            self.wanted["v"] = v

    @staticmethod
    def flows(e, value, flow):
        """Weights, and the gradient of the scores."""
        weights, flowing = softmax(e), flow @ value.T
        return weights, weights * (flowing - (weights * flowing).sum(-1, keepdims=True))

    def one(self, data, b, h):
        case = data.case
        q, k, v = (array[b, h].astype(np.float64) for array in data.sets[0])
        flow, scale = data.flow[b, h].astype(np.float64), case.dim ** -0.5
        e, seen = q @ k.T * scale, case.visible(range(case.queries))
        weights, de = self.flows(e if seen is None else np.where(seen, e, -np.inf), v, flow)
        return {"query": de @ k * scale, "key": de.T @ q * scale, "value": weights.T @ flow}

    def additive(self, data, b, h):
        q, k, value = (array[b, h].astype(np.float64) for array in data.sets[0])
        v, flow = data.params["v"].astype(np.float64), data.flow[b, h].astype(np.float64)
        t = np.tanh(q[:, None] + k)
        weights, de = self.flows(t @ v, value, flow)
        made = {"v": np.einsum("ij,ija->a", de, t)}
        t = de[:, :, None] * (1 - t ** 2) * v
        return {**made, "query": t.sum(1), "key": t.sum(0), "value": weights.T @ flow}

    def errors(self, gradients):
        """The worst of them; and each, by name, in each."""
        self.each = {}
        for name, wanted in self.wanted.items():
            got = gradients[name]
            self.each[name] = judge(got if name == "v" else np.stack([got[b, h] for b, h in self.places]),
                                    wanted, self.case)
        return tuple(max(errors) for errors in zip(*self.each.values()))
