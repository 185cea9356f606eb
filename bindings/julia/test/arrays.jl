# SPDX-License-Identifier: BSD-3-Clause
# arrays.jl: arrays are taken where they lie, by their strides, or refused; they live as long as they are borrowed.

query, key, value = normal32(6, 5, 4, 2), normal32(6, 7, 2, 2), normal32(3, 7, 2, 2)
want = expected(query, key, value).context

@testset "views, permuted and reinterpreted arrays are used where they lie" begin
    wide = normal32(12, 9, 4, 2)
    wide[2:2:12, 3:7, :, :] = query
    @test near(attention(view(wide, 2:2:12, 3:7, :, :), key, value), want)
    @test near(attention(PermutedDimsArray(permutedims(query, (1, 3, 2, 4)), (1, 3, 2, 4)), key, value), want)
    @test near(attention(PermutedDimsArray(permutedims(query, (4, 2, 3, 1)), (4, 2, 3, 1)), key, value), want)
    @test near(attention(reshape(query, 6, 5, 4, 2), view(key, 6:-1:1, :, :, :)[6:-1:1, :, :, :], value), want)
    backwards = key[:, end:-1:1, :, :]
    @test near(attention(query, view(backwards, :, 7:-1:1, :, :), value), want)
    @test near(attention(reinterpret(Float32, reinterpret(UInt32, query)), key, value), want)
    @test near(attention(query, key, reshape(view(vec(value), 1:length(value)), size(value))), want)
    rows = permutedims(query[:, :, 1, 1]) # a row for each query
    @test near(attention(transpose(rows), key[:, :, 1, 1], value[:, :, 1, 1]), want[:, :, 1, 1])
end

@testset "an output of the caller's, of any strides" begin
    room = fill(NaN32, 5, 2, 8, 4)
    out = PermutedDimsArray(view(room, :, :, 2:4, :), (3, 1, 4, 2))
    @test attention(query, key, value; out = out) === out
    @test near(out, want)
    @test all(isnan, room[:, :, 1, :]) && all(isnan, room[:, :, 5:8, :])
    inside = view(normal32(3, 5, 4, 5), :, :, :, [1, 3]) # lies nowhere by strides
    @test status(() -> attention(query, key, value; out = inside)) == :ATTN_ERR_DTYPE
end

@testset "nothing is converted" begin
    for given in (Float16.(query), round.(Int64, query), complex.(query), BigFloat.(query), trues(6, 5, 4, 2), Float64.(query))
        @test status(() -> attention(given, key, value)) == :ATTN_ERR_DTYPE
    end
    @test status(() -> attention(query, key, value; mask = trues(7, 5))) == :ATTN_ERR_DTYPE
    @test status(() -> attention(query, key, value; mask = ones(UInt8, 7, 5))) == :ATTN_ERR_DTYPE
    @test occursin("mask's are Bool", sprint(showerror, try attention(query, key; mask = ones(UInt8, 7, 5)) catch error error end))
    @test status(() -> attention(query, key, value; key_lengths = [true, false])) == :ATTN_ERR_DTYPE
    @test status(() -> attention(reshape(query, 6, 5, 4, 2, 1), key, value)) == :ATTN_ERR_SHAPE
    @test status(() -> attention(1:6, key, value)) == :ATTN_ERR_DTYPE
    for wrong in (3, "W", [[1.0]])
        @test status(() -> Mechanism(:general; query_dim = 6, key_dim = 6, params = (W = wrong,))) == :ATTN_ERR_DTYPE
    end
end

@testset "fewer dimensions" begin
    got = attention(query[:, :, 1, 1], key[:, :, 1, 1], value[:, :, 1, 1]; return_weights = true, return_logsumexp = true)
    whole = expected(query, key, value)
    @test near(got.context, whole.context[:, :, 1, 1])
    @test near(got.weights, whole.weights[:, :, 1, 1])
    @test near(got.logsumexp, whole.logsumexp[:, 1, 1])
    one = attention(query[:, 2, 1, 1], key[:, :, 1, 1], value[:, :, 1, 1]; return_weights = true, return_logsumexp = true)
    @test near(one.context, whole.context[:, 2, 1, 1])
    @test near(one.weights, whole.weights[:, 2, 1, 1])
    @test size(one.logsumexp) == () && one.logsumexp[] ≈ whole.logsumexp[2, 1, 1]
    gradients = attention_grad(normal32(3), query[:, 2, 1, 1], key[:, :, 1, 1], value[:, :, 1, 1]; result = one,
                               d_logsumexp = fill(0.5f0))
    @test size(gradients.query) == (6,) && size(gradients.key) == (6, 7)
    @test size(attention(query[:, :, :, 1:0], key[:, :, :, 1:0], value[:, :, :, 1:0])) == (3, 5, 4, 0)
    @test attention(query, key[:, 1:0, :, :], value[:, 1:0, :, :]) == zeros(Float32, 3, 5, 4, 2)
