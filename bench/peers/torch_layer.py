# SPDX-License-Identifier: BSD-3-Clause
"""torch_layer.py: torch.nn.MultiheadAttention, as it is and compiled: self-attention of a layer with packed parameters,
forward as it infers, or backward as it trains."""

import torch

from measure import Entrant
from torch_gradients import recording

NAMES = {"W_qkv": "in_proj_weight", "b_qkv": "in_proj_bias", "W_o": "out_proj.weight", "b_o": "out_proj.bias"}


def layer(data):
    case = data.case
    made = torch.nn.MultiheadAttention(case.width, case.heads, batch_first=True)
    made.load_state_dict({NAMES[name]: torch.from_numpy(array) for name, array in data.params.items()})
    return made


def function_of(made, compiled):
    attend = lambda x: made(x, x, x, need_weights=False)[0]
    return torch.compile(attend, dynamic=False) if compiled else attend


def forward(data, compiled):
    made, x = layer(data).eval(), torch.from_numpy(data.sets[0][0])
    function = function_of(made, compiled)
    return Entrant(name_of(compiled), [lambda: function(x)], lambda output: output.numpy(),
                   "inductor, C++" if compiled else "inference")


def backward(data, compiled):
    with recording():
        made = layer(data).train()
        x = torch.from_numpy(data.sets[0][0]).requires_grad_()
        leaves = {"query": x, **{name: made.get_parameter(NAMES[name]) for name in data.params}}
        flow = torch.from_numpy(data.flow)
        function, outputs = function_of(made, compiled), []

    def before():
        outputs.clear()
        with recording():
            outputs.append(function(x))

    def run():
        with recording():
            return torch.autograd.grad(outputs.pop(), list(leaves.values()), flow)

    read = lambda gradients: {name: gradient.numpy() for name, gradient in zip(leaves, gradients)}
    return Entrant(name_of(compiled), [run], read, "inductor, C++" if compiled else "autograd", before=before)


def name_of(compiled):
    return "torch-mha-compile" if compiled else "torch-mha"


def peers(data):
    make = backward if data.flow is not None else forward
    for compiled in (False, True):
        yield name_of(compiled), lambda compiled=compiled: make(data, compiled)
