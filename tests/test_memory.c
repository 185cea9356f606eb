/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_memory.c: memories hold what was appended, whole sequences, pieces and survivors of a beam alike; and attention
 * over them is attention over the tensors.
 */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support.h"

enum { B = 3, HQ = 4, HK = 2, TQ = 2, TK = 37, D = 20, DV = 13, A = 24, DTYPES = 4 };

static const attn_dtype dtypes[DTYPES] = {ATTN_F32, ATTN_F64, ATTN_F16, ATTN_BF16};

/* A mechanism, and queries, keys and values of one call. */
struct world {
    enum rule_kind kind;
    attn_dtype dtype;
    attn_engine *engine;
    attn_mechanism *mechanism;
    struct array params[3], query, key, value;
    int param_count;
};

static void bind_any(struct world *w, struct rng *rng, const char *name, int32_t ndim, int64_t rows, int64_t columns)
{
    struct array *param = &w->params[w->param_count++];
    int64_t shape[2] = {rows, columns};
    const attn_dtype dtype = w->param_count == 2 ? dtype_computed(w->dtype) : w->dtype; /* either, of 16 bits */
    array_create(param, dtype, ndim, shape, LAYOUT_OUTPUT, rng);
    array_fill_normal(param, rng, 0.4);
    MUST(attn_mechanism_bind_param(w->mechanism, name, &param->tensor));
}

static void world_create(struct world *w, attn_engine *of, enum rule_kind kind, attn_dtype dtype)
{
    struct rng rng = {(uint64_t)kind * 10 + (uint64_t)dtype};
    *w = (struct world){.kind = kind, .dtype = dtype, .engine = of};
    int64_t query[4] = {B, HQ, TQ, D}, key[4] = {B, HK, TK, D}, value[4] = {B, HK, TK, DV};
    if (kind == RULE_DOT) MUST(attn_mechanism_create_dot(of, &w->mechanism));
    if (kind == RULE_SCALED_DOT) MUST(attn_mechanism_create_scaled_dot(of, &w->mechanism));
    if (kind == RULE_GENERAL) MUST(attn_mechanism_create_general(of, D, D, &w->mechanism));
    if (kind == RULE_ADDITIVE) MUST(attn_mechanism_create_additive(of, D, D, A, 0, &w->mechanism));
    if (kind == RULE_CONCAT) MUST(attn_mechanism_create_concat(of, D, D, A, &w->mechanism));
    if (kind == RULE_LOCATION) MUST(attn_mechanism_create_location(of, D, TK, &w->mechanism));
    if (kind == RULE_GENERAL) bind_any(w, &rng, "W", 2, D, D);
    if (kind == RULE_ADDITIVE) {
        bind_any(w, &rng, "W", 2, A, D);
        bind_any(w, &rng, "U", 2, A, D);
    }
    if (kind == RULE_CONCAT) bind_any(w, &rng, "W", 2, A, 2 * D);
    if (kind == RULE_ADDITIVE || kind == RULE_CONCAT) bind_any(w, &rng, "v", 1, A, 1);
    if (kind == RULE_LOCATION) bind_any(w, &rng, "W", 2, TK, D);
    array_create(&w->query, dtype, 4, query, LAYOUT_OUTPUT, &rng);
    array_create(&w->key, dtype, 4, key, LAYOUT_OUTPUT, &rng);
    array_create(&w->value, dtype, 4, value, LAYOUT_OUTPUT, &rng);
    array_fill_normal(&w->query, &rng, 1.0);
    array_fill_normal(&w->key, &rng, 1.0);
    array_fill_normal(&w->value, &rng, 1.0);
}

static void world_destroy(struct world *w)
{
    attn_mechanism_destroy(w->mechanism);
    for (int i = 0; i < w->param_count; i++) array_destroy(&w->params[i]);
    array_destroy(&w->query);
    array_destroy(&w->key);
    array_destroy(&w->value);
}

static bool reads_keys(const struct world *w)
{
    return w->kind != RULE_LOCATION;
}

static attn_memory *new_memory(const struct world *w, int64_t capacity, uint32_t flags)
{
    attn_memory_options options = ATTN_MEMORY_OPTIONS_INIT;
    attn_memory *memory = NULL;
    options.flags = flags;
    options.dtype = w->dtype;
    options.batch = B;
    options.key_heads = HK;
    options.key_dim = reads_keys(w) || (flags & ATTN_MEMORY_KEYS_ALONE) ? D : 0;
    options.value_dim = flags & ATTN_MEMORY_KEYS_ALONE ? 0 : DV;
    options.capacity = capacity;
    MUST(attn_memory_create(w->mechanism, &options, &memory));
    return memory;
}

/* A view of count positions of keys or values, from position first on. */
static attn_tensor part(const struct array *array, int64_t first, int64_t count)
{
    attn_tensor t = array->tensor;
    t.data = (char *)t.data + first * t.stride[2] * (t.dtype == ATTN_F32 ? 4 : t.dtype == ATTN_F64 ? 8 : 2);
    t.shape[2] = count;
    return t;
}

static attn_status append_part(const struct world *w, attn_memory *memory, int64_t first, int64_t count,
                               const attn_tensor *counts)
{
    const attn_tensor key = part(&w->key, first, count), value = part(&w->value, first, count);
    return attn_memory_append(memory, reads_keys(w) ? &key : NULL, &value, counts);
}

static attn_tensor integers(int64_t *numbers, int64_t count)
{
    attn_tensor t;
    MUST(attn_tensor_init(&t, numbers, ATTN_I64, 1, &count));
    return t;
}

