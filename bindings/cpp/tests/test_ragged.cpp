/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_ragged.cpp: ragged batches: each sequence gets the bits that it gets alone, forward, backward and from calls
 * made ready; masks of the last keys; and what of it is refused. */
#include "check.hpp"

namespace
{

using integers = std::vector<std::int64_t>;
using reals = std::vector<float>;

constexpr std::size_t heads = 4, key_heads = 2, dim = 8, values = 5;
constexpr float untouched = 77;

/* Row `first` and on of [H, rows, width], as [1, H, count, width]. */
template <class Tensor, class Data>
Tensor rows_of(Data &data, std::size_t heads_of_it, std::size_t width, std::size_t first, std::size_t count)
{
    const std::size_t all = data.size() / heads_of_it / width, one = 1;
    return {data.data() + first * width, {one, heads_of_it, count, width}, {0, all * width, width, one}};
}

/* Five sequences, one without queries, one without keys; and the last row belongs to none. */
struct scene {
    std::vector<std::int32_t> query_offsets = {0, 3, 3, 4, 9, 11};
    integers key_offsets = {1, 6, 8, 8, 15, 17};
    std::size_t queries = 12, keys = 18, longest = 7;
    reals query = check::numbers(heads * queries * dim, 1), key = check::numbers(key_heads * keys * dim, 2);
    reals value = check::numbers(key_heads * keys * values, 3), d_context = check::numbers(heads * queries * values, 4);
    reals context = reals(heads * queries * values, untouched), weights = reals(heads * queries * longest, untouched);
    reals logsumexp = reals(heads * queries, untouched);
    reals d_query = reals(query.size(), untouched), d_key = reals(key.size(), untouched);
    reals d_value = reals(value.size(), untouched);
    attn::engine engine;
    attn::mechanism mechanism{engine, attn::scaled_dot{}};
    attn::forward_args args;
    attn::backward_args gradients;

    scene()
    {
        mechanism.set_causal(attn::align::bottom_right);
        args.query = {query, {1, heads, queries, dim}};
        args.key = {key, {1, key_heads, keys, dim}};
        args.value = {value, {1, key_heads, keys, values}};
        args.query_offsets = query_offsets;
        args.key_offsets = key_offsets;
        args.context = {context, {1, heads, queries, values}};
        args.weights = {weights, {1, heads, queries, longest}};
        args.logsumexp = {logsumexp, {1, heads, queries}};
        gradients.d_context = {d_context, {1, heads, queries, values}};
        gradients.d_query = {d_query, {1, heads, queries, dim}};
        gradients.d_key = {d_key, {1, key_heads, keys, dim}};
        gradients.d_value = {d_value, {1, key_heads, keys, values}};
    }

    /* The rows that `got` has of a sequence are those of `alone`. */
    static void expect_rows(const reals &got, const reals &alone, std::size_t heads_of_it, std::size_t width,
                            std::size_t first, std::size_t count)
    {
        const std::size_t all = got.size() / heads_of_it / width;
        for (std::size_t h = 0; h < heads_of_it; h++) {
            for (std::size_t i = 0; i < count * width; i++) {
                CHECK(got[(h * all + first) * width + i] == alone[h * count * width + i]);
            }
        }
    }

