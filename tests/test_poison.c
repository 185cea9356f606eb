/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_poison.c: values that are infinite or NaN, in every way in which values can lie and over more keys than one tile
 * of the context's product: hidden, they change no bit; seen, they reach the dimensions that they are in and no other.
 */
#include "support.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Many keys; and few keys with wide values. */
struct size {
    int64_t keys, dim, hidden, seen;
};
static const struct size many_keys = {5000, 6, 4100, 2500}, wide_values = {100, 300, 41, 25};

enum { POISONED_DIM = 4 };

struct scene {
    struct size size;
    struct array query, key, value, mask, context, lone;
    attn_mechanism *mechanism;
};

/* How values lie: row after row; by columns; with gaps between elements, which no BLAS reads; between rows, which it
 * does. */
enum layout { ROWS, COLUMNS, SPREAD, GAPPED_ROWS, LAYOUTS };

/* queries x keys, the hidden key masked for all. */
static void create(struct scene *s, struct size size, attn_dtype dtype, int64_t queries, enum layout layout)
{
    s->size = size;
    struct rng rng = {7};
    const int64_t query[2] = {queries, size.dim}, key[2] = {size.keys, size.dim}, mask[2] = {1, size.keys};
    const int64_t turned[2] = {size.dim, size.keys}, wide[2] = {size.keys, 2 * size.dim};
    array_create(&s->query, dtype, 2, query, LAYOUT_PLAIN, NULL);
    array_create(&s->key, dtype, 2, key, LAYOUT_PLAIN, NULL);
    array_create(&s->value, dtype, 2, layout == COLUMNS ? turned : layout == ROWS ? key : wide, LAYOUT_PLAIN, NULL);
    array_create(&s->mask, ATTN_BOOL, 2, mask, LAYOUT_PLAIN, NULL);
    array_create(&s->context, dtype, 2, query, LAYOUT_PLAIN, NULL);
    array_create(&s->lone, dtype, 2, query, LAYOUT_PLAIN, NULL);
    if (layout == COLUMNS) {
        s->value.tensor.stride[0] = 1;
        s->value.tensor.stride[1] = size.keys;
    } else if (layout == SPREAD) {
        s->value.tensor.stride[1] = 2;
    }
    memcpy(s->value.tensor.shape, key, sizeof key);
    array_fill_normal(&s->query, &rng, 1);
    array_fill_normal(&s->key, &rng, 0.2); /* flat: every key has a weight that counts */
    array_fill_normal(&s->value, &rng, 1);
    for (int64_t j = 0; j < size.keys; j++) array_set(&s->mask, j, j != size.hidden);
    MUST(attn_mechanism_create_dot(engine, &s->mechanism));
}

static void destroy(struct scene *s)
{
    struct array *arrays[] = {&s->query, &s->key, &s->value, &s->mask, &s->context, &s->lone};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) array_destroy(arrays[i]);
    attn_mechanism_destroy(s->mechanism);
}

static void forward(struct scene *s, const struct array *context)
{
    attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
    args.query = &s->query.tensor;
    args.key = &s->key.tensor;
    args.value = &s->value.tensor;
    args.mask = &s->mask.tensor;
    args.context = &context->tensor;
    MUST(attn_forward(s->mechanism, &args));
}

static void check(struct size size, attn_dtype dtype, int64_t queries, enum layout layout, double poison)
{
    struct scene s;
    create(&s, size, dtype, queries, layout);
    forward(&s, &s.lone);
    for (int64_t d = 0; d < size.dim; d++) array_set(&s.value, size.hidden * size.dim + d, poison);
    forward(&s, &s.context);
    assert_true(array_same_bits(&s.context, &s.lone, 0, queries * size.dim));

    /* A second one, that is seen, in one dimension. */
    array_set(&s.value, size.seen * size.dim + POISONED_DIM, poison);
    forward(&s, &s.context);
    for (int64_t i = 0; i < queries; i++) {
        for (int64_t d = 0; d < size.dim; d++) {
            const double got = array_get(&s.context, i * size.dim + d);
            if (d != POISONED_DIM) {
                assert_true(array_same_bits(&s.context, &s.lone, i * size.dim + d, 1));
            } else {
                assert_true(isnan(poison) ? isnan(got) : got == poison);
            }
        }
    }
    destroy(&s);
}

