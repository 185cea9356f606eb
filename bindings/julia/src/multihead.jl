# SPDX-License-Identifier: BSD-3-Clause
# multihead.jl: projections around a mechanism (Vaswani 2017): a layer of heads, and its gradients.

"""
    MultiHead(query_dim, query_heads; mechanism, key_heads, key_dim, value_dim, head_dim, value_head_dim, output_dim,
              bias = true, packed = false, rope = nothing, params = (;))

A layer of heads around a mechanism of any score, scaled dot where there is none. Sizes that are not given are `query_heads`
for `key_heads`, `query_dim` for `key_dim` and `output_dim`, `key_dim` for `value_dim`, `query_dim / query_heads` for
`head_dim`, `head_dim` for `value_head_dim`.

- `bias`: `b_q`, `b_k`, `b_v` and `b_o` beside `W_q`, `W_k`, `W_v` and `W_o`
- `packed`: `W_qkv` and `b_qkv` in place of the three, one below the other
- `rope`: a [`Rope`](@ref) turns projected queries and keys by their positions
- `params`: arrays to bind, by name, each `W` `[outputs, inputs]`; or [`bind!`](@ref) them later. They are borrowed

[`forward`](@ref) and [`backward`](@ref) compute; it is called like a function, too. It keeps its mechanism alive: what is set
or bound there holds here.
"""
mutable struct MultiHead <: WithParameters
    owned::Owned
    open::Bool
    mechanism::Mechanism
    query_heads::Int
    key_heads::Int
    head_dim::Int
    value_head_dim::Int

    function MultiHead(query_dim::Integer, query_heads::Integer; mechanism::Mechanism = Mechanism(), key_heads::Integer = 0,
                       key_dim::Integer = 0, value_dim::Integer = 0, head_dim::Integer = 0, value_head_dim::Integer = 0,
                       output_dim::Integer = 0, bias::Bool = true, packed::Bool = false,
                       rope::Union{Nothing,Rope} = nothing, params = NO_PARAMS)
        options, turn = MultiheadOptions(), rope === nothing ? nothing : options_of(rope)
        options.flags = (bias ? choose(MULTIHEAD_FLAGS, :bias, "") : 0) | (packed ? choose(MULTIHEAD_FLAGS, :packed, "") : 0)
        options.query_heads, options.key_heads, options.query_dim = query_heads, key_heads, query_dim
        options.key_dim, options.value_dim, options.head_dim = key_dim, value_dim, head_dim
        options.value_head_dim, options.output_dim = value_head_dim, output_dim
        GC.@preserve turn begin
            turn === nothing || (options.rope = Base.unsafe_convert(Ptr{RopeOptions}, turn))
            owned = create(at -> attn_multihead_create(mechanism, options, at), attn_multihead_destroy, mechanism.owned)
        end
        width = head_dim == 0 ? query_dim ÷ query_heads : head_dim
        layer = finalizer(close, new(owned, true, mechanism, query_heads, key_heads == 0 ? query_heads : key_heads, width,
                                     value_head_dim == 0 ? width : value_head_dim))
        return bind!(layer; pairs(by_name(params, "params"))...)
    end
end

param_count(layer::MultiHead, count) = attn_multihead_param_count(layer, count)
param_info(layer::MultiHead, index, info) = attn_multihead_param_info(layer, index, info)
bind_param(layer::MultiHead, name, view, array) = GC.@preserve array attn_multihead_bind_param(layer, name, view)

"""
    Attn.Memory(layer; batch = 1, capacity = 0, fixed = false, type = Float32, page = 0)

An empty memory for decoding with a layer of heads.
"""
Memory(layer::MultiHead; batch::Integer = 1, capacity::Integer = 0, fixed::Bool = false, type::Type = Float32,
       page::Integer = 0) =
    Memory(layer.mechanism; batch = batch, key_heads = layer.key_heads, key_dim = layer.head_dim,
           value_dim = layer.value_head_dim, capacity = capacity, fixed = fixed, type = type, page = page)

function multihead_args(kept, query, key, value; positions = nothing, key_positions = nothing, attention...)
    args, inner = MultiheadArgs(), forward_args(kept; attention...)
    lay!(args, kept, :query, query)
    lay!(args, kept, :key, key)
    lay!(args, kept, :value, value)
    lay!(args, kept, :positions, lengths_of(positions, "positions"))
    lay!(args, kept, :key_positions, lengths_of(key_positions, "key_positions"))
    args.attention = Base.unsafe_convert(Ptr{ForwardArgs}, inner)
    push!(kept, args)
    return args
