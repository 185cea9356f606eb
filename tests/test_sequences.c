/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_sequences.c: ragged batches and pages beside what surrounds a call: threads, executors, callers at once, memory
 * that cannot be had, plans whose offsets and tables are others each time. What they compute is test_ragged.c's.
 */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support.h"

/* Sequences of up to LONGEST rows, many of them dealt out to threads, one or two cut by all. */
enum { MANY = 23, LONGEST = 90, HQ = 4, HK = 2, DIM = 24, PAGE = 7, MOST_PAGES = 64 };

enum layout { RAGGED, PAGED, RAGGED_PAGED, LAYOUTS };
enum kept { PLAIN, DOUBLES, HALVES, FAST_HALVES, FAST_INTEGERS, KEPT };
enum score { SCALED_DOT, GENERAL, ADDITIVE, SCORES };
enum { CONTEXT, LOGSUMEXP, ENTROPY, KEY_SUMS, OUTPUTS };
enum { D_QUERY, D_KEY, D_VALUE, D_SLOPES, D_PARAM, GRADIENTS };

struct batch {
    enum layout layout;
    enum kept kept;
    enum score score;
    attn_dtype dtype;
    int64_t q[MANY + 1], k[MANY + 1], lengths_of[MANY], pages;
    struct array query, key, value, key_scales, value_scales, query_offsets, key_offsets, lengths, table, slopes, W, U,
        v;
    attn_forward_args args;
};

static struct array filled(struct rng *rng, attn_dtype dtype, int32_t ndim, int64_t a, int64_t b, int64_t c, int64_t d)
{
    const int64_t shape[4] = {a, b, c, d};
    struct array array;
    array_create(&array, dtype, ndim, shape, LAYOUT_PLAIN, NULL);
    for (int64_t i = 0; i < array_count(&array); i++) {
        array_set(&array, i, dtype == ATTN_I8 ? (double)rng_integer(rng, -127, 127) : rng_normal(rng));
    }
    return array;
}

static struct array integers(int32_t ndim, int64_t rows, int64_t columns, const int64_t *numbers)
{
    const int64_t shape[2] = {ndim == 1 ? columns : rows, columns};
    struct array array;
    array_create(&array, ATTN_I64, ndim, shape, LAYOUT_PLAIN, NULL);
    for (int64_t i = 0; i < array_count(&array); i++) array_set(&array, i, (double)numbers[i]);
    return array;
}

/* Other offsets, lengths and tables of the same sizes: those of the last sequence make up what is missing. */
static void draw_places(struct batch *s, struct rng *rng, int64_t *table)
{
    const int64_t q = s->q[MANY], k = s->k[MANY];
    for (int b = 1; b < MANY; b++) {
        s->q[b] = s->q[b - 1] + (rng_chance(rng, 0.2) ? 0 : rng_integer(rng, 0, 2 * q / MANY));
        s->k[b] = s->k[b - 1] + (rng_chance(rng, 0.2) ? 0 : rng_integer(rng, 0, 2 * k / MANY));
        if (s->q[b] > q) s->q[b] = q;
        if (s->k[b] > k) s->k[b] = k;
    }
    for (int b = 0; b < MANY; b++) {
        s->lengths_of[b] = s->layout == RAGGED ? s->k[b + 1] - s->k[b] : b == 3 ? 400 : rng_integer(rng, 0, LONGEST);
        for (int i = 0; i < MOST_PAGES; i++) {
            const bool is_used = (int64_t)i * PAGE < s->lengths_of[b];
            table[b * MOST_PAGES + i] = is_used ? rng_integer(rng, 0, s->pages - 1) : INT64_MIN;
        }
    }
}

