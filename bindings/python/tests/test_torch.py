# SPDX-License-Identifier: BSD-3-Clause
"""test_torch.py: tensors as they lie; every mechanism as a function that autograd goes back through; models that run
with libattn in the place of torch's attention, and what is left to torch. Needs PyTorch; skipped without it."""

import sys
import unittest
from pathlib import Path

try:
    import numpy as np
    import torch
    import torch.nn.functional as F
except ImportError as missing:
    raise unittest.SkipTest(f"{missing.name} is missing") from None

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import attn
import attn.torch
from attn import _tensors

torch.set_num_threads(1)
THEIRS = F.scaled_dot_product_attention
EPSILON = 2.0**-23


def close(got, want, units=64):
    """Within so many roundings of float32 of the largest number there is."""
    return (got - want).abs().max() <= units * EPSILON * (1 + want.abs().max())


class Tensors(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(1)
        self.query, self.key, self.value = (torch.randn(2, 3, length, 8) for length in (5, 7, 7))

    def test_are_looked_at_where_they_lie(self):
        for tensor in (self.query, self.query.transpose(1, 2), self.query[:, 1:, ::2, 3:], self.query.expand(2, 3, 5, 8),
                       self.query[:1].expand(2, 3, 5, 8), self.query.double(), torch.ones(2, 3, dtype=torch.bool),
                       torch.arange(4)):
            name = {torch.bool: "mask", torch.int64: "key_lengths"}.get(tensor.dtype, "query")
            array = _tensors.array_of(tensor, name)
            self.assertEqual(array.__array_interface__["data"][0], tensor.data_ptr())
            view = _tensors.view(array, name)
            self.assertEqual((view.data, tuple(view.stride[:view.ndim]), tuple(view.shape[:view.ndim])),
                             (tensor.data_ptr(), tensor.stride(), tuple(tensor.shape)))

    def test_give_tensors(self):
        mask = torch.rand(5, 7) < 0.7
        got = attn.attention(self.query, self.key, self.value, mask=mask, return_weights=True)
        self.assertIsInstance(got.context, torch.Tensor)
        self.assertTrue(close(got.context, THEIRS(self.query, self.key, self.value, mask)))
        self.assertTrue(close(got.weights.sum(-1), torch.ones(2, 3, 5)))
        gradients = attn.attention_grad(got.context, self.query, self.key, self.value, mask=mask)
        self.assertIsInstance(gradients.key, torch.Tensor)

    def test_are_written_where_they_lie(self):
        out = torch.zeros(2, 5, 3, 8).transpose(1, 2)
        self.assertIs(attn.attention(self.query.transpose(2, 3).contiguous().transpose(2, 3), self.key, self.value, out=out),
                      out)
        self.assertTrue(close(out, THEIRS(self.query, self.key, self.value)))

    def test_of_other_types_are_refused(self):
        for kind in (torch.float16, torch.bfloat16, torch.int32, torch.complex64):
            with self.subTest(kind), self.assertRaises(TypeError):
                attn.attention(self.query.to(kind), self.key.to(kind), self.value.to(kind))
            with self.subTest(kind, torch=True), self.assertRaises(TypeError):
                attn.torch.attention(self.query.to(kind), self.key.to(kind), self.value.to(kind))
        with self.assertRaises(TypeError):  # who trains wants attn.torch
            attn.attention(self.query.requires_grad_(), self.key, self.value)
        with self.assertRaises(TypeError):
            attn.torch.attention(self.query.numpy(force=True), self.key, self.value)
        with self.assertRaises(TypeError):
            attn.torch.attention(*(torch.empty(2, 3, device="meta") for _ in range(3)))


class Functions(unittest.TestCase):
    """By finite differences, which torch.autograd.gradcheck takes."""

    def setUp(self):
        torch.manual_seed(2)

    def check(self, params, score, **rule):
        draw = lambda *shape: torch.randn(*shape, dtype=torch.float64, requires_grad=True)
        x = {"query": draw(2, 4, 3, 5), "key": draw(2, 2, 6, 5), "value": draw(2, 2, 6, 3)}
        shapes = {"W": (4, 5), "U": (4, 5), "v": (4,), "b": (4,), "g": (1,), "W_p": (4, 5), "v_p": (4,),
                  "bias": (4, 1, 6), "alibi": (4,), "relative": (4, 5)}
        shapes.update({"general": {"W": (5, 5)}, "concat": {"W": (4, 10)}, "location": {"W": (8, 5)}}.get(score, {}))
        tensors = {**x, **{name: draw(*shapes[name]) for name in params}}

        def run(*values):
            given = dict(zip(tensors, values))
            own = {name: given.pop(name) for name in list(given) if name not in ("query", "key", "value", "bias", "alibi",
                                                                                  "relative")}
            if "relative" in given:
                given["relative"] = (given["relative"], "clipped", 2)
            result = attn.torch.attention(**given, score=score, params=own, return_weights=True, return_logsumexp=True,
                                          **rule)
            return result.context, result.weights, result.logsumexp

        with self.subTest(score, params=params, **rule):
            self.assertTrue(torch.autograd.gradcheck(run, tuple(tensors.values()), atol=1e-6))

    def test_every_score_can_be_trained(self):
        for score, params in (("dot", ()), ("scaled_dot", ()), ("general", ("W",)), ("concat", ("W", "v")),
                              ("location", ("W",)), ("additive", ("W", "U", "v")),
                              ("additive", ("W", "U", "v", "b", "g"))):
            self.check(params, score)

    def test_every_modifier_can_be_gone_back_through(self):
        mask = torch.rand(3, 6) < 0.7
        mask[:, 0] = True
        for params, rule in (((), {"softcap": 1.5, "temperature": 0.7, "scale": 0.4}), (("bias",), {"mask": mask}),
                             (("alibi",), {"causal": "bottom_right", "window": (2, 0)}),
                             (("relative",), {"causal": "bottom_right"}), ((), {"key_lengths": torch.tensor([4, 6])}),
                             ((), {"dropout": 0.3, "seed": 4})):
            self.check(params, "scaled_dot", **rule)
        self.check(("W_p", "v_p"), "dot", local=("predictive", 2))

    def test_decomposable_attention_can_be_gone_back_through(self):
        draw = lambda *shape: torch.randn(*shape, dtype=torch.float64, requires_grad=True)
        f, g, a, b = draw(2, 3, 5, 4), draw(2, 3, 6, 4), draw(2, 3, 5, 2), draw(2, 3, 6, 7)
        lengths = {"a_lengths": torch.tensor([5, 2]), "b_lengths": [4, 6]}
        for values, given in (((), {}), ((a, b), {}), ((a, b), lengths)):
            with self.subTest(values=len(values), **given):
                run = lambda *x: attn.torch.decomposable(*x, **given)[:2]
                self.assertTrue(torch.autograd.gradcheck(run, (f, g, *values), atol=1e-6))
        attn.torch.decomposable(f.detach(), g, b=b).beta.sum().backward()
        self.assertTrue(f.grad is None and a.grad is None and g.grad is not None and b.grad is not None)

    def test_the_attentional_step_can_be_gone_back_through(self):
        draw = lambda *shape: torch.randn(*shape, dtype=torch.float64, requires_grad=True)
        x = draw(5, 7), draw(2, 3, 4), draw(2, 3, 3), draw(5)
        for given in (x, x[:3]):
            self.assertTrue(torch.autograd.gradcheck(attn.torch.attentional, given, atol=1e-6))
        want = torch.tanh(torch.cat((x[1], x[2]), -1) @ x[0].T + x[3])
        self.assertTrue(torch.allclose(attn.torch.attentional(*x), want))

    def test_only_what_needs_a_gradient_gets_one(self):
        query, key = torch.randn(3, 4, requires_grad=True), torch.randn(5, 4)
        attn.torch.attention(query, key).sum().backward()
        self.assertIsNone(key.grad)
        context = attn.torch.attention(query, key, return_scores="raw", return_weights=True)
        self.assertFalse(context.scores.requires_grad)
        self.assertTrue(context.weights.requires_grad)
        with torch.no_grad():
            self.assertFalse(attn.torch.attention(query, key).requires_grad)

    def test_what_was_changed_meanwhile_is_noticed(self):
        query, key = torch.randn(3, 4, requires_grad=True), torch.randn(5, 4)
        context = attn.torch.attention(query, key)
        key.mul_(2)
        with self.assertRaisesRegex(RuntimeError, "modified by an inplace operation"):
            context.sum().backward()

    def test_dropout_follows_torchs_seed(self):
        query, key = torch.randn(40, 4), torch.randn(50, 4)
        draws = []
        for seed in (1, 1, 2):
            torch.manual_seed(seed)
            draws.append(attn.torch.attention(query, key, dropout=0.5))
        self.assertTrue(torch.equal(draws[0], draws[1]))
        self.assertFalse(torch.equal(draws[0], draws[2]))

    def test_a_module_learns(self):
        """Bahdanau's score finds out which key has the query's sign."""
        layer = attn.torch.Attention("additive", query_dim=1, key_dim=2, hidden_dim=8, flags=["bias"])
        self.assertEqual([name for name, _ in layer.named_parameters()], ["W", "U", "v", "b"])
        optimiser, loss = torch.optim.Adam(layer.parameters(), 0.05), None
        value = torch.tensor([[1.0], [0.0]])
        key = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
        for _ in range(150):
            query = torch.randn(16, 1).sign()
            loss = (attn.torch.Attention.forward(layer, query, key, value) - (query > 0).float()).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        self.assertLess(loss.item(), 0.01)
        self.assertTrue(repr(layer).startswith("Attention(score='additive'"))


class Block(torch.nn.Module):
    """One of a GPT: its attention is written out, as in many of them."""

    def __init__(self, dim, heads):
        super().__init__()
        self.heads, self.qkv, self.out = heads, torch.nn.Linear(dim, 3 * dim), torch.nn.Linear(dim, dim)
        self.first, self.second = torch.nn.LayerNorm(dim), torch.nn.LayerNorm(dim)
        self.feed = torch.nn.Sequential(torch.nn.Linear(dim, 4 * dim), torch.nn.GELU(), torch.nn.Linear(4 * dim, dim))

    def forward(self, x):
        cut = lambda part: part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        query, key, value = map(cut, self.qkv(self.first(x)).chunk(3, -1))
        seen = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.out(seen.transpose(1, 2).flatten(2))
        return x + self.feed(self.second(x))


class GPT(torch.nn.Module):
    def __init__(self, words=50, length=80, dim=48, heads=4, layers=3):
        super().__init__()
        self.words, self.places = torch.nn.Embedding(words, dim), torch.nn.Embedding(length, dim)
        self.blocks = torch.nn.Sequential(*(Block(dim, heads) for _ in range(layers)))
        self.norm, self.head = torch.nn.LayerNorm(dim), torch.nn.Linear(dim, words)

    def forward(self, tokens):
        return self.head(self.norm(self.blocks(self.words(tokens) + self.places(torch.arange(tokens.shape[1])))))


class Models(unittest.TestCase):
    """Unchanged models, with torch's attention and with ours: the same numbers and gradients, but for roundings, which
    grow a little on their way through a few layers."""

    def setUp(self):
        torch.manual_seed(3)

    def compare(self, model, run, calls, train=True):
        model.train(train)

        def results():
            model.zero_grad()
            output = run(model)
            output.square().mean().backward()
            return output.detach(), {name: parameter.grad for name, parameter in model.named_parameters()}

        output, gradients = results()
        with attn.torch.enable() as enabled:
            ours, made = results()
        self.assertEqual((enabled.taken, dict(enabled.left)), (calls, {}))
        self.assertTrue(close(ours, output))
        self.assertFalse(torch.equal(ours, output) and calls > 1, "were these really two attentions?")
        for name, gradient in gradients.items():
            self.assertTrue(close(made[name], gradient), name)

    def test_transformer_encoder(self):
        layer = torch.nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
        model, x = torch.nn.TransformerEncoder(layer, 3), torch.randn(2, 70, 32)
        padding = torch.arange(70) >= torch.tensor([[70], [50]])
        causal = torch.nn.Transformer.generate_square_subsequent_mask(70)
        for given in ({}, {"src_key_padding_mask": padding}, {"mask": causal, "is_causal": True}):
            for train in (True, False):
                with self.subTest(given.keys(), train=train):
                    self.compare(model, lambda model: model(x, **given), 3, train)

    def test_transformer_encoder_without_gradients(self):
        layer = torch.nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)  # dropout rests in eval()
        model, x = torch.nn.TransformerEncoder(layer, 2).eval(), torch.randn(2, 20, 32)
        with torch.no_grad():
            want = model(x)
            with attn.torch.enable() as enabled:
                got = model(x)
        self.assertEqual((enabled.taken, dict(enabled.left)), (2, {}))
        self.assertTrue(close(got, want))

    def test_transformer(self):
        model = torch.nn.Transformer(32, 4, 2, 2, 64, dropout=0.0, batch_first=True)
        source, target = torch.randn(2, 30, 32), torch.randn(2, 20, 32)
        self.compare(model, lambda model: model(source, target), 6)

    def test_multihead_attention(self):
        for given in ({}, {"kdim": 12, "vdim": 20}, {"bias": False}):
            model = torch.nn.MultiheadAttention(32, 4, batch_first=True, **given)
            query = torch.randn(2, 9, 32)
            key, value = torch.randn(2, 11, given.get("kdim", 32)), torch.randn(2, 11, given.get("vdim", 32))
            for masks in ({}, {"attn_mask": torch.rand(9, 11) < 0.3}, {"attn_mask": torch.randn(8, 9, 11)}):
                with self.subTest(given.keys(), masks=masks.keys()):
                    self.compare(model, lambda model: model(query, key, value, need_weights=False, **masks)[0], 1)

    def test_gpt(self):
        tokens = torch.randint(50, (2, 75))
        self.compare(GPT(), lambda model: model(tokens), 3)

    def test_gpt_learns_alike(self):
        losses = []
        for ours in (False, True):
            torch.manual_seed(5)
            model, tokens = GPT(layers=2), torch.randint(50, (2, 40))
            optimiser = torch.optim.SGD(model.parameters(), 0.1)
            if ours:
                attn.torch.enable()
            for _ in range(10):
                loss = F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            attn.torch.disable()
            losses.append(loss.item())
        self.assertAlmostEqual(*losses, delta=1e-4)

    def test_float_bias_is_trained(self):
        given = [torch.randn(2, 4, 9, 8, requires_grad=True) for _ in range(3)] + [torch.randn(4, 9, 9, requires_grad=True)]
        want = torch.autograd.grad(F.scaled_dot_product_attention(*given).square().sum(), given)
        with attn.torch.enable() as enabled:
            got = torch.autograd.grad(F.scaled_dot_product_attention(*given).square().sum(), given)
        self.assertEqual(enabled.taken, 1)
        self.assertTrue(all(map(close, got, want)))

    def test_grouped_heads(self):
        query, key, value = torch.randn(2, 6, 9, 8), torch.randn(2, 2, 9, 8), torch.randn(2, 2, 9, 5)
        want = F.scaled_dot_product_attention(query, key, value, scale=0.3, enable_gqa=True)
        with attn.torch.enable() as enabled:
            got = F.scaled_dot_product_attention(query, key, value, scale=0.3, enable_gqa=True)
        self.assertEqual(enabled.taken, 1)
        self.assertTrue(close(got, want))


