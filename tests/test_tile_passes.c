/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_tile_passes.c: the kernels that go over a tile of scores row by row, and those between rows and lanes, of every
 * set, against float64 on all spans. For the error bounds see test_tile_kernels.c. */
#include "fenced.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static expectation e;

static const int64_t pass_counts[] = {0, 1, 2, 3, 4, 5, 16, 127, 128};

/* One pass over the rows of a tile: what it makes of x in row j of lane l, and how far off that may be. */
typedef struct pass {
    const char *name;
    void (*run)(int64_t count, attn_i_spans spans, float *to);
    double (*want)(double x, int64_t j, int64_t l, double *error);
} pass;

static tile scores, other;
static attn_i_lanes pass_lanes;
static float pass_numbers[2][LANES]; /* what a pass needs of a lane */
static const float pass_factor = 0.3f;

static void run_scale(int64_t count, attn_i_spans s, float *to)
{
    kernels->tile_scale(count, s, pass_factor, to);
}

static double want_scale(double x, int64_t j, int64_t l, double *error)
{
    (void)j, (void)l;
    *error = fabs(x * (double)pass_factor) * UNIT;
    return x * (double)pass_factor;
}

static void run_softcap(int64_t count, attn_i_spans s, float *to)
{
    kernels->tile_softcap(count, s, 2.5f, to);
}

/* The quotient errs by 1 UNIT, which tanh hands on at most; tanh by 2 units in the last place, hence 4; the product. */
static double want_softcap(double x, int64_t j, int64_t l, double *error)
{
    (void)j, (void)l;
    *error = 6.001 * UNIT * fabs(2.5 * tanh(x / 2.5));
    return 2.5 * tanh(x / 2.5);
}

static void run_add(int64_t count, attn_i_spans s, float *to)
{
    kernels->tile_add(count, s, pass_factor, fenced_tile(1, other.at, count, s), to);
}

static double want_sum(double x, double product, double *error)
{
    *error = UNIT * 1.001 * (fabs(product) + fabs(x + product));
    return x + product;
}

static double want_add(double x, int64_t j, int64_t l, double *error)
{
    return want_sum(x, (double)other.at[j * LANES + l] * (double)pass_factor, error);
}

static void run_alibi(int64_t count, attn_i_spans s, float *to)
{
    kernels->tile_alibi(count, s, fenced_tile(1, pass_numbers[0], 1, s), fenced_tile(3, pass_numbers[1], 1, s), to);
}

static double want_alibi(double x, int64_t j, int64_t l, double *error)
{
    return want_sum(x, -(double)pass_numbers[0][l] * fabs((double)pass_numbers[1][l] + (double)j), error);
}

static int mask_shows(int64_t j, int64_t l)
{
    return (j * 7 + l) % 3 != 0;
}

static void run_mask(int64_t count, attn_i_spans s, float *to)
{
    static tile mask;
    for (int64_t at = 0; at < count * LANES; at++) mask.at[at] = (float)mask_shows(at / LANES, at % LANES);
    kernels->tile_mask(count, s, fenced_tile(1, mask.at, count, s), to);
}

static double want_mask(double x, int64_t j, int64_t l, double *error)
{
    *error = 0;
    return mask_shows(j, l) ? x : -HUGE_VAL;
}

static void run_edges(int64_t count, attn_i_spans s, float *to)
{
    kernels->tile_edges(count, s, &pass_lanes, 5, to);
}

static double want_edges(double x, int64_t j, int64_t l, double *error)
{
    *error = 0;
    return j + 5 >= pass_lanes.first_key[l] && j + 5 < pass_lanes.end_key[l] ? x : -HUGE_VAL;
}

static void run_exponentials(int64_t count, attn_i_spans s, float *to)
{
    kernels->tile_exponentials(count, s, fenced_tile(1, pass_numbers[0], 1, s), to);
}

/* Far references are within a factor of 2 of the scores, so that their difference is exact. */
static double want_exponentials(double x, int64_t j, int64_t l, double *error)
{
    (void)j;
    const double power = exp2(fmax(x - (double)pass_numbers[0][l], -ATTN_I_ROOM));
    *error = (1.6 + POWER_ERROR) * UNIT * power;
    return x == -HUGE_VAL ? 0 : isnan(x) ? x : power;
}

