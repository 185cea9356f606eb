/* SPDX-License-Identifier: BSD-3-Clause
 *
 * layers/decomposable/tiles_backward.c: the way back of the decomposable attention by fused tiles. Both weights of a
 * tile, w along the lanes (of beta) and u across them (of alpha), are made anew from the log-sum-exps, and one gradient
 * of its scores from both:
 *
 *     de_ij = w_ij (d_beta_i . b_j - d_beta_i . beta_i) + u_ij (d_alpha_j . a_i - d_alpha_j . alpha_j)
 *     d_f_i = sum_j de_ij g_j       d_a_i = sum_j u_ij d_alpha_j       which are contexts of lanes
 *     d_g_j = sum_i de_ij f_i       d_b_j = sum_i w_ij d_beta_i        which are products with panels */
#include "layers/decomposable/tiles.h"

#include "runtime/size.h"
#include "runtime/slots.h"

#include <math.h>
#include <string.h>

/* What stands for a log-sum-exp: weight = rest 2^(exponent - reference), the reference being whole. */
typedef struct stand {
    double reference, rest, mean; /* mean: of the gradients of its weights */
} stand;

/* Scratch of one item at a time. */
typedef struct slot {
    attn_i_item_rows f, g, a, b, beta, d_beta, d_alpha;
    float *lanes_of_f, *lanes_of_a, *lanes_of_d_beta; /* [.][LANES]; that of f in units of log2 */
    float *panels_of_f, *panels_of_d_beta;
    float *tile, *across;   /* [TILE_KEYS][LANES]: scores, then weights along the lanes; weights across them */
    float *d_scores, *part; /* likewise: their gradient; what comes across the lanes */
    float *d_f, *d_a;       /* [.][LANES]; d_a is d_f where a is f */
    float *d_g, *d_b;       /* [Tb], rows of attn_i_item_stride(.); likewise */
    stand *columns;         /* [Tb] */
    float *row;             /* [Da]: of alpha */
    float *room;            /* [LANES][TILE_KEYS] */
    float *most;            /* [Tb]: the greatest score of a column */
} slot;

typedef struct run {
    const attn_i_decomposable *d;
    const attn_i_tile_kernels *tiles;
    int along, across; /* whether a gradient flows in from beta, from alpha */
    int f, g, a, b;    /* whether these gradients are wanted, or are a part of one that is */
    attn_i_slots slots;
    slot *slot;
} run;

/* ---------------------------------------------------------------------------------------------- layout */

static float *lanes_for(attn_i_arena *arena, int wanted, int64_t columns)
{
    return attn_i_carve_matrix(arena, wanted ? columns : 0, ATTN_I_LANES, (int64_t)sizeof(float));
}

static float *panels_for(attn_i_arena *arena, int wanted, int64_t columns)
{
    return attn_i_carve_matrix(arena, wanted ? attn_i_panels_of(columns) : 0, ATTN_I_PANEL, (int64_t)sizeof(float));
}

static float *sums_for(const attn_i_decomposable *d, attn_i_arena *arena, int wanted, int64_t columns)
{
    return attn_i_carve_matrix(arena, wanted ? d->b_rows : 0, attn_i_item_stride(columns), (int64_t)sizeof(float));
}

