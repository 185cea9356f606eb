/* SPDX-License-Identifier: BSD-3-Clause
 *
 * test_ragged.c: ragged batches, forward and backward, and keys in pages, forward, beside calls with each sequence
 * alone, whose tensors are cut out here: every score function with every modifier, in every type.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backward_scene.h"

enum { MOST_SEQUENCES = 5 };

/* Sums over some hundreds of rows of all sequences, in one number, are rounded otherwise than sequence by sequence: in
 * units of epsilon times 1 and what they add up to. */
enum { OF_SUMS = 32 };

/* What is ragged, and where the sequences are: sequence b has rows q[b] .. q[b + 1] - 1, of `rows` there are. */
struct cut {
    bool queries, keys, paged;
    int64_t n[MOST_SEQUENCES]; /* keys of each, in pages */
    int64_t batch, query_rows, key_rows;
    int64_t q[MOST_SEQUENCES + 1], k[MOST_SEQUENCES + 1], longest;
};

static int64_t draw_offsets(struct rng *rng, int64_t batch, int64_t most, int64_t *offsets)
{
    offsets[0] = rng_chance(rng, 0.3) ? rng_integer(rng, 1, 3) : 0;
    for (int64_t b = 0; b < batch; b++) {
        offsets[b + 1] = offsets[b] + (rng_chance(rng, 0.2) ? 0 : rng_integer(rng, 0, most));
    }
    return offsets[batch] + (rng_chance(rng, 0.3) ? rng_integer(rng, 1, 3) : 0);
}

static void cut_draw(struct cut *c, struct rng *rng, const struct scene_shape *n, bool pages)
{
    const int64_t which = rng_integer(rng, 0, pages ? 5 : 3);
    memset(c, 0, sizeof *c);
    c->queries = which != 1 && which != 5;
    c->keys = which < 4 && which != 2;
    c->paged = which >= 4;
    c->batch = n->batch;
    c->query_rows = c->queries ? draw_offsets(rng, n->batch, n->queries, c->q) : n->queries;
    c->key_rows = c->keys ? draw_offsets(rng, n->batch, n->keys, c->k) : n->keys;
    c->longest = c->keys || c->paged ? 0 : n->keys;
    for (int64_t b = 0; b < n->batch && c->paged; b++) {
        c->n[b] = rng_chance(rng, 0.2) ? 0 : rng_integer(rng, 0, n->keys);
        if (c->n[b] > c->longest) c->longest = c->n[b];
    }
    for (int64_t b = 0; b < n->batch && c->keys; b++) {
        if (c->k[b + 1] - c->k[b] > c->longest) c->longest = c->k[b + 1] - c->k[b];
    }
}

static int64_t queries_of(const struct cut *c, int64_t b)
{
    return c->queries ? c->q[b + 1] - c->q[b] : c->query_rows;
}

static int64_t keys_of(const struct cut *c, int64_t b)
{
    return c->paged ? c->n[b] : c->keys ? c->k[b + 1] - c->k[b] : c->key_rows;
}

/* ------------------------------------------------------------------------------------------------ tensors */

/* What a tensor's dimensions are: [B, H, Tq, .], [B, H, Tq], [B, H, Tk, .], [B, H, Tk], [B, H, Tq, Tk]; and that, each
 * dimension being 1 or what it is. */
enum kind { OF_QUERIES, OF_QUERY_ROWS, OF_KEYS, OF_KEY_ROWS, OF_BOTH, BROADCAST, WHOLE };

static void narrow(attn_tensor *t, int d, int64_t first, int64_t count)
{
    static const int64_t sizes[] = {[ATTN_F32] = 4,  [ATTN_F64] = 8,  [ATTN_I32] = 4, [ATTN_I64] = 8,
                                    [ATTN_BOOL] = 1, [ATTN_BF16] = 2, [ATTN_F16] = 2, [ATTN_I8] = 1};
    if (t->data != NULL) t->data = (char *)t->data + first * t->stride[d] * sizes[t->dtype];
    t->shape[d] = count;
}

/* Sequence b of a tensor of the ragged call. */
static attn_tensor slice(const struct cut *c, enum kind kind, attn_tensor t, int64_t b)
{
    const int by_keys = kind == OF_KEYS || kind == OF_KEY_ROWS;
    const int ragged = by_keys ? c->keys : c->queries;
    const int64_t *offsets = by_keys ? c->k : c->q;
    if (kind == WHOLE) return t;
    if (kind == BROADCAST) {
        if (t.shape[0] > 1) narrow(&t, 0, b, 1);
        if (c->queries && t.shape[2] > 1) narrow(&t, 2, offsets[b], offsets[b + 1] - offsets[b]);
    } else if (ragged) {
        narrow(&t, 2, offsets[b], offsets[b + 1] - offsets[b]);
    } else {
        narrow(&t, 0, b, 1);
        if (by_keys && c->paged) narrow(&t, 2, 0, c->n[b]);
    }
    if (kind == OF_BOTH || (kind == BROADCAST && t.shape[3] > 1)) t.shape[3] = keys_of(c, b);
    return t;
}

/* A tensor of the call, of which sequences are cut out into `of`. */
struct part {
    enum kind kind;
    const attn_tensor **whole;
    const attn_tensor *together; /* that which is in pages in the call; or NULL */
    attn_tensor of;
};

enum { MOST_PARTS = 40, MOST_FEW = 16 };

/* One random problem, as a ragged call. */
struct ragged {
    struct scene scene;
    struct cut cut;
    struct scene_shape shape;
    struct array query_offsets, key_offsets;
    struct array query, key, value, key_scales, value_scales, mask, bias;
    struct array pages[4], table, page_offsets, lengths; /* pages: of key, value and their scales */
    attn_forward_args args;
    attn_backward_args back;
    struct part part[MOST_PARTS];
    int parts;
    char doing[120];
};

static void create(struct ragged *r, struct array *a, attn_dtype dtype, int32_t ndim, int64_t s0, int64_t s1,
                   int64_t s2, int64_t s3)
{
    const int64_t shape[4] = {s0, s1, s2, s3};
    array_create(a, dtype, ndim, shape, r->scene.layout & LAYOUT_OUTPUT, &r->scene.rng);
}

