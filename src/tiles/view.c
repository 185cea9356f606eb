/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tiles/view.c: what the queries of a tile pass see, one tile of keys after the other. A tile of keys is cut into
 * pieces: runs of keys that are seen by the same spans of lanes, so that what nobody sees is not computed. */
#include "tiles/view.h"

#include "call/storage.h"
#include "runtime/size.h"

#include <math.h>
#include <string.h>

/* ---------------------------------------------------------------------------------------- what is looked at */

/* Which query and head each lane is, counted on from the first. */
static void name_lanes(attn_i_tile_view *t)
{
    int64_t query = t->w->first_row / t->p->group, member = t->w->first_row % t->p->group;
    for (int64_t l = 0; l < t->w->rows; l++) {
        t->query[l] = query;
        t->head[l] = t->w->key_head * t->p->group + member;
        if (++member < t->p->group) continue;
        member = 0;
        query++;
    }
}

static attn_i_span intersect(attn_i_span a, attn_i_span b)
{
    const attn_i_span both = {attn_i_max(a.first, b.first), attn_i_min(a.end, b.end)};
    return both.first < both.end ? both : (attn_i_span){0, 0};
}

/* What a lane sees of the pass's keys. */
static attn_i_span seen_by(const attn_i_tile_view *t, int64_t lane)
{
    return intersect(attn_i_sees(t->sight, attn_i_tile_query(t, lane)), t->w->keys);
}

/* What all lanes see, and the run of keys that any of them sees. Both ends of what a query sees move forward with it,
 * hence the first lane and the last one tell. */
static attn_i_span look(attn_i_tile_view *t)
{
    int64_t first = 0, last = t->w->rows - 1;
    t->sight = attn_i_sight_of(t->p, t->w->b);
    t->common = intersect(seen_by(t, first), seen_by(t, last));
    attn_i_span any = seen_by(t, first), end = seen_by(t, last);
    while (any.first == any.end && first < last) any = seen_by(t, ++first);
    while (end.first == end.end && first < last) end = seen_by(t, --last);
    any.end = end.end;
    return any;
}

/* What the lanes of a span see of the tile at hand, by position in it: keys that all of them see, and a run that holds
 * all keys that any sees. */
typedef struct outlook {
    int32_t all_first, all_end, any_first, any_end;
} outlook;

/* Lanes count keys from the tile's first. */
static void set_edges(attn_i_tile_view *t, outlook spans[ATTN_I_SPANS])
{
    const int32_t n = (int32_t)(t->keys.end - t->keys.first);
    for (int s = 0; s < ATTN_I_SPANS; s++) spans[s] = (outlook){0, n, n, 0};
    for (int64_t l = 0; l < ATTN_I_LANES; l++) {
        outlook *span = &spans[l / ATTN_I_SPAN_LANES];
        const attn_i_span one = l < t->w->rows ? seen_by(t, l) : (attn_i_span){0, 0};
        const int32_t first = (int32_t)attn_i_clamp(one.first - t->keys.first, 0, n);
        const int32_t end = (int32_t)attn_i_clamp(one.end - t->keys.first, 0, n);
        t->lanes->first_key[l] = first;
        t->lanes->end_key[l] = end;
        if (l >= t->w->rows) continue;
        if (first > span->all_first) span->all_first = first;
        if (end < span->all_end) span->all_end = end;
        if (first >= end) continue;
        if (first < span->any_first) span->any_first = first;
        if (end > span->any_end) span->any_end = end;
    }
}

static void add_piece(attn_i_tile_view *t, int64_t first, int64_t count, attn_i_spans spans, int edges)
{
    attn_i_tile_piece *last = t->count > 0 ? &t->pieces[t->count - 1] : NULL;
    if (last != NULL && last->first + last->count == first && last->edges == edges &&
        last->spans.first == spans.first && last->spans.end == spans.end) {
        last->count += count;
    } else {
        t->pieces[t->count++] = (attn_i_tile_piece){first, count, spans, edges};
    }
}

static int meets(const outlook *span, int64_t first, int64_t count)
{
    return span->any_first < first + count && span->any_end > first;
}

