/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_tile_kernels.c: the kernels of tiles one by one, of every set, against sums in float64, over all remainders of
 * the blocks that they go by. Error bounds count roundings: one errs by UNIT of its result, and a sum of n products, in
 * whatever order and contracted or not, by n UNITs of the sum of magnitudes. */
#include "fenced.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const int64_t counts[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 126, 127, 128};
static const int64_t depths[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 63, 64, 65, 128};

static expectation e;

/* e = before + sum over d < depth of rows[i][d] lanes[d][l], each with its bound. */
static void expect_products(int64_t depth, const tile *lanes, const float *rows, int64_t row_step, int64_t depth_step,
                            const tile *before)
{
    for (int64_t at = 0; at < (int64_t)MOST_ROWS * LANES; at++) {
        const int64_t i = at / LANES, l = at % LANES;
        double sum = before != NULL ? (double)before->at[at] : 0, magnitude = fabs(sum);
        for (int64_t d = 0; d < depth; d++) {
            const double product = (double)rows[i * row_step + d * depth_step] * (double)lanes->at[d * LANES + l];
            sum += product;
            magnitude += fabs(product);
        }
        e.want[at] = sum;
        e.error[at] = (double)(depth + 1) * UNIT * (1 + 1e-4) * magnitude;
    }
}

/* ------------------------------------------------------------------------------- products, weights, context */

static tile lanes, before;
static float rows_of_keys[MOST_ROWS * MOST_DEPTH];

static void products_are_sums_of_products(void **state)
{
    (void)state;
    fill_numbers(lanes.at, MOST_ROWS * LANES, 1, -1, 1);
    fill_numbers(before.at, MOST_ROWS * LANES, 2, -4, 4);
    fill_numbers(rows_of_keys, MOST_ROWS * MOST_DEPTH, 3, -1, 1);
    for
        EACH(int64_t, depth, depths)
        {
            for (int accumulate = 0; accumulate < 2; accumulate++) {
                expect_products(*depth, &lanes, rows_of_keys, MOST_DEPTH, 1, accumulate ? &before : NULL);
            for
                EACH(int64_t, count, counts)
                {
                for
                    EACH_SPANS(s)
                    {
                        /* Rows that are not aligned, and whose padding is one, then several elements. */
                        const int64_t to_stride = LANES + 3 * (*count % 2),
                                      n = *count > 0 ? (*count - 1) * to_stride : 0;
                        const int64_t end = *count > 0 ? n + lane_of(s.end) : 0;
                        const attn_i_rows rows = fenced_rows(0, rows_of_keys, MOST_DEPTH, *count, *depth,
                                                             *depth + (*count % 3 == 0 ? 0 : *count % 3 * 5 - 4));
                        const float *own = fenced_tile(1, lanes.at, *depth, s);
                        float *to = fenced(2, end);
                        for (int64_t i = 0; i < *count && accumulate; i++) {
                            memcpy(to + i * to_stride + lane_of(s.first), before.at + i * LANES + lane_of(s.first),
                                   (size_t)lane_of(s.end - s.first) * sizeof *to);
                        }
                        kernels->products(*depth, own, rows, *count, s, to, to_stride, accumulate);
                        assert_rows(to, end, *count, to_stride, lane_of(s.first), lane_of(s.end), e.want, e.error,
                                    LANES, (doing){"products", {*depth, *count, s.first, s.end, accumulate}});
                    }
                }
            }
        }
}

/* Products become exponents: capped, and less their part of a slope. */
static void expect_exponents(int64_t depth, const attn_i_exponent *exponent, int64_t first_key)
{
    expect_products(depth, &lanes, rows_of_keys, MOST_DEPTH, 1, NULL);
    for (int64_t at = 0; at < (int64_t)MOST_ROWS * LANES; at++) {
        const int64_t l = at % LANES, key = first_key + at / LANES;
        if (exponent->cap != 0) {
            const double cap = (double)exponent->cap;
            e.want[at] = cap * tanh(e.want[at]);
            e.error[at] = cap * e.error[at] + 3 * UNIT * fabs(e.want[at]);
        }
        if (exponent->slope == NULL) continue;
        const double part = (double)exponent->slope[l] * fabs((double)exponent->distance[l] + (double)key);
        e.want[at] -= part;
        e.error[at] += 2 * UNIT * (fabs(part) + fabs(e.want[at]));
    }
}