static void add_part(struct ragged *r, enum kind kind, const attn_tensor **whole)
{
    assert_true(r->parts < MOST_PARTS);
    if (*whole != NULL) r->part[r->parts++] = (struct part){.kind = kind, .whole = whole};
}

static struct array offsets_array(struct ragged *r, const int64_t *offsets)
{
    struct array a;
    const int64_t count = r->cut.batch + 1;
    array_create(&a, rng_chance(&r->scene.rng, 0.5) ? ATTN_I32 : ATTN_I64, 1, &count, LAYOUT_OUTPUT, &r->scene.rng);
    for (int64_t b = 0; b <= r->cut.batch; b++) array_set(&a, b, (double)offsets[b]);
    return a;
}

/* Rows of normal numbers, those of no sequence being NaN. */
static void rows_create(struct ragged *r, struct array *a, attn_dtype dtype, bool by_keys, int64_t heads, int64_t width)
{
    const struct cut *c = &r->cut;
    const bool ragged = by_keys ? c->keys : c->queries;
    const int64_t rows = by_keys ? c->key_rows : c->query_rows, *offsets = by_keys ? c->k : c->q;
    create(r, a, dtype, 4, ragged ? 1 : c->batch, heads, rows, width);
    array_fill_normal(a, &r->scene.rng, 1.0);
    for (int64_t x = array_count(a) - 1; x >= 0; x--) {
        const int64_t row = x / width % rows;
        if (dtype == ATTN_I8) array_set(a, x, (double)rng_integer(&r->scene.rng, -127, 127));
        if (dtype != ATTN_I8 && ragged && (row < offsets[0] || row >= offsets[c->batch])) array_set(a, x, NAN);
    }
}

static void broadcast_create(struct ragged *r, struct array *a, attn_dtype dtype)
{
    const struct cut *c = &r->cut;
    struct rng *rng = &r->scene.rng;
    const int64_t full[4] = {c->queries ? 1 : c->batch, r->shape.query_heads, c->query_rows,
                             c->longest + (c->keys || c->paged ? rng_integer(rng, 0, 2) : 0)};
    int64_t shape[4];
    for (int d = 0; d < 4; d++) shape[d] = full[d] > 0 && rng_chance(rng, 0.3) ? 1 : full[d];
    if (rng_chance(rng, 0.3)) { /* by sequences alone */
        shape[0] = c->batch;
        shape[2] = 1;
    }
    create(r, a, dtype, 4, shape[0], shape[1], shape[2], shape[3]);
    for (int64_t i = array_count(a) - 1; i >= 0; i--) {
        if (dtype == ATTN_BOOL) array_set(a, i, rng_chance(rng, 0.7));
        if (dtype != ATTN_BOOL) array_set(a, i, rng_chance(rng, 0.05) ? -HUGE_VAL : rng_normal(rng));
    }
}

/* Keys, values and scales are copied to pages in any order, of which some are nobody's; what nobody has is NaN. */
static void put_in_pages(struct ragged *r)
{
    struct rng *rng = &r->scene.rng;
    const struct cut *c = &r->cut;
    const int64_t page = rng_chance(rng, 0.3) ? 1 : rng_integer(rng, 1, 40), most = c->longest / page + 1;
    const int64_t spare = rng_integer(rng, 0, 3), count = c->batch * most + spare;
    const bool packed = rng_chance(rng, 0.5);
    const attn_tensor **slots[] = {&r->args.key, &r->args.value, &r->args.key_scales, &r->args.value_scales};
    const struct array *from[] = {&r->key, &r->value, &r->key_scales, &r->value_scales};
    int64_t *order = must_allocate((size_t)count * sizeof *order), used = 0;
    for (int64_t i = 0; i < count; i++) order[i] = i;
    rng_shuffle(rng, order, count);
    for (int i = 0; i < 4; i++) {
        if (*slots[i] == NULL) continue;
        const attn_tensor *t = &from[i]->tensor;
        const int64_t heads = t->shape[1], rows = t->shape[2], width = i < 2 ? t->shape[3] : 1;
        create(r, &r->pages[i], t->dtype, t->ndim, count, heads, page, i < 2 ? width : 0);
        array_fill(&r->pages[i], t->dtype == ATTN_I8 ? 127 : NAN);
        for (int64_t b = 0; b < c->batch; b++) {
            for (int64_t h = 0; h < heads; h++) {
                for (int64_t j = 0; j < c->n[b] * width; j++) {
                    const int64_t row = j / width, to = order[b * most + row / page];
                    array_set(&r->pages[i], ((to * heads + h) * page + row % page) * width + j % width,
                              array_get(from[i], ((b * heads + h) * rows + row) * width + j % width));
                }
            }
        }
        *slots[i] = &r->pages[i].tensor;
    }
    const attn_dtype dtype = rng_chance(rng, 0.5) ? ATTN_I32 : ATTN_I64;
    int64_t offsets[MOST_SEQUENCES + 1] = {rng_integer(rng, 0, 2)};
    for (int64_t b = 0; b < c->batch; b++) {
        offsets[b + 1] = offsets[b] + (packed ? (c->n[b] + page - 1) / page + rng_integer(rng, 0, 1) : 0);
    }
    const int64_t dense[2] = {c->batch, most}, all = offsets[c->batch] + 1;
    array_create(&r->table, dtype, packed ? 1 : 2, packed ? &all : dense, LAYOUT_OUTPUT, rng);
    array_fill(&r->table, -7); /* which nobody may look at */
    for (int64_t b = 0; b < c->batch; b++) {
        for (int64_t k = 0; k * page < c->n[b]; k++, used++) {
            array_set(&r->table, packed ? offsets[b] + k : b * most + k, (double)order[b * most + k]);
        }
    }
    r->args.page_table = &r->table.tensor;
    if (packed) r->page_offsets = offsets_array(r, offsets), r->args.page_offsets = &r->page_offsets.tensor;
    array_create(&r->lengths, ATTN_I32, 1, &c->batch, LAYOUT_OUTPUT, rng);
    for (int64_t b = 0; b < c->batch; b++) array_set(&r->lengths, b, (double)c->n[b]);
    r->args.key_lengths = &r->lengths.tensor;
    free(order);
}

