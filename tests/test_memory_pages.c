/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_memory_pages.c: memories in pages beside memories without, through the same random lives: appended to, cut off,
 * reordered, forked and given back, by every score function and in every type that is kept. What they share they keep
 * once; nothing is left behind.
 */
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support.h"

enum { MOST_PAIRS = 4, MOST_BATCH = 6, MOST_APPENDED = 23, HEADS = 2, STEPS = 60, EMBEDDED = 12 };

/* The same memory, in pages and not. */
struct pair {
    attn_memory *paged, *plain;
};

static int64_t outstanding; /* bytes, of the engine below */
static int64_t allocations_left = INT64_MAX;

static void *count_allocation(void *data, size_t bytes, size_t alignment)
{
    (void)data;
    if (allocations_left-- <= 0) return NULL;
    outstanding += (int64_t)bytes;
    return aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}

static void count_release(void *data, void *block, size_t bytes)
{
    (void)data;
    if (block != NULL) outstanding -= (int64_t)bytes;
    free(block);
}

struct life {
    struct rng rng;
    struct rule rule; /* float64 alone */
    attn_mechanism *mechanism;
    attn_dtype kept, given;
    int64_t key_dim, value_dim, page;
    bool alone, reads_keys;
    struct pair pair[MOST_PAIRS];
    int pairs;
};

static int64_t batch_of(const struct pair *p)
{
    int64_t batch = 0;
    MUST(attn_memory_lengths(p->paged, &batch, NULL, 0));
    return batch;
}

static int64_t lengths_of(const struct pair *p, int64_t lengths[MOST_BATCH])
{
    int64_t batch = 0, others[MOST_BATCH], longest = 0;
    MUST(attn_memory_lengths(p->paged, &batch, lengths, MOST_BATCH));
    MUST(attn_memory_lengths(p->plain, &batch, others, MOST_BATCH));
    for (int64_t b = 0; b < batch; b++) {
        assert_int_equal(lengths[b], others[b]);
        if (lengths[b] > longest) longest = lengths[b];
    }
    return longest;
}

static struct array normal(struct life *l, attn_dtype dtype, int64_t s0, int64_t s1, int64_t s2, int64_t s3)
{
    struct array a;
    const int64_t shape[4] = {s0, s1, s2, s3};
    array_create(&a, dtype, 4, shape, LAYOUT_OUTPUT, &l->rng);
    array_fill_normal(&a, &l->rng, 1);
    return a;
}

static struct array integers(const int64_t *values, int64_t count)
{
    struct array a;
    array_create(&a, ATTN_I64, 1, &count, LAYOUT_PLAIN, NULL);
    for (int64_t i = 0; i < count; i++) array_set(&a, i, (double)values[i]);
    return a;
}

static void append(struct life *l, struct pair *p)
{
    const int64_t batch = batch_of(p), n = rng_integer(&l->rng, 0, MOST_APPENDED);
    struct array key = {.memory = NULL}, value = {.memory = NULL};
    int64_t counts[MOST_BATCH];
    if (l->reads_keys) key = normal(l, l->given, batch, HEADS, n, l->key_dim);
    if (!l->alone) value = normal(l, l->given, batch, HEADS, n, l->value_dim);
    for (int64_t b = 0; b < batch; b++) counts[b] = rng_chance(&l->rng, 0.2) ? 0 : rng_integer(&l->rng, 0, n);
    struct array given = integers(counts, batch);
    const attn_tensor *k = l->reads_keys ? &key.tensor : NULL, *v = l->alone ? NULL : &value.tensor;
    const attn_tensor *c = rng_chance(&l->rng, 0.6) ? &given.tensor : NULL;
    MUST(attn_memory_append(p->paged, k, v, c));
    MUST(attn_memory_append(p->plain, k, v, c));
    array_destroy(&key);
    array_destroy(&value);
    array_destroy(&given);
}

static void truncate(struct life *l, struct pair *p)
{
    int64_t lengths[MOST_BATCH];
    lengths_of(p, lengths);
    const int64_t batch = batch_of(p);
    for (int64_t b = 0; b < batch; b++) {
        if (rng_chance(&l->rng, 0.5)) lengths[b] = rng_chance(&l->rng, 0.2) ? 0 : rng_integer(&l->rng, 0, lengths[b]);
    }
    struct array to = integers(lengths, batch);
    MUST(attn_memory_truncate(p->paged, &to.tensor));
    MUST(attn_memory_truncate(p->plain, &to.tensor));
    array_destroy(&to);
}

