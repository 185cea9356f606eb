# SPDX-License-Identifier: BSD-3-Clause
# run.jl: one call of a mechanism, forward or backward: outputs are made, then written.

# How many keys an array has.
positions(array::AbstractArray) = size(array, 2)

# The dimension of the context, and how many keys there are.
function context_sizes(key, value, memory)
    memory === nothing || return memory.value_dim, longest(memory)
    values = value === nothing ? key : value
    values === nothing && refuse(:ATTN_ERR_ARGUMENT, "a key, a value or a memory is needed")
    return size(values, 1), positions(key === nothing ? values : key)
end

# Whether a log-sum-exp is wanted, and of what type; :exact is Float64 whatever is computed with.
const Wanted = Union{Bool,Symbol}
exactness(wanted::Bool, type) = wanted ? type : nothing
exactness(wanted::Symbol, type) =
    wanted === :exact ? Float64 : refuse(:ATTN_ERR_ARGUMENT, "return_logsumexp is ", repr(wanted), ", but it is true or :exact")

# The most columns of a sequence. The library judges the offsets.
longest_of(offsets) = foldl(max, (offsets[b + 1] - offsets[b] for b in 1:length(offsets) - 1); init = 0)

# How many rows weights have: as many as the longest sequence has keys. count: columns of key, or of a page; what reaches past
# them is refused.
function key_count(count, key_lengths, key_offsets, page_table)
    key_offsets === nothing || return min(longest_of(lengths_of(key_offsets, "key_offsets")), count)
    page_table === nothing && return count
    return key_lengths === nothing ? 0 : min(foldl(max, key_lengths; init = 0), length(page_table) * count)
end

# The size of key_sums.
function sums_size(query, keyed, count, query_offsets, key_offsets)
    heads, behind_heads = size(query)[3:min(end, 3)], size(query)[4:end]
    key_offsets === nothing || return (positions(keyed), heads..., map(_ -> 1, behind_heads)...)
    query_offsets === nothing || return (count, isempty(heads) ? 1 : heads[1], length(query_offsets) - 1)
    return (count, size(query)[3:end]...)
end

# Room for results of a type and size. Rows that no sequence has are not written to: in a ragged batch they are what a query
# that sees no key gets.
room_for(type, size, unseen, ragged) = ragged ? fill(type(unseen), size) : Array{type,length(size)}(undef, size)

# What a call is to tell of its weights, [Tk, ..] and rows of a query: room for it, and then it; nothing, if it is not wanted.
stats_room(wanted::Bool, type, sums, rows, ragged) =
    !wanted ? (;) : (entropy = room_for(type, rows, 0, ragged), strongest = room_for(Int64, rows, -1, ragged),
                     key_sums = Array{type}(undef, sums...))
function stats_of(room)
    isempty(room) && return nothing
    room.strongest .+= 1 # keys are counted from 1 here; 0 is none
    return (; room..., effective_keys = exp.(room.entropy))
end

"""
    forward(mechanism, query, key = nothing, value = nothing; memory = nothing, key_scales, value_scales, mask, mask_align,
            bias, key_lengths, query_offsets, key_offsets, page_table, page_offsets, query_start, dropout, seed, offset, return_weights, return_logsumexp, return_scores, return_stats, out)

As [`attention`](@ref), by this rule; over an [`Attn.Memory`](@ref) in place of `key` and `value`, if there is one. The same as
`mechanism(query, key, value; ...)`.
"""
function forward(mechanism::Mechanism, query::AbstractArray, key::MaybeArray = nothing, value::MaybeArray = nothing;
                 memory::Union{Nothing,Memory} = nothing, return_weights::Bool = false, return_logsumexp::Wanted = false,
                 return_scores::Union{Nothing,Symbol} = nothing, return_stats::Bool = false, out::MaybeArray = nothing,
                 key_lengths::Union{Nothing,Lengths} = nothing, query_offsets::Union{Nothing,Lengths} = nothing,
                 key_offsets::Union{Nothing,Lengths} = nothing, page_table::Union{Nothing,Lengths} = nothing, keywords...)
    (width, count), type, rows = context_sizes(key, value, memory), eltype(query), behind(query)
    dtype_of(type, "query")
    wide, ragged = beside(type), query_offsets !== nothing
    count = key_count(count, key_lengths, key_offsets, page_table)
    make(wanted, unseen) = wanted ? room_for(wide, (count, rows...), unseen, ragged) : nothing
    context = out === nothing ? room_for(type, (width, rows...), 0, ragged) : out
    weights, scores = make(return_weights, 0), make(return_scores !== nothing, return_scores === :weights ? 0 : -Inf)
    exact = exactness(return_logsumexp, wide)
    logsumexp = exact === nothing ? nothing : room_for(exact, rows, -Inf, ragged)
    keyed = key === nothing ? value : key
    room = stats_room(return_stats, wide, sums_size(query, keyed, count, query_offsets, key_offsets), rows, ragged)
    run_once!(Call(mechanism, query, key, value; memory = memory, context = context, weights = weights, scores = scores,
                   logsumexp = logsumexp, stage = return_scores, key_lengths = key_lengths, query_offsets = query_offsets,
                   key_offsets = key_offsets, page_table = page_table, room..., keywords...))
    return_weights || exact !== nothing || return_scores !== nothing || return_stats || return context
    return (context = context, weights = weights, logsumexp = logsumexp, scores = scores, stats = stats_of(room))
