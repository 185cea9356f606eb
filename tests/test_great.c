/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_great.c: numbers near the ends of float32. Scores that are finite stay so as exponents; a context of finite
 * values is no greater than these; and from scores so great that their last digit is a factor, forward and backward
 * make the same weights.
 */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support.h"

enum { MOST_QUERIES = 70, MOST_KEYS = 3000, MOST_DIM = 300 };

/* A call, by the dot product, of as many queries as rows, lanes and several tiles of them have. */
static const int64_t counts[] = {1, 3, 20, MOST_QUERIES};
enum { COUNTS = sizeof counts / sizeof *counts };

static float query[MOST_QUERIES * MOST_DIM], key[MOST_KEYS * MOST_DIM], value[MOST_KEYS * MOST_DIM];
static float bias[MOST_QUERIES * MOST_KEYS], weights[MOST_QUERIES * MOST_KEYS], scores[MOST_QUERIES * MOST_KEYS];
static float context[MOST_QUERIES * MOST_DIM], d_context[MOST_QUERIES * MOST_DIM], d_value[MOST_KEYS * MOST_DIM];
static float d_bias[MOST_QUERIES * MOST_KEYS], rounded_logsumexp[MOST_QUERIES];
static double exact_logsumexp[MOST_QUERIES];

struct call {
    attn_mechanism *mechanism;
    attn_tensor query, key, value, bias, weights, scores, context, logsumexp, d_context, d_value, d_bias;
    attn_forward_args args;
    attn_backward_args back;
};

static void view(attn_tensor *tensor, float *data, int64_t rows, int64_t columns)
{
    MUST(attn_tensor_init(tensor, data, ATTN_F32, 2, (int64_t[]){rows, columns}));
}

/* Inputs are zeros until the test says otherwise, and a loss that adds all contexts up. */
static void begin(struct call *c, int64_t queries, int64_t keys, int64_t dim, int64_t value_dim, attn_dtype logsumexp)
{
    memset(query, 0, sizeof query);
    memset(key, 0, sizeof key);
    memset(bias, 0, sizeof bias);
    c->args = (attn_forward_args)ATTN_FORWARD_ARGS_INIT;
    c->back = (attn_backward_args)ATTN_BACKWARD_ARGS_INIT;
    MUST(attn_mechanism_create_dot(engine, &c->mechanism));
    view(&c->query, query, queries, dim);
    view(&c->key, key, keys, dim);
    view(&c->value, value, keys, value_dim);
    view(&c->bias, bias, queries, keys);
    view(&c->weights, weights, queries, keys);
    view(&c->scores, scores, queries, keys);
    view(&c->context, context, queries, value_dim);
    view(&c->d_context, d_context, queries, value_dim);
    view(&c->d_value, d_value, keys, value_dim);
    view(&c->d_bias, d_bias, queries, keys);
    void *data = logsumexp == ATTN_F64 ? (void *)exact_logsumexp : (void *)rounded_logsumexp;
    MUST(attn_tensor_init(&c->logsumexp, data, logsumexp, 1, &queries));
    for (int64_t i = 0; i < queries * value_dim; i++) d_context[i] = 1;
    c->args.query = &c->query, c->args.key = &c->key, c->args.value = &c->value;
    c->args.context = &c->context, c->args.logsumexp = &c->logsumexp;
    c->back.forward = &c->args, c->back.d_context = &c->d_context, c->back.d_value = &c->d_value;
}

static void assert_is(const char *what, int number, double got, double want, double error)
{
    if (!(fabs(got - want) <= error)) fail_msg("%s %d: %.9g, not %.9g", what, number, got, want);
}

/* ------------------------------------------------------------------------------------------- great scores */

