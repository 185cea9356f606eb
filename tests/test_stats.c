/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_stats.c: what a call tells of its weights (attn_weights_stats), by hand: what has an exact answer, or must not
 * be seen in it. test_stats_twin.c has the twin.
 */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "own_means.h"
#include "support.h"

static void assert_within(double got, double want, double room)
{
    if (!(fabs(got - want) <= room)) fail_msg("%.17g is not within %g of %.17g", got, room, want);
}

/* A call of scaled dot attention, contiguous, with stats alone but for the context. */
struct call {
    struct dims n;
    struct array query, key, value, mask, context, entropy, strongest, sums;
    attn_mechanism *mechanism;
    attn_weights_stats stats;
    attn_forward_args args;
};

static void call_create_on(struct call *c, attn_engine *on, attn_dtype dtype, struct dims n)
{
    const int64_t query[4] = {n.batch, n.query_heads, n.queries, n.dim}, key[4] = {n.batch, n.key_heads, n.keys, n.dim};
    const int64_t value[4] = {n.batch, n.key_heads, n.keys, n.value_dim};
    const int64_t context[4] = {n.batch, n.query_heads, n.queries, n.value_dim};
    const int64_t mask[4] = {n.batch, n.query_heads, n.queries, n.keys};
    const int64_t rows[3] = {n.batch, n.query_heads, n.queries}, keys[3] = {n.batch, n.query_heads, n.keys};
    struct rng rng = {n.keys > 0 ? (uint64_t)n.keys : 1};
    c->n = n;
    array_create(&c->query, dtype, 4, query, LAYOUT_PLAIN, NULL);
    array_create(&c->key, dtype, 4, key, LAYOUT_PLAIN, NULL);
    array_create(&c->value, dtype, 4, value, LAYOUT_PLAIN, NULL);
    array_create(&c->mask, ATTN_BOOL, 4, mask, LAYOUT_PLAIN, NULL);
    array_create(&c->context, dtype, 4, context, LAYOUT_PLAIN, NULL);
    array_create(&c->entropy, dtype, 3, rows, LAYOUT_PLAIN, NULL);
    array_create(&c->strongest, ATTN_I64, 3, rows, LAYOUT_PLAIN, NULL);
    array_create(&c->sums, dtype, 3, keys, LAYOUT_PLAIN, NULL);
    array_fill_normal(&c->query, &rng, 1);
    array_fill_normal(&c->key, &rng, 1);
    array_fill_normal(&c->value, &rng, 1);
    array_fill(&c->mask, 1);
    MUST(attn_mechanism_create_scaled_dot(on, &c->mechanism));
    c->stats = (attn_weights_stats)ATTN_WEIGHTS_STATS_INIT;
    c->stats.entropy = &c->entropy.tensor;
    c->stats.strongest = &c->strongest.tensor;
    c->stats.key_sums = &c->sums.tensor;
    c->args = (attn_forward_args)ATTN_FORWARD_ARGS_INIT;
    c->args.query = &c->query.tensor;
    c->args.key = &c->key.tensor;
    c->args.value = &c->value.tensor;
    c->args.context = &c->context.tensor;
    c->args.stats = &c->stats;
}

static void call_create(struct call *c, attn_dtype dtype, struct dims n)
{
    call_create_on(c, engine, dtype, n);
}

static void call_destroy(struct call *c)
{
    struct array *all[] = {&c->query, &c->key, &c->value, &c->mask, &c->context, &c->entropy, &c->strongest, &c->sums};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) array_destroy(all[i]);
    attn_mechanism_destroy(c->mechanism);
}

static const attn_dtype dtypes[] = {ATTN_F32, ATTN_F64};
#define FOR_EACH_DTYPE(d) for (const attn_dtype *d = dtypes; d < dtypes + 2; d++)

/* Few queries, tiles, parts of keys, and groups. */
static const struct dims many_dims[] = {{1, 1, 1, 1, 300, 8, 4},    {2, 4, 2, 2, 2500, 8, 4}, {1, 2, 2, 70, 300, 8, 4},
                                        {1, 1, 1, 20, 1500, 8, 4},  {1, 6, 2, 33, 140, 8, 4}, {1, 70, 1, 3, 40, 8, 4},
                                        {1, 2, 2, 70, 100, 8, 300}, {1, 8, 1, 1, 9, 8, 4}};
