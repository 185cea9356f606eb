/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_quantised.cpp: keys and values of 8 bits with scales: attention over them is that over the numbers that they
 * stand for; so are memories of 8 bits, of mechanisms and of layers. */
#include "check.hpp"

#include <algorithm>
#include <string>

namespace
{

using attn::bfloat16;
using attn::float16;

constexpr std::size_t batch = 2, heads = 4, key_heads = 2, queries = 3, keys = 7, dim = 8, values = 6;

/* Rows as integers with scales, and what these stand for. */
struct quantised {
    std::vector<std::int8_t> integers;
    std::vector<float> scales, meant;

    quantised() = default;

    explicit quantised(const std::vector<float> &given, std::size_t width) : integers(given.size()), meant(given.size())
    {
        for (std::size_t first = 0; first < given.size(); first += width) {
            float greatest = 0;
            for (std::size_t d = 0; d < width; d++) greatest = std::max(greatest, std::fabs(given[first + d]));
            const float scale = greatest / 127;
            scales.push_back(scale);
            for (std::size_t d = first; d < first + width; d++) {
                integers[d] = static_cast<std::int8_t>(std::lrint(given[d] / scale));
                meant[d] = static_cast<float>(integers[d]) * scale;
            }
        }
    }
};

/* Numbers in another type, and those that they are. */
template <class T> struct both {
    std::vector<T> given;
    std::vector<float> wide;

    both(std::size_t count, unsigned seed)
    {
        for (const float number : check::numbers(count, seed)) {
            given.push_back(T(number));
            wide.push_back(static_cast<float>(given.back()));
        }
    }
};

/* Results are in T: rounded once, where that is narrower than float. */
template <class T>
constexpr double roundoff = attn::dtype_of<T> == attn::dtype::f32   ? 0
                            : attn::dtype_of<T> == attn::dtype::f16 ? 0x1p-11
                                                                    : 0x1p-8;

template <class T> void expect_same(const std::vector<T> &got, const std::vector<float> &want)
{
    for (std::size_t i = 0; i < want.size(); i++) {
        CHECK_NEAR(got[i], want[i], static_cast<double>(std::fabs(want[i])) * roundoff<T> * 1.001 + 2e-6);
    }
}

template <class T> struct scene {
    both<T> query{batch * heads * queries * dim, 1};
    quantised key{check::numbers(batch * key_heads * keys * dim, 2), dim};
    quantised value{check::numbers(batch * key_heads * keys * values, 3), values};
    std::vector<T> context = std::vector<T>(batch * heads * queries * values);
    std::vector<float> logsumexp = std::vector<float>(batch * heads * queries), wide_logsumexp = logsumexp;
    std::vector<float> wide_context = std::vector<float>(context.size());
    std::vector<std::int32_t> lengths = {7, 4};
    attn::engine engine;
    attn::mechanism mechanism{engine, attn::scaled_dot{}};
    attn::forward_args args, wide;

    scene()
    {
        args.query = {query.given, {batch, heads, queries, dim}};
        args.key = {key.integers, {batch, key_heads, keys, dim}};
        args.key_scales = {key.scales, {batch, key_heads, keys}};
        args.value = {value.integers, {batch, key_heads, keys, values}};
        args.value_scales = {value.scales, {batch, key_heads, keys}};
        args.key_lengths = lengths;
        args.context = {context, {batch, heads, queries, values}};
        args.logsumexp = {logsumexp, {batch, heads, queries}};
        wide.query = {query.wide, {batch, heads, queries, dim}};
        wide.key = {key.meant, {batch, key_heads, keys, dim}};
        wide.value = {value.meant, {batch, key_heads, keys, values}};
        wide.key_lengths = lengths;
        wide.context = {wide_context, {batch, heads, queries, values}};
        wide.logsumexp = {wide_logsumexp, {batch, heads, queries}};
    }

    void expect_both_same() const
    {
        expect_same(context, wide_context);
        expect_same(logsumexp, wide_logsumexp);
    }
};

template <class T> void integers_are_what_they_stand_for()
{
    scene<T> s;
    attn::forward(s.mechanism, s.wide);
    attn::forward(s.mechanism, s.args);
    s.expect_both_same();

    attn::forward_call call(s.mechanism, s.args);
    s.context.assign(s.context.size(), T(0.0f));
    call.run();
    s.expect_both_same();
    quantised doubled = s.value; /* at other addresses */
    for (float &scale : doubled.scales) scale *= 2;
    for (float &number : s.wide_context) number *= 2;
    s.args.value = {doubled.integers, {batch, key_heads, keys, values}};
    s.args.value_scales = {doubled.scales, {batch, key_heads, keys}};
    call.run(s.args);
    s.expect_both_same();
    std::vector<std::byte> scratch(attn::forward_workspace(s.mechanism, s.args));
    s.args.workspace = scratch;
    s.context.assign(s.context.size(), T(0.0f));
    attn::forward(s.mechanism, s.args);
    s.expect_both_same();
}

/* One of the two, the other of the query's type; keys that are the values; and a scale for all rows, by a stride of 0.
 */
void either_may_be_of_integers()
{
    scene<float> s;
    s.args.value = s.wide.value;
    s.args.value_scales = {};
    attn::forward(s.mechanism, s.args);
    attn::forward(s.mechanism, s.wide);
    s.expect_both_same();

    const float one[1] = {0.25f};
    for (std::size_t i = 0; i < s.key.meant.size(); i++)
        s.key.meant[i] = static_cast<float>(s.key.integers[i]) * one[0];
    s.wide_context.resize(batch * heads * queries * dim);
    s.context.resize(s.wide_context.size());
    s.args.value = s.wide.value = {};
    s.args.key_scales = {one, {batch, key_heads, keys}, {0, 0, 0}};
    s.args.context = {s.context, {batch, heads, queries, dim}};
    s.wide.context = {s.wide_context, {batch, heads, queries, dim}};
    attn::forward(s.mechanism, s.args);
    attn::forward(s.mechanism, s.wide);
    s.expect_both_same();
}

void what_does_not_belong_together_is_refused()
{
    scene<float> s;
    const std::vector<float> untouched = s.context;
    const auto refused = [&](const auto &change, attn::status code, const char *words) {
        attn::forward_args args = s.args;
        change(args);
        CHECK_THROWS(attn::forward(s.mechanism, args), code, words);
        CHECK(s.context == untouched);
    };
    using args = attn::forward_args;
    refused([](args &a) { a.key_scales = {}; }, attn::status::argument, "key is ATTN_I8, but key_scales is NULL");
    refused([](args &a) { a.value_scales = {}; }, attn::status::argument, "value_scales is NULL");
    refused([&](args &a) { a.key = s.wide.key; }, attn::status::argument, "there is key_scales, but key is ATTN_F32");
    refused(
        [&](args &a) {
            a.key_scales = {s.key.scales, {batch, key_heads, keys - 1}};
        },
        attn::status::shape, "key_scales");
    refused(
        [&](args &a) {
            a.key_scales = {s.key.scales, {batch, key_heads, keys + 1}};
        },
        attn::status::shape, "reaches from element 0");
    const std::vector<double> wide(s.query.given.begin(), s.query.given.end());
    std::vector<double> context(s.context.size());
    refused(
        [&](args &a) {
            a.query = {wide, {batch, heads, queries, dim}};
            a.context = {context, {batch, heads, queries, values}};
        },
        attn::status::dtype, "key is ATTN_I8");
    attn::forward(s.mechanism, s.args);
    std::vector<float> d_query(s.query.given.size());
    attn::backward_args back;
    back.d_context = {s.wide_context, {batch, heads, queries, values}};
    back.d_query = {d_query, {batch, heads, queries, dim}};
    CHECK_THROWS(attn::backward(s.mechanism, s.args, back), attn::status::unsupported, "");
}

/* A memory of 8 bits has the same integers, whichever type the rows come in. */
template <class T> void a_memory_of_8_bits_is_what_it_keeps()
{
    scene<T> s;
    const both<T> given_keys(batch * key_heads * keys * dim, 4), given_values(batch * key_heads * keys * values, 5);
    s.key = quantised(given_keys.wide, dim);
    s.value = quantised(given_values.wide, values);
    attn::memory_options options;
    options.dtype = attn::dtype::i8;
    options.batch = batch;
    options.key_heads = key_heads;
    options.key_dim = dim;
    options.value_dim = values;
    attn::memory memory(s.mechanism, options);
    memory.append({given_keys.given, {batch, key_heads, keys, dim}},
                  {given_values.given, {batch, key_heads, keys, values}}, s.lengths);
    s.args.key = s.args.key_scales = s.args.value = s.args.value_scales = s.args.key_lengths = {};
    s.args.memory = &memory;
    s.wide.key = {s.key.meant, {batch, key_heads, keys, dim}};
    s.wide.value = {s.value.meant, {batch, key_heads, keys, values}};
    attn::forward(s.mechanism, s.wide);
    attn::forward(s.mechanism, s.args);
    s.expect_both_same();
    const attn::memory copy = memory.fork(); /* with scales of its own */
    const std::vector<std::int32_t> none(batch, 0);
    memory.truncate(none);
    s.args.memory = &copy;
    s.context.assign(s.context.size(), T(0.0f));
    attn::forward(s.mechanism, s.args);
    s.expect_both_same();
}

/* A layer over a memory of a type does as over one of float that has what the other keeps: keys and values are the
 * words themselves here, and these need no rounding to T, but to other types. */
template <class T, class Kept> void a_layer_decodes_from_a_memory_of_any_type()
{
    constexpr std::size_t words = 5;
    const attn::engine engine;
    attn::mechanism mechanism(engine, attn::scaled_dot{});
    mechanism.set_causal(attn::align::bottom_right);
    attn::multihead_options options;
    options.query_heads = 2;
    options.query_dim = dim;
    attn::multihead layer(mechanism, options);
    std::vector<float> unit(dim * dim, 0.0f);
    for (std::size_t d = 0; d < dim; d++) unit[d * dim + d] = 1;
    for (const char *name : {"W_q", "W_k", "W_v", "W_o"}) layer.bind_param(name, {unit, {dim, dim}});
    const both<T> x(words * dim, 6);
    quantised cut;
    std::vector<float> kept = x.wide;
    if (attn::dtype_of<Kept> == attn::dtype::i8) {
        cut = quantised(x.wide, dim / 2); /* a row is a head's */
        kept = cut.meant;
    }
    attn::memory_options of;
    of.key_heads = 2;
    of.key_dim = of.value_dim = dim / 2;
    attn::memory wide(mechanism, of);
    of.dtype = attn::dtype_of<Kept>;
    attn::memory memory(mechanism, of);
    std::vector<T> got(words * dim), want(words * dim);
    for (std::size_t t = 0; t < words; t++) {
        attn::multihead_args args;
        args.query = {&x.given[t * dim], {1, dim}};
        args.output = {&got[t * dim], {1, dim}};
        args.memory = &memory;
        layer.forward(args);
        const attn::const_tensor row(&kept[t * dim], {1, 2, 1, dim / 2});
        wide.append(row, row);
        args.output = {&want[t * dim], {1, dim}};
        args.memory = &wide;
        args.attend_only = true;
        layer.forward(args);
    }
    CHECK(memory.lengths() == wide.lengths());
    for (std::size_t i = 0; i < want.size(); i++) {
        CHECK_NEAR(got[i], want[i], std::fabs(static_cast<double>(want[i])) * 2 * roundoff<T> + 2e-6);
    }
    CHECK(std::fabs(static_cast<double>(want.back())) > 0.01);
}

} // namespace

