# SPDX-License-Identifier: BSD-3-Clause
"""test_torch.py: tensors as they lie; every mechanism as a function that autograd goes back through. Needs PyTorch."""

import unittest

from torch_support import F, THEIRS, _tensors, attn, close, np, order, torch


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

    def test_lazily_negated_ones_are_refused(self):
        negated = torch.imag(torch.complex(self.query, self.query).conj())
        self.assertTrue(negated.is_neg())
        for given in (negated, torch._efficientzerotensor(self.query.shape)):
            with self.assertRaisesRegex(attn.DTypeError, r"stands for other numbers than lie in its memory.*resolve_neg"):
                attn.attention(given, self.key, self.value)
        np.testing.assert_array_equal(attn.attention(negated.resolve_neg(), self.key, self.value),
                                      attn.attention(-self.query, self.key, self.value))

    def test_give_tensors(self):
        mask = torch.rand(5, 7) < 0.7
        got = attn.attention(self.query, self.key, self.value, mask=mask, return_weights=True)
        self.assertIsInstance(got.context, torch.Tensor)
        self.assertTrue(close(got.context, THEIRS(self.query, self.key, self.value, mask)))
        self.assertTrue(close(got.weights.sum(-1), torch.ones(2, 3, 5)))
        gradients = attn.attention_grad(got.context, self.query, self.key, self.value, mask=mask)
        self.assertIsInstance(gradients.key, torch.Tensor)

    def test_are_merged(self):
        want = attn.attention(self.query, self.key, self.value, return_logsumexp=True)
        parts = [attn.attention(self.query, self.key[:, :, cut].contiguous(), self.value[:, :, cut].contiguous(),
                                return_logsumexp="exact") for cut in (slice(0, 2), slice(2, 7))]
        got = attn.merge([part.context for part in parts], [part.logsumexp for part in parts], return_logsumexp=True)
        self.assertIsInstance(got.context, torch.Tensor)
        self.assertTrue(close(got.context, want.context))
        self.assertTrue(close(got.logsumexp, want.logsumexp))

    def test_are_written_where_they_lie(self):
        out = torch.zeros(2, 5, 3, 8).transpose(1, 2)
        self.assertIs(attn.attention(self.query.transpose(2, 3).contiguous().transpose(2, 3), self.key, self.value, out=out),
                      out)
        self.assertTrue(close(out, THEIRS(self.query, self.key, self.value)))

    def test_of_other_types_are_refused(self):
        for kind in (torch.int32, torch.int16, torch.uint16, torch.complex64, torch.float8_e4m3fn):
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

    def test_stats_come_with_gradients_and_without(self):
        draw = lambda *shape: torch.randn(*shape, dtype=torch.float64)
        x = {"query": draw(2, 4, 3, 5), "key": draw(2, 2, 6, 5), "value": draw(2, 2, 6, 3)}
        want = attn.torch.attention(**x, return_weights=True).weights
        for grad in False, True:
            given = {name: tensor.clone().requires_grad_(grad) for name, tensor in x.items()}
            stats = attn.torch.attention(**given, return_stats=True).stats
            torch.testing.assert_close(stats.entropy, -(want * want.log()).sum(-1))
            torch.testing.assert_close(stats.effective_keys, stats.entropy.exp())
            torch.testing.assert_close(stats.key_sums, want.sum(-2))
            self.assertTrue(torch.equal(stats.strongest, want.argmax(-1)))
            self.assertFalse(any(made.requires_grad for made in stats))
            part = attn.torch.attention(**given, return_stats=["key_sums"], return_weights=True)
            self.assertIsNone(part.stats.entropy)
            self.assertEqual(part.weights.requires_grad, grad)
            self.assertIsNone(attn.torch.attention(**given, return_weights=True).stats)
            if grad:
                result = attn.torch.attention(**given, return_stats=True)
                result.context.square().sum().backward()
                self.assertIsNotNone(given["query"].grad)

    def test_every_modifier_can_be_gone_back_through(self):
        mask = torch.rand(3, 6) < 0.7
        mask[:, 0] = True
        for params, rule in (((), {"softcap": 1.5, "temperature": 0.7, "scale": 0.4}), (("bias",), {"mask": mask}),
                             (("alibi",), {"causal": "bottom_right", "window": (2, 0)}),
                             (("relative",), {"causal": "bottom_right"}), ((), {"key_lengths": torch.tensor([4, 6])}),
                             ((), {"dropout": 0.3, "seed": 4})):
            self.check(params, "scaled_dot", **rule)
        self.check(("W_p", "v_p"), "dot", local=("predictive", 2))

    def test_sinks_can_be_gone_back_through(self):
        draw = lambda *shape: torch.randn(*shape, dtype=torch.float64, requires_grad=True)
        x = {"query": draw(2, 4, 3, 5), "key": draw(2, 2, 6, 5), "value": draw(2, 2, 6, 3), "sinks": draw(4)}
        for score, params, rule in (("scaled_dot", (), {"temperature": 0.7, "causal": "bottom_right"}), ("dot", (), {}),
                                    ("additive", ("W", "U", "v"), {}), ("scaled_dot", (), {"dropout": 0.3, "seed": 4})):
            own = {name: draw(*{"W": (4, 5), "U": (4, 5), "v": (4,)}[name]) for name in params}

            def run(*values):
                given = dict(zip((*x, *own), values))
                result = attn.torch.attention(*(given[name] for name in ("query", "key", "value")), sinks=given["sinks"],
                                              score=score, params={name: given[name] for name in own},
                                              return_logsumexp=True, **rule)
                return result.context, result.logsumexp

            with self.subTest(score, **rule):
                self.assertTrue(torch.autograd.gradcheck(run, (*x.values(), *own.values()), atol=1e-6))

    def test_sinks_are_a_column_that_is_dropped(self):
        query, key, value = torch.randn(2, 4, 3, 8), torch.randn(2, 4, 6, 8), torch.randn(2, 4, 6, 8)
        sinks = torch.randn(4, requires_grad=True)
        scores = torch.cat([query @ key.mT / 8**0.5, sinks[:, None, None].expand(2, 4, 3, 1)], -1)
        want = scores.softmax(-1)[..., :-1] @ value
        want.square().sum().backward()
        gradient, sinks.grad = sinks.grad, None
        self.assertTrue(close(attn.torch.attention(query, key, value, sinks=sinks.detach()), want))
        got = attn.torch.attention(query, key, value, sinks=sinks)
        got.square().sum().backward()
        self.assertTrue(close(got, want))
        self.assertTrue(close(sinks.grad, gradient))
        self.assertTrue(close(attn.torch.attention(query, key, value), THEIRS(query, key, value)))  # without them again
        half = attn.torch.attention(*(x.bfloat16() for x in (query, key, value)), sinks=sinks.detach().bfloat16())
        self.assertLess((half.float() - want).abs().max(), 0.05)
        trained = sinks.detach().bfloat16().requires_grad_()
        attn.torch.attention(*(x.bfloat16() for x in (query, key, value)), sinks=trained).float().square().sum().backward()
        self.assertEqual(trained.grad.dtype, torch.bfloat16)
        self.assertLess((trained.grad.float() - gradient).abs().max(), 0.05 * gradient.abs().max())
        result = attn.torch.attention(query, key, value, sinks=sinks, return_weights=True)
        with self.assertRaisesRegex(attn.UnsupportedError, "d_sinks.*d_weights"):
            result.weights.square().sum().backward()

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