/* The context over a memory, or over the first keys of the tensors. */
static struct array attend(const struct world *w, const attn_memory *memory, int64_t *lengths, int64_t keys)
{
    struct rng rng = {1};
    struct array context;
    int64_t shape[4] = {B, HQ, TQ, DV};
    attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
    const attn_tensor key = part(&w->key, 0, keys), value = part(&w->value, 0, keys);
    const attn_tensor valid = lengths ? integers(lengths, B) : key;
    array_create(&context, w->dtype, 4, shape, LAYOUT_PLAIN, &rng);
    args.query = &w->query.tensor;
    args.context = &context.tensor;
    args.memory = memory;
    if (memory == NULL) {
        args.key = reads_keys(w) ? &key : NULL;
        args.value = &value;
        args.key_lengths = lengths ? &valid : NULL;
    }
    MUST(attn_forward(w->mechanism, &args));
    return context;
}

static void assert_same(const struct array *a, const struct array *b, const char *what)
{
    if (!array_same_bits(a, b, 0, B * HQ * TQ * DV)) fail_msg("%s: other bits", what);
}

static void for_every_mechanism(void (*run)(struct world *))
{
    for (enum rule_kind kind = RULE_DOT; kind < RULE_KINDS; kind++) {
        for (int d = 0; d < DTYPES; d++) {
            struct world w;
            world_create(&w, engine, kind, dtypes[d]);
            run(&w);
            world_destroy(&w);
        }
    }
}

/* ------------------------------------------------------------------------------------------------- content */

static void compare_with_tensors(struct world *w)
{
    attn_memory *memory = new_memory(w, 0, 0);
    MUST(append_part(w, memory, 0, TK, NULL));
    struct array got = attend(w, memory, NULL, 0), want = attend(w, NULL, NULL, TK);
    assert_near(&got, &want, "attention over a memory");
    if (w->kind <= RULE_SCALED_DOT) assert_same(&got, &want, "nothing is prepared");
    array_destroy(&got);
    array_destroy(&want);
    attn_memory_destroy(memory);
}

static void attention_over_a_memory_is_attention_over_the_tensors(void **state)
{
    (void)state;
    for_every_mechanism(compare_with_tensors);
}

static void cut_at_random(struct world *w)
{
    struct rng rng = {77};
    attn_memory *whole = new_memory(w, TK, 0);
    MUST(append_part(w, whole, 0, TK, NULL));
    struct array want = attend(w, whole, NULL, 0);
    for (int round = 0; round < 12; round++) {
        attn_memory *pieces = new_memory(w, rng_integer(&rng, 0, TK), 0);
        for (int64_t at = 0, n; at < TK; at += n) {
            n = rng_integer(&rng, 0, round < 2 ? 1 : TK - at);
            if (n > TK - at) n = TK - at;
            MUST(append_part(w, pieces, at, n, NULL));
        }
        struct array got = attend(w, pieces, NULL, 0);
        if (w->dtype != ATTN_F64) assert_same(&got, &want, "another cut");
        assert_near(&got, &want, "another cut");
        array_destroy(&got);
        attn_memory_destroy(pieces);
    }
    array_destroy(&want);
    attn_memory_destroy(whole);
}

static void however_it_is_cut_into_calls_a_memory_holds_the_same(void **state)
{
    (void)state;
    for_every_mechanism(cut_at_random);
}

static void ragged(struct world *w)
{
    int64_t first[B] = {5, 0, 9}, second[B] = {0, 4, 11}, lengths[B], batch;
    int64_t want_lengths[B];
    attn_memory *memory = new_memory(w, 2, 0);
    attn_tensor counts = integers(first, B);
    MUST(append_part(w, memory, 0, 9, &counts));
    /* Every sequence goes on where it stopped, so that it holds the keys from the first on. */
    for (int b = 0; b < B; b++) want_lengths[b] = first[b] + second[b];
    struct array next_key = w->key, next_value = w->value;
    for (int64_t i = 0; i < 11; i++) {
        int64_t one[B];
        for (int b = 0; b < B; b++) one[b] = i < second[b];
        /* A tensor whose only position is, for each sequence, the one that comes next: gathered by hand. */
        struct rng rng = {1};
        int64_t key_shape[4] = {B, HK, 1, D}, value_shape[4] = {B, HK, 1, DV};
        struct array key, value;
        array_create(&key, w->dtype, 4, key_shape, LAYOUT_PLAIN, &rng);
        array_create(&value, w->dtype, 4, value_shape, LAYOUT_PLAIN, &rng);
        for (int64_t b = 0; b < B; b++) {
            for (int64_t h = 0; h < HK; h++) {
                const int64_t at = first[b] + i < TK ? first[b] + i : 0, row = (b * HK + h) * TK + at;
                for (int64_t d = 0; d < D; d++) {
                    array_set(&key, (b * HK + h) * D + d, array_get(&next_key, row * D + d));
                }
                for (int64_t d = 0; d < DV; d++) {
                    array_set(&value, (b * HK + h) * DV + d, array_get(&next_value, row * DV + d));
                }
            }
        }
        counts = integers(one, B);
        MUST(attn_memory_append(memory, reads_keys(w) ? &key.tensor : NULL, &value.tensor, &counts));
        array_destroy(&key);
        array_destroy(&value);
    }
    MUST(attn_memory_lengths(memory, &batch, lengths, B));
    assert_int_equal(batch, B);
    assert_memory_equal(lengths, want_lengths, sizeof lengths);
    struct array got = attend(w, memory, NULL, 0), want = attend(w, NULL, want_lengths, TK);
    assert_near(&got, &want, "ragged lengths");
    array_destroy(&got);
    array_destroy(&want);
    attn_memory_destroy(memory);
}

