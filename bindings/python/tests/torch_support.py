# SPDX-License-Identifier: BSD-3-Clause
"""torch_support.py: what the tests with tensors have in common. Without PyTorch they are skipped."""

import sys
import unittest
from pathlib import Path

try:
    import numpy as np
    import torch
    import torch.nn.functional as F
except ImportError as missing:
    raise unittest.SkipTest(f"{missing.name} is missing") from None

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import attn
import attn.torch
from attn import _tensors

__all__ = ["F", "THEIRS", "_tensors", "attn", "close", "np", "order", "torch"]

torch.set_num_threads(1)
THEIRS = F.scaled_dot_product_attention
EPSILON = 2.0**-23


def close(got, want, units=64):
    """Within so many roundings of float32 of the largest number there is."""
    return (got - want).abs().max() <= units * EPSILON * (1 + want.abs().max())


def order(tensor):
    """The dimensions from the widest stride to the narrowest, and whether they lie without gaps."""
    by_stride = sorted(range(tensor.ndim), key=tensor.stride, reverse=True)
    return by_stride, tensor.permute(by_stride).is_contiguous()
