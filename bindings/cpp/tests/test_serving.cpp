/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_serving.cpp: what a server asks for: memories that take ragged batches, sequences that join and leave, branches
 * of guesses that came true, pages by slots; and layers that turn and whose batches are ragged. */
#include "check.hpp"

#include <cmath>
#include <utility>

namespace
{

using integers = std::vector<std::int64_t>;
using reals = std::vector<double>;

constexpr std::size_t dim = 4;

attn::memory_options keys_alone(std::int64_t batch, std::int64_t page)
{
    attn::memory_options options;
    options.dtype = attn::dtype::f64;
    options.batch = batch;
    options.key_dim = dim;
    options.keys_alone = true;
    options.page = page;
    return options;
}

/* Some rows, by their indices. */
reals rows_of(const reals &from, const std::vector<std::size_t> &rows)
{
    reals some;
    for (const std::size_t row : rows) {
        for (std::size_t d = 0; d < dim; d++) some.push_back(from[row * dim + d]);
    }
    return some;
}

/* Sequence b of the memory is what is wanted of it. */
void expect_holds(const attn::mechanism &mechanism, const attn::memory &memory, const std::vector<reals> &wanted)
{
    const std::size_t batch = wanted.size();
    const reals query = check::numbers<double>(batch * dim, 9);
    reals got(batch * dim), alone(dim);
    attn::forward_args args;
    args.query = {query, {batch, 1, 1, dim}};
    args.memory = &memory;
    args.context = {got, {batch, 1, 1, dim}};
    attn::forward(mechanism, args);
    for (std::size_t b = 0; b < batch; b++) {
        const std::size_t length = wanted[b].size() / dim;
        CHECK(memory.lengths()[b] == static_cast<std::int64_t>(length));
        attn::forward_args one;
        one.query = {&query[b * dim], {1, dim}};
        one.key = {wanted[b], {length, dim}};
        one.context = {alone, {1, dim}};
        attn::forward(mechanism, one);
        for (std::size_t d = 0; d < dim; d++) CHECK_NEAR(got[b * dim + d], alone[d], 1e-13);
    }
}

void a_memory_takes_a_ragged_batch_and_sequences_join_and_leave()
{
    const attn::engine engine;
    const attn::mechanism mechanism(engine, attn::scaled_dot{});
    const reals key = check::numbers<double>(7 * dim, 1);
    for (const std::int64_t page : {0, 2}) {
        attn::memory memory(mechanism, keys_alone(3, page));
        const integers offsets = {1, 3, 3, 7}, wrong = {1, 3, 3, 8}, more = {0, 0, 1, 1}, rows = {2, -1, 0}, nobody,
                       two = {-1, -1}, bad = {-2};
        memory.append_ragged({key, {7, dim}}, {}, offsets);
        expect_holds(mechanism, memory, {rows_of(key, {1, 2}), {}, rows_of(key, {3, 4, 5, 6})});
        CHECK_THROWS(memory.append_ragged({key, {7, dim}}, {}, wrong), attn::status::argument, "offsets");
        CHECK_THROWS(memory.append_ragged({key, {7, dim}}, {}, {}), attn::status::argument, "offsets");
        memory.reorder(rows);
        memory.append_ragged({key, {7, dim}}, {}, more);
        expect_holds(mechanism, memory, {rows_of(key, {3, 4, 5, 6}), rows_of(key, {0}), rows_of(key, {1, 2})});
        memory.reorder(nobody);
        CHECK(memory.batch() == 0 && memory.lengths().empty());
        memory.reorder(two);
        CHECK(memory.lengths() == integers({0, 0}));
        CHECK_THROWS(memory.reorder(bad), attn::status::argument, "rows");
    }
}

void a_branch_of_guesses_is_kept()
{
    const attn::engine engine;
    const attn::mechanism mechanism(engine, attn::scaled_dot{});
    const reals key = check::numbers<double>(6 * dim, 2);
    for (const std::int64_t page : {0, 2}) {
        attn::memory memory(mechanism, keys_alone(1, page));
        memory.append({key, {6, dim}});
        const attn::memory other = memory.fork();
        const integers lengths = {2}, positions = {3, 5}, offsets = {0, 2}, falling = {3, 2};
        CHECK_THROWS(memory.keep(lengths, falling, offsets), attn::status::argument, "positions");
        memory.keep(lengths, positions, offsets);
        expect_holds(mechanism, memory, {rows_of(key, {0, 1, 3, 5})});
        expect_holds(mechanism, other, {key});
        attn::memory empty(nullptr);
        CHECK(empty.try_keep(lengths, positions, offsets) == attn::status::argument);
    }
}

void a_pool_tells_its_pages()
{
    const attn::engine engine;
    const attn::mechanism mechanism(engine, attn::scaled_dot{});
    attn::memory_options options = keys_alone(1, 4);
    options.capacity = 20;
    options.fixed = true;
    attn::memory memory(mechanism, options);
    const reals key = check::numbers<double>(6 * dim, 3);
    const integers none = {0};
    CHECK(memory.pages().count == 5 && memory.pages().unused == 5);
    memory.append({key, {6, dim}});
    attn::memory fork = memory.fork();
    CHECK(memory.pages().unused == 3);
    fork.append({key, {1, dim}}); /* into a copy of the second page */
    CHECK(memory.pages().unused == 2 && fork.pages().unused == 2);
    memory.truncate(none);
    fork.truncate(none);
    CHECK(fork.pages().count == 5 && fork.pages().unused == 5);
    const attn::memory rows(mechanism, keys_alone(1, 0));
    CHECK(rows.pages().count == 0 && rows.pages().unused == 0);
    const attn::memory empty(nullptr);
    CHECK(empty.try_pages().status() == attn::status::argument);
}

void rows_are_written_into_pages_by_their_slots()
{
    const attn::engine engine;
    const std::vector<float> key = check::numbers(3 * dim, 4), value = check::numbers(3 * 2, 5);
    std::vector<float> key_pages(2 * 3 * dim, 7.0f), value_pages(2 * 3 * 2, 7.0f);
    const std::vector<std::int32_t> slots = {4, -1, 0}, twice = {4, 4, 0};
    attn::pages_append_args args;
    args.slots = slots;
    args.key = {key, {3, dim}};
    args.value = {value, {3, 2}};
    args.key_pages = {key_pages, {2, 1, 3, dim}};
    args.value_pages = {value_pages, {2, 1, 3, 2}};
    attn::pages_append(engine, args);
    for (std::size_t slot = 0; slot < 6; slot++) {
        const std::size_t row = slot == 4 ? 0 : 2;
        const bool there = slot == 4 || slot == 0;
        for (std::size_t d = 0; d < dim; d++) CHECK(key_pages[slot * dim + d] == (there ? key[row * dim + d] : 7.0f));
        for (std::size_t d = 0; d < 2; d++) CHECK(value_pages[slot * 2 + d] == (there ? value[row * 2 + d] : 7.0f));
    }
    args.slots = twice;
    CHECK_THROWS(attn::pages_append(engine, args), attn::status::argument, "slots");

    std::vector<std::int8_t> integers_of(2 * 3 * dim);
    std::vector<float> scales(2 * 3);
    args.slots = slots;
    args.value = {}, args.value_pages = {};
    args.key_pages = {integers_of, {2, 1, 3, dim}};
    CHECK_THROWS(attn::pages_append(engine, args), attn::status::argument, "key_scales");
    args.key_scales = {scales, {2, 1, 3}};
    attn::pages_append(engine, args);
    for (std::size_t d = 0; d < dim; d++)
        CHECK_NEAR(static_cast<float>(integers_of[4 * dim + d]) * scales[4], key[d], 1.0 / 127);
    CHECK(scales[1] == 0.0f && integers_of[dim] == 0);
    attn::pages_append_args of_values;
    of_values.slots = slots;
    of_values.value = {key, {3, dim}};
    of_values.value_pages = args.key_pages;
    const std::vector<float> before = std::exchange(scales, std::vector<float>(6));
    of_values.value_scales = {scales, {2, 1, 3}};
    attn::pages_append(engine, of_values);
    CHECK(scales == before);
}

/* One head whose matrices are ones: what comes out is attention of the words, turned. */
struct plain_layer {
    attn::engine engine;
    attn::mechanism mechanism;
    reals one = reals(dim * dim);
    attn::rope_options rope;
    attn::multihead layer;

