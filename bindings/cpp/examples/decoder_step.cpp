/* SPDX-License-Identifier: BSD-3-Clause
 *
 * decoder_step.cpp: steps of Bahdanau's decoder (Bahdanau 2014, appendix A.1.2) over sentences of different lengths.
 * U h_j does not depend on the step: a memory computes it once for all of them. The call is made ready once, and
 * then run for each step: the first run makes its plan, the others allocate nothing. */
#include <attn/attn.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <vector>

namespace
{

constexpr int batch = 3, longest = 7, state = 16, annotation = 32, hidden = 16, steps = 3;

/* Numbers between -1 and 1, the same every time; a trained model would come with its own. */
std::vector<float> numbers(std::int64_t count, unsigned seed)
{
    std::vector<float> data(static_cast<std::size_t>(count));
    for (float &number : data) {
        seed = seed * 1664525u + 1013904223u;
        number = static_cast<float>(seed >> 8) / 8388608.0f - 1.0f;
    }
    return data;
}

} // namespace

int main()
{
    const attn::engine engine;
    attn::additive score;
    score.query_dim = state;
    score.key_dim = annotation;
    score.hidden_dim = hidden;
    score.bias = true;
    attn::mechanism mechanism(engine, score);

    /* The mechanism says what its parameters are: W, U, v, b. */
    std::vector<std::vector<float>> parameters;
    for (std::int32_t i = 0; i < mechanism.param_count(); i++) {
        const attn::param_info info = mechanism.param_info(i);
        parameters.push_back(numbers(info.elements, static_cast<unsigned>(i) + 1));
        mechanism.bind_param(info.name, {parameters.back(), info.shape});
    }

    attn::memory_options options;
    options.batch = batch;
    options.key_dim = annotation;
    options.capacity = longest;
    options.keys_alone = true; /* the annotations are the values too */
    attn::memory memory(mechanism, options);
    const std::vector<std::int32_t> lengths = {7, 4, 1};
    const std::vector<float> annotations = numbers(batch * longest * annotation, 11);
    memory.append({annotations, {batch, 1, longest, annotation}}, {}, lengths);

    std::vector<float> states = numbers(batch * state, 10);
    float contexts[batch][annotation] = {}, weights[batch][longest] = {};
    attn::forward_args args;
    args.query = {states, {batch, 1, 1, state}};
    args.memory = &memory;
    args.context = {contexts, {batch, 1, 1, annotation}};
    args.weights = {weights, {batch, 1, 1, longest}};
    attn::forward_call step(mechanism, args);

    for (int t = 0; t < steps; t++) {
        step.run();
        std::printf("step %d\n", t);
        for (std::size_t b = 0; b < batch; b++) {
            std::printf("  sentence of %d words:", static_cast<int>(lengths[b]));
            for (const float weight : weights[b]) std::printf(" %.3f", static_cast<double>(weight));
            std::printf("\n");
            /* Here the recurrent cell would take the context; a stand-in keeps the example short. */
            for (std::size_t d = 0; d < state; d++) {
                float &number = states[b * state + d];
                number = std::tanh(number + contexts[b][d]);
            }
        }
    }
    return 0;
}
