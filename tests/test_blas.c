/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_blas.c: the product behind every projection and context: each combination of layouts, sizes around the limit at
 * which it is cut into parts (compiled as 7 here), sizes of 0, and which matrices are taken where they lie. */
#include "runtime/blas.h"

#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MOST = 20, ROOM = (MOST + 5) * (MOST + 5) };

/* Small whole numbers, whose products and sums are exact. */
static double element(int64_t i, int64_t j, int64_t salt)
{
    return (double)((i * 31 + j * 17 + salt * 7) % 11 - 5);
}

static void put(attn_dtype dtype, attn_i_matrix m, int64_t i, int64_t j, double x)
{
    int64_t at = i * m.row_stride + j * m.column_stride;
    if (dtype == ATTN_F32) ((float *)(void *)m.data)[at] = (float)x;
    if (dtype == ATTN_F64) ((double *)(void *)m.data)[at] = x;
}

static double get(attn_dtype dtype, attn_i_matrix m, int64_t i, int64_t j)
{
    int64_t at = i * m.row_stride + j * m.column_stride;
    return dtype == ATTN_F32 ? (double)((float *)(void *)m.data)[at] : ((double *)(void *)m.data)[at];
}

/* rows x columns in `memory`, by rows or by columns, with `gap` elements between them. */
static attn_i_matrix matrix(void *memory, int64_t rows, int64_t columns, int by_columns, int64_t gap)
{
    if (by_columns) return (attn_i_matrix){memory, rows, columns, 1, rows + gap};
    return (attn_i_matrix){memory, rows, columns, columns + gap, 1};
}

static void check_product(attn_dtype dtype, int64_t m, int64_t n, int64_t k, int layouts, int accumulate)
{
    static double a_memory[ROOM], b_memory[ROOM], c_memory[ROOM];
    attn_i_matrix a = matrix(a_memory, m, k, layouts & 1, layouts & 4 ? 3 : 0);
    attn_i_matrix b = matrix(b_memory, k, n, layouts & 2, layouts & 4 ? 2 : 0);
    attn_i_matrix c = matrix(c_memory, m, n, 0, layouts & 4 ? 1 : 0);
    /* What is only read over must not be computed with: 0 x NaN is NaN. */
    memset(a_memory, 0xff, sizeof a_memory);
    memset(b_memory, 0xff, sizeof b_memory);
    memset(c_memory, 0xff, sizeof c_memory);
    for (int64_t i = 0; i < m; i++) {
        for (int64_t l = 0; l < k; l++) put(dtype, a, i, l, element(i, l, 1));
    }
    for (int64_t l = 0; l < k; l++) {
        for (int64_t j = 0; j < n; j++) put(dtype, b, l, j, element(l, j, 2));
    }
    for (int64_t i = 0; accumulate && i < m; i++) {
        for (int64_t j = 0; j < n; j++) put(dtype, c, i, j, element(i, j, 3));
    }
    if (m * n * k > 0) assert_true(attn_i_blas_takes(a) && attn_i_blas_takes(b));
    attn_i_blas_multiply(dtype, a, b, c, accumulate);
    for (int64_t i = 0; i < m; i++) {
        for (int64_t j = 0; j < n; j++) {
            double want = accumulate ? element(i, j, 3) : 0;
            for (int64_t l = 0; l < k; l++) want += element(i, l, 1) * element(l, j, 2);
            if (get(dtype, c, i, j) != want) {
                fail_msg("%d x %d x %d, layouts %d: element (%d, %d) is %g, not %g", (int)m, (int)n, (int)k, layouts,
                         (int)i, (int)j, get(dtype, c, i, j), want);
            }
        }
    }
}

