# SPDX-License-Identifier: BSD-3-Clause
# serving.jl: what a server asks for: memories that take ragged batches, sequences that join and leave, branches of guesses that
# came true, pages by slots; and layers that turn and whose batches are ragged, against each sequence alone.

const OFFSETS = [1, 4, 4, 6, 11] # the first column is nobody's, and a sequence has none
const TURN = Rope(layout = :halves, base = 100.0)

span(offsets, b) = offsets[b] + 1:offsets[b + 1]

# Each sequence of the memory is these keys.
function holds(memory, keyed)
    query = normal(4, 1, 2, length(keyed))
    got = memory.mechanism(query; memory = memory)
    return lengths(memory) == size.(keyed, 2) &&
           all(b -> size(keyed[b], 2) == 0 || near(got[:, :, :, b], memory.mechanism(query[:, :, :, b], keyed[b])), eachindex(keyed))
end

held(; more...) = Attn.Memory(Mechanism(); key_dim = 4, key_heads = 2, type = Float64, more...)

@testset "a memory takes a ragged batch, and sequences join and leave" begin
    key = normal(4, 12, 2)
    for page in (0, 2)
        memory = held(batch = 4, page = page)
        @test append!(memory, key; offsets = OFFSETS) === memory
        @test holds(memory, [key[:, span(OFFSETS, b), :] for b in 1:4])
        @test reorder!(memory, [4, 0, 1]) === memory
        @test lengths(memory) == [5, 0, 3]
        append!(memory, key; offsets = Int32[0, 0, 2, 2])
        @test holds(memory, [key[:, 7:11, :], key[:, 1:2, :], key[:, 2:4, :]])
        @test isempty(lengths(reorder!(memory, Int[]))) && isempty(lengths(reorder!(memory, ())))
        @test lengths(reorder!(memory, [0, 0])) == [0, 0]
        @test status(() -> reorder!(memory, [-1])) == :ATTN_ERR_ARGUMENT
        @test status(() -> append!(memory, key; offsets = [0, 1, 13])) == :ATTN_ERR_ARGUMENT
        @test status(() -> append!(memory, key; offsets = [0, 1])) == :ATTN_ERR_SHAPE
        @test status(() -> append!(memory, key; offsets = [0, 1, 2], counts = [1, 1])) == :ATTN_ERR_ARGUMENT
    end
end

@testset "a branch of guesses is kept" begin
    key = normal(4, 6, 2, 2)
    for page in (0, 2)
        memory = held(batch = 2, page = page)
        append!(memory, key)
        other = copy(memory)
        @test keep!(memory, [2, 6], [3, 5], Int32[0, 2, 2]) === memory
        @test holds(memory, [key[:, [1, 2, 4, 6], :, 1], key[:, :, :, 2]])
        @test holds(other, [key[:, :, :, 1], key[:, :, :, 2]])
        @test status(() -> keep!(memory, [1, 6], [3, 2], [0, 2, 2])) == :ATTN_ERR_ARGUMENT
        @test status(() -> keep!(memory, [1], [3], [0, 1])) == :ATTN_ERR_SHAPE
    end
    turned = held(rope = TURN, value_dim = 4)
    append!(turned, key[:, :, :, 1:1], key[:, :, :, 2:2])
    @test status(() -> keep!(turned, [1], [3], [0, 1])) == :ATTN_ERR_UNSUPPORTED
end

@testset "a pool tells its pages" begin
    memory = held(page = 4, capacity = 20, fixed = true)
    @test pages(memory) === (count = 5, unused = 5)
    append!(memory, normal(4, 6, 2))
    other = copy(memory)
    append!(other, normal(4, 1, 2)) # into a copy of the second page
    @test pages(memory) == pages(other) == (count = 5, unused = 2)
    truncate!(other, [0])
    truncate!(memory, [0])
    @test pages(memory) == (count = 5, unused = 5)
    @test pages(held()) == (count = 0, unused = 0)
end

