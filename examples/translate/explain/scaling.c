/* SPDX-License-Identifier: BSD-3-Clause
 *
 * scaling.c: see scaling.h. A gradient of normal numbers g flows into the weights; J g has the squared norm |J|^2 in
 * the mean, J being softmax's Jacobian. It comes back as that of a bias, whose place is right behind the scores. */
#include "explain/scaling.h"

#include "explain/distribution.h"
#include "measure/correlation.h"
#include "model/random.h"
#include "refuse.h"

#include <stdlib.h>

enum { ROWS = SCALING_SETS * SCALING_QUERIES, PLACES = ROWS * SCALING_KEYS };

/* The sets are heads. */
static attn_tensor of_rows(real *data, int rows, int columns)
{
    return (attn_tensor){data, REAL_DTYPE, 3, {SCALING_SETS, rows, columns}, {rows * columns, columns, 1}};
}

/* Numbers of one dimension d. */
typedef struct arrays {
    real *query, *key, *bias, *scores, *weights, *context, *logsumexp, *flowing, *arriving;
} arrays;

static struct scaling_side measure(const attn_mechanism *mechanism, const arrays *a, int d)
{
    const attn_tensor query = of_rows(a->query, SCALING_QUERIES, d), key = of_rows(a->key, SCALING_KEYS, d);
    const attn_tensor bias = of_rows(a->bias, SCALING_QUERIES, SCALING_KEYS);
    const attn_tensor context = of_rows(a->context, SCALING_QUERIES, d);
    const attn_tensor logsumexp = {a->logsumexp, REAL_DTYPE, 2, {SCALING_SETS, SCALING_QUERIES}, {SCALING_QUERIES, 1}};
    const attn_tensor weights = of_rows(a->weights, SCALING_QUERIES, SCALING_KEYS);
    const attn_tensor scores = of_rows(a->scores, SCALING_QUERIES, SCALING_KEYS);
    const attn_tensor flowing = of_rows(a->flowing, SCALING_QUERIES, SCALING_KEYS);
    const attn_tensor arriving = of_rows(a->arriving, SCALING_QUERIES, SCALING_KEYS);
    attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
    args.query = &query, args.key = &key, args.bias = &bias, args.context = &context, args.logsumexp = &logsumexp;
    args.weights = &weights, args.scores = &scores, args.scores_stage = ATTN_SCORES_RAW;
    attn_must(attn_forward(mechanism, &args));
    attn_backward_args back = ATTN_BACKWARD_ARGS_INIT;
    back.forward = &args, back.d_weights = &flowing, back.d_bias = &arriving;
    attn_must(attn_backward(mechanism, &back));

    struct scaling_side side = {0, 0, 0, 0, 0};
    double mean = 0, norms[ROWS] = {0};
    for (int i = 0; i < PLACES; i++) {
        mean += (double)a->scores[i] / PLACES;
        side.variance += (double)a->scores[i] * (double)a->scores[i] / PLACES;
        norms[i / SCALING_KEYS] += (double)a->arriving[i] * (double)a->arriving[i];
    }
    side.variance -= mean * mean;
    for (int i = 0; i < ROWS; i++) {
        side.gradient += norms[i] / ROWS;
        const flatness f = flatness_of(a->weights + (ptrdiff_t)i * SCALING_KEYS, SCALING_KEYS);
        side.greatest += f.greatest / ROWS;
        side.entropy += f.entropy / log(SCALING_KEYS) / ROWS;
    }
    side.gradient = sqrt(side.gradient), side.usual_gradient = sqrt(median(norms, ROWS));
    return side;
}

static real *normals(size_t count, random_stream *stream)
{
    real *numbers = allocate(count, sizeof *numbers);
    for (size_t i = 0; i < count; i++) numbers[i] = (real)random_normal(stream);
    return numbers;
}

void scaling_measure(attn_engine *engine, uint64_t seed, scaling_point points[SCALINGS])
{
    attn_mechanism *plain, *scaled;
    attn_must(attn_mechanism_create_dot(engine, &plain));
    attn_must(attn_mechanism_create_scaled_dot(engine, &scaled));
    for (int i = 0; i < SCALINGS; i++) {
        const int d = 2 << i;
        random_stream stream = random_begin(seed, 6, (uint64_t)i);
        arrays a = {
            .query = normals(ROWS * (size_t)d, &stream),
            .key = normals(SCALING_SETS * SCALING_KEYS * (size_t)d, &stream),
            .flowing = normals(PLACES, &stream),
            .bias = allocate_zeros(PLACES, sizeof(real)),
            .scores = allocate(PLACES, sizeof(real)),
            .weights = allocate(PLACES, sizeof(real)),
            .arriving = allocate(PLACES, sizeof(real)),
            .context = allocate(ROWS * (size_t)d, sizeof(real)),
            .logsumexp = allocate(ROWS, sizeof(real)),
        };
        points[i] = (scaling_point){d, measure(plain, &a, d), measure(scaled, &a, d)};
        real *const all[] = {a.query,   a.key,      a.flowing, a.bias,     a.scores,
                             a.weights, a.arriving, a.context, a.logsumexp};
        for (size_t k = 0; k < sizeof all / sizeof all[0]; k++) free(all[k]);
    }
    attn_mechanism_destroy(plain);
    attn_mechanism_destroy(scaled);
}

static void side_json(json *out, const char *key, const struct scaling_side *side)
{
    json_key(out, key), json_object(out);
    json_key(out, "variance"), json_number(out, side->variance);
    json_key(out, "greatest"), json_number(out, side->greatest);
    json_key(out, "entropy"), json_number(out, side->entropy);
    json_key(out, "gradient"), json_number(out, side->gradient);
    json_key(out, "usual_gradient"), json_number(out, side->usual_gradient);
    json_close(out);
}

void scaling_json(json *out, const scaling_point points[SCALINGS])
{
    json_array(out);
    for (int i = 0; i < SCALINGS; i++) {
        json_object(out);
        json_key(out, "d"), json_integer(out, points[i].d);
        side_json(out, "plain", &points[i].plain);
        side_json(out, "scaled", &points[i].scaled);
        json_close(out);
    }
    json_close(out);
}
