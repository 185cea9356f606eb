/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_backward.cpp: the gradients of attn::backward, of layers, of the attentional step and of decomposable attention
 * are those that differences of the forward calls show, in float64. */
#include "check.hpp"

#include <functional>

namespace
{

using numbers = std::vector<double>;

/* The loss of an output: what flows into its gradient are the weights of this sum. */
double weighted(const numbers &output, const numbers &weights)
{
    double loss = 0;
    for (std::size_t i = 0; i < output.size(); i++) loss += output[i] * weights[i];
    return loss;
}

/* Each number of `of` is moved up and down: the loss changes as the gradient says. Central differences with a step of
 * 1e-5 are wrong by some 1e-10 through the third derivative, and by some 1e-16 / 1e-5 through roundings. */
void expect_gradient(numbers &of, const numbers &gradient, const std::function<double()> &loss, const char *name)
{
    const double step = 1e-5;
    check::that(of.size() == gradient.size(), name, __FILE__, __LINE__);
    for (std::size_t i = 0; i < of.size(); i++) {
        const double was = of[i];
        of[i] = was + step;
        const double up = loss();
        of[i] = was - step;
        const double down = loss();
        of[i] = was;
        check::near(gradient[i], (up - down) / (2 * step), 1e-8, name, __FILE__, __LINE__);
    }
}

constexpr std::size_t batch = 2, queries = 3, keys = 4, dim = 3, values = 2, hidden = 2;

void gradients_are_differences()
{
    const attn::engine engine;
    attn::additive score{dim, dim, hidden};
    score.bias = true;
    attn::mechanism mechanism(engine, score);
    numbers w = check::numbers<double>(hidden * dim, 1), u = check::numbers<double>(hidden * dim, 2);
    numbers v = check::numbers<double>(hidden, 3), b = check::numbers<double>(hidden, 4), slopes = {0.3};
    numbers table = check::numbers<double>(3, 5);
    mechanism.bind_param("W", {w, {hidden, dim}}).bind_param("U", {u, {hidden, dim}});
    mechanism.bind_param("v", v).bind_param("b", b);
    mechanism.set_alibi(slopes, attn::align::top_left).set_softcap(1.5);
    mechanism.set_relative_bias({table, {1, 3}}, attn::relative::clipped, 1, attn::align::top_left);

    numbers query = check::numbers<double>(batch * queries * dim, 6),
            key = check::numbers<double>(batch * keys * dim, 7);
    numbers value = check::numbers<double>(batch * keys * values, 8), bias = check::numbers<double>(queries * keys, 9);
    numbers context(batch * queries * values), weights(batch * queries * keys), logsumexp(batch * queries);
    attn::forward_args args;
    args.query = {query, {batch, 1, queries, dim}};
    args.key = {key, {batch, 1, keys, dim}};
    args.value = {value, {batch, 1, keys, values}};
    args.bias = {bias, {queries, keys}};
    args.context = {context, {batch, 1, queries, values}};
    args.weights = {weights, {batch, 1, queries, keys}};
    args.logsumexp = {logsumexp, {batch, 1, queries}};

    const numbers d_context = check::numbers<double>(context.size(), 10),
                  d_weights = check::numbers<double>(weights.size(), 11);
    const numbers d_logsumexp = check::numbers<double>(logsumexp.size(), 12);
    const auto loss = [&] {
        attn::forward(mechanism, args);
        return weighted(context, d_context) + weighted(weights, d_weights) + weighted(logsumexp, d_logsumexp);
    };
    numbers d_query(query.size()), d_key(key.size()), d_value(value.size()), d_bias(bias.size()), d_slopes(1),
        d_table(3);
    numbers d_w(w.size()), d_u(u.size()), d_v(v.size()), d_b(b.size());
    attn::backward_args gradients;
    gradients.d_context = {d_context, {batch, 1, queries, values}};
    gradients.d_weights = {d_weights, {batch, 1, queries, keys}};
    gradients.d_logsumexp = {d_logsumexp, {batch, 1, queries}};
    gradients.d_query = {d_query, {batch, 1, queries, dim}};
    gradients.d_key = {d_key, {batch, 1, keys, dim}};
    gradients.d_value = {d_value, {batch, 1, keys, values}};
    gradients.d_bias = {d_bias, {queries, keys}};
    gradients.d_alibi = d_slopes;
    gradients.d_relative = {d_table, {1, 3}};
    gradients.d_params[0] = {d_w, {hidden, dim}};
    gradients.d_params[1] = {d_u, {hidden, dim}};
    gradients.d_params[2] = d_v;
    gradients.d_params[3] = d_b;
    loss();
    attn::backward(mechanism, args, gradients);
    expect_gradient(query, d_query, loss, "d_query");
    expect_gradient(key, d_key, loss, "d_key");
    expect_gradient(value, d_value, loss, "d_value");
    expect_gradient(bias, d_bias, loss, "d_bias");
    expect_gradient(slopes, d_slopes, loss, "d_alibi");
    expect_gradient(table, d_table, loss, "d_relative");
    expect_gradient(w, d_w, loss, "d_params[0], of W");
    expect_gradient(u, d_u, loss, "d_params[1], of U");
    expect_gradient(v, d_v, loss, "d_params[2], of v");
    expect_gradient(b, d_b, loss, "d_params[3], of b");

    /* Added to what is there, with a workspace of the caller's, and only where it is wanted. */
    const numbers once = d_query;
    loss();
    std::vector<std::byte> workspace(attn::backward_workspace(mechanism, args, gradients));
    gradients.workspace = workspace;
    gradients.accumulate = true;
    gradients.d_params = {};
    const numbers w_was = d_w;
    attn::backward(mechanism, args, gradients);
    for (std::size_t i = 0; i < once.size(); i++) CHECK_NEAR(d_query[i], 2 * once[i], 1e-14);
    CHECK(d_w == w_was);
}

void refused_gradients_throw()
{
    const attn::engine engine;
    attn::mechanism mechanism(engine, attn::dot{});
    numbers in = check::numbers<double>(4, 1), out(4), lse(2), d_in(4);
    attn::forward_args args;
    args.query = args.key = {in, {2, 2}};
    args.context = {out, {2, 2}};
    args.logsumexp = lse;
    attn::forward(mechanism, args);
    attn::backward_args gradients;
    gradients.d_query = {d_in, {2, 2}};
    CHECK_THROWS(attn::backward(mechanism, args, gradients), attn::status::argument, "d_context");
    gradients.d_context = {out, {2, 2}};
    attn::backward(mechanism, args, gradients);
    mechanism.set_normaliser(attn::normaliser::hardmax);
    CHECK(attn::try_backward(mechanism, args, gradients) == attn::status::unsupported);
    CHECK(attn::try_backward_workspace(mechanism, args, gradients).status() == attn::status::unsupported);
}

void gradients_of_sinks_are_differences()
{
    constexpr std::size_t heads = 2;
    const attn::engine engine;
    attn::mechanism mechanism(engine, attn::scaled_dot{});
    numbers sinks = {0.5, -0.25}, d_sinks(heads), query = check::numbers<double>(heads * queries * dim, 70);
    numbers key = check::numbers<double>(keys * dim, 71), value = check::numbers<double>(keys * values, 72);
    numbers d_query(query.size()), context(heads * queries * values), logsumexp(heads * queries);
    const numbers d_context = check::numbers<double>(context.size(), 73),
                  d_logsumexp = check::numbers<double>(logsumexp.size(), 74), d_weights(heads * queries * keys, 1.0);
    mechanism.set_temperature(0.6).set_sinks(sinks);
    attn::forward_args args;
    args.query = {query, {1, heads, queries, dim}};
    args.key = {key, {1, 1, keys, dim}};
    args.value = {value, {1, 1, keys, values}};
    args.context = {context, {1, heads, queries, values}};
    args.logsumexp = {logsumexp, {1, heads, queries}};
    const auto loss = [&] {
        attn::forward(mechanism, args);
        return weighted(context, d_context) + weighted(logsumexp, d_logsumexp);
    };
    attn::backward_args gradients;
    gradients.d_context = {d_context, {1, heads, queries, values}};
    gradients.d_logsumexp = {d_logsumexp, {1, heads, queries}};
    gradients.d_query = {d_query, {1, heads, queries, dim}};
    gradients.d_sinks = d_sinks;
    loss();
    attn::backward(mechanism, args, gradients);
    expect_gradient(sinks, d_sinks, loss, "d_sinks");
    expect_gradient(query, d_query, loss, "d_query beside sinks");
    gradients.d_weights = {d_weights, {1, heads, queries, keys}};
    CHECK_THROWS(attn::backward(mechanism, args, gradients), attn::status::unsupported, "d_sinks");
    gradients.d_weights = {};
    mechanism.set_sinks({});
    CHECK_THROWS(attn::backward(mechanism, args, gradients), attn::status::argument, "d_sinks");
}

void gradients_of_sinks_of_a_layer_are_differences()
{
    constexpr std::size_t heads = 2, width = 4, length = 3;
    const attn::engine engine;
    attn::mechanism mechanism(engine, attn::scaled_dot{});
    numbers sinks = {0.5, -0.25}, d_sinks(heads), x = check::numbers<double>(length * width, 75), d_x(x.size());
    numbers output(x.size());
    const numbers d_output = check::numbers<double>(x.size(), 76);
    mechanism.set_sinks(sinks);
    attn::multihead_options options;
    options.query_heads = heads;
    options.query_dim = width;
    attn::multihead layer(mechanism, options);
    std::vector<numbers> params;
    for (std::int32_t i = 0; i < layer.param_count(); i++) {
        const attn::param_info info = layer.param_info(i);
        params.push_back(
            check::numbers<double>(static_cast<std::size_t>(info.elements), static_cast<unsigned>(77 + i)));
        layer.bind_param(info.name, {params.back(), info.shape});
    }
    attn::multihead_args args;
    args.query = {x, {1, length, width}};
    args.output = {output, {1, length, width}};
    attn::multihead_backward_args gradients;
    gradients.d_output = {d_output, {1, length, width}};
    gradients.d_sinks = d_sinks;
    const auto loss = [&] {
        layer.forward(args);
        return weighted(output, d_output);
    };
    loss();
    layer.backward(args, gradients);
    expect_gradient(sinks, d_sinks, loss, "d_sinks of a layer");
    gradients.d_query = {d_x, {1, length, width}};
    layer.backward(args, gradients);
    expect_gradient(x, d_x, loss, "d_query of a layer with sinks");
}

void gradients_of_a_layer_are_differences()
{
    constexpr std::size_t heads = 2, width = 4, length = 3, head_dim = width / heads;
    const attn::engine engine;
    attn::mechanism mechanism(engine, attn::general{head_dim, head_dim});
    numbers middle = check::numbers<double>(head_dim * head_dim, 20);
    mechanism.bind_param("W", {middle, {head_dim, head_dim}});
    attn::multihead_options options;
    options.query_heads = heads;
    options.query_dim = width;
    options.bias = true;
    attn::multihead layer(mechanism, options);
    CHECK(layer.param_count() == 8);

    std::vector<numbers> params, d_params;
    numbers d_middle(middle.size()), x = check::numbers<double>(batch * length * width, 21), d_x(x.size());
    numbers bias = check::numbers<double>(length * length, 22), d_bias(bias.size());
    numbers output(x.size()), weights(batch * heads * length * length);
    const numbers d_output = check::numbers<double>(x.size(), 23),
                  d_weights = check::numbers<double>(weights.size(), 24);
    numbers slopes = check::numbers<double>(heads, 25), d_slopes(heads), logsumexp(batch * heads * length);
    numbers table = check::numbers<double>(heads * 3, 26), d_table(table.size());
    const numbers d_logsumexp = check::numbers<double>(logsumexp.size(), 27);
    mechanism.set_alibi(slopes, attn::align::top_left);
    mechanism.set_relative_bias({table, {heads, 3}}, attn::relative::clipped, 1, attn::align::top_left);
    attn::multihead_backward_args gradients;
    for (std::int32_t i = 0; i < layer.param_count(); i++) {
        const attn::param_info info = layer.param_info(i);
        params.push_back(
            check::numbers<double>(static_cast<std::size_t>(info.elements), static_cast<unsigned>(30 + i)));
        d_params.emplace_back(params.back().size());
        layer.bind_param(info.name, {params.back(), info.shape});
        gradients.d_params[static_cast<std::size_t>(i)] = {d_params.back(), info.shape};
    }
    attn::multihead_args args;
    args.query = {x, {batch, length, width}};
    args.attention.bias = {bias, {length, length}};
    args.attention.weights = {weights, {batch, heads, length, length}};
    args.attention.logsumexp = {logsumexp, {batch, heads, length}};
    args.output = {output, {batch, length, width}};
    std::vector<std::byte> saved(layer.saved(args));
    args.saved = saved;
    std::vector<std::byte> workspace(layer.workspace(args));
    args.workspace = workspace;
    gradients.d_output = {d_output, {batch, length, width}};
    gradients.d_weights = {d_weights, {batch, heads, length, length}};
    gradients.d_query = {d_x, {batch, length, width}};
    gradients.d_bias = {d_bias, {length, length}};
    gradients.d_logsumexp = {d_logsumexp, {batch, heads, length}};
    gradients.d_alibi = d_slopes;
    gradients.d_relative = {d_table, {heads, 3}};
    gradients.d_mechanism_params[0] = {d_middle, {head_dim, head_dim}};
    const auto loss = [&] {
        layer.forward(args);
        return weighted(output, d_output) + weighted(weights, d_weights) + weighted(logsumexp, d_logsumexp);
    };
    loss();
    CHECK(saved != std::vector<std::byte>(saved.size()));
    std::vector<std::byte> scratch(layer.backward_workspace(args, gradients));
    gradients.workspace = scratch;
    layer.backward(args, gradients);
    expect_gradient(x, d_x, loss, "d_query of a layer");
    expect_gradient(bias, d_bias, loss, "d_bias of a layer");
    expect_gradient(slopes, d_slopes, loss, "d_alibi of a layer");
    expect_gradient(table, d_table, loss, "d_relative of a layer");
    expect_gradient(middle, d_middle, loss, "d_mechanism_params[0]");
    for (std::size_t i = 0; i < params.size(); i++)
        expect_gradient(params[i], d_params[i], loss, "d_params of a layer");
}

/* All that can be different is: heads of keys, dimensions of queries, keys, values, heads and what comes out. */
void gradients_of_cross_attention_are_differences()
{
    constexpr std::size_t from = 3, to = 2, x_dim = 5, y_dim = 3, z_dim = 4, heads = 2, head = 2, value_head = 3,
                          out = 6;
    const attn::engine engine;
    const attn::mechanism mechanism(engine, attn::scaled_dot{});
    attn::multihead_options options;
    options.query_heads = heads;
    options.key_heads = 1;
    options.query_dim = x_dim;
    options.key_dim = y_dim;
    options.value_dim = z_dim;
    options.head_dim = head;
    options.value_head_dim = value_head;
    options.output_dim = out;
    attn::multihead layer(mechanism, options);
    const std::size_t shapes[4][2] = {
        {heads * head, x_dim}, {head, y_dim}, {value_head, z_dim}, {out, heads * value_head}};
    std::vector<numbers> params;
    for (std::int32_t i = 0; i < layer.param_count(); i++) {
        const attn::param_info info = layer.param_info(i);
        for (std::int32_t d = 0; d < 2; d++) CHECK(info.shape[d] == static_cast<std::int64_t>(shapes[i][d]));
        params.push_back(
            check::numbers<double>(static_cast<std::size_t>(info.elements), static_cast<unsigned>(40 + i)));
        layer.bind_param(info.name, {params.back(), info.shape});
    }
    numbers x = check::numbers<double>(from * x_dim, 50), y = check::numbers<double>(to * y_dim, 51);
    numbers z = check::numbers<double>(to * z_dim, 52), output(from * out), d_x(x.size()), d_y(y.size()), d_z(z.size());
    const numbers d_output = check::numbers<double>(output.size(), 53);
    attn::multihead_args args;
    args.query = {x, {from, x_dim}};
    args.key = {y, {to, y_dim}};
    args.value = {z, {to, z_dim}};
    args.output = {output, {from, out}};
    attn::multihead_backward_args gradients;
    gradients.d_output = {d_output, {from, out}};
    gradients.d_query = {d_x, {from, x_dim}};
    gradients.d_key = {d_y, {to, y_dim}};
    gradients.d_value = {d_z, {to, z_dim}};
    const auto loss = [&] {
        layer.forward(args);
        return weighted(output, d_output);
    };
    layer.backward(args, gradients); /* nothing was saved: it is computed again */
    expect_gradient(x, d_x, loss, "d_query of cross-attention");
    expect_gradient(y, d_y, loss, "d_key of cross-attention");
    expect_gradient(z, d_z, loss, "d_value of cross-attention");

    const numbers once = d_z;
    gradients.accumulate = true;
    layer.backward(args, gradients);
    for (std::size_t i = 0; i < once.size(); i++) CHECK_NEAR(d_z[i], 2 * once[i], 1e-14);
}

void gradients_of_the_attentional_step_are_differences()
{
    const attn::engine engine;
    numbers weight = check::numbers<double>(hidden * (values + dim), 1), bias = check::numbers<double>(hidden, 2);
    numbers context = check::numbers<double>(queries * values, 3), query = check::numbers<double>(queries * dim, 4);
    numbers output(queries * hidden), d_weight(weight.size()), d_bias(bias.size()), d_context(context.size());
    numbers d_query(query.size());
    const numbers d_output = check::numbers<double>(output.size(), 5);
    attn::attentional_args args;
    args.weight = {weight, {hidden, values + dim}};
    args.bias = bias;
    args.context = {context, {queries, values}};
    args.query = {query, {queries, dim}};
    args.output = {output, {queries, hidden}};
    const auto loss = [&] {
        attn::attentional_forward(engine, args);
        return weighted(output, d_output);
    };
    loss();
    double inside = bias[0]; /* of the first row: tanh(W_c [context; query] + bias) */
    for (std::size_t d = 0; d < values; d++) inside += weight[d] * context[d];
    for (std::size_t d = 0; d < dim; d++) inside += weight[values + d] * query[d];
    CHECK_NEAR(output[0], std::tanh(inside), 1e-14);
    attn::attentional_gradients gradients;
    gradients.d_output = {d_output, {queries, hidden}};
    gradients.d_weight = {d_weight, {hidden, values + dim}};
    gradients.d_bias = d_bias;
    gradients.d_context = {d_context, {queries, values}};
    gradients.d_query = {d_query, {queries, dim}};
    attn::attentional_backward(engine, args, gradients);
    expect_gradient(weight, d_weight, loss, "d_weight");
    expect_gradient(bias, d_bias, loss, "d_bias");
    expect_gradient(context, d_context, loss, "d_context");
    expect_gradient(query, d_query, loss, "d_query");
    loss(); /* the differences have moved its outputs */
    const double once = d_bias[0];
    gradients.accumulate = true;
    attn::attentional_backward(engine, args, gradients);
    CHECK_NEAR(d_bias[0], 2 * once, 1e-14);
    CHECK_THROWS(attn::attentional_backward(engine, args, {}), attn::status::argument, "d_output");
}

void gradients_of_decomposable_attention_are_differences()
{
    constexpr std::size_t rows_a = 3, rows_b = 4;
    const attn::engine engine;
    numbers f = check::numbers<double>(rows_a * dim, 1), g = check::numbers<double>(rows_b * dim, 2);
    numbers a = check::numbers<double>(rows_a * values, 3), b = check::numbers<double>(rows_b * values, 4);
    numbers beta(rows_a * values), alpha(rows_b * values), of_a(rows_a), of_b(rows_b);
    numbers d_f(f.size()), d_g(g.size()), d_a(a.size()), d_b(b.size());
    const numbers d_beta = check::numbers<double>(beta.size(), 5), d_alpha = check::numbers<double>(alpha.size(), 6);
    const std::vector<std::int64_t> lengths = {rows_b - 1};
    attn::decomposable_args args;
    args.f = {f, {rows_a, dim}};
    args.g = {g, {rows_b, dim}};
    args.a = {a, {rows_a, values}};
    args.b = {b, {rows_b, values}};
    args.b_lengths = lengths;
    args.beta = {beta, {rows_a, values}};
    args.alpha = {alpha, {rows_b, values}};
    args.a_logsumexp = of_a;
    args.b_logsumexp = of_b;
    const auto loss = [&] {
        attn::decomposable_forward(engine, args);
        return weighted(beta, d_beta) + weighted(alpha, d_alpha);
    };
    loss();
    double sum = 0, aligned = 0; /* beta of the first row */
    for (std::size_t j = 0; j + 1 < rows_b; j++) {
        double e = 0;
        for (std::size_t d = 0; d < dim; d++) e += f[d] * g[j * dim + d];
        sum += std::exp(e);
        aligned += std::exp(e) * b[j * values];
    }
    CHECK_NEAR(beta[0], aligned / sum, 1e-14);
    CHECK_NEAR(of_a[0], std::log(sum), 1e-14);
    attn::decomposable_gradients gradients;
    gradients.d_beta = {d_beta, {rows_a, values}};
    gradients.d_alpha = {d_alpha, {rows_b, values}};
    gradients.d_f = {d_f, {rows_a, dim}};
    gradients.d_g = {d_g, {rows_b, dim}};
    gradients.d_a = {d_a, {rows_a, values}};
    gradients.d_b = {d_b, {rows_b, values}};
    attn::decomposable_backward(engine, args, gradients);
    expect_gradient(f, d_f, loss, "d_f");
    expect_gradient(g, d_g, loss, "d_g");
    expect_gradient(a, d_a, loss, "d_a");
    expect_gradient(b, d_b, loss, "d_b");
    loss(); /* the differences have moved its outputs */
    const double once = d_f[0];
    gradients.accumulate = true;
    attn::decomposable_backward(engine, args, gradients);
    CHECK_NEAR(d_f[0], 2 * once, 1e-14);
    const std::vector<std::int64_t> fewer = {rows_a - 1};
    args.a_lengths = fewer;
    attn::decomposable_forward(engine, args);
    CHECK(beta.back() == 0 && beta[0] != 0);
    CHECK(attn::try_decomposable_backward(engine, args, {}) == attn::status::argument);
}

} // namespace

int main()
{
    return check::run(
        {{"gradients_are_differences", gradients_are_differences},
         {"refused_gradients_throw", refused_gradients_throw},
         {"gradients_of_sinks_are_differences", gradients_of_sinks_are_differences},
         {"gradients_of_sinks_of_a_layer_are_differences", gradients_of_sinks_of_a_layer_are_differences},
         {"gradients_of_a_layer_are_differences", gradients_of_a_layer_are_differences},
         {"gradients_of_cross_attention_are_differences", gradients_of_cross_attention_are_differences},
         {"gradients_of_the_attentional_step_are_differences", gradients_of_the_attentional_step_are_differences},
         {"gradients_of_decomposable_attention_are_differences", gradients_of_decomposable_attention_are_differences}});
}
