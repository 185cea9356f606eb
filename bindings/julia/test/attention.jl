# SPDX-License-Identifier: BSD-3-Clause
# attention.jl: scores, modifiers and gradients against the formulas, and what is refused.

B, Hq, Hk, Tq, Tk, D, A = 2, 4, 2, 5, 7, 6, 3
query, key, value = normal(D, Tq, Hq, B), normal(D, Tk, Hk, B), normal(3, Tk, Hk, B)
i, j = (0:Tq-1)', 0:Tk-1 # positions

@testset "scaled dot with grouped heads, in $type" for type in (Float32, Float64)
    context = attention(type.(query), type.(key), type.(value))
    @test context isa Array{type,4} && near(context, expected(query, key, value).context)
    @test near(attention(type.(query), type.(key)), expected(query, key, key).context)
end

@testset "modifiers: $(keys(given))" for (given, want) in (
    ((scale = 0.3,), (scale = 0.3,)),
    ((softcap = 0.8, temperature = 0.5), (softcap = 0.8, temperature = 0.5)),
    let bias = normal(Tk, Tq, Hq), mask = rand(random, Bool, Tk, Tq, 1, B)
        (bias = bias, mask = mask), (bias = (h, b) -> bias[:, :, h], visible = (h, b) -> mask[:, :, 1, b])
    end,
    ((causal = :top_left, query_start = 1), (visible = (h, b) -> j .<= i .+ 1,)),
    ((causal = :bottom_right, key_lengths = [3, 7]),
     (visible = (h, b) -> (j .<= i .+ ((3, 7)[b] - Tq)) .& (j .< (3, 7)[b]),)),
    ((key_lengths = (3, 7),), (visible = (h, b) -> (j .< (3, 7)[b]) .& (i .>= 0),)),
    ((key_lengths = Int32[3, 7],), (visible = (h, b) -> (j .< (3, 7)[b]) .& (i .>= 0),)),
    ((window = (1, 0, :top_left),), (visible = (h, b) -> i .- 1 .<= j .<= i,)),
    ((causal = :top_left, window = (2, -1)), (visible = (h, b) -> i .- 2 .<= j .<= i,)),
    let slopes = [0.5, 0.25, 0.125, 1.0]
        (alibi = slopes, causal = :bottom_right),
        (bias = (h, b) -> -slopes[h] * abs.(i .+ 2 .- j), visible = (h, b) -> j .<= i .+ 2)
    end,
    let table = normal(5, Hq)
        (relative = (table, :clipped, 2, :top_left),), (bias = (h, b) -> table[clamp.(j .- i, -2, 2) .+ 3, h],)
    end,
    let table = normal(5)
        (relative = (table, :clipped, 2, :top_left),), (bias = (h, b) -> table[clamp.(j .- i, -2, 2) .+ 3],)
    end,
)
    got = attention(query, key, value; return_weights = true, return_logsumexp = true, return_scores = :weights, given...)
    wanted = expected(query, key, value; want...)
    @test near(got.context, wanted.context)
    @test near(got.weights, wanted.weights)
    @test near(got.scores, wanted.weights)
    finite = isfinite.(wanted.logsumexp)
    @test isfinite.(got.logsumexp) == finite && near(got.logsumexp[finite], wanted.logsumexp[finite])
end

pairs_of(x, y, v, b = 0) = [dot(v, tanh.(y[:, n] + x[:, m] .+ b)) for n in axes(y, 2), m in axes(x, 2)]
W, U, v, b, g = normal(A, D), normal(A, D), normal(A), normal(A), normal(1)
square, joined, places, wide = normal(D, D), normal(A, 2D), normal(Tk + 2, D), normal(D)

