# SPDX-License-Identifier: BSD-3-Clause
"""gpt.py: a small Transformer by torch, unchanged, before and after attn.torch.enable(): the same numbers, and how long a
step of training takes. Needs PyTorch."""

import time

import attn.torch
import torch

torch.manual_seed(0)
length, dim, heads = 512, 256, 8
layer = torch.nn.TransformerEncoderLayer(dim, heads, 4 * dim, dropout=0.0, batch_first=True)
model = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
x, mask = torch.randn(2, length, dim), torch.nn.Transformer.generate_square_subsequent_mask(length)


def step():
    model.zero_grad()
    output = model(x, mask=mask, is_causal=True)
    output.square().mean().backward()
    return output.detach()


def measure(name):
    step()
    times = []
    for _ in range(5):
        start = time.perf_counter()
        output = step()
        times.append(time.perf_counter() - start)
    print(f"{name}: {1000 * min(times):.1f} ms")
    return output


before = measure("torch")
with attn.torch.enable() as enabled:
    after = measure("libattn")
print("calls taken:", enabled.taken, "left:", dict(enabled.left))
print("largest difference:", float((after - before).abs().max()))
