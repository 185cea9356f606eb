# SPDX-License-Identifier: BSD-3-Clause
# decomposable.jl: the attend stage of decomposable attention (Parikh 2016), both ways at once, and its gradients.

function decomposable_args(kept; tensors...)
    args = DecomposableArgs()
    for (name, array) in tensors
        lay!(args, kept, name, array)
    end
    return args
end

"""
    decomposable(f, g, a = nothing, b = nothing; a_lengths, b_lengths, engine)

Both alignments of two sentences (Parikh 2016, section 3.1), of the projected sentences `f = F(a)` `[D, Ta, H, B]` and `g = F(b)`
`[D, Tb, H, B]`, and `a` `[Da, Ta, H, B]` and `b` `[Db, Tb, H, B]` themselves; `nothing`: `f`, `g`. A `NamedTuple`: `beta`
`[Db, Ta, H, B]`, what in b is aligned with each column of a; `alpha` `[Da, Tb, H, B]`, the other way; `a_logsumexp`
`[Ta, H, B]` and `b_logsumexp` `[Tb, H, B]`. `a_lengths` and `b_lengths` `[B]`: the valid columns.
"""
function decomposable(f::AbstractArray, g::AbstractArray, a::MaybeArray = nothing, b::MaybeArray = nothing;
                      a_lengths::Union{Nothing,Lengths} = nothing, b_lengths::Union{Nothing,Lengths} = nothing,
                      engine::Engine = shared_engine())
    type, kept = eltype(f), Any[]
    dtype_of(type, "f")
    column(array, otherwise) = size(array === nothing ? otherwise : array, 1)
    made = (beta = Array{type}(undef, column(b, g), behind(f)...), alpha = Array{type}(undef, column(a, f), behind(g)...),
            a_logsumexp = Array{beside(type),max(ndims(f) - 1, 0)}(undef, behind(f)),
            b_logsumexp = Array{beside(type),max(ndims(g) - 1, 0)}(undef, behind(g)))
    args = decomposable_args(kept; f = f, g = g, a = a, b = b, a_lengths = lengths_of(a_lengths, "a_lengths"),
                             b_lengths = lengths_of(b_lengths, "b_lengths"), made...)
    GC.@preserve kept attn_decomposable_forward(engine, args)
    return made
end

"""
    decomposable_grad(d_beta, d_alpha, f, g, a = nothing, b = nothing; a_lengths, b_lengths, result, wanted, engine)

Gradients of a loss by `f`, `g`, `a` and `b`, from those by `beta` and `alpha`, one of which may be `nothing`: a `NamedTuple`
`(f, g, a, b)`. `result`: what [`decomposable`](@ref) returned for the same arguments; `nothing`: it is computed again.
"""
function decomposable_grad(d_beta::MaybeArray, d_alpha::MaybeArray, f::AbstractArray, g::AbstractArray,
                           a::MaybeArray = nothing, b::MaybeArray = nothing; a_lengths::Union{Nothing,Lengths} = nothing,
                           b_lengths::Union{Nothing,Lengths} = nothing, result::Union{Nothing,NamedTuple} = nothing,
                           wanted = nothing, engine::Engine = shared_engine())
    result === nothing &&
        (result = decomposable(f, g, a, b; a_lengths = a_lengths, b_lengths = b_lengths, engine = engine))
    kept, given = Any[], (f = f, g = g, a = a, b = b)
    made = gradients_like(given, names_of(wanted, given, ()))
    args = decomposable_args(kept; given..., a_lengths = lengths_of(a_lengths, "a_lengths"), b_lengths = lengths_of(b_lengths, "b_lengths"),
                             result..., d_beta = d_beta, d_alpha = d_alpha, d_f = made.f, d_g = made.g, d_a = made.a,
                             d_b = made.b)
    GC.@preserve kept attn_decomposable_backward(engine, args)
    return made
end
