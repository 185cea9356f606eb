/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tiles/gradient.c: the way back of a tile of queries. Weights are made with the products, as in the forward pass, but
 * relative to a whole number that follows from the log-sum-exp, which no score exceeds: weight = 2^(exponent -
 * reference), and what is missing to the true weight, a factor for each query, goes into its d_context. So
 *
 *     d_score = weight (value . d_context' - mean')     d_context' = rest d_context, mean' = rest d_context . context
 *     d_value += weight d_context'
 *     d_query  = sum d_score key                         both times scale / temperature
 *     d_key   += d_score query
 *
 * are five products of tiles. */
#include "tiles/gradient.h"

#include "call/sinks.h"
#include "call/storage.h"
#include "runtime/size.h"
#include "tiles/lanes.h"
#include "tiles/scores.h"

#include <math.h>
#include <string.h>

/* Exponents past which a log-sum-exp is not taken as it comes: scores are then so great that a rounding of them, or of
 * it, changes what weights add up to. */
static const double moderate = 0x1p8;

/* Of a row's squares: below, it could not be made 2^ATTN_I_BELOW times smaller. */
static const float small = 0x1p-80f;

typedef struct pass {
    attn_i_tile_view v;
    const attn_i_gradient_plan *plan;
    const attn_i_gradient_scratch *s;
    attn_i_sum_rows d_keys, d_values;
    float *own, *distances;
    float rest[ATTN_I_LANES], mean[ATTN_I_LANES];
    float unused[ATTN_I_LANES];       /* sums that no one asks for */
    unsigned char poor[ATTN_I_LANES]; /* lanes whose d_context is not finite */
    int any_poor;
    float keep;                    /* what weights that are not dropped are multiplied by */
    double exponent[ATTN_I_LANES]; /* the logarithm of what the weights add up to, see find_exponents */
    attn_i_tile_plan great;        /* the plan, if scores are so great, and then the greatest of each lane */
    float greatest[ATTN_I_LANES];
    int finite;     /* the keys are, and the queries too */
    int referenced; /* every lane has a reference that weights made with products can do with */
} pass;

attn_i_gradient_scratch attn_i_gradient_scratch_layout(const attn_i_gradient_plan *plan, attn_i_arena *arena)
{
    const int64_t size = (int64_t)sizeof(float), depth = plan->tile.depth;
    const int64_t keys = attn_i_min(ATTN_I_TILE_KEYS, plan->tile.p->keys);
    const int capped = plan->tile.p->modifiers->softcap != 0;
    attn_i_gradient_scratch s = {.tile = attn_i_tile_scratch_layout(&plan->tile, arena)};
    s.d_scores = attn_i_carve_matrix(arena, keys, ATTN_I_LANES, size);
    s.capped = attn_i_carve_matrix(arena, capped ? keys : 0, ATTN_I_LANES, size);
    s.d_context = attn_i_carve_matrix(arena, plan->dim, ATTN_I_LANES, size);
    s.query_panels =
        attn_i_carve_matrix(arena, plan->tile.lanes == NULL ? attn_i_panels_of(depth) : 0, ATTN_I_PANEL, size);
    s.context_panels = attn_i_carve_matrix(arena, attn_i_panels_of(plan->dim), ATTN_I_PANEL, size);
    s.d_query = attn_i_carve_matrix(arena, plan->width, ATTN_I_LANES, size);
    s.keys = attn_i_carve_matrix(arena, plan->tile.lanes == NULL ? keys : 0, depth, size);
    s.row = attn_i_carve_matrix(arena, 2, plan->dim, size);
    return s;
}

/* ---------------------------------------------------------------------------------------------- queries */

static void clear_lane(int64_t n, int64_t lane, float *panels)
{
    for (int64_t at = 0; at < n; at += ATTN_I_LANES) {
        memset(panels + at / ATTN_I_LANES * ATTN_I_PANEL + lane * ATTN_I_LANES, 0, ATTN_I_LANES * sizeof *panels);
    }
}

/* 1 if the lane's row of the panels was finite; it is now. */
static int clean_lane(const pass *t, int64_t n, int64_t lane, float *panels)
{
    int finite = 1;
    for (int64_t at = 0; at < n; at += ATTN_I_LANES) {
        float *row = panels + at / ATTN_I_LANES * ATTN_I_PANEL + lane * ATTN_I_LANES;
        if (t->v.p->kernels->is_finite(ATTN_I_LANES, row)) continue;
        t->v.p->kernels->gather_finite(ATTN_I_LANES, row, 1, row, 1);
        finite = 0;
    }
    return finite;
}