#define FOR_EACH_DIMS(n)                                                                                               \
    for (const struct dims *n = many_dims; n < many_dims + sizeof many_dims / sizeof *many_dims; n++)

static void equal_keys_share_their_weight_evenly(void **state)
{
    (void)state;
    FOR_EACH_DTYPE(dtype)
    {
        FOR_EACH_DIMS(n)
        {
            struct call c;
            call_create(&c, *dtype, *n);
            array_fill(&c.key, 0.25);
            MUST(attn_forward(c.mechanism, &c.args));
            const double room = 16 * dtype_epsilon(*dtype);
            for (int64_t i = 0; i < array_count(&c.entropy); i++) {
                assert_int_equal((int64_t)array_get(&c.strongest, i), 0);
                assert_within(array_get(&c.entropy, i), log((double)n->keys), room * log((double)n->keys));
            }
            for (int64_t j = 0; j < array_count(&c.sums); j++) {
                const double want = (double)n->queries / (double)n->keys;
                assert_within(array_get(&c.sums, j), want, room * want);
            }
            call_destroy(&c);
        }
    }
}

/* A key that stands out, twice: the first of the two is told, wherever tiles, their pieces, blocks and parts begin. */
static void the_first_of_equals_is_the_strongest(void **state)
{
    static const int64_t at[] = {0, 1, 15, 16, 31, 32, 127, 128, 255, 256, 299, 1023, 1024, 1499, 2400};
    (void)state;
    FOR_EACH_DTYPE(dtype)
    {
        FOR_EACH_DIMS(n)
        {
            struct call c;
            call_create(&c, *dtype, *n);
            array_fill(&c.query, 1);
            for (size_t k = 0; k < sizeof at / sizeof *at; k++) {
                const int64_t first = at[k], second = (first + n->keys) / 2 + 1;
                if (second >= n->keys) continue;
                array_fill(&c.key, 0.25);
                array_poison(&c.key, first, 4);
                array_poison(&c.key, second, 4);
                for (int causal = 0; causal < 2; causal++) {
                    MUST(attn_mechanism_set_causal(c.mechanism, causal ? ATTN_ALIGN_BOTTOM_RIGHT : ATTN_ALIGN_NONE));
                    MUST(attn_forward(c.mechanism, &c.args));
                    for (int64_t i = 0; i < array_count(&c.strongest); i++) {
                        const int64_t last = n->keys - n->queries + i % n->queries;
                        const int64_t want = causal && last < first ? last < 0 ? -1 : 0 : first;
                        assert_int_equal((int64_t)array_get(&c.strongest, i), want);
                    }
                }
            }
            call_destroy(&c);
        }
    }
}

static void rows_that_see_nothing_say_nothing(void **state)
{
    (void)state;
    FOR_EACH_DTYPE(dtype)
    {
        FOR_EACH_DIMS(n)
        {
            struct call c;
            call_create(&c, *dtype, *n);
            for (int64_t row = 0; row < array_count(&c.entropy); row += 2) {
                for (int64_t j = 0; j < n->keys; j++) array_set(&c.mask, row * n->keys + j, 0);
            }
            c.args.mask = &c.mask.tensor;
            MUST(attn_forward(c.mechanism, &c.args));
            double rows = 0, sums = 0;
            for (int64_t i = 0; i < array_count(&c.entropy); i++) {
                if (i % 2 == 0) assert_true(array_get(&c.entropy, i) == 0 && array_get(&c.strongest, i) == -1);
                if (i % 2 != 0) assert_true(array_get(&c.entropy, i) > 0 && array_get(&c.strongest, i) >= 0);
                rows += (double)(i % 2);
            }
            for (int64_t j = 0; j < array_count(&c.sums); j++) sums += array_get(&c.sums, j);
            assert_within(sums, rows, 16 * dtype_epsilon(*dtype) * (rows + 1));

            array_fill(&c.mask, 0);
            MUST(attn_forward(c.mechanism, &c.args));
            for (int64_t j = 0; j < array_count(&c.sums); j++) assert_true(array_get(&c.sums, j) == 0);
            call_destroy(&c);
        }
    }
}

