# SPDX-License-Identifier: BSD-3-Clause
# mechanism.jl: the rule: a score function with its parameters, and the modifiers.

const NO_PARAMS = NamedTuple()
const SCORES = (:dot, :scaled_dot, :general, :additive, :concat, :location)

# given with its alignment at the end: its own, or that of causal.
function aligned(given, count, causal, what)
    entries = given isa Tuple ? given : (given,)
    length(entries) == count + 1 && return entries
    causal !== nothing && length(entries) == count && return (entries..., causal)
    refuse(:ATTN_ERR_ARGUMENT, what, " needs an alignment, :top_left or :bottom_right, as its last entry, unless causal has one")
end

# What the score's create function takes after the engine. A dimension that is not given is a parameter's; where parameters
# are given and no flags, they say which of its forms an additive score has.
function sizes_of(score, params, flags, query_dim, key_dim, hidden_dim, max_keys)
    score in SCORES ||
        refuse(:ATTN_ERR_ARGUMENT, "score is ", repr(score), ", but it is one of ", join(repr.(SCORES), ", "))
    has(name) = haskey(params, name)
    function dim(given, param, dimension, what)
        given === nothing || return given
        has(param) || refuse(:ATTN_ERR_ARGUMENT, "score ", repr(score), " needs the parameter ", param, " in params, or ", what)
        return dimension <= ndims(params[param]) ? size(params[param], dimension) : 0
    end
    score in (:dot, :scaled_dot) && return ()
    score === :general && return dim(query_dim, :W, 1, "query_dim"), dim(key_dim, :W, 2, "key_dim")
    score === :location && return dim(query_dim, :W, 2, "query_dim"), dim(max_keys, :W, 1, "max_keys")
    hidden = dim(hidden_dim, :v, 1, "hidden_dim")
    if score === :concat
        query_dim !== nothing && key_dim !== nothing && return query_dim, key_dim, hidden
        query_dim === nothing && key_dim === nothing &&
            refuse(:ATTN_ERR_ARGUMENT, "score :concat needs query_dim or key_dim: W does not tell where the one ends")
        both = dim(nothing, :W, 2, "query_dim and key_dim")
        return query_dim === nothing ? (both - key_dim, key_dim, hidden) : (query_dim, both - query_dim, hidden)
    end
    if flags === nothing
        given = !isempty(params)
        tells = (:bias => has(:b), :normalised => has(:g), :query_projected => given && !has(:W),
                 :key_projected => given && !has(:U))
        flags = [flag for (flag, told) in tells if told]
    end
    query = :query_projected in flags && query_dim === nothing ? hidden : dim(query_dim, :W, 2, "query_dim")
    key = :key_projected in flags && key_dim === nothing ? hidden : dim(key_dim, :U, 2, "key_dim")
    return query, key, hidden, join_flags(ADDITIVE_FLAGS, flags, "flags")
end

function create_score(score, engine, sizes, at)
    numbers = map(size -> whole(Int64, size, "a dimension"), sizes)
    score === :dot ? attn_mechanism_create_dot(engine, at) :
    score === :scaled_dot ? attn_mechanism_create_scaled_dot(engine, at) :
    score === :general ? attn_mechanism_create_general(engine, numbers..., at) :
    score === :additive ? attn_mechanism_create_additive(engine, numbers..., at) :
    score === :concat ? attn_mechanism_create_concat(engine, numbers..., at) :
    attn_mechanism_create_location(engine, numbers..., at)
end

