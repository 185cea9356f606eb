# SPDX-License-Identifier: BSD-3-Clause
"""test_torch_dtypes.py: tensors of bfloat16 and float16, in functions, modules and unchanged models, and within autocast;
held against float64, and against how far torch's own attention is from that. Needs PyTorch."""

import copy
import functools
import unittest

from torch_support import F, THEIRS, _tensors, attn, np, order, torch

from attn.torch import _tensors as torch_tensors

KINDS = torch.bfloat16, torch.float16


def same_bits(got, want):
    return got.dtype is want.dtype and got.shape == want.shape and torch.equal(got.view(torch.int16), want.view(torch.int16))


def off(got, want):
    """By what part of its size a result is off."""
    return ((got.double() - want).norm() / want.norm()).item()


def with_gradients(function, tensors, flow):
    """What comes out, and the gradients by all of these, for this gradient of what comes out."""
    leaves = [tensor.detach().clone().requires_grad_() for tensor in tensors]
    made = function(*leaves)
    return [made.detach(), *torch.autograd.grad(made, leaves, flow.to(made.dtype))]


def of_each(test):
    """A test of each type."""

    @functools.wraps(test)
    def tests(self):
        for kind in KINDS:
            with self.subTest(kind):
                test(self, kind)

    return tests


class Halves(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(9)

    def draw(self, kind, *shape):
        return torch.randn(shape).to(kind)

    def taken(self, *tensors, **rule):
        with attn.torch.enable() as enabled:
            made = F.scaled_dot_product_attention(*tensors, **rule)
        self.assertEqual((enabled.taken, dict(enabled.left)), (1, {}))
        return made

    def three(self, kind, queries=5, keys=7):
        return [self.draw(kind, 2, 4, queries, 8), self.draw(kind, 2, 2, keys, 8), self.draw(kind, 2, 2, keys, 8)]


class Tensors(Halves):
    @of_each
    def test_are_looked_at_where_they_lie(self, kind):
        x = self.draw(kind, 2, 3, 5, 8)
        for tensor in (x, x.transpose(1, 2), x[:, 1:, ::2, 3:], x[:1].expand(2, 3, 5, 8), x[0, 0, 0], x[:0],
                       x.requires_grad_()):
            array = torch_tensors.array_of(tensor)
            view = _tensors.view(array, "query")
            self.assertEqual((view.data or 0, tuple(view.stride[:view.ndim]), tuple(view.shape[:view.ndim])),
                             (tensor.data_ptr(), tensor.stride(), tuple(tensor.shape)) if tensor.numel() else
                             (view.data or 0, tuple(view.stride[:view.ndim]), tuple(tensor.shape)))
            back = torch_tensors.tensor_of(array)
            self.assertEqual((back.dtype, back.shape), (kind, tensor.shape))
            if tensor.numel():
                self.assertEqual((back.data_ptr(), back.stride()), (tensor.data_ptr(), tensor.stride()))

    @of_each
    def test_arrays_functions_take_them_too(self, kind):
        given = self.three(kind)
        want = attn.torch.attention(*given, return_weights=True)
        got = attn.attention(*given, return_weights=True)
        self.assertTrue(same_bits(got.context, want.context))
        self.assertTrue(got.weights.dtype is torch.float32 and torch.equal(got.weights, want.weights))
        out = self.draw(kind, 2, 5, 4, 8).transpose(1, 2)
        self.assertIs(attn.attention(*given, out=out), out)
        self.assertTrue(same_bits(out, want.context))
        gradients = attn.attention_grad(got.context, *given)
        self.assertTrue(gradients.key.dtype is kind and gradients.key.shape == given[1].shape)

    @of_each
    def test_of_several_types_are_refused(self, kind):
        query, key, value = self.three(kind)
        for given in ((query, key.float(), value), (query, key, value.float()), (query.float(), key, value),
                      (query, key, value.to(torch.float16 if kind is torch.bfloat16 else torch.bfloat16))):
            for function in (attn.torch.attention, attn.attention):
                with self.assertRaisesRegex(attn.DTypeError, r"(key|value) is ATTN_\w+, but query is ATTN_"):
                    function(*given)
        with self.assertRaisesRegex(attn.DTypeError, "bias is ATTN_F32, but query is ATTN_"):
            attn.torch.attention(query, key, value, bias=torch.zeros(5, 7))


class Functions(Halves):
    @of_each
    def test_context_and_gradients_are_nearer_than_torchs(self, kind):
        for shape, rule in (((2, 3, 70, 16), {}), ((2, 3, 70, 16), {"is_causal": True}),
                            ((1, 2, 300, 64), {"is_causal": True}), ((1, 2, 600, 32), {"scale": 0.3})):
            x, flow = [self.draw(kind, *shape) for _ in range(3)], self.draw(kind, *shape)
            want = with_gradients(lambda *x: THEIRS(*x, **rule), [tensor.double() for tensor in x], flow)
            theirs = with_gradients(lambda *x: THEIRS(*x, **rule), x, flow)
            ours = with_gradients(lambda *x: attn.torch.attention(
                *x, causal="top_left" if rule.get("is_causal") else None, scale=rule.get("scale")), x, flow)
            for name, mine, other, exact in zip(("context", "query", "key", "value"), ours, theirs, want):
                with self.subTest(name, shape=shape, **rule):
                    self.assertIs(mine.dtype, kind)
                    self.assertLess(off(mine, exact), off(other, exact))
                    self.assertLess(off(mine, exact), 0.004 if kind is torch.bfloat16 else 0.0005)

    @of_each
    def test_gradients_of_great_scores_are_as_near_as_torchs_formula(self, kind):
        """Nearer than flash attention's, and as those of its formula, which keeps a matrix of float32. Where nearly all of a
        query's weight is one key's, what flows into its score is a difference of great numbers, of which a context that was
        rounded leaves nothing."""
        from torch.nn.attention import SDPBackend, sdpa_kernel

        x, flow = [4 * self.draw(kind, 2, 70, 3, 16).transpose(1, 2) for _ in range(3)], self.draw(kind, 2, 3, 70, 16)
        want = with_gradients(THEIRS, [tensor.double() for tensor in x], flow)
        ours = with_gradients(attn.torch.attention, x, flow)
        for way in (SDPBackend.FLASH_ATTENTION, SDPBackend.MATH):
            with sdpa_kernel(way):
                theirs = with_gradients(THEIRS, x, flow)
            for name, mine, other, exact in zip(("context", "query", "key", "value"), ours, theirs, want):
                with self.subTest(name, way=way):
                    self.assertLess(off(mine, exact), 1.001 * off(other, exact))
                    self.assertLess(off(mine, exact), 0.004 if kind is torch.bfloat16 else 0.0005)

    @of_each
    def test_gradients_are_the_librarys(self, kind):
        x, bias, flow = self.three(kind), self.draw(kind, 4, 1, 7), self.draw(kind, 2, 4, 5, 8)
        got = with_gradients(lambda *x: attn.torch.attention(*x[:3], bias=x[3]), [*x, bias], flow)
        want = attn.attention_grad(flow, *x, bias=bias)
        context = attn.attention(*x, bias=bias, return_logsumexp="exact").context
        for mine, theirs in zip(got, (context, want.query, want.key, want.value, want.bias)):
            self.assertTrue(same_bits(mine, theirs))

    @of_each
    def test_what_stands_beside_is_float32(self, kind):
        for train in (False, True):
            given = [tensor.requires_grad_(train) for tensor in self.three(kind)]
            result = attn.torch.attention(*given, return_weights=True, return_logsumexp=True, return_scores="raw",
                                          return_stats=True)
            self.assertIs(result.context.dtype, kind)
            for made in (result.weights, result.logsumexp, result.scores, result.stats.entropy, result.stats.key_sums):
                self.assertIs(made.dtype, torch.float32)
            if train:
                loss = result.context.float().sum() + result.weights.square().sum() + result.logsumexp.sum()
                got = torch.autograd.grad(loss, given)
                exact = [tensor.detach().double().requires_grad_() for tensor in given]
                result = attn.torch.attention(*exact, return_weights=True, return_logsumexp=True)
                loss = result.context.sum() + result.weights.square().sum() + result.logsumexp.sum()
                for mine, want in zip(got, torch.autograd.grad(loss, exact)):
                    self.assertIs(mine.dtype, kind)
                    self.assertLess(off(mine, want), 0.006)

    @of_each
    def test_parameters_are_float32_or_as_the_query(self, kind):
        shapes = {"additive": {"W": (4, 8), "U": (4, 8), "v": (4,)}, "concat": {"W": (4, 16), "v": (4,)},
                  "general": {"W": (8, 8)}, "location": {"W": (9, 8)}}
        x, flow = self.three(kind), self.draw(kind, 2, 4, 5, 8)
        for score, params in shapes.items():
            names = tuple(params)
            params = [self.draw(kind, *shape) for shape in params.values()]
            run = lambda *given: attn.torch.attention(*given[:3], score=score, scale=0.25,
                                                              params=dict(zip(names, given[3:])))
            want = with_gradients(run, [tensor.double() for tensor in (*x, *params)], flow)
            for beside in (kind, torch.float32):
                given = [*x, *(tensor.to(beside) for tensor in params)]
                got = with_gradients(run, given, flow)
                with torch.no_grad():
                    self.assertTrue(same_bits(run(*given), got[0]))
                for mine, exact, tensor in zip(got[1:], want[1:], given):
                    self.assertIs(mine.dtype, tensor.dtype)
                    if exact.any():
                        self.assertLess(off(mine, exact), 0.006 if kind is torch.bfloat16 else 0.001, (score, beside))

    @of_each
    def test_slopes_and_tables_likewise(self, kind):
        x, flow = self.three(kind), self.draw(kind, 2, 4, 5, 8)
        slopes, table = self.draw(kind, 4), self.draw(kind, 4, 5)
        run = lambda q, k, v, slopes, table: attn.torch.attention(q, k, v, causal="bottom_right", alibi=slopes,
                                                                  relative=(table, "clipped", 2))
        want = with_gradients(run, [tensor.double() for tensor in (*x, slopes, table)], flow)
        for beside in (kind, torch.float32):
            got = with_gradients(run, [*x, slopes.to(beside), table.to(beside)], flow)
            self.assertEqual([made.dtype for made in got[4:]], [beside] * 2)
            for mine, exact in zip(got, want):
                self.assertLess(off(mine, exact), 0.01 if kind is torch.bfloat16 else 0.002)

    @of_each
    def test_the_context_lies_as_the_query(self, kind):
        query = self.draw(kind, 2, 6, 4, 8).transpose(1, 2).requires_grad_()
        key = self.draw(kind, 2, 4, 7, 8)
        context = attn.torch.attention(query, key)
        self.assertEqual(order(context), (order(query)[0], True))
        gradient, = torch.autograd.grad(context.sum(), query)
        self.assertEqual(order(gradient), (order(query)[0], True))

    @of_each
    def test_arrays_without_elements(self, kind):
        query, key, value = (tensor.requires_grad_() for tensor in self.three(kind, keys=0))
        context = attn.torch.attention(query, key, value)
        self.assertTrue(context.dtype is kind and not context.any())
        context.sum().backward()
        self.assertTrue(query.grad.dtype is kind and not query.grad.any())

    @of_each
    def test_sentences_are_of_their_type(self, kind):
        x = self.draw(kind, 1, 1, 3, 8)
        for function in (lambda: attn.torch.decomposable(x, x).beta,
                         lambda: attn.torch.attentional(self.draw(kind, 4, 16), x, x)):
            self.assertIs(function().dtype, kind)


class Integers(Halves):
    """Keys and values of int8."""

    def setUp(self):
        super().setUp()
        self.rows = [self.quantised(2, 2, 7, 8), self.quantised(2, 2, 7, 6)]
        (key, key_scales), (value, value_scales) = self.rows
        self.given = {"key": key, "value": value, "key_scales": key_scales, "value_scales": value_scales}
        self.meant = [integers * scales[..., None] for integers, scales in self.rows]

    def quantised(self, *shape):
        rows = torch.randn(shape)
        scales = rows.abs().amax(-1) / 127
        return (rows / scales[..., None]).round().to(torch.int8), scales

    def test_they_are_what_they_stand_for(self):
        for kind in (torch.float32, *KINDS):
            query = self.draw(kind, 2, 4, 5, 8)
            got = attn.torch.attention(query, **self.given, causal="top_left")
            want = attn.torch.attention(query.float(), *self.meant, causal="top_left")
            self.assertIs(got.dtype, kind)
            torch.testing.assert_close(got.float(), want, rtol=torch.finfo(kind).eps, atol=3e-6)
            laid = attn.torch.attention(query.transpose(1, 2).contiguous().transpose(1, 2), **self.given, causal="top_left")
            self.assertTrue(torch.equal(laid, got))
            torch.testing.assert_close(attn.attention(query, **self.given, causal="top_left"), got)

    def test_they_have_no_gradients(self):
        query = torch.randn(2, 4, 5, 8, requires_grad=True)
        for score, params in ("scaled_dot", {}), ("general", {"W": torch.randn(8, 8)}):
            with self.assertRaisesRegex(attn.UnsupportedError, r"no gradients.*\.detach\(\)"):
                attn.torch.attention(query, **self.given, score=score, params=params)
            with torch.no_grad():
                got = attn.torch.attention(query, **self.given, score=score, params=params)
            want = attn.torch.attention(query.detach(), *self.meant, score=score, params=params)
            torch.testing.assert_close(got, want, rtol=0, atol=1e-5)

    def test_scales_are_needed(self):
        with self.assertRaisesRegex(attn.ArgumentError, "key is ATTN_I8, but key_scales is NULL"):
            attn.torch.attention(torch.randn(2, 4, 5, 8), self.given["key"])
        self.assertEqual(attn.Memory(attn.Mechanism(), key_dim=4, dtype=torch.int8).lengths, [0])


class Modules(Halves):
    @of_each
    def test_a_layer_of_16_bits_learns(self, kind):
        """Bahdanau's score finds out which key has the query's sign."""
        layer = attn.torch.Attention("additive", query_dim=1, key_dim=2, hidden_dim=8, flags=["bias"]).to(kind)
        optimiser, loss = torch.optim.SGD(layer.parameters(), 2.0, momentum=0.5), None
        value = torch.tensor([[1.0], [0.0]], dtype=kind)
        key = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=kind)
        for _ in range(150):
            query = torch.randn(64, 1).sign().to(kind)
            loss = (layer(query, key, value) - (query > 0).to(kind)).float().square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        self.assertEqual({tensor.grad.dtype for tensor in layer.parameters()}, {kind})
        self.assertLess(loss.item(), 0.01)

    @of_each
    def test_keys_are_projected_once_in_either_type(self, kind):
        for score, given in (("additive", {"hidden_dim": 8}), ("concat", {"hidden_dim": 8}), ("general", {})):
            for beside in (kind, torch.float32):
                layer = attn.torch.Attention(score, query_dim=4, key_dim=6, dtype=beside, **given)
                query, states = self.draw(kind, 2, 1, 3, 4), self.draw(kind, 2, 1, 5, 6)
                keys = layer.project_keys(states)
                self.assertIs(keys.dtype, kind)
                got = layer(query, keys, states, key_projected=True)
                got.float().square().sum().backward()
                self.assertEqual({tensor.grad.dtype for tensor in layer.parameters()}, {beside})
                want = layer(query, states)
                self.assertLess(off(got, want.double()), 0.02)

    @of_each
    def test_a_layer_of_float32_within_autocast(self, kind):
        """What torch's layers make there is of 16 bits, parameters are not."""
        layer = attn.torch.Attention("additive", query_dim=4, key_dim=6, hidden_dim=8)
        first, second = torch.nn.Linear(4, 4), torch.nn.Linear(6, 6)
        query, states = torch.randn(2, 1, 3, 4), torch.randn(2, 1, 5, 6)
        want = layer(first(query), second(states))
        with torch.autocast("cpu", kind):
            states16 = second(states)
            got = layer(first(query), states16)
            again = layer(first(query), layer.project_keys(states16), states16, key_projected=True)
        self.assertTrue(got.dtype is again.dtype is kind)
        self.assertLess(off(got, want.double()), 0.02)
        self.assertLess(off(again, want.double()), 0.02)
        layer.zero_grad()
        got.float().sum().backward()
        self.assertIs(layer.v.grad.dtype, torch.float32)


