/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_merge.c: parts of the keys joined, against sums in long double written from the formula, over random shapes,
 * strides and types; parts that saw nothing, and numbers at the ends of their types; in place; what is refused; and
 * attention over parts, forward and backward, beside attention over all keys.
 */
#define _POSIX_C_SOURCE 200809L
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "own_means.h"
#include "support.h"

static struct rng rng = {2020};

enum { MOST_PARTS = 17 };

static const attn_dtype types[] = {ATTN_F32, ATTN_F16, ATTN_BF16, ATTN_F64};

/* A type that goes with another one: any of those computed in float32, or float64. */
static attn_dtype beside(attn_dtype dtype)
{
    return dtype == ATTN_F64 ? ATTN_F64 : types[rng_integer(&rng, 0, 2)];
}

static attn_dtype real_type(void)
{
    return rng_chance(&rng, 0.5) ? ATTN_F32 : ATTN_F64;
}

/* -------------------------------------------------------------------------------------------------- a call */

struct joined {
    int64_t shape[4]; /* of contexts; log-sum-exps have the first three */
    int64_t parts;
    struct array contexts[MOST_PARTS], logsumexps[MOST_PARTS], context, logsumexp;
    const attn_tensor *context_list[MOST_PARTS], *logsumexp_list[MOST_PARTS];
    attn_merge_args args;
};

static int64_t rows_of(const struct joined *j)
{
    return j->shape[0] * j->shape[1] * j->shape[2];
}

/* Lists and arguments of what the arrays are now. */
static void point(struct joined *j)
{
    j->args = (attn_merge_args)ATTN_MERGE_ARGS_INIT;
    for (int64_t k = 0; k < j->parts; k++) {
        j->context_list[k] = &j->contexts[k].tensor;
        j->logsumexp_list[k] = &j->logsumexps[k].tensor;
    }
    j->args.parts = j->parts;
    j->args.contexts = j->context_list;
    j->args.logsumexps = j->logsumexp_list;
    j->args.context = &j->context.tensor;
    j->args.logsumexp = &j->logsumexp.tensor;
}

/* Contexts are normal, log-sum-exps some steps apart. `mixed`: parts have types of their own. */
static void create(struct joined *j, attn_dtype dtype, bool mixed, int64_t parts, const int64_t shape[4],
                   unsigned layout)
{
    const unsigned output = layout & LAYOUT_OUTPUT;
    memset(j, 0, sizeof *j);
    memcpy(j->shape, shape, sizeof j->shape);
    j->parts = parts;
    for (int64_t k = 0; k < parts; k++) {
        array_create(&j->contexts[k], mixed ? beside(dtype) : dtype, 4, shape, layout, &rng);
        array_create(&j->logsumexps[k], mixed ? real_type() : ATTN_F64, 3, shape, layout, &rng);
        array_fill_normal(&j->contexts[k], &rng, 1);
        array_fill_normal(&j->logsumexps[k], &rng, 3);
    }
    array_create(&j->context, dtype, 4, shape, output, &rng);
    array_create(&j->logsumexp, mixed ? real_type() : ATTN_F64, 3, shape, output, &rng);
    point(j);
}

static void destroy(struct joined *j)
{
    for (int64_t k = 0; k < j->parts; k++) array_destroy(&j->contexts[k]), array_destroy(&j->logsumexps[k]);
    array_destroy(&j->context);
    array_destroy(&j->logsumexp);
}

/* What the numbers of a call were before it. */
struct numbers {
    int64_t parts, rows, columns;
    double *contexts[MOST_PARTS], *logsumexps[MOST_PARTS];
};

static struct numbers numbers_of(const struct joined *j)
{
    struct numbers n = {.parts = j->parts, .rows = rows_of(j), .columns = j->shape[3]};
    for (int64_t k = 0; k < j->parts; k++) {
        n.contexts[k] = array_read(&j->contexts[k]);
        n.logsumexps[k] = array_read(&j->logsumexps[k]);
    }
    return n;
}

static void forget(struct numbers *n)
{
    for (int64_t k = 0; k < n->parts; k++) free(n->contexts[k]), free(n->logsumexps[k]);
}

/* The weights of a row's parts; returns its log-sum-exp. */
static long double reference_row(const struct numbers *n, int64_t row, long double *weights)
{
    long double most = -INFINITY, sum = 0;
    for (int64_t k = 0; k < n->parts; k++) most = fmaxl(most, n->logsumexps[k][row]);
    for (int64_t k = 0; k < n->parts; k++) {
        const long double x = n->logsumexps[k][row];
        weights[k] = x == -INFINITY ? 0 : expl(x - most);
        sum += weights[k];
    }
    for (int64_t k = 0; k < n->parts; k++) weights[k] = sum == 0 ? 0 : weights[k] / sum;
    return sum == 0 ? -INFINITY : most + logl(sum);
}

/* Rounding to 16 bits is half a step; before that each part adds a product's rounding and a sum's. */
static void check_context(const struct numbers *n, const struct array *got, const char *what)
{
    const attn_dtype dtype = got->tensor.dtype;
    const double epsilon = dtype_epsilon(dtype), unit = dtype_epsilon(dtype_computed(dtype));
    const size_t count = (size_t)(n->rows * n->columns + 1);
    double *want = must_allocate(count * sizeof *want), *error = must_allocate(count * sizeof *error);
    for (int64_t e = 0; e < n->rows * n->columns; e++) {
        long double weights[MOST_PARTS], sum = 0, size = 0;
        reference_row(n, e / n->columns, weights);
        for (int64_t k = 0; k < n->parts; k++) {
            const double x = n->contexts[k][e];
            if (weights[k] == 0 && n->logsumexps[k][e / n->columns] == -INFINITY) continue;
            sum += weights[k] * x;
            size += weights[k] * fabs(x);
        }
        want[e] = (double)sum;
        error[e] =
            (unit * (double)(n->parts + 3) * (double)size + 1.01 * dtype_half_step(dtype, (double)sum)) / epsilon;
    }
    assert_close(got, want, error, 1, what);
    assert_true(array_gaps_intact(got));
    free(want), free(error);
}

