/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tiles/row_pass.c: few queries against a run of keys, a block of keys after the other: a row of scores for each query,
 * its modifiers, and a streaming softmax over the blocks. */
#include "tiles/row_pass.h"

#include "call/storage.h"
#include "runtime/size.h"
#include "softmax/row.h"
#include "tiles/lanes.h"

#include <math.h>
#include <string.h>

enum {
    BLOCK_KEYS = 256,
    PAGED_KEYS = 64, /* of a block of pages, about: few enough that the last head's are still expected by the memory */
    CONVERTED_KEYS = 16,
    SHORT_PAGE = 1 << 15 /* bytes of one head's rows in a page, below which heads go together */
};

static int64_t context_dim(const attn_i_problem *p)
{
    return p->context.data != NULL ? p->value_dim : 0;
}

int attn_i_row_pass_suits(const attn_i_tile_plan *plan)
{
    /* An exact log-sum-exp is for gradients, whose weights are made by tiles, unless parts are joined by it. */
    const attn_i_view *logsumexp = &plan->p->logsumexp;
    if (logsumexp->data != NULL && logsumexp->size == (int64_t)sizeof(double) && !plan->p->is_part) return 0;
    const int64_t most = plan->lanes == NULL ? ATTN_I_FEW : ATTN_I_FEW_SCORES;
    return plan->p->group * plan->p->queries <= most && !plan->writes_scores && plan->p->dropout.keep == 0;
}

/* The keys of a block: of pages, whole ones. By the pages alone, so that whoever goes together has the same. */
static int64_t block_keys(const attn_i_problem *p)
{
    if (p->pages.table.data == NULL || p->pages.rows > BLOCK_KEYS) return BLOCK_KEYS;
    return attn_i_max(PAGED_KEYS / p->pages.rows, 1) * p->pages.rows;
}

int64_t attn_i_row_pass_heads(const attn_i_tile_plan *plan)
{
    const attn_i_problem *p = plan->p;
    if (p->pages.table.data == NULL || plan->lanes != NULL) return 1;
    const int64_t bytes = p->pages.rows * attn_i_max(p->key_dim * p->key.size, p->value_dim * p->value.size);
    return p->pages.rows > BLOCK_KEYS || bytes >= SHORT_PAGE ? 1 : attn_i_min(p->key_heads, ATTN_I_HEADS_TOGETHER);
}

/* Room for a value, or for what keys are converted from. */
static float *carve_near(const attn_i_tile_plan *plan, attn_i_arena *arena)
{
    const int64_t keys = plan->widens_keys && plan->lanes != NULL ? CONVERTED_KEYS * plan->depth : 0;
    return attn_i_carve(arena, attn_i_max(keys, context_dim(plan->p)), (int64_t)sizeof(float));
}

attn_i_row_scratch attn_i_row_scratch_layout(const attn_i_tile_plan *plan, int64_t heads, attn_i_arena *arena)
{
    const int64_t keys = attn_i_min(BLOCK_KEYS, plan->p->keys), size = (int64_t)sizeof(float);
    attn_i_row_scratch s = {0};
    const int64_t rows = plan->p->group * plan->p->queries;
    s.scores = attn_i_carve_matrix(arena, rows, BLOCK_KEYS, size);
    s.values = attn_i_carve_matrix(arena, keys, context_dim(plan->p), size);
    if (plan->widens_queries) s.near_queries = attn_i_carve_matrix(arena, heads * rows, plan->depth, size);
    if (plan->widens_keys || plan->widens_values) s.near = carve_near(plan, arena);
    if (plan->lanes == NULL) return s;
    s.queries = attn_i_carve(arena, plan->lanes->query_elements(plan->p), size);
    s.keys = attn_i_carve_matrix(arena, CONVERTED_KEYS, plan->lanes->key_elements(plan->p), size);
    s.tile = attn_i_carve_matrix(arena, CONVERTED_KEYS, ATTN_I_LANES, size);
    return s;
}