class Enabled(Halves):
    @of_each
    def test_calls_are_taken_forward_and_backward(self, kind):
        x, flow = [self.draw(kind, 2, 4, 6, 8) for _ in range(3)], self.draw(kind, 2, 4, 6, 8)
        bias, mask = self.draw(kind, 6, 6), torch.rand(6, 6) < 0.8
        for rule, our in (({}, {}), ({"is_causal": True}, {"causal": "top_left"}), ({"attn_mask": mask}, {"mask": mask}),
                          ({"attn_mask": bias}, {"bias": bias}), ({"scale": 0.2}, {"scale": 0.2})):
            got = with_gradients(lambda *x: self.taken(*x, **rule), x, flow)
            want = attn.attention_grad(flow, *x, **our, threads=1, wanted=("query", "key", "value"))
            context = attn.attention(*x, **our, threads=1, return_logsumexp="exact").context
            for mine, theirs in zip(got, (context, want.query, want.key, want.value)):
                self.assertTrue(same_bits(mine, theirs))
            theirs = with_gradients(lambda *x: THEIRS(*x, **rule), x, flow)
            self.assertEqual(got[0].stride(), theirs[0].stride())
            for mine, other in zip(got, theirs):
                self.assertIs(mine.dtype, other.dtype)
                self.assertLess(off(mine, other.double()), 0.02)
        grouped = self.draw(kind, 2, 2, 6, 8)
        self.assertIs(self.taken(x[0], grouped, grouped, enable_gqa=True).dtype, kind)
        with attn.torch.enable(dropout=True) as enabled:
            F.scaled_dot_product_attention(*x, dropout_p=0.5)
        self.assertEqual(enabled.taken, 1)

    @of_each
    def test_masks_that_are_learned(self, kind):
        x, mask = [self.draw(kind, 2, 4, 6, 8) for _ in range(3)], self.draw(kind, 1, 1, 6, 6)
        flow = self.draw(kind, 2, 4, 6, 8)
        got = with_gradients(lambda *x: self.taken(*x), [*x, mask], flow)[-1]
        want = with_gradients(THEIRS, [tensor.double() for tensor in (*x, mask)], flow)[-1]
        self.assertTrue(got.dtype is kind and got.shape == mask.shape)
        self.assertLess(off(got, want), 0.01)

    @of_each
    def test_masks_of_float32_are_taken_where_16_bits_hold_them(self, kind):
        x = [self.draw(kind, 2, 3, 5, 8) for _ in range(3)]
        causal = torch.full((5, 5), -torch.inf).triu(1)
        got = self.taken(*x, attn_mask=causal)
        self.assertTrue(same_bits(got, self.taken(*x, attn_mask=causal.to(kind))))
        self.assertLess(off(got, THEIRS(*x, attn_mask=causal).double()), 0.02)
        for mask in (torch.full((5, 5), 0.1), causal.clone().requires_grad_(), causal.double()):
            with self.subTest(mask=mask), attn.torch.enable() as enabled:
                try:
                    want = THEIRS(*x, attn_mask=mask)
                except RuntimeError as refusal:
                    with self.assertRaises(RuntimeError) as caught:
                        F.scaled_dot_product_attention(*x, attn_mask=mask)
                    self.assertEqual(str(caught.exception), str(refusal))
                else:
                    self.assertTrue(torch.equal(F.scaled_dot_product_attention(*x, attn_mask=mask), want))
            self.assertEqual((enabled.taken, sum(enabled.left.values())), (0, 1))

    def test_several_types_are_left(self):
        query, key = self.draw(torch.bfloat16, 2, 3, 5, 8), torch.randn(2, 3, 5, 8)
        with self.assertRaises(RuntimeError) as want:
            THEIRS(query, key, key)
        with attn.torch.enable() as enabled, self.assertRaises(RuntimeError) as got:
            F.scaled_dot_product_attention(query, key, key)
        self.assertEqual((str(got.exception), dict(enabled.left)), (str(want.exception), {"several types": 1}))


