/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_projection.c: rows times a matrix of parameters, by our own kernels and by the BLAS, against sums in float64, at
 * the edges of every cut: slabs of the depth, panels of columns, pieces of rows, few rows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants those before it */
#include <cmocka.h>

#include "score/projection.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

enum { GUARD = 7 }; /* elements after each row of the result */
static const float untouched = -12345;

static float *random_floats(int64_t n)
{
    float *x = malloc((size_t)n * sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < n; i++) x[i] = (float)(rand() % 20001 - 10000) / 10000;
    return x;
}

/* One case in so many, and one row of a large result; see few_cases() of support.h. */
static int share(void)
{
    return getenv("ATTN_TEST_EMULATED") != NULL || getenv("ATTN_TEST_FEWER") != NULL ? 5 : 1;
}

static double element(attn_i_matrix m, int64_t row, int64_t column)
{
    return (double)((const float *)(const void *)m.data)[row * m.row_stride + column * m.column_stride];
}

/* The sum of n products of numbers up to 1 in size is n + 1 roundings away from exact, each of them at most half an
 * epsilon of what the sum of sizes is; `beside`: the size of what was added to it and taken away again. */
static void check(attn_i_matrix from, attn_i_matrix map, attn_i_matrix to, double beside)
{
    const int64_t step = to.rows > 100 ? share() : 1;
    for (int64_t i = 0; i < to.rows; i += step) {
        for (int64_t c = 0; c < to.columns; c++) {
            double sum = 0, size = 0;
            for (int64_t d = 0; d < map.rows; d++) {
                sum += element(from, i, d) * element(map, d, c);
                size += fabs(element(from, i, d) * element(map, d, c));
            }
            const double bound =
                (double)(map.rows + 1) * (double)FLT_EPSILON / 2 * size + beside * (double)FLT_EPSILON * (2 + size);
            if (fabs(element(to, i, c) - sum) > bound) {
                fail_msg("%d x %d x %d: [%d, %d] is %.9g, not %.9g", (int)to.rows, (int)map.rows, (int)to.columns,
                         (int)i, (int)c, element(to, i, c), sum);
            }
        }
        for (int64_t c = to.columns; c < to.row_stride; c++) {
            assert_true(element(to, i, c) == (double)untouched);
        }
    }
}

static void project(const attn_engine *engine, int64_t rows, int64_t depth, int64_t columns, int transposed, int own)
{
    attn_i_problem p = {.engine = (attn_engine *)engine, .dtype = ATTN_F32, .size = sizeof(float)};
    p.kernels = attn_i_engine_kernels(engine, ATTN_F32);
    float *a = random_floats(rows * (depth + 3)), *b = random_floats(depth * columns + depth + columns);
    float *c = random_floats(rows * (columns + GUARD));
    for (int64_t i = 0; i < rows * (columns + GUARD); i++) c[i] = untouched;
    const attn_i_matrix from = {(char *)a, rows, depth, depth + 3, 1};
    const attn_i_matrix to = {(char *)c, rows, columns, columns + GUARD, 1};
    attn_i_matrix map = {(char *)b, depth, columns, columns + 1, 1};
    if (transposed) map = (attn_i_matrix){(char *)b, depth, columns, 1, depth + 1};

    attn_i_arena arena = {.base = NULL};
    attn_i_projection_layout(&p, &arena, map, rows, own);
    void *scratch = aligned_alloc(64, (size_t)(arena.used + 64) / 64 * 64);
    assert_non_null(scratch);
    arena = (attn_i_arena){.base = scratch};
    const attn_i_projection projection = attn_i_projection_layout(&p, &arena, map, rows, own);
    attn_i_projection_load(&p, &projection);
    attn_i_project(&p, &projection, from, to);
    check(from, map, to, 0.0);
    /* Fewer rows than it was laid out for. */
    for (int64_t i = 0; i < rows * (columns + GUARD); i++) c[i] = untouched;
    attn_i_matrix less = from, less_to = to;
    less.rows = less_to.rows = (rows + 1) / 2;
    attn_i_project(&p, &projection, less, less_to);
    check(less, map, less_to, 0.0);
    free(a), free(b), free(c), free(scratch);
}