typedef struct rows {
    const attn_i_tile_plan *plan;
    const attn_i_problem *p;
    const attn_i_tile_kernels *kernels;
    const attn_i_row_scratch *s;
    const attn_i_tile_work *w;
    attn_i_row_part *part;
    const float *query[ATTN_I_FEW];
    attn_i_rows queries; /* where they are evenly apart; data NULL: one by one */
    float *near_queries; /* room for them */
    attn_i_span keys;    /* that some query sees */
    double great;        /* not 0: references are scores, see attn_i_tile_plan_great */
    int preset;          /* references are what they should have been before */
    int bare;            /* all rows see all keys of the pass, and nothing changes a score but its scale */
} rows;

static int64_t query_of(const rows *t, int64_t row)
{
    return attn_i_quotient(t->w->first_row + row, t->p->group);
}

static int64_t head_of(const rows *t, int64_t row)
{
    return t->w->key_head * t->p->group + attn_i_remainder(t->w->first_row + row, t->p->group);
}

/* Those of another type, in float32. */
static void widen_queries(rows *t)
{
    const attn_i_view *query = &t->p->query;
    const int64_t depth = t->plan->depth;
    t->queries = (attn_i_rows){t->near_queries, depth};
    for (int64_t i = 0; i < t->w->rows; i++) {
        const char *place = attn_i_view_element(query, t->w->b, head_of(t, i), query_of(t, i), 0);
        attn_i_elements_widen(t->p->engine, query, place, depth, t->near_queries + i * depth);
    }
}

static void find_queries(rows *t)
{
    const attn_i_view *query = &t->p->query;
    t->queries = t->w->queries;
    if (t->plan->widens_queries) widen_queries(t);
    for (int64_t i = 0; i < t->w->rows; i++) {
        t->query[i] =
            t->queries.data != NULL
                ? t->queries.data + i * t->queries.stride
                : (const float *)(void *)attn_i_view_element(query, t->w->b, head_of(t, i), query_of(t, i), 0);
    }
    if (t->plan->lanes != NULL) {
        t->plan->lanes->convert_queries(t->p, t->plan->state, t->w->rows, t->query, t->s->queries);
    }
}

static void score_converted(const rows *t, attn_i_span keys)
{
    const attn_i_lane_score *score = t->plan->lanes;
    const int64_t width = score->key_elements(t->p);
    for (int64_t j = keys.first, n; j < keys.end; j += n) {
        n = attn_i_min(keys.end - j, CONVERTED_KEYS);
        if (t->p->ready == ATTN_I_CONVERTED) n = attn_i_kept_run(&t->w->key_rows, j, n); /* wider than the depth */
        attn_i_rows from = attn_i_kept_near(&t->w->key_rows, j, n, t->plan->depth, t->s->near);
        for (int64_t k = 0; k < n && t->p->ready != ATTN_I_CONVERTED; k++) {
            score->convert_key(t->p, from.data + k * from.stride, t->s->keys + k * width);
        }
        if (t->p->ready != ATTN_I_CONVERTED) from = (attn_i_rows){t->s->keys, width};
        score->scores(t->p, t->plan->state, t->s->queries, t->w->rows, from, n, t->s->tile);
        for (int64_t i = 0; i < t->w->rows; i++) {
            float *to = t->s->scores + i * BLOCK_KEYS + j - keys.first;
            for (int64_t k = 0; k < n; k++) to[k] = t->s->tile[k * ATTN_I_LANES + i];
        }
    }
}