/* 1 if the rows of all lanes that have a query are finite; what the panels' other rows hold is looked at by nobody. */
static int rows_are_finite(const pass *t, int64_t n, const float *panels)
{
    for (int64_t at = 0; at < n; at += ATTN_I_LANES) {
        if (!t->v.p->kernels->is_finite(t->v.w->rows * ATTN_I_LANES, panels + at / ATTN_I_LANES * ATTN_I_PANEL))
            return 0;
    }
    return 1;
}

/* A row of d_context or context, contiguous and in float32. */
static const float *row_at(const pass *t, const attn_i_view *view, int64_t lane, float *room)
{
    const int64_t query = attn_i_tile_query(&t->v, lane);
    const void *row = attn_i_view_element(view, t->v.w->b, attn_i_tile_head(&t->v, lane), query, 0);
    if (view->dtype == ATTN_F32 && (view->stride[3] == 1 || t->plan->dim == 1)) return row;
    attn_i_elements_widen(t->v.p->engine, view, row, t->plan->dim, room);
    return room;
}

static double one_of(const pass *t, const attn_i_view *view, int64_t lane)
{
    return attn_i_logsumexp_get(view, t->v.w->b, attn_i_tile_head(&t->v, lane), attn_i_tile_query(&t->v, lane));
}

/* The sums of the weights once more, of all keys, from scores that are rounded as this pass rounds them. */
static void sum_anew(pass *t)
{
    attn_i_tile_plan sums = t->plan->tile;
    attn_i_tile_work all = *t->v.w;
    attn_i_fetch fetch = {.count = 0};
    sums.sums_only = 1;
    sums.wide = 0;
    all.keys = (attn_i_span){0, t->v.p->keys};
    attn_i_tile_pass(&sums, t->v.s, &all, &fetch);
    const attn_i_lanes *lanes = t->v.lanes;
    for (int64_t l = 0; l < t->v.w->rows; l++) {
        double *exponent = &t->exponent[l];
        if (*exponent == -INFINITY || (lanes->great == 0 && fabs(*exponent) <= moderate)) continue;
        const double own = lanes->exponent[l], sink = attn_i_sink_exponent(t->v.p, attn_i_tile_head(&t->v, l));
        if (lanes->sum[l] == 0) {
            *exponent = sink; /* minus infinity if there is neither key nor sink */
        } else {
            /* Relative to the weights' own exponent, which may be so great that nothing adds to it. */
            const double sum = attn_i_log2_with_sink((double)lanes->sum[l], 0, sink - own);
            *exponent = lanes->great == 0 ? own + sum : sum + (double)lanes->room[l];
        }
        t->greatest[l] = lanes->great == 0 || lanes->sum[l] == 0 ? 0 : lanes->reference[l];
    }
    if (lanes->great == 0) return;
    t->great = attn_i_tile_plan_great(&t->plan->tile);
    attn_i_tile_view_begin(&t->v, &t->great, t->v.s, t->v.w);
}

/* What the weights of each lane add up to is the caller's log-sum-exp, as an exponent. By a plan for great scores it is
 * relative to the greatest. */
static void find_exponents(pass *t)
{
    int great = t->v.plan->great != 0;
    for (int64_t l = 0; l < t->v.w->rows; l++) {
        const double exponent = one_of(t, &t->v.p->logsumexp, l) * 1.44269504088896340736;
        t->exponent[l] = exponent;
        t->greatest[l] = 0;
        great |= exponent != -INFINITY && !(fabs(exponent) <= moderate);
    }
    if (great) sum_anew(t);
}

