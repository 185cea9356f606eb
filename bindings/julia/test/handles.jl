# SPDX-License-Identifier: BSD-3-Clause
# handles.jl: engines, mechanisms, prepared calls and memories.

@testset "an engine tells how it computes" begin
    engine = Engine(threads = 2, way = :blas, kernels = "portable")
    told = describe(engine)
    @test told["threads"] == 2 && told["way"] == "blas" && told["kernels"] == "portable"
    @test VersionNumber(told["version"]) == Attn.version()
    @test info() isa Dict
    @test Attn.parse_json("""{"a": [1, -2.5e1, true, null, {}], "b\\n\\u0041": "\\"", "c": []}""") ==
          Dict("a" => Any[1, -25.0, true, nothing, Dict()], "b\nA" => "\"", "c" => [])
end

@testset "a mechanism takes its sizes from its parameters" begin
    for (score, params, sizes) in (
        (:general, (W = (6, 4),), NamedTuple()), (:location, (W = (9, 6),), NamedTuple()),
        (:additive, (W = (3, 6), U = (3, 4), v = (3,)), NamedTuple()),
        (:additive, (W = (3, 6), v = (3,), b = (3,), g = (1,)), NamedTuple()),
        (:concat, (W = (3, 10), v = (3,)), (query_dim = 6,)), (:concat, (W = (3, 10), v = (3,)), (key_dim = 4,)),
        (:dot, (W_p = (3, 6), v_p = (3,)), (locally = (:predictive, 2),)))
        arrays = map(shape -> normal(shape...), params)
        mechanism = Mechanism(score; params = arrays, sizes...)
        @test Dict(pairs(param_shapes(mechanism))) == Dict(pairs(params))
        @test param_total(mechanism) == sum(length, arrays)
        @test bound(mechanism)[keys(params)[1]] === arrays[1]
    end
    bare = Mechanism(:additive; query_dim = 6, key_dim = 4, hidden_dim = 3, flags = (:bias, :normalised))
    @test param_shapes(bare) == (W = (3, 6), U = (3, 4), v = (3,), b = (3,), g = (1,))
    @test repr(bare) == "Mechanism(additive)"
end

