/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_quantised.c: keys and values of 8 bits with a scale a row: a memory's, and the caller's own. Both are the same
 * numbers, and attention over them is that over what the integers stand for, in float64.
 */
#define _POSIX_C_SOURCE 200809L
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support.h"

enum { B = 2, HQ = 6, HK = 2, TK = 300, D = 40, DV = 21, MOST_QUERIES = 90 };

/* Keys or values: as they come, as integers with scales, and what these stand for. */
struct rows {
    struct array given, integers, scales, meant;
    int64_t width;
};

static void rows_create(struct rows *r, attn_dtype dtype, int64_t width, struct rng *rng)
{
    const int64_t shape[4] = {B, HK, TK, width}, of_scales[3] = {B, HK, TK};
    r->width = width;
    array_create(&r->given, dtype, 4, shape, LAYOUT_OUTPUT, rng);
    array_create(&r->integers, ATTN_I8, 4, shape, LAYOUT_OUTPUT, rng);
    array_create(&r->scales, ATTN_F32, 3, of_scales, LAYOUT_OUTPUT, rng);
    array_create(&r->meant, ATTN_F64, 4, shape, LAYOUT_PLAIN, rng);
    array_fill_normal(&r->given, rng, 1.0);
    for (int64_t d = 0; d < width; d++) array_set(&r->given, 5 * width + d, 0); /* a row without a scale */
    for (int64_t i = 0; i < (int64_t)B * HK * TK; i++) {
        float greatest = 0;
        for (int64_t d = 0; d < width; d++) {
            greatest = fmaxf(greatest, fabsf((float)array_get(&r->given, i * width + d)));
        }
        const float scale = greatest / 127;
        array_set(&r->scales, i, (double)scale);
        for (int64_t d = 0; d < width; d++) {
            const float x = (float)array_get(&r->given, i * width + d);
            const double integer = scale > 0 ? (double)rintf(x / scale) : 0;
            array_set(&r->integers, i * width + d, integer);
            array_set(&r->meant, i * width + d, integer * (double)scale);
        }
    }
}

static void rows_destroy(struct rows *r)
{
    array_destroy(&r->given);
    array_destroy(&r->integers);
    array_destroy(&r->scales);
    array_destroy(&r->meant);
}

struct world {
    attn_mechanism *mechanism;
    attn_dtype dtype;
    struct array query;
    struct rows key, value;
};

static void world_create(struct world *w, attn_engine *of, attn_dtype dtype, int64_t queries)
{
    struct rng rng = {(uint64_t)dtype * 1000 + (uint64_t)queries};
    const int64_t shape[4] = {B, HQ, queries, D};
    *w = (struct world){.dtype = dtype};
    MUST(attn_mechanism_create_scaled_dot(of, &w->mechanism));
    array_create(&w->query, dtype, 4, shape, LAYOUT_OUTPUT, &rng);
    array_fill_normal(&w->query, &rng, 1.0);
    rows_create(&w->key, dtype, D, &rng);
    rows_create(&w->value, dtype, DV, &rng);
}

static void world_destroy(struct world *w)
{
    attn_mechanism_destroy(w->mechanism);
    array_destroy(&w->query);
    rows_destroy(&w->key);
    rows_destroy(&w->value);
}

static attn_memory *new_memory(const struct world *w, int64_t capacity, const attn_rope_options *rope)
{
    attn_memory_options options = ATTN_MEMORY_OPTIONS_INIT;
    attn_memory *memory = NULL;
    options.dtype = ATTN_I8, options.batch = B, options.key_heads = HK, options.key_dim = D, options.value_dim = DV;
    options.capacity = capacity, options.rope = rope;
    MUST(attn_memory_create(w->mechanism, &options, &memory));
    return memory;
}