/* Reference, rest and mean of a lane, and its d_context'. A query that sees nothing has none of them. */
static void load_lane(pass *t, int64_t lane)
{
    const int64_t dim = t->plan->dim;
    const attn_i_gradient *g = t->plan->g;
    const double exponent = t->exponent[lane];
    float *reference = &t->v.lanes->reference[lane];
    t->poor[lane] = 0;
    if (exponent == -INFINITY) {
        *reference = t->rest[lane] = t->mean[lane] = 0;
        clear_lane(dim, lane, t->s->context_panels);
        return;
    }
    const attn_i_stored_kernels *kernels = attn_i_engine_stored_kernels(t->v.p->engine, ATTN_F32);
    const float *d = NULL;
    float mean = 0, squares = 1;
    if (dim > 0) {
        d = row_at(t, &g->d_context, lane, t->s->row);
        kernels->rows.products(dim, (attn_i_rows){d, dim}, 1, &(attn_i_stored_rows){d, dim, 0}, 1, &squares, 1);
    }
    *reference = (float)(ceil(exponent) - (squares < small ? 0 : ATTN_I_BELOW));
    t->rest[lane] = (float)exp2((double)*reference - exponent);
    if (!(fabsf(*reference) <= ATTN_I_FAR)) t->referenced = 0;
    if (dim > 0) {
        const float *context = row_at(t, &t->v.p->context, lane, t->s->row + dim);
        kernels->rows.products(dim, (attn_i_rows){d, dim}, 1, &(attn_i_stored_rows){context, dim, 0}, 1, &mean, 1);
        attn_i_to_panels(d, dim, t->rest[lane] * t->keep, lane, t->s->context_panels);
    }
    if (g->d_logsumexp.data != NULL) mean -= (float)one_of(t, &g->d_logsumexp, lane);
    t->mean[lane] = t->rest[lane] * mean;
}

static void load_contexts(pass *t)
{
    const int64_t rows = t->v.w->rows, dim = t->plan->dim;
    t->referenced = 1;
    t->any_poor = 0;
    for (int64_t l = 0; l < rows; l++) load_lane(t, l);
    for (int64_t l = rows; l < ATTN_I_LANES; l++) {
        t->v.lanes->reference[l] = t->rest[l] = t->mean[l] = 0;
    }
    for (int64_t at = 0; at < dim; at += ATTN_I_LANES) {
        const float *panel = t->s->context_panels + at / ATTN_I_LANES * ATTN_I_PANEL, *from[ATTN_I_LANES];
        for (int64_t l = 0; l < rows; l++) from[l] = panel + l * ATTN_I_LANES;
        t->v.kernels->to_lanes(rows, attn_i_min(dim - at, ATTN_I_LANES), from, 1, t->s->d_context + at * ATTN_I_LANES);
    }
    if (rows_are_finite(t, dim, t->s->context_panels)) return;
    for (int64_t l = 0; l < rows; l++) {
        t->poor[l] = (unsigned char)!clean_lane(t, dim, l, t->s->context_panels);
        t->any_poor |= t->poor[l];
    }
}

static void load_queries(pass *t)
{
    const int64_t depth = t->v.plan->depth;
    attn_i_tile_load_queries(&t->v);
    if (t->d_keys.data == NULL || t->v.plan->lanes != NULL) return;
    for (int64_t l = 0; l < t->v.w->rows; l++) {
        attn_i_to_panels(attn_i_tile_query_floats(&t->v, l), depth, (float)t->plan->factor, l, t->s->query_panels);
    }
    if (rows_are_finite(t, depth, t->s->query_panels)) return;
    t->finite = 0;
    for (int64_t l = 0; l < t->v.w->rows; l++) clean_lane(t, depth, l, t->s->query_panels);
}

/* ---------------------------------------------------------------------------------------------- one tile */

/* The weights of all pieces, made as the products are. 0: it has to be done the other way. */
static int weights_with_products(pass *t)
{
    const int alibi = t->v.p->modifiers->alibi != ATTN_ALIGN_NONE;
    const attn_i_exponent exponent = {t->v.plan->cap, alibi ? t->v.slope : NULL, t->v.distance};
    attn_i_fetch fetch = {.count = 0};
    if (!t->v.plan->plain || t->v.plan->cap != 0 || !t->referenced || !t->finite) return 0;
    for (int i = 0; i < t->v.count; i++) {
        const attn_i_tile_piece *one = &t->v.pieces[i];
        if (!t->v.kernels->weights(t->v.plan->depth, t->v.s->queries, attn_i_near_floats(t->v.near_keys, one->first),
                                   one->count, one->spans, &exponent, t->v.lanes, one->first, one->edges, &fetch,
                                   t->v.s->tile + one->first * ATTN_I_LANES)) {
            return 0;
        }
    }
    return 1;
}

