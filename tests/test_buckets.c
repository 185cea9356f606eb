/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_buckets.c: T5's buckets of distances against exact arithmetic, for every number of them up to 64 and every
 * greatest distance up to 1024; what one direction of them is serves both kinds.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "call/relative.h"

enum { MOST_BUCKETS = 64, MOST_DISTANCE = 1024, LIMBS = 24 };

/* A whole number that is not negative, in pieces of 32 bits, the lowest first. */
struct whole {
    int used;
    uint32_t limb[LIMBS];
};

static void multiply(struct whole *n, uint32_t by)
{
    uint64_t carry = 0;
    for (int i = 0; i < n->used; i++) {
        carry += (uint64_t)n->limb[i] * by;
        n->limb[i] = (uint32_t)carry;
        carry >>= 32;
    }
    if (carry == 0) return;
    assert_true(n->used < LIMBS);
    n->limb[n->used++] = (uint32_t)carry;
}

/* a^m b^n */
static struct whole powers(int64_t a, int64_t m, int64_t b, int64_t n)
{
    struct whole product = {1, {1}};
    for (int64_t i = 0; i < m; i++) multiply(&product, (uint32_t)a);
    for (int64_t i = 0; i < n; i++) multiply(&product, (uint32_t)b);
    return product;
}

static int at_least(const struct whole *a, const struct whole *b)
{
    if (a->used != b->used) return a->used > b->used;
    for (int i = a->used - 1; i >= 0; i--) {
        if (a->limb[i] != b->limb[i]) return a->limb[i] > b->limb[i];
    }
    return 1;
}

/* The least distance in the bucket k after the exact ones: (d / exact)^others >= (most / exact)^k. */
static int64_t least_distance(int64_t exact, int64_t others, int64_t most, int64_t k)
{
    const struct whole right = powers(most, k, exact, others);
    int64_t d = (int64_t)((double)exact * pow((double)most / (double)exact, (double)k / (double)others)) - 1;
    for (d = d < exact ? exact : d;; d++) {
        const struct whole left = powers(d, others, exact, k);
        if (at_least(&left, &right)) return d;
    }
}

static void each_distance_has_the_bucket_of_exact_arithmetic(void **state)
{
    (void)state;
    for (int64_t buckets = 2; buckets <= MOST_BUCKETS; buckets++) {
        const int64_t exact = buckets / 2, others = buckets - exact;
        for (int64_t most = exact + 1; most <= MOST_DISTANCE; most++) {
            int64_t distance = 0;
            for (int64_t k = 0; k < others; k++) {
                /* Up to where the next one begins. */
                const int64_t end = k + 1 < others ? least_distance(exact, others, most, k + 1) : most + 2;
                for (; distance < end; distance++) {
                    const int64_t want = distance < exact ? distance : exact + k;
                    const int64_t got = attn_i_relative_bucket(distance, buckets, most);
                    if (got == want) continue;
                    fail_msg("of %d buckets up to %d, distance %d has bucket %d, not %d", (int)buckets, (int)most,
                             (int)distance, (int)got, (int)want);
                }
            }
        }
    }
}

/* 11 buckets share 22 doublings of 11: each begins after two of them. */
static void a_distance_where_a_bucket_begins_is_in_it_at_any_size(void **state)
{
    (void)state;
    for (int64_t doublings = 2; doublings < 22; doublings += 2) {
        const int64_t distance = INT64_C(11) << doublings, most = INT64_C(11) << 22, bucket = 11 + doublings / 2;
        assert_int_equal(attn_i_relative_bucket(distance, 22, most), bucket);
        assert_int_equal(attn_i_relative_bucket(distance - 1, 22, most), bucket - 1);
    }
    assert_int_equal(attn_i_relative_bucket(10, 10, 160), 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_distance_has_the_bucket_of_exact_arithmetic),
                                       cmocka_unit_test(a_distance_where_a_bucket_begins_is_in_it_at_any_size)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
