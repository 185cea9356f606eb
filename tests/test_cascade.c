/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_cascade.c: sequences in pages whose tables begin with the same pages, which are read once for all of them,
 * beside the same sequences over pages of their own, and over keys that lie together. Those that share nothing have the
 * same bits; those that do differ by roundings: of a context, which is a mean of values, by what roundings of scores
 * make of its weights. Which sequences become groups is test_cascade_groups.c's.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support.h"

enum { MOST_BATCH = 12, MOST_COLUMNS = 6, THREADS = 4, DIM = 28, VALUE_DIM = 36 };

static attn_engine *engines[THREADS]; /* of 1, 2, .. threads */

/* How often a sequence that shares pages has had other bits than with pages of its own, of how many times. */
static int64_t differing, sharing;

struct batch {
    struct rng rng;
    enum rule_kind kind; /* float64 alone has parameters */
    attn_dtype dtype, kept;
    bool fast, causal, sinks, capped, tree, padded, wants_context;
    attn_dtype logsumexp; /* 0: not wanted */
    int64_t count, key_heads, group, page, most, pages, columns, each;
    int64_t q[MOST_BATCH + 1], length[MOST_BATCH];
    bool shares[MOST_BATCH];
    int64_t *table[2]; /* as it is shared, and with pages of their own: [count][most] */
    struct array query, key, value, key_scales, value_scales; /* in pages, */
    struct array whole[4];                                    /* and together */
    struct array mask, sink, tables[2], lengths, offsets;
};

struct result {
    struct array context, logsumexp;
};

/* ------------------------------------------------------------------------------------------------ batches */

static int64_t up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* Sequences begin as the one before does, for some pages or for none, and go on with their own. */
static void draw_tables(struct batch *s)
{
    int64_t last = 0, prefix = 0;
    for (int64_t b = 0; b < s->count; b++) {
        int64_t same = 0;
        if (b > 0 && !rng_chance(&s->rng, 0.25))
            same = rng_chance(&s->rng, 0.2) ? rng_integer(&s->rng, 0, prefix) : prefix;
        if (same == 0) prefix = up(rng_integer(&s->rng, 60, 420), s->page);
        s->length[b] = prefix * s->page + (rng_chance(&s->rng, 0.15) ? 0 : rng_integer(&s->rng, 0, 40));
        if (rng_chance(&s->rng, 0.05)) s->length[b] = rng_integer(&s->rng, 0, s->length[b]);
        s->shares[b] = same > 0;
        if (same > 0) s->shares[b - 1] = true;
        for (int64_t k = 0; k < s->most; k++) {
            s->table[0][b * s->most + k] = k < same ? s->table[0][(b - 1) * s->most + k] : last++;
            s->table[1][b * s->most + k] = (s->count + b) * s->most + k;
        }
    }
    s->pages = 2 * s->count * s->most;
}

static struct array integers(struct batch *s, int64_t count, const int64_t *numbers)
{
    struct array a;
    array_create(&a, rng_chance(&s->rng, 0.5) ? ATTN_I32 : ATTN_I64, 1, &count, LAYOUT_PLAIN, NULL);
    for (int64_t i = 0; i < count; i++) array_set(&a, i, numbers == NULL ? 0 : (double)numbers[i]);
    return a;
}

static struct array numbers(struct batch *s, attn_dtype dtype, int32_t ndim, const int64_t *shape)
{
    struct array a;
    array_create(&a, dtype, ndim, shape, LAYOUT_OUTPUT, &s->rng);
    for (int64_t i = array_count(&a) - 1; i >= 0; i--) {
        array_set(&a, i, dtype == ATTN_I8 ? (double)rng_integer(&s->rng, -127, 127) : rng_normal(&s->rng));
    }
    return a;
}

/* Element (row j, d) of head h in a page of an array of pages. */
static int64_t place_in(const struct batch *s, int64_t page, int64_t h, int64_t j, int64_t d, int64_t columns)
{
    return ((page * s->key_heads + h) * s->page + j) * columns + d;
}

/* Rows of keys, or values, or, of no width, their scales, as both tables have them, and together. What no sequence has
 * is NaN. */