static void weights_by_passes(pass *t, attn_i_shows mask)
{
    if (t->v.plan->biased) attn_i_tile_view_bias(&t->v);
    for (int i = 0; i < t->v.count; i++) {
        const attn_i_tile_piece *one = &t->v.pieces[i];
        attn_i_tile_scores(&t->v, one, mask, t->v.p->modifiers->softcap != 0 ? t->s->capped : NULL);
        float *tile = t->v.s->tile + one->first * ATTN_I_LANES;
        if (t->v.plan->great != 0) attn_i_tile_take_off(t->v.plan->great, one->count, one->spans, t->greatest, tile);
        t->v.kernels->tile_exponentials(one->count, one->spans, t->v.lanes->reference, tile);
    }
}

static void score_gradients(pass *t, const attn_i_tile_piece *one)
{
    const int64_t start = one->first * ATTN_I_LANES;
    const attn_i_rows values = attn_i_near_floats(t->v.near_values, one->first);
    const float *weights = t->v.s->tile + start;
    float *d = t->s->d_scores + start;
    if (t->v.p->dropout.keep == 0) {
        t->v.kernels->gradients(t->plan->dim, t->s->d_context, values, one->count, one->spans, weights, t->mean, d);
    } else {
        t->v.kernels->products(t->plan->dim, t->s->d_context, values, one->count, one->spans, d, ATTN_I_LANES, 0);
        attn_i_tile_view_drop(&t->v, one, t->s->d_scores);
        t->v.kernels->tile_gradient(one->count, one->spans, weights, t->mean, d);
    }
    if (t->distances != NULL) {
        const int64_t after = t->v.w->keys.end - 1 - (t->v.keys.first + one->first), group = t->v.p->group;
        t->v.kernels->tile_sum_diagonals(one->count, one->spans, t->v.w->rows, d, group,
                                         t->distances + t->v.w->first_row + after * group);
    }
    if (t->v.p->modifiers->softcap != 0) {
        const float cap = t->v.plan->folded ? t->v.plan->cap : (float)t->v.p->modifiers->softcap;
        t->v.kernels->tile_cap_gradient(one->count, one->spans, cap, t->s->capped + start, t->s->d_scores + start);
    }
}

/* rows += tile^T panels, of a piece, `columns` of them: lanes that do not see it are left out, and those without a
 * query, from which no bias hides what is not finite. */
static void add_products(pass *t, const attn_i_tile_piece *one, const float *tile, const float *panels, int64_t columns,
                         attn_i_sum_rows to)
{
    const int64_t lane = one->spans.first * ATTN_I_SPAN_LANES;
    const int64_t lanes = attn_i_min(one->spans.end * ATTN_I_SPAN_LANES, t->v.w->rows) - lane;
    to.data += (t->v.keys.first + one->first - t->v.w->keys.first) * to.stride;
    attn_i_panels_add(t->v.kernels, tile + one->first * ATTN_I_LANES, one->count, lane, lanes, panels, columns, to);
}

/* What is not finite in a lane's d_context goes to the values that it sees. */
static void add_what_is_not_finite(pass *t, const attn_i_tile_piece *one)
{
    for (int64_t l = one->spans.first * ATTN_I_SPAN_LANES; l < t->v.w->rows; l++) {
        if (!t->poor[l] || l >= one->spans.end * ATTN_I_SPAN_LANES) continue;
        const float *d = row_at(t, &t->plan->g->d_context, l, t->s->row);
        for (int64_t j = one->first; j < one->first + one->count; j++) {
            const float weight = t->v.s->tile[j * ATTN_I_LANES + l] * t->rest[l] * t->keep;
            float *to = t->d_values.data + (t->v.keys.first + j - t->v.w->keys.first) * t->d_values.stride;
            if (t->v.s->tile[j * ATTN_I_LANES + l] == 0) continue;
            t->v.p->kernels->add_not_finite(t->plan->dim, &weight, d, 1, to);
        }
    }
}