static void score(const rows *t, attn_i_span keys)
{
    const attn_i_kept *kept = &t->w->key_rows;
    const int64_t n = keys.end - keys.first, depth = t->plan->depth;
    if (t->plan->lanes != NULL) {
        score_converted(t, keys);
        return;
    }
    for (int64_t j = keys.first, run; j < keys.end; j += run) {
        const attn_i_kept_rows from = attn_i_kept_next(kept, j, keys.end, depth, t->w->keys.end);
        float *to = t->s->scores + j - keys.first;
        run = from.count;
        if (t->queries.data != NULL) {
            kept->type->rows.products(depth, t->queries, t->w->rows, &from.rows, run, to, BLOCK_KEYS);
            continue;
        }
        for (int64_t i = 0; i < t->w->rows; i++) {
            kept->type->rows.products(depth, (attn_i_rows){t->query[i], 0}, 1, &from.rows, run, to + i * BLOCK_KEYS,
                                      BLOCK_KEYS);
        }
    }
    for (int64_t i = 0; i < t->w->rows && kept->scales != NULL; i++) {
        attn_i_kept_scale(kept, keys.first, n, t->s->scores + i * BLOCK_KEYS, 0);
    }
}

static void scale_row(const rows *t, int64_t i, float factor)
{
    const int64_t dim = context_dim(t->p);
    t->part->sum[i] *= factor;
    t->part->divisor[i] *= factor;
    for (int64_t d = 0; d < dim; d++) t->part->context[i * dim + d] *= factor;
}

/* What few calls want stays out of the way of the others. */
#define APART __attribute__((noinline))

/* The first of the greatest scores of row i, among keys from `first` on, where it is greater than any before. */
static APART void find_strongest(const rows *t, int64_t i, float score, int64_t first)
{
    const double exponent = (double)score * (t->great != 0 ? t->great : t->plan->unit);
    attn_i_row_stats *stats = &t->part->stats[i];
    const float *row = t->s->scores + i * BLOCK_KEYS;
    if (!(exponent > stats->greatest)) return;
    stats->greatest = exponent;
    while (*row != score) row++;
    stats->strongest = first + (row - (t->s->scores + i * BLOCK_KEYS));
}

static APART float measure(const rows *t, int64_t i, int64_t n, float unit, float reference)
{
    float *row = t->s->scores + i * BLOCK_KEYS, moment;
    const float sum = t->kernels->row_measure(n, unit, reference, row, &moment);
    const double great = t->great != 0 ? t->great : 1, room = t->great != 0 ? (double)t->part->room[i] : 0;
    attn_i_row_stats_add(&t->part->stats[i], (double)t->part->reference[i] * great, room, sum, moment);
    return sum;
}

/* Scores become weights, and add to the row's sums. */
static void to_weights(const rows *t, int64_t i, int64_t n, float unit, float reference)
{
    float *row = t->s->scores + i * BLOCK_KEYS;
    const attn_i_row_kernels *values = &t->w->value_rows.type->rows;
    const float sum =
        t->plan->measures ? measure(t, i, n, unit, reference) : t->kernels->row_exponentials(n, unit, reference, row);
    t->part->sum[i] += sum;
    t->part->divisor[i] += values->rounded_sum != NULL ? values->rounded_sum(n, row) : sum;
}

/* The same by great scores. */
static void weigh_great(const rows *t, int64_t i, int64_t first, int64_t n)
{
    float *row = t->s->scores + i * BLOCK_KEYS, *reference = &t->part->reference[i];
    const float most = t->kernels->row_maximum(n, row);
    if (t->plan->measures) find_strongest(t, i, most, first);
    if (most != -INFINITY && !(most <= *reference)) {
        scale_row(t, i, *reference == -INFINITY ? 0 : exp2f(attn_i_take_off(t->great, *reference, most)));
        *reference = most;
    }
    for (int64_t j = 0; j < n; j++) row[j] = attn_i_take_off(t->great, row[j], *reference);
    to_weights(t, i, n, 1, t->part->room[i]);
}

