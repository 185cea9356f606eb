/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_row_kernels.c: the kernels of tables of tiles that go along rows, of every set: rows of scores, and the
 * additive score in factored form, against float64. For the error bounds see test_tile_kernels.c. */
#include "fenced.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MOST = 130, LONG = 300 /* past what is looked at before it is converted */ };

static float a[MOST * MOST], b[MOST * MOST], c[MOST * MOST];
static double want[MOST * MOST], error[MOST * MOST];

static void row_maximum_passes_over_nan(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++) { /* numbers, with NaN among them, nothing but NaN */
        fill_numbers(a, MOST, 6, kind == 0 ? -9 : -90, -4);
        for (int64_t j = 0; j < MOST; j++) {
            if (kind == 2 || (kind == 1 && j % 3 == 0)) a[j] = NAN;
        }
        for (int64_t n = 0; n <= 70; n++) {
            for (int64_t top = -1; top < n; top++) { /* the greatest at every place */
                float *row = (float *)fenced_rows(0, a, MOST, 1, n, n).data;
                if (top >= 0) row[top] = 3;
                double most = -HUGE_VAL;
                for (int64_t j = 0; j < n; j++) {
                    if ((double)row[j] > most) most = (double)row[j]; /* with fmax, GCC 12 for aarch64 crashes */
                }
                const double got = (double)kernels->row_maximum(n, row);
                if (got != most) fail_msg("%s: the maximum of %d is %g, not %g", tested, (int)n, got, most);
            }
        }
    }
}

/* unit x score errs by one rounding before it is an exponent; all that is added up errs by n roundings more. */
static void row_exponentials_are_powers_and_tell_their_sum(void **state)
{
    static const float references[] = {0, -7, 300, 0x1.8p22f, -0x1.8p22f, 6291455, -6291455};
    (void)state;
    for
        EACH(float, reference, references)
        {
            for (int64_t n = 0; n <= 70; n++) {
                const float unit = n % 2 ? 1.4426950f : 0.25f;
                double sum = 0, off = 0;
                fill_numbers(a, MOST, (unsigned)(7 + n), -80, 16);
                for (int64_t j = 0; j < n; j++) {
                    a[j] = (float)((double)(a[j] + *reference) / (double)unit);
                    if (j % 7 == 5) a[j] = -INFINITY;
                    if (j % 11 == 5) a[j] = -1e30f;
                    if (n == 70 && j == 66) a[j] = some_nan(1);
                    const double score = (double)unit * (double)a[j];
                    const double rounding = isfinite(score) && score > -1e29 ? log(2) * UNIT * fabs(score) : 0;
                    want[j] = isinf(score) ? 0 : exp2(fmax(score - (double)*reference, -ATTN_I_ROOM));
                    if (isnan(score)) want[j] = score;
                    error[j] = want[j] * (expm1(rounding) + (1.6 + POWER_ERROR) * UNIT);
                    sum += want[j];
                    off += error[j] + want[j] * (double)n * UNIT;
                }
                float *row = (float *)fenced_rows(0, a, MOST, 1, n, n).data;
                const double got = (double)kernels->row_exponentials(n, unit, *reference, row);
                assert_rows(row, n, 1, n > 0 ? n : 1, 0, n, want, error, MOST,
                            (doing){"row_exponentials", {n, (int64_t)*reference, 0, 0, 0}});
                if (isnan(sum) ? isnan(got) : fabs(got - sum) <= off) continue;
                fail_msg("%s: the sum of %d is %.9g, not %.9g to within %g", tested, (int)n, got, sum, off);
            }
        }
}

/* The weights are those of row_exponentials, bit for bit. What is summed besides is each times its exponent, which errs
 * by the rounding of unit x score. */