/* The scores' errors become relative ones of the weights. */
static void expect_weights(int64_t depth, const attn_i_exponent *exponent, const attn_i_lanes *state, int64_t first_key,
                           int edges)
{
    expect_exponents(depth, exponent, first_key);
    for (int64_t at = 0; at < (int64_t)MOST_ROWS * LANES; at++) {
        const int64_t l = at % LANES, key = first_key + at / LANES;
        const double power = fmax(e.want[at] - (double)state->reference[l], -ATTN_I_ROOM);
        e.want[at] = exp2(power);
        e.error[at] = e.want[at] * (expm1(log(2) * e.error[at]) + (1.6 + POWER_ERROR) * UNIT);
        if (!edges || (key >= state->first_key[l] && key < state->end_key[l])) continue;
        e.want[at] = e.error[at] = 0;
    }
}

/* References from the greatest score up to 16 below it; runs of keys of all sorts, also empty ones. */
static void set_lanes(attn_i_lanes *state, int64_t depth, const attn_i_exponent *exponent, int64_t first_key)
{
    expect_exponents(depth, exponent, first_key);
    for (int64_t l = 0; l < LANES; l++) {
        double most = -HUGE_VAL;
        for (int64_t i = 0; i < MOST_ROWS; i++) most = fmax(most, e.want[i * LANES + l]);
        state->reference[l] = (float)(ceil(most) - (double)(l % 5) * 4);
        state->sum[l] = NAN; /* nobody's business here */
        state->first_key[l] = (int32_t)(first_key + (l % 7 == 0 ? 0 : l % 7 * 3 - 4));
        state->end_key[l] = (int32_t)(first_key + (l % 11 < 6 ? l % 11 * 2 : l * 2));
    }
}

static const attn_i_exponent product = {0, NULL, NULL};

static int get_weights(int64_t depth, int64_t count, attn_i_spans s, const attn_i_exponent *exponent,
                       const attn_i_lanes *state, int64_t first_key, int edges, float **to)
{
    const attn_i_rows keys = fenced_rows(0, rows_of_keys, MOST_DEPTH, count, depth, depth + count % 4);
    const float *own = fenced_tile(1, lanes.at, depth, s);
    *to = fenced(2, tile_elements(count, s));
    attn_i_fetch nothing = {.count = 0};
    return kernels->weights(depth, own, keys, count, s, exponent, state, first_key, edges, &nothing, *to);
}

enum { FIRST_KEY = 37 };

static void check_weights(const attn_i_exponent *exponent)
{
    attn_i_lanes state;
    float *to;
    fill_numbers(lanes.at, MOST_ROWS * LANES, 4, -1, 1);
    fill_numbers(rows_of_keys, MOST_ROWS * MOST_DEPTH, 5, -9, 9); /* some scores lie more than ROOM below */
    for
        EACH(int64_t, depth, depths)
        {
            set_lanes(&state, *depth, exponent, FIRST_KEY);
            for (int edges = 0; edges < 2; edges++) {
                expect_weights(*depth, exponent, &state, FIRST_KEY, edges);
            for
                EACH(int64_t, count, counts)
                {
                for
                    EACH_SPANS(s)
                    {
                        assert_int_equal(get_weights(*depth, *count, s, exponent, &state, FIRST_KEY, edges, &to), 1);
                        assert_rows(to, tile_elements(*count, s), *count, LANES, lane_of(s.first), lane_of(s.end),
                                    e.want, e.error, LANES,
                                    (doing){"weights", {*depth, *count, s.first, s.end, edges}});
                    }
                }
            }
        }
}

static void weights_are_powers_of_the_scores(void **unused)
{
    float slope[LANES], distance[LANES];
    (void)unused;
    for (int l = 0; l < LANES; l++) {
        slope[l] = (float)(l % 5 - 1) / 8;
        distance[l] = (float)(l % 9 * 2 - 50);
    }
    const attn_i_exponent capped = {20, NULL, NULL}, sloped = {0, slope, distance}, both = {20, slope, distance};
    check_weights(&product);
    check_weights(&capped);
    check_weights(&sloped);
    check_weights(&both);
}