static void draw_rows(struct batch *s, attn_dtype dtype, int64_t width, struct array *paged, struct array *whole)
{
    const int64_t columns = width > 0 ? width : 1, longest = s->most * s->page;
    const int64_t of_pages[4] = {s->pages, s->key_heads, s->page, width};
    const int64_t all[4] = {s->count, s->key_heads, longest, width};
    bool *is_used = calloc((size_t)(s->pages * s->page), sizeof *is_used);
    assert_non_null(is_used);
    *paged = numbers(s, dtype, width > 0 ? 4 : 3, of_pages);
    array_create(whole, dtype, width > 0 ? 4 : 3, all, LAYOUT_PLAIN, NULL);
    array_fill(whole, dtype == ATTN_I8 ? 127 : NAN);
    for (int64_t x = 0; width == 0 && x < array_count(paged); x++) array_set(paged, x, 0.03 * array_get(paged, x));
    for (int64_t x = 0; x < s->count * s->key_heads * longest * columns; x++) {
        const int64_t d = x % columns, j = x / columns % longest, h = x / columns / longest % s->key_heads;
        const int64_t b = x / columns / longest / s->key_heads, entry = b * s->most + j / s->page, row = j % s->page;
        if (j >= s->length[b]) continue;
        const double number = array_get(paged, place_in(s, s->table[0][entry], h, row, d, columns));
        array_set(paged, place_in(s, s->table[1][entry], h, row, d, columns), number);
        array_set(whole, x, number);
        for (int i = 0; i < 2; i++) is_used[s->table[i][entry] * s->page + row] = true;
    }
    for (int64_t x = 0; x < array_count(paged); x++) {
        const int64_t row = x / columns, page = row / s->page / s->key_heads;
        if (!is_used[page * s->page + row % s->page]) array_set(paged, x, dtype == ATTN_I8 ? 127 : NAN);
    }
    free(is_used);
}

static void draw_queries(struct batch *s)
{
    const int64_t heads = s->key_heads * s->group;
    for (int64_t b = 0; b < s->count; b++) {
        s->q[b + 1] = s->q[b] + (rng_chance(&s->rng, 0.1) ? 0 : rng_integer(&s->rng, 1, s->each));
    }
    if (s->padded && rng_chance(&s->rng, 0.3)) { /* heads lie between the queries of two sequences */
        const int64_t shape[4] = {s->count, heads, s->each, DIM};
        s->query = numbers(s, s->dtype, 4, shape);
    } else if (s->padded) { /* [B, T, H, D] in memory */
        const int64_t shape[4] = {s->count, s->each, heads, DIM};
        array_create(&s->query, s->dtype, 4, shape, LAYOUT_PLAIN, NULL);
        array_fill_normal(&s->query, &s->rng, 1);
        attn_tensor *t = &s->query.tensor;
        t->shape[1] = heads, t->shape[2] = s->each;
        t->stride[1] = DIM, t->stride[2] = heads * DIM;
    } else {
        const int64_t shape[4] = {1, heads, s->q[s->count], DIM};
        s->query = numbers(s, s->dtype, 4, shape);
    }
}

static void draw_mask(struct batch *s)
{
    const int64_t rows = s->padded ? s->each : s->q[s->count];
    const int64_t shape[4] = {s->padded && rng_chance(&s->rng, 0.5) ? s->count : 1, 1, rows, s->columns};
    array_create(&s->mask, ATTN_BOOL, 4, shape, LAYOUT_OUTPUT, &s->rng);
    for (int64_t i = array_count(&s->mask) - 1; i >= 0; i--) array_set(&s->mask, i, rng_chance(&s->rng, 0.6));
}