/* Scores of row i become weights; what was found before is brought to the same reference. */
static void weigh(const rows *t, int64_t i, int64_t first, int64_t n)
{
    float *row = t->s->scores + i * BLOCK_KEYS, *reference = &t->part->reference[i];
    const float unit = (float)t->plan->unit, score = t->kernels->row_maximum(n, row), most = score * unit;
    if (!isfinite(most) && isfinite(score)) t->part->lost = 1;
    if (t->plan->measures) find_strongest(t, i, score, first);
    if (most != -INFINITY && !(most <= *reference)) {
        const float to = ceilf(most);
        scale_row(t, i, *reference == -INFINITY ? 0 : exp2f(*reference - to));
        *reference = to;
    }
    to_weights(t, i, n, unit, *reference == -INFINITY ? 0 : *reference);
}

/* Scores as they are now, for who sums weights when these can be made. */
static APART void keep(const rows *t, int64_t i, int64_t first, int64_t n)
{
    memcpy(t->part->kept + i * t->p->keys + first, t->s->scores + i * BLOCK_KEYS, (size_t)n * sizeof(float));
}

/* Of what no row sees. */
static APART void keep_nothing(const rows *t)
{
    const attn_i_span keys = t->w->keys;
    for (int64_t i = 0; i < t->w->rows; i++) {
        t->p->kernels->fill(keys.end - keys.first, -INFINITY, t->part->kept + i * t->p->keys + keys.first, 1);
    }
}

/* What is not finite is kept from rows that do not see it. The rest goes back to what it was kept as, so that it is
 * added up as it would be without; but for integers, which are none of them that are not finite, and their scales may
 * be. */
static void add_context_cleaned(const rows *t, int64_t first, int64_t n)
{
    const int64_t dim = context_dim(t->p);
    const attn_i_kept *kept = &t->w->value_rows;
    const attn_i_stored_kernels *type = kept->type;
    if (type->store == NULL) type = attn_i_engine_stored_kernels(t->p->engine, ATTN_F32);
    unsigned char finite[BLOCK_KEYS];
    for (int64_t j = 0; j < n; j++) {
        const attn_i_rows value = attn_i_kept_near(kept, first + j, 1, dim, t->s->near);
        float *cleaned = attn_i_is_float32(type) ? t->s->values + j * dim : t->s->near;
        finite[j] = (unsigned char)t->p->kernels->gather_finite(dim, value.data, 1, cleaned, 1);
        if (cleaned == t->s->near) type->store(dim, cleaned, (char *)t->s->values + j * dim * type->size, 1);
    }
    type->rows.context(n, (attn_i_rows){t->s->scores, BLOCK_KEYS}, t->w->rows,
                       &(attn_i_stored_rows){t->s->values, dim, 0}, dim, t->part->context);
    for (int64_t j = 0; j < n; j++) {
        if (finite[j]) continue;
        const attn_i_rows value = attn_i_kept_near(&t->w->value_rows, first + j, 1, dim, t->s->near);
        for (int64_t i = 0; i < t->w->rows; i++) {
            const float *weight = &t->s->scores[i * BLOCK_KEYS + j];
            if (*weight == 0) continue;
            t->p->kernels->add_not_finite(dim, weight, value.data, 1, t->part->context + i * dim);
        }
    }
}

static void add_context(const rows *t, int64_t first, int64_t n)
{
    const attn_i_kept *kept = &t->w->value_rows;
    for (int64_t i = 0; i < t->w->rows && kept->scales != NULL; i++) {
        attn_i_kept_scale(kept, first, n, t->s->scores + i * BLOCK_KEYS, 1);
    }
    const int64_t dim = context_dim(t->p);
    for (int64_t j = 0, run; j < n; j += run) {
        const attn_i_kept_rows from = attn_i_kept_next(kept, first + j, first + n, dim, t->w->keys.end);
        run = from.count;
        kept->type->rows.context(run, (attn_i_rows){t->s->scores + j, BLOCK_KEYS}, t->w->rows, &from.rows, dim,
                                 t->part->context);
    }
}

