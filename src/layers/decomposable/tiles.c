/* SPDX-License-Identifier: BSD-3-Clause
 *
 * layers/decomposable/tiles.c: both softmaxes of the decomposable attention by fused tiles: each tile of scores is made
 * once, taken along its lanes for beta and across them for alpha, and never leaves the cache. Along the lanes, with s
 * in units of log2 and a reference m_i for each row of a,
 *
 *     beta_i  = sum_j 2^(s_ij - m_i) b_j / sum_j 2^(s_ij - m_i)
 *
 * is the context of lanes, as in tiles/pass.c; across them, with a reference n_j for each row of b,
 *
 *     alpha_j = sum_i 2^(s_ij - n_j) a_i / sum_i 2^(s_ij - n_j)
 *
 * is a product of the tile with panels of a. References are whole numbers, so that moving them is exact. */
#include "layers/decomposable/tiles.h"

#include "runtime/size.h"
#include "runtime/slots.h"

#include <math.h>
#include <string.h>

/* ---------------------------------------------------------------------------------------------- items */

attn_i_item_rows attn_i_item_rows_layout(const attn_i_decomposable *d, const attn_i_view *view, attn_i_arena *arena)
{
    const int scattered = view->data != NULL && view->stride[3] != 1 && view->shape[3] > 1;
    attn_i_item_rows rows = {view, NULL};
    if (scattered || attn_i_is_narrow(&d->storage, view)) {
        rows.copy = attn_i_carve_matrix(arena, view->shape[2], view->shape[3], d->size);
    }
    return rows;
}

attn_i_rows attn_i_item_rows_take(const attn_i_item_rows *rows, const attn_i_decomposable *d, int64_t b, int64_t h,
                                  int64_t count)
{
    const attn_i_view *v = rows->view;
    if (v->data == NULL) return (attn_i_rows){NULL, 0};
    const char *from = attn_i_view_at(v, b, h);
    if (rows->copy == NULL) return (attn_i_rows){(const float *)(const void *)from, v->stride[2]};
    for (int64_t i = 0; i < count; i++) {
        attn_i_row_load(&d->storage, v, from + i * v->stride[2] * v->size, rows->copy + i * v->shape[3]);
    }
    return (attn_i_rows){rows->copy, v->shape[3]};
}

attn_i_item attn_i_item_of(const attn_i_decomposable *d, int64_t index)
{
    attn_i_item item = {.b = index / d->heads, .h = index % d->heads};
    item.a_rows = attn_i_decomposable_a(d, item.b);
    item.b_rows = attn_i_decomposable_b(d, item.b);
    const int64_t tiles = attn_i_max(attn_i_divide_up(item.a_rows, ATTN_I_LANES), 1);
    item.tile_rows = attn_i_divide_up(attn_i_divide_up(item.a_rows, tiles), ATTN_I_SPAN_LANES) * ATTN_I_SPAN_LANES;
    return item;
}

void attn_i_item_take(attn_i_item *item, int64_t first)
{
    item->first = first;
    item->rows = attn_i_min(item->tile_rows, item->a_rows - first);
    item->spans = (attn_i_spans){0, (int)attn_i_divide_up(item->rows, ATTN_I_SPAN_LANES)};
}

void attn_i_item_to_lanes(const attn_i_item *item, const attn_i_tile_kernels *tiles, attn_i_rows rows, int64_t n,
                          float factor, float *to)
{
    const float *from[ATTN_I_LANES];
    for (int64_t l = 0; l < item->rows; l++) from[l] = rows.data + (item->first + l) * rows.stride;
    tiles->to_lanes(item->rows, n, from, factor, to);
}

void attn_i_item_to_panels(const attn_i_item *item, attn_i_rows rows, int64_t n, float *panels)
{
    for (int64_t l = 0; l < item->rows; l++) {
        attn_i_to_panels(rows.data + (item->first + l) * rows.stride, n, 1, l, panels);
    }
}