static void batch_create(struct batch *s, enum rule_kind kind, attn_dtype dtype, attn_dtype kept, uint64_t seed)
{
    static const int64_t pages[] = {1, 4, 16, 33};
    *s = (struct batch){.rng = {seed}, .kind = kind, .dtype = dtype, .kept = kept};
    struct rng *rng = &s->rng;
    s->fast = dtype == ATTN_BF16 && rng_chance(rng, 0.3);
    s->causal = rng_chance(rng, 0.5);
    s->sinks = rng_chance(rng, 0.4);
    s->capped = rng_chance(rng, 0.3);
    s->tree = rng_chance(rng, 0.3);
    s->padded = rng_chance(rng, 0.3);
    s->logsumexp = rng_chance(rng, 0.6) ? dtype == ATTN_F64 || rng_chance(rng, 0.5) ? ATTN_F64 : ATTN_F32 : 0;
    s->wants_context = s->logsumexp == 0 || !rng_chance(rng, 0.15);
    s->count = rng_integer(rng, 3, MOST_BATCH);
    s->key_heads = rng_integer(rng, 1, 3);
    s->group = rng_integer(rng, 1, 5);
    s->page = pages[rng_integer(rng, 0, 3)];
    s->each = rng_chance(rng, 0.5) ? 1 : rng_integer(rng, 2, 5);
    s->columns = rng_integer(rng, 1, MOST_COLUMNS);
    s->most = up(420, s->page) + up(40, s->page) + 1;
    for (int i = 0; i < 2; i++) s->table[i] = must_allocate((size_t)(s->count * s->most) * sizeof(int64_t));
    draw_tables(s);
    draw_queries(s);
    draw_mask(s);
    draw_rows(s, kept, DIM, &s->key, &s->whole[0]);
    draw_rows(s, kept, VALUE_DIM, &s->value, &s->whole[1]);
    if (kept == ATTN_I8) draw_rows(s, ATTN_F32, 0, &s->key_scales, &s->whole[2]);
    if (kept == ATTN_I8) draw_rows(s, ATTN_F32, 0, &s->value_scales, &s->whole[3]);
    const int64_t heads = s->key_heads * s->group;
    s->sink = numbers(s, dtype, 1, &heads);
    const attn_dtype of_tables = rng_chance(rng, 0.5) ? ATTN_I32 : ATTN_I64; /* and of one form, for plans */
    for (int i = 0; i < 2; i++) {
        const int64_t shape[2] = {s->count, s->most};
        array_create(&s->tables[i], of_tables, 2, shape, LAYOUT_PLAIN, NULL);
        for (int64_t k = 0; k < s->count * s->most; k++) array_set(&s->tables[i], k, (double)s->table[i][k]);
    }
    s->lengths = integers(s, s->count, s->length);
    s->offsets = integers(s, s->count + 1, s->q);
}

static void batch_destroy(struct batch *s)
{
    struct array *const all[11] = {&s->query,     &s->key,     &s->value,   &s->mask,     &s->sink,    &s->tables[0],
                                   &s->tables[1], &s->lengths, &s->offsets, &s->whole[0], &s->whole[1]};
    struct array *const scales[] = {&s->key_scales, &s->value_scales, &s->whole[2], &s->whole[3]};
    for (size_t i = 0; i < 11; i++) array_destroy(all[i]);
    for (int i = 0; i < 4 && s->kept == ATTN_I8; i++) array_destroy(scales[i]);
    for (int i = 0; i < 2; i++) free(s->table[i]);
}

/* -------------------------------------------------------------------------------------------------- calls */

static void rule_of(struct batch *s, attn_engine *on, struct rule *rule)
{
    rule_create(rule, on, s->kind, DIM, DIM);
    if (s->fast) MUST(attn_mechanism_set_precision(rule->mechanism, ATTN_PRECISION_FAST));
    if (s->causal) MUST(attn_mechanism_set_causal(rule->mechanism, ATTN_ALIGN_BOTTOM_RIGHT));
    if (s->sinks) MUST(attn_mechanism_set_sinks(rule->mechanism, &s->sink.tensor));
    if (!s->capped) return;
    MUST(attn_mechanism_set_softcap(rule->mechanism, 3));
    MUST(attn_mechanism_set_temperature(rule->mechanism, 0.7));
}

enum place { SHARED, OWN, TOGETHER };

static attn_forward_args args_of(struct batch *s, enum place place)
{
    attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
    const bool is_i8 = s->kept == ATTN_I8, whole = place == TOGETHER;
    args.query = &s->query.tensor;
    args.key = whole ? &s->whole[0].tensor : &s->key.tensor;
    args.value = whole ? &s->whole[1].tensor : &s->value.tensor;
    if (is_i8) args.key_scales = whole ? &s->whole[2].tensor : &s->key_scales.tensor;
    if (is_i8) args.value_scales = whole ? &s->whole[3].tensor : &s->value_scales.tensor;
    if (!whole) args.page_table = &s->tables[place].tensor;
    args.key_lengths = &s->lengths.tensor;
    if (!s->padded) args.query_offsets = &s->offsets.tensor;
    if (s->tree) args.mask = &s->mask.tensor, args.mask_align = ATTN_ALIGN_BOTTOM_RIGHT;
    return args;
}

