/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tiles/scores.c: a tile's queries in lanes, and its scores, modified, as exponents. */
#include "tiles/scores.h"

#include "call/relative.h"
#include "call/storage.h"
#include "tiles/output.h"

#include <string.h>

const float *attn_i_tile_query_row(const attn_i_tile_view *t, int64_t lane)
{
    const attn_i_view *query = &t->p->query;
    if (t->w->queries.data != NULL) return t->w->queries.data + (t->w->first_row + lane) * t->w->queries.stride;
    return (const float *)(void *)attn_i_view_at(query, t->w->b, attn_i_tile_head(t, lane)) +
           attn_i_tile_query(t, lane) * query->stride[2];
}

const float *attn_i_tile_query_floats(const attn_i_tile_view *t, int64_t lane)
{
    if (t->plan->widens_queries) return t->s->near_queries + lane * t->plan->depth;
    return attn_i_tile_query_row(t, lane);
}

static const void *widened_row(const attn_i_tile_view *t, int64_t lane)
{
    const attn_i_view *query = &t->p->query;
    float *row = t->s->near_queries + lane * t->plan->depth;
    const char *place = attn_i_view_element(query, t->w->b, attn_i_tile_head(t, lane), attn_i_tile_query(t, lane), 0);
    if (t->plan->arithmetic->size == query->size) return place;
    attn_i_elements_widen(t->p->engine, query, place, t->plan->depth, row);
    return row;
}

void attn_i_tile_load_queries(attn_i_tile_view *t)
{
    const attn_i_tile_plan *plan = t->plan;
    const void *rows[ATTN_I_LANES];
    for (int64_t l = 0; l < t->w->rows; l++) {
        rows[l] = plan->widens_queries ? widened_row(t, l) : attn_i_tile_query_row(t, l);
    }
    if (plan->lanes == NULL) {
        plan->arithmetic->load_queries(t->w->rows, plan->depth, rows, plan->folded ? (float)plan->factor : 1,
                                       t->s->queries);
    } else {
        const float *floats[ATTN_I_LANES];
        for (int64_t l = 0; l < t->w->rows; l++) floats[l] = rows[l];
        plan->lanes->convert_queries(t->p, plan->state, t->w->rows, floats, t->s->queries);
    }
}

void attn_i_tile_cap_folded(const attn_i_tile_plan *plan, int64_t count, attn_i_spans spans, float *tile)
{
    if (plan->cap == 0) return;
    plan->kernels->tile_softcap(count, spans, 1, tile);
    plan->kernels->tile_scale(count, spans, plan->cap, tile);
}

void attn_i_tile_scores(attn_i_tile_view *t, const attn_i_tile_piece *one, attn_i_shows mask, float *capped)
{
    const attn_i_tile_kernels *k = t->kernels;
    const attn_i_tile_plan *plan = t->plan;
    const attn_i_modifiers *m = t->p->modifiers;
    const int64_t n = one->count, start = one->first * ATTN_I_LANES;
    float *tile = t->s->tile + start;

    if (plan->lanes != NULL) {
        plan->lanes->scores(t->p, plan->state, t->s->queries, t->w->rows, attn_i_near_floats(t->near_keys, one->first),
                            n, tile);
    } else {
        plan->arithmetic->products(plan->depth, t->s->queries, t->near_keys, one->first, n, one->spans, tile);
    }
    if (plan->folded) attn_i_tile_cap_folded(plan, n, one->spans, tile);
    if (!plan->folded && t->p->scale != 1) k->tile_scale(n, one->spans, (float)t->p->scale, tile);
    attn_i_tile_write(plan, t->s, t->w, t->keys, ATTN_SCORES_RAW);
    if (!plan->folded && m->softcap != 0) k->tile_softcap(n, one->spans, (float)m->softcap, tile);
    attn_i_tile_write(plan, t->s, t->w, t->keys, ATTN_SCORES_CAPPED);
    for (int64_t j = 0; capped != NULL && j < n; j++) {
        const int64_t row = start + j * ATTN_I_LANES;
        memcpy(capped + row, t->s->tile + row, ATTN_I_LANES * sizeof *capped);
    }
    if (plan->biased) {
        k->tile_add(n, one->spans, plan->folded ? (float)plan->unit : 1, t->s->bias + start, tile);
    }
    if (plan->relative) {
        k->tile_add_diagonals(
            n, one->spans, t->w->rows, plan->folded ? (float)plan->unit : 1,
            attn_i_relative_diagonals(t->p, t->w->b, t->w->key_head, t->w->first_row, t->keys.first + one->first),
            t->p->group, tile);
    }
    if (m->alibi != ATTN_ALIGN_NONE) attn_i_tile_view_add_alibi(t, one->first, n, one->spans);
    if (one->edges) k->tile_edges(n, one->spans, t->lanes, one->first, tile);
    if (mask == ATTN_I_SOMETHING) k->tile_mask(n, one->spans, t->s->mask + start, tile);
    attn_i_tile_write(plan, t->s, t->w, t->keys, ATTN_SCORES_MASKED);
    if (!plan->folded) k->tile_scale(n, one->spans, (float)plan->unit, tile);
    attn_i_tile_write(plan, t->s, t->w, t->keys, ATTN_SCORES_WEIGHTS);
}