class Left(unittest.TestCase):
    """What is left to torch has torch's bits, or torch's refusal."""

    def left(self, why, *tensors, **given):
        torch.manual_seed(6)
        want = THEIRS(*tensors, **given)
        torch.manual_seed(6)
        with attn.torch.enable() as enabled:
            got = F.scaled_dot_product_attention(*tensors, **given)
        self.assertEqual((enabled.taken, dict(enabled.left)), (0, {why: 1}))
        self.assertIs(type(got), type(want))
        self.assertEqual((got.dtype, got.device, got.is_nested), (want.dtype, want.device, want.is_nested))
        if got.device.type == "cpu" and not got.is_nested:
            self.assertTrue(torch.equal(got, want))

    def setUp(self):
        torch.manual_seed(4)
        self.x = torch.randn(2, 3, 5, 8)

    def three(self, change=lambda x: x):
        return [change(self.x)] * 3

    def test_other_types(self):
        for kind in (torch.float64, torch.bfloat16, torch.float16):
            self.left("not float32", *self.three(lambda x: x.to(kind)))
        self.left("not float32", *self.three(torch.Tensor.double), attn_mask=torch.randn(5, 5, dtype=torch.float64))

    def test_other_devices(self):
        self.left("not on the CPU", *self.three(lambda x: x.to("meta")))

    def test_dropout_unless_it_was_asked_for(self):
        self.left("dropout", *self.three(), dropout_p=0.5)
        with attn.torch.enable(dropout=True) as enabled:
            got = F.scaled_dot_product_attention(*self.three(), dropout_p=0.5)
        self.assertEqual((enabled.taken, got.shape), (1, self.x.shape))
        self.assertFalse(close(got, THEIRS(*self.three())))

    def test_nested_tensors(self):
        nested = torch.nested.nested_tensor([torch.randn(3, 4, 8), torch.randn(3, 6, 8)])
        self.left("nested or sparse", nested, nested, nested)
        jagged = torch.nested.nested_tensor([torch.randn(4, 24), torch.randn(6, 24)], layout=torch.jagged)
        jagged = jagged.unflatten(-1, (3, 8)).transpose(1, 2)
        self.left("not plain tensors", jagged, jagged, jagged)

    def test_subclasses(self):
        class Mine(torch.Tensor):
            pass

        self.left("not plain tensors", *self.three(lambda x: x.as_subclass(Mine)))

    def test_shapes(self):
        self.left("shapes", self.x, self.x[:1], self.x[:1])
        self.left("dimensions", *self.three(lambda x: x[None]))
        self.left("empty or lazily negated", self.x[:, :, :0], self.x, self.x)
        self.left("dimensions", self.x[0, 0], self.x, self.x)
        self.left("mask", *self.three(), is_causal=True, attn_mask=torch.rand(5, 5) < 2)

    def test_autocast(self):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            self.left("autocast", *self.three())

    def test_transforms_of_functions(self):
        with attn.torch.enable() as enabled:
            got = torch.vmap(F.scaled_dot_product_attention)(*self.three())
            torch.autograd.forward_ad.enter_dual_level()
            torch.autograd.forward_ad.exit_dual_level()
        self.assertEqual((enabled.taken, dict(enabled.left)), (0, {"function transforms": 1}))
        self.assertTrue(close(got, THEIRS(*self.three())))

    def test_tracing(self):
        with attn.torch.enable() as enabled:
            traced = torch.jit.trace(lambda x: F.scaled_dot_product_attention(x, x, x), self.x, check_trace=False)
        self.assertEqual((enabled.taken, dict(enabled.left)), (0, {"being compiled": 1}))
        self.assertTrue(torch.equal(traced(self.x), THEIRS(*self.three())))

    def test_modes(self):
        from torch.utils.flop_counter import FlopCounterMode

        with FlopCounterMode(display=False):
            self.left("modes of torch", *self.three())

    def test_refusals_are_torchs(self):
        for given in ({"attn_mask": torch.ones(4, 5, dtype=torch.bool)}, {"dropout_p": 2.0}):
            with self.subTest(given.keys()):
                with self.assertRaises(RuntimeError) as want:
                    THEIRS(*self.three(), **given)
                with attn.torch.enable(), self.assertRaises(RuntimeError) as got:
                    F.scaled_dot_product_attention(*self.three(), **given)
                self.assertEqual(str(got.exception), str(want.exception))

    def test_everything_is_put_back(self):
        fast = torch.backends.mha.get_fastpath_enabled()
        with attn.torch.enable() as outer:
            with attn.torch.enable() as inner:
                F.scaled_dot_product_attention(*self.three())
            F.scaled_dot_product_attention(*self.three())
            self.assertEqual((outer.taken, inner.taken), (1, 1))
            self.assertFalse(torch.backends.mha.get_fastpath_enabled())
        self.assertIs(F.scaled_dot_product_attention, THEIRS)
        self.assertEqual(torch.backends.mha.get_fastpath_enabled(), fast)
        attn.torch.enable()
        attn.torch.enable()
        attn.torch.disable()
        attn.torch.disable()
        self.assertIs(F.scaled_dot_product_attention, THEIRS)
        self.assertEqual(torch.backends.mha.get_fastpath_enabled(), fast)
        with self.assertRaises(ZeroDivisionError), attn.torch.enable():
            raise ZeroDivisionError
        self.assertIs(F.scaled_dot_product_attention, THEIRS)


if __name__ == "__main__":
    unittest.main()
