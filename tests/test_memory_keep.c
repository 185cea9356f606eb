/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_memory_keep.c: memories of which chosen positions are kept, and that sequences leave and join, in random lives
 * beside lists of what each should hold: attention over them is that over memories which were filled at once. Pages are
 * counted beside them, so that what leaks, or is copied without need, is seen; and what is refused changes nothing.
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

enum { HEADS = 2, MOST_BATCH = 5, MOST_LENGTH = 90, MOST_FORKS = 3, MOST_ROWS = 20000, DIM = 10, DV = 7, STEPS = 70 };

/* What a memory holds: of each sequence the rows, by the order they were made in, and its pages, by numbers of ours. */
struct held {
    attn_memory *memory;
    int64_t batch, length[MOST_BATCH];
    int rows[MOST_BATCH][MOST_LENGTH], pages[MOST_BATCH][MOST_LENGTH];
};

struct life {
    struct rng rng;
    attn_engine *on;
    attn_mechanism *mechanism;
    struct array params[3];
    attn_memory_options options;
    attn_rope_options rope;
    attn_dtype given;
    bool fixed;
    struct held held[MOST_FORKS];
    int forks;
    int made, pages; /* rows and pages so far */
    int owners[MOST_ROWS];
    double key[MOST_ROWS][HEADS][DIM], value[MOST_ROWS][HEADS][DIM];
};

static int64_t pages_of(const struct life *l, int64_t length)
{
    return l->options.page == 0 ? 0 : (length + l->options.page - 1) / l->options.page;
}

/* ------------------------------------------------------------------------------------------------ pages */

static int new_page(struct life *l)
{
    l->owners[l->pages] = 1;
    return l->pages++;
}

/* Pages first .. end - 1 of a sequence are written to. */
struct writes {
    int64_t first, end;
};

/* How many pages that takes: of each all writers but one that has it last; and what is past the end. */
static int64_t pages_wanted(const struct life *l, const struct held *h, const struct writes *w)
{
    int64_t wanted = 0;
    for (int64_t b = 0; b < h->batch; b++) {
        for (int64_t k = w[b].first; k < w[b].end; k++) {
            if (k >= pages_of(l, h->length[b])) {
                wanted++;
                continue;
            }
            int writers = 0, is_first = 1;
            for (int64_t c = 0; c < h->batch; c++) {
                for (int64_t j = w[c].first; j < w[c].end && j < pages_of(l, h->length[c]); j++) {
                    if (h->pages[c][j] != h->pages[b][k]) continue;
                    if (c < b) is_first = 0;
                    writers++;
                }
            }
            if (is_first) wanted += writers - (writers == l->owners[h->pages[b][k]]);
        }
    }
    return wanted;
}

/* What an append that fails has copied stays its own: it is not to be counted then. */
static bool writes_to_shared(const struct life *l, const struct held *h, const struct writes *w)
{
    for (int64_t b = 0; b < h->batch; b++) {
        const int64_t end = pages_of(l, h->length[b]);
        for (int64_t k = w[b].first; k < w[b].end && k < end; k++) {
            if (l->owners[h->pages[b][k]] > 1) return true;
        }
    }
    return false;
}

static void write_pages(struct life *l, struct held *h, const struct writes *w)
{
    for (int64_t b = 0; b < h->batch; b++) {
        for (int64_t k = w[b].first; k < w[b].end; k++) {
            const bool is_there = k < pages_of(l, h->length[b]);
            if (is_there && l->owners[h->pages[b][k]] == 1) continue;
            if (is_there) l->owners[h->pages[b][k]]--;
            h->pages[b][k] = new_page(l);
        }
    }
}

static void set_length(struct life *l, struct held *h, int64_t b, int64_t length)
{
    for (int64_t k = pages_of(l, length); k < pages_of(l, h->length[b]); k++) l->owners[h->pages[b][k]]--;
    h->length[b] = length;
}

static void check_counts(const struct life *l)
{
    int64_t used = 0, count = -1, unused = -1;
    for (int k = 0; k < l->pages; k++) used += l->owners[k] > 0;
    for (int i = 0; i < l->forks; i++) {
        const struct held *h = &l->held[i];
        int64_t batch, lengths[MOST_BATCH];
        MUST(attn_memory_lengths(h->memory, &batch, lengths, MOST_BATCH));
        assert_int_equal(batch, h->batch);
        for (int64_t b = 0; b < batch; b++) assert_int_equal(lengths[b], h->length[b]);
        MUST(attn_memory_pages(h->memory, &count, &unused));
        assert_int_equal(count - unused, used);
        if (l->options.page == 0) assert_int_equal(count, 0);
    }
}

