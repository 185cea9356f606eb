# SPDX-License-Identifier: BSD-3-Clause
"""attn.torch: attention for PyTorch on CPUs, by libattn, on tensors of float32, float64, bfloat16 or float16 as they lie.

    context = attn.torch.attention(query, key, score="additive", params={"W": W, "U": U, "v": v})     # differentiable
    layer = attn.torch.Attention("additive", query_dim=64, key_dim=32, hidden_dim=48)                 # a torch.nn.Module

    with attn.torch.enable():       # torch.nn.functional.scaled_dot_product_attention by libattn, where it can
        model(x).sum().backward()
"""

from ._function import attention
from ._merge import merge
from ._module import Attention
from ._replace import Replacement, disable, enable
from ._sentences import attentional, decomposable

__all__ = ["Attention", "Replacement", "attention", "attentional", "decomposable", "disable", "enable", "merge"]