/* k: which layout, what is kept, which score. */
static void batch_create(struct batch *s, int k)
{
    static const attn_dtype dtypes[KEPT] = {ATTN_F32, ATTN_F64, ATTN_F16, ATTN_BF16, ATTN_F32};
    const enum layout layout = (enum layout)(k / KEPT / SCORES);
    const enum kept kept = (enum kept)(k / SCORES % KEPT);
    struct rng rng = {(uint64_t)k};
    int64_t table[MANY * MOST_PAGES];
    const bool is_paged = layout != RAGGED, has_integers = kept == FAST_INTEGERS;
    memset(s, 0, sizeof *s);
    s->layout = layout, s->kept = kept, s->score = (enum score)(k % SCORES), s->dtype = dtypes[kept];
    s->q[MANY] = layout == PAGED ? 5 : MANY * LONGEST / 2, s->k[MANY] = MANY * LONGEST / 2, s->pages = 150;
    draw_places(s, &rng, table);
    const attn_dtype rows = has_integers ? ATTN_I8 : s->dtype;
    const int64_t outer = is_paged ? s->pages : 1, inner = is_paged ? PAGE : s->k[MANY] + 2;
    s->query = filled(&rng, s->dtype, 4, layout == PAGED ? MANY : 1, HQ, s->q[MANY], DIM);
    s->key = filled(&rng, rows, 4, outer, HK, inner, DIM);
    s->value = filled(&rng, rows, 4, outer, HK, inner, DIM);
    s->slopes = filled(&rng, dtype_computed(s->dtype), 1, HQ, 0, 0, 0);
    s->W = filled(&rng, dtype_computed(s->dtype), 2, DIM, DIM, 0, 0);
    s->U = filled(&rng, dtype_computed(s->dtype), 2, DIM, DIM, 0, 0);
    s->v = filled(&rng, dtype_computed(s->dtype), 1, DIM, 0, 0, 0);
    s->query_offsets = integers(1, 0, MANY + 1, s->q);
    s->key_offsets = integers(1, 0, MANY + 1, s->k);
    s->lengths = integers(1, 0, MANY, s->lengths_of);
    s->table = integers(2, MANY, MOST_PAGES, table);
    s->args = (attn_forward_args)ATTN_FORWARD_ARGS_INIT;
    s->args.query = &s->query.tensor, s->args.key = &s->key.tensor, s->args.value = &s->value.tensor;
    if (has_integers) {
        s->key_scales = filled(&rng, ATTN_F32, 3, outer, HK, inner, 0);
        s->value_scales = filled(&rng, ATTN_F32, 3, outer, HK, inner, 0);
        s->args.key_scales = &s->key_scales.tensor, s->args.value_scales = &s->value_scales.tensor;
    }
    if (layout != PAGED) s->args.query_offsets = &s->query_offsets.tensor;
    if (!is_paged) s->args.key_offsets = &s->key_offsets.tensor;
    if (is_paged) s->args.page_table = &s->table.tensor, s->args.key_lengths = &s->lengths.tensor;
}

/* Writes other places into the tensors that are there. */
static void batch_move(struct batch *s, struct rng *rng)
{
    int64_t table[MANY * MOST_PAGES];
    draw_places(s, rng, table);
    for (int b = 0; b <= MANY; b++) {
        array_set(&s->query_offsets, b, (double)s->q[b]);
        array_set(&s->key_offsets, b, (double)s->k[b]);
        if (b < MANY) array_set(&s->lengths, b, (double)s->lengths_of[b]);
    }
    for (int i = 0; i < MANY * MOST_PAGES; i++) array_set(&s->table, i, (double)table[i]);
}

static void batch_destroy(struct batch *s)
{
    struct array *all[] = {&s->query,
                           &s->key,
                           &s->value,
                           &s->key_scales,
                           &s->value_scales,
                           &s->query_offsets,
                           &s->key_offsets,
                           &s->lengths,
                           &s->table,
                           &s->slopes,
                           &s->W,
                           &s->U,
                           &s->v};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) array_destroy(all[i]);
}

static attn_mechanism *mechanism_of(const struct batch *s, attn_engine *on)
{
    attn_mechanism *m;
    if (s->score == SCALED_DOT) MUST(attn_mechanism_create_scaled_dot(on, &m));
    if (s->score == GENERAL) MUST(attn_mechanism_create_general(on, DIM, DIM, &m));
    if (s->score == ADDITIVE) {
        MUST(attn_mechanism_create_additive(on, DIM, DIM, DIM, 0, &m));
        MUST(attn_mechanism_bind_param(m, "U", &s->U.tensor));
        MUST(attn_mechanism_bind_param(m, "v", &s->v.tensor));
    }
    if (s->score != SCALED_DOT) MUST(attn_mechanism_bind_param(m, "W", &s->W.tensor));
    MUST(attn_mechanism_set_causal(m, ATTN_ALIGN_BOTTOM_RIGHT));
    MUST(attn_mechanism_set_alibi(m, &s->slopes.tensor, ATTN_ALIGN_BOTTOM_RIGHT));
    if (s->kept >= FAST_HALVES) MUST(attn_mechanism_set_precision(m, ATTN_PRECISION_FAST));
    return m;
}

