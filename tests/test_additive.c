/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_additive.c: the additive score where its tanh saturate. Tiles compute it from exp(2 q) and exp(2 k), several
 * fractions over one denominator as long as that cannot overflow; so what is tried is each side of each such limit.
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(saturated_scores_are_sums_of_tanh),
        cmocka_unit_test(saturated_scores_of_few_queries_are_sums_of_tanh),
    };
    return cmocka_run_group_tests_name("additive", tests, engine_setup, engine_teardown);
}