static void modify(const rows *t, int64_t i, attn_i_span keys)
{
    float *row = t->s->scores + i * BLOCK_KEYS;
    if (!t->bare) {
        attn_i_row_modify(t->p, t->w->b, head_of(t, i), query_of(t, i), keys, row);
    } else if (t->p->scale != 1) {
        t->p->kernels->scale(keys.end - keys.first, t->p->scale, row);
    }
}

static void begin(const rows *t)
{
    t->part->lost = 0;
    for (int64_t i = 0; i < t->w->rows; i++) t->part->sum[i] = t->part->divisor[i] = 0;
    if (!t->preset) {
        for (int64_t i = 0; i < t->w->rows; i++) t->part->reference[i] = -INFINITY;
        for (int64_t i = 0; i < t->w->rows; i++) t->part->room[i] = 0;
    }
    memset(t->part->context, 0, (size_t)(t->w->rows * context_dim(t->p)) * sizeof(float));
    if (t->plan->measures) attn_i_row_stats_begin(t->part->stats, t->w->rows);
}

static void go_over(const rows *t, attn_i_span block, int clean)
{
    const int64_t first = block.first, n = block.end - block.first;
    score(t, block);
    for (int64_t i = 0; i < t->w->rows; i++) {
        modify(t, i, block);
        if (t->plan->measures && t->part->kept != NULL) keep(t, i, first, n);
        if (t->great != 0) {
            weigh_great(t, i, first, n);
        } else {
            weigh(t, i, first, n);
        }
    }
    if (context_dim(t->p) == 0) return;
    if (clean) {
        add_context_cleaned(t, first, n);
    } else {
        add_context(t, first, n);
    }
}

/* The block of keys from `first` on: up to where another begins, wherever the first of them did. */
static attn_i_span block_from(const rows *t, int64_t first, int64_t size)
{
    const int64_t whole = t->p->pages.table.data == NULL ? size : size - attn_i_remainder(first, size);
    return (attn_i_span){first, attn_i_min(first + whole, t->keys.end)};
}

static void run(const rows *t, int clean)
{
    const int64_t size = block_keys(t->p);
    begin(t);
    for (attn_i_span block = {t->keys.first, t->keys.first}; block.first < t->keys.end; block.first = block.end) {
        block = block_from(t, block.first, size);
        go_over(t, block, clean);
    }
}

/* To the sums, so that a context is no greater than the values that it is made of, and so as finite as they are. */
static void preset_references(rows *t)
{
    t->preset = 1;
    for (int64_t i = 0; i < t->w->rows; i++) {
        float *to = t->great == 0 ? t->part->reference : t->part->room;
        to[i] += attn_i_room_for_sum(t->part->sum[i]);
    }
}

/* 1 if some row's scores were lost. */
static int any_lost(const rows *t)
{
    for (int64_t i = 0; i < t->w->rows && t->part->lost; i++) {
        if (t->part->sum[i] == 0 || !isfinite(t->part->sum[i])) return 1;
    }
    return 0;
}

/* 1 if some reference is past what another whole number can be added to. */
static int any_far(const rows *t)
{
    for (int64_t i = 0; i < t->w->rows; i++) {
        if (fabsf(t->part->reference[i]) > ATTN_I_FAR) return 1;
    }
    return 0;
}

static void start(rows *t, const attn_i_tile_plan *plan, const attn_i_row_scratch *scratch,
                  const attn_i_tile_work *work, attn_i_row_part *part)
{
    t->plan = plan;
    t->p = plan->p;
    t->kernels = plan->kernels;
    t->s = scratch;
    t->w = work;
    t->part = part;
    t->great = plan->great;
    t->preset = 0;
    t->near_queries = scratch->near_queries;
    const int64_t first = query_of(t, 0), last = query_of(t, work->rows - 1);
    const int alike = first == last || !plan->moves;
    const attn_i_span seen =
        alike ? attn_i_visible(t->p, work->b, first) : attn_i_visible_to_all(t->p, work->b, first, last);
    t->bare = alike && plan->bare;
    t->keys = (attn_i_span){attn_i_max(seen.first, work->keys.first), attn_i_min(seen.end, work->keys.end)};
    if (t->keys.first >= t->keys.end) t->keys = (attn_i_span){0, 0};
}