static void check_logsumexp(const struct numbers *n, const struct array *got, const char *what)
{
    double *want = must_allocate((size_t)(n->rows + 1) * sizeof *want);
    for (int64_t r = 0; r < n->rows; r++) {
        long double weights[MOST_PARTS];
        want[r] = (double)reference_row(n, r, weights);
    }
    assert_close(got, want, NULL, 4, what);
    assert_true(array_gaps_intact(got));
    free(want);
}

/* Rows of a part that saw nothing: their contexts hold anything. */
static void empty_rows(struct joined *j, double probability)
{
    static const double anything[] = {NAN, INFINITY, -INFINITY, 0, 1e30};
    for (int64_t i = 0; i < j->parts * rows_of(j); i++) {
        const int64_t k = i % j->parts, row = i / j->parts;
        if (!rng_chance(&rng, probability)) continue;
        array_set(&j->logsumexps[k], row, -INFINITY);
        for (int64_t d = 0; d < j->shape[3]; d++) {
            array_set(&j->contexts[k], row * j->shape[3] + d, anything[rng_integer(&rng, 0, 4)]);
        }
    }
}

/* ---------------------------------------------------------------------------------------------- its values */

static void check_call(struct joined *j, const char *what)
{
    struct numbers n = numbers_of(j);
    MUST(attn_merge(engine, &j->args));
    check_context(&n, &j->context, what);
    check_logsumexp(&n, &j->logsumexp, what);
    forget(&n);
}

static void parts_are_weighed_by_their_log_sum_exps(void **state)
{
    static const int64_t parts[] = {1, 2, 3, 17};
    (void)state;
    for (int i = 0; i < (few_cases() ? 200 : 1200); i++) {
        const int64_t shape[4] = {rng_integer(&rng, 1, 3), rng_integer(&rng, 1, 4), rng_integer(&rng, 1, 21),
                                  rng_integer(&rng, 1, 70)};
        struct joined j;
        create(&j, types[i % 4], i / 4 % 3 > 0, parts[i / 12 % 4], shape, i % 5 ? LAYOUT_OUTPUT : LAYOUT_PLAIN);
        if (i % 7 > 3) empty_rows(&j, i % 7 == 4 ? 0.7 : 0.2);
        for (int64_t k = 0; k < j.parts; k++) {
            array_lower_rank(&j.contexts[k], &rng);
            array_lower_rank(&j.logsumexps[k], &rng);
        }
        array_lower_rank(&j.context, &rng);
        array_lower_rank(&j.logsumexp, &rng);
        check_call(&j, "parts");
        destroy(&j);
    }
}

/* Rows longer than a block of sums, alone and in numbers; rows of one number; heads of one query. */
static void long_rows_and_many_rows_are_joined_too(void **state)
{
    static const int64_t shapes[][4] = {{1, 1, 3, 5003}, {2, 2, 1, 2049}, {1, 1, 1, 1024}, {2, 3, 700, 1},
                                        {3, 40, 1, 33},  {1, 2, 333, 64}, {1, 1, 2, 2048}};
    (void)state;
    for (int i = 0; i < 7 * 4 * 2; i++) {
        struct joined j;
        create(&j, types[i % 4], i % 3 == 0, i % 5 == 0 ? 12 : 3, shapes[i / 4 % 7],
               i < 28 ? LAYOUT_PLAIN : LAYOUT_OUTPUT);
        empty_rows(&j, 0.1);
        check_call(&j, "long rows");
        destroy(&j);
    }
}

/* Strides of 0 are one part for all heads. */
static void parts_may_be_broadcast(void **state)
{
    (void)state;
    for (int i = 0; i < 40; i++) {
        const int64_t shape[4] = {2, 3, 5, 1 + i};
        struct joined j;
        create(&j, types[i % 4], false, 2, shape, LAYOUT_INPUT);
        check_call(&j, "broadcast parts");
        destroy(&j);
    }
}

static void strides_change_no_bit(void **state)
{
    (void)state;
    for (int i = 0; i < 40; i++) {
        const int64_t shape[4] = {2, 2, 5, rng_integer(&rng, 1, 600)};
        struct joined plain, strided;
        create(&plain, types[i % 4], false, 3, shape, LAYOUT_PLAIN);
        create(&strided, types[i % 4], false, 3, shape, LAYOUT_OUTPUT);
        for (int64_t k = 0; k < 3; k++) {
            double *context = array_read(&plain.contexts[k]), *logsumexp = array_read(&plain.logsumexps[k]);
            array_write(&strided.contexts[k], context);
            array_write(&strided.logsumexps[k], logsumexp);
            free(context), free(logsumexp);
        }
        MUST(attn_merge(engine, &plain.args));
        MUST(attn_merge(engine, &strided.args));
        assert_true(array_same_bits(&plain.context, &strided.context, 0, array_count(&plain.context)));
        assert_true(array_same_bits(&plain.logsumexp, &strided.logsumexp, 0, array_count(&plain.logsumexp)));
        destroy(&plain), destroy(&strided);
    }
}

static void one_part_comes_out_as_it_is(void **state)
{
    static const int64_t shape[4] = {2, 3, 11, 37};
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct joined j;
        create(&j, types[i], false, 1, shape, LAYOUT_PLAIN);
        array_set(&j.contexts[0], 3, INFINITY); /* of one row, the smallest there are of the next */
        for (int64_t d = 0; d < shape[3]; d++) array_set(&j.contexts[0], shape[3] + d, i == 3 ? 5e-324 : 1.5e-45);
        MUST(attn_merge(engine, &j.args));
        assert_true(array_same_bits(&j.contexts[0], &j.context, 0, array_count(&j.context)));
        assert_true(array_same_bits(&j.logsumexps[0], &j.logsumexp, 0, array_count(&j.logsumexp)));
        destroy(&j);
    }
}