static int64_t unused_pages(const struct life *l)
{
    int64_t unused;
    MUST(attn_memory_pages(l->held[0].memory, NULL, &unused));
    return unused;
}

/* ----------------------------------------------------------------------------------------------- calls */

static struct array integers(struct life *l, const int64_t *values, int64_t count)
{
    struct array a;
    array_create(&a, rng_chance(&l->rng, 0.5) ? ATTN_I32 : ATTN_I64, 1, &count, LAYOUT_PADDED | LAYOUT_REVERSED,
                 &l->rng);
    for (int64_t i = 0; i < count; i++) array_set(&a, i, (double)values[i]);
    return a;
}

/* Calls, now and then with every allocation failing in its turn, which must change nothing. */
#define CALL(status, call) CALL_FAILING(rng_chance(&l->rng, 0.3), status, call)
#define CALL_FAILING(fails, status, call)                                                                              \
    do {                                                                                                               \
        for (own_memory.fail_at = fails ? 0 : -1;; own_memory.fail_at++) {                                             \
            own_memory.asked = 0;                                                                                      \
            (status) = (call);                                                                                         \
            if (own_memory.fail_at < 0 || own_memory.asked <= own_memory.fail_at) break;                               \
            assert_int_equal((status), ATTN_ERR_NOMEM);                                                                \
            check_counts(l);                                                                                           \
        }                                                                                                              \
        own_memory.fail_at = -1;                                                                                       \
    } while (0)

/* What becomes of a call that wants so many pages. True: it was done. */
static bool succeeds(const struct life *l, attn_status status, int64_t wanted, int64_t unused)
{
    if (l->fixed && wanted > unused) {
        assert_int_equal(status, ATTN_ERR_BUFFER);
        check_counts(l);
        return false;
    }
    if (status != ATTN_OK) fail_msg("%s", attn_last_error());
    return true;
}

/* Rows of the sequences, [B, HEADS, most, width]. */
static struct array rows_of(const struct life *l, const struct held *h, bool is_value, int64_t most,
                            const int64_t *first)
{
    struct array a;
    const int64_t width = is_value ? l->options.value_dim : l->options.key_dim;
    const int64_t shape[4] = {h->batch, HEADS, most, width};
    array_create(&a, l->given, 4, shape, LAYOUT_PLAIN, NULL);
    array_fill(&a, 0);
    for (int64_t x = 0; x < array_count(&a); x++) {
        const int64_t d = x % width, i = x / width % most, k = x / width / most % HEADS, b = x / width / most / HEADS;
        if (first[b] + i >= h->length[b]) continue;
        const int row = h->rows[b][first[b] + i];
        array_set(&a, x, is_value ? l->value[row][k][d] : l->key[row][k][d]);
    }
    return a;
}

static attn_status append_rows(struct life *l, attn_memory *to, const struct held *h, const int64_t *first, bool fails)
{
    int64_t counts[MOST_BATCH], most = 0;
    attn_status status;
    for (int64_t b = 0; b < h->batch; b++) {
        counts[b] = h->length[b] - first[b];
        most = counts[b] > most ? counts[b] : most;
    }
    struct array key = rows_of(l, h, false, most, first), value = rows_of(l, h, true, most, first);
    struct array given = integers(l, counts, h->batch);
    const attn_tensor *k = l->options.key_dim > 0 ? &key.tensor : NULL;
    const attn_tensor *v = l->options.flags & ATTN_MEMORY_KEYS_ALONE ? NULL : &value.tensor;
    CALL_FAILING(fails, status, attn_memory_append(to, k, v, &given.tensor));
    array_destroy(&key);
    array_destroy(&value);
    array_destroy(&given);
    return status;
}

static void append(struct life *l, struct held *h)
{
    struct held before = *h;
    struct writes w[MOST_BATCH];
    for (int64_t b = 0; b < h->batch; b++) {
        const int64_t room = MOST_LENGTH - h->length[b];
        const int64_t n = rng_chance(&l->rng, 0.2) ? 0 : rng_integer(&l->rng, 0, room < 12 ? room : 12);
        const int64_t page = l->options.page == 0 ? 1 : l->options.page;
        w[b] = (struct writes){h->length[b] / page, n == 0 ? 0 : pages_of(l, h->length[b] + n)};
        for (int64_t i = 0; i < n; i++, l->made++) {
            before.rows[b][h->length[b] + i] = l->made;
            for (int x = 0; x < HEADS * DIM; x++) {
                l->key[l->made][x / DIM][x % DIM] = rng_normal(&l->rng);
                l->value[l->made][x / DIM][x % DIM] = rng_normal(&l->rng);
            }
        }
        before.length[b] = h->length[b] + n;
    }
    const int64_t wanted = pages_wanted(l, h, w), unused = unused_pages(l);
    const bool fails = !writes_to_shared(l, h, w) && rng_chance(&l->rng, 0.3);
    if (!succeeds(l, append_rows(l, h->memory, &before, h->length, fails), wanted, unused)) return;
    write_pages(l, h, w);
    memcpy(h->rows, before.rows, sizeof h->rows);
    memcpy(h->length, before.length, sizeof h->length);
}

