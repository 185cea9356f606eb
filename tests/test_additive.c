/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_additive.c: the additive score where its tanh saturate, and where they are small. Tiles compute it from exp(2 q)
 * and exp(2 k), several fractions over one denominator as long as that cannot overflow; so what is tried is each side
 * of each such limit. Keys near 0 are kept as exp(2 k) - 1, and what is tried is that nothing is lost, however small.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support.h"

/* Not whole spans of lanes, yet enough for four of the longest vectors, which share a denominator. All elements of the
 * even rows have the greatest magnitude that the row is to have. */
enum { HIDDEN = 72, QUERIES = 12, FEW_QUERIES = 3 };

static const double query_sizes[] = {0.5, 5, 10, 20, 39, 45};
static const double key_sizes[] = {0.5,  5,  5.1, 9.4,  9.6,  10.9, 11.1, 15.9, 16.1, 20.1, 20.4,
                                   20.6, 30, 34,  34.9, 35.1, 39.4, 39.9, 40.1, 41,   1e4,  1e30};
enum { KEYS = sizeof key_sizes / sizeof *key_sizes };

static void fill_row(struct array *array, int64_t row, double size, struct rng *rng)
{
    for (int64_t a = 0; a < HIDDEN; a++) {
        const double x = rng_uniform(rng, -size, size);
        array_set(array, row * HIDDEN + a, row % 2 == 0 ? size : a == 7 ? -size : x);
    }
}

static double want_score(const struct array *query, int64_t i, const struct array *key, int64_t j,
                         const struct array *v)
{
    double sum = 0;
    for (int64_t a = 0; a < HIDDEN; a++) {
        sum += array_get(v, a) * tanh(array_get(query, i * HIDDEN + a) + array_get(key, j * HIDDEN + a));
    }
    return sum;
}

struct scene {
    struct array query, key, v, scores, logsumexp;
    attn_mechanism *mechanism;
    attn_forward_args args;
    double magnitude; /* the sum of |v| */
};

static void create(struct scene *s, int64_t queries, int64_t keys, double weight, struct rng *rng)
{
    const int64_t query[2] = {queries, HIDDEN}, key[2] = {keys, HIDDEN}, hidden = HIDDEN, score[2] = {queries, keys};
    array_create(&s->query, ATTN_F32, 2, query, LAYOUT_PLAIN, NULL);
    array_create(&s->key, ATTN_F32, 2, key, LAYOUT_PLAIN, NULL);
    array_create(&s->v, ATTN_F32, 1, &hidden, LAYOUT_PLAIN, NULL);
    array_create(&s->scores, ATTN_F32, 2, score, LAYOUT_PLAIN, NULL);
    array_create(&s->logsumexp, ATTN_F32, 1, &queries, LAYOUT_PLAIN, NULL);
    s->magnitude = 0;
    for (int64_t a = 0; a < HIDDEN; a++) {
        array_set(&s->v, a, rng_uniform(rng, -weight, weight));
        s->magnitude += fabs(array_get(&s->v, a));
    }
    MUST(attn_mechanism_create_additive(engine, HIDDEN, HIDDEN, HIDDEN,
                                        ATTN_ADDITIVE_QUERY_PROJECTED | ATTN_ADDITIVE_KEY_PROJECTED, &s->mechanism));
    MUST(attn_mechanism_bind_param(s->mechanism, "v", &s->v.tensor));
    s->args = (attn_forward_args)ATTN_FORWARD_ARGS_INIT;
    s->args.scores_stage = ATTN_SCORES_RAW;
    s->args.query = &s->query.tensor;
    s->args.key = &s->key.tensor;
}

static void destroy(struct scene *s)
{
    attn_mechanism_destroy(s->mechanism);
    struct array *arrays[] = {&s->query, &s->key, &s->v, &s->scores, &s->logsumexp};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) array_destroy(arrays[i]);
}

