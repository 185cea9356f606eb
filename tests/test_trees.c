/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_trees.c: masks of the last keys alone, as a tree of guesses wants them: with the bits of the mask of all keys
 * that shows those before them, forward and backward, by tiles of queries and by few, padded and ragged.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support.h"

enum { BATCH = 3, HEADS = 4, KEY_HEADS = 2, DIM = 20, TENSORS = 6 };
enum { CONTEXT, LOGSUMEXP, WEIGHTS, D_QUERY, D_KEY, D_VALUE };

struct tree {
    int64_t queries, keys, columns;
    bool by_sequence, by_head; /* the mask differs */
    int64_t lengths[BATCH];
};

static const struct tree trees[] = {
    {1, 40, 1, false, false, {40, 0, 7}},         {5, 300, 5, true, false, {300, 300, 300}},
    {5, 300, 9, true, true, {300, 131, 4}},       {40, 300, 40, true, true, {129, 40, 300}},
    {70, 260, 200, false, false, {260, 200, 77}}, {70, 130, 7, true, false, {130, 128, 127}},
    {33, 257, 400, false, true, {257, 256, 1}},
};

static struct array made(attn_dtype dtype, int32_t ndim, int64_t s0, int64_t s1, int64_t s2, int64_t s3)
{
    struct array a;
    const int64_t shape[4] = {s0, s1, s2, s3};
    array_create(&a, dtype, ndim, shape, LAYOUT_PLAIN, NULL);
    return a;
}

static bool shows(const struct tree *t, int64_t b, int64_t h, int64_t i, int64_t column)
{
    struct rng rng = {
        (uint64_t)(1 + (t->by_sequence ? b : 0) * 7 + (t->by_head ? h : 0) * 31 + i * 101 + column * 1009)};
    return rng_chance(&rng, 0.4);
}

/* The mask as it is given, or for each key of each sequence. */
static struct array mask_of(const struct tree *t, bool whole)
{
    struct array mask = made(ATTN_BOOL, 4, whole || t->by_sequence ? BATCH : 1, whole || t->by_head ? HEADS : 1,
                             t->queries, whole ? t->keys : t->columns);
    const int64_t *n = mask.tensor.shape;
    int64_t at = 0;
    for (int64_t b = 0; b < n[0]; b++) {
        for (int64_t h = 0; h < n[1]; h++) {
            for (int64_t i = 0; i < n[2]; i++) {
                for (int64_t j = 0; j < n[3]; j++) {
                    const int64_t column = whole ? j - (t->lengths[b] - t->columns) : j;
                    array_set(&mask, at++, column < 0 || column >= t->columns || shows(t, b, h, i, column));
                }
            }
        }
    }
    return mask;
}

static void check(const struct tree *t, attn_dtype dtype)
{
    struct rng rng = {3};
    attn_mechanism *m;
    struct array query = made(dtype, 4, BATCH, HEADS, t->queries, DIM);
    struct array key = made(dtype, 4, BATCH, KEY_HEADS, t->keys, DIM);
    struct array value = made(dtype, 4, BATCH, KEY_HEADS, t->keys, DIM);
    struct array flow = made(dtype, 4, BATCH, HEADS, t->queries, DIM), out[2][TENSORS];
    array_fill_normal(&query, &rng, 1);
    array_fill_normal(&key, &rng, 1);
    array_fill_normal(&value, &rng, 1);
    array_fill_normal(&flow, &rng, 1);
    MUST(attn_mechanism_create_scaled_dot(engine, &m));
    const attn_tensor lengths = {
        .data = (void *)(uintptr_t)t->lengths, .dtype = ATTN_I64, .ndim = 1, .shape = {BATCH}, .stride = {1}};
    for (int whole = 0; whole < 2; whole++) {
        struct array mask = mask_of(t, whole), *o = out[whole];
        o[CONTEXT] = made(dtype, 4, BATCH, HEADS, t->queries, DIM);
        o[LOGSUMEXP] = made(dtype, 3, BATCH, HEADS, t->queries, 0);
        o[WEIGHTS] = made(dtype, 4, BATCH, HEADS, t->queries, t->keys);
        o[D_QUERY] = made(dtype, 4, BATCH, HEADS, t->queries, DIM);
        o[D_KEY] = made(dtype, 4, BATCH, KEY_HEADS, t->keys, DIM);
        o[D_VALUE] = made(dtype, 4, BATCH, KEY_HEADS, t->keys, DIM);
        attn_forward_args a = ATTN_FORWARD_ARGS_INIT;
        a.query = &query.tensor;
        a.key = &key.tensor;
        a.value = &value.tensor;
        a.key_lengths = &lengths;
        a.mask = &mask.tensor;
        a.mask_align = whole ? ATTN_ALIGN_NONE : ATTN_ALIGN_BOTTOM_RIGHT;
        a.weights = &o[WEIGHTS].tensor;
        MUST(attn_forward(m, &a));
        a.weights = NULL;
        a.context = &o[CONTEXT].tensor;
        a.logsumexp = &o[LOGSUMEXP].tensor;
        MUST(attn_forward(m, &a));
        attn_backward_args back = ATTN_BACKWARD_ARGS_INIT;
        back.forward = &a;
        back.d_context = &flow.tensor;
        back.d_query = &o[D_QUERY].tensor;
        back.d_key = &o[D_KEY].tensor;
        back.d_value = &o[D_VALUE].tensor;
        MUST(attn_backward(m, &back));
        array_destroy(&mask);
    }
    for (int i = 0; i < TENSORS; i++) {
        if (!array_same_bits(&out[0][i], &out[1][i], 0, array_count(&out[0][i]))) {
            fail_msg("tensor %d of tree %d differs", i, (int)(t - trees));
        }
    }
    for (int64_t j = 0; j < t->keys && t->columns < t->lengths[0]; j++) { /* and it is the tree that is seen */
        const int64_t column = j - (t->lengths[0] - t->columns);
        const bool sees = j < t->lengths[0] && (column < 0 || shows(t, 0, 0, 0, column));
        assert_int_equal(array_get(&out[0][WEIGHTS], j) != 0, sees);
    }
    for (int i = 0; i < TENSORS; i++) array_destroy(&out[0][i]), array_destroy(&out[1][i]);
    array_destroy(&query);
    array_destroy(&key);
    array_destroy(&value);
    array_destroy(&flow);
    attn_mechanism_destroy(m);
}