    /* Every sequence is what it is alone, and rows of no sequence are as they were. */
    void expect_sequences(bool backward) const
    {
        for (std::size_t b = 0; b + 1 < key_offsets.size(); b++) {
            const auto q = static_cast<std::size_t>(query_offsets[b]), k = static_cast<std::size_t>(key_offsets[b]);
            const std::size_t nq = static_cast<std::size_t>(query_offsets[b + 1]) - q;
            const std::size_t nk = static_cast<std::size_t>(key_offsets[b + 1]) - k;
            reals own(heads * nq * values), own_weights(heads * nq * nk), own_logsumexp(heads * nq);
            reals own_d_query(heads * nq * dim), own_d_key(key_heads * nk * dim), own_d_value(key_heads * nk * values);
            attn::forward_args alone;
            alone.query = rows_of<attn::const_tensor>(query, heads, dim, q, nq);
            alone.key = rows_of<attn::const_tensor>(key, key_heads, dim, k, nk);
            alone.value = rows_of<attn::const_tensor>(value, key_heads, values, k, nk);
            alone.context = {own, {1, heads, nq, values}};
            alone.weights = {own_weights, {1, heads, nq, nk}};
            alone.logsumexp = {own_logsumexp, {1, heads, nq}};
            attn::forward(mechanism, alone);
            expect_rows(context, own, heads, values, q, nq);
            expect_rows(logsumexp, own_logsumexp, heads, 1, q, nq);
            if (!backward) continue;
            attn::backward_args into;
            into.d_context = rows_of<attn::const_tensor>(d_context, heads, values, q, nq);
            into.d_query = {own_d_query, {1, heads, nq, dim}};
            into.d_key = {own_d_key, {1, key_heads, nk, dim}};
            into.d_value = {own_d_value, {1, key_heads, nk, values}};
            attn::backward(mechanism, alone, into);
            expect_rows(d_query, own_d_query, heads, dim, q, nq);
            expect_rows(d_key, own_d_key, key_heads, dim, k, nk);
            expect_rows(d_value, own_d_value, key_heads, values, k, nk);
        }
        for (std::size_t h = 0; h < heads; h++) CHECK(context[(h * queries + queries - 1) * values] == untouched);
    }
};

void sequences_get_the_bits_that_they_get_alone()
{
    scene s;
    attn::forward(s.mechanism, s.args);
    attn::backward(s.mechanism, s.args, s.gradients);
    s.expect_sequences(true);
    for (std::size_t i = 0; i < heads * s.queries; i++) {
        double sum = 0;
        for (std::size_t j = 0; j < s.longest; j++) sum += static_cast<double>(s.weights[i * s.longest + j]);
        const std::size_t row = i % s.queries; /* query 3 sees no key, and 11 is nobody's */
        if (row < s.queries - 1) CHECK_NEAR(sum, row == 3 ? 0 : 1, 1e-6);
    }
}

void a_call_made_ready_takes_other_offsets()
{
    scene s;
    attn::forward_call call(s.mechanism, s.args);
    call.run();
    s.expect_sequences(false);
    s.query_offsets = {0, 0, 5, 7, 8, 11};
    s.key_offsets = {0, 7, 14, 15, 15, 18};
    s.args.query_offsets = s.query_offsets, s.args.key_offsets = s.key_offsets;
    call.run(s.args);
    s.expect_sequences(false);
}

void either_may_be_ragged()
{
    scene s;
    const std::vector<std::int32_t> lengths = {3, 2, 0, 3, 1};
    reals padded = check::numbers(5 * key_heads * 3 * dim, 5), context(heads * s.queries * dim), alone(heads * 3 * dim);
    attn::forward_args args;
    args.query = s.args.query, args.query_offsets = s.args.query_offsets;
    args.key = {padded, {5, key_heads, 3, dim}};
    args.key_lengths = lengths;
    args.context = {context, {1, heads, s.queries, dim}};
    attn::forward(s.mechanism, args);
    attn::forward_args first;
    first.query = rows_of<attn::const_tensor>(s.query, heads, dim, 0, 3);
    first.key = {padded, {1, key_heads, 3, dim}};
    first.context = {alone, {1, heads, 3, dim}};
    attn::forward(s.mechanism, first);
    scene::expect_rows(context, alone, heads, dim, 0, 3);
}

/* Two guesses that follow the same key, of which neither sees the other. */
void a_mask_may_be_of_the_last_keys()
{
    const reals query = check::numbers(2 * dim, 1), key = check::numbers(6 * dim, 2);
    const bool tree[2][2] = {{true, false}, {false, true}};
    bool whole[2][6] = {};
    reals context(2 * dim), wanted(2 * dim);
    attn::engine engine;
    attn::mechanism mechanism(engine, attn::dot{});
    attn::forward_args args;
    args.query = {query, {2, dim}}, args.key = {key, {6, dim}}, args.context = {context, {2, dim}};
    args.mask = tree;
    CHECK_THROWS(attn::forward(mechanism, args), attn::status::shape, "mask");
    args.mask_align = attn::align::bottom_right;
    attn::forward(mechanism, args);
    for (std::size_t i = 0; i < 2; i++) {
        for (std::size_t j = 0; j < 6; j++) whole[i][j] = j < 4 || tree[i][j - 4];
    }
    args.mask = whole, args.mask_align = attn::align::none, args.context = {wanted, {2, dim}};
    attn::forward(mechanism, args);
    CHECK(context == wanted);
    args.mask_align = attn::align::top_left;
    CHECK_THROWS(attn::forward(mechanism, args), attn::status::argument, "mask_align");
}

void keys_and_values_may_be_in_pages()
{
    constexpr std::size_t pages = 6, page = 5;
    const reals query = check::numbers(2 * heads * 3 * dim, 1), key = check::numbers(pages * key_heads * page * dim, 2);
    const std::vector<std::int32_t> table = {4, 1, 5, 0, 1, 2}, listed = {4, 1, 5, 0, 1}, lengths = {12, 6};
    const integers offsets = {0, 3, 5};
    reals context(2 * heads * 3 * dim), other(context.size());
    attn::engine engine;
    attn::mechanism mechanism(engine, attn::scaled_dot{});
    attn::forward_args args;
    args.query = {query, {2, heads, 3, dim}};
    args.key = {key, {pages, key_heads, page, dim}};
    args.key_lengths = lengths;
    args.page_table = {table, {2, 3}};
    args.context = {context, {2, heads, 3, dim}};
    attn::forward(mechanism, args);
    for (std::size_t b = 0; b < 2; b++) {
        const auto length = static_cast<std::size_t>(lengths[b]);
        reals own(key_heads * length * dim), alone(heads * 3 * dim);
        for (std::size_t h = 0; h < key_heads; h++) {
            for (std::size_t j = 0; j < length; j++) {
                const auto at = static_cast<std::size_t>(table[b * 3 + j / page]);
                for (std::size_t d = 0; d < dim; d++) {
                    own[(h * length + j) * dim + d] = key[((at * key_heads + h) * page + j % page) * dim + d];
                }
            }
        }
        attn::forward_args one;
        one.query = {query.data() + b * heads * 3 * dim, {1, heads, 3, dim}};
        one.key = {own, {1, key_heads, length, dim}};
        one.context = {alone, {1, heads, 3, dim}};
        attn::forward(mechanism, one);
        for (std::size_t i = 0; i < alone.size(); i++) CHECK_NEAR(context[b * alone.size() + i], alone[i], 3e-6);
    }
    args.page_table = listed, args.page_offsets = offsets, args.context = {other, {2, heads, 3, dim}};
    attn::forward(mechanism, args);
    CHECK(context == other);
    args.page_offsets = {};
    CHECK_THROWS(attn::forward(mechanism, args), attn::status::shape, "page_table");
}

void wrong_offsets_are_refused()
{
    scene s;
    s.key_offsets[2] = 5;
    CHECK_THROWS(attn::forward(s.mechanism, s.args), attn::status::argument, "key_offsets[2]");
    s.key_offsets = {0, 6, 8, 8, 15, 19};
    CHECK_THROWS(attn::forward(s.mechanism, s.args), attn::status::argument, "key_offsets ends with 19");
    s.key_offsets.resize(5);
    s.args.key_offsets = s.key_offsets;
    CHECK_THROWS(attn::forward(s.mechanism, s.args), attn::status::shape, "key_offsets has 5 elements");
    CHECK_THROWS(attn::backward(s.mechanism, s.args, s.gradients), attn::status::shape, "key_offsets has 5 elements");
    s.args.key_offsets = s.key;
    CHECK_THROWS(attn::forward(s.mechanism, s.args), attn::status::dtype, "key_offsets");
    CHECK(s.context[0] == untouched);
}

} // namespace

int main()
{
    return check::run({{"sequences_get_the_bits_that_they_get_alone", sequences_get_the_bits_that_they_get_alone},
                       {"a_call_made_ready_takes_other_offsets", a_call_made_ready_takes_other_offsets},
                       {"either_may_be_ragged", either_may_be_ragged},
                       {"a_mask_may_be_of_the_last_keys", a_mask_may_be_of_the_last_keys},
                       {"keys_and_values_may_be_in_pages", keys_and_values_may_be_in_pages},
                       {"wrong_offsets_are_refused", wrong_offsets_are_refused}});
}