static void add_queries(pass *t, const attn_i_tile_piece *one)
{
    const int64_t depth = t->v.plan->depth;
    attn_i_rows keys = attn_i_near_floats(t->v.near_keys, one->first);
    if (!t->finite) {
        for (int64_t j = 0; j < one->count; j++) {
            t->v.p->kernels->gather_finite(depth, keys.data + j * keys.stride, 1, t->s->keys + j * depth, 1);
        }
        keys = (attn_i_rows){t->s->keys, depth};
    }
    t->v.kernels->context(one->count, t->s->d_scores + one->first * ATTN_I_LANES, keys, depth, one->spans,
                          t->s->d_query, t->unused);
}

/* Where scores are products. */
static void add_by_products(pass *t, const attn_i_tile_piece *one)
{
    if (t->plan->wants_query) add_queries(t, one);
    if (t->d_keys.data != NULL) {
        add_products(t, one, t->s->d_scores, t->s->query_panels, t->v.plan->depth, t->d_keys);
    }
}

static void add_by_score(pass *t, const attn_i_tile_piece *one)
{
    const int64_t lane = one->spans.first * ATTN_I_SPAN_LANES, key = t->v.keys.first + one->first;
    const int64_t end = attn_i_min(one->spans.end * ATTN_I_SPAN_LANES, t->v.w->rows);
    const attn_i_sum_rows d_queries = {t->s->d_query, t->plan->width};
    attn_i_sum_rows d_keys = t->d_keys;
    float *d_scores = t->s->d_scores + one->first * ATTN_I_LANES;
    d_keys.data += (key - t->v.w->keys.first) * d_keys.stride;
    t->v.kernels->tile_scale(one->count, one->spans, (float)t->plan->factor, d_scores);
    t->v.plan->lanes->gradients(t->v.p, t->v.plan->state, t->v.s->queries, lane, end - lane,
                                attn_i_near_floats(t->v.near_keys, key - t->v.keys.first), one->count, d_scores,
                                d_queries, d_keys, t->own);
}

static void run_tile(pass *t)
{
    const int by_score = t->v.plan->lanes != NULL;
    const int wants_scores = by_score || t->plan->wants_query || t->d_keys.data != NULL || t->distances != NULL;
    attn_i_tile_view_take(&t->v);
    const attn_i_shows mask = attn_i_tile_view_mask(&t->v);
    if (mask == ATTN_I_NOTHING) return;
    attn_i_tile_view_near(&t->v);
    if (mask == ATTN_I_SOMETHING || !weights_with_products(t)) weights_by_passes(t, mask);
    for (int i = 0; i < t->v.count; i++) {
        const attn_i_tile_piece *one = &t->v.pieces[i];
        if (wants_scores) score_gradients(t, one);
        if (t->v.p->dropout.keep != 0) attn_i_tile_view_drop(&t->v, one, t->v.s->tile);
        if (t->d_values.data != NULL) {
            add_products(t, one, t->v.s->tile, t->s->context_panels, t->plan->dim, t->d_values);
            if (t->any_poor) add_what_is_not_finite(t, one);
        }
        if (by_score) {
            add_by_score(t, one);
        } else {
            add_by_products(t, one);
        }
    }
}

void attn_i_tile_gradient(const attn_i_gradient_plan *plan, const attn_i_gradient_scratch *scratch,
                          const attn_i_tile_work *work, int finite, const attn_i_gradient_sums *sums)
{
    pass t = {.plan = plan, .s = scratch, .d_keys = sums->keys, .own = sums->own, .finite = finite};
    t.distances = sums->distances;
    t.keep = plan->tile.p->dropout.keep != 0 ? (float)plan->tile.p->dropout.keep : 1;
    const attn_i_span keys = attn_i_tile_view_begin(&t.v, &plan->tile, &scratch->tile, work);
    if (plan->dim > 0) t.d_values = sums->values;
    if (plan->wants_query || plan->tile.lanes != NULL) {
        memset(scratch->d_query, 0, (size_t)(plan->width * ATTN_I_LANES) * sizeof(float));
    }
    if (keys.first == keys.end) return;
    memset(t.unused, 0, sizeof t.unused);
    find_exponents(&t);
    load_queries(&t);
    load_contexts(&t);
    for (int64_t first = keys.first; first < keys.end; first = t.v.keys.end) {
        t.v.keys.first = first;
        t.v.keys.end = attn_i_min((first / ATTN_I_TILE_KEYS + 1) * ATTN_I_TILE_KEYS, keys.end);
        run_tile(&t);
    }
}