static void a_call_without_queries_sums_nothing(void **state)
{
    (void)state;
    FOR_EACH_DTYPE(dtype)
    {
        struct call c;
        call_create(&c, *dtype, (struct dims){2, 4, 2, 0, 37, 8, 4});
        c.args.context = NULL;
        size_t bytes = 1;
        MUST(attn_forward_workspace(c.mechanism, &c.args, &bytes));
        assert_int_equal(bytes, 0);
        MUST(attn_forward(c.mechanism, &c.args));
        for (int64_t j = 0; j < array_count(&c.sums); j++) assert_true(array_get(&c.sums, j) == 0);
        call_destroy(&c);
    }
}

/* What the types cannot tell from log 3 and 0: three keys far above all others, whatever "far" is. */
static void great_scores_have_their_entropy(void **state)
{
    static const double sizes[] = {0x1p10, 0x1p20, 0x1p50, 0x1p100, 0x1p122}; /* whose sums are exact */
    (void)state;
    FOR_EACH_DTYPE(dtype)
    {
        FOR_EACH_DIMS(n)
        {
            struct call c;
            call_create(&c, *dtype, *n);
            array_fill(&c.query, 1);
            array_fill(&c.value, *dtype == ATTN_F32 ? 3e38 : 1.7e308); /* two of which are more than there is */
            for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
                for (int taus = 0; taus < 2; taus++) {
                    MUST(attn_mechanism_set_temperature(c.mechanism, taus == 0 ? 1 : 1e-3));
                    array_fill(&c.key, -sizes[k]);
                    array_poison(&c.key, n->keys - 1, sizes[k]);
                    array_poison(&c.key, n->keys / 2 + 1, sizes[k]);
                    array_poison(&c.key, n->keys / 2, sizes[k]);
                    MUST(attn_forward(c.mechanism, &c.args));
                    for (int64_t i = 0; i < array_count(&c.entropy); i++) {
                        assert_int_equal((int64_t)array_get(&c.strongest, i), n->keys / 2);
                        assert_within(array_get(&c.entropy, i), log(3), 16 * dtype_epsilon(*dtype));
                    }
                    for (int64_t j = 0; j < array_count(&c.sums); j++) {
                        const int64_t key = j % n->keys, middle = n->keys / 2;
                        const int is_great = key == middle || key == middle + 1 || key == n->keys - 1;
                        const double third = (double)n->queries / 3;
                        assert_within(array_get(&c.sums, j), is_great ? third : 0, 16 * dtype_epsilon(*dtype) * third);
                    }
                    array_poison(&c.key, n->keys / 2 + 1, -sizes[k]); /* and one alone */
                    array_poison(&c.key, n->keys - 1, -sizes[k]);
                    MUST(attn_forward(c.mechanism, &c.args));
                    for (int64_t i = 0; i < array_count(&c.entropy); i++) {
                        assert_in_range((int64_t)(array_get(&c.entropy, i) * 1e6), 0, 3);
                    }
                }
            }
            call_destroy(&c);
        }
    }
}

/* Values past what their sum can hold make the pass run again by other references. */
static void values_have_no_say(void **state)
{
    (void)state;
    FOR_EACH_DTYPE(dtype)
    {
        FOR_EACH_DIMS(n)
        {
            struct call c, d;
            call_create(&c, *dtype, *n);
            call_create(&d, *dtype, *n);
            array_fill(&d.value, *dtype == ATTN_F32 ? 3e38 : 1.7e308);
            MUST(attn_forward(c.mechanism, &c.args));
            MUST(attn_forward(d.mechanism, &d.args));
            const double room = 16 * dtype_epsilon(*dtype);
            for (int64_t i = 0; i < array_count(&c.entropy); i++) {
                const double want = array_get(&c.entropy, i);
                assert_within(array_get(&d.entropy, i), want, room * (1 + want));
                assert_true(array_get(&d.strongest, i) == array_get(&c.strongest, i));
            }
            for (int64_t j = 0; j < array_count(&c.sums); j++) {
                const double want = array_get(&c.sums, j);
                assert_within(array_get(&d.sums, j), want, room * (1 + want));
            }
            call_destroy(&c);
            call_destroy(&d);
        }
    }
}