static attn_tensor part(const struct array *array, int64_t first, int64_t count)
{
    attn_tensor t = array->tensor;
    t.data = (char *)t.data + first * t.stride[2] * (t.dtype == ATTN_F32 ? 4 : 2);
    t.shape[2] = count;
    return t;
}

static attn_memory *filled(const struct world *w, int64_t step)
{
    attn_memory *memory = new_memory(w, 0, NULL);
    for (int64_t at = 0; at < TK; at += step) {
        const int64_t n = at + step < TK ? step : TK - at;
        const attn_tensor key = part(&w->key.given, at, n), value = part(&w->value.given, at, n);
        MUST(attn_memory_append(memory, &key, &value, NULL));
    }
    return memory;
}

/* The context over a memory, the integers, or, of float64, what they stand for. */
enum over { MEMORY, INTEGERS, MEANT };

static struct array attend(const struct world *w, enum over over, const attn_memory *memory, int64_t *lengths)
{
    struct array context, query = w->query;
    attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
    const int64_t queries = w->query.tensor.shape[2], shape[4] = {B, HQ, queries, DV}, batch = B;
    const int64_t query_shape[4] = {B, HQ, queries, D};
    attn_tensor valid;
    array_create(&context, over == MEANT ? ATTN_F64 : w->dtype, 4, shape, LAYOUT_PLAIN, NULL);
    if (over == MEANT) {
        double *numbers = array_read(&w->query);
        array_create(&query, ATTN_F64, 4, query_shape, LAYOUT_PLAIN, NULL);
        array_write(&query, numbers);
        free(numbers);
    }
    if (lengths != NULL) MUST(attn_tensor_init(&valid, lengths, ATTN_I64, 1, &batch));
    args.query = &query.tensor;
    args.context = &context.tensor;
    if (over == MEMORY) args.memory = memory;
    if (over != MEMORY && lengths != NULL) args.key_lengths = &valid;
    if (over == INTEGERS) {
        args.key = &w->key.integers.tensor, args.key_scales = &w->key.scales.tensor;
        args.value = &w->value.integers.tensor, args.value_scales = &w->value.scales.tensor;
    }
    if (over == MEANT) args.key = &w->key.meant.tensor, args.value = &w->value.meant.tensor;
    MUST(attn_forward(w->mechanism, &args));
    if (over == MEANT) array_destroy(&query);
    return context;
}

static void assert_same(const struct array *a, const struct array *b, const char *what)
{
    if (!array_same_bits(a, b, 0, array_count(a))) fail_msg("%s: other bits", what);
}

static void compare_all(const struct world *w, const attn_memory *memory, int64_t *lengths, const char *what)
{
    struct array a = attend(w, MEMORY, memory, lengths), b = attend(w, INTEGERS, NULL, lengths),
                 c = attend(w, MEANT, NULL, lengths);
    double *numbers = array_read(&c);
    /* The same roundings where both are read where they lie. */
    if (w->key.integers.tensor.stride[3] == 1 && w->value.integers.tensor.stride[3] == 1) assert_same(&a, &b, what);
    assert_close(&a, numbers, NULL, 64, what);
    assert_close(&b, numbers, NULL, 64, what);
    free(numbers);
    array_destroy(&a);
    array_destroy(&b);
    array_destroy(&c);
}

static const attn_dtype dtypes[] = {ATTN_F32, ATTN_F16, ATTN_BF16};
static const attn_way ways[] = {ATTN_WAY_TILES, ATTN_WAY_BLAS};
static const int64_t queries[] = {1, 2, 7, 20, MOST_QUERIES}; /* of few rows, of lanes, and of keys widened for all */

