# SPDX-License-Identifier: BSD-3-Clause
"""test_torch_serving.py: parts of the keys that are merged, with gradients; keys and values in pages, and layers and memories
on tensors. Needs PyTorch."""

import unittest

from torch_support import attn, close, np, torch

PARTS = slice(0, 2), slice(2, 3), slice(3, 7)


class Merging(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(3)
        self.drawn = [torch.randn(2, 3, n, 8, dtype=torch.float64) for n in (5, 7, 7)]
        self.d_context, self.d_logsumexp = (torch.randn(shape, dtype=torch.float64) for shape in ((2, 3, 5, 8), (2, 3, 5)))

    def inputs(self, kind):
        return [tensor.to(kind, copy=True).requires_grad_() for tensor in self.drawn]

    def parts(self, query, key, value):
        return [attn.torch.attention(query, key[:, :, cut], value[:, :, cut], return_logsumexp=True) for cut in PARTS]

    def merged(self, query, key, value):
        made = self.parts(query, key, value)
        return attn.torch.merge([part.context for part in made], [part.logsumexp for part in made], return_logsumexp=True)

    def test_it_is_the_whole_and_so_are_its_gradients(self):
        for kind in torch.float64, torch.float32:
            with self.subTest(kind):
                whole, parts = self.inputs(kind), self.inputs(kind)
                want, got = attn.torch.attention(*whole, return_logsumexp=True), self.merged(*parts)
                self.assertEqual((got.context.dtype, got.logsumexp.dtype), (kind, kind))
                for one in want, got:
                    ((one.context * self.d_context).sum() + (one.logsumexp * self.d_logsumexp).sum()).backward()
                for one, other in ((got.context, want.context), (got.logsumexp, want.logsumexp),
                                   *((part.grad, all_of_it.grad) for part, all_of_it in zip(parts, whole))):
                    torch.testing.assert_close(one, other, rtol=64 * torch.finfo(kind).eps, atol=64 * torch.finfo(kind).eps)

    def test_gradients_are_those_of_the_function(self):
        contexts = [torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True) for _ in range(3)]
        sums = [torch.randn(2, 3, dtype=torch.float64, requires_grad=True) for _ in range(3)]
        self.assertTrue(torch.autograd.gradcheck(
            lambda *given: tuple(attn.torch.merge(given[:3], given[3:], return_logsumexp=True)[:3:2]), (*contexts, *sums)))
        self.assertTrue(torch.autograd.gradcheck(lambda *given: attn.torch.merge(given[:3], given[3:]), (*contexts, *sums)))
        self.assertTrue(torch.autograd.gradcheck(
            lambda *given: attn.torch.merge(given[:3], given[3:], return_logsumexp=True).logsumexp, (*contexts, *sums)))

    def test_a_part_that_saw_nothing_has_no_gradient(self):
        contexts = [torch.randn(3, 4, dtype=torch.float64) for _ in range(3)]
        sums = [torch.randn(3, dtype=torch.float64) for _ in range(3)]
        contexts[1][0], sums[1][0] = torch.nan, -torch.inf
        for part in range(3):
            contexts[part][2], sums[part][2] = torch.nan, -torch.inf
        for tensor in (*contexts, *sums):
            tensor.requires_grad_()
        got = attn.torch.merge(contexts, sums, return_logsumexp=True)
        self.assertTrue((got.context[2] == 0).all() and got.logsumexp[2] == -torch.inf)
        (got.context.sum() + 2 * got.logsumexp[:2].sum()).backward()
        for part in range(3):
            unseen = [0, 2] if part == 1 else [2]
            for gradient in contexts[part].grad, sums[part].grad:
                self.assertTrue((gradient[unseen] == 0).all() and gradient.isfinite().all())
                self.assertTrue((gradient[1] != 0).all())

    def test_rows_of_no_sequence_have_none(self):
        query = torch.randn(1, 2, 4, 8, dtype=torch.float64, requires_grad=True)
        key = torch.randn(1, 2, 6, 8, dtype=torch.float64, requires_grad=True)
        made = [attn.torch.attention(query, key, query_offsets=[0, 1, 3], key_offsets=offsets, return_logsumexp=True)
                for offsets in ([0, 2, 2], [2, 2, 6])]
        attn.torch.merge([part.context for part in made], [part.logsumexp for part in made]).sum().backward()
        self.assertTrue((query.grad[:, :, 3] == 0).all() and query.grad.isfinite().all() and key.grad.isfinite().all())
        self.assertFalse((key.grad == 0).any())

    def test_halves_are_merged_in_float32(self):
        whole, parts = self.inputs(torch.bfloat16), self.inputs(torch.bfloat16)
        want, got = attn.torch.attention(*whole, return_logsumexp=True), self.merged(*parts)
        self.assertEqual((got.context.dtype, got.logsumexp.dtype), (torch.bfloat16, torch.float32))
        torch.testing.assert_close(got.context, want.context, rtol=0, atol=0.03)
        for one in want, got:
            (one.context * self.d_context.bfloat16()).sum().backward()
        for part, all_of_it in zip(parts, whole):
            self.assertIs(part.grad.dtype, torch.bfloat16)
            torch.testing.assert_close(part.grad, all_of_it.grad, rtol=0, atol=0.06)

    def test_only_what_needs_a_gradient_gets_one_and_once(self):
        contexts, sums = [torch.randn(3, 4) for _ in range(2)], [torch.randn(3) for _ in range(2)]
        contexts[1].requires_grad_()
        with torch.no_grad():
            self.assertFalse(attn.torch.merge(contexts, sums).requires_grad)
        got = attn.torch.merge(contexts, sums)
        gradient, = torch.autograd.grad(got.sum(), contexts[1], create_graph=True)
        weight = torch.softmax(torch.stack(sums), 0)[1]
        self.assertTrue(close(gradient, weight[:, None].expand(3, 4)))
        with self.assertRaisesRegex(RuntimeError, "no second derivatives"):
            gradient.sum().backward()

    def test_what_is_wrong_is_refused(self):
        context, sums = torch.randn(3, 4, requires_grad=True), torch.randn(3)
        for error, words, given in ((attn.ArgumentError, "contexts is empty", ([], [])),
                                    (attn.ShapeError, "contexts are 2", ([context, context], [sums])),
                                    (attn.ShapeError, r"logsumexps\[1\]", ([context, context], [sums, sums[:2]])),
                                    (TypeError, r"contexts\[0\] is a ndarray", ([np.zeros((3, 4))], [sums]))):
            with self.subTest(words), self.assertRaisesRegex(error, words):
                attn.torch.merge(*given)