class Ragged(unittest.TestCase):
    """Sequences one behind the other: 3, 0, 2 queries of 4, 1, 0 keys; the last rows are nobody's."""

    offsets = {"query_offsets": torch.tensor([0, 3, 3, 5], dtype=torch.int32), "key_offsets": [0, 4, 5, 5]}

    def drawn(self, dtype=torch.float64):
        torch.manual_seed(3)
        return [torch.randn(shape, dtype=dtype, requires_grad=True) for shape in ((1, 4, 6, 8), (1, 2, 6, 8), (1, 2, 6, 3))]

    def test_gradients(self):
        params = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in ((5, 8), (5, 8), (5,))]
        for score, own in (("scaled_dot", ()), ("additive", params)):
            def run(query, key, value, *own):
                result = attn.torch.attention(query, key, value, score=score, params=dict(zip("WUv", own)), **self.offsets,
                                              causal="bottom_right", return_weights=True, return_logsumexp=True)
                return result.context, result.weights, result.logsumexp[:, :, :3]  # others see no key

            self.assertTrue(torch.autograd.gradcheck(run, (*self.drawn(), *own), atol=1e-6))

    def test_each_sequence_is_what_it_is_alone(self):
        for dtype in (torch.float32, torch.bfloat16):
            query, key, value = self.drawn(dtype)
            strided = query.detach().transpose(1, 2).contiguous().transpose(1, 2).requires_grad_()
            for given in (query, strided):
                got = attn.torch.attention(given, key, value, **self.offsets)
                flow = torch.randn_like(got)
                made = torch.autograd.grad(got, (given, key, value), flow)
                first = given[:, :, :3].detach().requires_grad_()
                own = attn.torch.attention(first, key[:, :, :4], value[:, :, :4])
                want = torch.autograd.grad(own, (first, key, value), flow[:, :, :3])
                self.assertTrue(torch.equal(got[:, :, :3], own) and not got[:, :, 3:].any())
                self.assertTrue(close(made[0][:, :, :3], want[0]) and not made[0][:, :, 3:].any())
                self.assertTrue(all(close(a[:, :, :4], b[:, :, :4]) and not a[:, :, 4:].any()
                                    for a, b in zip(made[1:], want[1:])))

    def test_offsets_that_are_changed_before_the_way_back_are_noticed(self):
        query, key, value = self.drawn()
        offsets = torch.tensor([0, 3, 6])
        loss = attn.torch.attention(query, key, value, query_offsets=offsets, key_offsets=offsets).sum()
        offsets[1] = 2
        with self.assertRaisesRegex(RuntimeError, "modified by an inplace operation"):
            loss.backward()

    def test_a_mask_may_be_of_the_last_keys(self):
        query, key, value = self.drawn()
        tree, whole = torch.ones(6, 2, dtype=torch.bool).tril(), torch.ones(6, 6, dtype=torch.bool)
        whole[:, 4:] = tree
        results = [torch.autograd.grad(attn.torch.attention(query, key, value, **mask).square().sum(), (query, key, value))
                   for mask in ({"mask": tree, "mask_align": "bottom_right"}, {"mask": whole})]
        self.assertTrue(all(torch.equal(a, b) for a, b in zip(*results)))