static slot lay_out_slot(const run *r, attn_i_arena *arena)
{
    const attn_i_decomposable *d = r->d;
    const int64_t size = d->size, keys = attn_i_min(ATTN_I_TILE_KEYS, d->b_rows);
    slot s = {.f = attn_i_item_rows_layout(d, &d->f, arena), .g = attn_i_item_rows_layout(d, &d->g, arena)};
    s.a = d->a_is_f ? s.f : attn_i_item_rows_layout(d, &d->a, arena);
    s.b = d->b_is_g ? s.g : attn_i_item_rows_layout(d, &d->b, arena);
    s.beta = attn_i_item_rows_layout(d, &d->beta, arena);
    s.d_beta = attn_i_item_rows_layout(d, &d->d_beta, arena);
    s.d_alpha = attn_i_item_rows_layout(d, &d->d_alpha, arena);
    s.lanes_of_f = lanes_for(arena, 1, d->dim);
    s.lanes_of_a = lanes_for(arena, r->across, d->a_dim);
    s.lanes_of_d_beta = lanes_for(arena, r->along, d->b_dim);
    s.panels_of_f = panels_for(arena, r->g, d->dim);
    s.panels_of_d_beta = panels_for(arena, r->along && r->b, d->b_dim);
    s.tile = lanes_for(arena, 1, keys);
    s.across = lanes_for(arena, r->across, keys);
    s.d_scores = lanes_for(arena, 1, keys);
    s.part = lanes_for(arena, r->across && r->along, keys);
    s.d_f = lanes_for(arena, r->f, d->dim);
    s.d_a = d->a_is_f ? s.d_f : lanes_for(arena, r->a, d->a_dim);
    s.d_g = sums_for(d, arena, r->g, d->dim);
    s.d_b = d->b_is_g ? s.d_g : sums_for(d, arena, r->b, d->b_dim);
    s.columns = attn_i_carve(arena, d->b_rows, sizeof *s.columns);
    s.row = attn_i_carve(arena, d->a_dim, size);
    s.room = attn_i_carve_matrix(arena, ATTN_I_LANES, ATTN_I_TILE_KEYS, size);
    s.most = attn_i_carve(arena, r->across ? d->b_rows : 0, size);
    return s;
}

static void lay_out(run *r, const attn_i_decomposable *d, attn_i_arena *arena)
{
    *r = (run){.d = d, .tiles = d->engine->tile_kernels};
    r->along = d->d_beta.data != NULL;
    r->across = d->d_alpha.data != NULL;
    r->f = d->d_f.data != NULL;
    r->g = d->d_g.data != NULL;
    r->a = d->a_is_f ? r->f : d->d_a.data != NULL;
    r->b = d->b_is_g ? r->g : d->d_b.data != NULL;
    r->slots = attn_i_slots_layout(arena, attn_i_clamp(d->batch * d->heads, 1, d->engine->threads));
    r->slot = attn_i_carve(arena, r->slots.count, sizeof *r->slot);
    for (int64_t i = 0; i < r->slots.count; i++) {
        const slot s = lay_out_slot(r, arena);
        if (arena->base != NULL) r->slot[i] = s;
    }
}

/* ---------------------------------------------------------------------------------------------- one tile */

typedef struct pass {
    const run *r;
    const slot *s;
    attn_i_item item;
    attn_i_rows f, g, a, b, beta, d_beta, d_alpha;
    float reference[ATTN_I_LANES], rest[ATTN_I_LANES], mean[ATTN_I_LANES];
    float unused[ATTN_I_LANES]; /* sums that no one asks for */
} pass;

/* `below`: how far the reference is to lie below the log-sum-exp. */
static stand stand_of(const attn_i_view *logsumexp, const attn_i_item *item, int64_t row, int below, double mean)
{
    const float *all = attn_i_decomposable_one(logsumexp, item->b, item->h, row);
    const double exponent = (double)*all * ATTN_I_LOG2_E;
    if (exponent == -INFINITY) return (stand){0, 0, 0}; /* nothing was seen */
    const double reference = ceil(exponent) - below;
    return (stand){reference, exp2(reference - exponent), mean};
}

static void load_f(const pass *t)
{
    attn_i_item_to_lanes(&t->item, t->r->tiles, t->f, t->r->d->dim, (float)ATTN_I_LOG2_E, t->s->lanes_of_f);
}

/* Scores of `count` rows of b, in units of log2. */
static void make_scores(const pass *t, int64_t first, int64_t count)
{
    t->r->tiles->products(t->r->d->dim, t->s->lanes_of_f, attn_i_rows_from(t->g, first), count, t->item.spans,
                          t->s->tile, ATTN_I_LANES, 0);
}