/* Over all spans and counts, the numbers of the scores being what the pass is to see. */
static void try_pass(const pass *p)
{
    for (int64_t at = 0; at < (int64_t)MOST_ROWS * LANES; at++) {
        e.want[at] = p->want((double)scores.at[at], at / LANES, at % LANES, &e.error[at]);
    }
    for
        EACH(int64_t, count, pass_counts)
        {
        for
            EACH_SPANS(s)
            {
                float *to = fenced_tile(2, scores.at, *count, s);
                p->run(*count, s, to);
                assert_rows(to, tile_elements(*count, s), *count, LANES, lane_of(s.first), lane_of(s.end), e.want,
                            e.error, LANES, (doing){p->name, {*count, s.first, s.end, 0, 0}});
            }
        }
}

static void passes_do_what_they_say(void **state)
{
    static const pass passes[] = {
        {"tile_scale", run_scale, want_scale}, {"tile_softcap", run_softcap, want_softcap},
        {"tile_add", run_add, want_add},       {"tile_alibi", run_alibi, want_alibi},
        {"tile_mask", run_mask, want_mask},    {"tile_edges", run_edges, want_edges},
    };
    (void)state;
    fill_numbers(scores.at, MOST_ROWS * LANES, 11, -9, 9);
    fill_numbers(other.at, MOST_ROWS * LANES, 12, -5, 5);
    for (int l = 0; l < LANES; l++) {
        pass_numbers[0][l] = (float)(l + 1) / 64;
        pass_numbers[1][l] = (float)(l * 4 - 130);
        pass_lanes.first_key[l] = l % 9;
        pass_lanes.end_key[l] = l % 5 * 33;
    }
    for
        EACH(pass, p, passes) try_pass(p);
}

static void exponentials_are_powers_near_and_far(void **state)
{
    static const pass exponentials = {"tile_exponentials", run_exponentials, want_exponentials};
    static const float references[] = {0, -7, 300, 0x1p21f, -0x1p21f, 0x1.8p22f, -6291455, 0x1p25f, 6291455, -25165826};
    (void)state;
    for (int turn = 0; turn < 10; turn++) {
        fill_numbers(scores.at, MOST_ROWS * LANES, 13, -80, 16);
        for (int l = 0; l < LANES; l++) pass_numbers[0][l] = references[(l + turn) % 10];
        for (int64_t at = 0; at < (int64_t)MOST_ROWS * LANES; at++) {
            scores.at[at] += pass_numbers[0][at % LANES];
            if (at % 13 == 5) scores.at[at] = -INFINITY;
            if (at % 17 == 3) scores.at[at] = some_nan((unsigned)at);
            if (at % 19 == 3) scores.at[at] = pass_numbers[0][at % LANES];
        }
        try_pass(&exponentials);
    }
}

/* What measuring adds to a lane's sum and moment, beside the weights of tile_exponentials, bit for bit. */
static void measures_are_sums_of_what_is_made(void **state)
{
    static const float references[] = {0, -7, 300, 0x1p21f, 0x1.8p22f, -6291455, 0x1p25f, 6291455};
    static double want[2][LANES], error[2][LANES];
    (void)state;
    fill_numbers(scores.at, MOST_ROWS * LANES, 13, -80, 16);
    for (int l = 0; l < LANES; l++) pass_numbers[0][l] = references[l % 8];
    for (int64_t at = 0; at < (int64_t)MOST_ROWS * LANES; at++) {
        scores.at[at] += pass_numbers[0][at % LANES];
        if (at % 13 == 5) scores.at[at] = -INFINITY;
        if (at % 1009 == 3) scores.at[at] = some_nan((unsigned)at);
    }
    for
        EACH(int64_t, count, pass_counts)
        {
            for
                EACH_SPANS(s)
                {
                    const doing what = {"tile_measure", {*count, s.first, s.end, 0, 0}};
                    float *sum = fenced(2, lane_of(s.end)), *moment = fenced(3, lane_of(s.end));
                    for (int l = lane_of(s.first); l < lane_of(s.end); l++) {
                        sum[l] = moment[l] = 3;
                        want[0][l] = want[1][l] = 3;
                        error[0][l] = error[1][l] = 3 * (double)(*count + 1) * UNIT;
                        for (int64_t j = 0; j < *count; j++) {
                            const double x = (double)scores.at[j * LANES + l];
                            const double exponent = fmax(x - (double)pass_numbers[0][l], -ATTN_I_ROOM);
                            const double weight = isinf(x) ? 0 : isnan(x) ? x : exp2(exponent);
                            const double off = weight * (3 + POWER_ERROR + (double)*count) * UNIT;
                            want[0][l] += weight;
                            want[1][l] += weight == 0 ? 0 : weight * exponent;
                            error[0][l] += off;
                            error[1][l] += off * fabs(exponent);
                        }
                    }
                    float *made = fenced_tile(1, scores.at, *count, s);
                    const float *own = fenced_tile(4, pass_numbers[0], 1, s);
                    kernels->tile_measure(*count, s, own, made, sum, moment);
                    float *again = fenced_tile(5, scores.at, *count, s);
                    kernels->tile_exponentials(*count, s, own, again);
                    for (int64_t j = 0; j < *count; j++) {
                        const int64_t first = j * LANES + lane_of(s.first), n = lane_of(s.end) - lane_of(s.first);
                        assert_memory_equal(made + first, again + first, (size_t)n * sizeof *made);
                    }
                    assert_rows(sum, lane_of(s.end), 1, LANES, lane_of(s.first), lane_of(s.end), want[0], error[0],
                                LANES, what);
                    assert_rows(moment, lane_of(s.end), 1, LANES, lane_of(s.first), lane_of(s.end), want[1], error[1],
                                LANES, what);
                }
        }
}

