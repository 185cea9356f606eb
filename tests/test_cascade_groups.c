/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_cascade_groups.c: which sequences of a batch in pages are groups whose common pages are read once, and of which
 * calls there are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants those before it */
#include <cmocka.h>

#include "verbs/cascade.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_BATCH = 140, MOST_PAGES = 80, PAGE = 16, HEADS = 4, GROUP = 2, DIM = 64, OTHERS = 100000 };

static attn_engine *engine;

/* Nothing lies in any of the tensors but tables, lengths and offsets: all others are looked at by their shapes. */
static struct scene {
    attn_mechanism *mechanism;
    int64_t batch;
    int32_t table[MOST_BATCH][MOST_PAGES], length[MOST_BATCH], offset[MOST_BATCH + 1];
    attn_tensor query, key, context, lengths, tables, offsets;
    attn_forward_args args;
} s;

static _Alignas(64) char numbers[64];

static attn_tensor tensor(void *data, attn_dtype dtype, int32_t ndim, int64_t a, int64_t b, int64_t c, int64_t d)
{
    const int64_t all[4] = {a, b, c, d};
    attn_tensor t = {.data = data, .dtype = dtype, .ndim = ndim};
    int64_t n = 1;
    for (int i = ndim - 1; i >= 0; i--) {
        t.shape[i] = all[i];
        t.stride[i] = n;
        n *= all[i];
    }
    return t;
}

/* Sequences of one query each, that have nothing in common, in rows [rows, heads, dimensions]. */
static void begin(int64_t batch)
{
    memset(&s, 0, sizeof s);
    s.batch = batch;
    for (int32_t b = 0; b < batch; b++) {
        for (int32_t k = 0; k < MOST_PAGES; k++) s.table[b][k] = OTHERS + b * MOST_PAGES + k;
        s.length[b] = MOST_PAGES * PAGE - 3;
        s.offset[b + 1] = b + 1;
    }
    s.query = tensor(numbers, ATTN_F32, 4, 1, HEADS * GROUP, 2 * batch, DIM);
    s.query.stride[1] = DIM, s.query.stride[2] = (int64_t)HEADS * GROUP * DIM;
    s.context = s.query;
    s.key = tensor(numbers, ATTN_F32, 4, 10 * OTHERS, HEADS, PAGE, DIM);
    s.lengths = tensor(s.length, ATTN_I32, 1, batch, 0, 0, 0);
    s.offsets = tensor(s.offset, ATTN_I32, 1, batch + 1, 0, 0, 0);
    s.tables = tensor(s.table, ATTN_I32, 2, batch, MOST_PAGES, 0, 0);
    s.args = (attn_forward_args)ATTN_FORWARD_ARGS_INIT;
    s.args.query = &s.query, s.args.key = &s.key, s.args.context = &s.context;
    s.args.key_lengths = &s.lengths, s.args.page_table = &s.tables, s.args.query_offsets = &s.offsets;
    assert_int_equal(attn_mechanism_create_scaled_dot(engine, &s.mechanism), ATTN_OK);
}

/* Sequences first .. end - 1 begin with so many pages, named from `page` on. */
static void share(int64_t first, int64_t end, int32_t pages, int32_t page)
{
    for (int64_t b = first; b < end; b++) {
        for (int32_t k = 0; k < pages; k++) s.table[b][k] = page + k;
    }
}

/* Each sequence has so many queries. */
static void set_queries(int32_t queries)
{
    for (int32_t b = 0; b <= s.batch; b++) s.offset[b] = b * queries;
    s.query.shape[2] = s.context.shape[2] = s.batch * queries;
}

static attn_i_problem problem(void)
{
    attn_i_problem p;
    const attn_status status = attn_i_problem_check_shapes(s.mechanism, &s.args, &p);
    if (status != ATTN_OK) fail_msg("%s", attn_last_error());
    return p;
}

struct expected {
    int64_t first, count, pages;
};