/* Two keys' biases, whose values are 1 and 3, and the context. */
static const struct {
    float first, second;
    double temperature, context;
} biases[] = {
    {-FLT_MAX, -FLT_MAX, 1, 2},  {-2.4e38F, -2.4e38F, 1, 2},  {2.4e38F, 2.4e38F, 1, 2},  {FLT_MAX, FLT_MAX, 1, 2},
    {-FLT_MAX, -2.5e38F, 1, 3},  {2.5e38F, 2.4e38F, 1, 1},    {-FLT_MAX, FLT_MAX, 1, 3}, {-FLT_MAX, 0, 1, 3},
    {-INFINITY, -FLT_MAX, 1, 3}, {2.4e35F, 2.4e35F, 1e-3, 2}, {-3e38F, -3e38F, 1e-3, 2}, {3.3e38F, 3.4e38F, 1e-3, 3},
    {1e37F, 1e37F, 0.01, 2},     {-FLT_MAX, FLT_MAX, 2, 3},   {2.4e38F, -2.4e38F, 2, 1},
};
enum { BIASES = sizeof biases / sizeof *biases };

/* Both ways back: with the bias's gradient and without. */
static void check_two_keys(struct call *c, int number, double want)
{
    const double of_second = (want - 1) / 2;
    const int64_t queries = c->query.shape[0];
    value[0] = 1;
    value[1] = 3;
    for (int outputs = 0; outputs < 3; outputs++) {
        c->args.weights = outputs > 0 ? &c->weights : NULL;
        c->args.scores = outputs > 1 ? &c->scores : NULL;
        c->args.scores_stage = ATTN_SCORES_MASKED;
        MUST(attn_forward(c->mechanism, &c->args));
        for (int64_t i = 0; i < queries; i++) {
            assert_is("context", number, (double)context[i], want, 1e-6);
            if (outputs > 0) assert_is("weight", number, (double)weights[2 * i], 1 - of_second, 1e-6);
            if (outputs > 0) assert_is("weight", number, (double)weights[2 * i + 1], of_second, 1e-6);
        }
        for (int wants_bias = 0; wants_bias < 2; wants_bias++) {
            c->back.d_bias = wants_bias && c->args.bias != NULL ? &c->d_bias : NULL;
            MUST(attn_backward(c->mechanism, &c->back));
            assert_is("d_value", number, (double)d_value[0] / (double)queries, 1 - of_second, 1e-6);
            assert_is("d_value", number, (double)d_value[1] / (double)queries, of_second, 1e-6);
        }
    }
}

static void finite_biases_stay_finite(void **state)
{
    (void)state;
    for (int n = 0; n < COUNTS; n++) {
        for (int k = 0; k < BIASES; k++) {
            struct call c;
            begin(&c, counts[n], 2, 4, 1, ATTN_F64);
            MUST(attn_mechanism_set_temperature(c.mechanism, biases[k].temperature));
            for (int64_t i = 0; i < counts[n]; i++) {
                bias[2 * i] = biases[k].first;
                bias[2 * i + 1] = biases[k].second;
            }
            c.args.bias = &c.bias;
            check_two_keys(&c, k, biases[k].context);
            const double most = (double)fmaxf(biases[k].first, biases[k].second) / biases[k].temperature;
            /* Where float32 holds it, a score times log2(e) / temperature is rounded as one. */
            const double rounding = biases[k].temperature > 1 ? (double)FLT_EPSILON : DBL_EPSILON;
            assert_is("log-sum-exp", k, exact_logsumexp[0] - most, biases[k].context == 2 ? log(2) : 0,
                      1 + fabs(most) * rounding);
            attn_mechanism_destroy(c.mechanism);
        }
    }
}

static void finite_products_stay_finite(void **state)
{
    static const struct {
        float query, first, second;
        double context;
    } cases[] = {{1.6e19F, 1.5e19F, 1.5e19F, 2}, {1.6e19F, -1.5e19F, -1.5e19F, 2}, {-1.6e19F, 1.5e19F, 2e19F, 1}};
    (void)state;
    for (int n = 0; n < COUNTS; n++) {
        for (int k = 0; k < 3; k++) {
            struct call c;
            begin(&c, counts[n], 2, 1, 1, ATTN_F64);
            for (int64_t i = 0; i < counts[n]; i++) query[i] = cases[k].query;
            key[0] = cases[k].first;
            key[1] = cases[k].second;
            check_two_keys(&c, k, cases[k].context);
            attn_mechanism_destroy(c.mechanism);
        }
    }
}

