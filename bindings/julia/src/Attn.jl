# SPDX-License-Identifier: BSD-3-Clause
# Attn.jl: the module: what it is made of, and what it gives.

"""
Attention for CPUs, by libattn, on Julia's own arrays: nothing is copied and nothing is converted.

    context = attention(query, key, value; causal = :bottom_right)
    gradients = attention_grad(d_context, query, key, value; causal = :bottom_right)

A vector is a column, as it is everywhere in Julia: `query`, `key` and `value` are `[dimension, length, heads, batch]`,
weights `[keys, queries, heads, batch]`, so that column `i` holds the weights of query `i`; arrays of fewer dimensions lack
the last ones. This is the memory of the C library's `[batch, heads, length, dimension]`. Matrices that multiply a vector
(`W`, `U`, `W_q`, ...) are `[outputs, inputs]`, as their formulas write them: `W * q`.

`Float32`, `Float64`, `Float16` or [`Attn.BFloat16`](@ref), any strides: arrays, views, `PermutedDimsArray`s and whatever else has `strides` and a pointer.
Positions count from 0, as in the C library; indices of sequences from 1. What is refused raises an [`AttnError`](@ref).
"""
module Attn

using Libdl
using Serialization

export AttnError, Call, Engine, Gradient, Mechanism, MultiHead, Rope
export alibi_slopes, attention, attention_grad, attentional, attentional_grad, backward, bind!, bound, decomposable,
       decomposable_grad, describe, forward, info, keep!, lengths, merge_parts, pages, pages_append!, param_shapes, param_total,
       reorder!, reserve!, rope, run!, set_alibi!, set_causal!, set_local!, set_normaliser!, set_precision!, set_relative!, set_scale!, set_sinks!, set_softcap!,
       set_temperature!, set_window!, sinusoidal, truncate!

include("failures.jl")
include("abi.jl")
include("library.jl")
include("numbers.jl")
include("words.jl")
include("elements.jl")
include("tensors.jl")
include("json.jl")
include("handles.jl")
include("position.jl")
include("mechanism.jl")
include("memory.jl")
include("calls.jl")
include("run.jl")
include("attention.jl")
include("multihead.jl")
include("attentional.jl")
include("merge.jl")
include("pages.jl")
include("decomposable.jl")

function __init__()
    load_library()
    load_words()
    load_elements()
end

end