static void result_create(struct batch *s, struct result *r, attn_forward_args *args)
{
    const attn_tensor *q = &s->query.tensor;
    const int64_t shape[4] = {q->shape[0], q->shape[1], q->shape[2], VALUE_DIM};
    array_create(&r->context, s->dtype, 4, shape, LAYOUT_PLAIN, NULL);
    array_create(&r->logsumexp, s->logsumexp != 0 ? s->logsumexp : ATTN_F64, 3, shape, LAYOUT_PLAIN, NULL);
    array_fill(&r->context, 7);
    array_fill(&r->logsumexp, 7);
    args->context = s->wants_context ? &r->context.tensor : NULL;
    args->logsumexp = s->logsumexp != 0 ? &r->logsumexp.tensor : NULL;
}

static void result_destroy(struct result *r)
{
    array_destroy(&r->context);
    array_destroy(&r->logsumexp);
}

/* By a call that is given just as much memory as it says that it needs. */
static void run(struct batch *s, enum place place, attn_engine *on, struct result *r)
{
    struct rule rule;
    size_t bytes = 0;
    attn_forward_args args = args_of(s, place);
    rule_of(s, on, &rule);
    result_create(s, r, &args);
    MUST(attn_forward_workspace(rule.mechanism, &args, &bytes));
    unsigned char *room = must_allocate(bytes + 64);
    memset(room, 0xa5, bytes + 64);
    args.workspace = room;
    args.workspace_size = bytes;
    MUST(attn_forward(rule.mechanism, &args));
    for (int i = 0; i < 64; i++) assert_int_equal(room[bytes + (size_t)i], 0xa5);
    free(room);
    rule_destroy(&rule);
}

static void assert_same(const struct result *a, const struct result *b, const char *what)
{
    if (!array_same_bits(&a->context, &b->context, 0, array_count(&a->context)) ||
        !array_same_bits(&a->logsumexp, &b->logsumexp, 0, array_count(&a->logsumexp))) {
        fail_msg("%s: other bits", what);
    }
}

/* Which sequence a row (b, h, i) of an output is of; -1: of none. */
static int64_t sequence_of(const struct batch *s, int64_t row)
{
    const attn_tensor *q = &s->query.tensor;
    const int64_t i = row % q->shape[2];
    if (s->padded) return row / q->shape[2] / q->shape[1];
    for (int64_t b = 0; b < s->count; b++) {
        if (i >= s->q[b] && i < s->q[b + 1]) return b;
    }
    return -1;
}

/* A score is a sum of DIM products, and differs by some of their roundings; so, relatively, does each weight, and by as
 * much, times the values, the context. Fast products round each weight to 8 bits, differently where its reference is
 * another. */
static double bound_of(const struct batch *s, attn_dtype stored, double want)
{
    const double eps = s->fast ? 0x1p-11 : dtype_epsilon(dtype_computed(s->dtype));
    return (s->fast ? 16 : 256) * eps * (1 + fabs(want)) + 2 * dtype_half_step(stored, want);
}

static void assert_numbers(const struct batch *s, const struct array *got, const struct array *want, int64_t width,
                           const char *what)
{
    for (int64_t x = 0; x < array_count(got); x++) {
        const double is = array_get(got, x), should = array_get(want, x);
        if (is == should) continue;
        const attn_dtype stored = got->tensor.dtype == ATTN_F64 ? s->dtype : got->tensor.dtype;
        if (fabs(is - should) <= bound_of(s, stored, should)) continue;
        fail_msg("%s: row %lld of sequence %lld is %.9g, but %.9g is wanted", what, (long long)(x / width),
                 (long long)sequence_of(s, x / width), is, should);
    }
}

static void assert_alike_but_for_roundings(const struct batch *s, const struct result *got, const struct result *want,
                                           const char *what)
{
    assert_numbers(s, &got->context, &want->context, VALUE_DIM, what);
    assert_numbers(s, &got->logsumexp, &want->logsumexp, 1, what);
}