static void a_mask_of_the_last_keys_is_that_of_all_keys(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof trees / sizeof *trees; i++) {
        check(&trees[i], ATTN_F32);
        check(&trees[i], ATTN_F64);
    }
}

/* Each sequence has columns of its own, at the end of however many keys it has. */
static void ragged_trees(void **state)
{
    enum { ROWS = 9, ALL = 60, COLUMNS = 4 };
    static const int32_t queries[BATCH + 1] = {0, 4, 5, 9}, keys[BATCH + 1] = {0, 33, 35, 60};
    (void)state;
    struct rng rng = {4};
    struct array query = made(ATTN_F32, 4, 1, HEADS, ROWS, DIM), key = made(ATTN_F32, 4, 1, KEY_HEADS, ALL, DIM);
    struct array mask = made(ATTN_BOOL, 4, 1, 1, ROWS, COLUMNS), weights = made(ATTN_F32, 4, 1, HEADS, ROWS, 33);
    attn_mechanism *m;
    MUST(attn_mechanism_create_scaled_dot(engine, &m));
    array_fill_normal(&query, &rng, 1);
    array_fill_normal(&key, &rng, 1);
    for (int64_t x = 0; x < ROWS * COLUMNS; x++) array_set(&mask, x, rng_chance(&rng, 0.5));
    attn_forward_args a = ATTN_FORWARD_ARGS_INIT;
    const attn_tensor of_queries = {
        .data = (void *)(uintptr_t)queries, .dtype = ATTN_I32, .ndim = 1, .shape = {BATCH + 1}, .stride = {1}};
    const attn_tensor of_keys = {
        .data = (void *)(uintptr_t)keys, .dtype = ATTN_I32, .ndim = 1, .shape = {BATCH + 1}, .stride = {1}};
    a.query = &query.tensor;
    a.key = &key.tensor;
    a.mask = &mask.tensor;
    a.mask_align = ATTN_ALIGN_BOTTOM_RIGHT;
    a.query_offsets = &of_queries;
    a.key_offsets = &of_keys;
    a.weights = &weights.tensor;
    MUST(attn_forward(m, &a));
    for (int64_t b = 0; b < BATCH; b++) {
        const int64_t n = keys[b + 1] - keys[b];
        for (int64_t i = queries[b]; i < queries[b + 1]; i++) {
            for (int64_t j = 0; j < 33; j++) {
                const int64_t column = j - (n - COLUMNS);
                const bool sees = j < n && (column < 0 || array_get(&mask, i * COLUMNS + column) != 0);
                assert_int_equal(array_get(&weights, i * 33 + j) != 0, sees);
            }
        }
    }
    array_destroy(&query);
    array_destroy(&key);
    array_destroy(&mask);
    array_destroy(&weights);
    attn_mechanism_destroy(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_mask_of_the_last_keys_is_that_of_all_keys),
                                       cmocka_unit_test(ragged_trees)};
    return cmocka_run_group_tests(tests, engine_setup, engine_teardown);
}