@testset "columns are written into pages by their slots" begin
    key, value, slots = normal32(4, 5, 2), normal32(3, 5, 2), [7, 3, -1, 0, 5]
    for form in (slots, Int32.(slots), Tuple(slots))
        key_pages, value_pages = fill(7.0f0, 4, 2, 4, 2), fill(7.0f0, 3, 4, 2, 2) # of the keys heads before positions
        @test pages_append!(key, value, PermutedDimsArray(key_pages, (1, 3, 2, 4)), value_pages, form) === nothing
        for slot in 0:7
            at, page = slot % 4 + 1, slot ÷ 4 + 1
            i = findfirst(isequal(slot), slots)
            @test key_pages[:, :, at, page] == (i === nothing ? fill(7.0f0, 4, 2) : key[:, i, :])
            @test value_pages[:, at, :, page] == (i === nothing ? fill(7.0f0, 3, 2) : value[:, i, :])
        end
    end
    integers, scales, half = zeros(Int8, 4, 4, 2, 2), zeros(Float32, 4, 2, 2), zeros(Float16, 3, 4, 2, 2)
    pages_append!(key, value, integers, half, slots; key_scales = scales)
    @test isapprox(integers[:, 4, 1, 1] * scales[4, 1, 1], key[:, 2, 1]; atol = maximum(abs, key[:, 2, 1]) / 127)
    @test scales[3, 1, 1] == 0 && half[:, 4, 2, 1] == Float16.(value[:, 2, 2])
    of_values, others = zeros(Int8, 4, 4, 2, 2), zeros(Float32, 4, 2, 2)
    pages_append!(nothing, key, nothing, of_values, slots; value_scales = others)
    @test of_values == integers && others == scales
    room = zeros(Float32, 4, 4, 2, 2)
    for (wrong, code) in (([7, 7, 1, 2, 3], :ATTN_ERR_ARGUMENT), ([8, 0, 1, 2, 3], :ATTN_ERR_ARGUMENT), ([1], :ATTN_ERR_SHAPE))
        @test status(() -> pages_append!(key, nothing, room, nothing, wrong)) == code
    end
    @test status(() -> pages_append!(key, nothing, integers, nothing, slots)) == :ATTN_ERR_ARGUMENT
    @test status(() -> pages_append!(nothing, nothing, nothing, nothing, slots)) == :ATTN_ERR_ARGUMENT
    @test all(room .== 0)
end

function layer_of(causal; more...)
    layer = MultiHead(8, 4; key_heads = 2, head_dim = 6, mechanism = Mechanism(causal = causal), more...)
    return bind!(layer; (name => normal(shape...) for (name, shape) in pairs(param_shapes(layer)))...)
end

# A layer of the formula, on matrices: x at its positions, y at others.
function by_formula(layer, x, positions, y = x, key_positions = positions)
    p = (; bound(layer)...)
    heads(w, b, z, n) = permutedims(reshape(w * z .+ b, 6, n, :), (1, 3, 2))
    turn(z, at) = rope(z; layout = :halves, base = 100, positions = at)
    q, k = turn(heads(p.W_q, p.b_q, x, 4), positions), turn(heads(p.W_k, p.b_k, y, 2), key_positions)
    context = layer.mechanism(q, k, heads(p.W_v, p.b_v, y, 2))
    return p.W_o * reshape(permutedims(context, (1, 3, 2)), 24, :) .+ p.b_o
end

@testset "a layer turns by positions" begin
    layer, x, y = layer_of(nothing; rope = TURN), normal(8, 5), normal(8, 7)
    @test near(layer(x), by_formula(layer, x, 0:4))
    @test near(layer(x; positions = [3, 1, 4, 1, 5]), by_formula(layer, x, [3, 1, 4, 1, 5]))
    both = cat(x, x; dims = 3)
    got = layer(both; positions = Int32[3 9; 1 2; 4 6; 1 5; 5 3])
    @test near(got[:, :, 2], by_formula(layer, x, [9, 2, 6, 5, 3])) && near(got[:, :, 1], layer(x; positions = [3, 1, 4, 1, 5]))
    @test near(layer(x, y; query_start = 2), by_formula(layer, x, 2:6, y, 0:6))
    at = (positions = [5, 4, 3, 2, 1], key_positions = [8, 1, 7, 2, 6, 3, 5])
    result = forward(layer, x, y; save = true, at...)
    @test near(result.output, by_formula(layer, x, at.positions, y, at.key_positions))
    for saved in (result, nothing)
        gradients = backward(layer, 2 * result.output, x, y; result = saved, at...)
        @test moves(a -> sum(abs2, by_formula(layer, a.x, at.positions, a.y, at.key_positions)), (x = x, y = y),
                    (x = gradients.query, y = gradients.key))
    end
    @test status(() -> layer(x; positions = [1, 2])) == :ATTN_ERR_SHAPE
    @test status(() -> layer(x; positions = [true])) == :ATTN_ERR_DTYPE
    @test status(() -> layer_of(nothing; rope = Rope(layout = :halves, dimensions = 5))) == :ATTN_ERR_ARGUMENT
end

