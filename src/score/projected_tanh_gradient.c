/* SPDX-License-Identifier: BSD-3-Clause
 *
 * score/projected_tanh_gradient.c: gradients of the score v^T tanh(q' + k'). With t = tanh(q' + k') and c the gradient
 * of the score, c v (1 - t^2) is that of both q' and k', and c t that of v. Work is cut along the hidden dimension, so
 * that no two items add to the same number. */
#include "runtime/size.h"
#include "score/projected_tanh.h"

#include <math.h>
#include <string.h>

/* Elements of the hidden dimension that one item takes. */
enum { SLICE = 64 };

/* What an element costs, in the elementary operations that attn_i_parallel counts. */
enum { GRADIENT_WORK = 12 };

typedef struct gradient_job {
    const attn_i_problem *p;
    const attn_i_score_state *state;
    const attn_i_score_gradient *g;
    const attn_i_score_sums *sums;
} gradient_job;

static double get(const attn_i_problem *p, const void *v, int64_t a)
{
    return p->dtype == ATTN_F32 ? (double)((const float *)v)[a] : ((const double *)v)[a];
}

static void set(const attn_i_problem *p, void *v, int64_t a, double x)
{
    if (p->dtype == ATTN_F32) ((float *)v)[a] = (float)x;
    if (p->dtype == ATTN_F64) ((double *)v)[a] = x;
}

static char *row_of(attn_i_matrix m, int64_t i, int64_t a, int64_t size)
{
    return m.data == NULL ? NULL : m.data + (i * m.row_stride + a) * size;
}

static void add_slice(void *data, int64_t slice)
{
    const gradient_job *job = data;
    const attn_i_problem *p = job->p;
    const attn_i_score_gradient *g = job->g;
    const attn_i_matrix queries = g->block.queries, keys = g->block.keys, scores = g->block.scores;
    const int64_t first = slice * SLICE, count = attn_i_min(p->mechanism->hidden_dim - first, SLICE), size = p->size;
    _Alignas(64) double part[SLICE];
    for (int64_t i = 0; i < scores.rows; i++) {
        char *d_query = row_of(g->d_queries, i, first, size);
        if (d_query != NULL) p->kernels->fill(count, 0, d_query, 1);
        memset(part, 0, sizeof part);
        p->kernels->tanh_gradients(count, (const char *)job->state->v + first * size, row_of(queries, i, first, size),
                                   scores.columns, row_of(keys, 0, first, size), keys.row_stride,
                                   row_of(scores, i, 0, size), d_query, row_of(g->d_keys, 0, first, size),
                                   g->d_keys.row_stride, part);
        for (int64_t a = 0; a < count; a++) job->sums->v[first + a] += get(p, part, a);
    }
}

void attn_i_projected_tanh_gradients(const attn_i_problem *p, const attn_i_score_state *state,
                                     const attn_i_score_gradient *g, attn_i_score_sums *sums)
{
    gradient_job job = {p, state, g, sums};
    const int64_t hidden = p->mechanism->hidden_dim;
    attn_i_parallel(p->engine->pool, attn_i_divide_up(hidden, SLICE),
                    g->block.scores.rows * g->block.scores.columns * hidden * GRADIENT_WORK, add_slice, &job);
}

void attn_i_projected_tanh_row(const attn_i_problem *p, const attn_i_score_state *state, const void *query,
                               attn_i_matrix keys, int64_t first, int64_t count, void *to)
{
    p->kernels->tanh_scores(p->mechanism->hidden_dim, state->v, query, count, row_of(keys, first, 0, p->size),
                            keys.row_stride, to);
}

void attn_i_projected_tanh_row_gradients(const attn_i_problem *p, const attn_i_score_state *state, const void *query,
                                         attn_i_matrix keys, int64_t first, int64_t count, const void *d_scores,
                                         void *d_query, void *d_keys, int64_t d_stride, void *own)
{
    p->kernels->tanh_gradients(p->mechanism->hidden_dim, state->v, query, count, row_of(keys, first, 0, p->size),
                               keys.row_stride, d_scores, d_query, d_keys, d_stride, own);
}