static void a_memory_of_integers_is_its_integers_and_what_they_mean(void **state)
{
    (void)state;
    for (int way = 0; way < 2; way++) {
        attn_engine_options options = ATTN_ENGINE_OPTIONS_INIT;
        attn_engine *own;
        options.way = ways[way];
        MUST(attn_engine_create(&options, &own));
        for (int d = 0; d < 3; d++) {
            for (int q = 0; q < 5; q++) {
                struct world w;
                world_create(&w, own, dtypes[d], queries[q]);
                attn_memory *whole = filled(&w, TK), *pieces = filled(&w, 13);
                compare_all(&w, whole, NULL, "appended at once");
                compare_all(&w, pieces, NULL, "appended in pieces");
                attn_memory_destroy(whole);
                attn_memory_destroy(pieces);
                world_destroy(&w);
            }
        }
        attn_engine_destroy(own);
    }
}

static void sequences_are_truncated_forked_and_reordered(void **state)
{
    struct world w;
    int64_t lengths[B] = {TK, 77}, rows[B] = {0, 1}, twice[3] = {1, 0, 1}, batch = B, three = 3;
    attn_tensor to;
    attn_memory *fork;
    (void)state;
    world_create(&w, engine, ATTN_BF16, 2);
    attn_memory *memory = filled(&w, 50);
    MUST(attn_tensor_init(&to, lengths, ATTN_I64, 1, &batch));
    MUST(attn_memory_truncate(memory, &to));
    compare_all(&w, memory, lengths, "truncated");
    MUST(attn_memory_fork(memory, &fork));
    MUST(attn_tensor_init(&to, twice, ATTN_I64, 1, &three));
    MUST(attn_memory_reorder(memory, &to));
    rows[0] = 1, rows[1] = 2; /* sequences 0 and 1 of before are 1 and 2 now */
    MUST(attn_tensor_init(&to, rows, ATTN_I64, 1, &batch));
    MUST(attn_memory_reorder(memory, &to));
    compare_all(&w, memory, lengths, "there and back");
    compare_all(&w, fork, lengths, "the fork");
    attn_memory_destroy(memory);
    attn_memory_destroy(fork);
    world_destroy(&w);
}

/* Keys are turned first and become integers then. */
static void turned_keys_are_rounded_once(void **state)
{
    (void)state;
    for (int d = 0; d < 3; d++) {
        struct world w;
        attn_rope_options rope = ATTN_ROPE_OPTIONS_INIT;
        const int64_t shape[4] = {B, HK, TK, D};
        struct array turned;
        world_create(&w, engine, dtypes[d], 2);
        rope.layout = ATTN_ROPE_HALVES;
        attn_memory *turning = new_memory(&w, 0, &rope);
        for (int64_t at = 0; at < TK; at += 100) {
            const attn_tensor key = part(&w.key.given, at, 100), value = part(&w.value.given, at, 100);
            MUST(attn_memory_append(turning, &key, &value, NULL));
        }
        /* The same by hand: keys in float32, turned. A memory takes keys and values of one type. */
        double *numbers = array_read(&w.key.given), *values = array_read(&w.value.given);
        const int64_t value_shape[4] = {B, HK, TK, DV};
        struct array value;
        array_create(&turned, ATTN_F32, 4, shape, LAYOUT_PLAIN, NULL);
        array_create(&value, ATTN_F32, 4, value_shape, LAYOUT_PLAIN, NULL);
        array_write(&turned, numbers);
        array_write(&value, values);
        MUST(attn_rope(engine, &rope, &turned.tensor, &turned.tensor));
        attn_memory *plain = new_memory(&w, 0, NULL);
        MUST(attn_memory_append(plain, &turned.tensor, &value.tensor, NULL));
        struct array got = attend(&w, MEMORY, turning, NULL), want = attend(&w, MEMORY, plain, NULL);
        assert_same(&got, &want, "turned keys");
        free(numbers);
        free(values);
        array_destroy(&got);
        array_destroy(&want);
        array_destroy(&turned);
        array_destroy(&value);
        attn_memory_destroy(turning);
        attn_memory_destroy(plain);
        world_destroy(&w);
    }
}