struct results {
    struct array output[OUTPUTS], gradient[GRADIENTS];
    attn_weights_stats stats;
    attn_forward_args args;
};

static void results_create(struct results *r, const struct batch *s)
{
    const attn_dtype computed = dtype_computed(s->dtype);
    const int64_t *query = s->query.tensor.shape,
                  sums[3] = {s->layout == RAGGED ? 1 : MANY, HQ, s->layout == RAGGED ? s->key.tensor.shape[2] : 400};
    memset(r, 0, sizeof *r);
    array_create(&r->output[CONTEXT], s->dtype, 4, query, LAYOUT_PLAIN, NULL);
    array_create(&r->output[LOGSUMEXP], computed, 3, query, LAYOUT_PLAIN, NULL);
    array_create(&r->output[ENTROPY], computed, 3, query, LAYOUT_PLAIN, NULL);
    array_create(&r->output[KEY_SUMS], computed, 3, sums, LAYOUT_PLAIN, NULL);
    r->args = s->args;
    r->stats = (attn_weights_stats)ATTN_WEIGHTS_STATS_INIT;
    r->args.context = &r->output[CONTEXT].tensor, r->args.logsumexp = &r->output[LOGSUMEXP].tensor;
    r->stats.entropy = &r->output[ENTROPY].tensor;
    if (s->layout == RAGGED) r->stats.key_sums = &r->output[KEY_SUMS].tensor; /* by pages they are of the longest */
    if (s->kept < FAST_HALVES) r->args.stats = &r->stats;
    if (s->layout != RAGGED || s->kept == FAST_INTEGERS) return;
    array_create(&r->gradient[D_QUERY], s->dtype, 4, query, LAYOUT_PLAIN, NULL);
    array_create(&r->gradient[D_KEY], s->dtype, 4, s->key.tensor.shape, LAYOUT_PLAIN, NULL);
    array_create(&r->gradient[D_VALUE], s->dtype, 4, s->key.tensor.shape, LAYOUT_PLAIN, NULL);
    array_create(&r->gradient[D_SLOPES], computed, 1, s->slopes.tensor.shape, LAYOUT_PLAIN, NULL);
    if (s->score != SCALED_DOT) {
        array_create(&r->gradient[D_PARAM], computed, 2, s->W.tensor.shape, LAYOUT_PLAIN, NULL);
    }
}

static void results_destroy(struct results *r)
{
    for (int i = 0; i < OUTPUTS; i++) array_destroy(&r->output[i]);
    for (int i = 0; i < GRADIENTS; i++) array_destroy(&r->gradient[i]);
}

static void assert_same(const struct results *got, const struct results *want, const char *what)
{
    for (int i = 0; i < OUTPUTS + GRADIENTS; i++) {
        const struct array *a = i < OUTPUTS ? &got->output[i] : &got->gradient[i - OUTPUTS];
        const struct array *b = i < OUTPUTS ? &want->output[i] : &want->gradient[i - OUTPUTS];
        if (b->memory != NULL && memcmp(a->memory, b->memory, b->bytes) != 0)
            fail_msg("%s: tensor %d differs", what, i);
    }
}

/* With the context for what flows in. */
static attn_status backward(struct results *r, const struct batch *s, const attn_mechanism *m)
{
    attn_backward_args args = ATTN_BACKWARD_ARGS_INIT;
    const attn_tensor *params[3] = {s->score != SCALED_DOT ? &r->gradient[D_PARAM].tensor : NULL};
    args.forward = &r->args;
    args.d_context = &s->query.tensor;
    args.d_query = &r->gradient[D_QUERY].tensor, args.d_key = &r->gradient[D_KEY].tensor;
    args.d_value = &r->gradient[D_VALUE].tensor, args.d_alibi = &r->gradient[D_SLOPES].tensor;
    args.d_params = params;
    return attn_backward(m, &args);
}

static bool has_gradients(const struct results *r)
{
    return r->gradient[D_QUERY].memory != NULL;
}