end

@testset "what a handle borrows stays alive, and what nobody has any more is given back" begin
    made() = Mechanism(:general; params = (W = normal(40, 40),), alibi = (normal(1), :top_left), sinks = normal(1))
    W_of(mechanism) = copy(bound(mechanism)[:W])
    mechanism = made()
    W, x = W_of(mechanism), normal(40, 30)
    before = mechanism(x, x)
    for _ in 1:20
        [normal(40, 40) for _ in 1:50] # what the collector could put in W's place
        GC.gc(false)
    end
    GC.gc()
    @test mechanism(x, x) == before && bound(mechanism)[:W] == W
    context = zeros(40, 30)
    call = let x = copy(x)
        Call(made(), x, x; context = context)
    end
    bind!(call.mechanism; W = copy(W))
    for _ in 1:20
        [normal(40, 30) for _ in 1:50]
        GC.gc(false)
        run!(call)
    end
    @test all(isfinite, context)
    layer = let layer = MultiHead(8, 2; mechanism = Mechanism(causal = :bottom_right), bias = false)
        bind!(layer; map(shape -> normal(shape...), param_shapes(layer))...)
    end
    memory, x = Attn.Memory(layer; type = Float64), normal(8, 1)
    first = forward(layer, x; memory = memory)
    GC.gc()
    @test near(forward(layer, x; memory = memory, attend_only = true), first)
    layer = nothing # the memory stands on its mechanism
    GC.gc()
    @test all(isfinite, memory.mechanism(normal(4, 1, 2); memory = memory))
end

@testset "handles are given back in any order, and are refused then" begin
    for order in ([1, 2, 3], [3, 2, 1], [2, 3, 1], [1, 3, 2])
        engine = Engine(threads = 1)
        mechanism = Mechanism(:dot; engine = engine)
        memory = Attn.Memory(mechanism, normal(4, 3))
        handles = [engine, mechanism, memory]
        foreach(i -> finalize(handles[i]), order)
        foreach(close, handles)
        @test !any(isopen, handles)
        @test status(() -> lengths(memory)) == :ATTN_ERR_ARGUMENT
        @test status(() -> mechanism(normal(4), normal(4, 3))) == :ATTN_ERR_ARGUMENT
        @test status(() -> describe(engine)) == :ATTN_ERR_ARGUMENT
    end
    mechanism = Mechanism(:dot)
    memory = Attn.Memory(mechanism, normal(4, 3))
    copied = copy(memory)
    call = Call(mechanism, normal(4), memory = memory, context = zeros(4))
    run!(call)
    close(memory)
    @test status(() -> run!(call)) == :ATTN_ERR_ARGUMENT
    close(mechanism)
    @test lengths(copied) == [3] # what stands on a closed mechanism goes on
    append!(copied, normal(4, 2))
    @test lengths(copied) == [5]
    owned = copied.owned.stands_on
    close(copied)
    @test owned.holders[] == 0
    for _ in 1:200 # whole families that the collector finds at once
        mechanism = Mechanism(:additive; params = (W = normal(2, 3), U = normal(2, 4), v = normal(2)))
        Attn.Memory(mechanism, normal(4, 3))
        copy(Attn.Memory(mechanism, normal(4, 3)))
    end
    mechanism = nothing
    GC.gc()
    @test true
end

@testset "the collector between any two calls" begin
    for n in 1:60
        q, k = normal(4, 3), normal(4, 5)
        mechanism = Mechanism(:general; params = (W = normal(4, 4),), softcap = 2)
        result = mechanism(q, k; return_logsumexp = true)
        GC.gc(n % 10 == 0)
        back = backward(mechanism, 2 * result.context, q, k; result = result)
        @test all(isfinite, back.params.W)
        memory = Attn.Memory(mechanism, k)
        GC.gc(n % 10 == 0)
        @test near(mechanism(q; memory = memory), result.context)
    end
end

@testset "many threads" begin
    mechanism, wrong = Mechanism(causal = :bottom_right), Threads.Atomic{Int}(0)
    wanted = mechanism(query, key, value)
    Threads.@threads for n in 1:64
        mechanism(query, key, value) == wanted || Threads.atomic_add!(wrong, 1)
        W = Float32[i == j for i in 1:6, j in 1:6]
        attention(query, key, value; score = :general, params = (W = W,), scale = 1 / sqrt(6), causal = :bottom_right) ≈
            wanted || Threads.atomic_add!(wrong, 1)
    end
    @test wrong[] == 0
end