static void reorder(struct life *l, struct pair *p)
{
    int64_t rows[MOST_BATCH];
    const int64_t batch = batch_of(p), count = rng_integer(&l->rng, 1, MOST_BATCH);
    for (int64_t b = 0; b < count; b++) rows[b] = rng_integer(&l->rng, 0, batch - 1);
    struct array of = integers(rows, count);
    MUST(attn_memory_reorder(p->paged, &of.tensor));
    MUST(attn_memory_reorder(p->plain, &of.tensor));
    array_destroy(&of);
}

/* A second pair, or one less. */
static void fork_or_drop(struct life *l, int which)
{
    struct pair *p = &l->pair[which];
    if (l->pairs < MOST_PAIRS && rng_chance(&l->rng, 0.6)) {
        MUST(attn_memory_fork(p->paged, &l->pair[l->pairs].paged));
        MUST(attn_memory_fork(p->plain, &l->pair[l->pairs].plain));
        l->pairs++;
    } else if (l->pairs > 1) {
        attn_memory_destroy(p->paged);
        attn_memory_destroy(p->plain);
        *p = l->pair[--l->pairs];
    }
}

static void compare_pair(struct life *l, const struct pair *p)
{
    int64_t lengths[MOST_BATCH];
    lengths_of(p, lengths);
    const int64_t batch = batch_of(p), queries = rng_chance(&l->rng, 0.5) ? rng_integer(&l->rng, 1, 5) : 30;
    struct array query = normal(l, l->given, batch, 2 * HEADS, queries, l->key_dim > 0 ? l->key_dim : 9), context[2];
    for (int i = 0; i < 2; i++) {
        context[i] = normal(l, l->given, batch, 2 * HEADS, queries, l->value_dim);
        attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
        args.query = &query.tensor;
        args.memory = i == 0 ? p->paged : p->plain;
        args.context = &context[i].tensor;
        MUST(attn_forward(l->mechanism, &args));
    }
    for (int64_t x = 0; x < array_count(&context[0]); x++) {
        const double is = array_get(&context[0], x), want = array_get(&context[1], x);
        const double may =
            256 * dtype_epsilon(dtype_computed(l->given)) * (1 + fabs(want)) + 2 * dtype_half_step(l->given, want);
        if (fabs(is - want) <= may) continue;
        fail_msg("a query over pages of %lld gives %.9g, but %.9g is wanted", (long long)l->page, is, want);
    }
    array_destroy(&query);
    array_destroy(&context[0]);
    array_destroy(&context[1]);
}

static void begin(struct life *l, enum rule_kind kind, attn_dtype kept, uint64_t seed, attn_engine *of)
{
    *l = (struct life){.rng = {seed}, .kept = kept, .given = kept, .key_dim = 10, .value_dim = 7};
    l->reads_keys = kind != RULE_LOCATION;
    if (kept == ATTN_I8) l->given = rng_chance(&l->rng, 0.5) ? ATTN_F32 : ATTN_F16;
    if (kind == RULE_LOCATION) l->key_dim = 0;
    l->page = rng_chance(&l->rng, 0.3) ? 1 : rng_integer(&l->rng, 2, 20);
    l->alone = l->reads_keys && rng_chance(&l->rng, 0.2);
    if (l->alone) l->value_dim = l->key_dim;
    if (kept == ATTN_F64) {
        rule_create(&l->rule, of, kind, kind == RULE_LOCATION ? 9 : 10, 10);
        l->mechanism = l->rule.mechanism;
    } else if (kind == RULE_DOT) {
        MUST(attn_mechanism_create_dot(of, &l->mechanism));
    } else {
        MUST(attn_mechanism_create_scaled_dot(of, &l->mechanism));
    }
    const bool turns = !l->alone && l->reads_keys && (kind == RULE_DOT || kind == RULE_SCALED_DOT) &&
                       kept != ATTN_F64 && rng_chance(&l->rng, 0.5);
    attn_rope_options rope = ATTN_ROPE_OPTIONS_INIT;
    rope.layout = ATTN_ROPE_HALVES;
    attn_memory_options options = ATTN_MEMORY_OPTIONS_INIT;
    options.flags = l->alone ? (uint32_t)ATTN_MEMORY_KEYS_ALONE : 0;
    options.dtype = kept;
    options.batch = rng_integer(&l->rng, 1, MOST_BATCH);
    options.key_heads = HEADS;
    options.key_dim = l->key_dim;
    options.value_dim = l->alone ? 0 : l->value_dim;
    options.capacity = rng_chance(&l->rng, 0.5) ? 0 : rng_integer(&l->rng, 1, 50);
    options.rope = turns ? &rope : NULL;
    MUST(attn_memory_create(l->mechanism, &options, &l->pair[0].plain));
    options.page = l->page;
    MUST(attn_memory_create(l->mechanism, &options, &l->pair[0].paged));
    l->pairs = 1;
}