static void sequences_have_lengths_of_their_own(void **state)
{
    (void)state;
    for_every_mechanism(ragged);
}

static void truncated(struct world *w)
{
    int64_t lengths[B] = {TK, 3, 0};
    attn_memory *memory = new_memory(w, 0, 0);
    MUST(append_part(w, memory, 0, TK, NULL));
    const attn_tensor to = integers(lengths, B);
    MUST(attn_memory_truncate(memory, &to));
    struct array got = attend(w, memory, NULL, 0), want = attend(w, NULL, lengths, TK);
    assert_near(&got, &want, "truncated");
    array_destroy(&got);
    array_destroy(&want);
    int64_t even[B] = {0, 0, 0};
    const attn_tensor none = integers(even, B);
    MUST(attn_memory_truncate(memory, &none));
    MUST(append_part(w, memory, 0, TK, NULL));
    got = attend(w, memory, NULL, 0);
    want = attend(w, NULL, NULL, TK);
    assert_near(&got, &want, "filled anew");
    array_destroy(&got);
    array_destroy(&want);
    attn_memory_destroy(memory);
}

static void truncation_forgets_the_end(void **state)
{
    (void)state;
    for_every_mechanism(truncated);
}

static void reordered(struct world *w)
{
    int64_t rows[B] = {2, 0, 2};
    attn_memory *memory = new_memory(w, 0, 0), *before;
    MUST(append_part(w, memory, 0, TK, NULL));
    MUST(attn_memory_fork(memory, &before));
    const attn_tensor order = integers(rows, B);
    MUST(attn_memory_reorder(memory, &order));
    /* The same queries for every sequence, so that contexts tell which keys they met. */
    attn_tensor query = w->query.tensor;
    query.stride[0] = 0;
    struct rng rng = {1};
    struct array got, want;
    int64_t shape[4] = {B, HQ, TQ, DV};
    array_create(&got, w->dtype, 4, shape, LAYOUT_PLAIN, &rng);
    array_create(&want, w->dtype, 4, shape, LAYOUT_PLAIN, &rng);
    attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
    args.query = &query;
    args.memory = memory;
    args.context = &got.tensor;
    MUST(attn_forward(w->mechanism, &args));
    args.memory = before;
    args.context = &want.tensor;
    MUST(attn_forward(w->mechanism, &args));
    const int64_t each = HQ * TQ * DV;
    for (int64_t b = 0; b < B; b++) {
        for (int64_t i = 0; i < each; i++) {
            /* Roundings aside: a BLAS may sum otherwise at another place. */
            const double x = array_get(&got, b * each + i), y = array_get(&want, rows[b] * each + i);
            assert_true(fabs(x - y) <= 64 * dtype_epsilon(w->dtype) * (1 + fabs(y)));
        }
    }
    assert_true(fabs(array_get(&want, 0) - array_get(&want, each)) > 1e-3);
    array_destroy(&got);
    array_destroy(&want);
    /* One sequence becomes many, and the fork goes on by itself. */
    int64_t many[5] = {1, 1, 0, 2, 1}, batch;
    const attn_tensor beam = integers(many, 5);
    MUST(attn_memory_reorder(before, &beam));
    MUST(attn_memory_lengths(before, &batch, NULL, 0));
    assert_int_equal(batch, 5);
    attn_memory_destroy(before);
    attn_memory_destroy(memory);
}

static void reordering_keeps_the_survivors_of_a_beam(void **state)
{
    (void)state;
    for_every_mechanism(reordered);
}

static void a_fork_and_its_origin_do_not_know_of_each_other(void **state)
{
    (void)state;
    struct world w;
    world_create(&w, engine, RULE_ADDITIVE, ATTN_F32);
    attn_memory *memory = new_memory(&w, 0, 0), *fork;
    MUST(append_part(&w, memory, 0, 20, NULL));
    MUST(attn_memory_fork(memory, &fork));
    struct array before = attend(&w, fork, NULL, 0);
    MUST(append_part(&w, memory, 20, 17, NULL));
    struct array after = attend(&w, fork, NULL, 0);
    assert_same(&before, &after, "the fork");
    attn_memory_destroy(memory);
    MUST(append_part(&w, fork, 20, 17, NULL));
    struct array whole = attend(&w, fork, NULL, 0), want = attend(&w, NULL, NULL, TK);
    assert_near(&whole, &want, "the fork goes on");
    array_destroy(&before);
    array_destroy(&after);
    array_destroy(&whole);
    array_destroy(&want);
    attn_memory_destroy(fork);
    world_destroy(&w);
}

static void keys_may_be_the_values(void **state)
{
    (void)state;
    for (enum rule_kind kind = RULE_DOT; kind < RULE_KINDS; kind++) {
        struct world w;
        world_create(&w, engine, kind, ATTN_F32);
        attn_memory *memory = new_memory(&w, 1, ATTN_MEMORY_KEYS_ALONE);
        MUST(attn_memory_append(memory, &w.key.tensor, NULL, NULL));
        struct rng rng = {1};
        struct array got, want;
        int64_t shape[4] = {B, HQ, TQ, D};
        array_create(&got, w.dtype, 4, shape, LAYOUT_PLAIN, &rng);
        array_create(&want, w.dtype, 4, shape, LAYOUT_PLAIN, &rng);
        attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
        args.query = &w.query.tensor;
        args.memory = memory;
        args.context = &got.tensor;
        MUST(attn_forward(w.mechanism, &args));
        args.memory = NULL;
        args.key = &w.key.tensor;
        args.context = &want.tensor;
        MUST(attn_forward(w.mechanism, &args));
        assert_near(&got, &want, "keys alone");
        array_destroy(&got);
        array_destroy(&want);
        attn_memory_destroy(memory);
        world_destroy(&w);
    }
}