/* Sequences that share nothing have the bits of pages of their own. */
static void compare_bits(const struct batch *s, const struct result *shared, const struct result *own)
{
    for (int64_t row = 0; row < array_count(&shared->logsumexp); row++) {
        const int64_t b = sequence_of(s, row);
        const bool same = array_same_bits(&shared->context, &own->context, row * VALUE_DIM, VALUE_DIM) &&
                          array_same_bits(&shared->logsumexp, &own->logsumexp, row, 1);
        if (b >= 0 && s->shares[b]) sharing++, differing += !same;
        if (b < 0 || !s->shares[b]) assert_true(same);
    }
}

/* A plan of nothing at first, then of sequences that share nothing, then of those that do, and back. */
static void check_plan(struct batch *s, const struct result *shared, const struct result *own)
{
    struct rule rule;
    struct result r;
    attn_plan *plan;
    attn_forward_args args = args_of(s, SHARED);
    struct array none, no_queries;
    array_create(&none, s->lengths.tensor.dtype, 1, s->lengths.tensor.shape, LAYOUT_PLAIN, NULL);
    array_create(&no_queries, s->offsets.tensor.dtype, 1, s->offsets.tensor.shape, LAYOUT_PLAIN, NULL);
    array_fill(&none, 0);
    array_fill(&no_queries, 0);
    rule_of(s, engines[1], &rule);
    result_create(s, &r, &args);
    args.key_lengths = &none.tensor;
    if (!s->padded) args.query_offsets = &no_queries.tensor;
    MUST(attn_plan_create(rule.mechanism, &args, &plan));
    MUST(attn_plan_run(plan, NULL));
    args.key_lengths = &s->lengths.tensor;
    if (!s->padded) args.query_offsets = &s->offsets.tensor;
    for (int i = 0; i < 4; i++) {
        args.page_table = &s->tables[i % 2 == 0 ? OWN : SHARED].tensor;
        MUST(attn_plan_run(plan, &args));
        assert_same(&r, i % 2 == 0 ? own : shared, "a plan that is run with another table");
    }
    attn_plan_destroy(plan);
    result_destroy(&r);
    rule_destroy(&rule);
    array_destroy(&none);
    array_destroy(&no_queries);
}

static void check(enum rule_kind kind, attn_dtype dtype, attn_dtype kept, uint64_t seed)
{
    struct batch s;
    struct result shared, own, together, again;
    batch_create(&s, kind, dtype, kept, seed);
    run(&s, SHARED, engines[0], &shared);
    run(&s, OWN, engines[0], &own);
    run(&s, TOGETHER, engines[0], &together);
    assert_alike_but_for_roundings(&s, &shared, &own, "over pages of their own");
    assert_alike_but_for_roundings(&s, &shared, &together, "over keys that lie together");
    compare_bits(&s, &shared, &own);
    for (int i = 1; i < THREADS; i++) {
        run(&s, SHARED, engines[i], &again);
        assert_same(&again, &shared, "more threads");
        result_destroy(&again);
    }
    check_plan(&s, &shared, &own);
    result_destroy(&shared);
    result_destroy(&own);
    result_destroy(&together);
    batch_destroy(&s);
}

/* Bits differ where a prefix was computed by itself, almost always; where none was, never. */
static void assert_it_happened(void)
{
    assert_true(sharing > 0);
    if (differing * 4 < sharing) {
        fail_msg("of %lld rows that share pages only %lld have bits of their own", (long long)sharing,
                 (long long)differing);
    }
    differing = sharing = 0;
}

static void what_is_shared_is_read_once(void **state)
{
    static const struct {
        attn_dtype dtype, kept;
    } types[] = {{ATTN_F32, ATTN_F32}, {ATTN_F16, ATTN_F16}, {ATTN_BF16, ATTN_BF16},
                 {ATTN_F32, ATTN_I8},  {ATTN_F16, ATTN_I8},  {ATTN_F64, ATTN_F64}};
    (void)state;
    const uint64_t cases = few_cases() ? 2 : 10;
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        for (uint64_t i = 0; i < cases; i++) {
            check(i % 2 ? RULE_SCALED_DOT : RULE_DOT, types[t].dtype, types[t].kept, 100 * t + i);
        }
    }
    if (!few_cases()) assert_it_happened();
}