/* References and rests of the lanes once more, from scores that are rounded as they are here. */
static void sum_lanes_anew(pass *t)
{
    const attn_i_tile_kernels *tiles = t->r->tiles;
    float most[ATTN_I_LANES], sum[ATTN_I_LANES] = {0};
    for (int l = 0; l < ATTN_I_LANES; l++) most[l] = -INFINITY;
    for (int64_t first = 0, count; first < t->item.b_rows; first += count) {
        count = attn_i_min(t->item.b_rows - first, ATTN_I_TILE_KEYS);
        make_scores(t, first, count);
        tiles->tile_maximum(count, t->item.spans, t->s->tile, most);
    }
    for (int64_t l = 0; l < t->item.rows; l++)
        t->reference[l] = most[l] == -INFINITY ? 0 : ceilf(most[l]) - ATTN_I_BELOW;
    for (int64_t first = 0, count; first < t->item.b_rows; first += count) {
        count = attn_i_min(t->item.b_rows - first, ATTN_I_TILE_KEYS);
        make_scores(t, first, count);
        tiles->tile_exponentials(count, t->item.spans, t->reference, t->s->tile);
        for (int64_t j = 0; j < count; j++) {
            for (int64_t l = 0; l < t->item.rows; l++) sum[l] += t->s->tile[j * ATTN_I_LANES + l];
        }
    }
    for (int64_t l = 0; l < t->item.rows; l++) t->rest[l] = sum[l] == 0 ? 0 : 1 / sum[l];
}

/* The tile's rows of a, and what flows in to them. */
static void load_lanes(pass *t)
{
    const run *r = t->r;
    const attn_i_decomposable *d = r->d;
    int great = 0;
    load_f(t);
    if (r->g) attn_i_item_to_panels(&t->item, t->f, d->dim, t->s->panels_of_f);
    if (r->across) attn_i_item_to_lanes(&t->item, r->tiles, t->a, d->a_dim, 1, t->s->lanes_of_a);
    if (!r->along) return;
    attn_i_item_to_lanes(&t->item, r->tiles, t->d_beta, d->b_dim, 1, t->s->lanes_of_d_beta);
    if (r->b) attn_i_item_to_panels(&t->item, t->d_beta, d->b_dim, t->s->panels_of_d_beta);
    for (int64_t l = 0; l < ATTN_I_LANES; l++) {
        const int64_t i = t->item.first + l;
        stand one = {0, 0, 0};
        if (l < t->item.rows) {
            great |= attn_i_decomposable_is_great(
                *(const float *)attn_i_decomposable_one(&d->a_logsumexp, t->item.b, t->item.h, i));
            one = stand_of(&d->a_logsumexp, &t->item, i, ATTN_I_BELOW,
                           d->kernels->weighted_sum(d->b_dim, t->beta.data + i * t->beta.stride,
                                                    t->d_beta.data + i * t->d_beta.stride));
        }
        t->reference[l] = (float)one.reference;
        t->rest[l] = (float)one.rest;
        t->mean[l] = (float)one.mean;
    }
    if (great) sum_lanes_anew(t);
}

/* Gradients of scores by way of alpha. Rows of d_alpha are those of the tile. */
static void add_across(pass *t, int64_t first, int64_t count)
{
    const run *r = t->r;
    const attn_i_decomposable *d = r->d;
    const attn_i_rows d_alpha = attn_i_rows_from(t->d_alpha, first);
    const int64_t rows = t->item.rows;
    float *part = r->along ? t->s->part : t->s->d_scores;
    r->tiles->products(d->a_dim, t->s->lanes_of_a, d_alpha, count, t->item.spans, part, ATTN_I_LANES, 0);
    for (int64_t j = 0; j < count; j++) {
        d->kernels->softmax_gradient(rows, t->s->columns[first + j].mean, 1, t->s->across + j * ATTN_I_LANES,
                                     part + j * ATTN_I_LANES);
    }
    if (r->along) r->tiles->tile_add(count, t->item.spans, 1, part, t->s->d_scores);
    if (r->a) r->tiles->context(count, t->s->across, d_alpha, d->a_dim, t->item.spans, t->s->d_a, t->unused);
}

/* And by way of beta. */
static void add_along(pass *t, int64_t first, int64_t count)
{
    const run *r = t->r;
    const attn_i_decomposable *d = r->d;
    r->tiles->gradients(d->b_dim, t->s->lanes_of_d_beta, attn_i_rows_from(t->b, first), count, t->item.spans,
                        t->s->tile, t->mean, t->s->d_scores);
    if (!r->b) return;
    const int64_t stride = attn_i_item_stride(d->b_dim);
    attn_i_panels_add(r->tiles, t->s->tile, count, 0, t->item.rows, t->s->panels_of_d_beta, d->b_dim,
                      (attn_i_sum_rows){t->s->d_b + first * stride, stride});
}

