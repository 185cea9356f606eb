# SPDX-License-Identifier: BSD-3-Clause
# attentional.jl: Luong's attentional step, tanh.(W_c * [context; query] .+ bias), and its gradients.

function attentional_args(kept; weight, context, query, bias = nothing, output = nothing, d_output = nothing)
    args = AttentionalArgs()
    lay!(args, kept, :weight, weight, matrix)
    lay!(args, kept, :context, context)
    lay!(args, kept, :query, query)
    lay!(args, kept, :bias, bias)
    lay!(args, kept, :output, output)
    lay!(args, kept, :d_output, d_output)
    return args
end

"""
    attentional(weight, context, query, bias = nothing; out, engine)

The attentional state `tanh.(weight * [context; query] .+ bias)`, `[H, T, ...]` (Luong 2015, eq. 5), of `weight`
`[H, Dv + Dq]`, `context` `[Dv, T, ...]`, `query` `[Dq, T, ...]` and `bias` `[H]`.
"""
function attentional(weight::AbstractMatrix, context::AbstractArray, query::AbstractArray, bias::MaybeArray = nothing;
                     out::MaybeArray = nothing, engine::Engine = shared_engine())
    kept = Any[]
    output = out === nothing ? Array{eltype(query)}(undef, size(weight, 1), behind(query)...) : out
    args = attentional_args(kept; weight = weight, context = context, query = query, bias = bias, output = output)
    GC.@preserve kept attn_attentional_forward(engine, args)
    return output
end

"""
    attentional_grad(d_output, output, weight, context, query, bias = nothing; wanted = nothing, engine)

Gradients of a loss by what [`attentional`](@ref) read, from that by its `output`, which is given too: a `NamedTuple`
`(weight, context, query, bias)`, with `nothing` where there was nothing, or it was not wanted.
"""
function attentional_grad(d_output::AbstractArray, output::AbstractArray, weight::AbstractMatrix, context::AbstractArray,
                          query::AbstractArray, bias::MaybeArray = nothing; wanted = nothing,
                          engine::Engine = shared_engine())
    kept, given = Any[], (weight = weight, context = context, query = query, bias = bias)
    args = attentional_args(kept; given..., output = output, d_output = d_output)
    made = gradients_like(given, names_of(wanted, given, ()))
    lay!(args, kept, :d_weight, made.weight, matrix)
    lay!(args, kept, :d_context, made.context)
    lay!(args, kept, :d_query, made.query)
    lay!(args, kept, :d_bias, made.bias)
    GC.@preserve kept attn_attentional_backward(engine, args)
    return made
end
