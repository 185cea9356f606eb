# SPDX-License-Identifier: BSD-3-Clause
"""torch_multihead.py: attn_multihead_forward and _backward beside torch.nn.MultiheadAttention, given its weights: the
output, the heads' weights, and the gradients of x, y, z, the bias of scores and every parameter; and decoding step by
step from a memory. torch_autograd.py runs it."""

import unittest

import attn
import numpy as np
import torch
from torch_units import EPSILON, named, too_far, units, worst

BATCH, HEADS, DIM = 2, 3, 12
SIZES = ((7, 9), (70, 150))  # queries and keys: less than a tile, and more than one


class Layer:
    """A random layer, and what it attends to. given: words, of which each says one thing:

    packed, separate    one parameter for three, or three of equal dimensions; other dims: y and z have their own
    plain               no biases of projections
    self, shared, cross what y and z are: x; one sequence; two
    causal, padding, mask, masks, bias, biases
                        what a torch layer calls attn_mask and key_padding_mask; the plurals are for each head
    weights             they are asked for, and the loss looks at them"""

    def __init__(self, given, dtype, sizes=SIZES[0], seed=0):
        self.given, self.dtype, self.name = set(given.split()), dtype, f"{given}, {dtype}, {sizes}"
        random = np.random.default_rng((seed, len(given), *sizes))
        self.normal = lambda *shape: random.standard_normal(shape).astype(dtype)
        key_dim, value_dim = (5, 8) if "other" in self.given else (DIM, DIM)
        queries, keys = sizes
        keys = queries if "self" in self.given else keys
        self.x = {"query": self.normal(BATCH, queries, DIM)}
        if "self" not in self.given:
            self.x["key"] = self.normal(BATCH, keys, key_dim)
        if "cross" in self.given:
            self.x["value"] = self.normal(BATCH, keys, value_dim)
        inputs = {"W_q": DIM, "W_k": key_dim, "W_v": value_dim, "W_o": DIM}
        self.params = {name: self.normal(DIM, size) / np.asarray(size**0.5, dtype) for name, size in inputs.items()}
        if "plain" not in self.given:
            self.params.update({name: self.normal(DIM) for name in ("b_q", "b_k", "b_v", "b_o")})
        self.rule, shape = {}, (BATCH, HEADS, queries, keys)
        if "causal" in self.given:
            self.rule["mask"] = np.tri(queries, keys, dtype=bool)
        if "padding" in self.given:
            self.rule["key_lengths"] = random.integers(1, keys + 1, BATCH)
        for word, kind in (("mask", (1, 1)), ("masks", (0, 0))):
            if word in self.given:
                self.rule["mask"] = random.random(shape[2 * kind[0]:]) < 0.6
                self.rule["mask"][..., 0] = True
        if "bias" in self.given or "biases" in self.given:
            self.x["bias"] = self.normal(*(shape[2:] if "bias" in self.given else shape))
        self.flow, self.flow_weights = self.normal(BATCH, queries, DIM), self.normal(*shape)

    def packed(self, params):
        """The three parameters of the inputs as one, where the layer has them so."""
        if "packed" not in self.given:
            return params
        made = {"W_qkv": np.concatenate([params[f"W_{part}"] for part in "qkv"]), "W_o": params["W_o"]}
        if "b_o" in params:
            made.update({"b_qkv": np.concatenate([params[f"b_{part}"] for part in "qkv"]), "b_o": params["b_o"]})
        return made

    def layer(self, mechanism=None):
        params = self.packed(self.params)
        return attn.MultiHead(DIM, HEADS, mechanism=mechanism, key_dim=self.params["W_k"].shape[1],
                              value_dim=self.params["W_v"].shape[1], bias="b_o" in params, packed="packed" in self.given,
                              params=params)

    def arguments(self):
        x = self.x
        return {"query": x["query"], "key": x.get("key"), "value": x.get("value"), "bias": x.get("bias"), **self.rule}

    def by_library(self):
        layer, weights = self.layer(), "weights" in self.given
        result = layer.forward(**self.arguments(), return_weights=weights, return_logsumexp=True, save=True)
        flow_weights = self.flow_weights if weights else None
        gradients = layer.backward(self.flow, **self.arguments(), d_weights=flow_weights, result=result)
        again = layer.backward(self.flow, **self.arguments(), d_weights=flow_weights)
        got = {"output": result.output, **({"all weights": result.weights} if weights else {})}
        for ask, made in (("", gradients), (", computed again", again)):
            got.update({f"d_{name}{ask}": gradient for name, gradient in named(made).items()
                        if name != "mechanism_params"})
        return got, result.logsumexp

    def module(self):
        """The torch layer with these parameters."""
        p = {name: torch.tensor(array.astype("f8")) for name, array in self.params.items()}
        layer = torch.nn.MultiheadAttention(
            DIM, HEADS, bias="b_o" in p, batch_first=True, dtype=torch.float64,
            **({"kdim": p["W_k"].shape[1], "vdim": p["W_v"].shape[1]} if "other" in self.given else {}))
        with torch.no_grad():
            if "other" in self.given:
                for part in "qkv":
                    getattr(layer, f"{part}_proj_weight").copy_(p[f"W_{part}"])
            else:
                layer.in_proj_weight.copy_(torch.cat([p[f"W_{part}"] for part in "qkv"]))
            layer.out_proj.weight.copy_(p["W_o"])
            if "b_o" in p:
                layer.in_proj_bias.copy_(torch.cat([p[f"b_{part}"] for part in "qkv"]))
                layer.out_proj.bias.copy_(p["b_o"])
        return layer

    def masks(self, x):
        """attn_mask and key_padding_mask: True is what may not be seen."""
        masks = {}
        if "mask" in self.rule:
            masks["attn_mask"] = ~torch.as_tensor(self.rule["mask"])
        if "bias" in x:
            masks["attn_mask"] = x["bias"]
        if "attn_mask" in masks and masks["attn_mask"].ndim == 4:
            masks["attn_mask"] = masks["attn_mask"].flatten(0, 1)
        if "key_lengths" in self.rule:
            keys = self.x["key" if "key" in self.x else "query"].shape[1]
            masks["key_padding_mask"] = torch.arange(keys) >= torch.as_tensor(self.rule["key_lengths"])[:, None]
            if "bias" in x:  # torch wants both of one kind
                masks["key_padding_mask"] = torch.zeros(BATCH, keys, dtype=torch.float64).masked_fill(
                    masks["key_padding_mask"], -torch.inf)
        return masks

    def by_torch(self, tamper=None):
        """tamper: changes the module, or what it is called with."""
        x = {name: torch.tensor(array.astype("f8"), requires_grad=True) for name, array in self.x.items()}
        module, weights = self.module(), "weights" in self.given
        key = x.get("key", x["query"])
        given = {"query": x["query"], "key": key, "value": x.get("value", key), **self.masks(x)}
        if tamper:
            given = tamper(module, given) or given
        output, made = module(**given, need_weights=weights, average_attn_weights=False)
        loss = (torch.tensor(self.flow.astype("f8")) * output).sum()
        want = {"output": output}
        if weights:
            want["all weights"], loss = made, loss + (torch.tensor(self.flow_weights.astype("f8")) * made).sum()
        loss.backward()
        if "other" in self.given:
            d = {f"W_{part}": getattr(module, f"{part}_proj_weight").grad for part in "qkv"}
        else:
            d = dict(zip(("W_q", "W_k", "W_v"), module.in_proj_weight.grad.chunk(3)))
        d["W_o"] = module.out_proj.weight.grad
        if module.in_proj_bias is not None:
            d.update(zip(("b_q", "b_k", "b_v"), module.in_proj_bias.grad.chunk(3)), b_o=module.out_proj.bias.grad)
        d = self.packed({name: tensor.numpy() for name, tensor in d.items()})
        d.update({name: tensor.grad.numpy() for name, tensor in x.items()})
        for ask in ("", ", computed again"):
            want.update({f"d_{name}{ask}": gradient for name, gradient in d.items()})
        return {name: tensor.detach().numpy() if isinstance(tensor, torch.Tensor) else tensor
                for name, tensor in want.items()}

    def off(self, tamper=None):
        got, logsumexp = self.by_library()
        return units(got, self.by_torch(tamper), self.dtype, logsumexp)


