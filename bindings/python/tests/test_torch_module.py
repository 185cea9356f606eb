# SPDX-License-Identifier: BSD-3-Clause
"""test_torch_module.py: mechanisms as modules, whose parameters torch trains and changes; keys that are projected once.
Needs PyTorch."""

import unittest

from torch_support import THEIRS, attn, close, torch


class Modules(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(2)

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

    def test_parameters_may_be_computed_or_replaced(self):
        from torch.nn.utils import parametrizations, parametrize, prune, weight_norm

        class Twice(torch.nn.Module):
            def forward(self, W):
                return 2 * W

        query, key = torch.randn(2, 1, 3, 4), torch.randn(2, 1, 5, 6)
        make = lambda: attn.torch.Attention("additive", query_dim=4, key_dim=6, hidden_dim=8, flags=["bias", "normalised"])
        changes = {"weight_norm": lambda layer: weight_norm(layer, "W"), "prune": lambda layer: prune.l1_unstructured(
            layer, "U", 0.5), "parametrize": lambda layer: parametrize.register_parametrization(layer, "W", Twice()),
                   "spectral_norm": lambda layer: parametrizations.spectral_norm(layer, "U"),
                   "prune of b": lambda layer: prune.random_unstructured(layer, "b", 0.5)}
        for name, change in changes.items():
            with self.subTest(name):
                layer = make()
                change(layer)
                layer.eval()
                context = layer(query, key)
                params = {name: getattr(layer, name).detach() for name in "WUvbg"}
                self.assertTrue(close(context, attn.torch.attention(query, key, score="additive", params=params)))
                context.sum().backward()
                for own, tensor in layer.named_parameters():
                    self.assertIsNotNone(tensor.grad, own)
                layer.reset_parameters()

    def test_functional_call(self):
        layer = attn.torch.Attention("general", query_dim=4, key_dim=6)
        query, key, W = torch.randn(2, 1, 3, 4), torch.randn(2, 1, 5, 6), torch.randn(4, 6, requires_grad=True)
        context = torch.func.functional_call(layer, {"W": W}, (query, key))
        self.assertTrue(close(context, attn.torch.attention(query, key, score="general", params={"W": W.detach()})))
        context.sum().backward()
        self.assertIsNotNone(W.grad)
        self.assertIsNone(layer.W.grad)


class Projected(unittest.TestCase):
    """Queries and keys that are multiplied by a matrix are so once a call, and keys, if wanted, once for many."""

    SCORES = {"general": {}, "concat": {"hidden_dim": 8}, "additive": {"hidden_dim": 8, "flags": ["bias", "normalised"]},
              "additive that is local": {"hidden_dim": 8, "local": ("predictive", 2, 4, 6)},
              "general that is local": {"local": ("predictive", 2, 4, 6)},
              "concat that is local": {"hidden_dim": 8, "local": ("predictive", 2, 4, 6)}}

    def setUp(self):
        torch.manual_seed(8)

    def layer(self, score):
        layer = attn.torch.Attention(score.split()[0], query_dim=4, key_dim=6, dtype=torch.float64, **self.SCORES[score])
        with torch.no_grad():
            for tensor in layer.parameters():
                tensor.normal_()
        return layer

    def draw(self, queries=3, keys=5):
        return [torch.randn(2, heads, length, dim, dtype=torch.float64, requires_grad=True)
                for heads, length, dim in ((4, queries, 4), (2, keys, 6), (2, keys, 7))]

    def outputs(self, layer, *given, **more):
        return layer(*given, return_weights=True, return_logsumexp=True, **more)[:3]

    def test_with_gradients_or_without_the_numbers_are_the_same(self):
        """Without, the library makes the products; its own gradients of the whole are the witness of torch's."""
        for score in self.SCORES:
            for lengths in ((3, 5), (9, 2)):
                layer, given = self.layer(score), self.draw(*lengths)
                with self.subTest(score, lengths=lengths):
                    with torch.no_grad():
                        want = self.outputs(layer, *given)
                    got = self.outputs(layer, *given)
                    for mine, theirs in zip(got, want):
                        self.assertTrue(torch.allclose(mine, theirs, rtol=1e-9, atol=1e-9))
                    sum(made.square().sum() for made in got).backward()
                    params = {name: tensor.detach() for name, tensor in layer.named_parameters()}
                    query, key, value = (tensor.detach() for tensor in given)
                    rule = {"params": params, **layer.rule}
                    flow = dict(zip(("d_weights", "d_logsumexp"), (2 * made for made in (want[1], want[2]))))
                    gradients = attn.attention_grad(2 * want[0], query, key, value, **flow, **rule)
                    for tensor, gradient in zip((*given, *layer.parameters()), (gradients.query, gradients.key,
                                                                               gradients.value, *gradients.params.values())):
                        self.assertTrue(torch.allclose(tensor.grad, gradient, rtol=1e-7, atol=1e-9))

    def test_keys_are_not_multiplied_again_on_the_way_back(self):
        from torch.utils.flop_counter import FlopCounterMode

        query, key = torch.randn(2, 1, 1, 4, requires_grad=True), torch.randn(2, 1, 5, 6)
        layer = attn.torch.Attention("additive", query_dim=4, key_dim=6, hidden_dim=8)
        with FlopCounterMode(display=False) as counter:
            layer(query, key).sum().backward()
        forward = 2 * 8 * (2 * 4 + 10 * 6)
        self.assertEqual(counter.get_total_flops(), forward + 2 * 2 * 8 * 2 * 4 + 2 * 8 * 10 * 6)

    def test_keys_are_projected_once_for_many_queries(self):
        for score in self.SCORES:
            layer, (query, key, value) = self.layer(score), self.draw()
            with self.subTest(score):
                results = []
                for once in (True, False):
                    keys = layer.project_keys(key) if once else key
                    steps = [layer(query[:, :, i:i + 1], keys, value, key_projected=once) for i in range(3)]
                    loss = torch.cat(steps, 2).square().sum()
                    results.append((loss, *torch.autograd.grad(loss, (query, key, value, *layer.parameters()))))
                for once, every in zip(*results):
                    self.assertTrue(torch.allclose(once, every, rtol=1e-9, atol=1e-9))
                with torch.no_grad():
                    self.assertTrue(torch.allclose(layer(query, layer.project_keys(key), value, key_projected=True),
                                                   layer(query, key, value), rtol=1e-9, atol=1e-9))
                with self.assertRaisesRegex(TypeError, "value is None"):
                    layer(query, layer.project_keys(key), key_projected=True)

    def test_scores_without_a_matrix_for_keys_take_them_as_they_are(self):
        for score, given in (("scaled_dot", {}), ("location", {"query_dim": 4, "max_keys": 6})):
            layer, key = attn.torch.Attention(score, **given), torch.randn(5, 4)
            self.assertIs(layer.project_keys(key), key)
            query = torch.randn(3, 4)
            self.assertTrue(close(layer(query, key, key, key_projected=True), layer(query, key)))

    def test_what_does_not_fit_is_refused_in_the_librarys_words(self):
        query, key = torch.randn(3, 4, requires_grad=True), torch.randn(5, 6)
        W, U, v = torch.randn(8, 4), torch.randn(8, 6), torch.randn(8)
        for params in ({"W": W, "U": U[:, :5], "v": v}, {"W": W[:, :3], "U": U, "v": v}, {"W": W.double(), "U": U, "v": v}):
            with self.assertRaises((attn.Error, ValueError, TypeError)) as refused:
                attn.torch.attention(query, key, score="additive", params=params)
            self.assertNotIsInstance(refused.exception, RuntimeError if not isinstance(refused.exception, attn.Error) else ())

    def test_autocast_does_not_reach_the_products(self):
        query, key = torch.randn(3, 4, requires_grad=True), torch.randn(5, 6)
        layer = attn.torch.Attention("general", query_dim=4, key_dim=6)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            context = layer(query, key)
        self.assertTrue(torch.equal(context, layer(query, key)))


if __name__ == "__main__":
    unittest.main()