/* Columns of lanes by way of `room`, as many as it holds at a time. */
static void write_narrow(const attn_i_item *item, const attn_i_decomposable *d, const float *lanes, const float *factor,
                         const attn_i_view *output, int accumulate, float *room)
{
    const int64_t n = output->shape[3], step = output->stride[3];
    float *to[ATTN_I_LANES];
    for (int64_t l = 0; l < item->rows; l++) to[l] = room + l * ATTN_I_TILE_KEYS;
    for (int64_t at = 0; at < n; at += ATTN_I_TILE_KEYS) {
        const int64_t count = attn_i_min(n - at, ATTN_I_TILE_KEYS);
        d->engine->tile_kernels->from_lanes(item->rows, count, lanes + at * ATTN_I_LANES, factor, to);
        for (int64_t l = 0; l < item->rows; l++) {
            char *place = attn_i_decomposable_row(output, item->b, item->h, item->first + l) + at * step * output->size;
            (accumulate ? attn_i_elements_add : attn_i_elements_store)(&d->storage, output->size, count, to[l], place,
                                                                       step);
        }
    }
}

void attn_i_item_write(const attn_i_item *item, const attn_i_decomposable *d, const float *lanes, const float *factor,
                       const attn_i_view *output, int accumulate, float *room)
{
    void *rows[ATTN_I_LANES];
    if (attn_i_is_narrow(&d->storage, output)) {
        write_narrow(item, d, lanes, factor, output, accumulate, room);
        return;
    }
    for (int64_t l = 0; l < item->rows; l++) {
        rows[l] = attn_i_view_element(output, item->b, item->h, item->first + l, 0);
    }
    const attn_i_lane_rows to = {rows, output->stride[3], attn_i_engine_stored_kernels(d->engine, ATTN_F32),
                                 accumulate};
    attn_i_lanes_write(d->engine->tile_kernels, d->kernels, item->rows, output->shape[3], lanes, factor, &to, room);
}

int64_t attn_i_item_stride(int64_t columns)
{
    return attn_i_divide_up(columns, ATTN_I_SPAN_LANES) * ATTN_I_SPAN_LANES;
}

int64_t attn_i_item_work(const attn_i_decomposable *d, int64_t elements)
{
    enum { WORK_OF_SCORE = 8 }; /* beside its products, as attn_i_parallel counts */
    const int64_t scores = attn_i_multiply_most(d->batch * d->heads * d->a_rows, d->b_rows);
    return attn_i_multiply_most(scores, WORK_OF_SCORE + elements / ATTN_I_SPAN_LANES);
}

/* ---------------------------------------------------------------------------------------------- layout */

/* Scratch of one item at a time. */
typedef struct slot {
    attn_i_item_rows f, g, a, b;
    float *lanes_of_f; /* [D][LANES], in units of log2 */
    float *panels_of_a;
    float *tile, *across;   /* [TILE_KEYS][LANES]: scores, then weights along the lanes; weights across them */
    float *beta;            /* [Db][LANES], not yet divided by the sums */
    float *alpha;           /* [Tb], rows of attn_i_item_stride(Da), likewise */
    float *reference, *sum; /* [Tb], of alpha; and where scores are great, attn_i_lanes' room: */
    float *of_alpha;
    float *room; /* [LANES][TILE_KEYS] */
} slot;

typedef struct run {
    const attn_i_decomposable *d;
    const attn_i_tile_kernels *tiles;
    int along, across;           /* whether beta or its log-sum-exp, alpha or its, are wanted */
    int64_t beta_dim, alpha_dim; /* 0 where only the log-sum-exp is */
    attn_i_slots slots;
    slot *slot;
} run;