static void end(struct life *l)
{
    for (int i = 0; i < l->pairs; i++) {
        attn_memory_destroy(l->pair[i].paged);
        attn_memory_destroy(l->pair[i].plain);
    }
    if (l->kept == ATTN_F64) {
        rule_destroy(&l->rule);
    } else {
        attn_mechanism_destroy(l->mechanism);
    }
}

static void live(enum rule_kind kind, attn_dtype kept, uint64_t seed, attn_engine *of)
{
    struct life l;
    begin(&l, kind, kept, seed, of);
    for (int step = 0; step < STEPS; step++) {
        const int which = (int)rng_integer(&l.rng, 0, l.pairs - 1);
        switch (rng_integer(&l.rng, 0, 6)) {
        case 0:
        case 1:
        case 2:
            append(&l, &l.pair[which]);
            break;
        case 3:
            truncate(&l, &l.pair[which]);
            break;
        case 4:
            reorder(&l, &l.pair[which]);
            break;
        case 5:
            fork_or_drop(&l, which);
            break;
        default:
            compare_pair(&l, &l.pair[which]);
        }
    }
    for (int i = 0; i < l.pairs; i++) compare_pair(&l, &l.pair[i]);
    end(&l);
}

static void pages_live_as_memories_do(void **state)
{
    static const attn_dtype kept[] = {ATTN_F32, ATTN_F16, ATTN_BF16, ATTN_I8, ATTN_F64};
    (void)state;
    attn_engine *own;
    attn_engine_options options = ATTN_ENGINE_OPTIONS_INIT;
    options.threads = 2;
    options.allocate = count_allocation;
    options.release = count_release;
    MUST(attn_engine_create(&options, &own));
    const int64_t before = outstanding;
    const int cases = few_cases() ? 2 : 8;
    for (int d = 0; d < 5; d++) {
        for (int i = 0; i < cases; i++) {
            const enum rule_kind kind = kept[d] == ATTN_F64 ? (enum rule_kind)(i % RULE_KINDS)
                                        : i % 2             ? RULE_DOT
                                                            : RULE_SCALED_DOT;
            live(kind, kept[d], (uint64_t)(100 * d + i), own);
            assert_int_equal(outstanding, before);
        }
    }
    attn_engine_destroy(own);
    assert_int_equal(outstanding, 0);
}

/* A fixed pool that holds a prefix once, and a page for each of its users. */
static void a_prefix_is_kept_once(void **state)
{
    enum { PAGE = 4, PREFIX = 10, USERS = 5, PAGES = 3 + USERS };
    (void)state;
    attn_mechanism *m;
    attn_memory *memory, *fork;
    struct life l = {.rng = {5}};
    MUST(attn_mechanism_create_dot(engine, &m));
    attn_memory_options options = ATTN_MEMORY_OPTIONS_INIT;
    options.flags = ATTN_MEMORY_FIXED;
    options.dtype = ATTN_F32;
    options.batch = 1;
    options.key_heads = HEADS;
    options.key_dim = options.value_dim = 6;
    options.capacity = PAGES * PAGE;
    options.page = PAGE;
    MUST(attn_memory_create(m, &options, &memory));
    struct array rows = normal(&l, ATTN_F32, 1, HEADS, PREFIX, 6), one = normal(&l, ATTN_F32, USERS, HEADS, 1, 6);
    struct array two = normal(&l, ATTN_F32, USERS, HEADS, 2, 6);
    MUST(attn_memory_append(memory, &rows.tensor, &rows.tensor, NULL));
    const int64_t all[USERS] = {0}, no[1] = {0};
    struct array users = integers(all, USERS), alone = integers(no, 1);
    MUST(attn_memory_reorder(memory, &users.tensor));                 /* all end in the middle of one page, */
    MUST(attn_memory_append(memory, &one.tensor, &one.tensor, NULL)); /* and each has a copy of it now: the last one */
    assert_int_equal(attn_memory_append(memory, &two.tensor, &two.tensor, NULL), ATTN_ERR_BUFFER);
    int64_t batch, lengths[USERS];
    MUST(attn_memory_lengths(memory, &batch, lengths, USERS));
    for (int b = 0; b < USERS; b++) assert_int_equal(lengths[b], PREFIX + 1); /* it is as it was */
    MUST(attn_memory_append(memory, &one.tensor, &one.tensor, NULL));         /* pages have room for one more */
    MUST(attn_memory_fork(memory, &fork));                                    /* which takes none */
    assert_int_equal(attn_memory_append(fork, &one.tensor, &one.tensor, NULL), ATTN_ERR_BUFFER);
    MUST(attn_memory_reorder(memory, &alone.tensor)); /* the fork has theirs still */
    assert_int_equal(attn_memory_append(memory, &rows.tensor, &rows.tensor, NULL), ATTN_ERR_BUFFER);
    attn_memory_destroy(fork);
    MUST(attn_memory_append(memory, &rows.tensor, &rows.tensor, NULL)); /* and now nobody has */
    array_destroy(&rows);
    array_destroy(&one);
    array_destroy(&two);
    array_destroy(&users);
    array_destroy(&alone);
    attn_memory_destroy(memory);
    attn_mechanism_destroy(m);
}