/* Some positions of each sequence past some length, or none; now and then those that follow as they are. */
static void keep(struct life *l, struct held *h)
{
    enum { MARGIN = 3 };
    int64_t lengths[MOST_BATCH], offsets[MOST_BATCH + 1], positions[MOST_BATCH * MOST_LENGTH + 2 * MARGIN], count = 0;
    struct writes w[MOST_BATCH];
    attn_status status;
    bool moves = false;
    while (count < rng_integer(&l->rng, 0, MARGIN)) positions[count++] = -7;
    for (int64_t b = 0; b < h->batch; b++) {
        const double some = rng_chance(&l->rng, 0.3) ? 1 : rng_uniform(&l->rng, 0, 1);
        lengths[b] = rng_chance(&l->rng, 0.2) ? 0 : rng_integer(&l->rng, 0, h->length[b]);
        offsets[b] = count;
        w[b] = (struct writes){0, 0};
        for (int64_t at = lengths[b]; at < h->length[b]; at++) {
            const int64_t to = lengths[b] + count - offsets[b];
            if (!rng_chance(&l->rng, some)) continue;
            if (to != at && l->options.page > 0 && w[b].end == 0) w[b].first = to / l->options.page;
            if (to != at) w[b].end = pages_of(l, to + 1);
            moves |= to != at;
            positions[count++] = at;
        }
    }
    offsets[h->batch] = count;
    positions[count] = -9;
    struct array first = integers(l, lengths, h->batch), chosen = integers(l, positions, count + 1);
    struct array from = integers(l, offsets, h->batch + 1);
    const int64_t wanted = pages_wanted(l, h, w), unused = unused_pages(l);
    CALL(status, attn_memory_keep(h->memory, &first.tensor, &chosen.tensor, &from.tensor));
    array_destroy(&first);
    array_destroy(&chosen);
    array_destroy(&from);
    if (moves && l->options.rope != NULL) {
        assert_int_equal(status, ATTN_ERR_UNSUPPORTED);
        check_counts(l);
        return;
    }
    if (!succeeds(l, status, wanted, unused)) return;
    write_pages(l, h, w);
    for (int64_t b = 0; b < h->batch; b++) {
        for (int64_t i = offsets[b]; i < offsets[b + 1]; i++) {
            h->rows[b][lengths[b] + i - offsets[b]] = h->rows[b][positions[i]];
        }
        set_length(l, h, b, lengths[b] + offsets[b + 1] - offsets[b]);
    }
}

static void truncate(struct life *l, struct held *h)
{
    int64_t lengths[MOST_BATCH];
    for (int64_t b = 0; b < h->batch; b++) lengths[b] = rng_integer(&l->rng, 0, h->length[b]);
    struct array to = integers(l, lengths, h->batch);
    MUST(attn_memory_truncate(h->memory, &to.tensor));
    array_destroy(&to);
    for (int64_t b = 0; b < h->batch; b++) set_length(l, h, b, lengths[b]);
}

/* Sequence b of one becomes what another's was. */
static void share(struct life *l, struct held *to, int64_t b, const struct held *from, int64_t row)
{
    to->length[b] = from->length[row];
    memcpy(to->rows[b], from->rows[row], sizeof to->rows[b]);
    memcpy(to->pages[b], from->pages[row], sizeof to->pages[b]);
    for (int64_t k = 0; k < pages_of(l, to->length[b]); k++) l->owners[to->pages[b][k]]++;
}

static void leave(struct life *l, struct held *h)
{
    for (int64_t b = 0; b < h->batch; b++) set_length(l, h, b, 0);
}

static void reorder(struct life *l, struct held *h)
{
    int64_t rows[MOST_BATCH];
    const int64_t count = rng_chance(&l->rng, 0.1) ? 0 : rng_integer(&l->rng, 1, MOST_BATCH);
    struct held before = *h;
    attn_status status;
    for (int64_t b = 0; b < count; b++) rows[b] = rng_integer(&l->rng, -1, h->batch - 1);
    struct array of = integers(l, rows, count);
    CALL(status, attn_memory_reorder(h->memory, &of.tensor));
    assert_int_equal(status, ATTN_OK);
    array_destroy(&of);
    h->batch = count;
    for (int64_t b = 0; b < count; b++) {
        h->length[b] = 0;
        if (rows[b] >= 0) share(l, h, b, &before, rows[b]);
    }
    leave(l, &before);
}