/* Keys that the memory turns are those that were turned before they were appended. */
static void keys_are_turned_by_their_positions(void **state)
{
    (void)state;
    for (int d = 0; d < DTYPES; d++) {
        struct world w;
        world_create(&w, engine, RULE_SCALED_DOT, dtypes[d]);
        attn_rope_options rope = ATTN_ROPE_OPTIONS_INIT;
        attn_memory_options options = ATTN_MEMORY_OPTIONS_INIT;
        attn_memory *turning = NULL, *plain = new_memory(&w, 0, 0);
        rope.layout = ATTN_ROPE_HALVES;
        options.dtype = w.dtype;
        options.batch = B;
        options.key_heads = HK;
        options.key_dim = D;
        options.value_dim = DV;
        options.rope = &rope;
        MUST(attn_memory_create(w.mechanism, &options, &turning));
        for (int64_t at = 0; at < TK; at += 10) MUST(append_part(&w, turning, at, at + 10 < TK ? 10 : TK - at, NULL));
        MUST(attn_rope(engine, &rope, &w.key.tensor, &w.key.tensor));
        MUST(append_part(&w, plain, 0, TK, NULL));
        struct array got = attend(&w, turning, NULL, 0), want = attend(&w, plain, NULL, 0);
        assert_same(&got, &want, "turned keys");
        array_destroy(&got);
        array_destroy(&want);
        attn_memory_destroy(turning);
        attn_memory_destroy(plain);
        world_destroy(&w);
    }
}

/* Every position attends to those before it: all at once, and one by one over a growing memory. */
static void decoding_step_by_step_gives_the_numbers_of_the_whole_sequence(void **state)
{
    (void)state;
    for (enum rule_kind kind = RULE_DOT; kind < RULE_LOCATION; kind++) {
        struct world w;
        struct rng rng = {5};
        struct array query, all, one;
        int64_t shape[4] = {B, HQ, TK, D}, context[4] = {B, HQ, TK, DV}, step[4] = {B, HQ, 1, DV};
        world_create(&w, engine, kind, ATTN_F64);
        MUST(attn_mechanism_set_causal(w.mechanism, ATTN_ALIGN_BOTTOM_RIGHT));
        array_create(&query, w.dtype, 4, shape, LAYOUT_OUTPUT, &rng);
        array_fill_normal(&query, &rng, 1.0);
        array_create(&all, w.dtype, 4, context, LAYOUT_PLAIN, &rng);
        array_create(&one, w.dtype, 4, step, LAYOUT_PLAIN, &rng);
        attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
        args.query = &query.tensor;
        args.key = &w.key.tensor;
        args.value = &w.value.tensor;
        args.context = &all.tensor;
        MUST(attn_forward(w.mechanism, &args));
        attn_memory *memory = new_memory(&w, 0, 0);
        for (int64_t t = 0; t < TK; t++) {
            const attn_tensor q = part(&query, t, 1);
            MUST(append_part(&w, memory, t, 1, NULL));
            args.query = &q;
            args.key = args.value = NULL;
            args.memory = memory;
            args.context = &one.tensor;
            MUST(attn_forward(w.mechanism, &args));
            for (int64_t x = 0; x < B * HQ; x++) {
                for (int64_t d = 0; d < DV; d++) {
                    const double want = array_get(&all, (x * TK + t) * DV + d), got = array_get(&one, x * DV + d);
                    assert_true(got - want < 1e-12 && want - got < 1e-12);
                }
            }
        }
        array_destroy(&query);
        array_destroy(&all);
        array_destroy(&one);
        attn_memory_destroy(memory);
        world_destroy(&w);
    }
}

/* ------------------------------------------------------------------------------------------------- failure */

static int64_t allocations_left, blocks_alive;

static void *failing_allocate(void *data, size_t bytes, size_t alignment)
{
    void *block = NULL;
    (void)data;
    if (allocations_left-- <= 0 || posix_memalign(&block, alignment, bytes) != 0) return NULL;
    blocks_alive++;
    return block;
}

static void counted_release(void *data, void *pointer, size_t bytes)
{
    (void)data, (void)bytes;
    blocks_alive--;
    free(pointer);
}

static attn_engine *failing_engine(attn_way way)
{
    attn_engine_options options = ATTN_ENGINE_OPTIONS_INIT;
    attn_engine *own;
    options.allocate = failing_allocate;
    options.release = counted_release;
    options.threads = 1;
    options.way = way;
    allocations_left = INT64_MAX;
    MUST(attn_engine_create(&options, &own));
    return own;
}

/* What is kept, and what of. */
static const struct {
    attn_dtype kept, given;
} forms[] = {{ATTN_F32, ATTN_F32}, {ATTN_F16, ATTN_F16}, {ATTN_I8, ATTN_F32}, {ATTN_I8, ATTN_BF16}};
enum { FORMS = sizeof forms / sizeof forms[0], WAYS = 2 };