/* Whichever allocation of an append fails, the pages of a fixed pool are there for the next one. */
static void a_failed_append_keeps_no_page(void **state)
{
    (void)state;
    attn_engine *own;
    attn_mechanism *m;
    attn_memory *memory;
    struct life l = {.rng = {6}};
    attn_engine_options options = ATTN_ENGINE_OPTIONS_INIT;
    options.threads = 1;
    options.allocate = count_allocation;
    options.release = count_release;
    MUST(attn_engine_create(&options, &own));
    MUST(attn_mechanism_create_dot(own, &m));
    attn_rope_options rope = ATTN_ROPE_OPTIONS_INIT;
    rope.layout = ATTN_ROPE_HALVES;
    attn_memory_options kept = ATTN_MEMORY_OPTIONS_INIT;
    kept.flags = ATTN_MEMORY_FIXED;
    kept.dtype = ATTN_I8; /* which turning has scratch for */
    kept.batch = 2;
    kept.key_heads = HEADS;
    kept.key_dim = kept.value_dim = 256;
    kept.capacity = kept.page = 8;
    kept.rope = &rope;
    MUST(attn_memory_create(m, &kept, &memory));
    struct array rows = normal(&l, ATTN_F32, 2, HEADS, 16, 256);
    const int64_t to_first[2] = {16, 0}, to_second[2] = {0, 16}, nobody[2] = {0, 0};
    struct array first = integers(to_first, 2), second = integers(to_second, 2), none = integers(nobody, 2);
    int failures = 0;
    MUST(attn_memory_append(memory, &rows.tensor, &rows.tensor, &first.tensor)); /* the table has room from now on */
    MUST(attn_memory_truncate(memory, &none.tensor));
    for (int64_t left = 0;; left++) {
        allocations_left = left;
        const attn_status status = attn_memory_append(memory, &rows.tensor, &rows.tensor, &first.tensor);
        allocations_left = INT64_MAX;
        if (status == ATTN_OK) break;
        assert_int_equal(status, ATTN_ERR_NOMEM);
        failures++;
        MUST(attn_memory_append(memory, &rows.tensor, &rows.tensor, &second.tensor)); /* all pages */
        MUST(attn_memory_truncate(memory, &none.tensor));
    }
    assert_true(failures > 0);
    array_destroy(&rows);
    array_destroy(&first);
    array_destroy(&second);
    array_destroy(&none);
    attn_memory_destroy(memory);
    attn_mechanism_destroy(m);
    attn_engine_destroy(own);
    assert_int_equal(outstanding, 0);
}

struct forker {
    attn_memory *memory;
    pthread_t thread;
};

static void *fork_and_destroy(void *data)
{
    const struct forker *f = data;
    for (int i = 0; i < 2000; i++) {
        attn_memory *fork;
        if (attn_memory_fork(f->memory, &fork) == ATTN_OK) attn_memory_destroy(fork);
    }
    return NULL;
}