/* A row that is not finite is NaN as a whole: whoever sees it meets it, nobody else does. */
static void what_is_not_finite_is_not_made_a_number(void **state)
{
    static const double poisons[] = {NAN, INFINITY};
    (void)state;
    for (int way = 0; way < 2; way++) {
        for (int i = 0; i < 4; i++) {
            attn_engine_options options = ATTN_ENGINE_OPTIONS_INIT;
            attn_engine *own;
            struct world w;
            options.way = ways[way];
            MUST(attn_engine_create(&options, &own));
            world_create(&w, own, ATTN_F32, i < 2 ? 2 : 30);
            array_set(&w.value.given, (TK - 1) * DV + 3, poisons[i % 2]); /* of the first sequence's first head */
            attn_memory *memory = filled(&w, TK);
            struct array seen = attend(&w, MEMORY, memory, NULL);
            for (int64_t d = 0; d < DV; d++) assert_true(isnan(array_get(&seen, d)));
            assert_true(isfinite(array_get(&seen, array_count(&seen) - 1)));
            int64_t lengths[B] = {TK - 1, TK}, batch = B;
            attn_tensor to;
            MUST(attn_tensor_init(&to, lengths, ATTN_I64, 1, &batch));
            MUST(attn_memory_truncate(memory, &to));
            struct array hidden = attend(&w, MEMORY, memory, NULL);
            for (int64_t d = 0; d < array_count(&hidden); d++) assert_true(isfinite(array_get(&hidden, d)));
            array_destroy(&seen);
            array_destroy(&hidden);
            attn_memory_destroy(memory);
            world_destroy(&w);
            attn_engine_destroy(own);
        }
    }
}

/* The first and the last numbers of float32 are off by half a scale at most, too, and finite. */
static void the_ends_of_the_range_are_kept(void **state)
{
    static const float greatest[] = {FLT_MAX, 3.3e38F, FLT_MIN, 1e-40F, 0x1p-149F, 0x1.8p-142F, 0x1.Ep-144F};
    static const int64_t shape[2] = {1, 4};
    (void)state;
    for (int i = 0; i < 2 * (int)(sizeof greatest / sizeof *greatest); i++) {
        const float g = greatest[i / 2], key[4] = {0};
        const float value[4] = {g, -g, g / 2, g / 3}, query[4] = {1, 1, 1, 1};
        float context[4];
        attn_engine_options options = ATTN_ENGINE_OPTIONS_INIT;
        attn_memory_options of = ATTN_MEMORY_OPTIONS_INIT;
        attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
        attn_engine *own;
        attn_mechanism *mechanism;
        attn_memory *memory;
        attn_tensor k, v, q, c;
        options.way = ways[i % 2];
        of.dtype = ATTN_I8;
        of.batch = 1;
        of.key_dim = of.value_dim = 4;
        MUST(attn_engine_create(&options, &own));
        MUST(attn_mechanism_create_dot(own, &mechanism));
        MUST(attn_memory_create(mechanism, &of, &memory));
        MUST(attn_tensor_init(&k, (void *)(uintptr_t)key, ATTN_F32, 2, shape));
        MUST(attn_tensor_init(&v, (void *)(uintptr_t)value, ATTN_F32, 2, shape));
        MUST(attn_tensor_init(&q, (void *)(uintptr_t)query, ATTN_F32, 2, shape));
        MUST(attn_tensor_init(&c, context, ATTN_F32, 2, shape));
        MUST(attn_memory_append(memory, &k, &v, NULL));
        args.query = &q, args.memory = memory, args.context = &c;
        MUST(attn_forward(mechanism, &args));
        const double scale = fmax((double)g / 127, 0x1p-149);
        for (int d = 0; d < 4; d++) { /* and by what products of float32 round by */
            const double off = fabs((double)context[d] - (double)value[d]);
            const double most = scale / 2 + 0x1p-23 * (double)g + 0x1p-149;
            if (!(off <= most)) fail_msg("%g is kept as %g", (double)value[d], (double)context[d]);
        }
        attn_memory_destroy(memory);
        attn_mechanism_destroy(mechanism);
        attn_engine_destroy(own);
    }
}