static void every_score_takes_part(void **state)
{
    static const enum rule_kind kinds[] = {RULE_GENERAL, RULE_ADDITIVE, RULE_CONCAT};
    (void)state;
    const uint64_t cases = few_cases() ? 1 : 5;
    for (size_t k = 0; k < 3; k++) {
        for (uint64_t i = 0; i < cases; i++) check(kinds[k], ATTN_F64, ATTN_F64, 1000 + 100 * k + i);
    }
    if (!few_cases()) assert_it_happened();
}

/* ----------------------------------------------------------------------------------------------- memories */

enum { HEADS = 2 };

static struct array normal(struct rng *rng, int64_t s0, int64_t s1, int64_t s2, int64_t s3)
{
    struct array a;
    const int64_t shape[4] = {s0, s1, s2, s3};
    array_create(&a, ATTN_F32, 4, shape, LAYOUT_PLAIN, NULL);
    array_fill_normal(&a, rng, 1);
    return a;
}

static void assert_values(const struct array *got, const struct array *want)
{
    for (int64_t x = 0; x < array_count(got); x++) {
        const double is = array_get(got, x), should = array_get(want, x);
        if (fabs(is - should) <= 256 * dtype_epsilon(ATTN_F32) * (8 + fabs(should))) continue;
        fail_msg("element %lld is %.9g, but %.9g is wanted", (long long)x, is, should);
    }
}

/* One sequence with a prompt becomes so many, in pages and not. */
static void make_memories(const attn_mechanism *m, const int64_t dim, int64_t prefix, int64_t page, int64_t count,
                          attn_memory *memory[2], struct rng *rng)
{
    struct array rows = normal(rng, 1, HEADS, prefix, dim), users;
    attn_memory_options options = ATTN_MEMORY_OPTIONS_INIT;
    options.dtype = ATTN_F32;
    options.batch = 1;
    options.key_heads = HEADS;
    options.key_dim = options.value_dim = dim;
    array_create(&users, ATTN_I64, 1, &count, LAYOUT_PLAIN, NULL);
    array_fill(&users, 0);
    for (int i = 0; i < 2; i++) {
        options.page = i == 0 ? page : 0;
        MUST(attn_memory_create(m, &options, &memory[i]));
        MUST(attn_memory_append(memory[i], &rows.tensor, &rows.tensor, NULL));
        MUST(attn_memory_reorder(memory[i], &users.tensor));
    }
    array_destroy(&rows);
    array_destroy(&users);
}

/* By calls and by one plan, while the sequences go on. */
static void a_memory_reads_what_its_sequences_share_once(void **state)
{
    enum { DIMENSIONS = 48, STEPS = 30, USERS = 5 };
    (void)state;
    struct rng rng = {3};
    attn_mechanism *m;
    attn_memory *memory[2];
    attn_plan *plan = NULL;
    MUST(attn_mechanism_create_scaled_dot(engines[1], &m));
    MUST(attn_mechanism_set_causal(m, ATTN_ALIGN_BOTTOM_RIGHT));
    make_memories(m, DIMENSIONS, 200, 16, USERS, memory, &rng);
    int64_t same = 0;
    for (int step = 0; step < STEPS; step++) {
        struct array query = normal(&rng, USERS, 4 * HEADS, 1, DIMENSIONS), context[3];
        struct array rows = normal(&rng, USERS, HEADS, 1, DIMENSIONS);
        for (int i = 0; i < 2; i++) MUST(attn_memory_append(memory[i], &rows.tensor, &rows.tensor, NULL));
        for (int i = 0; i < 3; i++) {
            context[i] = normal(&rng, USERS, 4 * HEADS, 1, DIMENSIONS);
            attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
            args.query = &query.tensor;
            args.memory = memory[i == 1];
            args.context = &context[i].tensor;
            if (i == 2 && plan == NULL) MUST(attn_plan_create(m, &args, &plan));
            if (i == 2) MUST(attn_plan_run(plan, &args));
            if (i < 2) MUST(attn_forward(m, &args));
        }
        assert_values(&context[0], &context[1]);
        assert_true(array_same_bits(&context[2], &context[0], 0, array_count(&context[0])));
        same += array_same_bits(&context[0], &context[1], 0, array_count(&context[0]));
        for (int i = 0; i < 3; i++) array_destroy(&context[i]);
        array_destroy(&query);
        array_destroy(&rows);
    }
    assert_int_equal(same, 0);
    attn_plan_destroy(plan);
    for (int i = 0; i < 2; i++) attn_memory_destroy(memory[i]);
    attn_mechanism_destroy(m);
}