"""
    Mechanism(score = :scaled_dot; params = (;), keywords...)

A score with its modifiers: the rule by which [`forward`](@ref) and [`backward`](@ref) compute. It is called like a function:
`mechanism(query, key, value)`. Its dimensions are those of `params`, which are bound, where they are not given.

- `score`: `:dot` `q'k`, `:scaled_dot` `q'k / √Dk`, `:general` `q'W*k`, `:additive` `v'tanh.(W*q + U*k)`, `:concat`
  `v'tanh.(W*[q; k])` (give `query_dim` or `key_dim` too), `:location` `(W*q)[j]`
- `params`: a `NamedTuple` or `Dict` of arrays by name: `W`, `U`, `v`, `b`, `g`, `W_p`, `v_p`. They are borrowed and kept alive.
  An additive score has a bias with `b`, is normalised with `g`, and takes projected inputs without `W` or `U`
- `query_dim`, `key_dim`, `hidden_dim`, `max_keys`, and `flags` of `:bias`, `:normalised`, `:query_projected`,
  `:key_projected`: for a mechanism that is made without `params`
- `scale`, `softcap` (0: none), `temperature`, `normaliser` (`:softmax` or `:hardmax`)
- `precision`: `:exact`, the same on every CPU, or `:fast`, as [`set_precision!`](@ref) says
- `causal`: the alignment, `:top_left` (query `i` stands at `query_start + i`) or `:bottom_right` (the last at the last key)
- `window`: `(left, right, alignment)`, -1 is unbounded; `alibi`: `(slopes, alignment)`, slopes `[Hq]`; `relative`:
  `(table, :clipped or :t5 or :t5_causal, max_distance, alignment)`, a table `[n, Hq]`, or `[n]` for all heads. Where `causal`
  is given these three may leave their alignment out. Slopes and table are borrowed as parameters are
- `sinks`: `[Hq]`, as [`set_sinks!`](@ref) says; borrowed likewise
- `locally`: Luong's local attention, `(:monotonic, half_width)`, or `(:predictive, half_width)` or
  `(:predictive_floor, half_width)` with `W_p` and `v_p` in params, or `(kind, half_width, query_dim, hidden_dim)`
- `engine`: one of the caller's own

Any number of threads may compute with one mechanism, while none changes it. It is given back when it is collected, but not
before the memories and layers that stand on it; or by `close`.
"""
mutable struct Mechanism <: WithParameters
    owned::Owned
    open::Bool

    function Mechanism(score::Symbol = :scaled_dot; params = NO_PARAMS, flags = nothing,
                       query_dim::Union{Nothing,Integer} = nothing, key_dim::Union{Nothing,Integer} = nothing,
                       hidden_dim::Union{Nothing,Integer} = nothing, max_keys::Union{Nothing,Integer} = nothing,
                       scale::Union{Nothing,Real} = nothing, softcap::Real = 0, temperature::Real = 1,
                       normaliser::Symbol = :softmax, precision::Symbol = :exact,
                       causal::Union{Nothing,Symbol} = nothing, window = nothing, alibi = nothing, relative = nothing,
                       sinks::MaybeArray = nothing, locally = nothing, engine::Engine = shared_engine())
        sizes = sizes_of(score, by_name(params, "params"), flags, query_dim, key_dim, hidden_dim, max_keys)
        owned = create(at -> create_score(score, engine, sizes, at), attn_mechanism_destroy)
        mechanism = finalizer(close, new(owned, true))
        try
            scale === nothing || set_scale!(mechanism, scale)
            softcap == 0 || set_softcap!(mechanism, softcap)
            temperature == 1 || set_temperature!(mechanism, temperature)
            normaliser === :softmax || set_normaliser!(mechanism, normaliser)
            precision === :exact || set_precision!(mechanism, precision)
            causal === nothing || set_causal!(mechanism, causal)
            window === nothing || set_window!(mechanism, aligned(window, 2, causal, "window")...)
            locally === nothing || set_local!(mechanism, locally_of(locally, params)...)
            alibi === nothing || set_alibi!(mechanism, aligned(alibi, 1, causal, "alibi")...)
            relative === nothing || set_relative!(mechanism, aligned(relative, 3, causal, "relative")...)
            sinks === nothing || set_sinks!(mechanism, sinks)
            bind!(mechanism; pairs(params)...)
        catch
            close(mechanism)
            rethrow()
        end
        return mechanism
    end
