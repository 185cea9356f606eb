/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_half.cpp: numbers of 16 bits: attn::float16 and attn::bfloat16 round as they should, and calls on them, and on
 * the types that the compiler has, are those in float rounded once. */
#include "check.hpp"

#include <limits>
#include <type_traits>

/* A type of another library's, which says what it is. */
struct their_half {
    std::uint16_t bits;
};
template <> inline constexpr attn::dtype attn::dtype_of<their_half> = attn::dtype::bf16;

namespace
{

using attn::bfloat16;
using attn::float16;

static_assert(attn::dtype_of<float16> == attn::dtype::f16 && attn::dtype_of<bfloat16> == attn::dtype::bf16);
static_assert(attn::dtype_of<std::uint16_t> == attn::dtype{} && attn::dtype_of<const float16> == attn::dtype{});
static_assert(sizeof(float16) == 2 && alignof(float16) == alignof(std::uint16_t));
static_assert(std::is_trivially_copyable_v<bfloat16> && std::is_standard_layout_v<bfloat16>);
static_assert(!std::is_convertible_v<float, float16> && !std::is_convertible_v<float16, float>);
static_assert(!std::is_constructible_v<attn::tensor, const std::vector<float16> &, attn::dims>);
#if defined(__FLT16_MANT_DIG__)
static_assert(attn::dtype_of<attn::detail::compilers_float16> == attn::dtype::f16);
#endif
#if defined(__STDCPP_FLOAT16_T__)
static_assert(attn::dtype_of<std::float16_t> == attn::dtype::f16);
#endif
#if defined(__STDCPP_BFLOAT16_T__)
static_assert(attn::dtype_of<std::bfloat16_t> == attn::dtype::bf16);
#endif

/* What the bits of a type say, by its fields: significant bits behind the point, and the exponent of the least normal
 * number. */
template <class Half> constexpr int fraction_bits = std::is_same_v<Half, float16> ? 10 : 7;
template <class Half> constexpr int least_exponent = std::is_same_v<Half, float16> ? -14 : -126;

template <class Half> double value_of(std::uint16_t bits)
{
    const int fraction = bits & ((1 << fraction_bits<Half>)-1), exponent = (bits & 0x7fff) >> fraction_bits<Half>;
    const int greatest = 0x7fff >> fraction_bits<Half>;
    double size = std::ldexp(fraction + (exponent > 0 ? 1 << fraction_bits<Half> : 0),
                             least_exponent<Half> - fraction_bits<Half> + (exponent > 0 ? exponent - 1 : 0));
    if (exponent == greatest) size = fraction == 0 ? HUGE_VAL : std::numeric_limits<double>::quiet_NaN();
    return (bits & 0x8000) != 0 ? -size : size;
}

/* All that there are, and between any two neighbours of them: their middle goes to the even one, what is less or more
 * to the nearer. */
template <class Half> void numbers_round_to_the_nearest()
{
    for (unsigned h = 0; h < 0x10000; h++) {
        const auto bits = static_cast<std::uint16_t>(h);
        const double value = value_of<Half>(bits);
        const Half number = Half::of_bits(bits);
        if (std::isnan(value)) {
            CHECK(std::isnan(static_cast<float>(number)));
            CHECK(std::isnan(static_cast<float>(Half(static_cast<float>(number)))));
            continue;
        }
        CHECK(static_cast<double>(number) == value);
        CHECK(Half(static_cast<float>(value)).bits() == bits);
        if (std::isinf(value)) continue;
        const auto next = static_cast<std::uint16_t>(h + 1);
        const double after = value_of<Half>(next);
        const double step =
            std::isinf(after) ? value - value_of<Half>(static_cast<std::uint16_t>(h - 1)) : after - value;
        const double middle_value = value + step / 2;
        const float middle = static_cast<float>(middle_value); /* which float holds: 8 or 11 bits and one more */
        CHECK(static_cast<double>(middle) == middle_value);
        CHECK(Half(middle).bits() == ((h & 1) != 0 ? next : bits));
        CHECK(Half(std::nextafter(middle, 0.0f)).bits() == bits);
        CHECK(Half(std::nextafter(middle, std::copysign(HUGE_VALF, middle))).bits() == next);
    }
    CHECK(std::isinf(static_cast<float>(Half(HUGE_VALF))));
    CHECK(Half(std::numeric_limits<float>::denorm_min()).bits() == 0);
}

/* The type for numbers of 16 bits in which the least unit of a number x is 2^-digits x, at most. */
template <class Half> constexpr double unit_roundoff = attn::dtype_of<Half> == attn::dtype::f16 ? 0x1p-11 : 0x1p-8;

template <class Half> struct both {
    std::vector<Half> narrow;
    std::vector<float> wide; /* the same numbers */

    both(std::size_t count, unsigned seed)
    {
        for (const float number : check::numbers(count, seed)) {
            narrow.push_back(Half(number));
            wide.push_back(static_cast<float>(narrow.back()));
        }
    }
};

template <class Half> void expect_rounded(const std::vector<Half> &got, const std::vector<float> &want)
{
    for (std::size_t i = 0; i < want.size(); i++) {
        CHECK_NEAR(got[i], want[i], static_cast<double>(std::fabs(want[i])) * unit_roundoff<Half> * 1.001 + 1e-6);
    }
}

constexpr std::size_t heads = 2, queries = 3, keys = 5, dim = 4, values = 6;

template <class Half> struct scene {
    both<Half> query{heads * queries * dim, 1}, key{heads * keys * dim, 2}, value{heads * keys * values, 3};
    both<Half> bias{queries * keys, 4}, d_context{heads * queries * values, 5};
    std::vector<float> slopes = {0.5f, 0.25f};
    std::vector<Half> context = std::vector<Half>(heads * queries * values);
    std::vector<float> wide_context = std::vector<float>(heads * queries * values);
    std::vector<float> weights = std::vector<float>(heads * queries * keys), wide_weights = weights;
    std::vector<float> logsumexp = std::vector<float>(heads * queries), wide_logsumexp = logsumexp;
    attn::engine engine;
    attn::mechanism mechanism{engine, attn::scaled_dot{}};
    attn::forward_args args, wide;

    scene()
    {
        mechanism.set_alibi(slopes, attn::align::top_left);
        fill(args, query.narrow, key.narrow, value.narrow, bias.narrow);
        fill(wide, query.wide, key.wide, value.wide, bias.wide);
        args.context = {context, {heads, queries, values}};
        args.weights = {weights, {heads, queries, keys}};
        args.logsumexp = {logsumexp, {heads, queries}};
        wide.context = {wide_context, {heads, queries, values}};
        wide.weights = {wide_weights, {heads, queries, keys}};
        wide.logsumexp = {wide_logsumexp, {heads, queries}};
    }

    template <class T>
    static void fill(attn::forward_args &to, const std::vector<T> &query, const std::vector<T> &key,
                     const std::vector<T> &value, const std::vector<T> &bias)
    {
        to.query = {query, {heads, queries, dim}};
        to.key = {key, {heads, keys, dim}};
        to.value = {value, {heads, keys, values}};
        to.bias = {bias, {queries, keys}};
    }
};

template <class Half> bool same_bits(const std::vector<Half> &a, const std::vector<Half> &b)
{
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(Half)) == 0;
}

