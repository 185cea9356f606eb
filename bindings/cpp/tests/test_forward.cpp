/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_forward.cpp: every score and modifier through attn::forward, in float64, against formulas written here. */
#include "check.hpp"

#include <algorithm>
#include <cstring>
#include <functional>
#include <limits>

namespace
{

constexpr int queries = 3, keys = 5, dim = 4, values = 2, hidden = 3;
constexpr double infinite = std::numeric_limits<double>::infinity();

using score_of = std::function<double(int, int)>;

/* Inputs and outputs of one small problem. */
struct problem {
    std::vector<double> query = check::numbers<double>(queries * dim, 1);
    std::vector<double> key = check::numbers<double>(keys * dim, 2);
    std::vector<double> value = check::numbers<double>(keys * values, 3);
    double context[queries][values] = {}, weights[queries][keys] = {}, logsumexp[queries] = {};
    attn::forward_args args;

    problem()
    {
        args.query = {query, {queries, dim}};
        args.key = {key, {keys, dim}};
        args.value = {value, {keys, values}};
        args.context = context;
        args.weights = weights;
        args.logsumexp = logsumexp;
    }

    double q(int i, int d) const
    {
        return query[static_cast<std::size_t>(i * dim + d)];
    }

    double k(int j, int d) const
    {
        return key[static_cast<std::size_t>(j * dim + d)];
    }

    double product(int i, int j) const
    {
        double sum = 0;
        for (int d = 0; d < dim; d++) sum += q(i, d) * k(j, d);
        return sum;
    }

    /* Runs, and compares with the softmax of these scores; those of minus infinity are not seen. */
    void expect(const attn::mechanism &mechanism, const score_of &score, double tau = 1)
    {
        attn::forward(mechanism, args);
        for (int i = 0; i < queries; i++) {
            double sum = 0, context_of[values] = {};
            for (int j = 0; j < keys; j++) sum += std::exp(score(i, j) / tau);
            for (int j = 0; j < keys; j++) {
                const double weight = sum > 0 ? std::exp(score(i, j) / tau) / sum : 0;
                CHECK_NEAR(weights[i][j], weight, 1e-12);
                for (int d = 0; d < values; d++) {
                    context_of[d] += weight * value[static_cast<std::size_t>(j * values + d)];
                }
            }
            for (int d = 0; d < values; d++) CHECK_NEAR(context[i][d], context_of[d], 1e-12);
            if (sum > 0) CHECK_NEAR(logsumexp[i], std::log(sum), 1e-12);
        }
    }
};

const attn::engine &engine()
{
    static const attn::engine one;
    return one;
}

void dot_is_the_product()
{
    problem p;
    p.expect(attn::mechanism(engine(), attn::dot{}), [&](int i, int j) { return p.product(i, j); });
}

void scaled_dot_is_divided_by_the_root_of_the_dimension()
{
    problem p;
    p.expect(attn::mechanism(engine(), attn::scaled_dot{}), [&](int i, int j) { return p.product(i, j) / 2; });
}

void general_has_a_matrix_between()
{
    problem p;
    const std::vector<double> w = check::numbers<double>(dim * dim, 4);
    attn::mechanism mechanism(engine(), attn::general{dim, dim});
    CHECK(std::strcmp(mechanism.name(), "general") == 0 && mechanism.param_total() == dim * dim);
    mechanism.bind_param("W", {w, {dim, dim}});
    p.expect(mechanism, [&](int i, int j) {
        double sum = 0;
        for (int a = 0; a < dim; a++) {
            for (int b = 0; b < dim; b++) sum += p.q(i, a) * w[static_cast<std::size_t>(a * dim + b)] * p.k(j, b);
        }
        return sum;
    });
}

/* Parameters of additive and concat, W and U side by side, and their score. */
struct tanh_params {
    std::vector<double> w = check::numbers<double>(hidden * 2 * dim, 5), v = check::numbers<double>(hidden, 6);
    std::vector<double> b = check::numbers<double>(hidden, 7), g = {1.5};