static void assert_same_stats(const struct call *a, const struct call *b)
{
    assert_true(array_same_bits(&a->entropy, &b->entropy, 0, array_count(&a->entropy)));
    assert_true(array_same_bits(&a->strongest, &b->strongest, 0, array_count(&a->strongest)));
    assert_true(array_same_bits(&a->sums, &b->sums, 0, array_count(&a->sums)));
}

static void hidden_keys_change_no_bit(void **state)
{
    static const double poisons[] = {NAN, INFINITY, -INFINITY, 3e38};
    (void)state;
    FOR_EACH_DTYPE(dtype)
    {
        FOR_EACH_DIMS(n)
        {
            for (size_t k = 0; k < sizeof poisons / sizeof *poisons; k++) {
                struct call c, d;
                call_create(&c, *dtype, *n);
                call_create(&d, *dtype, *n);
                for (int64_t row = 0; row < array_count(&c.entropy); row++) {
                    array_set(&c.mask, row * n->keys + n->keys / 3, 0);
                    array_set(&d.mask, row * n->keys + n->keys / 3, 0);
                }
                c.args.mask = &c.mask.tensor;
                d.args.mask = &d.mask.tensor;
                array_poison(&d.key, n->keys / 3, poisons[k]);
                array_poison(&d.value, n->keys / 3, poisons[k]);
                MUST(attn_forward(c.mechanism, &c.args));
                MUST(attn_forward(d.mechanism, &d.args));
                assert_same_stats(&c, &d);
                call_destroy(&c);
                call_destroy(&d);
            }
        }
    }
}

/* A NaN in a score that is seen makes that row's stats NaN, and the sums of what it sees, of its own head; no others.
 */
static void a_nan_that_is_seen_stays_where_it_is(void **state)
{
    (void)state;
    FOR_EACH_DTYPE(dtype)
    {
        FOR_EACH_DIMS(n)
        {
            struct call c;
            call_create(&c, *dtype, *n);
            const int64_t rows = array_count(&c.entropy), poisoned = rows - 1, hidden = n->keys - 1;
            for (int64_t d = 0; d < n->dim; d++) array_set(&c.query, poisoned * n->dim + d, NAN);
            for (int64_t row = 0; row < rows; row++) array_set(&c.mask, row * n->keys + hidden, row != poisoned);
            c.args.mask = &c.mask.tensor;
            MUST(attn_forward(c.mechanism, &c.args));
            for (int64_t i = 0; i < rows; i++) {
                assert_int_equal(isnan(array_get(&c.entropy, i)) != 0, i == poisoned);
                assert_int_equal(array_get(&c.strongest, i) == -1, i == poisoned);
            }
            for (int64_t j = 0; j < array_count(&c.sums); j++) {
                const int own = j / n->keys == poisoned / n->queries;
                assert_int_equal(isnan(array_get(&c.sums, j)) != 0, own && j % n->keys != hidden);
            }
            call_destroy(&c);
        }
    }
}

static void dropout_comes_after(void **state)
{
    (void)state;
    FOR_EACH_DTYPE(dtype)
    {
        FOR_EACH_DIMS(n)
        {
            for (int hard = 0; hard < 2; hard++) {
                struct call c, d;
                call_create(&c, *dtype, *n);
                call_create(&d, *dtype, *n);
                d.args.dropout = 0.5;
                d.args.dropout_seed = 7;
                if (hard) {
                    MUST(attn_mechanism_set_normaliser(c.mechanism, ATTN_HARDMAX));
                    MUST(attn_mechanism_set_normaliser(d.mechanism, ATTN_HARDMAX));
                }
                MUST(attn_forward(c.mechanism, &c.args));
                MUST(attn_forward(d.mechanism, &d.args));
                const double room = 16 * dtype_epsilon(*dtype);
                for (int64_t i = 0; i < array_count(&c.entropy); i++) { /* few queries go another way then */
                    const double want = array_get(&c.entropy, i);
                    assert_within(array_get(&d.entropy, i), want, room * (1 + want));
                    assert_true(!hard || want == 0);
                    assert_true(array_get(&d.strongest, i) == array_get(&c.strongest, i));
                }
                for (int64_t j = 0; j < array_count(&c.sums); j++) {
                    const double want = array_get(&c.sums, j);
                    assert_within(array_get(&d.sums, j), want, room * (1 + want));
                }
                call_destroy(&c);
                call_destroy(&d);
            }
        }
    }
}