static void a_part_that_saw_nothing_changes_no_bit(void **state)
{
    static const int64_t shape[4] = {2, 3, 11, 37};
    (void)state;
    for (int i = 0; i < 4 * 3; i++) {
        struct joined j;
        create(&j, types[i / 3], false, 3, shape, LAYOUT_PLAIN);
        array_fill(&j.logsumexps[i % 3], -INFINITY);
        array_fill(&j.contexts[i % 3], NAN);
        MUST(attn_merge(engine, &j.args));
        struct array with = j.context;
        array_create(&j.context, types[i / 3], 4, shape, LAYOUT_PLAIN, NULL);
        const attn_tensor *others[2] = {j.context_list[(i + 1) % 3], j.context_list[(i + 2) % 3]};
        const attn_tensor *their[2] = {j.logsumexp_list[(i + 1) % 3], j.logsumexp_list[(i + 2) % 3]};
        if (i % 3 == 1) { /* in the order of the parts */
            others[0] = j.context_list[0], others[1] = j.context_list[2];
            their[0] = j.logsumexp_list[0], their[1] = j.logsumexp_list[2];
        }
        j.args.parts = 2, j.args.contexts = others, j.args.logsumexps = their;
        MUST(attn_merge(engine, &j.args));
        assert_true(array_same_bits(&with, &j.context, 0, array_count(&with)));
        array_destroy(&with);
        destroy(&j);
    }
}

static void where_no_part_saw_anything_there_is_zero(void **state)
{
    static const int64_t shape[4] = {1, 2, 9, 20};
    (void)state;
    for (int i = 0; i < 4 * 3; i++) {
        struct joined j;
        create(&j, types[i % 4], true, i / 4 * 8 + 1, shape, LAYOUT_OUTPUT);
        for (int64_t k = 0; k < j.parts; k++) array_fill(&j.logsumexps[k], -INFINITY), array_fill(&j.contexts[k], NAN);
        MUST(attn_merge(engine, &j.args));
        for (int64_t e = 0; e < array_count(&j.context); e++) assert_true(array_get(&j.context, e) == 0);
        for (int64_t e = 0; e < array_count(&j.logsumexp); e++) assert_true(array_get(&j.logsumexp, e) == -INFINITY);
        destroy(&j);
    }
}

/* Infinity, and what is no number, spoil their own rows, and no others. */
static void a_log_sum_exp_that_is_none_makes_its_row_nan(void **state)
{
    static const double none[] = {INFINITY, NAN};
    static const int64_t shape[4] = {1, 2, 9, 20};
    (void)state;
    for (int i = 0; i < 4 * 2 * 12; i++) {
        struct joined j;
        create(&j, types[i % 4], i % 3 == 0, 12, shape, LAYOUT_PLAIN);
        empty_rows(&j, 0.3);
        const int64_t row = rng_integer(&rng, 0, rows_of(&j) - 1);
        array_set(&j.logsumexps[i / 8], row, none[i / 4 % 2]);
        if (i % 5 == 0) array_set(&j.logsumexps[(i / 8 + 1) % 12], row, INFINITY);
        for (int64_t d = 0; d < shape[3]; d++) array_set(&j.contexts[i / 8], row * shape[3] + d, 1);
        MUST(attn_merge(engine, &j.args));
        for (int64_t r = 0; r < rows_of(&j); r++) {
            assert_int_equal(isnan(array_get(&j.logsumexp, r)), r == row);
            for (int64_t d = 0; d < shape[3]; d++) {
                assert_int_equal(isnan(array_get(&j.context, r * shape[3] + d)), r == row);
            }
        }
        destroy(&j);
    }
}

/* Contexts at the ends of their types, and log-sum-exps that are no exponents of anything. */
static void great_numbers_stay_finite(void **state)
{
    static const double greatest[] = {(double)FLT_MAX, 65504, 3.38953138925153547590470800371487867e38, DBL_MAX};
    static const int64_t shape[4] = {1, 2, 9, 20};
    (void)state;
    for (int i = 0; i < 4 * 17; i++) {
        struct joined j;
        create(&j, types[i % 4], false, i / 4 + 1, shape, LAYOUT_PLAIN);
        for (int64_t k = 0; k < j.parts; k++) {
            array_fill(&j.contexts[k], i % 3 ? greatest[i % 4] : -greatest[i % 4]);
            for (int64_t r = 0; r < rows_of(&j); r++) {
                array_set(&j.logsumexps[k], r, (double)(r % 3) * 1e30 + (double)(r + k));
                if (r % 3 == 0) array_set(&j.logsumexps[k], r, (double)k * -1e4);
            }
        }
        check_call(&j, "great numbers");
        for (int64_t e = 0; e < array_count(&j.context); e++) assert_true(isfinite(array_get(&j.context, e)));
        destroy(&j);
    }
}

static void a_log_sum_exp_is_not_asked_for(void **state)
{
    static const int64_t shape[4] = {1, 2, 9, 20};
    struct joined j;
    (void)state;
    create(&j, ATTN_F32, true, 3, shape, LAYOUT_OUTPUT);
    struct numbers n = numbers_of(&j);
    j.args.logsumexp = NULL;
    MUST(attn_merge(engine, &j.args));
    check_context(&n, &j.context, "without a log-sum-exp");
    forget(&n);
    destroy(&j);
}

/* ------------------------------------------------------------------------------------------------ in place */