/* Roundings, each of half an epsilon, times the sum of |v|: a fraction's 36, its summation's HIDDEN (for both see
 * test_row_kernels.c), and 2 for exp(2 q) exp(2 k), which is off by 2 x 0.81 units in the last place, hence 3.3
 * roundings, of which tanh takes at most half. tanh itself, where it is taken, needs less. */
static const double score_bound = (36 + HIDDEN + 2) * 0x1p-24;

static void assert_score(double got, double want, double error, double query, double key, double weight)
{
    if (fabs(got - want) <= error) return;
    fail_msg("queries of %g, key of %g, weights of %g: %.9g, not %.9g to within %.2g", query, key, weight, got, want,
             error);
}

static void saturated_scores_are_sums_of_tanh(void **state)
{
    struct rng rng = {31};
    static const double weights[] = {1, 1000, 3000}; /* the last are too large for sums of fractions */
    (void)state;
    for (size_t w = 0; w < sizeof weights / sizeof *weights; w++) {
        const double weight = weights[w];
        for (size_t size = 0; size < sizeof query_sizes / sizeof *query_sizes; size++) {
            struct scene s;
            create(&s, QUERIES, KEYS, weight, &rng);
            for (int64_t i = 0; i < QUERIES; i++) fill_row(&s.query, i, query_sizes[size], &rng);
            for (int64_t j = 0; j < KEYS; j++) fill_row(&s.key, j, key_sizes[j], &rng);
            s.args.scores = &s.scores.tensor;
            MUST(attn_forward(s.mechanism, &s.args));
            for (int64_t i = 0; i < QUERIES; i++) {
                for (int64_t j = 0; j < KEYS; j++) {
                    assert_score(array_get(&s.scores, i * KEYS + j), want_score(&s.query, i, &s.key, j, &s.v),
                                 score_bound * s.magnitude, query_sizes[size], key_sizes[j], weight);
                }
            }
            destroy(&s);
        }
    }
}

/* Few queries have a pass of their own, of which no scores are to be had; but the log-sum-exp of one key is its score.
 * It errs by 8 roundings more: the score as a power of two and log2(e) by 1 each, the power by 6. */
static void saturated_scores_of_few_queries_are_sums_of_tanh(void **state)
{
    struct rng rng = {32};
    (void)state;
    for (size_t size = 0; size < sizeof query_sizes / sizeof *query_sizes; size++) {
        for (int64_t j = 0; j < 2 * KEYS; j++) {
            struct scene s;
            create(&s, FEW_QUERIES, 1, 1, &rng);
            for (int64_t i = 0; i < FEW_QUERIES; i++) fill_row(&s.query, i, query_sizes[size], &rng);
            for (int64_t a = 0; a < HIDDEN; a++) {
                const double most = key_sizes[j / 2];
                array_set(&s.key, a, j % 2 == 0 ? most : rng_uniform(&rng, -most, most));
            }
            s.args.logsumexp = &s.logsumexp.tensor;
            MUST(attn_forward(s.mechanism, &s.args));
            for (int64_t i = 0; i < FEW_QUERIES; i++) {
                assert_score(array_get(&s.logsumexp, i), want_score(&s.query, i, &s.key, 0, &s.v),
                             (score_bound + 8 * 0x1p-24) * s.magnitude, query_sizes[size], key_sizes[j / 2], 1);
            }
            destroy(&s);
        }
    }
}

/* Projections up to these. tanh of a sum may cancel, hence errors are in roundings of what it is the sum of. */
static const struct {
    double query, key;
} small_sizes[] = {{1e-1, 1e-1}, {1e-2, 1e-3},  {1e-4, 1e-4}, {1e-6, 1e-6}, {1e-8, 1e-8},
                   {1e-8, 1e-4}, {1e-20, 1e-8}, {3, 1e-6},    {1e-6, 0.49}, {1e-30, 1e-30}};
enum { SMALL_SIZES = sizeof small_sizes / sizeof *small_sizes };

static void fill_small(struct array *array, double size, struct rng *rng)
{
    for (int64_t i = 0; i < array_count(array); i++) array_set(array, i, rng_uniform(rng, -size, size));
}