/* ------------------------------------------------------------------------------------------------- means */

static attn_status run_on(attn_engine *on, void *data)
{
    struct call *c = data;
    attn_mechanism *mechanism = NULL;
    attn_status status = attn_mechanism_create_scaled_dot(on, &mechanism);
    if (status == ATTN_OK) status = attn_mechanism_set_causal(mechanism, ATTN_ALIGN_BOTTOM_RIGHT);
    if (status == ATTN_OK) status = attn_forward(mechanism, &c->args);
    attn_mechanism_destroy(mechanism);
    return status;
}

static const struct dims cut_dims[] = {{2, 8, 4, 70, 300, 24, 20},  {1, 1, 1, 200, 4100, 32, 33},
                                       {2, 4, 2, 3, 5000, 64, 47},  {1, 1, 1, 700, 900, 32, 32},
                                       {1, 70, 1, 5, 1300, 16, 16}, {3, 4, 4, 1, 900, 64, 64}};
#define FOR_EACH_CUT(n) for (const struct dims *n = cut_dims; n < cut_dims + sizeof cut_dims / sizeof *cut_dims; n++)

static void threads_change_no_bit(void **state)
{
    (void)state;
    FOR_EACH_DTYPE(dtype)
    {
        FOR_EACH_CUT(n)
        {
            struct call c;
            call_create(&c, *dtype, *n);
            struct own_call call = {run_on, &c, {&c.context, &c.entropy, &c.strongest, &c.sums, NULL}};
            assert_threads_change_no_bit(&call);
            call_destroy(&c);
        }
    }
}

static void failures_touch_nothing(void **state)
{
    (void)state;
    FOR_EACH_DTYPE(dtype)
    {
        FOR_EACH_CUT(n)
        {
            struct call c;
            call_create(&c, *dtype, *n);
            struct own_call call = {run_on, &c, {&c.context, &c.entropy, &c.strongest, &c.sums, NULL}};
            assert_true(assert_failures_touch_nothing(&call) >= 1);
            call_destroy(&c);
        }
    }
}

/* Nothing of Tq x Tk: four times the queries and keys take about four times the scratch, far less than their scores. */
static void scratch_does_not_grow_with_the_scores(void **state)
{
    (void)state;
    FOR_EACH_DTYPE(dtype)
    {
        size_t bytes = 0;
        const int64_t length = 16384;
        struct call c;
        call_create(&c, *dtype, (struct dims){1, 1, 1, 1, 1, 8, 8});
        const int64_t query[4] = {1, 1, length, 8}, rows[3] = {1, 1, length};
        attn_tensor q, k, out, entropy, strongest, sums;
        MUST(attn_tensor_init(&q, c.query.tensor.data, *dtype, 4, query));
        MUST(attn_tensor_init(&k, c.key.tensor.data, *dtype, 4, query));
        MUST(attn_tensor_init(&out, (char *)1024, *dtype, 4, query));
        MUST(attn_tensor_init(&entropy, (char *)(1 << 24), *dtype, 3, rows));
        MUST(attn_tensor_init(&strongest, (char *)(1 << 25), ATTN_I64, 3, rows));
        MUST(attn_tensor_init(&sums, (char *)(1 << 26), *dtype, 3, rows));
        c.args.query = &q, c.args.key = &k, c.args.value = NULL, c.args.context = &out;
        c.stats.entropy = &entropy, c.stats.strongest = &strongest, c.stats.key_sums = &sums;
        MUST(attn_forward_workspace(c.mechanism, &c.args, &bytes));
        assert_in_range(bytes, 1, 16 << 20);
        call_destroy(&c);
    }
}

