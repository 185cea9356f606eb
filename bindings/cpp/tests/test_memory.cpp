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

/* A prefix is kept once, and forks go on by themselves, in a pool that has no page for a second one. */
void a_memory_in_pages_shares_them()
{
    const attn::engine engine;
    const attn::mechanism mechanism(engine, attn::scaled_dot{});
    attn::memory_options options;
    options.dtype = attn::dtype::f64;
    options.key_dim = dim;
    options.keys_alone = options.fixed = true;
    options.capacity = 8;
    options.page = 2;
    attn::memory memory(mechanism, options);
    const std::vector<double> key = check::numbers<double>(length * dim, 1), more = check::numbers<double>(3 * dim, 2);
    const std::vector<double> query = check::numbers<double>(2 * dim, 3);
    memory.append({key, {length, dim}});
    const std::vector<std::int64_t> both = {0, 0}, one = {1, 0};
    memory.reorder(both); /* 3 pages of 4: the last one has a copy when one of the two goes on */
    memory.append({more, {2, 1, 1, dim}}, {}, one);
    attn::memory fork = memory.fork();
    CHECK_THROWS(fork.append({more, {2, 1, 1, dim}}), attn::status::buffer, "pages are needed");
    CHECK(memory.lengths() == std::vector<std::int64_t>({6, 5}) && fork.lengths() == memory.lengths());

    std::vector<double> all = key, context(2 * dim), wanted(2 * dim);
    all.insert(all.end(), more.begin(), more.begin() + dim);
    attn::forward_args args;
    args.query = {query, {2, 1, 1, dim}};
    args.memory = &fork;
    args.context = {context, {2, 1, 1, dim}};
    const std::vector<std::int64_t> none = {0, 0}, lengths = {6, 5};
    memory.truncate(none);
    attn::forward(mechanism, args);
    args.memory = nullptr;
    args.key = {all, {2, 1, 6, dim}, {0, 0, dim, 1}};
    args.key_lengths = lengths;
    args.context = {wanted, {2, 1, 1, dim}};
    attn::forward(mechanism, args);
    for (std::size_t i = 0; i < context.size(); i++) CHECK_NEAR(context[i], wanted[i], 1e-13);
    options.page = -1;
    CHECK_THROWS(attn::memory(mechanism, options), attn::status::argument, "page is -1");
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

/* It would be taken for one that was left out: the call would attend to something else. */
void a_memory_that_was_moved_from_is_not_one_that_was_left_out()
{
    const attn::engine engine;
    const attn::mechanism mechanism(engine, attn::dot{});
    attn::memory_options options;
    options.key_heads = 2;
    options.key_dim = options.value_dim = dim / 2;
    attn::memory memory(mechanism, options);
    attn::multihead_options heads;
    heads.query_heads = 2;
    heads.query_dim = dim;
    attn::multihead layer(mechanism, heads);
    const std::vector<float> x = check::numbers(2 * dim, 1), w = check::numbers(dim * dim, 2);
    std::vector<float> out(2 * dim, 9), lse(2), before = out;
    for (const char *name : {"W_q", "W_k", "W_v", "W_o"}) layer.bind_param(name, {w, {dim, dim}});
    attn::forward_args args;
    args.query = args.key = {x, {2, dim}};
    args.context = {out, {2, dim}};
    args.memory = &memory;
    attn::multihead_args of_layer;
    of_layer.query = {x, {2, dim}};
    of_layer.output = {out, {2, dim}};
    of_layer.memory = &memory;

    const attn::memory moved = std::move(memory);
    attn::forward_call call(mechanism, args);
    attn::backward_args gradients;
    gradients.d_context = {x, {2, dim}};
    gradients.d_query = {out, {2, dim}};
    attn::multihead_backward_args back;
    back.d_output = {x, {2, dim}};
    back.d_query = {out, {2, dim}};
    CHECK(attn::try_forward(mechanism, args) == attn::status::argument);
    CHECK(std::strstr(attn::last_error(), "memory is NULL") != nullptr);
    CHECK(call.try_run() == attn::status::argument);
    CHECK(std::strstr(attn::last_error(), "memory is NULL") != nullptr);
    attn::forward_args plain = args;
    std::vector<float> elsewhere(2 * dim);
    plain.memory = nullptr;
    plain.context = {elsewhere, {2, dim}};
    attn::forward_call without(mechanism, plain);
    without.run();
    plain.memory = &memory;
    CHECK(without.try_run(plain) == attn::status::argument);
    args.memory = &moved;
    CHECK(call.try_run(args) == attn::status::argument); /* it was made ready with the other one */
    args.memory = &memory;
    CHECK(attn::try_forward_workspace(mechanism, args).status() == attn::status::argument);
    args.logsumexp = lse;
    CHECK(attn::try_backward(mechanism, args, gradients) == attn::status::argument);
    CHECK(attn::try_backward_workspace(mechanism, args, gradients).status() == attn::status::argument);
    CHECK(layer.try_forward(of_layer) == attn::status::argument);
    CHECK(layer.try_workspace(of_layer).status() == attn::status::argument);
    CHECK(layer.try_saved(of_layer).status() == attn::status::argument);
    CHECK(layer.try_backward(of_layer, back) == attn::status::argument);
    CHECK(layer.try_backward_workspace(of_layer, back).status() == attn::status::argument);
    CHECK(out == before && moved.lengths() == std::vector<std::int64_t>({0}));
}

void a_call_made_ready_follows_a_memory_that_grows()
{
    const attn::engine engine;
    const attn::mechanism mechanism(engine, attn::scaled_dot{});
    attn::memory_options options;
    options.dtype = attn::dtype::f64;
    options.key_dim = dim;
    options.keys_alone = true;
    attn::memory memory(mechanism, options);
    const std::vector<double> x = check::numbers<double>(length * dim, 1);
    std::vector<double> out(dim), want(dim, 1);
    attn::forward_args args;
    args.query = {x, {1, dim}};
    args.memory = &memory;
    args.context = {out, {1, dim}};
    attn::forward_call call(mechanism, args);
    attn::memory moved = std::move(memory); /* the call has what it moved */
    args.memory = &moved;
    const auto runs_as_forward = [&] {
        call.run();
        args.context = {want, {1, dim}};
        attn::forward(mechanism, args);
        args.context = {out, {1, dim}};
        return out == want;
    };
    CHECK(runs_as_forward());
    for (int i = 0; i < 7; i++) {
        moved.append({x, {length, dim}});
        CHECK(runs_as_forward());
    }
    const std::vector<std::int64_t> two = {2};
    attn::memory fork = moved.fork();
    fork.truncate(two);
    args.memory = &fork;
    call.run(args);
    CHECK(out != want);
    CHECK(runs_as_forward());

    const attn::memory taken = std::move(fork);
    CHECK_THROWS(call.run(args), attn::status::argument, "memory is NULL");
    CHECK(out == want && taken.lengths() == two);
}

/* What was made of a mechanism goes on without it. */
void memories_and_layers_keep_their_mechanism()
{
    const std::vector<double> x = check::numbers<double>(dim, 1), w = check::numbers<double>(dim * dim, 2);
    std::vector<double> out(dim);
    attn::memory memory(nullptr);
    attn::multihead layer(nullptr);
    {
        const attn::engine engine;
        const attn::mechanism mechanism(engine, attn::dot{});
        attn::memory_options options;
        options.dtype = attn::dtype::f64;
        options.key_dim = dim;
        options.keys_alone = true;
        memory = attn::memory(mechanism, options);
        attn::multihead_options heads;
        heads.query_heads = 1;
        heads.query_dim = dim;
        layer = attn::multihead(mechanism, heads);
    }
    memory.append({x, {1, dim}});
    CHECK(memory.fork().lengths() == std::vector<std::int64_t>({1}));
    for (const char *name : {"W_q", "W_k", "W_v", "W_o"}) layer.bind_param(name, {w, {dim, dim}});
    attn::multihead_args args;
    args.query = {x, {1, dim}};
    args.output = {out, {1, dim}};
    layer.forward(args);
    CHECK(out != std::vector<double>(dim));
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
    CHECK_THROWS(attn::rope(engine, options, from, to), attn::status::argument, "layout is not set");
    options.layout = attn::rope_layout::halves;
    options.first = 3;
    attn::rope(engine, options, from, to);
    CHECK_NEAR(to[1][0], 5 * std::cos(4.0) - 7 * std::sin(4.0), 1e-14);
    CHECK_NEAR(to[1][2], 7 * std::cos(4.0) + 5 * std::sin(4.0), 1e-14);
    CHECK_NEAR(to[0][1], 2 * std::cos(0.03) - 4 * std::sin(0.03), 1e-14);
    options.inverse = true;
    attn::rope(engine, options, to, to);
    for (int t = 0; t < 2; t++) {
        for (int d = 0; d < 4; d++) CHECK_NEAR(to[t][d], from[t][d], 1e-14);
    }
    const std::vector<std::int64_t> positions = {9, 1};
    options = {};
    options.layout = attn::rope_layout::interleaved;
    options.positions = positions;
    options.dimensions = 2;
    options.base = 7;
    attn::rope(engine, options, from, to);
    CHECK_NEAR(to[0][0], std::cos(9.0) - 2 * std::sin(9.0), 1e-14);
    CHECK_NEAR(to[1][2], 7, 0);
    options.dimensions = 0;
    attn::rope(engine, options, from, to);
    CHECK_NEAR(to[1][2], 7 * std::cos(1 / std::sqrt(7.0)) - 8 * std::sin(1 / std::sqrt(7.0)), 1e-14);
    options.dimensions = 3;
    CHECK(attn::try_rope(engine, options, from, to) == attn::status::argument);
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
    attn::rope_options turns;
    options.rope = turns;
    CHECK_THROWS(attn::memory(mechanism, options), attn::status::argument, "layout is not set");
    turns.layout = attn::rope_layout::interleaved;
    options.rope = turns;
    attn::memory turning(mechanism, options);
    options.rope.reset();
    attn::memory plain(mechanism, options);
    const std::vector<double> key = check::numbers<double>(length * dim, 1),
                              value = check::numbers<double>(length * values, 2);
    const std::vector<double> query = check::numbers<double>(dim, 3);
    std::vector<double> turned(key.size()), context(values), wanted(values);
    attn::rope(engine, turns, {key, {length, dim}}, {turned, {length, dim}});
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
                       {"a_memory_in_pages_shares_them", a_memory_in_pages_shares_them},
                       {"a_layer_decodes_from_a_memory", a_layer_decodes_from_a_memory},
                       {"a_memory_that_was_moved_from_is_not_one_that_was_left_out",
                        a_memory_that_was_moved_from_is_not_one_that_was_left_out},
                       {"a_call_made_ready_follows_a_memory_that_grows", a_call_made_ready_follows_a_memory_that_grows},
                       {"memories_and_layers_keep_their_mechanism", memories_and_layers_keep_their_mechanism},
                       {"positions_are_their_formulas", positions_are_their_formulas},
                       {"rope_turns_pairs_and_back", rope_turns_pairs_and_back},
                       {"a_memory_turns_its_keys", a_memory_turns_its_keys}});
}