static void fail_everywhere(attn_engine *own, int form)
{
    for (enum rule_kind kind = RULE_DOT; kind < RULE_KINDS; kind++) {
        struct world w;
        world_create(&w, own, kind, forms[form].given);
        attn_memory_options of = ATTN_MEMORY_OPTIONS_INIT;
        of.dtype = forms[form].kept;
        of.batch = B;
        of.key_heads = HK;
        of.key_dim = reads_keys(&w) ? D : 0;
        of.value_dim = DV;
        of.capacity = 4;
        attn_memory *memory = NULL, *fork = NULL;
        int64_t k = 0;
        for (; allocations_left = k, attn_memory_create(w.mechanism, &of, &memory) != ATTN_OK; k++) {
            assert_null(memory);
        }
        assert_true(k >= 3);
        allocations_left = INT64_MAX;
        MUST(append_part(&w, memory, 0, 4, NULL));
        struct array before = attend(&w, memory, NULL, 0);
        int64_t rows[B] = {1, 0, 2};
        const attn_tensor order = integers(rows, B);
        for (int what = 0; what < 3; what++) {
            for (k = 0;; k++) {
                allocations_left = k;
                const attn_status got = what == 0   ? append_part(&w, memory, 4, TK - 4, NULL)
                                        : what == 1 ? attn_memory_fork(memory, &fork)
                                                    : attn_memory_reorder(memory, &order);
                allocations_left = INT64_MAX;
                if (got == ATTN_OK) break;
                assert_int_equal(got, ATTN_ERR_NOMEM);
                struct array after = attend(&w, memory, NULL, 0);
                assert_same(&before, &after, "after a failure");
                array_destroy(&after);
            }
            assert_true(k >= 2);
            array_destroy(&before);
            before = attend(&w, memory, NULL, 0);
        }
        array_destroy(&before);
        attn_memory_destroy(memory);
        attn_memory_destroy(fork);
        world_destroy(&w);
    }
}

static void a_failed_allocation_leaves_a_memory_as_it_was(void **state)
{
    (void)state;
    for (int i = 0; i < WAYS * FORMS; i++) {
        attn_engine *own = failing_engine(i % WAYS ? ATTN_WAY_BLAS : ATTN_WAY_TILES);
        fail_everywhere(own, i / WAYS);
        attn_engine_destroy(own);
        assert_int_equal(blocks_alive, 0);
    }
}

/* Keys so wide that they are turned in memory that was asked for. */
static void a_failed_allocation_amid_turning_leaves_a_memory_as_it_was(void **state)
{
    enum { WIDE = 4200, SOME = 70 };
    const int64_t query[4] = {1, 1, 1, WIDE}, key[4] = {1, 1, SOME, WIDE}, value[4] = {1, 1, SOME, 1};
    (void)state;
    for (int form = 1; form < FORMS; form++) {
        attn_engine *own = failing_engine(ATTN_WAY_TILES);
        struct rng rng = {3};
        struct array q, k, v, context[2];
        attn_mechanism *mechanism;
        attn_memory *memory;
        attn_memory_options of = ATTN_MEMORY_OPTIONS_INIT;
        attn_rope_options rope = ATTN_ROPE_OPTIONS_INIT;
        attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
        array_create(&q, forms[form].given, 4, query, LAYOUT_PLAIN, NULL);
        array_create(&k, forms[form].given, 4, key, LAYOUT_PLAIN, NULL);
        array_create(&v, forms[form].given, 4, value, LAYOUT_PLAIN, NULL);
        array_fill_normal(&q, &rng, 0.1);
        array_fill_normal(&k, &rng, 0.1);
        array_fill_normal(&v, &rng, 1.0);
        rope.layout = ATTN_ROPE_INTERLEAVED;
        of.dtype = forms[form].kept;
        of.batch = 1;
        of.key_dim = WIDE;
        of.value_dim = 1;
        of.capacity = 3 * SOME; /* nothing has to grow */
        of.rope = &rope;
        MUST(attn_mechanism_create_dot(own, &mechanism));
        MUST(attn_memory_create(mechanism, &of, &memory));
        MUST(attn_memory_append(memory, &k.tensor, &v.tensor, NULL));
        for (int i = 0; i < 2; i++) {
            array_create(&context[i], forms[form].given, 4, (int64_t[]){1, 1, 1, 1}, LAYOUT_PLAIN, NULL);
        }
        args.query = &q.tensor;
        args.memory = memory;
        args.context = &context[0].tensor;
        MUST(attn_forward(mechanism, &args));
        args.context = &context[1].tensor;
        int64_t failures = 0, length;
        for (;; failures++) {
            allocations_left = failures;
            const attn_status got = attn_memory_append(memory, &k.tensor, &v.tensor, NULL);
            allocations_left = INT64_MAX;
            if (got == ATTN_OK) break;
            assert_int_equal(got, ATTN_ERR_NOMEM);
            MUST(attn_memory_lengths(memory, &(int64_t){0}, &length, 1));
            assert_int_equal(length, SOME);
            MUST(attn_forward(mechanism, &args));
            assert_true(array_same_bits(&context[0], &context[1], 0, 1));
        }
        assert_true(failures >= (forms[form].kept == ATTN_I8 ? 2 : 1)); /* of integers there are rows in float32, too */
        array_destroy(&q);
        array_destroy(&k);
        array_destroy(&v);
        array_destroy(&context[0]);
        array_destroy(&context[1]);
        attn_memory_destroy(memory);
        attn_mechanism_destroy(mechanism);
        attn_engine_destroy(own);
        assert_int_equal(blocks_alive, 0);
    }
}

static int64_t most_bytes;

static void *measuring_allocate(void *data, size_t bytes, size_t alignment)
{
    void *block = NULL;
    (void)data;
    if ((int64_t)bytes > most_bytes) most_bytes = (int64_t)bytes;
    return posix_memalign(&block, alignment, bytes) == 0 ? block : NULL;
}

static void plain_release(void *data, void *pointer, size_t bytes)
{
    (void)data, (void)bytes;
    free(pointer);
}