static void cut(attn_i_tile_view *t)
{
    const int64_t n = t->keys.end - t->keys.first;
    t->edges = t->keys.first < t->common.first || t->keys.end > t->common.end;
    t->count = 0;
    outlook seen[ATTN_I_SPANS];
    if (t->edges) set_edges(t, seen);
    if (!t->edges || t->plan->writes_scores) {
        add_piece(t, 0, n, t->all, t->edges);
        return;
    }
    for (int64_t first = 0; first < n; first += ATTN_I_PIECE_KEYS) {
        const int64_t count = attn_i_min(n - first, ATTN_I_PIECE_KEYS);
        attn_i_spans spans = t->all;
        while (spans.first < spans.end && !meets(&seen[spans.first], first, count)) spans.first++;
        while (spans.end > spans.first && !meets(&seen[spans.end - 1], first, count)) spans.end--;
        int not_all = 0;
        for (int s = spans.first; s < spans.end; s++) {
            not_all |= seen[s].all_first > first || seen[s].all_end < first + count;
        }
        if (spans.first < spans.end) add_piece(t, first, count, spans, not_all);
    }
}

/* ------------------------------------------------------------------------------------------------- ALiBi */

static void load_slopes(attn_i_tile_view *t)
{
    const attn_i_view *slopes = &t->p->modifiers->slopes;
    for (int64_t l = 0; l < ATTN_I_LANES; l++) {
        t->slope[l] = t->distance[l] = t->top[l] = 0;
        if (l >= t->w->rows || t->p->modifiers->alibi == ATTN_ALIGN_NONE) continue;
        const float own = ((const float *)(void *)slopes->data)[attn_i_tile_head(t, l) * slopes->stride[3]];
        t->slope[l] = t->plan->folded ? (float)(own * t->plan->unit) : own;
    }
}

/* For the tile at hand. */
static void measure_distances(attn_i_tile_view *t)
{
    const float n = (float)(t->keys.end - t->keys.first);
    const int64_t start = t->keys.first - attn_i_position(t->p, t->p->modifiers->alibi, t->w->b, 0);
    for (int64_t l = 0; l < t->w->rows; l++) {
        const float nearest = (float)(start - attn_i_tile_query(t, l)),
                    first = t->edges ? (float)t->lanes->first_key[l] : 0;
        const float last = (t->edges ? (float)t->lanes->end_key[l] : n) - 1;
        t->distance[l] = nearest;
        const float near = nearest + first > 0 ? nearest + first : nearest + last < 0 ? -(nearest + last) : 0;
        const float far = fmaxf(fabsf(nearest + first), fabsf(nearest + last));
        t->top[l] = -t->slope[l] * (t->slope[l] < 0 ? far : near);
    }
}

void attn_i_tile_view_add_alibi(attn_i_tile_view *t, int64_t first, int64_t count, attn_i_spans spans)
{
    float distance[ATTN_I_LANES];
    for (int l = 0; l < ATTN_I_LANES; l++) distance[l] = t->distance[l] + (float)first;
    t->kernels->tile_alibi(count, spans, t->slope, distance, t->s->tile + first * ATTN_I_LANES);
}

/* The caller's biases for a lane, where they lie or in room for a row. */
static const float *bias_row(const attn_i_tile_view *t, int64_t lane, float *room)
{
    const attn_i_view *bias = &t->p->bias;
    const char *row =
        attn_i_view_element(bias, t->w->b, attn_i_tile_head(t, lane), attn_i_tile_query(t, lane), t->keys.first);
    if (bias->stride[3] == 1 && bias->dtype == ATTN_F32) return (const float *)(const void *)row;
    attn_i_elements_widen(t->p->engine, bias, row, t->keys.end - t->keys.first, room);
    return room;
}

void attn_i_tile_view_bias(attn_i_tile_view *t)
{
    const int64_t n = t->keys.end - t->keys.first;
    const float *rows[ATTN_I_LANES];
    for (int64_t l = 0; l < t->w->rows; l++) rows[l] = bias_row(t, l, t->s->rows + l * ATTN_I_TILE_KEYS);
    t->kernels->to_lanes(t->w->rows, n, rows, 1, t->s->bias);
}