static void fork_or_drop(struct life *l, int which)
{
    struct held *h = &l->held[which], *made = &l->held[l->forks];
    if (l->forks < MOST_FORKS && rng_chance(&l->rng, 0.6)) {
        attn_status status;
        attn_memory *copy = NULL;
        CALL(status, attn_memory_fork(h->memory, &copy));
        assert_int_equal(status, ATTN_OK);
        made->memory = copy;
        made->batch = h->batch;
        for (int64_t b = 0; b < h->batch; b++) share(l, made, b, h, b);
        l->forks++;
    } else if (l->forks > 1) {
        leave(l, h);
        attn_memory_destroy(h->memory);
        *h = l->held[--l->forks];
    }
}

/* A query is answered as by a memory that was given at once what this one should hold; of float32, bit by bit. */
static void attend(struct life *l, const struct held *h)
{
    attn_memory *whole = NULL;
    attn_memory_options options = l->options;
    struct array context[2], weights[2], query;
    const int64_t nothing[MOST_BATCH] = {0}, keys = l->options.key_dim == 0 ? 9 : l->options.key_dim;
    const int64_t values = l->options.value_dim == 0 ? keys : l->options.value_dim;
    const int64_t query_shape[4] = {h->batch, 2 * HEADS, rng_integer(&l->rng, 1, 4), keys};
    const int64_t context_shape[4] = {h->batch, 2 * HEADS, query_shape[2], values};
    int64_t weights_shape[4] = {h->batch, 2 * HEADS, query_shape[2], 0}; /* of the longest sequence's keys */
    for (int64_t b = 0; b < h->batch; b++) {
        if (h->length[b] > weights_shape[3]) weights_shape[3] = h->length[b];
    }
    array_create(&query, l->given, 4, query_shape, LAYOUT_PLAIN, NULL);
    array_fill_normal(&query, &l->rng, 1);
    if (h->batch > 0) {
        options.batch = h->batch;
        options.flags &= ~(uint32_t)ATTN_MEMORY_FIXED;
        MUST(attn_memory_create(l->mechanism, &options, &whole));
        assert_int_equal(append_rows(l, whole, h, nothing, false), ATTN_OK);
    }
    for (int i = 0; i < 2; i++) {
        array_create(&context[i], l->given, 4, context_shape, LAYOUT_PLAIN, NULL);
        array_create(&weights[i], dtype_computed(l->given), 4, weights_shape, LAYOUT_PLAIN, NULL);
        attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
        args.query = &query.tensor;
        args.context = &context[i].tensor;
        args.weights = &weights[i].tensor;
        args.memory = i == 0 ? h->memory : whole;
        if (args.memory != NULL) MUST(attn_forward(l->mechanism, &args));
    }
    if (l->given == ATTN_F64) {
        assert_near(&context[0], &context[1], "context");
    } else if (!array_same_bits(&context[0], &context[1], 0, array_count(&context[0]))) {
        fail_msg("other bits from a memory that was filled at once");
    }
    assert_near(&weights[0], &weights[1], "weights");
    array_destroy(&query);
    array_destroy(&context[0]);
    array_destroy(&context[1]);
    array_destroy(&weights[0]);
    array_destroy(&weights[1]);
    attn_memory_destroy(whole);
}

/* ------------------------------------------------------------------------------------------------- lives */

static void make_mechanism(struct life *l, enum rule_kind kind)
{
    attn_engine *on = l->on;
    int32_t params;
    if (kind == RULE_DOT) MUST(attn_mechanism_create_dot(on, &l->mechanism));
    if (kind == RULE_SCALED_DOT) MUST(attn_mechanism_create_scaled_dot(on, &l->mechanism));
    if (kind == RULE_GENERAL) MUST(attn_mechanism_create_general(on, DIM, DIM, &l->mechanism));
    if (kind == RULE_ADDITIVE) MUST(attn_mechanism_create_additive(on, DIM, DIM, 12, 0, &l->mechanism));
    if (kind == RULE_CONCAT) MUST(attn_mechanism_create_concat(on, DIM, DIM, 12, &l->mechanism));
    if (kind == RULE_LOCATION) MUST(attn_mechanism_create_location(on, 9, MOST_LENGTH, &l->mechanism));
    MUST(attn_mechanism_param_count(l->mechanism, &params));
    for (int32_t i = 0; i < params; i++) {
        attn_param_info info = ATTN_PARAM_INFO_INIT;
        MUST(attn_mechanism_param_info(l->mechanism, i, &info));
        array_create(&l->params[i], l->given, info.ndim, info.shape, LAYOUT_PLAIN, NULL);
        array_fill_normal(&l->params[i], &l->rng, 0.5);
        MUST(attn_mechanism_bind_param(l->mechanism, info.name, &l->params[i].tensor));
    }
}