end

"""
    forward(layer, query, key = nothing, value = nothing; memory, attend_only, save, out, keywords...)

The output `[output_dim, Tq, B]`; or a `NamedTuple` `(output, weights, logsumexp, scores, saved, stats)`, where more is asked for.

`query` `[query_dim, Tq, B]`; `key` `[key_dim, Tk, B]`, `nothing`: the queries; `value` `[value_dim, Tk, B]`, `nothing`: the keys.
- `memory`: what is projected is appended to it, then all of it attended to: decoding step by step. `attend_only`: nothing
  is projected to keys and values, nor appended
- `query_offsets`: `B + 1` numbers, a ragged batch: sequence `b` has the columns `query_offsets[b] + 1 : query_offsets[b + 1]` of
  `query` and of the output, and in self-attention these are the keys', too; `key_offsets` likewise of `key` and `value`. Over a
  memory each sequence appends as many as it has. Columns of no sequence have the output 0
- `positions`: where a layer with a `rope` turns queries to, and in self-attention keys: `[Tq, B]`, or `[Tq]` for all sequences,
  of a ragged batch one for each column, from 0. `nothing`: sequences begin at 0, or where the memory's end; other queries than
  self-attention's at `query_start`. `key_positions` likewise of keys
- `save`: keeps what [`backward`](@ref) can use
- `mask`, `mask_align`, `bias`, `key_lengths`, `query_start`, `dropout`, `seed`, `offset`, `return_weights`, `return_scores`, `return_logsumexp`,
  `return_stats`, `out`: as for [`attention`](@ref), of the heads: weights and scores `[Tk, Tq, Hq, B]`, logsumexp `[Tq, Hq, B]`
"""
function forward(layer::MultiHead, query::AbstractArray, key::MaybeArray = nothing, value::MaybeArray = nothing;
                 memory::Union{Nothing,Memory} = nothing, attend_only::Bool = false, save::Bool = false,
                 return_weights::Bool = false, return_logsumexp::Wanted = false,
                 return_scores::Union{Nothing,Symbol} = nothing, return_stats::Bool = false, out::MaybeArray = nothing,
                 query_offsets::Union{Nothing,Lengths} = nothing, key_offsets::Union{Nothing,Lengths} = nothing,
                 keywords...)
    type, kept = eltype(query), Any[]
    dtype_of(type, "query")
    wide, ragged = beside(type), query_offsets !== nothing
    of_queries, of_keys = lengths_of(query_offsets, "query_offsets"), lengths_of(key_offsets, "key_offsets")
    brought = positions(value !== nothing ? value : key !== nothing ? key : query)
    keyed = key === nothing ? of_queries : of_keys # in self-attention they are the same
    count = longest_keys(brought, keyed, memory, attend_only)
    heads = (positions(query), layer.query_heads, size(query)[3:end]...)
    make(wanted, unseen) = wanted ? room_for(wide, (count, heads...), unseen, ragged) : nothing
    weights, scores = make(return_weights, 0), make(return_scores !== nothing, return_scores === :weights ? 0 : -Inf)
    exact = exactness(return_logsumexp, wide)
    logsumexp = exact === nothing ? nothing : room_for(exact, heads, -Inf, ragged)
    sums = memory === nothing && keyed !== nothing ? (brought, heads[2:end]...) :
           ragged ? (count, layer.query_heads, length(of_queries) - 1) : (count, heads[2:end]...)
    room = stats_room(return_stats, wide, sums, heads, ragged)
    output = out === nothing ? room_for(type, (param_shapes(layer).W_o[1], behind(query)...), 0, ragged) : out
    args = multihead_args(kept, query, key, value; weights = weights, scores = scores, logsumexp = logsumexp,
                          stage = return_scores, query_offsets = of_queries, key_offsets = of_keys, room..., keywords...)
    GC.@preserve kept memory begin
        saved = save ? saved_for!(args, layer) : nothing
        lay!(args, kept, :output, output)
        args.attend_only = attend_only
        memory === nothing || (args.memory = Base.unsafe_convert(Ptr{Cvoid}, memory))
        GC.@preserve saved attn_multihead_forward(layer, args)
    end
    return_weights || exact !== nothing || return_scores !== nothing || return_stats || save || return output
    return (output = output, weights = weights, logsumexp = logsumexp, scores = scores, saved = saved,
            stats = stats_of(room))
end