static void finite_distances_stay_finite(void **state)
{
    (void)state;
    for (int n = 0; n < COUNTS; n++) {
        for (int relative = 0; relative < 2; relative++) {
            struct call c;
            float numbers[3] = {-2.4e38F, -2.4e38F, -2.4e38F};
            attn_tensor table;
            begin(&c, counts[n], 2, 4, 1, ATTN_F64);
            if (relative) {
                view(&table, numbers, 1, 3);
                MUST(attn_mechanism_set_relative_bias(c.mechanism, &table, ATTN_RELATIVE_CLIPPED, 1,
                                                      ATTN_ALIGN_TOP_LEFT));
                check_two_keys(&c, relative, 2);
            } else if (counts[n] == 1) { /* the query stands at the second key */
                numbers[0] = 2.4e38F;
                MUST(attn_tensor_init(&table, numbers, ATTN_F32, 1, (int64_t[]){1}));
                MUST(attn_mechanism_set_alibi(c.mechanism, &table, ATTN_ALIGN_BOTTOM_RIGHT));
                check_two_keys(&c, relative, 3);
            }
            attn_mechanism_destroy(c.mechanism);
        }
    }
}

/* Minus infinity hides a key, even from a query that sees nothing else. */
static void minus_infinity_stays_unseen(void **state)
{
    (void)state;
    for (int n = 0; n < COUNTS; n++) {
        struct call c;
        begin(&c, counts[n], 2, 4, 1, ATTN_F64);
        for (int64_t i = 0; i < 2 * counts[n]; i++) bias[i] = -INFINITY;
        c.args.bias = &c.bias;
        value[0] = value[1] = NAN;
        MUST(attn_forward(c.mechanism, &c.args));
        for (int64_t i = 0; i < counts[n]; i++) {
            assert_true(context[i] == 0 && exact_logsumexp[i] == -(double)INFINITY);
        }
        attn_mechanism_destroy(c.mechanism);
    }
}

/* A key far off, in another tile or part, whose score is as great. */
static void great_scores_meet_across_tiles(void **state)
{
    static const int64_t keys[] = {200, MOST_KEYS};
    (void)state;
    for (int n = 0; n < COUNTS; n++) {
        for (int k = 0; k < 2; k++) {
            struct call c;
            begin(&c, counts[n], keys[k], 4, 1, ATTN_F64);
            for (int64_t i = 0; i < counts[n] * keys[k]; i++) bias[i] = -FLT_MAX;
            for (int64_t i = 0; i < counts[n]; i++) bias[i * keys[k]] = bias[(i + 1) * keys[k] - 1] = -2.5e38F;
            for (int64_t j = 0; j < keys[k]; j++) value[j] = 7;
            value[0] = 1;
            value[keys[k] - 1] = 3;
            c.args.bias = &c.bias;
            MUST(attn_forward(c.mechanism, &c.args));
            for (int64_t i = 0; i < counts[n]; i++) assert_is("context", k, (double)context[i], 2, 1e-6);
            MUST(attn_backward(c.mechanism, &c.back));
            assert_is("d_value", k, (double)d_value[0] / (double)counts[n], 0.5, 1e-6);
            assert_is("d_value", k, (double)d_value[1] / (double)counts[n], 0, 1e-6);
            assert_is("d_value", k, (double)d_value[keys[k] - 1] / (double)counts[n], 0.5, 1e-6);
            attn_mechanism_destroy(c.mechanism);
        }
    }
}

/* ------------------------------------------------------------------------------------------- great values */

