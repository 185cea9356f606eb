# SPDX-License-Identifier: BSD-3-Clause
# quantised.jl: keys and values of Int8 with scales, and memories of 8 and 16 bits: they are what they stand for.

# Columns as a memory makes integers of them: these, the scale of each, and what both stand for.
function quantised(columns)
    wide = Float32.(columns)
    scales = maximum(abs, wide; dims = 1) ./ 127
    integers = round.(Int8, wide ./ scales)
    return (integers = integers, scales = dropdims(scales; dims = 1), meant = integers .* scales)
end

kept_as(::Type{Int8}, columns) = quantised(columns).meant
kept_as(::Type, columns) = Float32.(columns)

# Rounded once to T, where that is narrower than Float32.
narrowness(::Type{Float32}) = 0f0
narrowness(::Type{Float16}) = 2f0^-11
narrowness(::Type{Attn.BFloat16}) = 2f0^-8
rounded(got::AbstractArray{T}, want; roundings = 1) where {T} =
    size(got) == size(want) && all(abs.(Float32.(got) .- want) .<= abs.(want) .* (1.001f0 * roundings * narrowness(T)) .+ 1f-5)

@testset "keys and values of Int8 beside $T" for T in (Float32, Float16, Attn.BFloat16)
    query, key, value = T.(normal32(6, 5, 4, 2)), quantised(normal32(6, 7, 2, 2)), quantised(normal32(3, 7, 2, 2))
    scales, wide = (key_scales = key.scales, value_scales = value.scales), Float32.(query)
    more = (key_lengths = [7, 4], causal = :top_left, return_weights = true)
    want = attention(wide, key.meant, value.meant; more...)
    got = attention(query, key.integers, value.integers; scales..., more...)
    @test got.context isa Array{T,4} && rounded(got.context, want.context) && near(got.weights, want.weights)
    @test rounded(attention(query, key.integers; key_scales = key.scales), attention(wide, key.meant))
    plain = T.(value.meant)
    @test rounded(attention(query, key.integers, plain; key_scales = key.scales), attention(wide, key.meant, Float32.(plain)))
    heads_last = permutedims(key.integers, (1, 3, 2, 4)) # any strides
    view_of = PermutedDimsArray(heads_last, (1, 3, 2, 4))
    @test attention(query, view_of, value.integers; scales...) == attention(query, key.integers, value.integers; scales...)

    mechanism, context = Mechanism(), zeros(T, 3, 5, 4, 2)
    call = Call(mechanism, query, key.integers, value.integers; context = context, scales...)
    run!(call)
    @test rounded(context, mechanism(wide, key.meant, value.meant))
    value.scales .*= 2
    run!(call)
    @test rounded(context, 2 .* mechanism(wide, key.meant, value.meant))
end

@testset "what does not belong to integers is refused" begin
    query, key = normal32(6, 5), quantised(normal32(6, 7))
    @test status(() -> attention(query, key.integers)) == :ATTN_ERR_ARGUMENT
    @test status(() -> attention(query, key.meant; key_scales = key.scales)) == :ATTN_ERR_ARGUMENT
    @test status(() -> attention(query, key.integers; key_scales = key.scales[1:6])) == :ATTN_ERR_SHAPE
    @test status(() -> attention(query, key.integers; key_scales = Float64.(key.scales))) == :ATTN_ERR_DTYPE
    @test status(() -> attention(Float64.(query), key.integers; key_scales = key.scales)) == :ATTN_ERR_DTYPE
    @test status(() -> attention_grad(query, query, key.integers)) == :ATTN_ERR_UNSUPPORTED
end

@testset "a memory of $kept holds what it keeps of $T" for (kept, T) in ((Float16, Float16), (Attn.BFloat16, Attn.BFloat16),
        (Int8, Float32), (Int8, Float16), (Int8, Attn.BFloat16))
    query, key, value = T.(normal32(6, 2, 4)), T.(normal32(6, 7, 2)), T.(normal32(3, 7, 2))
    mechanism = Mechanism()
    want = mechanism(Float32.(query), kept_as(kept, key), kept_as(kept, value))
    memory = Attn.Memory(mechanism, key, value; type = kept)
    @test rounded(mechanism(query; memory = memory), want)
    copied = copy(memory)
    truncate!(memory, [0])
    @test rounded(mechanism(query; memory = copied), want)
end

@testset "a layer in $T decodes from a memory of $kept" for (kept, T) in ((Float16, Float16), (Attn.BFloat16, Attn.BFloat16),
        (Int8, Float32), (Int8, Float16), (Int8, Attn.BFloat16))
    unit = Matrix{Float32}(I, 8, 8) # keys and values are the words, each row of a memory a head's half
    layer = MultiHead(8, 2; mechanism = Mechanism(causal = :bottom_right), bias = false)
    bind!(layer; W_q = unit, W_k = unit, W_v = unit, W_o = unit)
    words = T.(normal32(8, 5))
    memory, known = (Attn.Memory(layer; type = type) for type in (kept, Float32))
    for t in 1:5
        word = words[:, t:t]
        rows = kept_as(kept, reshape(word, 4, 1, 2))
        append!(known, rows, rows)
        got, want = layer(word; memory = memory), layer(word; memory = known, attend_only = true)
        @test rounded(got, Float32.(want); roundings = 2) && maximum(abs, Float32.(got)) > 0.01
    end
    @test lengths(memory) == [5]
end

@testset "memories refuse other types" begin
    mechanism, key = Mechanism(), normal32(4, 3)
    for (given, kept) in ((key, Float16), (key, Float64), (Float64.(key), Int8), (quantised(key).integers, Int8))
        @test status(() -> Attn.Memory(mechanism, given; type = kept)) == :ATTN_ERR_DTYPE
    end
end