/* One score, at any place, is what it is by one element of a key times one of a query; all others are 0. Out of the
 * spans, or of an unseen key, it is nobody's concern. */
static void weights_refuse_what_lies_past_the_room_wherever_it_is(void **unused)
{
    static const struct {
        float score;
        int fits;
    } cases[] = {{62, 1}, {64, 0}, {1e4f, 0}, {1e30f, 0}, {INFINITY, 0}, {NAN, 0}, {-INFINITY, 1}, {-1e30f, 1}};
    attn_i_lanes state;
    float *to;
    (void)unused;
    for (int l = 0; l < LANES; l++) state.reference[l] = (float)(l % 3 - 1), state.first_key[l] = 0;
    for (int64_t count = 1; count <= 14; count++) {
        for (int64_t j = 0; j < count; j++) {
            for (int lane = 0; lane < LANES; lane += 5) {
                for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
                    const float score = cases[c].score;
                    /* Where infinity times 0 would make a NaN of the other lanes, all have that score. */
                    const int only = isfinite(score);
                    memset(lanes.at, 0, sizeof lanes.at);
                    memset(rows_of_keys, 0, sizeof rows_of_keys);
                    for (int l = 0; l < LANES; l++) lanes.at[l] = only ? l == lane : 1;
                    rows_of_keys[j * MOST_DEPTH] = score + (only ? state.reference[lane] : 0);
                    for
                        EACH_SPANS(s)
                        {
                            const int within = !only || (lane >= lane_of(s.first) && lane < lane_of(s.end));
                            if (get_weights(1, count, s, &product, &state, 0, 0, &to) != (cases[c].fits || !within)) {
                                fail_msg("%s: score %g of key %d of %d, lane %d, spans %d %d", tested, (double)score,
                                         (int)j, (int)count, lane, s.first, s.end);
                            }
                        }
                    /* The first and the last that the lane sees, and just outside of these. */
                    const attn_i_spans all = {0, ATTN_I_SPANS};
                    for (int seen = 0; seen < 4; seen++) {
                        for (int l = 0; l < LANES; l++) {
                            state.first_key[l] = (int32_t)(seen == 3 ? j + 1 : seen == 2 ? j : 0);
                            state.end_key[l] = (int32_t)(seen == 0 ? j : seen == 1 ? j + 1 : count);
                        }
                        const int good = get_weights(1, count, all, &product, &state, 0, 1, &to);
                        if (good == (cases[c].fits || seen == 0 || seen == 3)) continue;
                        fail_msg("%s: score %g of key %d of %d, lane %d, seen %d: %d", tested, (double)score, (int)j,
                                 (int)count, lane, seen, good);
                    }
                }
            }
        }
    }
}

/* The other products: context[d][l] += sum over j of values[j][d] weights[j][l]; and the sums of the weights. */
static void context_and_sum_are_added_to(void **state)
{
    static const int64_t dims[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 16, 63, 64, 65, 128};
    static double sum[LANES], sum_error[LANES];
    (void)state;
    fill_numbers(lanes.at, MOST_ROWS * LANES, 6, 0, 1); /* the weights */
    fill_numbers(before.at, MOST_ROWS * LANES, 7, -4, 4);
    fill_numbers(rows_of_keys, MOST_ROWS * MOST_DEPTH, 8, -1, 1);
    for
        EACH(int64_t, count, counts)
        {
            expect_products(*count, &lanes, rows_of_keys, 1, MOST_DEPTH, &before);
            for (int l = 0; l < LANES; l++) {
                sum[l] = l;
                for (int64_t j = 0; j < *count; j++) sum[l] += (double)lanes.at[j * LANES + l];
                sum_error[l] = (double)(*count + 1) * UNIT * (1 + 1e-4) * sum[l];
            }
        for
            EACH(int64_t, dim, dims)
            {
            for
                EACH_SPANS(s)
                {
                    const attn_i_rows values =
                        fenced_rows(0, rows_of_keys, MOST_DEPTH, *count, *dim, *dim + *dim % 3 + *count % 2);
                    const float *weights = fenced_tile(1, lanes.at, *count, s);
                    float *context = fenced_tile(2, before.at, *dim, s), *sums = fenced(3, lane_of(s.end));
                    for (int l = lane_of(s.first); l < lane_of(s.end); l++) sums[l] = (float)l;
                    kernels->context(*count, weights, values, *dim, s, context, sums);
                    const doing it = {"context", {*count, *dim, s.first, s.end, 0}};
                    assert_rows(context, tile_elements(*dim, s), *dim, LANES, lane_of(s.first), lane_of(s.end), e.want,
                                e.error, LANES, it);
                    assert_rows(sums, lane_of(s.end), 1, LANES, lane_of(s.first), lane_of(s.end), sum, sum_error, LANES,
                                (doing){"the sums of context", {*count, *dim, s.first, s.end, 0}});
                }
            }
        }
}

