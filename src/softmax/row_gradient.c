/* SPDX-License-Identifier: BSD-3-Clause
 *
 * row_gradient.c: one query's way back from the gradient of its weights to that of its scores. */
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

/* d_context . context, which is the mean of what flows to the weights from the context. */
static double context_mean(const attn_i_gradient *g, const attn_i_row_gradient *row)
{
    const attn_i_view *d = &g->d_context, *context = &g->problem.context;
    const char *x = element(d, row->b, row->h, row->i, 0), *y = element(context, row->b, row->h, row->i, 0);
    const int64_t dim = g->problem.value_dim;
    double sum = 0;
    if (d->stride[3] == 1 && context->stride[3] == 1) return g->problem.kernels->weighted_sum(dim, x, y);
    for (int64_t k = 0; k < dim; k++) {
        sum += number(&g->problem, x + k * d->stride[3] * d->size) *
               number(&g->problem, y + k * context->stride[3] * context->size);
    }
    return sum;
}

/* The mean of what flows to the weights, by the weights, which are normalised but for the rounding of the log-sum-exp:
 * it must not come in twice. */
static double mean_of(const attn_i_gradient *g, const attn_i_row_gradient *row)
{
    const attn_i_kernels *kernels = g->problem.kernels;
    const int64_t n = row->span.end - row->span.first;
    double double_sum = 0;
    float float_sum = 0;
    if (g->d_weights.data == NULL) return g->d_context.data == NULL ? 0 : context_mean(g, row);
    kernels->add_sum(n, row->scores, g->problem.dtype == ATTN_F32 ? (void *)&float_sum : &double_sum);
    const double sum = g->problem.dtype == ATTN_F32 ? (double)float_sum : double_sum;
    const double mean = kernels->weighted_sum(n, row->scores, row->d);
    return sum == 0 ? mean : mean / sum;
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
    const double all = attn_i_logsumexp_get(&p->logsumexp, b, h, i);
    const attn_i_seen seen = kernels->weights_again(n, m->temperature, all, row->scores);

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
    double mean = mean_of(g, row);
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
