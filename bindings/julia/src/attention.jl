# SPDX-License-Identifier: BSD-3-Clause
# attention.jl: attention and its gradients as functions, for whoever wants no handles.

# A mechanism for one call, given back at its end.
function borrow(run, query, key, score, threads, rule)
    dims = score in (:dot, :scaled_dot) ? NO_PARAMS :
           (query_dim = size(query, 1), key_dim = key === nothing ? nothing : size(key, 1))
    mechanism = Mechanism(score; engine = shared_engine(threads), dims..., rule...)
    try
        return run(mechanism)
    finally
        close(mechanism)
    end
end

"""
    attention(query, key = nothing, value = nothing; keywords...)

The context, `[Dv, Tq, Hq, B]`: for each query the mean of the values, weighted by the softmax of its scores with the keys. Or
a `NamedTuple` `(context, weights, logsumexp, scores, stats)`, where more is asked for; `nothing` in it was not.

`query` `[Dq, Tq, Hq, B]`, `key` `[Dk, Tk, Hk, B]`, `value` `[Dv, Tk, Hk, B]`; `nothing`: the keys. `Hk` divides `Hq`. Arrays of
fewer dimensions lack the last ones. All are borrowed for the call, whatever their strides, and of one type: `Float32`, `Float64`,
`Float16` or [`Attn.BFloat16`](@ref). What is computed beside the context, and slopes, tables, sinks and parameters, is `Float32`
where that has 16 bits.

- `score`, `params`, `scale`, `softcap`, `temperature`, `normaliser`, `precision`, `causal`, `window`, `alibi`, `relative`,
  `sinks`, `locally`: the rule, as for [`Mechanism`](@ref)
- `key_scales`, `value_scales`: `[Tk, Hk, B]` of `Float32`, where `key` or `value` is of `Int8`: what each of its columns is to
  be multiplied by. Not beside a `query` of `Float64`, nor for gradients
- `bias`: added to the scores; `mask`: `Bool`, true: may be seen. Both broadcast to `[Tk, Tq, Hq, B]`, where a size of 1, or a
  dimension that is missing at the end, stands for any. A `BitArray` has no bytes to look at: `Array{Bool}(mask)`
- `query_offsets`: `[B + 1]`, a ragged batch, without padding: the columns of `query` that come before each sequence, and in the
  end all of them, so that sequence `b` is `query[:, query_offsets[b] + 1 : query_offsets[b + 1], :]`, and what is said of it
  lies in the same columns; those of no sequence are those of a query that sees no key. `[0; cumsum(lengths)]` makes them.
  `key_offsets` likewise of `key` and `value`: weights have as many rows as the longest sequence has keys
- `mask_align`: `:bottom_right`: `mask` is `[n, Tq, Hq, B]`, of the last `n` keys of each sequence, those before being visible
- `page_table`: `[most, B]`, the pages of each sequence, counted from 0: `key` and `value` are `[Dk, page, Hk, N]`, `N` pages, and
  there are `key_lengths`. With `page_offsets`, `[B + 1]`, it is `[all]`, and sequence `b` has the entries
  `page_offsets[b] + 1 : page_offsets[b + 1]`. Not for gradients
- `key_lengths`: `[B]`, the valid keys of each sequence; `query_start`: the position of the first query, from 0
- `dropout`: the probability with which a weight becomes 0; `seed` and `offset` say which
- `return_weights` and `return_scores` (`:raw`, `:capped`, `:masked` or `:weights`, the stage): `[Tk, Tq, Hq, B]`;
  `return_logsumexp`: `[Tq, Hq, B]`; `:exact` is `Float64` whatever the arrays are, which gradients are more exact from
- `return_stats`: what the weights say, before dropout, without being made: a `NamedTuple` of the `entropy` of each query's
  in nats, its exponential, `effective_keys`, and the `strongest` key, 0 where none is seen, all `[Tq, Hq, B]`; and
  `key_sums` over the queries, `[Tk, Hq, B]`
- `threads`: of the engine; 0 is one for each CPU
- `out`: an array for the context, which is returned

Raises an [`AttnError`](@ref) where something is refused; `out` is as it was then.
"""
attention(query::AbstractArray, key::MaybeArray = nothing, value::MaybeArray = nothing; score::Symbol = :scaled_dot,
          threads::Integer = 0, key_scales::MaybeArray = nothing, value_scales::MaybeArray = nothing,
          mask::MaybeArray = nothing, mask_align::Union{Nothing,Symbol} = nothing, bias::MaybeArray = nothing,
          key_lengths::Union{Nothing,Lengths} = nothing, query_offsets::Union{Nothing,Lengths} = nothing,
          key_offsets::Union{Nothing,Lengths} = nothing, page_table::Union{Nothing,Lengths} = nothing,
          page_offsets::Union{Nothing,Lengths} = nothing, query_start::Integer = 0, dropout::Real = 0, seed::Integer = 0,
          offset::Integer = 0, return_weights::Bool = false, return_logsumexp::Wanted = false,
          return_scores::Union{Nothing,Symbol} = nothing, return_stats::Bool = false, out::MaybeArray = nothing, rule...) =
    borrow(query, key, score, threads, rule) do mechanism
        forward(mechanism, query, key, value; key_scales = key_scales, value_scales = value_scales, mask = mask,
                mask_align = mask_align, bias = bias, key_lengths = key_lengths, query_offsets = query_offsets,
                key_offsets = key_offsets, page_table = page_table, page_offsets = page_offsets,
                query_start = query_start, dropout = dropout, seed = seed, offset = offset,
                return_weights = return_weights, return_logsumexp = return_logsumexp, return_scores = return_scores,
                return_stats = return_stats, out = out)
    end