template <class Half> void calls_are_those_in_float_rounded_once()
{
    scene<Half> s;
    attn::forward(s.mechanism, s.args);
    attn::forward(s.mechanism, s.wide);
    expect_rounded(s.context, s.wide_context);
    for (std::size_t i = 0; i < s.weights.size(); i++) CHECK_NEAR(s.weights[i], s.wide_weights[i], 1e-6);
    for (std::size_t i = 0; i < s.logsumexp.size(); i++) CHECK_NEAR(s.logsumexp[i], s.wide_logsumexp[i], 1e-6);

    const std::vector<Half> once = s.context;
    std::vector<Half> other(once.size());
    attn::forward_call call(s.mechanism, s.args);
    s.context.assign(once.size(), Half(0.0f));
    call.run();
    CHECK(same_bits(s.context, once));
    s.args.context = {other, {heads, queries, values}};
    call.run(s.args);
    CHECK(same_bits(other, once));
    std::vector<float> exact(once.size());
    s.args.context = {exact, {heads, queries, values}};
    attn::forward(s.mechanism, s.args);
    for (std::size_t i = 0; i < exact.size(); i++) CHECK_NEAR(exact[i], s.wide_context[i], 1e-6);
    std::vector<double> wider(once.size());
    s.args.context = {wider, {heads, queries, values}};
    CHECK_THROWS(attn::forward(s.mechanism, s.args), attn::status::dtype, "context");
    s.args.context = {other, {heads, queries, values}};
    s.args.weights = {other, {heads, queries, keys}};
    CHECK_THROWS(attn::forward(s.mechanism, s.args), attn::status::dtype, "weights");
}

/* Both sets of gradients are of the same context, rounded: attn_backward reads it. */
template <class Half> void gradients_are_those_in_float_rounded_once()
{
    scene<Half> s;
    attn::forward(s.mechanism, s.args);
    for (std::size_t i = 0; i < s.context.size(); i++) s.wide_context[i] = static_cast<float>(s.context[i]);
    s.wide.logsumexp = {s.logsumexp, {heads, queries}};
    std::vector<Half> d_query(s.query.narrow.size()), d_key(s.key.narrow.size()), d_value(s.value.narrow.size()),
        d_bias(s.bias.narrow.size());
    std::vector<float> wide_query(d_query.size()), wide_key(d_key.size()), wide_value(d_value.size()),
        wide_bias(d_bias.size()), d_slopes(heads), wide_slopes(heads);
    const auto fill = [](attn::backward_args &to, auto &flow, auto &query, auto &key, auto &value, auto &bias,
                         std::vector<float> &slopes) {
        to.d_context = {flow, {heads, queries, values}};
        to.d_query = {query, {heads, queries, dim}};
        to.d_key = {key, {heads, keys, dim}};
        to.d_value = {value, {heads, keys, values}};
        to.d_bias = {bias, {queries, keys}};
        to.d_alibi = slopes;
    };
    attn::backward_args narrow, wide;
    fill(narrow, s.d_context.narrow, d_query, d_key, d_value, d_bias, d_slopes);
    fill(wide, s.d_context.wide, wide_query, wide_key, wide_value, wide_bias, wide_slopes);
    attn::backward(s.mechanism, s.args, narrow);
    attn::backward(s.mechanism, s.wide, wide);
    expect_rounded(d_query, wide_query);
    expect_rounded(d_key, wide_key);
    expect_rounded(d_value, wide_value);
    expect_rounded(d_bias, wide_bias);
    for (std::size_t i = 0; i < heads; i++) CHECK_NEAR(d_slopes[i], wide_slopes[i], 1e-5);
}

