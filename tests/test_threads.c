/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_threads.c: the bits of a result do not depend on how many threads compute it, nor on the order in which an
 * application's executor runs the items of a job. There is a call for each way in which the work is cut, joined and
 * copied.
 */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support.h"

/* What a call has beside queries, keys, values, context and log-sum-exp. */
enum {
    CAUSAL = 1,
    WINDOW = 2,
    LENGTHS = 4,
    MASK = 8,
    BIAS = 16,
    SOFTCAP = 32,
    ALIBI = 64,
    STRIDED = 128, /* keys and values whose elements are not contiguous: they are copied */
    WEIGHTS = 256,
    SCORES = 512,
    POISON = 1024,   /* values that are not finite, of keys that the lengths hide */
    UNEVEN = 2048,   /* queries [B, Tq, Hq, D]: where heads share keys their rows are not evenly apart */
    F64 = 4096,      /* not for tiles: goes through the BLAS on either way */
    ALONE = 8192,    /* compared with its heads one by one, which fit into one chunk */
    HALVES = 16384,  /* bfloat16, and fast */
    INTEGERS = 32768 /* keys and values are, with scales; and fast */
};

/* jobs: how many an executor is given on the way of tiles; 0 where that is not looked at. If the constants that cut the
 * work change, so may these, and then the shape is to be changed until it is cut as its name says again. */
struct call {
    const char *name;
    enum rule_kind kind;
    struct dims n;
    unsigned has;
    int jobs;
};