class Pages(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(4)
        self.query, self.pages = torch.randn(2, 4, 3, 8), torch.randn(6, 2, 5, 8)
        self.places = {"page_table": [[4, 1, 5], [0, 1, 2]], "key_lengths": [12, 6]}

    def test_they_are_read_as_attn_reads_them(self):
        want = attn.attention(self.query, self.pages, **self.places)
        laid = self.query.transpose(1, 2).contiguous().transpose(1, 2)
        for query in self.query, laid:
            for places in (self.places, {name: torch.tensor(given) for name, given in self.places.items()},
                           {"page_table": [4, 1, 5, 0, 1], "page_offsets": torch.tensor([0, 3, 5]), "key_lengths": [12, 6]}):
                self.assertTrue(torch.equal(attn.torch.attention(query, self.pages, **places), want))

    def test_they_have_no_gradients(self):
        for query, pages in ((self.query.clone().requires_grad_(), self.pages),
                             (self.query, self.pages.clone().requires_grad_())):
            with self.assertRaisesRegex(attn.UnsupportedError, "key or value is in pages, which have no gradients"):
                attn.torch.attention(query, pages, **self.places)
            with torch.no_grad():
                self.assertTrue(torch.equal(attn.torch.attention(query, pages, **self.places),
                                            attn.torch.attention(self.query, self.pages, **self.places)))

    def test_they_are_written_by_slots(self):
        for kind in torch.float32, torch.bfloat16:
            key, pages = torch.randn(3, 2, 8).to(kind), torch.zeros(6, 5, 2, 8, dtype=kind)  # positions, then heads
            attn.pages_append(key.transpose(0, 1), None, pages.transpose(1, 2), None, torch.tensor([7, -1, 29]))
            self.assertTrue(torch.equal(pages.view(30, 2, 8)[[7, 29]], key[[0, 2]]))
            self.assertEqual(pages.count_nonzero(), 2 * 2 * 8)


class Layers(unittest.TestCase):
    def test_they_serve_tensors(self):
        torch.manual_seed(5)
        layer = attn.MultiHead(8, 2, mechanism=attn.Mechanism(causal="bottom_right"), rope=attn.Rope("halves"))
        layer.bind(**{name: torch.randn(shape) for name, shape in layer.param_shapes().items()})
        x, offsets, memory = torch.randn(1, 7, 8), torch.tensor([0, 3, 7]), layer.memory(batch=2)
        got = layer(x, query_offsets=offsets, positions=torch.tensor([0, 1, 2, 0, 1, 2, 3]))
        self.assertIsInstance(got, torch.Tensor)
        for part in slice(0, 3), slice(3, 7):
            self.assertTrue(close(got[:, part], layer(x[:, part])))
        self.assertTrue(close(layer(x, query_offsets=offsets, memory=memory), got))
        memory.reorder(torch.tensor([1, -1, 0]))
        memory.keep(torch.tensor([1, 0, 3]), torch.tensor([3]), torch.tensor([0, 1, 1, 1]))
        self.assertEqual(memory.lengths, [2, 0, 3])


if __name__ == "__main__":
    unittest.main()