KINDS = ("packed self", "packed plain self", "packed shared", "packed cross", "separate self", "separate plain shared",
         "separate cross", "other dims cross", "other dims plain cross")
RULES = ("", "weights", "causal", "padding", "mask", "masks", "bias", "biases", "causal padding", "masks padding",
         "biases padding weights", "mask weights")


class MultiheadAttention(unittest.TestCase):
    """Layers are as torch.nn.MultiheadAttention says, in everything."""

    def test_outputs_and_gradients(self):
        for kind in KINDS:
            for rule in RULES:
                for dtype in EPSILON:
                    for sizes in SIZES:
                        layer = Layer(f"{kind} {rule}", dtype, sizes)
                        with self.subTest(layer.name):
                            off = layer.off()
                            worst[dtype] = max(worst[dtype], *off.values())
                            self.assertEqual(too_far(off), {})

    def test_decoding_step_by_step(self):
        for kind in ("packed self causal", "separate plain self causal"):
            for dtype in EPSILON:
                given = Layer(kind, dtype)
                layer = given.layer(attn.Mechanism(causal="bottom_right"))
                memory, x = layer.memory(batch=BATCH, dtype=dtype), given.x["query"]
                steps = [layer.forward(x[:, first:last], memory=memory) for first, last in ((0, 3), (3, 4), (4, 5), (5, 7))]
                logsumexp = given.by_library()[1]
                with self.subTest(given.name):
                    self.assertEqual(memory.lengths, [7] * BATCH)
                    self.assertEqual(too_far(units({"output": np.concatenate(steps, 1)},
                                                   {"output": given.by_torch()["output"]}, dtype, logsumexp)), {})

    def test_attending_to_a_memory_alone(self):
        for kind in ("packed cross", "other dims cross", "separate plain shared"):
            for dtype in EPSILON:
                given = Layer(kind, dtype)
                layer, x = given.layer(), given.x
                memory, keys = layer.memory(batch=BATCH, dtype=dtype), x["key"].shape[1]
                layer.forward(x["query"][:, :1], x["key"], x.get("value"), memory=memory)
                steps = [layer.forward(x["query"][:, i:i + 1], memory=memory, attend_only=True)
                         for i in range(x["query"].shape[1])]
                with self.subTest(given.name):
                    self.assertEqual(memory.lengths, [keys] * BATCH)
                    self.assertEqual(too_far(units({"output": np.concatenate(steps, 1)},
                                                   {"output": given.by_torch()["output"]}, dtype,
                                                   given.by_library()[1])), {})