static const struct call calls[] = {
    {"many heads", RULE_SCALED_DOT, {2, 8, 4, 70, 300, 24, 20}, 0, 1},
    {"many heads, uneven queries, causal", RULE_DOT, {2, 8, 4, 70, 300, 24, 20}, UNEVEN | CAUSAL, 1},
    {"a few passes, split", RULE_SCALED_DOT, {1, 1, 1, 200, 4100, 32, 33}, 0, 2},
    {"many causal tiles of one head", RULE_SCALED_DOT, {1, 1, 1, 2000, 2000, 32, 32}, CAUSAL, 1},
    {"one causal head, split", RULE_SCALED_DOT, {1, 1, 1, 300, 2100, 32, 32}, CAUSAL, 2},
    {"one head with a window, split", RULE_SCALED_DOT, {1, 1, 1, 300, 2100, 32, 32}, WINDOW, 2},
    {"few queries", RULE_SCALED_DOT, {3, 4, 4, 1, 900, 64, 64}, 0, 1},
    {"few queries, split", RULE_SCALED_DOT, {2, 4, 2, 3, 5000, 64, 47}, ALIBI, 2},
    {"few queries, uneven, split", RULE_SCALED_DOT, {2, 4, 2, 4, 5000, 40, 47}, UNEVEN | LENGTHS | POISON, 2},
    {"chunks of copies", RULE_SCALED_DOT, {2, 3, 3, 10, 4096, 128, 128}, STRIDED | LENGTHS | ALONE, 8},
    {"chunks of copies for few queries", RULE_SCALED_DOT, {2, 3, 3, 2, 4096, 128, 128}, STRIDED | ALONE, 8},
    {"copies of many heads", RULE_GENERAL, {2, 8, 4, 80, 300, 32, 32}, STRIDED | UNEVEN, 4},
    {"general, split", RULE_GENERAL, {1, 4, 2, 33, 1200, 24, 16}, LENGTHS | POISON, 2},
    {"general, few queries", RULE_GENERAL, {2, 4, 2, 3, 2200, 24, 16}, STRIDED, 4},
    {"additive, split", RULE_ADDITIVE, {1, 2, 2, 20, 1100, 24, 16}, MASK, 4},
    {"additive, chunks", RULE_ADDITIVE, {1, 4, 4, 10, 20000, 8, 4}, ALONE, 6},
    {"additive, few queries, split", RULE_ADDITIVE, {2, 2, 2, 3, 2200, 24, 16}, BIAS | STRIDED, 4},
    {"concat, split", RULE_CONCAT, {1, 2, 2, 20, 1100, 24, 16}, SOFTCAP, 4},
    {"location, split", RULE_LOCATION, {1, 2, 2, 70, 1100, 24, 16}, LENGTHS, 2},
    {"location, few queries", RULE_LOCATION, {2, 2, 1, 3, 2200, 24, 16}, 0, 2},
    {"weights", RULE_SCALED_DOT, {1, 4, 2, 100, 1100, 24, 16}, WEIGHTS | CAUSAL, 1},
    {"scores of additive", RULE_ADDITIVE, {1, 4, 2, 30, 600, 24, 16}, SCORES | WEIGHTS | SOFTCAP, 3},
    {"all modifiers, split",
     RULE_SCALED_DOT,
     {1, 2, 1, 90, 1300, 24, 16},
     CAUSAL | WINDOW | LENGTHS | MASK | BIAS | SOFTCAP | ALIBI | POISON,
     2},
    {"all modifiers, few queries, split",
     RULE_SCALED_DOT,
     {2, 2, 1, 4, 3000, 24, 16},
     CAUSAL | WINDOW | LENGTHS | MASK | BIAS | SOFTCAP | ALIBI | POISON,
     2},
    {"fast, split", RULE_SCALED_DOT, {1, 1, 1, 200, 4100, 33, 35}, HALVES, 2},
    {"fast, many heads, uneven queries, causal", RULE_DOT, {2, 8, 4, 70, 300, 24, 20}, HALVES | UNEVEN | CAUSAL, 1},
    {"fast, few queries", RULE_SCALED_DOT, {3, 4, 4, 1, 900, 65, 64}, HALVES, 1},
    {"fast, few queries, split", RULE_SCALED_DOT, {2, 4, 2, 7, 5000, 64, 47}, HALVES | ALIBI, 2},
    {"fast, few queries, uneven, split",
     RULE_SCALED_DOT,
     {2, 4, 2, 4, 5000, 40, 47},
     HALVES | UNEVEN | LENGTHS | POISON,
     2},
    {"fast, all modifiers, split",
     RULE_SCALED_DOT,
     {1, 2, 1, 90, 1300, 24, 16},
     HALVES | CAUSAL | WINDOW | LENGTHS | MASK | BIAS | SOFTCAP | ALIBI | POISON,
     2},
    {"fast, weights", RULE_SCALED_DOT, {1, 4, 2, 100, 1100, 24, 16}, HALVES | WEIGHTS | CAUSAL, 1},
    {"fast over integers, few queries", RULE_SCALED_DOT, {3, 4, 4, 1, 900, 65, 64}, INTEGERS, 1},
    {"fast over integers, few queries, split", RULE_SCALED_DOT, {2, 4, 2, 7, 5000, 64, 47}, INTEGERS | LENGTHS, 2},
    {"dot in float64", RULE_DOT, {2, 4, 2, 133, 517, 32, 24}, F64 | WEIGHTS | SCORES, 0},
    {"general in float64", RULE_GENERAL, {2, 4, 2, 133, 517, 32, 24}, F64 | MASK | STRIDED, 0},
    {"additive in float64", RULE_ADDITIVE, {2, 4, 2, 133, 517, 32, 24}, F64 | WEIGHTS | SCORES, 0},
    {"concat in float64", RULE_CONCAT, {2, 4, 2, 133, 517, 32, 24}, F64 | CAUSAL, 0},
    {"location in float64", RULE_LOCATION, {2, 4, 2, 133, 517, 32, 24}, F64 | WEIGHTS, 0},
};

/* ---------------------------------------------------------------------------------------------- the executor */

/* Runs jobs in an order of its own, on THREADS threads that draw from it; or only every second job, the first or the
 * second, and the others on the caller: then most of the scratch that threads have is fresh in a later job. */
enum { THREADS = 5 };

struct executor {
    struct rng rng;
    enum { EVERY_JOB, FIRST_OF_TWO, SECOND_OF_TWO } on_threads;
    int jobs;
    int64_t *order;
    int64_t count;
    atomic_llong next;
    atomic_int absent; /* threads that have not come yet: all begin together, or nearly */
    attn_task_fn task;
    void *task_data;
};