static void in_place_has_the_bits_of_apart(void **state)
{
    (void)state;
    for (int i = 0; i < 4 * 3 * 8; i++) {
        const int64_t shape[4] = {2, rng_integer(&rng, 1, 4), rng_integer(&rng, 1, 40), i < 88 ? 1 + i : 2500};
        const int64_t parts = i % 3 == 2 ? 11 : 2, a = i % 3 == 2 ? parts - 1 : i % 2, b = i / 2 % parts;
        struct joined j;
        create(&j, types[i / 3 % 4], false, parts, shape, i % 5 ? LAYOUT_OUTPUT : LAYOUT_PLAIN);
        empty_rows(&j, 0.1);
        MUST(attn_merge(engine, &j.args));
        const attn_tensor context = j.contexts[a].tensor, logsumexp = j.logsumexps[b].tensor; /* the same views */
        j.args.context = &context;
        j.args.logsumexp = &logsumexp;
        MUST(attn_merge(engine, &j.args));
        assert_true(array_same_bits(&j.context, &j.contexts[a], 0, array_count(&j.context)));
        assert_true(array_same_bits(&j.logsumexp, &j.logsumexps[b], 0, array_count(&j.logsumexp)));
        assert_true(array_gaps_intact(&j.contexts[a]) && array_gaps_intact(&j.logsumexps[b]));
        destroy(&j);
    }
}

/* Part by part into a running result: in float32 and float64 as good as all at once. */
static void a_running_result_takes_up_part_after_part(void **state)
{
    static const int64_t shape[4] = {2, 3, 13, 40};
    (void)state;
    for (int i = 0; i < 20; i++) {
        struct joined j;
        create(&j, i % 2 ? ATTN_F32 : ATTN_F64, false, 2 + i % 8, shape, LAYOUT_PLAIN);
        empty_rows(&j, 0.2);
        struct numbers n = numbers_of(&j);
        array_fill(&j.context, NAN);
        array_fill(&j.logsumexp, -INFINITY); /* of nothing */
        for (int64_t k = 0; k < j.parts; k++) {
            const attn_tensor *contexts[2] = {&j.context.tensor, j.context_list[k]};
            const attn_tensor *logsumexps[2] = {&j.logsumexp.tensor, j.logsumexp_list[k]};
            attn_merge_args args = j.args;
            args.parts = 2, args.contexts = contexts, args.logsumexps = logsumexps;
            MUST(attn_merge(engine, &args));
        }
        check_context(&n, &j.context, "running context");
        check_logsumexp(&n, &j.logsumexp, "running log-sum-exp");
        forget(&n);
        destroy(&j);
    }
}

/* ------------------------------------------------------------------------------------------------- refused */

static void check_refused(struct joined *j, attn_status status, const char *words)
{
    struct numbers n = numbers_of(j);
    double *context = array_read(&j->context), *logsumexp = array_read(&j->logsumexp);
    const attn_status got = attn_merge(engine, &j->args);
    if (got != status) fail_msg("%s: %s (%s)", words, attn_status_string(got), attn_last_error());
    if (strncmp(attn_last_error(), "attn_merge: ", 12) != 0 || strstr(attn_last_error(), words) == NULL) {
        fail_msg("\"%s\" is not in: %s", words, attn_last_error());
    }
    for (int64_t k = 0; k < j->parts; k++) {
        double *now = array_read(&j->contexts[k]);
        assert_memory_equal(now, n.contexts[k], (size_t)(n.rows * n.columns) * sizeof *now);
        free(now);
    }
    double *now = array_read(&j->context);
    assert_memory_equal(now, context, (size_t)(n.rows * n.columns) * sizeof *now);
    free(now), free(context), free(logsumexp);
    forget(&n);
}

static void overlaps_are_refused_before_anything_is_written(void **state)
{
    static const int64_t shape[4] = {1, 2, 3, 8};
    (void)state;
    for (int i = 0; i < 7; i++) {
        static const char *const words[] = {"context shares memory with contexts[1]",
                                            "context shares memory with contexts[0]",
                                            "context shares memory with logsumexps[1]",
                                            "logsumexp shares memory with contexts[0]",
                                            "logsumexp shares memory with logsumexps[1]",
                                            "context shares memory with logsumexp",
                                            "context is an output"};
        struct joined j;
        create(&j, ATTN_F64, false, 2, shape, LAYOUT_PLAIN);
        attn_tensor context = j.context.tensor, logsumexp = j.logsumexp.tensor;
        double *const first = j.contexts[0].tensor.data, *const second = j.contexts[1].tensor.data;
        if (i == 0) context.data = second + 1; /* an element on */
        if (i == 1) {                          /* at the same place, but turned */
            context.data = first;
            context.shape[1] = 2, context.stride[1] = 8, context.stride[2] = 16;
        }
        if (i == 2) logsumexp = (attn_tensor){second, ATTN_F64, 3, {1, 2, 3, 0}, {6, 3, 1, 0}};
        if (i == 2) j.logsumexp_list[1] = &logsumexp, context.data = second, j.args.logsumexp = NULL;
        if (i == 3) logsumexp.data = first + 40;
        if (i == 4) logsumexp.dtype = ATTN_F32, logsumexp.data = j.logsumexps[1].tensor.data;
        if (i == 5) logsumexp.data = (double *)context.data + 47, logsumexp.stride[0] = 1;
        if (i == 6) context.stride[2] = 7;
        j.args.context = &context;
        if (i != 2) j.args.logsumexp = &logsumexp;
        if (i == 2) j.context_list[1] = j.context_list[0];
        check_refused(&j, ATTN_ERR_OVERLAP, words[i]);
        destroy(&j);
    }
}

