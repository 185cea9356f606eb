/* SPDX-License-Identifier: BSD-3-Clause
 *
 * multihead.cpp: a layer of self-attention (Vaswani 2017, section 3.2.2) learns by gradient descent to say what the
 * word before was. A step is forward, which saves what backward wants to know, loss, backward, and the update of the
 * parameters, which stay bound while they change. */
#include <attn/attn.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <vector>

namespace
{

constexpr int words = 8, dim = 8, heads = 2, steps = 400;
constexpr float rate = 1;

/* Numbers between -1/2 and 1/2, the same every time. */
std::vector<float> numbers(std::int64_t count, unsigned seed)
{
    std::vector<float> data(static_cast<std::size_t>(count));
    for (float &number : data) {
        seed = seed * 1664525u + 1013904223u;
        number = static_cast<float>(seed >> 8) / 16777216.0f - 0.5f;
    }
    return data;
}

} // namespace

int main()
{
    const attn::engine engine;
    attn::mechanism mechanism(engine, attn::scaled_dot{});
    mechanism.set_causal(attn::align::top_left);
    attn::multihead_options options;
    options.query_heads = heads;
    options.query_dim = dim;
    options.bias = true;
    options.packed = true;
    attn::multihead layer(mechanism, options);

    /* A parameter, and a gradient of the same shape, for each that the layer has: W_qkv, W_o, b_qkv, b_o. */
    std::vector<std::vector<float>> params, d_params;
    attn::multihead_backward_args gradients;
    for (std::int32_t i = 0; i < layer.param_count(); i++) {
        const attn::param_info info = layer.param_info(i);
        params.push_back(numbers(info.elements, static_cast<unsigned>(i) + 1));
        d_params.emplace_back(params.back().size());
        layer.bind_param(info.name, {params.back(), info.shape});
        gradients.d_params[static_cast<std::size_t>(i)] = {d_params.back(), info.shape};
    }

    /* Word t has a 1 at t; what is wanted at t is word t - 1, and at first nothing. */
    float sentence[words][dim] = {}, wanted[words][dim] = {}, output[words][dim], d_output[words][dim];
    for (int t = 0; t < words; t++) sentence[t][t] = 1;
    for (int t = 1; t < words; t++) wanted[t][t - 1] = 1;

    attn::multihead_args args;
    args.query = sentence; /* no key and no value: self-attention */
    args.output = output;
    std::vector<std::byte> saved(layer.saved(args));
    args.saved = saved;
    gradients.d_output = d_output;

    float first = 0, loss = 0;
    for (int step = 0; step <= steps; step++) {
        layer.forward(args);
        loss = 0;
        for (int t = 0; t < words; t++) {
            for (int d = 0; d < dim; d++) {
                const float error = output[t][d] - wanted[t][d];
                loss += error * error / (words * dim);
                d_output[t][d] = 2 * error / (words * dim);
            }
        }
        if (step == 0) first = loss;
        if (step % 50 == 0) std::printf("step %3d  loss %.4f\n", step, static_cast<double>(loss));
        layer.backward(args, gradients);
        for (std::size_t i = 0; i < params.size(); i++) {
            for (std::size_t e = 0; e < params[i].size(); e++) params[i][e] -= rate * d_params[i][e];
        }
    }
    return loss < first / 4 ? 0 : 1;
}
