/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_masks.c: boolean masks larger than a tile, made of blocks that show nothing, everything or some keys. However
 * heads and sequences share such a mask, the result has the bits that a mask of its own for each head gives; and that
 * one is compared with the definition.
 */
#include "support.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { BATCH = 2, HEADS = 4, QUERIES = 200, KEYS = 400, DIM = 8, ROWS = BATCH * HEADS * QUERIES };
enum { TILE_ROWS = 64, TILE_KEYS = 128 };

/* What sequence b's mask is the same for; and how its elements lie: one after the other, with gaps, backwards. */
enum share { BY_HEADS, BY_HEADS_AND_SEQUENCES, BY_QUERIES, BY_NOBODY, SHARES };
enum lie { PLAIN, GAPS, BACKWARDS, LIES };

/* Blocks are as high as a tile: 64 rows, which group heads of 64 / group queries. They show nothing, everything, some
 * keys, one key to one query in a corner, or all but that. */
static bool shows(enum share share, int64_t group, int64_t b, int64_t head, int64_t query, int64_t key)
{
    if (share == BY_HEADS_AND_SEQUENCES || share == BY_QUERIES) b = 0;
    if (share != BY_NOBODY) head = 0;
    if (share == BY_QUERIES) query = 0;
    const int64_t height = TILE_ROWS / group, top = query / height * height, left = key / TILE_KEYS * TILE_KEYS;
    struct rng block = {(uint64_t)(1 + b + 3 * head + 17 * top + 101 * left)};
    struct rng one = {(uint64_t)(1000 + b + 3 * head + 17 * query + 10007 * key)};
    const uint64_t kind = rng_bits(&block) % 6, corner = rng_bits(&block) % 4;
    const int64_t bottom = (top + height < QUERIES ? top + height : QUERIES) - 1;
    const int64_t right = (left + TILE_KEYS < KEYS ? left + TILE_KEYS : KEYS) - 1;
    const bool in_corner = query == (corner / 2 ? bottom : top) && key == (corner % 2 ? right : left);
    switch (kind) {
    case 0:
    case 1:
        return kind;
    case 2:
    case 3:
        return in_corner == (kind == 2);
    default:
        return rng_bits(&one) % 2 != 0;
    }
}

struct scene {
    struct array query, key, value, whole, shared, context[2], weights[2], logsumexp[2];
    attn_mechanism *mechanism;
    int64_t group;
};

static void make_mask(struct array *mask, const struct scene *s, enum share share, bool whole, enum lie lie)
{
    const int64_t step = lie == GAPS ? 3 : 1;
    const int64_t shape[4] = {whole || share == BY_NOBODY || share == BY_HEADS ? BATCH : 1,
                              whole || share == BY_NOBODY ? HEADS : 1, whole || share != BY_QUERIES ? QUERIES : 1,
                              KEYS * step};
    array_create(mask, ATTN_BOOL, 4, shape, LAYOUT_PLAIN, NULL);
    for (int64_t b = 0; b < shape[0]; b++) {
        for (int64_t h = 0; h < shape[1]; h++) {
            for (int64_t i = 0; i < shape[2]; i++) {
                for (int64_t j = 0; j < KEYS; j++) {
                    const int64_t at = lie == BACKWARDS ? KEYS - 1 - j : j * step;
                    array_set(mask, ((b * shape[1] + h) * shape[2] + i) * shape[3] + at,
                              shows(share, s->group, b, h, i, j));
                }
            }
        }
    }
    mask->tensor.shape[3] = KEYS;
    mask->tensor.stride[3] = lie == BACKWARDS ? -1 : step;
    if (lie == BACKWARDS) mask->tensor.data = (uint8_t *)mask->tensor.data + KEYS - 1;
}

static void forward(struct scene *s, const struct array *mask, int to, bool weights)
{
    attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
    args.query = &s->query.tensor;
    args.key = &s->key.tensor;
    args.value = &s->value.tensor;
    args.mask = &mask->tensor;
    args.context = &s->context[to].tensor;
    args.weights = weights ? &s->weights[to].tensor : NULL;
    args.logsumexp = &s->logsumexp[to].tensor;
    MUST(attn_forward(s->mechanism, &args));
}