static void missing_arguments_are_named(void **state)
{
    static const int64_t shape[4] = {1, 2, 3, 8};
    struct joined j;
    (void)state;
    create(&j, ATTN_F32, false, 3, shape, LAYOUT_PLAIN);
    assert_int_equal(attn_merge(NULL, &j.args), ATTN_ERR_ARGUMENT);
    assert_string_equal(attn_last_error(), "attn_merge: engine is NULL");
    assert_int_equal(attn_merge(engine, NULL), ATTN_ERR_ARGUMENT);
    assert_string_equal(attn_last_error(), "attn_merge: args is NULL");
    j.args.contexts = NULL, check_refused(&j, ATTN_ERR_ARGUMENT, "contexts is NULL"), point(&j);
    j.args.logsumexps = NULL, check_refused(&j, ATTN_ERR_ARGUMENT, "logsumexps is NULL"), point(&j);
    j.args.context = NULL, check_refused(&j, ATTN_ERR_ARGUMENT, "context is NULL"), point(&j);
    j.context_list[2] = NULL, check_refused(&j, ATTN_ERR_ARGUMENT, "contexts[2] is NULL"), point(&j);
    j.logsumexp_list[1] = NULL, check_refused(&j, ATTN_ERR_ARGUMENT, "logsumexps[1] is NULL"), point(&j);
    j.args.parts = 0, check_refused(&j, ATTN_ERR_ARGUMENT, "parts is 0, but at least 1"), point(&j);
    j.args.parts = INT64_MIN, check_refused(&j, ATTN_ERR_ARGUMENT, "parts is -9223372036854775808"), point(&j);
    j.args.reserved = 1, check_refused(&j, ATTN_ERR_ARGUMENT, "reserved"), point(&j);
    destroy(&j);
}

static void structs_of_other_sizes_are_refused_unless_what_is_new_is_zero(void **state)
{
    static const int64_t shape[4] = {1, 2, 3, 8};
    struct {
        attn_merge_args args;
        unsigned char tail[64];
    } later;
    struct joined j;
    (void)state;
    create(&j, ATTN_F32, false, 2, shape, LAYOUT_PLAIN);
    static const uint32_t wrong[] = {0, 4, sizeof(attn_merge_args) - 1, 4097, UINT32_MAX};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        j.args.struct_size = wrong[i];
        check_refused(&j, ATTN_ERR_STRUCT_SIZE, "struct_size");
    }
    memset(&later, 0, sizeof later);
    point(&j);
    later.args = j.args;
    later.args.struct_size = sizeof later;
    MUST(attn_merge(engine, &later.args));
    later.tail[63] = 1;
    assert_int_equal(attn_merge(engine, &later.args), ATTN_ERR_STRUCT_SIZE);
    destroy(&j);
}

static void wrong_tensors_are_refused(void **state)
{
    static const struct {
        int which; /* 0: context, 1: logsumexp, 2: contexts[1], 3: logsumexps[1] */
        enum { DTYPE, NDIM, SHAPE, STRIDE } what;
        int64_t number;
        int dimension;
        attn_status status;
        const char *words;
    } all[] = {
        {0, DTYPE, ATTN_F64, 0, ATTN_ERR_DTYPE, "contexts[0] is ATTN_F32, but context is ATTN_F64"},
        {0, DTYPE, ATTN_I8, 0, ATTN_ERR_DTYPE, "context is ATTN_I8"},
        {0, DTYPE, 77, 0, ATTN_ERR_DTYPE, "context has dtype 77"},
        {0, NDIM, 5, 0, ATTN_ERR_SHAPE, "context has 5 dimensions"},
        {0, SHAPE, 1, 1, ATTN_ERR_SHAPE, "logsumexp has shape"},
        {0, SHAPE, -1, 2, ATTN_ERR_SHAPE, "context has -1 elements"},
        {0, STRIDE, INT64_MAX / 2, 1, ATTN_ERR_OVERFLOW, "context"},
        {1, DTYPE, ATTN_F16, 0, ATTN_ERR_DTYPE, "logsumexp is ATTN_F16, but ATTN_F32 or ATTN_F64"},
        {1, NDIM, 4, 0, ATTN_ERR_SHAPE, "logsumexp has 4 dimensions"},
        {1, SHAPE, 4, 2, ATTN_ERR_SHAPE, "logsumexp has shape"},
        {1, STRIDE, 0, 2, ATTN_ERR_OVERLAP, "logsumexp is an output"},
        {2, DTYPE, ATTN_F64, 0, ATTN_ERR_DTYPE, "contexts[1] is ATTN_F64, but context is ATTN_F32"},
        {2, DTYPE, ATTN_BOOL, 0, ATTN_ERR_DTYPE, "contexts[1] is ATTN_BOOL"},
        {2, NDIM, 0, 0, ATTN_ERR_SHAPE, "contexts[1] has 0 dimensions"},
        {2, SHAPE, 9, 3, ATTN_ERR_SHAPE, "contexts[1] has shape [1, 2, 3, 9]"},
        {2, SHAPE, 2, 0, ATTN_ERR_SHAPE, "contexts[1] has shape"},
        {2, SHAPE, 1, 1, ATTN_ERR_SHAPE, "contexts[1] has shape"},
        {2, STRIDE, INT64_MIN, 1, ATTN_ERR_OVERFLOW, "contexts[1]"},
        {3, DTYPE, ATTN_BF16, 0, ATTN_ERR_DTYPE, "logsumexps[1] is ATTN_BF16"},
        {3, NDIM, 4, 0, ATTN_ERR_SHAPE, "logsumexps[1] has 4 dimensions"},
        {3, SHAPE, 2, 2, ATTN_ERR_SHAPE, "logsumexps[1] has shape"},
        {3, SHAPE, 1, 1, ATTN_ERR_SHAPE, "logsumexps[1] has shape"},
        {3, STRIDE, INT64_MAX, 1, ATTN_ERR_OVERFLOW, "logsumexps[1]"},
    };
    static const int64_t shape[4] = {1, 2, 3, 8};
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct joined j;
        create(&j, ATTN_F32, false, 3, shape, LAYOUT_PLAIN);
        const attn_tensor *const of[] = {j.args.context, j.args.logsumexp, j.context_list[1], j.logsumexp_list[1]};
        attn_tensor wrong = *of[all[i].which];
        if (all[i].what == DTYPE) wrong.dtype = (attn_dtype)all[i].number;
        if (all[i].what == NDIM) wrong.ndim = (int32_t)all[i].number;
        if (all[i].what == SHAPE) wrong.shape[all[i].dimension] = all[i].number;
        if (all[i].what == STRIDE) wrong.stride[all[i].dimension] = all[i].number;
        if (all[i].which == 0) j.args.context = &wrong;
        if (all[i].which == 1) j.args.logsumexp = &wrong;
        if (all[i].which == 2) j.context_list[1] = &wrong;
        if (all[i].which == 3) j.logsumexp_list[1] = &wrong;
        check_refused(&j, all[i].status, all[i].words);
        destroy(&j);
    }
}