static void a_context_is_no_greater_than_its_values(void **state)
{
    static const int64_t keys[] = {2, 3, 129, 700, MOST_KEYS}, dims[] = {1, 5, 70, MOST_DIM};
    (void)state;
    for (int n = 0; n < COUNTS; n++) {
        for (int k = 0; k < 5; k++) {
            for (int d = 0; d < 4; d++) {
                struct call c;
                begin(&c, counts[n], keys[k], 4, dims[d], ATTN_F32);
                for (int64_t j = 0; j < keys[k] * dims[d]; j++) value[j] = j % dims[d] == 0 ? 2e38F : 1e-3F;
                for (int with_bias = 0; with_bias < 2; with_bias++) {
                    for (int64_t i = 0; i < counts[n] * keys[k]; i++) bias[i] = 1e9F;
                    c.args.bias = with_bias ? &c.bias : NULL;
                    MUST(attn_forward(c.mechanism, &c.args));
                    for (int64_t i = 0; i < counts[n] * dims[d]; i++) {
                        const double want = i % dims[d] == 0 ? (double)2e38F : 1e-3;
                        /* Sums of as many terms, at most. */
                        assert_is("context", (int)keys[k], (double)context[i] / want, 1,
                                  (double)(keys[k] + 8) * 0x1p-24);
                    }
                }
                attn_mechanism_destroy(c.mechanism);
            }
        }
    }
}

/* Weights relative to what the first keys suggested are great themselves. */
static void scores_that_grow_late_make_nothing_infinite(void **state)
{
    enum { KEYS = 500, LATE = 400 };
    (void)state;
    for (int n = 0; n < COUNTS; n++) {
        struct call c;
        begin(&c, counts[n], KEYS, 4, 3, ATTN_F32);
        for (int64_t i = 0; i < counts[n]; i++) query[4 * i] = 1;
        for (int64_t j = LATE; j < KEYS; j++) key[4 * j] = 40;
        for (int64_t j = 0; j < KEYS * 3; j++) value[j] = 1e25F;
        MUST(attn_forward(c.mechanism, &c.args));
        for (int64_t i = 0; i < counts[n] * 3; i++) assert_is("context", 0, (double)context[i] / 1e25, 1, 1e-4);
        attn_mechanism_destroy(c.mechanism);
    }
}

/* Both alignments: one side's weights are along rows of scores, the other's down columns. */
static void decomposable_sums_are_no_greater_than_what_they_are_of(void **state)
{
    enum { ROWS = 150, DIM = 4, WIDTH = 3 };
    static const float sizes[] = {2e38F, 1, 1, 1}, products[] = {0, 1.5e19F, -1.5e19F, 0};
    static const int64_t shape[] = {1, 2, 40, ROWS};
    static float f[ROWS * DIM], g[ROWS * DIM], a[ROWS * WIDTH], b[ROWS * WIDTH], beta[ROWS * WIDTH],
        alpha[ROWS * WIDTH];
    (void)state;
    for (int n = 0; n < 4; n++) {
        for (int k = 0; k < 4; k++) {
            const int64_t rows = shape[n];
            attn_decomposable_args args = ATTN_DECOMPOSABLE_ARGS_INIT;
            attn_tensor tf, tg, ta, tb, t_beta, t_alpha;
            for (int64_t i = 0; i < rows * DIM; i++) {
                f[i] = i % DIM == 0 ? 1.6e19F : 0;
                g[i] = i % DIM == 0 ? products[k] : 0;
            }
            for (int64_t i = 0; i < rows * WIDTH; i++) {
                a[i] = sizes[k];
                b[i] = sizes[k] / 2;
            }
            view(&tf, f, rows, DIM), view(&tg, g, rows, DIM), view(&ta, a, rows, WIDTH), view(&tb, b, rows, WIDTH);
            view(&t_beta, beta, rows, WIDTH), view(&t_alpha, alpha, rows, WIDTH);
            args.f = &tf, args.g = &tg, args.a = &ta, args.b = &tb, args.beta = &t_beta, args.alpha = &t_alpha;
            MUST(attn_decomposable_forward(engine, &args));
            for (int64_t i = 0; i < rows * WIDTH; i++) {
                assert_is("alpha", k, (double)alpha[i] / (double)sizes[k], 1, 1e-5);
                assert_is("beta", k, (double)beta[i] / (double)sizes[k], 0.5, 1e-5);
            }
        }
    }
}

/* ------------------------------------------------------------------------------------------- great logits */