int64_t attn_i_projected_tanh_own_elements(const attn_i_problem *p)
{
    return p->mechanism->hidden_dim;
}

void attn_i_projected_tanh_add_own(const attn_i_problem *p, const void *own, attn_i_score_sums *sums)
{
    for (int64_t a = 0; a < p->mechanism->hidden_dim; a++) sums->v[a] += get(p, own, a);
}

void attn_i_projected_tanh_sum_bias(const attn_i_problem *p, attn_i_matrix d_queries, attn_i_score_sums *sums)
{
    for (int64_t i = 0; i < d_queries.rows && sums->b != NULL; i++) {
        for (int64_t a = 0; a < d_queries.columns; a++) sums->b[a] += get(p, row_of(d_queries, i, 0, p->size), a);
    }
}

void attn_i_projected_tanh_layout_sums(const attn_i_problem *p, attn_i_arena *arena, attn_i_score_sums *sums)
{
    const int64_t hidden = p->mechanism->hidden_dim;
    sums->v = attn_i_carve(arena, hidden, sizeof *sums->v);
    sums->b = attn_i_carve(arena, hidden, sizeof *sums->b);
    if (sums->v == NULL) return;
    memset(sums->v, 0, (size_t)hidden * sizeof *sums->v);
    memset(sums->b, 0, (size_t)hidden * sizeof *sums->b);
}

/* sum += x, element by element of a vector that may be strided. */
static void add_to(const attn_i_problem *p, attn_i_matrix sum, int64_t a, double x)
{
    char *to = sum.data + a * sum.column_stride * p->size;
    set(p, to, 0, get(p, to, 0) + x);
}

/* The score is computed with u = g v / |v|; d is the gradient of u: that of g is d.v / |v|, that of v is
 * (g / |v|) (d - (d.v / |v|) v / |v|). v is divided by its greatest element first, as where u is made. */
static void finish_normalised(const attn_i_problem *p, const attn_i_score_sums *sums)
{
    const attn_i_matrix v = attn_i_score_param(p, "v"), d_v = attn_i_score_param_sum(p, sums, "v");
    const attn_i_matrix d_g = attn_i_score_param_sum(p, sums, "g");
    const double g = get(p, attn_i_score_param(p, "g").data, 0);
    const int64_t hidden = p->mechanism->hidden_dim;
    double most = 0, squares = 0, along = 0;
    for (int64_t a = 0; a < hidden; a++) {
        const double magnitude = fabs(get(p, v.data, a * v.column_stride));
        if (magnitude > most) most = magnitude;
    }
    for (int64_t a = 0; a < hidden; a++) {
        const double x = get(p, v.data, a * v.column_stride) / most;
        squares += x * x;
        along += sums->v[a] * x;
    }
    const double length = sqrt(squares);
    along /= length;
    if (d_g.data != NULL) add_to(p, d_g, 0, along);
    for (int64_t a = 0; a < hidden && d_v.data != NULL; a++) {
        const double x = get(p, v.data, a * v.column_stride) / most / length;
        add_to(p, d_v, a, g / length / most * (sums->v[a] - along * x));
    }
}

void attn_i_projected_tanh_finish_sums(const attn_i_problem *p, const attn_i_score_state *state,
                                       attn_i_score_sums *sums)
{
    (void)state;
    const attn_i_matrix d_v = attn_i_score_param_sum(p, sums, "v"), d_b = attn_i_score_param_sum(p, sums, "b");
    for (int64_t a = 0; a < p->mechanism->hidden_dim; a++) {
        if (d_b.data != NULL) add_to(p, d_b, a, sums->b[a]);
    }
    if (attn_i_mechanism_param(p->mechanism, "g") != NULL) {
        finish_normalised(p, sums);
        return;
    }
    for (int64_t a = 0; a < p->mechanism->hidden_dim && d_v.data != NULL; a++) add_to(p, d_v, a, sums->v[a]);
}