@testset "score $score with $(keys(params))" for (score, params, formula) in (
    (:dot, NamedTuple(), (q, k) -> k' * q),
    (:general, (W = square,), (q, k) -> (q' * square * k)'),
    (:additive, (W = W, U = U, v = v), (q, k) -> pairs_of(W * q, U * k, v)),
    (:additive, (W = W, U = U, v = v, b = b, g = g), (q, k) -> pairs_of(W * q, U * k, g[] * v / norm(v), b)),
    (:additive, (v = wide,), (q, k) -> pairs_of(q, k, wide)),
    (:concat, (W = joined, v = v), (q, k) -> pairs_of(joined[:, 1:D] * q, joined[:, D+1:end] * k, v)),
    (:location, (W = places,), (q, k) -> places[1:Tk, :] * q),
)
    wanted = expected(query, key, value; score = formula).context
    @test near(attention(query, key, value; score = score, params = params), wanted)
    @test near(attention(query, key, value; score = score, params = Dict(pairs(params)...)), wanted)
    few = map(x -> Float32.(x), params)
    @test near(attention(Float32.(query), Float32.(key), Float32.(value); score = score, params = few), wanted)
end

@testset "location reads no key" begin
    wanted = expected(query, key, value; score = (q, k) -> places[1:Tk, :] * q).context
    @test near(attention(query, nothing, value; score = :location, params = (W = places,)), wanted)
    gradients = attention_grad(wanted, query, nothing, value; score = :location, params = (W = places,))
    @test gradients.key === nothing && size(gradients.params.W) == size(places)
end

@testset "hardmax takes the value of the best key" begin
    weights = expected(query, key, value).weights
    context = attention(query, key, value; normaliser = :hardmax)
    @test all(context[:, t, h, s] == value[:, argmax(weights[:, t, h, s]), cld(h, 2), s] for t in 1:Tq, h in 1:Hq, s in 1:B)
end

@testset "gradients say how the results move" begin
    flows = (d_context = normal(3, Tq, Hq, B), d_weights = normal(Tk, Tq, Hq, B), d_logsumexp = normal(Tq, Hq, B))
    names = (:W, :U, :v, :b, :g)
    start = (query = query, key = key, value = value, bias = normal(Tk, 1, Hq), alibi = normal(Hq), relative = normal(5, Hq),
             W = W, U = U, v = v, b = b, g = g)
    rule_of(x) = (score = :additive, softcap = 2.0, temperature = 0.7, causal = :bottom_right, window = (4, 1), bias = x.bias,
                  alibi = x.alibi, relative = (x.relative, :clipped, 2), params = NamedTuple{names}(x))
    run(x) = attention(x.query, x.key, x.value; rule_of(x)..., return_weights = true, return_logsumexp = true)
    function loss(x)
        out = run(x)
        return dot(flows.d_context, out.context) + dot(flows.d_weights, out.weights) + dot(flows.d_logsumexp, out.logsumexp)
    end
    result = run(start)
    rest = (; d_weights = flows.d_weights, d_logsumexp = flows.d_logsumexp, rule_of(start)...)
    got = attention_grad(flows.d_context, query, key, value; rest..., result = result)
    @test moves(loss, start, merge(got, got.params))
    again = attention_grad(flows.d_context, query, key, value; rest...) # which computes the result once more
    @test all(near(merge(again, again.params)[name], merge(got, got.params)[name]) for name in keys(start))
    alone = attention_grad(flows.d_context, query, key, value; rest..., wanted = (:U, :bias))
    @test near(alone.params.U, got.params.U) && near(alone.bias, got.bias) && keys(alone.params) == (:U,)
    @test alone.query === alone.key === alone.value === alone.alibi === alone.relative === nothing
end

@testset "sinks are a key more" begin
    sinks = [0.5, -1.0, 0.0, 2.0]
    more(x) = cat(x, zeros(size(x, 1), 1, size(x, 3), B); dims = 2) # a key of 0, whose value is 0
    column(h, b) = [zeros(Tk); sinks[h]]
    for type in (Float64, Float32), rule in (NamedTuple(), (softcap = 0.8, temperature = 0.5))
        wanted = expected(query, more(key), more(value); bias = column, rule...)
        given = (type.(query), type.(key), type.(value))
        got = attention(given...; sinks = type.(sinks), return_weights = true, return_logsumexp = true, rule...)
        @test near(got.context, wanted.context)
        @test near(got.weights, wanted.weights[1:Tk, :, :, :])
        @test near(got.logsumexp, wanted.logsumexp)
        @test near(attention(given...; rule...), expected(query, key, value; rule...).context)
    end
    unseen = attention(query, key, value; sinks = sinks, mask = fill(false, Tk, Tq), return_logsumexp = true)
    @test iszero(unseen.context) && unseen.logsumexp == repeat(sinks', Tq, 1, B)
    @test status(() -> attention(query, key, value; sinks = sinks[2:end])) == :ATTN_ERR_SHAPE
    @test status(() -> attention(query, key, value; sinks = sinks')) == :ATTN_ERR_SHAPE
    @test status(() -> attention(query, key, value; sinks = Float32.(sinks))) == :ATTN_ERR_DTYPE
    @test status(() -> attention(query, key, value; sinks = sinks, normaliser = :hardmax)) == :ATTN_ERR_UNSUPPORTED
end

@testset "gradients of sinks say how the results move" begin
    flows = (d_context = normal(3, Tq, Hq, B), d_logsumexp = normal(Tq, Hq, B))
    start = (query = query, key = key, value = value, sinks = normal(Hq))
    rule = (temperature = 0.7, causal = :bottom_right)
    function loss(x)
        out = attention(x.query, x.key, x.value; sinks = x.sinks, return_logsumexp = true, rule...)
        return dot(flows.d_context, out.context) + dot(flows.d_logsumexp, out.logsumexp)
    end
    grad(; given...) = attention_grad(flows.d_context, query, key, value; sinks = start.sinks, rule..., given...)
    got = grad(d_logsumexp = flows.d_logsumexp)
    @test moves(loss, start, got)
    @test grad(d_logsumexp = flows.d_logsumexp, wanted = :sinks).sinks == got.sinks
    weights = normal(Tk, Tq, Hq, B)
    @test status(() -> grad(d_weights = weights)) == :ATTN_ERR_UNSUPPORTED
    @test grad(d_weights = weights, wanted = :query).sinks === nothing
end

@testset "local attention looks around a centre" begin
    q, k, W_p, v_p = normal(6, 5, 2), normal(6, 9, 2), normal(4, 6), normal(4)
    params = (W_p = W_p, v_p = v_p)
    run(x) = attention(x.q, x.k; score = :dot, locally = (:predictive, 2), params = (W_p = x.W_p, v_p = x.v_p))
    got = run((; q = q, k = k, params...))
    for h in 1:2
        centre = 9 ./ (1 .+ exp.(-(v_p' * tanh.(W_p * q[:, :, h]))))
        away = (0:8) .- centre
        e = ifelse.(abs.(away) .<= 2, k[:, :, h]' * q[:, :, h], -Inf)
        @test near(got[:, :, h], k[:, :, h] * (softmax(e) .* exp.(-away .^ 2 / 2)))
    end
    made = attention_grad(2 * got, q, k; score = :dot, locally = (:predictive, 2), params = params)
    @test moves(x -> sum(abs2, run(x)), (; q = q, k = k, params...), merge((q = made.query, k = made.key), made.params))
    seen = abs.((0:8) .- (0:4)') .<= 1
    got = attention(q, k; score = :dot, locally = (:monotonic, 1))
    @test near(got[:, :, 1], k[:, :, 1] * softmax(ifelse.(seen, k[:, :, 1]' * q[:, :, 1], -Inf)))
end

@testset "dropped weights are zero and the others grow" begin
    q, k = normal(6, 50, 4, 2), normal(6, 60, 4, 2)
    whole = attention(q, k; return_weights = true).weights
    some = attention(q, k; dropout = 0.25, seed = 5, return_weights = true).weights
    left = some .!= 0
    @test abs(sum(left) / length(left) - 0.75) < 0.02
    @test near(some[left], whole[left] / 0.75)
    @test attention(q, k; dropout = 0.25, seed = 5, offset = 9) != attention(q, k; dropout = 0.25, seed = 5)
end

@testset "a refusal is the library's sentence" begin
    error = try
        attention(query, key[1:5, :, :, :], value)
    catch error
        error
    end
    @test error isa AttnError && error.status == :ATTN_ERR_SHAPE
    @test occursin("attn_forward: query has dimension 6 and key 5", sprint(showerror, error))
    @test status(() -> attention(query, key, value; mask = query)) == :ATTN_ERR_DTYPE
    @test status(() -> attention(query, key, value; temperature = 0)) == :ATTN_ERR_ARGUMENT
    @test status(() -> attention(query, key, value; params = (W = W,))) == :ATTN_ERR_PARAMETER
    @test status(() -> attention(query, key, value; score = :additive, params = (W = W, v = v))) == :ATTN_ERR_SHAPE
    @test status(() -> attention(query, key, value; query_start = 3, causal = :bottom_right)) == :ATTN_ERR_ARGUMENT
    @test status(() -> attention(query, key, value; out = query)) != :ATTN_OK
    @test status(() -> attention(query)) == :ATTN_ERR_ARGUMENT
    result = attention(query, key, value; return_logsumexp = true)
    @test status(() -> attention_grad(nothing, query, key, value)) == :ATTN_ERR_ARGUMENT
    @test status(() -> attention_grad(query, query, key, value; normaliser = :hardmax)) == :ATTN_ERR_UNSUPPORTED
    @test status(() -> attention_grad(result.context, query, key, value; result = (context = 1,))) == :ATTN_ERR_ARGUMENT
    @test status(() -> attention_grad(result.context, query, key, value; wanted = (:bias,))) == :ATTN_ERR_ARGUMENT
    @test status(() -> Engine(kernels = "abacus")) == :ATTN_ERR_UNSUPPORTED
end

@testset "what the weights say" begin
    mask = rand(random, Tk, Tq, 1, B) .> 0.3
    mask[:, 2, 1, 1] .= false
    mask = Array{Bool}(mask)
    got = attention(query, key, value; mask = mask, return_weights = true, return_stats = true)
    w, stats = got.weights, got.stats
    @test near(stats.entropy, dropdims(sum(map(a -> a > 0 ? -a * log(a) : zero(a), w); dims = 1); dims = 1))
    @test near(stats.effective_keys, exp.(stats.entropy))
    @test near(stats.key_sums, dropdims(sum(w; dims = 2); dims = 2))
    @test stats.strongest == [any(w[:, i, h, b] .> 0) ? argmax(w[:, i, h, b]) : 0 for i in 1:Tq, h in 1:Hq, b in 1:B]
    @test attention(query, key, value; return_weights = true).stats === nothing
    one = attention(query[:, 1, 1, 1], key[:, :, 1, 1]; return_stats = true).stats
    @test size(one.entropy) == size(one.strongest) == () && size(one.key_sums) == (Tk,)
    sums = zeros(eltype(query), Tk, Hq, B)
    call = Attn.Call(Mechanism(:scaled_dot), query, key, value; mask = mask, key_sums = sums)
    Attn.run!(call)
    @test near(sums, stats.key_sums)
    @test status(() -> Attn.run!(Attn.Call(Mechanism(:scaled_dot), query, key; key_sums = zeros(eltype(query), Tk)))) ==
          :ATTN_ERR_SHAPE
end

@testset "a log-sum-exp with all its digits" begin
    # Weights are made anew from it: those of large scores add up to 1 again only if it has them.
    large, few = 400 .* sin.(Float32.(reshape(1:6, 2, 3))), cos.(Float32.(reshape(1:100, 2, 50)))
    ones = fill(1.0f0, 2, 3)
    result = attention(large, few, few; score = :dot, return_logsumexp = :exact)
    @test eltype(result.logsumexp) == Float64 && any(result.logsumexp .!= Float32.(result.logsumexp))
    for given in (nothing, result)
        made = attention_grad(ones, large, few, few; score = :dot, wanted = :value, result = given)
        @test abs(sum(Float64, made.value) - 6) < 2e-6
    end
    layer = MultiHead(2, 1)
    bind!(layer; map(size -> fill(1.0f0, size), param_shapes(layer))...)
    @test eltype(layer(large; return_logsumexp = :exact).logsumexp) == Float64
end

@testset "words that are none" begin
    for given in ((score = :cosine,), (causal = :usual,), (window = (1, 1),), (alibi = (query,),), (normaliser = :l1,),
                  (return_scores = :all,), (return_logsumexp = :some,), (locally = (:far, 2),))
        @test status(() -> attention(query, key, value; given...)) == :ATTN_ERR_ARGUMENT
    end
    @test status(() -> Mechanism(:general)) == status(() -> Mechanism(:additive; params = (W = W,))) == :ATTN_ERR_ARGUMENT
    @test status(() -> Mechanism(:concat; params = (W = joined, v = v))) == :ATTN_ERR_ARGUMENT
    @test status(() -> Engine(way = :quick)) == :ATTN_ERR_ARGUMENT
    @test_throws MethodError attention(query, key, value; softcaps = 1)
    for short in ((:monotonic,), (:monotonic, 2, 6), (:predictive, 2, 6, 3, 1), :monotonic)
        @test status(() -> attention(query, key, value; locally = short)) == :ATTN_ERR_ARGUMENT
    end
    mechanism = Mechanism()
    @test status(() -> set_alibi!(mechanism, [0.5])) == :ATTN_ERR_ARGUMENT
    @test status(() -> set_relative!(mechanism, normal(5))) == :ATTN_ERR_ARGUMENT
    @test status(() -> set_relative!(mechanism, normal(5), :clipped, 2)) == :ATTN_ERR_ARGUMENT
    @test isempty(mechanism.owned.kept)
end

@testset "whole numbers that C has no room for" begin
    refused(run) = status(run) == :ATTN_ERR_ARGUMENT
    for large in (big(2)^64, big(2)^63, -big(2)^63 - 1, typemax(UInt64), Int128(2)^64 + 1)
        @test refused(() -> Attn.whole(Int64, large, "size"))
    end
    @test Attn.whole(Int64, big(2)^63 - 1, "size") === typemax(Int64)
    number = typemax(UInt64)
    @test refused(() -> set_window!(Mechanism(), number, 0, :top_left))
    @test refused(() -> set_window!(Mechanism(), 0, number, :top_left))
    @test refused(() -> set_local!(Mechanism(), :monotonic, number))
    @test refused(() -> set_relative!(Mechanism(), normal(5), :clipped, number, :top_left))
    @test refused(() -> Mechanism(:general; query_dim = number, key_dim = 2))
    @test refused(() -> Attn.Memory(Mechanism(); key_dim = number))
    @test refused(() -> MultiHead(8, number))
    @test refused(() -> attention(query, key, value; query_start = number))
    @test refused(() -> attention(query, key, value; key_lengths = [number, 3]))
    @test refused(() -> sinusoidal(4, 4; first = number))
    @test refused(() -> rope(query; layout = :halves, first = number))
    @test refused(() -> Engine(threads = 2^32 + 1)) && refused(() -> attention(query, key, value; threads = 2^32 + 1))
    @test refused(() -> attention(query, key, value; dropout = 0.5, seed = -1))
    error = try Engine(threads = 2^32 + 1) catch error error end
    @test occursin("threads is 4294967297", sprint(showerror, error))
    @test near(attention(query, key, value; key_lengths = UInt8[3, 7]), attention(query, key, value; key_lengths = [3, 7]))
    @test attention(query, key, value; seed = typemax(UInt64), dropout = 0.5) isa Array # all of them
end