@testset "a layer takes a ragged batch" begin
    x, y, offsets = normal(8, 12), normal(8, 9), [0, 2, 5, 8, 9]
    wants = (return_weights = true, return_logsumexp = true, return_scores = :masked, return_stats = true, save = true)
    for rope in (nothing, TURN), (given, of_keys, more) in (((x,), OFFSETS, (query_offsets = OFFSETS,)),
                                                            ((x, y), offsets, (query_offsets = OFFSETS, key_offsets = offsets)))
        layer = layer_of(:bottom_right; rope = rope)
        got = forward(layer, given...; more..., wants...)
        longest = maximum(diff(of_keys))
        @test size(got.output) == (8, 12) && size(got.weights) == (longest, 12, 4)
        @test size(got.stats.key_sums) == (size(given[end], 2), 4)
        @test all(got.output[:, [1, 12]] .== 0) && all(got.logsumexp[[1, 12], :] .== -Inf)
        gradients = [backward(layer, 2 * got.output, given...; more..., result = result) for result in (got, nothing)]
        total = zeros(24, 8)
        for b in (1, 3, 4)
            there, keyed = span(OFFSETS, b), 1:length(span(of_keys, b))
            alone = length(given) == 1 ? (x[:, there],) : (x[:, there], y[:, span(of_keys, b)])
            want = forward(layer, alone...; wants...)
            @test near(got.output[:, there], want.output) && near(got.logsumexp[there, :], want.logsumexp)
            @test near(got.weights[keyed, there, :], want.weights) && all(got.weights[length(keyed) + 1:end, there, :] .== 0)
            @test near(got.stats.key_sums[span(of_keys, b), :], want.stats.key_sums)
            own = backward(layer, 2 * got.output[:, there], alone...)
            total += own.params.W_q
            for one in gradients
                @test near(one.query[:, there], own.query)
                length(given) == 1 || @test near(one.key[:, span(of_keys, b)], own.key)
            end
        end
        for one in gradients
            @test all(one.query[:, [1, 12]] .== 0) && isapprox(one.params.W_q, total; atol = 1e-10)
        end
        @test status(() -> forward(layer, x; query_offsets = [0, 13], wants...)) == :ATTN_ERR_ARGUMENT
    end
end

@testset "a layer serves a continuous batch" begin
    layer, texts = layer_of(:bottom_right; rope = TURN), [normal(8, n) for n in (6, 4, 7)]
    whole = layer.(texts)
    for page in (0, 2)
        memory, done, rows = Attn.Memory(layer; type = Float64, page = page), [0, 0, 0], [1]
        for (now, counts) in (([1], [3]), ([1, 2], [1, 4]), ([1, 2, 3], [1, 0, 5]), ([3, 1], [2, 1]))
            reorder!(memory, [something(findfirst(isequal(text), rows), 0) for text in now])
            rows, offsets = now, [0; cumsum(counts)]
            x = hcat((texts[text][:, done[text] + 1:done[text] + n] for (text, n) in zip(now, counts))...)
            got = forward(layer, x; memory = memory, query_offsets = offsets, return_weights = true, return_stats = true)
            for (b, text) in enumerate(now)
                @test near(got.output[:, span(offsets, b)], whole[text][:, done[text] + 1:done[text] + counts[b]])
                done[text] += counts[b]
            end
            @test lengths(memory) == done[now] && size(got.weights) == (maximum(done[now]), size(x, 2), 4)
            @test size(got.stats.key_sums) == (maximum(done[now]), 4, length(now))
        end
    end
end

@testset "a layer follows a tree of guesses" begin
    layer, text, guesses = layer_of(nothing; rope = TURN), normal(8, 3), normal(8, 4)
    tree = Bool[1 0 1 0; 0 1 0 1; 0 0 1 0; 0 0 0 1] # of the first the third follows, of the second the fourth
    branch, one, other = guesses[:, [2, 4]], Attn.Memory(layer; type = Float64), Attn.Memory(layer; type = Float64)
    for t in 1:3, memory in (one, other)
        layer(text[:, t:t]; memory = memory)
    end
    got = layer(guesses; memory = one, positions = [3, 3, 4, 4], mask = tree, mask_align = :bottom_right)
    keep!(one, [3], [4, 6], [0, 2])
    @test near(hcat((layer(branch[:, t:t]; memory = other) for t in 1:2)...), got[:, [2, 4]])
    following = normal(8, 1)
    @test near(layer(following; memory = one), layer(following; memory = other)) && lengths(one) == lengths(other) == [6]
end