static void assert_lanes_alike(const float *at, int64_t rows, attn_i_spans s, const char *what, int64_t depth)
{
    for (int64_t i = 0; i < rows; i++) {
        for (int l = lane_of(s.first); l < lane_of(s.end); l++) {
            if (memcmp(&at[i * LANES + l], &at[i * LANES + lane_of(s.first)], sizeof *at) == 0) continue;
            fail_msg("%s, %s (%d %d, spans %d %d): row %d, lane %d differs", tested, what, (int)depth, (int)rows,
                     s.first, s.end, (int)i, l);
        }
    }
}

/* A query gets the same bits whichever lane it has: a pass must not depend on its neighbours. */
static void what_a_lane_gets_does_not_depend_on_its_place(void **unused)
{
    static const int64_t sizes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 64, 127};
    attn_i_lanes state;
    float *to;
    (void)unused;
    fill_numbers(lanes.at, MOST_ROWS * LANES, 9, 0, 1);
    fill_numbers(rows_of_keys, MOST_ROWS * MOST_DEPTH, 10, -1, 1);
    for (int64_t at = 0; at < (int64_t)MOST_ROWS * LANES; at++) lanes.at[at] = lanes.at[at / LANES * LANES];
    for (int l = 0; l < LANES; l++) state.reference[l] = 3, state.first_key[l] = 1, state.end_key[l] = 100;
    for
        EACH(int64_t, depth, sizes)
        {
        for
            EACH(int64_t, count, sizes)
            {
            for
                EACH_SPANS(s)
                {
                    get_weights(*depth, *count, s, &product, &state, 0, 1, &to);
                    assert_lanes_alike(to, *count, s, "weights", *depth);
                    const attn_i_rows rows = fenced_rows(0, rows_of_keys, MOST_DEPTH, *count, *depth, *depth);
                    to = fenced(2, tile_elements(*count, s));
                    kernels->products(*depth, fenced_tile(1, lanes.at, *depth, s), rows, *count, s, to, LANES, 0);
                    assert_lanes_alike(to, *count, s, "products", *depth);
                    float *context = fenced_tile(2, lanes.at, *depth, s), sums[LANES] = {0};
                    kernels->context(*count, fenced_tile(1, lanes.at, *count, s), rows, *depth, s, context, sums);
                    assert_lanes_alike(context, *depth, s, "context", *depth);
                    assert_lanes_alike(sums, 1, s, "the sums of context", *depth);
                }
            }
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_are_sums_of_products),
        cmocka_unit_test(weights_are_powers_of_the_scores),
        cmocka_unit_test(weights_refuse_what_lies_past_the_room_wherever_it_is),
        cmocka_unit_test(context_and_sum_are_added_to),
        cmocka_unit_test(what_a_lane_gets_does_not_depend_on_its_place),
    };
    int failed = 0;
    if (!take_set(0)) return 77; /* CTest's SKIP_RETURN_CODE: this CPU has not that set */
    for (size_t set = 0; take_set(set); set++) failed += cmocka_run_group_tests_name(tested, tests, NULL, NULL);
    return failed;
}