/* More keys than are made ready at a time: the same as ever, and in room for 2^22 numbers. */
static void many_heads_are_made_ready_by_and_by(void **state)
{
    enum { SEQUENCES = 20, HEADS = 8, KEYS = 50, WIDE = 640, NARROW = 2 };
    const int64_t query_shape[4] = {SEQUENCES, HEADS, 1, NARROW}, key_shape[4] = {SEQUENCES, HEADS, KEYS, NARROW};
    const int64_t value_shape[4] = {SEQUENCES, HEADS, KEYS, 1}, context_shape[4] = {SEQUENCES, HEADS, 1, 1};
    struct rng rng = {11};
    struct world w = {.dtype = ATTN_F32};
    attn_engine_options options = ATTN_ENGINE_OPTIONS_INIT;
    attn_memory_options of = ATTN_MEMORY_OPTIONS_INIT;
    attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
    struct array got, want;
    attn_memory *memory = NULL;
    (void)state;
    options.allocate = measuring_allocate;
    options.release = plain_release;
    MUST(attn_engine_create(&options, &w.engine));
    MUST(attn_mechanism_create_additive(w.engine, NARROW, NARROW, WIDE, 0, &w.mechanism));
    bind_any(&w, &rng, "W", 2, WIDE, NARROW);
    bind_any(&w, &rng, "U", 2, WIDE, NARROW);
    bind_any(&w, &rng, "v", 1, WIDE, 1);
    array_create(&w.query, w.dtype, 4, query_shape, LAYOUT_PLAIN, &rng);
    array_create(&w.key, w.dtype, 4, key_shape, LAYOUT_PLAIN, &rng);
    array_create(&w.value, w.dtype, 4, value_shape, LAYOUT_PLAIN, &rng);
    array_create(&got, w.dtype, 4, context_shape, LAYOUT_PLAIN, &rng);
    array_create(&want, w.dtype, 4, context_shape, LAYOUT_PLAIN, &rng);
    array_fill_normal(&w.query, &rng, 1.0);
    array_fill_normal(&w.key, &rng, 1.0);
    array_fill_normal(&w.value, &rng, 1.0);
    args.query = &w.query.tensor, args.key = &w.key.tensor, args.value = &w.value.tensor;
    args.context = &want.tensor;
    MUST(attn_forward(w.mechanism, &args));

    of.dtype = w.dtype, of.batch = SEQUENCES, of.key_heads = HEADS;
    of.key_dim = NARROW, of.value_dim = 1, of.capacity = KEYS;
    MUST(attn_memory_create(w.mechanism, &of, &memory));
    most_bytes = 0;
    MUST(attn_memory_append(memory, &w.key.tensor, &w.value.tensor, NULL));
    assert_true(most_bytes < ((INT64_C(1) << 22) + 100000) * 4);
    args.key = args.value = NULL;
    args.memory = memory;
    args.context = &got.tensor;
    MUST(attn_forward(w.mechanism, &args));
    double *numbers = array_read(&want);
    assert_close(&got, numbers, NULL, 64, "context");
    free(numbers);
    attn_memory_destroy(memory);
    array_destroy(&got);
    array_destroy(&want);
    world_destroy(&w);
    attn_engine_destroy(w.engine);
}

static void a_memory_keeps_its_mechanism_and_that_its_engine(void **state)
{
    attn_engine_options options = ATTN_ENGINE_OPTIONS_INIT;
    attn_engine *own;
    attn_memory *fork;
    struct world w;
    (void)state;
    options.allocate = failing_allocate;
    options.release = counted_release;
    allocations_left = 1 << 20;
    blocks_alive = 0;
    MUST(attn_engine_create(&options, &own));
    world_create(&w, own, RULE_ADDITIVE, ATTN_F32);
    attn_memory *memory = new_memory(&w, 0, 0);
    attn_mechanism_destroy(w.mechanism);
    attn_engine_destroy(own);
    w.mechanism = NULL;
    MUST(append_part(&w, memory, 0, 3, NULL)); /* by the mechanism's U */
    MUST(attn_memory_fork(memory, &fork));
    attn_memory_destroy(memory);
    MUST(append_part(&w, fork, 3, 2, NULL));
    assert_true(blocks_alive > 0);
    attn_memory_destroy(fork);
    assert_int_equal(blocks_alive, 0);
    world_destroy(&w);
}

static void a_fixed_memory_that_is_full_takes_no_more(void **state)
{
    (void)state;
    struct world w;
    world_create(&w, engine, RULE_DOT, ATTN_F32);
    attn_memory *memory = new_memory(&w, 10, ATTN_MEMORY_FIXED);
    MUST(append_part(&w, memory, 0, 10, NULL));
    struct array before = attend(&w, memory, NULL, 0);
    assert_int_equal(append_part(&w, memory, 10, 1, NULL), ATTN_ERR_BUFFER);
    struct array after = attend(&w, memory, NULL, 0);
    assert_same(&before, &after, "after a refusal");
    array_destroy(&before);
    array_destroy(&after);
    attn_memory_destroy(memory);
    world_destroy(&w);
}

static void refused(attn_status got, attn_status want, const char *word)
{
    if (got != want) fail_msg("%s: %s", word, attn_status_string(got));
    if (!strstr(attn_last_error(), word)) fail_msg("\"%s\" lacks \"%s\"", attn_last_error(), word);
}

