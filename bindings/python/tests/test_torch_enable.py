# SPDX-License-Identifier: BSD-3-Clause
"""test_torch_enable.py: what enable() leaves to torch, and how it gets on with whatever else changes torch. Needs
PyTorch."""

import unittest

from torch_support import F, THEIRS, attn, close, order, torch


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
        self.left("other types", *self.three(torch.Tensor.double))
        self.left("other types", *self.three(torch.Tensor.double), attn_mask=torch.randn(5, 5, dtype=torch.float64))
        self.left("several types", *self.three(torch.Tensor.bfloat16), attn_mask=torch.randn(5, 5))

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

    def test_scales_that_are_no_numbers_of_float32(self):
        for scale in (float("inf"), float("-inf"), float("nan"), 1e39, torch.tensor(0.5)):
            want = THEIRS(*self.three(), scale=scale)
            with self.subTest(scale=scale), attn.torch.enable() as enabled:
                got = F.scaled_dot_product_attention(*self.three(), scale=scale)
                self.assertEqual((enabled.taken, dict(enabled.left)), (0, {"scale": 1}))
                self.assertTrue(torch.equal(got.isnan(), want.isnan()) and torch.equal(got.nan_to_num(), want.nan_to_num()))

    def test_while_flash_attention_is_off(self):
        torch.backends.cuda.enable_flash_sdp(False)
        try:
            self.left("flash attention is off", *self.three())
        finally:
            torch.backends.cuda.enable_flash_sdp(True)

    def test_calls_reach_a_torch_without_grouped_heads(self):
        """2.4 has no enable_gqa."""
        old = lambda query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None: THEIRS(
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale)
        F.scaled_dot_product_attention = old
        try:
            self.left("other types", *self.three(torch.Tensor.double))
            with attn.torch.enable(), self.assertRaisesRegex(TypeError, "enable_gqa"):
                F.scaled_dot_product_attention(*self.three(torch.Tensor.double), enable_gqa=True)
        finally:
            F.scaled_dot_product_attention = THEIRS


class Masks(unittest.TestCase):
    def test_of_every_shape_that_torch_takes(self):
        torch.manual_seed(4)
        for dimensions in (2, 3, 4):
            query = torch.randn(2, 3, 5, 8)[(0,) * (4 - dimensions)]
            for shape in ((), (1,), (5,), (1, 1), (1, 5), (5, 1), (5, 5), (3, 1, 5), (1, 5, 5), (2, 1, 1, 5), (2, 3, 5, 5)):
                if len(shape) > dimensions or dimensions == 4 and len(shape) < 2:
                    continue  # torch refuses these
                for mask in (torch.randn(shape), torch.rand(shape) < 2):
                    with self.subTest(dimensions=dimensions, shape=shape, dtype=mask.dtype):
                        want = THEIRS(query, query, query, mask)
                        with attn.torch.enable() as enabled:
                            got = F.scaled_dot_product_attention(query, query, query, mask)
                        self.assertEqual(enabled.taken, 1)
                        self.assertTrue(close(got, want))


class Neighbours(unittest.TestCase):
    """enable() beside others who change torch, and beside itself."""

    def setUp(self):
        torch.manual_seed(4)
        self.x = torch.randn(2, 3, 5, 8)

    def tearDown(self):
        attn.torch.disable()
        F.scaled_dot_product_attention = THEIRS

    def run_once(self, **given):
        return F.scaled_dot_product_attention(self.x, self.x, self.x, **given)

    def test_everything_is_put_back(self):
        names = ((F, "scaled_dot_product_attention"), (torch, "_transformer_encoder_layer_fwd"),
                 (torch, "_native_multi_head_attention"))
        before = [getattr(*name) for name in names]
        fast = torch.backends.mha.get_fastpath_enabled()
        put_back = lambda: self.assertEqual([getattr(*name) for name in names], before)
        with attn.torch.enable() as outer:
            with attn.torch.enable() as inner:
                self.run_once()
            self.run_once()
            self.assertEqual((outer.taken, inner.taken), (1, 1))
            self.assertEqual(torch.backends.mha.get_fastpath_enabled(), fast)
        put_back()
        attn.torch.enable()
        attn.torch.enable()
        attn.torch.disable()
        attn.torch.disable()
        put_back()
        with self.assertRaises(ZeroDivisionError), attn.torch.enable():
            raise ZeroDivisionError
        put_back()

    def test_it_can_be_entered_again(self):
        enabled = attn.torch.enable()
        self.run_once()
        for count in (2, 3):
            with enabled:
                self.run_once()
            self.run_once()
            self.assertEqual(enabled.taken, count)
        with enabled:
            with enabled:
                self.run_once()
            self.run_once()
        self.run_once()
        self.assertEqual(enabled.taken, 5)
        with enabled:
            attn.torch.disable()
            self.run_once()
        self.assertEqual(enabled.taken, 5)
        self.assertIs(F.scaled_dot_product_attention, THEIRS)

    def test_a_default_device_changes_nothing(self):
        for device in ("cpu", "meta"):
            with self.subTest(device):
                with torch.device(device), attn.torch.enable(dropout=True) as enabled:
                    self.run_once()
                    self.run_once(dropout_p=0.5)
                self.assertEqual((enabled.taken, dict(enabled.left)), (2, {}))
        torch.set_default_device("cpu")
        try:
            with attn.torch.enable() as enabled:
                self.run_once()
        finally:
            torch.set_default_device(None)
        self.assertEqual(enabled.taken, 1)

    def test_what_somebody_else_had_put_there_gets_what_is_left_and_stays(self):
        calls = []

        def theirs(*given, **named):
            calls.append(named)
            return THEIRS(*given, **named)

        F.scaled_dot_product_attention = theirs
        with attn.torch.enable():
            self.run_once()
            self.assertEqual(len(calls), 0)
            self.run_once(dropout_p=0.5)
            self.assertEqual(len(calls), 1)
        self.assertIs(F.scaled_dot_product_attention, theirs)

    def test_what_somebody_else_puts_there_afterwards_stays(self):
        calls, first = [], attn.torch.enable()
        below = F.scaled_dot_product_attention

        def theirs(*given, **named):
            calls.append(named)
            return below(*given, **named)

        F.scaled_dot_product_attention = theirs
        self.run_once()
        self.assertEqual((len(calls), first.taken), (1, 1))
        attn.torch.disable()
        self.assertIs(F.scaled_dot_product_attention, theirs)
        self.assertTrue(torch.equal(self.run_once(), THEIRS(self.x, self.x, self.x)))
        with attn.torch.enable() as second:
            self.run_once()
            self.run_once(dropout_p=0.5)
        self.assertEqual((len(calls), first.taken, second.taken, dict(second.left)), (3, 1, 1, {"dropout": 1}))
        self.assertIs(F.scaled_dot_product_attention, theirs)