static double size_of_tanh(const struct array *query, int64_t i, const struct array *key, int64_t j, int64_t a)
{
    return fabs(tanh(array_get(query, i * HIDDEN + a))) + fabs(tanh(array_get(key, j * HIDDEN + a)));
}

/* score_bound, and 2 x 7 roundings for the two exp(2 x) - 1, see test_row_kernels.c. */
static const double small_bound = score_bound + 14 * 0x1p-24;

static void small_scores_keep_their_digits(void **state)
{
    struct rng rng = {33};
    (void)state;
    for (int size = 0; size < SMALL_SIZES; size++) {
        struct scene s;
        create(&s, QUERIES, KEYS, 1, &rng);
        fill_small(&s.query, small_sizes[size].query, &rng);
        fill_small(&s.key, small_sizes[size].key, &rng);
        s.args.scores = &s.scores.tensor;
        MUST(attn_forward(s.mechanism, &s.args));
        for (int64_t i = 0; i < QUERIES; i++) {
            for (int64_t j = 0; j < KEYS; j++) {
                double magnitude = 0;
                for (int64_t a = 0; a < HIDDEN; a++) {
                    magnitude += fabs(array_get(&s.v, a)) * size_of_tanh(&s.query, i, &s.key, j, a);
                }
                assert_score(array_get(&s.scores, i * KEYS + j), want_score(&s.query, i, &s.key, j, &s.v),
                             small_bound * magnitude, small_sizes[size].query, small_sizes[size].key, 1);
            }
        }
        destroy(&s);
    }
}

/* For few queries: the log-sum-exp of one key is its score, with v so great that its digits count. */
static void small_scores_of_few_queries_keep_their_digits(void **state)
{
    struct rng rng = {34};
    (void)state;
    for (int size = 0; size < SMALL_SIZES; size++) {
        struct scene s;
        double magnitude[FEW_QUERIES] = {0};
        create(&s, FEW_QUERIES, 1, 1000, &rng);
        fill_small(&s.query, small_sizes[size].query, &rng);
        fill_small(&s.key, small_sizes[size].key, &rng);
        s.args.logsumexp = &s.logsumexp.tensor;
        MUST(attn_forward(s.mechanism, &s.args));
        for (int64_t i = 0; i < FEW_QUERIES; i++) {
            for (int64_t a = 0; a < HIDDEN; a++) {
                magnitude[i] += fabs(array_get(&s.v, a)) * size_of_tanh(&s.query, i, &s.key, 0, a);
            }
            /* The exponential of a score near 0 is 1 to within an epsilon, whatever its score. */
            const double error = (small_bound + 8 * 0x1p-24) * magnitude[i] + 8 * 0x1p-24;
            assert_score(array_get(&s.logsumexp, i), want_score(&s.query, i, &s.key, 0, &s.v), error,
                         small_sizes[size].query, small_sizes[size].key, 1000);
        }
        destroy(&s);
    }
}

/* With t = tanh(q + k) and d_e the gradient of a score: d_v = sum d_e t, d_q = v sum d_e (1 - t^2). What flows in is
 * the gradient of the context; it and the values are of size 1, hence so are the errors of d_e, in roundings. */