static void expect(int64_t count, const struct expected *groups)
{
    const attn_i_problem p = problem();
    attn_i_cascade c;
    int64_t found = 0;
    attn_i_cascade_begin(&c, &p);
    assert_int_equal(c.groups, count);
    for (int64_t b = 0; b < p.batch && count > 0; b++) {
        const attn_i_cascade_group g = attn_i_cascade_of(&c, b);
        if (g.count == 0 || g.first != b) continue;
        assert_true(found < count);
        assert_int_equal(g.first, groups[found].first);
        assert_int_equal(g.count, groups[found].count);
        assert_int_equal(g.pages, groups[found].pages);
        found++;
    }
    assert_int_equal(found, count);
}

static void end(void)
{
    attn_mechanism_destroy(s.mechanism);
}

#define EXPECT(...)                                                                                                    \
    expect(sizeof((struct expected[]){__VA_ARGS__}) / sizeof(struct expected), (struct expected[]){__VA_ARGS__})

static void sequences_that_begin_alike_are_a_group(void **state)
{
    (void)state;
    begin(10);
    expect(0, NULL);
    share(1, 5, 8, 100);
    share(5, 9, 20, 200);
    EXPECT({1, 4, 8}, {5, 4, 20});
    s.table[3][5] = 7; /* a page that is another ends what they have in common, */
    EXPECT({1, 4, 5}, {5, 4, 20});
    s.table[3][0] = 7; /* the first one, all */
    EXPECT({1, 2, 8}, {5, 4, 20});
    end();
}

/* There is one prefix to a sequence: of those within each other, that which saves most. */
static void of_nested_prefixes_the_best_is_taken(void **state)
{
    (void)state;
    begin(8);
    share(0, 8, 10, 100);
    share(0, 4, 70, 100);
    share(4, 8, 10, 100);
    EXPECT({0, 4, 70}, {4, 4, 10});
    share(0, 8, 10, 100);
    for (int b = 0; b < 4; b++) s.table[b][12] = 5 + b;
    EXPECT({0, 8, 10});
    share(1, 8, 60, 300);
    share(0, 8, 1, 100); /* the page that the first one has, too, is little beside the others' */
    EXPECT({1, 7, 60});
    end();
}

static void what_takes_longer_than_it_saves_is_left(void **state)
{
    (void)state;
    begin(6);
    share(0, 2, 1, 100); /* 16 keys of two */
    expect(0, NULL);
    share(0, 6, 40, 100);
    EXPECT({0, 6, 40});
    set_queries(32); /* whose rows fill a tile */
    expect(0, NULL);
    set_queries(9);
    EXPECT({0, 6, 40});
    set_queries(0);
    expect(0, NULL);
    end();
}

static void whole_pages_that_all_see_are_shared(void **state)
{
    (void)state;
    begin(4);
    share(0, 4, 50, 100);
    s.length[2] = 50 * PAGE; /* without a rest */
    EXPECT({0, 4, 50});
    s.length[2] = 50 * PAGE - 1;
    EXPECT({0, 4, 49});
    s.length[2] = 50 * PAGE + 2;
    set_queries(3);
    EXPECT({0, 4, 50});
    assert_int_equal(attn_mechanism_set_causal(s.mechanism, ATTN_ALIGN_BOTTOM_RIGHT), ATTN_OK);
    EXPECT({0, 4, 49}); /* for the first of its queries */
    s.length[2]++;
    EXPECT({0, 4, 50});
    end();
}

static void keys_that_a_mask_is_of_are_left_to_the_rest(void **state)
{
    (void)state;
    begin(4);
    attn_tensor mask = tensor(numbers, ATTN_BOOL, 4, 1, 1, 1, 19);
    share(0, 4, 50, 100);
    s.length[1] = 50 * PAGE + 18;
    EXPECT({0, 4, 50});
    s.args.mask = &mask, s.args.mask_align = ATTN_ALIGN_BOTTOM_RIGHT;
    EXPECT({0, 4, 49});
    end();
}

static void queries_lie_evenly_or_there_is_no_group(void **state)
{
    (void)state;
    begin(4);
    share(0, 4, 50, 100);
    s.args.query_offsets = NULL;
    s.query = tensor(numbers, ATTN_F32, 4, 4, HEADS * GROUP, 1, DIM);
    s.context = s.query;
    EXPECT({0, 4, 50}); /* one row each lies evenly in any case */
    s.query = tensor(numbers, ATTN_F32, 4, 4, HEADS * GROUP, 3, DIM);
    s.context = s.query;
    expect(0, NULL); /* heads lie between */
    s.query.stride[1] = DIM, s.query.stride[2] = (int64_t)HEADS * GROUP * DIM;
    EXPECT({0, 4, 50});
    end();
}

