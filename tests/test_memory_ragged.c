/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_memory_ragged.c: what a memory is given of a ragged batch is what it is given of padded rows: for every score,
 * every type that it keeps, with pages and without, turned or not; and what is refused leaves it as it was.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support.h"

enum { B = 3, HQ = 4, HK = 2, D = 6, DV = 5, MOST = 9, STEPS = 3, ROWS = 20, TQ = 2 };

/* Rows of each step; every ragged tensor begins and ends with some of no sequence. */
static const int64_t counts[STEPS][B] = {{4, 0, 9}, {0, 7, 1}, {3, 2, 0}};
enum { BEFORE = 3 };

struct kept {
    attn_dtype dtype, given; /* of the memory, and of rows and queries */
};
static const struct kept types[] = {{ATTN_F32, ATTN_F32},   {ATTN_F64, ATTN_F64}, {ATTN_F16, ATTN_F16},
                                    {ATTN_BF16, ATTN_BF16}, {ATTN_I8, ATTN_F32},  {ATTN_I8, ATTN_BF16}};
enum { TYPES = sizeof types / sizeof *types };

static attn_memory *memory_create(const attn_mechanism *mechanism, enum rule_kind kind, attn_dtype dtype, int64_t page,
                                  bool turns)
{
    attn_memory_options options = ATTN_MEMORY_OPTIONS_INIT;
    attn_rope_options rope = ATTN_ROPE_OPTIONS_INIT;
    attn_memory *memory;
    rope.layout = ATTN_ROPE_HALVES;
    options.dtype = dtype;
    options.batch = B;
    options.key_heads = HK;
    options.key_dim = kind == RULE_LOCATION ? 0 : D;
    options.value_dim = DV;
    options.page = page;
    options.rope = turns ? &rope : NULL;
    MUST(attn_memory_create(mechanism, &options, &memory));
    return memory;
}

/* Where row i of what sequence b is given in a step lies among ragged rows. */
static int64_t ragged_row(int step, int64_t b, int64_t i)
{
    int64_t row = BEFORE + i;
    for (int64_t k = 0; k < b; k++) row += counts[step][k];
    return row;
}

/* The same numbers both ways; NaN where no sequence has anything. */
static void fill(struct array *padded, struct array *ragged, int step, int64_t dim, struct rng *rng)
{
    array_fill(padded, (double)NAN);
    array_fill(ragged, (double)NAN);
    for (int64_t b = 0; b < B; b++) {
        for (int64_t h = 0; h < HK; h++) {
            for (int64_t i = 0; i < counts[step][b] * dim; i++) {
                const double x = rng_normal(rng);
                array_set(padded, (b * HK + h) * MOST * dim + i, x);
                array_set(ragged, (h * ROWS + ragged_row(step, b, 0)) * dim + i, x);
            }
        }
    }
}

static void append_both(attn_memory *memories[2], attn_dtype dtype, bool reads_keys, int step, struct rng *rng)
{
    const int64_t padded[2][4] = {{B, HK, MOST, D}, {B, HK, MOST, DV}}, ragged[2][3] = {{HK, ROWS, D}, {HK, ROWS, DV}};
    const int64_t batch = B, ends = B + 1;
    struct array given[2][2], lengths, offsets; /* [way][key or value] */
    for (int i = 0; i < 2; i++) {
        array_create(&given[0][i], dtype, 4, padded[i], LAYOUT_OUTPUT, rng);
        array_create(&given[1][i], dtype, 3, ragged[i], LAYOUT_OUTPUT, rng);
        fill(&given[0][i], &given[1][i], step, i ? DV : D, rng);
    }
    array_create(&lengths, ATTN_I32, 1, &batch, LAYOUT_PLAIN, NULL);
    array_create(&offsets, ATTN_I64, 1, &ends, LAYOUT_OUTPUT, rng);
    for (int64_t b = 0; b < B; b++) array_set(&lengths, b, (double)counts[step][b]);
    for (int64_t b = 0; b <= B; b++) array_set(&offsets, b, (double)ragged_row(step, b, 0));
    MUST(
        attn_memory_append(memories[0], reads_keys ? &given[0][0].tensor : NULL, &given[0][1].tensor, &lengths.tensor));
    MUST(attn_memory_append_ragged(memories[1], reads_keys ? &given[1][0].tensor : NULL, &given[1][1].tensor,
                                   &offsets.tensor));
    for (int i = 0; i < 4; i++) array_destroy(&given[i / 2][i % 2]);
    array_destroy(&lengths), array_destroy(&offsets);
}

static struct array attend(const attn_mechanism *mechanism, const attn_memory *memory, const struct array *query)
{
    const int64_t shape[4] = {B, HQ, TQ, DV};
    attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
    struct array context;
    array_create(&context, query->tensor.dtype, 4, shape, LAYOUT_PLAIN, NULL);
    args.query = &query->tensor, args.memory = memory, args.context = &context.tensor;
    MUST(attn_forward(mechanism, &args));
    return context;
}

static void bind_in(struct rule *rule, attn_dtype dtype, struct array own[3])
{
    static const char *const names[] = {"W", "U", "v"};
    struct array *const params[] = {&rule->W, &rule->U, &rule->v};
    for (int i = 0; i < 3; i++) {
        own[i].memory = NULL;
        if (params[i]->memory == NULL) continue;
        double *numbers = array_read(params[i]);
        array_create(&own[i], dtype_computed(dtype), params[i]->tensor.ndim, params[i]->tensor.shape, LAYOUT_PLAIN,
                     NULL);
        array_write(&own[i], numbers);
        MUST(attn_mechanism_bind_param(rule->mechanism, names[i], &own[i].tensor));
        free(numbers);
    }
}