/* Once more, where that went over all keys was not enough; and what it came to. */
static void finish(rows *t)
{
    const int64_t all = t->w->rows * context_dim(t->p);
    if (t->great == 0 && any_lost(t)) {
        t->great = attn_i_tile_plan_great(t->plan).great;
        run(t, 0);
    }
    if (!t->p->kernels->is_finite(all, t->part->context)) {
        /* First what is hidden is kept apart, which changes no bit of the rest; */
        run(t, 1);
        if (!t->p->kernels->is_finite(all, t->part->context)) {
            /* then the values may be too great. */
            if (t->great == 0 && any_far(t)) {
                t->great = attn_i_tile_plan_great(t->plan).great;
                run(t, 1);
            }
            preset_references(t);
            run(t, 1);
        }
    }
    t->part->great = t->great;
    const double unit = t->great != 0 ? t->great : 1;
    for (int64_t i = 0; i < t->w->rows; i++) {
        t->part->exponent[i] = (double)t->part->reference[i] * unit + (double)t->part->room[i];
    }
}

/* In which order rows are gone over by head i of several. */
static attn_i_kept_order order_of(const rows *t, const attn_i_view *view, int64_t i, int64_t heads)
{
    attn_i_kept_order order = {.block = block_keys(t->p) / t->p->pages.rows};
    if (i + 1 < heads) order.next_head = view->stride[1];
    order.next_page = -i * view->stride[1];
    return order;
}

/* A block of keys by each head in turn, and the next one. */
static APART void run_together(const attn_i_tile_plan *plan, const attn_i_row_scratch *scratch, attn_i_tile_work *works,
                               attn_i_row_part *const *parts, int64_t heads)
{
    rows t[ATTN_I_HEADS_TOGETHER];
    const attn_i_problem *p = plan->p;
    const int64_t size = block_keys(p);
    attn_i_span keys = {0, 0}; /* of all heads the same: where queries stand says what they see */
    for (int64_t i = 0; i < heads; i++) {
        start(&t[i], plan, scratch, &works[i], parts[i]);
        if (scratch->near_queries != NULL) t[i].near_queries += i * works[i].rows * plan->depth;
        works[i].key_rows.order = order_of(&t[i], &p->key, i, heads);
        works[i].value_rows.order = order_of(&t[i], &p->value, i, heads);
        find_queries(&t[i]);
        if (plan->measures && parts[i]->kept != NULL) keep_nothing(&t[i]);
        begin(&t[i]);
        keys = t[i].keys;
    }
    for (attn_i_span block = {keys.first, keys.first}; block.first < keys.end; block.first = block.end) {
        block = block_from(&t[0], block.first, size);
        for (int64_t i = 0; i < heads; i++) go_over(&t[i], block, 0);
    }
    for (int64_t i = 0; i < heads; i++) {
        works[i].key_rows.order.block = works[i].value_rows.order.block = 0; /* from here on each by itself */
        finish(&t[i]);
    }
}

void attn_i_row_pass(const attn_i_tile_plan *plan, const attn_i_row_scratch *scratch, attn_i_tile_work *works,
                     attn_i_row_part *const *parts, int64_t heads)
{
    rows t; /* its queries are found, not cleared */
    if (heads > 1) {
        run_together(plan, scratch, works, parts, heads);
        return;
    }
    start(&t, plan, scratch, works, parts[0]);
    find_queries(&t);
    if (plan->measures && parts[0]->kept != NULL) keep_nothing(&t);
    run(&t, 0);
    finish(&t);
}
