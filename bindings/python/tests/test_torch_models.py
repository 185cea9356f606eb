# SPDX-License-Identifier: BSD-3-Clause
"""test_torch_models.py: models that run with libattn in the place of torch's attention. Needs PyTorch."""

import unittest

from torch_support import F, attn, close, torch


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


class Inference(unittest.TestCase):
    """torch.nn's layers have a fast path in inference, which is left to them where it is faster."""

    def setUp(self):
        torch.manual_seed(3)

    def compare(self, model, counts, *given, **more):
        """The results of torch and of ours, with what was taken and left."""
        with torch.no_grad():
            want = model.eval()(*given, **more)
            with attn.torch.enable() as enabled:
                got = model(*given, **more)
        self.assertEqual((enabled.taken, dict(enabled.left)), counts)
        pairs = zip(got, want) if isinstance(got, tuple) else ((got, want),)
        for mine, theirs in pairs:
            if theirs is not None:
                self.assertTrue(close(mine, theirs))
                self.assertTrue(counts[0] or torch.equal(mine, theirs))

    def encoder(self, **given):
        layer = torch.nn.TransformerEncoderLayer(96, 4, 64, batch_first=True, **given)
        nested = not given.get("norm_first")
        model = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=nested)
        for tensor in model.parameters():
            tensor.data += 0.1 * torch.randn_like(tensor)
        return model

    def test_short_sequences_are_left(self):
        for length, batch in ((1, 2), (32, 2), (128, 20), (255, 10), (256, 2)):
            self.compare(self.encoder(), (0, {"torch's fast path is faster": 2}), torch.randn(batch, length, 96))
        self.compare(self.encoder(), (2, {}), torch.randn(3, 256, 96))

    def test_padding_that_torch_leaves_out_is_left(self):
        for length in (32, 128, 512):
            padding = torch.arange(length) >= torch.tensor([[length], [length // 2]])
            self.compare(self.encoder(), (0, {"nested or sparse": 2}), torch.randn(2, length, 96),
                         src_key_padding_mask=padding)

    def test_long_sequences_are_taken(self):
        x, causal = torch.randn(2, 300, 96), torch.nn.Transformer.generate_square_subsequent_mask(300)
        hidden = torch.rand(8, 300, 300) < 0.3
        padding = torch.arange(300) >= torch.tensor([[300], [250]])
        for given in ({}, {"norm_first": True}, {"activation": "gelu"}):
            for masks in ({}, {"mask": causal, "is_causal": True}, {"mask": hidden},
                          {"mask": hidden, "src_key_padding_mask": padding}):
                with self.subTest(**given, masks=masks.keys()):
                    self.compare(self.encoder(**given), (2, {}), x, **masks)

    def test_a_bias_in_the_place_of_a_mask_is_one(self):
        """torch's own fast path takes every number that is not 0 for a hidden key."""
        model, x, bias = self.encoder().eval(), torch.randn(2, 300, 96), torch.randn(300, 300)
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            want = model(x, mask=bias).detach()
        finally:
            torch.backends.mha.set_fastpath_enabled(True)
        with torch.no_grad(), attn.torch.enable() as enabled:
            got = model(x, mask=bias)
        self.assertEqual(enabled.taken, 2)
        self.assertTrue(close(got, want))

    def test_multihead_attention(self):
        model = torch.nn.MultiheadAttention(96, 4, batch_first=True)
        long, short = torch.randn(2, 300, 96), torch.randn(2, 100, 96)
        padding = torch.arange(300) >= torch.tensor([[300], [250]])
        self.compare(model, (1, {}), long, long, long, need_weights=False)
        self.compare(model, (1, {}), long, long, long, need_weights=False, key_padding_mask=padding)
        self.compare(model, (0, {"weights are wanted": 1}), long, long, long)
        self.compare(model, (0, {"torch's fast path is faster": 1}), short, short, short, need_weights=False)

    def test_a_fast_path_that_is_off_stays_off(self):
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            self.compare(self.encoder(), (2, {}), torch.randn(2, 20, 96))
            self.assertFalse(torch.backends.mha.get_fastpath_enabled())
        finally:
            torch.backends.mha.set_fastpath_enabled(True)

    def test_nested_sequences(self):
        model = torch.nn.MultiheadAttention(96, 4, batch_first=True).eval()
        nested = torch.nested.nested_tensor([torch.randn(300, 96), torch.randn(280, 96)])
        with torch.no_grad(), attn.torch.enable() as enabled:
            made = model(nested, nested, nested, need_weights=False)[0]
        self.assertTrue(made.is_nested)
        self.assertEqual(dict(enabled.left), {"nested or sparse": 1})


if __name__ == "__main__":
    unittest.main()