class Saved(unittest.TestCase):
    """What was read on the way forward is what is gone back through."""

    def setUp(self):
        torch.manual_seed(5)
        self.query, self.key = torch.randn(2, 1, 3, 4, requires_grad=True), torch.randn(2, 1, 5, 4)

    def test_tensors_that_were_changed_are_noticed(self):
        mask, lengths = torch.rand(3, 5) < 0.7, torch.tensor([3, 5])
        for name, given in (("mask", mask), ("key_lengths", lengths), ("bias", torch.randn(3, 5))):
            with self.subTest(name):
                context = attn.torch.attention(self.query, self.key, **{name: given})
                given.fill_(1)
                with self.assertRaisesRegex(RuntimeError, "modified by an inplace operation"):
                    context.sum().backward()
        for name in ("a_lengths", "b_lengths"):
            lengths = torch.tensor([3, 3])
            with self.subTest(name):
                beta = attn.torch.decomposable(self.query, self.key, **{name: lengths}).beta
                lengths.fill_(1)
                with self.assertRaisesRegex(RuntimeError, "modified by an inplace operation"):
                    beta.sum().backward()

    def test_a_mask_of_an_unchanged_model_too(self):
        mask = torch.rand(3, 5) < 0.7
        with attn.torch.enable() as enabled:
            context = F.scaled_dot_product_attention(self.query, self.key, self.key, mask)
        mask.fill_(True)
        self.assertEqual(enabled.taken, 1)
        with self.assertRaisesRegex(RuntimeError, "modified by an inplace operation"):
            context.sum().backward()

    def test_lengths_that_are_no_tensors_are_those_of_the_call(self):
        def gradients(run, lengths, change):
            made = run(lengths)
            change(lengths)
            return torch.autograd.grad(made.square().sum(), self.query)[0]

        context = lambda lengths: attn.torch.attention(self.query, self.key, key_lengths=lengths)
        beta = lambda lengths: attn.torch.decomposable(self.query, self.key, b_lengths=lengths).beta
        for name, run in (("attention", context), ("decomposable", beta)):
            for of in (list, np.array):
                with self.subTest(name, of=of.__name__):
                    want = gradients(run, of([2, 5]), lambda lengths: None)
                    got = gradients(run, of([2, 5]), lambda lengths: lengths.__setitem__(0, 5))
                    self.assertTrue(torch.equal(got, want))

    def test_windows_and_tables_are_those_of_the_call(self):
        window = [1, 1, "top_left"]
        context = attn.torch.attention(self.query, self.key, window=window)
        want, = torch.autograd.grad(attn.torch.attention(self.query, self.key, window=window).sum(), self.query)
        window[:2] = 0, 0
        self.assertTrue(torch.equal(torch.autograd.grad(context.sum(), self.query)[0], want))

    def test_nobody_records_what_is_no_operation_of_torchs(self):
        from torch.fx.experimental.proxy_tensor import make_fx

        functions = {"attention": lambda x: attn.torch.attention(x, x), "decomposable": lambda x: attn.torch.decomposable(
            x, x)[0], "attentional": lambda x: attn.torch.attentional(x[0, 0], x[..., :2], x[..., 2:]),
            "merge": lambda x: attn.torch.merge([x, x], [x[..., 0], x[..., 1]])}
        for name, function in functions.items():
            x = torch.randn(1, 1, 3, 4)
            with self.subTest(name), self.assertRaisesRegex(RuntimeError, f"{name} cannot be recorded by torch.jit.trace"):
                torch.jit.trace(function, x)
            with self.subTest(name), self.assertRaisesRegex(RuntimeError, f"{name} cannot be recorded by make_fx"):
                make_fx(function)(x)
            function(x)


