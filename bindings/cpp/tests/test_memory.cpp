/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_memory.cpp: attending to a memory is attending to what was appended, for mechanisms and layers; positions and
 * rotations. */
#include "check.hpp"

#include <utility>

namespace
{

constexpr std::size_t batch = 2, dim = 4, values = 2, length = 5;

void a_memory_is_what_was_appended()
{
    const attn::engine engine;
    const attn::mechanism mechanism(engine, attn::scaled_dot{});
    attn::memory_options options;
    options.batch = batch;
    options.key_dim = dim;
    options.value_dim = values;
    attn::memory memory(mechanism, options);
    const std::vector<float> key = check::numbers(batch * length * dim, 1), query = check::numbers(batch * dim, 3);
    const std::vector<float> value = check::numbers(batch * length * values, 2);
    const std::vector<std::int32_t> lengths = {5, 3};
    memory.append({key, {batch, 1, length, dim}}, {value, {batch, 1, length, values}}, lengths);
    CHECK(memory.batch() == 2 && memory.lengths() == std::vector<std::int64_t>({5, 3}));

    std::vector<float> from_memory(batch * values), from_tensors(batch * values);
    attn::forward_args args;
    args.query = {query, {batch, 1, 1, dim}};
    args.memory = &memory;
    args.context = {from_memory, {batch, 1, 1, values}};
    attn::forward(mechanism, args);
    args.memory = nullptr;
    args.key = {key, {batch, 1, length, dim}};
    args.value = {value, {batch, 1, length, values}};
    args.key_lengths = lengths;
    args.context = {from_tensors, {batch, 1, 1, values}};
    attn::forward(mechanism, args);
    for (std::size_t i = 0; i < from_memory.size(); i++) CHECK_NEAR(from_memory[i], from_tensors[i], 1e-6);
}

void memories_are_cut_forked_and_reordered()
{
    const attn::engine engine;
    const attn::mechanism mechanism(engine, attn::dot{});
    attn::memory_options options;
    options.dtype = attn::dtype::f64;
    options.key_dim = dim;
    options.capacity = length;
    options.fixed = options.keys_alone = true;
    attn::memory memory(mechanism, options);
    const std::vector<double> key = check::numbers<double>(length * dim, 1);
    memory.append({key, {length, dim}});
    CHECK_THROWS(memory.append({key, {1, dim}}), attn::status::buffer, "room is for 5");
    attn::memory copy = memory.fork();
    const std::vector<std::int64_t> two = {2}, both = {0, 0};
    memory.truncate(two);
    memory.reorder(both);
    CHECK(memory.lengths() == std::vector<std::int64_t>({2, 2}));
    CHECK(copy.lengths() == std::vector<std::int64_t>({5}));
    CHECK_THROWS(memory.truncate(two), attn::status::shape, "lengths");
    std::int64_t room[1];
    CHECK(memory.try_lengths(room, 1) == attn::status::buffer);
    const attn::memory moved = std::move(copy);
    CHECK(copy.try_batch().status() == attn::status::argument); // NOLINT(bugprone-use-after-move)
    CHECK(moved.batch() == 1);
    options.key_dim = 0;
    CHECK_THROWS(attn::memory(mechanism, options), attn::status::argument, "key_dim");
}

/* One word after another through a memory is the causal sentence at once. */
void a_layer_decodes_from_a_memory()
{
    const attn::engine engine;
    attn::mechanism mechanism(engine, attn::scaled_dot{});
    mechanism.set_causal(attn::align::bottom_right);
    attn::multihead_options options;
    options.query_heads = 2;
    options.query_dim = dim;
    options.packed = true;
    attn::multihead layer(mechanism, options);
    const std::vector<double> w = check::numbers<double>(3 * dim * dim, 1), o = check::numbers<double>(dim * dim, 2);
    layer.bind_param("W_qkv", {w, {3 * dim, dim}}).bind_param("W_o", {o, {dim, dim}});

    const std::vector<double> words = check::numbers<double>(length * dim, 3);
    std::vector<double> at_once(words.size()), stepwise(words.size());
    attn::multihead_args args;
    args.query = {words, {length, dim}};
    args.output = {at_once, {length, dim}};
    layer.forward(args);
    attn::memory_options cache;
    cache.dtype = attn::dtype::f64;
    cache.key_heads = 2;
    cache.key_dim = cache.value_dim = dim / 2;
    attn::memory memory(mechanism, cache);
    args.memory = &memory;
    for (std::size_t t = 0; t < length; t++) {
        args.query = {&words[t * dim], {1, dim}};
        args.output = {&stepwise[t * dim], {1, dim}};
        layer.forward(args);
    }
    for (std::size_t i = 0; i < words.size(); i++) CHECK_NEAR(stepwise[i], at_once[i], 1e-13);
    CHECK(memory.lengths()[0] == static_cast<std::int64_t>(length));
    args.attend_only = true;
    layer.forward(args);
    CHECK(memory.lengths()[0] == static_cast<std::int64_t>(length));

    attn::multihead gone = std::move(layer);
    CHECK(layer.try_forward(args) == attn::status::argument); // NOLINT(bugprone-use-after-move)
    options.query_heads = 3;
    CHECK_THROWS(attn::multihead(mechanism, options), attn::status::shape, "query_dim");
}

void positions_are_their_formulas()
{
    double table[3][4], slopes[4];
    attn::position_sinusoidal(table, 7);
    CHECK_NEAR(table[1][0], std::sin(8.0), 1e-15);
    CHECK_NEAR(table[1][3], std::cos(8.0 / 100), 1e-15);
    attn::position_sinusoidal(table, 0, 4);
    CHECK_NEAR(table[2][2], std::sin(2.0 / 2), 1e-15);
    attn::position_alibi_slopes(slopes);
    for (int h = 0; h < 4; h++) CHECK_NEAR(slopes[h], std::pow(2, -2.0 * (h + 1)), 1e-15);
    CHECK_THROWS(attn::position_sinusoidal(table, 0, -1), attn::status::argument, "base");
    CHECK_THROWS(attn::position_alibi_slopes({}), attn::status::argument, "slopes");
}

void rope_turns_pairs_and_back()
{
    const attn::engine engine;
    double from[2][4] = {{1, 2, 3, 4}, {5, 6, 7, 8}}, to[2][4];
    attn::rope_options options;
    options.layout = attn::rope_layout::halves;
    options.first = 3;
    attn::rope(engine, from, to, options);
    CHECK_NEAR(to[1][0], 5 * std::cos(4.0) - 7 * std::sin(4.0), 1e-14);
    CHECK_NEAR(to[1][2], 7 * std::cos(4.0) + 5 * std::sin(4.0), 1e-14);
    CHECK_NEAR(to[0][1], 2 * std::cos(0.03) - 4 * std::sin(0.03), 1e-14);
    options.inverse = true;
    attn::rope(engine, to, to, options);
    for (int t = 0; t < 2; t++) {
        for (int d = 0; d < 4; d++) CHECK_NEAR(to[t][d], from[t][d], 1e-14);
    }
    const std::vector<std::int64_t> positions = {9, 1};
    options = {};
    options.positions = positions;
    options.dimensions = 2;
    options.base = 7;
    attn::rope(engine, from, to, options);
    CHECK_NEAR(to[0][0], std::cos(9.0) - 2 * std::sin(9.0), 1e-14);
    CHECK_NEAR(to[1][2], 7, 0);
    options.dimensions = 0;
    attn::rope(engine, from, to, options);
    CHECK_NEAR(to[1][2], 7 * std::cos(1 / std::sqrt(7.0)) - 8 * std::sin(1 / std::sqrt(7.0)), 1e-14);
    options.dimensions = 3;
    CHECK(attn::try_rope(engine, from, to, options) == attn::status::argument);
}

/* Keys that the memory turns are keys that were turned before. */
void a_memory_turns_its_keys()
{
    const attn::engine engine;
    const attn::mechanism mechanism(engine, attn::dot{});
    attn::memory_options options;
    options.dtype = attn::dtype::f64;
    options.key_dim = dim;
    options.value_dim = values;
    options.rope = attn::rope_options{};
    attn::memory turning(mechanism, options);
    options.rope.reset();
    attn::memory plain(mechanism, options);
    const std::vector<double> key = check::numbers<double>(length * dim, 1),
                              value = check::numbers<double>(length * values, 2);
    const std::vector<double> query = check::numbers<double>(dim, 3);
    std::vector<double> turned(key.size()), context(values), wanted(values);
    attn::rope(engine, {key, {length, dim}}, {turned, {length, dim}});
    turning.append({key, {length, dim}}, {value, {length, values}});
    plain.append({turned, {length, dim}}, {value, {length, values}});
    attn::forward_args args;
    args.query = {query, {1, dim}};
    args.memory = &turning;
    args.context = {context, {1, values}};
    attn::forward(mechanism, args);
    args.memory = &plain;
    args.context = {wanted, {1, values}};
    attn::forward(mechanism, args);
    for (std::size_t d = 0; d < values; d++) CHECK_NEAR(context[d], wanted[d], 1e-13);
}

} // namespace

int main()
{
    return check::run({{"a_memory_is_what_was_appended", a_memory_is_what_was_appended},
                       {"memories_are_cut_forked_and_reordered", memories_are_cut_forked_and_reordered},
                       {"a_layer_decodes_from_a_memory", a_layer_decodes_from_a_memory},
                       {"positions_are_their_formulas", positions_are_their_formulas},
                       {"rope_turns_pairs_and_back", rope_turns_pairs_and_back},
                       {"a_memory_turns_its_keys", a_memory_turns_its_keys}});
}