"""
    attention_grad(d_context, query, key = nothing, value = nothing; d_weights, d_logsumexp, result, wanted, keywords...)

Gradients of a loss by what [`attention`](@ref) read: a `NamedTuple` `(query, key, value, bias, alibi, relative, sinks,
params)`, in which `params` is one by the parameters' names, and `nothing` stands where there was nothing, or it was not wanted.
Each has the size of what it is the gradient of. Where `value` is `nothing`, the gradient of `key` is that of both its parts.
Sinks have none beside `d_weights`.

- `d_context` `[Dv, Tq, Hq, B]`, `d_weights` `[Tk, Tq, Hq, B]`, `d_logsumexp` `[Tq, Hq, B]`: the loss's gradients by the outputs;
  at least one
- `result`: what `attention` returned for the same arguments with `return_logsumexp`, best `:exact`; `nothing`: it is computed
  again
- `wanted`: the names of those that are wanted, parameters by their own; `nothing`: all

The rest is as for `attention`; hardmax has no gradient. `precision` is that of the result that is computed again: gradients
are exact whichever it is.
"""
attention_grad(d_context::MaybeArray, query::AbstractArray, key::MaybeArray = nothing, value::MaybeArray = nothing;
               score::Symbol = :scaled_dot, threads::Integer = 0, d_weights::MaybeArray = nothing,
               d_logsumexp::MaybeArray = nothing, result::Union{Nothing,NamedTuple} = nothing, wanted = nothing,
               mask::MaybeArray = nothing, mask_align::Union{Nothing,Symbol} = nothing, bias::MaybeArray = nothing,
               key_lengths::Union{Nothing,Lengths} = nothing, query_offsets::Union{Nothing,Lengths} = nothing,
               key_offsets::Union{Nothing,Lengths} = nothing, query_start::Integer = 0, dropout::Real = 0, seed::Integer = 0, offset::Integer = 0, rule...) =
    borrow(query, key, score, threads, rule) do mechanism
        backward(mechanism, d_context, query, key, value; d_weights = d_weights, d_logsumexp = d_logsumexp,
                 result = result, wanted = wanted, mask = mask, mask_align = mask_align, bias = bias,
                 key_lengths = key_lengths, query_offsets = query_offsets, key_offsets = key_offsets, query_start = query_start, dropout = dropout, seed = seed, offset = offset)
    end

"""
    info(; threads = 0) -> Dict{String,Any}

How this machine computes: [`describe`](@ref) of the engine that is shared.
"""
info(; threads::Integer = 0) = describe(shared_engine(threads))

"""
    Attn.version() -> VersionNumber

The version of the library that is loaded.
"""
version() = VersionNumber(unsafe_string(attn_version()))
