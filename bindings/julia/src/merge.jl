# SPDX-License-Identifier: BSD-3-Clause
# merge.jl: the results of attention over parts of the keys, joined.

# Pointers to tensors of all parts, for a struct's member of this name.
function lay_parts!(args, kept::Vector{Any}, member::Symbol, arrays)
    pointed = [Ref(columns(array, "$member[$k]")) for (k, array) in enumerate(arrays)]
    pointers = TensorPtr[Base.unsafe_convert(TensorPtr, one) for one in pointed]
    push!(kept, arrays, pointed, pointers)
    setproperty!(args, member, pointer(pointers))
    return nothing
end

"""
    merge_parts(contexts, logsumexps; out = similar(contexts[1]), logsumexp_out, engine)

The context of all keys, from those of parts of them: a `NamedTuple` `(context, logsumexp)`. `contexts`, each
`[Dv, Tq, Hq, B]`, and `logsumexps`, each `[Tq, Hq, B]`, are vectors or tuples of what [`attention`](@ref) returned for each
part, best with `return_logsumexp = :exact`; in tuples where types differ, since `[a, b]` would convert. The log-sum-exp
is as wide as the widest of the parts'.

`out` may be one of `contexts`, and `logsumexp_out` one of `logsumexps`: then a running result takes up the others. What is
returned is the `result` that [`attention_grad`](@ref) takes for each of the parts.
"""
function merge_parts(contexts, logsumexps; out::MaybeArray = nothing, logsumexp_out::MaybeArray = nothing,
                     engine::Engine = shared_engine())
    given, sums, kept, args = collect(Any, contexts), collect(Any, logsumexps), Any[], MergeArgs()
    isempty(given) && refuse(:ATTN_ERR_ARGUMENT, "contexts are none, but at least one part is needed")
    length(given) == length(sums) ||
        refuse(:ATTN_ERR_SHAPE, "contexts are ", length(given), ", but logsumexps are ", length(sums))
    wide = any(sum -> eltype(sum) == Float64, sums) ? Float64 : Float32
    context = out === nothing ? Array{eltype(given[1])}(undef, size(given[1])) : out
    logsumexp = logsumexp_out === nothing ? Array{wide}(undef, size(sums[1])) : logsumexp_out
    args.parts = length(given)
    lay_parts!(args, kept, :contexts, given)
    lay_parts!(args, kept, :logsumexps, sums)
    lay!(args, kept, :context, context)
    lay!(args, kept, :logsumexp, logsumexp)
    GC.@preserve kept attn_merge(engine, args)
    return (context = context, logsumexp = logsumexp)
end