void a_type_can_be_told()
{
    their_half numbers[4] = {{0x3f80}, {0}, {0}, {0x3f80}}, context[4] = {};
    const attn::engine engine;
    const attn::mechanism mechanism(engine, attn::dot{});
    attn::forward_args args;
    args.query = args.key = {numbers, {2, 2}};
    args.context = {context, {2, 2}};
    attn::forward(mechanism, args);
    const double e = std::exp(1.0);
    CHECK_NEAR(bfloat16::of_bits(context[0].bits), e / (e + 1), 0x1p-9);
}

template <class Half> void memories_are_of_any_type()
{
    scene<Half> s;
    const attn::mechanism mechanism(s.engine, attn::scaled_dot{});
    attn::memory_options options;
    options.dtype = attn::dtype_of<Half>;
    options.key_heads = heads;
    options.key_dim = dim;
    options.value_dim = values;
    attn::memory memory(mechanism, options);
    memory.append({s.key.narrow, {1, heads, keys, dim}}, {s.value.narrow, {1, heads, keys, values}});
    attn::forward_args args;
    args.query = {s.query.narrow, {heads, queries, dim}};
    args.memory = &memory;
    args.context = {s.context, {heads, queries, values}};
    attn::forward(mechanism, args);
    s.wide.bias = {};
    attn::forward(mechanism, s.wide);
    expect_rounded(s.context, s.wide_context);
}

/* Parameters in float, or in the type of the words: so too. */
template <class Half> void layers_are_of_any_type()
{
    const attn::engine engine;
    const attn::mechanism mechanism(engine, attn::scaled_dot{});
    attn::multihead_options options;
    options.query_heads = heads;
    options.query_dim = dim;
    const both<Half> words(queries * dim, 1), w(dim * dim, 2);
    std::vector<float> want(queries * dim);
    const auto run = [&](const attn::const_tensor &parameter, const attn::const_tensor &query, const attn::tensor &to) {
        attn::multihead layer(mechanism, options);
        for (const char *name : {"W_q", "W_k", "W_v", "W_o"}) layer.bind_param(name, parameter);
        attn::multihead_args args;
        args.query = query;
        args.output = to;
        layer.forward(args);
    };
    run({w.wide, {dim, dim}}, {words.wide, {queries, dim}}, {want, {queries, dim}});
    for (const attn::const_tensor &parameter : {attn::const_tensor(w.wide, {dim, dim}), {w.narrow, {dim, dim}}}) {
        std::vector<Half> got(want.size());
        run(parameter, {words.narrow, {queries, dim}}, {got, {queries, dim}});
        expect_rounded(got, want);
    }
}

} // namespace

int main()
{
    using compilers = attn::detail::compilers_float16;
    return check::run(
        {{"float16_rounds_to_the_nearest", numbers_round_to_the_nearest<float16>},
         {"bfloat16_rounds_to_the_nearest", numbers_round_to_the_nearest<bfloat16>},
         {"calls_in_float16_are_those_in_float_rounded_once", calls_are_those_in_float_rounded_once<float16>},
         {"calls_in_bfloat16_are_those_in_float_rounded_once", calls_are_those_in_float_rounded_once<bfloat16>},
         {"calls_in_the_compilers_float16_are_too", calls_are_those_in_float_rounded_once<compilers>},
         {"gradients_in_float16_are_those_in_float_rounded_once", gradients_are_those_in_float_rounded_once<float16>},
         {"gradients_in_bfloat16_are_those_in_float_rounded_once", gradients_are_those_in_float_rounded_once<bfloat16>},
         {"gradients_in_the_compilers_float16_are_too", gradients_are_those_in_float_rounded_once<compilers>},
         {"a_type_can_be_told", a_type_can_be_told},
         {"memories_are_of_float16", memories_are_of_any_type<float16>},
         {"memories_are_of_bfloat16", memories_are_of_any_type<bfloat16>},
         {"layers_are_of_float16", layers_are_of_any_type<float16>},
         {"layers_are_of_bfloat16", layers_are_of_any_type<bfloat16>}});
}