static void row_measure_tells_the_moment_too(void **state)
{
    static const float references[] = {0, -7, 300, 0x1.8p22f, -6291455};
    (void)state;
    for
        EACH(float, reference, references)
        {
            for (int64_t n = 0; n <= 70; n++) {
                const float unit = n % 2 ? 1.4426950f : 0.25f;
                double moment = 0, off = 0;
                fill_numbers(a, MOST, (unsigned)(9 + n), -80, 16);
                for (int64_t j = 0; j < n; j++) {
                    a[j] = (float)((double)(a[j] + *reference) / (double)unit);
                    if (j % 7 == 5) a[j] = -INFINITY;
                    if (j % 11 == 5) a[j] = -1e30f;
                    if (n == 70 && j == 66) a[j] = some_nan(1);
                    const double score = (double)unit * (double)a[j];
                    const double rounding = isfinite(score) && score > -1e29 ? UNIT * fabs(score) : 0;
                    const double exponent = fmax(score - (double)*reference, -ATTN_I_ROOM);
                    const double weight = isinf(score) ? 0 : isnan(score) ? score : exp2(exponent);
                    moment += weight == 0 ? 0 : weight * exponent;
                    off += weight * rounding +
                           weight * fabs(exponent) * (expm1(log(2) * rounding) + (3 + POWER_ERROR + (double)n) * UNIT);
                }
                float *row = (float *)fenced_rows(0, a, MOST, 1, n, n).data, got = NAN;
                float *again = (float *)fenced_rows(1, a, MOST, 1, n, n).data;
                const float sum = kernels->row_exponentials(n, unit, *reference, again);
                const float same = kernels->row_measure(n, unit, *reference, row, &got);
                assert_memory_equal(row, again, (size_t)n * sizeof *row);
                if (isnan(sum) ? !isnan(same) : fabs((double)same - (double)sum) > (double)n * UNIT * (double)sum) {
                    fail_msg("%s: the sum of %d is %.9g, not %.9g", tested, (int)n, (double)same, (double)sum);
                }
                if (isnan(moment) ? isnan(got) : fabs((double)got - moment) <= off) continue;
                fail_msg("%s: the moment of %d is %.9g, not %.9g to within %g", tested, (int)n, (double)got, moment,
                         off);
            }
        }
}

/* The factor times the power errs by 1 UNIT more, and by half the least number where it is subnormal. */
static void row_weights_are_factor_times_power(void **state)
{
    static const struct {
        double reference;
        float factor;
    } cases[] = {{0, 1},         {-7, 0.3f},      {300, 0x1p-10f},  {-100, 0x1p-100f}, {0x1p21, 0.5f},
                 {0x1p22, 0.5f}, {-0x1p22, 0.3f}, {0x1.3p23, 0.3f}, {-0x1.3p23, 0.3f}, {0x1.8p24, 0.3f},
                 {0x1p30, 0.3f}, {-0x1p30, 0.3f}};
    (void)state;
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        for (int64_t n = 0; n <= 70; n++) {
            fill_numbers(a, MOST, (unsigned)(8 + n), -160, 16);
            for (int64_t j = 0; j < n; j++) {
                a[j] = (float)((double)a[j] / (double)(n % 3 + 1) + cases[k].reference);
                if (j % 7 == 5) a[j] = -INFINITY;
                if (j % 11 == 5) a[j] = -1e30f;
                if (j % 13 == 5) a[j] = some_nan((unsigned)j);
                want[j] = isnan(a[j]) ? NAN : exp2((double)a[j] - cases[k].reference) * (double)cases[k].factor;
                error[j] = want[j] * (2.6 + POWER_ERROR) * UNIT + 0x1p-149;
            }
            float *row = (float *)fenced_rows(0, a, MOST, 1, n, n).data;
            kernels->row_weights(n, cases[k].reference, (double)cases[k].factor, row);
            assert_rows(row, n, 1, n > 0 ? n : 1, 0, n, want, error, MOST,
                        (doing){"row_weights", {n, (int64_t)cases[k].reference, 0, 0, 0}});
        }
    }
}