static slot lay_out_slot(const run *r, attn_i_arena *arena)
{
    const attn_i_decomposable *d = r->d;
    const int64_t size = d->size, keys = attn_i_min(ATTN_I_TILE_KEYS, d->b_rows);
    slot s = {.f = attn_i_item_rows_layout(d, &d->f, arena), .g = attn_i_item_rows_layout(d, &d->g, arena)};
    s.a = d->a_is_f ? s.f : attn_i_item_rows_layout(d, &d->a, arena);
    s.b = d->b_is_g ? s.g : attn_i_item_rows_layout(d, &d->b, arena);
    s.lanes_of_f = attn_i_carve_matrix(arena, d->dim, ATTN_I_LANES, size);
    s.panels_of_a = attn_i_carve_matrix(arena, attn_i_panels_of(r->alpha_dim), ATTN_I_PANEL, size);
    s.tile = attn_i_carve_matrix(arena, keys, ATTN_I_LANES, size);
    s.across = attn_i_carve_matrix(arena, r->across ? keys : 0, ATTN_I_LANES, size);
    s.beta = attn_i_carve_matrix(arena, r->beta_dim, ATTN_I_LANES, size);
    s.alpha = attn_i_carve_matrix(arena, d->b_rows, attn_i_item_stride(r->alpha_dim), size);
    s.reference = attn_i_carve(arena, d->b_rows, size);
    s.sum = attn_i_carve(arena, d->b_rows, size);
    s.of_alpha = attn_i_carve(arena, d->b_rows, size);
    s.room = attn_i_carve_matrix(arena, ATTN_I_LANES, ATTN_I_TILE_KEYS, size);
    return s;
}

static void lay_out(run *r, const attn_i_decomposable *d, attn_i_arena *arena)
{
    *r = (run){.d = d, .tiles = d->engine->tile_kernels};
    r->along = d->beta.data != NULL || d->a_logsumexp.data != NULL;
    r->across = d->alpha.data != NULL || d->b_logsumexp.data != NULL;
    r->beta_dim = d->beta.data != NULL ? d->b_dim : 0;
    r->alpha_dim = d->alpha.data != NULL ? d->a_dim : 0;
    r->slots = attn_i_slots_layout(arena, attn_i_clamp(d->batch * d->heads, 1, d->engine->threads));
    r->slot = attn_i_carve(arena, r->slots.count, sizeof *r->slot);
    for (int64_t i = 0; i < r->slots.count; i++) {
        const slot s = lay_out_slot(r, arena);
        if (arena->base != NULL) r->slot[i] = s;
    }
}

/* ---------------------------------------------------------------------------------------------- one item */

typedef struct pass {
    const run *r;
    const slot *s;
    attn_i_item item;
    attn_i_rows f, g, a, b;
    attn_i_lanes lanes;
    int great;   /* references are scores, which are not in units of log2 */
    int preset;  /* and of all that will be seen */
    int failed;  /* some sum of weights is none, or a sum of values is not finite */
    double unit; /* from scores to exponents, once the reference is off */
} pass;

/* Weights along the lanes, in place of the scores, and what they add to beta. */
static void add_along(pass *t, int64_t first, int64_t count)
{
    const attn_i_tile_kernels *k = t->r->tiles;
    float most[ATTN_I_LANES], reference[ATTN_I_LANES];
    for (int l = 0; l < ATTN_I_LANES; l++) most[l] = -INFINITY;
    k->tile_maximum(count, t->item.spans, t->s->tile, most);
    if (t->great) {
        attn_i_lanes_move_great(k, &t->lanes, t->unit, most, t->r->beta_dim, t->s->beta);
    } else {
        attn_i_lanes_move(k, &t->lanes, most, t->r->beta_dim, t->s->beta);
    }
    for (int l = 0; l < ATTN_I_LANES; l++) {
        reference[l] = t->lanes.reference[l] == -INFINITY ? 0 : t->lanes.reference[l];
    }
    if (t->great) attn_i_tile_take_off(t->unit, count, t->item.spans, reference, t->s->tile);
    k->tile_exponentials(count, t->item.spans, t->great ? t->lanes.room : reference, t->s->tile);
    k->context(count, t->s->tile, attn_i_rows_from(t->b, first), t->r->beta_dim, t->item.spans, t->s->beta,
               t->lanes.sum);
}

static float *alpha_row(const pass *t, int64_t j)
{
    return t->s->alpha + j * attn_i_item_stride(t->r->alpha_dim);
}