static void *draw(void *data)
{
    struct executor *e = data;
    atomic_fetch_sub(&e->absent, 1);
    for (int i = 0; i < 1000 && atomic_load(&e->absent) > 0; i++) sched_yield();
    for (int64_t i; (i = atomic_fetch_add(&e->next, 1)) < e->count;) e->task(e->task_data, e->order[i]);
    return NULL;
}

static void execute_on_threads(void *data, int64_t count, attn_task_fn task, void *task_data)
{
    struct executor *e = data;
    pthread_t threads[THREADS - 1];
    const bool alone = e->on_threads != EVERY_JOB && (e->jobs % 2 == 0) != (e->on_threads == FIRST_OF_TWO);
    const int helpers = alone ? 0 : THREADS - 1;
    e->jobs++;
    e->order = must_allocate((size_t)count * sizeof *e->order);
    e->count = count;
    e->task = task;
    e->task_data = task_data;
    atomic_store(&e->next, 0);
    atomic_store(&e->absent, helpers + 1);
    for (int64_t i = 0; i < count; i++) e->order[i] = i;
    rng_shuffle(&e->rng, e->order, count);
    for (int t = 0; t < helpers; t++) assert_int_equal(pthread_create(&threads[t], NULL, draw, e), 0);
    draw(e);
    for (int t = 0; t < helpers; t++) pthread_join(threads[t], NULL);
    free(e->order);
}

/* Memory with NaN in every element, whose bits grow as numbers do: nothing may be read that was not written. */
static void *allocate_filled(void *data, size_t bytes, size_t alignment)
{
    (void)data;
    const size_t whole = (bytes + alignment - 1) / alignment * alignment;
    unsigned char *memory = aligned_alloc(alignment, whole);
    for (size_t i = 0; memory != NULL && i + sizeof(uint64_t) <= whole; i += sizeof(uint64_t)) {
        const uint64_t word = UINT64_C(0x7fc000007fc00000) + i;
        memcpy(memory + i, &word, sizeof word);
    }
    return memory;
}

static void release(void *data, void *memory, size_t bytes)
{
    (void)data, (void)bytes;
    free(memory);
}

/* ---------------------------------------------------------------------------------------------- a call */

enum { OUTPUTS = 4 };
static const char *const output_names[OUTPUTS] = {"context", "logsumexp", "weights", "scores"};

struct scene {
    const struct call *call;
    attn_dtype dtype;
    struct rng rng;
    struct array query, key, value, mask, bias, lengths, slopes, key_scales, value_scales, params[3];
    attn_forward_args args;
};

/* Filled with normal numbers. step: elements from one to the next in the last dimension. */
static void create_of(struct scene *s, attn_dtype dtype, struct array *array, int32_t ndim, const int64_t *shape,
                      int64_t step)
{
    int64_t wide[4];
    for (int d = 0; d < ndim; d++) wide[d] = shape[d] * (d == ndim - 1 ? step : 1);
    array_create(array, dtype, ndim, wide, LAYOUT_PLAIN, NULL);
    array_fill_normal(array, &s->rng, 1.0);
    array->tensor.shape[ndim - 1] = shape[ndim - 1];
    array->tensor.stride[ndim - 1] = step;
}

static void create(struct scene *s, struct array *array, int32_t ndim, const int64_t *shape, int64_t step)
{
    create_of(s, s->dtype, array, ndim, shape, step);
}

static void create_integers(struct scene *s, struct array *array, struct array *scales, const int64_t *shape)
{
    array_create(array, ATTN_I8, 4, shape, LAYOUT_PLAIN, NULL);
    array_create(scales, ATTN_F32, 3, shape, LAYOUT_PLAIN, NULL);
    for (int64_t i = array_count(array) - 1; i >= 0; i--) array_set(array, i, (double)rng_integer(&s->rng, -128, 127));
    for (int64_t i = array_count(scales) - 1; i >= 0; i--) array_set(scales, i, rng_uniform(&s->rng, 0.005, 0.02));
}

