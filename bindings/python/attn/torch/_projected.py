# SPDX-License-Identifier: BSD-3-Clause
"""_projected.py: scores that multiply queries or keys by a matrix first, computed from the products, which torch makes:
it keeps them for the way back, as it does those of its layers, and has their gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch.nn.functional import linear

from ._tensors import beside

Tensors = Mapping[str, torch.Tensor]


class Call(NamedTuple):
    """A score with what it is computed from."""

    score: Any
    query: torch.Tensor
    key: torch.Tensor | None
    params: dict[str, torch.Tensor]


def product(x: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """x by the matrix's rows, in their own type under autocast too; of x's, where the matrix is what stands beside that."""
    if torch.is_autocast_enabled("cpu"):
        with torch.autocast("cpu", enabled=False):
            return product(x, matrix)
    if x.dtype is not matrix.dtype is beside(x.dtype):
        return linear(x.to(matrix.dtype), matrix).to(x.dtype)
    return linear(x, matrix)


def without(params: Tensors, *names: str) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in params.items() if name not in names}


def as_additive(params: Tensors, query_dim: int) -> dict[str, torch.Tensor]:
    """Concat's one matrix as additive's two."""
    W = params["W"]
    return {**params, "W": W[:, :query_dim], "U": W[:, query_dim:]}


def _fits(x: torch.Tensor, matrix: torch.Tensor) -> bool:
    """Whether there is a product; where there is none, the library has the words for it."""
    return matrix.ndim == 2 and x.ndim > 0 and x.shape[-1] == matrix.shape[1] and x.dtype == matrix.dtype


def keys(score: str, key: torch.Tensor, params: Tensors, query_dim: int | None) -> torch.Tensor:
    """The keys as queries meet them."""
    if score == "additive" and "U" in params:
        return product(key, params["U"])
    if score == "concat":
        return product(key, params["W"][:, query_dim:])
    return product(key, params["W"]) if score == "general" else key


def with_keys(score: str, params: Tensors, query_dim: int | None) -> tuple[Any, dict[str, torch.Tensor]]:
    """The score, and its parameters, of keys that are keys() already."""
    if score == "general":
        return "dot", without(params, "W")
    if score == "concat":
        assert query_dim is not None
        score, params = "additive", as_additive(params, query_dim)
    return score, without(params, "U")


def project(call: Call) -> Call:
    """The same scores, of projected queries and keys. The queries of predictive local attention stay: the centre is
    read from them too."""
    score, query, key, params = call
    stays = "W_p" in params
    W = params.get("W")
    if key is None or query.dtype != key.dtype or query.ndim == 0:
        return call
    if score == "general" and W is not None and _fits(key, W) and _fits(query, W.T):
        if stays or key.shape[:-1].numel() < query.shape[:-1].numel():
            return Call("dot", query, product(key, W), without(params, "W"))
        return Call("dot", product(query, W.T), key, without(params, "W"))
    if score == "concat" and W is not None and W.ndim == 2 and W.shape[1] == query.shape[-1] + key.shape[-1]:
        score, params = "additive", as_additive(params, query.shape[-1])
    if score == "additive":
        W, U = params.get("W"), params.get("U")
        if U is not None and _fits(key, U):
            key, params = product(key, U), without(params, "U")
        if W is not None and _fits(query, W) and not stays:
            query, params = product(query, W), without(params, "W")
    return Call(score, query, key, params)