/* ---------------------------------------------------------------------------------------------- refused */

static void refused(struct call *c, attn_status status, const char *words)
{
    size_t bytes;
    assert_int_equal(attn_forward(c->mechanism, &c->args), status);
    if (strstr(attn_last_error(), words) == NULL) fail_msg("\"%s\" lacks \"%s\"", attn_last_error(), words);
    assert_int_equal(attn_forward_workspace(c->mechanism, &c->args, &bytes), status);
}

static void what_is_wrong_is_refused_in_words(void **state)
{
    struct call c;
    (void)state;
    call_create(&c, ATTN_F32, (struct dims){2, 4, 2, 3, 5, 8, 8});
    const attn_weights_stats good = c.stats;
    const attn_forward_args args = c.args;
    struct {
        attn_weights_stats stats;
        unsigned char tail[8];
    } longer = {.stats = good, .tail = {1}};
    attn_tensor wrong;
    attn_status status;

    c.stats.struct_size = 0;
    refused(&c, ATTN_ERR_STRUCT_SIZE, "stats: struct_size is 0");
    c.stats = good, c.stats.struct_size--;
    refused(&c, ATTN_ERR_STRUCT_SIZE, "attn_weights_stats");
    longer.stats.struct_size += (uint32_t)sizeof longer.tail, c.args.stats = &longer.stats;
    refused(&c, ATTN_ERR_STRUCT_SIZE, "does not know");
    memset(longer.tail, 0, sizeof longer.tail);
    MUST(attn_forward(c.mechanism, &c.args));
    c.args = args;
    c.stats = good, c.stats.reserved = 1;
    refused(&c, ATTN_ERR_ARGUMENT, "stats->reserved");
    c.stats = (attn_weights_stats)ATTN_WEIGHTS_STATS_INIT, c.args.context = NULL;
    refused(&c, ATTN_ERR_ARGUMENT, "stats");
    c.args.stats = NULL;
    refused(&c, ATTN_ERR_ARGUMENT, "all NULL");
    c.args = args;

    const struct {
        const attn_tensor **slot, *tensor;
        const char *name;
    } all[] = {{&c.stats.entropy, &c.entropy.tensor, "stats->entropy"},
               {&c.stats.strongest, &c.strongest.tensor, "stats->strongest"},
               {&c.stats.key_sums, &c.sums.tensor, "stats->key_sums"}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        c.stats = good;
        *all[i].slot = &wrong;
        wrong = *all[i].tensor, wrong.shape[2]--;
        refused(&c, status = ATTN_ERR_SHAPE, all[i].name);
        wrong = *all[i].tensor, wrong.ndim = 5;
        refused(&c, status, all[i].name);
        wrong = *all[i].tensor, wrong.dtype = i == 1 ? ATTN_F32 : ATTN_F64;
        wrong.data = (void *)((uintptr_t)c.entropy.tensor.data & ~(uintptr_t)15); /* aligned to either */
        refused(&c, ATTN_ERR_DTYPE, all[i].name);
        wrong = *all[i].tensor, wrong.stride[1] = 0;
        refused(&c, ATTN_ERR_OVERLAP, all[i].name);
        wrong = *all[i].tensor, wrong.data = NULL;
        refused(&c, ATTN_ERR_ARGUMENT, all[i].name);
        wrong = *all[i].tensor, wrong.data = c.key.tensor.data;
        refused(&c, ATTN_ERR_OVERLAP, all[i].name);
        wrong.data = c.context.tensor.data;
        refused(&c, ATTN_ERR_OVERLAP, all[i].name);
    }
    c.stats = good;
    wrong = c.sums.tensor, wrong.data = c.strongest.tensor.data;
    c.stats.key_sums = &wrong;
    refused(&c, ATTN_ERR_OVERLAP, "stats->strongest shares memory with stats->key_sums");
    c.stats = good;
    c.args.workspace = c.sums.tensor.data, c.args.workspace_size = 1 << 30;
    assert_int_equal(attn_forward(c.mechanism, &c.args), ATTN_ERR_OVERLAP);
    c.args = args;
    MUST(attn_forward(c.mechanism, &c.args));
    call_destroy(&c);
}