static void ragged_create(struct ragged *r, enum twin_score score, attn_dtype dtype, unsigned modifiers, uint64_t seed,
                          bool large, bool pages)
{
    struct scene *s = &r->scene;
    memset(r, 0, sizeof *r);
    *s = (struct scene){.score = score,
                        .dtype = dtype,
                        .rng = {seed},
                        .layout = LAYOUT_INPUT,
                        .without_twin = true,
                        .may_be_fast = dtype == ATTN_BF16};
    r->shape = scene_any_shape(&s->rng);
    r->shape.batch = rng_integer(&s->rng, 1, MOST_SEQUENCES);
    if (large) r->shape.queries *= 6, r->shape.keys *= 9;
    if (modifiers & HAS_DROPOUT) r->shape.query_heads = r->shape.key_heads = 1; /* so that rows count alike */
    s->modifiers = modifiers & ~(unsigned)(HAS_BIAS | HAS_MASK | HAS_LENGTHS);
    scene_create(s, &r->shape);
    cut_draw(&r->cut, &s->rng, &r->shape, pages);
    snprintf(r->doing, sizeof r->doing, "%llu (%s, %s, modifiers %x, ragged %s)", (unsigned long long)seed,
             scene_score_names[score], dtype_name(dtype), modifiers,
             r->cut.paged     ? "pages"
             : !r->cut.keys   ? "queries"
             : r->cut.queries ? "both"
                              : "keys");
    const struct twin_problem *t = &s->twin;
    const bool is_quantised = dtype != ATTN_F64 && !(modifiers & HAS_HARDMAX) && rng_chance(&s->rng, 0.15);
    const attn_dtype kept = is_quantised ? ATTN_I8 : dtype;
    attn_forward_args *a = &r->args;
    *a = s->args;
    rows_create(r, &r->query, dtype, false, r->shape.query_heads, t->query_dim);
    a->query = &r->query.tensor;
    if (a->key) rows_create(r, &r->key, kept, true, r->shape.key_heads, t->key_dim), a->key = &r->key.tensor;
    if (a->value) rows_create(r, &r->value, kept, true, r->shape.key_heads, t->value_dim), a->value = &r->value.tensor;
    struct array *scales[] = {&r->key_scales, &r->value_scales};
    const attn_tensor *of[] = {a->key, a->value}, **slot[] = {&a->key_scales, &a->value_scales};
    for (int i = 0; i < 2 && is_quantised; i++) {
        if (of[i] == NULL) continue;
        create(r, scales[i], ATTN_F32, 3, of[i]->shape[0], of[i]->shape[1], of[i]->shape[2], 0);
        for (int64_t x = 0; x < array_count(scales[i]); x++) array_set(scales[i], x, rng_uniform(&s->rng, 0.001, 0.02));
        *slot[i] = &scales[i]->tensor;
    }
    if (modifiers & HAS_MASK) broadcast_create(r, &r->mask, ATTN_BOOL), a->mask = &r->mask.tensor;
    if (modifiers & HAS_BIAS) broadcast_create(r, &r->bias, dtype), a->bias = &r->bias.tensor;
    if (r->cut.queries) r->query_offsets = offsets_array(r, r->cut.q), a->query_offsets = &r->query_offsets.tensor;
    if (r->cut.keys) r->key_offsets = offsets_array(r, r->cut.k), a->key_offsets = &r->key_offsets.tensor;
    if (r->cut.paged) {
        put_in_pages(r);
    } else if (modifiers & HAS_LENGTHS) {
        array_create(&s->lengths, ATTN_I64, 1, &r->cut.batch, LAYOUT_PLAIN, NULL);
        for (int64_t b = 0; b < r->cut.batch; b++) {
            array_set(&s->lengths, b, (double)rng_integer(&s->rng, 0, keys_of(&r->cut, b)));
        }
        a->key_lengths = &s->lengths.tensor;
    }
    add_part(r, OF_QUERIES, &a->query);
    add_part(r, BROADCAST, &a->mask);
    add_part(r, BROADCAST, &a->bias);
    const attn_tensor **slots[] = {&a->key, &a->value, &a->key_scales, &a->value_scales};
    const struct array *together[] = {&r->key, &r->value, &r->key_scales, &r->value_scales};
    for (int i = 0; i < 4; i++) {
        if (*slots[i] == NULL) continue;
        add_part(r, i < 2 ? OF_KEYS : OF_KEY_ROWS, slots[i]);
        if (r->cut.paged) r->part[r->parts - 1].together = &together[i]->tensor;
    }
}

static void ragged_destroy(struct ragged *r)
{
    struct array *arrays[] = {&r->query_offsets, &r->key_offsets, &r->query,        &r->key,
                              &r->value,         &r->key_scales,  &r->value_scales, &r->mask,
                              &r->bias,          &r->pages[0],    &r->pages[1],     &r->pages[2],
                              &r->pages[3],      &r->table,       &r->page_offsets, &r->lengths};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) array_destroy(arrays[i]);
    scene_destroy(&r->scene);
}

/* The call becomes that with sequence b alone, whose length is in `length`. Returns what it was. */
static attn_forward_args begin_alone(struct ragged *r, int64_t b, int64_t *length, attn_tensor *lengths)
{
    const attn_forward_args whole = r->args;
    attn_forward_args *a = &r->args;
    for (int i = 0; i < r->parts; i++) {
        struct part *p = &r->part[i];
        p->of = slice(&r->cut, p->kind, p->together != NULL ? *p->together : **p->whole, b);
    }
    a->query_offsets = a->key_offsets = a->page_table = a->page_offsets = NULL;
    if (r->cut.paged) {
        a->key_lengths = NULL;
    } else if (a->key_lengths) {
        *length = (int64_t)array_get(&r->scene.lengths, b);
        *lengths = (attn_tensor){.data = length, .dtype = ATTN_I64, .ndim = 1, .shape = {1}, .stride = {1}};
        a->key_lengths = lengths;
    }
    a->dropout_offset += (uint64_t)(r->cut.queries ? r->cut.q[b] : b * r->shape.query_heads * r->cut.query_rows);
    return whole;
}