class Autocast(Halves):
    """Tensors of float32, or of 16 bits, are cast to what autocast computes in; those of float64 are left."""

    def both(self, kind, x, flow, **rule):
        """Within autocast, by ours and by theirs."""
        leaves = [tensor.detach().clone().requires_grad_() for tensor in x]
        results = []
        for function in (self.taken, THEIRS):
            with torch.autocast("cpu", kind):
                made = function(*leaves, **rule)
            results.append([made.detach(), *torch.autograd.grad(made, leaves, flow.to(made.dtype))])
        return results

    @of_each
    def test_it_is_as_a_cast_before(self, kind):
        x, flow = [torch.randn(2, 3, 6, 8) for _ in range(3)], self.draw(kind, 2, 3, 6, 8)
        mask = torch.randn(6, 6)
        for rule in ({}, {"is_causal": True}, {"attn_mask": mask}, {"attn_mask": mask > 0}):
            got, theirs = self.both(kind, x, flow, **rule)
            halves = {name: value.to(kind) if value is mask else value for name, value in rule.items()}
            with attn.torch.enable():
                want = with_gradients(lambda *x: F.scaled_dot_product_attention(*x, **halves), [t.to(kind) for t in x], flow)
            self.assertTrue(same_bits(got[0], want[0]))
            for mine, cast, other in zip(got[1:], want[1:], theirs[1:]):
                self.assertTrue(mine.dtype is other.dtype is torch.float32 and torch.equal(mine, cast.float()))
            for mine, other in zip(got, theirs):
                self.assertEqual((mine.dtype, mine.shape), (other.dtype, other.shape))
                self.assertLess(off(mine, other.double()), 0.02)

    def test_types_become_one(self):
        query, key, value = torch.randn(2, 3, 6, 8), *(self.draw(kind, 2, 3, 6, 8) for kind in KINDS)
        got, theirs = self.both(torch.bfloat16, (query, key, value), torch.randn(2, 3, 6, 8))
        self.assertEqual([made.dtype for made in got], [made.dtype for made in theirs])
        self.assertEqual([made.dtype for made in got], [torch.bfloat16, torch.float32, torch.bfloat16, torch.float16])

    def test_float64_stays(self):
        x = [torch.randn(2, 3, 6, 8, dtype=torch.float64)] * 3
        with torch.autocast("cpu", torch.bfloat16), attn.torch.enable() as enabled:
            got = F.scaled_dot_product_attention(*x)
            self.assertTrue(torch.equal(got, THEIRS(*x)))
        self.assertEqual((enabled.taken, dict(enabled.left)), (0, {"other types": 1}))

    def test_what_is_left_there_has_torchs_bits(self):
        x = [torch.randn(2, 3, 6, 8)] * 3
        with torch.autocast("cpu", torch.bfloat16), attn.torch.enable() as enabled:
            torch.manual_seed(1)
            got = F.scaled_dot_product_attention(*x, dropout_p=0.5)
            torch.manual_seed(1)
            self.assertTrue(same_bits(got, THEIRS(*x, dropout_p=0.5)))
        self.assertEqual((enabled.taken, dict(enabled.left)), (0, {"dropout": 1}))

    def test_within_it_can_be_switched_off(self):
        x = [torch.randn(2, 3, 6, 8)] * 3
        with torch.autocast("cpu", torch.bfloat16), attn.torch.enable() as enabled:
            with torch.autocast("cpu", enabled=False):
                got = F.scaled_dot_product_attention(*x)
        self.assertTrue(got.dtype is torch.float32 and enabled.taken == 1)
        self.assertTrue(torch.equal(got, attn.torch.attention(*x, threads=1)))


