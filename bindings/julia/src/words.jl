# SPDX-License-Identifier: BSD-3-Clause
# words.jl: the words that stand for the library's constants.

# The constants ATTN_ prefix WORD; nothing, where it may be given, stands for another of them.
struct Words
    prefix::String
    words::Tuple{Vararg{Symbol}}
    nothing_is::String
    values::Dict{Union{Nothing,Symbol},Int64}
end

Words(prefix, words...; nothing_is = "") = Words(prefix, words, nothing_is, Dict())

const WAYS = Words("ATTN_WAY_", :automatic, :blas, :tiles; nothing_is = "AUTOMATIC")
const ALIGNMENTS = Words("ATTN_ALIGN_", :top_left, :bottom_right; nothing_is = "NONE")
const NORMALISERS = Words("ATTN_", :softmax, :hardmax)
const PRECISIONS = Words("ATTN_PRECISION_", :exact, :fast)
const STAGES = Words("ATTN_SCORES_", :raw, :capped, :masked, :weights; nothing_is = "RAW")
const MASK_ALIGNMENTS = Words("ATTN_ALIGN_", :bottom_right; nothing_is = "NONE")
const LOCALS = Words("ATTN_LOCAL_", :monotonic, :predictive, :predictive_floor; nothing_is = "NONE")
const RELATIVES = Words("ATTN_RELATIVE_", :clipped, :t5, :t5_causal; nothing_is = "NONE")
const LAYOUTS = Words("ATTN_ROPE_", :interleaved, :halves)
const ADDITIVE_FLAGS = Words("ATTN_ADDITIVE_", :bias, :normalised, :query_projected, :key_projected)
const MEMORY_FLAGS = Words("ATTN_MEMORY_", :fixed, :keys_alone)
const MULTIHEAD_FLAGS = Words("ATTN_MULTIHEAD_", :bias, :packed)

function load_words()
    for table in (WAYS, ALIGNMENTS, MASK_ALIGNMENTS, NORMALISERS, PRECISIONS, STAGES, LOCALS, RELATIVES, LAYOUTS, ADDITIVE_FLAGS,
                  MEMORY_FLAGS, MULTIHEAD_FLAGS)
        for word in table.words
            table.values[word] = constant(table.prefix * uppercase(string(word)))
        end
        isempty(table.nothing_is) || (table.values[nothing] = constant(table.prefix * table.nothing_is))
    end
end

function choose(table::Words, word, what)
    haskey(table.values, word) ||
        refuse(:ATTN_ERR_ARGUMENT, what, " is ", repr(word), ", but it is one of ", join(repr.(table.words), ", "))
    return table.values[word]
end

# The flags of these words together.
join_flags(table::Words, words, what) = reduce(|, (choose(table, word, what) for word in words); init = 0)