int main()
{
    return check::run(
        {{"integers_are_what_they_stand_for", integers_are_what_they_stand_for<float>},
         {"integers_beside_float16_are_too", integers_are_what_they_stand_for<float16>},
         {"integers_beside_bfloat16_are_too", integers_are_what_they_stand_for<bfloat16>},
         {"either_may_be_of_integers", either_may_be_of_integers},
         {"what_does_not_belong_together_is_refused", what_does_not_belong_together_is_refused},
         {"a_memory_of_8_bits_is_what_it_keeps", a_memory_of_8_bits_is_what_it_keeps<float>},
         {"a_memory_of_8_bits_made_of_float16_is_too", a_memory_of_8_bits_is_what_it_keeps<float16>},
         {"a_memory_of_8_bits_made_of_bfloat16_is_too", a_memory_of_8_bits_is_what_it_keeps<bfloat16>},
         {"a_layer_decodes_from_integers", a_layer_decodes_from_a_memory_of_any_type<float, std::int8_t>},
         {"a_layer_of_float16_decodes_from_integers", a_layer_decodes_from_a_memory_of_any_type<float16, std::int8_t>},
         {"a_layer_of_bfloat16_decodes_from_integers",
          a_layer_decodes_from_a_memory_of_any_type<bfloat16, std::int8_t>},
         {"a_layer_decodes_from_float16", a_layer_decodes_from_a_memory_of_any_type<float16, float16>},
         {"a_layer_decodes_from_bfloat16", a_layer_decodes_from_a_memory_of_any_type<bfloat16, bfloat16>}});
}