/* --------------------------------------------------------------------------------------------- its manners */

static void nothing_is_joined_to_nothing(void **state)
{
    static const int64_t shapes[][4] = {{0, 2, 3, 8}, {2, 0, 3, 8}, {2, 3, 0, 8}, {2, 3, 4, 0}, {0, 0, 0, 0}};
    (void)state;
    for (int i = 0; i < 5 * 4; i++) {
        struct joined j;
        create(&j, types[i % 4], true, 3, shapes[i / 4], LAYOUT_PLAIN);
        check_call(&j, "nothing"); /* contexts without columns have log-sum-exps all the same */
        destroy(&j);
    }
}

static attn_status run_merge(attn_engine *on, void *data)
{
    return attn_merge(on, &((struct joined *)data)->args);
}

static void threads_change_no_bit(void **state)
{
    static const int64_t shapes[][4] = {{2, 4, 300, 40}, {1, 33, 1, 3000}};
    (void)state;
    for (int i = 0; i < 8; i++) {
        struct joined j;
        create(&j, types[i % 4], true, 3 + i, shapes[i / 4], LAYOUT_PLAIN);
        const struct own_call call = {run_merge, &j, {&j.context, &j.logsumexp, NULL}};
        assert_int_equal(assert_threads_change_no_bit(&call), 1);
        assert_int_equal(assert_failures_touch_nothing(&call), 0); /* it asks for no memory */
        destroy(&j);
    }
}

/* ------------------------------------------------------------------------------------- attention over parts */

enum { B = 2, HQ = 4, HK = 2, TK = 133, DIM = 16, DV = 12 };

/* What a call has, and how it is said of a part: keys are counted from the part's first one. */
enum modifier {
    NONE,
    TOP_LEFT,
    BOTTOM_RIGHT,
    WINDOW,
    ALIBI,
    RELATIVE,
    MASK,
    BIAS,
    CAPPED,
    LENGTHS,
    SHARED, /* bottom-right, of sequences of two lengths, which all see all of the first part */
    MODIFIERS
};

struct attention {
    enum modifier modifier;
    attn_dtype dtype;
    int64_t queries;
    attn_mechanism *whole, *part, *beginning; /* the last: of the first part, where that is called otherwise */
    struct array query, key, value, mask, bias, lengths, slopes, table, d_context, d_logsumexp;
    struct array context, logsumexp, d_query, d_key, d_value; /* of the whole; */
    struct array merged, merged_logsumexp, sum_d_query, part_d_key, part_d_value;
    struct array d_slopes, sum_d_slopes, d_table, sum_d_table;
};

static void make(struct array *array, attn_dtype dtype, int64_t heads, int64_t rows, int64_t columns)
{
    array_create(array, dtype, columns > 0 ? 4 : 3, (int64_t[]){B, heads, rows, columns}, LAYOUT_PLAIN, NULL);
    array_fill_normal(array, &rng, 1);
}

static void set_modifier(attn_mechanism *mechanism, struct attention *a, bool of_part)
{
    const bool bottom = a->modifier == SHARED || (a->modifier == BOTTOM_RIGHT && !of_part);
    const attn_align align = bottom ? ATTN_ALIGN_BOTTOM_RIGHT : ATTN_ALIGN_TOP_LEFT;
    if (a->modifier == TOP_LEFT || a->modifier == BOTTOM_RIGHT || a->modifier == SHARED)
        MUST(attn_mechanism_set_causal(mechanism, align));
    if (a->modifier == WINDOW) MUST(attn_mechanism_set_window(mechanism, 30, 3, align));
    if (a->modifier == ALIBI) MUST(attn_mechanism_set_alibi(mechanism, &a->slopes.tensor, align));
    if (a->modifier == RELATIVE) {
        MUST(attn_mechanism_set_relative_bias(mechanism, &a->table.tensor, ATTN_RELATIVE_T5, 40, align));
    }
    if (a->modifier == CAPPED) {
        MUST(attn_mechanism_set_softcap(mechanism, 2));
        MUST(attn_mechanism_set_temperature(mechanism, 0.3));
    }
}