@testset "a mechanism is the function with its rule fixed" begin
    query, key, value, W = normal(6, 5, 2), normal(4, 7, 2), normal(3, 7, 2), normal(6, 4)
    rule = (score = :general, params = (W = W,), softcap = 3.0, causal = :bottom_right, temperature = 0.5)
    mechanism = Mechanism(:general; params = (W = W,), softcap = 3.0, causal = :bottom_right, temperature = 0.5)
    @test mechanism(query, key, value) == attention(query, key, value; rule...)
    d_context = normal(3, 5, 2)
    @test backward(mechanism, d_context, query, key, value).params.W ==
          attention_grad(d_context, query, key, value; rule...).params.W
    W .*= 2 # training goes on in place
    @test mechanism(query, key, value) == attention(query, key, value; rule...)
    set_softcap!(set_causal!(set_temperature!(mechanism, 1), nothing), 0)
    wanted = softmax(key[:, :, 1]' * W' * query[:, :, 1])
    @test near(mechanism(query, key, value)[:, :, 1], value[:, :, 1] * wanted)
    set_alibi!(mechanism, normal(2), :top_left)
    set_alibi!(mechanism, nothing)
    set_relative!(mechanism, normal(8, 2), :t5, 20, :top_left)
    set_relative!(mechanism, nothing)
    set_sinks!(mechanism, normal(2))
    @test !near(mechanism(query, key, value)[:, :, 1], value[:, :, 1] * wanted)
    set_sinks!(mechanism, nothing)
    set_window!(mechanism, 0, 0, :top_left)
    set_window!(mechanism, 0, 0, nothing)
    set_local!(mechanism, :monotonic, 1)
    set_local!(mechanism, nothing)
    set_scale!(set_normaliser!(set_normaliser!(mechanism, :hardmax), :softmax), 1)
    @test set_precision!(set_precision!(mechanism, :fast), :exact) === mechanism
    @test near(mechanism(query, key, value)[:, :, 1], value[:, :, 1] * wanted)
    @test collect(keys(mechanism.owned.kept)) == [:W]
    bind!(mechanism; W = nothing)
    @test status(() -> mechanism(query, key, value)) == :ATTN_ERR_PARAMETER
    @test status(() -> bind!(mechanism; Z = W)) == :ATTN_ERR_PARAMETER
    @test status(() -> bind!(mechanism; W = copy(W'))) == :ATTN_ERR_SHAPE
    @test near((bind!(mechanism; W = transpose(copy(transpose(W)))); mechanism(query, key, value))[:, :, 1],
               value[:, :, 1] * wanted)
end

@testset "a prepared call runs many times, and allocates nothing" begin
    query, key, context = normal32(4, 1), normal32(4, 5), zeros(Float32, 4, 1)
    logsumexp = zeros(Float32, 1)
    call = reserve!(Call(Mechanism(:dot), query, key; context = context, logsumexp = logsumexp))
    for _ in 1:3
        query .= normal32(4, 1)
        run!(call)
        @test near(context, key * softmax(key' * query))
    end
    @test (@allocated run!(call)) == 0
    d_context, d_query, d_key = normal32(4, 1), zeros(Float32, 4, 1), zeros(Float32, 4, 5)
    gradient = reserve!(Gradient(call; d_context = d_context, d_query = d_query, d_key = d_key, accumulate = true))
    run!(gradient)
    once = copy(d_query)
    run!(gradient)
    @test near(d_query, 2 * once) && (@allocated run!(gradient)) == 0
    @test near(once, attention_grad(d_context, query, key; score = :dot).query)
    wrong = Call(Mechanism(:dot), query, key; context = zeros(Float32, 3, 1))
    @test status(() -> run!(wrong)) == status(() -> reserve!(wrong)) == :ATTN_ERR_SHAPE
end

@testset "each run of a prepared call is forward" begin
    query, key, value, W = normal(6, 3, 4, 2), normal(4, 5, 2, 2), normal(3, 5, 2, 2), normal(6, 4)
    mechanism, lengths = Mechanism(:general; query_dim = 6, key_dim = 4), Int32[5, 4]
    context, weights = fill(9.0, 3, 3, 4, 2), zeros(5, 3, 4, 2)
    call = Call(mechanism, query, key, value; key_lengths = lengths, context = context, weights = weights)
    for work in (() -> run!(call), () -> reserve!(call), () -> run!(call))
        @test status(work) == :ATTN_ERR_PARAMETER # and then it is given
    end
    @test all(context .== 9)
    function runs_as_forward()
        run!(call)
        wanted = mechanism(query, key, value; key_lengths = lengths, return_weights = true)
        return context == wanted.context && weights == wanted.weights
    end
    bind!(mechanism; W = W)
    @test runs_as_forward()
    query .*= -1
    @test runs_as_forward()
    W .*= 2
    @test runs_as_forward()
    for first in (0, 2, 5)
        lengths[1] = first
        @test runs_as_forward() && all(weights[first+1:end, :, :, 1] .== 0)
    end
    lengths[2] = 6
    @test status(() -> run!(call)) == :ATTN_ERR_ARGUMENT
    lengths[2] = 4
    set_causal!(set_scale!(mechanism, 0.5), :bottom_right)
    @test runs_as_forward()
    bind!(mechanism; W = normal(6, 4))
    @test runs_as_forward()
    bind!(mechanism; W = nothing)
    @test status(() -> run!(call)) == :ATTN_ERR_PARAMETER
    bind!(mechanism; W = W)
    @test runs_as_forward()
    close(mechanism)
    @test status(() -> run!(call)) == status(() -> reserve!(call)) == :ATTN_ERR_ARGUMENT
end

# Counts the plans that are made, while at_attn_plan_create is this.
const PLANS, PLAN_CREATE = Ref(0), Ref(C_NULL)
function counted_plan(mechanism::Ptr{Cvoid}, args::Ptr{Cvoid}, plan::Ptr{Cvoid})
    PLANS[] += 1
    return ccall(PLAN_CREATE[], Int32, (Ptr{Cvoid}, Ptr{Cvoid}, Ptr{Cvoid}), mechanism, args, plan)
end

@testset "a prepared call has one plan, which goes with it; what runs once has none" begin
    PLAN_CREATE[] = Attn.at_attn_plan_create[]
    Attn.at_attn_plan_create[] = @cfunction(counted_plan, Int32, (Ptr{Cvoid}, Ptr{Cvoid}, Ptr{Cvoid}))
    @noinline function holders_of_plan(x)
        call = Call(Mechanism(), x, x; context = similar(x), logsumexp = zeros(3))
        Gradient(call; d_context = x, d_query = similar(x))
        @test PLANS[] == 0
        run!(call)
        run!(reserve!(call))
        @test PLANS[] == 1 && call.plan.holders[] == 1
        return call.plan.holders
    end
    try
        x = normal(4, 3)
        attention(x, x; return_weights = true, return_stats = true)
        attention_grad(x, x, x)
        holders = holders_of_plan(x)
        foreach(_ -> GC.gc(), 1:3)
        @test holders[] == 0
    finally
        Attn.at_attn_plan_create[] = PLAN_CREATE[]
    end
end

@testset "a memory of prepared keys gives what the keys give" begin
    mechanism = Mechanism(:additive; params = (W = normal(3, 6), U = normal(3, 4), v = normal(3)))
    query, key, value = normal(6, 1, 1, 2), normal(4, 7, 1, 2), normal(5, 7, 1, 2)
    memory = Attn.Memory(mechanism, key, value)
    wanted = mechanism(query, key, value; return_weights = true)
    @test near(mechanism(query; memory = memory), wanted.context)
    @test near(mechanism(query; memory = memory, return_weights = true).weights, wanted.weights)
    context = zeros(5, 1, 1, 2)
    call = reserve!(Call(mechanism, query; memory = memory, context = context))
    run!(call)
    @test near(context, wanted.context)
    for _ in 1:5
        append!(memory, key, value)
        run!(call)
        @test context == mechanism(query; memory = memory)
    end
end

@testset "a memory grows and is cut, reordered and copied" begin
    mechanism = Mechanism(causal = :bottom_right)
    query, key, value = normal(6, 3, 4, 2), normal(6, 9, 2, 2), normal(5, 9, 2, 2)
    memory = Attn.Memory(mechanism; batch = 2, key_heads = 2, key_dim = 6, value_dim = 5, type = Float64)
    append!(memory, view(key, :, 1:4, :, :), view(value, :, 1:4, :, :))
    append!(memory, view(key, :, 5:9, :, :), view(value, :, 5:9, :, :); counts = [5, 2])
    @test lengths(memory) == [9, 6] && repr(memory) == "Attn.Memory([9, 6])"
    @test near(mechanism(query; memory = memory), mechanism(query, key, value; key_lengths = [9, 6]))
    other = copy(memory)
    truncate!(memory, [3, 6])
    @test near(mechanism(query; memory = memory), mechanism(query, key, value; key_lengths = [3, 6]))
    @test near(mechanism(query; memory = other), mechanism(query, key, value; key_lengths = [9, 6]))
    rows = [2, 2, 1]
    reorder!(other, rows)
    @test lengths(other) == [6, 6, 9]
    pick(array) = array[:, :, :, rows]
    @test near(mechanism(pick(query); memory = other),
               mechanism(pick(query), pick(key), pick(value); key_lengths = [6, 6, 9]))
    @test status(() -> reorder!(other, [-1])) == :ATTN_ERR_ARGUMENT
    fixed = Attn.Memory(mechanism; key_dim = 6, capacity = 2, fixed = true, type = Float64)
    append!(fixed, key[:, 1:2, 1, 1])
    @test status(() -> append!(fixed, key[:, 1:1, 1, 1])) == :ATTN_ERR_BUFFER && lengths(fixed) == [2]
    @test status(() -> Attn.Memory(mechanism; key_dim = 6, type = Int64)) == :ATTN_ERR_DTYPE
end

# It gives what its copy in rows gives, through all that may be done with it; a prefix is kept once.
@testset "a memory in pages" begin
    mechanism = Mechanism(causal = :bottom_right)
    query, key, value = normal(6, 2, 4, 3), normal(6, 9, 2, 3), normal(5, 9, 2, 3)
    memory = Attn.Memory(mechanism; key_heads = 2, key_dim = 6, value_dim = 5, type = Float64, page = 4, capacity = 20,
                         fixed = true)
    append!(memory, key[:, 1:6, :, 1:1], value[:, 1:6, :, 1:1])
    reorder!(memory, [1, 1, 1]) # 2 pages; without sharing 6, and there are 5
    append!(memory, key[:, 7:9, :, :], value[:, 7:9, :, :]; counts = [1, 0, 2])
    other = copy(memory)
    @test status(() -> append!(memory, key[:, 1:8, :, :], value[:, 1:8, :, :])) == :ATTN_ERR_BUFFER
    @test lengths(memory) == [7, 6, 8]
    whole(x) = cat(repeat(x[:, 1:6, :, 1:1], 1, 1, 1, 3), x[:, 7:9, :, :]; dims = 2)
    wanted = mechanism(query, whole(key), whole(value); key_lengths = [7, 6, 8])
    @test near(mechanism(query; memory = memory), wanted)
    truncate!(memory, [0, 0, 0])
    @test near(mechanism(query; memory = other), wanted)
    paged = Attn.Memory(mechanism, key, value; page = 3)
    @test near(mechanism(query; memory = paged), mechanism(query, key, value))
    @test status(() -> Attn.Memory(mechanism; key_dim = 6, page = -1)) == :ATTN_ERR_ARGUMENT
end

@testset "a memory that turns its keys" begin
    mechanism = Mechanism()
    query, key, value = normal(8, 3, 2), normal(8, 5, 2), normal(8, 5, 2)
    memory = Attn.Memory(mechanism, key, value; rope = Rope(layout = :halves, base = 500))
    @test near(mechanism(query; memory = memory), mechanism(query, rope(key; layout = :halves, base = 500), value))
end

@testset "what stands on the library's memory is neither copied by deepcopy nor serialized" begin
    mechanism = Mechanism(:general; params = (W = normal(4, 4),))
    memory, layer = Attn.Memory(mechanism, normal(4, 3)), MultiHead(8, 2)
    call = Call(mechanism, normal(4), normal(4, 3); context = zeros(4), logsumexp = fill(0.0))
    for object in (Engine(threads = 1), mechanism, memory, layer, call, Gradient(call; d_context = normal(4)))
        @test status(() -> deepcopy(object)) == :ATTN_ERR_ARGUMENT
        @test status(() -> deepcopy((model = [object],))) == :ATTN_ERR_ARGUMENT
        @test status(() -> serialize(IOBuffer(), object)) == :ATTN_ERR_ARGUMENT
        @test status(() -> serialize(IOBuffer(), Dict(:model => object))) == :ATTN_ERR_ARGUMENT
    end
    @test occursin("copy(memory)", sprint(showerror, try deepcopy(memory) catch error error end))
    @test deepcopy(Rope(layout = :halves)) == Rope(layout = :halves)
end

@testset "parameters are bound together or not at all" begin
    mechanism = Mechanism(:additive; query_dim = 4, key_dim = 4, hidden_dim = 3)
    old = (W = normal(3, 4), v = normal(3))
    bind!(mechanism; old...)
    for wrong in ((W = normal(3, 4), U = normal(2, 2)), (W = nothing, v = normal(3), Z = normal(3)),
                  (v = normal(3), W = "W"), (U = normal(3, 4), W = round.(Int32, old.W), v = normal(3)))
        @test status(() -> bind!(mechanism; wrong...)) != :ATTN_OK
        @test bound(mechanism) == Dict(pairs(old)) && bound(mechanism)[:W] === old.W
    end
    query, key, U = normal(4, 2), normal(4, 3), normal(3, 4)
    bind!(mechanism; U = U)
    @test mechanism(query, key) == attention(query, key; score = :additive, params = (; old..., U = U))
end

@testset "names that there are not" begin
    W = normal(4, 4)
    mechanism = Mechanism(:general; params = (W = W,))
    call = Call(mechanism, normal(4), normal(4, 3); context = zeros(4), logsumexp = fill(0.0))
    @test status(() -> Gradient(call; d_context = normal(4), d_params = (W = W, X = W))) == :ATTN_ERR_PARAMETER
    @test status(() -> Gradient(call; d_context = normal(4), d_params = Dict("W" => W))) == :ATTN_ERR_ARGUMENT
    @test status(() -> Mechanism(:general; params = Dict("W" => W))) == :ATTN_ERR_ARGUMENT
    @test status(() -> MultiHead(4, 2; params = Dict("W_q" => W))) == :ATTN_ERR_ARGUMENT
end