# How many keys the longest sequence has: of the columns that the call brings, by their offsets, and of a memory.
function longest_keys(brought, offsets, memory, attend_only)
    count = offsets === nothing ? brought : min(longest_of(offsets), brought)
    memory === nothing && return count
    held = lengths(memory)
    attend_only && return longest(memory)
    offsets !== nothing && length(offsets) == length(held) + 1 &&
        return foldl(max, (held[b] + clamp(offsets[b + 1] - offsets[b], 0, brought) for b in eachindex(held)); init = 0)
    return longest(memory) + count
end

(layer::MultiHead)(query::AbstractArray, others...; keywords...) = forward(layer, query, others...; keywords...)

# What is saved, for backward. It may lie at any address that has the remainder by 64 of the one where it was written; a
# byte more, at its end, tells that, so that a copy of it is told from it.
function saved_for!(args::MultiheadArgs, layer::MultiHead)
    size = Ref{Csize_t}(0)
    attn_multihead_saved(layer, args, size)
    saved = Vector{UInt8}(undef, size[] + 1)
    saved[end] = remainder(pointer(saved))
    args.saved, args.saved_size = pointer(saved), size[]
    return saved
end

remainder(address::Ptr) = UInt8(UInt(address) % 64)

# The same for backward, which reads it: what to keep alive is returned.
function saved_from!(args::MultiheadArgs, saved::Vector{UInt8})
    isempty(saved) && refuse(:ATTN_ERR_BUFFER, "result.saved is empty")
    bytes, first = saved, 1
    if remainder(pointer(saved)) != saved[end]
        bytes = Vector{UInt8}(undef, length(saved) + 63)
        first += (saved[end] + 64 - remainder(pointer(bytes))) % 64
        copyto!(bytes, first, saved, 1, length(saved))
    end
    args.saved, args.saved_size = pointer(bytes, first), length(saved) - 1
    return bytes
end

"""
    backward(layer, d_output, query, key = nothing, value = nothing; d_weights, d_logsumexp, result, wanted, keywords...)

Gradients of a loss by what `forward(layer, ...)` read, from those by its output, weights and log-sum-exp: a `NamedTuple`
`(query, key, value, bias, alibi, relative, sinks, params, mechanism_params)`, with `nothing` where there was nothing, or it was
not wanted. Sinks have none beside `d_weights`. In self-attention the gradient of `query` is that of all three, else that of
`key` is of the values too where there are none.

- `result`: what `forward` returned for the same arguments with `save = true`; `nothing`: it is computed again
- `wanted`: names of those that are wanted, parameters by their own, the layer's and the mechanism's; `nothing`: all
"""
function backward(layer::MultiHead, d_output::MaybeArray, query::AbstractArray, key::MaybeArray = nothing,
                  value::MaybeArray = nothing; d_weights::MaybeArray = nothing, d_logsumexp::MaybeArray = nothing,
                  result::Union{Nothing,NamedTuple} = nothing, wanted = nothing, bias::MaybeArray = nothing,
                  query_offsets::Union{Nothing,Lengths} = nothing, key_offsets::Union{Nothing,Lengths} = nothing,
                  keywords...)
    kept, type, ragged = Any[], eltype(query), !(query_offsets === key_offsets === nothing)
    args = multihead_args(kept, query, key, value; bias = bias, query_offsets = query_offsets, key_offsets = key_offsets,
                          keywords...)
    if result !== nothing
        get(result, :saved, nothing) === nothing &&
            refuse(:ATTN_ERR_ARGUMENT, "result is not what forward returns with save = true")
        push!(kept, saved_from!(args, result.saved))
    end
    given = (; query = query, key = key, value = value, bias = bias, tables(layer.mechanism)...)
    wanted = names_of(wanted, given, (keys(param_shapes(layer))..., keys(param_shapes(layer.mechanism))...))
    made = gradients_like(given, wanted, ragged)
    params, inner = gradients_of(layer, wanted, type), gradients_of(layer.mechanism, wanted, type)
    back = MultiheadBackwardArgs()
    back.forward = Base.unsafe_convert(Ptr{MultiheadArgs}, args)
    lay!(back, kept, :d_output, d_output)
    lay!(back, kept, :d_weights, d_weights)
    lay!(back, kept, :d_logsumexp, d_logsumexp)
    for (name, array) in pairs(made)
        lay!(back, kept, Symbol(:d_, name), array)
    end
    lay_params!(back, kept, :d_params, layer, params)
    lay_params!(back, kept, :d_mechanism_params, layer.mechanism, inner)
    GC.@preserve kept attn_multihead_backward(layer, back)
    return (; made..., params = params, mechanism_params = inner)
end