static void many_sequences_are_looked_at_some_at_a_time(void **state)
{
    (void)state;
    begin(MOST_BATCH);
    share(0, MOST_BATCH, 60, 100);
    EXPECT({0, 64, 60}, {64, 64, 60}, {128, 12, 60});
    end();
}

/* A call that wants more of the weights than their sum, or whose keys count by where they stand. */
static void what_parts_do_not_tell_is_computed_whole(void **state)
{
    (void)state;
    enum { ALL = MOST_PAGES * PAGE };
    static float slopes[HEADS * GROUP];
    static const struct expected group = {0, 4, 50};
    begin(4);
    attn_mechanism *m = s.mechanism;
    share(0, 4, 50, 100);
    expect(1, &group);
    attn_tensor weights = tensor(numbers, ATTN_F32, 4, 1, HEADS * GROUP, 8, ALL), mask = weights, bias = weights;
    attn_tensor entropy = tensor(numbers, ATTN_F32, 3, 1, HEADS * GROUP, 8, 0);
    attn_tensor of_slopes = tensor(slopes, ATTN_F32, 1, HEADS * GROUP, 0, 0, 0);
    attn_weights_stats stats = ATTN_WEIGHTS_STATS_INIT;
    stats.entropy = &entropy;
    mask.dtype = ATTN_BOOL;
    s.args.weights = &weights, expect(0, NULL), s.args.weights = NULL;
    s.args.scores = &weights, expect(0, NULL), s.args.scores = NULL;
    s.args.stats = &stats, expect(0, NULL), s.args.stats = NULL;
    s.args.mask = &mask, expect(0, NULL), s.args.mask = NULL;
    s.args.bias = &bias, expect(0, NULL), s.args.bias = NULL;
    s.args.dropout = 0.5, expect(0, NULL), s.args.dropout = 0;
    attn_mechanism_set_causal(m, ATTN_ALIGN_TOP_LEFT), expect(0, NULL), attn_mechanism_set_causal(m, ATTN_ALIGN_NONE);
    assert_int_equal(attn_mechanism_set_window(m, 9, 9, ATTN_ALIGN_BOTTOM_RIGHT), ATTN_OK);
    expect(0, NULL);
    assert_int_equal(attn_mechanism_set_window(m, 9, 9, ATTN_ALIGN_NONE), ATTN_OK);
    assert_int_equal(attn_mechanism_set_alibi(m, &of_slopes, ATTN_ALIGN_BOTTOM_RIGHT), ATTN_OK);
    expect(0, NULL);
    assert_int_equal(attn_mechanism_set_alibi(m, NULL, ATTN_ALIGN_NONE), ATTN_OK);
    assert_int_equal(attn_mechanism_set_normaliser(m, ATTN_HARDMAX), ATTN_OK);
    expect(0, NULL);
    assert_int_equal(attn_mechanism_set_normaliser(m, ATTN_SOFTMAX), ATTN_OK);
    assert_int_equal(attn_mechanism_set_softcap(m, 5), ATTN_OK); /* and what they do tell */
    assert_int_equal(attn_mechanism_set_sinks(m, &of_slopes), ATTN_OK);
    expect(1, &group);
    end();
}

static int setup(void **state)
{
    (void)state;
    return attn_engine_create(NULL, &engine) == ATTN_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    attn_engine_destroy(engine);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sequences_that_begin_alike_are_a_group),
        cmocka_unit_test(of_nested_prefixes_the_best_is_taken),
        cmocka_unit_test(what_takes_longer_than_it_saves_is_left),
        cmocka_unit_test(whole_pages_that_all_see_are_shared),
        cmocka_unit_test(keys_that_a_mask_is_of_are_left_to_the_rest),
        cmocka_unit_test(queries_lie_evenly_or_there_is_no_group),
        cmocka_unit_test(many_sequences_are_looked_at_some_at_a_time),
        cmocka_unit_test(what_parts_do_not_tell_is_computed_whole),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