/* ------------------------------------------------------------------------------------------------ forward */

enum { CONTEXT, WEIGHTS, SCORES, LOGSUMEXP, ENTROPY, STRONGEST, KEY_SUMS, OUTPUTS };

struct outputs {
    struct array array[OUTPUTS];
    attn_weights_stats stats;
};

static const enum kind kinds[OUTPUTS] = {OF_QUERIES,    OF_BOTH,       OF_BOTH,    OF_QUERY_ROWS,
                                         OF_QUERY_ROWS, OF_QUERY_ROWS, OF_KEY_ROWS};

static void place_outputs(struct ragged *r, struct outputs *o, const attn_tensor **slots[OUTPUTS])
{
    const attn_tensor **all[OUTPUTS] = {&r->args.context,  &r->args.weights,    &r->args.scores,   &r->args.logsumexp,
                                        &o->stats.entropy, &o->stats.strongest, &o->stats.key_sums};
    memcpy(slots, all, sizeof all);
}

/* Those of `wanted`, of one layout for two calls whose generators are alike. */
static void outputs_create(struct ragged *r, struct outputs *o, unsigned wanted, int64_t extra)
{
    const struct cut *c = &r->cut;
    const attn_dtype computed = dtype_computed(r->scene.dtype);
    const int64_t qb = c->queries ? 1 : c->batch, kb = c->keys ? 1 : c->batch, heads = r->shape.query_heads;
    const int64_t columns = c->longest + (c->keys || c->paged ? extra : 0);
    const attn_tensor **slots[OUTPUTS];
    memset(o, 0, sizeof *o);
    o->stats = (attn_weights_stats)ATTN_WEIGHTS_STATS_INIT;
    place_outputs(r, o, slots);
    for (int i = 0; i < OUTPUTS; i++) {
        struct array *a = &o->array[i];
        if (!(wanted >> i & 1)) continue;
        if (i == CONTEXT) create(r, a, r->scene.dtype, 4, qb, heads, c->query_rows, r->scene.twin.value_dim);
        if (i == WEIGHTS || i == SCORES) create(r, a, computed, 4, qb, heads, c->query_rows, columns);
        if (i == LOGSUMEXP || i == ENTROPY) create(r, a, computed, 3, qb, heads, c->query_rows, 0);
        if (i == STRONGEST) create(r, a, ATTN_I32, 3, qb, heads, c->query_rows, 0);
        if (i == KEY_SUMS) create(r, a, computed, 3, kb, heads, c->paged ? columns : c->key_rows, 0);
        *slots[i] = &a->tensor;
    }
    r->args.stats = wanted >> ENTROPY ? &o->stats : NULL;
}

static void outputs_destroy(struct outputs *o)
{
    for (int i = 0; i < OUTPUTS; i++) array_destroy(&o->array[i]);
}

/* The same of sums by key. */
static void fill_past_sums(const struct cut *c, struct array *a, int64_t b)
{
    const int64_t *n = a->tensor.shape;
    for (int64_t h = 0; h < n[1] && c->paged; h++) {
        for (int64_t j = c->n[b]; j < n[2]; j++) array_set(a, (b * n[1] + h) * n[2] + j, 0);
    }
}

/* What the sequences' own calls leave of rows of scores: columns past their keys. */
static void fill_past(const struct cut *c, struct array *a, int64_t b, double x)
{
    const int64_t *n = a->tensor.shape, first = c->queries ? c->q[b] : 0, end = first + queries_of(c, b);
    for (int64_t h = 0; h < n[1]; h++) {
        for (int64_t i = first; i < end; i++) {
            for (int64_t j = keys_of(c, b); j < n[3]; j++) {
                array_set(a, (((c->queries ? 0 : b) * n[1] + h) * n[2] + i) * n[3] + j, x);
            }
        }
    }
}

/* In pages few queries go over keys in other runs, and what is multiplied by the BLAS is a copy. */
static bool are_near(const struct ragged *r, const struct array *a, const struct array *e)
{
    for (int64_t x = 0; x < array_count(a); x++) {
        const double is = array_get(a, x), want = array_get(e, x);
        const double may = 256 * dtype_epsilon(dtype_computed(r->scene.dtype)) * (1 + fabs(want)) +
                           2 * dtype_half_step(a->tensor.dtype, want);
        if (!(is == want || (isnan(is) && isnan(want)) || fabs(is - want) <= may)) return false;
    }
    return true;
}

static void check_forward(struct ragged *r, unsigned wanted, bool by_plan)
{
    struct outputs got, want;
    const struct rng rng = r->scene.rng;
    const int64_t extra = r->cut.batch % 3;
    outputs_create(r, &got, wanted, extra);
    if (by_plan) {
        attn_plan *plan = NULL;
        MUST(attn_plan_create(r->scene.mechanism, &r->args, &plan));
        MUST(attn_plan_run(plan, NULL));
        attn_plan_destroy(plan);
    } else {
        MUST(attn_forward(r->scene.mechanism, &r->args));
    }
    r->scene.rng = rng;
    outputs_create(r, &want, wanted, extra);
    const attn_tensor **slots[OUTPUTS];
    place_outputs(r, &want, slots);
    const int parts = r->parts;
    for (int i = 0; i < OUTPUTS; i++) {
        if (wanted >> i & 1) add_part(r, kinds[i], slots[i]);
    }
    for (int64_t b = 0; b < r->cut.batch; b++) {
        int64_t length;
        attn_tensor lengths;
        const attn_forward_args whole = begin_alone(r, b, &length, &lengths);
        const attn_weights_stats stats = want.stats;
        for (int i = 0; i < r->parts; i++) *r->part[i].whole = &r->part[i].of;
        MUST(attn_forward(r->scene.mechanism, &r->args));
        r->args = whole;
        want.stats = stats;
        if (wanted >> WEIGHTS & 1) fill_past(&r->cut, &want.array[WEIGHTS], b, 0);
        const double unseen = r->args.scores_stage == ATTN_SCORES_WEIGHTS ? 0 : -HUGE_VAL;
        if (wanted >> SCORES & 1) fill_past(&r->cut, &want.array[SCORES], b, unseen);
        if (wanted >> KEY_SUMS & 1) fill_past_sums(&r->cut, &want.array[KEY_SUMS], b);
    }
    r->parts = parts;
    const char *way = getenv("ATTN_WAY");
    bool may_round = r->cut.paged && (r->scene.dtype == ATTN_F64 || (way != NULL && strcmp(way, "blas") == 0));
    for (int64_t b = 0; b < r->cut.batch && r->cut.paged; b++) {
        may_round |= r->shape.query_heads / r->shape.key_heads * queries_of(&r->cut, b) <= MOST_FEW;
    }
    for (int i = 0; i < OUTPUTS; i++) {
        if (!(wanted >> i & 1)) continue;
        const struct array *a = &got.array[i], *e = &want.array[i];
        if (!array_same_bits(a, e, 0, array_count(a)) && !(may_round && are_near(r, a, e))) {
            fail_msg("output %d of case %s is not that of each sequence alone", i, r->doing);
        }
        assert_true(array_gaps_intact(a));
    }
    outputs_destroy(&got);
    outputs_destroy(&want);
    r->args.context = r->args.weights = r->args.scores = r->args.logsumexp = NULL;
    r->args.stats = NULL;
}

