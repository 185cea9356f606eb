# SPDX-License-Identifier: BSD-3-Clause
# layers.jl: positions, Luong's step, decomposable attention and layers of heads against their formulas.

@testset "rotary positions" begin
    x = normal(8, 5, 3, 2)
    pairs, angles = x[1:2:end, :, :, :] + im * x[2:2:end, :, :, :], (0:4)' .* 100.0 .^ (-(0:3) / 4)
    turned = pairs .* cis.(angles)
    got = rope(x; layout = :interleaved, base = 100)
    @test near(got[1:2:end, :, :, :], real(turned)) && near(got[2:2:end, :, :, :], imag(turned))
    @test near(rope(got; layout = :interleaved, base = 100, inverse = true), x)
    @test rope(x; layout = :interleaved, base = 100, positions = 0:4) == got
    @test rope(x; layout = :interleaved, base = 100, positions = repeat(Int32.(0:4), 1, 2)) == got
    @test rope(view(x, :, 3:5, :, :); layout = :interleaved, base = 100, first = 2) == got[:, 3:5, :, :]
    place = copy(x)
    @test rope(place; layout = :interleaved, base = 100, out = place) === place && place == got
    @test status(() -> rope(x; layout = :thirds)) == :ATTN_ERR_ARGUMENT
    @test status(() -> rope(x; layout = :halves, dimensions = 3)) == :ATTN_ERR_ARGUMENT
    @test_throws UndefKeywordError rope(x) # which of both is right nobody can tell from the array
    @test_throws UndefKeywordError Rope(base = 100)
end

@testset "sinusoids and slopes" begin
    angles = (3:6)' ./ 10000 .^ (2 * (0:2) / 6)
    table = sinusoidal(6, 4; first = 3, type = Float64)
    @test near(table[1:2:end, :], sin.(angles)) && near(table[2:2:end, :], cos.(angles))
    @test alibi_slopes(8) == 2.0f0 .^ -(1:8)
    @test status(() -> sinusoidal(4, 4; type = Int64)) == :ATTN_ERR_DTYPE
end

@testset "the attentional step" begin
    arrays = (weight = normal(5, 7), context = normal(4, 3, 2), query = normal(3, 3, 2), bias = normal(5))
    run(x) = attentional(x.weight, x.context, x.query, x.bias)
    output = run(arrays)
    for b in 1:2
        @test near(output[:, :, b], tanh.(arrays.weight * [arrays.context[:, :, b]; arrays.query[:, :, b]] .+ arrays.bias))
    end
    @test moves(x -> sum(abs2, run(x)), arrays, attentional_grad(2 * output, output, arrays...))
    alone = attentional_grad(2 * output, output, arrays...; wanted = :weight)
    @test alone.bias === alone.query === alone.context === nothing && alone.weight !== nothing
end

@testset "parts of the keys are merged" begin
    query, key, value = normal(6, 3, 4, 2), normal(6, 11, 2, 2), normal(5, 11, 2, 2)
    whole = attention(query, key, value; return_logsumexp = true)
    cuts = [1:4, 5:5, 6:5, 6:11]
    parts = [attention(query, key[:, cut, :, :], value[:, cut, :, :]; return_logsumexp = true) for cut in cuts]
    contexts, sums = [part.context for part in parts], [part.logsumexp for part in parts]
    merged = merge_parts(contexts, sums)
    @test near(merged.context, whole.context) && near(merged.logsumexp, whole.logsumexp)
    d_context = normal(size(whole.context)...)
    want = attention_grad(d_context, query, key, value; result = whole)
    got = [attention_grad(d_context, query, key[:, cut, :, :], value[:, cut, :, :]; result = merged) for cut in cuts]
    @test near(sum(part.query for part in got), want.query)
    @test near(cat((part.key for part in got)...; dims = 2), want.key)
    @test near(cat((part.value for part in got)...; dims = 2), want.value)
    place = merge_parts(Tuple(contexts), sums; out = contexts[2], logsumexp_out = sums[3])
    @test place.context === contexts[2] && place.logsumexp === sums[3] && place == merged
    mixed = merge_parts((Float16.(query), Float32.(query)), (zeros(3, 4, 2), zeros(Float32, 3, 4, 2)))
    @test eltype(mixed.context) == Float16 && mixed.logsumexp isa Array{Float64,3}
    @test status(() -> merge_parts([], [])) == :ATTN_ERR_ARGUMENT
    @test status(() -> merge_parts([query], [])) == :ATTN_ERR_SHAPE
    @test status(() -> merge_parts((query, Float32.(query)), [zeros(3, 4, 2), zeros(3, 4, 2)])) == :ATTN_ERR_DTYPE