/* Context and weights of one row by their definition. */
static void check_row(const struct scene *s, enum share share, int64_t row, bool weights)
{
    const int64_t b = row / (HEADS * QUERIES), head = row / QUERIES % HEADS, query = row % QUERIES;
    const int64_t first = (b * (HEADS / s->group) + head / s->group) * KEYS; /* of the head's keys */
    double weight[KEYS], sum = 0;
    for (int64_t j = 0; j < KEYS; j++) {
        double score = 0;
        for (int64_t d = 0; d < DIM; d++) {
            score += array_get(&s->query, row * DIM + d) * array_get(&s->key, (first + j) * DIM + d);
        }
        weight[j] = shows(share, s->group, b, head, query, j) ? exp(score) : 0;
        sum += weight[j];
    }
    for (int64_t j = 0; j < KEYS && weights; j++) {
        const double want = sum == 0 ? 0 : weight[j] / sum;
        assert_true(fabs(array_get(&s->weights[0], row * KEYS + j) - want) <= 1e-5 * want);
    }
    for (int64_t d = 0; d < DIM; d++) {
        double want = 0;
        for (int64_t j = 0; j < KEYS; j++) want += weight[j] * array_get(&s->value, (first + j) * DIM + d);
        assert_true(fabs(array_get(&s->context[0], row * DIM + d) - (sum == 0 ? 0 : want / sum)) <= 1e-5);
    }
}

static void check(int64_t group, enum share share, bool weights)
{
    struct scene s = {.group = group};
    struct rng rng = {5};
    const int64_t query[4] = {BATCH, HEADS, QUERIES, DIM}, key[4] = {BATCH, HEADS / group, KEYS, DIM};
    const int64_t scores[4] = {BATCH, HEADS, QUERIES, KEYS};
    array_create(&s.query, ATTN_F32, 4, query, LAYOUT_PLAIN, NULL);
    array_create(&s.key, ATTN_F32, 4, key, LAYOUT_PLAIN, NULL);
    array_create(&s.value, ATTN_F32, 4, key, LAYOUT_PLAIN, NULL);
    for (int i = 0; i < 2; i++) {
        array_create(&s.context[i], ATTN_F32, 4, query, LAYOUT_PLAIN, NULL);
        array_create(&s.weights[i], ATTN_F32, 4, scores, LAYOUT_PLAIN, NULL);
        array_create(&s.logsumexp[i], ATTN_F32, 3, query, LAYOUT_PLAIN, NULL);
    }
    array_fill_normal(&s.query, &rng, 1);
    array_fill_normal(&s.key, &rng, 0.5);
    array_fill_normal(&s.value, &rng, 1);
    MUST(attn_mechanism_create_dot(engine, &s.mechanism));

    make_mask(&s.whole, &s, share, true, PLAIN);
    forward(&s, &s.whole, 0, weights);
    for (int64_t row = 0; row < ROWS; row += 7) check_row(&s, share, row, weights);
    for (int lie = 0; lie < LIES; lie++) {
        make_mask(&s.shared, &s, share, false, (enum lie)lie);
        forward(&s, &s.shared, 1, weights);
        assert_true(array_same_bits(&s.context[0], &s.context[1], 0, ROWS * DIM));
        assert_true(array_same_bits(&s.logsumexp[0], &s.logsumexp[1], 0, ROWS));
        if (weights) assert_true(array_same_bits(&s.weights[0], &s.weights[1], 0, (int64_t)ROWS * KEYS));
        array_destroy(&s.shared);
    }

    struct array *arrays[] = {&s.query,      &s.key,        &s.value,      &s.whole,        &s.context[0],
                              &s.context[1], &s.weights[0], &s.weights[1], &s.logsumexp[0], &s.logsumexp[1]};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) array_destroy(arrays[i]);
    attn_mechanism_destroy(s.mechanism);
}

static void a_shared_mask_of_blocks_is_the_mask_of_each_head(void **state)
{
    (void)state;
    for (int64_t group = 1; group <= HEADS; group *= 2) {
        for (int share = 0; share < SHARES; share++) {
            check(group, (enum share)share, false);
            check(group, (enum share)share, true);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_shared_mask_of_blocks_is_the_mask_of_each_head)};
    return cmocka_run_group_tests_name("masks", tests, engine_setup, engine_teardown);
}