static void the_first_of_the_greatest_is_found(void **state)
{
    (void)state;
    fill_numbers(scores.at, MOST_ROWS * LANES, 17, -9, 9);
    for (int64_t at = 0; at < (int64_t)MOST_ROWS * LANES; at++) {
        scores.at[at] = floorf(scores.at[at]); /* so that many are equal */
        if (at % 5 == 1) scores.at[at] = NAN;
    }
    for
        EACH(int64_t, count, pass_counts)
        {
            for
                EACH_SPANS(s)
                {
                    float most[LANES];
                    int32_t at[LANES], want[LANES];
                    for (int l = 0; l < LANES; l++) {
                        most[l] = (float)(l % 20 - 10); /* some are not there */
                        at[l] = want[l] = -7 - l;
                        for (int64_t j = *count - 1; j >= 0 && l >= lane_of(s.first) && l < lane_of(s.end); j--) {
                            if (scores.at[j * LANES + l] == most[l]) want[l] = (int32_t)(40 + j);
                        }
                    }
                    kernels->tile_find(*count, s, most, 40, fenced_tile(1, scores.at, *count, s), at);
                    assert_memory_equal(at, want, sizeof at);
                }
        }
}

/* With cap 1 there is but the tanh, as these kernels compile it: contracted, which no other test of it sees. */
static void the_tanh_of_tiles_is_within_two_ulp(void **state)
{
    double worst = 0;
    (void)state;
    for (uint32_t bits = 0; bits < 0x7f800000u; bits += 4999u * LANES) {
        float x[LANES], row[LANES];
        for (uint32_t l = 0; l < LANES; l++) {
            const uint32_t own = (bits + l * 4999u) | (l & 1) << 31;
            memcpy(&x[l], &own, sizeof own);
            row[l] = x[l];
        }
        kernels->tile_softcap(1, (attn_i_spans){0, ATTN_I_SPANS}, 1, row);
        for (int l = 0; l < LANES; l++) {
            int exponent;
            const double want = tanh((double)x[l]);
            frexp(want, &exponent);
            if (!isfinite(x[l])) continue;
            worst = fmax(worst, fabs((double)row[l] - want) / ldexp(1, exponent < -125 ? -149 : exponent - 24));
            assert_true(!signbit(row[l]) == !signbit(x[l]));
        }
    }
    float zeros[LANES];
    for (int l = 0; l < LANES; l++) zeros[l] = l % 2 ? 0.0f : -0.0f;
    kernels->tile_softcap(1, (attn_i_spans){0, ATTN_I_SPANS}, 1, zeros);
    for (int l = 0; l < LANES; l++) assert_true(zeros[l] == 0 && (signbit(zeros[l]) != 0) == (l % 2 == 0));
    print_message("%s: tanh %.2f ulp\n", tested, worst);
    assert_true(worst <= 2);
}

static void maximum_is_the_greatest_and_passes_over_nan(void **state)
{
    static double want[LANES];
    (void)state;
    fill_numbers(scores.at, MOST_ROWS * LANES, 14, -9, 9);
    for (int64_t at = 0; at < (int64_t)MOST_ROWS * LANES; at++) {
        if (at % 5 == 1) scores.at[at] = NAN;
        if (at % 7 == 1) scores.at[at] = -INFINITY;
    }
    for (int kind = 0; kind < 3; kind++) { /* nothing known before, something, and more than comes */
        const float known = kind == 0 ? -INFINITY : kind == 1 ? 8 : 10;
        for
            EACH(int64_t, count, pass_counts)
            {
            for
                EACH_SPANS(s)
                {
                    float *most = fenced(2, lane_of(s.end));
                    for (int l = lane_of(s.first); l < lane_of(s.end); l++) {
                        most[l] = known;
                        want[l] = (double)known;
                        for (int64_t j = 0; j < *count; j++) want[l] = fmax(want[l], (double)scores.at[j * LANES + l]);
                    }
                    kernels->tile_maximum(*count, s, fenced_tile(1, scores.at, *count, s), most);
                    assert_rows(most, lane_of(s.end), 1, LANES, lane_of(s.first), lane_of(s.end), want, NULL, LANES,
                                (doing){"tile_maximum", {*count, s.first, s.end, kind, 0}});
                }
            }
    }
}