static void hidden_poison_changes_no_bit_and_seen_poison_stays_in_its_dimension(void **state)
{
    (void)state;
    const double poisons[] = {NAN, INFINITY, -INFINITY};
    const int64_t queries[] = {1, 2, 37};
    for (attn_dtype dtype = ATTN_F32; dtype <= ATTN_F64; dtype++) {
        for (int q = 0; q < 3; q++) {
            for (int layout = 0; layout < LAYOUTS; layout++) {
                for (int p = 0; p < 3; p++) {
                    check(many_keys, dtype, queries[q], (enum layout)layout, poisons[p]);
                    check(wide_values, dtype, queries[q], (enum layout)layout, poisons[p]);
                }
            }
        }
    }
}

/* A product of minus infinity hides a key like a mask does. Nothing else is infinite: all other keys have a 0 where the
 * query is large. */
static void score_of_minus_infinity_hides_poison(void **state)
{
    (void)state;
    const struct size sizes[] = {many_keys, wide_values};
    const int64_t queries[] = {1, 2, 37, 64}; /* an unused lane is 0, and minus infinity times 0 another way */
    for (attn_dtype dtype = ATTN_F32; dtype <= ATTN_F64; dtype++) {
        for (int q = 0; q < 4; q++) {
            for (int i = 0; i < 2; i++) {
                struct scene s;
                create(&s, sizes[i], dtype, queries[q], ROWS);
                array_set(&s.mask, sizes[i].hidden, 1);
                for (int64_t j = 0; j < sizes[i].keys; j++) array_set(&s.key, j * sizes[i].dim, 0);
                for (int64_t t = 0; t < queries[q]; t++) array_set(&s.query, t * sizes[i].dim, 1e4);
                array_set(&s.key, sizes[i].hidden * sizes[i].dim, -INFINITY);
                forward(&s, &s.lone);
                for (int64_t d = 0; d < sizes[i].dim; d++) {
                    array_set(&s.value, sizes[i].hidden * sizes[i].dim + d, d % 2 ? NAN : INFINITY);
                }
                forward(&s, &s.context);
                assert_true(isfinite(array_get(&s.lone, 0)));
                assert_true(array_same_bits(&s.context, &s.lone, 0, queries[q] * sizes[i].dim));
                destroy(&s);
            }
        }
    }
}

/* A weight that has underflowed is no hidden key: 0 times infinity is NaN, as the formula says. */
static void poison_reaches_a_query_through_a_weight_of_zero(void **state)
{
    (void)state;
    struct scene s;
    create(&s, many_keys, ATTN_F32, 1, ROWS);
    for (int64_t d = 0; d < many_keys.dim; d++) array_set(&s.query, d, 1000.0);
    for (int64_t d = 0; d < many_keys.dim; d++) array_set(&s.key, many_keys.seen * many_keys.dim + d, -1000.0);
    array_set(&s.value, many_keys.seen * many_keys.dim + POISONED_DIM, INFINITY);
    forward(&s, &s.context);
    for (int64_t d = 0; d < many_keys.dim; d++) assert_true(isnan(array_get(&s.context, d)) == (d == POISONED_DIM));
    destroy(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hidden_poison_changes_no_bit_and_seen_poison_stays_in_its_dimension),
        cmocka_unit_test(score_of_minus_infinity_hides_poison),
        cmocka_unit_test(poison_reaches_a_query_through_a_weight_of_zero),
    };
    return cmocka_run_group_tests_name("poison", tests, engine_setup, engine_teardown);
}
