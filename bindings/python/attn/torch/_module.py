# SPDX-License-Identifier: BSD-3-Clause
"""_module.py: a mechanism as a torch.nn.Module, whose parameters torch trains."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from .._mechanism import Mechanism
from .._words import Score
from . import _projected
from ._function import attention
from ._tensors import plain


class Attention(torch.nn.Module):
    """attn.torch.attention() with parameters of its own, by the names that the papers have for them. local is ("monotonic",
    half_width), or ("predictive", half_width, query_dim, hidden_dim) or likewise "predictive_floor"; rule is whatever
    else attention() takes.

    Keys that are read in many calls, as by a decoder's steps, are projected once:

        keys = layer.project_keys(states)
        for query in ...: context = layer(query, keys, states, key_projected=True)"""

    def __init__(self, score: Score = "scaled_dot", *, query_dim: int | None = None, key_dim: int | None = None,
                 hidden_dim: int | None = None, max_keys: int | None = None, flags: Iterable[str] = (),
                 local: Any = None, dtype: torch.dtype | None = None, **rule: Any):
        super().__init__()
        shapes = Mechanism(score, query_dim=query_dim, key_dim=key_dim, hidden_dim=hidden_dim, max_keys=max_keys,
                           flags=flags, local=local).param_shapes()
        self.rule = {"score": score, **({} if local is None else {"local": tuple(local[:2])}), **rule}
        self.names, self.query_dim = tuple(shapes), query_dim
        for name, shape in shapes.items():
            self.register_parameter(name, torch.nn.Parameter(torch.empty(shape, dtype=dtype)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """As torch.nn.Linear begins: uniformly within 1 / sqrt(inputs); b at 0, and g with the length of v."""
        with torch.no_grad():
            for name, tensor in self.named_parameters(recurse=False):
                bound = tensor.shape[-1]**-0.5
                if name == "b":
                    tensor.zero_()
                elif name == "g":
                    tensor.fill_(self._params()["v"].norm())
                else:
                    tensor.uniform_(-bound, bound)

    def _params(self) -> dict[str, torch.Tensor]:
        """The parameters, or what torch has put in their places: weight_norm, prune, parametrize and functional_call do."""
        return {name: getattr(self, name) for name in self.names}

    def project_keys(self, key: torch.Tensor) -> torch.Tensor:
        """The keys as the score reads them, for forward() with key_projected: gradients reach the parameter through
        them. Of a score without a matrix for keys they are the keys themselves."""
        return _projected.keys(self.rule["score"], plain(key, "key"), self._params(), self.query_dim)

    def forward(self, query: torch.Tensor, key: torch.Tensor | None, value: torch.Tensor | None = None, *,
                key_projected: bool = False, **given: Any) -> Any:
        """attention(). key_projected: key is what project_keys() gave; value, what it was given, or others."""
        rule, params = {**self.rule, **given}, self._params()
        if key_projected:
            if value is None:
                raise TypeError("value is None, but beside projected keys the values, which may be the keys that were "
                                "projected, are needed")
            rule["score"], params = _projected.with_keys(rule["score"], params, self.query_dim)
        return attention(query, key, value, params=params, **rule)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={word!r}" for name, word in self.rule.items())
