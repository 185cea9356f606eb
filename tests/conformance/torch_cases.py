# SPDX-License-Identifier: BSD-3-Clause
"""torch_cases.py: PyTorch's own sample inputs (OpInfo) of scaled_dot_product_attention and multi_head_attention_forward,
forward and backward, with the library in the place of torch's attention."""

import attn.torch
import torch
import torch.nn.functional as F
from outcome import Suite
from torch.testing._internal.common_methods_invocations import op_db

OPERATORS = "nn.functional.scaled_dot_product_attention", "nn.functional.multi_head_attention_forward"
HALVES = torch.float16, torch.bfloat16
_theirs = F.scaled_dot_product_attention
_math = torch.ops.aten._scaled_dot_product_attention_math


def broadcast(query, key, value):
    """Leading dimensions are broadcast in torch; the library wants them equal, and takes a stride of 0 for that."""
    front = torch.broadcast_shapes(query.shape[:-2], key.shape[:-2], value.shape[:-2])
    return [tensor.expand(*front, *tensor.shape[-2:]) for tensor in (query, key, value)]


class Replaced:
    """scaled_dot_product_attention by the library; it remembers what the last call with dropout kept."""

    def __init__(self):
        self.kept, self.calls = None, 0

    def __call__(self, query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False):
        self.calls += 1
        tensors = [query, key, value] if enable_gqa else broadcast(query, key, value)
        rule = {"scale": scale, "causal": "top_left" if is_causal else None, "dropout": dropout_p, "seed": 9}
        if attn_mask is not None:
            name = "mask" if attn_mask.dtype == torch.bool else "bias"
            rule[name] = attn_mask if name == "mask" else attn_mask.to(query.dtype)
        result = attn.torch.attention(*tensors, **rule, return_weights=bool(dropout_p))
        if dropout_p:
            self.kept = result.weights.detach() != 0
        return result.context if dropout_p else result


def by_their_math(kept):
    """Torch's attention with the weights dropped that the library has dropped."""

    def attention(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False):
        if is_causal:
            attn_mask = torch.full((query.shape[-2], key.shape[-2]), -torch.inf, dtype=query.dtype).triu(1)
        return _math(query, key, value, attn_mask, dropout_p, False, kept, scale=scale, enable_gqa=enable_gqa)[0]

    return attention


def run(operator, sample, attention):
    """What it gives, and gradients of its sum with weights that are the same each time."""
    leaves = [given for given in (sample.input, *sample.args, *sample.kwargs.values())
              if isinstance(given, torch.Tensor) and given.requires_grad]
    F.scaled_dot_product_attention = attention
    try:
        function = attention if operator.name == OPERATORS[0] else operator.op
        outputs = function(sample.input, *sample.args, **sample.kwargs)
    finally:
        F.scaled_dot_product_attention = _theirs
    output = outputs[0] if isinstance(outputs, tuple) else outputs
    flow = torch.linspace(-1, 1, output.numel()).bfloat16().to(torch.float16).to(output).reshape(output.shape)  # in any type
    return output.detach(), torch.autograd.grad(output, leaves, flow, allow_unused=True)


def met(got, want):
    """Whether torch.testing.assert_close takes them for close, by the tolerances that it has for the type; and by how much
    they differ at most."""
    off = max((float((one - other).abs().max()) for one, other in zip(got, want)), default=0.0)
    try:
        for one, other in zip(got, want):
            torch.testing.assert_close(one, other.to(one.dtype))
    except AssertionError:
        return False, off
    return True, off


def compare(operator, sample, name, dtype, suites):
    """Outputs and gradients, ours and torch's, each against torch's in float64."""
    ours = Replaced()
    got = run(operator, sample, ours)
    assert ours.calls == 1, "the library was not asked"
    theirs = _theirs if ours.kept is None else by_their_math(ours.kept)
    exact = sample.transform(lambda x: x.detach().double().requires_grad_() if isinstance(x, torch.Tensor)
                             and x.is_floating_point() else x)
    want, own = run(operator, exact, theirs), run(operator, sample, theirs)
    for suite, part in ((suites[dtype, "outputs"], lambda made: made[:1]),
                        (suites[dtype, "gradients"], lambda made: made[1])):
        (near, off), (near_too, off_too) = met(part(got), part(want)), met(part(own), part(want))
        suite.peers += near_too
        if near:
            suite.passed.append(name)
        else:
            suite.failed[name] = f"off by {off:.1e}; torch's own by {off_too:.1e}, which " + (
                "is close enough" if near_too else "is not close enough either")


def described(sample):
    shape = lambda given: tuple(given.shape) if isinstance(given, torch.Tensor) else given
    more = [f"{name}={shape(given)}" for name, given in sample.kwargs.items() if given is not None]
    return ", ".join(map(str, [shape(sample.input), *map(shape, sample.args), *more]))


def suites():
    made = {}
    for dtype in (torch.float64, torch.float32, *HALVES):
        for part in ("outputs", "gradients"):
            made[dtype, part] = Suite(
                f"PyTorch, {part} in {str(dtype).split('.')[-1]}",
                f"torch {torch.__version__}, OpInfo's sample inputs of {' and '.join(OPERATORS)}",
                "against torch's float64, by torch.testing.assert_close with its tolerances for the type",
                exact=dtype == torch.float64 or dtype in HALVES and part == "outputs")
    dropped = 0
    for operator in op_db:
        if operator.name not in OPERATORS:
            continue
        # The projections of a layer are torch's: their roundings in half types would be all that there is to see.
        for dtype in (torch.float64, torch.float32, *(HALVES if operator.name == OPERATORS[0] else ())):
            torch.manual_seed(0)
            for number, sample in enumerate(operator.sample_inputs("cpu", dtype, requires_grad=True)):
                if operator.name == OPERATORS[1]:  # its own sample asks for weights, which is another way through torch
                    sample.kwargs["need_weights"] = False
                dropped += sample.kwargs.get("dropout_p", 0.0) > 0
                compare(operator, sample, f"{operator.name.split('.')[-1]} {number}: {described(sample)}", dtype, made)
    made[torch.float64, "outputs"].notes = [
        f"{dropped} samples have dropout: torch's own formula is then given the weights that the library has dropped.",
        "Half types are computed in float32 and rounded at the end, gradients from a context that was not rounded. What fails "
        "of these should be 0 or nearly so, and is off by up to 3e-5, as in float32: assert_close allows 1e-5 there.",
        "The sample of multi_head_attention_forward is run with need_weights=False: with weights torch does not call "
        "scaled_dot_product_attention.",
        "OpInfo's numbers are up to 9 in size, and scores up to some hundred, of the layer some ten thousand. Float32 has "
        "steps of 1e-5 there or, of the layer, 1e-3, and assert_close allows 1e-5: what fails is off by a few of these "
        "steps, as torch's own is here and there.",
    ]
    return list(made.values())
