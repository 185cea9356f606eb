# SPDX-License-Identifier: BSD-3-Clause
"""_multihead.py: projections around a mechanism (Vaswani 2017): a layer of heads, and its gradients."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from ctypes import byref, c_size_t, pointer
from typing import Any, NamedTuple, Optional

import numpy as np

from ._abi import MultiheadArgs, MultiheadBackwardArgs, MultiheadOptions
from ._calls import STATS, forward_args
from ._dtypes import beside
from ._handles import Parameters, instance
from ._library import ArgumentError, DTypeError, check, lib
from ._mechanism import Mechanism
from ._memory import Memory
from ._position import Rope
from ._run import Stats, logsumexp_dtype, longest_of, room_beside, rooms, stats_names
from ._tensors import Array, ArrayLike, Lengths, array_of, lay, lengths_of, like, maybe, writable
from ._values import chosen, fill, flag, mapping
from ._words import MULTIHEAD_FLAGS, Exact, MaskAlign, Stage


class MultiHeadResult(NamedTuple):
    """What MultiHead.forward() computed; None where it was not asked for. saved is for backward()."""

    output: Any
    weights: Any = None
    logsumexp: Any = None
    scores: Any = None
    saved: Optional[Array] = None
    stats: Any = None


class MultiHeadGradients(NamedTuple):
    """Of a loss by what a layer read; None where there was none, or it was not wanted."""

    query: Any
    key: Any
    value: Any
    bias: Any
    params: dict[str, Any]
    mechanism_params: dict[str, Any]
    alibi: Any = None
    relative: Any = None
    sinks: Any = None


def _aligned(size: int) -> Array:
    """So many bytes at an address that 64 divides: what is saved is read at the remainder at which it was written."""
    room = np.empty(size + 63, np.uint8)
    first = -room.ctypes.data % 64
    return room[first:first + size]


def _longest_keys(rows: int, offsets: Array | None, memory: Memory | None, attend_only: bool) -> int:
    """How many keys the longest sequence has, as many as weights have columns: of the rows that the call brings, and of a
    memory. The library judges the offsets."""
    brought = rows if offsets is None else min(longest_of(offsets), rows)
    if memory is None:
        return brought
    lengths = instance(memory, Memory, "memory").lengths
    if not attend_only and offsets is not None and offsets.size == len(lengths) + 1:
        return int(max(np.add(lengths, np.diff(offsets.ravel()).clip(0, rows)), default=0))
    return max(lengths, default=0) + (0 if attend_only else brought)


class MultiHead(Parameters):
    """A layer of heads around a mechanism of any score, scaled dot where there is none. Sizes that are not given are
    query_heads for key_heads, query_dim for key_dim and output_dim, key_dim for value_dim, query_dim / query_heads for
    head_dim, head_dim for value_head_dim.

    bias        b_q, b_k, b_v and b_o beside W_q, W_k, W_v and W_o
    packed      W_qkv and b_qkv in place of the three, one below the other
    rope        turns projected queries and keys by their positions
    params      arrays to bind, by name, each W [outputs, inputs]; or bind() them later"""

    kind = "multihead"

    def __init__(self, query_dim: int, query_heads: int, *, mechanism: Mechanism | None = None, key_heads: int = 0,
                 key_dim: int = 0, value_dim: int = 0, head_dim: int = 0, value_head_dim: int = 0, output_dim: int = 0,
                 bias: bool = True, packed: bool = False, rope: Rope | None = None,
                 params: Mapping[str, ArrayLike] | None = None):
        super().__init__()
        self.mechanism = Mechanism() if mechanism is None else instance(mechanism, Mechanism, "mechanism")
        flags = sum(MULTIHEAD_FLAGS[name] for name, given in (("bias", bias), ("packed", packed)) if flag(given, name))
        options = fill(
            MultiheadOptions, flags=flags, query_heads=query_heads, key_heads=key_heads,
            query_dim=query_dim, key_dim=key_dim, value_dim=value_dim, head_dim=head_dim,
            value_head_dim=value_head_dim, output_dim=output_dim)
        if rope is not None:
            options.rope = pointer(instance(rope, Rope, "rope").options())
        check(lib.attn_multihead_create(self.mechanism.handle, byref(options), byref(self.handle)))
        self._own(self.mechanism)
        self.query_heads, self.key_heads = int(options.query_heads), int(options.key_heads or options.query_heads)
        self.head_dim = int(options.head_dim or options.query_dim // options.query_heads)
        self.value_head_dim = int(options.value_head_dim or self.head_dim)
        self._bind(mapping(params, "params"))

    def memory(self, *, batch: int = 1, capacity: int = 0, fixed: bool = False, dtype: Any = np.float32,
               page: int = 0) -> Memory:
        """An empty memory for decoding with this layer."""
        return Memory(self.mechanism, batch=batch, key_heads=self.key_heads, key_dim=self.head_dim,
                      value_dim=self.value_head_dim, capacity=capacity, fixed=fixed, dtype=dtype, page=page)

    def _arrays(self, query: ArrayLike, key: ArrayLike | None, value: ArrayLike | None) -> dict[str, Array | None]:
        return {"query": array_of(query, "query"), "key": maybe(key, "key"), "value": maybe(value, "value")}

    def _args(self, arrays: dict[str, Array | None], positions: Lengths | None, key_positions: Lengths | None,
              attention: dict[str, Any]) -> MultiheadArgs:
        args = fill(MultiheadArgs)
        lay(args, {**arrays, "positions": lengths_of(positions, "positions"),
                   "key_positions": lengths_of(key_positions, "key_positions")})
        args.attention = pointer(forward_args(**attention))
        args.kept = arrays
        return args

    def _made(self, arrays: Mapping[str, Array | None], of_queries: Array | None, of_keys: Array | None,
              memory: Memory | None, attend_only: bool, weights: bool, logsumexp: Any, scores: bool,
              stats: Collection[str]) -> dict[str, Array | None]:
        """Room for what is wanted of the heads. of_queries and of_keys: the offsets."""
        rows = arrays["query"]
        assert rows is not None
        last = next(array for name in ("value", "key", "query") if (array := arrays[name]) is not None)
        count = last.shape[-2] if last.ndim > 1 else 1
        of_keys = of_queries if arrays["key"] is None else of_keys
        keys = _longest_keys(count, of_keys, memory, attend_only)
        heads = (*rows.shape[:-2], self.query_heads, rows.shape[-2] if rows.ndim > 1 else 1)
        dtype = beside(rows.dtype)
        sums = (*heads[:-1], keys)
        if memory is None and of_keys is not None:
            sums = (*heads[:-1], count)
        elif of_queries is not None:
            sums = (of_queries.size - 1, self.query_heads, keys)
        return dict(zip(("context", "weights", "logsumexp", "scores", *STATS), rooms((
            None, ((*heads, keys), dtype) if weights else None, None if logsumexp is None else (heads, logsumexp),
            ((*heads, keys), dtype) if scores else None, (heads, dtype) if "entropy" in stats else None,
            (heads, np.int64) if "strongest" in stats else None, (sums, dtype) if "key_sums" in stats else None),
            of_queries is not None)))

    def forward(self, query: ArrayLike, key: ArrayLike | None = None, value: ArrayLike | None = None, *,
                memory: Memory | None = None, attend_only: bool = False, mask: ArrayLike | None = None,
                bias: ArrayLike | None = None, key_lengths: Lengths | None = None,
                query_offsets: Lengths | None = None, key_offsets: Lengths | None = None,
                positions: Lengths | None = None, key_positions: Lengths | None = None,
                mask_align: MaskAlign | None = None, query_start: int = 0, dropout: float = 0.0, seed: int = 0,
                offset: int = 0, return_weights: bool = False, return_logsumexp: bool | Exact = False,
                return_scores: Stage | None = None, return_stats: bool | Collection[str] = False, save: bool = False,
                out: ArrayLike | None = None) -> Any:
        """The output [B, Tq, output_dim]; or a MultiHeadResult, where more is asked for.

        query [B, Tq, query_dim]; key [B, Tk, key_dim], None: the queries; value [B, Tk, value_dim], None: the keys.
        memory      what is projected is appended to it, then all of it attended to: decoding step by step. attend_only:
                    nothing is projected to keys and values, nor appended.
        query_offsets  [B + 1], whole numbers or a list of them: a ragged batch. Sequence b has rows query_offsets[b] to
                    query_offsets[b + 1] of query [1, all of them, query_dim] and of the output, and in self-attention
                    these are the keys', too; key_offsets likewise of key and value. Over a memory each sequence appends as
                    many as it has. Rows of no sequence have the output 0.
        positions   where a layer with rope turns queries to, and in self-attention keys: [B, Tq], or [Tq] for all sequences,
                    of a ragged batch [rows]. None: sequences begin at 0, or where the memory's end; other queries than
                    self-attention's at query_start. key_positions likewise of keys.
        save        keeps what backward() can use.
        The rest is as for attn.attention(), of the heads: weights and scores [B, Hq, Tq, Tk], logsumexp [B, Hq, Tq],
        stats likewise."""
        arrays = self._arrays(query, key, value)
        rows = arrays["query"]
        assert rows is not None
        of_queries, of_keys = lengths_of(query_offsets, "query_offsets"), lengths_of(key_offsets, "key_offsets")
        stats, attend_only = stats_names(return_stats), flag(attend_only, "attend_only")
        output = (room_beside(of_queries)((*rows.shape[:-1], self._shapes["W_o"][0]), rows.dtype) if out is None
                  else writable(out, "out"))
        made = self._made(arrays, of_queries, of_keys, memory, attend_only, flag(return_weights, "return_weights"),
                          logsumexp_dtype(return_logsumexp, beside(rows.dtype)), return_scores is not None, stats)
        args = self._args(arrays, positions, key_positions, {
            "query_start": query_start, "dropout": dropout, "seed": seed, "offset": offset,
            "stage": "raw" if return_scores is None else return_scores, "mask": maybe(mask, "mask"),
            "bias": maybe(bias, "bias"), "key_lengths": lengths_of(key_lengths, "key_lengths"),
            "query_offsets": of_queries, "key_offsets": of_keys, "mask_align": mask_align, **made})
        saved = self._saved(args) if flag(save, "save") else None
        if saved is not None:
            args.saved, args.saved_size = saved.ctypes.data, saved.nbytes
        lay(args, {"output": output})
        args.attend_only, args.memory = attend_only, None if memory is None else memory.handle
        check(lib.attn_multihead_forward(self.handle, byref(args)))
        returned = like(output, query) if out is None else out
        if not (return_weights or return_logsumexp or return_scores is not None or stats or save):
            return returned
        weights, logsumexp, scores = (None if (array := made[name]) is None else like(array, query)
                                      for name in ("weights", "logsumexp", "scores"))
        told = Stats(**{name: like(made[name], query) for name in stats}) if stats else None
        return MultiHeadResult(returned, weights, logsumexp, scores, saved, told)

    __call__ = forward

    def _saved(self, args: MultiheadArgs) -> Array:
        size = c_size_t()
        check(lib.attn_multihead_saved(self.handle, byref(args), byref(size)))
        return _aligned(size.value)

    def backward(self, d_output: ArrayLike | None, query: ArrayLike, key: ArrayLike | None = None,
                 value: ArrayLike | None = None, *, d_weights: ArrayLike | None = None,
                 d_logsumexp: ArrayLike | None = None, result: MultiHeadResult | None = None,
                 wanted: Collection[str] | None = None, mask: ArrayLike | None = None, bias: ArrayLike | None = None,
                 key_lengths: Lengths | None = None, query_offsets: Lengths | None = None,
                 key_offsets: Lengths | None = None, positions: Lengths | None = None,
                 key_positions: Lengths | None = None, mask_align: MaskAlign | None = None, query_start: int = 0,
                 dropout: float = 0.0, seed: int = 0, offset: int = 0) -> MultiHeadGradients:
        """Gradients of a loss by what forward() read, from those by its output, weights and log-sum-exp.

        result      what forward() returned for the same arguments with save=True; None: it is computed again.
        wanted      of query, key, value, bias, alibi, relative, sinks, and the names of parameters, the layer's and
                    the mechanism's; None: all. Sinks have none beside d_weights. In self-attention the gradient of query
                    is that of all three, else that of key is of the values too where there are none."""
        arrays, given_bias = self._arrays(query, key, value), maybe(bias, "bias")
        rows = arrays["query"]
        assert rows is not None
        args = self._args(arrays, positions, key_positions, {
            "query_start": query_start, "dropout": dropout, "seed": seed, "offset": offset, "mask": maybe(mask, "mask"),
            "bias": given_bias, "key_lengths": lengths_of(key_lengths, "key_lengths"), "mask_align": mask_align,
            "query_offsets": lengths_of(query_offsets, "query_offsets"),
            "key_offsets": lengths_of(key_offsets, "key_offsets")})
        if result is not None:
            if not isinstance(result, MultiHeadResult):
                raise DTypeError(f"result is a {type(result).__name__}, but what forward() returned with save=True is needed")
            if result.saved is None:
                raise ArgumentError("result is not what forward() returns with save=True")
            saved = result.saved  # a copy of it may lie anywhere
            if saved.ctypes.data % 64 != 0:
                saved = _aligned(saved.nbytes)
                saved[:] = result.saved
            args.saved, args.saved_size = saved.ctypes.data, saved.nbytes
        given = {**arrays, "bias": given_bias, **self.mechanism.tables()}
        known = [*(name for name, array in given.items() if array is not None), *self._shapes, *self.mechanism._shapes]
        names = chosen(wanted, known)
        room = np.empty if query_offsets is None and key_offsets is None else np.zeros  # rows of no sequence stay
        gradients = {name: room(array.shape, array.dtype) for name, array in given.items()
                     if array is not None and name in names}
        params, inner = (of._gradients(names, beside(rows.dtype)) for of in (self, self.mechanism))
        backward = fill(MultiheadBackwardArgs, forward=pointer(args))
        flows = {"d_output": maybe(d_output, "d_output"), "d_weights": maybe(d_weights, "d_weights"),
                 "d_logsumexp": maybe(d_logsumexp, "d_logsumexp")}
        lay(backward, {**flows, **{f"d_{name}": array for name, array in gradients.items()}})
        backward.d_params, backward.d_mechanism_params = self._pointers(params), self.mechanism._pointers(inner)
        check(lib.attn_multihead_backward(self.handle, byref(backward)))
        of_inputs = {name: like(gradients[name], query) if name in gradients else None for name in given}
        return MultiHeadGradients(**of_inputs, params={name: like(array, query) for name, array in params.items()},
                                  mechanism_params={name: like(array, query) for name, array in inner.items()})
