# SPDX-License-Identifier: BSD-3-Clause
# calls.jl: attn_forward, attn_plan and attn_backward with arguments that are laid out once and run many times.

# attn_forward_args, and what it points to in kept, which must live as long.
function forward_args(kept::Vector{Any}; query = nothing, key = nothing, value = nothing, key_scales = nothing,
                      value_scales = nothing, mask = nothing, bias = nothing, key_lengths = nothing, context = nothing,
                      weights = nothing, scores = nothing, logsumexp = nothing,
                      entropy = nothing, strongest = nothing, key_sums = nothing,
                      query_offsets = nothing, key_offsets = nothing, mask_align::Union{Nothing,Symbol} = nothing,
                      page_table = nothing, page_offsets = nothing, memory::Union{Nothing,Memory} = nothing,
                      query_start::Integer = 0, dropout::Real = 0, seed::Integer = 0, offset::Integer = 0,
                      stage::Union{Nothing,Symbol} = nothing)
    args = ForwardArgs()
    lay!(args, kept, :query, query)
    lay!(args, kept, :key, key)
    lay!(args, kept, :value, value)
    lay!(args, kept, :key_scales, key_scales)
    lay!(args, kept, :value_scales, value_scales)
    lay!(args, kept, :mask, mask)
    lay!(args, kept, :bias, bias)
    lay!(args, kept, :key_lengths, lengths_of(key_lengths, "key_lengths"))
    lay!(args, kept, :query_offsets, lengths_of(query_offsets, "query_offsets"))
    lay!(args, kept, :key_offsets, lengths_of(key_offsets, "key_offsets"))
    lay!(args, kept, :page_table, lengths_of(page_table, "page_table"))
    lay!(args, kept, :page_offsets, lengths_of(page_offsets, "page_offsets"))
    args.mask_align = choose(MASK_ALIGNMENTS, mask_align, "mask_align")
    lay!(args, kept, :context, context)
    lay!(args, kept, :weights, weights)
    lay!(args, kept, :scores, scores)
    lay!(args, kept, :logsumexp, logsumexp)
    if !(entropy === strongest === key_sums === nothing)
        stats = WeightsStats()
        lay!(stats, kept, :entropy, entropy)
        lay!(stats, kept, :strongest, strongest)
        lay!(stats, kept, :key_sums, key_sums)
        args.stats = Base.unsafe_convert(Ptr{WeightsStats}, stats)
        push!(kept, stats)
    end
    args.scores_stage, args.query_start = choose(STAGES, stage, "return_scores"), query_start
    args.dropout, args.dropout_seed, args.dropout_offset = dropout, seed, offset
    memory === nothing || (args.memory = Base.unsafe_convert(Ptr{Cvoid}, memory))
    push!(kept, args, memory)
    return args
end

"""
    Call(mechanism, query, key = nothing, value = nothing; context, weights, scores, stage, logsumexp, entropy, strongest,
         key_sums, memory, key_scales, value_scales, mask, mask_align, bias, key_lengths, query_offsets, key_offsets,
         page_table, page_offsets, query_start, dropout, seed, offset)

A forward call on arrays that stay where they are: [`run!`](@ref) computes, and writes into those that were given for
`context` `[Dv, Tq, Hq, B]`, `weights` and `scores` (of the `stage`) `[Tk, Tq, Hq, B]`, `logsumexp` `[Tq, Hq, B]`, and what is
told of the weights: `entropy` and `strongest` (whole numbers, the first key being 0) `[Tq, Hq, B]` and `key_sums`
`[Tk, Hq, B]`; at least one. Each run reads what the arrays then hold. The first one makes a plan, with scratch of its own; the
others allocate nothing, unless the memory has grown or the mechanism was changed. A call keeps its arrays, mechanism and memory
alive. They must not be resized. What does not fit together is refused by `run!`, or by [`reserve!`](@ref).
"""
mutable struct Call
    mechanism::Mechanism
    memory::Union{Nothing,Memory}
    args::ForwardArgs
    kept::Vector{Any}
    plan::Union{Nothing,Owned}

    function Call(mechanism::Mechanism, query::AbstractArray, key::MaybeArray = nothing, value::MaybeArray = nothing;
                  memory::Union{Nothing,Memory} = nothing, keywords...)
        kept = Any[]
        args = forward_args(kept; query = query, key = key, value = value, memory = memory, keywords...)
        return new(mechanism, memory, args, kept, nothing)
    end
