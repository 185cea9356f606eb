/* SPDX-License-Identifier: BSD-3-Clause
 *
 * temperature.c: see temperature.h. Logarithms of the model's weights stand for its scores: they differ by a number
 * that is the same for all words, which softmax takes away at any temperature. */
#include "explain/temperature.h"

#include "explain/distribution.h"
#include "refuse.h"

#include <stdlib.h>

void temperature_measure(const replay *r, temperature_point points[TEMPERATURES])
{
    const int rows = r->steps, keys = r->sources;
    const size_t places = (size_t)rows * (size_t)keys;
    real *scores = allocate(places, sizeof *scores), *weights = allocate(places, sizeof *weights);
    real *zeros = allocate_zeros((size_t)rows > (size_t)keys ? (size_t)rows : (size_t)keys, sizeof *zeros);
    log_weights_of(places, r->weights, scores);
    const attn_tensor query = {zeros, REAL_DTYPE, 2, {rows, 1}, {1, 1}},
                      key = {zeros, REAL_DTYPE, 2, {keys, 1}, {1, 1}};
    const attn_tensor bias = {scores, REAL_DTYPE, 2, {rows, keys}, {keys, 1}};
    const attn_tensor to = {weights, REAL_DTYPE, 2, {rows, keys}, {keys, 1}};
    attn_mechanism *given;
    attn_must(attn_mechanism_create_dot(r->of->engine, &given));
    attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
    args.query = &query, args.key = &key, args.bias = &bias, args.weights = &to;
    for (int i = 0; i < TEMPERATURES; i++) {
        temperature_point *p = &points[i];
        *p = (temperature_point){.temperature = i + 1 < TEMPERATURES ? ldexp(32, -i) : 0};
        if (p->temperature > 0) {
            attn_must(attn_mechanism_set_temperature(given, p->temperature));
        } else {
            attn_must(attn_mechanism_set_normaliser(given, ATTN_HARDMAX));
        }
        attn_must(attn_forward(given, &args));
        for (int t = 0; t < rows; t++) {
            const flatness f = flatness_of(weights + (ptrdiff_t)t * keys, keys);
            p->entropy += f.entropy / log(keys) / rows;
            p->effective += f.effective / rows;
            p->greatest += f.greatest / rows;
        }
    }
    attn_mechanism_destroy(given);
    free(scores);
    free(weights);
    free(zeros);
}

void temperature_json(json *out, const temperature_point points[TEMPERATURES])
{
    json_array(out);
    for (int i = 0; i < TEMPERATURES; i++) {
        json_object(out);
        json_key(out, "temperature"), json_number(out, points[i].temperature);
        json_key(out, "entropy"), json_number(out, points[i].entropy);
        json_key(out, "effective"), json_number(out, points[i].effective);
        json_key(out, "greatest"), json_number(out, points[i].greatest);
        json_close(out);
    }
    json_close(out);
}
