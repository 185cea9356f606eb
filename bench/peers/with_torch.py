# SPDX-License-Identifier: BSD-3-Clause
"""with_torch.py: PyTorch: scaled_dot_product_attention, flex_attention compiled, and for what neither computes plain
operators, eager, compiled and scripted."""

import math

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

import torch_gradients
import torch_layer
import torch_tokens
from cases import BLOCK
from dtypes import BF16, F16, F32
from measure import Entrant

KINDS = {"attention", "decode", "chunk", "additive", "tiny", "gradient", "additive-gradient", "tokens", "layer",
         "layer-gradient"}  # of cases it computes
DTYPES = {F32, BF16, F16}

_inference = torch.inference_mode()


def start(threads):
    torch.set_num_threads(threads)
    _inference.__enter__()  # for good: nothing is recorded for gradients, at the least cost a call
    blas = "MKL" if torch.backends.mkl.is_available() else "no MKL"
    return f"torch {torch.__version__} ({torch.backends.cpu.get_cpu_capability()}, {blas})"


def tensors(sets):
    return [tuple(None if x is None else torch_gradients.tensor(x) for x in s) for s in sets]


def entrant(name, function, sets, backend):
    return Entrant(name, [lambda s=s: function(*s) for s in sets], lambda context: context.float().numpy(), backend)


def sdpa(data, expand):
    """torch-sdpa: with the mask or bias that the case has; key heads repeated beforehand, or by the operator."""
    case, mask = data.case, None
    sets = tensors(data.expanded() if expand else data.sets)
    if case.alibi:
        mask = torch.from_numpy(data.bias())[None]  # of four dimensions, or it takes no fused kernel
    elif case.window or case.checkerboard or case.kind == "chunk":
        mask = torch.from_numpy(data.mask)
    options = dict(attn_mask=mask, is_causal=case.causal and mask is None,
                   enable_gqa=not expand and case.Hk != case.heads)
    q, k, v = sets[0]
    backend = SDPBackend(torch._fused_sdp_choice(q, k, v, mask, 0.0, options["is_causal"],
                                                 enable_gqa=options["enable_gqa"])).name
    return entrant("torch-sdpa" if expand else "torch-sdpa-gqa",
                   lambda q, k, v: F.scaled_dot_product_attention(q, k, v, **options), sets, backend)


def sdpa_by_rows(data):
    """The heads of a group as rows of one head, so that keys and values are read once; what queries may see is the same for
    each head."""
    case, mask = data.case, None
    if case.kind == "chunk":
        mask = torch.from_numpy(data.mask).repeat(case.heads // case.Hk, 1)
    sets = [(q.reshape(case.batch, case.Hk, -1, case.dim), k, v) for q, k, v in tensors(data.sets)]
    made = entrant("torch-sdpa-rows", lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=mask), sets,
                   "a group as rows")
    made.read = lambda context: context.reshape(case.batch, case.heads, case.queries, -1).float().numpy()
    return made


def flex(data, expand):
    """torch-flex: compiled, with a block mask where keys are hidden and a score function where scores are changed."""
    compiled, grouped = flex_function(data, expand)
    return entrant("torch-flex-gqa" if grouped else "torch-flex", compiled,
                   tensors(data.expanded() if expand else data.sets), "inductor, C++")


def flex_function(data, expand):
    case = data.case
    hidden = score = None
    if case.causal:
        hidden = lambda b, h, i, j: i >= j
    if case.window:
        left, right = case.window, case.window
        hidden = lambda b, h, i, j: (j >= i - left) & (j <= i + right)
    if case.checkerboard:
        hidden = lambda b, h, i, j: (i // BLOCK + j // BLOCK) % 2 == 0
    if case.alibi:
        slopes = torch.from_numpy(data.slopes)
        score = lambda s, b, h, i, j: s - slopes[h] * (i - j)
    if case.softcap:
        cap = case.softcap
        score = lambda s, b, h, i, j: cap * torch.tanh(s / cap)
    mask = create_block_mask(hidden, None, None, case.queries, case.Tk, device="cpu") if hidden else None
    compiled = torch.compile(flex_attention, dynamic=False)
    grouped = not expand and case.Hk != case.heads
    return (lambda q, k, v: compiled(q, k, v, score_mod=score, block_mask=mask, enable_gqa=grouped)), grouped


def gradients(data, name):
    """Of scaled_dot_product_attention, or of flex_attention compiled."""
    case = data.case
    if name == "torch-flex":
        with torch_gradients.recording():
            made = torch_gradients.entrant(name, flex_function(data, True)[0], data, "inductor, C++")
        return torch_gradients.unless_it_has_none(made, "compiled flex_attention")
    q, k, v = tensors(data.sets)[0]
    backend = SDPBackend(torch._fused_sdp_choice(q, k, v, None, 0.0, case.causal)).name
    return torch_gradients.entrant(name, lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=case.causal),
                                   data, backend)