static void create_inputs(struct scene *s)
{
    const struct dims *n = &s->call->n;
    const unsigned has = s->call->has;
    const int64_t step = has & STRIDED ? 2 : 1;
    const int64_t query[4] = {n->batch, n->query_heads, n->queries, n->dim};
    const int64_t uneven[4] = {n->batch, n->queries, n->query_heads, n->dim};
    const int64_t key[4] = {n->batch, n->key_heads, n->keys, n->dim};
    const int64_t value[4] = {n->batch, n->key_heads, n->keys, n->value_dim};
    const int64_t score[4] = {n->batch, 1, n->queries, n->keys};

    create(s, &s->query, 4, has & UNEVEN ? uneven : query, 1);
    if (has & UNEVEN) {
        attn_tensor *t = &s->query.tensor;
        t->shape[1] = n->query_heads;
        t->shape[2] = n->queries;
        const int64_t across = t->stride[1];
        t->stride[1] = t->stride[2];
        t->stride[2] = across;
    }
    if (has & INTEGERS) {
        create_integers(s, &s->key, &s->key_scales, key);
        create_integers(s, &s->value, &s->value_scales, value);
    } else {
        create(s, &s->key, 4, key, step);
        create(s, &s->value, 4, value, step);
    }
    create(s, &s->bias, 4, score, 1);
    create_of(s, dtype_computed(s->dtype), &s->slopes, 1, &n->query_heads, 1);
    array_create(&s->mask, ATTN_BOOL, 4, score, LAYOUT_PLAIN, NULL);
    for (int64_t i = 0; i < array_count(&s->mask); i++) array_set(&s->mask, i, rng_chance(&s->rng, 0.8));
    array_create(&s->lengths, ATTN_I64, 1, &n->batch, LAYOUT_PLAIN, NULL);
    for (int64_t b = 0; b < n->batch; b++) array_set(&s->lengths, b, (double)(n->keys - 1 - b * n->keys / 3));
    for (int64_t i = 0; i < array_count(&s->value) && has & POISON; i++) {
        const int64_t b = i / n->value_dim / n->keys / n->key_heads, j = i / n->value_dim % n->keys;
        if ((double)j >= array_get(&s->lengths, b)) array_set(&s->value, i, i % 3 ? NAN : HUGE_VAL);
    }

    s->args = (attn_forward_args)ATTN_FORWARD_ARGS_INIT;
    s->args.scores_stage = ATTN_SCORES_MASKED;
    s->args.query = &s->query.tensor;
    s->args.key = &s->key.tensor;
    s->args.value = &s->value.tensor;
    if (has & INTEGERS) s->args.key_scales = &s->key_scales.tensor, s->args.value_scales = &s->value_scales.tensor;
    if (has & MASK) s->args.mask = &s->mask.tensor;
    if (has & BIAS) s->args.bias = &s->bias.tensor;
    if (has & LENGTHS) s->args.key_lengths = &s->lengths.tensor;
}

static void bind(struct scene *s, attn_mechanism *mechanism, int place, const char *name, int64_t rows, int64_t columns)
{
    const int64_t shape[2] = {rows, columns};
    if (s->params[place].memory == NULL) create(s, &s->params[place], columns > 0 ? 2 : 1, shape, 1);
    MUST(attn_mechanism_bind_param(mechanism, name, &s->params[place].tensor));
}

static attn_mechanism *create_mechanism(struct scene *s, attn_engine *on)
{
    enum { HIDDEN = 40 };
    const int64_t dim = s->call->n.dim, keys = s->call->n.keys;
    const unsigned has = s->call->has;
    attn_mechanism *m = NULL;
    switch (s->call->kind) {
    case RULE_GENERAL:
        MUST(attn_mechanism_create_general(on, dim, dim, &m));
        bind(s, m, 0, "W", dim, dim);
        break;
    case RULE_ADDITIVE:
        MUST(attn_mechanism_create_additive(on, dim, dim, HIDDEN, 0, &m));
        bind(s, m, 0, "W", HIDDEN, dim);
        bind(s, m, 1, "U", HIDDEN, dim);
        bind(s, m, 2, "v", HIDDEN, 0);
        break;
    case RULE_CONCAT:
        MUST(attn_mechanism_create_concat(on, dim, dim, HIDDEN, &m));
        bind(s, m, 0, "W", HIDDEN, 2 * dim);
        bind(s, m, 1, "v", HIDDEN, 0);
        break;
    case RULE_LOCATION:
        MUST(attn_mechanism_create_location(on, dim, keys, &m));
        bind(s, m, 0, "W", keys, dim);
        break;
    case RULE_DOT:
        MUST(attn_mechanism_create_dot(on, &m));
        break;
    default:
        MUST(attn_mechanism_create_scaled_dot(on, &m));
        break;
    }
    if (has & (HALVES | INTEGERS)) MUST(attn_mechanism_set_precision(m, ATTN_PRECISION_FAST));
    if (has & SOFTCAP) MUST(attn_mechanism_set_softcap(m, 5.0));
    if (has & CAUSAL) MUST(attn_mechanism_set_causal(m, ATTN_ALIGN_BOTTOM_RIGHT));
    if (has & WINDOW) MUST(attn_mechanism_set_window(m, keys * 2 / 3, 20, ATTN_ALIGN_BOTTOM_RIGHT));
    if (has & ALIBI) MUST(attn_mechanism_set_alibi(m, &s->slopes.tensor, ATTN_ALIGN_BOTTOM_RIGHT));
    return m;
}

