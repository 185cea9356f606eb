# SPDX-License-Identifier: BSD-3-Clause
# precision.jl: what is :fast is near what is exact, and has its bits where the engine says that this CPU computes
# nothing otherwise, and in other types.

@testset "exact and fast" begin
    wide = (normal32(64, 64, 4), normal32(64, 256, 2), normal32(64, 256, 2))
    narrow = map(array -> Attn.BFloat16.(array), wide)
    bits(array) = reinterpret(UInt8, vec(array))
    greatest(array) = maximum(abs, Float32.(array))
    close_to(got, want) = size(got) == size(want) && greatest(want) > 0 &&
                          greatest(Float32.(got) .- Float32.(want)) <= 2f0^-7 * greatest(want)
    # Near; with the same bits where nothing is faster here, and where something is, with others for one query or for
    # many.
    function as_described(run, query, kind)
        same = map((1, 64)) do queries
            got, want = (run(query[:, 1:queries, :], word) for word in (:fast, :exact))
            @test close_to(got, want)
            bits(got) == bits(want)
        end
        return all(same) == (info()["fast"][kind] == "exact")
    end

    @testset "bfloat16 is near" begin
        @test as_described(narrow[1], "bf16") do query, word
            attention(query, narrow[2], narrow[3]; precision = word)
        end
        for more in ((causal = :bottom_right,), (softcap = 5, temperature = 0.7), (key_lengths = [200],),
                     (normaliser = :hardmax,))
            @test close_to(attention(narrow...; precision = :fast, more...), attention(narrow...; more...))
        end
    end

    @testset "integers are near" begin
        columns(array) = dropdims(maximum(abs, array; dims = 1); dims = 1) ./ 127
        whole(array) = round.(Int8, array ./ (maximum(abs, array; dims = 1) ./ 127))
        key, value = whole(wide[2]), whole(wide[3])
        scales = (key_scales = columns(wide[2]), value_scales = columns(wide[3]))
        @test as_described(wide[1], "i8") do query, word
            attention(query, key, value; scales..., precision = word)
        end
    end

    @testset "$T has the same bits" for T in (Float32, Float64, Float16)
        given = map(array -> T.(array), wide)
        @test bits(attention(given...; precision = :fast)) == bits(attention(given...))
    end

    @testset "gradients are exact" begin
        result, flow = attention(narrow...; return_logsumexp = :exact), Attn.BFloat16.(normal32(64, 64, 4))
        want = attention_grad(flow, narrow...; result = result)
        got = attention_grad(flow, narrow...; result = result, precision = :fast)
        again = attention_grad(flow, narrow...; precision = :fast)
        for name in (:query, :key, :value)
            @test bits(got[name]) == bits(want[name]) && close_to(again[name], want[name])
        end
    end

    @testset "a mechanism may change it, and prepared calls follow" begin
        exact, fast = attention(narrow...), attention(narrow...; precision = :fast)
        mechanism, context = Mechanism(precision = :fast), similar(exact)
        call = Call(mechanism, narrow...; context = context)
        for (word, want) in ((:fast, fast), (:exact, exact), (:fast, fast))
            @test set_precision!(mechanism, word) === mechanism
            @test bits(mechanism(narrow...)) == bits(want)
            run!(call)
            @test bits(context) == bits(want)
        end
    end

    @testset "memories and layers have their mechanism's" begin
        mechanisms = Mechanism(precision = :fast), Mechanism()
        for kept in (Attn.BFloat16, Int8)
            over(one) = one(narrow[1]; memory = Attn.Memory(one, narrow[2], narrow[3]; type = kept))
            @test close_to(map(over, mechanisms)...)
        end
        x = Attn.BFloat16.(normal32(64, 40))
        params = map(shape -> normal32(shape...) ./ 8, param_shapes(MultiHead(64, 2)))
        @test close_to(map(one -> bind!(MultiHead(64, 2; mechanism = one); params...)(x), mechanisms)...)
    end

    @testset "words that are none" begin
        for make in (() -> attention(narrow...; precision = :quick),
                     () -> attention_grad(narrow[1], narrow...; precision = :quick),
                     () -> Mechanism(precision = :quick), () -> set_precision!(Mechanism(), :quick))
            @test_throws AttnError(:ATTN_ERR_ARGUMENT, "precision is :quick, but it is one of :exact, :fast") make()
        end
    end
end