static void attention_create(struct attention *a, enum modifier modifier, attn_dtype dtype, int64_t queries)
{
    *a = (struct attention){.modifier = modifier, .dtype = dtype, .queries = queries};
    make(&a->query, dtype, HQ, queries, DIM), make(&a->key, dtype, HK, TK, DIM), make(&a->value, dtype, HK, TK, DV);
    make(&a->d_context, dtype, HQ, queries, DV), make(&a->d_logsumexp, dtype, HQ, queries, 0);
    struct array *const contexts[] = {&a->context, &a->merged}, *const lse[] = {&a->logsumexp, &a->merged_logsumexp};
    for (int i = 0; i < 2; i++) make(contexts[i], dtype, HQ, queries, DV), make(lse[i], ATTN_F64, HQ, queries, 0);
    make(&a->d_query, dtype, HQ, queries, DIM), make(&a->sum_d_query, dtype, HQ, queries, DIM);
    make(&a->d_key, dtype, HK, TK, DIM), make(&a->part_d_key, dtype, HK, TK, DIM);
    make(&a->d_value, dtype, HK, TK, DV), make(&a->part_d_value, dtype, HK, TK, DV);
    array_create(&a->mask, ATTN_BOOL, 4, (int64_t[]){B, 1, queries, TK}, LAYOUT_PLAIN, NULL);
    array_create(&a->lengths, ATTN_I64, 1, (int64_t[]){B}, LAYOUT_PLAIN, NULL);
    array_create(&a->slopes, dtype, 1, (int64_t[]){HQ}, LAYOUT_PLAIN, NULL);
    for (int64_t i = 0; i < array_count(&a->mask); i++) array_set(&a->mask, i, rng_chance(&rng, 0.6));
    for (int64_t b = 0; b < B; b++) array_set(&a->lengths, b, b == 0 ? TK - 50 : modifier == SHARED ? TK : 40);
    for (int64_t h = 0; h < HQ; h++) array_set(&a->slopes, h, ldexp(1, (int)-h - 1));
    array_create(&a->bias, dtype, 4, (int64_t[]){B, 1, queries, TK}, LAYOUT_PLAIN, NULL);
    array_fill_normal(&a->bias, &rng, 1);
    array_create(&a->table, dtype, 2, (int64_t[]){HQ, 16}, LAYOUT_PLAIN, NULL);
    array_fill_normal(&a->table, &rng, 1);
    struct array *const sums[] = {&a->d_slopes, &a->sum_d_slopes, &a->d_table, &a->sum_d_table};
    for (int i = 0; i < 4; i++) {
        const attn_tensor *of = i < 2 ? &a->slopes.tensor : &a->table.tensor;
        array_create(sums[i], dtype, of->ndim, of->shape, LAYOUT_PLAIN, NULL);
        array_fill(sums[i], 0);
    }
    MUST(attn_mechanism_create_scaled_dot(engine, &a->whole));
    MUST(attn_mechanism_create_scaled_dot(engine, &a->part));
    MUST(attn_mechanism_create_scaled_dot(engine, &a->beginning));
    set_modifier(a->whole, a, false);
    set_modifier(a->part, a, true);
}

static void attention_destroy(struct attention *a)
{
    struct array *const all[] = {&a->query,       &a->key,         &a->value,
                                 &a->mask,        &a->d_slopes,    &a->sum_d_slopes,
                                 &a->d_table,     &a->sum_d_table, &a->bias,
                                 &a->table,       &a->lengths,     &a->slopes,
                                 &a->d_context,   &a->d_logsumexp, &a->context,
                                 &a->logsumexp,   &a->d_query,     &a->d_key,
                                 &a->d_value,     &a->merged,      &a->merged_logsumexp,
                                 &a->sum_d_query, &a->part_d_key,  &a->part_d_value};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) array_destroy(all[i]);
    attn_mechanism_destroy(a->whole);
    attn_mechanism_destroy(a->part);
    attn_mechanism_destroy(a->beginning);
}

/* Keys first .. end - 1 of a tensor of keys, or of such columns. */
static attn_tensor some(const struct array *array, int dimension, int64_t first, int64_t end)
{
    attn_tensor t = array->tensor;
    const int64_t size = t.dtype == ATTN_F64 ? 8 : t.dtype == ATTN_F32 ? 4 : 1;
    t.data = (char *)t.data + first * t.stride[dimension] * size;
    t.shape[dimension] = end - first;
    return t;
}

/* A part of the keys, as a call of its own. */
struct split {
    const attn_mechanism *mechanism;
    attn_tensor key, value, mask, bias, lengths, d_key, d_value;
    int64_t length[B];
    struct array context, logsumexp;
    attn_forward_args args;
};

static attn_forward_args whole_args(struct attention *a)
{
    attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
    args.query = &a->query.tensor, args.key = &a->key.tensor, args.value = &a->value.tensor;
    args.mask = a->modifier == MASK ? &a->mask.tensor : NULL;
    args.bias = a->modifier == BIAS ? &a->bias.tensor : NULL;
    args.key_lengths = a->modifier == LENGTHS || a->modifier == SHARED ? &a->lengths.tensor : NULL;
    args.query_start = a->modifier == TOP_LEFT ? 2 : 0;
    args.context = &a->context.tensor, args.logsumexp = &a->logsumexp.tensor;
    return args;
}

static void split_create(struct split *s, struct attention *a, int64_t first, int64_t end)
{
    static const int64_t sequences = B;
    s->args = whole_args(a);
    s->key = some(&a->key, 2, first, end), s->value = some(&a->value, 2, first, end);
    s->d_key = some(&a->part_d_key, 2, first, end), s->d_value = some(&a->part_d_value, 2, first, end);
    s->mask = some(&a->mask, 3, first, end), s->bias = some(&a->bias, 3, first, end);
    s->mechanism = a->modifier == SHARED && first == 0 ? a->beginning : a->part;
    for (int64_t b = 0; b < B; b++) {
        const int64_t left = (int64_t)array_get(&a->lengths, b) - first;
        s->length[b] = left < 0 ? 0 : left > end - first ? end - first : left;
    }
    MUST(attn_tensor_init(&s->lengths, s->length, ATTN_I64, 1, &sequences));
    make(&s->context, a->dtype, HQ, a->queries, DV), make(&s->logsumexp, ATTN_F64, HQ, a->queries, 0);
    s->args.key = &s->key, s->args.value = &s->value;
    if (s->args.mask != NULL) s->args.mask = &s->mask;
    if (s->args.bias != NULL) s->args.bias = &s->bias;
    if (s->args.key_lengths != NULL) s->args.key_lengths = &s->lengths;
    const bool placed = a->modifier >= TOP_LEFT && a->modifier <= RELATIVE;
    const int64_t start = a->modifier == BOTTOM_RIGHT ? TK - a->queries : s->args.query_start;
    s->args.query_start = placed ? start - first : 0;
    s->args.context = &s->context.tensor, s->args.logsumexp = &s->logsumexp.tensor;
}