/* A memory that could never be appended to is not made. */
static void turns_that_no_position_makes_right_are_refused_at_once(void **state)
{
    static const struct {
        attn_rope_layout layout;
        int32_t inverse, reserved;
        int64_t dimensions;
        double base;
        const char *word;
    } wrong[] = {{0, 0, 0, 0, 0, "layout"},
                 {3, 0, 0, 0, 0, "layout"},
                 {ATTN_ROPE_HALVES, 0, 0, 3, 0, "dimensions"},
                 {ATTN_ROPE_HALVES, 0, 0, D + 2, 0, "dimensions"},
                 {ATTN_ROPE_HALVES, 0, 0, -2, 0, "dimensions"},
                 {ATTN_ROPE_INTERLEAVED, 0, 0, 0, -1, "base"},
                 {ATTN_ROPE_INTERLEAVED, 0, 0, 0, NAN, "base"},
                 {ATTN_ROPE_INTERLEAVED, 2, 0, 0, 0, "inverse"},
                 {ATTN_ROPE_INTERLEAVED, 0, 1, 0, 0, "reserved"}};
    struct world w;
    (void)state;
    world_create(&w, engine, RULE_SCALED_DOT, ATTN_F32);
    attn_rope_options rope = ATTN_ROPE_OPTIONS_INIT;
    attn_memory_options options = ATTN_MEMORY_OPTIONS_INIT;
    attn_memory *made = NULL;
    options.dtype = w.dtype, options.batch = B, options.key_heads = HK, options.key_dim = D, options.value_dim = DV;
    options.rope = &rope;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        rope.layout = wrong[i].layout, rope.dimensions = wrong[i].dimensions, rope.base = wrong[i].base;
        rope.inverse = wrong[i].inverse, rope.reserved = wrong[i].reserved;
        refused(attn_memory_create(w.mechanism, &options, &made), ATTN_ERR_ARGUMENT, wrong[i].word);
        assert_null(made);
    }
    rope = (attn_rope_options)ATTN_ROPE_OPTIONS_INIT;
    rope.layout = ATTN_ROPE_HALVES;
    options.key_dim = D - 1;
    refused(attn_memory_create(w.mechanism, &options, &made), ATTN_ERR_SHAPE, "pairs");
    world_destroy(&w);
}

/* A program that was compiled before there were pages has none, whatever lies past its struct. */
static void options_from_before_pages_are_taken(void **state)
{
    (void)state;
    struct world w;
    world_create(&w, engine, RULE_ADDITIVE, ATTN_F32);
    attn_memory_options options = ATTN_MEMORY_OPTIONS_INIT;
    attn_memory *memory;
    options.struct_size = (uint32_t)offsetof(attn_memory_options, page);
    options.dtype = ATTN_F32;
    options.batch = B;
    options.key_heads = HK;
    options.key_dim = D;
    options.value_dim = DV;
    options.page = -7;
    MUST(attn_memory_create(w.mechanism, &options, &memory));
    const attn_tensor key = part(&w.key, 0, 5), value = part(&w.value, 0, 5);
    MUST(attn_memory_append(memory, &key, &value, NULL));
    attn_memory_destroy(memory);
    world_destroy(&w);
}

