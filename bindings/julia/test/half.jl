# SPDX-License-Identifier: BSD-3-Clause
# half.jl: numbers of 16 bits: how BFloat16 rounds, which types are it, and that calls are those in Float32, rounded once.

module Theirs # as BFloat16s.jl has it
primitive type BFloat16 <: AbstractFloat 16 end
primitive type Other <: AbstractFloat 16 end
end

const BFloat16 = Attn.BFloat16
Attn.element(::Type{Theirs.Other}) = :BF16

@testset "BFloat16 rounds to the nearest, of two to the even one" begin
    number(bits) = reinterpret(BFloat16, bits % UInt16)
    bits(number) = reinterpret(UInt16, number)
    wrong = 0
    for h in 0x0000:0xffff
        value = Float32(number(h))
        if isnan(value)
            isnan(BFloat16(value)) && isnan(number(h)) || (wrong += 1)
            continue
        end
        exponent, fraction = Int(h >> 7 & 0xff), Int(h & 0x7f)
        want = exponent == 0 ? fraction * 2.0^-133 : exponent == 255 ? Inf : (128 + fraction) * 2.0^(exponent - 134)
        Float64(number(h)) == (h >> 15 == 1 ? -want : want) && bits(BFloat16(value)) == h || (wrong += 1)
        isinf(value) && continue
        at = reinterpret(UInt32, value) + 0x8000 # the middle of it and the next
        rounded(middle) = bits(BFloat16(reinterpret(Float32, middle)))
        (rounded(at - 0x1), rounded(at), rounded(at + 0x1)) == (h, h + h % 2, h + 1) || (wrong += 1)
    end
    @test wrong == 0
    @test BFloat16(1) == BFloat16(1.0) < BFloat16(Float16(2)) && isless(BFloat16(-1), BFloat16(0)) && isfinite(BFloat16(3))
    @test hash(BFloat16(0.0)) != hash(BFloat16(1)) && repr(BFloat16(0.5)) == "Attn.BFloat16(0.5)"
    @test [BFloat16(2), 1.0f0] isa Vector{Float32} && zeros(BFloat16, 2) == [BFloat16(0), BFloat16(0)]
end

@testset "which types are taken" begin
    @test Attn.element(BFloat16) === Attn.element(Theirs.BFloat16) === Attn.element(Theirs.Other) === :BF16
    @test Attn.element(Float16) === :F16
    @test Attn.element(UInt16) === Attn.element(Complex{Float32}) === Attn.element(Any) === nothing
    ours = BFloat16.(normal32(4, 3))
    want = attention(ours, ours)
    for type in (Theirs.BFloat16, Theirs.Other)
        got = attention(reinterpret(type, ours), reinterpret(type, ours))
        @test got isa Matrix{type} && reinterpret(UInt16, got) == reinterpret(UInt16, want)
    end
    @test status(() -> attention(ours, Float16.(Float32.(ours)))) == :ATTN_ERR_DTYPE
    @test status(() -> attention(reinterpret(UInt16, ours), ours)) == :ATTN_ERR_DTYPE
end

# Each number is off by its rounding at most, and what was wanted by some of Float32's.
roundoff(::Type{Float16}) = 2.0f0^-11
roundoff(::Type{BFloat16}) = 2.0f0^-8
once(got::AbstractArray{T}, want) where {T} =
    size(got) == size(want) && all(abs.(Float32.(got) .- want) .<= abs.(want) .* (1.001f0 * roundoff(T)) .+ 1f-5)