end

# What set_local! takes; the dimensions of W_p are those that are given, or its own.
function locally_of(locally, params)
    locally isa Tuple && length(locally) in (2, 4) ||
        refuse(:ATTN_ERR_ARGUMENT, "locally is ", repr(locally), ", but (kind, half_width) is needed, or (kind, half_width, ",
               "query_dim, hidden_dim)")
    return length(locally) == 2 && haskey(params, :W_p) ? (locally..., reverse(size(params[:W_p]))...) : locally
end

param_count(mechanism::Mechanism, count) = attn_mechanism_param_count(mechanism, count)
param_info(mechanism::Mechanism, index, info) = attn_mechanism_param_info(mechanism, index, info)
bind_param(mechanism::Mechanism, name, view, array) = GC.@preserve array attn_mechanism_bind_param(mechanism, name, view)

"""
    param_total(mechanism) -> Int

How many trainable numbers there are.
"""
function param_total(mechanism::Mechanism)
    total = Ref{Int64}(0)
    attn_mechanism_param_total(mechanism, total)
    return Int(total[])
end

Base.show(io::IO, mechanism::Mechanism) =
    print(io, "Mechanism(", isopen(mechanism) ? unsafe_string(attn_mechanism_name(mechanism)) : "closed", ")")

"""
    set_scale!(mechanism, scale)

Multiplies the score by a finite number; 1 unless set, for scaled dot `1 / √Dk`.
"""
set_scale!(mechanism::Mechanism, scale::Real) = (attn_mechanism_set_scale(mechanism, scale); mechanism)

"""
    set_softcap!(mechanism, cap)

Scores become `cap * tanh(e / cap)`; 0 takes it away.
"""
set_softcap!(mechanism::Mechanism, cap::Real) = (attn_mechanism_set_softcap(mechanism, cap); mechanism)

"""
    set_temperature!(mechanism, tau)

Softmax of `e / tau`, `tau > 0`.
"""
set_temperature!(mechanism::Mechanism, tau::Real) = (attn_mechanism_set_temperature(mechanism, tau); mechanism)

"""
    set_normaliser!(mechanism, normaliser)

`:softmax`, or `:hardmax`: 1 on the highest score.
"""
set_normaliser!(mechanism::Mechanism, normaliser::Symbol) =
    (attn_mechanism_set_normaliser(mechanism, choose(NORMALISERS, normaliser, "normaliser")); mechanism)

"""
    set_precision!(mechanism, precision)

`:exact`, which has one meaning on every CPU; or `:fast`: a CPU that has instructions for it multiplies bfloat16, and keys and
values of `Int8`, as they are kept. `info()["fast"]` names the instructions, or says `"exact"`. Gradients, and all other types,
are exact.
"""
set_precision!(mechanism::Mechanism, precision::Symbol) =
    (attn_mechanism_set_precision(mechanism, choose(PRECISIONS, precision, "precision")); mechanism)

"""
    set_causal!(mechanism, alignment)

No query sees a key behind its own position: `:top_left`, `:bottom_right`, or `nothing`, which takes it away.
"""
set_causal!(mechanism::Mechanism, align::Union{Nothing,Symbol}) =
    (attn_mechanism_set_causal(mechanism, choose(ALIGNMENTS, align, "causal")); mechanism)

"""
    set_window!(mechanism, left, right, alignment)

A query sees `left` keys before its own position and `right` behind it; -1 is unbounded. An alignment of `nothing` takes
it away.
"""
function set_window!(mechanism::Mechanism, left::Integer, right::Integer, align::Union{Nothing,Symbol})
    attn_mechanism_set_window(mechanism, whole(Int64, left, "left of the window"), whole(Int64, right, "right of the window"),
                              choose(ALIGNMENTS, align, "window"))
    return mechanism