static void check(enum rule_kind kind, struct kept type, int64_t page, bool turns)
{
    const int64_t shape[4] = {B, HQ, TQ, D};
    struct rng rng = {(uint64_t)kind + 11};
    struct rule rule;
    struct array query, own[3], context[2];
    rule_create(&rule, engine, kind, D, D);
    bind_in(&rule, type.given, own);
    array_create(&query, type.given, 4, shape, LAYOUT_PLAIN, NULL);
    array_fill_normal(&query, &rng, 1.0);
    attn_memory *memories[2];
    for (int i = 0; i < 2; i++) memories[i] = memory_create(rule.mechanism, kind, type.dtype, page, turns);
    for (int step = 0; step < STEPS; step++) {
        append_both(memories, type.given, kind != RULE_LOCATION, step, &rng);
        int64_t lengths[2][B];
        for (int i = 0; i < 2; i++) {
            MUST(attn_memory_lengths(memories[i], NULL, lengths[i], B));
            context[i] = attend(rule.mechanism, memories[i], &query);
        }
        assert_memory_equal(lengths[0], lengths[1], sizeof lengths[0]);
        double *want = array_read(&context[0]);
        if (type.dtype == ATTN_F64) { /* products of the BLAS, whose bits their neighbours may change */
            assert_close(&context[1], want, NULL, 20.0, "a ragged append");
        } else {
            assert_true(array_same_bits(&context[0], &context[1], 0, array_count(&context[0])));
        }
        free(want);
        for (int i = 0; i < 2; i++) array_destroy(&context[i]);
    }
    for (int i = 0; i < 2; i++) attn_memory_destroy(memories[i]);
    rule_destroy(&rule);
    array_destroy(&query);
    for (int i = 0; i < 3; i++) {
        if (own[i].memory) array_destroy(&own[i]);
    }
}

static void ragged_rows_are_kept_as_padded_ones_are(void **state)
{
    (void)state;
    for (int kind = 0; kind < RULE_KINDS; kind++) {
        for (int t = 0; t < TYPES; t++) {
            for (int64_t page = 0; page <= 4; page += 2) {
                check((enum rule_kind)kind, types[t], page, false);
                if (kind == RULE_DOT || kind == RULE_SCALED_DOT) check((enum rule_kind)kind, types[t], page, true);
            }
        }
    }
}

/* ----------------------------------------------------------------------------------------------- refused */

static void what_is_refused_leaves_the_memory_as_it_was(void **state)
{
    static const struct {
        const char *words;
        attn_status status;
        int64_t offsets[B + 1], count;
    } refusals[] = {
        {"offsets[2] is 3, less than the 5", ATTN_ERR_ARGUMENT, {0, 5, 3, 8}, B + 1},
        {"offsets ends with 21, but key has 20 rows", ATTN_ERR_ARGUMENT, {0, 1, 2, 21}, B + 1},
        {"offsets has 3 elements, but there are 3 sequences", ATTN_ERR_SHAPE, {0, 1, 2, 0}, B},
        {"offsets is empty", ATTN_ERR_SHAPE, {0}, 0},
        {"offsets[0] is -1", ATTN_ERR_ARGUMENT, {-1, 1, 2, 3}, B + 1},
    };
    const int64_t shapes[2][3] = {{HK, ROWS, D}, {HK, ROWS, DV}};
    struct rule rule;
    struct array key, value;
    int64_t lengths[B];
    (void)state;
    rule_create(&rule, engine, RULE_DOT, D, D);
    attn_memory *memory = memory_create(rule.mechanism, RULE_DOT, ATTN_F32, 2, false);
    array_create(&key, ATTN_F32, 3, shapes[0], LAYOUT_PLAIN, NULL);
    array_create(&value, ATTN_F32, 3, shapes[1], LAYOUT_PLAIN, NULL);
    array_fill(&key, 1.0);
    array_fill(&value, 1.0);
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        attn_tensor offsets;
        MUST(attn_tensor_init(&offsets, (void *)(uintptr_t)refusals[i].offsets, ATTN_I64, 1, &refusals[i].count));
        const attn_status status = attn_memory_append_ragged(memory, &key.tensor, &value.tensor, &offsets);
        if (status != refusals[i].status || !strstr(attn_last_error(), refusals[i].words) ||
            !strstr(attn_last_error(), "attn_memory_append_ragged: ")) {
            fail_msg("%s: got %s", refusals[i].words, attn_last_error());
        }
    }
    assert_int_equal(attn_memory_append_ragged(memory, &key.tensor, &value.tensor, NULL), ATTN_ERR_ARGUMENT);
    assert_int_equal(attn_memory_append_ragged(NULL, &key.tensor, &value.tensor, NULL), ATTN_ERR_ARGUMENT);
    MUST(attn_memory_lengths(memory, NULL, lengths, B));
    for (int b = 0; b < B; b++) assert_int_equal(lengths[b], 0);
    attn_memory_destroy(memory);
    rule_destroy(&rule);
    array_destroy(&key), array_destroy(&value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ragged_rows_are_kept_as_padded_ones_are),
        cmocka_unit_test(what_is_refused_leaves_the_memory_as_it_was),
    };
    return cmocka_run_group_tests(tests, engine_setup, engine_teardown);
}
