# SPDX-License-Identifier: BSD-3-Clause
"""_once.py: gradients that say so when they are to be differentiated again: libattn has first derivatives alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

_SENTENCE = ("libattn has no second derivatives: its gradients cannot be differentiated again. torch has those of "
             "torch.nn.functional.scaled_dot_product_attention, within "
             "torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH), where attn.torch.enable() leaves it "
             "to torch too")


class _Gradients(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, compute: Callable[[], tuple[Any, ...]], *sources: Any) -> tuple[Any, ...]:
        return compute()

    @staticmethod
    def backward(ctx: Any, *_: Any) -> Any:
        raise RuntimeError(_SENTENCE)


_apply: Any = _Gradients.apply


def gradients(compute: Callable[[], tuple[Any, ...]], *sources: Any) -> tuple[Any, ...]:
    """What compute() gives, for a backward() to return. Where torch goes back with create_graph, these depend on the
    sources, and whoever goes back through them is told that he cannot: without that they would count as constants."""
    made: tuple[Any, ...] = _apply(compute, *sources) if torch.is_grad_enabled() else compute()
    return made