def by_turns(module, given):
    weight = module.in_proj_weight.data
    weight[:DIM] = weight[:DIM].reshape(HEADS, -1, DIM).transpose(0, 1).reshape(DIM, DIM)


def swapped(module, given):
    weight = module.in_proj_weight.data
    weight[:2 * DIM] = weight[:2 * DIM].roll(DIM, 0).clone()


def unbiased(module, given):
    module.out_proj.bias.data.zero_()


# What makes a layer wrong, and the words that it takes to see it: first in the output.
WRONG_OUTPUTS = {
    "heads of queries are dealt by turns": ("packed self", by_turns),
    "queries and keys are swapped in what is packed": ("packed cross", swapped),
    "the output has no bias": ("separate self", unbiased),
    "values are keys": ("packed cross", lambda module, given: {**given, "value": given["key"] + 0 * given["value"]}),
    "everything is seen": ("packed self causal", lambda module, given: {**given, "attn_mask": None}),
    "padding is seen": ("other dims cross padding", lambda module, given: {**given, "key_padding_mask": None}),
    "a mask has the other meaning": ("separate shared mask weights", lambda module, given: {
        **given, "attn_mask": ~given["attn_mask"]}),
    "a bias has the other sign": ("packed self biases", lambda module, given: {**given, "attn_mask": -given["attn_mask"]}),
}


def hooked(name, change):
    def tamper(module, given):
        module.get_parameter(name).register_hook(change)

    return tamper


# These are wrong in the gradients alone.
WRONG_GRADIENTS = {
    "keys have no part in x": ("packed self", "d_query", lambda module, given: {**given, "key": given["key"].detach()}),
    "values have no part in y": ("separate shared", "d_key", lambda module, given: {
        **given, "value": given["value"].detach()}),
    "z has no gradient by half": ("other dims cross", "d_value", lambda module, given: {
        **given, "value": (given["value"] + given["value"].detach()) / 2}),
    "a part of what is packed is another's": ("packed cross", "d_W_qkv", hooked(
        "in_proj_weight", lambda gradient: gradient.roll(DIM, 0))),
    "a matrix is turned over": ("separate plain shared", "d_W_o", hooked("out_proj.weight", lambda gradient: gradient.T)),
    "one batch alone reaches a bias": ("packed self", "d_b_o", hooked("out_proj.bias", lambda gradient: gradient / 2)),
    "a bias is not summed over heads": ("packed self bias", "d_bias", lambda module, given: {
        **given, "attn_mask": straight_half(given["attn_mask"])}),
}


def straight_half(bias):
    return bias / HEADS + (bias - bias / HEADS).detach()


class MultiheadComparison(unittest.TestCase):
    """A wrong layer is told from a right one."""

    def compare(self, given, dtype, tamper):
        return set(too_far(Layer(given, dtype).off(tamper)))

    def test_sees_what_is_wrong_in_the_output(self):
        for name, (given, tamper) in WRONG_OUTPUTS.items():
            for dtype in EPSILON:
                with self.subTest(name, dtype=dtype):
                    self.assertEqual(self.compare(given, dtype, None), set())
                    self.assertIn("output", self.compare(given, dtype, tamper))

    def test_sees_what_is_wrong_in_gradients_alone(self):
        for name, (given, gradient, tamper) in WRONG_GRADIENTS.items():
            for dtype in EPSILON:
                with self.subTest(name, dtype=dtype):
                    seen = self.compare(given, dtype, tamper)
                    self.assertLessEqual({gradient, f"{gradient}, computed again"}, seen)
                    self.assertNotIn("output", seen)