    double score(const problem &p, int i, int j, bool bias, bool normalised) const
    {
        double sum = 0, square = 0;
        for (int a = 0; a < hidden; a++) {
            const auto at = static_cast<std::size_t>(a);
            double inside = bias ? b[at] : 0;
            for (int d = 0; d < dim; d++) {
                const auto column = static_cast<std::size_t>(a * 2 * dim + d);
                inside += w[column] * p.q(i, d) + w[column + dim] * p.k(j, d);
            }
            sum += v[at] * std::tanh(inside);
            square += v[at] * v[at];
        }
        return normalised ? sum * g[0] / std::sqrt(square) : sum;
    }
};

void concat_is_a_tanh_of_both()
{
    problem p;
    const tanh_params params;
    attn::mechanism mechanism(engine(), attn::concat{dim, dim, hidden});
    mechanism.bind_param("W", {params.w, {hidden, 2 * dim}}).bind_param("v", params.v);
    p.expect(mechanism, [&](int i, int j) { return params.score(p, i, j, false, false); });
}

void additive_has_flags()
{
    for (const bool bias : {false, true}) {
        for (const bool normalised : {false, true}) {
            problem p;
            const tanh_params params;
            attn::additive score{dim, dim, hidden};
            score.bias = bias;
            score.normalised = normalised;
            attn::mechanism mechanism(engine(), score);
            CHECK(mechanism.param_count() == 3 + bias + normalised);
            /* W and U as strided halves of one matrix */
            mechanism.bind_param("W", {params.w, {hidden, dim}, {2 * dim, 1}});
            mechanism.bind_param("U", {&params.w[dim], {hidden, dim}, {2 * dim, 1}});
            mechanism.bind_param("v", params.v);
            if (bias) mechanism.bind_param("b", params.b);
            if (normalised) mechanism.bind_param("g", params.g);
            p.expect(mechanism, [&](int i, int j) { return params.score(p, i, j, bias, normalised); });
        }
    }
}

void additive_takes_projected_inputs()
{
    problem p;
    const std::vector<double> v = check::numbers<double>(dim, 6);
    attn::additive score{dim, dim, dim};
    score.query_projected = score.key_projected = true;
    attn::mechanism mechanism(engine(), score);
    CHECK(mechanism.param_count() == 1);
    const attn::param_info info = mechanism.param_info(0);
    CHECK(std::strcmp(info.name, "v") == 0 && info.shape.count() == 1 && info.shape[0] == dim && !info.bound);
    mechanism.bind_param("v", v);
    CHECK(mechanism.param_info(0).bound && mechanism.param_info(0).elements == dim);
    p.expect(mechanism, [&](int i, int j) {
        double sum = 0;
        for (int d = 0; d < dim; d++) sum += v[static_cast<std::size_t>(d)] * std::tanh(p.q(i, d) + p.k(j, d));
        return sum;
    });
    mechanism.bind_param("v", {});
    CHECK(!mechanism.param_info(0).bound);
}

void location_reads_no_key()
{
    problem p;
    const std::vector<double> w = check::numbers<double>(keys * dim, 8);
    attn::mechanism mechanism(engine(), attn::location{dim, keys});
    mechanism.bind_param("W", {w, {keys, dim}});
    p.args.key = {};
    p.expect(mechanism, [&](int i, int j) {
        double sum = 0;
        for (int d = 0; d < dim; d++) sum += w[static_cast<std::size_t>(j * dim + d)] * p.q(i, d);
        return sum;
    });
}

void scale_softcap_and_temperature_shape_the_score()
{
    problem p;
    attn::mechanism mechanism(engine(), attn::dot{});
    mechanism.set_scale(3).set_softcap(2).set_temperature(0.5);
    p.expect(
        mechanism, [&](int i, int j) { return 2 * std::tanh(3 * p.product(i, j) / 2); }, 0.5);
}

void hardmax_takes_the_highest()
{
    problem p;
    attn::mechanism mechanism(engine(), attn::dot{});
    mechanism.set_normaliser(attn::normaliser::hardmax);
    p.args.logsumexp = {};
    attn::forward(mechanism, p.args);
    for (int i = 0; i < queries; i++) {
        int best = 0;
        for (int j = 1; j < keys; j++) best = p.product(i, j) > p.product(i, best) ? j : best;
        for (int j = 0; j < keys; j++) CHECK_NEAR(p.weights[i][j], j == best ? 1 : 0, 0);
    }
}

void causal_and_window_hide_by_position()
{
    problem p;
    attn::mechanism mechanism(engine(), attn::dot{});
    mechanism.set_causal(attn::align::bottom_right);
    p.expect(mechanism, [&](int i, int j) { return j <= keys - queries + i ? p.product(i, j) : -infinite; });
    mechanism.set_causal(attn::align::top_left);
    p.args.query_start = 1;
    p.expect(mechanism, [&](int i, int j) { return j <= 1 + i ? p.product(i, j) : -infinite; });
    mechanism.set_causal(attn::align::none).set_window(1, 0, attn::align::top_left);
    p.expect(mechanism, [&](int i, int j) { return j == 1 + i || j == i ? p.product(i, j) : -infinite; });
}

void biases_are_added()
{
    problem p;
    const std::vector<double> bias = check::numbers<double>(keys, 9), table = check::numbers<double>(5, 10);
    const std::vector<double> slopes = {0.25};
    attn::mechanism mechanism(engine(), attn::dot{});
    mechanism.set_alibi(slopes, attn::align::top_left);
    mechanism.set_relative_bias({table, {1, 5}}, attn::relative::clipped, 2, attn::align::top_left);
    p.args.bias = bias; /* broadcast to all queries */
    p.expect(mechanism, [&](int i, int j) {
        return p.product(i, j) + bias[static_cast<std::size_t>(j)] - 0.25 * std::abs(i - j) +
               table[static_cast<std::size_t>(2 + std::clamp(j - i, -2, 2))];
    });
}

/* As one key more would have it, whose score is the sink of its head, and whose value is 0. */
void sinks_are_a_key_more()
{
    constexpr std::size_t heads = 2, more = keys + 1;
    std::vector<double> sinks = {0.75, -0.5};
    const double scale = 0.5, tau = 0.7;
    const auto query = check::numbers<double>(heads * queries * dim, 4);
    std::vector<double> key = check::numbers<double>(keys * dim, 5), value = check::numbers<double>(keys * values, 6);
    double context[heads][queries][values], weights[heads][queries][keys], logsumexp[heads][queries];
    attn::forward_args args;
    args.query = {query, {1, heads, queries, dim}};
    args.key = {key, {1, 1, keys, dim}};
    args.value = {value, {1, 1, keys, values}};
    args.context = {&context[0][0][0], {1, heads, queries, values}};
    args.weights = {&weights[0][0][0], {1, heads, queries, keys}};
    args.logsumexp = {&logsumexp[0][0], {1, heads, queries}};
    attn::mechanism mechanism(engine(), attn::dot{});
    mechanism.set_scale(scale).set_temperature(tau).set_sinks(sinks);
    attn::forward(mechanism, args);

    double bias[heads][1][more] = {}, want[heads][queries][values], want_weights[heads][queries][more];
    double want_logsumexp[heads][queries];
    for (std::size_t h = 0; h < heads; h++) bias[h][0][keys] = sinks[h];
    key.resize(more * dim, 0.0);
    value.resize(more * values, 0.0);
    attn::forward_args other = args;
    other.key = {key, {1, 1, more, dim}};
    other.value = {value, {1, 1, more, values}};
    other.bias = {&bias[0][0][0], {heads, 1, more}};
    other.context = {&want[0][0][0], {1, heads, queries, values}};
    other.weights = {&want_weights[0][0][0], {1, heads, queries, more}};
    other.logsumexp = {&want_logsumexp[0][0], {1, heads, queries}};
    attn::mechanism without(engine(), attn::dot{});
    without.set_scale(scale).set_temperature(tau);
    attn::forward(without, other);
    for (std::size_t h = 0; h < heads; h++) {
        for (std::size_t i = 0; i < queries; i++) {
            for (std::size_t d = 0; d < values; d++) CHECK_NEAR(context[h][i][d], want[h][i][d], 1e-13);
            for (std::size_t j = 0; j < keys; j++) CHECK_NEAR(weights[h][i][j], want_weights[h][i][j], 1e-13);
            CHECK_NEAR(logsumexp[h][i], want_logsumexp[h][i], 1e-13);
        }
    }

    std::vector<double> three(3);
    mechanism.set_sinks(three);
    CHECK_THROWS(attn::forward(mechanism, args), attn::status::shape, "sinks");
    CHECK(mechanism.try_set_sinks({three, {1, 3}}) == attn::status::shape);
    mechanism.set_sinks(sinks).set_normaliser(attn::normaliser::hardmax);
    args.logsumexp = {};
    CHECK_THROWS(attn::forward(mechanism, args), attn::status::unsupported, "sinks");
    mechanism.set_sinks({});
    attn::forward(mechanism, args);
}

void masks_and_lengths_hide()
{
    problem p;
    attn::mechanism mechanism(engine(), attn::dot{});
    const bool mask[queries][keys] = {{true, false, true}, {false, true, true, true, true}, {}};
    const std::vector<std::int32_t> lengths = {4};
    p.args.mask = mask;
    p.args.key_lengths = lengths;
    p.expect(mechanism, [&](int i, int j) { return mask[i][j] && j < 4 ? p.product(i, j) : -infinite; });
    CHECK(p.logsumexp[2] == -infinite); /* a query that sees nothing */
    std::vector<unsigned char> bytes(queries * keys);
    for (std::size_t e = 0; e < bytes.size(); e++) bytes[e] = mask[e / keys][e % keys];
    p.args.mask = {bytes, {queries, keys}};
    p.expect(mechanism, [&](int i, int j) { return mask[i][j] && j < 4 ? p.product(i, j) : -infinite; });
}

void local_attention_looks_around_its_position()
{
    problem p;
    attn::mechanism mechanism(engine(), attn::dot{});
    mechanism.set_local(attn::local::monotonic, 1);
    p.expect(mechanism, [&](int i, int j) { return std::abs(i - j) <= 1 ? p.product(i, j) : -infinite; });
    mechanism.set_local(attn::local::predictive, 2, dim, hidden);
    CHECK(mechanism.param_count() == 2);
    CHECK(std::strcmp(mechanism.param_info(0).name, "W_p") == 0 && mechanism.param_info(0).shape[0] == hidden);
}

void scores_are_those_of_the_stage()
{
    problem p;
    double scores[queries][keys];
    attn::mechanism mechanism(engine(), attn::dot{});
    mechanism.set_softcap(0.5).set_causal(attn::align::top_left);
    p.args.scores = scores;
    const auto expect = [&](attn::scores_stage stage, const score_of &score) {
        p.args.stage = stage;
        attn::forward(mechanism, p.args);
        for (int i = 0; i < queries; i++) {
            for (int j = 0; j < keys; j++) {
                if (std::isinf(score(i, j))) {
                    CHECK(scores[i][j] == score(i, j));
                } else {
                    CHECK_NEAR(scores[i][j], score(i, j), 1e-12);
                }
            }
        }
    };
    const auto capped = [&](int i, int j) { return 0.5 * std::tanh(p.product(i, j) / 0.5); };
    expect(attn::scores_stage::raw, [&](int i, int j) { return p.product(i, j); });
    expect(attn::scores_stage::capped, capped);
    expect(attn::scores_stage::masked, [&](int i, int j) { return j <= i ? capped(i, j) : -infinite; });
    expect(attn::scores_stage::weights, [&](int i, int j) { return p.weights[i][j]; });
}

void dropout_drops_the_same_weights_for_the_same_seed()
{
    problem p;
    double kept[queries][keys], again[queries][keys];
    const attn::mechanism mechanism(engine(), attn::dot{});
    attn::forward(mechanism, p.args);
    std::memcpy(kept, p.weights, sizeof kept);
    p.args.dropout = 0.5;
    p.args.dropout_seed = 7;
    attn::forward(mechanism, p.args);
    std::memcpy(again, p.weights, sizeof again);
    int dropped = 0;
    for (int i = 0; i < queries; i++) {
        for (int j = 0; j < keys; j++) {
            if (again[i][j] == 0) {
                dropped++;
            } else {
                CHECK_NEAR(again[i][j], kept[i][j] / 0.5, 1e-12);
            }
        }
    }
    CHECK(dropped > 0 && dropped < queries * keys);
    attn::forward(mechanism, p.args);
    CHECK(std::memcmp(again, p.weights, sizeof again) == 0);
    p.args.dropout_offset = 1000;
    attn::forward(mechanism, p.args);
    CHECK(std::memcmp(again, p.weights, sizeof again) != 0);
    p.args.dropout_offset = 0;
    p.args.dropout_seed = 8;
    attn::forward(mechanism, p.args);
    CHECK(std::memcmp(again, p.weights, sizeof again) != 0);
}

void a_workspace_is_used()
{
    const std::vector<float> in = check::numbers(4 * 96 * 64, 1);
    std::vector<float> out(in.size()), other(in.size());
    const attn::mechanism mechanism(engine(), attn::scaled_dot{});
    attn::forward_args args;
    args.query = args.key = {in, {1, 4, 96, 64}};
    args.context = {out, {1, 4, 96, 64}};
    attn::forward(mechanism, args);
    std::vector<std::byte> workspace(attn::forward_workspace(mechanism, args));
    CHECK(!workspace.empty());
    args.context = {other, {1, 4, 96, 64}};
    args.workspace = workspace;
    attn::forward(mechanism, args);
    CHECK(out == other);
    args.workspace = {workspace.data(), workspace.size() - 1};
    CHECK_THROWS(attn::forward(mechanism, args), attn::status::buffer, "workspace");
}

/* As the weights that come with them have them. */
void stats_are_of_the_weights()
{
    problem p;
    attn::mechanism mechanism(engine(), attn::scaled_dot{});
    mechanism.set_causal(attn::align::top_left);
    double entropy[queries] = {}, key_sums[keys] = {}, again[keys] = {};
    std::int64_t strongest[queries] = {};
    p.args.stats.entropy = entropy;
    p.args.stats.strongest = strongest;
    p.args.stats.key_sums = key_sums;
    attn::forward(mechanism, p.args);
    for (int i = 0; i < queries; i++) {
        double want = 0;
        for (int j = 0; j <= i; j++) want -= p.weights[i][j] * std::log(p.weights[i][j]);
        CHECK_NEAR(entropy[i], want, 1e-12);
        CHECK(strongest[i] == std::max_element(p.weights[i], p.weights[i] + keys) - p.weights[i]);
    }
    for (int j = 0; j < keys; j++) {
        CHECK_NEAR(key_sums[j], p.weights[0][j] + p.weights[1][j] + p.weights[2][j], 1e-12);
    }

    attn::forward_args alone;
    alone.query = p.args.query;
    alone.key = p.args.key;
    alone.stats.key_sums = again;
    attn::forward_call call(mechanism, alone);
    call.run();
    for (int j = 0; j < keys; j++) CHECK_NEAR(again[j], key_sums[j], 1e-12);
    CHECK(attn::forward_workspace(mechanism, alone) == attn::forward_workspace(mechanism, alone));

    alone.stats.key_sums = {again, {keys - 1}};
    CHECK(attn::try_forward(mechanism, alone) == attn::status::shape);

    /* And of the heads of a layer. */
    double identity[dim][dim] = {}, output[queries][dim] = {};
    for (int i = 0; i < dim; i++) identity[i][i] = 1;
    attn::multihead_options options;
    options.query_heads = 1;
    options.query_dim = dim;
    attn::multihead layer(mechanism, options);
    for (const char *name : {"W_q", "W_k", "W_v", "W_o"}) layer.bind_param(name, identity);
    attn::multihead_args heads;
    heads.query = p.args.query;
    heads.key = p.args.key;
    heads.output = output;
    heads.attention.stats.key_sums = again;
    layer.forward(heads);
    for (int j = 0; j < keys; j++) CHECK_NEAR(again[j], key_sums[j], 1e-12);
}

bool same(const problem &a, const problem &b)
{
    return std::memcmp(a.context, b.context, sizeof a.context) == 0 &&
           std::memcmp(a.weights, b.weights, sizeof a.weights) == 0 &&
           std::memcmp(a.logsumexp, b.logsumexp, sizeof a.logsumexp) == 0;
}

/* Whatever changes between its runs. */
void a_call_made_ready_is_forward_each_time()
{
    problem p, want;
    std::vector<double> w = check::numbers<double>(dim * dim, 4);
    std::int32_t lengths[1] = {4};
    attn::mechanism mechanism(engine(), attn::general{dim, dim});
    p.args.key_lengths = want.args.key_lengths = lengths;
    attn::forward_call call(mechanism, p.args);
    for (int i = 0; i < 2; i++) {
        CHECK_THROWS(call.run(), attn::status::parameter, "parameter W of general is not bound");
    }
    CHECK(same(p, problem()));
    const auto runs_as_forward = [&] {
        call.run();
        attn::forward(mechanism, want.args);
        return same(p, want);
    };
    mechanism.bind_param("W", {w, {dim, dim}});
    CHECK(runs_as_forward());
    const double before = p.context[0][0];
    p.query[0] = want.query[0] = 0.75;
    CHECK(runs_as_forward() && p.context[0][0] != before);
    w[0] = -0.75;
    CHECK(runs_as_forward());
    lengths[0] = 2;
    CHECK(runs_as_forward() && p.weights[0][2] == 0);
    lengths[0] = keys + 1;
    CHECK(call.try_run() == attn::status::argument && same(p, want));
    lengths[0] = keys;
    mechanism.set_scale(0.5).set_causal(attn::align::bottom_right);
    CHECK(runs_as_forward() && p.weights[0][keys - 1] == 0);
    const std::vector<double> other = check::numbers<double>(dim * dim, 5);
    mechanism.bind_param("W", {other, {dim, dim}});
    CHECK(runs_as_forward());
}

void a_call_made_ready_runs_at_other_addresses()
{
    problem p, other, want;
    attn::mechanism mechanism(engine(), attn::scaled_dot{});
    mechanism.set_causal(attn::align::top_left);
    for (std::size_t i = 0; i < p.query.size(); i++) other.query[i] = want.query[i] = -p.query[i];
    attn::forward_call call(mechanism, p.args);
    call.run(other.args); /* the first of all */
    attn::forward(mechanism, want.args);
    CHECK(same(other, want) && same(p, problem()));
    call.run(p.args);
    CHECK(!same(p, other));
    p.query = other.query; /* where it was */
    call.run();            /* as the last one */
    CHECK(same(p, want));
    other.args.query_start = want.args.query_start = 1;
    call.run(other.args);
    attn::forward(mechanism, want.args);
    CHECK(same(other, want) && other.weights[0][1] > 0);

    attn::forward_args wrong = p.args;
    wrong.key = {p.key, {keys - 1, dim}};
    CHECK_THROWS(call.run(wrong), attn::status::shape, "key has shape [4, 4]");
    wrong = p.args;
    wrong.weights = {};
    CHECK_THROWS(call.run(wrong), attn::status::argument, "weights is NULL, but was planned");
    wrong = p.args;
    wrong.key_lengths = {&keys, {1}};
    CHECK(call.try_run(wrong) == attn::status::argument);
    std::memset(other.context, 0, sizeof other.context);
    call.run();
    CHECK(same(other, want));
}

void parts_of_the_keys_are_merged()
{
    problem whole, part;
    attn::mechanism mechanism(engine(), attn::scaled_dot{});
    attn::forward(mechanism, whole.args);
    double contexts[keys][queries][values], sums[keys][queries], context[queries][values], sum[queries];
    attn::merge_args args;
    for (int j = 0; j < keys; j++) { /* each key is a part */
        attn::forward_args one;
        one.query = part.args.query;
        one.key = {part.key.data() + j * dim, {1, dim}};
        one.value = {part.value.data() + j * values, {1, values}};
        one.context = contexts[j];
        one.logsumexp = sums[j];
        attn::forward(mechanism, one);
        args.contexts.emplace_back(contexts[j]);
        args.logsumexps.emplace_back(sums[j]);
    }
    args.context = context;
    args.logsumexp = sum;
    attn::merge(engine(), args);
    for (int i = 0; i < queries; i++) {
        CHECK_NEAR(sum[i], whole.logsumexp[i], 1e-12);
        for (int d = 0; d < values; d++) CHECK_NEAR(context[i][d], whole.context[i][d], 1e-12);
    }
    const double once = context[0][0];
    for (int j = 0; j < 5 * keys; j++) { /* more than a few: all are there six times */
        args.contexts.push_back(args.contexts[static_cast<std::size_t>(j % keys)]);
        args.logsumexps.push_back(args.logsumexps[static_cast<std::size_t>(j % keys)]);
    }
    attn::merge(engine(), args);
    CHECK_NEAR(context[0][0], once, 1e-12);
    CHECK_NEAR(sum[0], whole.logsumexp[0] + std::log(6.0), 1e-12);
    args.logsumexps.pop_back();
    CHECK_THROWS(attn::merge(engine(), args), attn::status::argument, "logsumexps[29] is NULL");
    CHECK(attn::try_merge(engine(), {}) == attn::status::argument);
}

} // namespace