end

(mechanism::Mechanism)(query::AbstractArray, others...; keywords...) = forward(mechanism, query, others...; keywords...)

"""
    backward(mechanism, d_context, query, key = nothing, value = nothing; d_weights, d_logsumexp, result, wanted, mask,
             mask_align, bias, key_lengths, query_offsets, key_offsets, query_start, dropout, seed, offset)

As [`attention_grad`](@ref), by this rule.
"""
function backward(mechanism::Mechanism, d_context::MaybeArray, query::AbstractArray, key::MaybeArray = nothing,
                  value::MaybeArray = nothing; d_weights::MaybeArray = nothing, d_logsumexp::MaybeArray = nothing,
                  result::Union{Nothing,NamedTuple} = nothing, wanted = nothing, bias::MaybeArray = nothing,
                  query_offsets::Union{Nothing,Lengths} = nothing, key_offsets::Union{Nothing,Lengths} = nothing,
                  keywords...)
    keywords = (; query_offsets = query_offsets, key_offsets = key_offsets, keywords...)
    any(array -> array !== nothing && element(eltype(array)) === :I8, (key, value)) &&
        refuse(:ATTN_ERR_UNSUPPORTED, "key or value is of Int8, which has no gradients")
    result === nothing &&
        (result = forward(mechanism, query, key, value; return_logsumexp = :exact, bias = bias, keywords...))
    get(result, :logsumexp, nothing) === nothing &&
        refuse(:ATTN_ERR_ARGUMENT, "result is not what comes with return_logsumexp = true")
    given = (; query = query, key = key, value = value, bias = bias, tables(mechanism)...)
    wanted = names_of(wanted, given, keys(param_shapes(mechanism)))
    made = gradients_like(given, wanted, !(query_offsets === key_offsets === nothing))
    params = gradients_of(mechanism, wanted, eltype(query))
    call = Call(mechanism, query, key, value; context = result.context, logsumexp = result.logsumexp, bias = bias, keywords...)
    run!(Gradient(call; d_context = d_context, d_weights = d_weights, d_logsumexp = d_logsumexp, d_query = made.query,
                  d_key = made.key, d_value = made.value, d_bias = made.bias, d_alibi = made.alibi,
                  d_relative = made.relative, d_sinks = made.sinks, d_params = params))
    return (; made..., params = params)
end

# wanted, as a tuple of names, each of which there is; nothing stands for all.
names_of(::Nothing, given, others) = nothing
names_of(wanted::Symbol, given, others) = names_of((wanted,), given, others)
function names_of(wanted, given, others)
    known = (filter(name -> given[name] !== nothing, keys(given))..., others...)
    for name in wanted
        name in known ||
            refuse(:ATTN_ERR_ARGUMENT, "wanted has ", repr(name), ", but what was given is ", join(repr.(known), ", "))
    end
    return Tuple(wanted)
end

# Room for the gradients of those that were given and are wanted, each of its type; nothing for the others.
gradients_like(given::NamedTuple, wanted, ragged = false) = map(NamedTuple{keys(given)}(keys(given))) do name
    array = given[name]
    array === nothing || !(wanted === nothing || name in wanted) ? nothing : room_for(eltype(array), size(array), 0, ragged)
end