static void move_reference(const pass *t, int64_t j, float most)
{
    const float from = t->s->reference[j];
    const float to = t->great ? fmaxf(most, from) : attn_i_reference_for(most, from);
    if (to == from) return;
    t->s->reference[j] = to;
    if (from == -INFINITY) return;
    const float factor = exp2f(t->great ? attn_i_take_off(t->unit, from, to) : from - to);
    t->s->sum[j] *= factor;
    t->r->d->kernels->scale(t->r->alpha_dim, (double)factor, alpha_row(t, j));
}

/* Weights across the lanes, and what they add to alpha. */
static void add_across(const pass *t, int64_t first, int64_t count)
{
    const attn_i_tile_kernels *k = t->r->tiles;
    const int64_t rows = t->item.rows, stride = attn_i_item_stride(t->r->alpha_dim);
    for (int64_t j = 0; j < count; j++) {
        const float *scores = t->s->tile + j * ATTN_I_LANES;
        float *weights = t->s->across + j * ATTN_I_LANES;
        move_reference(t, first + j, k->row_maximum(rows, scores));
        const float reference = t->s->reference[first + j];
        memcpy(weights, scores, (size_t)rows * sizeof *weights);
        for (int64_t l = 0; l < rows && t->great; l++) weights[l] = attn_i_take_off(t->unit, weights[l], reference);
        const float off = t->great ? t->s->of_alpha[first + j] : reference == -INFINITY ? 0 : reference;
        t->s->sum[first + j] += k->row_exponentials(rows, 1, off, weights);
    }
    attn_i_panels_add(k, t->s->across, count, 0, rows, t->s->panels_of_a, t->r->alpha_dim,
                      (attn_i_sum_rows){alpha_row(t, first), stride});
}

static void write_beta(const pass *t)
{
    const attn_i_decomposable *d = t->r->d;
    float factor[ATTN_I_LANES];
    for (int l = 0; l < ATTN_I_LANES; l++) factor[l] = t->lanes.sum[l] == 0 ? 0 : 1 / t->lanes.sum[l];
    if (d->beta.data != NULL) attn_i_item_write(&t->item, d, t->s->beta, factor, &d->beta, 0, t->s->room);
    for (int64_t l = 0; l < t->item.rows && d->a_logsumexp.data != NULL; l++) {
        float *to = attn_i_decomposable_one(&d->a_logsumexp, t->item.b, t->item.h, t->item.first + l);
        *to =
            (float)attn_i_log_sum((double)t->lanes.reference[l] * t->unit + (double)t->lanes.room[l], t->lanes.sum[l]);
    }
}

static void add_all(pass *t, int along, int across)
{
    const run *r = t->r;
    memset(t->lanes.sum, 0, sizeof t->lanes.sum);
    memset(t->s->beta, 0, (size_t)(r->beta_dim * ATTN_I_LANES) * sizeof(float));
    for (int64_t first = 0; first < t->item.b_rows; first += ATTN_I_TILE_KEYS) {
        const int64_t count = attn_i_min(t->item.b_rows - first, ATTN_I_TILE_KEYS);
        r->tiles->products(r->d->dim, t->s->lanes_of_f, attn_i_rows_from(t->g, first), count, t->item.spans, t->s->tile,
                           ATTN_I_LANES, 0);
        if (across) add_across(t, first, count);
        if (along) add_along(t, first, count);
    }
}

/* 1 if the sums of weights, which are of something, are numbers above 0, and what they weigh is finite. */
static int is_sound(const pass *t, int64_t count, const float *sums, int64_t elements, const float *weighed)
{
    for (int64_t i = 0; i < count; i++) {
        if (!isfinite(sums[i]) || sums[i] == 0) return 0;
    }
    return t->r->d->kernels->is_finite(elements, weighed);
}

