# SPDX-License-Identifier: BSD-3-Clause
"""_calls.py: attn_forward, attn_plan and attn_backward with arguments that are laid out once and run many times."""

from __future__ import annotations

from collections.abc import Mapping
from ctypes import byref, c_int32, c_size_t, c_uint64, pointer
from typing import Any

import numpy as np

from ._abi import BackwardArgs, ForwardArgs, WeightsStats
from ._handles import Handle, Unique, instance
from ._library import check, lib
from ._memory import Memory
from ._rule import Rule
from ._tensors import ArrayLike, Lengths, array_of, lay, lengths_of, maybe, writable
from ._values import fill, flag, integer, mapping
from ._words import MASK_ALIGNMENTS, STAGES, MaskAlign, Stage, choose

STATS = "entropy", "strongest", "key_sums"  # what a call can tell of its weights
PLACES = "query_offsets", "key_offsets", "page_table", "page_offsets"  # where sequences lie, if not each by itself

run_forward = lib["attn_forward"]  # another one than lib.attn_forward: its arguments are not looked at again
run_plan = lib["attn_plan_run"]    # likewise
run_forward.restype = run_plan.restype = c_int32


def forward_args(mechanism: Rule | None = None, *, query_start: int = 0, stage: str = "raw", dropout: float = 0.0,
                 seed: int = 0, offset: int = 0, memory: Memory | None = None, mask_align: MaskAlign | None = None,
                 **tensors: Any) -> ForwardArgs:
    """attn_forward_args. What they point to lives as long as they do, and so do the arrays."""
    args = fill(ForwardArgs, scores_stage=choose(STAGES, stage, "the stage of scores"), query_start=query_start,
                dropout=dropout, dropout_seed=integer(seed, "seed", c_uint64),
                dropout_offset=integer(offset, "offset", c_uint64),
                memory=None if memory is None else instance(memory, Memory, "memory").handle,
                mask_align=choose(MASK_ALIGNMENTS, mask_align, "mask_align"))
    of_weights = {name: tensors.pop(name) for name in STATS if tensors.get(name) is not None}
    args.tensors = lay(args, tensors)
    if of_weights:
        stats = fill(WeightsStats)
        args.tensors.update(lay(stats, of_weights))
        args.stats = pointer(stats)
        tensors.update(of_weights)
    args.kept = (mechanism, memory, tensors)
    return args


class Laid(Unique):
    """attn_forward of one mechanism on arrays that stay where they are, laid out: run() computes."""

    copying = "lay out another one of the same arrays"
    _output = staticmethod(writable)

    def __init__(self, mechanism: Rule, *, query: ArrayLike, key: ArrayLike | None = None,
                 value: ArrayLike | None = None, key_scales: ArrayLike | None = None,
                 value_scales: ArrayLike | None = None, memory: Memory | None = None, mask: ArrayLike | None = None,
                 bias: ArrayLike | None = None, key_lengths: Lengths | None = None,
                 query_offsets: Lengths | None = None, key_offsets: Lengths | None = None,
                 mask_align: MaskAlign | None = None, page_table: Lengths | None = None,
                 page_offsets: Lengths | None = None, query_start: int = 0,
                 dropout: float = 0.0, seed: int = 0, offset: int = 0, stage: Stage = "raw",
                 context: ArrayLike | None = None, weights: ArrayLike | None = None, scores: ArrayLike | None = None,
                 logsumexp: ArrayLike | None = None, entropy: ArrayLike | None = None,
                 strongest: ArrayLike | None = None, key_sums: ArrayLike | None = None):
        outputs = {"context": context, "weights": weights, "scores": scores, "logsumexp": logsumexp, "entropy": entropy,
                   "strongest": strongest, "key_sums": key_sums}
        places = dict(zip(PLACES, (query_offsets, key_offsets, page_table, page_offsets)))
        self.args = forward_args(
            instance(mechanism, Rule, "mechanism"), memory=memory, query_start=query_start, dropout=dropout, seed=seed,
            offset=offset, stage=stage, mask_align=mask_align,
            query=array_of(query, "query"), key=maybe(key, "key"), value=maybe(value, "value"),
            key_scales=maybe(key_scales, "key_scales"), value_scales=maybe(value_scales, "value_scales"),
            mask=maybe(mask, "mask"), bias=maybe(bias, "bias"), key_lengths=lengths_of(key_lengths, "key_lengths"),
            **{name: lengths_of(given, name) for name, given in places.items() if given is not None},
            **{name: self._output(given, name) for name, given in outputs.items() if given is not None})
        self.mechanism, self.tensors = mechanism, self.args.tensors
        self._handle, self._reference = mechanism.handle, byref(self.args)

    def run(self) -> None:
        status = run_forward(self._handle, self._reference)
        if status:
            check(status)