static void products_are_right_around_the_limit(void **state)
{
    (void)state;
    static const int64_t sizes[] = {0, 1, 2, 6, 7, 8, 13, 14, 15, MOST};
    enum { COUNT = sizeof sizes / sizeof *sizes };
    for (int m = 0; m < COUNT; m++) {
        for (int n = 0; n < COUNT; n++) {
            for (int k = 0; k < COUNT; k++) {
                for (int layouts = 0; layouts < 8; layouts++) {
                    check_product(ATTN_F32, sizes[m], sizes[n], sizes[k], layouts, layouts & 1);
                    check_product(ATTN_F64, sizes[m], sizes[n], sizes[k], layouts, !(layouts & 1));
                }
            }
        }
    }
}

static void nan_in_an_overwritten_result_is_gone(void **state)
{
    (void)state;
    float a[6] = {1, 2, 3, 4, 5, 6}, c[4] = {NAN, NAN, NAN, NAN};
    attn_i_matrix left = attn_i_matrix_dense(a, 2, 3), result = attn_i_matrix_dense(c, 2, 2);
    attn_i_blas_multiply(ATTN_F32, left, attn_i_matrix_transpose(left), result, 0);
    assert_true(c[0] == 14 && c[1] == 32 && c[2] == 32 && c[3] == 77);
}

static void only_what_the_blas_can_read_is_taken(void **state)
{
    (void)state;
    const struct {
        attn_i_matrix matrix;
        int taken;
    } cases[] = {
        {{NULL, 4, 5, 5, 1}, 1},                /* by rows */
        {{NULL, 4, 5, 1, 4}, 1},                /* by columns */
        {{NULL, 4, 5, 9, 1}, 1},                /* with gaps */
        {{NULL, 4, 5, 10, 2}, 0},               /* neither rows nor columns lie side by side */
        {{NULL, 4, 5, 4, 1}, 0},                /* rows overlap */
        {{NULL, 4, 5, 0, 1}, 0},                /* one row, broadcast */
        {{NULL, 4, 5, 1, 0}, 0},                /* one column, broadcast */
        {{NULL, 4, 5, -5, 1}, 0},               /* rows backwards */
        {{NULL, 4, 5, 5, -1}, 0},               /* elements backwards */
        {{NULL, 1, 5, 0, 1}, 1},                /* a row has no row stride */
        {{NULL, 1, 5, -3, 7}, 1},               /* nor here, and its elements may have gaps */
        {{NULL, 1, 5, 3, 0}, 0},                /* but not be one */
        {{NULL, 4, 1, 1, 0}, 1},                /* a column has no column stride */
        {{NULL, 4, 1, 6, -9}, 1},               /* nor here */
        {{NULL, 1, 1, 0, 0}, 1},                /* one element has none */
        {{NULL, 4, 5, INT64_C(1) << 31, 1}, 0}, /* more than an int */
        {{NULL, 4, 5, INT_MAX, 1}, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (attn_i_blas_takes(cases[i].matrix) != cases[i].taken) fail_msg("case %zu", i);
    }
}

static void a_narrow_core_is_told_from_a_fitting_one(void **state)
{
    (void)state;
    attn_i_cpu cpu;
    attn_i_blas_info info;
    attn_i_cpu_detect(&cpu);
    attn_i_blas_describe(&cpu, &info);
    if (info.vector_bits == 0) skip(); /* not OpenBLAS: nothing is known of its kernels */
    cpu.vector_bits = info.vector_bits;
    attn_i_blas_describe(&cpu, &info);
    assert_true(info.suits_cpu);
    assert_string_equal(info.advice, "");
    cpu.vector_bits = info.vector_bits * 2;
    attn_i_blas_describe(&cpu, &info);
    assert_false(info.suits_cpu);
    assert_non_null(strstr(info.advice, info.core));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_are_right_around_the_limit),
        cmocka_unit_test(nan_in_an_overwritten_result_is_gone),
        cmocka_unit_test(only_what_the_blas_can_read_is_taken),
        cmocka_unit_test(a_narrow_core_is_told_from_a_fitting_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
