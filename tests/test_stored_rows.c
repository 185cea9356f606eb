/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_stored_rows.c: the kernels of few queries, for keys and values of every stored type and of every set, against
 * float64. For the error bounds see test_tile_kernels.c. */
#include "fenced.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MOST = 130 };

static const int64_t counts[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 15, 16, 17, 31, 33, 64, 126, 128};

static const struct stored_type {
    const char *name;
    attn_dtype dtype;
} types[] = {{"float32", ATTN_F32}, {"float16", ATTN_F16}, {"bfloat16", ATTN_BF16}, {"int8", ATTN_I8}};

static float a[MOST * MOST], b[MOST * MOST], c[MOST * MOST];
static double want[MOST * MOST], error[MOST * MOST];
static const attn_i_stored_kernels *stored;

static void row_products_are_sums_of_products(void **state)
{
    (void)state;
    fill_numbers(a, ATTN_I_FEW * MOST, 1, -1, 1);
    fill_numbers(b, MOST * MOST, 2, -1, 1);
    round_to(stored, b, MOST * MOST);
    for (int64_t depth = 0; depth <= 70; depth++) {
        for (int64_t at = 0; at < (int64_t)ATTN_I_FEW * MOST; at++) {
            double sum = 0, magnitude = 0;
            for (int64_t d = 0; d < depth; d++) {
                const double product = (double)a[at / MOST * MOST + d] * (double)b[at % MOST * MOST + d];
                sum += product;
                magnitude += fabs(product);
            }
            want[at] = sum;
            error[at] = (double)depth * UNIT * (1 + 1e-4) * magnitude;
        }
        for
            EACH(int64_t, count, counts)
            {
                for (int64_t rows = 1; rows <= ATTN_I_FEW; rows++) {
                    const int64_t to_stride = *count + 1 + rows % 3,
                                  end = *count > 0 ? (rows - 1) * to_stride + *count : 0;
                    const attn_i_rows queries = fenced_rows(0, a, MOST, rows, depth, depth + rows % 2 * 3);
                    const attn_i_stored_rows keys =
                        fenced_stored(stored, 1, b, MOST, *count, depth, depth + *count % 3);
                    float *to = fenced(2, end);
                    stored->rows.products(depth, queries, rows, &keys, *count, to, to_stride);
                    assert_rows(to, end, rows, to_stride, 0, *count, want, error, MOST,
                                (doing){"row_products", {depth, *count, rows, 0, 0}});
                }
            }
    }
}

static void row_context_is_added_to(void **state)
{
    (void)state;
    fill_numbers(a, ATTN_I_FEW * MOST, 3, 0, 1);
    fill_numbers(b, MOST * MOST, 4, -1, 1);
    round_to(stored, b, MOST * MOST);
    fill_numbers(c, ATTN_I_FEW * MOST, 5, -4, 4);
    for
        EACH(int64_t, count, counts)
        {
            for (int64_t at = 0; at < (int64_t)ATTN_I_FEW * MOST; at++) {
                double sum = (double)c[at], magnitude = fabs(sum);
                for (int64_t j = 0; j < *count; j++) {
                    const double product = (double)a[at / MOST * MOST + j] * (double)b[j * MOST + at % MOST];
                    sum += product;
                    magnitude += fabs(product);
                }
                want[at] = sum;
                error[at] = (double)(*count + 1) * UNIT * (1 + 1e-4) * magnitude;
            }
            for (int64_t dim = 0; dim <= 70; dim++) {
                for (int64_t rows = 1; rows <= ATTN_I_FEW; rows++) {
                    const attn_i_rows weights = fenced_rows(0, a, MOST, rows, *count, *count + rows % 2 * 3);
                    const attn_i_stored_rows values = fenced_stored(stored, 1, b, MOST, *count, dim, dim + *count % 3);
                    const attn_i_rows context = fenced_rows(2, c, MOST, rows, dim, dim);
                    stored->rows.context(*count, weights, rows, &values, dim, (float *)context.data);
                    assert_rows(context.data, rows * dim, rows, dim > 0 ? dim : 1, 0, dim, want, error, MOST,
                                (doing){"row_context", {*count, dim, rows, 0, 0}});
                }
            }
        }
}

/* Values so wide that the kernel goes along them. */
static void row_context_of_wide_values_is_added_to(void **state)
{
    enum { WIDE = 1003, COUNT = 9 };
    static const int64_t dims[] = {512, 513, 528, 1000, WIDE};
    static float weights[ATTN_I_FEW * COUNT], values[COUNT * WIDE], before[ATTN_I_FEW * WIDE];
    static double sums[ATTN_I_FEW * WIDE], bounds[ATTN_I_FEW * WIDE];
    (void)state;
    fill_numbers(weights, ATTN_I_FEW * COUNT, 6, 0, 1);
    fill_numbers(values, COUNT * WIDE, 7, -1, 1);
    round_to(stored, values, COUNT * WIDE);
    fill_numbers(before, ATTN_I_FEW * WIDE, 8, -4, 4);
    for (int64_t count = 0; count <= COUNT; count++) {
        for (int64_t at = 0; at < (int64_t)ATTN_I_FEW * WIDE; at++) {
            double magnitude = fabs((double)before[at]);
            sums[at] = (double)before[at];
            for (int64_t j = 0; j < count; j++) {
                const double product = (double)weights[at / WIDE * COUNT + j] * (double)values[j * WIDE + at % WIDE];
                sums[at] += product;
                magnitude += fabs(product);
            }
            bounds[at] = (double)(count + 1) * UNIT * (1 + 1e-4) * magnitude;
        }
        for
            EACH(int64_t, dim, dims)
            {
                for (int64_t rows = 1; rows <= ATTN_I_FEW; rows++) {
                    const attn_i_rows w = fenced_rows(0, weights, COUNT, rows, count, count + rows % 2 * 3);
                    const attn_i_stored_rows v = fenced_stored(stored, 1, values, WIDE, count, *dim, *dim + count % 3);
                    const attn_i_rows context = fenced_rows(2, before, WIDE, rows, *dim, *dim);
                    stored->rows.context(count, w, rows, &v, *dim, (float *)context.data);
                    assert_rows(context.data, rows * *dim, rows, *dim, 0, *dim, sums, bounds, WIDE,
                                (doing){"row_context", {count, *dim, rows, 0, 0}});
                }
            }
    }
}

static int setup(void **state)
{
    attn_i_cpu cpu;
    attn_i_cpu_detect(&cpu);
    stored = attn_i_stored_kernels_choose(&cpu, tested, *(const attn_dtype *)*state);
    return stored == NULL ? -1 : 0;
}

#define TEST(function, type)                                                                                           \
    cmocka_unit_test_prestate_setup_teardown(function, setup, NULL, (void *)(uintptr_t)&types[type].dtype)
#define TESTS(type)                                                                                                    \
    TEST(row_products_are_sums_of_products, type), TEST(row_context_is_added_to, type),                                \
        TEST(row_context_of_wide_values_is_added_to, type)

int main(void)
{
    const struct CMUnitTest tests[] = {TESTS(0), TESTS(1), TESTS(2), TESTS(3)};
    int failed = 0;
    if (!take_set(0)) return 77; /* CTest's SKIP_RETURN_CODE: this CPU has not that set */
    for (size_t set = 0; take_set(set); set++) failed += cmocka_run_group_tests_name(tested, tests, NULL, NULL);
    return failed;
}
