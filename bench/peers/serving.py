#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""serving.py: servers' layouts beside vLLM's kernel for CPUs: ragged batches, a step of a mixed batch, a latent memory.

    scripts/bench-peers --serving [--threads N]

Each in turns with the other, in float32 and bfloat16; what vLLM calls the scheduler's metadata is made before, and so is
our plan. The first run of each is compared with the other's result."""

import argparse
import time

import attn
import numpy as np
import torch
from attn import Engine, Mechanism
from attn._library import constant

import with_vllm
from dtypes import BF16, F32
from ours_call import DTYPES, Forward, Plan

ROUNDS = 7
PAGE = 32  # positions, of both
DTYPES[np.dtype(np.int32)] = constant("ATTN_I32")


def timed(call, least=0.08):
    count, start = 0, time.perf_counter()
    while True:
        call()
        count += 1
        if time.perf_counter() - start > least:
            return (time.perf_counter() - start) / count


def array(x):
    """A tensor's memory as numpy has it: that of bfloat16 as what our calls take for it."""
    if x.dtype is torch.bfloat16:
        return x.view(torch.uint16).numpy().view(BF16.inputs)
    return x.numpy()


def compare(title, ours, theirs, result, other):
    ours(), theirs()
    difference = float((result().float() - other().float()).abs().max())
    times = {"ours": [], "vllm": []}
    for _ in range(ROUNDS):
        times["ours"].append(timed(ours))
        times["vllm"].append(timed(theirs))
    median = {name: sorted(t)[ROUNDS // 2] for name, t in times.items()}
    print(f"{title:34s} {median['ours'] * 1e3:9.3f} ms   vLLM {median['vllm'] * 1e3:9.3f} ms   "
          f"{median['vllm'] / median['ours']:5.2f} times its speed   results differ by {difference:.1e}", flush=True)


def batch(title, engine, dtype, heads, key_heads, dim, queries, keys, causal, in_pages):
    """Sequences of so many queries and keys; ours read them from pages, or packed as the queries are."""
    of = torch.bfloat16 if dtype is BF16 else torch.float32
    C = torch.ops._C
    total, count = sum(queries), len(queries)
    query = torch.randn(total, heads, dim).to(of)
    starts = torch.tensor([0, *np.cumsum(queries)], dtype=torch.int32)
    lengths = torch.tensor(keys, dtype=torch.int32)
    most = max(-(-n // PAGE) for n in keys)
    table = torch.randperm(count * most).view(count, most).to(torch.int32)
    key, value = (torch.randn(sum(keys), key_heads, dim).to(of) for _ in "kv")
    ends = np.cumsum([0, *keys])
    slots = torch.cat([table[b].long().repeat_interleave(PAGE)[:n] * PAGE + torch.arange(n) % PAGE for b, n in enumerate(keys)])
    caches = [torch.zeros(count * most, key_heads, PAGE, dim, dtype=of) for _ in "kv"]
    isa = "vec"
    C.cpu_attn_reshape_and_cache(key, value, *caches, slots, isa, 1.0, 1.0, "auto")
    plan = C.get_scheduler_metadata(count, heads, key_heads, dim, lengths, of, starts, causal, -1, isa, True, None, "auto")
    out = torch.empty_like(query)
    theirs = lambda: C.cpu_attention_with_kv_cache(query, *caches, out, starts, lengths, dim ** -0.5, causal, None, -1, table,
                                                   0.0, plan, None, None, 1.0, 1.0, "auto")
    own = torch.empty_like(query)
    packed = lambda x: array(x).transpose(1, 0, 2)[None]
    arrays = dict(query=packed(query), context=packed(own), query_offsets=starts.numpy())
    if in_pages:
        pages = [torch.zeros(count * most, key_heads, PAGE, dim, dtype=of) for _ in "kv"]
        for page, rows in zip(pages, (key, value)):
            for b, n in enumerate(keys):
                for j in range(0, n, PAGE):
                    rows_of = rows[ends[b] + j:ends[b] + min(j + PAGE, n)]
                    page[table[b, j // PAGE], :, :rows_of.shape[0]] = rows_of.transpose(0, 1)
        arrays.update(key=array(pages[0]), value=array(pages[1]), page_table=table.numpy(), key_lengths=lengths.numpy())
    else:
        arrays.update(key=packed(key), value=packed(value), key_offsets=np.array(ends, dtype=np.int32))
    mechanism = Mechanism(causal="bottom_right" if causal else None, engine=engine)
    ours = Plan([Forward(mechanism, **arrays)]).calls[0]
    compare(f"{title}, {dtype.name}", ours, theirs, lambda: own, lambda: out)
    if dtype is BF16:
        mechanism = Mechanism(causal="bottom_right" if causal else None, engine=engine)
        mechanism.set_precision("fast")
        fast = Plan([Forward(mechanism, **arrays)]).calls[0]
        compare(f"{title}, {dtype.name}, fast", fast, theirs, lambda: own, lambda: out)


def latent(engine, dtype):
    """DeepSeek's: one key head of 576 numbers, of which the first 512 are the value, 128 query heads."""
    of = torch.bfloat16 if dtype is BF16 else torch.float32
    heads, width, values, length, page = 128, 576, 512, 4096, 16
    cache = torch.randn(length // page, page, width).to(of)
    table = torch.randperm(length // page).to(torch.int32)[None]
    query = torch.randn(1, heads, width).to(of)
    lengths = torch.tensor([length], dtype=torch.int32)
    out, own = (torch.zeros(1, heads, values, dtype=of) for _ in "oo")
    theirs = lambda: torch.ops._C.mla_decode_kvcache(out, query, cache, width ** -0.5, table, lengths)
    pages = array(cache)[:, None]
    mechanism = Mechanism(engine=engine)
    ours = Plan([Forward(mechanism, query=array(query)[:, :, None], context=array(own)[:, :, None], key=pages,
                         value=pages[..., :values], page_table=table.numpy(), key_lengths=lengths.numpy())]).calls[0]
    compare(f"latent memory, decode, {dtype.name}", ours, theirs, lambda: own, lambda: out)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    threads = parser.parse_args().threads
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    engine = Engine(threads)
    about = engine.describe()
    print(f"libattn {attn.version} ({about['kernels']}; {about['blas']['version']}); vLLM {with_vllm.start(None)}; "
          f"{threads} thread{'s' * (threads > 1)}, medians of {ROUNDS} rounds")
    random = np.random.default_rng(1)
    lengths = [int(n) for n in random.integers(1, 513, 64)]
    for dtype in (F32, BF16):
        batch("ragged, 64 of 1..512", engine, dtype, 12, 12, 64, lengths, lengths, False, False)
        batch("mixed batch, 15 x 1 over 2k, 512", engine, dtype, 32, 8, 128, [1] * 15 + [512], [2048] * 15 + [512], True, True)
        batch("decode, 16 x 1 over 2k", engine, dtype, 32, 8, 128, [1] * 16, [2048] * 16, True, True)
        latent(engine, dtype)


if __name__ == "__main__":
    main()
