# SPDX-License-Identifier: BSD-3-Clause
"""with_vllm.py: vLLM's kernel for CPUs: packed queries, and keys and values in the pages of its own cache, which they are put
into before. What it calls the scheduler's metadata, made once a step for all layers, is made before too."""

import os
from pathlib import Path

import torch

from cases import Data
from dtypes import BF16, F16, F32
from measure import Entrant, Missing
from torch_gradients import tensor

KINDS = {"attention", "decode", "chunk"}  # of cases that it computes
DTYPES = {F32, BF16, F16}
PAGE = 32  # positions
DIMENSIONS = {32, 64, 80, 96, 112, 128, 160, 192, 224, 256}
_library = ""


def start(_):
    """After with_torch, which sets the number of threads. Of the library's three builds the one that vLLM takes itself."""
    global _library
    folder = Path(os.environ["PEERS_TREE"]) / "vllm"
    if (folder / "absent").exists():
        raise Missing((folder / "absent").read_text(encoding="utf-8").strip())
    name = "_C_AVX2"
    if torch.cpu._is_avx512_supported():
        name = "_C" if torch.cpu._is_avx512_bf16_supported() else "_C_AVX512"
    torch.ops.load_library(folder / "vllm" / f"{name}.abi3.so")
    _library = name
    return f"{(folder / 'installed').read_text(encoding='utf-8').strip()} ({name})"


def paged(key, value, isa):
    """The caches, their pages in no order, and the table of pages [B, most]."""
    batch, heads, length, dim = key.shape
    pages = -(-length // PAGE)
    caches = [torch.zeros(batch * pages, heads, PAGE, dim, dtype=key.dtype) for _ in "kv"]
    table = torch.randperm(batch * pages, generator=torch.Generator().manual_seed(1)).view(batch, pages)
    slots = (table[:, :, None] * PAGE + torch.arange(PAGE)).view(batch, -1)[:, :length].reshape(-1)
    rows = [x.transpose(1, 2).reshape(batch * length, heads, dim).contiguous() for x in (key, value)]
    torch.ops._C.cpu_attn_reshape_and_cache(*rows, *caches, slots, isa, 1.0, 1.0, "auto")
    return caches, table.to(torch.int32)


def entrant(data: Data):
    case = data.case
    first = tensor(data.sets[0][0])
    isa = "vec16" if case.dim % 32 else \
        "amx" if case.dtype is BF16 and torch.cpu._is_amx_tile_supported() else "vec"
    starts = torch.arange(0, (case.batch + 1) * case.queries, case.queries, dtype=torch.int32)
    lengths = torch.full((case.batch,), case.Tk, dtype=torch.int32)
    slopes = torch.from_numpy(data.slopes) if case.alibi else None
    plan = torch.ops._C.get_scheduler_metadata(case.batch, case.heads, case.Hk, case.dim, lengths, first.dtype, starts,
                                               case.causal, -1, isa, True, None, "auto")
    outputs, calls = [], []
    for arrays in data.sets:
        query, key, value = (tensor(array) for array in arrays)
        (keys, values), table = paged(key, value, isa)
        packed = query.transpose(1, 2).reshape(-1, case.heads, case.dim).contiguous()
        outputs.append(torch.empty_like(packed))
        arguments = (packed, keys, values, outputs[-1], starts, lengths, case.dim ** -0.5, case.causal, slopes, -1, table,
                     case.softcap, plan, None, None, 1.0, 1.0, "auto")
        calls.append(lambda arguments=arguments: torch.ops._C.cpu_attention_with_kv_cache(*arguments))
    read = lambda _: outputs[0].view(case.batch, case.queries, case.heads, case.dim).transpose(1, 2).float().numpy()
    return Entrant("vllm", calls, read, f"{_library}, {isa}, pages of {PAGE}")


def peers(data):
    case = data.case
    if case.dim in DIMENSIONS and not case.window and not case.checkerboard:
        yield "vllm", lambda: entrant(data)


def finish():
    pass