/* Runs a job's items from the last to the first. */
static void execute_backwards(void *data, int64_t count, attn_task_fn task, void *task_data)
{
    (void)data;
    for (int64_t i = count - 1; i >= 0; i--) task(task_data, i);
}

static void neither_threads_nor_executors_change_a_bit(void **state)
{
    static const int32_t threads[] = {1, 2, 3, 7, 5}; /* the last with the executor */
    (void)state;
    for (int k = 0; k < LAYOUTS * KEPT * SCORES; k++) {
        struct batch s;
        struct results first, other;
        if (few_cases() && k % 5 != 0) continue;
        batch_create(&s, k);
        for (int i = 0; i < 5; i++) {
            struct results *r = i == 0 ? &first : &other;
            attn_engine_options options = ATTN_ENGINE_OPTIONS_INIT;
            attn_engine *on;
            char what[80];
            snprintf(what, sizeof what, "layout %d, kept %d, score %d, %d threads", (int)s.layout, (int)s.kept,
                     (int)s.score, (int)threads[i]);
            options.threads = threads[i];
            if (i == 4) options.execute = execute_backwards;
            MUST(attn_engine_create(&options, &on));
            attn_mechanism *m = mechanism_of(&s, on);
            results_create(r, &s);
            MUST(attn_forward(m, &r->args));
            if (has_gradients(r)) MUST(backward(r, &s, m));
            if (i > 0) assert_same(r, &first, what);
            attn_mechanism_destroy(m);
            attn_engine_destroy(on);
            if (i > 0) results_destroy(r);
        }
        results_destroy(&first);
        batch_destroy(&s);
    }
}

/* --------------------------------------------------------------------------------------- callers at once */

struct caller {
    pthread_t thread;
    const attn_mechanism *mechanism;
    const struct batch *batch;
    const struct results *want;
    bool differs;
};

static void *call_often(void *data)
{
    struct caller *c = data;
    for (int i = 0; i < 6; i++) {
        struct results r;
        results_create(&r, c->batch);
        c->differs |= attn_forward(c->mechanism, &r.args) != ATTN_OK;
        if (has_gradients(&r)) c->differs |= backward(&r, c->batch, c->mechanism) != ATTN_OK;
        for (int o = 0; o < OUTPUTS; o++) {
            c->differs |= memcmp(r.output[o].memory, c->want->output[o].memory, r.output[o].bytes) != 0;
        }
        results_destroy(&r);
    }
    return NULL;
}

static void callers_at_once_do_not_disturb_each_other(void **state)
{
    (void)state;
    for (int k = 0; k < LAYOUTS * SCORES; k++) {
        enum { CALLERS = 4 };
        struct batch s;
        struct results want;
        struct caller callers[CALLERS];
        batch_create(&s, k / SCORES * KEPT * SCORES + k % SCORES);
        attn_mechanism *m = mechanism_of(&s, engine);
        results_create(&want, &s);
        MUST(attn_forward(m, &want.args));
        for (int i = 0; i < CALLERS; i++) {
            callers[i] = (struct caller){.mechanism = m, .batch = &s, .want = &want};
            assert_int_equal(pthread_create(&callers[i].thread, NULL, call_often, &callers[i]), 0);
        }
        for (int i = 0; i < CALLERS; i++) {
            pthread_join(callers[i].thread, NULL);
            assert_false(callers[i].differs);
        }
        results_destroy(&want);
        attn_mechanism_destroy(m);
        batch_destroy(&s);
    }
}

/* ------------------------------------------------------------------------------------------------ memory */

static struct {
    int64_t fail_at, asked, alive; /* fail_at: the number of the allocation that fails; -1: none */
} memory = {.fail_at = -1};

static void *allocate(void *data, size_t bytes, size_t alignment)
{
    void *block = NULL;
    (void)data;
    if (memory.asked++ == memory.fail_at || posix_memalign(&block, alignment, bytes) != 0) return NULL;
    memset(block, 0xFF, bytes); /* NaN */
    memory.alive++;
    return block;
}

static void release(void *data, void *block, size_t bytes)
{
    (void)data, (void)bytes;
    memory.alive--;
    free(block);
}