def additive_gradients(data, compiled):
    def attention(query, key, value, v):
        return torch.softmax(torch.tanh(query[:, :, None] + key[:, None]) @ v, -1) @ value

    return torch_gradients.entrant("torch-compile" if compiled else "torch-eager",
                                   torch.compile(attention, dynamic=False) if compiled else attention, data,
                                   "inductor, C++" if compiled else "operators", squeeze=True)


def additive(data, compiled):
    data = data.projected()
    states = data.case.states
    v, W, U = (torch.from_numpy(data.params[name]) if name in data.params else None for name in "vWU")

    def attention(query, key, value):
        q, k = (F.linear(query, W), F.linear(key, U)) if states else (query, key)
        weights = torch.softmax(torch.tanh(q[:, :, None] + k[:, None]) @ v, -1)
        return weights @ (key if value is None else value)

    function = torch.compile(attention, dynamic=False) if compiled else attention
    sets = [tuple(None if x is None else x[:, 0] for x in s) for s in tensors(data.sets)]
    made = entrant("torch-compile" if compiled else "torch-eager", function, sets,
                   "inductor, C++" if compiled else "operators")
    made.read = lambda context: context.numpy()[:, None]
    return made


def textbook(q, k, v):
    return torch.bmm(torch.softmax(torch.bmm(q, k.transpose(1, 2)), -1), v)


def scripted(q, k, v, times: int):
    for _ in range(times):  # each from the one before, or the optimiser computes one for many
        q = torch.bmm(torch.softmax(torch.bmm(q, k.transpose(1, 2)), -1), v)
    return q


def tiny(data, by_script):
    """bmm, softmax, bmm; the scale is folded into the query beforehand. Scripted, no Python runs between calls."""
    q, k, v = (x[0] for x in tensors(data.sets)[0])
    q = q / math.sqrt(data.case.dim)
    read = lambda context: context.numpy()[None]
    if not by_script:
        return Entrant("torch-bmm", [lambda: textbook(q, k, v)], read, "operators, called from Python")
    function, times = torch.jit.script(scripted), 1000
    for _ in range(5):
        function(q, k, v, times)  # it watches the first runs, and optimises then
    return Entrant("torch-bmm-scripted", [lambda: function(q, k, v, times)], lambda _: read(function(q, k, v, 1)),
                   "operators, called from TorchScript", batch=times)


def peers(data):
    """(name, how to make it) of what can compute the case."""
    case = data.case
    if case.is_layer:
        yield from torch_layer.peers(data)
        return
    if case.kind == "gradient":
        for name in ("torch-sdpa", "torch-flex") if case.dtype is F32 else ("torch-sdpa",):
            yield name, lambda name=name: gradients(data, name)
        return
    if case.kind == "additive-gradient":
        yield "torch-eager", lambda: additive_gradients(data, False)
        yield "torch-compile", lambda: additive_gradients(data, True)
        return
    if case.kind == "tokens":
        yield from torch_tokens.peers(data)
        return
    if case.kind == "additive":
        yield "torch-eager", lambda: additive(data, False)
        yield "torch-compile", lambda: additive(data, True)
        return
    if case.kind == "tiny":
        yield "torch-bmm", lambda: tiny(data, False)
        yield "torch-bmm-scripted", lambda: tiny(data, True)
    if not case.softcap:
        if case.bytes * case.heads // case.Hk <= 1 << 30:
            yield "torch-sdpa", lambda: sdpa(data, True)
        if case.kind in ("decode", "chunk") and case.Hk != case.heads:
            yield "torch-sdpa-gqa", lambda: sdpa(data, False)
            yield "torch-sdpa-rows", lambda: sdpa_by_rows(data)
    if case.dtype is F32 and case.kind == "attention":
        yield "torch-flex", lambda: flex(data, True)
    if case.dtype is F32 and case.kind == "decode":
        yield "torch-flex-gqa", lambda: flex(data, False)


def finish():
    torch._dynamo.reset()  # or it stops compiling after eight shapes, and runs unfused
