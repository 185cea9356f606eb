# SPDX-License-Identifier: BSD-3-Clause
"""torch_autograd.py: attn_forward and attn_backward beside PyTorch, which knows nothing of them: every mechanism is
written here in plain tensor operations, float64, and autograd makes the gradients. Random problems by fixed seeds; the
library computes each in float64 and in float32. torch.nn.functional.scaled_dot_product_attention is a second witness,
and torch.nn.MultiheadAttention, in torch_multihead.py, one for layers. That a difference would be seen is tested too: by
formulas that are wrong in one place.

    ATTN_LIBRARY=build/release/src/libattn.so python tests/torch_autograd.py
"""

import os
import sys
import unittest
from pathlib import Path

try:
    import numpy as np
    import torch
    import torch.nn.functional
except ImportError as missing:
    print(f"{missing.name} is missing")
    sys.exit(77)

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bindings" / "python"))
import attn
from torch_multihead import MultiheadAttention, MultiheadComparison
from torch_units import BOUND, EPSILON, named, too_far, units, worst

__all__ = ["MultiheadAttention", "MultiheadComparison"]  # unittest finds them here
torch.set_num_threads(1)
SEEDS = range(12)

class Formulas:
    """attn.h in torch. query [B, Hq, Tq, Dq]; key and value with the query's heads; p: parameters by name."""

    def dot(self, query, key, p):
        return torch.einsum("bhid,bhjd->bhij", query, key)

    def scaled_dot(self, query, key, p):
        return self.dot(query, key, p)

    def general(self, query, key, p):
        return torch.einsum("bhid,de,bhje->bhij", query, p["W"], key)

    def direction(self, p):
        return p["g"] * p["v"] / p["v"].norm() if "g" in p else p["v"]

    def additive(self, query, key, p):
        if "W" in p:
            query = torch.einsum("bhid,ad->bhia", query, p["W"])
        if "U" in p:
            key = torch.einsum("bhjd,ad->bhja", key, p["U"])
        inside = query[:, :, :, None] + key[:, :, None] + p.get("b", 0.0)
        return torch.einsum("bhija,a->bhij", torch.tanh(inside), self.direction(p))

    def concat(self, query, key, p):
        size = (*query.shape[:3], key.shape[2], -1)
        both = torch.cat([query[:, :, :, None].expand(size), key[:, :, None].expand(size)], -1)
        return torch.einsum("bhija,a->bhij", torch.tanh(torch.einsum("bhijd,ad->bhija", both, p["W"])), p["v"])

    def location(self, query, key, p):
        return torch.einsum("bhid,jd->bhij", query, p["W"][:key.shape[2]])

    def scale(self, rule, dim):
        return rule.get("scale", dim**-0.5 if rule["score"] == "scaled_dot" else 1.0)

    def cap(self, e, cap):
        return cap * torch.tanh(e / cap) if cap else e

    def position(self, align, rule, n):
        """Of each query among the keys, [B, 1, Tq, 1]."""
        i = torch.arange(n.queries)[None, None, :, None]
        if align == "top_left":
            return i + rule.get("query_start", 0) + torch.zeros(n.batch, 1, 1, 1, dtype=torch.int64)
        return i + self.lengths(rule, n) - n.queries

    def lengths(self, rule, n):
        return torch.as_tensor(rule.get("key_lengths", np.full(n.batch, n.keys)))[:, None, None, None]

    def alibi(self, slopes, align, rule, n):
        return -slopes[:, None, None] * (self.position(align, rule, n) - torch.arange(n.keys)).abs()

    def visible(self, rule, n):
        j = torch.arange(n.keys)
        visible = (j < self.lengths(rule, n)).expand(n.batch, n.query_heads, n.queries, n.keys)
        if "mask" in rule:
            visible = visible & torch.as_tensor(rule["mask"])
        if "causal" in rule:
            visible = visible & (j <= self.position(rule["causal"], rule, n))
        if "window" in rule:
            left, right, align = rule["window"]
            ahead = j - self.position(align, rule, n)
            visible = visible & ((ahead >= -left) | (left < 0)) & ((ahead <= right) | (right < 0))
        return visible

    def softmax(self, e):
        return torch.softmax(e, -1)

    def logsumexp(self, e):
        return torch.logsumexp(e, -1)

    def heads(self, x, query_heads):
        return x.repeat_interleave(query_heads // x.shape[1], 1)

    def attention(self, x, rule, n):
        """Context, weights, log-sum-exp. A row that sees nothing is computed on zeros, lest torch make it NaN, and
        then taken away."""
        key = self.heads(x["key"], n.query_heads)
        value = self.heads(x["value"], n.query_heads) if "value" in x else key
        e = getattr(self, rule["score"])(x["query"], key, x) * self.scale(rule, n.dim)
        e = self.cap(e, rule.get("softcap", 0.0))
        visible = self.visible(rule, n)
        if "bias" in x:
            e = e + x["bias"]
            visible = visible & (x["bias"] != -torch.inf)
        if "alibi" in x:
            e = e + self.alibi(x["alibi"], rule["alibi"][1], rule, n)
        sees = visible.any(-1, keepdim=True)
        e = e.masked_fill(~visible, -torch.inf).masked_fill(~sees, 0.0) / rule.get("temperature", 1.0)
        weights = self.softmax(e) * sees
        logsumexp = self.logsumexp(e).masked_fill(~sees[..., 0], -torch.inf)
        return torch.einsum("bhij,bhjd->bhid", weights, value), weights, logsumexp


class Dims:
    """The sizes of a problem."""

    def __init__(self, batch=2, key_heads=2, group=2, queries=5, keys=7, dim=6, key_dim=4, value_dim=3, hidden=5):
        self.batch, self.key_heads, self.query_heads = batch, key_heads, group * key_heads
        self.queries, self.keys, self.dim, self.key_dim, self.value_dim = queries, keys, dim, key_dim, value_dim
        self.hidden = hidden


# A mechanism: its score, and the parameters that it has.
MECHANISMS = {"dot": "", "scaled_dot": "", "general": "W", "location": "W", "concat": "Wv", "additive": "WUv",
              "additive with bias": "WUvb", "additive normalised": "WUvg", "additive with all": "WUvbg",
              "additive with queries projected": "Uvb", "additive with keys projected": "Wvg",
              "additive with both projected": "v"}

MODIFIERS = ("scale", "softcap", "temperature", "bias", "bias of minus infinity", "bias of keys", "bias of heads",
             "bias of queries", "one bias", "alibi top_left", "alibi bottom_right", "mask", "mask of all",
             "key_lengths", "causal top_left", "causal bottom_right", "window top_left", "window bottom_right",
             "query_start", "shared", "value alone")


class Problem:
    """Arrays for the library, x by name, and its keyword arguments, rule. asks: the gradients that flow in, and those
    that are wanted: first all that there are, then what fused tiles take too, no weights, no bias, no slopes."""

    def __init__(self, mechanism, modifiers, dtype, random, n, flows=("context", "weights", "logsumexp")):
        self.name = f"{mechanism}, {dtype}, {', '.join(modifiers) or 'plain'}"
        self.n, self.random, self.dtype = n, random, dtype
        params, score = MECHANISMS[mechanism], mechanism.split()[0]
        self.rule = {"score": score}
        if score in ("dot", "scaled_dot"):
            n.key_dim = n.dim
        if score == "additive" and "W" not in params:
            n.dim = n.hidden
        if score == "additive" and "U" not in params:
            n.key_dim = n.hidden
        self.x = {"query": self.normal(n.batch, n.query_heads, n.queries, n.dim),
                  "key": self.normal(n.batch, n.key_heads, n.keys, n.key_dim)}
        if "shared" not in modifiers:
            self.x["value"] = self.normal(n.batch, n.key_heads, n.keys, n.value_dim)
        shapes = {"general": {"W": (n.dim, n.key_dim)}, "location": {"W": (n.keys + 2, n.dim)},
                  "concat": {"W": (n.hidden, n.dim + n.key_dim)}}.get(score, {"W": (n.hidden, n.dim)})
        shapes = {"U": (n.hidden, n.key_dim), "v": (n.hidden,), "b": (n.hidden,), "g": (1,), **shapes}
        self.params = tuple(params)
        for name in params:
            self.x[name] = self.normal(*shapes[name])
        for modifier in modifiers:
            self.modify(modifier)
        if "bottom_right" in self.aligned():
            self.rule.pop("query_start", None)
        rows = (n.batch, n.query_heads, n.queries)
        value_dim = self.x["value" if "value" in self.x else "key"].shape[-1]
        shapes = {"context": (*rows, value_dim), "weights": (*rows, n.keys), "logsumexp": rows}
        self.flows = {name: self.normal(*shape) for name, shape in shapes.items()}
        self.asks = {"": (flows, list(self.x)),
                     ", fused": (["context"] + [flow for flow in flows if flow == "logsumexp"],
                                 [name for name in self.x if name not in ("bias", "alibi")])}

    def normal(self, *shape):
        return self.random.standard_normal(shape).astype(self.dtype)

    def aligned(self):
        return [word for given in self.rule.values() for word in (given if isinstance(given, tuple) else (given,))
                if isinstance(word, str)]

    def modify(self, modifier):
        n, random, rule, x = self.n, self.random, self.rule, self.x
        shape = (n.batch, n.query_heads, n.queries, n.keys)
        word, _, align = modifier.partition(" ")
        if word == "scale":
            rule["scale"] = random.uniform(-0.5, 1.5)
        elif word == "softcap":
            rule["softcap"] = random.uniform(0.5, 3.0)
        elif word == "temperature":
            rule["temperature"] = random.uniform(0.4, 2.5)
        elif modifier in ("bias", "bias of minus infinity"):
            x["bias"] = self.normal(*shape)
            if modifier != "bias":
                x["bias"][random.random(shape) < 0.3] = -np.inf
        elif modifier == "bias of keys":
            x["bias"] = self.normal(n.batch, 1, 1, n.keys)
        elif modifier == "bias of heads":
            x["bias"] = self.normal(n.query_heads, 1, n.keys)
        elif modifier == "bias of queries":
            x["bias"] = self.normal(n.queries, n.keys)
        elif modifier == "one bias":
            x["bias"] = self.normal(1, 1, 1, 1)
        elif word == "alibi":
            x["alibi"] = self.normal(n.query_heads) * np.asarray(8 / max(n.queries, n.keys), self.dtype)
            rule["alibi"] = (x["alibi"], align)
        elif modifier == "mask":
            rule["mask"] = random.random(shape) < 0.7
        elif modifier == "mask of all":
            rule["mask"] = random.random((n.batch, 1, n.queries, 1)) < 0.5
        elif word == "key_lengths":
            rule["key_lengths"] = random.integers(0, n.keys + 1, n.batch)
        elif word == "causal":
            rule["causal"] = align
        elif word == "window":
            rule["window"] = (int(random.integers(-1, 4)), int(random.integers(-1, 3)), align)
        elif word == "query_start":
            rule["query_start"] = int(random.integers(-2, 4))
        elif modifier == "value alone" and rule["score"] == "location" and "value" in x:
            del x["key"]

    def distance(self):
        """No two positions are further apart."""
        return self.n.queries + self.n.keys + abs(self.rule.get("query_start", 0))

    def given(self):
        """What attn.attention and attn.attention_grad take."""
        x = self.x
        return {"query": x["query"], "key": x.get("key"), "value": x.get("value"), **self.rule,
                "bias": x.get("bias"), "params": {name: x[name] for name in self.params}}

    def by_library(self):
        result = attn.attention(**self.given(), return_weights=True, return_logsumexp=True)
        got = {"context": result.context, "all weights": result.weights, "log-sum-exp": result.logsumexp}
        for ask, (flows, wanted) in self.asks.items():
            flows = {f"d_{name}": self.flows[name] for name in flows}
            gradients = attn.attention_grad(**{"d_context": None, **flows}, **self.given(), result=result, wanted=wanted)
            got.update({f"d_{name}{ask}": gradient for name, gradient in named(gradients).items()})
        return got

    def by_torch(self, formulas):
        x = {name: torch.tensor(array.astype("f8"), requires_grad=True) for name, array in self.x.items()}
        read = x if "key" in x else {**x, "key": x["value"]}  # of which location counts the rows
        context, weights, logsumexp = formulas.attention(read, self.rule, self.n)
        sees = logsumexp != -torch.inf
        out = {"context": context, "weights": weights, "logsumexp": logsumexp.masked_fill(~sees, 0.0)}
        want = {"context": context, "all weights": weights, "log-sum-exp": logsumexp}
        for ask, (flows, wanted) in self.asks.items():
            loss = sum((torch.tensor(self.flows[name].astype("f8")) * out[name]).sum() for name in flows)
            gradients = torch.autograd.grad(loss, [x[name] for name in wanted], retain_graph=True, allow_unused=True,
                                            materialize_grads=True)
            want.update({f"d_{name}{ask}": gradient for name, gradient in zip(wanted, gradients)})
        return {name: tensor.detach().numpy() for name, tensor in want.items()}

    def off(self, formulas):
        want = self.by_torch(formulas)
        return units(self.by_library(), want, self.dtype, want["log-sum-exp"], self.distance())


def singles():
    return [()] + [(modifier,) for modifier in MODIFIERS]


def drawn(random):
    """Any modifiers together, any sizes, any flows; one problem in four is larger than a tile."""
    modifiers = [modifier for modifier in MODIFIERS if random.random() < 0.25]
    random.shuffle(modifiers)
    if random.random() < 0.25:
        n = Dims(1, 1, random.integers(1, 3), random.integers(1, 100), random.integers(100, 200),
                 *random.integers(1, 20, 4))
    else:
        n = Dims(*random.integers(1, 4, 3), *random.integers(1, 12, 2), *random.integers(1, 9, 4))
    flows = [flow for flow in ("context", "weights", "logsumexp") if random.random() < 0.6] or ["context"]
    return modifiers, n, flows


def problems(mechanism, dtype):
    number = list(MECHANISMS).index(mechanism)
    for k, modifiers in enumerate(singles()):
        yield Problem(mechanism, modifiers, dtype, np.random.default_rng((number, k)), Dims())
    for seed in SEEDS:
        random = np.random.default_rng((number, 1000, seed))
        modifiers, n, flows = drawn(random)
        yield Problem(mechanism, modifiers, dtype, random, n, flows)


class Autograd(unittest.TestCase):
    def same(self, dtype):
        for mechanism in MECHANISMS:
            for problem in problems(mechanism, dtype):
                with self.subTest(problem.name):
                    off = problem.off(Formulas())
                    worst[dtype] = max(worst[dtype], *off.values())
                    self.assertEqual(too_far(off), {})

    def test_everything_is_as_autograd_says_in_float64(self):
        self.same("f8")

    def test_everything_is_as_autograd_says_in_float32(self):
        self.same("f4")


class ScaledDotProductAttention(unittest.TestCase):
    def test_results_and_gradients_are_torchs_own(self):
        random = np.random.default_rng(5)
        for dtype in ("f8", "f4"):
            for k, (queries, keys, given, theirs) in enumerate((
                (9, 13, {}, {}),
                (150, 140, {}, {}),
                (11, 11, {"causal": "top_left"}, {"is_causal": True}),
                (130, 150, {"causal": "top_left"}, {"is_causal": True}),
                (9, 13, {"scale": 0.3}, {"scale": 0.3}),
                (7, 13, {"mask": True}, {}),
                (130, 150, {"mask": True}, {}),
                (7, 13, {"bias": True}, {}),
                (7, 13, {"mask": True, "scale": -0.7}, {"scale": -0.7}),
                (1, 300, {}, {}),
            )):
                given, theirs = dict(given), dict(theirs)
                normal = lambda *shape: random.standard_normal(shape).astype(dtype)
                heads = 1 + k % 2
                x = {"query": normal(2, 4, queries, 8), "key": normal(2, 4 // heads, keys, 8),
                     "value": normal(2, 4 // heads, keys, 8)}
                if "mask" in given:
                    given["mask"] = random.random((2, 1, queries, keys)) < 0.7
                    given["mask"][..., 0] = True
                    theirs["attn_mask"] = torch.as_tensor(given["mask"])
                if "bias" in given:
                    x["bias"] = normal(4, queries, keys)
                flow = normal(2, 4, queries, 8)
                t = {name: torch.tensor(array, requires_grad=True) for name, array in x.items()}
                if "bias" in given:
                    theirs["attn_mask"] = t["bias"]
                context = torch.nn.functional.scaled_dot_product_attention(
                    t["query"], t["key"], t["value"], enable_gqa=heads > 1, **theirs)
                context.backward(torch.tensor(flow))
                want = {"context": context.detach().numpy(),
                        **{f"d_{name}": tensor.grad.numpy() for name, tensor in t.items()}}
                given = {**given, **x}
                result = attn.attention(**given, return_logsumexp=True)
                gradients = attn.attention_grad(flow, **given, result=result)
                got = {"context": result.context, **{f"d_{name}": g for name, g in named(gradients).items()}}
                with self.subTest(dtype, case=k):
                    self.assertEqual(too_far(units(got, want, dtype, result.logsumexp)), {})


def straight(value, like):
    """value, with the derivative of like."""
    return value.detach() + like - like.detach()


def wrong(**methods):
    return type("Wrong", (Formulas,), methods)()


# Formulas with one thing wrong, and the mechanism and modifiers that it takes to see it; first in the results.
WRONG_RESULTS = {
    "scaled dot is not scaled": ("scaled_dot", (), wrong(scale=lambda self, rule, dim: 1.0)),
    "general has its matrix transposed": ("general", (), wrong(general=lambda self, query, key, p: torch.einsum(
        "bhid,de,bhje->bhij", query[..., :4], p["W"][:4].T, key))),
    "the normalised vector is not": ("additive normalised", (), wrong(direction=lambda self, p: p["g"] * p["v"])),
    "heads are grouped by turns": ("dot", (), wrong(
        heads=lambda self, x, heads: x.repeat(1, heads // x.shape[1], 1, 1))),
    "there is no softcap": ("dot", ("softcap",), wrong(cap=lambda self, e, cap: e)),
    "alibi has the other sign": ("dot", ("alibi top_left",), wrong(
        alibi=lambda self, slopes, *rest: -Formulas.alibi(self, slopes, *rest))),
    "bottom-right is top-left": ("dot", ("causal bottom_right",), wrong(
        position=lambda self, align, rule, n: Formulas.position(self, "top_left", rule, n))),
    "lengths are not looked at": ("dot", ("key_lengths",), wrong(lengths=lambda self, rule, n: torch.full(
        (n.batch, 1, 1, 1), n.keys))),
    "everything is seen": ("dot", ("window top_left",), wrong(visible=lambda self, rule, n: torch.ones(
        n.batch, n.query_heads, n.queries, n.keys, dtype=torch.bool))),
}

# These are wrong in the gradients alone.
WRONG_GRADIENTS = {
    "softcap has the derivative of 1": ("dot", ("softcap",), "d_query", wrong(
        cap=lambda self, e, cap: straight(Formulas.cap(self, e, cap), e))),
    "softmax has no sum over the row": ("dot", (), "d_query", wrong(
        softmax=lambda self, e: straight(torch.softmax(e, -1), torch.softmax(e, -1).detach() * e))),
    "log-sum-exp has no gradient": ("dot", (), "d_query", wrong(
        logsumexp=lambda self, e: torch.logsumexp(e, -1).detach())),
    "the norm of v is constant": ("additive normalised", (), "d_v", wrong(
        direction=lambda self, p: p["g"] * p["v"] / p["v"].norm().detach())),
    "alibi's gradient has the other sign": ("dot", ("alibi top_left",), "d_alibi", wrong(
        alibi=lambda self, slopes, *rest: straight(Formulas.alibi(self, slopes, *rest),
                                                   -Formulas.alibi(self, slopes, *rest)))),
    "of a group of heads one alone reaches the key": ("dot", (), "d_key", wrong(
        heads=lambda self, x, heads: straight(Formulas.heads(self, x, heads), torch.cat(
            [x, x.detach()], 2).reshape(x.shape[0], heads, *x.shape[2:])))),
}


class Comparison(unittest.TestCase):
    """A wrong formula is told from a right one."""

    def compare(self, mechanism, modifiers, formulas, dtype):
        return set(too_far(Problem(mechanism, modifiers, dtype, np.random.default_rng(3), Dims()).off(formulas)))

    def test_sees_what_is_wrong_in_the_results(self):
        for name, (mechanism, modifiers, formulas) in WRONG_RESULTS.items():
            for dtype in EPSILON:
                with self.subTest(name, dtype=dtype):
                    self.assertEqual(self.compare(mechanism, modifiers, Formulas(), dtype), set())
                    self.assertLessEqual({"context", "all weights", "d_query"},
                                         self.compare(mechanism, modifiers, formulas, dtype))

    def test_sees_what_is_wrong_in_gradients_alone(self):
        for name, (mechanism, modifiers, gradient, formulas) in WRONG_GRADIENTS.items():
            for dtype in EPSILON:
                with self.subTest(name, dtype=dtype):
                    seen = self.compare(mechanism, modifiers, formulas, dtype)
                    self.assertIn(gradient, seen)
                    self.assertFalse(seen & {"context", "all weights", "log-sum-exp"})


if __name__ == "__main__":
    about = attn.info()
    print(f"torch {torch.__version__}, the way of {about['way']}, kernels {about['kernels']}", file=sys.stderr)
    program = unittest.main(exit=False)
    print(f"The worst: float64 {worst['f8']:.3g}, float32 {worst['f4']:.3g} of {BOUND:.3g} units", file=sys.stderr)
    sys.exit(not program.result.wasSuccessful())