static struct array bound(struct rng *rng, attn_multihead *layer, const char *name, int64_t rows, int64_t columns)
{
    struct array W = normal(rng, 1, 1, rows, columns);
    attn_tensor t = W.tensor;
    for (int64_t i = 0; i < rows * columns; i++) array_set(&W, i, array_get(&W, i) / sqrt((double)columns));
    t.ndim = 2;
    for (int d = 0; d < 2; d++) t.shape[d] = t.shape[d + 2], t.stride[d] = t.stride[d + 2];
    MUST(attn_multihead_bind_param(layer, name, &t));
    return W;
}

/* A layer appends what it then attends to, and says before how much memory that takes: of the last page that all have,
 * each gets a copy before the call, so that what they share is a page less and what each has for itself a page more. */
static void a_layer_needs_what_it_said(void **state)
{
    enum { EMBEDDED = 128, DIMENSIONS = EMBEDDED / HEADS, USERS = 20, PAGE = 32, PREFIX = 4 * PAGE - 8 };
    (void)state;
    for (int64_t n = 5; n <= 11; n += 3) {
        struct rng rng = {(uint64_t)n};
        attn_mechanism *m;
        attn_multihead *layer;
        attn_memory *memory[2];
        MUST(attn_mechanism_create_scaled_dot(engines[THREADS - 1], &m));
        attn_multihead_options options = ATTN_MULTIHEAD_OPTIONS_INIT;
        options.query_heads = HEADS;
        options.key_heads = HEADS;
        options.query_dim = EMBEDDED;
        MUST(attn_multihead_create(m, &options, &layer));
        struct array W[4] = {
            bound(&rng, layer, "W_q", EMBEDDED, EMBEDDED), bound(&rng, layer, "W_k", HEADS * DIMENSIONS, EMBEDDED),
            bound(&rng, layer, "W_v", HEADS * DIMENSIONS, EMBEDDED), bound(&rng, layer, "W_o", EMBEDDED, EMBEDDED)};
        make_memories(m, DIMENSIONS, PREFIX, PAGE, USERS, memory, &rng);
        struct array x = normal(&rng, 1, USERS, n, EMBEDDED), out[2];
        attn_tensor rows = x.tensor;
        for (int d = 0; d < 3; d++) rows.shape[d] = rows.shape[d + 1], rows.stride[d] = rows.stride[d + 1];
        rows.ndim = 3;
        for (int i = 0; i < 2; i++) {
            const int64_t shape[3] = {USERS, n, EMBEDDED};
            size_t bytes = 0;
            array_create(&out[i], ATTN_F32, 3, shape, LAYOUT_PLAIN, NULL);
            attn_multihead_args args = ATTN_MULTIHEAD_ARGS_INIT;
            args.query = &rows;
            args.output = &out[i].tensor;
            args.memory = memory[i];
            MUST(attn_multihead_workspace(layer, &args, &bytes));
            args.workspace = must_allocate(bytes);
            args.workspace_size = bytes;
            MUST(attn_multihead_forward(layer, &args));
            free(args.workspace);
        }
        assert_values(&out[0], &out[1]);
        for (int i = 0; i < 2; i++) array_destroy(&out[i]), attn_memory_destroy(memory[i]);
        for (int i = 0; i < 4; i++) array_destroy(&W[i]);
        array_destroy(&x);
        attn_multihead_destroy(layer);
        attn_mechanism_destroy(m);
    }
}

static int setup(void **state)
{
    (void)state;
    for (int i = 0; i < THREADS; i++) {
        attn_engine_options options = ATTN_ENGINE_OPTIONS_INIT;
        options.threads = i + 1;
        if (attn_engine_create(&options, &engines[i]) != ATTN_OK) return -1;
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < THREADS; i++) attn_engine_destroy(engines[i]);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_shared_is_read_once),
        cmocka_unit_test(every_score_takes_part),
        cmocka_unit_test(a_memory_reads_what_its_sequences_share_once),
        cmocka_unit_test(a_layer_needs_what_it_said),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