/* ----------------------------------------------------------------------------------------------- backward */

enum { D_QUERY, D_KEY, D_VALUE, D_BIAS, D_ALIBI, D_RELATIVE, D_SINKS, D_PARAMS, GRADIENTS = D_PARAMS + SCENE_PARAMS };

struct gradients {
    struct array array[GRADIENTS];
    const attn_tensor *params[SCENE_PARAMS];
};

static void gradients_create(struct ragged *r, struct gradients *g)
{
    struct scene *s = &r->scene;
    attn_backward_args *a = &r->back;
    memset(g, 0, sizeof *g);
    const struct {
        const attn_tensor *of, **slot;
        bool is_parameter;
    } all[] = {{r->args.query, &a->d_query, false},
               {r->args.key, &a->d_key, false},
               {r->args.value, &a->d_value, false},
               {r->args.bias, &a->d_bias, false},
               {s->twin.alibi != TWIN_NONE ? &s->slopes.tensor : NULL, &a->d_alibi, false},
               {s->twin.relative != TWIN_NO_RELATIVE ? &s->table.tensor : NULL, &a->d_relative, false},
               {s->twin.sinks ? &s->sinks.tensor : NULL, &a->d_sinks, true}};
    for (int i = 0; i < D_PARAMS; i++) {
        if (all[i].of == NULL) continue;
        array_create(&g->array[i], all[i].is_parameter ? scene_param_dtype(s) : all[i].of->dtype, all[i].of->ndim,
                     all[i].of->shape, s->layout & LAYOUT_OUTPUT, &s->rng);
        *all[i].slot = &g->array[i].tensor;
    }
    int32_t count = 0;
    MUST(attn_mechanism_param_count(s->mechanism, &count));
    for (int32_t i = 0; i < count; i++) {
        attn_param_info info = ATTN_PARAM_INFO_INIT;
        MUST(attn_mechanism_param_info(s->mechanism, i, &info));
        for (int k = 0; k < s->param_count; k++) {
            if (strcmp(s->param_names[k], info.name) != 0) continue;
            const attn_tensor *of = &s->params[k].tensor;
            array_create(&g->array[D_PARAMS + i], scene_param_dtype(s), of->ndim, of->shape, s->layout & LAYOUT_OUTPUT,
                         &s->rng);
            g->params[i] = &g->array[D_PARAMS + i].tensor;
        }
    }
    a->d_params = count > 0 ? g->params : NULL;
}

static void gradients_destroy(struct gradients *g)
{
    for (int i = 0; i < GRADIENTS; i++) array_destroy(&g->array[i]);
}

/* Numbers of an array, to be added to. */
static double *numbers(const struct array *a)
{
    return a->memory == NULL ? NULL : array_read(a);
}

static void run_backward(struct ragged *r)
{
    r->back.forward = &r->args;
    MUST(attn_backward(r->scene.mechanism, &r->back));
}

