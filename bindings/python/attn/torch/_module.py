# SPDX-License-Identifier: BSD-3-Clause
"""_module.py: a mechanism as a torch.nn.Module, whose parameters torch trains."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from .._mechanism import Mechanism
from .._words import Score
from ._function import attention


class Attention(torch.nn.Module):
    """attn.torch.attention() with parameters of its own, by the names that the papers have for them. local is ("monotonic",
    half_width), or ("predictive", half_width, query_dim, hidden_dim) or likewise "predictive_floor"; rule is whatever
    else attention() takes."""

    def __init__(self, score: Score = "scaled_dot", *, query_dim: int | None = None, key_dim: int | None = None,
                 hidden_dim: int | None = None, max_keys: int | None = None, flags: Iterable[str] = (),
                 local: Any = None, dtype: torch.dtype | None = None, **rule: Any):
        super().__init__()
        shapes = Mechanism(score, query_dim=query_dim, key_dim=key_dim, hidden_dim=hidden_dim, max_keys=max_keys,
                           flags=flags, local=local).param_shapes()
        self.rule = {"score": score, **({} if local is None else {"local": tuple(local[:2])}), **rule}
        self.names = tuple(shapes)
        for name, shape in shapes.items():
            self.register_parameter(name, torch.nn.Parameter(torch.empty(shape, dtype=dtype)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """As torch.nn.Linear begins: uniformly within 1 / sqrt(inputs); b at 0, and g with the length of v."""
        with torch.no_grad():
            for name, tensor in self.named_parameters(recurse=False):
                bound = tensor.shape[-1]**-0.5
                tensor.uniform_(-bound, bound)
            if "b" in self.names:
                self.get_parameter("b").zero_()
            if "g" in self.names:
                self.get_parameter("g").fill_(self.get_parameter("v").norm())

    def forward(self, query: torch.Tensor, key: torch.Tensor | None, value: torch.Tensor | None = None,
                **given: Any) -> Any:
        params = {name: self.get_parameter(name) for name in self.names}
        return attention(query, key, value, params=params, **{**self.rule, **given})

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={word!r}" for name, word in self.rule.items())
