# SPDX-License-Identifier: BSD-3-Clause
# ragged.jl: ragged batches and masks of the last keys: each sequence is what it is alone; pages; and what is refused.

# One sequence without queries, one without keys; and the last columns are nobody's.
const QUERY_OFFSETS, KEY_OFFSETS = Int32[0, 3, 3, 4, 9, 11], [1, 6, 8, 8, 15, 17]

part(offsets, b) = offsets[b] + 1:offsets[b + 1]
cut(array, offsets, b) = array[:, part(offsets, b), :]

@testset "a sequence of a ragged batch is what it is alone" begin
    query, key, value = normal32(8, 12, 4), normal32(8, 18, 2), normal32(5, 18, 2)
    wants = (return_weights = true, return_logsumexp = true, return_scores = :masked, return_stats = true)
    for more in ((;), (causal = :bottom_right,), (softcap = 2.0, window = (1, 1, :top_left)))
        got = attention(query, key, value; query_offsets = QUERY_OFFSETS, key_offsets = KEY_OFFSETS, wants..., more...)
        @test size(got.context) == (5, 12, 4) && size(got.weights) == (7, 12, 4) && size(got.stats.key_sums) == (18, 4)
        for b in 1:5
            want = attention(cut(query, QUERY_OFFSETS, b), cut(key, KEY_OFFSETS, b), cut(value, KEY_OFFSETS, b); wants..., more...)
            there, keys = part(QUERY_OFFSETS, b), 1:length(part(KEY_OFFSETS, b))
            @test got.context[:, there, :] == want.context && got.logsumexp[there, :] == want.logsumexp
            @test got.weights[keys, there, :] == want.weights && all(got.weights[length(keys) + 1:end, there, :] .== 0)
            @test got.scores[keys, there, :] == want.scores
            @test got.stats.strongest[there, :] == want.stats.strongest && got.stats.entropy[there, :] == want.stats.entropy
            @test got.stats.key_sums[part(KEY_OFFSETS, b), :] == want.stats.key_sums
        end
        @test all(got.context[:, 12, :] .== 0) && all(got.logsumexp[12, :] .== -Inf) && all(got.stats.strongest[12, :] .== 0)
    end
end

@testset "gradients lie in the columns of their sequence" begin
    query, key, value, d_context = normal(8, 12, 4), normal(8, 18, 2), normal(5, 18, 2), normal(5, 12, 4)
    offsets = (query_offsets = QUERY_OFFSETS, key_offsets = KEY_OFFSETS)
    got = attention_grad(d_context, query, key, value; offsets..., causal = :top_left)
    for b in 1:5
        want = attention_grad(cut(d_context, QUERY_OFFSETS, b), cut(query, QUERY_OFFSETS, b), cut(key, KEY_OFFSETS, b),
                              cut(value, KEY_OFFSETS, b); causal = :top_left)
        @test cut(got.query, QUERY_OFFSETS, b) == want.query
        @test cut(got.key, KEY_OFFSETS, b) == want.key && cut(got.value, KEY_OFFSETS, b) == want.value
    end
    @test all(got.query[:, 12, :] .== 0) && all(got.key[:, [1, 18], :] .== 0) && all(got.value[:, [1, 18], :] .== 0)
end

@testset "either side may be ragged, and offsets of any form" begin
    query, key, padded = normal32(8, 12, 4), normal32(8, 18, 2), normal32(8, 6, 2, 5)
    lengths = [6, 2, 0, 3, 1]
    got = attention(query, padded; query_offsets = QUERY_OFFSETS, key_lengths = lengths, return_stats = true)
    @test size(got.stats.key_sums) == (6, 4, 5)
    for b in 1:5
        @test cut(got.context, QUERY_OFFSETS, b) ==
              attention(cut(query, QUERY_OFFSETS, b), padded[:, :, :, b]; key_lengths = [lengths[b]], return_stats = true).context
    end
    want = attention(query, key; query_offsets = QUERY_OFFSETS, key_offsets = KEY_OFFSETS)
    @test attention(query, key; query_offsets = [0; cumsum([3, 0, 1, 5, 2])], key_offsets = Tuple(KEY_OFFSETS)) == want
    @test attention(query, key; query_offsets = view(repeat(QUERY_OFFSETS; inner = 2), 1:2:12), key_offsets = Int16.(KEY_OFFSETS)) == want
    @test attention(PermutedDimsArray(permutedims(query, (1, 3, 2)), (1, 3, 2)), key;
                    query_offsets = QUERY_OFFSETS, key_offsets = KEY_OFFSETS) == want
