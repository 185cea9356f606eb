# SPDX-License-Identifier: BSD-3-Clause
# elements.jl: what a type of elements is to the library: Attn.element says it, here alone; and BFloat16, which Julia has not.

"""
    Attn.BFloat16(number)

The first half of a `Float32`: 8 significant bits, and its range. It is made from a `Float32` by rounding to the nearest, of
two to the even one (from other numbers by way of `Float32`), and becomes a `Float32` or `Float64` exactly: that is all that it
can do. It is kept and passed on, and the library computes with it in `Float32`.

For arrays of other packages' types see [`Attn.element`](@ref).
"""
primitive type BFloat16 <: AbstractFloat 16 end

function BFloat16(number::Float32)
    bits = reinterpret(UInt32, number)
    kept = isnan(number) ? bits >> 16 | 0x40 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16
    return reinterpret(BFloat16, kept % UInt16)
end
BFloat16(number::Union{Float16,Float64,Integer}) = BFloat16(Float32(number))
BFloat16(number::BFloat16) = number
Base.Float32(number::BFloat16) = reinterpret(Float32, UInt32(reinterpret(UInt16, number)) << 16)
Base.Float64(number::BFloat16) = Float64(Float32(number))
Base.:(==)(a::BFloat16, b::BFloat16) = Float32(a) == Float32(b)
Base.isless(a::BFloat16, b::BFloat16) = isless(Float32(a), Float32(b))
Base.:<(a::BFloat16, b::BFloat16) = Float32(a) < Float32(b)
Base.isnan(number::BFloat16) = isnan(Float32(number))
Base.isfinite(number::BFloat16) = isfinite(Float32(number))
Base.hash(number::BFloat16, seed::UInt) = hash(Float32(number), seed)
Base.promote_rule(::Type{BFloat16}, ::Type{T}) where {T<:Union{Float32,Float64}} = T
Base.show(io::IO, number::BFloat16) = print(io, "Attn.BFloat16(", Float32(number), ")")

"""
    Attn.element(type) -> Symbol or nothing

What the library calls elements of a type: `:F32`, `:F64`, `:F16`, `:BF16`, `:I8`, `:BOOL`, `:I32`, `:I64`, or nothing. A type of
16 bits that is called `BFloat16`, as `BFloat16s.BFloat16` and Julia's own from 1.11 on are, is `:BF16`. Other packages can add
theirs, which lies in memory as the library's does:

    Attn.element(::Type{Theirs}) = :BF16
"""
element(::Type{Float32}) = :F32
element(::Type{Float64}) = :F64
element(::Type{Float16}) = :F16
element(::Type{Int8}) = :I8
element(::Type{Bool}) = :BOOL
element(::Type{Int32}) = :I32
element(::Type{Int64}) = :I64
element(::Type{T}) where {T} = isbitstype(T) && sizeof(T) == 2 && nameof(T) === :BFloat16 ? :BF16 : nothing

const ELEMENTS = (:F32, :F64, :F16, :BF16, :I8, :BOOL, :I32, :I64)
const DTYPES = Dict{Symbol,Int32}()

load_elements() = foreach(name -> DTYPES[name] = constant("ATTN_$name"), ELEMENTS)

# The type of what stands beside queries, keys, values, bias and context of one: weights, scores, log-sum-exp, stats, a
# mechanism's parameters. What has 16 bits is computed with in Float32.
beside(::Type{T}) where {T} = isbitstype(T) && sizeof(T) == 2 ? Float32 : T