end

opened(::Nothing) = nothing
opened(handle::Handle) = (Base.unsafe_convert(Ptr{Cvoid}, handle); nothing)

# The plan of a call, which the library keeps its mechanism for. That one must be open nevertheless: what is bound to it is
# read by each run, and is let go with it.
function planned(call::Call)
    opened(call.mechanism)
    opened(call.memory)
    plan = call.plan
    plan === nothing || return plan
    made = GC.@preserve call create(at -> attn_plan_create(call.mechanism, call.args, at), attn_plan_destroy)
    return call.plan = finalizer(let_go, made)
end

"""
    reserve!(call) -> call

Makes the plan of a [`Call`](@ref), or gives a [`Gradient`](@ref) a workspace of its own, so that the library allocates nothing
when it runs.
"""
reserve!(call::Call) = (planned(call); call)

"""
    run!(call)

Computes a [`Call`](@ref) or [`Gradient`](@ref), into the arrays that it was given. Not on two threads at once.
"""
function run!(call::Call)
    plan = planned(call)
    GC.@preserve call plan attn_plan_run(plan.at, call.args)
    return nothing
end

# Computes what is run but once, for which a plan would be made in vain.
function run_once!(call::Call)
    opened(call.memory)
    GC.@preserve call attn_forward(call.mechanism, call.args)
    return nothing
end

"""
    Gradient(call; d_context, d_weights, d_logsumexp, d_query, d_key, d_value, d_bias, d_alibi, d_relative, d_sinks,
             d_params = (;), accumulate = false)

The backward call of a [`Call`](@ref) that has run, with `context` and `logsumexp` among its outputs. The first three flow in;
the others come out, and are written by [`run!`](@ref), or with `accumulate` added to: each of the size of what it is the
gradient of. `d_params`: arrays by the parameters' names. Left out is what is not wanted.
"""
mutable struct Gradient
    call::Call
    args::BackwardArgs
    kept::Vector{Any}
    workspace::Vector{UInt8}

    function Gradient(call::Call; accumulate::Bool = false, d_params = NO_PARAMS, d_context::MaybeArray = nothing,
                      d_weights::MaybeArray = nothing, d_logsumexp::MaybeArray = nothing, d_query::MaybeArray = nothing,
                      d_key::MaybeArray = nothing, d_value::MaybeArray = nothing, d_bias::MaybeArray = nothing,
                      d_alibi::MaybeArray = nothing, d_relative::MaybeArray = nothing,
                      d_sinks::MaybeArray = nothing)
        args, kept = BackwardArgs(), Any[]
        args.accumulate, args.forward = accumulate, Base.unsafe_convert(Ptr{ForwardArgs}, call.args)
        lay!(args, kept, :d_context, d_context)
        lay!(args, kept, :d_weights, d_weights)
        lay!(args, kept, :d_logsumexp, d_logsumexp)
        lay!(args, kept, :d_query, d_query)
        lay!(args, kept, :d_key, d_key)
        lay!(args, kept, :d_value, d_value)
        lay!(args, kept, :d_bias, d_bias)
        lay!(args, kept, :d_alibi, d_alibi)
        lay!(args, kept, :d_relative, d_relative)
        lay!(args, kept, :d_sinks, d_sinks)
        isempty(d_params) || lay_params!(args, kept, :d_params, call.mechanism, d_params)
        return new(call, args, kept, UInt8[])
    end
end

function reserve!(gradient::Gradient)
    size = Ref{Csize_t}(0)
    GC.@preserve gradient attn_backward_workspace(gradient.call.mechanism, gradient.args, size)
    gradient.workspace = Vector{UInt8}(undef, size[])
    gradient.args.workspace, gradient.args.workspace_size = pointer(gradient.workspace), size[]
    return gradient
end

function run!(gradient::Gradient)
    GC.@preserve gradient attn_backward(gradient.call.mechanism, gradient.args)
    return nothing
end

# Their arguments point into themselves.
const CallOrGradient = Union{Call,Gradient}
instead_of_a_copy(::CallOrGradient) = "make another one, of copies of its arrays"
Base.deepcopy_internal(call::CallOrGradient, ::IdDict) = no_copy(call, instead_of_a_copy(call))
Serialization.serialize(::AbstractSerializer, call::CallOrGradient) = no_copy(call, instead_of_a_copy(call))
