# SPDX-License-Identifier: BSD-3-Clause
"""torch_models.py: PyTorch's own models, unchanged, before and after attn.torch.enable(): a step of training and a pass of
inference. Prints a table: milliseconds, the median of rounds in turns, and the median of the ratios within a round. Needs
PyTorch.

    torch_models.py [THREADS [ROUNDS]]"""

import os
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import torch
from torch import nn

import attn.torch

threads, rounds = (int(given) for given in (sys.argv[1:] + ["1", "15"][len(sys.argv) - 1:]))
torch.set_num_threads(threads)
torch.manual_seed(0)


class Block(nn.Module):
    """A block of GPT-2: what comes before attends causally, by the function that torch's users call."""

    def __init__(self, dim, heads):
        super().__init__()
        self.heads, self.norms = heads, nn.ModuleList(nn.LayerNorm(dim) for _ in range(2))
        self.packed, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.rest = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(approximate="tanh"), nn.Linear(4 * dim, dim))

    def forward(self, x):
        batch, length, dim = x.shape
        parts = self.packed(self.norms[0](x)).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        context = nn.functional.scaled_dot_product_attention(*parts, is_causal=True)
        x = x + self.out(context.transpose(1, 2).reshape(batch, length, dim))
        return x + self.rest(self.norms[1](x))


class SelfAttention(nn.MultiheadAttention):
    def forward(self, x):
        return super().forward(x, x, x, need_weights=False)[0]


def encoder():
    layer = nn.TransformerEncoderLayer(512, 8, 2048, dropout=0.0, batch_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


MODELS = {
    "TransformerEncoder, 2 layers of 512, 8 heads, 4 x 512": (encoder(), torch.randn(4, 512, 512)),
    "MultiheadAttention, 768, 12 heads, 8 x 384": (SelfAttention(768, 12, batch_first=True), torch.randn(8, 384, 768)),
    "GPT-2, 2 blocks of 768, 12 heads, 1024": (nn.Sequential(Block(768, 12), Block(768, 12)), torch.randn(1, 1024, 768)),
    "GPT-2, 2 blocks of 768, 12 heads, 4096": (nn.Sequential(Block(768, 12), Block(768, 12)), torch.randn(1, 4096, 768)),
}


def train(model, x):
    model.zero_grad()
    model(x).square().mean().backward()


def infer(model, x):
    with torch.no_grad():
        model(x)


def milliseconds(run, *given):
    start = time.perf_counter()
    run(*given)
    return 1e3 * (time.perf_counter() - start)


print(f"torch {torch.__version__}, libattn {attn.__version__}, {threads} threads, {rounds} rounds, kernels",
      attn.info(threads)["kernels"])
print(f"{'':56}{'torch':>9}{'libattn':>9}{'times':>7}")
for name, (model, x) in MODELS.items():
    for run in (train, infer):
        before, after = [], []
        for i in range(rounds + 1):
            without = milliseconds(run, model, x)
            with attn.torch.enable(threads=threads) as enabled:
                own = milliseconds(run, model, x)
            assert enabled.taken and not enabled.left, dict(enabled.left)
            if i > 0:
                before.append(without)
                after.append(own)
        ratio = statistics.median(b / a for b, a in zip(before, after))
        print(f"{name + ', ' + run.__name__:64}{statistics.median(before):9.1f}{statistics.median(after):9.1f}{ratio:7.2f}")