/* Both weights of `count` rows of b. */
static void make_weights(pass *t, int64_t first, int64_t count)
{
    const run *r = t->r;
    const int64_t rows = t->item.rows;
    make_scores(t, first, count);
    for (int64_t j = 0; j < count && r->across; j++) {
        const stand *column = &t->s->columns[first + j];
        float *weights = t->s->across + j * ATTN_I_LANES;
        memcpy(weights, t->s->tile + j * ATTN_I_LANES, (size_t)rows * sizeof *weights);
        r->tiles->row_weights(rows, column->reference, column->rest, weights);
    }
    if (!r->along) return;
    r->tiles->tile_exponentials(count, t->item.spans, t->reference, t->s->tile);
    r->tiles->tile_multiply(count, t->rest, t->s->tile);
}

static void write_lanes(const pass *t, const float *lanes, const attn_i_view *to)
{
    float one[ATTN_I_LANES];
    for (int l = 0; l < ATTN_I_LANES; l++) one[l] = 1;
    if (to->data != NULL) attn_i_item_write(&t->item, t->r->d, lanes, one, to, t->r->d->accumulate, t->s->room);
}

/* All of b for the rows of a that are in lanes. */
static void run_tile(pass *t)
{
    const run *r = t->r;
    const attn_i_decomposable *d = r->d;
    load_lanes(t);
    if (r->f) memset(t->s->d_f, 0, (size_t)(d->dim * ATTN_I_LANES) * sizeof(float));
    if (r->a && !d->a_is_f) memset(t->s->d_a, 0, (size_t)(d->a_dim * ATTN_I_LANES) * sizeof(float));
    for (int64_t first = 0; first < t->item.b_rows; first += ATTN_I_TILE_KEYS) {
        const int64_t count = attn_i_min(t->item.b_rows - first, ATTN_I_TILE_KEYS);
        make_weights(t, first, count);
        if (r->along) add_along(t, first, count);
        if (r->across) add_across(t, first, count);
        if (r->f) {
            r->tiles->context(count, t->s->d_scores, attn_i_rows_from(t->g, first), d->dim, t->item.spans, t->s->d_f,
                              t->unused);
        }
        if (r->g) {
            const int64_t stride = attn_i_item_stride(d->dim);
            attn_i_panels_add(r->tiles, t->s->d_scores, count, 0, t->item.rows, t->s->panels_of_f, d->dim,
                              (attn_i_sum_rows){t->s->d_g + first * stride, stride});
        }
    }
    write_lanes(t, t->s->d_f, &d->d_f);
    write_lanes(t, t->s->d_a, &d->d_a);
}

/* ---------------------------------------------------------------------------------------------- one item */

/* The same of the columns, over all tiles. */
static void sum_columns_anew(pass *t)
{
    const attn_i_tile_kernels *tiles = t->r->tiles;
    const slot *s = t->s;
    for (int64_t j = 0; j < t->item.b_rows; j++) s->most[j] = -INFINITY;
    for (int64_t j = 0; j < t->item.b_rows; j++) s->columns[j].rest = 0; /* meanwhile the sums */
    for (int sums = 0; sums < 2; sums++) {
        for (int64_t a = 0; a < t->item.a_rows; a += t->item.tile_rows) {
            attn_i_item_take(&t->item, a);
            load_f(t);
            for (int64_t first = 0, count; first < t->item.b_rows; first += count) {
                count = attn_i_min(t->item.b_rows - first, ATTN_I_TILE_KEYS);
                make_scores(t, first, count);
                for (int64_t j = 0; j < count; j++) {
                    float *scores = s->tile + j * ATTN_I_LANES, *most = &s->most[first + j];
                    stand *column = &s->columns[first + j];
                    if (!sums) {
                        *most = fmaxf(*most, tiles->row_maximum(t->item.rows, scores));
                        column->reference = *most == -INFINITY ? 0 : ceil((double)*most);
                        continue;
                    }
                    tiles->row_weights(t->item.rows, column->reference, 1, scores);
                    for (int64_t l = 0; l < t->item.rows; l++) column->rest += (double)scores[l];
                }
            }
        }
    }
    for (int64_t j = 0; j < t->item.b_rows; j++) {
        stand *column = &s->columns[j];
        column->rest = column->rest == 0 ? 0 : 1 / column->rest;
    }
}