static void run(struct scene *s, const attn_engine_options *options, struct array outputs[OUTPUTS])
{
    const struct dims *n = &s->call->n;
    const int64_t context[4] = {n->batch, n->query_heads, n->queries, n->value_dim};
    const int64_t score[4] = {n->batch, n->query_heads, n->queries, n->keys};
    attn_engine *own;
    array_create(&outputs[0], dtype_computed(s->dtype), 4, context, LAYOUT_PLAIN, NULL);
    array_create(&outputs[1], dtype_computed(s->dtype), 3, score, LAYOUT_PLAIN, NULL);
    array_create(&outputs[2], dtype_computed(s->dtype), 4, score, LAYOUT_PLAIN, NULL);
    array_create(&outputs[3], dtype_computed(s->dtype), 4, score, LAYOUT_PLAIN, NULL);
    s->args.context = &outputs[0].tensor;
    s->args.logsumexp = &outputs[1].tensor;
    s->args.weights = s->call->has & WEIGHTS ? &outputs[2].tensor : NULL;
    s->args.scores = s->call->has & SCORES ? &outputs[3].tensor : NULL;
    MUST(attn_engine_create(options, &own));
    attn_mechanism *mechanism = create_mechanism(s, own);
    MUST(attn_forward(mechanism, &s->args));
    attn_mechanism_destroy(mechanism);
    attn_engine_destroy(own);
}

static void assert_finite(const struct array *array)
{
    for (int64_t i = 0; i < array_count(array); i++) {
        if (!isfinite(array_get(array, i))) fail_msg("the context has %g at %d", array_get(array, i), (int)i);
    }
}

/* The view of one head, or of the key head that it uses, of one sequence. */
static attn_tensor one_head(const attn_tensor *of, int64_t b, int64_t head)
{
    attn_tensor one = *of;
    const int64_t size = of->dtype == ATTN_F64 ? 8 : 4;
    one.data = (char *)of->data + (b * of->stride[0] + head * of->stride[1]) * size;
    one.shape[0] = one.shape[1] = 1;
    return one;
}

/* Bits may be alike and all wrong, and no reference is fast enough for several chunks; but a head is
 * the same alone. Then it may be cut otherwise, so that both err in their own way: by at most 3.2e-4 in a score (the
 * additive one: 78 roundings of the sum of |v|, 32, and 2 x 9 of what is projected, 5, times that sum; the others by
 * less), hence relatively by twice that in a weight and by 10 times that, 5 being the greatest value, in a context, for
 * which 2^-7 is right. Another head's would be off by 0.03, the deviation of a mean of 4096 normal numbers, weighted
 * so. */