/* Gradients of rows have the bits of each sequence's own; the others are their sum, of which each may be rounded. */
static void check_backward(struct ragged *r, bool accumulate)
{
    struct scene *s = &r->scene;
    struct outputs forward;
    struct gradients got, want;
    struct array d_context, d_logsumexp;
    const struct cut *c = &r->cut;
    outputs_create(r, &forward, 1 << CONTEXT | 1 << LOGSUMEXP, 0);
    MUST(attn_forward(s->mechanism, &r->args));
    rows_create(r, &d_context, s->dtype, false, r->shape.query_heads, s->twin.value_dim);
    create(r, &d_logsumexp, dtype_computed(s->dtype), 3, c->queries ? 1 : c->batch, r->shape.query_heads, c->query_rows,
           0);
    array_fill_normal(&d_logsumexp, &s->rng, 1.0);
    r->back = (attn_backward_args)ATTN_BACKWARD_ARGS_INIT;
    r->back.d_context = &d_context.tensor;
    if (rng_chance(&s->rng, 0.5)) r->back.d_logsumexp = &d_logsumexp.tensor;
    const struct rng rng = s->rng;
    gradients_create(r, &got);
    double *before[GRADIENTS] = {NULL}, *sum[GRADIENTS] = {NULL}, *bound[GRADIENTS] = {NULL};
    for (int i = 0; i < GRADIENTS; i++) {
        if (got.array[i].memory == NULL) continue;
        if (accumulate) array_fill_normal(&got.array[i], &s->rng, 1.0);
        before[i] = numbers(&got.array[i]);
        sum[i] = must_allocate((size_t)(array_count(&got.array[i]) + 1) * sizeof(double));
        bound[i] = must_allocate((size_t)(array_count(&got.array[i]) + 1) * sizeof(double));
        for (int64_t x = 0; x < array_count(&got.array[i]); x++) {
            sum[i][x] = accumulate ? before[i][x] : 0;
            bound[i][x] = 0;
        }
    }
    r->back.accumulate = accumulate;
    run_backward(r);
    r->back.accumulate = 0;
    s->rng = rng;
    gradients_create(r, &want);

    const int parts = r->parts;
    add_part(r, OF_QUERIES, &r->args.context);
    add_part(r, OF_QUERY_ROWS, &r->args.logsumexp);
    add_part(r, OF_QUERIES, &r->back.d_context);
    add_part(r, OF_QUERY_ROWS, &r->back.d_logsumexp);
    add_part(r, OF_QUERIES, &r->back.d_query);
    add_part(r, OF_KEYS, &r->back.d_key);
    add_part(r, OF_KEYS, &r->back.d_value);
    add_part(r, BROADCAST, &r->back.d_bias);
    for (int64_t b = 0; b < c->batch; b++) {
        int64_t length;
        attn_tensor lengths;
        for (int i = D_BIAS; i < GRADIENTS; i++) {
            if (want.array[i].memory != NULL) array_fill(&want.array[i], 0);
        }
        const attn_backward_args back = r->back;
        const attn_forward_args whole = begin_alone(r, b, &length, &lengths);
        for (int i = 0; i < r->parts; i++) *r->part[i].whole = &r->part[i].of;
        run_backward(r);
        r->args = whole;
        r->back = back;
        for (int i = D_BIAS; i < GRADIENTS; i++) {
            for (int64_t x = 0; want.array[i].memory != NULL && x < array_count(&want.array[i]); x++) {
                const double one = array_get(&want.array[i], x);
                sum[i][x] += one;
                bound[i][x] += dtype_half_step(want.array[i].tensor.dtype, one) +
                               OF_SUMS * dtype_epsilon(dtype_computed(s->dtype)) * (1 + fabs(one) + fabs(sum[i][x]));
            }
        }
    }
    r->parts = parts;
    for (int i = 0; i < GRADIENTS; i++) {
        const struct array *a = &got.array[i];
        if (a->memory == NULL) continue;
        assert_true(array_gaps_intact(a));
        if (i < D_BIAS && !accumulate) {
            if (!array_same_bits(a, &want.array[i], 0, array_count(a))) {
                fail_msg("gradient %d of case %s is not that of each sequence alone", i, r->doing);
            }
            continue;
        }
        const bool by_keys = i == D_KEY || i == D_VALUE, ragged = by_keys ? c->keys : c->queries;
        const int64_t rows = by_keys ? c->key_rows : c->query_rows, *offsets = by_keys ? c->k : c->q;
        for (int64_t x = 0; x < array_count(a); x++) {
            double is = array_get(a, x), expected = sum[i][x], may = bound[i][x];
            if (i < D_BIAS) {
                const int64_t row = x / a->tensor.shape[3] % rows;
                const bool has = !ragged || (row >= offsets[0] && row < offsets[c->batch]);
                const double one = has ? array_get(&want.array[i], x) : 0;
                expected = before[i][x] + one;
                may = dtype_half_step(a->tensor.dtype, one) +
                      OF_SUMS * dtype_epsilon(dtype_computed(s->dtype)) * (fabs(one) + fabs(expected));
                if (!has) may = 0;
            }
            may += dtype_half_step(a->tensor.dtype, expected);
            if (is == expected || (isnan(is) && isnan(expected)) || fabs(is - expected) <= may) continue;
            fail_msg("gradient %d of case %s at %lld is %.9g, but %.9g is wanted, give or take %g", i, r->doing,
                     (long long)x, is, expected, may);
        }
    }
    for (int i = 0; i < GRADIENTS; i++) free(before[i]), free(sum[i]), free(bound[i]);
    gradients_destroy(&got);
    gradients_destroy(&want);
    outputs_destroy(&forward);
    array_destroy(&d_context);
    array_destroy(&d_logsumexp);
    r->args.context = r->args.logsumexp = NULL;
}

/* -------------------------------------------------------------------------------------------------- tests */

static const attn_dtype dtypes[] = {ATTN_F32, ATTN_F64, ATTN_F16, ATTN_BF16};

static unsigned draw_modifiers(struct rng *rng)
{
    unsigned modifiers = 0;
    for (int m = 0; m < HAS_MODIFIERS; m++) modifiers |= rng_chance(rng, 0.25) ? 1U << m : 0;
    if (rng_chance(rng, 0.9)) modifiers &= ~(unsigned)HAS_HARDMAX;
    if (modifiers & HAS_HARDMAX) modifiers &= ~(unsigned)HAS_SINKS;
    return modifiers;
}

static void each(enum twin_score score, bool pages, void (*check)(struct ragged *r))
{
    const int cases = few_cases() ? 12 : 100;
    for (int i = 0; i < cases; i++) {
        struct rng rng = {(uint64_t)(1000 * (int)score + i)};
        const unsigned single = i < HAS_MODIFIERS ? 1U << i : draw_modifiers(&rng);
        struct ragged r;
        ragged_create(&r, score, dtypes[i % 4 == 3 ? rng_integer(&rng, 0, 3) : i % 4], single,
                      (uint64_t)(77000 + 1000 * (int)score + i), i % 5 == 4, pages);
        check(&r);
        ragged_destroy(&r);
    }
}

static void forward_of(struct ragged *r)
{
    struct scene *s = &r->scene;
    unsigned wanted = 1U << CONTEXT | 1U << LOGSUMEXP;
    if (s->modifiers & HAS_HARDMAX) wanted = 1U << CONTEXT;
    if (rng_chance(&s->rng, 0.4)) wanted |= (unsigned)rng_integer(&s->rng, 1, (1 << OUTPUTS) - 1);
    r->args.scores_stage = (attn_scores_stage)rng_integer(&s->rng, ATTN_SCORES_RAW, ATTN_SCORES_WEIGHTS);
    if (s->twin.local >= TWIN_PREDICTIVE && r->args.scores_stage < ATTN_SCORES_MASKED) {
        r->args.scores_stage = ATTN_SCORES_MASKED;
    }
    if (!(wanted >> SCORES & 1)) r->args.scores_stage = ATTN_SCORES_RAW;
    check_forward(r, wanted, rng_chance(&s->rng, 0.3));
}