/* As collectors of garbage do. */
static void forks_come_and_go_on_any_thread(void **state)
{
    enum { THREADS = 3 };
    (void)state;
    attn_mechanism *m;
    attn_memory *memory;
    struct life l = {.rng = {6}};
    struct forker forkers[THREADS];
    MUST(attn_mechanism_create_dot(engine, &m));
    attn_memory_options kept = ATTN_MEMORY_OPTIONS_INIT;
    kept.dtype = ATTN_F32;
    kept.batch = 2;
    kept.key_heads = HEADS;
    kept.key_dim = kept.value_dim = 8;
    kept.page = 4;
    MUST(attn_memory_create(m, &kept, &memory));
    struct array rows = normal(&l, ATTN_F32, 2, HEADS, 10, 8);
    MUST(attn_memory_append(memory, &rows.tensor, &rows.tensor, NULL));
    for (int i = 0; i < THREADS; i++) {
        forkers[i].memory = memory;
        assert_int_equal(pthread_create(&forkers[i].thread, NULL, fork_and_destroy, &forkers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) pthread_join(forkers[i].thread, NULL);
    MUST(attn_memory_append(memory, &rows.tensor, &rows.tensor, NULL)); /* in its own pages still */
    array_destroy(&rows);
    attn_memory_destroy(memory);
    attn_mechanism_destroy(m);
}

/* A layer that appends to pages, a few positions at a time, beside one that appends to rows. */
static void a_layer_decodes_over_pages(void **state)
{
    enum { BATCH = 3, TOTAL = 29 };
    (void)state;
    struct life l = {.rng = {8}};
    attn_mechanism *m;
    attn_multihead *layer;
    attn_memory *memory[2];
    MUST(attn_mechanism_create_scaled_dot(engine, &m));
    MUST(attn_mechanism_set_causal(m, ATTN_ALIGN_BOTTOM_RIGHT));
    attn_multihead_options options = ATTN_MULTIHEAD_OPTIONS_INIT;
    options.query_heads = 4;
    options.key_heads = HEADS;
    options.query_dim = EMBEDDED;
    MUST(attn_multihead_create(m, &options, &layer));
    struct array W[4] = {normal(&l, ATTN_F32, 1, 1, EMBEDDED, EMBEDDED), normal(&l, ATTN_F32, 1, 1, 6, EMBEDDED),
                         normal(&l, ATTN_F32, 1, 1, 6, EMBEDDED), normal(&l, ATTN_F32, 1, 1, EMBEDDED, EMBEDDED)};
    static const char *const names[4] = {"W_q", "W_k", "W_v", "W_o"};
    for (int i = 0; i < 4; i++) {
        attn_tensor bound = W[i].tensor;
        bound.ndim = 2;
        for (int d = 0; d < 2; d++)
            bound.shape[d] = W[i].tensor.shape[d + 2], bound.stride[d] = W[i].tensor.stride[d + 2];
        MUST(attn_multihead_bind_param(layer, names[i], &bound));
    }
    attn_memory_options kept = ATTN_MEMORY_OPTIONS_INIT;
    kept.dtype = ATTN_F32;
    kept.batch = BATCH;
    kept.key_heads = HEADS;
    kept.key_dim = kept.value_dim = EMBEDDED / 4;
    for (int i = 0; i < 2; i++) {
        kept.page = i == 0 ? 5 : 0;
        MUST(attn_memory_create(m, &kept, &memory[i]));
    }
    for (int64_t done = 0, n; done < TOTAL; done += n) {
        n = rng_integer(&l.rng, 1, 6);
        struct array x = normal(&l, ATTN_F32, 1, BATCH, n, EMBEDDED), out[2];
        attn_tensor rows = x.tensor;
        for (int d = 0; d < 3; d++) rows.shape[d] = rows.shape[d + 1], rows.stride[d] = rows.stride[d + 1];
        rows.ndim = 3;
        for (int i = 0; i < 2; i++) {
            const int64_t shape[3] = {BATCH, n, EMBEDDED};
            array_create(&out[i], ATTN_F32, 3, shape, LAYOUT_PLAIN, NULL);
            attn_multihead_args args = ATTN_MULTIHEAD_ARGS_INIT;
            args.query = &rows;
            args.output = &out[i].tensor;
            args.memory = memory[i];
            MUST(attn_multihead_forward(layer, &args));
        }
        for (int64_t k = 0; k < array_count(&out[0]); k++) {
            const double is = array_get(&out[0], k), want = array_get(&out[1], k);
            assert_true(fabs(is - want) <= 256 * dtype_epsilon(ATTN_F32) * (8 + fabs(want)));
        }
        array_destroy(&x);
        array_destroy(&out[0]);
        array_destroy(&out[1]);
    }
    for (int i = 0; i < 2; i++) attn_memory_destroy(memory[i]);
    for (int i = 0; i < 4; i++) array_destroy(&W[i]);
    attn_multihead_destroy(layer);
    attn_mechanism_destroy(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_live_as_memories_do),     cmocka_unit_test(a_prefix_is_kept_once),
        cmocka_unit_test(a_failed_append_keeps_no_page), cmocka_unit_test(forks_come_and_go_on_any_thread),
        cmocka_unit_test(a_layer_decodes_over_pages),
    };
    return cmocka_run_group_tests(tests, engine_setup, engine_teardown);
}