static void gradients_of_small_scores_keep_their_digits(void **state)
{
    enum { ROUNDINGS = 64 + HIDDEN };
    struct rng rng = {35};
    (void)state;
    for (int size = 0; size < SMALL_SIZES; size++) {
        const int64_t value_shape[2] = {KEYS, 1}, context_shape[2] = {QUERIES, 1}, hidden = HIDDEN, queries = QUERIES;
        const int64_t query_shape[2] = {QUERIES, HIDDEN}, key_shape[2] = {KEYS, HIDDEN};
        struct scene s;
        struct array value, context, exact, d_context, d_v, d_query, d_key;
        create(&s, QUERIES, KEYS, 1, &rng);
        array_create(&value, ATTN_F32, 2, value_shape, LAYOUT_PLAIN, NULL);
        array_create(&context, ATTN_F32, 2, context_shape, LAYOUT_PLAIN, NULL);
        array_create(&exact, ATTN_F64, 1, &queries, LAYOUT_PLAIN, NULL);
        array_create(&d_context, ATTN_F32, 2, context_shape, LAYOUT_PLAIN, NULL);
        array_create(&d_v, ATTN_F32, 1, &hidden, LAYOUT_PLAIN, NULL);
        array_create(&d_query, ATTN_F32, 2, query_shape, LAYOUT_PLAIN, NULL);
        array_create(&d_key, ATTN_F32, 2, key_shape, LAYOUT_PLAIN, NULL);
        fill_small(&s.query, small_sizes[size].query, &rng);
        fill_small(&s.key, small_sizes[size].key, &rng);
        fill_small(&value, 1, &rng);
        fill_small(&d_context, 1, &rng);
        s.args.value = &value.tensor;
        s.args.context = &context.tensor;
        s.args.logsumexp = &exact.tensor;
        MUST(attn_forward(s.mechanism, &s.args));
        const attn_tensor *d_params[1] = {&d_v.tensor};
        attn_backward_args back = ATTN_BACKWARD_ARGS_INIT;
        back.forward = &s.args;
        back.d_context = &d_context.tensor;
        back.d_query = &d_query.tensor;
        back.d_key = &d_key.tensor;
        back.d_params = d_params;
        MUST(attn_backward(s.mechanism, &back));

        double d_score[QUERIES][KEYS], of_score[QUERIES][KEYS]; /* of_score: what its error is relative to */
        for (int64_t i = 0; i < QUERIES; i++) {
            double weight[KEYS], sum = 0, mean = 0;
            for (int64_t j = 0; j < KEYS; j++) sum += weight[j] = exp(want_score(&s.query, i, &s.key, j, &s.v));
            for (int64_t j = 0; j < KEYS; j++) mean += (weight[j] /= sum) * array_get(&value, j);
            for (int64_t j = 0; j < KEYS; j++) {
                d_score[i][j] = weight[j] * array_get(&d_context, i) * (array_get(&value, j) - mean);
                of_score[i][j] = weight[j] * fabs(array_get(&d_context, i)) * 2;
            }
        }
        for (int64_t a = 0; a < HIDDEN; a++) {
            double want = 0, magnitude = 0, want_query[QUERIES] = {0}, of_query[QUERIES] = {0};
            for (int64_t i = 0; i < QUERIES; i++) {
                for (int64_t j = 0; j < KEYS; j++) {
                    const double t = tanh(array_get(&s.query, i * HIDDEN + a) + array_get(&s.key, j * HIDDEN + a));
                    want += d_score[i][j] * t;
                    magnitude += of_score[i][j] * size_of_tanh(&s.query, i, &s.key, j, a);
                    want_query[i] += array_get(&s.v, a) * d_score[i][j] * (1 - t * t);
                    of_query[i] += fabs(array_get(&s.v, a)) * of_score[i][j];
                }
                assert_score(array_get(&d_query, i * HIDDEN + a), want_query[i], ROUNDINGS * 0x1p-24 * of_query[i],
                             small_sizes[size].query, small_sizes[size].key, 1);
            }
            assert_score(array_get(&d_v, a), want, ROUNDINGS * 0x1p-24 * magnitude, small_sizes[size].query,
                         small_sizes[size].key, 1);
        }
        struct array *arrays[] = {&value, &context, &exact, &d_context, &d_v, &d_query, &d_key};
        for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) array_destroy(arrays[i]);
        destroy(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(saturated_scores_are_sums_of_tanh),
        cmocka_unit_test(saturated_scores_of_few_queries_are_sums_of_tanh),
        cmocka_unit_test(small_scores_keep_their_digits),
        cmocka_unit_test(small_scores_of_few_queries_keep_their_digits),
        cmocka_unit_test(gradients_of_small_scores_keep_their_digits),
    };
    return cmocka_run_group_tests_name("additive", tests, engine_setup, engine_teardown);
}