/* Two keys alike have half a weight each, whatever was asked for besides. The products' sums round; alike. */
static void forward_and_backward_round_scores_alike(void **state)
{
    enum { DIM = 128 };
    static const float pairs[][2] = {{-64, 64}, {64.1F, 64.3F}, {-37.3F, 41.7F}};
    (void)state;
    for (int n = 0; n < COUNTS; n++) {
        for (int k = 0; k < 3; k++) {
            for (int asked = 0; asked < 12; asked++) {
                struct call c;
                begin(&c, counts[n], 2, DIM, 1, asked % 2 ? ATTN_F32 : ATTN_F64);
                for (int64_t i = 0; i < counts[n] * DIM; i++) query[i] = pairs[k][0];
                for (int64_t j = 0; j < 2 * DIM; j++) key[j] = pairs[k][1];
                if (asked >= 6) MUST(attn_mechanism_set_scale(c.mechanism, 0.37));
                value[0] = 1;
                value[1] = 3;
                c.args.weights = asked / 2 % 3 == 1 ? &c.weights : NULL;
                c.args.scores = asked / 2 % 3 == 2 ? &c.scores : NULL;
                c.args.scores_stage = ATTN_SCORES_RAW;
                MUST(attn_forward(c.mechanism, &c.args));
                MUST(attn_backward(c.mechanism, &c.back));
                assert_is("context", asked, (double)context[0], 2, 1e-6);
                for (int j = 0; j < 2; j++) {
                    assert_is("d_value", asked, (double)d_value[j] / (double)counts[n], 0.5, 1e-6);
                }
                attn_mechanism_destroy(c.mechanism);
            }
        }
    }
}

/* The same of both alignments, whose log-sum-exps are saved as they are rounded. */
static void decomposable_weights_of_great_logits_add_up_to_one(void **state)
{
    enum { ROWS = 150, DIM = 64, WIDTH = 2 };
    static const float pairs[][2] = {{0.3F, 0.7F}, {64, 64}, {64.1F, 63.7F}, {-37.3F, 41.7F}, {3e3F, 2e3F}};
    static const int64_t shapes[][2] = {{1, 1}, {2, 3}, {40, 150}, {150, 7}};
    static float f[ROWS * DIM], g[ROWS * DIM], a[ROWS * WIDTH], b[ROWS * WIDTH], beta[ROWS * WIDTH],
        alpha[ROWS * WIDTH], ones[ROWS * WIDTH], d_a[ROWS * WIDTH], d_b[ROWS * WIDTH], of_a[ROWS], of_b[ROWS];
    (void)state;
    for (int n = 0; n < 4; n++) {
        for (int k = 0; k < 5; k++) {
            const int64_t rows = shapes[n][0], columns = shapes[n][1];
            attn_decomposable_args args = ATTN_DECOMPOSABLE_ARGS_INIT;
            attn_tensor tf, tg, ta, tb, t_beta, t_alpha, t_of_a, t_of_b, d_beta, d_alpha, t_d_a, t_d_b;
            for (int64_t i = 0; i < ROWS * DIM; i++) f[i] = pairs[k][0];
            for (int64_t i = 0; i < ROWS * DIM; i++) g[i] = pairs[k][1];
            for (int64_t i = 0; i < ROWS * WIDTH; i++) a[i] = b[i] = ones[i] = 1;
            view(&tf, f, rows, DIM), view(&tg, g, columns, DIM), view(&ta, a, rows, WIDTH);
            view(&tb, b, columns, WIDTH), view(&t_beta, beta, rows, WIDTH), view(&t_alpha, alpha, columns, WIDTH);
            view(&d_beta, ones, rows, WIDTH), view(&d_alpha, ones, columns, WIDTH);
            view(&t_d_a, d_a, rows, WIDTH), view(&t_d_b, d_b, columns, WIDTH);
            MUST(attn_tensor_init(&t_of_a, of_a, ATTN_F32, 3, (int64_t[]){1, 1, rows}));
            MUST(attn_tensor_init(&t_of_b, of_b, ATTN_F32, 3, (int64_t[]){1, 1, columns}));
            args.f = &tf, args.g = &tg, args.a = &ta, args.b = &tb, args.beta = &t_beta, args.alpha = &t_alpha;
            args.a_logsumexp = &t_of_a, args.b_logsumexp = &t_of_b;
            MUST(attn_decomposable_forward(engine, &args));
            args.d_beta = &d_beta, args.d_alpha = &d_alpha, args.d_a = &t_d_a, args.d_b = &t_d_b;
            MUST(attn_decomposable_backward(engine, &args));
            /* Products of equal rows may round apart by the BLAS; weights add up to one all the same. */
            double all_a = 0, all_b = 0;
            for (int64_t i = 0; i < rows; i++) all_a += (double)d_a[i * WIDTH];
            for (int64_t j = 0; j < columns; j++) all_b += (double)d_b[j * WIDTH];
            assert_is("d_a", k, all_a / (double)columns, 1, 1e-5);
            assert_is("d_b", k, all_b / (double)rows, 1, 1e-5);
        }
    }
}