static void a_mask_is_counted_and_shown(void **state)
{
    static const int64_t strides[] = {1, 0, 2, -1, -3};
    static uint8_t bytes[1000];
    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(i * 37 % 5 == 0 ? 0 : i * 37 % 256 | 128 * (i % 2));
    for
        EACH(int64_t, stride, strides)
        {
            for (int64_t n = 0; n <= 128; n++) {
                /* The last byte that is read lies at the forbidden page. */
                const int64_t reach = n > 0 ? (n - 1) * (*stride < 0 ? -*stride : *stride) + 1 : 0;
                uint8_t *end = (uint8_t *)fenced(0, 256) + 256 * sizeof(float);
                uint8_t *mask = *stride < 0 ? end - 1 : end - reach;
                float *to = fenced(1, n);
                int64_t ones = 0;
                memcpy(end - reach, bytes, (size_t)reach);
                for (int64_t j = 0; j < n; j++) {
                    want[j] = mask[j * *stride] != 0;
                    ones += mask[j * *stride] != 0;
                }
                assert_int_equal(kernels->mask_count(n, mask, *stride), ones);
                kernels->mask_row(n, mask, *stride, to);
                assert_rows(to, n, 1, n > 0 ? n : 1, 0, n, want, NULL, MOST,
                            (doing){"mask_row", {n, *stride, 0, 0, 0}});
            }
        }
}

/* ---------------------------------------------------------------------------------------- the additive score */

static double ulps_of_exp(float x, float got)
{
    int exponent;
    const double right = exp(2 * (double)x);
    frexp(right, &exponent);
    return fabs((double)got - right) / ldexp(1, exponent - 24);
}

static void double_exponentials_are_within_their_bound(void **state)
{
    double worst = 0;
    (void)state;
    for (int64_t n = 0; n <= 70; n++) {
        for (int turn = 0; turn < 60; turn++) {
            float most = 0;
            fill_numbers(a, MOST, (unsigned)(turn * 100 + n), -40, 40);
            for (int64_t j = 0; j < n; j++) {
                if (turn % 3 == 1) a[j] *= (float)ldexp(1, -turn / 2);
                if (turn == 2) a[j] = j % 2 ? -40.0f : 40.0f;
                if (turn == 5) a[j] = j % 2 ? -0.0f : 0.0f;
                most = fmaxf(most, fabsf(a[j]));
            }
            const float *from = fenced_rows(0, a, MOST, 1, n, n).data;
            float *to = turn % 2 ? fenced(1, n) : (float *)from; /* also in place */
            assert_true(kernels->double_exponentials(n, from, to, NULL) == most);
            for (int64_t j = 0; j < n; j++) worst = fmax(worst, ulps_of_exp(a[j], to[j]));
            for (int64_t j = 1; j <= 16; j++) assert_true(is_untouched(to - j));
        }
    }
    print_message("%s: exp(2 x) %.3f ulp\n", tested, worst);
    assert_true(worst <= 0.81); /* see exp_twice: the worst of all x, of which these are some */
}

/* Relative to exp(2 x) - 1 itself: r + p r^2 errs by 2 units of rounding and its polynomial by less than 1; times a
 * power of two and joined with that less 1, of at most twice the result, by 3 more and 1. */