end

@testset "a call that is laid out reads its offsets anew" begin
    query, key, context = normal32(8, 12, 4), normal32(8, 18, 2), zeros(Float32, 8, 12, 4)
    query_offsets, key_offsets = copy(QUERY_OFFSETS), copy(KEY_OFFSETS)
    call = Call(Mechanism(), query, key; context = context, query_offsets = query_offsets, key_offsets = key_offsets)
    for others in ((QUERY_OFFSETS, KEY_OFFSETS), ([0, 0, 5, 6, 6, 12], [0, 6, 7, 7, 8, 18]))
        query_offsets .= others[1]
        key_offsets .= others[2]
        run!(call)
        @test context == attention(query, key; query_offsets = others[1], key_offsets = others[2])
    end
end

@testset "a mask may be of the last keys" begin
    query, key = normal32(8, 3, 4), normal32(8, 18, 2)
    tree = Bool[1 1 1; 0 1 0; 0 0 1] # guesses that follow the first: each column is what one of them sees
    whole = [ones(Bool, 15, 3); tree]
    got = attention(query, key; mask = tree, mask_align = :bottom_right, return_weights = true)
    @test got.weights == attention(query, key; mask = whole, return_weights = true).weights
    @test attention_grad(query, query, key; mask = tree, mask_align = :bottom_right).key ==
          attention_grad(query, query, key; mask = whole).key
    @test status(() -> attention(query, key; mask = tree)) == :ATTN_ERR_SHAPE
    @test status(() -> attention(query, key; mask = tree, mask_align = :top_left)) == :ATTN_ERR_ARGUMENT
    @test status(() -> attention(query, key; mask_align = :bottom_right)) == :ATTN_ERR_ARGUMENT
end

@testset "keys and values may be in pages" begin
    query, key, value = normal32(8, 3, 4, 2), normal32(8, 5, 2, 6), normal32(4, 5, 2, 6) # 6 pages of 5 positions
    table, lengths = [4 0; 1 1; 5 2], [12, 6] # the second of each is the same
    together(pages, b) = cat((pages[:, :, :, table[n, b] + 1] for n in 1:3)...; dims = 2)[:, 1:lengths[b], :]
    got = attention(query, key, value; page_table = table, key_lengths = lengths, return_weights = true)
    @test size(got.weights) == (12, 3, 4, 2)
    for b in 1:2
        want = attention(query[:, :, :, b], together(key, b), together(value, b); return_weights = true)
        @test near(got.context[:, :, :, b], want.context) && near(got.weights[1:lengths[b], :, :, b], want.weights)
    end
    listed = attention(query, key, value; page_table = Int32[4, 1, 5, 0, 1], page_offsets = [0, 3, 5], key_lengths = lengths)
    @test listed == attention(query, key, value; page_table = table, key_lengths = lengths)
    @test status(() -> attention(query, key, value; page_table = table .+ 2, key_lengths = lengths)) == :ATTN_ERR_ARGUMENT
    @test status(() -> attention(query, key, value; page_table = table)) == :ATTN_ERR_ARGUMENT
end

@testset "wrong offsets are refused" begin
    query, key = normal32(8, 12, 4), normal32(8, 18, 2)
    for (wrong, code) in (([0, 3, 2, 4, 9, 11], :ATTN_ERR_ARGUMENT), ([0, 3, 3, 4, 9, 13], :ATTN_ERR_ARGUMENT),
                          ([-1, 3, 3, 4, 9, 11], :ATTN_ERR_ARGUMENT), ([0, 11], :ATTN_ERR_SHAPE), (Int[], :ATTN_ERR_SHAPE),
                          ([0 3 3; 4 9 11], :ATTN_ERR_SHAPE), ([true], :ATTN_ERR_DTYPE)), more in (false, true)
        @test status(() -> attention(query, key; query_offsets = wrong, key_offsets = KEY_OFFSETS, return_weights = more,
                                     return_stats = more)) == code
    end
    @test status(() -> attention(query, key; query_offsets = QUERY_OFFSETS, key_offsets = [0, 6, 8, 8, 15, 1 << 62],
                                 return_weights = true)) == :ATTN_ERR_ARGUMENT
    @test status(() -> attention(query, key; query_offsets = QUERY_OFFSETS)) == :ATTN_ERR_SHAPE
end