static void stats_alone_are_a_call(void **state)
{
    (void)state;
    FOR_EACH_DTYPE(dtype)
    {
        FOR_EACH_DIMS(n)
        {
            struct call whole;
            call_create(&whole, *dtype, *n);
            MUST(attn_forward(whole.mechanism, &whole.args));
            for (int i = 0; i < 3; i++) {
                struct call c;
                call_create(&c, *dtype, *n);
                c.args.context = NULL;
                if (i != 0) c.stats.entropy = NULL;
                if (i != 1) c.stats.strongest = NULL;
                if (i != 2) c.stats.key_sums = NULL;
                MUST(attn_forward(c.mechanism, &c.args));
                const struct array *got = i == 0 ? &c.entropy : i == 1 ? &c.strongest : &c.sums;
                const struct array *want = i == 0 ? &whole.entropy : i == 1 ? &whole.strongest : &whole.sums;
                assert_true(array_same_bits(got, want, 0, array_count(want)));
                call_destroy(&c);
            }
            call_destroy(&whole);
        }
    }
}

/* ---------------------------------------------------------------------------------- who calls attn_forward */

static void a_memory_says_what_its_keys_say(void **state)
{
    (void)state;
    FOR_EACH_DTYPE(dtype)
    {
        FOR_EACH_DIMS(n)
        {
            struct call c, d;
            attn_memory_options options = ATTN_MEMORY_OPTIONS_INIT;
            attn_memory *memory = NULL;
            call_create(&c, *dtype, *n);
            call_create(&d, *dtype, *n);
            options.dtype = *dtype;
            options.batch = n->batch, options.key_heads = n->key_heads;
            options.key_dim = n->dim, options.value_dim = n->value_dim;
            MUST(attn_memory_create(d.mechanism, &options, &memory));
            MUST(attn_memory_append(memory, &d.key.tensor, &d.value.tensor, NULL));
            d.args.key = d.args.value = NULL;
            d.args.memory = memory;
            MUST(attn_forward(c.mechanism, &c.args));
            MUST(attn_forward(d.mechanism, &d.args));
            const double room = 16 * dtype_epsilon(*dtype);
            for (int64_t i = 0; i < array_count(&c.entropy); i++) {
                const double want = array_get(&c.entropy, i);
                assert_within(array_get(&d.entropy, i), want, room * (1 + want));
                assert_true(array_get(&d.strongest, i) == array_get(&c.strongest, i));
            }
            for (int64_t j = 0; j < array_count(&c.sums); j++) {
                const double want = array_get(&c.sums, j);
                assert_within(array_get(&d.sums, j), want, room * (1 + want));
            }
            attn_memory_destroy(memory);
            call_destroy(&c);
            call_destroy(&d);
        }
    }
}