static void begin(struct life *l, enum rule_kind kind, attn_dtype kept, int64_t page)
{
    l->given = kept == ATTN_I8 ? ATTN_F32 : kept;
    make_mechanism(l, kind);
    attn_memory_options *o = &l->options;
    *o = (attn_memory_options)ATTN_MEMORY_OPTIONS_INIT;
    const bool alone = kind != RULE_LOCATION && rng_chance(&l->rng, 0.2);
    const bool turns = !alone && kind <= RULE_SCALED_DOT && rng_chance(&l->rng, 0.25);
    o->dtype = kept;
    o->batch = rng_integer(&l->rng, 1, MOST_BATCH);
    o->key_heads = HEADS;
    o->key_dim = kind == RULE_LOCATION ? 0 : DIM;
    o->value_dim = alone ? 0 : DV;
    o->capacity = rng_chance(&l->rng, 0.5) ? 0 : rng_integer(&l->rng, 1, 50);
    o->page = page;
    l->fixed = page > 0 && rng_chance(&l->rng, 0.4);
    if (l->fixed) o->capacity = rng_integer(&l->rng, 10, 60);
    o->flags = (alone ? (uint32_t)ATTN_MEMORY_KEYS_ALONE : 0) | (l->fixed ? (uint32_t)ATTN_MEMORY_FIXED : 0);
    l->rope = (attn_rope_options)ATTN_ROPE_OPTIONS_INIT;
    l->rope.layout = ATTN_ROPE_HALVES;
    o->rope = turns ? &l->rope : NULL;
    MUST(attn_memory_create(l->mechanism, o, &l->held[0].memory));
    l->held[0].batch = o->batch;
    l->forks = 1;
}

/* When the last sequence has left, every page is nobody's. */
static void end(struct life *l)
{
    while (l->forks > 1) {
        leave(l, &l->held[--l->forks]);
        attn_memory_destroy(l->held[l->forks].memory);
    }
    int64_t count, unused;
    struct array none = integers(l, NULL, 0);
    MUST(attn_memory_reorder(l->held[0].memory, &none.tensor));
    MUST(attn_memory_pages(l->held[0].memory, &count, &unused));
    assert_int_equal(count, unused);
    array_destroy(&none);
    attn_memory_destroy(l->held[0].memory);
    attn_mechanism_destroy(l->mechanism);
    for (int i = 0; i < 3; i++) array_destroy(&l->params[i]);
}

static void live(attn_engine *on, enum rule_kind kind, attn_dtype kept, uint64_t seed)
{
    struct life *l = must_allocate(sizeof *l);
    memset(l, 0, sizeof *l);
    l->rng = (struct rng){seed};
    l->on = on;
    begin(l, kind, kept, seed % 3 == 0 ? 0 : rng_integer(&l->rng, 1, 11));
    for (int step = 0; step < STEPS; step++) {
        const int which = (int)rng_integer(&l->rng, 0, l->forks - 1);
        struct held *h = &l->held[which];
        const int64_t operation = rng_integer(&l->rng, 0, 10);
        if (operation < 4) append(l, h);
        if (operation == 4 || operation == 5) keep(l, h);
        if (operation == 6) truncate(l, h);
        if (operation == 7) reorder(l, h);
        if (operation == 8) fork_or_drop(l, which);
        if (operation > 8) attend(l, h);
        check_counts(l);
    }
    for (int i = 0; i < l->forks; i++) attend(l, &l->held[i]);
    end(l);
    free(l);
}