class Once(unittest.TestCase):
    """There are first derivatives alone, and whoever wants others is told so."""

    def setUp(self):
        torch.manual_seed(6)
        self.query, self.key = torch.randn(1, 2, 3, 4, requires_grad=True), torch.randn(1, 2, 5, 4)

    def refuses(self, made):
        gradient, = torch.autograd.grad(made.square().sum(), self.query, create_graph=True)
        self.assertTrue(gradient.requires_grad)
        with self.assertRaisesRegex(RuntimeError, "no second derivatives"):
            gradient.square().sum().backward()

    def test_of_every_function(self):
        draw = lambda *shape: torch.randn(*shape, requires_grad=True)
        for score, params in (("scaled_dot", {}), ("general", {"W": draw(4, 4)}), ("location", {"W": draw(6, 4)}),
                              ("additive", {"W": draw(3, 4), "U": draw(3, 4), "v": draw(3)})):
            with self.subTest(score):
                made = attn.torch.attention(self.query, self.key, score=score, params=params, return_weights=True,
                                            return_logsumexp=True)
                for output in made[:3]:
                    self.refuses(output)
        self.refuses(attn.torch.decomposable(self.query, self.key).beta)
        self.refuses(attn.torch.decomposable(self.key, self.query).alpha)
        self.refuses(attn.torch.attentional(draw(3, 8), self.query, self.query))
        self.refuses(attn.torch.merge([self.query, self.query], [draw(1, 2, 3), draw(1, 2, 3)]))

    def test_by_the_gradient_that_flows_in(self):
        flow = torch.ones(1, 2, 3, 4, requires_grad=True)
        context = attn.torch.attention(self.query, self.key)
        gradient, = torch.autograd.grad(context, self.query, flow, create_graph=True)
        with self.assertRaisesRegex(RuntimeError, "no second derivatives"):
            torch.autograd.grad(gradient.sum(), flow)

    def test_of_an_unchanged_model(self):
        with attn.torch.enable() as enabled:
            self.refuses(F.scaled_dot_product_attention(self.query, self.key, self.key))
        self.assertEqual(enabled.taken, 1)

    def test_a_first_derivative_with_a_graph_is_the_same(self):
        context = attn.torch.attention(self.query, self.key)
        want, = torch.autograd.grad(context.square().sum(), self.query, retain_graph=True)
        got, = torch.autograd.grad(context.square().sum(), self.query, create_graph=True)
        self.assertTrue(torch.equal(got, want))

    def test_torchs_own_are_there_without_flash_attention(self):
        from torch.nn.attention import SDPBackend, sdpa_kernel

        def second():
            made = F.scaled_dot_product_attention(self.query, self.key, self.key)
            gradient, = torch.autograd.grad(made.square().sum(), self.query, create_graph=True)
            return torch.autograd.grad(gradient.square().sum(), self.query)[0]

        with sdpa_kernel(SDPBackend.MATH):
            want = second()
            with attn.torch.enable() as enabled:
                got = second()
        self.assertEqual((enabled.taken, dict(enabled.left)), (0, {"flash attention is off": 1}))
        self.assertTrue(torch.equal(got, want))