int main()
{
    return check::run(
        {{"dot_is_the_product", dot_is_the_product},
         {"stats_are_of_the_weights", stats_are_of_the_weights},
         {"scaled_dot_is_divided_by_the_root_of_the_dimension", scaled_dot_is_divided_by_the_root_of_the_dimension},
         {"general_has_a_matrix_between", general_has_a_matrix_between},
         {"concat_is_a_tanh_of_both", concat_is_a_tanh_of_both},
         {"additive_has_flags", additive_has_flags},
         {"additive_takes_projected_inputs", additive_takes_projected_inputs},
         {"location_reads_no_key", location_reads_no_key},
         {"scale_softcap_and_temperature_shape_the_score", scale_softcap_and_temperature_shape_the_score},
         {"hardmax_takes_the_highest", hardmax_takes_the_highest},
         {"causal_and_window_hide_by_position", causal_and_window_hide_by_position},
         {"biases_are_added", biases_are_added},
         {"sinks_are_a_key_more", sinks_are_a_key_more},
         {"masks_and_lengths_hide", masks_and_lengths_hide},
         {"local_attention_looks_around_its_position", local_attention_looks_around_its_position},
         {"scores_are_those_of_the_stage", scores_are_those_of_the_stage},
         {"dropout_drops_the_same_weights_for_the_same_seed", dropout_drops_the_same_weights_for_the_same_seed},
         {"a_workspace_is_used", a_workspace_is_used},
         {"parts_of_the_keys_are_merged", parts_of_the_keys_are_merged},
         {"a_call_made_ready_is_forward_each_time", a_call_made_ready_is_forward_each_time},
         {"a_call_made_ready_runs_at_other_addresses", a_call_made_ready_runs_at_other_addresses}});
}