static void a_layer_tells_them_of_its_heads(void **state)
{
    (void)state;
    FOR_EACH_DTYPE(dtype)
    {
        enum { T = 9, W = 12, H = 3 };
        struct call c;
        struct array x, output, w[4], query;
        struct rng rng = {5};
        attn_multihead_options options = ATTN_MULTIHEAD_OPTIONS_INIT;
        attn_multihead *layer = NULL;
        attn_multihead_args args = ATTN_MULTIHEAD_ARGS_INIT;
        attn_forward_args heads = ATTN_FORWARD_ARGS_INIT;
        const int64_t rows[3] = {2, T, W}, matrix[2] = {W, W};
        static const char *const names[] = {"W_q", "W_k", "W_v", "W_o"};
        call_create(&c, *dtype, (struct dims){2, H, H, T, T, W / H, W / H});
        options.query_heads = H, options.query_dim = W;
        MUST(attn_multihead_create(c.mechanism, &options, &layer));
        array_create(&x, *dtype, 3, rows, LAYOUT_PLAIN, NULL);
        array_create(&output, *dtype, 3, rows, LAYOUT_PLAIN, NULL);
        array_fill_normal(&x, &rng, 1);
        for (int i = 0; i < 4; i++) {
            array_create(&w[i], *dtype, 2, matrix, LAYOUT_PLAIN, NULL);
            for (int64_t k = 0; k < W * W; k++) array_set(&w[i], k, k % (W + 1) == 0); /* heads are slices of x */
            MUST(attn_multihead_bind_param(layer, names[i], &w[i].tensor));
        }
        heads.stats = &c.stats;
        args.query = &x.tensor, args.output = &output.tensor, args.attention = &heads;
        MUST(attn_multihead_forward(layer, &args));

        struct call d;
        call_create(&d, *dtype, c.n);
        const int64_t by_head[4] = {2, H, T, W / H};
        array_create(&query, *dtype, 4, by_head, LAYOUT_PLAIN, NULL);
        for (int64_t i = 0; i < array_count(&query); i++) {
            const int64_t e = i % (W / H), t = i / (W / H) % T, h = i / (W / H) / T % H, b = i / (W / H) / T / H;
            array_set(&query, i, array_get(&x, (b * T + t) * W + h * (W / H) + e));
        }
        d.args.query = d.args.key = d.args.value = &query.tensor;
        MUST(attn_forward(d.mechanism, &d.args));
        const double room = 16 * dtype_epsilon(*dtype);
        for (int64_t i = 0; i < array_count(&c.entropy); i++) {
            assert_within(array_get(&c.entropy, i), array_get(&d.entropy, i), room * 4);
            assert_true(array_get(&d.strongest, i) == array_get(&c.strongest, i));
            assert_within(array_get(&c.sums, i), array_get(&d.sums, i), room * T);
        }

        /* No queries: zeros. Wrong ones are refused, by their name; backward does not look at them. */
        attn_tensor none = x.tensor, no_output = output.tensor, no_rows = c.entropy.tensor,
                    no_keys = c.strongest.tensor;
        none.shape[1] = no_output.shape[1] = no_rows.shape[2] = no_keys.shape[2] = 0;
        args.query = &none, args.key = &x.tensor, args.output = &no_output;
        c.stats.entropy = &no_rows, c.stats.strongest = &no_keys;
        MUST(attn_multihead_forward(layer, &args));
        for (int64_t i = 0; i < array_count(&c.sums); i++) assert_true(array_get(&c.sums, i) == 0);
        c.stats.key_sums = &no_rows;
        assert_int_equal(attn_multihead_forward(layer, &args), ATTN_ERR_SHAPE);
        assert_non_null(strstr(attn_last_error(), "stats->key_sums"));

        struct array *all[] = {&x, &output, &w[0], &w[1], &w[2], &w[3], &query};
        attn_multihead_destroy(layer);
        for (size_t i = 0; i < sizeof all / sizeof *all; i++) array_destroy(all[i]);
        call_destroy(&c);
        call_destroy(&d);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_keys_share_their_weight_evenly),
        cmocka_unit_test(the_first_of_equals_is_the_strongest),
        cmocka_unit_test(rows_that_see_nothing_say_nothing),
        cmocka_unit_test(a_call_without_queries_sums_nothing),
        cmocka_unit_test(great_scores_have_their_entropy),
        cmocka_unit_test(values_have_no_say),
        cmocka_unit_test(hidden_keys_change_no_bit),
        cmocka_unit_test(a_nan_that_is_seen_stays_where_it_is),
        cmocka_unit_test(dropout_comes_after),
        cmocka_unit_test(threads_change_no_bit),
        cmocka_unit_test(failures_touch_nothing),
        cmocka_unit_test(scratch_does_not_grow_with_the_scores),
        cmocka_unit_test(what_is_wrong_is_refused_in_words),
        cmocka_unit_test(stats_alone_are_a_call),
        cmocka_unit_test(a_memory_says_what_its_keys_say),
        cmocka_unit_test(a_layer_tells_them_of_its_heads),
    };
    return cmocka_run_group_tests_name("stats", tests, engine_setup, engine_teardown);
}