/* Bits of how: own, a sum over rows (with a NaN among them), added to what is there, with a row. */
static void project_onto(const attn_engine *engine, int64_t rows, int64_t depth, int64_t columns, int how)
{
    const int own = how & 1, sum = how >> 1 & 1, accumulate = how >> 2 & 1, with_row = how >> 3 & 1;
    attn_i_problem p = {.engine = (attn_engine *)engine, .dtype = ATTN_F32, .size = sizeof(float)};
    p.kernels = attn_i_engine_kernels(engine, ATTN_F32);
    float *a = random_floats((rows + 3) * (depth + 3)), *b = random_floats(depth * (columns + 1) + 1);
    float *c = random_floats(rows * (columns + GUARD)), *row = random_floats(columns);
    const attn_i_matrix to = {(char *)c, rows, columns, columns + GUARD, 1};
    const attn_i_matrix map = {(char *)b, depth, columns, columns + 1, 1};
    attn_i_matrix from = {(char *)a, rows, depth, depth + 3, 1};
    if (sum) from = (attn_i_matrix){(char *)a, rows, depth, 1, rows + 3};
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t k = 0; k < columns + GUARD; k++) c[i * (columns + GUARD) + k] = k < columns ? 0.5f : untouched;
    }
    if (sum) b[depth * (columns + 1) / 2] = NAN; /* a gap or an element */
    attn_i_arena arena = {.base = NULL};
    for (int pass = 0; pass < 2; pass++) {
        attn_i_projection projection = sum ? attn_i_projection_layout_sum(&p, &arena, map, 1, own)
                                           : attn_i_projection_layout(&p, &arena, map, rows, own);
        if (pass == 0) {
            arena = (attn_i_arena){.base = aligned_alloc(64, (size_t)(arena.used + 64) / 64 * 64)};
            assert_non_null(arena.base);
            continue;
        }
        attn_i_projection_load(&p, &projection);
        attn_i_project_onto(&p, &projection, from, to, with_row ? row : NULL, accumulate);
    }
    if (sum) b[depth * (columns + 1) / 2] = 0;
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t k = 0; k < columns; k++) {
            c[i * (columns + GUARD) + k] -= (accumulate ? 0.5f : 0.0f) + (with_row ? row[k] : 0.0f);
        }
    }
    check(from, map, to, 2.0);
    free(a), free(b), free(c), free(row), free(arena.base);
}

static void products_at_every_edge_are_right(void **state)
{
    static const int64_t row_counts[] = {1, 2, 7, 8, 9, 13, 191, 193, 390},
                         depths[] = {0, 1, 2, 17, 511, 512, 513, 1030};
    static const int64_t widths[] = {1, 5, 16, 17, 63, 64, 65, 144, 200};
    const int64_t most = 13 * 1030 * 200, few = 13 * 17 * 65; /* products in one case */
    int cases = 0;
    (void)state;
    for (int32_t threads = 1; threads <= 3; threads += 2) {
        attn_engine_options options = ATTN_ENGINE_OPTIONS_INIT;
        attn_engine *engine;
        options.threads = threads;
        assert_int_equal(attn_engine_create(&options, &engine), ATTN_OK);
        for (size_t r = 0; r < sizeof row_counts / sizeof *row_counts; r++) {
            for (size_t d = 0; d < sizeof depths / sizeof *depths; d++) {
                for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
                    if (row_counts[r] * depths[d] * widths[w] > most || cases++ % share() != 0) continue;
                    for (int how = 0; how < 4; how++) {
                        project(engine, row_counts[r], depths[d], widths[w], how & 1, how >> 1);
                    }
                    for (int how = 0; how < 16 && row_counts[r] * depths[d] * widths[w] <= few; how++) {
                        project_onto(engine, row_counts[r], depths[d], widths[w], how);
                    }
                }
            }
        }
        attn_engine_destroy(engine);
    }
}

/* Several pieces of rows, panels and slabs at once. */
static void a_large_product_is_right(void **state)
{
    attn_engine *engine;
    (void)state;
    assert_int_equal(attn_engine_create(NULL, &engine), ATTN_OK);
    for (int transposed = 0; transposed < 2; transposed++) project(engine, 600, 700, 1100, transposed, 1);
    for (int how = 0; how < 16; how++) {
        project_onto(engine, 6, 1030, 130, how);
        project_onto(engine, 200, 513, 65, how);
        project_onto(engine, 390, 530, 144, how);
    }
    attn_engine_destroy(engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_at_every_edge_are_right),
        cmocka_unit_test(a_large_product_is_right),
    };
    attn_engine *engine = NULL;
    if (attn_engine_create(NULL, &engine) == ATTN_ERR_UNSUPPORTED) return 77; /* this CPU lacks the set: skipped */
    attn_engine_destroy(engine);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
