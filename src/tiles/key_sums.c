/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tiles/key_sums.c: sums of weights by key. The lanes of a head are added up by a product: of the weights, as they are
 * relative to the lanes' references, and a matrix that has what a lane is to be multiplied by in the column of its
 * head. */
#include "tiles/key_sums.h"

#include "runtime/size.h"
#include "tiles/lanes.h"
#include "tiles/scores.h"
#include "tiles/view.h"

#include <math.h>
#include <string.h>

typedef struct sweep {
    attn_i_tile_view v;
    const attn_i_key_sums_scratch *own;
    const attn_i_row_norm *norms;
    float reference[ATTN_I_LANES];
    int64_t columns; /* of heads that lanes are of */
    int64_t stride;
    double unit; /* not 0: scores are great, and this makes exponents of them */
} sweep;

attn_i_key_sums_scratch attn_i_key_sums_scratch_layout(const attn_i_tile_plan *plan, int64_t keys, attn_i_arena *arena)
{
    attn_i_key_sums_scratch s;
    s.sums = attn_i_carve_matrix(arena, plan->p->group, keys, (int64_t)sizeof *s.sums);
    s.selector = attn_i_carve_matrix(arena, ATTN_I_LANES, ATTN_I_LANES, (int64_t)sizeof *s.selector);
    s.products = attn_i_carve_matrix(arena, ATTN_I_TILE_KEYS, ATTN_I_LANES, (int64_t)sizeof *s.products);
    return s;
}

/* Which head of the group a lane is of. Its column is this one where there are no more than lanes; otherwise every lane
 * has its own. */
static int64_t member_of(const sweep *t, int64_t lane)
{
    return (t->v.w->first_row + lane) % t->v.p->group;
}

static int64_t member_of_column(const sweep *t, int64_t column)
{
    return t->v.p->group > ATTN_I_LANES ? member_of(t, column) : column;
}

static void begin(sweep *t)
{
    t->columns = attn_i_min(t->v.p->group, ATTN_I_LANES);
    memset(t->own->selector, 0, ATTN_I_LANES * ATTN_I_LANES * sizeof *t->own->selector);
    for (int64_t l = 0; l < ATTN_I_LANES; l++) {
        const int is_row = l < t->v.w->rows;
        t->reference[l] = is_row ? (float)t->norms[l].base : 0;
        const int64_t column = t->v.p->group > ATTN_I_LANES ? l : member_of(t, l);
        if (is_row) t->own->selector[l * ATTN_I_LANES + column] = (float)t->norms[l].inverse;
    }
}

/* Lane by lane: a weight that is no number must not reach another head, nor a key that it does not see. */
static void add_one_by_one(const sweep *t, const attn_i_tile_piece *one, int64_t j, double *sums)
{
    const float *row = t->v.s->tile + (one->first + j) * ATTN_I_LANES;
    const int64_t end = attn_i_min(one->spans.end * ATTN_I_SPAN_LANES, t->v.w->rows);
    for (int64_t l = one->spans.first * ATTN_I_SPAN_LANES; l < end; l++) {
        const double x = (double)row[l];
        double weight = x;
        if (t->unit != 0) weight = x == -INFINITY ? 0 : exp2(x * t->unit - t->norms[l].base);
        if (weight != 0) sums[member_of(t, l) * t->stride + j] += weight * t->norms[l].inverse;
    }
}

static void add_piece(const sweep *t, const attn_i_tile_piece *one, double *sums)
{
    const attn_i_spans heads = {0, (int)attn_i_divide_up(t->columns, ATTN_I_SPAN_LANES)};
    const int64_t first = one->spans.first * ATTN_I_SPAN_LANES;
    const int64_t lanes = attn_i_min(one->spans.end * ATTN_I_SPAN_LANES, t->v.w->rows) - first;
    const attn_i_rows weights = {t->v.s->tile + one->first * ATTN_I_LANES + first, ATTN_I_LANES};
    if (t->unit == 0) {
        t->v.kernels->products(lanes, t->own->selector + first * ATTN_I_LANES, weights, one->count, heads,
                               t->own->products, ATTN_I_LANES, 0);
    }
    for (int64_t j = 0; j < one->count; j++) {
        const float *row = t->own->products + j * ATTN_I_LANES;
        int finite = t->unit == 0;
        for (int64_t c = 0; c < t->columns && finite; c++) finite = isfinite(row[c]) != 0;
        if (!finite) add_one_by_one(t, one, j, sums);
        for (int64_t c = 0; c < t->columns && finite; c++) {
            sums[member_of_column(t, c) * t->stride + j] += (double)row[c];
        }
    }
}

void attn_i_tile_key_sums(const attn_i_tile_plan *plan, const attn_i_tile_scratch *s,
                          const attn_i_key_sums_scratch *own, const attn_i_tile_work *w, const attn_i_row_norm *norms,
                          int is_great, int64_t stride)
{
    attn_i_tile_plan again = is_great ? attn_i_tile_plan_great(plan) : *plan;
    again.writes_scores = 0;
    again.sums_only = 1;
    sweep t = {.own = own, .norms = norms, .stride = stride, .unit = again.great};
    const attn_i_span keys = attn_i_tile_view_begin(&t.v, &again, s, w);
    if (keys.first == keys.end) return;
    attn_i_tile_load_queries(&t.v);
    begin(&t);
    for (int64_t first = keys.first; first < keys.end; first = t.v.keys.end) {
        t.v.keys.first = first;
        t.v.keys.end = attn_i_min((first / ATTN_I_TILE_KEYS + 1) * ATTN_I_TILE_KEYS, keys.end);
        attn_i_tile_view_take(&t.v);
        const attn_i_shows mask = attn_i_tile_view_mask(&t.v);
        if (mask == ATTN_I_NOTHING) continue;
        attn_i_tile_view_near(&t.v);
        if (again.biased) attn_i_tile_view_bias(&t.v);
        for (int i = 0; i < t.v.count; i++) {
            const attn_i_tile_piece *one = &t.v.pieces[i];
            float *tile = s->tile + one->first * ATTN_I_LANES;
            attn_i_tile_scores(&t.v, one, mask, NULL);
            if (t.unit == 0) t.v.kernels->tile_exponentials(one->count, one->spans, t.reference, tile);
            add_piece(&t, one, own->sums + first + one->first - w->keys.first);
        }
    }
}