    explicit plain_layer(attn::align causal) : mechanism(engine, attn::scaled_dot{}), layer(nullptr)
    {
        for (std::size_t d = 0; d < dim; d++) one[d * dim + d] = 1;
        mechanism.set_causal(causal);
        rope.layout = attn::rope_layout::halves;
        rope.base = 100;
        attn::multihead_options options;
        options.query_heads = 1;
        options.query_dim = dim;
        options.rope = rope;
        layer = attn::multihead(mechanism, options);
        for (const char *name : {"W_q", "W_k", "W_v", "W_o"}) layer.bind_param(name, {one, {dim, dim}});
    }

    /* Attention of words that were turned to these positions. */
    reals wanted(const reals &words, const integers &positions) const
    {
        const std::size_t length = words.size() / dim;
        reals turned(words.size()), context(words.size());
        attn::rope_options at = rope;
        at.positions = positions;
        attn::rope(engine, at, {words, {length, dim}}, {turned, {length, dim}});
        attn::forward_args args;
        args.query = args.key = {turned, {length, dim}};
        args.value = {words, {length, dim}};
        args.context = {context, {length, dim}};
        attn::forward(mechanism, args);
        return context;
    }
};

void a_layer_turns_and_takes_a_ragged_batch()
{
    const plain_layer plain(attn::align::bottom_right);
    const reals first = check::numbers<double>(3 * dim, 6), second = check::numbers<double>(2 * dim, 7);
    reals words(dim, std::nan("")), output(6 * dim, 7.0); /* the first row is nobody's */
    words.insert(words.end(), first.begin(), first.end());
    words.insert(words.end(), second.begin(), second.end());
    const integers offsets = {1, 4, 6}, positions = {0, 5, 1, 4, 2, 9};
    attn::multihead_args args;
    args.query = {words, {6, dim}};
    args.attention.query_offsets = offsets;
    args.output = {output, {6, dim}};
    const auto expect = [&](const integers &of_first, const integers &of_second) {
        reals wanted = plain.wanted(first, of_first);
        const reals more = plain.wanted(second, of_second);
        wanted.insert(wanted.end(), more.begin(), more.end());
        for (std::size_t i = 0; i < wanted.size(); i++) CHECK_NEAR(output[dim + i], wanted[i], 1e-13);
        for (std::size_t d = 0; d < dim; d++) CHECK(output[d] == 7.0);
    };
    plain.layer.forward(args);
    expect({0, 1, 2}, {0, 1});
    args.positions = positions;
    plain.layer.forward(args);
    expect({5, 1, 4}, {2, 9});

    reals d_words(6 * dim, 7.0), d_output(6 * dim, 1.0);
    attn::multihead_backward_args gradients;
    gradients.d_output = {d_output, {6, dim}};
    gradients.d_query = {d_words, {6, dim}};
    plain.layer.backward(args, gradients);
    double moved = 0, sums[2] = {0, 0};
    const double step = 1e-5;
    for (std::size_t d = 0; d < dim; d++) moved += d_words[2 * dim + d];
    for (std::size_t way = 0; way < 2; way++) {
        reals other = words;
        for (std::size_t d = 0; d < dim; d++) other[2 * dim + d] += way == 0 ? step : -step;
        args.query = {other, {6, dim}};
        plain.layer.forward(args);
        for (std::size_t i = dim; i < 6 * dim; i++) sums[way] += output[i];
    }
    CHECK_NEAR(moved, (sums[0] - sums[1]) / (2 * step), 1e-7);
    args.attention.query_offsets = positions;
    CHECK_THROWS(plain.layer.forward(args), attn::status::argument, "query_offsets");
    args.attention.query_offsets = offsets;
    args.key_positions = positions;
    CHECK(plain.layer.try_forward(args) != attn::status::ok);
}

/* Two sequences go on over one memory, one word of the first and two of the second. */
void a_layer_serves_ragged_steps()
{
    const plain_layer plain(attn::align::bottom_right);
    const reals first = check::numbers<double>(3 * dim, 6), second = check::numbers<double>(2 * dim, 7);
    attn::memory_options options = keys_alone(2, 2);
    options.keys_alone = false;
    options.value_dim = dim;
    attn::memory memory(plain.mechanism, options);
    reals words(first.begin(), first.begin() + 2 * dim), output(3 * dim);
    attn::multihead_args args;
    args.memory = &memory;
    args.query = {words, {2, dim}};
    args.output = {output.data(), {2, dim}};
    const integers begin = {0, 2, 2}, go_on = {0, 1, 3};
    args.attention.query_offsets = begin;
    plain.layer.forward(args);
    words.assign(first.begin() + 2 * dim, first.end());
    words.insert(words.end(), second.begin(), second.end());
    args.query = {words, {3, dim}};
    args.output = {output, {3, dim}};
    args.attention.query_offsets = go_on;
    plain.layer.forward(args);
    CHECK(memory.lengths() == integers({3, 2}));
    const reals of_first = plain.wanted(first, {0, 1, 2}), of_second = plain.wanted(second, {0, 1});
    for (std::size_t d = 0; d < dim; d++) CHECK_NEAR(output[d], of_first[2 * dim + d], 1e-13);
    for (std::size_t i = 0; i < 2 * dim; i++) CHECK_NEAR(output[dim + i], of_second[i], 1e-13);
}

void a_layer_that_cannot_turn_is_refused()
{
    const attn::engine engine;
    const attn::mechanism mechanism(engine, attn::scaled_dot{});
    attn::multihead_options options;
    options.query_heads = 1;
    options.query_dim = dim;
    options.rope = attn::rope_options{};
    CHECK_THROWS(attn::multihead(mechanism, options), attn::status::argument, "layout");
}

} // namespace

int main()
{
    return check::run({{"a_memory_takes_a_ragged_batch_and_sequences_join_and_leave",
                        a_memory_takes_a_ragged_batch_and_sequences_join_and_leave},
                       {"a_branch_of_guesses_is_kept", a_branch_of_guesses_is_kept},
                       {"a_pool_tells_its_pages", a_pool_tells_its_pages},
                       {"rows_are_written_into_pages_by_their_slots", rows_are_written_into_pages_by_their_slots},
                       {"a_layer_turns_and_takes_a_ragged_batch", a_layer_turns_and_takes_a_ragged_batch},
                       {"a_layer_serves_ragged_steps", a_layer_serves_ragged_steps},
                       {"a_layer_that_cannot_turn_is_refused", a_layer_that_cannot_turn_is_refused}});
}