static void multiply_takes_each_lane_times_its_factor(void **state)
{
    const attn_i_spans all = {0, ATTN_I_SPANS};
    float factor[LANES];
    (void)state;
    fill_numbers(scores.at, MOST_ROWS * LANES, 15, -9, 9);
    fill_numbers(factor, LANES, 16, -2, 2);
    for (int64_t at = 0; at < (int64_t)MOST_ROWS * LANES; at++) {
        e.want[at] = (double)scores.at[at] * (double)factor[at % LANES];
        e.error[at] = UNIT * fabs(e.want[at]);
    }
    for
        EACH(int64_t, count, pass_counts)
        {
            float *to = fenced_tile(2, scores.at, *count, all);
            kernels->tile_multiply(*count, fenced_tile(1, factor, 1, all), to);
            assert_rows(to, tile_elements(*count, all), *count, LANES, 0, LANES, e.want, e.error, LANES,
                        (doing){"tile_multiply", {*count, 0, 0, 0, 0}});
        }
}

/* ------------------------------------------------------------------------------------------------- diagonals */

/* Of a key head with 3 heads in its group. A tile's rows are runs of them, the last row's the first. */
enum { STEP = 3, DIAGONALS = LANES + (MOST_ROWS - 1) * STEP };
static float diagonals[DIAGONALS];

/* Where row 0 of so many begins, and how far they go for so many lanes. */
static int64_t diagonal_start(int64_t count)
{
    return count > 0 ? (count - 1) * STEP : 0;
}

static int64_t diagonal_elements(int64_t count, int64_t lanes)
{
    return count > 0 ? diagonal_start(count) + lanes : 0;
}

/* Lanes that are rows: all of the spans, or not all of the last. */
static int64_t rows_of(attn_i_spans s, int turn)
{
    return lane_of(s.end) - (turn == 0 ? 0 : turn == 1 ? 1 : SPAN - 1);
}

static void add_diagonals(int64_t count, attn_i_spans s, int turn)
{
    const int64_t lanes = rows_of(s, turn), start = diagonal_start(count);
    for (int64_t at = 0; at < count * LANES; at++) {
        const int64_t j = at / LANES, l = at % LANES;
        const double x = (double)scores.at[at];
        e.error[at] = 0;
        e.want[at] = x;
        if (l >= lanes) continue;
        e.want[at] = want_sum(x, (double)diagonals[start - j * STEP + l] * (double)pass_factor, &e.error[at]);
    }
    const attn_i_rows from = fenced_rows(1, diagonals, 0, 1, diagonal_elements(count, lanes), 0);
    float *to = fenced_tile(2, scores.at, count, s);
    kernels->tile_add_diagonals(count, s, lanes, pass_factor, from.data + start, STEP, to);
    assert_rows(to, tile_elements(count, s), count, LANES, lane_of(s.first), lane_of(s.end), e.want, e.error, LANES,
                (doing){"tile_add_diagonals", {count, s.first, s.end, lanes, 0}});
}

static void sum_diagonals(int64_t count, attn_i_spans s, int turn)
{
    static double magnitude[DIAGONALS];
    const int64_t lanes = rows_of(s, turn), start = diagonal_start(count), n = diagonal_elements(count, lanes);
    for (int64_t at = 0; at < n; at++) {
        e.want[at] = (double)diagonals[at];
        magnitude[at] = fabs(e.want[at]);
    }
    for (int64_t j = 0; j < count; j++) {
        for (int64_t l = lane_of(s.first); l < lanes; l++) {
            e.want[start - j * STEP + l] += (double)scores.at[j * LANES + l];
            magnitude[start - j * STEP + l] += fabs((double)scores.at[j * LANES + l]);
        }
    }
    for (int64_t at = 0; at < n; at++) e.error[at] = magnitude[at] * (double)count * UNIT;
    const attn_i_rows to = fenced_rows(2, diagonals, 0, 1, n, 0);
    float *at = (float *)(uintptr_t)to.data;
    kernels->tile_sum_diagonals(count, s, lanes, fenced_tile(1, scores.at, count, s), STEP, at + start);
    assert_rows(at, n, 1, DIAGONALS, 0, n, e.want, e.error, DIAGONALS,
                (doing){"tile_sum_diagonals", {count, s.first, s.end, lanes, 0}});
}