static void memories_hold_what_was_kept(void **state)
{
    static const struct {
        enum rule_kind kind;
        attn_dtype kept;
    } all[] = {{RULE_DOT, ATTN_F32},      {RULE_SCALED_DOT, ATTN_F16}, {RULE_DOT, ATTN_BF16},
               {RULE_DOT, ATTN_I8},       {RULE_DOT, ATTN_F64},        {RULE_GENERAL, ATTN_F32},
               {RULE_ADDITIVE, ATTN_F32}, {RULE_CONCAT, ATTN_F64},     {RULE_LOCATION, ATTN_F32},
               {RULE_ADDITIVE, ATTN_I8},  {RULE_CONCAT, ATTN_F16}};
    (void)state;
    attn_engine *on = own_engine(2, NULL);
    const int64_t alive = own_memory.alive, bytes = own_memory.bytes;
    const int cases = few_cases() ? 3 : 18;
    for (size_t i = 0; i < sizeof all / sizeof *all * (size_t)cases; i++) {
        live(on, all[i / (size_t)cases].kind, all[i / (size_t)cases].kept, i);
        assert_int_equal(own_memory.alive, alive);
        assert_int_equal(own_memory.bytes, bytes);
    }
    attn_engine_destroy(on);
    assert_int_equal(own_memory.alive, 0);
}

/* ------------------------------------------------------------------------------------------------ by hand */

static attn_memory *small_memory(attn_mechanism *m, int64_t batch, int64_t capacity, int64_t page)
{
    attn_memory *memory;
    attn_memory_options o = ATTN_MEMORY_OPTIONS_INIT;
    o.dtype = ATTN_F32, o.batch = batch, o.key_heads = 1, o.key_dim = 2, o.value_dim = 1;
    o.capacity = capacity, o.page = page, o.flags = page > 0 ? (uint32_t)ATTN_MEMORY_FIXED : 0;
    MUST(attn_memory_create(m, &o, &memory));
    return memory;
}

static attn_tensor of(int64_t *numbers, int64_t count)
{
    return (attn_tensor){numbers, ATTN_I64, 1, {count}, {1}};
}

static void refused(attn_status got, attn_status status, const char *word)
{
    if (got == status && strncmp(attn_last_error(), "attn_memory_", 12) == 0 && strstr(attn_last_error(), word) != NULL)
        return;
    fail_msg("%s (%s), but %s about %s is wanted", attn_status_string(got), attn_last_error(),
             attn_status_string(status), word);
}