class Compiled(unittest.TestCase):
    """What is compiled, scripted or exported has torch's operation, whole."""

    def setUp(self):
        torch.manual_seed(4)
        self.x = torch.randn(2, 3, 5, 8)
        self.want = THEIRS(self.x, self.x, self.x, is_causal=True)

    @staticmethod
    def function(x: torch.Tensor):
        return F.scaled_dot_product_attention(x, x, x, is_causal=True)

    def test_compile(self):
        graphs = []

        def backend(graph, _):
            graphs.append([node.target for node in graph.graph.nodes if node.op == "call_function"])
            return graph

        torch.compiler.reset()
        for compiled in (torch.compile(self.function, backend=backend, fullgraph=True),
                         torch.compile(self.function, backend="aot_eager", fullgraph=True)):
            with attn.torch.enable() as enabled:
                got = compiled(self.x)
            self.assertEqual((enabled.taken, dict(enabled.left)), (0, {}))
            self.assertTrue(torch.equal(got, self.want) and torch.equal(compiled(self.x), self.want))
        self.assertEqual({target for graph in graphs for target in graph}, {THEIRS})

    def test_compiled_layers(self):
        torch.compiler.reset()
        x, alone = torch.randn(2, 300, 32), {"need_weights": False}
        for model, given, more in ((torch.nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), (x,), {}),
                                   (torch.nn.MultiheadAttention(32, 4, batch_first=True), (x, x, x), alone)):
            for train in (False, True):
                model.requires_grad_(train).eval()
                compiled = torch.compile(model, backend="aot_eager")
                with self.subTest(type(model).__name__, train=train):
                    with attn.torch.enable() as enabled:
                        got = compiled(*given, **more)
                    self.assertEqual(enabled.taken, 0)
                    want = model(*given, **more)
                    self.assertTrue(close(*(made[0] if isinstance(made, tuple) else made for made in (got, want))))

    def test_script(self):
        with attn.torch.enable() as enabled:
            scripted = torch.jit.script(self.function)
            layer = torch.jit.script(torch.nn.TransformerEncoderLayer(32, 4, 64, batch_first=True).eval())
            self.assertTrue(torch.equal(scripted(self.x), self.want))
            layer(torch.randn(2, 300, 32))
        self.assertEqual((enabled.taken, dict(enabled.left)), (0, {}))
        self.assertIn("aten::scaled_dot_product_attention", str(scripted.graph))

    def test_export(self):
        class Model(torch.nn.Module):
            def forward(self, x):
                return F.scaled_dot_product_attention(x, x, x, is_causal=True)

        for strict in (True, False):
            with self.subTest(strict=strict), attn.torch.enable() as enabled:
                program = torch.export.export(Model(), (self.x,), strict=strict)
                self.assertEqual(enabled.taken, 0)
                self.assertIn(torch.ops.aten.scaled_dot_product_attention.default,
                              [node.target for node in program.graph.nodes])

    def test_make_fx(self):
        from torch.fx.experimental.proxy_tensor import make_fx

        with attn.torch.enable() as enabled:
            graph = make_fx(self.function)(self.x)
        self.assertEqual(enabled.taken, 0)
        other = torch.randn(2, 3, 5, 8)
        self.assertTrue(close(graph(other), THEIRS(other, other, other, is_causal=True)))


if __name__ == "__main__":
    unittest.main()
