# SPDX-License-Identifier: BSD-3-Clause
"""cases.py: what is measured: the shapes, their inputs, the work that they are, and the limit that they meet."""

import math
import os
from copy import copy
from dataclasses import dataclass, field, replace

import numpy as np

from dtypes import BF16, F16, F32, I8, DType

BLOCK = 128  # side of the tiles of the mask case


@dataclass(frozen=True)
class Case:
    """kind, which says what an entrant computes, and which peers can:
        attention           many queries, forward
        decode              one query, keys from memory
        chunk               the newest few queries of a sequence, causal from the bottom right, keys from memory
        additive            forward; with memory: keys are made ready before
        tiny                a call as short as calls get
        gradient            d_query, d_key, d_value of attention: backward alone, or with train forward and backward
        additive-gradient   the same of an additive score with projected inputs, and of its v
        local               predictive local attention, of a dot score
        tokens              tokens positions are appended to a cache of keys, and attended to, in turn
        layer               self-attention with projections, of heads x dim to as many: forward
        layer-gradient      its backward pass: of the input and all parameters"""

    name: str
    kind: str = "attention"
    dtype: DType = F32
    batch: int = 1
    heads: int = 1
    key_heads: int = 0  # 0: as many as heads
    queries: int = 0
    keys: int = 0  # 0: as many as queries
    dim: int = 64
    causal: bool = False
    alibi: bool = False
    softcap: float = 0.0
    window: int = 0  # keys on either side; 0: all
    checkerboard: bool = False  # a boolean mask, every second tile of 128 x 128 empty
    times: float = 1.0  # what the inputs are multiplied by
    layout: str = "BHSD"  # how the inputs lie in memory
    cold: bool = False  # inputs in turn from more memory than the last-level cache holds
    states: tuple = ()  # additive: dimensions of query and key where they are not projected yet
    memory: bool = False  # additive: keys are projected before, once; queries come projected
    train: bool = False  # gradients: forward is timed too
    half_width: int = 0  # local: keys on either side of the predicted one
    tokens: int = 0  # appended
    own_memory: bool = False  # what it takes beside its inputs and outputs is measured, in a process of its own
    quick: bool = False
    least_rounds: int = 7

    @property
    def Hk(self):
        return self.key_heads or self.heads

    @property
    def Tk(self):
        return self.keys if self.tokens else self.keys or self.queries

    @property
    def width(self):
        """Of a layer."""
        return self.heads * self.dim

    @property
    def is_layer(self):
        return self.kind.startswith("layer")

    @property
    def is_additive(self):
        return self.kind.startswith("additive")

    def visible(self, rows):
        """Which keys these query rows see: a boolean matrix, or None for all."""
        i, j = np.asarray(rows)[:, None], np.arange(self.Tk)
        if self.kind == "chunk":
            i = i + self.Tk - self.queries
        seen = None
        if self.causal:
            seen = j <= i
        if self.window:
            seen = abs(i - j) <= self.window
        if self.checkerboard:
            seen = (i // BLOCK + j // BLOCK) % 2 == 0
        return seen

    @property
    def pairs(self):
        """Visible pairs of query and key, of all heads."""
        per_head = self.queries * self.Tk
        if self.causal or self.window or self.checkerboard:
            per_head = sum(int(self.visible(range(first, min(first + 512, self.queries))).sum())
                           for first in range(0, self.queries, 512))
        return self.batch * self.heads * per_head

    @property
    def flops(self):
        forward, backward = 4 * self.dim, 10 * self.dim
        if self.is_layer:
            projections = 8 * self.batch * self.queries * self.width ** 2
            return projections + forward * self.pairs if self.kind == "layer" else 2 * projections + backward * self.pairs
        each = forward if self.kind != "gradient" else forward + backward if self.train else backward
        return each * self.pairs

    @property
    def bytes(self):
        """Of keys and values, read once; of keys that are made ready, those; of a cache, at each token."""
        if self.memory:
            return self.batch * self.Tk * (self.dim + self.states[1]) * self.dtype.size
        times = self.tokens * (self.keys + (self.tokens + 1) / 2) if self.tokens else self.Tk
        return int(2 * self.batch * self.Hk * times * self.dim * self.dtype.size)

    @property
    def footprint(self):
        """Of the memory that these bytes are read from."""
        return self.bytes // (self.tokens or 1)

    @property
    def elements(self):
        """Of an additive score: query x key x hidden."""
        return self.pairs * self.dim

    @property
    def gemm_flops(self):
        """Projections of an additive score from its states."""
        if not self.states or self.memory:
            return 0
        return 2 * self.batch * self.dim * (self.queries * self.states[0] + self.Tk * self.states[1])

    def unit(self, seconds):
        """A time in the case's own figure, and that figure's name."""
        if self.kind == "decode":
            return self.bytes / seconds * 1e-9, "GB/s"
        if self.is_additive:
            return seconds / self.elements * 1e9, "ns per element"
        if self.kind == "local":
            return seconds * 1e6, "us"
        if self.kind == "tokens":
            return self.tokens / seconds, "tokens/s"
        if self.kind == "tiny":
            return seconds * 1e9, "ns"
        return self.flops / seconds * 1e-9, "GFLOP/s"

    def limit(self, peak, stream):
        """The least time that the machine allows, at this peak (GFLOP/s) and stream (GB/s), None where no limit was
        set; and what it is made of."""
        if self.kind in ("decode", "tokens") or (self.kind == "additive" and self.queries == 1):
            return self.bytes / stream * 1e-9, "streaming read"
        if self.kind == "additive":
            return ((self.gemm_flops + 15 * self.elements) / peak * 1e-9,
                    ("products, and " if self.states else "") + "15 peak flops per element")
        if self.kind in ("tiny", "local", "additive-gradient"):
            return None, "none"
        if self.kind == "chunk" and self.bytes / stream > self.flops / peak:
            return self.bytes / stream * 1e-9, "streaming read"
        return self.flops / peak * 1e-9, "FMA peak"


def typed(dtypes, name, **shape):
    """The case in each of these types, those other than float32 by their names."""
    return [Case(name if dtype is F32 else f"{name}-{dtype.name}", dtype=dtype,
                 **{**shape, "quick": shape.get("quick", False) and dtype is not F16}) for dtype in dtypes]


HALVES, FLOATS, EVERY = (BF16, F16), (F32, BF16, F16), (F32, BF16, F16, I8)
GPT2, LLAMA = dict(heads=12, causal=True), dict(heads=32, key_heads=8, dim=128, causal=True)
STEP = dict(kind="decode", heads=32, key_heads=8, dim=128, queries=1)
ADDITIVE = dict(kind="additive", batch=80, keys=50, dim=1000)
CASES = [
    Case("bert-b8-s384", batch=8, heads=12, queries=384, quick=True),
    Case("bert-b1-s128", heads=12, queries=128),
    Case("bert-b1-s512", heads=12, queries=512),
    Case("s2048-d64", heads=8, queries=2048),
    Case("s2048-d128", heads=8, queries=2048, dim=128),
    Case("gpt2-s128", queries=128, **GPT2),
    Case("gpt2-s512", queries=512, quick=True, **GPT2),
    Case("gpt2-s1024", queries=1024, **GPT2),
    Case("llama-prefill-s512", queries=512, **LLAMA),
    Case("llama-prefill-s2048", queries=2048, **LLAMA),
    Case("llama-prefill-s4096", queries=4096, **LLAMA),
    Case("llama-prefill-s2048-alibi", queries=2048, alibi=True, **LLAMA),
    Case("llama-prefill-s2048-softcap30", queries=2048, softcap=30.0, **LLAMA),
    Case("hot-s2048-d64", heads=8, queries=2048, times=4),
    Case("hot-gpt2-s1024", queries=1024, times=4, **GPT2),
    Case("one-causal-head-s4096", queries=4096, causal=True),
    Case("decode-t1k", keys=1024, **STEP),
    Case("decode-t4k", keys=4096, cold=True, quick=True, **STEP),
    Case("decode-t16k", keys=16384, cold=True, **STEP),
    Case("decode-t64k", keys=65536, cold=True, **STEP),
    Case("additive-projected", queries=50, quick=True, **ADDITIVE),
    Case("additive-states", queries=50, states=(1000, 2000), **ADDITIVE),
    Case("additive-step", queries=1, **ADDITIVE),
    Case("mask-half", heads=8, queries=2048, checkerboard=True, quick=True),
    Case("tiny", kind="tiny", queries=1, keys=5, dim=4, quick=True),
    Case("long-s16k", heads=8, queries=16384),
    Case("awkward-d80", heads=12, queries=512, dim=80),
    Case("awkward-d40", heads=12, queries=512, dim=40),
    Case("luong-window", batch=8, queries=512, dim=1000, window=10),
    Case("strided", batch=4, heads=12, queries=512, layout="BSHD", quick=True),
    Case("bert-backward", kind="gradient", batch=8, heads=12, queries=384),
    Case("s2048-backward", kind="gradient", heads=8, queries=2048),
    Case("gpt2-backward", kind="gradient", queries=1024, quick=True, **GPT2),
    Case("causal-head-train", kind="gradient", queries=2048, causal=True, train=True),
    Case("additive-train", queries=50, train=True, own_memory=True, **{**ADDITIVE, "kind": "additive-gradient"}),
    *(Case(f"local-p-{name}-s{keys}", kind="local", keys=keys, dim=1000, half_width=10, **shape)
      for name, shape in (("step", dict(batch=80, queries=1)), ("t32", dict(queries=32)))
      for keys in (256, 512, 1024, 2048, 4096, 8192)),
    Case("multihead-layer", kind="layer", batch=8, heads=12, queries=384, quick=True),
    Case("multihead-layer-backward", kind="layer-gradient", batch=8, heads=12, queries=384, quick=True),
    Case("decode-memory-t0", keys=0, tokens=256, **{**STEP, "kind": "tokens"}),
    Case("decode-memory-t4k", keys=4096, tokens=256, **{**STEP, "kind": "tokens"}),
    Case("additive-step-memory", queries=1, states=(1000, 2000), memory=True, quick=True, **ADDITIVE),
    *typed(EVERY, "decode-t1k-cold", keys=1024, cold=True, **STEP),
    *typed((BF16, F16, I8), "decode-t4k", keys=4096, cold=True, quick=True, **STEP),
    *typed((BF16, F16, I8), "decode-t16k", keys=16384, cold=True, **STEP),
    *typed(EVERY, "decode-b16-t1k", batch=16, keys=1024, cold=True, **STEP),
    *typed(EVERY, "decode-b16-t2k", batch=16, keys=2048, cold=True, **STEP),
    *typed(EVERY, "decode-b16-t512-d64", kind="decode", batch=16, heads=12, queries=1, keys=512, cold=True),
    *(case for queries in (2, 4, 8, 16, 32) for case in
      typed(EVERY, f"queries-{queries}-t2k", **{**LLAMA, "kind": "chunk", "queries": queries, "keys": 2048})),
    *typed(FLOATS, "llama-prefill-s1024", queries=1024, **LLAMA),
    *typed(HALVES, "llama-prefill-s2048", queries=2048, **LLAMA),
    *typed(FLOATS, "gpt2-s2048", queries=2048, **GPT2),
    *typed([BF16], "bert-backward", kind="gradient", batch=8, heads=12, queries=384),
    *typed([BF16], "s2048-backward", kind="gradient", heads=8, queries=2048),
    *typed([BF16], "gpt2-backward", kind="gradient", queries=1024, **GPT2),
]


def last_level_cache():
    """Bytes, 32 MB where the system does not say."""
    try:
        with open("/sys/devices/system/cpu/cpu0/cache/index3/size", encoding="ascii") as file:
            return int(file.read().strip().rstrip("K")) << 10
    except (OSError, ValueError):
        return 32 << 20


def aligned(shape, dtype=F32.inputs):
    """An uninitialised array on a cache line, as the peers allocate their own: a tenth of the time of some."""
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start:start + size].view(dtype).reshape(shape)