static void load_columns(pass *t)
{
    const attn_i_decomposable *d = t->r->d;
    int great = 0;
    for (int64_t j = 0; j < t->item.b_rows && t->r->across; j++) {
        attn_i_row_load(&d->storage, &d->alpha, attn_i_decomposable_row(&d->alpha, t->item.b, t->item.h, j), t->s->row);
        const double mean = d->kernels->weighted_sum(d->a_dim, t->s->row, t->d_alpha.data + j * t->d_alpha.stride);
        t->s->columns[j] = stand_of(&d->b_logsumexp, &t->item, j, 0, mean);
        great |= attn_i_decomposable_is_great(
            *(const float *)attn_i_decomposable_one(&d->b_logsumexp, t->item.b, t->item.h, j));
    }
    if (great) sum_columns_anew(t);
}

static void write_sums(const pass *t, const float *sums, const attn_i_view *to)
{
    const attn_i_decomposable *d = t->r->d;
    for (int64_t j = 0; j < t->item.b_rows && to->data != NULL; j++) {
        const float *row = sums + j * attn_i_item_stride(to->shape[3]);
        attn_i_decomposable_write(d, to, row, attn_i_decomposable_row(to, t->item.b, t->item.h, j));
    }
}

static attn_i_rows take(const pass *t, const attn_i_item_rows *rows, int64_t count)
{
    return attn_i_item_rows_take(rows, t->r->d, t->item.b, t->item.h, count);
}

static void run_item(void *data, int64_t index)
{
    const run *r = data;
    const attn_i_decomposable *d = r->d;
    const int64_t number = attn_i_slot_take(&r->slots);
    const slot *s = &r->slot[number];
    pass t = {.r = r, .s = s, .item = attn_i_item_of(d, index)};
    const int64_t a_rows = t.item.a_rows, b_rows = t.item.b_rows;
    t.f = take(&t, &s->f, a_rows);
    t.g = take(&t, &s->g, b_rows);
    t.a = d->a_is_f ? t.f : take(&t, &s->a, a_rows);
    t.b = d->b_is_g ? t.g : take(&t, &s->b, b_rows);
    t.beta = take(&t, &s->beta, a_rows);
    t.d_beta = take(&t, &s->d_beta, a_rows);
    t.d_alpha = take(&t, &s->d_alpha, b_rows);
    load_columns(&t);
    /* Lanes that no row of a is in are multiplied, too: they are to hold numbers. */
    const size_t tile = (size_t)(attn_i_min(ATTN_I_TILE_KEYS, b_rows) * ATTN_I_LANES) * sizeof(float);
    if (r->along) memset(s->tile, 0, tile);
    if (r->across) memset(s->across, 0, tile);
    if (r->g) memset(s->d_g, 0, (size_t)(b_rows * attn_i_item_stride(d->dim)) * sizeof(float));
    if (r->b && !d->b_is_g) memset(s->d_b, 0, (size_t)(b_rows * attn_i_item_stride(d->b_dim)) * sizeof(float));
    for (int64_t first = 0; first < a_rows; first += t.item.tile_rows) {
        attn_i_item_take(&t.item, first);
        run_tile(&t);
    }
    write_sums(&t, s->d_g, &d->d_g);
    write_sums(&t, s->d_b, &d->d_b);
    attn_i_slot_release(&r->slots, number);
}

static void measure(const attn_i_decomposable *d, attn_i_arena *arena)
{
    run r;
    lay_out(&r, d, arena);
}

static void run_all(const attn_i_decomposable *d, void *scratch)
{
    attn_i_arena arena = {.base = scratch};
    run r;
    lay_out(&r, d, &arena);
    attn_i_parallel(d->engine->pool, d->batch * d->heads, attn_i_item_work(d, 3 * d->dim + 2 * d->a_dim + 2 * d->b_dim),
                    run_item, &r);
}

const attn_i_decomposable_way attn_i_decomposable_tiles_back = {measure, run_all};
