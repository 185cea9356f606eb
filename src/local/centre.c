/* SPDX-License-Identifier: BSD-3-Clause
 *
 * local/centre.c: where predictive local attention looks (Luong 2015, section 3.2). */
#include "local/centre.h"

#include "runtime/size.h"

#include <math.h>

static double get(const attn_i_problem *p, const void *row, int64_t j)
{
    return p->dtype == ATTN_F32 ? (double)((const float *)row)[j] : ((const double *)row)[j];
}

static void set(const attn_i_problem *p, void *row, int64_t j, double x)
{
    if (p->dtype == ATTN_F32) ((float *)row)[j] = (float)x;
    if (p->dtype == ATTN_F64) ((double *)row)[j] = x;
}

int attn_i_centres_wanted(const attn_i_problem *p)
{
    const attn_local local = p->modifiers->local;
    return local == ATTN_LOCAL_PREDICTIVE || local == ATTN_LOCAL_PREDICTIVE_FLOOR;
}

static int64_t hidden_dim(const attn_i_problem *p)
{
    return attn_i_mechanism_param(p->mechanism, "v_p")->shape[0];
}

static int64_t rows_of(const attn_i_chunks *c)
{
    return c->chunk_heads * c->chunk_rows;
}

void attn_i_centres_layout(attn_i_centres *centres, const attn_i_chunks *c, attn_i_arena *arena)
{
    const attn_i_problem *p = c->p;
    const int64_t rows = c->heads * c->rows;
    centres->map = attn_i_projection_layout(p, arena, attn_i_matrix_transpose(attn_i_score_param(p, "W_p")), rows,
                                            p->dtype == ATTN_F32 && p->engine->own_products);
    centres->hidden = attn_i_carve_matrix(arena, rows, hidden_dim(p), p->size);
    centres->v = attn_i_carve(arena, hidden_dim(p), p->size);
    centres->at = attn_i_carve(arena, rows, sizeof *centres->at);
    centres->share = attn_i_carve(arena, rows, sizeof *centres->share);
}

void attn_i_centres_load(const attn_i_centres *centres, const attn_i_problem *p)
{
    const attn_i_matrix v = attn_i_score_param(p, "v_p");
    attn_i_projection_load(p, &centres->map);
    p->kernels->gather(v.columns, v.data, v.column_stride, centres->v);
}

void attn_i_centres_find(const attn_i_centres *centres, const attn_i_chunks *c)
{
    const attn_i_problem *p = c->p;
    const int64_t width = hidden_dim(p), rows = rows_of(c);
    const attn_i_matrix hidden = attn_i_matrix_dense(centres->hidden, rows, width);
    attn_i_project(p, &centres->map, attn_i_chunks_raw_queries(c), hidden);
    for (int64_t x = 0; x < rows; x++) {
        char *row = hidden.data + x * width * p->size;
        double sum;
        p->kernels->softcap(width, 1, row);
        p->kernels->dots(width, centres->v, 1, row, 0, &sum); /* one number of the dtype */
        const double u = get(p, &sum, 0);
        centres->share[x] = 1 / (1 + exp(-u));
        centres->at[x] = centres->share[x] * (double)attn_i_problem_length(p, attn_i_chunks_place(c, x).b);
    }
}

attn_i_span attn_i_centres_span(const attn_i_centres *centres, const attn_i_chunks *c, int64_t x)
{
    const attn_i_problem *p = c->p;
    const attn_i_row_place place = attn_i_chunks_place(c, x);
    const attn_i_span seen = attn_i_visible(p, place.b, place.i);
    const double half = (double)p->modifiers->half_width;
    double at = centres->at[x];
    /* A centre that is no number sees what is seen without it, so that it comes out as no number. */
    if (!isfinite(at)) at = 0;
    if (p->modifiers->local == ATTN_LOCAL_PREDICTIVE_FLOOR) at = floor(at);
    const int64_t first = attn_i_max((int64_t)ceil(at - half), seen.first);
    const int64_t end = attn_i_min((int64_t)floor(at + half) + 1, seen.end);
    return first < end ? (attn_i_span){first, end} : (attn_i_span){0, 0};
}

void attn_i_centres_gaussian(const attn_i_centres *centres, const attn_i_problem *p, int64_t x, attn_i_span span,
                             void *factor, void *slope)
{
    const double sigma = (double)p->modifiers->half_width / 2, variance = sigma * sigma;
    for (int64_t j = span.first; j < span.end; j++) {
        const double distance = (double)j - centres->at[x];
        set(p, factor, j - span.first, exp(-distance * distance / (2 * variance)));
        if (slope != NULL) set(p, slope, j - span.first, distance / variance);
    }
}

static void add_to(const attn_i_problem *p, attn_i_matrix row, int64_t a, double x)
{
    char *to = row.data + a * row.column_stride * p->size;
    set(p, to, 0, get(p, to, 0) + x);
}

void attn_i_centres_gradients(const attn_i_centres *centres, const attn_i_chunks *c, const double *d_at,
                              attn_i_matrix d_queries, attn_i_matrix d_w, attn_i_matrix d_v)
{
    const attn_i_problem *p = c->p;
    const int64_t width = hidden_dim(p), rows = rows_of(c);
    const attn_i_matrix hidden = attn_i_matrix_dense(centres->hidden, rows, width);
    for (int64_t x = 0; x < rows; x++) {
        char *row = hidden.data + x * width * p->size;
        const double d_u = d_at[x] == 0 ? 0 : d_at[x] * centres->at[x] * (1 - centres->share[x]);
        for (int64_t a = 0; a < width; a++) {
            const double t = get(p, row, a);
            if (d_v.data != NULL && d_u != 0) add_to(p, d_v, a, d_u * t);
            set(p, row, a, d_u == 0 ? 0 : d_u * get(p, centres->v, a) * (1 - t * t));
        }
    }
    attn_i_score_map_gradients(p, &centres->map, attn_i_chunks_raw_queries(c), hidden, d_queries,
                               d_w.data == NULL ? d_w : attn_i_matrix_transpose(d_w), 1);
}