@testset "calls in $T are those in Float32, rounded once" for T in (Float16, BFloat16)
    narrow(sizes...) = T.(normal32(sizes...))
    query, key, value = narrow(6, 5, 4, 2), narrow(6, 7, 2, 2), narrow(3, 7, 2, 2)
    bias, d_context, d_weights = narrow(7, 5), narrow(3, 5, 4, 2), normal32(7, 5, 4, 2)
    params, slopes = (W = normal32(6, 6) ./ 6,), Float32[0.5, 0.25, 0.125, 1]
    rule = (score = :general, params = params, alibi = (slopes, :top_left))
    more = (return_weights = true, return_scores = :masked, return_logsumexp = true, return_stats = true)
    got = attention(query, key, value; bias = bias, rule..., more...)
    want = attention(Float32.(query), Float32.(key), Float32.(value); bias = Float32.(bias), rule..., more...)
    @test got.context isa Array{T,4} && once(got.context, want.context)
    for name in (:weights, :scores, :logsumexp)
        @test eltype(got[name]) == Float32 && near(got[name], want[name])
    end
    for name in (:entropy, :effective_keys, :key_sums)
        @test eltype(got.stats[name]) == Float32 && near(got.stats[name], want.stats[name])
    end
    @test attention(query, key, value; bias = bias, rule..., return_logsumexp = :exact).logsumexp isa Array{Float64}

    # Both gradients are of the same context, rounded, which is read.
    back = attention_grad(d_context, query, key, value; bias = bias, d_weights = d_weights, result = got, rule...)
    wide = attention_grad(Float32.(d_context), Float32.(query), Float32.(key), Float32.(value); bias = Float32.(bias),
                          d_weights = d_weights, result = (context = Float32.(got.context), logsumexp = got.logsumexp), rule...)
    for name in (:query, :key, :value, :bias)
        @test eltype(back[name]) == T && once(back[name], wide[name])
    end
    @test back.alibi isa Vector{Float32} && near(back.alibi, wide.alibi)
    @test back.params.W isa Matrix{Float32} && near(back.params.W, wide.params.W)
    again = attention_grad(d_context, query, key, value; bias = bias, d_weights = d_weights, rule...)
    @test once(again.query, wide.query)

    mechanism, context = Mechanism(:general; params = params, alibi = (slopes, :top_left)), similar(got.context)
    call = Call(mechanism, query, key, value; bias = bias, context = context, weights = zeros(Float32, 7, 5, 4, 2))
    run!(call)
    @test context == got.context
    exact = similar(want.context) # in Float32 it is not rounded
    run!(Call(mechanism, query, key, value; bias = bias, context = exact))
    @test near(exact, want.context)
    @test near(attention(query, key, value; bias = bias, rule..., out = similar(exact)), want.context)
    wider = zeros(size(exact))
    @test status(() -> run!(Call(mechanism, query, key, value; context = wider))) == :ATTN_ERR_DTYPE
    @test status(() -> attention(query, key, value; out = wider)) == :ATTN_ERR_DTYPE
end

@testset "a memory of $kept for $T" for (kept, T, bound) in ((Float16, Float16, 4f-3), (BFloat16, BFloat16, 3f-2),
                                                             (Int8, Float16, 1f-1), (Int8, BFloat16, 1f-1), (Int8, Float32, 1f-1))
    query, key, value = T.(normal32(6, 2, 4)), T.(normal32(6, 7, 2)), T.(normal32(3, 7, 2))
    mechanism = Mechanism()
    want = mechanism(Float32.(query), Float32.(key), Float32.(value))
    memory = Attn.Memory(mechanism, key, value; type = kept)
    append!(memory, key[:, 1:0, :], value[:, 1:0, :])
    got = mechanism(query; memory = memory)
    @test got isa Array{T} && maximum(abs.(Float32.(got) .- want)) < bound
end

@testset "layers in $T, with parameters in $P" for T in (Float16, BFloat16), P in (Float32, T)
    x, layer = T.(normal32(8, 5)), MultiHead(8, 2)
    numbers = map(shape -> T.(normal32(shape...) ./ 3), param_shapes(layer))
    want = bind!(MultiHead(8, 2); map(array -> Float32.(array), numbers)...)(Float32.(x))
    bind!(layer; map(array -> P.(array), numbers)...)
    result, back = forward(layer, x; return_weights = true), backward(layer, x, x)
    @test result.output isa Matrix{T} && once(result.output, want) && result.weights isa Array{Float32}
    @test back.params.W_q isa Matrix{P} && back.query isa Matrix{T}
end

@testset "what else is computed in $T" for T in (Float16, BFloat16)
    x, y, weight = T.(normal32(4, 3)), T.(normal32(4, 5)), normal32(2, 8)
    @test rope(x; layout = :halves) isa Matrix{T}
    aligned = decomposable(x, y)
    @test aligned.beta isa Matrix{T} && aligned.a_logsumexp isa Vector{Float32}
    for P in (Float32, T)
        output = attentional(P.(weight), x, x)
        back = attentional_grad(output, output, P.(weight), x, x)
        @test output isa Matrix{T} && back.weight isa Matrix{P} && back.query isa Matrix{T}
    end
end