attn_i_shows attn_i_tile_view_mask(attn_i_tile_view *t)
{
    const int64_t n = t->keys.end - t->keys.first;
    attn_i_mask_row mask = {.keys = t->keys};
    const uint8_t *from[ATTN_I_LANES];
    const float *rows[ATTN_I_LANES];
    int64_t ones = 0, of_row = 0, masked = n;
    if (t->p->mask.data == NULL) return ATTN_I_EVERYTHING;
    if (t->plan->mask.shows != NULL) {
        const attn_i_shows known = attn_i_mask_map_at(&t->plan->mask, t->w->b, t->w->first_row, t->keys.first);
        if (known == ATTN_I_EVERYTHING || (known == ATTN_I_NOTHING && !t->plan->writes_scores)) return known;
    }
    for (int64_t l = 0; l < t->w->rows; l++) {
        mask = attn_i_mask_row_of(t->p, t->w->b, attn_i_tile_head(t, l), attn_i_tile_query(t, l), t->keys);
        masked = mask.keys.end - mask.keys.first;
        if (masked == 0) return ATTN_I_EVERYTHING;
        from[l] = mask.shows;
        if (mask.stride == 1) __builtin_prefetch(from[l] + ATTN_I_TILE_KEYS); /* for the next tile */
        if (l == 0 || from[l] != from[l - 1])
            of_row = n - masked + t->kernels->mask_count(masked, from[l], mask.stride);
        ones += of_row;
    }
    if (ones == 0 && !t->plan->writes_scores) return ATTN_I_NOTHING;
    if (ones == n * t->w->rows) return ATTN_I_EVERYTHING;
    const int64_t before = mask.keys.first - t->keys.first;
    for (int64_t l = 0; l < t->w->rows; l++) {
        float *to = t->s->rows + l * ATTN_I_TILE_KEYS;
        rows[l] = l > 0 && from[l] == from[l - 1] ? rows[l - 1] : to;
        if (rows[l] != to) continue;
        for (int64_t j = 0; j < n - masked; j++) to[j < before ? j : j + masked] = 1;
        t->kernels->mask_row(masked, from[l], mask.stride, to + before);
    }
    t->kernels->to_lanes(t->w->rows, n, rows, 1, t->s->mask);
    return ATTN_I_SOMETHING;
}

void attn_i_tile_view_drop(const attn_i_tile_view *t, const attn_i_tile_piece *one, float *tile)
{
    uint64_t row[ATTN_I_LANES] = {0};
    for (int64_t l = 0; l < t->w->rows; l++) {
        row[l] = attn_i_problem_row(t->p, t->w->b, attn_i_tile_head(t, l), attn_i_tile_query(t, l));
    }
    t->kernels->tile_drop(one->count, one->spans, &t->p->dropout.draw, row, t->keys.first + one->first,
                          tile + one->first * ATTN_I_LANES);
}

/* ------------------------------------------------------------------------------------------------- all of it */

attn_i_span attn_i_tile_view_begin(attn_i_tile_view *t, const attn_i_tile_plan *plan,
                                   const attn_i_tile_scratch *scratch, const attn_i_tile_work *work)
{
    t->plan = plan;
    t->p = plan->p;
    t->kernels = plan->kernels;
    t->s = scratch;
    t->w = work;
    t->lanes = scratch->lanes;
    t->all = (attn_i_spans){0, (int)attn_i_divide_up(work->rows, ATTN_I_SPAN_LANES)};
    name_lanes(t);
    if (t->p->modifiers->alibi != ATTN_ALIGN_NONE) load_slopes(t);
    return look(t);
}

void attn_i_tile_view_take(attn_i_tile_view *t)
{
    cut(t);
    if (t->p->modifiers->alibi != ATTN_ALIGN_NONE) measure_distances(t);
}

void attn_i_tile_view_near(attn_i_tile_view *t)
{
    const attn_i_tile_arithmetic *a = t->plan->arithmetic;
    const int64_t first = t->keys.first, n = t->keys.end - first, dim = t->p->value_dim;
    const int wants_values = t->p->context.data != NULL && !t->plan->sums_only;
    t->near_keys = attn_i_kept_for(a, &t->w->key_rows, first, n, t->plan->depth, t->s->near_keys);
    if (!wants_values && a->size != t->w->value_rows.type->size) return;
    /* What is loaded from there must not lie where it is loaded to. */
    float *room = a->load_values != NULL ? t->s->values : t->s->near_values;
    t->near_values = attn_i_kept_for(a, &t->w->value_rows, first, n, dim, room);
    if (!wants_values || a->load_values == NULL) return;
    t->near_values = a->load_values(n, t->near_values, dim, t->s->near_values);
}