static attn_backward_args backward_args(struct attention *a, bool of_part)
{
    attn_backward_args args = ATTN_BACKWARD_ARGS_INIT;
    if (a->modifier == ALIBI) args.d_alibi = of_part ? &a->sum_d_slopes.tensor : &a->d_slopes.tensor;
    if (a->modifier == RELATIVE) args.d_relative = of_part ? &a->sum_d_table.tensor : &a->d_table.tensor;
    args.d_context = &a->d_context.tensor;
    args.d_logsumexp = &a->d_logsumexp.tensor;
    return args;
}

static void run_whole(struct attention *a)
{
    const attn_forward_args args = whole_args(a);
    attn_backward_args back = backward_args(a, false);
    MUST(attn_forward(a->whole, &args));
    back.forward = &args;
    back.d_query = &a->d_query.tensor, back.d_key = &a->d_key.tensor, back.d_value = &a->d_value.tensor;
    MUST(attn_backward(a->whole, &back));
}

static void run_parts(struct attention *a, const int64_t *cuts, int64_t parts)
{
    struct split splits[5];
    const attn_tensor *contexts[5], *logsumexps[5];
    for (int64_t k = 0; k < parts; k++) {
        split_create(&splits[k], a, cuts[k], cuts[k + 1]);
        MUST(attn_forward(splits[k].mechanism, &splits[k].args));
        contexts[k] = &splits[k].context.tensor, logsumexps[k] = &splits[k].logsumexp.tensor;
    }
    attn_merge_args merge = ATTN_MERGE_ARGS_INIT;
    merge.parts = parts, merge.contexts = contexts, merge.logsumexps = logsumexps;
    merge.context = &a->merged.tensor, merge.logsumexp = &a->merged_logsumexp.tensor;
    MUST(attn_merge(engine, &merge));
    array_fill(&a->sum_d_query, 0), array_fill(&a->part_d_key, 0), array_fill(&a->part_d_value, 0);
    for (int64_t k = 0; k < parts; k++) {
        attn_backward_args back = backward_args(a, true);
        splits[k].args.context = &a->merged.tensor, splits[k].args.logsumexp = &a->merged_logsumexp.tensor;
        back.forward = &splits[k].args;
        back.accumulate = 1;
        back.d_query = &a->sum_d_query.tensor, back.d_key = &splits[k].d_key, back.d_value = &splits[k].d_value;
        MUST(attn_backward(splits[k].mechanism, &back));
        array_destroy(&splits[k].context), array_destroy(&splits[k].logsumexp);
    }
}

static void attention_over_parts_is_attention_over_all_keys(void **state)
{
    static const int64_t two[] = {0, 37, TK}, five[] = {0, 5, 6, 70, 71, TK};
    static const int64_t queries[] = {40, 3, TK, TK + 9};
    (void)state;
    for (int i = 0; i < MODIFIERS * 4 * 2 * 2; i++) {
        if (i / 16 == SHARED && (i / 4 % 4 > 1 || i / 2 % 2 == 0)) continue;
        struct attention a;
        attention_create(&a, (enum modifier)(i / 16), i % 2 ? ATTN_F64 : ATTN_F32, queries[i / 4 % 4]);
        run_whole(&a);
        run_parts(&a, i / 2 % 2 ? two : five, i / 2 % 2 ? 2 : 5);
        double *want = array_read(&a.logsumexp);
        assert_close(&a.merged_logsumexp, want, NULL, i % 2 ? 128 : 0x1p29 * 128, "log-sum-exp of parts");
        free(want);
        assert_near(&a.merged, &a.context, "context of parts");
        assert_near(&a.sum_d_query, &a.d_query, "d_query of parts");
        assert_near(&a.part_d_key, &a.d_key, "d_key of parts");
        assert_near(&a.part_d_value, &a.d_value, "d_value of parts");
        double *slopes = array_read(&a.d_slopes), *table = array_read(&a.d_table); /* sums over all scores */
        assert_close(&a.sum_d_slopes, slopes, NULL, 1 << 14, "d_alibi of parts");
        assert_close(&a.sum_d_table, table, NULL, 1 << 14, "d_relative of parts");
        free(slopes), free(table);
        attention_destroy(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_are_weighed_by_their_log_sum_exps),
        cmocka_unit_test(long_rows_and_many_rows_are_joined_too),
        cmocka_unit_test(parts_may_be_broadcast),
        cmocka_unit_test(strides_change_no_bit),
        cmocka_unit_test(one_part_comes_out_as_it_is),
        cmocka_unit_test(a_part_that_saw_nothing_changes_no_bit),
        cmocka_unit_test(where_no_part_saw_anything_there_is_zero),
        cmocka_unit_test(a_log_sum_exp_that_is_none_makes_its_row_nan),
        cmocka_unit_test(great_numbers_stay_finite),
        cmocka_unit_test(a_log_sum_exp_is_not_asked_for),
        cmocka_unit_test(in_place_has_the_bits_of_apart),
        cmocka_unit_test(a_running_result_takes_up_part_after_part),
        cmocka_unit_test(overlaps_are_refused_before_anything_is_written),
        cmocka_unit_test(missing_arguments_are_named),
        cmocka_unit_test(structs_of_other_sizes_are_refused_unless_what_is_new_is_zero),
        cmocka_unit_test(wrong_tensors_are_refused),
        cmocka_unit_test(nothing_is_joined_to_nothing),
        cmocka_unit_test(threads_change_no_bit),
        cmocka_unit_test(attention_over_parts_is_attention_over_all_keys),
    };
    return cmocka_run_group_tests(tests, engine_setup, engine_teardown);
}