class Models(Halves):
    """Unchanged models: as near to float64 as they are by torch's attention."""

    def results(self, model, x, kind=None, enabled=False):
        model.zero_grad()
        with torch.autocast("cpu", kind or torch.bfloat16, enabled=kind is not None):
            if enabled:
                with attn.torch.enable() as one:
                    made = model(x)
                self.assertGreater(one.taken, 0)
                self.assertEqual(dict(one.left), {})
            else:
                made = model(x)
        made.double().square().mean().backward()
        return [made.detach(), *(parameter.grad for parameter in model.parameters())]

    def model(self):
        torch.manual_seed(3)
        layer = torch.nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
        return torch.nn.TransformerEncoder(layer, 2)

    @of_each
    def test_of_16_bits(self, kind):
        x = self.draw(kind, 2, 70, 32)
        want = self.results(self.model().to(kind).double(), x.double())
        ours, theirs = (self.results(self.model().to(kind), x, enabled=enabled) for enabled in (True, False))
        self.compare(ours, theirs, want)

    @of_each
    def test_within_autocast(self, kind):
        x = torch.randn(2, 70, 32)
        want = self.results(self.model().double(), x.double())
        ours, theirs = (self.results(self.model(), x, kind, enabled) for enabled in (True, False))
        self.assertEqual({gradient.dtype for gradient in ours[1:]}, {torch.float32})
        self.compare(ours, theirs, want)

    def compare(self, ours, theirs, want):
        for i, (mine, other, exact) in enumerate(zip(ours, theirs, want)):
            self.assertEqual((mine.dtype, mine.shape), (other.dtype, other.shape))
            size = exact.norm() if i == 0 else max(one.norm() for one in want[1:])  # some are zero but for roundings
            far = lambda got: ((got.double() - exact).norm() / size).item()
            self.assertLess(far(mine), 1.25 * far(other) + 2.0**-12)

    def test_inference_by_torchs_fast_path(self):
        for kind, length in ((torch.bfloat16, 2048), (torch.float16, 600)):
            model, x = self.model().to(kind).eval(), self.draw(kind, 2, length, 32)
            mask = torch.nn.Transformer.generate_square_subsequent_mask(length)
            for given in ({}, {"mask": mask}):
                with self.subTest(kind, mask=len(given)), torch.inference_mode():
                    with attn.torch.enable() as enabled:
                        got = model(x, **given)
                    self.assertEqual((enabled.taken, dict(enabled.left), got.dtype), (2, {}, kind))
                    want = copy.deepcopy(model).double()(x.double(), **{name: mask.double() for name in given})
                    self.assertLess(off(got, want), 1.25 * off(model(x, **given), want))

    def test_the_fast_path_of_bfloat16_is_left_for_longer(self):
        model, x = self.model().to(torch.bfloat16).eval(), self.draw(torch.bfloat16, 2, 1024, 32)
        with torch.inference_mode(), attn.torch.enable() as enabled:
            got = model(x)
        self.assertEqual((enabled.taken, dict(enabled.left)), (0, {"torch's fast path is faster": 2}))
        with torch.inference_mode():
            self.assertTrue(same_bits(got, model(x)))

    def test_the_fast_path_within_autocast_is_torchs(self):
        model, x = self.model().eval(), torch.randn(2, 600, 32)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            with attn.torch.enable() as enabled:
                got = model(x)
            self.assertEqual((enabled.taken, dict(enabled.left)), (0, {"autocast": 2}))
            self.assertTrue(torch.equal(got, model(x)))


if __name__ == "__main__":
    unittest.main()