static void diagonals_are_added_and_summed(void **state)
{
    (void)state;
    fill_numbers(scores.at, MOST_ROWS * LANES, 20, -9, 9);
    fill_numbers(diagonals, DIAGONALS, 21, -5, 5);
    for
        EACH(int64_t, count, pass_counts)
        {
        for
            EACH_SPANS(s)
            {
                for (int turn = 0; turn < 3; turn++) {
                    add_diagonals(*count, s, turn);
                    sum_diagonals(*count, s, turn);
                }
            }
        }
}

/* ------------------------------------------------------------------------------------- rows to lanes and back */

enum { MOST_N = 40 };

/* Each of the rows is the one at the forbidden page once: a kernel may read n elements of it, and not one more. */
static void rows_go_to_lanes(void **state)
{
    float numbers[LANES * MOST_N];
    (void)state;
    fill_numbers(numbers, LANES * MOST_N, 17, -9, 9);
    for (int64_t count = 0; count <= LANES; count++) {
        const attn_i_spans s = {0, (int)((count + SPAN - 1) / SPAN)};
        for (int64_t n = 0; n <= MOST_N; n++) {
            const float factor = n % 3 == 0 ? 1 : -0.7f;
            const float *rows[LANES];
            const attn_i_rows from = fenced_rows(0, numbers, MOST_N, count, n, n + n % 4);
            for (int64_t l = 0; l < count; l++) rows[l] = from.data + (l + n) % count * from.stride;
            for (int64_t at = 0; at < n * LANES; at++) {
                const int64_t d = at / LANES, l = at % LANES;
                e.want[at] = l < count ? (double)numbers[(l + n) % count * MOST_N + d] * (double)factor : 0;
                e.error[at] = UNIT * fabs(e.want[at]);
            }
            float *to = fenced(2, tile_elements(n, s));
            kernels->to_lanes(count, n, rows, factor, to);
            assert_rows(to, tile_elements(n, s), n, LANES, 0, lane_of(s.end), e.want, e.error, LANES,
                        (doing){"to_lanes", {count, n, 0, 0, 0}});
        }
    }
}

static void lanes_go_to_rows(void **state)
{
    tile numbers;
    float factor[LANES];
    (void)state;
    fill_numbers(numbers.at, MOST_ROWS * LANES, 18, -9, 9);
    fill_numbers(factor, LANES, 19, -2, 2);
    for (int64_t count = 0; count <= LANES; count++) {
        const attn_i_spans s = {0, (int)((count + SPAN - 1) / SPAN)};
        for (int64_t n = 0; n <= MOST_N; n++) {
            float *rows[LANES];
            const int64_t stride = n + 1 + n % 4, end = count > 0 && n > 0 ? (count - 1) * stride + n : 0;
            float *to = fenced(2, end);
            for (int64_t l = 0; l < count; l++) rows[l] = to + (count - 1 - l) * stride;
            for (int64_t at = 0; at < count * LANES; at++) {
                const int64_t i = at / LANES, d = at % LANES, l = count - 1 - i;
                e.want[at] = d < n ? (double)numbers.at[d * LANES + l] * (double)factor[l] : 0;
                e.error[at] = UNIT * fabs(e.want[at]);
            }
            kernels->from_lanes(count, n, fenced_tile(1, numbers.at, n, s), fenced_tile(3, factor, 1, s), rows);
            assert_rows(to, end, count, stride, 0, n, e.want, e.error, LANES,
                        (doing){"from_lanes", {count, n, 0, 0, 0}});
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passes_do_what_they_say),
        cmocka_unit_test(exponentials_are_powers_near_and_far),
        cmocka_unit_test(measures_are_sums_of_what_is_made),
        cmocka_unit_test(the_first_of_the_greatest_is_found),
        cmocka_unit_test(the_tanh_of_tiles_is_within_two_ulp),
        cmocka_unit_test(maximum_is_the_greatest_and_passes_over_nan),
        cmocka_unit_test(multiply_takes_each_lane_times_its_factor),
        cmocka_unit_test(diagonals_are_added_and_summed),
        cmocka_unit_test(rows_go_to_lanes),
        cmocka_unit_test(lanes_go_to_rows),
    };
    int failed = 0;
    if (!take_set(0)) return 77; /* CTest's SKIP_RETURN_CODE: this CPU has not that set */
    for (size_t set = 0; take_set(set); set++) failed += cmocka_run_group_tests_name(tested, tests, NULL, NULL);
    return failed;
}