static void backward_of(struct ragged *r)
{
    if (r->args.key_scales || r->args.value_scales || r->scene.modifiers & HAS_HARDMAX) return;
    check_backward(r, rng_chance(&r->scene.rng, 0.3));
}

#define OF_SCORE(name, score)                                                                                          \
    static void test_##name##_forward(void **state)                                                                    \
    {                                                                                                                  \
        (void)state;                                                                                                   \
        each(score, true, forward_of);                                                                                 \
    }                                                                                                                  \
    static void test_##name##_backward(void **state)                                                                   \
    {                                                                                                                  \
        (void)state;                                                                                                   \
        each(score, false, backward_of);                                                                               \
    }
OF_SCORE(dot, TWIN_DOT)
OF_SCORE(scaled_dot, TWIN_SCALED_DOT)
OF_SCORE(general, TWIN_GENERAL)
OF_SCORE(additive, TWIN_ADDITIVE)
OF_SCORE(concat, TWIN_CONCAT)
OF_SCORE(location, TWIN_LOCATION)

/* Sequences enough that some are dealt out and some are not; other offsets by the same plan. */
static void test_many(void **state)
{
    enum { MANY = 40, HEADS = 4, DIM = 32, LONGEST = 150 };
    (void)state;
    struct rng rng = {9};
    int32_t offsets[2][MANY + 1] = {{0}, {0}};
    for (int64_t b = 0; b < MANY; b++) {
        const int64_t n = b == 7 ? 8 * LONGEST : rng_integer(&rng, 0, LONGEST);
        offsets[0][b + 1] = offsets[0][b] + (int32_t)n;
    }
    const int64_t rows = offsets[0][MANY];
    for (int64_t b = 0; b < MANY; b++) {
        const int64_t n = b == 30 ? LONGEST : rng_integer(&rng, 0, LONGEST / 2);
        offsets[1][b + 1] = offsets[1][b] + (int32_t)n;
    }
    assert_true(offsets[1][MANY] <= rows);
    attn_mechanism *m;
    struct array in[3], out[3];
    const int64_t shape[4] = {1, HEADS, rows, DIM};
    MUST(attn_mechanism_create_scaled_dot(engine, &m));
    MUST(attn_mechanism_set_causal(m, ATTN_ALIGN_BOTTOM_RIGHT));
    for (int i = 0; i < 3; i++) {
        array_create(&in[i], ATTN_F32, 4, shape, LAYOUT_PLAIN, NULL);
        array_create(&out[i], ATTN_F32, 4, shape, LAYOUT_PLAIN, NULL);
        array_fill_normal(&in[i], &rng, 1.0);
    }
    attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
    attn_plan *plan = NULL;
    attn_tensor places = {.data = offsets[0], .dtype = ATTN_I32, .ndim = 1, .shape = {MANY + 1}, .stride = {1}};
    args.query = &in[0].tensor;
    args.key = &in[1].tensor;
    args.value = &in[2].tensor;
    args.context = &out[0].tensor;
    args.query_offsets = args.key_offsets = &places;
    MUST(attn_plan_create(m, &args, &plan));
    for (int run = 0; run < 2; run++) {
        places.data = offsets[run];
        array_fill(&out[0], 7);
        array_fill(&out[1], 7);
        args.context = &out[0].tensor;
        MUST(attn_plan_run(plan, &args));
        for (int64_t b = 0; b < MANY; b++) {
            attn_tensor part[4] = {in[0].tensor, in[1].tensor, in[2].tensor, out[1].tensor};
            attn_forward_args one = ATTN_FORWARD_ARGS_INIT;
            for (int i = 0; i < 4; i++) narrow(&part[i], 2, offsets[run][b], offsets[run][b + 1] - offsets[run][b]);
            one.query = &part[0];
            one.key = &part[1];
            one.value = &part[2];
            one.context = &part[3];
            MUST(attn_forward(m, &one));
        }
        assert_true(array_same_bits(&out[0], &out[1], 0, array_count(&out[0])));
    }
    places.data = offsets[0];
    offsets[0][MANY] = (int32_t)rows + 1; /* and the plan stays what it was */
    assert_int_equal(attn_plan_run(plan, &args), ATTN_ERR_ARGUMENT);
    offsets[0][MANY] = (int32_t)rows;
    MUST(attn_plan_run(plan, &args));
    attn_plan_destroy(plan);
    for (int i = 0; i < 3; i++) array_destroy(&in[i]), array_destroy(&out[i]);
    attn_mechanism_destroy(m);
}

