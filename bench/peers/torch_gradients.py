# SPDX-License-Identifier: BSD-3-Clause
"""torch_gradients.py: PyTorch's autograd: backward alone, after a forward pass that is not timed; or both."""

import contextlib

import numpy as np
import torch

from dtypes import BF16
from measure import Entrant


def tensor(array):
    """Over the array's memory. NumPy has no bfloat16 that PyTorch knows."""
    if array.dtype == BF16.inputs:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


@contextlib.contextmanager
def recording():
    """The process is in inference mode otherwise."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def entrant(name, function, data, backend, squeeze=False):
    """function(query, key, value, *params) is the context. squeeze: it knows no heads."""
    case = data.case
    plain = (lambda array: array[:, 0]) if squeeze else (lambda array: array)
    names = ["query", "key", "value", *data.params]
    with recording():
        leaves = [tensor(plain(array)).requires_grad_() for array in data.sets[0]]
        leaves += [torch.from_numpy(array).requires_grad_() for array in data.params.values()]
        flow = tensor(plain(data.flow))
    context = []

    def forward():
        context.clear()  # or two of them are there at once
        with recording():
            context.append(function(*leaves))

    def backward():
        with recording():
            return torch.autograd.grad(context.pop(), leaves, flow)

    def train():
        with recording():
            return torch.autograd.grad(function(*leaves), leaves, flow)

    def read(gradients):
        arrays = dict(zip(names, (gradient.float().numpy() for gradient in gradients)))
        return {name: array[:, None] if squeeze and name in names[:3] else array for name, array in arrays.items()}

    return Entrant(name, [train if case.train else backward], read, backend, before=None if case.train else forward)


def unless_it_has_none(entrant, name):
    """The entrant, or why it has no backward pass, which a first one tells."""
    try:
        entrant.call()
        return entrant
    except NotImplementedError as error:
        return f"{name} has no backward pass on CPUs: {str(error).splitlines()[0]}"
    except Exception as error:
        why = str(error).strip().splitlines()
        return f"{name} fails in its backward pass: {type(error).__name__}: {why[0][:200] if why else ''}"
