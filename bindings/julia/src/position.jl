# SPDX-License-Identifier: BSD-3-Clause
# position.jl: what tells a model where a token stands: sinusoids, ALiBi's slopes, rotary positions.

"""
    Rope(; layout, dimensions = 0, base = 10000.0)

Rotary positions (Su 2021): the layout is `:interleaved` (the paper's) or `:halves` (GPT-NeoX, transformers' Llama). It has
no default, since weights are right with one of them alone. The first `dimensions` of each column are turned, 0: all of
them.
"""
Base.@kwdef struct Rope
    layout::Symbol
    dimensions::Int = 0
    base::Float64 = 10000.0
end

function options_of(rope::Rope)
    options = RopeOptions()
    options.layout = choose(LAYOUTS, rope.layout, "layout")
    options.dimensions, options.base = rope.dimensions, rope.base
    return options
end

"""
    rope(array; layout, dimensions = 0, base = 10000.0, first = 0, positions = nothing, inverse = false,
         out = similar(array), engine)

`array` `[D, T, H, B]` with each column turned by its position: `first`, `first + 1`, ..., or those in `positions`, `[T, B]`
or `[T]`, whole numbers. `inverse` turns back, which is the gradient too. `out` may be `array` itself. Returns `out`.
"""
function rope(array::AbstractArray; layout::Symbol, dimensions::Integer = 0, base::Real = 10000.0,
              first::Integer = 0, positions::Union{Nothing,Lengths} = nothing, inverse::Bool = false,
              out::AbstractArray = Array{eltype(array)}(undef, size(array)), engine::Engine = shared_engine())
    options, kept = options_of(Rope(layout, dimensions, base)), Any[]
    options.first, options.inverse = first, inverse
    lay!(options, kept, :positions, lengths_of(positions, "positions"))
    GC.@preserve kept array out attn_rope(engine, options, reference(array, "array"), reference(out, "out"))
    return out
end

"""
    sinusoidal(dimension, length; first = 0, base = 10000.0, type = Float32)

The sinusoids of positions `first` .. `first + length - 1` (Vaswani 2017, section 3.5), a matrix `[dimension, length]` to be
added to the vectors of a sequence: odd rows are sines, even ones cosines.
"""
function sinusoidal(dimension::Integer, length::Integer; first::Integer = 0, base::Real = 10000.0, type::Type = Float32)
    table = Array{type}(undef, dimension, length)
    GC.@preserve table attn_position_sinusoidal(reference(table, "table"), whole(Int64, first, "first"), base)
    return table
end

"""
    alibi_slopes(heads; type = Float32)

The slopes of ALiBi (Press 2022) for so many heads, a vector.
"""
function alibi_slopes(heads::Integer; type::Type = Float32)
    slopes = Array{type}(undef, heads)
    GC.@preserve slopes attn_position_alibi_slopes(reference(slopes, "slopes"))
    return slopes
end