static void without_memory_nothing_is_written(void **state)
{
    (void)state;
    for (int k = 0; k < LAYOUTS * KEPT * SCORES; k++) {
        struct batch s;
        struct results r, untouched, want;
        attn_engine_options options = ATTN_ENGINE_OPTIONS_INIT;
        attn_engine *on;
        attn_plan *plan = NULL;
        if (few_cases() && k % 5 != 0) continue;
        options.threads = 3, options.allocate = allocate, options.release = release;
        batch_create(&s, k);
        MUST(attn_engine_create(&options, &on));
        attn_mechanism *m = mechanism_of(&s, on);
        results_create(&r, &s);
        results_create(&untouched, &s);
        results_create(&want, &s);
        const int64_t alive = memory.alive;
        for (int call = 0; call < (has_gradients(&r) ? 2 : 1); call++) {
            memory.asked = memory.fail_at = 0;
            const attn_status status = call == 0 ? attn_forward(m, &r.args) : backward(&r, &s, m);
            assert_int_equal(status, memory.asked > 0 ? ATTN_ERR_NOMEM : ATTN_OK);
            memory.fail_at = -1;
            if (call == 0 && status != ATTN_OK) assert_same(&r, &untouched, "without memory");
            MUST(call == 0 ? attn_forward(m, &r.args) : backward(&r, &s, m));
            assert_int_equal(memory.alive, alive);
        }
        MUST(attn_forward(m, &want.args));
        if (has_gradients(&want)) MUST(backward(&want, &s, m));
        assert_same(&r, &want, "after a failure");
        for (memory.fail_at = 0;; memory.fail_at++) {
            memory.asked = 0;
            if (attn_plan_create(m, &want.args, &plan) == ATTN_OK) break;
            assert_null(plan);
            assert_int_equal(memory.alive, alive);
        }
        memory.fail_at = -1;
        attn_plan_destroy(plan);
        results_destroy(&r), results_destroy(&untouched), results_destroy(&want);
        attn_mechanism_destroy(m);
        attn_engine_destroy(on);
        batch_destroy(&s);
        assert_int_equal(memory.alive, 0);
    }
}

/* ------------------------------------------------------------------------------------------------- plans */

/* Runs with other places each time, one of which is wrong: then nothing is written, and the plan is what it was. */
static void a_plan_takes_other_places_and_refuses_wrong_ones(void **state)
{
    (void)state;
    for (int k = 0; k < LAYOUTS * KEPT * SCORES; k++) {
        struct batch s;
        struct results got, want, untouched;
        attn_plan *plan;
        struct rng rng = {(uint64_t)k};
        if (few_cases() && k % 5 != 0) continue;
        batch_create(&s, k);
        attn_mechanism *m = mechanism_of(&s, engine);
        results_create(&got, &s);
        MUST(attn_plan_create(m, &got.args, &plan));
        for (int run = 0; run < 6; run++) {
            results_create(&want, &s);
            results_create(&untouched, &s);
            for (int o = 0; o < OUTPUTS; o++) {
                memcpy(got.output[o].memory, untouched.output[o].memory, got.output[o].bytes);
            }
            if (run % 3 == 2) {
                struct array *wrong = s.layout == RAGGED ? &s.key_offsets : run == 2 ? &s.table : &s.lengths;
                const int64_t at = wrong == &s.table ? 3 * MOST_PAGES : 3;
                const double was = array_get(wrong, at);
                array_set(wrong, at, wrong == &s.lengths ? MOST_PAGES * PAGE + 1 : -1);
                assert_int_equal(attn_plan_run(plan, run == 2 ? &got.args : NULL), ATTN_ERR_ARGUMENT);
                assert_same(&got, &untouched, "a run that is refused");
                array_set(wrong, at, was);
            } else {
                batch_move(&s, &rng);
            }
            MUST(attn_plan_run(plan, run % 2 == 0 ? &got.args : NULL));
            MUST(attn_forward(m, &want.args));
            assert_same(&got, &want, "a run elsewhere");
            results_destroy(&want);
            results_destroy(&untouched);
        }
        attn_plan_destroy(plan);
        results_destroy(&got);
        attn_mechanism_destroy(m);
        batch_destroy(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(neither_threads_nor_executors_change_a_bit),
        cmocka_unit_test(callers_at_once_do_not_disturb_each_other),
        cmocka_unit_test(without_memory_nothing_is_written),
        cmocka_unit_test(a_plan_takes_other_places_and_refuses_wrong_ones),
    };
    return cmocka_run_group_tests_name("sequences", tests, engine_setup, engine_teardown);
}