end

@noinline no_alignment(what) =
    refuse(:ATTN_ERR_ARGUMENT, what, " is to be added, but needs an alignment: :top_left or :bottom_right")

"""
    set_alibi!(mechanism, slopes, alignment)

Adds `-slope * |position - j|` to the scores (Press 2022). `slopes` `[Hq]`, one for each query head, are borrowed and kept
alive; `nothing` takes them away.
"""
function set_alibi!(mechanism::Mechanism, slopes::MaybeArray, align::Union{Nothing,Symbol} = nothing)
    slopes === nothing || align !== nothing || no_alignment("alibi")
    where_to = choose(ALIGNMENTS, slopes === nothing ? nothing : align, "alibi")
    GC.@preserve slopes attn_mechanism_set_alibi(mechanism, reference(slopes, "alibi"), where_to)
    keep!(mechanism, :alibi, slopes)
    return mechanism
end

"""
    set_relative!(mechanism, table, kind, max_distance, alignment)

Adds a learned bias of the distance: a `table` `[n, Hq]`, or `[n]` for all heads, with `n = 2 max_distance + 1` distances
(`:clipped`) or buckets (`:t5`, `:t5_causal`). Borrowed and kept alive; `nothing` takes it away.
"""
function set_relative!(mechanism::Mechanism, table::MaybeArray, kind::Union{Nothing,Symbol} = nothing,
                       max_distance::Integer = 0, align::Union{Nothing,Symbol} = nothing)
    if table === nothing
        kind = align = nothing
    elseif kind === nothing
        refuse(:ATTN_ERR_ARGUMENT, "relative has a table, but no kind: ", join(repr.(RELATIVES.words), ", "))
    elseif align === nothing
        no_alignment("relative")
    end
    which, where_to = choose(RELATIVES, kind, "relative"), choose(ALIGNMENTS, align, "relative")
    GC.@preserve table attn_mechanism_set_relative_bias(mechanism, reference(table, "relative"), which,
                                                        whole(Int64, max_distance, "max_distance"), where_to)
    keep!(mechanism, :relative, table)
    return mechanism
end

"""
    set_sinks!(mechanism, sinks)

Adds a sink to the softmax of each query: a logit of its head that has no key and no value, so that weights may add up to less
than 1. `sinks` `[Hq]`, one for each query head, are borrowed and kept alive; `nothing` takes them away. Not with `:hardmax`.
"""
function set_sinks!(mechanism::Mechanism, sinks::MaybeArray)
    GC.@preserve sinks attn_mechanism_set_sinks(mechanism, reference(sinks, "sinks"))
    keep!(mechanism, :sinks, sinks)
    return mechanism
end

"""
    set_local!(mechanism, kind, half_width = 0, query_dim = 0, hidden_dim = 0)

Luong's local attention: `:monotonic`; or `:predictive` or `:predictive_floor`, which need `query_dim` and `hidden_dim`, and
have the parameters `W_p` and `v_p`, to be bound then. `nothing` takes it away.
"""
function set_local!(mechanism::Mechanism, kind::Union{Nothing,Symbol}, half_width::Integer = 0, query_dim::Integer = 0,
                    hidden_dim::Integer = 0)
    numbers = (whole(Int64, number, name) for (number, name) in
               ((half_width, "half_width"), (query_dim, "query_dim"), (hidden_dim, "hidden_dim")))
    attn_mechanism_set_local(mechanism, choose(LOCALS, kind, "locally"), numbers...)
    keep!(mechanism, :W_p, nothing)
    keep!(mechanism, :v_p, nothing)
    return mechanism
end

# The slopes of ALiBi, the table of relative biases and the sinks; nothing where there are none.
tables(mechanism::Mechanism) = map(name -> get(mechanism.owned.kept, name, nothing),
                                   (alibi = :alibi, relative = :relative, sinks = :sinks))