/* The scale of a value that no query sees, whatever it is, changes no bit. */
static void a_hidden_scale_changes_no_bit(void **state)
{
    (void)state;
    for (int q = 0; q < 5; q++) {
        struct world w;
        const int64_t context_shape[4] = {B, HQ, queries[q], DV}, keys[1] = {TK};
        struct array contexts[2], mask;
        attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
        world_create(&w, engine, ATTN_F32, queries[q]);
        array_create(&mask, ATTN_BOOL, 1, keys, LAYOUT_PLAIN, NULL);
        for (int64_t j = 0; j < TK; j++) array_set(&mask, j, j != 7);
        args.query = &w.query.tensor, args.mask = &mask.tensor;
        for (int i = 0; i < 2; i++) {
            array_create(&contexts[i], ATTN_F32, 4, context_shape, LAYOUT_PLAIN, NULL);
            for (int64_t h = 0; h < (int64_t)B * HK && i == 1; h++) array_set(&w.value.given, (h * TK + 7) * DV, NAN);
            attn_memory *memory = filled(&w, TK);
            args.memory = memory;
            args.context = &contexts[i].tensor;
            MUST(attn_forward(w.mechanism, &args));
            attn_memory_destroy(memory);
        }
        assert_same(&contexts[0], &contexts[1], "a hidden scale");
        for (int i = 0; i < 2; i++) array_destroy(&contexts[i]);
        array_destroy(&mask);
        world_destroy(&w);
    }
}

/* Keys that are the values, and a plan over a memory that grows. */
static void a_plan_runs_over_a_memory_that_grows(void **state)
{
    struct world w;
    struct array context;
    const int64_t shape[4] = {B, HQ, 2, DV};
    attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
    attn_plan *plan = NULL;
    (void)state;
    world_create(&w, engine, ATTN_F16, 2);
    attn_memory *memory = new_memory(&w, 4, NULL);
    array_create(&context, w.dtype, 4, shape, LAYOUT_PLAIN, NULL);
    for (int64_t at = 0; at < TK; at += 20) {
        const attn_tensor key = part(&w.key.given, at, 20), value = part(&w.value.given, at, 20);
        MUST(attn_memory_append(memory, &key, &value, NULL));
        args.query = &w.query.tensor, args.memory = memory, args.context = &context.tensor;
        if (plan == NULL) MUST(attn_plan_create(w.mechanism, &args, &plan));
        MUST(attn_plan_run(plan, &args));
        struct array want = attend(&w, MEMORY, memory, NULL);
        assert_same(&context, &want, "planned");
        array_destroy(&want);
    }
    attn_plan_destroy(plan);
    array_destroy(&context);
    attn_memory_destroy(memory);
    world_destroy(&w);
}

static void refused(attn_status got, attn_status want, const char *word)
{
    if (got != want) fail_msg("%s: %s", word, attn_status_string(got));
    if (!strstr(attn_last_error(), word)) fail_msg("\"%s\" lacks \"%s\"", attn_last_error(), word);
}