static void wrong_choices_are_refused(void **state)
{
    (void)state;
    attn_mechanism *m;
    MUST(attn_mechanism_create_dot(engine, &m));
    attn_memory *memory = small_memory(m, 2, 0, 0);
    float rows[2 * 5 * 2] = {0};
    const attn_tensor key = {rows, ATTN_F32, 4, {2, 1, 5, 2}, {10, 10, 2, 1}};
    const attn_tensor value = {rows, ATTN_F32, 4, {2, 1, 5, 1}, {10, 10, 2, 1}};
    int64_t some[] = {5, 3};
    attn_tensor counts = of(some, 2);
    MUST(attn_memory_append(memory, &key, &value, &counts));
    int64_t first[] = {1, 2}, chosen[] = {1, 4, 2}, from[] = {0, 2, 3};
    attn_tensor lengths = of(first, 2), positions = of(chosen, 3), offsets = of(from, 3), wrong;
#define KEEP_REFUSED(status, word)                                                                                     \
    refused(attn_memory_keep(memory, &lengths, &positions, &offsets), ATTN_ERR_##status, word)
    refused(attn_memory_keep(NULL, &lengths, &positions, &offsets), ATTN_ERR_ARGUMENT, "memory is NULL");
    refused(attn_memory_keep(memory, NULL, &positions, &offsets), ATTN_ERR_ARGUMENT, "lengths is NULL");
    refused(attn_memory_keep(memory, &lengths, NULL, &offsets), ATTN_ERR_ARGUMENT, "positions is NULL");
    refused(attn_memory_keep(memory, &lengths, &positions, NULL), ATTN_ERR_ARGUMENT, "offsets is NULL");
    lengths.dtype = ATTN_F64;
    KEEP_REFUSED(DTYPE, "lengths");
    lengths = of(first, 2), positions.dtype = ATTN_F32;
    KEEP_REFUSED(DTYPE, "positions");
    positions = of(chosen, 3), offsets.dtype = ATTN_F64;
    KEEP_REFUSED(DTYPE, "offsets");
    offsets = of(from, 3), lengths.shape[0] = 1;
    KEEP_REFUSED(SHAPE, "lengths has 1 elements");
    lengths = of(first, 2), offsets.shape[0] = 2;
    KEEP_REFUSED(SHAPE, "offsets has 2");
    offsets.shape[0] = 0;
    KEEP_REFUSED(SHAPE, "offsets");
    offsets = of(from, 3), positions.shape[0] = 2;
    KEEP_REFUSED(ARGUMENT, "offsets ends with 3");
    positions = of(chosen, 3);
    wrong = positions, wrong.ndim = 2;
    refused(attn_memory_keep(memory, &lengths, &wrong, &offsets), ATTN_ERR_SHAPE, "positions");
    static const struct {
        int64_t first[2], chosen[3], from[3];
        const char *word;
    } all[] = {
        {{6, 0}, {1, 4, 2}, {0, 0, 0}, "lengths[0]"},           {{1, 4}, {1, 4, 2}, {0, 0, 0}, "lengths[1]"},
        {{-1, 0}, {1, 4, 2}, {0, 0, 0}, "lengths[0]"},          {{2, 2}, {1, 4, 2}, {0, 2, 3}, "positions[0]"},
        {{1, 2}, {1, 5, 2}, {0, 2, 3}, "positions[1]"},         {{1, 2}, {3, 3, 2}, {0, 2, 3}, "positions[1]"},
        {{1, 2}, {4, 3, 2}, {0, 2, 3}, "positions[1]"},         {{1, 2}, {1, 4, 3}, {0, 2, 3}, "positions[2]"},
        {{1, 2}, {1, 4, 1}, {0, 2, 3}, "positions[2]"},         {{0, 0}, {-1, 4, 1}, {0, 2, 3}, "positions[0]"},
        {{1, 2}, {1, INT64_MAX, 2}, {0, 2, 3}, "positions[1]"}, {{1, 2}, {1, 4, 2}, {0, 2, 1}, "offsets[2]"},
        {{1, 2}, {1, 4, 2}, {-1, 2, 3}, "offsets[0]"},          {{1, 2}, {INT64_MIN, 4, 2}, {0, 2, 3}, "positions[0]"}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        memcpy(first, all[i].first, sizeof first);
        memcpy(chosen, all[i].chosen, sizeof chosen);
        memcpy(from, all[i].from, sizeof from);
        KEEP_REFUSED(ARGUMENT, all[i].word);
    }
    int64_t batch, now[2], order[] = {0, -2};
    wrong = of(order, 2);
    refused(attn_memory_reorder(memory, &wrong), ATTN_ERR_ARGUMENT, "rows[1] is -2, but must be -1 .. 1");
    refused(attn_memory_pages(NULL, &batch, now), ATTN_ERR_ARGUMENT, "memory is NULL");
    MUST(attn_memory_lengths(memory, &batch, now, 2));
    assert_true(now[0] == 5 && now[1] == 3);
    MUST(attn_memory_pages(memory, NULL, NULL));
    attn_memory_destroy(memory);
    attn_mechanism_destroy(m);
}

/* A full pool: sequences that share a page, of which one may be written to where it is, but not both. */
static void a_page_is_copied_for_all_but_the_last(void **state)
{
    (void)state;
    attn_mechanism *m;
    attn_memory *fork;
    MUST(attn_mechanism_create_dot(engine, &m));
    attn_memory *memory = small_memory(m, 1, 12, 4);
    float rows[10 * 2] = {0};
    const attn_tensor key = {rows, ATTN_F32, 4, {1, 1, 10, 2}, {0, 0, 2, 1}};
    const attn_tensor value = {rows, ATTN_F32, 4, {1, 1, 10, 1}, {0, 0, 2, 1}};
    MUST(attn_memory_append(memory, &key, &value, NULL));
    int64_t twice[] = {0, 0}, zeros[] = {0, 0}, chosen[] = {1, 2, 3, 9, 5, 8}, from[] = {0, 3, 4}, both[2], count,
            unused;
    attn_tensor order = of(twice, 2), lengths = of(zeros, 2), positions = of(chosen, 6), offsets = of(from, 3);
    MUST(attn_memory_reorder(memory, &order));
    MUST(attn_memory_pages(memory, &count, &unused));
    assert_true(count == 3 && unused == 0);
    refused(attn_memory_keep(memory, &lengths, &positions, &offsets), ATTN_ERR_BUFFER, "attn_memory_keep: 1 pages are");
    MUST(attn_memory_lengths(memory, &count, both, 2));
    assert_true(both[0] == 10 && both[1] == 10);
    zeros[1] = 8, chosen[3] = 4, from[1] = 5,
    from[2] = 6; /* the second sequence stays where it is: the first writes two pages that it shares */
    refused(attn_memory_keep(memory, &lengths, &positions, &offsets), ATTN_ERR_BUFFER, "attn_memory_keep: 2 pages are");
    zeros[1] = 0, from[2] = 5; /* and when it keeps nothing, still: what goes back goes back last */
    refused(attn_memory_keep(memory, &lengths, &positions, &offsets), ATTN_ERR_BUFFER, "attn_memory_keep: 2 pages are");
    zeros[0] = zeros[1] = 3, from[1] = 0, from[2] = 0;
    MUST(attn_memory_keep(memory, &lengths, &positions, &offsets)); /* which writes to none */
    MUST(attn_memory_pages(memory, &count, &unused));
    assert_true(count == 3 && unused == 2);
    MUST(attn_memory_fork(memory, &fork));
    zeros[0] = zeros[1] = 0, chosen[0] = 1, chosen[1] = 2, from[1] = 1, from[2] = 2;
    MUST(attn_memory_keep(memory, &lengths, &positions, &offsets)); /* the fork has the page that both had */
    MUST(attn_memory_pages(memory, &count, &unused));
    assert_true(count == 3 && unused == 0);
    attn_memory_destroy(fork);
    MUST(attn_memory_pages(memory, &count, &unused));
    assert_true(count == 3 && unused == 1);
    attn_memory_destroy(memory);
    attn_mechanism_destroy(m);
}

/* A memory that all sequences have left bears every call, and is joined again. */
static void a_memory_of_nobody_is_joined_again(void **state)
{
    (void)state;
    attn_mechanism *m;
    MUST(attn_mechanism_create_dot(engine, &m));
    for (int i = 0; i < 2; i++) {
        attn_memory *memory = small_memory(m, 2, 8, i == 0 ? 0 : 2), *fork;
        float rows[2 * 3 * 2] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, out[2];
        attn_tensor key = {rows, ATTN_F32, 4, {2, 1, 3, 2}, {6, 6, 2, 1}};
        attn_tensor value = {rows, ATTN_F32, 4, {2, 1, 3, 1}, {6, 6, 2, 1}};
        attn_tensor query = {rows, ATTN_F32, 4, {0, 1, 1, 2}, {2, 2, 2, 1}};
        attn_tensor context = {out, ATTN_F32, 4, {0, 1, 1, 1}, {1, 1, 1, 1}};
        attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
        args.query = &query, args.context = &context;
        MUST(attn_memory_append(memory, &key, &value, NULL));
        int64_t number = 0, batch = 9, count, unused, joining[] = {-1, -1};
        attn_tensor nobody = of(NULL, 0), one = of(&number, 1), two = of(joining, 2);
        MUST(attn_memory_reorder(memory, &nobody));
        MUST(attn_memory_fork(memory, &fork));
        attn_memory *const both[2] = {memory, fork};
        for (int k = 0; k < 2; k++) {
            MUST(attn_memory_lengths(both[k], &batch, &number, 0));
            assert_int_equal(batch, 0);
            MUST(attn_memory_pages(both[k], &count, &unused));
            assert_int_equal(count, unused);
            key.shape[0] = value.shape[0] = query.shape[0] = context.shape[0] = 0;
            MUST(attn_memory_append(both[k], &key, &value, NULL));
            MUST(attn_memory_append(both[k], &key, &value, &nobody));
            key.shape[0] = value.shape[0] = 1;
            MUST(attn_memory_append_ragged(both[k], &key, &value, &one));
            MUST(attn_memory_truncate(both[k], &nobody));
            MUST(attn_memory_keep(both[k], &nobody, &nobody, &one));
            MUST(attn_memory_reorder(both[k], &nobody));
            args.memory = both[k];
            MUST(attn_forward(m, &args));
            attn_plan *plan;
            MUST(attn_plan_create(m, &args, &plan));
            MUST(attn_plan_run(plan, &args));
            attn_plan_destroy(plan);
            number = 0;
            refused(attn_memory_reorder(both[k], &one), ATTN_ERR_ARGUMENT, "rows[0] is 0, but must be -1 .. -1");
            MUST(attn_memory_reorder(both[k], &two));
            key.shape[0] = value.shape[0] = query.shape[0] = context.shape[0] = 2;
            MUST(attn_forward(m, &args)); /* of sequences that are empty */
            assert_true(out[0] == 0 && out[1] == 0);
            MUST(attn_memory_append(both[k], &key, &value, NULL));
            MUST(attn_forward(m, &args));
            assert_true(out[0] > 1 && out[0] <= 5 && out[1] > 7 && out[1] <= 11);
            MUST(attn_memory_reorder(both[k], &nobody)); /* pages are fixed: the fork has them next */
        }
        attn_memory_destroy(memory);
        attn_memory_destroy(fork);
    }
    attn_mechanism_destroy(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memories_hold_what_was_kept),
        cmocka_unit_test(wrong_choices_are_refused),
        cmocka_unit_test(a_page_is_copied_for_all_but_the_last),
        cmocka_unit_test(a_memory_of_nobody_is_joined_again),
    };
    return cmocka_run_group_tests_name("keeping of memories", tests, engine_setup, engine_teardown);
}