/* All of b for the rows of a that are in lanes. */
static void run_tile(pass *t)
{
    const run *r = t->r;
    t->lanes = (attn_i_lanes){.late_first = 0};
    for (int l = 0; l < ATTN_I_LANES; l++) t->lanes.reference[l] = l < t->item.rows ? -INFINITY : 0;
    attn_i_item_to_lanes(&t->item, r->tiles, t->f, r->d->dim, t->great ? 1 : (float)ATTN_I_LOG2_E, t->s->lanes_of_f);
    attn_i_item_to_panels(&t->item, t->a, r->alpha_dim, t->s->panels_of_a);
    if (t->preset && r->along) {
        add_all(t, 1, 0);
        for (int64_t l = 0; l < t->item.rows; l++) t->lanes.room[l] = attn_i_room_for_sum(t->lanes.sum[l]);
    }
    add_all(t, r->along, r->across);
    if (!r->along) return;
    t->failed |=
        !is_sound(t, t->item.b_rows > 0 ? t->item.rows : 0, t->lanes.sum, r->beta_dim * ATTN_I_LANES, t->s->beta);
    write_beta(t);
}

static void write_alpha(const pass *t)
{
    const attn_i_decomposable *d = t->r->d;
    for (int64_t j = 0; j < t->item.b_rows; j++) {
        const float sum = t->s->sum[j];
        if (d->alpha.data != NULL) {
            d->kernels->scale(d->a_dim, sum == 0 ? 0 : 1 / (double)sum, alpha_row(t, j));
            attn_i_row_store(&d->storage, &d->alpha, alpha_row(t, j),
                             attn_i_decomposable_row(&d->alpha, t->item.b, t->item.h, j));
        }
        if (d->b_logsumexp.data != NULL) {
            float *to = attn_i_decomposable_one(&d->b_logsumexp, t->item.b, t->item.h, j);
            const double exponent = (double)t->s->reference[j] * t->unit;
            *to = (float)attn_i_log_sum(exponent + (double)t->s->of_alpha[j], sum);
        }
    }
}

static void run_tiles(pass *t)
{
    const slot *s = t->s;
    const int64_t alphas = t->item.b_rows * attn_i_item_stride(t->r->alpha_dim);
    t->failed = 0;
    for (int64_t j = 0; j < t->item.b_rows; j++) {
        s->sum[j] = 0;
        if (t->preset) continue;
        s->reference[j] = -INFINITY;
        s->of_alpha[j] = 0;
    }
    memset(s->alpha, 0, (size_t)alphas * sizeof(float));
    for (int64_t first = 0; first < t->item.a_rows; first += t->item.tile_rows) {
        attn_i_item_take(&t->item, first);
        run_tile(t);
    }
    if (t->r->across) t->failed |= !is_sound(t, t->item.a_rows > 0 ? t->item.b_rows : 0, s->sum, alphas, s->alpha);
}

static void run_item(void *data, int64_t index)
{
    const run *r = data;
    const attn_i_decomposable *d = r->d;
    const int64_t number = attn_i_slot_take(&r->slots);
    const slot *s = &r->slot[number];
    pass t = {.r = r, .s = s, .item = attn_i_item_of(d, index)};
    const attn_i_item *item = &t.item;
    t.f = attn_i_item_rows_take(&s->f, d, item->b, item->h, item->a_rows);
    t.g = attn_i_item_rows_take(&s->g, d, item->b, item->h, item->b_rows);
    t.a = d->a_is_f ? t.f : attn_i_item_rows_take(&s->a, d, item->b, item->h, item->a_rows);
    t.b = d->b_is_g ? t.g : attn_i_item_rows_take(&s->b, d, item->b, item->h, item->b_rows);
    t.unit = 1;
    run_tiles(&t);
    if (t.failed) { /* once more, for great scores */
        t.great = 1;
        t.unit = ATTN_I_LOG2_E;
        run_tiles(&t);
    }
    if (t.failed) { /* and once more, for great values: relative to the sums of weights */
        t.preset = 1;
        for (int64_t j = 0; j < item->b_rows; j++) s->of_alpha[j] = attn_i_room_for_sum(s->sum[j]);
        run_tiles(&t);
    }
    if (r->across) write_alpha(&t);
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
    attn_i_parallel(d->engine->pool, d->batch * d->heads, attn_i_item_work(d, d->dim + r.beta_dim + r.alpha_dim),
                    run_item, &r);
}

const attn_i_decomposable_way attn_i_decomposable_tiles = {measure, run_all};
