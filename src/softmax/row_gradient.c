/* SPDX-License-Identifier: BSD-3-Clause
 *
 * softmax/row_gradient.c: one query's way back from the gradient of its weights to that of its scores. */
#include "softmax/row_gradient.h"

#include "softmax/row.h"

#include <math.h>
#include <string.h>

/* Element (b, h, i, j). */
static const char *element(const attn_i_view *view, int64_t b, int64_t h, int64_t i, int64_t j)
{
    return attn_i_view_at(view, b, h) + (i * view->stride[2] + j * view->stride[3]) * view->size;
}

static double number(const attn_i_problem *p, const void *at)
{
    return p->dtype == ATTN_F32 ? (double)*(const float *)at : *(const double *)at;
}

/* What the caller's log-sum-exp is more than the row's own: 0 where that is no more than roundings, and the row has all
 * keys that its query saw; else these keys are a part of them. Gradients by weights are of no use then. */
static double beyond(const attn_i_gradient *g, const attn_i_row_gradient *row, double own)
{
    const attn_i_problem *p = &g->problem;
    const double given = attn_i_logsumexp_get(&p->logsumexp, row->b, row->h, row->i);
    const double unit = p->dtype == ATTN_F32 ? 0x1p-20 : 0x1p-49;
    if (g->d_weights.data != NULL || !isfinite(given) || !isfinite(own)) return 0;
    return fabs(given - own) <= unit * (1 + fabs(given)) ? 0 : given - own;
}

/* What d_context says of all weights together: its product with the context, that of all keys. */
static double context_product(const attn_i_gradient *g, const attn_i_row_gradient *row)
{
    const attn_i_problem *p = &g->problem;
    double sum = 0;
    for (int64_t d = 0; d < p->value_dim && g->d_context.data != NULL; d++) {
        sum += number(p, element(&p->context, row->b, row->h, row->i, d)) *
               number(p, element(&g->d_context, row->b, row->h, row->i, d));
    }
    return sum;
}

attn_i_seen attn_i_row_gradient_compute(const attn_i_gradient *g, attn_i_row_gradient *row)
{
    const attn_i_problem *p = &g->problem;
    const attn_i_kernels *kernels = p->kernels;
    const attn_i_modifiers *m = p->modifiers;
    const int64_t b = row->b, h = row->h, i = row->i, n = row->span.end - row->span.first;
    attn_i_row_cap(p, b, h, i, row->span, row->scores);
    if (m->softcap != 0) memcpy(row->capped, row->scores, (size_t)(n * p->size));
    attn_i_row_bias(p, b, h, i, row->span, row->scores);
    /* Made from the row itself, weights are exact, whichever way the forward call made the log-sum-exp; of a part of
     * the keys, whose log-sum-exp is that of all of them, they become a part of all weights. */
    double own;
    const attn_i_seen seen = attn_i_row_softmax(p, h, n, row->scores, &own);
    const double more = beyond(g, row, own);
    if (more != 0) kernels->scale(n, exp(-more), row->scores);

    if (g->d_context.data == NULL) kernels->fill(n, 0, row->d, 1);
    if (g->d_weights.data != NULL) {
        kernels->add_bias(n, element(&g->d_weights, b, h, i, row->span.first), g->d_weights.stride[3], row->d);
    }
    const uint64_t of = attn_i_problem_row(p, b, h, i);
    if (p->dropout.keep != 0) kernels->drop(n, &p->dropout.draw, of, row->span.first, p->dropout.keep, 0, row->d);
    if (row->factor != NULL) {
        kernels->multiply(n, row->factor, row->d);
        kernels->multiply(n, row->d, row->slope);
        row->by_slope = kernels->weighted_sum(n, row->scores, row->slope);
    }
    double mean = more != 0 ? context_product(g, row) : kernels->weighted_sum(n, row->scores, row->d);
    if (g->d_logsumexp.data != NULL) mean -= number(p, element(&g->d_logsumexp, 0, b, h, i));
    kernels->softmax_gradient(n, mean, 1 / m->temperature, row->scores, row->d);
    /* From here on the weights only multiply d_context. */
    if (row->factor != NULL) kernels->multiply(n, row->factor, row->scores);
    if (p->dropout.keep != 0) {
        kernels->drop(n, &p->dropout.draw, of, row->span.first, p->dropout.keep, -0.0, row->scores);
    }
    row->alibi = 0;
    if (g->d_alibi.data != NULL) {
        row->alibi = kernels->alibi_gradient(n, row->span.first - attn_i_position(p, m->alibi, b, i), row->d);
    }
    return seen;
}

void attn_i_row_gradient_finish(const attn_i_gradient *g, const attn_i_row_gradient *row)
{
    const attn_i_problem *p = &g->problem;
    const double cap = p->modifiers->softcap;
    const int64_t n = row->span.end - row->span.first;
    if (cap != 0 || p->scale != 1) p->kernels->cap_gradient(n, p->scale, cap, cap != 0 ? row->capped : NULL, row->d);
}
