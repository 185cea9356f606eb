/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_precision.cpp: attn::precision::fast is near what is exact, and has its bits where the engine says that this CPU
 * computes nothing otherwise, and in float. */
#include "check.hpp"

#include <algorithm>
#include <string>
#include <utility>

namespace
{

using attn::bfloat16;

constexpr std::size_t heads = 2, queries = 64, keys = 256, dim = 64;
constexpr std::size_t rows = heads * queries * dim;

/* Queries, keys and values of type T, and a context of float, which is not rounded. */
template <class T> struct scene {
    std::vector<T> query, key, value;
    std::vector<float> context = std::vector<float>(rows), scales = std::vector<float>(heads * keys, 1.0f / 127);
    attn::engine engine;
    attn::mechanism mechanism{engine, attn::scaled_dot{}};
    attn::forward_args args;

    scene() : query(drawn(rows, 1)), key(drawn(heads * keys * dim, 2)), value(drawn(heads * keys * dim, 3))
    {
        args.query = {query, {heads, queries, dim}};
        args.key = {key, {heads, keys, dim}};
        args.value = {value, {heads, keys, dim}};
        args.context = {context, {heads, queries, dim}};
    }

    static std::vector<T> drawn(std::size_t count, unsigned seed)
    {
        std::vector<T> data;
        for (const float number : check::numbers(count, seed)) data.push_back(static_cast<T>(2 * number));
        return data;
    }

    std::vector<float> run(attn::precision precision)
    {
        mechanism.set_precision(precision);
        std::fill(context.begin(), context.end(), -1.0f);
        attn::forward(mechanism, args);
        return context;
    }

    /* Whether the engine says that fast is exact. */
    bool is_exact(const char *kind) const
    {
        const std::string json = engine.describe(), fast = json.substr(json.find("\"fast\":{"));
        return fast.substr(0, fast.find('}')).find("\"" + std::string(kind) + "\":\"exact\"") != std::string::npos;
    }
};

bool same_bits(const std::vector<float> &a, const std::vector<float> &b)
{
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

/* Within 2^-7 of the greatest. */
void expect_near(const std::vector<float> &got, const std::vector<float> &want)
{
    float greatest = 0;
    for (const float number : want) greatest = std::max(greatest, std::fabs(number));
    CHECK(greatest > 0.1f);
    for (std::size_t i = 0; i < want.size(); i++) CHECK_NEAR(got[i], want[i], static_cast<double>(greatest) * 0x1p-7);
}

/* Where something is faster, it is for one query or for many. */
template <class T> void expect_as_described(scene<T> &s, const char *kind)
{
    bool same = true;
    for (const std::size_t count : {queries, std::size_t(1)}) {
        s.args.query = {s.query, {heads, count, dim}};
        s.args.context = {s.context, {heads, count, dim}};
        const std::vector<float> exact = s.run(attn::precision::exact), fast = s.run(attn::precision::fast);
        expect_near(fast, exact);
        same = same && same_bits(fast, exact);
        CHECK(same_bits(s.run(attn::precision::exact), exact)); /* and back */
    }
    CHECK(same == s.is_exact(kind));
}

void bfloat16_is_near()
{
    scene<bfloat16> s;
    expect_as_described(s, "bf16");
}

void integers_are_near()
{
    scene<float> s;
    std::vector<std::int8_t> key, value;
    for (const float number : s.key) key.push_back(static_cast<std::int8_t>(std::lrint(62 * number)));
    for (const float number : s.value) value.push_back(static_cast<std::int8_t>(std::lrint(62 * number)));
    s.args.key = {key, {heads, keys, dim}};
    s.args.value = {value, {heads, keys, dim}};
    s.args.key_scales = s.args.value_scales = {s.scales, {heads, keys}};
    expect_as_described(s, "i8");
}

void floats_have_the_same_bits()
{
    scene<float> s;
    CHECK(same_bits(s.run(attn::precision::fast), s.run(attn::precision::exact)));
}

void a_prepared_call_follows_its_mechanism()
{
    scene<bfloat16> s;
    const std::vector<float> exact = s.run(attn::precision::exact), fast = s.run(attn::precision::fast);
    attn::forward_call call(s.mechanism, s.args);
    for (const auto &[precision, want] :
         {std::pair(attn::precision::fast, &fast), {attn::precision::exact, &exact}, {attn::precision::fast, &fast}}) {
        s.mechanism.set_precision(precision);
        std::fill(s.context.begin(), s.context.end(), -1.0f);
        call.run();
        CHECK(same_bits(s.context, *want));
    }
}

/* It goes with the handle, beside the other modifiers. */
void it_is_a_modifier()
{
    const attn::engine engine;
    attn::mechanism mechanism(engine, attn::scaled_dot{});
    CHECK(&mechanism.set_precision(attn::precision::fast).set_softcap(2) == &mechanism);
    CHECK(mechanism.try_set_precision(attn::precision::exact) == attn::status::ok);
    const auto none = static_cast<attn::precision>(2);
    CHECK(mechanism.try_set_precision(none) == attn::status::argument);
    CHECK_THROWS(mechanism.set_precision(none), attn::status::argument, "precision is 2, which is none");
    scene<bfloat16> s;
    const std::vector<float> fast = s.run(attn::precision::fast);
    const attn::mechanism moved = std::move(s.mechanism);
    attn::forward(moved, s.args);
    CHECK(same_bits(s.context, fast));
    CHECK_THROWS(s.mechanism.set_precision(attn::precision::fast), attn::status::argument, "mechanism is NULL");
}

} // namespace

int main()
{
    return check::run({{"bfloat16_is_near", bfloat16_is_near},
                       {"integers_are_near", integers_are_near},
                       {"floats_have_the_same_bits", floats_have_the_same_bits},
                       {"a_prepared_call_follows_its_mechanism", a_prepared_call_follows_its_mechanism},
                       {"it_is_a_modifier", it_is_a_modifier}});
}