static void double_exponentials_less_one_keep_the_digits_of_small_numbers(void **state)
{
    static const float sizes[] = {0.5f, 0.2f, 0.1f, 1e-3f, 1e-7f, 1e-20f, 1e-37f};
    double worst = 0;
    (void)state;
    for
        EACH(float, size, sizes)
        {
            for (int64_t n = 0; n <= LONG; n++) {
                float most = 0, whole[LONG];
                fill_numbers(a, LONG, (unsigned)n, -(double)*size, (double)*size);
                for (int64_t j = 0; j < n; j++) most = fmaxf(most, fabsf(a[j]));
                const float *from = fenced_rows(0, a, MOST, 1, n, n).data;
                float *to = n % 2 ? fenced(1, n) : (float *)from, *beside = fenced(2, n); /* also in place */
                assert_true(kernels->double_exponentials(n, from, whole, beside) == most);
                assert_true(kernels->double_exponentials_less_one(n, from, to) == most);
                for (int64_t j = 0; j < n; j++) {
                    const double right = expm1(2 * (double)a[j]);
                    if (right == 0) continue;
                    worst = fmax(worst, fabs((double)to[j] - right) / fabs(right) / UNIT);
                    worst = fmax(worst, fabs((double)beside[j] - right) / fabs(right) / UNIT);
                }
                for (int64_t j = 1; j <= 16; j++) assert_true(is_untouched(to - j) && is_untouched(beside - j));
            }
        }
    print_message("%s: exp(2 x) - 1 %.3f roundings\n", tested, worst);
    assert_true(worst <= 7);
}

static void double_exponentials_less_one_are_for_small_numbers_alone(void **state)
{
    static const float large[] = {0.50001f, -0.50001f, 41, INFINITY, -INFINITY, NAN, -NAN};
    (void)state;
    fill_numbers(a, LONG, 9, -0.5, 0.5);
    for
        EACH(float, x, large)
        {
            for (int64_t n = 1; n <= LONG; n += 1 + n / 20) {
                for (int64_t place = 0; place < n; place++) {
                    float *from = (float *)fenced_rows(0, a, MOST, 1, n, n).data, *to = fenced(1, n);
                    from[place] = *x;
                    assert_true(kernels->double_exponentials_less_one(n, from, to) == INFINITY);
                    for (int64_t j = 1; j <= 16; j++) assert_true(is_untouched(to - j));
                    memcpy(to, from, (size_t)n * sizeof *to);
                    assert_true(kernels->double_exponentials_less_one(n, to, to) == INFINITY);
                    assert_memory_equal(to, from, (size_t)n * sizeof *to);
                }
            }
        }
}

static void double_exponentials_leave_what_is_too_large_alone(void **state)
{
    static const float large[] = {40.001f, -40.001f, INFINITY, -INFINITY, NAN, -NAN, 1e30f};
    (void)state;
    fill_numbers(a, MOST, 9, -40, 40);
    for
        EACH(float, x, large)
        {
            for (int64_t n = 1; n <= 70; n++) {
                for (int64_t place = 0; place < n; place++) {
                    float *from = (float *)fenced_rows(0, a, MOST, 1, n, n).data, *to = fenced(1, n);
                    from[place] = *x;
                    assert_true(kernels->double_exponentials(n, from, to, NULL) == INFINITY);
                    for (int64_t j = 1; j <= 16; j++) assert_true(is_untouched(to - j));
                    /* In place it changes nothing. */
                    memcpy(to, from, (size_t)n * sizeof *to);
                    assert_true(kernels->double_exponentials(n, to, to, NULL) == INFINITY);
                    assert_memory_equal(to, from, (size_t)n * sizeof *to);
                }
            }
        }
}

/* The bound, in UNITs times the sum of the |weights|, D standing for a b + 1: a b - 1 errs by 2 D, a numerator so by 3
 * |w| D, its denominator by 3 D. One over two: numerators by 3 + 3 from what they were, 1 by the product and 1 by the
 * sum, denominators by 7; one over four: 17 and 15. A quotient adds 1, or where it is made of an estimate of the
 * reciprocal (a relative error of 2^-14, squared by the step that follows, which rounds thrice) 4: together 36 at most.
 * The sum of `hidden` terms errs by that many more. */