static void what_integers_cannot_do_is_refused_in_words(void **state)
{
    struct world w;
    struct array context, query;
    const int64_t shape[4] = {B, HQ, 2, DV}, query_shape[4] = {B, HQ, 2, D};
    attn_forward_args good = ATTN_FORWARD_ARGS_INIT, args;
    (void)state;
    world_create(&w, engine, ATTN_F32, 2);
    array_create(&context, ATTN_F32, 4, shape, LAYOUT_PLAIN, NULL);
    array_create(&query, ATTN_F64, 4, query_shape, LAYOUT_PLAIN, NULL);
    good.query = &w.query.tensor, good.context = &context.tensor;
    good.key = &w.key.integers.tensor, good.key_scales = &w.key.scales.tensor;
    good.value = &w.value.integers.tensor, good.value_scales = &w.value.scales.tensor;
    MUST(attn_forward(w.mechanism, &good));
    args = good, args.key_scales = NULL;
    refused(attn_forward(w.mechanism, &args), ATTN_ERR_ARGUMENT, "key_scales is NULL");
    args = good, args.value = &w.value.given.tensor;
    refused(attn_forward(w.mechanism, &args), ATTN_ERR_ARGUMENT, "value_scales");
    args = good, args.value = NULL;
    refused(attn_forward(w.mechanism, &args), ATTN_ERR_ARGUMENT, "value_scales");
    attn_tensor short_scales = w.key.scales.tensor, narrow = w.key.integers.tensor;
    short_scales.shape[2]--;
    args = good, args.key_scales = &short_scales;
    refused(attn_forward(w.mechanism, &args), ATTN_ERR_SHAPE, "key_scales");
    args = good, args.key_scales = &query.tensor;
    refused(attn_forward(w.mechanism, &args), ATTN_ERR_DTYPE, "key_scales");
    args = good, args.query = &query.tensor;
    refused(attn_forward(w.mechanism, &args), ATTN_ERR_DTYPE, "float32");
    args = good, args.context = &w.key.scales.tensor;
    refused(attn_forward(w.mechanism, &args), ATTN_ERR_SHAPE, "context");
    args = good, narrow.shape[3]--;
    args.key = &narrow;
    refused(attn_forward(w.mechanism, &args), ATTN_ERR_SHAPE, "dimension");
    attn_backward_args backward = ATTN_BACKWARD_ARGS_INIT;
    const int64_t rows[3] = {B, HQ, 2};
    struct array logsumexp;
    array_create(&logsumexp, ATTN_F32, 3, rows, LAYOUT_PLAIN, NULL);
    backward.forward = &good;
    backward.d_context = &context.tensor;
    backward.d_query = &context.tensor;
    good.logsumexp = &logsumexp.tensor;
    refused(attn_backward(w.mechanism, &backward), ATTN_ERR_UNSUPPORTED, "ATTN_I8");
    attn_memory *memory = filled(&w, TK);
    const attn_tensor key = w.key.given.tensor, value = w.value.given.tensor;
    refused(attn_memory_append(memory, &w.key.integers.tensor, &value, NULL), ATTN_ERR_DTYPE, "key");
    refused(attn_memory_append(memory, &key, &w.value.meant.tensor, NULL), ATTN_ERR_DTYPE, "value");
    args = (attn_forward_args)ATTN_FORWARD_ARGS_INIT;
    args.query = &query.tensor, args.context = &context.tensor, args.memory = memory;
    refused(attn_forward(w.mechanism, &args), ATTN_ERR_DTYPE, "memory");
    args.query = &w.query.tensor, args.key_scales = &w.key.scales.tensor;
    refused(attn_forward(w.mechanism, &args), ATTN_ERR_ARGUMENT, "key_scales");
    attn_memory_destroy(memory);
    array_destroy(&logsumexp);
    array_destroy(&context);
    array_destroy(&query);
    world_destroy(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_memory_of_integers_is_its_integers_and_what_they_mean),
        cmocka_unit_test(sequences_are_truncated_forked_and_reordered),
        cmocka_unit_test(turned_keys_are_rounded_once),
        cmocka_unit_test(what_is_not_finite_is_not_made_a_number),
        cmocka_unit_test(the_ends_of_the_range_are_kept),
        cmocka_unit_test(a_hidden_scale_changes_no_bit),
        cmocka_unit_test(a_plan_runs_over_a_memory_that_grows),
        cmocka_unit_test(what_integers_cannot_do_is_refused_in_words),
    };
    return cmocka_run_group_tests(tests, engine_setup, engine_teardown);
}