static void assert_heads_are_the_same_alone(struct scene *s, const struct array *context)
{
    const struct dims *n = &s->call->n;
    const int64_t rows = n->queries * n->value_dim;
    attn_engine_options options = ATTN_ENGINE_OPTIONS_INIT;
    attn_engine *own;
    options.threads = 1;
    MUST(attn_engine_create(&options, &own));
    attn_mechanism *mechanism = create_mechanism(s, own);
    for (int64_t i = 0; i < n->batch * n->query_heads; i++) {
        const int64_t b = i / n->query_heads, head = i % n->query_heads, shared = n->query_heads / n->key_heads;
        const int64_t shape[4] = {1, 1, n->queries, n->value_dim};
        struct array got;
        attn_tensor query = one_head(&s->query.tensor, b, head), key = one_head(&s->key.tensor, b, head / shared);
        attn_tensor value = one_head(&s->value.tensor, b, head / shared), lengths = s->lengths.tensor;
        lengths.data = (int64_t *)lengths.data + b;
        lengths.shape[0] = 1;
        array_create(&got, s->dtype, 4, shape, LAYOUT_PLAIN, NULL);
        attn_forward_args args = s->args;
        args.query = &query;
        args.key = &key;
        args.value = &value;
        args.key_lengths = args.key_lengths != NULL ? &lengths : NULL;
        args.context = &got.tensor;
        args.logsumexp = NULL;
        MUST(attn_forward(mechanism, &args));
        for (int64_t e = 0; e < rows; e++) {
            const double want = array_get(&got, e), all = array_get(context, i * rows + e);
            if (!(fabs(want - all) <= 0x1p-7)) fail_msg("head %d: %g, but %g alone", (int)i, all, want);
        }
        array_destroy(&got);
    }
    attn_mechanism_destroy(mechanism);
    attn_engine_destroy(own);
}

static void threads_and_their_order_change_no_bit(void **state)
{
    static const int32_t threads[] = {1, 2, 3, 7, 1, 2, 7, 7, 7}; /* the last five with the executor */
    enum { RUNS = 9, EXECUTED = 4, ALTERNATING = 7 };
    struct scene s = {.call = *state, .rng = {17}};
    struct array first[OUTPUTS], other[OUTPUTS];
    const char *way = getenv("ATTN_WAY");
    s.dtype = s.call->has & F64 ? ATTN_F64 : s.call->has & HALVES ? ATTN_BF16 : ATTN_F32;
    create_inputs(&s);
    for (int i = 0; i < RUNS; i++) {
        if (few_cases() && i % 3 != 0) continue;
        struct executor executor = {.rng = {(uint64_t)i}};
        if (i >= ALTERNATING) executor.on_threads = i == ALTERNATING ? FIRST_OF_TWO : SECOND_OF_TWO;
        attn_engine_options options = ATTN_ENGINE_OPTIONS_INIT;
        options.threads = threads[i];
        options.execute = i >= EXECUTED ? execute_on_threads : NULL;
        options.executor_data = &executor;
        options.allocate = allocate_filled;
        options.release = release;
        run(&s, &options, i == 0 ? first : other);
        if (i == 0) {
            assert_finite(&first[0]);
            if (s.call->has & ALONE) assert_heads_are_the_same_alone(&s, &first[0]);
            continue;
        }
        for (int o = 0; o < OUTPUTS; o++) {
            if (!array_same_bits(&first[o], &other[o], 0, array_count(&first[o]))) {
                fail_msg("%s of run %d, %d threads", output_names[o], i, (int)threads[i]);
            }
            array_destroy(&other[o]);
        }
        if (i < EXECUTED || s.call->jobs == 0 || way == NULL || strcmp(way, "tiles") != 0) continue;
        if (executor.jobs != s.call->jobs) {
            fail_msg("%d jobs, not %d: does the shape still do what its name says?", executor.jobs, s.call->jobs);
        }
    }
    for (int o = 0; o < OUTPUTS; o++) array_destroy(&first[o]);
    struct array *inputs[] = {&s.query,   &s.key,    &s.value,      &s.mask,        &s.bias,
                              &s.lengths, &s.slopes, &s.key_scales, &s.value_scales};
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) array_destroy(inputs[i]);
    for (int i = 0; i < 3; i++) array_destroy(&s.params[i]);
}

int main(void)
{
    enum { COUNT = sizeof calls / sizeof *calls };
    struct CMUnitTest tests[COUNT];
    for (int i = 0; i < COUNT; i++) {
        tests[i] = (struct CMUnitTest){calls[i].name, threads_and_their_order_change_no_bit, NULL, NULL,
                                       (void *)(uintptr_t)&calls[i]};
    }
    return cmocka_run_group_tests_name("threads", tests, engine_setup, engine_teardown);
}
