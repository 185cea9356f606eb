# SPDX-License-Identifier: BSD-3-Clause
"""test_torch_precision.py: precision="fast" on tensors: in functions, modules, and by enable(). Needs PyTorch."""

import copy
import io
import unittest

from torch_support import F, attn, torch

from test_precision import NEAR, heard

KIND = torch.bfloat16


class Precision(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(5)
        self.x = [torch.randn(1, 2, length, 64).to(KIND) for length in (64, 256, 256)]
        self.flow = torch.randn(1, 2, 64, 64).to(KIND)

    def near(self, got, want):
        self.assertEqual((got.dtype, got.shape), (want.dtype, want.shape))
        self.assertLessEqual((got.double() - want.double()).abs().max(), NEAR * want.double().abs().max())

    def with_gradients(self, function):
        leaves = [tensor.clone().requires_grad_() for tensor in self.x]
        made = function(*leaves)
        return [made.detach(), *torch.autograd.grad(made, leaves, self.flow)]

    def compare(self, function):
        """function(*x, precision=..): forward, and forward and backward."""
        for mine, exact in zip(self.with_gradients(lambda *x: function(*x, precision="fast")),
                               self.with_gradients(lambda *x: function(*x, precision="exact"))):
            self.near(mine, exact)
        with heard() as words:
            function(*self.x, precision="fast")
            function(*self.x, precision="exact")
            function(*self.x)
        self.assertEqual(words, [1])
        with heard() as words:
            self.with_gradients(lambda *x: function(*x, precision="fast"))
        self.assertIn(1, words)
        with self.assertRaisesRegex(attn.ArgumentError, "precision is 'quick', but it is one of 'exact', 'fast'$"):
            function(*self.x, precision="quick")

    def test_functions(self):
        self.compare(lambda *x, **given: attn.torch.attention(*x, causal="bottom_right", **given))
        params = {"W": torch.eye(64)}
        self.compare(lambda *x, **given: attn.torch.attention(*x, score="general", scale=0.125, params=params, **given))
        x = [tensor.float() for tensor in self.x]
        self.assertTrue(torch.equal(attn.torch.attention(*x, precision="fast"), attn.torch.attention(*x)))

    def test_what_is_enabled(self):
        def by_torch(*x, **given):
            with attn.torch.enable(**given) as enabled:
                made = F.scaled_dot_product_attention(*x, is_causal=True)
            self.assertEqual((enabled.taken, dict(enabled.left)), (1, {}))
            return made

        self.compare(by_torch)
        before = F.scaled_dot_product_attention
        with self.assertRaises(attn.ArgumentError):
            attn.torch.enable(precision="quick")
        self.assertIs(F.scaled_dot_product_attention, before)  # a refusal puts nothing there

    def test_what_is_enabled_within_another(self):
        with attn.torch.enable(precision="fast"), attn.torch.enable():
            with heard() as words:
                F.scaled_dot_product_attention(*self.x)
        self.assertEqual(words, [])
        with attn.torch.enable(), attn.torch.enable(precision="fast"):
            with heard() as words:
                F.scaled_dot_product_attention(*self.x)
        self.assertEqual(words, [1])

    def test_within_autocast(self):
        x = [tensor.float() for tensor in self.x]
        with attn.torch.enable(precision="fast"), torch.autocast("cpu", KIND):
            got = F.scaled_dot_product_attention(*x)
        self.near(got, attn.torch.attention(*self.x))

    def test_layers_by_torchs_fast_path(self):
        layer = torch.nn.TransformerEncoderLayer(64, 4, 64, dropout=0.0, batch_first=True).to(KIND).eval()
        x = torch.randn(1, 2048, 64).to(KIND)
        with torch.inference_mode():
            with attn.torch.enable(precision="fast") as enabled, heard() as words:
                got = layer(x)
            with attn.torch.enable():
                want = layer(x)
        self.assertEqual((enabled.taken, words), (1, [1]))
        self.assertLessEqual((got.double() - want.double()).abs().max(), 2 * NEAR * want.double().abs().max())

    def test_modules_keep_it(self):
        """In what is said of them, in copies and in files, and a call may say otherwise."""
        layer = attn.torch.Attention("general", query_dim=64, key_dim=64, scale=0.125, precision="fast").to(KIND)
        saved = io.BytesIO()
        torch.save(layer, saved)
        saved.seek(0)
        for one in (layer, copy.deepcopy(layer), torch.load(saved, weights_only=False)):
            self.assertIn("precision='fast'", repr(one))
            with torch.no_grad(), heard() as words:
                got = one(*self.x)
                want = one(*self.x, precision="exact")
            self.assertEqual(words, [1])
            self.near(got, want)
            one(*self.x).float().sum().backward()
            self.assertTrue(one.W.grad.any())


if __name__ == "__main__":
    unittest.main()