class Plan(Handle):
    """attn_plan: what was laid out, checked and cut into work."""

    kind = "plan"

    def __init__(self, laid: Laid):
        super().__init__()
        check(lib.attn_plan_create(laid._handle, laid._reference, byref(self.handle)))
        self._own()


class Call(Laid):
    """attn_forward of one mechanism on arrays that stay where they are: run() computes, and writes into those that
    were given for context, weights, scores (at the stage), logsumexp, and entropy, strongest and key_sums of the
    weights. Each run reads what the arrays then hold. The first one makes a plan, with scratch of its own; one thread
    at a time runs it."""

    _plan: Plan | None = None

    def reserve(self) -> Call:
        """Makes the plan now: what is wrong is told, and the first run allocates as little as the others."""
        if self._plan is None:
            self._plan = Plan(self)
        return self

    def run(self) -> None:
        plan = self._plan
        if plan is None:
            plan = self._plan = Plan(self)
        status = run_plan(plan.handle, self._reference)
        if status:
            check(status)


class Computed(Laid):
    """One that has run, and whose outputs are there to be read."""

    _output = staticmethod(array_of)


class Gradient(Unique):
    """attn_backward of a Call that has run, with context and logsumexp among its outputs. run() computes; the outputs
    are the arrays that were given for them, which are written, or with accumulate added to. d_params: arrays by the
    parameter's name. tensors: d_context, d_weights, d_logsumexp, which flow in; d_query, d_key, d_value, d_bias,
    d_alibi, d_relative, d_sinks, which come out. Those that are None are left out."""

    copying = Laid.copying

    def __init__(self, call: Laid, *, accumulate: bool = False, d_params: Mapping[str, ArrayLike] | None = None,
                 d_context: ArrayLike | None = None, d_weights: ArrayLike | None = None,
                 d_logsumexp: ArrayLike | None = None, d_query: ArrayLike | None = None, d_key: ArrayLike | None = None,
                 d_value: ArrayLike | None = None, d_bias: ArrayLike | None = None, d_alibi: ArrayLike | None = None,
                 d_relative: ArrayLike | None = None, d_sinks: ArrayLike | None = None):
        self.args = fill(BackwardArgs, accumulate=int(flag(accumulate, "accumulate")),
                         forward=pointer(instance(call, Laid, "call").args))
        flows = {"d_context": d_context, "d_weights": d_weights, "d_logsumexp": d_logsumexp}
        outputs = {"d_query": d_query, "d_key": d_key, "d_value": d_value, "d_bias": d_bias, "d_alibi": d_alibi,
                   "d_relative": d_relative, "d_sinks": d_sinks}
        arrays = {name: look(given, name) for look, tensors in ((array_of, flows), (writable, outputs))
                  for name, given in tensors.items() if given is not None}
        lay(self.args, arrays)
        params = {name: writable(given, f"d_params {name}") for name, given in mapping(d_params, "d_params").items()}
        if params:
            self.args.d_params = call.mechanism._pointers(params)
        self.call, self._kept, self._handle = call, (arrays, params), call.mechanism.handle
        self._reference = byref(self.args)

    def reserve(self) -> Gradient:
        """Gives it a workspace of its own, so that running it allocates nothing."""
        size = c_size_t()
        check(lib.attn_backward_workspace(self._handle, self._reference, byref(size)))
        self._workspace = np.empty(size.value, np.uint8)
        self.args.workspace, self.args.workspace_size = self._workspace.ctypes.data, size.value
        return self

    def run(self) -> None:
        status = lib.attn_backward(self._handle, self._reference)
        if status:
            check(status)