def aligned_copy(array, dtype=None):
    """Contiguous, and on a cache line; rounded to the nearest where the dtype is a narrower one."""
    copy = aligned(array.shape, dtype or array.dtype)
    copy[...] = array
    return copy


def repeated(shape, scale):
    """Normal numbers, a million of them again and again: gigabytes of others would take longer than the measurement.
    Their number is prime, so that rows differ."""
    array, pool = aligned(shape), np.random.default_rng(2).standard_normal(1000003, np.float32) * np.float32(scale)
    flat = array.reshape(-1)
    for start in range(0, flat.size, pool.size):
        part = flat[start:start + pool.size]
        part[...] = pool[:part.size]
    return array


@dataclass
class Data:
    """A case's inputs, which every entrant reads in place. sets holds (query, key, value) to be used in turn; of tokens
    the queries, keys and values that come are [tokens, B, H, 1, D], and params has those of the cache. flow is the
    gradient of the context."""

    case: Case
    sets: list = field(default_factory=list)
    params: dict = field(default_factory=dict)
    flow: np.ndarray = None

    def __post_init__(self):
        case, random = self.case, np.random.default_rng(1)

        def normal(*shape, scale=1.0):
            array = aligned(shape)
            random.standard_normal(out=array, dtype=np.float32)
            array *= np.float32(scale * case.times)
            return array if case.dtype.inputs == array.dtype else aligned_copy(array, case.dtype.inputs)

        def heads(count, length):
            if case.layout == "BSHD":
                return normal(case.batch, length, count, case.dim).transpose(0, 2, 1, 3)
            return normal(case.batch, count, length, case.dim)

        copies = max(1, math.ceil(4 * last_level_cache() / case.bytes)) if case.cold else 1
        if case.cold and copies == 1 and case.bytes < 8 * last_level_cache():
            copies = 2
        for _ in range(copies):
            if case.is_additive:  # projections of a trained model keep tanh out of its flat ends
                dims = case.states or (case.dim, case.dim)
                shrink = 1.0 if case.states else 0.5
                query = normal(case.batch, 1, case.queries, dims[0], scale=0.5 if case.memory else shrink)
                key = normal(case.batch, 1, case.Tk, dims[1], scale=shrink)
                self.sets.append((query, key, None if case.states else normal(case.batch, 1, case.Tk, case.dim)))
            elif case.kind == "local":  # the keys are the values; scores, which are not scaled, are around 2
                query = heads(1, case.queries)
                query *= np.float32(0.25)
                self.sets.append((query, repeated((case.batch, 1, case.Tk, case.dim), 0.25), None))
            elif case.is_layer:
                self.sets.append((normal(case.batch, case.queries, case.width), None, None))
            elif case.kind == "tokens":
                each = lambda count: normal(case.tokens, case.batch, count, 1, case.dim)
                self.sets.append((each(case.heads), each(case.Hk), each(case.Hk)))
                self.params = {name: heads(case.Hk, case.keys) for name in ("past_key", "past_value")}
            else:
                self.sets.append((heads(case.heads, case.queries), heads(case.Hk, case.Tk), heads(case.Hk, case.Tk)))
        if case.kind == "layer-gradient":
            self.flow = normal(*self.sets[0][0].shape)
        elif case.kind.endswith("gradient"):
            value = self.sets[0][2]
            self.flow = normal(case.batch, case.heads, case.queries, value.shape[-1])
        if case.kind == "local":
            self.params = {"W_p": normal(case.dim, case.dim, scale=2 * case.dim ** -0.5),
                           "v_p": normal(case.dim, scale=2 * case.dim ** -0.5)}
        if case.is_layer:
            spread = case.width ** -0.5
            self.params = {"W_qkv": normal(3 * case.width, case.width, scale=spread), "b_qkv": normal(3 * case.width),
                           "W_o": normal(case.width, case.width, scale=spread), "b_o": normal(case.width)}
        if case.is_additive:
            self.params["v"] = normal(case.dim, scale=case.dim ** -0.5)
            if case.states and not case.memory:
                self.params["W"] = normal(case.dim, case.states[0], scale=0.5 * case.states[0] ** -0.5)
            if case.states:
                self.params["U"] = normal(case.dim, case.states[1], scale=0.5 * case.states[1] ** -0.5)

    def projected(self):
        """The same case for those who have no memory: keys projected before, by float32 products; else itself."""
        if not self.case.memory:
            return self
        other = copy(self)
        other.case = replace(self.case, states=(), memory=False)
        other.sets = [(query, aligned_copy(key @ self.params["U"].T), key) for query, key, _ in self.sets]
        other.params = {"v": self.params["v"]}
        return other

    @property
    def slopes(self):
        return np.float32(2) ** (-8 * np.arange(1, self.case.heads + 1, dtype=np.float32) / self.case.heads)

    @property
    def mask(self):
        """[Tq, Tk], true: seen; None where all is."""
        return self.case.visible(range(self.case.queries))

    def bias(self):
        """ALiBi as a float bias [H, Tq, Tk], minus infinity where causal hides, for peers that have no other."""
        i, j = np.arange(self.case.queries)[:, None], np.arange(self.case.Tk)
        bias = -self.slopes[:, None, None] * abs(i - j).astype(np.float32)
        bias[:, ~self.mask] = -np.inf
        return aligned_copy(bias)

    def mask_as_bias(self):
        """[1, 1, Tq, Tk]: zero where seen, else minus infinity."""
        return aligned_copy(np.where(self.mask, 0, -np.inf).astype(np.float32)[None, None])

    def expanded(self):
        """The sets with key heads repeated for their group, for peers that know no groups."""
        group = self.case.heads // self.case.Hk
        if group == 1:
            return self.sets
        return [(q, aligned_copy(k.repeat(group, 1)), aligned_copy(v.repeat(group, 1))) for q, k, v in self.sets]


def unmasked(case):
    """What a case is compared with inside libattn, if anything: the other case, and the share of its time to meet."""
    if case.checkerboard:
        return replace(case, checkerboard=False), 0.5, "libattn, half of all tiles"
    if case.times != 1:
        return replace(case, times=1.0), 1.0, "libattn, inputs not hot"
    return None