static void wrong_calls_are_refused_in_words(void **state)
{
    (void)state;
    struct world w, other;
    world_create(&w, engine, RULE_ADDITIVE, ATTN_F32);
    world_create(&other, engine, RULE_ADDITIVE, ATTN_F32);
    attn_memory_options good = ATTN_MEMORY_OPTIONS_INIT, o;
    attn_memory *memory = NULL, *made = NULL;
    good.dtype = ATTN_F32;
    good.batch = B;
    good.key_heads = HK;
    good.key_dim = D;
    good.value_dim = DV;
    refused(attn_memory_create(NULL, &good, &made), ATTN_ERR_ARGUMENT, "mechanism");
    refused(attn_memory_create(w.mechanism, NULL, &made), ATTN_ERR_ARGUMENT, "options");
    refused(attn_memory_create(w.mechanism, &good, NULL), ATTN_ERR_ARGUMENT, "memory");
    o = good, o.struct_size = 3;
    refused(attn_memory_create(w.mechanism, &o, &made), ATTN_ERR_STRUCT_SIZE, "struct_size");
    o = good, o.flags = 64;
    refused(attn_memory_create(w.mechanism, &o, &made), ATTN_ERR_ARGUMENT, "flags");
    o = good, o.dtype = ATTN_I32;
    refused(attn_memory_create(w.mechanism, &o, &made), ATTN_ERR_DTYPE, "dtype");
    o = good, o.batch = 0;
    refused(attn_memory_create(w.mechanism, &o, &made), ATTN_ERR_ARGUMENT, "batch");
    o = good, o.key_dim = D + 1;
    refused(attn_memory_create(w.mechanism, &o, &made), ATTN_ERR_SHAPE, "key_dim");
    o = good, o.value_dim = 0;
    refused(attn_memory_create(w.mechanism, &o, &made), ATTN_ERR_ARGUMENT, "value_dim");
    o = good, o.flags = ATTN_MEMORY_KEYS_ALONE;
    refused(attn_memory_create(w.mechanism, &o, &made), ATTN_ERR_ARGUMENT, "value_dim");
    attn_rope_options rope = ATTN_ROPE_OPTIONS_INIT;
    o = good, o.rope = &rope;
    refused(attn_memory_create(w.mechanism, &o, &made), ATTN_ERR_UNSUPPORTED, "rope");
    o = good, o.capacity = -1;
    refused(attn_memory_create(w.mechanism, &o, &made), ATTN_ERR_ARGUMENT, "capacity");
    o = good, o.page = -1;
    refused(attn_memory_create(w.mechanism, &o, &made), ATTN_ERR_ARGUMENT, "page is -1");
    o = good, o.page = INT64_MAX;
    refused(attn_memory_create(w.mechanism, &o, &made), ATTN_ERR_ARGUMENT, "page");
    o = good, o.page = 1, o.capacity = INT32_MAX - 2000, o.batch = INT32_MAX - 2000;
    refused(attn_memory_create(w.mechanism, &o, &made), ATTN_ERR_OVERFLOW, "counted");
    o = good, o.page = INT32_MAX - 2000, o.capacity = 1, o.batch = INT32_MAX - 2000;
    refused(attn_memory_create(w.mechanism, &o, &made), ATTN_ERR_OVERFLOW, "addressed");
    o = good, o.page = 1, o.struct_size = (uint32_t)sizeof o - 1;
    refused(attn_memory_create(w.mechanism, &o, &made), ATTN_ERR_STRUCT_SIZE, "struct_size");
    o = good, o.capacity = INT32_MAX - 2000, o.batch = INT32_MAX - 2000;
    refused(attn_memory_create(w.mechanism, &o, &made), ATTN_ERR_OVERFLOW, "addressed");
    assert_null(made);

    memory = new_memory(&w, 0, 0);
    attn_tensor key = part(&w.key, 0, 5), value = part(&w.value, 0, 5), wrong = key;
    refused(attn_memory_append(NULL, &key, &value, NULL), ATTN_ERR_ARGUMENT, "memory");
    refused(attn_memory_append(memory, NULL, &value, NULL), ATTN_ERR_ARGUMENT, "key");
    refused(attn_memory_append(memory, &key, NULL, NULL), ATTN_ERR_ARGUMENT, "value");
    wrong.shape[3]--;
    refused(attn_memory_append(memory, &wrong, &value, NULL), ATTN_ERR_SHAPE, "key");
    wrong = value, wrong.shape[2]--;
    refused(attn_memory_append(memory, &key, &wrong, NULL), ATTN_ERR_SHAPE, "value");
    int64_t numbers[B] = {1, 6, 0}, rows[B] = {0, 1, 3};
    attn_tensor counts = integers(numbers, B), order = integers(rows, B);
    refused(attn_memory_append(memory, &key, &value, &counts), ATTN_ERR_ARGUMENT, "counts[1]");
    counts.shape[0] = 2, numbers[1] = 1;
    refused(attn_memory_append(memory, &key, &value, &counts), ATTN_ERR_SHAPE, "counts");
    refused(attn_memory_reorder(memory, &order), ATTN_ERR_ARGUMENT, "rows[2]");
    refused(attn_memory_reorder(memory, NULL), ATTN_ERR_ARGUMENT, "rows");
    counts = integers(numbers, B);
    refused(attn_memory_truncate(memory, &counts), ATTN_ERR_ARGUMENT, "lengths[0]");
    refused(attn_memory_fork(memory, NULL), ATTN_ERR_ARGUMENT, "copy");
    refused(attn_memory_lengths(memory, NULL, numbers, 2), ATTN_ERR_BUFFER, "count");
    MUST(attn_mechanism_bind_param(w.mechanism, "U", NULL));
    refused(attn_memory_append(memory, &key, &value, NULL), ATTN_ERR_PARAMETER, "U");
    MUST(attn_mechanism_bind_param(w.mechanism, "U", &w.params[1].tensor));
    int64_t batch, lengths[B];
    MUST(attn_memory_lengths(memory, &batch, lengths, B));
    for (int b = 0; b < B; b++) assert_int_equal(lengths[b], 0);

    attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
    struct array context = attend(&w, memory, NULL, 0);
    args.query = &w.query.tensor;
    args.memory = memory;
    args.context = &context.tensor;
    args.key = &w.key.tensor;
    refused(attn_forward(w.mechanism, &args), ATTN_ERR_ARGUMENT, "key");
    args.key = NULL;
    refused(attn_forward(other.mechanism, &args), ATTN_ERR_ARGUMENT, "memory");
    attn_tensor fewer = w.query.tensor;
    fewer.shape[0]--;
    args.query = &fewer;
    refused(attn_forward(w.mechanism, &args), ATTN_ERR_SHAPE, "memory");
    array_destroy(&context);
    attn_memory_destroy(memory);
    attn_memory_destroy(NULL);
    world_destroy(&w);
    world_destroy(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_over_a_memory_is_attention_over_the_tensors),
        cmocka_unit_test(however_it_is_cut_into_calls_a_memory_holds_the_same),
        cmocka_unit_test(sequences_have_lengths_of_their_own),
        cmocka_unit_test(truncation_forgets_the_end),
        cmocka_unit_test(reordering_keeps_the_survivors_of_a_beam),
        cmocka_unit_test(a_fork_and_its_origin_do_not_know_of_each_other),
        cmocka_unit_test(keys_may_be_the_values),
        cmocka_unit_test(keys_are_turned_by_their_positions),
        cmocka_unit_test(turns_that_no_position_makes_right_are_refused_at_once),
        cmocka_unit_test(decoding_step_by_step_gives_the_numbers_of_the_whole_sequence),
        cmocka_unit_test(a_failed_allocation_leaves_a_memory_as_it_was),
        cmocka_unit_test(a_failed_allocation_amid_turning_leaves_a_memory_as_it_was),
        cmocka_unit_test(many_heads_are_made_ready_by_and_by),
        cmocka_unit_test(a_memory_keeps_its_mechanism_and_that_its_engine),
        cmocka_unit_test(a_fixed_memory_that_is_full_takes_no_more),
        cmocka_unit_test(options_from_before_pages_are_taken),
        cmocka_unit_test(wrong_calls_are_refused_in_words),
    };
    return cmocka_run_group_tests(tests, engine_setup, engine_teardown);
}