class Layout(unittest.TestCase):
    """Heads that were split from positions by a view are joined with them by a view."""

    LAYOUTS = {"contiguous": lambda b, h, t, d: torch.randn(b, h, t, d),
               "positions first": lambda b, h, t, d: torch.randn(b, t, h, d).transpose(1, 2),
               "packed": lambda b, h, t, d: torch.randn(b, t, 3, h, d).permute(2, 0, 3, 1, 4)[0],
               "batch in the middle": lambda b, h, t, d: torch.randn(t, b, h, d).permute(1, 2, 0, 3),
               "some of a longer one": lambda b, h, t, d: torch.randn(b, 2 * t, h, d)[:, ::2].transpose(1, 2)}

    def setUp(self):
        torch.manual_seed(7)

    def test_the_context_lies_as_the_query_and_gradients_as_what_they_are_of(self):
        for name, lay in self.LAYOUTS.items():
            for width in (8, 5):
                with self.subTest(name, width=width):
                    given = [lay(2, 3, 6, 8), lay(2, 3, 6, 8), lay(2, 3, 6, width)]
                    self.assertEqual(order(attn.torch.attention(*given)), (order(given[0])[0], True))
                    given = [tensor.requires_grad_() for tensor in given]
                    context = attn.torch.attention(*given)
                    self.assertEqual(order(context), (order(given[0])[0], True))
                    self.assertTrue(close(context, THEIRS(*given)))
                    gradients = torch.autograd.grad(context.square().sum(), given)
                    want = torch.autograd.grad(THEIRS(*given).square().sum(), given)
                    for gradient, tensor, their in zip(gradients, given, want):
                        self.assertEqual(order(gradient), (order(tensor)[0], True))
                        self.assertTrue(close(gradient, their))

    def test_an_unchanged_model_gets_the_strides_of_torchs_kernels(self):
        draws = {**self.LAYOUTS, "last dimension apart": lambda b, h, t, d: torch.randn(b, h, d, t).transpose(2, 3),
                 "without a batch": lambda b, h, t, d: torch.randn(t, h, d).transpose(0, 1)}
        for name, lay in draws.items():
            for width in (8, 5):
                for train in (False, True):
                    with self.subTest(name, width=width, train=train):
                        given = [lay(2, 3, 6, 8), lay(2, 3, 6, 8), lay(2, 3, 6, width)]
                        given = [tensor.requires_grad_(train) for tensor in given]
                        want = THEIRS(*given)
                        with attn.torch.enable() as enabled:
                            got = F.scaled_dot_product_attention(*given)
                        self.assertEqual((enabled.taken, got.stride()), (1, want.stride()))
                        self.assertTrue(close(got, want))

    def test_heads_are_joined_by_a_view(self):
        query = torch.randn(1, 100, 32, 128).transpose(1, 2)
        with attn.torch.enable():
            made = F.scaled_dot_product_attention(query, query, query)
        self.assertEqual(made.transpose(1, 2).view(1, 100, 4096).shape, (1, 100, 4096))


if __name__ == "__main__":
    unittest.main()