/* A distant key has by far the greatest product, and nearer ones have ALiBi's part: the greatest score of all is
 * neither's own, nor their sum. */
static void a_distant_great_product_does_not_hide_what_is_near(void **state)
{
    static const struct {
        float product, slope;
        int64_t keys;
    } cases[] = {{46, 0.5F, 101}, {46, 0.5F, 700}, {300, 1, 290}, {120, 0.25F, 600}, {80, 4, 128}, {0, 0.5F, 300}};
    (void)state;
    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++) {
        for (size_t k = 0; k < COUNTS; k++) {
            struct call c;
            const int64_t queries = counts[k], keys = cases[n].keys;
            float slope = cases[n].slope;
            attn_tensor slopes;
            begin(&c, queries, keys, 1, 1, ATTN_F64);
            MUST(attn_tensor_init(&slopes, &slope, ATTN_F32, 1, (int64_t[]){1}));
            MUST(attn_mechanism_set_alibi(c.mechanism, &slopes, ATTN_ALIGN_TOP_LEFT));
            c.args.query_start = keys - queries;
            for (int64_t i = 0; i < queries; i++) query[i] = 1;
            for (int64_t j = 0; j < keys; j++) value[j] = (float)j;
            key[0] = cases[n].product;
            MUST(attn_forward(c.mechanism, &c.args));
            MUST(attn_backward(c.mechanism, &c.back));
            double first = 0; /* the weights of key 0, of all queries */
            for (int64_t i = 0; i < queries; i++) {
                double most = -INFINITY, sum = 0, mean = 0;
                for (int pass = 0; pass < 2; pass++) {
                    for (int64_t j = 0; j < keys; j++) {
                        const double distance = fabs((double)(keys - queries + i - j));
                        const double score = (double)key[j] - (double)slope * distance, weight = exp(score - most);
                        if (pass == 0) most = fmax(most, score);
                        if (pass == 1) sum += weight, mean += weight * (double)j;
                    }
                }
                first += exp((double)key[0] - (double)slope * (double)(keys - queries + i) - most) / sum;
                assert_is("context", (int)n, (double)context[i], mean / sum, 2e-5 * (double)keys);
                assert_is("log-sum-exp", (int)n, exact_logsumexp[i], most + log(sum), 1e-4);
            }
            assert_is("d_value", (int)n, (double)d_value[0], first, 2e-5 * (double)queries);
            attn_mechanism_destroy(c.mechanism);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finite_biases_stay_finite),
        cmocka_unit_test(finite_products_stay_finite),
        cmocka_unit_test(finite_distances_stay_finite),
        cmocka_unit_test(minus_infinity_stays_unseen),
        cmocka_unit_test(great_scores_meet_across_tiles),
        cmocka_unit_test(a_context_is_no_greater_than_its_values),
        cmocka_unit_test(scores_that_grow_late_make_nothing_infinite),
        cmocka_unit_test(decomposable_sums_are_no_greater_than_what_they_are_of),
        cmocka_unit_test(forward_and_backward_round_scores_alike),
        cmocka_unit_test(decomposable_weights_of_great_logits_add_up_to_one),
        cmocka_unit_test(a_distant_great_product_does_not_hide_what_is_near),
    };
    return cmocka_run_group_tests_name("great", tests, engine_setup, engine_teardown);
}