/* Queries of any number for each sequence of a memory, beside its keys and values as tensors. */
static void test_memory(void **state)
{
    enum { SEQUENCES = 3, HEADS = 2, DIM = 16, LONGEST = 21, ROWS = 12 };
    (void)state;
    static const int64_t counts[SEQUENCES] = {21, 0, 9}, offsets[SEQUENCES + 1] = {1, 6, 7, 11};
    struct rng rng = {12};
    struct array key, value, query, context[2];
    const int64_t of_keys[4] = {SEQUENCES, HEADS, LONGEST, DIM}, of_queries[4] = {1, 2 * HEADS, ROWS, DIM};
    attn_mechanism *m;
    attn_memory *memory;
    MUST(attn_mechanism_create_scaled_dot(engine, &m));
    MUST(attn_mechanism_set_causal(m, ATTN_ALIGN_BOTTOM_RIGHT));
    array_create(&key, ATTN_F32, 4, of_keys, LAYOUT_PLAIN, NULL);
    array_create(&value, ATTN_F32, 4, of_keys, LAYOUT_PLAIN, NULL);
    array_create(&query, ATTN_F32, 4, of_queries, LAYOUT_PLAIN, NULL);
    array_fill_normal(&key, &rng, 1);
    array_fill_normal(&value, &rng, 1);
    array_fill_normal(&query, &rng, 1);
    attn_memory_options options = ATTN_MEMORY_OPTIONS_INIT;
    options.dtype = ATTN_F32;
    options.batch = SEQUENCES;
    options.key_heads = HEADS;
    options.key_dim = options.value_dim = DIM;
    MUST(attn_memory_create(m, &options, &memory));
    attn_tensor lengths = {
        .data = (void *)(uintptr_t)counts, .dtype = ATTN_I64, .ndim = 1, .shape = {3}, .stride = {1}};
    attn_tensor places = {
        .data = (void *)(uintptr_t)offsets, .dtype = ATTN_I64, .ndim = 1, .shape = {4}, .stride = {1}};
    MUST(attn_memory_append(memory, &key.tensor, &value.tensor, &lengths));
    for (int i = 0; i < 2; i++) {
        attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
        array_create(&context[i], ATTN_F32, 4, of_queries, LAYOUT_PLAIN, NULL);
        args.query = &query.tensor;
        args.query_offsets = &places;
        args.context = &context[i].tensor;
        if (i == 0) args.memory = memory;
        if (i == 1) args.key = &key.tensor, args.value = &value.tensor, args.key_lengths = &lengths;
        MUST(attn_forward(m, &args));
    }
    assert_true(array_same_bits(&context[0], &context[1], 0, array_count(&context[0])));
    assert_true(array_get(&context[0], (5 - 1) * DIM) != array_get(&context[0], 0)); /* it is written, */
    assert_int_equal(array_get(&context[0], 6 * DIM), 0);                            /* of no keys nothing */
    for (int i = 0; i < 2; i++) array_destroy(&context[i]);
    array_destroy(&key);
    array_destroy(&value);
    array_destroy(&query);
    attn_memory_destroy(memory);
    attn_mechanism_destroy(m);
}

/* Products of numbers as they are kept, over pages of any size and over rows that lie together: the same bits by tiles
 * of queries, and by few of them but for roundings. */
static void test_fast_pages(void **state)
{
    enum { LENGTH = 300, DIM = 80, GROUP = 2 };
    static const int64_t pages[] = {1, 7, 16, 128, 301}, queries[] = {40, 150, 3};
    (void)state;
    for (size_t i = 0; i < 5 * 3; i++) {
        const int64_t page = pages[i % 5], count = queries[i / 5], most = (LENGTH + page - 1) / page;
        const int64_t of_keys[4] = {1, 1, LENGTH, DIM}, of_pages[4] = {most, 1, page, DIM},
                      of_queries[4] = {1, GROUP, count, DIM};
        struct rng rng = {i};
        struct array query, context[2], rows[2], paged[2], table, length;
        const int64_t one = 1, dense[2] = {1, most};
        attn_mechanism *m;
        MUST(attn_mechanism_create_scaled_dot(engine, &m));
        MUST(attn_mechanism_set_precision(m, ATTN_PRECISION_FAST));
        array_create(&query, ATTN_BF16, 4, of_queries, LAYOUT_PLAIN, NULL);
        array_fill_normal(&query, &rng, 1);
        array_create(&table, ATTN_I32, 2, dense, LAYOUT_PLAIN, NULL);
        array_create(&length, ATTN_I32, 1, &one, LAYOUT_PLAIN, NULL);
        array_set(&length, 0, LENGTH);
        for (int64_t k = 0; k < most; k++) array_set(&table, k, (double)(most - 1 - k));
        for (int k = 0; k < 2; k++) {
            array_create(&rows[k], ATTN_BF16, 4, of_keys, LAYOUT_PLAIN, NULL);
            array_create(&paged[k], ATTN_BF16, 4, of_pages, LAYOUT_PLAIN, NULL);
            array_create(&context[k], ATTN_F32, 4, of_queries, LAYOUT_PLAIN, NULL);
            array_fill_normal(&rows[k], &rng, 1);
            array_fill(&paged[k], NAN);
            for (int64_t x = 0; x < LENGTH * DIM; x++) {
                const int64_t row = x / DIM, to = most - 1 - row / page;
                array_set(&paged[k], (to * page + row % page) * DIM + x % DIM, array_get(&rows[k], x));
            }
        }
        for (int k = 0; k < 2; k++) {
            attn_forward_args args = ATTN_FORWARD_ARGS_INIT;
            args.query = &query.tensor;
            args.key = k == 0 ? &rows[0].tensor : &paged[0].tensor;
            args.value = k == 0 ? &rows[1].tensor : &paged[1].tensor;
            if (k == 1) args.page_table = &table.tensor, args.key_lengths = &length.tensor;
            args.context = &context[k].tensor;
            MUST(attn_forward(m, &args));
        }
        for (int64_t x = 0; x < array_count(&context[0]); x++) {
            const double off = fabs(array_get(&context[0], x) - array_get(&context[1], x));
            if (!(off <= (GROUP * count > MOST_FEW ? 0 : 1e-5)))
                fail_msg("%lld queries, pages of %lld: off by %g", (long long)count, (long long)page, off);
        }
        struct array *all[] = {&query,    &context[0], &context[1], &rows[0], &rows[1],
                               &paged[0], &paged[1],   &table,      &length};
        for (size_t k = 0; k < sizeof all / sizeof *all; k++) array_destroy(all[k]);
        attn_mechanism_destroy(m);
    }
}

/* Three threads, so that sequences are dealt out. */
static int setup(void **state)
{
    attn_engine_options options = ATTN_ENGINE_OPTIONS_INIT;
    (void)state;
    options.threads = 3;
    return attn_engine_create(&options, &engine) == ATTN_OK ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dot_forward),
        cmocka_unit_test(test_dot_backward),
        cmocka_unit_test(test_scaled_dot_forward),
        cmocka_unit_test(test_scaled_dot_backward),
        cmocka_unit_test(test_general_forward),
        cmocka_unit_test(test_general_backward),
        cmocka_unit_test(test_additive_forward),
        cmocka_unit_test(test_additive_backward),
        cmocka_unit_test(test_concat_forward),
        cmocka_unit_test(test_concat_backward),
        cmocka_unit_test(test_location_forward),
        cmocka_unit_test(test_location_backward),
        cmocka_unit_test(test_fast_pages),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, setup, engine_teardown);
}