end

@testset "decomposable attention" begin
    arrays = (f = normal(4, 5, 1, 2), g = normal(4, 7, 1, 2), a = normal(3, 5, 1, 2), b = normal(6, 7, 1, 2))
    result = decomposable(arrays...)
    e = arrays.g[:, :, 1, 1]' * arrays.f[:, :, 1, 1]
    @test near(result.beta[:, :, 1, 1], arrays.b[:, :, 1, 1] * softmax(e))
    @test near(result.alpha[:, :, 1, 1], arrays.a[:, :, 1, 1] * softmax(e'))
    @test near(result.a_logsumexp[:, 1, 1], vec(log.(sum(exp.(e); dims = 1))))
    flows = normal(6, 5, 1, 2), normal(3, 7, 1, 2)
    loss(x) = (made = decomposable(x...); dot(flows[1], made.beta) + dot(flows[2], made.alpha))
    gradients = decomposable_grad(flows..., arrays...; result = result)
    @test moves(loss, arrays, gradients)
    @test near(decomposable_grad(flows..., arrays...).f, gradients.f)
    short = decomposable(arrays.f, arrays.g; a_lengths = [5, 2], b_lengths = [3, 7])
    @test near(short.beta[:, :, 1, 1], arrays.g[:, 1:3, 1, 1] * softmax(e[1:3, :]))
    @test iszero(short.beta[:, 3:end, :, 2])
end

@testset "a layer of heads" begin
    x, y, z = normal(6, 5, 2), normal(4, 7, 2), normal(3, 7, 2)
    layer = MultiHead(6, 4; key_heads = 2, key_dim = 4, value_dim = 3, head_dim = 5, value_head_dim = 2, output_dim = 8)
    @test param_shapes(layer) == (W_q = (20, 6), W_k = (10, 4), W_v = (4, 3), W_o = (8, 8), b_q = (20,), b_k = (10,),
                                  b_v = (4,), b_o = (8,))
    params = map(shape -> normal(shape...), param_shapes(layer))
    bind!(layer; params...)
    function formula(a)
        output = zeros(8, 5, 2)
        for b in 1:2
            q, k, v = a.W_q * a.x[:, :, b] .+ a.b_q, a.W_k * a.y[:, :, b] .+ a.b_k, a.W_v * a.z[:, :, b] .+ a.b_v
            heads = map(1:4) do h
                n = cld(h, 2)
                e = k[5n-4:5n, :]' * q[5h-4:5h, :] / sqrt(5)
                v[2n-1:2n, :] * softmax(e)
            end
            output[:, :, b] = a.W_o * reduce(vcat, heads) .+ a.b_o
        end
        return output
    end
    arrays = (; x = x, y = y, z = z, params...)
    result = forward(layer, x, y, z; save = true, return_weights = true, return_logsumexp = true, return_scores = :weights)
    @test near(result.output, formula(arrays))
    @test near(result.weights, result.scores) && size(result.weights) == (7, 5, 4, 2) && size(result.logsumexp) == (5, 4, 2)
    gradients = backward(layer, 2 * result.output, x, y, z; result = result)
    named = merge((x = gradients.query, y = gradients.key, z = gradients.value), gradients.params)
    @test moves(a -> sum(abs2, formula(a)), arrays, named)
    alone = backward(layer, 2 * result.output, x, y, z; wanted = (:W_o,))
    @test alone.query === nothing && keys(alone.params) == (:W_o,) && near(alone.params.W_o, gradients.params.W_o)
    @test status(() -> backward(layer, result.output, x, y, z; result = (saved = nothing,))) == :ATTN_ERR_ARGUMENT
    @test status(() -> layer(x[1:5, :, :], y, z)) == :ATTN_ERR_SHAPE
end

@testset "what is saved may be copied to any address" begin
    layer, x = MultiHead(4, 2; bias = false), normal(4, 3)
    bind!(layer; map(shape -> normal(shape...), param_shapes(layer))...)
    result = forward(layer, x; save = true)
    wanted = backward(layer, 2 * result.output, x; result = result)
    room = Vector{UInt8}(undef, length(result.saved) + 128)
    for shift in (0, 8, 16, 40, 63)
        moved = unsafe_wrap(Array, pointer(room) + (128 - UInt(pointer(room)) % 64 + shift) % 64, length(result.saved))
        GC.@preserve room begin
            copyto!(moved, result.saved)
            got = backward(layer, 2 * result.output, x; result = merge(result, (saved = moved,)))
        end
        @test got.query == wanted.query && got.params == wanted.params
    end
    @test status(() -> backward(layer, result.output, x; result = (saved = UInt8[],))) == :ATTN_ERR_BUFFER
    @test status(() -> backward(layer, result.output, x; result = (saved = result.saved[end-9:end],))) == :ATTN_ERR_BUFFER
end

@testset "a layer tells what the weights of its heads say" begin
    params = NamedTuple{(:W_q, :W_k, :W_v, :W_o)}(ntuple(_ -> normal(4, 4), 4))
    layer, x = MultiHead(4, 2; bias = false, params = params), normal(4, 3, 2)
    got = forward(layer, x; return_weights = true, return_stats = true)
    @test near(got.stats.key_sums, dropdims(sum(got.weights; dims = 2); dims = 2))
    @test got.stats.strongest == [argmax(got.weights[:, i, h, b]) for i in 1:3, h in 1:2, b in 1:2]
    @test forward(layer, x; return_weights = true).stats === nothing
end

@testset "a layer of an additive score trains it too" begin
    params = (W = normal(3, 5), U = normal(3, 5), v = normal(3))
    layer = MultiHead(10, 2; mechanism = Mechanism(:additive; params = params), bias = false, packed = true)
    @test param_shapes(layer) == (W_qkv = (30, 10), W_o = (10, 10))
    bind!(layer; map(shape -> normal(shape...), param_shapes(layer))...)
    x = normal(10, 4)
    output = layer(x)
    inner = backward(layer, 2 * output, x).mechanism_params
    loss(moved) = (bind!(layer.mechanism; moved...); sum(abs2, layer(x)))
    @test moves(loss, params, inner)
end

@testset "slopes, relative biases and sinks of a layer have gradients" begin
    slopes, table, sinks = normal(2), normal(5, 2), normal(2)
    mechanism = Mechanism(causal = :top_left, alibi = slopes, relative = (table, :clipped, 2), sinks = sinks)
    layer = MultiHead(6, 2; mechanism = mechanism, bias = false)
    bind!(layer; map(shape -> normal(shape...), param_shapes(layer))...)
    x = normal(6, 5)
    made = backward(layer, 2 * layer(x), x)
    function loss(moved)
        set_relative!(set_alibi!(mechanism, moved.slopes, :top_left), moved.table, :clipped, 2, :top_left)
        set_sinks!(mechanism, moved.sinks)
        return sum(abs2, layer(x))
    end
    @test moves(loss, (slopes = slopes, table = table, sinks = sinks),
                (slopes = made.alibi, table = made.relative, sinks = made.sinks))
end

@testset "decoding step by step is the whole sequence at once" begin
    layer = MultiHead(8, 2; mechanism = Mechanism(causal = :bottom_right))
    bind!(layer; map(shape -> normal(shape...), param_shapes(layer))...)
    x = normal(8, 6, 3)
    whole, memory = layer(x), Attn.Memory(layer; batch = 3, type = Float64)
    steps = [layer(view(x, :, t:t, :); memory = memory) for t in 1:6]
    @test near(cat(steps...; dims = 2), whole) && lengths(memory) == [6, 6, 6]
    again = forward(layer, x[:, 6:6, :]; memory = memory, attend_only = true, return_weights = true)
    @test near(again.output, whole[:, 6:6, :]) && size(again.weights) == (6, 1, 2, 3)
end