static void factored_tanh_is_the_sum_of_tanh(void **state)
{
    static const struct {
        int sharing;
        double query, key, weight; /* the greatest, which the sharing still must bear */
    } cases[] = {{4, 5, 5, 1},      {4, 5, 5, 1024}, {4, 0.01, 0.01, 1}, {4, 9.9, 0.1, 1024}, {2, 10, 10, 1},
                 {2, 10, 10, 1024}, {2, 19, 1, 1},   {1, 20, 20, 1},     {1, 20, 20, 1024},   {1, 39, 1, 1024}};
    static const int64_t rows_of[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 63, 64};
    static double q[LANES * 96], k[9 * 96];
    (void)state;
    for (size_t s = 0; s < sizeof cases / sizeof *cases; s++) {
        fill_numbers(a, LANES * 96, 10, -cases[s].query, cases[s].query);
        fill_numbers(b, 9 * 96, 11, -cases[s].key, cases[s].key);
        fill_numbers(c, 96, 12, -cases[s].weight, cases[s].weight);
        for (int at = 0; at < 96; at++) { /* the extremes, all at once */
            if (at < 80) c[at] = (float)cases[s].weight;
            a[at] = (float)cases[s].query;
            b[at] = (float)cases[s].key;
            a[96 + at] = (float)-cases[s].query;
            b[96 + at] = (float)-cases[s].key;
        }
        /* The numbers that are really converted, so that only the kernel's own errors count. */
        for (int at = 0; at < LANES * 96; at++) a[at] = (float)exp(2 * (double)a[at]), q[at] = (double)a[at];
        for (int at = 0; at < 9 * 96; at++) b[at] = (float)exp(2 * (double)b[at]), k[at] = (double)b[at];
        for (int64_t hidden = 16; hidden <= 96; hidden += ATTN_I_SPAN_LANES) {
            double magnitude = 0;
            for (int64_t h = 0; h < hidden; h++) magnitude += fabs((double)c[h]);
            for (int64_t at = 0; at < (int64_t)9 * LANES; at++) {
                const double *query = q + at % LANES * 96, *key = k + at / LANES * 96;
                want[at] = 0;
                for (int64_t h = 0; h < hidden; h++) {
                    want[at] += (double)c[h] * ((query[h] * key[h] - 1) / (query[h] * key[h] + 1));
                }
                error[at] = (36 + (double)hidden) * UNIT * (1 + 1e-4) * magnitude;
            }
            for
                EACH(int64_t, rows, rows_of)
                {
                    for (int64_t count = 1; count <= 9; count++) {
                        const int64_t end = (count - 1) * LANES + *rows;
                        const attn_i_rows queries = fenced_rows(0, a, 96, *rows, hidden, hidden + *rows % 2 * 5);
                        const attn_i_rows keys = fenced_rows(1, b, 96, count, hidden, hidden + count % 3);
                        float *to = fenced(2, end);
                        kernels->factored_tanh(hidden, cases[s].sharing, 0,
                                               fenced_rows(3, c, 96, 1, hidden, hidden).data, queries, *rows, keys,
                                               count, to);
                        assert_rows(to, end, count, LANES, 0, *rows, want, error, LANES,
                                    (doing){"factored_tanh", {hidden, cases[s].sharing, *rows, count, (int64_t)s}});
                    }
                }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(row_maximum_passes_over_nan),
        cmocka_unit_test(row_exponentials_are_powers_and_tell_their_sum),
        cmocka_unit_test(row_measure_tells_the_moment_too),
        cmocka_unit_test(row_weights_are_factor_times_power),
        cmocka_unit_test(a_mask_is_counted_and_shown),
        cmocka_unit_test(double_exponentials_are_within_their_bound),
        cmocka_unit_test(double_exponentials_less_one_keep_the_digits_of_small_numbers),
        cmocka_unit_test(double_exponentials_less_one_are_for_small_numbers_alone),
        cmocka_unit_test(double_exponentials_leave_what_is_too_large_alone),
        cmocka_unit_test(factored_tanh_is_the_sum_of_tanh),
    };
    int failed = 0;
    if (!take_set(0)) return 77; /* CTest's SKIP_RETURN_CODE: this CPU has not that set */
    for (size_t set = 0; take_set(set); set++) failed += cmocka_run_group_tests_name(tested, tests, NULL, NULL);
    return failed;
}
